package ca

import (
	"context"
	"time"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// defaultRestorable is how many days a deleted CA can be restored when the call does not say.
const defaultRestorable = 30

// DeleteCertificateAuthority deletes a CA. Until the end of its restoration
// period it can be restored; then its key is destroyed. One that never had a
// CSR is gone at once (ca-lifecycle.md 7).
func (s *Service) DeleteCertificateAuthority(ctx context.Context, in *pca.DeleteCertificateAuthorityRequest) (*struct{}, error) {
	_, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	days := in.PermanentDeletionTimeInDays
	if days == 0 {
		days = defaultRestorable
	}
	err = s.change(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
		status := s.status(next)
		switch status {
		case pca.CertificateAuthorityStatus_CREATING, pca.CertificateAuthorityStatus_FAILED:
			// Nothing to restore: from here on it is a tombstone.
		case pca.CertificateAuthorityStatus_PENDING_CERTIFICATE, pca.CertificateAuthorityStatus_DISABLED, pca.CertificateAuthorityStatus_EXPIRED:
			next.RestorableUntil = s.stamp().Add(time.Duration(days) * 24 * time.Hour)
		default:
			advice := "."
			if status == pca.CertificateAuthorityStatus_ACTIVE {
				advice = "; update its Status to DISABLED first."
			}
			// The first sentence is AWS's, which clients match.
			return false, pca.Errorf(pca.InvalidStateException, "The certificate authority is not in a valid state for deletion. It is in the %s state%s", status, advice)
		}
		next.DeletedFrom, next.Status = next.Status, pca.CertificateAuthorityStatus_DELETED
		next.LastStateChangeAt = s.stamp()
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	// A crash here leaves the rest to the next start.
	a.mu.RLock()
	if a.cancel != nil {
		a.cancel() // the making of its key
	}
	a.mu.RUnlock()
	s.destroyLater(a)
	return nil, nil
}
