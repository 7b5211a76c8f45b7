package crl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// The reasons of failed CRL Generation events, verbatim (operations.md 2).
const (
	reasonDenied = "Failed to write CRL to S3. Check your S3 bucket permissions."
	reasonWrite  = "Failed to write CRL to S3. Internal failure."
	reasonBuild  = "Failed to generate CRL. Internal failure."
)

// errMoved says that the list, or its CA, became another one meanwhile: nothing
// was made of it, and it is looked at again.
var errMoved = errors.New("the CRL's record or its CA changed while it was made")

// tend does what is due for a list: it makes it, and writes it. With force it
// does both in any case. The caller works on the list.
//
// What failed is recorded and reported here; the error is for those who asked.
func (s *Service) tend(ctx context.Context, c *store.CRL, force bool) error {
	err := s.renewed(ctx, c.CA, c.ID, force)
	_, reported := errors.AsType[*failure](err)
	switch {
	case err == nil, reported, ctx.Err() != nil:
	case errors.Is(err, errMoved):
		s.rest(spotOf(c), s.cfg.Now().Add(look))
	default:
		// Records cannot be read or written: nothing can be recorded.
		s.rest(spotOf(c), s.cfg.Now().Add(time.Minute))
		s.cfg.Log.ErrorContext(ctx, "working on a CRL failed; it is tried again", "ca", c.CA, "bucket", c.Bucket, "key", c.Key, "error", err)
	}
	return err
}

func (s *Service) renewed(ctx context.Context, id string, list int64, force bool) error {
	a, err := s.cfg.Authorities.Authority(ctx, id)
	if refused, ok := errors.AsType[*pca.Error](err); ok && refused.Code == pca.ResourceNotFoundException {
		return s.update(ctx, id, list, stop) // gone for good; the last object stays
	}
	if err != nil {
		return err
	}
	if err := s.arranged(ctx, a.Record); err != nil {
		return err
	}
	c, err := s.cfg.Records.CRL(ctx, id, list)
	if err != nil {
		return err
	}
	now := s.cfg.Now()
	switch {
	case !c.Active:
		return nil
	case !a.Publishes():
		return s.update(ctx, id, list, func(c *store.CRL) { c.Due = now.Add(recheck) })
	case !c.Open && c.Certificates > 0 && !c.NotAfter.After(now):
		return s.retire(ctx, a.Record.ARN, c)
	}
	failed := c.Failures > 0 && now.Before(s.again(c)) && !now.Before(c.FailedAt.Add(-store.ClockSkew))
	if failed && c.Failure == reasonBuild && !force {
		s.rest(spotOf(c), c.FailedAt.Add(s.cfg.Retry))
		return nil
	}
	p := s.plan(c, &a, now)
	if p.rest.After(now) && !force {
		s.rest(spotOf(c), p.rest)
		return nil
	}
	p.base = p.base || force
	// Of a delta only the first revocation since its base has a known time.
	timed := p.changed && c.ChangedAt.UnixMilli() >= c.Delta.Number
	changedAt := c.ChangedAt
	writes := !failed || force
	begun := time.Now()
	if p.base {
		err = s.make(ctx, &a, c, false)
	}
	if err == nil && writes && c.Base.WrittenAt.IsZero() {
		err = s.write(ctx, &a, c, false)
	}
	// A delta is of no use before the list that it adds to is there.
	if err == nil && s.cfg.Deltas && !c.Base.WrittenAt.IsZero() {
		begun = time.Now() // how often the base is made follows from latest, and not from what it takes
		if p.delta || c.Delta.BaseNumber != c.Base.Number {
			err = s.make(ctx, &a, c, true)
		}
		if err == nil && writes && c.Delta.WrittenAt.IsZero() {
			err = s.write(ctx, &a, c, true)
		}
	}
	if p.base || p.delta {
		s.rest(spotOf(c), s.cfg.Now().Add(min(max(pause, restFactor*time.Since(begun)), latest)))
	}
	if failure, ok := errors.AsType[*failure](err); ok {
		return s.failed(ctx, &a, c, failure)
	}
	if err != nil {
		return err
	}
	if !writes {
		return s.update(ctx, id, list, func(c *store.CRL) { c.Due = s.again(c) })
	}
	if timed {
		s.metrics.delay.Observe(max(0, s.cfg.Now().Sub(changedAt).Seconds()))
	}
	return s.succeeded(ctx, &a, c)
}

// again is when a list that was not written is tried again: soon when it has
// news since, such as a revocation.
func (s *Service) again(c *store.CRL) time.Time {
	wait := s.cfg.Retry
	if max(c.Base.Number, c.Delta.Number) > c.FailedAt.UnixMilli() {
		wait = min(wait, retryNews)
	}
	return c.FailedAt.Add(wait)
}

// plan says what is to be made of a list.
type plan struct {
	base, delta bool
	changed     bool      // there are revocations that it does not list
	rest        time.Time // when that is to be done
	next        time.Time // when something is to be done if nothing happens
}

