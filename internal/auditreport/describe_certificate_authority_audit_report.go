package auditreport

import (
	"context"
	"errors"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// DescribeCertificateAuthorityAuditReport tells the status of a report, in
// every status of the CA (audit-report.md 2.2).
func (s *Service) DescribeCertificateAuthorityAuditReport(ctx context.Context, in *pca.DescribeCertificateAuthorityAuditReportRequest) (*pca.DescribeCertificateAuthorityAuditReportResponse, error) {
	ca, _, err := s.authority(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	r, err := s.cfg.Reports.Report(ctx, ca.ID, in.AuditReportId)
	if errors.Is(err, store.ErrNotFound) {
		return nil, pca.Errorf(pca.ResourceNotFoundException, "The certificate authority %s has no audit report %s. Use the AuditReportId that CreateCertificateAuthorityAuditReport returned.", ca.ARN, in.AuditReportId)
	}
	if err != nil {
		return nil, reading("report", in.AuditReportId, err)
	}
	return &pca.DescribeCertificateAuthorityAuditReportResponse{
		AuditReportStatus: r.Status,
		S3BucketName:      r.Bucket,
		S3Key:             r.Key,
		CreatedAt:         pca.NewTimestamp(r.CreatedAt),
	}, nil
}
