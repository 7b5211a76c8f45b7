package crl

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const (
	// After a failure; of a list that was made anew since, so that a bucket that
	// was put right has the next revocation soon.
	defaultRetry = 15 * time.Minute
	retryNews    = time.Minute
	// pause is the time between two makings of a list for revocations alone, and
	// restFactor how often what the last one took: so it takes a twentieth of a
	// processor. latest is when a revocation is in a list whatever that takes
	// (revocation.md 4.1).
	pause      = 5 * time.Second
	restFactor = 20
	latest     = 30 * time.Minute
	// look is how often Run looks for what is due, and recheck how often for a CA
	// that signs nothing whether it does again.
	look    = time.Second
	recheck = time.Hour
	// writeTimeout is how long a bucket may take for a list of one MB.
	writeTimeout = time.Minute

	// Lists that are worked on at a time, of all CAs and of one: writing is
	// waiting, and one bucket that does not answer must not keep the others.
	atOnce, atOnceOfCA = 32, 4

	spoolPrefix = "spool-"
)

// Service makes and writes lists. Safe for concurrent use. It is a ca.CRLs.
type Service struct {
	cfg     Config
	metrics *metrics
	wake    chan struct{}        // has one element when Run is to look at once
	making  sync.Mutex           // one list is made at a time, for the processors' and the disk's sake
	pruned  map[string]time.Time // by CA; making is held

	loaded bool // all CAs were looked at since the start

	mu      sync.Mutex
	cas     map[string]*authority
	changed map[string]*store.CertificateAuthority // to be reconciled
	work    map[spot]*worker
}

// authority is what is known of a CA's lists. mu is held while they are changed.
type authority struct {
	mu    sync.Mutex
	rec   *store.CertificateAuthority // that the lists are arranged for; nil: none yet
	open  *store.CRL                  // nil: CRLs are off
	bound int64                       // places of it that were given away
	last  int64                       // ID of the newest list

	number int64 // the last CRL number that was given out
}

// spot is where lists are of which one at a time is worked on: of two that have
// the same place one after the other the older one must not be written last.
type spot struct {
	ca string
	place
}

func spotOf(c *store.CRL) spot { return spot{c.CA, placeOf(c)} }

// worker is who makes and writes the list of a spot.
type worker struct {
	busy  bool
	ready chan struct{} // closed when busy ends
	after time.Time     // not before, but for what is not a revocation
}

// New makes a Service; nothing is made or written before Run.
func New(cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Retry == 0 {
		cfg.Retry = defaultRetry
	}
	if cfg.PartitionSize == 0 {
		cfg.PartitionSize = DefaultPartitionSize
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	switch {
	case cfg.Dir == "" || cfg.Records == nil || cfg.Revocations == nil || cfg.Authorities == nil || cfg.Destination == nil || cfg.URL == nil || cfg.CAs == nil:
		return nil, errors.New("crl: Config lacks a Dir, Records, Revocations, Authorities, Destination, URL or CAs")
	case cfg.Delay < 0 || cfg.Delay > latest:
		return nil, fmt.Errorf("crl: a delay of %s: it is from 0 to %s", cfg.Delay, latest)
	case cfg.PartitionSize < 0 || cfg.Retry < 0:
		return nil, errors.New("crl: PartitionSize and Retry are not negative")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder for CRLs: %w", err)
	}
	// What a former process did not finish.
	left, err := filepath.Glob(filepath.Join(cfg.Dir, spoolPrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("folder for CRLs: %w", err)
		}
	}
	s := &Service{
		cfg: cfg, wake: make(chan struct{}, 1), pruned: map[string]time.Time{},
		cas: map[string]*authority{}, changed: map[string]*store.CertificateAuthority{}, work: map[spot]*worker{},
	}
	if s.metrics, err = newMetrics(cfg.Registerer); err != nil {
		return nil, err
	}
	return s, nil
}

// Run follows the logs until ctx ends: it makes and writes what is due.
func (s *Service) Run(ctx context.Context) error {
	var lists sync.WaitGroup
	defer lists.Wait()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		s.follow(ctx, &lists)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-s.wake:
		}
	}
}

