// Command issue measures durable issuance: P-256 certificates over HTTP with
// Signature V4, against the real server in its own process, and prints the
// server's CPU time per certificate as a ratio to the floor: checking a CSR and
// signing once, measured on the same machine in the same run.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/bench"
)

func main() { newProgram().Main() }

func newProgram() *bench.Program {
	duration := 5 * time.Second
	connections := bench.Counts{1, 16, 64}
	return &bench.Program{
		Name: "issue", Unit: "certificates",
		Floor: "checking a CSR and signing once, P-256, on every CPU at once",
		Help: `issue measures durable issuance: P-256 certificates over HTTP with Signature V4,
against the real server in its own process. Every certificate is synced to disk
before it is answered; the client runs on the same processors.

It takes about half a minute, and a few hundred megabytes of disk. A peer's
command finds the number of connections in CHIROGRAPH_BENCH_CONNECTIONS.`,
		Flags: func(set *flag.FlagSet) {
			set.DurationVar(&duration, "duration", duration, "how long each number of connections is measured")
			set.Var(&connections, "connections", "numbers of connections, separated by commas")
		},
		Measure: func(ctx context.Context, r *bench.Run) error { return run(ctx, r, duration, connections) },
	}
}

func run(ctx context.Context, r *bench.Run, duration time.Duration, connections []uint64) (err error) {
	binary, err := bench.Build(r.Dir)
	if err != nil {
		return err
	}
	csrs, err := bench.CSRs(512)
	if err != nil {
		return err
	}
	s, err := bench.Start(ctx, binary, filepath.Join(r.Dir, "data"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	ca, err := s.MakeCA(ctx)
	if err != nil {
		return err
	}
	if _, err := load(ctx, s, ca, csrs, 8, min(duration, time.Second)); err != nil { // warm up
		return err
	}
	// The floor is taken before and after each run: the machine may be shared.
	before, err := floor(csrs, duration)
	if err != nil {
		return err
	}
	for _, n := range connections {
		res, err := load(ctx, s, ca, csrs, int(n), duration)
		if err != nil {
			return err
		}
		after, err := floor(csrs, duration)
		if err != nil {
			return err
		}
		res.FloorCPU, before = (before+after)/2, after
		r.Report(res)
		if err := r.Peer(ctx, res, fmt.Sprintf("CHIROGRAPH_BENCH_CONNECTIONS=%d", n)); err != nil {
			return err
		}
	}
	return nil
}

// load keeps n connections busy for the duration.
func load(ctx context.Context, s *bench.Server, ca string, csrs [][]byte, n int, duration time.Duration) (bench.Result, error) {
	issuer, err := s.Issuer(ctx, ca, csrs, n)
	if err != nil {
		return bench.Result{}, err
	}
	defer issuer.Close()
	res, err := s.Load(ctx, n, duration, issuer.Issue)
	res.What = fmt.Sprintf("%d connections", n)
	return res, err
}

// floor is the CPU time in microseconds of what nobody can leave out: parsing
// and checking the CSR, and one signature. Every processor does it at once, as
// in the runs: processors that share a core are slower then.
func floor(csrs [][]byte, duration time.Duration) (float64, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return 0, err
	}
	duration = min(duration, time.Second)
	start, before := time.Now(), bench.OwnCPU()
	var rounds atomic.Int64
	var g errgroup.Group
	for range runtime.NumCPU() {
		g.Go(func() error {
			for i := 0; time.Since(start) < duration; i++ {
				block, _ := pem.Decode(csrs[i%len(csrs)])
				csr, err := x509.ParseCertificateRequest(block.Bytes)
				if err != nil {
					return err
				}
				if err := csr.CheckSignature(); err != nil {
					return err
				}
				digest := sha256.Sum256(block.Bytes)
				if _, err := key.Sign(rand.Reader, digest[:], nil); err != nil {
					return err
				}
				rounds.Add(1)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return float64((bench.OwnCPU() - before).Microseconds()) / float64(rounds.Load()), nil
}
