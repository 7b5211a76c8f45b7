// Command seed fills the CA of a data folder whose server is not running with
// certificates, for tests and benchmarks: real log, tree and packs, millions of
// certificates a minute.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/terminal"
)

func main() { newProgram().Main() }

func newProgram() *bench.Program {
	var bucket string
	s := bench.Seeding{Certificates: 1_000_000, Revoked: 0.02}
	return &bench.Program{
		Name: "seed", Unit: "certificates",
		Help: `seed fills a CA with certificates while its server is stopped: real certificates
but for their signatures, real log entries, tree and packs. What was there stays.
Stopped by Ctrl-C it leaves a sound store with what was written until then.
Without --ca it starts the server over the folder first, makes a CA and a bucket
for its reports, and stops it again; the CA's ARN is printed, also as JSON.

It adds 10 to 20 million certificates a minute on two processors. Where there are
many, each takes about 180 bytes of disk, with --compact 135, and while it runs 300 MB more.
A peer's command is run after all are there.`,
		Flags: func(set *flag.FlagSet) {
			set.StringVar(&s.DataDir, "data-dir", "", "the server's data `folder`")
			set.StringVar(&s.CA, "ca", "", "`ARN` of the certificate authority (default: a new one)")
			set.StringVar(&bucket, "bucket", "bench-reports", "`name` of the bucket that is made with a new CA")
			bench.Count(set, &s.Certificates, "certificates", "how many certificates to add")
			set.Float64Var(&s.Revoked, "revoked", s.Revoked, "part of them that is revoked, up to 0.5")
			set.BoolVar(&s.Compact, "compact", false, "small certificates with short subjects, and serial numbers that compress, for very large stores")
			set.DurationVar(&s.Dates, "dates", 0, "how far back the certificates begin to be valid, at random, such as 2000h (default an hour, all of them)")
		},
		Check: func() error {
			if s.DataDir == "" {
				return errors.New("give --data-dir")
			}
			if s.Revoked < 0 || s.Revoked > 0.5 || s.Dates < 0 {
				return errors.New("--revoked goes from 0 to 0.5, and --dates is not negative")
			}
			return nil
		},
		Measure: func(ctx context.Context, r *bench.Run) error { return run(ctx, r, s, bucket) },
	}
}

func run(ctx context.Context, r *bench.Run, s bench.Seeding, bucket string) error {
	if s.CA == "" {
		binary, err := bench.Build(r.Dir)
		if err != nil {
			return err
		}
		if s.CA, err = bench.MakeStore(ctx, binary, s.DataDir, bucket); err != nil {
			return err
		}
		r.Note("CA %s, bucket %s", s.CA, bucket)
	}
	database := filepath.Join(s.DataDir, "chirograph.db")
	before, err := os.Stat(database)
	if err != nil {
		return err
	}
	bar := terminal.NewBar(r.Stderr, terminal.Options{Total: int64(s.Certificates), What: "seeding"})
	var stored uint64
	s.Progress = func(n uint64) {
		stored = n
		bar.Set(int64(n))
	}
	start, cpu := time.Now(), bench.OwnCPU()
	err = s.Run(ctx)
	took := time.Since(start)
	bar.Clear()
	if err != nil {
		return fmt.Errorf("after %d certificates, which are stored: %w", stored, err)
	}
	after, err := os.Stat(database)
	if err != nil {
		return err
	}
	_, peak, err := bench.Memory(os.Getpid())
	if err != nil {
		return err
	}
	n := float64(s.Certificates)
	res := bench.Result{
		What: "seeded", Size: s.Certificates, Units: n, Seconds: took.Seconds(), CPU: float64((bench.OwnCPU() - cpu).Microseconds()) / n,
		Bytes: after.Size() - before.Size(), Peak: peak,
	}
	r.Report(res)
	r.Note("%.1f million a minute, %.1f bytes each", n/took.Minutes()/1e6, float64(res.Bytes)/n)
	return r.Peer(ctx, res)
}
