// Package ocsp is the OCSP responder of all CAs (RFC 6960, RFC 5019, RFC 9654).
// It signs with certificates that CAs issue for that alone, which are entries of
// their logs as every certificate is. What it answers is read from the store,
// whose rows are those of the log's entries.
package ocsp

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"chirograph.dev/internal/store"
)

// Records are what the responder reads. store.ErrNotFound when it is not there.
type Records interface {
	CertificateStatus(ctx context.Context, ca string, serial []byte) (*store.Certificate, *store.Revocation, error)
	Certificate(ctx context.Context, ca string, serial []byte) (*store.Certificate, error)
	InstalledCertificate(ctx context.Context, ca string, generation int64) (*store.InstalledCertificate, error)
	// Responders gives the responder certificates of a CA that expire after a
	// time, the newest first.
	Responders(ctx context.Context, ca string, after time.Time) ([]*store.Responder, error)
	// CAs as ca.Records has it.
	CAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error)
}

// Authorities are the CAs; *ca.Service is them.
type Authorities interface {
	// IssueResponder signs a responder certificate for the key r.KeyID, in the
	// name of the installed certificate r.Generation of the CA r.CA (an older one
	// than the newest has another name at times: R-65). r.NotAfter is when it is
	// to end at the latest; the rest of r is set.
	IssueResponder(ctx context.Context, r *store.Responder) (der []byte, err error)
}

// Keys makes, finds and destroys private keys; *keystore.Store is one.
type Keys interface {
	Generate(ctx context.Context, id, algorithm string) (crypto.Signer, error)
	Signer(ctx context.Context, id string) (crypto.Signer, error)
	Delete(ctx context.Context, id string) error
}

// UnknownSerial is the answer about a serial number that a CA never issued.
type UnknownSerial string

// The answers about serial numbers that were never issued.
const (
	Unauthorized UnknownSerial = "unauthorized"
	Unknown      UnknownSerial = "unknown"
	RevokedToo   UnknownSerial = "revoked"
)

// Config is everything a Service needs.
type Config struct {
	Records     Records
	Authorities Authorities
	Keys        Keys

	Validity      time.Duration // of an answer: nextUpdate - thisUpdate; 0: 24 hours
	UnknownSerial UnknownSerial // "": Unauthorized
	CacheBytes    int64         // most of the cache of signed answers; 0: 64 MiB
	Registerer    prometheus.Registerer
	Log           *slog.Logger
	Now           func() time.Time // nil: time.Now
}

const (
	defaultValidity = 24 * time.Hour
	defaultCache    = 64 << 20

	maxWaiting = 512 // requests for which something is to be signed; more are told to try later
	epochs     = 1 << 10
)

// Service answers OCSP requests. It is an http.Handler and safe for concurrent use.
type Service struct {
	cfg   Config
	cache *cache
	fixed fixed

	mu          sync.RWMutex
	authorities map[string]*authority // by ID, all that ever had a certificate
	issuers     map[string]*issuer    // by each of their ids
	pending     map[*authority]bool   // whose certificates are to be read
	isPending   atomic.Bool           // there is one

	// epochs count revocations, those of a few certificates each: an answer
	// during whose making its count moved is made again.
	epochs  [epochs]atomic.Uint64
	seed    maphash.Seed
	flights singleflight.Group // answers being made for the cache, by CertID
	slots   chan struct{}      // has one element for each signature being made
	waiting atomic.Int64       // requests that are not answered from the cache

	requests [3][labels]prometheus.Counter // of GET, HEAD and POST
	signing  prometheus.Histogram
}

// New makes a Service that knows all CAs there are. Of cfg, Status needs Records
// and Now alone; to serve and to Run the rest is needed.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Validity == 0 {
		cfg.Validity = defaultValidity
	}
	if cfg.UnknownSerial == "" {
		cfg.UnknownSerial = Unauthorized
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = defaultCache
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		cfg: cfg, cache: newCache(cfg.CacheBytes), fixed: newFixed(),
		authorities: map[string]*authority{}, issuers: map[string]*issuer{}, pending: map[*authority]bool{},
		seed: maphash.MakeSeed(), slots: make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	if err := s.observe(); err != nil {
		return nil, err
	}
	return s, s.loadAll(ctx)
}

// observe makes the metrics.
func (s *Service) observe() error {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pca_ocsp_requests_total", Help: "Answered OCSP requests by HTTP method and what was answered: the status of the certificate, several for more than one, or the error.",
	}, []string{"method", "status"})
	s.signing = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "pca_ocsp_sign_duration_seconds", Help: "Time to sign an OCSP answer.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1},
	})
	for m, method := range [...]string{"GET", "HEAD", "POST"} {
		for l := range labels {
			s.requests[m][l] = requests.WithLabelValues(method, l.String())
		}
	}
	if s.cfg.Registerer == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{requests, s.signing} {
		if err := s.cfg.Registerer.Register(c); err != nil {
			return fmt.Errorf("registering the metrics of OCSP: %w", err)
		}
	}
	return nil
}

