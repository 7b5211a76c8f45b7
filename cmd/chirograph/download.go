package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/terminal"
)

func newAuditReportDownload() *cobra.Command {
	var (
		f                                   clientFlags
		ca, id, bucket, key, to, s3Endpoint string
	)
	cmd := &cobra.Command{
		Use:   "download --ca ARN --id UUID --to DIR",
		Short: "Download a report with its manifest and the log that proves it",
		Long: `download fetches a report, its manifest, and what is missing of the log beside
it, laid out as "aws s3 sync" of audit-report/<CA id>/ would; "chirograph verify"
reads it so. The log's files never change, so a second report of the same CA
into the same folder fetches only what the log has grown by.

With --bucket and --key in place of --ca and --id it needs the bucket alone.`,
		Example: `  chirograph audit-report download --ca "$CA" --id "$ID" --to reports
  chirograph audit-report download --bucket audit-reports --key "$KEY" --to reports`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if to == "" || (ca == "" || id == "") == (bucket == "" || key == "") {
				return usageError("chirograph audit-report download --ca ARN --id UUID --to DIR", "--to, and either --ca and --id or --bucket and --key are needed")
			}
			ctx := cmd.Context()
			if bucket == "" {
				client, err := f.client(ctx)
				if err != nil {
					return err
				}
				r, err := describeReport(ctx, client, ca, id)
				if err != nil {
					return err
				}
				if r.Status != "SUCCESS" {
					return &exitError{code: exitFailure, hint: r.Reason, err: fmt.Errorf("the report %s is %s, so there is nothing to download", id, r.Status)}
				}
				bucket, key = r.Bucket, r.Key
			}
			f.endpoint = s3Endpoint // the buckets have an address of their own
			cfg, err := f.aws(ctx)
			if err != nil {
				return err
			}
			d := download{s3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }), bucket: bucket, to: to}
			done, err := d.report(ctx, key, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if f.output == "json" {
				return printJSON(cmd.OutOrStdout(), done)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "report    %s\nmanifest  %s\nlog       %s: %d of %d files fetched\nverify    %s verify %s --ca-certificate FILE\n",
				done.Report, done.Manifest, done.Log, done.Fetched, done.Packs, self(), shellQuote(done.Report))
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&ca, "ca", "", "ARN of the certificate authority")
	cmd.Flags().StringVar(&id, "id", "", "id of the report, as create printed it")
	cmd.Flags().StringVar(&bucket, "bucket", "", "bucket that has the report")
	cmd.Flags().StringVar(&key, "key", "", "object key of the report in --bucket")
	cmd.Flags().StringVar(&to, "to", "", "folder to download to, one for each CA")
	cmd.Flags().StringVar(&s3Endpoint, "s3-endpoint-url", "", "URL of the bucket service; without it the AWS configuration decides")
	return cmd
}

// downloaded is what the command prints.
type downloaded struct {
	Report   string `json:"report"` // files and folder here
	Manifest string `json:"manifest"`
	Log      string `json:"log"`
	Packs    int    `json:"logFiles"`
	Fetched  int    `json:"logFilesFetched"`
}

// download fetches objects of a bucket into a folder.
type download struct {
	s3         *s3.Client
	bucket, to string

	bar  terminal.Bar
	done atomic.Int64
}

// object is one to fetch.
type object struct {
	key, file string
	size      int64
}

