package ca

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// lookAgain is how often the clock is compared with the ends of restoration
// periods, so that one that is set does not matter for longer.
const lookAgain = time.Minute

// destroyLater has the key of a deleted CA destroyed when its time has come.
func (s *Service) destroyLater(a *authority) {
	s.mu.Lock()
	s.deleted[a.access.Load().rec.ID] = a
	s.mu.Unlock()
	s.look()
}

// look has destroyKeys compare the clock now.
func (s *Service) look() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// destroyKeys destroys the keys of the CAs that are gone until the Service is closed.
func (s *Service) destroyKeys() {
	for {
		wait := lookAgain
		if next := s.destroyDue(s.background); !next.IsZero() {
			wait = min(wait, next.Sub(s.Now()))
		}
		select {
		case <-s.background.Done():
			return
		case <-s.wake:
		case <-time.After(wait):
		}
	}
}

// destroyDue destroys what is due and tells when something will be; zero when
// nothing is known.
func (s *Service) destroyDue(ctx context.Context) (next time.Time) {
	s.destroying.Lock() // two would stumble over each other's files
	defer s.destroying.Unlock()
	s.mu.Lock()
	deleted := slices.Collect(maps.Values(s.deleted))
	s.mu.Unlock()
	for _, a := range deleted {
		rec := a.access.Load().rec
		if s.waits(rec) {
			if next.IsZero() || rec.RestorableUntil.Before(next) {
				next = rec.RestorableUntil
			}
			continue
		}
		if err := s.destroyKey(ctx, a); err != nil {
			if ctx.Err() == nil {
				s.Log.ErrorContext(ctx, "destroying the key of a deleted certificate authority failed; it is tried again", "ca", rec.ID, "error", err)
			}
			continue
		}
		s.forget(a, rec.ID)
	}
	return next
}

// waits says whether a CA can still be restored.
func (s *Service) waits(rec *store.CertificateAuthority) bool {
	return rec.Status == pca.CertificateAuthorityStatus_DELETED && !s.gone(rec)
}

// forget takes a CA off the list unless it was deleted again meanwhile.
func (s *Service) forget(a *authority, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec := a.access.Load().rec; rec.Status != pca.CertificateAuthorityStatus_DELETED || rec.KeyID == "" {
		delete(s.deleted, id)
	}
}

// destroyKey ends the life of a CA that can no longer be restored, in three
// steps. After the first no clock brings it back; a crash before the last leaves
// a tombstone that names a key, and the next start goes through the steps again.
// The log, the certificates and the reports stay, and with them the key that
// signs the log's heads, unless the CA never came to have a CSR.
func (s *Service) destroyKey(ctx context.Context, a *authority) error {
	var keys []string
	err := s.amend(ctx, a, func(next *store.CertificateAuthority) bool {
		if next.Status != pca.CertificateAuthorityStatus_DELETED || next.KeyID == "" || s.waits(next) {
			return false // restored, or done
		}
		keys = []string{next.KeyID}
		if next.AuditKey == "" {
			keys = append(keys, next.KeyID+"-audit")
		}
		changed := !tombstone(next)
		next.RestorableUntil = time.Time{}
		return changed
	})
	if err != nil || keys == nil {
		return err
	}
	a.mu.RLock()
	made := a.made
	a.mu.RUnlock()
	if made != nil {
		select {
		case <-made: // nobody makes the key any more
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for _, id := range keys {
		if err := s.Keys.Delete(ctx, id); err != nil && !errors.Is(err, keystore.ErrNotFound) {
			return fmt.Errorf("destroying key %s: %w", id, err)
		}
	}
	s.Log.InfoContext(ctx, "the key of a deleted certificate authority is destroyed", "ca", keys[0])
	return s.amend(ctx, a, func(next *store.CertificateAuthority) bool {
		next.KeyID = ""
		return true
	})
}

// amend is change for a CA that is gone.
func (s *Service) amend(ctx context.Context, a *authority, edit func(next *store.CertificateAuthority) (changed bool)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	next := *a.rec
	if !edit(&next) {
		return nil
	}
	return s.commit(ctx, a, &next, nil, func(ctx context.Context) error { return s.Records.UpdateCA(ctx, &next) })
}
