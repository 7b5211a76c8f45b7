package bucket_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/buckettest"
	"chirograph.dev/internal/bucket/local"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

const (
	account = "123456789012"
	caARN   = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11111111-2222-3333-4444-555555555555"
	name    = "audit-reports"
	key     = "audit-report/11111111-2222-3333-4444-555555555555/99999999-8888-7777-6666-555555555555.json"
)

// embedded is the embedded bucket service with clients for it.
type embedded struct {
	service *local.Service
	dir     string
	owner   http.RoundTripper
	s3      *s3.Client // as the owner of the buckets
}

func startEmbedded(t testing.TB) *embedded {
	t.Helper()
	dir := t.TempDir()
	service, err := local.Open(local.Config{Dir: dir, Credentials: nobody{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := service.Close(); err != nil {
			t.Error(err)
		}
	})
	all, err := iam.ParsePolicy([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	e := &embedded{service: service, dir: dir}
	e.owner = service.Transport(&iam.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":root", ID: account, Policies: []*iam.Policy{all}})
	e.s3 = s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("https://bucket.internal"), UsePathStyle: true,
		Credentials: aws.AnonymousCredentials{}, HTTPClient: &http.Client{Transport: e.owner},
	})
	return e
}

// nobody is a house without access keys: nobody comes over the network.
type nobody struct{}

func (nobody) Secret(context.Context, string) (string, bool, error) { return "", false, nil }

func (nobody) Principal(context.Context, string, string) (*iam.Principal, error) {
	return nil, iam.ErrInvalidToken
}

func (e *embedded) client(t testing.TB, change ...func(*bucket.Config)) *bucket.Client {
	t.Helper()
	cfg := bucket.Config{Transport: e.service.Transport(bucket.Principal(account, caARN)), Owner: e.owner}
	for _, f := range change {
		f(&cfg)
	}
	c, err := bucket.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (e *embedded) bucket(t testing.TB, policy string) {
	t.Helper()
	if _, err := e.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		t.Fatal(err)
	}
	if policy != "" {
		e.policy(t, policy)
	}
}

func (e *embedded) policy(t testing.TB, policy string) {
	t.Helper()
	if _, err := e.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(name), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
}

// founding is the statement of the founding document: no condition.
func founding() string { return string(bucket.PolicyFor(name, "", "")) }

func gateRequest() bucket.GateRequest {
	return bucket.GateRequest{Bucket: name, Key: key, CAARN: caARN, Account: account, Try: true}
}

func object() bucket.Object {
	return bucket.Object{Bucket: name, Key: key, Account: account, ContentType: "application/json", ReportID: "99999999-8888-7777-6666-555555555555"}
}

func wantCode(t *testing.T, err error, code pca.Code, parts ...string) {
	t.Helper()
	var e *pca.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("%v, want a %s", err, code)
	}
	for _, p := range parts {
		if !strings.Contains(e.Message, p) {
			t.Errorf("message %q does not say %q", e.Message, p)
		}
	}
	if code == pca.ValidationException && !strings.HasSuffix(e.Message, "Check your S3 bucket permissions and try again") {
		t.Errorf("message %q does not end as AWS's", e.Message)
	}
}