func (d *download) report(ctx context.Context, key string, stderr io.Writer) (*downloaded, error) {
	folder, name := path.Split(key)
	out := &downloaded{Report: filepath.Join(d.to, name), Manifest: filepath.Join(d.to, name+proof.ManifestSuffix)}
	if err := os.MkdirAll(d.to, 0o755); err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	if err := d.fetch(ctx, object{key: key + proof.ManifestSuffix, file: out.Manifest}); err != nil {
		if _, ok := errors.AsType[*s3types.NoSuchKey](err); ok {
			_, err := d.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &d.bucket, Key: &key})
			if _, ok := errors.AsType[*s3types.NotFound](err); ok {
				return nil, &exitError{code: exitFailure, hint: "chirograph audit-report list shows those that there are", err: fmt.Errorf("there is no report s3://%s/%s", d.bucket, key)}
			}
			return nil, &exitError{code: exitFailure, hint: "a report of a server of before proofs has none, and cannot be verified: ask for another report; else somebody removed it",
				err: fmt.Errorf("the report s3://%s/%s has no manifest beside it", d.bucket, key)}
		}
		return nil, err
	}
	signed, err := os.ReadFile(out.Manifest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	m, err := proof.OpenManifest(signed)
	if err != nil {
		return nil, &exitError{code: exitFailure, hint: "it was changed since it was written, or is of a newer version: " + self() + " verify says more", err: fmt.Errorf("reading the manifest %s: %w", out.Manifest, err)}
	}
	logName := m.LogFolder()
	out.Log = filepath.Join(d.to, logName)
	if err := os.MkdirAll(filepath.Join(out.Log, proof.EntriesFolder), 0o755); err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	packs, err := d.packs(ctx, folder+logName, out.Log, m.Size)
	if err != nil {
		return nil, err
	}
	out.Packs = len(packs)
	objects := []object{{key, out.Report, m.Bytes}, {folder + logName + "/" + proof.CheckpointName, filepath.Join(out.Log, proof.CheckpointName), 0}}
	for _, p := range packs {
		// A pack never changes, and a file appears here whole or not at all.
		if info, err := os.Stat(p.file); err == nil && info.Size() == p.size {
			continue
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("looking for what is here: %w", err)
		}
		objects = append(objects, p)
		out.Fetched++
	}
	total := int64(0)
	for _, o := range objects {
		total += o.size
	}
	d.bar = terminal.NewBar(stderr, terminal.Options{Total: total, What: "downloading", Bytes: true})
	defer d.bar.Clear()
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, o := range objects {
		g.Go(func() error { return d.fetch(gctx, o) })
	}
	return out, g.Wait()
}

// packs lists the files of a log's first size entries: of those that begin at
// the same entry, the one that reaches farthest.
func (d *download) packs(ctx context.Context, prefix, folder string, size uint64) ([]object, error) {
	var packs []object
	var reach uint64 // entries [0, reach) are in packs
	pages := s3.NewListObjectsV2Paginator(d.s3, &s3.ListObjectsV2Input{Bucket: &d.bucket, Prefix: aws.String(prefix + "/" + proof.EntriesFolder + "/")})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, apiFailure("listing the log in the bucket", err)
		}
		for _, o := range page.Contents {
			name := path.Base(aws.ToString(o.Key))
			lo, hi, ok := proof.ParsePackName(name)
			if !ok || lo >= size {
				continue
			}
			// The listing is in the order of lo, and then of hi.
			n := int(lo / proof.PackSize)
			p := object{aws.ToString(o.Key), filepath.Join(folder, proof.EntriesFolder, name), aws.ToInt64(o.Size)}
			switch {
			case n == len(packs)-1:
				packs[n], reach = p, hi
			case n == len(packs) && lo == reach:
				packs, reach = append(packs, p), hi
			}
		}
	}
	if reach < size {
		return nil, &exitError{code: exitFailure, hint: "somebody removed files from the bucket", err: fmt.Errorf("the log s3://%s/%s has %d entries without a gap, and the report covers %d", d.bucket, prefix, reach, size)}
	}
	return packs, nil
}

// fetch writes an object to its file, in one step.
func (d *download) fetch(ctx context.Context, o object) (err error) {
	out, err := d.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &d.bucket, Key: &o.key})
	if err != nil {
		if _, ok := errors.AsType[*s3types.NoSuchKey](err); ok && !strings.HasSuffix(o.key, proof.ManifestSuffix) {
			return &exitError{code: exitFailure, hint: "it was removed from the bucket", err: fmt.Errorf("there is no object s3://%s/%s", d.bucket, o.key)}
		} else if ok {
			return err
		}
		return apiFailure(fmt.Sprintf("reading s3://%s/%s", d.bucket, o.key), err)
	}
	defer out.Body.Close()
	f, err := os.CreateTemp(filepath.Dir(o.file), "."+filepath.Base(o.file)+"-*")
	if err != nil {
		return fmt.Errorf("making a file: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, io.TeeReader(out.Body, d))
	if err = errors.Join(err, f.Chmod(0o644), f.Close()); err == nil {
		err = os.Rename(f.Name(), o.file)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", o.file, err)
	}
	return nil
}

// Write counts what arrives.
func (d *download) Write(p []byte) (int, error) {
	d.bar.Set(d.done.Add(int64(len(p))))
	return len(p), nil
}
