package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"chirograph.dev/internal/terminal"
)

func newAuditReport() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit-report",
		Short: "Create an audit report, ask how far one is, list them, or download one with its proof",
		Args:  noArguments,
		RunE:  showHelp,
	}
	cmd.AddCommand(newAuditReportCreate(), newAuditReportDescribe(), newAuditReportDownload(), newAuditReportList())
	return cmd
}

// clientFlags say how a client command reaches a server.
type clientFlags struct {
	dataDir, endpoint, region, output string
	folder                            *pflag.Flag // --data-dir
}

func (f *clientFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dataDir, "data-dir", defaultDataDir(), "data folder of a local server, for its address and credentials; when it is not given, AWS variables in the environment go first")
	f.folder = cmd.Flags().Lookup("data-dir")
	cmd.Flags().StringVar(&f.endpoint, "endpoint-url", "", "the server's URL; without it the AWS configuration decides")
	cmd.Flags().StringVar(&f.region, "region", "", "region; without it the AWS configuration decides")
	cmd.Flags().StringVar(&f.output, "output", "text", "text or json")
	choices(cmd, "output", "text", "json")
}

// client makes the SDK's client.
func (f *clientFlags) client(ctx context.Context) (*acmpca.Client, error) {
	cfg, err := f.aws(ctx)
	if err != nil {
		return nil, err
	}
	return acmpca.NewFromConfig(cfg), nil
}

// local says whether the files of a local server are used: --data-dir names
// it, or nothing in the environment names others.
func (f *clientFlags) local() bool {
	if f.folder.Changed {
		return true
	}
	for _, v := range []string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		if os.Getenv(v) != "" {
			return false
		}
	}
	return true
}

