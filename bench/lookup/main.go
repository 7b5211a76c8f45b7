// Command lookup measures GetCertificate over HTTP with Signature V4 against
// the real server in its own process, at several sizes of the store in one run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"time"

	"chirograph.dev/internal/bench"
)

func main() { newProgram().Main() }

func newProgram() *bench.Program {
	duration := 5 * time.Second
	var connections uint64 = 2
	sizes := bench.Counts{100_000, 1_000_000}
	return &bench.Program{
		Name: "lookup", Unit: "look-ups",
		Floor: "the same signed call for a certificate that needs no look-up, GetCertificateAuthorityCertificate, on the same connections",
		Help: `lookup measures GetCertificate: random certificates over HTTP with Signature V4,
against the real server in its own process, in stores of several sizes. What a
look-up costs should not depend on the size.
With its defaults it takes about a minute, and half a gigabyte of disk; ten
million certificates (--certificates 100k,10M) need several.
A peer's command finds the size in CHIROGRAPH_BENCH_CERTIFICATES and the number
of connections in CHIROGRAPH_BENCH_CONNECTIONS.`,
		Flags: func(set *flag.FlagSet) {
			set.DurationVar(&duration, "duration", duration, "how long each size is measured")
			bench.Count(set, &connections, "connections", "how many connections look up at a time")
			set.Var(&sizes, "certificates", "sizes of the store, separated by commas")
		},
		Check: func() error {
			if connections == 0 {
				return errors.New("--connections must be at least 1")
			}
			return nil
		},
		Measure: func(ctx context.Context, r *bench.Run) error {
			binary, err := bench.Build(r.Dir)
			if err != nil {
				return err
			}
			var first *bench.Result
			for _, n := range sizes {
				res, err := measure(ctx, r, binary, n, int(connections), duration)
				if err != nil {
					return fmt.Errorf("%d certificates: %w", n, err)
				}
				if first == nil {
					first = &res
				} else {
					r.Note("its p99 is %.2f times that with %d certificates, its p50 %.2f times, its CPU time %.2f times", res.P99/first.P99, first.Size, res.P50/first.P50, res.CPU/first.CPU)
				}
			}
			return nil
		},
	}
}

func measure(ctx context.Context, r *bench.Run, binary string, n uint64, connections int, duration time.Duration) (res bench.Result, err error) {
	data := filepath.Join(r.Dir, fmt.Sprint(n))
	ca, err := bench.NewStore(ctx, binary, data, n)
	if err != nil {
		return res, err
	}
	serials, err := bench.Serials(ctx, data, ca, 200_000)
	if err != nil {
		return res, err
	}
	s, err := bench.Start(ctx, binary, data)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	c, err := s.Caller(ctx, connections)
	if err != nil {
		return res, err
	}
	defer c.Close()

	own := bench.Body(map[string]any{"CertificateAuthorityArn": ca})
	floor := func(ctx context.Context) error {
		_, err := c.Call(ctx, "GetCertificateAuthorityCertificate", own)
		return err
	}
	var next atomic.Uint64
	get := func(ctx context.Context) error {
		serial := serials[next.Add(1)%uint64(len(serials))]
		_, err := c.Call(ctx, "GetCertificate", bench.Body(map[string]any{"CertificateAuthorityArn": ca, "CertificateArn": bench.CertificateARN(ca, serial)}))
		return err
	}
	if _, err := s.Load(ctx, connections, duration/2, get); err != nil { // warm up
		return res, err
	}
	res, least, err := s.LoadBeside(ctx, connections, duration, duration/2, get, floor)
	if err != nil {
		return res, err
	}
	res.What, res.Size = fmt.Sprintf("GetCertificate, %d connections", connections), n
	res.FloorSeconds = res.Units / (least.Units / least.Seconds)
	r.Report(res)
	return res, r.Peer(ctx, res, fmt.Sprintf("CHIROGRAPH_BENCH_CERTIFICATES=%d", n), fmt.Sprintf("CHIROGRAPH_BENCH_CONNECTIONS=%d", connections))
}