func TestGate(t *testing.T) {
	t.Parallel()
	statement := func(effect, action, resource, condition string) string {
		return fmt.Sprintf(`{"Effect":%q,"Principal":{"Service":"acm-pca.amazonaws.com"},"Action":%s,"Resource":%s%s}`, effect, action, resource, condition)
	}
	policy := func(statements ...string) string {
		return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	}
	const four = `["s3:PutObject","s3:PutObjectAcl","s3:GetBucketAcl","s3:GetBucketLocation"]`
	const both = `["arn:aws:s3:::audit-reports/*","arn:aws:s3:::audit-reports"]`
	allow := statement("Allow", four, both, "")

	for _, tt := range []struct {
		name, policy string
		refusal      string // part of the message; empty: passes
	}{
		{"founding document", founding(), ""},
		{"source account", string(bucket.PolicyFor(name, account, "")), ""},
		{"source account and ARN", string(bucket.PolicyFor(name, account, caARN)), ""},
		{"other account", string(bucket.PolicyFor(name, "210987654321", "")), "does not allow"},
		{"other CA", string(bucket.PolicyFor(name, account, strings.Replace(caARN, "1111", "2222", 1))), "does not allow"},
		{"none", "", "no bucket policy"},
		{"no PutObjectAcl", policy(statement("Allow", `["s3:PutObject","s3:GetBucketAcl","s3:GetBucketLocation"]`, both, "")), "s3:PutObjectAcl"},
		{"bucket only", policy(statement("Allow", four, `"arn:aws:s3:::audit-reports"`, "")), "s3:PutObject"},
		{"objects only", policy(statement("Allow", four, `"arn:aws:s3:::audit-reports/*"`, "")), "s3:GetBucketAcl"},
		{"other service", strings.ReplaceAll(founding(), "acm-pca", "acm"), "does not allow"},
		{"everybody", policy(allow, `{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::audit-reports/*"}`), "denies"},
		{"deny elsewhere", policy(allow, `{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::audit-reports/crl/*"}`), ""},
		{"deny insecure transport", policy(allow, statement("Deny", `"s3:*"`, both, `,"Condition":{"Bool":{"aws:SecureTransport":"false"}}`)), ""},
		{"deny without the ACL", policy(allow, statement("Deny", `"s3:PutObject"`, both, `,"Condition":{"StringNotEquals":{"s3:x-amz-acl":"private"}}`)), "denies"},
		{"deny without encryption", policy(allow, statement("Deny", `"s3:PutObject"`, both, `,"Condition":{"Null":{"s3:x-amz-server-side-encryption":"true"}}`)), "denies"},
		{"unknown operator denies", policy(allow, statement("Deny", `"s3:PutObject"`, both, `,"Condition":{"StringResembles":{"aws:SourceAccount":"x"}}`)), "denies"},
		{"unknown operator does not allow", policy(statement("Allow", four, both, `,"Condition":{"StringResembles":{"aws:SourceAccount":"123456789012"}}`)), "does not allow"},
		{"absent key", policy(statement("Allow", four, both, `,"Condition":{"StringEquals":{"aws:SourceOrgID":"o-1"}}`)), "does not allow"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := startEmbedded(t)
			e.bucket(t, tt.policy)
			d, err := e.client(t).Gate(t.Context(), gateRequest())
			if tt.refusal != "" {
				wantCode(t, err, pca.ValidationException, name, tt.refusal, `"Service":"acm-pca.amazonaws.com"`, "s3:GetBucketLocation")
				if bucket.Temporary(err) {
					t.Error("a refusal is not temporary")
				}
				if got := e.keys(t); len(got) != 0 {
					t.Errorf("a refused request wrote %q", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			stored, err := e.s3.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String(name)})
			if err != nil {
				t.Fatal(err)
			}
			if sum := sha256.Sum256([]byte(*stored.Policy)); d.Authorization != bucket.AuthorizePolicy || !bytes.Equal(d.PolicySHA256, sum[:]) {
				t.Errorf("decision %+v", d)
			}
			if got := e.keys(t); len(got) != 1 || got[0] != "acm-pca-permission-test-key-private" {
				t.Errorf("the preflight left %q", got)
			}
		})
	}
}

func (e *embedded) keys(t testing.TB) (keys []string) { return listKeys(t, e.s3) }

func listKeys(t testing.TB, c *s3.Client) (keys []string) {
	t.Helper()
	out, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(name)})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out.Contents {
		keys = append(keys, *o.Key)
	}
	return keys
}

