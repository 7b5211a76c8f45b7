// Command report measures audit reports of large CAs: it seeds a store with
// real log entries, has the real server in its own process write the report to
// its bucket, and prints rows a second, CPU time a row and the peak of the
// whole process's memory; beside it, in the same run, what PostgreSQL needs to
// COPY the same rows as JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bench"
)

const bucketName = "bench-reports"

type options struct {
	certificates []uint64
	formats      []types.AuditReportResponseFormat
	revoked      float64
	dir          string
	postgresRows uint64
	output       string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("report: ")
	var o options
	certificates := flag.String("certificates", "1000000,10000000", "sizes of the CA, separated by commas")
	formats := flag.String("formats", "JSON,CSV", "formats, separated by commas")
	flag.Float64Var(&o.revoked, "revoked", 0.02, "part of the certificates that are revoked")
	flag.StringVar(&o.dir, "dir", "", "folder for the stores, emptied afterwards (default: a temporary one); 10 million certificates need about 12 GB")
	flag.Uint64Var(&o.postgresRows, "postgres", 1_000_000, "largest CA whose rows PostgreSQL copies as well, where it is installed; 0: none")
	flag.StringVar(&o.output, "output", "text", "text or json")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "report measures audit reports of large CAs.\n\nFlags:")
		flag.PrintDefaults()
	}
	flag.Parse()
	for _, s := range strings.Split(*certificates, ",") {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n == 0 {
			log.Fatalf("-certificates: %q is not a number of certificates", s)
		}
		o.certificates = append(o.certificates, n)
	}
	for _, s := range strings.Split(*formats, ",") {
		o.formats = append(o.formats, types.AuditReportResponseFormat(strings.ToUpper(s)))
	}
	if err := run(context.Background(), o); err != nil {
		log.Fatal(err)
	}
}

// result is one line of the table.
type result struct {
	Certificates  uint64  `json:"certificates"`
	What          string  `json:"what"`
	Seconds       float64 `json:"seconds"`
	RowsPerSecond float64 `json:"rowsPerSecond"`
	UserPerRow    float64 `json:"userNanosecondsPerRow,omitempty"`   // in the server's own code
	SystemPerRow  float64 `json:"systemNanosecondsPerRow,omitempty"` // in the kernel, which copies the file to the disk's cache
	Bytes         int64   `json:"bytes,omitempty"`
	PeakMemory    int64   `json:"peakResidentBytes,omitempty"`
	Ratio         float64 `json:"ratioToPostgreSQL,omitempty"`
}

func run(ctx context.Context, o options) error {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "chirograph-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	binary, err := bench.Build(o.dir)
	if err != nil {
		return err
	}
	if o.output == "text" {
		fmt.Println(bench.Machine())
		fmt.Printf("\n%13s  %-22s %9s %12s %12s %14s %9s %9s\n", "certificates", "what", "seconds", "rows/s", "user ns/row", "system ns/row", "MB", "peak MiB")
	}
	var all []result
	for _, n := range o.certificates {
		results, err := measure(ctx, o, binary, n)
		if err != nil {
			return fmt.Errorf("%d certificates: %w", n, err)
		}
		all = append(all, results...)
		if o.output != "text" {
			continue
		}
		for _, r := range results {
			fmt.Printf("%13d  %-22s %9.2f %12.0f %12s %14s %9s %9s\n", r.Certificates, r.What, r.Seconds, r.RowsPerSecond,
				positive(r.UserPerRow), positive(r.SystemPerRow), positive(float64(r.Bytes)/1e6), positive(float64(r.PeakMemory)/(1<<20)))
			if r.UserPerRow > 0 {
				fmt.Printf("%13s  before the disk: %.1f million rows/s on two CPUs, by user time alone\n", "", 2e3/r.UserPerRow)
			}
			if r.Ratio > 0 {
				fmt.Printf("%13s  JSON report is %.1f times as fast as PostgreSQL's COPY\n", "", r.Ratio)
			}
		}
	}
	if o.output == "json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"machine": bench.Machine(), "results": all})
	}
	return nil
}

