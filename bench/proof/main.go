// Command proof measures what the proof costs: the CPU time that the log adds
// to issuing a certificate, the bytes it stores, the size of the bundle beside a
// report, and how fast and in how much memory the verifier goes through it. The
// floors are measured in the same run: checking a CSR and signing a certificate,
// and sha256sum of the same report.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"

	"chirograph.dev/internal/bench"
)

const bucketName = "bench-proofs"

type options struct {
	rows    bench.Counts
	format  string
	revoked float64
	compact bool
	repeat  uint64
	rounds  uint64
}

func main() { newProgram().Main() }

func newProgram() *bench.Program {
	o := options{rows: bench.Counts{1_000_000}, revoked: 0.02, repeat: 3, rounds: 5}
	return &bench.Program{
		Name: "proof", Unit: "certificates",
		Floor: "checking a CSR, building and signing a certificate, for what the log adds; sha256sum of the same report, for those that read it",
		Help: `proof measures what provable reports cost: the CPU time that the log adds to issuing
a certificate, the bytes that it stores, the size of what lies beside a report, and
how fast and in how much memory the verifier goes through it, beside sha256sum of
the same file. What is read is in the disk's cache, or not, for all alike.

A million certificates take a minute or two and 2 GB of disk, 10 million some
minutes and 20 GB. A peer's command is run beside the verifier; it finds the report in
CHIROGRAPH_BENCH_REPORT.`,
		Flags: func(set *flag.FlagSet) {
			set.Var(&o.rows, "certificates", "sizes of the CA, separated by commas")
			set.StringVar(&o.format, "format", "JSON", "format of the report, JSON or CSV")
			set.Float64Var(&o.revoked, "revoked", o.revoked, "part of the certificates that is revoked")
			set.BoolVar(&o.compact, "compact", false, "seed as bench/seed --compact does")
			bench.Count(set, &o.repeat, "repeat", "how often each program runs; the fastest run counts")
			bench.Count(set, &o.rounds, "rounds", "rounds of issuing with and without the log; 0 leaves them out")
		},
		Check: func() error {
			if o.format != "JSON" && o.format != "CSV" {
				return fmt.Errorf("--format: %q is neither JSON nor CSV", o.format)
			}
			if o.repeat == 0 {
				return errors.New("--repeat is at least 1")
			}
			return nil
		},
		Measure: func(ctx context.Context, r *bench.Run) error { return run(ctx, r, o) },
	}
}

func run(ctx context.Context, r *bench.Run, o options) error {
	if o.rounds > 0 {
		if err := issuing(r, int(o.rounds)); err != nil {
			return err
		}
	}
	server, err := bench.Build(r.Dir)
	if err != nil {
		return err
	}
	verifier, err := bench.BuildCommand(r.Dir, "chirograph-verify")
	if err != nil {
		return err
	}
	for _, n := range o.rows {
		if err := measure(ctx, r, o, server, verifier, n); err != nil {
			return fmt.Errorf("%d certificates: %w", n, err)
		}
	}
	return nil
}

func measure(ctx context.Context, r *bench.Run, o options, server, verifier string, n uint64) (err error) {
	dir := filepath.Join(r.Dir, fmt.Sprint(n))
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	data := filepath.Join(dir, "data")
	ca, err := bench.MakeStore(ctx, server, data, bucketName)
	if err != nil {
		return err
	}
	if err := (bench.Seeding{DataDir: data, CA: ca, Certificates: n, Revoked: o.revoked, Compact: o.compact}).Run(ctx); err != nil {
		return fmt.Errorf("seeding: %w", err)
	}
	s, err := bench.Start(ctx, server, data, "--audit-min-interval", "0s")
	if err != nil {
		return err
	}
	certificate, err := writeCertificate(ctx, s, ca, dir)
	var file string
	if err == nil {
		file, err = report(ctx, o, s, server, data, ca, filepath.Join(dir, "reports"))
	}
	if err = errors.Join(err, s.Stop()); err != nil {
		return err
	}
	rows := n + 1 // and the root
	if err := sizes(ctx, r, data, file, rows); err != nil {
		return err
	}
	full := []string{verifier, file, "--ca-certificate", certificate, "--state", filepath.Join(dir, "state"), "--output", "json"}
	var floor bench.Result
	for i, p := range []struct {
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
		u, err := best(ctx, p.args, int(o.repeat), i > 0)
		if err != nil {
			return err
		}
		res := bench.Result{What: p.what, Size: n, Units: float64(rows), Seconds: u.Seconds, CPU: u.CPU * 1e6 / float64(rows), Peak: u.Peak}
		if i == 0 {
			floor = res
		} else {
			res.FloorSeconds, res.FloorCPU = floor.Seconds, floor.CPU
		}
		r.Report(res)
		if i == 1 {
			if err := r.Peer(ctx, res, "CHIROGRAPH_BENCH_REPORT="+file); err != nil {
				return err
			}
		}
	}
	return nil
}

// report has the report written and downloads it with its bundle, the way that
// an auditor would.
func report(ctx context.Context, o options, s *bench.Server, server, data, ca, to string) (string, error) {
	out, err := s.Report(ctx, ca, bucketName, types.AuditReportResponseFormat(o.format))
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, server, "audit-report", "download", "--data-dir", data, "--ca", ca, "--id", out.ID, "--to", to)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("downloading: %w\n%s", err, text)
	}
	return filepath.Join(to, filepath.Base(out.Key)), nil
}

func writeCertificate(ctx context.Context, s *bench.Server, ca, dir string) (string, error) {
	out, err := s.PCA.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &ca})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "ca.pem")
	return file, os.WriteFile(file, []byte(*out.Certificate), 0o600)
}

// sizes reports what is stored and what lies beside the report.
func sizes(ctx context.Context, r *bench.Run, data, file string, rows uint64) error {
	show := func(what string, bytes int64) {
		r.Report(bench.Result{What: what, Size: rows - 1, Units: float64(rows), Bytes: bytes})
		r.Note("%.3f bytes for each certificate", float64(bytes)/float64(rows))
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	show("the report", info.Size())
	if info, err = os.Stat(file + ".manifest"); err != nil {
		return err
	}
	show("its manifest", info.Size())
	var log int64
	err = filepath.WalkDir(filepath.Join(filepath.Dir(file), "log"), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			log += info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	show("the log, once beside all reports", log)
	entries, nodes, err := stored(ctx, filepath.Join(data, "chirograph.db"))
	if err != nil {
		return err
	}
	show("entries in the store", entries)
	show("tree in the store", nodes)
	return nil
}

// best runs a program some times; the fastest run counts, and the highest peak.
func best(ctx context.Context, args []string, repeat int, ours bool) (u bench.Usage, err error) {
	for i := range repeat {
		v, err := bench.RunCommand(exec.CommandContext(ctx, args[0], args[1:]...))
		// 3: nothing from before was known, which the first run cannot.
		var exit *exec.ExitError
		if err != nil && !(ours && errors.As(err, &exit) && exit.ExitCode() == 3) {
			return u, err
		}
		peak := max(u.Peak, v.Peak)
		if i == 0 || v.Seconds < u.Seconds {
			u = v
		}
		u.Peak = peak
	}
	return u, nil
}