func TestGateAgain(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, founding())
	r := gateRequest()
	r.Try = false
	if _, err := e.client(t).Gate(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, p := range []bucket.Preflight{bucket.PreflightOff, bucket.PreflightHead} {
		if _, err := e.client(t, func(c *bucket.Config) { c.Preflight = p }).Gate(t.Context(), gateRequest()); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	if got := e.keys(t); len(got) != 0 {
		t.Errorf("wrote %q", got)
	}
}

func TestGateWithoutBucket(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	_, err := e.client(t).Gate(t.Context(), gateRequest())
	wantCode(t, err, pca.ResourceNotFoundException, name)

	f := buckettest.StartForeign(t)
	c, err := bucket.New(bucket.Config{Endpoint: f.Endpoint, Credentials: f.Credentials, Authorization: bucket.AuthorizeCredentials})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Gate(t.Context(), gateRequest())
	wantCode(t, err, pca.ResourceNotFoundException, name)
}

func TestGateUnreachable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // nobody listens there now
	c, err := bucket.New(bucket.Config{Endpoint: "http://" + l.Addr().String(), Credentials: credentials.NewStaticCredentialsProvider("a", "b", "")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Gate(t.Context(), gateRequest())
	wantCode(t, err, pca.RequestFailedException, name, l.Addr().String())
	if !bucket.Temporary(err) {
		t.Error("an unreachable store is temporary")
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	for _, cfg := range []bucket.Config{
		{Endpoint: "localhost:9000"}, {Endpoint: "ftp://x"}, {Endpoint: "http://x", Authorization: "none"}, {Endpoint: "http://x", Preflight: "maybe"},
	} {
		if _, err := bucket.New(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

// TestGateCannotAsk is D-11 for what may keep a policy from being read.
func TestGateCannotAsk(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, founding())
	_, err := e.client(t, func(c *bucket.Config) { c.Owner = nil }).Gate(t.Context(), gateRequest())
	wantCode(t, err, pca.ValidationException, "allow them s3:GetBucketPolicy")
	for _, tt := range []struct {
		status  int
		code    string
		want    pca.Code
		message string
	}{
		{http.StatusNotImplemented, "NotImplemented", pca.ValidationException, "authorization: credentials"},
		{http.StatusMethodNotAllowed, "MethodNotAllowed", pca.ValidationException, "authorization: credentials"},
		{http.StatusServiceUnavailable, "SlowDown", pca.RequestFailedException, "SlowDown"},
	} {
		c := e.client(t, func(c *bucket.Config) {
			next := c.Owner
			c.Owner = roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.URL.Query().Has("policy") {
					return answer(r, tt.status, tt.code), nil
				}
				return next.RoundTrip(r)
			})
		})
		_, err := c.Gate(t.Context(), gateRequest())
		wantCode(t, err, tt.want, tt.message)
	}
}

// TestAWS checks what is different on AWS, against the embedded service: the
// bucket must belong to the CA's account, and may be in another region.
func TestAWS(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, founding())
	var redirected, unowned atomic.Int32
	wire := func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("X-Amz-Expected-Bucket-Owner") == "" {
				unowned.Add(1)
			}
			if r.Method == http.MethodHead && r.URL.Path == "/"+name && redirected.Add(1) == 1 {
				resp := answer(r, http.StatusMovedPermanently, "PermanentRedirect")
				resp.Header.Set("X-Amz-Bucket-Region", "eu-central-1")
				return resp, nil
			}
			return next.RoundTrip(r)
		})
	}
	c := e.client(t, func(c *bucket.Config) { c.Transport, c.Owner = wire(c.Transport), wire(c.Owner) })
	c.PretendAWS()
	if _, err := c.Gate(t.Context(), gateRequest()); err != nil {
		t.Fatal(err)
	}
	if redirected.Load() != 2 || c.Region(name) == "" {
		t.Errorf("%d requests for the bucket's region, which is %q", redirected.Load(), c.Region(name))
	}
	exercise(t, c, e.s3)
	if n := unowned.Load(); n != 0 {
		t.Errorf("%d requests do not name the bucket's owner", n)
	}
	other := gateRequest()
	other.Account = "210987654321"
	_, err := c.Gate(t.Context(), other)
	wantCode(t, err, pca.ValidationException, "does not belong to account 210987654321")
}