func (s *Service) awake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// loadAll has the lists of all CAs looked at: what a former process did not get
// to, and what it put off by a clock that was ahead.
func (s *Service) loadAll(ctx context.Context) error {
	return store.EachCA(ctx, s.cfg.CAs, func(rec *store.CertificateAuthority) error {
		s.Changed(rec)
		return s.retime(ctx, rec.ID)
	})
}

// retime has the lists of a CA looked at that wait for the time of a clock that
// was ahead. Its log takes entries again only after a recovery, and a start.
func (s *Service) retime(ctx context.Context, id string) error {
	lists, err := s.lists(ctx, id)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	if slices.ContainsFunc(lists, func(c *store.CRL) bool { return c.Base.Since.After(now.Add(store.ClockSkew)) }) {
		// By that clock certificates had expired that have not.
		if err := s.cfg.Revocations.RestoreRevoked(ctx, id); err != nil {
			return err
		}
	}
	for _, c := range lists {
		if !c.Active || c.Due.IsZero() || !c.Due.After(now) || !c.FailedAt.After(now) && !c.ChangedAt.After(now) && !ahead(c, now) {
			continue
		}
		if err := s.update(ctx, id, c.ID, func(c *store.CRL) { c.Due = now }); err != nil {
			return err
		}
	}
	return nil
}

// follow begins what is due now.
func (s *Service) follow(ctx context.Context, lists *sync.WaitGroup) {
	if !s.loaded {
		if err := s.loadAll(ctx); err != nil {
			if ctx.Err() == nil {
				s.cfg.Log.ErrorContext(ctx, "looking for CAs with CRLs failed; it is tried again", "error", err)
			}
			return
		}
		s.loaded = true
	}
	s.mu.Lock()
	changed := s.changed
	s.changed = map[string]*store.CertificateAuthority{}
	s.mu.Unlock()
	for id, rec := range changed {
		if err := s.arranged(ctx, rec); err != nil && ctx.Err() == nil {
			s.cfg.Log.ErrorContext(ctx, "arranging the CRLs of a CA failed; it is tried again", "ca", rec.ARN, "error", err)
			s.mu.Lock()
			if newer := s.changed[id]; newer == nil || newer.Version < rec.Version {
				s.changed[id] = rec
			}
			s.mu.Unlock()
		}
	}
	now := s.cfg.Now()
	s.mu.Lock()
	of, busy := map[string]int{}, 0
	for id, w := range s.work {
		if w.busy {
			of[id.ca]++
			busy++
		} else if now.After(w.after) {
			delete(s.work, id)
		}
	}
	// Those that rest or are worked on may be the first; so many more are looked at.
	limit := 256 + len(s.work)
	s.mu.Unlock()
	// The first may also be many of one CA, which has to wait for its bucket.
	for more := true; more; limit *= 4 {
		due, err := s.cfg.Records.DueCRLs(ctx, now, limit)
		if err != nil {
			if ctx.Err() == nil {
				s.cfg.Log.ErrorContext(ctx, "looking for CRLs that are due failed; it is tried again", "error", err)
			}
			return
		}
		more = len(due) == limit
		for _, c := range due {
			id := spotOf(c)
			if busy >= atOnce {
				return
			}
			if of[c.CA] >= atOnceOfCA || !s.begin(id, now) {
				continue
			}
			of[c.CA]++
			busy++
			lists.Go(func() {
				defer s.awake() // there may be more than are worked on at a time
				defer s.end(id)
				s.tend(ctx, c, false)
			})
		}
	}
}

// begin makes the caller the one who works on a list; false when somebody does,
// or when it rests.
func (s *Service) begin(id spot, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.worker(id)
	if w.busy || now.Before(w.after) {
		return false
	}
	w.busy, w.ready = true, make(chan struct{})
	return true
}

