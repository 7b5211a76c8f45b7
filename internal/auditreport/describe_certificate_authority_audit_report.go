package auditreport

import (
	"context"

	"chirograph.dev/internal/pca"
)

// DescribeCertificateAuthorityAuditReport tells the status of a report, in
// every status of the CA (audit-report.md 2.2).
func (s *Service) DescribeCertificateAuthorityAuditReport(ctx context.Context, in *pca.DescribeCertificateAuthorityAuditReportRequest) (*pca.DescribeCertificateAuthorityAuditReportResponse, error) {
	ca, _, err := s.authority(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	r, err := s.Find(ctx, ca.ID, in.AuditReportId)
	if err != nil {
		return nil, err
	}
	return &pca.DescribeCertificateAuthorityAuditReportResponse{
		AuditReportStatus: r.Status,
		S3BucketName:      r.Bucket,
		S3Key:             r.Key,
		CreatedAt:         pca.NewTimestamp(r.CreatedAt),
	}, nil
}