// TestForeign drives versitygw, which refuses the policy of the founding
// document, with authorization: credentials.
func TestForeign(t *testing.T) {
	t.Parallel()
	f := buckettest.StartForeign(t)
	if _, err := f.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		t.Fatal(err)
	}
	cfg := bucket.Config{Endpoint: f.Endpoint, Credentials: f.Credentials}
	byPolicy, err := bucket.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = byPolicy.Gate(t.Context(), gateRequest())
	wantCode(t, err, pca.ValidationException, "no bucket policy")
	err = byPolicy.CreateBucket(t.Context(), bucket.CreateBucketRequest{Bucket: "made-here", Account: account})
	wantCode(t, err, pca.RequestFailedException, "authorization: credentials")
	if _, err := f.S3.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("made-here")}); err == nil {
		t.Error("a bucket without its policy was left behind")
	}

	cfg.Authorization = bucket.AuthorizeCredentials
	c, err := bucket.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.Gate(t.Context(), gateRequest())
	if err != nil || d.Authorization != bucket.AuthorizeCredentials || d.PolicySHA256 != nil {
		t.Fatalf("%+v, %v", d, err)
	}
	if got := listKeys(t, f.S3); len(got) != 0 {
		t.Errorf("the probe wrote %q", got)
	}
	up, err := f.S3.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(name)})
	if err != nil || len(up.Uploads) != 0 {
		t.Errorf("the probe left uploads %v, %v", up, err)
	}

	stranger, err := bucket.New(bucket.Config{Endpoint: f.Endpoint, Authorization: bucket.AuthorizeCredentials, Credentials: credentials.NewStaticCredentialsProvider("AKIANOBODY", "wrong", "")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = stranger.Gate(t.Context(), gateRequest())
	wantCode(t, err, pca.ValidationException, "does not accept the credentials")

	exercise(t, c, f.S3)
	for range 2 {
		if err := errors.Join(c.Add(t.Context(), beside("log/1"), []byte("pack")), c.Replace(t.Context(), beside("log/checkpoint"), []byte("head"))); err != nil {
			t.Fatal(err)
		}
	}
	var keys []string
	if err := c.List(t.Context(), name, account, "log/", func(key string) error { keys = append(keys, key); return nil }); err != nil || len(keys) != 2 {
		t.Errorf("listed %q, %v", keys, err)
	}

	if list, err := c.Buckets(t.Context()); err != nil || len(list) != 1 || list[0].Name != name {
		t.Errorf("%v, %v", list, err)
	}
	if a, err := c.Look(t.Context(), gateRequest()); err != nil || !a.Exists || !a.Allowed || a.Needed != "" || !strings.Contains(a.Reason, "its own access control") {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := byPolicy.Look(t.Context(), gateRequest()); err != nil || !a.Exists || a.Allowed || a.Reason != "It has no bucket policy." || a.Needed == "" {
		t.Errorf("%+v, %v", a, err)
	}
	r, err := c.Open(t.Context(), name, account, "log/checkpoint")
	if err != nil {
		t.Fatal(err)
	}
	if got := make([]byte, 3); r.Size() != 4 {
		t.Errorf("%d bytes", r.Size())
	} else if _, err := r.ReadAt(got, 1); err != io.EOF && err != nil || string(got) != "ead" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := c.Open(t.Context(), name, account, "log/none"); !errors.Is(err, bucket.ErrNoObject) {
		t.Errorf("an object that is not there: %v", err)
	}
	link, err := c.Link(t.Context(), name, "log/checkpoint", "head.txt", 60e9)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(link)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "head" || res.Header.Get("Content-Disposition") != "attachment; filename=head.txt" {
		t.Errorf("%d %q %v, %v", res.StatusCode, b, res.Header, err)
	}
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, founding())
	exercise(t, e.client(t), e.s3)
}

// exercise writes objects in both ways; reader reads them back.
func exercise(t *testing.T, c *bucket.Client, reader *s3.Client) {
	t.Helper()
	ctx := t.Context()
	small := []byte("[\n]\n")
	o := object()
	st, err := c.Put(ctx, o, small, sha256.Sum256(small))
	if err != nil || !st.Seen || st.Size != 4 {
		t.Fatalf("%+v, %v", st, err)
	}
	checkObject(t, reader, o, small)
	if st, err = c.Put(ctx, o, small, sha256.Sum256(small)); err != nil || !st.Seen {
		t.Errorf("a retry after a lost answer: %+v, %v", st, err)
	}
	other := o
	other.ReportID = "another"
	if _, err := c.Put(ctx, other, []byte("x"), sha256.Sum256([]byte("x"))); !errors.Is(err, bucket.ErrForeignObject) || bucket.Temporary(err) {
		t.Errorf("overwriting: %v, want ErrForeignObject", err)
	}
	checkObject(t, reader, o, small)

	// Multipart: nothing to see before Complete, parts in any order, one twice.
	o.Key = strings.Replace(key, ".json", ".csv", 1)
	o.ContentType = "text/csv; charset=utf-8"
	u, err := c.CreateUpload(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	bodies := [][]byte{bytes.Repeat([]byte("0123456789abcdef"), 6<<20/16), bytes.Repeat([]byte("fedcba9876543210"), 5<<20/16), []byte("end\n")}
	parts := make([]bucket.Part, 3)
	for _, n := range []int{2, 0, 1, 1} {
		if parts[n], err = c.UploadPart(ctx, u, int32(n+1), bodies[n], sha256.Sum256(bodies[n])); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := reader.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(name), Key: &o.Key}); err == nil {
		t.Error("the object is visible before Complete")
	}
	st, err = c.Complete(ctx, u, parts)
	whole := bytes.Join(bodies, nil)
	if err != nil || !st.Seen || st.Size != int64(len(whole)) {
		t.Fatalf("%+v, %v", st, err)
	}
	checkObject(t, reader, o, whole)
	if st, err = c.Complete(ctx, u, parts); err != nil || !st.Seen {
		t.Errorf("Complete once more, as after a lost answer: %+v, %v", st, err)
	}

	// An aborted upload is gone for all that follows.
	o.Key += ".2"
	if u, err = c.CreateUpload(ctx, o); err != nil {
		t.Fatal(err)
	}
	if err := c.Abort(ctx, u); err != nil {
		t.Fatal(err)
	}
	if err := c.Abort(ctx, u); err != nil {
		t.Errorf("aborting twice: %v", err)
	}
	if _, err := c.UploadPart(ctx, u, 1, small, sha256.Sum256(small)); !errors.Is(err, bucket.ErrNoUpload) || !bucket.Temporary(err) {
		t.Errorf("%v, want ErrNoUpload", err)
	}
	if _, err := c.Complete(ctx, u, parts); !errors.Is(err, bucket.ErrNoUpload) {
		t.Errorf("%v, want ErrNoUpload", err)
	}

	// Sweep aborts what dangles under a prefix, and no more.
	keep, err := c.CreateUpload(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := o
	elsewhere.Key = "other/object"
	if _, err := c.CreateUpload(ctx, elsewhere); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := c.CreateUpload(ctx, o); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := c.Sweep(ctx, name, account, "audit-report/", keep.ID); err != nil || n != 3 {
		t.Errorf("swept %d, %v; want 3", n, err)
	}
	left, err := reader.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: aws.String(name)})
	if err != nil || len(left.Uploads) != 2 {
		t.Errorf("left: %+v, %v", left, err)
	}
}

