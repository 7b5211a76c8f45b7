package ca

import (
	"context"
	"fmt"
	"sync"

	"chirograph.dev/internal/pca"
)

// issuedCount counts what a CA issued, while there is a quota for that. Until
// it comes near the quota it is the size of the log, which is never less: the
// certificates themselves are counted no sooner.
type issuedCount struct {
	mu      sync.Mutex
	n       int64 // not less than what is committed
	known   bool  // n has a value
	exact   bool  // n is what is committed
	pending int64 // being committed
}

// beginIssue finds room for one more certificate, or refuses it.
func (s *Service) beginIssue(ctx context.Context, a *authority) error {
	quota := s.Quotas.CertificatesPerCA
	if quota == 0 {
		return nil
	}
	c := &a.issued
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.known {
		head, err := s.Entries.Head(ctx, a.rec.ID)
		if err != nil {
			return fmt.Errorf("judging the quota: %w", err)
		}
		c.n, c.known, c.exact = int64(head.Size), true, false
	}
	if c.n+c.pending >= quota && !c.exact {
		n, err := s.Overview.CountCertificates(ctx, a.rec.ID)
		if err != nil {
			return fmt.Errorf("judging the quota: %w", err)
		}
		// What is pending may be among them already.
		c.n, c.exact = n, c.pending == 0
	}
	if c.n+c.pending >= quota {
		return pca.Errorf(pca.LimitExceededException, "The certificate authority %s has issued as many certificates as the quota of certificates of a certificate authority allows (%d).", a.rec.ARN, quota)
	}
	c.pending++
	return nil
}

// endIssue says what became of what beginIssue found room for.
func (s *Service) endIssue(a *authority, committed bool) {
	if s.Quotas.CertificatesPerCA == 0 {
		return
	}
	c := &a.issued
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pending--
	if committed {
		c.n++
	} else {
		c.known = false // an error may come after the commit
	}
}
