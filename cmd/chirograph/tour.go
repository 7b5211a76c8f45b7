package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/terminal"
)

func newTour() *cobra.Command {
	var (
		certificates int
		keep         bool
	)
	cmd := &cobra.Command{
		Use:   "tour",
		Short: "See a private CA issue, revoke and report, in a few seconds",
		Long: `tour starts a server on free ports of this machine with a folder of its own,
makes a certificate authority through the public API with the AWS SDK, issues
and revokes certificates, has the audit report written as JSON and as CSV, and
checks both against everything the API acknowledged. Then it verifies them as an
auditor does, offline, and shows what a row that disappears looks like. It
leaves nothing behind unless --keep is given.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if certificates < 2 || certificates > 1_000_000 {
				return usageError("", "--certificates must be from 2 to 1000000")
			}
			return runTour(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), certificates, keep)
		},
	}
	cmd.Flags().IntVar(&certificates, "certificates", 200, "how many certificates to issue")
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the server running and its folder in place afterwards, until interrupted")
	return cmd
}

// tour is one run: what it talks to and what the API acknowledged.
type tour struct {
	out, err io.Writer
	colour   bool
	step     int

	pca    *acmpca.Client
	s3     *s3.Client
	bucket string
	caARN  string
	ca     string   // certificate, PEM
	dir    string   // of what an auditor has
	keys   []string // of the reports

	issued  map[string]bool   // certificate ARN
	revoked map[string]string // certificate ARN -> reason
}

func runTour(ctx context.Context, stdout, stderr io.Writer, certificates int, keep bool) (err error) {
	dir, err := os.MkdirTemp("", "chirograph-tour-")
	if err != nil {
		return fmt.Errorf("making the tour's folder: %w", err)
	}
	if !keep {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	cfg := defaultServeConfig()
	cfg.DataDir = filepath.Join(dir, "data")
	cfg.Listen, cfg.S3Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.AuditMinInterval = 0 // two reports in a row, to show both formats

	serverLog, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return fmt.Errorf("making the server's log: %w", err)
	}
	defer serverLog.Close()
	serverCtx, stop := context.WithCancel(ctx)
	defer stop()
	started := make(chan endpoints, 1)
	stopped := make(chan error, 1)
	go func() {
		stopped <- serve(serverCtx, cfg, slog.New(slog.NewTextHandler(serverLog, nil)), func(e endpoints) { started <- e })
	}()
	var where endpoints
	select {
	case where = <-started:
	case err := <-stopped:
		return fmt.Errorf("starting the tour's server: %w", err)
	}
	defer func() {
		stop()
		err = errors.Join(err, <-stopped)
	}()

	t := &tour{out: stdout, err: stderr, colour: terminal.Colours(stdout), dir: filepath.Join(dir, "auditor"), issued: map[string]bool{}, revoked: map[string]string{}}
	t.say("A server, embedded: API %s, buckets %s", where.API, where.S3)
	if err := t.run(ctx, cfg, certificates); err != nil {
		return err
	}
	t.next(cfg, keep)
	if keep {
		fmt.Fprintf(t.out, "\nThe console is at %s; sign in with the access key in %s.\nThe server goes on until Ctrl-C. Everything is in %s; its log is %s.\nRemove the folder when you are done.\n", where.Console, where.Credentials, dir, serverLog.Name())
		<-ctx.Done()
	}
	return nil
}

func (t *tour) run(ctx context.Context, cfg serveConfig, certificates int) error {
	config, credentials, err := clientFiles(cfg.DataDir)
	if err != nil {
		return err
	}
	aws, err := awsconfig.LoadDefaultConfig(ctx,
		awsconfig.WithSharedConfigFiles([]string{config}),
		awsconfig.WithSharedCredentialsFiles([]string{credentials}),
		awsconfig.WithSharedConfigProfile("default"))
	if err != nil {
		return fmt.Errorf("reading the client files: %w", err)
	}
	t.pca = acmpca.NewFromConfig(aws)
	t.s3 = s3.NewFromConfig(aws, func(o *s3.Options) { o.UsePathStyle = true })

	for _, step := range []func(context.Context) error{t.makeBucket, t.makeCA} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := t.issue(ctx, certificates); err != nil {
		return err
	}
	if err := t.revoke(ctx, max(1, certificates/10)); err != nil {
		return err
	}
	if err := t.report(ctx, types.AuditReportResponseFormatJson, parseJSONReport); err != nil {
		return err
	}
	if err := t.report(ctx, types.AuditReportResponseFormatCsv, parseCSVReport); err != nil {
		return err
	}
	return t.prove(ctx)
}

func (t *tour) say(format string, args ...any) {
	t.step++
	number := fmt.Sprintf("%2d.", t.step)
	if t.colour {
		number = "\x1b[1;36m" + number + "\x1b[0m"
	}
	fmt.Fprintln(t.out, number, fmt.Sprintf(format, args...))
}

func (t *tour) show(lines ...string) {
	for _, l := range lines {
		fmt.Fprintln(t.out, "     ", l)
	}
}

func (t *tour) makeBucket(ctx context.Context) error {
	t.bucket = "tour-" + strings.ToLower(rand.Text()[:8])
	if _, err := t.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &t.bucket}); err != nil {
		return fmt.Errorf("creating the bucket: %w", err)
	}
	if _, err := t.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &t.bucket, Policy: aws.String(string(bucket.PolicyFor(t.bucket, "", "")))}); err != nil {
		return fmt.Errorf("attaching the policy: %w", err)
	}
	t.say("A bucket whose policy lets acm-pca.amazonaws.com write: s3://%s", t.bucket)
	return nil
}

// makeCA makes a root and activates it as the API asks: its own CSR, signed by itself, imported.
func (t *tour) makeCA(ctx context.Context) error {
	out, err := t.pca.CreateCertificateAuthority(ctx, &acmpca.CreateCertificateAuthorityInput{
		CertificateAuthorityType: types.CertificateAuthorityTypeRoot,
		CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
			KeyAlgorithm:     types.KeyAlgorithmEcPrime256v1,
			SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
			Subject:          &types.ASN1Subject{CommonName: aws.String("Tour Root CA"), Organization: aws.String("Example"), Country: aws.String("US")},
		},
	})
	if err != nil {
		return fmt.Errorf("creating the CA: %w", err)
	}
	t.caARN = aws.ToString(out.CertificateAuthorityArn)
	csrIn := &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &t.caARN}
	waiter := acmpca.NewCertificateAuthorityCSRCreatedWaiter(t.pca, func(o *acmpca.CertificateAuthorityCSRCreatedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second
	})
	csr, err := waiter.WaitForOutput(ctx, csrIn, time.Minute)
	if err != nil {
		return fmt.Errorf("waiting for the CSR: %w", err)
	}
	issued, err := t.pca.IssueCertificate(ctx, &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: &t.caARN,
		Csr:                     []byte(aws.ToString(csr.Csr)),
		SigningAlgorithm:        types.SigningAlgorithmSha256withecdsa,
		TemplateArn:             aws.String("arn:aws:acm-pca:::template/RootCACertificate/V1"),
		Validity:                &types.Validity{Type: types.ValidityPeriodTypeYears, Value: aws.Int64(10)},
	})
	if err != nil {
		return fmt.Errorf("self-signing the root: %w", err)
	}
	t.issued[aws.ToString(issued.CertificateArn)] = true
	cert, err := t.pca.GetCertificate(ctx, &acmpca.GetCertificateInput{CertificateAuthorityArn: &t.caARN, CertificateArn: issued.CertificateArn})
	if err != nil {
		return fmt.Errorf("reading the root's certificate: %w", err)
	}
	_, err = t.pca.ImportCertificateAuthorityCertificate(ctx, &acmpca.ImportCertificateAuthorityCertificateInput{
		CertificateAuthorityArn: &t.caARN, Certificate: []byte(aws.ToString(cert.Certificate)),
	})
	if err != nil {
		return fmt.Errorf("activating the root: %w", err)
	}
	t.ca = aws.ToString(cert.Certificate)
	t.say("A root CA, active: %s", t.caARN)
	return nil
}

func (t *tour) issue(ctx context.Context, n int) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	b := terminal.NewBar(t.err, terminal.Options{Total: int64(n), What: "issuing"})
	arns := make(chan string, n)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i := range n {
		if gctx.Err() != nil {
			break // interrupted, or one failed
		}
		g.Go(func() error {
			csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
				Subject:  pkix.Name{CommonName: fmt.Sprintf("host-%04d.example.com", i+1), Organization: []string{"Example"}},
				DNSNames: []string{fmt.Sprintf("host-%04d.example.com", i+1)},
			}, key)
			if err != nil {
				return fmt.Errorf("making a CSR: %w", err)
			}
			out, err := t.pca.IssueCertificate(gctx, &acmpca.IssueCertificateInput{
				CertificateAuthorityArn: &t.caARN,
				Csr:                     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}),
				SigningAlgorithm:        types.SigningAlgorithmSha256withecdsa,
				Validity:                &types.Validity{Type: types.ValidityPeriodTypeDays, Value: aws.Int64(90)},
			})
			if err != nil {
				return fmt.Errorf("issuing: %w", err)
			}
			arns <- aws.ToString(out.CertificateArn)
			b.Set(int64(len(arns)))
			return nil
		})
	}
	if err = g.Wait(); err == nil {
		err = ctx.Err()
	}
	b.Clear()
	if err != nil {
		return err
	}
	close(arns)
	for arn := range arns {
		t.issued[arn] = true
	}
	t.say("%d certificates issued, each durable before it was answered", n)
	return nil
}

func (t *tour) revoke(ctx context.Context, n int) error {
	reasons := []types.RevocationReason{types.RevocationReasonKeyCompromise, types.RevocationReasonSuperseded, types.RevocationReasonCessationOfOperation}
	root := true
	for arn := range t.issued {
		if len(t.revoked) == n {
			break
		}
		serial := arn[strings.LastIndexByte(arn, '/')+1:]
		reason := reasons[len(t.revoked)%len(reasons)]
		_, err := t.pca.RevokeCertificate(ctx, &acmpca.RevokeCertificateInput{
			CertificateAuthorityArn: &t.caARN, CertificateSerial: &serial, RevocationReason: reason,
		})
		if _, ok := errors.AsType[*types.InvalidRequestException](err); ok && root {
			root = false // a root's own certificate cannot be revoked; there is one
			continue
		}
		if err != nil {
			return fmt.Errorf("revoking: %w", err)
		}
		t.revoked[arn] = string(reason)
	}
	t.say("%d of them revoked", n)
	return nil
}

// reportRow is what the tour checks of a row.
type reportRow struct {
	CertificateArn   string `json:"certificateArn"`
	RevocationReason string `json:"revocationReason"`
}

func (t *tour) report(ctx context.Context, format types.AuditReportResponseFormat, parse func([]byte) ([]reportRow, []string, error)) error {
	out, err := t.pca.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &t.caARN, S3BucketName: &t.bucket, AuditReportResponseFormat: format,
	})
	if err != nil {
		return fmt.Errorf("creating the %s report: %w", format, err)
	}
	r, err := waitForReport(ctx, t.pca, t.caARN, aws.ToString(out.AuditReportId), 5*time.Minute, t.err)
	if err != nil {
		return err
	}
	object, err := t.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: &t.bucket, Key: &r.Key})
	if err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	defer object.Body.Close()
	file, err := io.ReadAll(object.Body)
	if err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	rows, sample, err := parse(file)
	if err != nil {
		return fmt.Errorf("the %s report does not parse: %w", format, err)
	}
	if err := t.check(rows); err != nil {
		return fmt.Errorf("the %s report is wrong: %w", format, err)
	}
	t.keys = append(t.keys, r.Key)
	t.say("Audit report (%s): s3://%s/%s", format, r.Bucket, r.Key)
	t.show(sample...)
	t.show(fmt.Sprintf("checked: %d rows, %d revoked; exactly what the API acknowledged, no more and no less", len(rows), len(t.revoked)))
	return nil
}

// check compares a report with everything that the API acknowledged.
func (t *tour) check(rows []reportRow) error {
	seen := map[string]bool{}
	for _, r := range rows {
		switch {
		case seen[r.CertificateArn]:
			return fmt.Errorf("%s is listed twice", r.CertificateArn)
		case !t.issued[r.CertificateArn]:
			return fmt.Errorf("%s is listed and was never acknowledged", r.CertificateArn)
		case r.RevocationReason != t.revoked[r.CertificateArn]:
			return fmt.Errorf("%s is listed with the revocation reason %q, want %q", r.CertificateArn, r.RevocationReason, t.revoked[r.CertificateArn])
		}
		seen[r.CertificateArn] = true
	}
	if len(seen) != len(t.issued) {
		return fmt.Errorf("%d of %d certificates are listed", len(seen), len(t.issued))
	}
	return nil
}

func parseJSONReport(file []byte) (rows []reportRow, sample []string, err error) {
	if err := json.Unmarshal(file, &rows); err != nil {
		return nil, nil, err
	}
	return rows, sampleOf(file, rows), nil
}

func parseCSVReport(file []byte) (rows []reportRow, sample []string, err error) {
	records, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
	if err != nil {
		return nil, nil, err
	}
	for _, r := range records[1:] {
		rows = append(rows, reportRow{CertificateArn: r[2], RevocationReason: r[9]})
	}
	return rows, sampleOf(file, rows), nil
}

// sampleOf is a report's first line and the first row that is revoked; in both
// formats the rows are the lines after the first.
func sampleOf(file []byte, rows []reportRow) []string {
	lines := strings.Split(string(file), "\n")
	for i, r := range rows {
		if r.RevocationReason != "" && i+1 < len(lines) {
			return []string{lines[0], "...", lines[i+1], "..."}
		}
	}
	return lines[:1]
}

// prove does what an auditor does with the two reports, and then what a forger
// might.
func (t *tour) prove(ctx context.Context) error {
	d := download{s3: t.s3, bucket: t.bucket, to: t.dir}
	var got []*downloaded
	for _, key := range t.keys {
		one, err := d.report(ctx, key, t.err)
		if err != nil {
			return err
		}
		got = append(got, one)
	}
	first, second := got[0], got[1]
	known, err := os.ReadFile(first.Manifest)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	heads, err := proof.ParseKnown(known, "the JSON report")
	if err != nil {
		return err
	}
	result, err := t.verify(ctx, second.Report, second, heads)
	if err != nil {
		return err
	}
	if result.ExitCode() != 0 {
		return fmt.Errorf("the report does not verify: %+v", result.Verdicts)
	}
	t.say("The same as an auditor sees it, offline: the report, its manifest and the log from the bucket")
	t.show(wrapped("proven: ", result.Verdict(proof.Completeness).Words)...)
	t.show(wrapped("and since the first report: ", result.Verdict(proof.Consistency).Words)...)

	file, err := os.ReadFile(first.Report)
	if err != nil {
		return fmt.Errorf("reading the report: %w", err)
	}
	lines := strings.SplitAfter(string(file), "\n")
	forged := filepath.Join(t.dir, "forged.json")
	if err := os.WriteFile(forged, []byte(strings.Join(append(lines[:2:2], lines[3:]...), "")), 0o600); err != nil {
		return fmt.Errorf("writing the forged report: %w", err)
	}
	if result, err = t.verify(ctx, forged, first, nil); err != nil {
		return err
	}
	v := result.Verdict(proof.Integrity)
	if result.ExitCode() != 1 || v.Class != proof.ClassReportBytes {
		return fmt.Errorf("a forged report verifies: %+v", result.Verdicts)
	}
	t.say("A copy of the first report, from which somebody took a row")
	t.show(wrapped("FAIL ["+v.Class+"] ", v.Words)...)
	return nil
}

// verify verifies a file as the report that was downloaded.
func (t *tour) verify(ctx context.Context, file string, d *downloaded, known []proof.KnownHead) (*proof.Result, error) {
	manifest, err := os.ReadFile(d.Manifest)
	if err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("opening the report: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("opening the report: %w", err)
	}
	ca, _ := pem.Decode([]byte(t.ca))
	if ca == nil {
		return nil, errors.New("the CA's certificate is not PEM")
	}
	return proof.Verify(ctx, proof.VerifyConfig{
		Report: f, ReportSize: info.Size(), Manifest: manifest, Log: os.DirFS(d.Log),
		CACertificates: [][]byte{ca.Bytes}, Known: known,
	})
}

// wrapped is a text in lines.
func wrapped(lead, text string) (lines []string) {
	line := lead
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) > 90 {
			lines = append(lines, strings.TrimRight(line, " "))
			line = "  "
		}
		line += word + " "
	}
	return append(lines, strings.TrimRight(line, " "))
}

func (t *tour) next(cfg serveConfig, keep bool) {
	dir := "DIR"
	if keep {
		dir = shellQuote(cfg.DataDir)
		t.say("Next: use this server, in another terminal")
	} else {
		t.say("Next: a server of your own, and clients in another terminal")
		t.show(self() + " serve --data-dir " + dir)
	}
	t.show(
		`eval "$(`+self()+` env --data-dir `+dir+`)"`,
		"aws acm-pca list-certificate-authorities",
		"aws s3 ls",
	)
	if keep {
		t.show(self() + " verify " + shellQuote(filepath.Join(t.dir, filepath.Base(t.keys[0]))))
	}
}