// aws is the SDK's configuration: from the files of the local server that
// --data-dir names, or else from the environment, or else from the files of
// the server in the default folder. A key or profile that the environment names
// is used in each case; it cannot lead to another server than --data-dir's.
func (f *clientFlags) aws(ctx context.Context) (aws.Config, error) {
	if f.output != "text" && f.output != "json" {
		return aws.Config{}, usageError("use text or json", "unknown output %q", f.output)
	}
	var opts []func(*awsconfig.LoadOptions) error
	if f.region != "" {
		opts = append(opts, awsconfig.WithRegion(f.region))
	}
	if f.endpoint != "" {
		opts = append(opts, awsconfig.WithBaseEndpoint(f.endpoint))
	}
	if f.local() {
		config, credentials, err := clientFiles(f.dataDir)
		if err != nil {
			return aws.Config{}, err
		}
		if _, err := os.Stat(config); err == nil {
			opts = append(opts, awsconfig.WithSharedConfigFiles([]string{config}), awsconfig.WithSharedCredentialsFiles([]string{credentials}))
		} else if !errors.Is(err, fs.ErrNotExist) {
			return aws.Config{}, fmt.Errorf("looking for the client files: %w", err)
		} else if f.folder.Changed {
			return aws.Config{}, noServerYet(f.dataDir, config)
		}
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	if err != nil {
		return aws.Config{}, usageError(credentialsHint, "loading the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return aws.Config{}, usageError("give --region, or --data-dir of a local server", "no region is configured")
	}
	if cfg.Credentials == nil {
		return aws.Config{}, usageError(credentialsHint, "no AWS credentials are configured")
	}
	if _, err := cfg.Credentials.Retrieve(ctx); err != nil {
		return aws.Config{}, &exitError{code: exitFailure, hint: credentialsHint, err: fmt.Errorf("finding AWS credentials: %w", err)}
	}
	return cfg, nil
}

const credentialsHint = "give --data-dir of a local server, or AWS credentials in the environment"

// lockedOutHint is for a key that the server does not take.
func lockedOutHint() string {
	return "the access key is unknown, inactive, or of a session that is over; an administrator without a key starts the server with: " + self() + " serve --reset-administrator"
}

func newAuditReportCreate() *cobra.Command {
	var (
		f                  clientFlags
		ca, bucket, format string
		wait               bool
		timeout            time.Duration
	)
	cmd := &cobra.Command{
		Use:   "create --ca ARN --bucket BUCKET [--format JSON|CSV] [--wait]",
		Short: "Write a report of every certificate that a CA issued or revoked to a bucket",
		Example: `  chirograph audit-report create --ca "$CA" --bucket audit-reports --wait
  chirograph audit-report create --ca "$CA" --bucket audit-reports --format CSV --wait --output json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if ca == "" || bucket == "" {
				return usageError("chirograph audit-report create --ca ARN --bucket BUCKET", "--ca and --bucket are needed")
			}
			format = strings.ToUpper(format)
			if format != string(types.AuditReportResponseFormatJson) && format != string(types.AuditReportResponseFormatCsv) {
				return usageError("use JSON or CSV", "unknown --format %q", format)
			}
			ctx := cmd.Context()
			client, err := f.client(ctx)
			if err != nil {
				return err
			}
			out, err := client.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{
				CertificateAuthorityArn:   &ca,
				S3BucketName:              &bucket,
				AuditReportResponseFormat: types.AuditReportResponseFormat(format),
			})
			if err != nil {
				return apiFailure("creating the report", err)
			}
			id := aws.ToString(out.AuditReportId)
			accepted := report{ID: id, Status: string(types.AuditReportStatusCreating), Bucket: bucket, Key: aws.ToString(out.S3Key)}
			if !wait {
				return printReport(cmd.OutOrStdout(), f.output, accepted)
			}
			r, err := waitForReport(ctx, client, ca, id, timeout, cmd.ErrOrStderr())
			if r.ID == "" { // not even one answer; the report goes on all the same
				r = accepted
			}
			return errors.Join(err, printReport(cmd.OutOrStdout(), f.output, r))
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&ca, "ca", "", "ARN of the certificate authority")
	cmd.Flags().StringVar(&bucket, "bucket", "", "bucket that receives the report; its policy must let acm-pca.amazonaws.com write")
	cmd.Flags().StringVar(&format, "format", "JSON", "JSON or CSV")
	choices(cmd, "format", "JSON", "CSV")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until the report is in the bucket, with a progress bar")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Hour, "how long --wait waits; the report goes on when it runs out")
	return cmd
}

func newAuditReportDescribe() *cobra.Command {
	var (
		f      clientFlags
		ca, id string
	)
	cmd := &cobra.Command{
		Use:   "describe --ca ARN --id UUID",
		Short: "Show the status of a report",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if ca == "" || id == "" {
				return usageError("chirograph audit-report describe --ca ARN --id UUID", "--ca and --id are needed")
			}
			client, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			r, err := describeReport(cmd.Context(), client, ca, id)
			if err != nil {
				return err
			}
			return printReport(cmd.OutOrStdout(), f.output, r)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&ca, "ca", "", "ARN of the certificate authority")
	cmd.Flags().StringVar(&id, "id", "", "id of the report, as create printed it")
	return cmd
}

// report is what the commands print.
type report struct {
	ID      string `json:"auditReportId"`
	Status  string `json:"auditReportStatus"`
	Bucket  string `json:"s3BucketName"`
	Key     string `json:"s3Key"`
	Done    int64  `json:"logEntriesRead,omitempty"`
	Entries int64  `json:"logEntries,omitempty"` // to go through; more than the report has rows
	Reason  string `json:"reason,omitempty"`
}

func printReport(w io.Writer, output string, r report) error {
	if output == "json" {
		return printJSON(w, r)
	}
	_, err := fmt.Fprintf(w, "report  %s\nstatus  %s\nobject  s3://%s/%s\n", r.ID, r.Status, r.Bucket, r.Key)
	if err == nil && r.Reason != "" {
		_, err = fmt.Fprintf(w, "reason  %s\n", r.Reason)
	}
	return err
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// Headers with which the server tells more of a report than AWS's API has members for.
const (
	progressHeader = "X-Chirograph-Report-Progress" // "<entries done>/<entries in all>"
	reasonHeader   = "X-Chirograph-Report-Reason"   // why the report failed
)

func describeReport(ctx context.Context, client *acmpca.Client, ca, id string) (report, error) {
	out, err := client.DescribeCertificateAuthorityAuditReport(ctx, &acmpca.DescribeCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &ca, AuditReportId: &id,
	})
	if err != nil {
		return report{}, apiFailure("describing the report", err)
	}
	r := report{ID: id, Status: string(out.AuditReportStatus), Bucket: aws.ToString(out.S3BucketName), Key: aws.ToString(out.S3Key)}
	if raw, ok := awsmiddleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response); ok {
		r.Reason = raw.Header.Get(reasonHeader)
		if done, total, ok := strings.Cut(raw.Header.Get(progressHeader), "/"); ok {
			// A server of another make sends no such header; then there is no bar to fill.
			r.Done, _ = strconv.ParseInt(done, 10, 64)
			r.Entries, _ = strconv.ParseInt(total, 10, 64)
		}
	}
	return r, nil
}

// waitForReport polls until the report is final and draws a bar meanwhile.
func waitForReport(ctx context.Context, client *acmpca.Client, ca, id string, timeout time.Duration, stderr io.Writer) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	bar := terminal.NewBar(stderr, terminal.Options{Total: -1, What: "writing the report"})
	defer bar.Clear()
	delay := 100 * time.Millisecond
	var last report
	for {
		r, err := describeReport(ctx, client, ca, id)
		if err != nil && ctx.Err() == nil {
			return last, err
		}
		if err == nil {
			last = r
			if r.Entries > 0 {
				bar.SetTotal(r.Entries)
				bar.Set(r.Done)
			}
			switch r.Status {
			case string(types.AuditReportStatusSuccess):
				return r, nil
			case string(types.AuditReportStatusFailed):
				return r, &exitError{code: exitFailure, hint: r.Reason, err: fmt.Errorf("the report %s failed", id)}
			}
		}
		select {
		case <-ctx.Done():
			return last, &exitError{code: exitTimedOut, hint: "the report goes on; ask with: " + self() + " audit-report describe --ca " + ca + " --id " + id, err: fmt.Errorf("stopped waiting for report %s: %w", id, ctx.Err())}
		case <-time.After(delay):
			delay = min(2*delay, 3*time.Second)
		}
	}
}

// apiFailure turns an error of the API into one line with the code and the server's advice.
func apiFailure(doing string, err error) error {
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		return &exitError{code: exitFailure, err: fmt.Errorf("%s: %s: %s", doing, printable(e.ErrorCode()), printable(e.ErrorMessage()))}
	}
	hint := ""
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		hint = "set AWS_CA_BUNDLE to a PEM file with the server's certificate, or that of the authority which issued it"
	} else if errors.Is(err, syscall.ECONNREFUSED) {
		hint = "is the server running? start it with: " + self() + " serve"
		if dial, ok := errors.AsType[*net.OpError](err); ok {
			err = dial // the rest tells of the SDK's attempts
		}
	}
	return &exitError{code: exitFailure, hint: hint, err: fmt.Errorf("%s: %w", doing, err)}
}
