package auditreport

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/google/uuid"

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
// client's Look does; nil is the server's own client, which may see all that is
// the account's.
func (s *Service) Look(ctx context.Context, client *bucket.Client, arn pca.ARN, name string) (access bucket.Access, err error) {
	if client == nil {
		if client, err = s.cfg.Destination(ctx, arn.Account, arn.CAARN()); err != nil {
			return access, fmt.Errorf("reaching the buckets of CA %s: %w", arn.CA, err)
		}
	}
	r := &store.AuditReport{ID: uuid.Nil.String(), CA: arn.CA, CAARN: arn.CAARN(), Account: arn.Account, Bucket: name}
	r.Key = "audit-report/" + r.CA + "/" + r.ID + ".json"
	request := gateRequest(r, false)
	request.Beside = beside(r, proof.LogFolder(r.CA, 1))
	if access, err = client.Look(ctx, request); err != nil || !access.Exists {
		return access, err
	}
	if err := s.notOurs(ctx, r, client); err != nil {
		access.Allowed, access.Reason = false, "The bucket is for this server's own use."
	} else if !s.MayUse(r.Account, name) {
		access.Allowed, access.Reason = false, "The server's setting audit-allowed-buckets lets no report of the account "+r.Account+" go there."
	}
	return access, nil
}

// Open looks at the object of a report, or with proof.ManifestSuffix at what lies
// beside it, to read it until ctx ends. A report that is not SUCCESS is an
// InvalidStateException, an object that is gone a ResourceNotFoundException.
func (s *Service) Open(ctx context.Context, r *store.AuditReport, suffix string) (*bucket.Reader, error) {
	if r.Status != pca.AuditReportStatus_SUCCESS {
		return nil, pca.Errorf(pca.InvalidStateException, "The audit report %s is %s. Only a report that is SUCCESS can be read.", r.ID, r.Status)
	}
	client, err := s.cfg.Destination(ctx, r.Account, r.CAARN)
	if err != nil {
		return nil, fmt.Errorf("reaching the buckets of CA %s: %w", r.CA, err)
	}
	o, err := client.Open(ctx, r.Bucket, r.Account, r.Key+suffix)
	switch {
	case errors.Is(err, bucket.ErrNoObject):
		return nil, &pca.Error{Code: pca.ResourceNotFoundException, Message: fmt.Sprintf("There is no object s3://%s/%s any more: somebody removed it, or the bucket.", r.Bucket, r.Key+suffix), Err: err}
	case errors.Is(err, bucket.ErrRefused):
		return nil, &pca.Error{Code: pca.RequestFailedException, Message: "The bucket service does not let this server read the report: its credentials need s3:GetObject there.", Err: err}
	case err != nil:
		return nil, &pca.Error{Code: pca.RequestFailedException, Message: fmt.Sprintf("The report could not be read from the bucket %s. Try again, and if it stays so check the bucket endpoint of this server.", r.Bucket), Err: err}
	}
	return o, nil
}
