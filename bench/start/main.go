// Command start measures how long the server takes from its exec until it
// serves, over large stores, also after it was killed.
package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/bench"
)

func main() { newProgram().Main() }

type options struct {
	sizes           bench.Counts
	objects, rounds uint64
	load            time.Duration
}

func newProgram() *bench.Program {
	o := options{sizes: bench.Counts{1_000_000}, objects: 2000, rounds: 5, load: 2 * time.Second}
	return &bench.Program{
		Name: "start", Unit: "starts",
		Floor: "the same, over a data folder with one certificate authority and nothing else",
		Help: `start measures how long the server takes from its exec until /healthz answers 200,
and until it has answered its first calls: GetCertificate of a random
certificate, then IssueCertificate. It is started after it was stopped in order,
and after it was killed (kill -9) while 64 connections issued certificates, so
that there is a WAL to read. What is printed is the median of all rounds, and the
slowest.
With its defaults it takes about a minute, and half a gigabyte of disk.`,
		Flags: func(set *flag.FlagSet) {
			set.Var(&o.sizes, "certificates", "sizes of the store, separated by commas")
			bench.Count(set, &o.objects, "objects", "how many objects there are in the server's buckets")
			bench.Count(set, &o.rounds, "rounds", "starts of each kind")
			set.DurationVar(&o.load, "load", o.load, "how long certificates are issued before a kill")
		},
		Check: func() error {
			if o.rounds == 0 {
				return errors.New("--rounds must be at least 1")
			}
			return nil
		},
		Measure: func(ctx context.Context, r *bench.Run) error { return run(ctx, r, o) },
	}
}

func run(ctx context.Context, r *bench.Run, o options) error {
	binary, err := bench.Build(r.Dir)
	if err != nil {
		return err
	}
	csrs, err := bench.CSRs(16)
	if err != nil {
		return err
	}
	small := &folder{binary: binary, data: filepath.Join(r.Dir, "small"), csrs: csrs}
	if err := small.fill(ctx, 1, 1); err != nil {
		return err
	}
	floor, err := small.starts(ctx, o.rounds, nil)
	if err != nil {
		return err
	}
	for _, n := range o.sizes {
		f := &folder{binary: binary, data: filepath.Join(r.Dir, fmt.Sprint(n)), csrs: csrs}
		if err := f.fill(ctx, n, o.objects); err != nil {
			return fmt.Errorf("%d certificates: %w", n, err)
		}
		stopped, err := f.starts(ctx, o.rounds, nil)
		if err != nil {
			return fmt.Errorf("%d certificates: %w", n, err)
		}
		f.report(r, n, "stopped", stopped, floor)
		killed, err := f.starts(ctx, o.rounds, func(ctx context.Context, s *bench.Server) error { return f.kill(ctx, s, o.load) })
		if err != nil {
			return fmt.Errorf("%d certificates, killed: %w", n, err)
		}
		f.report(r, n, "killed", killed, floor)
	}
	return nil
}

// folder is a data folder with one CA.
type folder struct {
	binary, data string
	csrs         [][]byte
	ca           string
	serials      [][]byte
	wal          int64 // the largest that a kill left
}

// fill makes the store, and small objects in a bucket.
func (f *folder) fill(ctx context.Context, certificates, objects uint64) (err error) {
	if f.ca, err = bench.NewStore(ctx, f.binary, f.data, certificates); err != nil {
		return err
	}
	if f.serials, err = bench.Serials(ctx, f.data, f.ca, 100); err != nil {
		return err
	}
	s, err := bench.Start(ctx, f.binary, f.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	const name = "bench-start"
	if err := s.MakeBucket(ctx, name); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range objects {
		g.Go(func() error {
			_, err := s.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(name), Key: aws.String(fmt.Sprint(i)), Body: bytes.NewReader([]byte("object"))})
			return err
		})
	}
	return g.Wait()
}

// times are what one start took from its exec until something.
type times struct{ up, get, issue time.Duration }

// starts starts the server over and over, and ends it with end; nil: it is stopped.
func (f *folder) starts(ctx context.Context, rounds uint64, end func(context.Context, *bench.Server) error) (all []times, err error) {
	if end != nil { // the first round must find what end leaves, too
		s, err := bench.Start(ctx, f.binary, f.data)
		if err != nil {
			return nil, err
		}
		if err := end(ctx, s); err != nil {
			return nil, err
		}
	} else {
		end = func(_ context.Context, s *bench.Server) error { return s.Stop() }
	}
	for i := range rounds {
		s, err := bench.Start(ctx, f.binary, f.data)
		if err != nil {
			return nil, err
		}
		t, err := f.firstCalls(ctx, s, f.serials[i%uint64(len(f.serials))])
		if err = errors.Join(err, end(ctx, s)); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, nil
}

func (f *folder) firstCalls(ctx context.Context, s *bench.Server, serial []byte) (t times, err error) {
	issuer, err := s.Issuer(ctx, f.ca, f.csrs, 1)
	if err != nil {
		return t, err
	}
	defer issuer.Close()
	t.up = s.Up
	// What this program does between its calls is not the server's time.
	began := time.Now()
	if _, err := issuer.Call(ctx, "GetCertificate", bench.Body(map[string]any{"CertificateAuthorityArn": f.ca, "CertificateArn": bench.CertificateARN(f.ca, serial)})); err != nil {
		return t, fmt.Errorf("certificate %s: %w", hex.EncodeToString(serial), err)
	}
	t.get = t.up + time.Since(began)
	if err := issuer.Issue(ctx); err != nil {
		return t, err
	}
	t.issue = t.up + time.Since(began)
	return t, nil
}

// kill ends the server while it issues.
func (f *folder) kill(ctx context.Context, s *bench.Server, load time.Duration) error {
	const connections = 64
	issuer, err := s.Issuer(ctx, f.ca, f.csrs, connections)
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	defer issuer.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g errgroup.Group
	for range connections {
		g.Go(func() error {
			for ctx.Err() == nil {
				if issuer.Issue(ctx) != nil {
					return nil // it was killed
				}
			}
			return nil
		})
	}
	time.Sleep(load)
	err = s.Kill()
	cancel()
	err = errors.Join(err, g.Wait())
	if info, serr := os.Stat(filepath.Join(f.data, "chirograph.db-wal")); serr == nil {
		f.wal = max(f.wal, info.Size())
	}
	return err
}

func (f *folder) report(r *bench.Run, n uint64, what string, all, floor []times) {
	for _, c := range []struct {
		until string
		of    func(times) time.Duration
	}{
		{"serving", func(t times) time.Duration { return t.up }},
		{"GetCertificate", func(t times) time.Duration { return t.get }},
		{"IssueCertificate", func(t times) time.Duration { return t.issue }},
	} {
		took, least := sorted(all, c.of), sorted(floor, c.of)
		middle := took[len(took)/2]
		r.Report(bench.Result{
			What: what + ", until " + c.until, Size: n, Units: 1, Seconds: middle.Seconds(),
			P50: middle.Seconds() * 1e3, Max: took[len(took)-1].Seconds() * 1e3,
			FloorSeconds: least[len(least)/2].Seconds(),
		})
	}
	if what == "killed" {
		r.Note("the largest WAL that a kill left had %.0f MB", float64(f.wal)/1e6)
	}
}

func sorted(all []times, of func(times) time.Duration) (took []time.Duration) {
	for _, t := range all {
		took = append(took, of(t))
	}
	slices.Sort(took)
	return took
}
