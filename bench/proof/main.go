// Command proof measures what the proof costs: the CPU time that the log adds
// to issuing a certificate, the bytes it stores, the size of the bundle beside a
// report, and how fast and in how much memory the verifier goes through it. The
// floors are measured in the same run: checking a CSR and signing a certificate,
// and sha256sum of the same report.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"

	"chirograph.dev/internal/bench"
)

const bucketName = "bench-proofs"

type options struct {
	rows    []uint64
	format  types.AuditReportResponseFormat
	revoked float64
	dir     string
	repeat  int
	output  string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("proof: ")
	var o options
	rows := flag.String("rows", "1000000", "certificates of the CA, several sizes separated by commas")
	format := flag.String("format", "JSON", "format of the report, JSON or CSV")
	flag.Float64Var(&o.revoked, "revoked", 0.02, "part of the certificates that are revoked")
	flag.StringVar(&o.dir, "dir", "", "folder to work in, emptied afterwards (default: a temporary one); 10 million rows need about 20 GB")
	flag.IntVar(&o.repeat, "repeat", 3, "how often each program runs; the fastest run counts")
	flag.StringVar(&o.output, "output", "text", "text or json")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "proof measures what provable reports cost.\n\nFlags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.format = types.AuditReportResponseFormat(strings.ToUpper(*format))
	for _, s := range strings.Split(*rows, ",") {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n == 0 {
			log.Fatalf("-rows: %q is not a number of certificates", s)
		}
		o.rows = append(o.rows, n)
	}
	if err := run(context.Background(), o); err != nil {
		log.Fatal(err)
	}
}

// result is what one size gave.
type result struct {
	Rows          uint64  `json:"rows"`
	Entries       uint64  `json:"entries"`
	ReportBytes   int64   `json:"reportBytes"`
	ManifestBytes int64   `json:"manifestBytes"`
	LogBytes      int64   `json:"logBytes"` // beside the report, once for all reports of the CA
	EntryPerCert  float64 `json:"storedEntryBytesPerCertificate"`
	TreePerCert   float64 `json:"storedTreeBytesPerCertificate"`
	Runs          []timed `json:"runs"`
}

// timed is the fastest run of a program.
type timed struct {
	What       string  `json:"what"`
	Seconds    float64 `json:"seconds"`
	CPU        float64 `json:"cpuSeconds"`
	RowsPerSec float64 `json:"rowsPerSecond"`
	Peak       int64   `json:"peakResidentBytes"`
	Ratio      float64 `json:"ratioToSha256sum"` // of the seconds
}

func run(ctx context.Context, o options) (err error) {
	if o.dir == "" {
		if o.dir, err = os.MkdirTemp("", "chirograph-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(o.dir)
	}
	cost, err := issuing()
	if err != nil {
		return err
	}
	if o.output == "text" {
		fmt.Println(bench.Machine())
		cost.print()
	}
	server, err := bench.Build(o.dir)
	if err != nil {
		return err
	}
	verifier, err := bench.BuildCommand(o.dir, "chirograph-verify")
	if err != nil {
		return err
	}
	var all []result
	for _, n := range o.rows {
		r, err := measure(ctx, o, server, verifier, n)
		if err != nil {
			return fmt.Errorf("%d rows: %w", n, err)
		}
		all = append(all, *r)
		if o.output == "text" {
			r.print()
		}
	}
	if o.output == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"machine": bench.Machine(), "issuing": cost, "results": all})
	}
	return nil
}

func (r *result) print() {
	n := float64(r.Rows)
	fmt.Printf("\n%d rows, %d log entries\n", r.Rows, r.Entries)
	fmt.Printf("  stored per certificate: %.1f bytes of entries (packed), %.3f bytes of tree\n", r.EntryPerCert, r.TreePerCert)
	fmt.Printf("  bundle: manifest %d bytes, log %.1f MB (%.1f bytes per row, once for all reports), beside a report of %.1f MB\n", r.ManifestBytes, float64(r.LogBytes)/1e6, float64(r.LogBytes)/n, float64(r.ReportBytes)/1e6)
	fmt.Printf("  %-32s %9s %9s %12s %9s %12s\n", "", "seconds", "CPU s", "rows/s", "peak MiB", "x sha256sum")
	for _, t := range r.Runs {
		fmt.Printf("  %-32s %9.2f %9.2f %12.0f %9.0f %12.2f\n", t.What, t.Seconds, t.CPU, t.RowsPerSec, float64(t.Peak)/(1<<20), t.Ratio)
	}
}

