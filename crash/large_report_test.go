package crash

import (
	"crypto/sha256"
	"io"
	mathrand "math/rand/v2"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bench"
)

// TestCrashDuringLargeReport kills the server while it uploads reports of many
// parts. After the restarts each is whole, its bytes are those of a report that
// nothing disturbed, since a report is a function of its record, and its proof
// is there.
func TestCrashDuringLargeReport(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	binary, err := bench.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	var s *bench.Server
	start := func() {
		t.Helper()
		if s, err = bench.Start(ctx, binary, data, "--audit-min-interval", "0s"); err != nil {
			t.Fatal(err)
		}
	}
	start()
	t.Cleanup(func() { s.Kill() })
	ca, err := s.MakeCA(ctx)
	if err == nil {
		err = s.MakeBucket(ctx, bucketName)
	}
	if err == nil {
		err = s.Stop()
	}
	if err == nil {
		err = bench.Seed(ctx, data, ca, 70_000, 0.02) // 38 MB of JSON, five parts
	}
	if err != nil {
		t.Fatal(err)
	}
	start()
	create := func(format types.AuditReportResponseFormat) *acmpca.CreateCertificateAuthorityAuditReportOutput {
		t.Helper()
		out, err := s.PCA.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{
			CertificateAuthorityArn: &ca, S3BucketName: aws.String(bucketName), AuditReportResponseFormat: format,
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	digest := func(r *acmpca.CreateCertificateAuthorityAuditReportOutput) [sha256.Size]byte {
		t.Helper()
		for {
			out, err := s.PCA.DescribeCertificateAuthorityAuditReport(ctx, &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &ca, AuditReportId: r.AuditReportId})
			if err != nil {
				t.Fatal(err)
			}
			if out.AuditReportStatus == types.AuditReportStatusFailed {
				t.Fatalf("report %s failed", *r.AuditReportId)
			}
			if out.AuditReportStatus == types.AuditReportStatusSuccess {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		object, err := s.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(bucketName), Key: r.S3Key})
		if err != nil {
			t.Fatal(err)
		}
		defer object.Body.Close()
		h := sha256.New()
		if _, err := io.Copy(h, object.Body); err != nil {
			t.Fatal(err)
		}
		return [sha256.Size]byte(h.Sum(nil))
	}
	for _, format := range types.AuditReportResponseFormat("").Values() {
		want := digest(create(format))
		var r *acmpca.CreateCertificateAuthorityAuditReportOutput
		for range 2 {
			r = create(format)
			for range 1 + mathrand.IntN(2) {
				time.Sleep(time.Duration(mathrand.IntN(150)) * time.Millisecond)
				if err := s.Kill(); err != nil {
					t.Fatal(err)
				}
				start()
			}
			if digest(r) != want {
				t.Errorf("the %s report %s differs from one that nothing disturbed", format, *r.S3Key)
			}
		}
		served := &server{Server: s}
		new(world).prove(t, served, *r.S3Key, readLog(t, served, path.Dir(*r.S3Key)+"/"))
	}
}
