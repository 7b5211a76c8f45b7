// Command revoke measures RevokeCertificate: over HTTP with Signature V4
// against the real server in its own process, and without HTTP, by many callers
// of the service itself.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"chirograph.dev/internal/bench"
)

func main() { newProgram().Main() }

type options struct {
	duration             time.Duration
	certificates         uint64
	connections, callers bench.Counts
}

func newProgram() *bench.Program {
	o := options{duration: 5 * time.Second, certificates: 500_000, connections: bench.Counts{1, 16, 64, 256}, callers: bench.Counts{1, 64, 256, 1024}}
	return &bench.Program{
		Name: "revoke", Unit: "revocations",
		Floor: "connections: the CPU time of another signed call, ListTags, on the same connections; callers: the time of appending and syncing the same entries to a plain file, as many in one sync as there are callers",
		Help: `revoke measures RevokeCertificate: random certificates over HTTP with Signature
V4, against the real server in its own process ("connections"), and by callers of
the service itself without HTTP ("callers"). Every revocation is synced to disk
before it is answered; the client runs on the same processors, so what the
server's CPU time allows is told as well.
With its defaults it takes about two minutes, and half a gigabyte of disk. A
peer's command finds the number of connections in CHIROGRAPH_BENCH_CONNECTIONS.`,
		Flags: func(set *flag.FlagSet) {
			set.DurationVar(&o.duration, "duration", o.duration, "how long each number is measured")
			bench.Count(set, &o.certificates, "certificates", "size of the store; a measurement ends when all are revoked")
			set.Var(&o.connections, "connections", "numbers of connections, separated by commas")
			set.Var(&o.callers, "callers", "numbers of callers without HTTP, separated by commas")
		},
		Check: func() error {
			if o.certificates < 100 {
				return errors.New("--certificates must be at least 100")
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
	data := filepath.Join(r.Dir, "data")
	ca, err := bench.NewStore(ctx, binary, data, o.certificates)
	if err != nil {
		return err
	}
	serials, err := bench.Serials(ctx, data, ca, int(o.certificates))
	if err != nil {
		return err
	}
	// Half of the certificates are for each way, an equal part for each number.
	half := len(serials) / 2
	if err := overHTTP(ctx, r, o, binary, data, ca, serials[:half]); err != nil {
		return fmt.Errorf("over HTTP: %w", err)
	}
	if err := inProcess(ctx, r, o, data, ca, serials[half:]); err != nil {
		return fmt.Errorf("without HTTP: %w", err)
	}
	return nil
}

// queue hands out serial numbers, each once.
type queue struct {
	serials [][]byte
	next    atomic.Uint64
}

func (q *queue) take() ([]byte, error) {
	n := q.next.Add(1) - 1
	if n >= uint64(len(q.serials)) {
		return nil, bench.ErrNoMore
	}
	return q.serials[n], nil
}

// share is the part of all that the i-th of n measurements takes.
func share(all [][]byte, i, n int) *queue {
	return &queue{serials: all[i*len(all)/n : (i+1)*len(all)/n]}
}

func overHTTP(ctx context.Context, r *bench.Run, o options, binary, data, ca string, serials [][]byte) (err error) {
	s, err := bench.Start(ctx, binary, data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	for i, n := range o.connections {
		if err := connections(ctx, r, s, ca, int(n), o.duration, share(serials, i, len(o.connections))); err != nil {
			return fmt.Errorf("%d connections: %w", n, err)
		}
	}
	return nil
}

func connections(ctx context.Context, r *bench.Run, s *bench.Server, ca string, n int, duration time.Duration, q *queue) error {
	c, err := s.Caller(ctx, n)
	if err != nil {
		return err
	}
	defer c.Close()
	tags := bench.Body(map[string]any{"CertificateAuthorityArn": ca})
	floor := func(ctx context.Context) error {
		_, err := c.Call(ctx, "ListTags", tags)
		return err
	}
	revoke := func(ctx context.Context) error {
		serial, err := q.take()
		if err != nil {
			return err
		}
		_, err = c.Call(ctx, "RevokeCertificate", bench.Body(map[string]any{"CertificateAuthorityArn": ca, "CertificateSerial": fmt.Sprintf("%x", serial), "RevocationReason": "SUPERSEDED"}))
		return err
	}
	res, _, err := s.LoadBeside(ctx, n, duration, duration/4, revoke, floor)
	if err != nil {
		return err
	}
	res.What = fmt.Sprintf("%d connections", n)
	r.Report(res)
	if res.CPU > 0 {
		r.Note("the server's CPU time allows %.0f a second on the %d CPUs of this machine", 1e6/res.CPU*float64(runtime.NumCPU()), runtime.NumCPU())
	}
	return r.Peer(ctx, res, fmt.Sprintf("CHIROGRAPH_BENCH_CONNECTIONS=%d", n))
}
