package ca

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// recount is how long a count of revoked certificates stands that is less every
// time one of them expires.
const recount = time.Minute

// tally counts against a quota, while there is one. Until it comes near the
// quota it is the size of the log, which is never less: what it is about is
// counted no sooner.
type tally struct {
	mu      sync.Mutex
	n       int64 // not less than what is committed
	known   bool  // n has a value
	counted bool  // n is what was committed at that time and what came since
	at      time.Time
	pending int64 // being committed
}

// beginIssue finds room for one more certificate, or refuses it.
func (s *Service) beginIssue(ctx context.Context, a *authority) error {
	quota := s.Quotas.CertificatesPerCA
	if quota == 0 {
		return nil
	}
	room, err := s.begin(ctx, a, &a.issued, quota, 0, func() (int64, error) { return s.Overview.CountCertificates(ctx, a.rec.ID) })
	if err == nil && !room {
		err = pca.Errorf(pca.LimitExceededException, "The certificate authority %s has issued as many certificates as the quota of certificates of a certificate authority allows (%d).", a.rec.ARN, quota)
	}
	return err
}

// endIssue says what became of what beginIssue found room for.
func (s *Service) endIssue(a *authority, committed bool) {
	if s.Quotas.CertificatesPerCA > 0 {
		a.issued.end(committed)
	}
}

// beginRevoke finds room for one more certificate in a complete CRL, or refuses
// it. end says what became of it.
func (s *Service) beginRevoke(ctx context.Context, a *authority) (end func(committed bool), err error) {
	quota := s.Quotas.RevokedPerCA
	if c := crlOf(&a.rec.Revocation); quota == 0 || c == nil || c.CrlType == pca.CrlType_PARTITIONED {
		return func(bool) {}, nil
	}
	now := s.Now()
	room, err := s.begin(ctx, a, &a.revoked, quota, recount, func() (n int64, err error) {
		err = s.Overview.Revoked(ctx, a.rec.ID, 0, 0, math.MaxInt64, func(r *store.Revoked) error {
			if r.NotAfter/1000 >= now.Unix() {
				n++
			}
			return nil
		})
		return n, err
	})
	if err == nil && !room {
		err = pca.Errorf(pca.LimitExceededException, "The certificate authority %s has revoked as many certificates that have not expired as the quota of a complete CRL allows (%d). Choose partitioned CRLs (CrlType PARTITIONED), which have no such quota.", a.rec.ARN, quota)
	}
	return a.revoked.end, err
}

// begin finds room for one more in a tally. stale is how long a count stands; 0
// is for ever.
func (s *Service) begin(ctx context.Context, a *authority, t *tally, quota int64, stale time.Duration, count func() (int64, error)) (room bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known {
		head, err := s.Entries.Head(ctx, a.rec.ID)
		if err != nil {
			return false, fmt.Errorf("judging the quota: %w", err)
		}
		t.n, t.known, t.counted = int64(head.Size), true, false
	}
	now := s.Now()
	if t.n+t.pending >= quota && (!t.counted || stale > 0 && now.Sub(t.at) >= stale) {
		n, err := count()
		if err != nil {
			return false, fmt.Errorf("judging the quota: %w", err)
		}
		// What is pending may be among them already.
		t.n, t.counted, t.at = n, t.pending == 0, now
	}
	if t.n+t.pending >= quota {
		return false, nil
	}
	t.pending++
	return true, nil
}

// end says what became of what begin found room for.
func (t *tally) end(committed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending--
	if committed {
		t.n++
	} else {
		t.known = false // an error may come after the commit
	}
}

// add counts what no quota is asked for.
func (t *tally) add() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}
