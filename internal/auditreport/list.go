package auditreport

import (
	"context"
	"errors"
	"math"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// List gives the newest reports of a CA, by its id, that cover fewer than before
// entries, newest first; math.MaxInt64 is any.
func (s *Service) List(ctx context.Context, ca string, before uint64, limit int) ([]*store.AuditReport, error) {
	reports, err := s.cfg.Reports.Reports(ctx, ca, before, limit)
	if err != nil {
		return nil, reading("the reports of CA", ca, err)
	}
	return reports, nil
}

// Find gives a report of a CA, by its id, or a ResourceNotFoundException.
func (s *Service) Find(ctx context.Context, ca, id string) (*store.AuditReport, error) {
	r, err := s.cfg.Reports.Report(ctx, ca, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, pca.Errorf(pca.ResourceNotFoundException, "The certificate authority %s has no audit report %s. Use the AuditReportId that CreateCertificateAuthorityAuditReport returned.", ca, id)
	}
	if err != nil {
		return nil, reading("report", id, err)
	}
	return r, nil
}

// last is the newest report of a CA, or nil.
func (s *Service) last(ctx context.Context, ca string) (*store.AuditReport, error) {
	reports, err := s.List(ctx, ca, math.MaxInt64, 1)
	if err != nil || len(reports) == 0 {
		return nil, err
	}
	return reports[0], nil
}

// MayUse says whether reports of an account may go to a bucket, before the
// bucket is asked.
func (s *Service) MayUse(account, bucket string) bool {
	return s.cfg.AllowBucket == nil || s.cfg.AllowBucket(account, bucket)
}

// Look tells how a bucket stands to the reports of a CA, without trying it, as
// client's Look does.
func (s *Service) Look(ctx context.Context, client *bucket.Client, arn pca.ARN, name string) (bucket.Access, error) {
	r := &store.AuditReport{ID: "00000000-0000-0000-0000-000000000000", CA: arn.CA, CAARN: arn.CAARN(), Account: arn.Account, Bucket: name}
	r.Key = "audit-report/" + r.CA + "/" + r.ID + ".json"
	request := gateRequest(r, false)
	request.Beside = beside(r, proof.LogFolder(r.CA, 1))
	access, err := client.Look(ctx, request)
	if err != nil || !access.Exists {
		return access, err
	}
	if err := s.notOurs(ctx, r, client); err != nil {
		access.Allowed, access.Reason = false, "The bucket is for this server's own use."
	} else if !s.MayUse(r.Account, name) {
		access.Allowed, access.Reason = false, "The server's setting audit-allowed-buckets lets no report of the account "+r.Account+" go there."
	}
	return access, nil
}
