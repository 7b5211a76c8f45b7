package ocsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha1"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const (
	// A responder certificate lives so long, if its CA does, and issues for
	// as long.
	responderLife = 30 * 24 * time.Hour

	// retryAfter is how long a CA whose responder cannot be made is left alone.
	retryAfter = 10 * time.Second
	tick       = time.Minute // between looks at what is to be renewed or destroyed
	makeWithin = time.Minute // of a responder, whatever became of the request
)

var (
	// errLater says that it may be otherwise in a moment.
	errLater       = errors.New("not now")
	errNoResponder = errors.New("no responder can be used")
)

// responder is a responder certificate and its key.
type responder struct {
	row       *store.Responder
	der       []byte
	keyHash   [sha1.Size]byte // of its public key: the responderID
	key       crypto.Signer
	algorithm pca.SigningAlgorithm
	revoked   atomic.Bool
}

func (r *responder) usable(now time.Time) bool {
	return r != nil && !r.revoked.Load() && !now.Before(r.row.NotBefore) && now.Before(r.row.NotAfter)
}

// due is when it is to be renewed: at half of its life.
func (r *responder) due() time.Time {
	return r.row.NotBefore.Add(r.row.NotAfter.Sub(r.row.NotBefore) / 2)
}

// responderOf gives the responder that signs for an issuer, and makes it when
// there is none. errLater: it could not be made, a moment ago.
func (s *Service) responderOf(ctx context.Context, i *issuer, now time.Time) (*responder, error) {
	if r := i.responder.Load(); r.usable(now) {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), makeWithin)
	defer cancel()
	a := i.authority
	a.busy.Lock()
	defer a.busy.Unlock()
	if r := i.responder.Load(); r.usable(now) {
		return r, nil
	}
	if now.Before(i.retry) && !now.Before(i.retry.Add(-retryAfter)) {
		return nil, errLater
	}
	r, err := s.findResponder(ctx, i, now)
	if r == nil && err == nil {
		r, err = s.makeResponder(ctx, i, now)
	}
	if err != nil {
		i.retry = now.Add(retryAfter)
		return nil, err
	}
	i.responder.Store(r)
	return r, nil
}

// findResponder finds a responder that was made before; nil when there is none
// that can be used. The caller holds authority.busy.
func (s *Service) findResponder(ctx context.Context, i *issuer, now time.Time) (*responder, error) {
	a := i.authority
	if err := s.readResponders(ctx, a); err != nil {
		return nil, err
	}
	for _, row := range a.responders {
		if !slices.Contains(i.generations, row.Generation) || now.Before(row.NotBefore) || !now.Before(row.NotAfter) {
			continue
		}
		_, revoked, err := s.cfg.Records.CertificateStatus(ctx, row.CA, row.Serial)
		if err != nil {
			return nil, fmt.Errorf("reading the status of a responder certificate of CA %s: %w", row.CA, err)
		}
		key, err := s.cfg.Keys.Signer(ctx, row.KeyID)
		switch {
		case revoked != nil || errors.Is(err, keystore.ErrNotFound) || errors.Is(err, keystore.ErrCorrupt):
			continue
		case err != nil:
			return nil, fmt.Errorf("finding the key of a responder of CA %s: %w", row.CA, err)
		}
		c, err := s.cfg.Records.Certificate(ctx, row.CA, row.Serial)
		if err != nil {
			return nil, fmt.Errorf("reading a responder certificate of CA %s: %w", row.CA, err)
		}
		return newResponder(a, row, c.DER, key)
	}
	return nil, nil
}

// readResponders reads the records of responders whose keys there are, once. The
// caller holds a.busy.
func (s *Service) readResponders(ctx context.Context, a *authority) error {
	if a.responders != nil {
		return nil
	}
	rows, err := s.cfg.Records.Responders(ctx, a.rec.Load().ID, time.Time{})
	if err != nil {
		return fmt.Errorf("reading the responders of CA %s: %w", a.rec.Load().ID, err)
	}
	// Keys are destroyed beginning with the oldest, so those older than one that
	// is gone are gone, too.
	now := s.cfg.Now()
	for n, row := range rows {
		if now.Before(row.NotAfter) {
			continue
		}
		if _, err := s.cfg.Keys.Signer(ctx, row.KeyID); errors.Is(err, keystore.ErrNotFound) {
			rows = rows[:n]
			break
		}
	}
	a.responders = append(make([]*store.Responder, 0, len(rows)+1), rows...)
	return nil
}