func (s *Service) plan(c *store.CRL, a *ca.Authority, now time.Time) (p plan) {
	if c.Base.Number == 0 || c.Base.Certificate != a.Generation || c.Base.Covered == 0 {
		p.base = true
		return p
	}
	validity := time.Duration(c.Days) * 24 * time.Hour
	half := c.Base.NextUpdate.Add(-validity / 2)
	p.next = half
	if !half.After(now) || ahead(c, now) {
		p.base = true
		return p
	}
	for _, delta := range []bool{false, true} { // what is not in the bucket was lost: a crash, or a folder that was emptied
		signed := signedOf(c, delta)
		if signed.Number != 0 && signed.WrittenAt.IsZero() && (!delta || s.cfg.Deltas) && !s.kept(c, delta) {
			p.base = true
			return p
		}
	}
	if c.RevokeIndex == 0 || c.RevokeIndex < c.Base.Covered {
		return p
	}
	soon, late := c.ChangedAt.Add(s.cfg.Delay), c.ChangedAt.Add(latest)
	if c.ChangedAt.After(now.Add(store.ClockSkew)) {
		soon, late = now, now
	}
	switch {
	case !s.cfg.Deltas || c.Delta.BaseNumber != c.Base.Number:
		p.base, p.changed, p.rest = true, true, soon
	case !now.Before(late):
		p.base, p.changed = true, c.RevokeIndex >= c.Delta.Covered
	case c.RevokeIndex >= c.Delta.Covered:
		p.delta, p.changed, p.rest, p.next = true, true, soon, earlier(p.next, late)
	default:
		p.next = earlier(p.next, late)
	}
	return p
}

// ahead tells whether a list has a nextUpdate further away than it can be: of a
// time when the clock was wrong.
func ahead(c *store.CRL, now time.Time) bool {
	return c.Base.NextUpdate.After(now.Add(time.Duration(c.Days)*24*time.Hour + store.ClockSkew))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func signedOf(c *store.CRL, delta bool) *store.SignedCRL {
	if delta {
		return &c.Delta
	}
	return &c.Base
}

// update changes a list's record as it is now.
func (s *Service) update(ctx context.Context, id string, list int64, change func(*store.CRL)) error {
	for {
		c, err := s.cfg.Records.CRL(ctx, id, list)
		if err != nil {
			return err
		}
		change(c)
		if err := s.cfg.Records.UpdateCRL(ctx, c); !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// retire ends a list that no valid certificate refers to. Its last object stays
// in the bucket.
func (s *Service) retire(ctx context.Context, arn string, c *store.CRL) error {
	if err := s.update(ctx, c.CA, c.ID, stop); err != nil {
		return err
	}
	s.metrics.forget(arn, partitionLabel(c))
	for _, delta := range []bool{false, true} {
		if err := os.Remove(s.path(c, delta)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("deleting the file of a CRL: %w", err)
		}
	}
	s.cfg.Log.InfoContext(ctx, "a CRL is no longer renewed: all certificates that refer to it have expired", "ca", arn, "bucket", c.Bucket, "key", c.Key)
	return nil
}

// failure is a list that was not made or written, which is recorded.
type failure struct {
	reason string // one of the three
	words  string // for the owner of the bucket
	label  string // of pca_crl_failures_total
	err    error
}

func (f *failure) Error() string { return f.words }
func (f *failure) Unwrap() error { return f.err }

func notWritten(err error) error {
	if bucket.Refused(err) {
		return &failure{reasonDenied, bucket.Explain(err, "CRL"), "denied", err}
	}
	return &failure{reasonWrite, bucket.Explain(err, "CRL"), "write", err}
}

const event = "ACM Private CA CRL Generation"

// failed records and reports a failure; the list is tried again after Retry. The
// error is f, unless it could not be recorded.
func (s *Service) failed(ctx context.Context, a *ca.Authority, c *store.CRL, f *failure) error {
	if errors.Is(f.err, context.Canceled) && ctx.Err() != nil {
		return f.err // the server ends
	}
	s.metrics.failures.WithLabelValues(a.Record.ARN, f.label).Inc()
	if f.reason == reasonDenied {
		s.metrics.misconfigured.WithLabelValues(a.Record.ARN).Inc()
	}
	s.cfg.Log.ErrorContext(ctx, "a CRL was not written", "event", event, "result", "failure", "reason", f.reason, "ca", a.Record.ARN, "bucket", c.Bucket, "key", c.Key, "retry", s.cfg.Retry.String(), "error", f.err)
	now := s.cfg.Now()
	err := s.update(ctx, c.CA, c.ID, func(c *store.CRL) {
		c.Failures++
		c.FailedAt, c.Failure, c.Due = now, f.words, now.Add(s.cfg.Retry)
	})
	if err != nil {
		return err
	}
	return f
}

// succeeded records that all of a list is in its bucket, and when it is to be
// looked at again.
func (s *Service) succeeded(ctx context.Context, a *ca.Authority, c *store.CRL) error {
	now := s.cfg.Now()
	return s.update(ctx, c.CA, c.ID, func(c *store.CRL) {
		c.Failures, c.FailedAt, c.Failure = 0, time.Time{}, ""
		p := s.plan(c, a, now)
		c.Due = p.next
		if p.base || p.delta { // more came meanwhile
			c.Due = now
		}
		if !c.Open && c.Certificates > 0 {
			c.Due = earlier(c.Due, c.NotAfter)
		}
	})
}
