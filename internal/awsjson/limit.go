package awsjson

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"chirograph.dev/internal/pca"
)

// Rate bounds how often an account calls an operation: a bucket that holds
// Burst calls and gets PerSecond of them back every second (O-20).
type Rate struct {
	PerSecond float64 // above 0
	Burst     int     // at least 1
}

// Limits bound the calls of all handlers that share them: their rates, how many
// are served at a time, and the memory of their bodies. Safe for concurrent use.
type Limits struct {
	throttle *throttle
	inFlight *inFlight
	large    *semaphore.Weighted // bytes of large bodies
}

// newLimits makes the limits of Config.Rates and Config.MaxInFlight.
func newLimits(rates map[string]Rate, maxInFlight int) *Limits {
	return &Limits{throttle: newThrottle(rates), inFlight: &inFlight{max: int64(maxInFlight)}, large: semaphore.NewWeighted(largeBodies)}
}

// manyBuckets is how many buckets are kept before the full ones are dropped.
const manyBuckets = 1024

// throttle keeps the buckets of every account and operation. It is safe for
// concurrent use.
type throttle struct {
	rates map[string]Rate // by operation

	mu      sync.Mutex
	buckets map[bucketKey]*rate.Limiter
	sweepAt int // buckets
}

type bucketKey struct{ account, operation string }

func newThrottle(rates map[string]Rate) *throttle {
	return &throttle{rates: rates, buckets: map[bucketKey]*rate.Limiter{}, sweepAt: manyBuckets}
}

// allow takes one call out of the account's bucket, or tells that it is empty.
func (t *throttle) allow(account, operation string, now time.Time) bool {
	r, ok := t.rates[operation]
	if !ok {
		return true
	}
	key := bucketKey{account, operation}
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buckets[key]
	if b == nil {
		if len(t.buckets) >= t.sweepAt {
			t.sweep(now)
		}
		b = rate.NewLimiter(rate.Limit(r.PerSecond), r.Burst)
		t.buckets[key] = b
	}
	return b.AllowN(now, 1)
}

// sweep drops the buckets that are full again: a new one would be the same. So
// the rest is bounded by the calls of the time that it takes to fill a bucket.
func (t *throttle) sweep(now time.Time) {
	for key, b := range t.buckets {
		if b.TokensAt(now) >= float64(b.Burst()) {
			delete(t.buckets, key)
		}
	}
	t.sweepAt = max(manyBuckets, 2*len(t.buckets))
}

// inFlight counts the calls that are being served (O-23).
type inFlight struct {
	max int64 // 0: any number
	n   atomic.Int64
}

// enter takes a place, which leave gives back; false when there is none.
func (f *inFlight) enter() bool {
	if f.max == 0 {
		return true
	}
	if f.n.Add(1) > f.max {
		f.n.Add(-1)
		return false
	}
	return true
}

func (f *inFlight) leave() {
	if f.max > 0 {
		f.n.Add(-1)
	}
}

// rateExceeded is what a client backs off from and tries again; both limits
// answer it, since SDKs know it better than a 503 (operations.md 4, O-23).
func rateExceeded() error { return pca.Errorf(pca.ThrottlingException, "Rate exceeded") }
