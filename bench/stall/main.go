// Command stall measures how much slower certificates are issued while a full
// report is being written, against the real server in its own process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bench"
)

const bucketName = "bench-stall"

func main() { newProgram().Main() }

type options struct {
	certificates uint64
	connections  int
	rounds       int
	quiet        time.Duration
	share        float64
	binary       string
}

func newProgram() *bench.Program {
	var o options
	return &bench.Program{
		Name: "stall",
		Help: `stall measures the latency of issuing without a report, and while a full JSON
report of the same CA is being written, in turns within one run: with all
connections busy (the load and the report then share the processors), and at a
steady rate below what the server can do. At the steady rate latency counts from
when a request was due. It also tells how much longer the report takes.
A million certificates take about 2 minutes and 2 GB of disk.`,
		Unit:  "certificates",
		Floor: "of issuing its p99 without a report, of a report its seconds without issuing, in the same run",
		Flags: func(f *flag.FlagSet) {
			o.certificates = 1_000_000
			bench.Count(f, &o.certificates, "certificates", "size of the CA")
			f.IntVar(&o.connections, "connections", 16, "connections that issue")
			f.IntVar(&o.rounds, "rounds", 3, "how many times each load is measured without and with a report")
			f.DurationVar(&o.quiet, "quiet", 3*time.Second, "how long a turn without a report is; one with a report is as long as the report")
			f.Float64Var(&o.share, "share", 0.3, "steady rate, as a part of what all connections had issued before")
			f.StringVar(&o.binary, "binary", "", "the server's program, to compare versions (default: built from this source)")
		},
		Check: func() error {
			if o.certificates == 0 || o.connections < 1 || o.rounds < 1 || o.quiet <= 0 || o.share <= 0 || o.share > 1 {
				return errors.New("--certificates, --connections, --rounds and --quiet are above 0, --share is above 0 and at most 1")
			}
			return nil
		},
		Measure: func(ctx context.Context, r *bench.Run) error { return measure(ctx, r, o) },
	}
}

func measure(ctx context.Context, r *bench.Run, o options) (err error) {
	binary := o.binary
	if binary == "" {
		if binary, err = bench.Build(r.Dir); err != nil {
			return err
		}
	}
	data := filepath.Join(r.Dir, "data")
	ca, err := bench.MakeStore(ctx, binary, data, bucketName)
	if err != nil {
		return err
	}
	fmt.Fprintf(r.Stderr, "seeding %d certificates\n", o.certificates)
	if err := bench.Seed(ctx, data, ca, o.certificates, 0.02); err != nil {
		return fmt.Errorf("seeding: %w", err)
	}
	// Without segments every report is as much work as the first.
	s, err := bench.Start(ctx, binary, data, "--audit-min-interval", "0s", "--segments=false")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()

	csrs, err := bench.CSRs(512)
	if err != nil {
		return err
	}
	issuer, err := s.Issuer(ctx, ca, csrs, o.connections)
	if err != nil {
		return err
	}
	defer issuer.Close()

	// Before there is anything else, and after it: the machine may be shared.
	t := &turns{server: s, ca: ca, options: o}
	var alone []time.Duration
	once := func() error {
		took, err := t.report(ctx)
		alone = append(alone, took)
		return err
	}
	if err := once(); err != nil {
		return err
	}
	_, reportPeak, err := s.Memory()
	if err != nil {
		return err
	}
	busy, err := t.run(ctx, &load{issuer: issuer, connections: o.connections})
	if err != nil {
		return err
	}
	rate := o.share * float64(len(busy.without)) / busy.quiet.Seconds()
	steady, err := t.run(ctx, &load{issuer: issuer, connections: o.connections, rate: rate})
	if err != nil {
		return err
	}
	if err := once(); err != nil {
		return err
	}
	_, peak, err := s.Memory()
	if err != nil {
		return err
	}

	floor := mean(alone).Seconds()
	r.Report(bench.Result{What: "report alone", Size: o.certificates, Units: float64(o.certificates), Seconds: floor, Peak: reportPeak})
	for _, l := range []struct {
		name string
		*outcome
	}{
		{fmt.Sprintf("%d connections", o.connections), busy},
		{fmt.Sprintf("%.0f a second", rate), steady},
	} {
		var quiet, during bench.Result
		quiet.SetLatencies(l.without)
		quiet.What, quiet.Size, quiet.Seconds = l.name+", no report", o.certificates, l.quiet.Seconds()
		r.Report(quiet)
		during.SetLatencies(l.with)
		during.What, during.Size, during.Seconds, during.FloorP99, during.Peak = l.name+", report", o.certificates, sum(l.reports).Seconds(), quiet.P99, peak
		r.Report(during)
		r.Report(bench.Result{What: "report under that", Size: o.certificates, Units: float64(o.certificates), Seconds: mean(l.reports).Seconds(), FloorSeconds: floor})
	}
	return nil
}

