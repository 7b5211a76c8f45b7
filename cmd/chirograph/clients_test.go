package main

import (
	"context"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bucket/buckettest"
)

// TestBoto3 runs the whole flow, and what is refused, through boto3.
func TestBoto3(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	config, credentials, err := clientFiles(i.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", filepath.Join("testdata", "lifecycle.py"))
	cmd.Env = append(cleanEnvironment(), "HOME="+t.TempDir(), "AWS_CONFIG_FILE="+config, "AWS_SHARED_CREDENTIALS_FILE="+credentials)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestForeignBucketService writes reports to another S3 server, which cannot
// hold the policy, so its credentials decide.
func TestForeignBucketService(t *testing.T) {
	t.Parallel()
	foreign := buckettest.StartForeign(t)
	key := must(foreign.Credentials.Retrieve(t.Context()))(t)
	bucket := "foreign-reports"
	must(foreign.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}))(t)

	configure := func(authorization string) func(*serveConfig) {
		return func(c *serveConfig) {
			c.Destination, c.DestinationAuthorization = foreign.Endpoint, authorization
			c.DestinationAccessKeyID, c.DestinationSecretKey = key.AccessKeyID, key.SecretAccessKey
		}
	}
	// Not by itself: only the setting lets the credentials decide.
	strict := start(t, configure("policy")).root(t)
	_, err := strict.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &strict.arn, S3BucketName: &bucket, AuditReportResponseFormat: types.AuditReportResponseFormatJson,
	})
	wantMessage(t, err, "ValidationException", "Check your S3 bucket permissions and try again")

	root := start(t, configure("credentials")).root(t)
	root.s3 = foreign.S3
	leaf := must(root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
	for _, format := range types.AuditReportResponseFormat("").Values() {
		key, file := root.report(t, bucket, format)
		if !strings.Contains(string(file), leaf) {
			t.Errorf("%s does not list %s:\n%s", key, leaf, file)
		}
	}
	_, err = root.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &root.arn, S3BucketName: aws.String("missing-bucket"), AuditReportResponseFormat: types.AuditReportResponseFormatJson,
	})
	wantCode(t, err, "ResourceNotFoundException")

	// A destination that is not there is told at once.
	gone := start(t, func(c *serveConfig) { configure("credentials")(c); c.Destination = "http://127.0.0.1:1" }).root(t)
	_, err = gone.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &gone.arn, S3BucketName: &bucket, AuditReportResponseFormat: types.AuditReportResponseFormatJson,
	})
	wantCode(t, err, "RequestFailedException")
}

// TestEveryRouteAuthenticates walks the routes without credentials: all but
// those that say nothing of anybody refuse.
func TestEveryRouteAuthenticates(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	i.bucket(t, "private", false)
	for _, c := range []struct {
		method, url, target string
		open                bool
	}{
		{"GET", i.API + "/healthz", "", true},
		{"GET", i.API + "/metrics", "", true},
		{"POST", i.API + "/", "ACMPrivateCA.ListCertificateAuthorities", false},
		{"POST", i.API + "/", "ACMPrivateCA.IssueCertificate", false},
		{"POST", i.API + "/", "ACMPrivateCA.NoSuchOperation", false},
		{"POST", i.API + "/?Action=GetCallerIdentity&Version=2011-06-15", "", false},
		{"GET", i.API + "/?Action=GetCallerIdentity&Version=2011-06-15", "", false},
		{"GET", i.API + "/console", "", true}, // the application, which knows nothing of anybody
		{"GET", i.API + "/console/api/settings", "", true},
		{"GET", i.API + "/console/api/overview", "", false},
		{"GET", i.API + "/console/api/buckets", "", false},
		{"POST", i.API + "/console/api/bucket/policy", "", false},
		{"POST", i.API + "/console/api/may", "", false},
		{"POST", i.API + "/console/api/call/ListCertificateAuthorities", "", false},
		{"GET", i.endpoints.S3 + "/", "", false},
		{"GET", i.endpoints.S3 + "/private", "", false},
		{"PUT", i.endpoints.S3 + "/private/key", "", false},
		{"DELETE", i.endpoints.S3 + "/private", "", false},
	} {
		body := strings.NewReader("{}")
		if c.method == http.MethodGet {
			body = strings.NewReader("")
		}
		req, err := http.NewRequestWithContext(t.Context(), c.method, c.url, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		if c.target != "" {
			req.Header.Set("X-Amz-Target", c.target)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if ok := resp.StatusCode < 300; ok != c.open {
			t.Errorf("%s %s %s without credentials: status %d\n%s", c.method, c.url, c.target, resp.StatusCode, answer)
		}
	}
}