// worker is that of a spot. s.mu is held.
func (s *Service) worker(id spot) *worker {
	w := s.work[id]
	if w == nil {
		w = &worker{}
		s.work[id] = w
	}
	return w
}

// take waits until the caller is the one who works on a list.
func (s *Service) take(ctx context.Context, id spot) error {
	for {
		s.mu.Lock()
		w := s.worker(id)
		if !w.busy {
			w.busy, w.ready = true, make(chan struct{})
			s.mu.Unlock()
			return nil
		}
		ready := w.ready
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ready:
		}
	}
}

func (s *Service) end(id spot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.work[id]
	w.busy = false
	close(w.ready)
}

// rest keeps a list from being looked at before a time.
func (s *Service) rest(id spot, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.work[id].after = until
}

// Changed tells of a CA that was made or loaded, or has changed. It is quick:
// Run, or Bind, arranges the CA's lists.
func (s *Service) Changed(rec *store.CertificateAuthority) {
	s.mu.Lock()
	if before := s.changed[rec.ID]; before == nil || before.Version < rec.Version {
		s.changed[rec.ID] = rec
	}
	s.mu.Unlock()
	s.awake()
}

func (s *Service) authority(id string) *authority {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.cas[id]
	if a == nil {
		a = &authority{}
		s.cas[id] = a
	}
	return a
}

// arranged has the lists of a CA be those of its record.
func (s *Service) arranged(ctx context.Context, rec *store.CertificateAuthority) error {
	a := s.authority(rec.ID)
	a.mu.Lock()
	defer a.mu.Unlock()
	return s.reconcile(ctx, a, rec)
}

// Bind gives a certificate its place, before it is signed: so a partition never
// has more than its size, whatever becomes of the certificate.
func (s *Service) Bind(ctx context.Context, rec *store.CertificateAuthority) (crl int64, uri string, err error) {
	a := s.authority(rec.ID)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := s.reconcile(ctx, a, rec); err != nil {
		return 0, "", fmt.Errorf("arranging the CRLs of CA %s: %w", rec.ID, err)
	}
	if a.open == nil {
		return 0, "", fmt.Errorf("CA %s has no CRLs", rec.ID)
	}
	if a.open.Name != "" && a.bound >= s.cfg.PartitionSize {
		if err := s.rotate(ctx, a); err != nil {
			return 0, "", fmt.Errorf("CA %s: %w", rec.ID, err)
		}
	}
	a.bound++
	if e := rec.Revocation.CrlConfiguration.CrlDistributionPointExtensionConfiguration; e != nil && e.OmitExtension {
		return a.open.ID, "", nil
	}
	return a.open.ID, a.open.URI, nil
}

// Check implements ca.CRLs: the bucket must take the CA's lists.
func (s *Service) Check(ctx context.Context, rec *store.CertificateAuthority) error {
	cfg := rec.Revocation.CrlConfiguration
	if cfg == nil || !cfg.Enabled {
		return nil
	}
	name := ""
	if cfg.CrlType == pca.CrlType_PARTITIONED {
		name = partitionName() // as good as any other
	}
	key := keyOf(rec, cfg, name)
	keys := []string{key}
	if s.cfg.Deltas {
		keys = append(keys, deltaOf(key))
	}
	client, err := s.cfg.Destination(ctx, rec.Account, rec.ARN)
	if err != nil {
		return fmt.Errorf("the bucket service of CA %s: %w", rec.ID, err)
	}
	return client.GateCRL(ctx, bucket.CRLGateRequest{Bucket: cfg.S3BucketName, Keys: keys, ACL: aclOf(cfg), CAARN: rec.ARN, Account: rec.Account, Try: true})
}

// next gives the next CRL number of a CA: the time, and more than every
// number before. The lists of the CA are arranged.
func (a *authority) next(now time.Time) int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.number = max(now.UnixMilli(), a.number+1)
	return a.number
}
