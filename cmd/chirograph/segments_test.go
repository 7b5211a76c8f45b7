package main

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/bucket/buckettest"
)

// TestSegmentsSettings makes the same reports with each of the settings, one
// after the other over one data folder. Their bytes are the same; what is kept
// lies where the setting says, and nowhere else in the data folder.
func TestSegmentsSettings(t *testing.T) {
	t.Parallel()
	foreign := buckettest.StartForeign(t)
	key := must(foreign.Credentials.Retrieve(t.Context()))(t)
	reports, own := "foreign-reports", "own-segments"
	must(foreign.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &reports}))(t)
	dir := filepath.Join(t.TempDir(), "data")
	serve := func(t *testing.T, settings segmentConfig) *served {
		return serveHouse(t, func(c *serveConfig) {
			c.DataDir, c.segmentConfig = dir, settings
			c.Destination, c.DestinationAuthorization = foreign.Endpoint, "credentials"
			c.DestinationAccessKeyID, c.DestinationSecretKey = key.AccessKeyID, key.SecretAccessKey
		})
	}
	var arn string
	if !t.Run("seed", func(t *testing.T) { arn = serve(t, segmentConfig{}).root(t).arn }) {
		return
	}
	if err := bench.Seed(t.Context(), dir, arn, 35_000, 0.01); err != nil {
		t.Fatal(err)
	}
	var want []byte
	for _, c := range []struct {
		name     string
		settings segmentConfig
		inside   int // objects in the hidden bucket of the data folder afterwards
	}{
		{"bucket of the destination", segmentConfig{Segments: true, SegmentsBucket: own}, 0},
		{"data folder", segmentConfig{Segments: true}, 2},
		{"off", segmentConfig{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.settings)
			root := authority{instance: s.instance, arn: arn}
			root.s3 = foreign.S3
			for range 2 {
				_, file := root.report(t, reports, types.AuditReportResponseFormatJson)
				if want == nil {
					want = file
				}
				if !bytes.Equal(file, want) {
					t.Errorf("a report of %d bytes, not the first one of %d", len(file), len(want))
				}
			}
			client := must(s.house.insideSegments())(t)
			inside := func() (n int) {
				_ = client.List(t.Context(), internalSegments, "", "", func(string) error { n++; return nil }) // there may be no bucket
				return n
			}
			for end := time.Now().Add(time.Minute); inside() != c.inside; time.Sleep(10 * time.Millisecond) { // deleted beside everything else
				if time.Now().After(end) {
					t.Fatalf("%d segments in the data folder, want %d", inside(), c.inside)
				}
			}
			if beside := must(foreign.S3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &own}))(t); len(beside.Contents) != 2 {
				t.Errorf("%d segments in the destination", len(beside.Contents))
			}
			if c.settings.SegmentsBucket == "" {
				return
			}
			_, err := s.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
				CertificateAuthorityArn: &arn, S3BucketName: aws.String(own), AuditReportResponseFormat: types.AuditReportResponseFormatJson,
			})
			wantMessage(t, err, "ValidationException", "own use")
		})
	}
}