// Revoked tells of a committed revocation (ca.Config): no answer that was made
// before it leaves the Service for a request that comes after Revoked returned.
func (s *Service) Revoked(ca string, serial []byte) {
	s.epoch(ca, serial).Add(1)
	s.mu.RLock()
	a := s.authorities[ca]
	s.mu.RUnlock()
	if a == nil {
		return
	}
	a.dropResponder(serial)
	var ids []string
	number := integer(serial)
	for _, i := range *a.issuers.Load() {
		for _, id := range i.ids {
			ids = append(ids, string(id)+number)
		}
	}
	s.cache.drop(ids)
	// Who joins an answer being made might get what was decided before.
	for _, id := range ids {
		s.flights.Forget(id)
	}
}

func (s *Service) epoch(ca string, serial []byte) *atomic.Uint64 {
	return &s.epochs[(maphash.String(s.seed, ca)^maphash.Bytes(s.seed, serial))%epochs]
}

// fresh makes an answer that is not in the cache. A single one without a nonce is
// kept there; the answer then has a key.
func (s *Service) fresh(ctx context.Context, q *request) (*answer, error) {
	now := s.cfg.Now()
	i, err := s.findIssuer(ctx, q, now)
	if err != nil {
		return nil, err
	}
	// Those of use to one client leave places for those that all are given.
	alone, most := q.many != nil || q.nonce != nil, int64(maxWaiting)
	if alone {
		most = maxWaiting / 2
	}
	defer s.waiting.Add(-1)
	if s.waiting.Add(1) > most {
		return nil, errLater
	}
	if alone {
		return s.answer(ctx, q, i, "")
	}
	// Many ask for the same at once when an answer expires or was dropped. The one
	// who makes it does so for the others as well, so he does not give up.
	key := string(q.one[0].content)
	v, err, _ := s.flights.Do(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*makeWithin)
		defer cancel()
		return s.answer(ctx, q, i, key)
	})
	if err != nil {
		return nil, err
	}
	return v.(*answer), nil
}

// findIssuer finds the CA that all entries of a request name, if it answers.
func (s *Service) findIssuer(ctx context.Context, q *request, now time.Time) (found *issuer, err error) {
	for n, id := range q.certIDs() {
		i, err := s.issuerOf(ctx, id.issuer)
		if err != nil {
			return nil, err
		}
		if n > 0 && i != found {
			return nil, malformedRequest
		}
		found = i
	}
	if found == nil || !found.authority.answers(now) || !now.Before(found.current.Load().notAfter) {
		return nil, unauthorized
	}
	return found, nil
}

// answer decides and signs. It begins again when a certificate was revoked
// meanwhile.
func (s *Service) answer(ctx context.Context, q *request, i *issuer, key string) (*answer, error) {
	const tries = 16
	for range tries {
		a, err := s.tryAnswer(ctx, q, i, key)
		if errors.Is(err, errNoResponder) {
			_, err = s.responderOf(ctx, i, s.cfg.Now())
		}
		if a != nil || err != nil {
			return a, err
		}
	}
	return nil, errLater
}

// tryAnswer is one try of answer; nil when a certificate was revoked meanwhile. It
// decides when it is its turn to sign: while many are revoked, what it decided
// before it waited would often be of the past. Nobody's turn is spent on waiting
// for a responder to be made: errNoResponder.
func (s *Service) tryAnswer(ctx context.Context, q *request, i *issuer, key string) (*answer, error) {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, errLater
	}
	defer func() { <-s.slots }()
	ca := i.authority.rec.Load().ID
	ids := q.certIDs()
	singles := make([]single, len(ids))
	before := make([]uint64, len(ids))
	signed := false
	for n, id := range ids {
		before[n] = s.epoch(ca, id.magnitude()).Load()
		singles[n] = single{id, Status{State: NeverIssued}}
		if number := id.magnitude(); number != nil {
			status, err := s.Status(ctx, ca, number)
			if err != nil {
				return nil, err
			}
			singles[n].status = status
		}
		state := singles[n].status.State
		signed = signed || state == Good || state == Revoked || state == NeverIssued && s.cfg.UnknownSerial != Unauthorized
	}
	// Beside certificates that something is known of, the others are unknown.
	if !signed {
		return nil, unauthorized
	}
	now, r := s.cfg.Now(), i.responder.Load()
	if !r.usable(now) {
		return nil, errNoResponder
	}
	p := s.periodAt(now, r, i)
	if !p.to.After(now) {
		return nil, unauthorized
	}
	began := time.Now()
	body, err := s.build(r, now, p, singles, q.nonce)
	s.signing.Observe(time.Since(began).Seconds())
	if err != nil {
		return nil, err
	}
	a := newAnswer(body, now, p)
	a.issuer, a.responder, a.label = i, r, several
	if len(singles) == 1 {
		a.label = labelOf(singles[0].status.State, s.cfg.UnknownSerial)
	}
	current := func() bool {
		for n, id := range ids {
			if s.epoch(ca, id.magnitude()).Load() != before[n] {
				return false
			}
		}
		return !r.revoked.Load()
	}
	// What was never issued may be issued the next moment.
	if key == "" || singles[0].status.State == NeverIssued {
		if current() {
			return a, nil
		}
		return nil, nil
	}
	a.key = key
	if s.cache.put(a, current) {
		return a, nil
	}
	return nil, nil
}
