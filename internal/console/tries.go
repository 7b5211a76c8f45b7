package console

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Attempts to sign in that go wrong, of one address and with one access key from
// there: so many at once, and then one for every pause. Those that succeed do not count.
const (
	addressTries, addressPause = 10, 6 * time.Second
	keyTries, keyPause         = 5, 12 * time.Second
	// maxTriers is how many addresses, or keys from them, are told apart at a
	// time; while there are more that failed of late, further ones share one bucket.
	maxTriers = 10_000
)

// tries bounds attempts by a name. Safe for concurrent use.
type tries struct {
	burst int
	pause time.Duration

	mu sync.Mutex
	m  map[string]*rate.Limiter
}

func newTries(burst int, pause time.Duration) *tries {
	return &tries{burst: burst, pause: pause, m: map[string]*rate.Limiter{}}
}

// take takes one attempt of a name; wait says for how long there is none.
// Calling back gives it back.
func (t *tries) take(name string, now time.Time) (back func(), wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.m[name]
	if l == nil {
		if len(t.m) >= maxTriers {
			t.sweep(now)
		}
		if len(t.m) >= maxTriers {
			name = ""
			l = t.m[name]
		}
	}
	if l == nil {
		l = rate.NewLimiter(rate.Every(t.pause), t.burst)
		t.m[name] = l
	}
	r := l.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return nil, wait
	}
	return func() { r.CancelAt(now) }, 0
}

// sweep drops the names that have all their attempts again.
func (t *tries) sweep(now time.Time) {
	for name, l := range t.m {
		if l.TokensAt(now) >= float64(t.burst) {
			delete(t.m, name)
		}
	}
}

// addressOf names who sent a request: an address, of IPv6 the network that one
// customer has.
func addressOf(remote string) string {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := a.Addr().Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}
