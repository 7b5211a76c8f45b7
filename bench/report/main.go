// Command report measures audit reports of large CAs: it seeds a store with
// real log entries and has the real server, a fresh process for each, write the
// first report to its bucket and then further ones after some certificates were
// revoked; beside it, in the same run, the floor of rendering and of writing, and
// what PostgreSQL needs to COPY the same rows as JSON.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/certlog"
)

func main() { newProgram().Main() }

type options struct {
	certificates bench.Counts
	dataDir, ca  string
	bucket       string
	formats      string
	revoked      float64
	compact      bool
	fresh        uint64
	recent       float64
	fractions    string
	postgresRows uint64
	serve        string

	changes []float64 // of fractions
}

func newProgram() *bench.Program {
	o := options{certificates: bench.Counts{1_000_000, 10_000_000}, revoked: 0.02, fresh: 1000, postgresRows: 1_000_000}
	return &bench.Program{
		Name: "report", Unit: "certificates",
		Floor: "rendering and hashing the rows in memory on all processors, or writing as many bytes plainly to the disk and syncing them, whichever takes longer; both taken from a part of the rows",
		Help: `report measures audit reports of large CAs. For each size and format it makes the
first report; then, after so many fresh revocations, the second, of recent
certificates and of some all over the log; then further ones after one revocation
in each of a part of the log's blocks of 16,384 entries, from none of them to all.
Every report is written by a fresh process of the real server to its own bucket;
the revocations are put into the store between them. Printed are the time from
the order to SUCCESS, CPU time of a row, bytes written, and the process's peak.

A million certificates take about a minute and 2 GB of disk, 10 million some
minutes and 15 GB, 100 million an hour and 60 GB: seed these once with bench/seed
--compact, and give the folder with --data-dir, --ca and --bucket; it is measured
and kept, with what was revoked. A peer's command runs after each first report; it finds the
rows as CSV in the file CHIROGRAPH_BENCH_ROWS when CSV is among the formats.`,
		Flags: func(set *flag.FlagSet) {
			set.Var(&o.certificates, "certificates", "sizes of the CA, separated by commas")
			set.StringVar(&o.dataDir, "data-dir", "", "data `folder` of a stopped server to measure, in place of new ones; with --ca")
			set.StringVar(&o.ca, "ca", "", "`ARN` of the CA in it")
			set.StringVar(&o.bucket, "bucket", "bench-reports", "`name` of the bucket in it whose policy lets the CA write")
			set.StringVar(&o.formats, "formats", "JSON,CSV", "formats, separated by commas")
			set.Float64Var(&o.revoked, "revoked", o.revoked, "part of the certificates that is revoked when they are seeded")
			set.BoolVar(&o.compact, "compact", false, "seed as bench/seed --compact does")
			bench.Count(set, &o.fresh, "fresh", "revocations before the second report; 0: none is made")
			set.Float64Var(&o.recent, "recent", 0.01, "newest part of the log that the recent ones are taken from")
			set.StringVar(&o.fractions, "fractions", "0,0.0001,0.001,0.01,0.1,0.3,1", "parts of the blocks that get a revocation before further reports, separated by commas; empty: no further reports")
			bench.Count(set, &o.postgresRows, "postgres", "largest CA whose rows PostgreSQL copies as well, where it is installed; 0: none")
			set.StringVar(&o.serve, "serve", "", "further flags of chirograph serve, separated by spaces, such as --segments=false")
		},
		Check:   func() error { return o.check() },
		Measure: func(ctx context.Context, r *bench.Run) error { return run(ctx, r, &o) },
	}
}