// TestPolicyOnHeaders: a policy may ask for the ACL of the object. Only the
// request that begins a multipart upload carries it.
func TestPolicyOnHeaders(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, strings.Replace(founding(), `"Statement": [`, `"Statement": [
		{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::audit-reports/*",
		 "Condition":{"StringNotEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}}},`, 1))
	c := e.client(t)
	if _, err := c.Gate(t.Context(), gateRequest()); err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 6<<20/16)
	u, err := c.CreateUpload(t.Context(), object())
	if err != nil {
		t.Fatal(err)
	}
	var parts []bucket.Part
	for n := range int32(3) {
		p, err := c.UploadPart(t.Context(), u, n+1, body, sha256.Sum256(body))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, p)
	}
	for range 2 { // the second as after a lost answer
		if st, err := c.Complete(t.Context(), u, parts); err != nil || !st.Seen {
			t.Fatalf("%+v, %v", st, err)
		}
	}
	checkObject(t, e.s3, object(), bytes.Repeat(body, 3))
}

func checkObject(t *testing.T, reader *s3.Client, o bucket.Object, want []byte) {
	t.Helper()
	out, err := reader.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &o.Bucket, Key: &o.Key})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	got, err := io.ReadAll(out.Body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes, %v; want %d", o.Key, len(got), err, len(want))
	}
	if aws.ToString(out.ContentType) != o.ContentType || out.Metadata["report-id"] != o.ReportID || out.ContentEncoding != nil {
		t.Errorf("%s: type %q, metadata %v", o.Key, aws.ToString(out.ContentType), out.Metadata)
	}
}

