package auditreport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

const (
	// retryWindow is how long the retry of a call gets the answer of the call
	// (audit-report.md 4).
	retryWindow = 5 * time.Minute
	// gateTime bounds the questions to the bucket while a caller waits; SDKs
	// give up after a minute.
	gateTime = 20 * time.Second
)

// CreateCertificateAuthorityAuditReport accepts a report and returns before it
// is written. The checks and their order are those of audit-report.md 2.1;
// the report covers every certificate and revocation that was acknowledged
// before the call.
func (s *Service) CreateCertificateAuthorityAuditReport(ctx context.Context, in *pca.CreateCertificateAuthorityAuditReportRequest) (*pca.CreateCertificateAuthorityAuditReportResponse, error) {
	ca, status, err := s.authority(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	if err := s.checkStatus(ca, status); err != nil {
		return nil, err
	}
	if err := bucket.CheckName(in.S3BucketName); err != nil {
		return nil, err
	}
	if s.cfg.AllowBucket != nil && !s.cfg.AllowBucket(ca.Account, in.S3BucketName) {
		return nil, pca.Errorf(pca.InvalidArgsException, "Audit reports of the account %s may not go to the bucket %s. Name a bucket that the server's setting audit-allowed-buckets lists for the account.", ca.Account, in.S3BucketName)
	}
	r := &store.AuditReport{
		ID: uuid.NewString(), CA: ca.ID, CAARN: ca.ARN, Account: ca.Account,
		Bucket: in.S3BucketName, Format: in.AuditReportResponseFormat,
		Status: pca.AuditReportStatus_CREATING, CreatedAt: s.stamp(),
		Interval: s.cfg.MinInterval, Invocation: s.invocation(ctx),
	}
	r.Key = "audit-report/" + ca.ID + "/" + r.ID + "." + strings.ToLower(string(r.Format))
	if answer, err := s.checkSlot(ctx, r); answer != nil || err != nil {
		return answer, err
	}
	if err := s.gate(ctx, r); err != nil {
		return nil, err
	}

	e := certlog.Entry{Type: certlog.TypeReport, Time: r.CreatedAt.UnixMilli(), Label: []byte(r.ID), Extra: []byte(r.Format)}
	entry, err := e.Append(nil)
	if err != nil {
		return nil, fmt.Errorf("encoding the entry of report %s: %w", r.ID, err)
	}
	// The one commit of the call: the slot, the record, and the log prefix that
	// the report covers. A crash before it leaves nothing, one after it a
	// report that Run finds. A caller who hangs up does not make the outcome
	// unknown.
	index, err := s.cfg.Log.Append(context.WithoutCancel(ctx), ca.ID, certlog.Record{Entry: entry, Rows: []certlog.Row{r}})
	var taken *store.ExistsError
	if errors.As(err, &taken) {
		// Someone was faster; who, decides what to answer.
		if answer, err := s.checkSlot(ctx, r); answer != nil || err != nil {
			return answer, err
		}
		return nil, pca.Errorf(pca.RequestInProgressException, "Audit report %s of this certificate authority was created at the same time. Try again later.", taken.Value)
	}
	if err != nil {
		return nil, fmt.Errorf("recording report %s of CA %s: %w", r.ID, ca.ID, err)
	}
	r.TreeSize = index + 1
	s.log.InfoContext(ctx, "audit report accepted", "report", r.ID, "ca", ca.ARN, "bucket", r.Bucket, "key", r.Key, "entries", r.TreeSize)
	s.enqueue(r)
	return accepted(r), nil
}

func accepted(r *store.AuditReport) *pca.CreateCertificateAuthorityAuditReportResponse {
	return &pca.CreateCertificateAuthorityAuditReportResponse{AuditReportId: r.ID, S3Key: r.Key}
}

// checkStatus is audit-report.md 5.
func (s *Service) checkStatus(ca *store.CertificateAuthority, status pca.CertificateAuthorityStatus) error {
	remedy := ""
	switch status {
	case pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_DISABLED:
		return nil
	case pca.CertificateAuthorityStatus_EXPIRED:
		if !s.cfg.RefuseExpired {
			return nil
		}
		remedy = " This server is configured to make no reports of expired certificate authorities (audit.allowInactive)."
	case pca.CertificateAuthorityStatus_CREATING, pca.CertificateAuthorityStatus_PENDING_CERTIFICATE:
		remedy = " It has issued nothing yet; import its certificate first."
	case pca.CertificateAuthorityStatus_DELETED:
		remedy = " Restore it first with RestoreCertificateAuthority."
	}
	return pca.Errorf(pca.InvalidStateException, "The certificate authority %s is in the state %s, which allows no audit report.%s", ca.ARN, status, remedy)
}

// checkSlot is audit-report.md 4: the answer of an earlier call when this is
// its retry, or the error when another report is in the way.
func (s *Service) checkSlot(ctx context.Context, r *store.AuditReport) (*pca.CreateCertificateAuthorityAuditReportResponse, error) {
	last, err := s.last(ctx, r.CA)
	if last == nil || err != nil {
		return nil, err
	}
	if r.Invocation != "" && r.Invocation == last.Invocation && r.Bucket == last.Bucket && r.Format == last.Format &&
		r.CreatedAt.Before(last.CreatedAt.Add(retryWindow)) {
		return accepted(last), nil
	}
	_, err = busy(last, r)
	return nil, err
}

// busy is why a report cannot be created after the last one, and from when on
// one can, as far as that is known.
func busy(last, r *store.AuditReport) (from time.Time, err error) {
	switch next := last.CreatedAt.Add(r.Interval); {
	case last.Status == pca.AuditReportStatus_CREATING:
		return time.Time{}, pca.Errorf(pca.RequestInProgressException,
			"Audit report %s of this certificate authority is being created. Wait until DescribeCertificateAuthorityAuditReport no longer says CREATING, then try again.", last.ID)
	case last.Status == pca.AuditReportStatus_SUCCESS && r.Interval > 0 && r.CreatedAt.Before(next) && !last.CreatedAt.After(r.CreatedAt.Add(store.ClockSkew)):
		next = next.Add(time.Second - time.Millisecond).Truncate(time.Second)
		return next, pca.Errorf(pca.RequestInProgressException,
			"The last audit report of this certificate authority, %s, was created at %s, and there is at most one every %s. The next one can be created from %s on.",
			last.ID, last.CreatedAt.Format(time.RFC3339), humane(r.Interval), next.Format(time.RFC3339))
	}
	return time.Time{}, nil
}

// humane writes 30m0s as 30 minutes.
func humane(d time.Duration) string {
	if d%time.Minute == 0 {
		return fmt.Sprintf("%d minutes", d/time.Minute)
	}
	return d.String()
}

// gate asks the bucket (checks 10 to 12).
func (s *Service) gate(ctx context.Context, r *store.AuditReport) error {
	ctx, cancel := context.WithTimeout(ctx, gateTime)
	defer cancel()
	client, err := s.cfg.Destination(ctx, r.Account, r.CAARN)
	if err != nil {
		return fmt.Errorf("reaching the buckets of CA %s: %w", r.CA, err)
	}
	if err := s.notOurs(ctx, r, client); err != nil {
		return err
	}
	request := gateRequest(r, true)
	request.Beside = beside(r, proof.LogFolder(r.CA, 1))
	_, err = client.Gate(ctx, request)
	return err
}

// notOurs refuses the bucket of segments, which is read and deleted from: the
// credentials may write it, so the gate alone would not keep reports out.
func (s *Service) notOurs(ctx context.Context, r *store.AuditReport, to *bucket.Client) error {
	if s.cfg.Segments == nil {
		return nil
	}
	client, name, err := s.cfg.Segments(ctx, r.Account, r.CAARN)
	if err != nil || name != r.Bucket || !to.Shares(client) {
		return nil // the report does without segments that cannot be reached
	}
	return pca.Errorf(pca.ValidationException, "The bucket %s is for this server's own use. Name another bucket for the report.", name)
}

func gateRequest(r *store.AuditReport, try bool) bucket.GateRequest {
	return bucket.GateRequest{Bucket: r.Bucket, Key: r.Key, CAARN: r.CAARN, Account: r.Account, Try: try}
}

// invocation tells one call from another; empty when that is not known.
func (s *Service) invocation(ctx context.Context) string {
	caller, id := s.cfg.Call(ctx)
	if id == "" {
		return ""
	}
	return id + " " + caller
}