func measure(ctx context.Context, o options, server, verifier string, n uint64) (_ *result, err error) {
	dir := filepath.Join(o.dir, fmt.Sprint(n))
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data := filepath.Join(dir, "data")
	s, err := bench.Start(ctx, server, data)
	if err != nil {
		return nil, err
	}
	ca, err := s.MakeCA(ctx)
	if err == nil {
		err = s.MakeBucket(ctx, bucketName)
	}
	var certificate string
	if err == nil {
		certificate, err = writeCertificate(ctx, s, ca, dir)
	}
	if err = errors.Join(err, s.Stop()); err != nil {
		return nil, err
	}
	if err := bench.Seed(ctx, data, ca, n, o.revoked); err != nil {
		return nil, fmt.Errorf("seeding: %w", err)
	}
	if s, err = bench.Start(ctx, server, data, "--audit-min-interval", "0s"); err != nil {
		return nil, err
	}
	reports := filepath.Join(dir, "reports")
	file, err := report(ctx, o, s, server, data, ca, reports)
	if err = errors.Join(err, s.Stop()); err != nil {
		return nil, err
	}
	r := &result{Rows: n + 1} // and the root
	if err := r.sizes(data, file); err != nil {
		return nil, err
	}
	// The report and the log are in the disk's cache, or not, for all alike.
	state := filepath.Join(dir, "state")
	full := []string{verifier, file, "--ca-certificate", certificate, "--state", state, "--output", "json"}
	for _, p := range []struct {
		what string
		args []string
	}{
		{"sha256sum", []string{"sha256sum", file}},
		{"verify, the log replayed", full},
		{"verify --workers 1", append(full, "--workers", "1")},
		{"verify --serials", append(full, "--serials")},
		{"verify --quick", append(full, "--quick")},
		{"fsck (of the data folder)", []string{server, "fsck", "--data-dir", data}},
		{"fsck --quick, as at each start", []string{server, "fsck", "--data-dir", data, "--quick"}},
	} {
		t, err := best(ctx, p.what, p.args, o.repeat)
		if err != nil {
			return nil, err
		}
		t.RowsPerSec = float64(r.Rows) / t.Seconds
		if t.Ratio = 1; len(r.Runs) > 0 {
			t.Ratio = t.Seconds / r.Runs[0].Seconds
		}
		r.Runs = append(r.Runs, t)
	}
	return r, nil
}

// report has the report written and downloads it with its bundle, the way that
// an auditor would.
func report(ctx context.Context, o options, s *bench.Server, server, data, ca, to string) (string, error) {
	out, err := s.PCA.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &ca, S3BucketName: aws.String(bucketName), AuditReportResponseFormat: o.format,
	})
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, s.Log())
	}
	in := &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &ca, AuditReportId: out.AuditReportId}
	if err := acmpca.NewAuditReportCreatedWaiter(s.PCA).Wait(ctx, in, time.Hour); err != nil {
		return "", fmt.Errorf("%w\n%s", err, s.Log())
	}
	cmd := exec.CommandContext(ctx, server, "audit-report", "download", "--data-dir", data, "--ca", ca, "--id", *out.AuditReportId, "--to", to)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("downloading: %w\n%s", err, text)
	}
	return filepath.Join(to, filepath.Base(*out.S3Key)), nil
}

func writeCertificate(ctx context.Context, s *bench.Server, ca, dir string) (string, error) {
	out, err := s.PCA.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &ca})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "ca.pem")
	return file, os.WriteFile(file, []byte(*out.Certificate), 0o600)
}

// sizes measures what is stored and what lies beside the report.
func (r *result) sizes(data, file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	r.ReportBytes = info.Size()
	if info, err = os.Stat(file + ".manifest"); err != nil {
		return err
	}
	r.ManifestBytes = info.Size()
	err = filepath.WalkDir(filepath.Join(filepath.Dir(file), "log"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			r.LogBytes += info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	return r.stored(filepath.Join(data, "chirograph.db"))
}

// best runs a program some times; the fastest run counts, and the highest peak.
func best(ctx context.Context, what string, args []string, repeat int) (timed, error) {
	t := timed{What: what}
	for i := range repeat {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		start := time.Now()
		if err := cmd.Start(); err != nil {
			return t, err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var err error
		for running := true; running; {
			select {
			case err = <-ended:
				running = false
			case <-time.After(5 * time.Millisecond):
				if _, peak, err := bench.Memory(cmd.Process.Pid); err == nil { // else it has just ended
					t.Peak = max(t.Peak, peak)
				}
			}
		}
		took := time.Since(start).Seconds()
		// 3: nothing from before was known, which the first run cannot.
		if code := cmd.ProcessState.ExitCode(); err != nil && (code != 3 || what == "sha256sum") {
			return t, fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, said.String())
		}
		if i == 0 || took < t.Seconds {
			t.Seconds = took
			t.CPU = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		}
	}
	return t, nil
}
