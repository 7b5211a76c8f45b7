package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/pca"
)

func TestThrottleSetting(t *testing.T) {
	t.Parallel()
	aws := must(parseThrottle("aws"))(t)
	for _, op := range pca.Operations() {
		if r := aws[op.Name]; r.PerSecond != awsRates[op.Name] || r.PerSecond < 1 || r.Burst != int(2*r.PerSecond) {
			t.Errorf("AWS serves %+v of %s", r, op.Name)
		}
	}
	if len(aws) != 23 {
		t.Errorf("%d rates", len(aws))
	}
	with := func(change func(map[string]awsjson.Rate)) map[string]awsjson.Rate {
		m := must(parseThrottle("aws"))(t)
		change(m)
		return m
	}
	for text, want := range map[string]map[string]awsjson.Rate{
		"":                            {},
		"off":                         {},
		"aws,off":                     {},
		"ListTags=0.5":                {"ListTags": {PerSecond: 0.5, Burst: 1}},
		"ListTags=3 , GetPolicy=10:4": {"ListTags": {PerSecond: 3, Burst: 6}, "GetPolicy": {PerSecond: 10, Burst: 4}},
		"aws,IssueCertificate=100":    with(func(m map[string]awsjson.Rate) { m["IssueCertificate"] = awsjson.Rate{PerSecond: 100, Burst: 200} }),
		"aws,IssueCertificate=off":    with(func(m map[string]awsjson.Rate) { delete(m, "IssueCertificate") }),
	} {
		if got := must(parseThrottle(text))(t); !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func TestQuotaSetting(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]quotas{
		"": {}, "off": {}, "aws,off": {},
		"aws":                               {200, 100_000_000, 1_000_000},
		"aws,certificates-per-ca=off":       {200, 0, 1_000_000},
		"certificate-authorities=3":         {3, 0, 0},
		"revoked-per-ca=5":                  {0, 0, 5},
		"aws, certificate-authorities=1000": {1000, 100_000_000, 1_000_000},
	} {
		if got := must(parseQuota(text))(t); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func TestLimitsThatAreNone(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{
		"--throttle=fast", "--throttle=aws,IssueCertificates=1", "--throttle=IssueCertificate=0", "--throttle=IssueCertificate=-1", "--throttle=IssueCertificate=NaN",
		"--throttle=IssueCertificate=1:0", "--throttle=IssueCertificate=", "--throttle=IssueCertificate=1:", "--throttle=IssueCertificate=1e9",
		"--quota=many", "--quota=certificates-per-ca", "--quota=certificates-per-ca=0", "--quota=certificates-per-ca=-1", "--quota=certificate-authorities=1.5", "--quota=aws=1",
		"--audit-allowed-buckets=bucket", "--audit-allowed-buckets=123=bucket", "--audit-allowed-buckets=123456789012=",
		"--key-standards=FIPS", "--visibility-delay=-1s", "--max-in-flight=-1", "--max-connections=0",
	} {
		code, _, stderr := command(t, "serve", "--data-dir", filepath.Join(t.TempDir(), "data"), arg)
		name, _, _ := strings.Cut(arg, "=")
		if code != exitUsage || !strings.Contains(stderr, name) {
			t.Errorf("%s: exit code %d, want %d and a message that names it:\n%s", arg, code, exitUsage, stderr)
		}
	}
}

// metric is the value of one line of the server's metrics.
func (i *instance) metric(t *testing.T, line string) string {
	t.Helper()
	res := must(http.Get(i.API + "/metrics"))(t)
	defer res.Body.Close()
	for text := range strings.Lines(string(must(io.ReadAll(res.Body))(t))) {
		if value, ok := strings.CutPrefix(text, line+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// TestThrottling: the rate is refused at the wire, and SDKs get over it. The
// rate is far below what the slowest machine issues; its figures are awsjson's
// to test, on a clock of its own.
func TestThrottling(t *testing.T) {
	t.Parallel()
	i := start(t, func(c *serveConfig) { c.Throttle = "aws,IssueCertificate=2:25,CreateCertificateAuthority=off" })
	root := i.root(t)
	csr := newCSR(t, newKey(t), "leaf.example.com")
	once := acmpca.NewFromConfig(i.aws, func(o *acmpca.Options) { o.Retryer = aws.NopRetryer{} })
	in := &acmpca.IssueCertificateInput{CertificateAuthorityArn: &root.arn, Csr: csr, SigningAlgorithm: types.SigningAlgorithmSha256withecdsa, Validity: &types.Validity{Type: types.ValidityPeriodTypeDays, Value: aws.Int64(1)}}
	issued := 1 // the root's own certificate
	for ; ; issued++ {
		_, err := once.IssueCertificate(t.Context(), in)
		if err != nil {
			wantMessage(t, err, "ThrottlingException", "Rate exceeded")
			break
		}
		if issued > 1000 {
			t.Fatal("nothing throttles")
		}
	}
	if issued < 25 {
		t.Errorf("throttled after %d certificates", issued)
	}
	if got := i.metric(t, `pca_api_throttled_total{operation="IssueCertificate"}`); got != "1" {
		t.Errorf("the metric counts %q throttled calls, want 1", got)
	}
	// Other operations go on, and other accounts would.
	must(once.GetCertificateAuthorityCertificate(t.Context(), &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &root.arn}))(t)

	patient := acmpca.NewFromConfig(i.aws, func(o *acmpca.Options) {
		o.Retryer = retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 20, 2*time.Second })
	})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := patient.IssueCertificate(t.Context(), in); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()

	config, credentials, err := clientFiles(i.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "python3", filepath.Join("testdata", "throttle.py"), root.arn)
	cmd.Stdin = strings.NewReader(string(csr))
	cmd.Env = append(cleanEnvironment(), "HOME="+t.TempDir(), "AWS_CONFIG_FILE="+config, "AWS_SHARED_CREDENTIALS_FILE="+credentials)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestMaxConnections: connections beyond the bound wait for the ones before.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	const bound = 3
	i := start(t, func(c *serveConfig) { c.MaxConnections = bound })
	answer := func(c net.Conn) error {
		b := make([]byte, 12)
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		if string(b) != "HTTP/1.1 200" {
			return fmt.Errorf("answer %q", b)
		}
		return nil
	}
	var open []net.Conn
	for n := range 4 * bound {
		c := must(net.Dial("tcp", strings.TrimPrefix(i.API, "http://")))(t)
		defer c.Close()
		must(io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"))(t)
		if n < bound {
			if err := answer(c); err != nil {
				t.Fatal(err)
			}
		}
		open = append(open, c)
	}
	for n, c := range open[bound:] {
		must(0, c.SetReadDeadline(time.Now().Add(10*time.Millisecond)))(t)
		if err := answer(c); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("connection %d is served before another is closed: %v", bound+n, err)
		}
		must(0, c.SetReadDeadline(time.Time{}))(t)
	}
	for n, c := range open[bound:] {
		open[n].Close()
		if err := answer(c); err != nil {
			t.Fatalf("connection %d: %v", bound+n, err)
		}
	}
	if fit := fitConnections(1<<40, 2); fit < 1 || fit >= 1<<40 {
		t.Errorf("the process may open files for %d connections", fit)
	}
}

func TestAllowedBuckets(t *testing.T) {
	t.Parallel()
	i := start(t, func(c *serveConfig) {
		c.AuditAllowedBuckets = "123456789012=own-reports, *=shared-reports, 999999999999=foreign-reports"
	})
	root := i.root(t)
	for _, bucket := range []string{"own-reports", "shared-reports", "foreign-reports", "other-reports"} {
		i.bucket(t, bucket, true)
	}
	for bucket, allowed := range map[string]bool{"own-reports": true, "shared-reports": true, "foreign-reports": false, "other-reports": false, "missing-reports": false} {
		if allowed {
			root.report(t, bucket, types.AuditReportResponseFormatJson)
			continue
		}
		_, err := i.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
			CertificateAuthorityArn: &root.arn, S3BucketName: &bucket, AuditReportResponseFormat: types.AuditReportResponseFormatJson,
		})
		wantMessage(t, err, "InvalidArgsException", bucket)
		if bucket != "missing-reports" {
			if out := must(i.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket}))(t); len(out.Contents) > 0 {
				t.Errorf("%s holds %s", bucket, *out.Contents[0].Key)
			}
		}
	}
	any := must(parseAllowedBuckets(""))(t)
	own := must(parseAllowedBuckets("123456789012=a"))(t)
	if !any.allow("123456789012", "x") || own.allow("123456789012", "b") || !own.allow("999999999999", "b") {
		t.Error("an account without an entry may use any bucket, one with entries those alone")
	}
}
