package local

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chirograph.dev/internal/iam"
)

func (f *fixture) setPolicy(t *testing.T, bucket, policy string) {
	t.Helper()
	if _, err := f.client(t, "AKADMIN").PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
}

// TestPolicyGate is what stands between the CA and people's buckets (D-32).
func TestPolicyGate(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.bucket(t, "gate")
	write := func(p *iam.Principal) error {
		_, err := f.inside(t, p).PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("gate"), Key: aws.String("audit-report/x"),
			Body: body([]byte("[]")), ACL: types.ObjectCannedACLBucketOwnerFullControl})
		return err
	}
	conditional := func(account, arn string) string {
		return strings.Replace(foundingPolicy("gate"), `"Resource": [`, `"Condition": {"StringEquals": {"aws:SourceAccount": "`+account+`", "aws:SourceArn": "`+arn+`"}}, "Resource": [`, 1)
	}
	wantCode(t, write(pca()), "AccessDenied") // no policy
	for _, c := range []struct {
		name, policy string
		allowed      bool
	}{
		{"founding document", foundingPolicy("gate"), true},
		{"this CA", conditional(accountA, caARN), true},
		{"another account", conditional(accountB, caARN), false},
		{"another CA", conditional(accountA, caARN+"0"), false},
		{"another service", strings.ReplaceAll(foundingPolicy("gate"), "acm-pca.amazonaws.com", "logging.s3.amazonaws.com"), false},
		{"without the ACL's action", strings.Replace(foundingPolicy("gate"), `"s3:PutObjectAcl",`, "", 1), false},
		{"deny wins", strings.Replace(foundingPolicy("gate"), `"Statement": [`, `"Statement": [{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::gate/audit-report/*"},`, 1), false},
		{"deny with an operator nobody knows", strings.Replace(foundingPolicy("gate"), `"Statement": [`, `"Statement": [{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::gate/*","Condition":{"Telepathy":{"aws:x":"y"}}},`, 1), false},
	} {
		f.setPolicy(t, "gate", c.policy)
		if err := write(pca()); c.allowed && err != nil || !c.allowed && code(err) != "AccessDenied" {
			t.Errorf("%s: %v", c.name, err)
		}
	}

	f.setPolicy(t, "gate", foundingPolicy("gate"))
	c := f.inside(t, pca())
	if _, err := c.GetBucketAcl(t.Context(), &s3.GetBucketAclInput{Bucket: aws.String("gate")}); err != nil {
		t.Error(err)
	}
	if _, err := c.GetBucketLocation(t.Context(), &s3.GetBucketLocationInput{Bucket: aws.String("gate")}); err != nil {
		t.Error(err)
	}
	// The four actions are all that it grants.
	_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("gate"), Key: aws.String("audit-report/x")})
	wantCode(t, err, "AccessDenied")
	_, err = c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("gate")})
	wantCode(t, err, "AccessDenied")
	_, err = c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("gate"), Key: aws.String("audit-report/x")})
	wantCode(t, err, "AccessDenied")
	_, err = c.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String("gate")})
	wantCode(t, err, "AccessDenied")
	_, err = c.ListBuckets(t.Context(), nil)
	wantCode(t, err, "AccessDenied")
	_, err = c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("of-the-service")})
	wantCode(t, err, "AccessDenied")

	// Who began an upload may end it; no one else whom no policy allows.
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("gate"), Key: aws.String("audit-report/y")})
	if err != nil {
		t.Fatal(err)
	}
	other := pca()
	other.Context["aws:SourceArn"] = []string{caARN + "other"}
	abort := &s3.AbortMultipartUploadInput{Bucket: up.Bucket, Key: up.Key, UploadId: up.UploadId}
	_, err = f.inside(t, other).AbortMultipartUpload(t.Context(), abort)
	wantCode(t, err, "AccessDenied")
	if _, err = c.AbortMultipartUpload(t.Context(), abort); err != nil {
		t.Error(err)
	}
}