// makeResponder makes a key and has the CA issue a certificate for it. The
// caller holds authority.busy.
func (s *Service) makeResponder(ctx context.Context, i *issuer, now time.Time) (*responder, error) {
	a := i.authority
	if err := s.readResponders(ctx, a); err != nil {
		return nil, err
	}
	rec := a.rec.Load()
	row := &store.Responder{CA: rec.ID, Generation: i.current.Load().generation, NotAfter: now.Add(responderLife)}
	// The name follows from the newest certificate that is recorded: a key that a
	// crash or an error left without one is found under it, and used.
	newest, err := s.cfg.Records.Responders(ctx, rec.ID, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("reading the responders of CA %s: %w", rec.ID, err)
	}
	after := uint64(0)
	if len(newest) > 0 {
		after = newest[0].Index
	}
	row.KeyID = rec.ID + "-ocsp-" + strconv.FormatUint(after, 10)
	key, err := s.cfg.Keys.Generate(ctx, row.KeyID, string(rec.Configuration.KeyAlgorithm))
	if errors.Is(err, keystore.ErrExists) {
		key, err = s.cfg.Keys.Signer(ctx, row.KeyID)
	}
	if err != nil {
		return nil, fmt.Errorf("making the key of a responder of CA %s: %w", rec.ID, err)
	}
	der, err := s.cfg.Authorities.IssueResponder(ctx, row)
	if err != nil {
		// It may be recorded nevertheless.
		a.responders = nil
		return nil, fmt.Errorf("issuing a responder certificate of CA %s: %w", rec.ID, err)
	}
	a.responders = slices.Insert(a.responders, 0, row)
	s.cfg.Log.InfoContext(ctx, "a certificate for OCSP was issued", "ca", rec.ARN, "serial", fmt.Sprintf("%x", row.Serial), "notAfter", row.NotAfter)
	return newResponder(a, row, der, key)
}

func newResponder(a *authority, row *store.Responder, der []byte, key crypto.Signer) (*responder, error) {
	spki, err := issuance.MarshalPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	bits, err := keyBits(spki)
	if err != nil {
		return nil, err
	}
	return &responder{row: row, der: der, keyHash: sha1.Sum(bits), key: key, algorithm: a.rec.Load().Configuration.SigningAlgorithm}, nil
}

// Run renews responder certificates at half of their life, and destroys the keys
// of expired ones, until ctx ends. What fails is tried again.
func (s *Service) Run(ctx context.Context) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		for _, a := range s.known() {
			if ctx.Err() != nil {
				return nil
			}
			if err := s.tend(ctx, a); err != nil && ctx.Err() == nil {
				s.cfg.Log.ErrorContext(ctx, "the responders of OCSP could not be renewed, or the keys of expired ones destroyed; it is tried again in a minute", "ca", a.rec.Load().ARN, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

// known gives all CAs.
func (s *Service) known() []*authority {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*authority, 0, len(s.authorities))
	for _, a := range s.authorities {
		all = append(all, a)
	}
	return all
}

// tend renews and destroys what is due of a CA; of one that is gone for good
// every key is.
func (s *Service) tend(ctx context.Context, a *authority) error {
	a.busy.Lock()
	defer a.busy.Unlock()
	if err := s.readResponders(ctx, a); err != nil {
		return err
	}
	now, rec := s.cfg.Now(), a.rec.Load()
	gone := rec.Status == pca.CertificateAuthorityStatus_DELETED && rec.RestorableUntil.IsZero()
	var errs []error
	for n := len(a.responders) - 1; n >= 0 && (gone || !now.Before(a.responders[n].NotAfter)); n-- {
		a.dropResponder(a.responders[n].Serial) // the clock may be turned back
		if err := s.cfg.Keys.Delete(ctx, a.responders[n].KeyID); err != nil && !errors.Is(err, keystore.ErrNotFound) {
			errs = append(errs, fmt.Errorf("destroying the key of an expired responder: %w", err))
			break
		}
		a.responders = a.responders[:n]
	}
	if a.answers(now) {
		for _, i := range *a.issuers.Load() {
			r := i.responder.Load()
			if !r.usable(now) || now.Before(r.due()) || !now.Before(i.current.Load().notAfter) || r.row.NotAfter.Equal(i.current.Load().notAfter) {
				continue
			}
			next, err := s.makeResponder(ctx, i, now)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			i.responder.Store(next)
		}
	}
	return errors.Join(errs...)
}

// dropResponder ends the use of a responder whose certificate is revoked, or whose
// key goes.
func (a *authority) dropResponder(serial []byte) {
	for _, i := range *a.issuers.Load() {
		if r := i.responder.Load(); r != nil && bytes.Equal(r.row.Serial, serial) {
			r.revoked.Store(true)
		}
	}
}
