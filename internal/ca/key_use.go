package ca

import (
	"context"
	"crypto"
	"fmt"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// Authority is a CA as those see it that publish what it revoked.
type Authority struct {
	Record      *store.CertificateAuthority // must not be changed
	Status      pca.CertificateAuthorityStatus
	Certificate []byte // DER of the installed certificate; nil when there is none
	Generation  int64  // of that certificate
}

// Publishes tells whether a CA of this status signs CRLs and OCSP answers (revocation.md 1.2).
func (a *Authority) Publishes() bool {
	return a.Certificate != nil && (a.Status == pca.CertificateAuthorityStatus_ACTIVE || a.Status == pca.CertificateAuthorityStatus_DISABLED)
}

// Authority gives the CA with an id; a ResourceNotFoundException when it is
// unknown or gone.
func (s *Service) Authority(ctx context.Context, id string) (Authority, error) {
	a, err := s.byID(ctx, id)
	if err != nil {
		return Authority{}, err
	}
	if a == nil || s.gone(a.access.Load().rec) {
		return Authority{}, unknownCA(id)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return s.view(a), nil
}

func (s *Service) view(a *authority) Authority {
	v := Authority{Record: a.rec, Status: s.status(a.rec)}
	if a.issuer != nil {
		v.Certificate, v.Generation = a.issuer.Certificate(), a.issuer.generation
	}
	return v
}

// UseKey lets sign make one signature with a CA's key and appends the record
// that it gives to the CA's log. What was signed must not leave before UseKey
// returns nil. The CA is locked meanwhile: its status, certificate and key are
// those that sign sees; so sign is quick. A CA that does not publish (see
// Publishes) is an InvalidStateException.
func (s *Service) UseKey(ctx context.Context, id string, sign func(a Authority, key crypto.Signer) (certlog.Record, error)) (index uint64, err error) {
	a, err := s.byID(ctx, id)
	if err != nil {
		return 0, err
	}
	if a == nil {
		return 0, unknownCA(id)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	if err := s.mayPublish(a); err != nil {
		return 0, err
	}
	if a.issuer.keyErr != nil {
		return 0, a.issuer.keyErr
	}
	key, err := s.Keys.Signer(ctx, a.rec.KeyID)
	if err != nil {
		return 0, fmt.Errorf("finding the key of CA %s: %w", id, err)
	}
	rec, err := sign(s.view(a), key)
	if err != nil {
		return 0, err
	}
	// A crash before the commit loses a signature that nobody received.
	if index, err = s.Entries.Append(ctx, id, rec); err != nil {
		return 0, fmt.Errorf("committing what CA %s signed: %w", id, err)
	}
	return index, nil
}