// TestForgedSource: callers cannot claim to be the CA.
func TestForgedSource(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.bucket(t, "gate")
	f.setPolicy(t, "gate", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+accountA+`"},"Action":"s3:ListBucket","Resource":"arn:aws:s3:::gate"},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+accountA+`:user/nobody"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::gate/*","Condition":{"StringEquals":{"aws:SourceArn":"`+caARN+`"}}}]}`)
	for _, header := range []string{"X-Amz-Source-Arn", "X-Amz-Source-Account", "Aws-Source-Arn", "Source-Arn"} {
		c := f.client(t, "AKNOBODY", func(o *s3.Options) {
			o.HTTPClient = withHeader{header, caARN}
		})
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("gate"), Key: aws.String("k"), Body: body([]byte("x"))})
		wantCode(t, err, "AccessDenied")
	}
	// In process too, headers are not taken for the principal's context.
	p := pca()
	p.Context = nil
	f.setPolicy(t, "gate", strings.Replace(foundingPolicy("gate"), `"Resource": [`, `"Condition": {"StringEquals": {"aws:SourceArn": "`+caARN+`"}}, "Resource": [`, 1))
	r, err := http.NewRequest(http.MethodPut, "https://x/gate/k", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Source-Arn", caARN)
	resp, err := f.Transport(p).RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusForbidden {
		t.Fatalf("%v %v", resp, err)
	}
}

type withHeader struct{ name, value string }

func (h withHeader) Do(r *http.Request) (*http.Response, error) {
	r.Header[h.name] = []string{h.value} // after signing: an extra header is not signed
	return http.DefaultClient.Do(r)
}

// TestAccounts: same account one Allow is enough, other account both.
func TestAccounts(t *testing.T) {
	t.Parallel()
	f := start(t)
	admin := f.bucket(t, "ours")
	if _, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("ours"), Key: aws.String("k"), Body: body([]byte("x"))}); err != nil {
		t.Fatal(err)
	}
	read := func(key string) error {
		out, err := f.client(t, key).GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("ours"), Key: aws.String("k")})
		if err == nil {
			out.Body.Close()
		}
		return err
	}
	wantCode(t, read("AKNOBODY"), "AccessDenied")
	wantCode(t, read("AKSTRANGER"), "AccessDenied")
	_, err := f.client(t, "AKSTRANGER").CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("ours")})
	wantCode(t, err, "BucketAlreadyExists")
	if out, err := f.client(t, "AKSTRANGER").ListBuckets(t.Context(), nil); err != nil || len(out.Buckets) != 0 {
		t.Fatalf("%v %v", out, err)
	}
	_, err = admin.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String("ours"), ExpectedBucketOwner: aws.String(accountB)})
	if err == nil {
		t.Fatal("another owner was accepted")
	}
	f.setPolicy(t, "ours", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::`+accountA+`:user/nobody","`+accountB+`"]},"Action":"s3:GetObject","Resource":"arn:aws:s3:::ours/*"}}`)
	if err := read("AKNOBODY"); err != nil {
		t.Fatal(err)
	}
	if err := read("AKSTRANGER"); err != nil {
		t.Fatal(err)
	}
	f.setPolicy(t, "ours", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::ours/*"}}`)
	wantCode(t, read("AKADMIN"), "AccessDenied")
	// A missing key is told only to who may list.
	_, err = f.client(t, "AKNOBODY").HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: aws.String("ours"), Key: aws.String("none")})
	if code(err) == "NotFound" {
		t.Fatal(err)
	}
}

// TestCopySourceCondition: a policy on what may be copied is not got around by
// another way to write it.
func TestCopySourceCondition(t *testing.T) {
	t.Parallel()
	f := start(t)
	admin := f.bucket(t, "copies")
	for _, key := range []string{"secret/x", "open/x"} {
		if _, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("copies"), Key: &key, Body: body([]byte("x"))}); err != nil {
			t.Fatal(err)
		}
	}
	f.setPolicy(t, "copies", `{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::copies/*","Condition":{"StringLike":{"s3:x-amz-copy-source":"copies/secret/x"}}}}`)
	for source, want := range map[string]string{
		"copies/open/x": "", "copies/secret/x": "AccessDenied", "/copies/secret/x": "AccessDenied", "copies/%73ecret%2Fx": "AccessDenied", "copies/secret/x?versionId=null": "AccessDenied",
	} {
		_, err := admin.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("copies"), Key: aws.String("to"), CopySource: &source})
		if code(err) != want {
			t.Errorf("%s: %v, want %q", source, err, want)
		}
	}
}

// TestPublicRead: CRLs are read by anybody, and only when everything is opened.
func TestPublicRead(t *testing.T) {
	t.Parallel()
	f := start(t)
	admin := f.bucket(t, "crls")
	status := func() int {
		t.Helper()
		resp, err := http.Get(f.url + "/crls/ca.crl")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode
	}
	put := func() error {
		_, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("crls"), Key: aws.String("ca.crl"), Body: body([]byte("x")), ACL: types.ObjectCannedACLPublicRead})
		return err
	}
	wantCode(t, put(), "AccessControlListNotSupported")
	if _, err := admin.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: aws.String("crls"),
		OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}}}}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, put(), "AccessDenied") // BlockPublicAcls
	if got := status(); got != http.StatusForbidden {
		t.Fatal(got)
	}
	if _, err := admin.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String("crls")}); err != nil {
		t.Fatal(err)
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != http.StatusOK {
		t.Fatal(got)
	}
	block := func(c types.PublicAccessBlockConfiguration) {
		t.Helper()
		if _, err := admin.PutPublicAccessBlock(t.Context(), &s3.PutPublicAccessBlockInput{Bucket: aws.String("crls"), PublicAccessBlockConfiguration: &c}); err != nil {
			t.Fatal(err)
		}
	}
	block(types.PublicAccessBlockConfiguration{IgnorePublicAcls: aws.Bool(true)})
	if got := status(); got != http.StatusForbidden {
		t.Fatal(got)
	}
	open := `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::crls/*"}}`
	f.setPolicy(t, "crls", open)
	if got := status(); got != http.StatusOK {
		t.Fatal(got)
	}
	block(types.PublicAccessBlockConfiguration{RestrictPublicBuckets: aws.Bool(true)})
	if _, err := admin.PutObjectAcl(t.Context(), &s3.PutObjectAclInput{Bucket: aws.String("crls"), Key: aws.String("ca.crl"), ACL: types.ObjectCannedACLPrivate}); err != nil {
		t.Fatal(err)
	}
	if got := status(); got != http.StatusForbidden {
		t.Fatal(got)
	}
	block(types.PublicAccessBlockConfiguration{BlockPublicPolicy: aws.Bool(true)})
	_, err := admin.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("crls"), Policy: &open})
	wantCode(t, err, "AccessDenied")
	// Anonymous callers do nothing else.
	for _, path := range []string{"/", "/crls", "/crls/none", "/crls?policy"} {
		resp, err := http.Get(f.url + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden {
			t.Fatalf("%s: %s", path, resp.Status)
		}
	}
}

// TestInternalBuckets: the server's own buckets do not exist for people.
func TestInternalBuckets(t *testing.T) {
	t.Parallel()
	f := start(t)
	const name = "chirograph-internal-segments"
	server := f.inside(t, &iam.Principal{Service: "chirograph"})
	if _, err := server.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(name), Key: aws.String("s"), Body: body([]byte("x"))}); err != nil {
		t.Fatal(err)
	}
	for who, c := range map[string]*s3.Client{"network": f.bucket(t, "mine"), "inside": f.inside(t, everybody(t)["AKADMIN"])} {
		_, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(name), Key: aws.String("s")})
		if code(err) != "NoSuchBucket" {
			t.Fatalf("%s: %v", who, err)
		}
		_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("mine"), Key: aws.String("s"), CopySource: aws.String(name + "/s")})
		if code(err) != "NoSuchBucket" {
			t.Fatalf("%s: %v", who, err)
		}
		_, err = c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name + "x")})
		if code(err) != "InvalidBucketName" {
			t.Fatalf("%s: %v", who, err)
		}
		if out, err := c.ListBuckets(t.Context(), nil); err != nil || len(out.Buckets) != 1 {
			t.Fatalf("%s: %v %v", who, out, err)
		}
	}
	// The writer of reports copies from there into a bucket that lets it write.
	f.setPolicy(t, "mine", foundingPolicy("mine"))
	if _, err := f.inside(t, pca()).CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("mine"), Key: aws.String("s"), CopySource: aws.String(name + "/s")}); err != nil {
		t.Fatal(err)
	}
}

func TestPublicPolicy(t *testing.T) {
	t.Parallel()
	statement := func(principal, condition string) string {
		return `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":` + principal + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"` + condition + `}}`
	}
	for text, want := range map[string]bool{
		statement(`"*"`, ""):                                 true,
		statement(`{"AWS":"*"}`, ""):                         true,
		statement(`{"AWS":"`+accountA+`"}`, ""):              false,
		statement(`{"Service":"acm-pca.amazonaws.com"}`, ""): false,
		statement(`"*"`, `,"Condition":{"StringEquals":{"aws:SourceAccount":"123456789012"}}`):                             false,
		statement(`"*"`, `,"Condition":{"StringLike":{"aws:SourceAccount":"*"}}`):                                          true,
		statement(`"*"`, `,"Condition":{"StringNotEquals":{"aws:SourceAccount":"123456789012"}}`):                          true,
		statement(`"*"`, `,"Condition":{"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}}`):                                   false,
		statement(`"*"`, `,"Condition":{"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}}`):                                        true,
		statement(`"*"`, `,"Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:acm-pca:*:123456789012:*"}}`):                  false,
		statement(`"*"`, `,"Condition":{"StringEqualsIfExists":{"aws:SourceAccount":"123456789012"}}`):                     true,
		statement(`"*"`, `,"Condition":{"StringEquals":{"aws:userid":"${aws:userid}"}}`):                                   true, // whoever it is
		statement(`"*"`, `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::${aws:PrincipalAccount}:user/u"}}`):    true,
		statement(`"*"`, `,"Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::123456789012:user/${aws:username}"}}`): false,
	} {
		p, err := iam.ParseResourcePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := publicPolicy(p); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestSessionTokens: what S3 answers to tokens that are not what they should be.
func TestSessionTokens(t *testing.T) {
	t.Parallel()
	f := start(t)
	for token, want := range map[string]string{"over": "ExpiredToken", "forged": "InvalidToken"} {
		c := s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &f.url, UsePathStyle: true, RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider("AKADMIN", "secret-of-AKADMIN", token)})
		_, err := c.ListBuckets(t.Context(), nil)
		wantCode(t, err, want)
	}
}

// TestACLsAndLimits: an ACL gives nothing that a session policy leaves out.
func TestACLsAndLimits(t *testing.T) {
	t.Parallel()
	f := start(t)
	admin := f.client(t, "AKADMIN")
	name := "acl-and-limits"
	if _, err := admin.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name, ObjectOwnership: types.ObjectOwnershipObjectWriter}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: aws.String("k"), ACL: types.ObjectCannedACLAuthenticatedRead, Body: body([]byte("x"))}); err != nil {
		t.Fatal(err)
	}
	get := func(p *iam.Principal) error {
		_, err := f.inside(t, p).GetObject(t.Context(), &s3.GetObjectInput{Bucket: &name, Key: aws.String("k")})
		return err
	}
	limited := identity(t, accountA, "limited", administrator)
	if err := get(limited); err != nil {
		t.Fatal(err)
	}
	limited.Session = identity(t, accountA, "x", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"acm-pca:*","Resource":"*"}}`).Policies
	wantCode(t, get(limited), "AccessDenied")
	limited.Session, limited.Suspended = nil, true
	wantCode(t, get(limited), "AccessDenied")
}

func TestDeniedRequestsAreLogged(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer // read after the answer, before which the line is written
	f := startIn(t, filepath.Join(t.TempDir(), "buckets"), func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	_, err := f.client(t, "AKNOBODY").CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("mine")})
	wantCode(t, err, "AccessDenied")
	for _, want := range []string{"bucket request denied", "s3:CreateBucket", "user/nobody", "/mine"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, log.String())
		}
	}
}
