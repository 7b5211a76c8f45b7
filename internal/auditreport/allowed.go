package auditreport

import (
	"context"
	"errors"
	"time"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// Allowed says whether the CA's status and its last report allow another one
// now: refused is what CreateCertificateAuthorityAuditReport would answer, nil
// when they do, and at is when they will, zero when time alone does not help.
func (s *Service) Allowed(ctx context.Context, ca *store.CertificateAuthority, status pca.CertificateAuthorityStatus) (refused *pca.Error, at time.Time, err error) {
	if err = s.checkStatus(ca, status); err == nil {
		last, failure := s.last(ctx, ca.ID)
		if last == nil || failure != nil {
			return nil, at, failure
		}
		at, err = busy(last, &store.AuditReport{CA: ca.ID, CreatedAt: s.stamp(), Interval: s.cfg.MinInterval})
	}
	if errors.As(err, &refused) {
		err = nil
	}
	return refused, at, err
}