func positive(f float64) string {
	if f == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f", f)
}

func measure(ctx context.Context, o options, binary string, n uint64) (results []result, err error) {
	dir := filepath.Join(o.dir, fmt.Sprint(n))
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data := filepath.Join(dir, "data")
	s, err := bench.Start(ctx, binary, data)
	if err != nil {
		return nil, err
	}
	ca, err := s.MakeCA(ctx)
	if err == nil {
		err = s.MakeBucket(ctx, bucketName)
	}
	if err = errors.Join(err, s.Stop()); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := bench.Seed(ctx, data, ca, n, o.revoked); err != nil {
		return nil, fmt.Errorf("seeding: %w", err)
	}
	results = append(results, line(n, "seeding the store", time.Since(start), n))
	var csv string
	var jsonRate float64
	for _, format := range o.formats {
		// A fresh process each time, so that the peak of its memory is the report's.
		if s, err = bench.Start(ctx, binary, data, "--audit-min-interval", "0s"); err != nil {
			return nil, err
		}
		r, key, err := report(ctx, s, ca, format)
		if err == nil && format == types.AuditReportResponseFormatCsv && n <= o.postgresRows {
			csv = filepath.Join(dir, "report.csv")
			err = download(ctx, s, key, csv)
		}
		if err = errors.Join(err, s.Stop()); err != nil {
			return nil, err
		}
		r.Certificates, r.RowsPerSecond = n, float64(n)/r.Seconds
		r.UserPerRow, r.SystemPerRow = r.UserPerRow/float64(n), r.SystemPerRow/float64(n)
		if format == types.AuditReportResponseFormatJson {
			jsonRate = r.RowsPerSecond
		}
		results = append(results, r)
	}
	if csv == "" {
		return results, nil
	}
	took, err := copyWithPostgreSQL(ctx, dir, csv)
	if errors.Is(err, errNoPostgreSQL) {
		fmt.Fprintln(os.Stderr, "report: PostgreSQL is not installed; its COPY is left out")
		return results, nil
	}
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL: %w", err)
	}
	r := line(n, "PostgreSQL COPY, JSON", took, n)
	r.Ratio = jsonRate / r.RowsPerSecond
	return append(results, r), nil
}

func line(n uint64, what string, took time.Duration, rows uint64) result {
	return result{Certificates: n, What: what, Seconds: took.Seconds(), RowsPerSecond: float64(rows) / took.Seconds()}
}

func report(ctx context.Context, s *bench.Server, ca string, format types.AuditReportResponseFormat) (result, string, error) {
	user, system, err := s.CPU()
	if err != nil {
		return result{}, "", err
	}
	start := time.Now()
	out, err := s.PCA.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &ca, S3BucketName: aws.String(bucketName), AuditReportResponseFormat: format,
	})
	if err != nil {
		return result{}, "", err
	}
	for {
		d, err := s.PCA.DescribeCertificateAuthorityAuditReport(ctx, &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &ca, AuditReportId: out.AuditReportId})
		if err != nil {
			return result{}, "", err
		}
		if d.AuditReportStatus == types.AuditReportStatusFailed {
			return result{}, "", errors.New("the report failed")
		}
		if d.AuditReportStatus == types.AuditReportStatusSuccess {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	took := time.Since(start)
	userAfter, systemAfter, err := s.CPU()
	if err != nil {
		return result{}, "", err
	}
	_, peak, err := s.Memory()
	if err != nil {
		return result{}, "", err
	}
	head, err := s.S3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(bucketName), Key: out.S3Key})
	if err != nil {
		return result{}, "", err
	}
	return result{
		What: string(format) + " report", Seconds: took.Seconds(), UserPerRow: float64((userAfter - user).Nanoseconds()), SystemPerRow: float64((systemAfter - system).Nanoseconds()),
		Bytes: aws.ToInt64(head.ContentLength), PeakMemory: peak,
	}, *out.S3Key, nil
}

func download(ctx context.Context, s *bench.Server, key, path string) error {
	out, err := s.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucketName), Key: &key})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, out.Body)
	return errors.Join(err, f.Close())
}