// TestServiceMayNotLook is D-4 with the founding document's policy alone: it
// lets the service write, not read.
func TestServiceMayNotLook(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, founding())
	c := e.client(t, func(c *bucket.Config) { c.Owner = nil })
	body := []byte("[\n]\n")
	st, err := c.Put(t.Context(), object(), body, sha256.Sum256(body))
	if err != nil || st.Seen {
		t.Fatalf("%+v, %v", st, err)
	}
	checkObject(t, e.s3, object(), body)
	if _, err = c.Put(t.Context(), object(), body, sha256.Sum256(body)); err != nil {
		t.Errorf("a retry after a lost answer: %v", err)
	}
}

// TestACLRefused is D-25.
func TestACLRefused(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, founding())
	for _, code := range []string{"AccessControlListNotSupported", "InvalidArgument", "NotImplemented"} {
		var refused, unconditional atomic.Int32
		c := e.client(t, func(c *bucket.Config) {
			next := c.Transport
			c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Header.Get("X-Amz-Acl") != "" || code == "NotImplemented" && r.Header.Get("If-None-Match") != "" {
					refused.Add(1)
					return answer(r, http.StatusBadRequest, code), nil
				}
				if r.Header.Get("If-None-Match") == "" {
					unconditional.Add(1)
				}
				return next.RoundTrip(r)
			})
		})
		o := object()
		o.Key += code
		for range 2 {
			if _, err := c.Put(t.Context(), o, nil, sha256.Sum256(nil)); err != nil {
				t.Fatalf("%s: %v", code, err)
			}
		}
		want, open := int32(1), int32(0)
		if code == "NotImplemented" {
			want, open = 2, 2
		}
		if refused.Load() != want || unconditional.Load() != open {
			t.Errorf("%s: %d requests refused, %d without a condition; want %d, %d: it is learned once", code, refused.Load(), unconditional.Load(), want, open)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(r *http.Request, status int, code string) *http.Response {
	body := "<Error><Code>" + code + "</Code><Message>made by the test</Message></Error>"
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/xml"}}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
}

// TestLostAnswers loses the answer of the request that makes the object
// visible, once before and once after it was done (D-4).
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	body := bytes.Repeat([]byte("x"), 100)
	for _, done := range []bool{false, true} {
		for _, code := range []string{"InternalError", "lie"} {
			t.Run(fmt.Sprintf("done=%v/%s", done, code), func(t *testing.T) {
				t.Parallel()
				e := startEmbedded(t)
				e.bucket(t, founding())
				c := e.client(t, func(c *bucket.Config) {
					next := c.Transport
					c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
						if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
							if done {
								resp, err := next.RoundTrip(r)
								if err != nil {
									return nil, err
								}
								resp.Body.Close()
							}
							if code == "lie" { // 200 without an object
								body := `<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>`
								return &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}, nil
							}
							return answer(r, http.StatusInternalServerError, code), nil
						}
						return next.RoundTrip(r)
					})
				})
				u, err := c.CreateUpload(t.Context(), object())
				if err != nil {
					t.Fatal(err)
				}
				p, err := c.UploadPart(t.Context(), u, 1, body, sha256.Sum256(body))
				if err != nil {
					t.Fatal(err)
				}
				st, err := c.Complete(t.Context(), u, []bucket.Part{p})
				if done {
					if err != nil || !st.Seen {
						t.Fatalf("the object is there: %+v, %v", st, err)
					}
					return
				}
				if err == nil || !bucket.Temporary(err) {
					t.Fatalf("the object is not there: %v", err)
				}
				if code == "lie" && !errors.Is(err, bucket.ErrAbsent) {
					t.Errorf("%v, want ErrAbsent", err)
				}
			})
		}
	}
}

