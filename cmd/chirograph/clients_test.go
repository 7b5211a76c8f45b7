package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
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

// versitygw starts a foreign S3 server over an empty folder.
func versitygw(t *testing.T) (url, access, secret string) {
	t.Helper()
	binary, err := filepath.Abs(filepath.Join("..", "..", ".tools", "versitygw"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(binary); err != nil {
		if binary, err = exec.LookPath("versitygw"); err != nil {
			t.Fatal("versitygw is missing; install it with: make tools")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	access, secret = "foreign", "foreign-secret"
	var log bytes.Buffer
	cmd := exec.Command(binary, "--port", address, "--access", access, "--secret", secret, "posix", t.TempDir())
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("versitygw's log:\n%s", log.String())
		}
	})
	url = "http://" + address
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(url)
		if err == nil {
			resp.Body.Close()
			return url, access, secret
		}
		if time.Now().After(deadline) {
			t.Fatal("versitygw does not come up")
		}
	}
}

// TestForeignBucketService writes reports to another S3 server, which cannot
// hold the policy, so its credentials decide.
func TestForeignBucketService(t *testing.T) {
	t.Parallel()
	url, access, secret := versitygw(t)
	foreign := s3.New(s3.Options{
		BaseEndpoint: &url, Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
	})
	bucket := "foreign-reports"
	must(foreign.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}))(t)

	configure := func(authorization string) func(*serveConfig) {
		return func(c *serveConfig) {
			c.Destination, c.DestinationAuthorization = url, authorization
			c.DestinationAccessKeyID, c.DestinationSecretKey = access, secret
		}
	}
	// Not by itself: only the setting lets the credentials decide.
	strict := start(t, configure("policy")).root(t)
	_, err := strict.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &strict.arn, S3BucketName: &bucket, AuditReportResponseFormat: types.AuditReportResponseFormatJson,
	})
	wantMessage(t, err, "ValidationException", "Check your S3 bucket permissions and try again")

	root := start(t, configure("credentials")).root(t)
	root.s3 = foreign
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
// the two that say nothing of anybody refuse.
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
		{"GET", i.API + "/console", "", false},
		{"GET", i.endpoints.S3 + "/", "", false},
		{"GET", i.endpoints.S3 + "/private", "", false},
		{"PUT", i.endpoints.S3 + "/private/key", "", false},
		{"DELETE", i.endpoints.S3 + "/private", "", false},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, c.url, strings.NewReader("{}"))
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
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if ok := resp.StatusCode < 300; ok != c.open {
			t.Errorf("%s %s %s without credentials: status %d\n%s", c.method, c.url, c.target, resp.StatusCode, body)
		}
	}
}
