package main

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
)

// TestClockWasAhead lets a clock that was an hour ahead be set right: what would
// look back-dated is not signed, and a recovery begins an epoch in which it does
// not.
func TestClockWasAhead(t *testing.T) {
	t.Parallel()
	s := serveHouse(t, nil)
	s.pca = acmpca.NewFromConfig(s.aws, func(o *acmpca.Options) { o.Retryer = aws.NopRetryer{} })
	s.pass(time.Hour)
	root := s.root(t)
	csr := newCSR(t, newKey(t), "leaf.example.com")
	leaf := must(root.issue(t.Context(), csr, nil))(t)

	s.pass(-time.Hour)
	const words = "The server's clock is wrong, or was"
	// Its validity would begin when the CA's has.
	later := func(in *acmpca.IssueCertificateInput) {
		in.Validity = &types.Validity{Type: types.ValidityPeriodTypeAbsolute, Value: aws.Int64(time.Now().Add(24 * time.Hour).Unix())}
	}
	_, err := root.issue(t.Context(), csr, later)
	wantMessage(t, err, "InternalFailure", words)
	wantMessage(t, root.revoke(t, serialOf(leaf), types.RevocationReasonSuperseded), "InternalFailure", words)
	bucket := s.bucket(t, "clock", true)
	_, err = s.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &root.arn, S3BucketName: &bucket, AuditReportResponseFormat: types.AuditReportResponseFormatJson,
	})
	wantMessage(t, err, "InternalFailure", words)
	root.get(t, leaf)

	if code, out, text := command(t, "log", "recover", "--data-dir", s.DataDir, "--ca", root.arn, "--force"); code != exitOK {
		t.Fatalf("log recover: %d\n%s%s", code, out, text)
	}
	must(root.issue(t.Context(), csr, later))(t)
	_, file := root.report(t, bucket, types.AuditReportResponseFormatJson)
	if rows := parseRows(t, file); len(rows) != 3 {
		t.Errorf("%d rows", len(rows))
	}
}
