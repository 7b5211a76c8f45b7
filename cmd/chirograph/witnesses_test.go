package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func TestWitnessSettingsThatAreNone(t *testing.T) {
	t.Parallel()
	const key = "witness.example.com+0355b918+BEgiizcveuIXvC5hkCpyN+UlREvX24rhITLb0PIvk2uz"
	for _, arg := range []string{
		"--witness=https://witness.example.com", "--witness=witness.example.com=" + key, "--witness=https://witness.example.com=" + key[1:], "--witness=" + key,
		"--witness=https://a.example.com=" + key + ",https://b.example.com=" + key, "--witness-quorum=1", "--witness-quorum=-1",
		"--anchor-bucket=Anchors", "--anchor-retention=1h", "--anchor-retention=-1h", "--anchor-destination=s3", "--anchor-destination=embedded",
		"--anchor-destination-access-key-id=AKIA", "--anchor-mode=LEGAL", "--checkpoint-interval=-1s",
		"--audit-retention=-1h", "--audit-retention-mode=governance",
	} {
		code, _, stderr := command(t, "serve", "--data-dir", filepath.Join(t.TempDir(), "data"), arg)
		name, _, _ := strings.Cut(arg, "=")
		if strings.HasPrefix(name, "--anchor") && !strings.HasSuffix(name, "mode") {
			name = "--anchor"
		}
		if code != exitUsage || !strings.Contains(stderr, name) {
			t.Errorf("%s: exit code %d, want %d and a message that names it:\n%s", arg, code, exitUsage, stderr)
		}
	}
}

// TestRetained is --audit-retention and --anchor-retention with the embedded
// buckets: reports, their proofs and the anchors cannot be deleted. The bucket
// of the reports retains by itself, too.
func TestRetained(t *testing.T) {
	t.Parallel()
	i := start(t, func(c *serveConfig) {
		c.AuditRetention, c.AuditRetentionMode = time.Hour, "COMPLIANCE"
		c.AnchorBucket, c.AnchorRetention = "anchors", time.Hour
	})
	reports := "reports"
	for _, name := range []string{reports, "anchors"} {
		must(i.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name, ObjectLockEnabledForBucket: aws.Bool(true)}))(t)
	}
	must(i.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &reports, Policy: aws.String(strings.Replace(grantPolicy(reports), `"s3:PutObject"`, `"s3:PutObject","s3:PutObjectRetention"`, 1))}))(t)
	a := i.root(t)
	kept := func(bucket string, most int) {
		t.Helper()
		list := must(i.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket}))(t)
		retained := 0
		for _, o := range list.Contents {
			out, err := i.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: o.Key})
			if strings.HasSuffix(*o.Key, "/log/checkpoint") || strings.HasPrefix(*o.Key, "acm-pca-") {
				continue // replaced by the next
			}
			if wantCode(t, err, "AccessDenied"); out == nil {
				retained++
			}
		}
		if retained != most {
			t.Errorf("%d objects of %s are retained, want %d of %d", retained, bucket, most, len(list.Contents))
		}
	}
	a.report(t, reports, types.AuditReportResponseFormatJson)
	kept(reports, 3) // the report, its manifest, its entries
	kept("anchors", 1)

	// Entries that are there already are retained with the report that needs them.
	b := i.root(t)
	pack := "audit-report/" + b.id(t) + "/log/entries/" + "000000000000-000000065536.zst"
	must(i.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &reports, Key: &pack}))(t)
	b.report(t, reports, types.AuditReportResponseFormatJson)
	kept(reports, 6)
	kept("anchors", 2)

	must(i.s3.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: &reports, ObjectLockConfiguration: &s3types.ObjectLockConfiguration{
		ObjectLockEnabled: "Enabled", Rule: &s3types.ObjectLockRule{DefaultRetention: &s3types.DefaultRetention{Mode: "COMPLIANCE", Days: aws.Int32(1)}}}}))(t)
	for n := range 3 { // the second cannot replace the checkpoint of the first
		a.report(t, reports, types.AuditReportResponseFormatCsv)
		kept(reports, 3*(n+3))
	}
	kept("anchors", 5)
}