func (o *options) check() error {
	if (o.dataDir == "") != (o.ca == "") {
		return errors.New("give --data-dir and --ca together")
	}
	if o.recent <= 0 || o.recent > 1 {
		return errors.New("--recent is above 0 and at most 1")
	}
	for f := range strings.SplitSeq(o.formats, ",") {
		if f != "JSON" && f != "CSV" {
			return fmt.Errorf("--formats: %q is neither JSON nor CSV", f)
		}
	}
	o.changes = nil
	for s := range strings.SplitSeq(o.fractions, ",") {
		if s == "" {
			continue
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || f < 0 || f > 1 {
			return fmt.Errorf("--fractions: %q is not a number from 0 to 1", s)
		}
		o.changes = append(o.changes, f)
	}
	return nil
}

// target is a store that is measured.
type target struct {
	data, ca, bucket string
	entries          uint64 // of its log, when it is first looked at
	certificates     uint64
	binary           string
	serve            []string
	last             string // key of the newest report
}

func run(ctx context.Context, r *bench.Run, o *options) error {
	binary, err := bench.Build(r.Dir)
	if err != nil {
		return err
	}
	t := target{data: o.dataDir, ca: o.ca, bucket: o.bucket, binary: binary, serve: append([]string{"--audit-min-interval", "0s"}, strings.Fields(o.serve)...)}
	if t.data != "" {
		if t.entries, t.certificates, err = bench.CountLog(ctx, t.data, t.ca); err != nil {
			return err
		}
		return measure(ctx, r, o, t)
	}
	for _, n := range o.certificates {
		if err := seedAndMeasure(ctx, r, o, t, n); err != nil {
			return fmt.Errorf("%d certificates: %w", n, err)
		}
	}
	return nil
}

func seedAndMeasure(ctx context.Context, r *bench.Run, o *options, t target, n uint64) (err error) {
	dir := filepath.Join(r.Dir, fmt.Sprint(n))
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	t.data = filepath.Join(dir, "data")
	if t.ca, err = bench.MakeStore(ctx, t.binary, t.data, t.bucket); err != nil {
		return err
	}
	start, cpu := time.Now(), bench.OwnCPU()
	if err := (bench.Seeding{DataDir: t.data, CA: t.ca, Certificates: n, Revoked: o.revoked, Compact: o.compact}).Run(ctx); err != nil {
		return fmt.Errorf("seeding: %w", err)
	}
	r.Report(bench.Result{What: "seeding the store", Size: n, Units: float64(n), Seconds: time.Since(start).Seconds(), CPU: micros(bench.OwnCPU()-cpu, float64(n))})
	if t.entries, t.certificates, err = bench.CountLog(ctx, t.data, t.ca); err != nil {
		return err
	}
	return measure(ctx, r, o, t)
}

func measure(ctx context.Context, r *bench.Run, o *options, t target) error {
	for name := range strings.SplitSeq(o.formats, ",") {
		format := types.AuditReportResponseFormat(name)
		f, err := measureFloors(ctx, &t, r.Dir, format)
		if err != nil {
			return fmt.Errorf("floor: %w", err)
		}
		n := float64(t.certificates)
		r.Report(bench.Result{What: name + ", floor: rendered in memory", Size: t.certificates, Units: n, Seconds: f.render, CPU: f.renderCPU, Bytes: int64(f.bytesPerRow * n)})
		r.Report(bench.Result{What: name + ", floor: written plainly", Size: t.certificates, Units: n, Seconds: f.write, Bytes: int64(f.bytesPerRow * n)})
		rows := ""
		if format == types.AuditReportResponseFormatCsv && (len(r.Peers) > 0 || t.certificates-1 <= o.postgresRows) {
			rows = filepath.Join(r.Dir, "report.csv")
		}
		begun, err := bench.HasSegments(ctx, t.data, t.ca, name)
		if err != nil {
			return err
		}
		first, err := t.report(ctx, format, rows)
		if err != nil {
			return err
		}
		first.What = name + ", further report" // of a folder that was given, with segments
		if !begun {
			first.What, first.FloorCPU, first.FloorSeconds = name+", first report", f.renderCPU, f.seconds()
		}
		r.Report(first)
		var env []string
		if rows != "" {
			env = append(env, "CHIROGRAPH_BENCH_ROWS="+rows)
		}
		if err := r.Peer(ctx, first, env...); err != nil {
			return err
		}
		if rows != "" && t.certificates-1 <= o.postgresRows {
			if err := postgres(ctx, r, rows, first); err != nil {
				return err
			}
		}
		if rows != "" {
			if err := os.Remove(rows); err != nil {
				return err
			}
		}
		if err := further(ctx, r, o, &t, format); err != nil {
			return err
		}
	}
	return nil
}

// further makes the reports after the first one.
func further(ctx context.Context, r *bench.Run, o *options, t *target, format types.AuditReportResponseFormat) error {
	again := func(what string, at float64, indices []uint64) error {
		n, err := bench.SeedRevocations(ctx, t.data, t.ca, indices)
		if err != nil {
			return fmt.Errorf("revoking: %w", err)
		}
		res, err := t.report(ctx, format, "")
		if err != nil {
			return err
		}
		res.What, res.At = fmt.Sprintf("%s, %d %s", format, n, what), at
		r.Report(res)
		return nil
	}
	size := t.entries
	if o.fresh > 0 {
		begin := size - uint64(float64(size)*o.recent)
		if err := again("revoked, recent", 0, spread(o.fresh, begin, size)); err != nil {
			return err
		}
		if err := again("revoked, scattered", 0, spread(o.fresh, 0, size)); err != nil {
			return err
		}
	}
	blocks := (size + certlog.BlockSize - 1) / certlog.BlockSize
	for _, f := range o.changes {
		n := uint64(f * float64(blocks))
		if f > 0 {
			n = max(n, 1)
		}
		indices := spread(n, 0, blocks)
		for i := range indices {
			indices[i] *= certlog.BlockSize
		}
		if err := again(fmt.Sprintf("of %d blocks changed", blocks), float64(n)/float64(blocks), indices); err != nil {
			return err
		}
	}
	return nil
}

// spread gives n numbers evenly from lo to hi, fewer when there are not as many.
func spread(n, lo, hi uint64) []uint64 {
	n = min(n, hi-lo)
	numbers := make([]uint64, n)
	for i := range numbers {
		numbers[i] = lo + uint64(float64(hi-lo)*(float64(i)+0.5)/float64(n))
	}
	return numbers
}

// report has a fresh process write a report, so that the peak of its memory is
// the report's, and downloads it to the file, if there is one. The report before
// is deleted, so that the disk holds one.
func (t *target) report(ctx context.Context, format types.AuditReportResponseFormat, file string) (res bench.Result, err error) {
	s, err := bench.Start(ctx, t.binary, t.data, t.serve...)
	if err != nil {
		return res, err
	}
	defer func() {
		if serr := s.Stop(); err == nil && serr != nil {
			err = fmt.Errorf("%w\n%s", serr, s.Log())
		}
	}()
	if t.last != "" {
		if _, err := s.S3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &t.bucket, Key: &t.last}); err != nil {
			return res, err
		}
	}
	user, system, err := s.CPU()
	if err != nil {
		return res, err
	}
	written, err := s.Written()
	if err != nil {
		return res, err
	}
	out, err := s.Report(ctx, t.ca, t.bucket, format)
	if err != nil {
		return res, err
	}
	n := float64(t.certificates)
	res = bench.Result{Size: t.certificates, Units: n, Seconds: out.Took.Seconds()}
	userAfter, systemAfter, err := s.CPU()
	if err != nil {
		return res, err
	}
	writtenAfter, err := s.Written()
	if err != nil {
		return res, err
	}
	if _, res.Peak, err = s.Memory(); err != nil {
		return res, err
	}
	res.CPU, res.System, res.Written = micros(userAfter+systemAfter-user-system, n), micros(systemAfter-system, n), writtenAfter-written
	t.last = out.Key
	head, err := s.S3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &t.bucket, Key: &t.last})
	if err != nil {
		return res, err
	}
	res.Bytes = aws.ToInt64(head.ContentLength)
	if file == "" {
		return res, nil
	}
	return res, t.download(ctx, s, file)
}

