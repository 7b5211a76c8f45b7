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
	slices.Sort(took)
	r.Units = float64(len(took))
	r.CPU = float64((user2 + system2 - user - system).Microseconds()) / r.Units
	r.System = float64((system2 - system).Microseconds()) / r.Units
	at := func(part float64) float64 {
		return took[int(math.Ceil(part*float64(len(took))))-1].Seconds() * 1e3
	}
	r.P50, r.P99, r.Max = at(0.5), at(0.99), at(1)
	return r, nil
}

// Load is the function Load where the server does the work.
func (s *Server) Load(ctx context.Context, n int, duration time.Duration, call func(ctx context.Context) error) (Result, error) {
	return Load(ctx, n, duration, s.CPU, call)
}

// ErrNoMore is what a call of Load returns when there is nothing left to do.
var ErrNoMore = errors.New("nothing is left to do")
