package ca

import (
	"context"
	"time"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// RestoreCertificateAuthority gives a deleted CA back the status it had, as
// long as its restoration period lasts.
func (s *Service) RestoreCertificateAuthority(ctx context.Context, in *pca.RestoreCertificateAuthorityRequest) (*struct{}, error) {
	_, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	return nil, s.settle(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
		if next.Status != pca.CertificateAuthorityStatus_DELETED {
			return false, pca.Errorf(pca.InvalidStateException, "The certificate authority is not in a valid state for restoration. It is in the %s state; only deleted ones are restored.", s.status(next))
		}
		next.Status, next.DeletedFrom = next.DeletedFrom, ""
		next.RestorableUntil = time.Time{}
		next.LastStateChangeAt = s.stamp()
		return true, nil
	})
}
