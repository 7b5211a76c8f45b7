package bench

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Load has n callers call one after the other for the duration, and measures.
// cpu is the clock of whoever does the work, such as (*Server).CPU. A call's
// error ends all; ErrNoMore of one ends the run before its time.
func Load(ctx context.Context, n int, duration time.Duration, cpu func() (user, system time.Duration, err error), call func(ctx context.Context) error) (Result, error) {
	user, system, err := cpu()
	if err != nil {
		return Result{}, err
	}
	all := make([][]time.Duration, n)
	var enough atomic.Bool
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for i := range all {
		g.Go(func() error {
			for time.Since(start) < duration && !enough.Load() {
				began := time.Now()
				err := call(ctx)
				if errors.Is(err, ErrNoMore) {
					enough.Store(true)
					return nil
				}
				if err != nil {
					return err
				}
				all[i] = append(all[i], time.Since(began))
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return Result{}, err
	}
	r := Result{Seconds: time.Since(start).Seconds()}
	user2, system2, err := cpu()
	if err != nil {
		return Result{}, err
	}
	took := slices.Concat(all...)
	if len(took) == 0 {
		return Result{}, ErrNoMore
	}
	r.SetLatencies(took)
	r.CPU = float64((user2 + system2 - user - system).Microseconds()) / r.Units
	r.System = float64((system2 - system).Microseconds()) / r.Units
	return r, nil
}

// SetLatencies sets Units and the latencies from what each of them took, which
// it sorts; there must be one.
func (r *Result) SetLatencies(took []time.Duration) {
	slices.Sort(took)
	at := func(part float64) float64 {
		return took[max(int(math.Ceil(part*float64(len(took)))), 1)-1].Seconds() * 1e3
	}
	r.Units = float64(len(took))
	r.P50, r.P99, r.P999, r.Max = at(0.5), at(0.99), at(0.999), at(1)
}

// Load is the function Load where the server does the work.
func (s *Server) Load(ctx context.Context, n int, duration time.Duration, call func(ctx context.Context) error) (Result, error) {
	return Load(ctx, n, duration, s.CPU, call)
}

// LoadBeside is Load, with the load of a floor for a part of the duration before
// it and after it: the machine may be shared. It sets the result's FloorCPU and
// Peak; floor is both turns of the floor together.
func (s *Server) LoadBeside(ctx context.Context, n int, duration, part time.Duration, call, floorCall func(ctx context.Context) error) (r, floor Result, err error) {
	before, err := s.Load(ctx, n, part, floorCall)
	if err != nil {
		return r, floor, err
	}
	if r, err = s.Load(ctx, n, duration, call); err != nil {
		return r, floor, err
	}
	after, err := s.Load(ctx, n, part, floorCall)
	if err != nil {
		return r, floor, err
	}
	floor = Result{Units: before.Units + after.Units, Seconds: before.Seconds + after.Seconds, CPU: (before.CPU + after.CPU) / 2}
	r.FloorCPU = floor.CPU
	_, r.Peak, err = s.Memory()
	return r, floor, err
}

// ErrNoMore is what a call of Load returns when there is nothing left to do.
var ErrNoMore = errors.New("nothing is left to do")