func (t *target) download(ctx context.Context, s *bench.Server, file string) error {
	out, err := s.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &t.bucket, Key: &t.last})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, out.Body)
	return errors.Join(err, f.Close())
}

func micros(d time.Duration, units float64) float64 { return float64(d.Nanoseconds()) / 1e3 / units }

// postgres reports PostgreSQL's COPY beside the report that ours made of the same rows.
func postgres(ctx context.Context, r *bench.Run, rows string, ours bench.Result) error {
	dir, err := os.MkdirTemp(r.Dir, "postgres-")
	if err != nil {
		return err
	}
	took, err := copyWithPostgreSQL(ctx, dir, rows)
	if errors.Is(err, errNoPostgreSQL) {
		fmt.Fprintln(r.Stderr, "report: PostgreSQL is not installed; its COPY is left out")
		return nil
	}
	if err != nil {
		return fmt.Errorf("PostgreSQL: %w", err)
	}
	r.Report(bench.Result{
		What: "PostgreSQL, COPY as JSON", Size: ours.Size, Units: ours.Units, Seconds: took.Seconds(),
		Peer: &bench.Peer{Command: "COPY (SELECT json_strip_nulls(row_to_json(report)) FROM report) TO '/dev/null'", RatioSeconds: took.Seconds() / ours.Seconds},
	})
	return nil
}