// TestErrorInside200 is an error that arrives after the status line.
func TestErrorInside200(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, founding())
	c := e.client(t, func(c *bucket.Config) {
		next := c.Transport
		c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") {
				return answer(r, http.StatusOK, "AccessDenied"), nil
			}
			return next.RoundTrip(r)
		})
	})
	u, err := c.CreateUpload(t.Context(), object())
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.UploadPart(t.Context(), u, 1, []byte("x"), sha256.Sum256([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Complete(t.Context(), u, []bucket.Part{p}); err == nil || !strings.Contains(bucket.Explain(err, "report"), "AccessDenied") {
		t.Errorf("%v", err)
	}
	if got := e.keys(t); len(got) != 0 {
		t.Errorf("wrote %q", got)
	}
}

func TestCreateBucket(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	c := e.client(t)
	if err := c.CreateBucket(t.Context(), bucket.CreateBucketRequest{Bucket: name, Account: account, CAARN: caARN}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Gate(t.Context(), gateRequest()); err != nil {
		t.Errorf("the new bucket refuses: %v", err)
	}
	other := gateRequest()
	other.Account = "210987654321"
	_, err := c.Gate(t.Context(), other)
	wantCode(t, err, pca.ValidationException)
	block, err := e.s3.GetPublicAccessBlock(t.Context(), &s3.GetPublicAccessBlockInput{Bucket: aws.String(name)})
	if err != nil || !aws.ToBool(block.PublicAccessBlockConfiguration.RestrictPublicBuckets) {
		t.Errorf("public access is not blocked: %+v, %v", block, err)
	}
	wantCode(t, c.CreateBucket(t.Context(), bucket.CreateBucketRequest{Bucket: name, Account: account}), "BucketAlreadyOwnedByYou", "exists already")
	wantCode(t, c.CreateBucket(t.Context(), bucket.CreateBucketRequest{Bucket: "Upper", Account: account}), pca.InvalidArgsException, "lower-case")
}

func TestPolicyFor(t *testing.T) {
	t.Parallel()
	const want = `{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {
                "Service": "acm-pca.amazonaws.com"
            },
            "Action": [
                "s3:PutObject",
                "s3:PutObjectAcl",
                "s3:GetBucketAcl",
                "s3:GetBucketLocation"
            ],
            "Resource": [
                "arn:aws:s3:::bucket-name/*",
                "arn:aws:s3:::bucket-name"
            ]
        }
    ]
}
`
	if got := string(bucket.PolicyFor("bucket-name", "", "")); got != want {
		t.Errorf("got\n%s", got)
	}
	var p struct {
		Statement []struct{ Condition map[string]map[string]string }
	}
	if err := json.Unmarshal(bucket.PolicyFor("b", account, caARN), &p); err != nil {
		t.Fatal(err)
	}
	if c := p.Statement[0].Condition["StringEquals"]; c["aws:SourceAccount"] != account || c["aws:SourceArn"] != caARN {
		t.Errorf("condition %v", c)
	}
	if got := string(bucket.PolicyFor("b", "", strings.Replace(caARN, "arn:aws:", "arn:aws-cn:", 1))); !strings.Contains(got, "arn:aws-cn:s3:::b/*") {
		t.Errorf("partition is lost: %s", got)
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, ok := range []string{"abc", "a1-b.c", strings.Repeat("a", 63), "1.2.3", "amzn-s3-demo-bucket"} {
		if err := bucket.CheckName(ok); err != nil {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{"ab", strings.Repeat("a", 64), "Upper", "a_b", "-ab", "ab-", ".ab", "a..b", "192.168.5.4", "xn--abc", "abc-s3alias", "a b", "äbc", "a/b"} {
		wantCode(t, bucket.CheckName(bad), pca.InvalidArgsException, bad)
	}
}

func BenchmarkUploadPart(b *testing.B) {
	e := startEmbedded(b)
	e.bucket(b, founding())
	c := e.client(b)
	body := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16)
	sum := sha256.Sum256(body)
	u, err := c.CreateUpload(b.Context(), object())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	var n int32
	for b.Loop() {
		n = n%64 + 1
		if _, err := c.UploadPart(b.Context(), u, n, body, sum); err != nil {
			b.Fatal(err)
		}
	}
}
