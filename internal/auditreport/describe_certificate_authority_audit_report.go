package auditreport

import (
	"context"

	"chirograph.dev/internal/pca"
)

// DescribeCertificateAuthorityAuditReport tells the status of a report, in
// every status of the CA (audit-report.md 2.2).
func (s *Service) DescribeCertificateAuthorityAuditReport(ctx context.Context, in *pca.DescribeCertificateAuthorityAuditReportRequest) (*pca.DescribeCertificateAuthorityAuditReportResponse, error) {
	return nil, ctx.Err()
}