// turns lets a load run and has reports written beside it every other turn.
type turns struct {
	options
	server *bench.Server
	ca     string
}

// outcome is what a load saw.
type outcome struct {
	without, with []time.Duration // latencies
	quiet         time.Duration   // how long it was without a report
	reports       []time.Duration // how long each took
}

func (t *turns) run(ctx context.Context, l *load) (*outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx) }()
	out := new(outcome)
	err := t.alternate(ctx, l, out)
	l.stop.Store(true)
	if err != nil {
		cancel()
	}
	err = errors.Join(err, <-ended)
	out.without, out.with = l.latencies[withoutReport], l.latencies[withReport]
	if err == nil && (len(out.without) == 0 || len(out.with) == 0) {
		err = errors.New("nothing was issued during a turn")
	}
	return out, err
}

func (t *turns) alternate(ctx context.Context, l *load, out *outcome) error {
	for range t.rounds {
		// What the turn before left to do, such as deleting its report, is not
		// of this one.
		if err := pause(ctx, t.quiet/4); err != nil {
			return err
		}
		began := time.Now()
		l.turn.Store(withoutReport)
		err := pause(ctx, t.quiet)
		if err != nil {
			return err
		}
		out.quiet += time.Since(began)
		l.turn.Store(withReport)
		took, err := t.report(ctx)
		l.turn.Store(uncounted)
		if err != nil {
			return err
		}
		out.reports = append(out.reports, took)
	}
	return nil
}

// report has a report written and deletes it.
func (t *turns) report(ctx context.Context) (time.Duration, error) {
	out, err := t.server.Report(ctx, t.ca, bucketName, types.AuditReportResponseFormatJson)
	if err != nil {
		return 0, err
	}
	_, err = t.server.S3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(bucketName), Key: &out.Key})
	return out.Took, err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// The turns that latencies are counted for.
const (
	uncounted int32 = iota
	withoutReport
	withReport
)

// load issues on several connections until stop is set.
type load struct {
	issuer      *bench.Issuer
	connections int
	rate        float64 // requests a second; 0: each connection sends the next as soon as it has its answer

	turn atomic.Int32
	stop atomic.Bool

	mu        sync.Mutex
	latencies [3][]time.Duration // by turn
}

func (l *load) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	start := time.Now()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range l.connections {
		wg.Go(func() {
			var mine [3][]time.Duration
			for !l.stop.Load() {
				began := time.Now()
				if l.rate > 0 {
					due := start.Add(time.Duration(float64(next.Add(1)) / l.rate * float64(time.Second)))
					if wait := due.Sub(began); wait > 0 {
						if pause(ctx, wait) != nil {
							break
						}
						began = time.Now() // that the timer is late is not the server's doing
					} else {
						began = due // the connections were busy: that is
					}
				}
				turn := l.turn.Load()
				if err := l.issuer.Issue(ctx); err != nil {
					cancel(err)
					break
				}
				if l.turn.Load() == withReport && turn == withoutReport {
					turn = withReport // it was there when this went on
				}
				mine[turn] = append(mine[turn], time.Since(began))
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			for turn := range mine {
				l.latencies[turn] = append(l.latencies[turn], mine[turn]...)
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func sum(all []time.Duration) (total time.Duration) {
	for _, d := range all {
		total += d
	}
	return total
}

func mean(all []time.Duration) time.Duration { return sum(all) / time.Duration(len(all)) }
