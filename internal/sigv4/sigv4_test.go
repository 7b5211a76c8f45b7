package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

const (
	testKey    = "AKIDEXAMPLE"
	testSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

var testTime = time.Date(2026, 11, 22, 10, 20, 30, 0, time.UTC)

func testConfig() Config {
	return Config{
		Secret: func(_ context.Context, id string) (string, bool, error) {
			return testSecret, id == testKey, nil
		},
		Services: []string{"acm-pca", "sts", "s3"},
		Now:      func() time.Time { return testTime },
	}
}

func hexHash(b string) string {
	sum := sha256.Sum256([]byte(b))
	return hex.EncodeToString(sum[:])
}

// received is the request as a server parses it off the wire.
func received(t testing.TB, r *http.Request) *http.Request {
	t.Helper()
	var wire bytes.Buffer
	if err := r.Write(&wire); err != nil {
		t.Fatal(err)
	}
	got, err := http.ReadRequest(newBufio(&wire))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func kindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return 0
}

// encodePath is how the S3 clients put a key into a URL.
func s3URL(host, key, query string) *url.URL {
	u := &url.URL{Scheme: "http", Host: host, Path: key, RawQuery: query}
	u.RawPath = string(appendEncoded(nil, key, true))
	return u
}

func TestAgainstSDKSigner(t *testing.T) {
	t.Parallel()
	type row struct {
		name, method, service, path, query, body string
		header                                   http.Header
	}
	rows := []row{
		{name: "json", method: "POST", service: "acm-pca", path: "/", body: `{"A":1}`, header: http.Header{
			"Content-Type": {"application/x-amz-json-1.1"}, "X-Amz-Target": {"ACMPrivateCA.ListCertificateAuthorities"}}},
		{name: "sts form", method: "POST", service: "sts", path: "/", body: "Action=GetCallerIdentity&Version=2011-06-15"},
		{name: "sts query", method: "GET", service: "sts", path: "/", query: "Version=2011-06-15&Action=GetCallerIdentity"},
		{name: "empty path", method: "GET", service: "sts", path: ""},
		{name: "path encoded twice", method: "GET", service: "acm-pca", path: "/a b/ü/%41"},
		{name: "header spaces", method: "POST", service: "acm-pca", path: "/", header: http.Header{"My-Header": {"  a   b  c ", "d"}}},
		{name: "s3 key", method: "GET", service: "s3", path: "/bucket/audit-report/a b+c&d=e/ü.json"},
		{name: "s3 odd key", method: "PUT", service: "s3", path: "/bucket//a/../b/./!*'();:@$,[]%41~", body: "x"},
		{name: "s3 sub-resource", method: "GET", service: "s3", path: "/bucket", query: "policy"},
		{name: "s3 list", method: "GET", service: "s3", path: "/bucket", query: "prefix=a%20b%2Fc&list-type=2&delimiter=%2F&encoding-type=url&empty="},
		{name: "s3 repeated", method: "GET", service: "s3", path: "/bucket", query: "a=2&a=1&a-b=3&A=0"},
		{name: "s3 headers", method: "PUT", service: "s3", path: "/bucket/k", body: "hello", header: http.Header{
			"X-Amz-Acl": {"bucket-owner-full-control"}, "If-None-Match": {"*"}, "X-Amz-Meta-Report-Id": {"a  b"}}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			u := &url.URL{Scheme: "http", Host: "127.0.0.1:8440", Path: row.path, RawQuery: row.query}
			if row.service == "s3" {
				u = s3URL(u.Host, row.path, row.query)
			}
			req := (&http.Request{Method: row.method, URL: u, Header: row.header, Body: io.NopCloser(strings.NewReader(row.body)), ContentLength: int64(len(row.body))}).WithContext(t.Context())
			if req.Header == nil {
				req.Header = http.Header{}
			}
			if row.service == "s3" {
				req.Header.Set("X-Amz-Content-Sha256", hexHash(row.body))
			}
			err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = row.service == "s3" }).SignHTTP(t.Context(),
				aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret, SessionToken: "session/token=="},
				req, hexHash(row.body), row.service, "eu-central-1", testTime.Add(-time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			v := New(testConfig())
			hash := hexHash(row.body)
			if row.service == "s3" {
				hash = ""
			}
			got := received(t, req)
			for range 2 { // derived key, then the cached one
				s, err := v.Verify(got, hash)
				if err != nil {
					t.Fatal(err)
				}
				if s.AccessKeyID != testKey || s.Region != "eu-central-1" || s.Service != row.service || s.SessionToken != "session/token==" || s.Presigned || !s.Time.Equal(testTime.Add(-time.Minute)) {
					t.Fatalf("Signed = %+v", s)
				}
			}
			s, _ := v.Verify(got, hash)
			body, err := v.Body(got, s)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(body); err != nil || string(b) != row.body {
				t.Fatalf("body %q, %v", b, err)
			}
			for _, change := range []func(*http.Request){
				func(r *http.Request) { r.Method = "DELETE" },
				func(r *http.Request) { r.Host = "other:8440" },
				func(r *http.Request) { r.URL.Path += "x"; r.URL.RawPath = "" },
				func(r *http.Request) { r.URL.RawQuery += "&x=1" },
				func(r *http.Request) {
					a := r.Header.Get("Authorization")
					flip := map[byte]string{'0': "1"}[a[len(a)-1]]
					if flip == "" {
						flip = "0"
					}
					r.Header.Set("Authorization", a[:len(a)-1]+flip)
				},
				func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "other") },
			} {
				bad := got.Clone(t.Context())
				change(bad)
				if _, err := v.Verify(bad, hash); kindOf(err) != Mismatch {
					t.Errorf("changed request: %v", err)
				}
			}
			if hash != "" {
				if _, err := v.Verify(got, hexHash(row.body+"x")); kindOf(err) != Mismatch {
					t.Errorf("changed body: %v", err)
				}
			}
		})
	}
}

// TestAgainstBotocore signs odd paths and queries with the Python SDK.
func TestAgainstBotocore(t *testing.T) {
	t.Parallel()
	const script = `
import sys
from botocore.auth import SigV4Auth, S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
import datetime, botocore.auth
class fixed(datetime.datetime):
    @classmethod
    def utcnow(cls): return datetime.datetime(2026, 11, 22, 10, 20, 30)
    @classmethod
    def now(cls, tz=None): return datetime.datetime(2026, 11, 22, 10, 20, 30, tzinfo=tz)
try:
    import botocore.compat
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: datetime.datetime(2026, 11, 22, 10, 20, 30)
except Exception: pass
c = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
for kind, service, method, url, body in [
  ("h", "sts", "GET", "http://h.example/a/./b/../c//d%20e/?x=%C3%BC&b=2&b=1", ""),
  ("h", "acm-pca", "POST", "http://h.example:81/", "{}"),
  ("s", "s3", "PUT", "http://h.example/b//a/../%21%2A%27%28%29~%C3%BC%20%2B?x-id=PutObject", "data"),
  ("q", "s3", "GET", "http://h.example/b/k%20%2B?response-content-type=text%2Fplain&versionId=a%2Bb", ""),
]:
    r = AWSRequest(method=method, url=url, data=body, headers={"X-Amz-Meta-A": " a   b "} if kind == "s" else {})
    a = {"h": SigV4Auth, "s": S3SigV4Auth}.get(kind)
    a = a(c, service, "us-east-1") if a else S3SigV4QueryAuth(c, service, "us-east-1", expires=60)
    a.add_auth(r)
    p = r.prepare()
    print("\x1e".join([kind, service, method, p.url, body] + [k + ": " + (v.decode() if isinstance(v, bytes) else v) for k, v in p.headers.items()]), end="\x1d")
`
	out, err := exec.CommandContext(t.Context(), "python3", "-c", script).Output()
	if err != nil {
		t.Fatalf("python3 with botocore: %v", err)
	}
	rows := strings.Split(strings.TrimSuffix(string(out), "\x1d"), "\x1d")
	if len(rows) != 4 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		f := strings.Split(row, "\x1e")
		cfg := testConfig()
		u, err := url.Parse(f[3])
		if err != nil {
			t.Fatal(err)
		}
		wire := f[2] + " " + u.RequestURI() + " HTTP/1.1\r\nHost: " + u.Host + "\r\n" + strings.Join(f[5:], "\r\n") + "\r\n\r\n" + f[4]
		r, err := http.ReadRequest(newBufio(strings.NewReader(wire)))
		if err != nil {
			t.Fatal(err)
		}
		// The signer's own clock, so that this does not hang on a patched one.
		stamp := r.Header.Get("X-Amz-Date")
		if stamp == "" {
			stamp = r.URL.Query().Get("X-Amz-Date")
		}
		now, err := time.Parse(timeFormat, stamp)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Now = func() time.Time { return now }
		v := New(cfg)
		switch f[0] {
		case "h":
			_, err = v.Verify(r, hexHash(f[4]))
		case "s":
			_, err = v.Verify(r, "")
		case "q":
			_, err = v.VerifyPresigned(r)
		}
		if err != nil {
			t.Errorf("%s %s: %v", f[2], f[3], err)
		}
	}
}

func TestPresignedBySDK(t *testing.T) {
	t.Parallel()
	creds := credentials.NewStaticCredentialsProvider(testKey, testSecret, "tok")
	client := s3.New(s3.Options{Region: "us-east-1", Credentials: creds, UsePathStyle: true, BaseEndpoint: aws.String("http://127.0.0.1:8441")})
	presign := s3.NewPresignClient(client, s3.WithPresignExpires(10*time.Minute))
	get, err := presign.PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("audit report/ü+&.json"), ResponseContentType: aws.String("text/plain; a=b")})
	if err != nil {
		t.Fatal(err)
	}
	put, err := presign.PresignPutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("k"), Metadata: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	identity, err := sts.NewPresignClient(sts.New(sts.Options{Region: "us-east-1", Credentials: creds, BaseEndpoint: aws.String("http://127.0.0.1:8440")})).PresignGetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*v4.PresignedHTTPRequest{get, put, identity} {
		req, err := http.NewRequestWithContext(t.Context(), p.Method, p.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range p.SignedHeader {
			if name != "Host" && name != "Content-Length" {
				req.Header[name] = values
			}
		}
		got := received(t, req)
		if !IsPresigned(got) {
			t.Fatalf("IsPresigned(%s) = false", p.URL)
		}
		cfg := testConfig()
		cfg.Now = time.Now
		s, err := New(cfg).VerifyPresigned(got)
		if err != nil {
			t.Fatalf("%s: %v", p.URL, err)
		}
		if !s.Presigned || s.SessionToken != "tok" || s.Service == "s3" && s.PayloadHash != UnsignedPayload {
			t.Errorf("Signed = %+v", s)
		}
		cfg.Now = func() time.Time { return time.Now().Add(16 * time.Minute) }
		want := Expired
		if s.Service == "sts" {
			want = Skewed
		}
		if _, err := New(cfg).VerifyPresigned(got); kindOf(err) != want {
			t.Errorf("after 16 minutes: %v", err)
		}
		got.URL.RawQuery += "&versionId=1"
		if _, err := New(cfg).VerifyPresigned(got); kindOf(err) != want { // time is looked at first
			t.Errorf("changed: %v", err)
		}
		cfg.Now = time.Now
		if _, err := New(cfg).VerifyPresigned(got); kindOf(err) != Mismatch {
			t.Errorf("changed: %v", err)
		}
	}
}

// signed is a good request of the JSON API.
func signed(t testing.TB, now time.Time) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1:8440/", strings.NewReader("{}"))
	r.Header.Set("X-Amz-Target", "ACMPrivateCA.ListCertificateAuthorities")
	err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}, r, hexHash("{}"), "acm-pca", "us-east-1", now)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	edit := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
		}
	}
	drop := func(part string) func(*http.Request) {
		return func(r *http.Request) {
			parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), algorithm+" "), ", ")
			kept := parts[:0]
			for _, p := range parts {
				if !strings.HasPrefix(p, part) {
					kept = append(kept, p)
				}
			}
			r.Header.Set("Authorization", algorithm+" "+strings.Join(kept, ", "))
		}
	}
	for _, row := range []struct {
		name   string
		offset time.Duration
		change func(*http.Request)
		kind   Kind
		text   string
	}{
		{name: "good", change: func(*http.Request) {}},
		{name: "compact header", change: func(r *http.Request) {
			r.Header.Set("Authorization", strings.ReplaceAll(r.Header.Get("Authorization"), ", ", ","))
		}},
		{name: "just in time", offset: -15 * time.Minute, change: func(*http.Request) {}},
		{name: "just not too early", offset: 15 * time.Minute, change: func(*http.Request) {}},
		{name: "none", change: func(r *http.Request) { r.Header.Del("Authorization") }, kind: MissingAuthentication, text: "Missing Authentication Token"},
		{name: "two", change: func(r *http.Request) { r.Header.Add("Authorization", "x") }, kind: Malformed},
		{name: "header and query", change: func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=a" }, kind: Malformed},
		{name: "version 2", change: func(r *http.Request) { r.Header.Set("Authorization", "AWS a:b") }, kind: Malformed, text: "Unsupported AWS 'algorithm'"},
		{name: "no signature", change: drop("Signature"), kind: Malformed, text: "Authorization header requires 'Signature' parameter."},
		{name: "no credential", change: drop("Credential"), kind: Malformed, text: "Authorization header requires 'Credential' parameter."},
		{name: "no headers", change: drop("SignedHeaders"), kind: Malformed, text: "Authorization header requires 'SignedHeaders' parameter."},
		{name: "nothing", change: func(r *http.Request) { r.Header.Set("Authorization", algorithm) }, kind: Malformed},
		{name: "unknown part", change: edit("Signature=", "Signatur="), kind: Malformed},
		{name: "credential parts", change: edit("/us-east-1", ""), kind: Malformed, text: "exactly 5"},
		{name: "upper-case header", change: edit("host", "Host"), kind: Malformed},
		{name: "header twice", change: edit("host", "host;host"), kind: Malformed},
		{name: "short signature", change: edit("Signature=", "Signature=a"), kind: Malformed},
		{name: "no date", change: func(r *http.Request) { r.Header.Del("X-Amz-Date") }, kind: Malformed},
		{name: "bad date", change: func(r *http.Request) { r.Header.Set("X-Amz-Date", "2026-11-22T10:20:30Z") }, kind: Malformed},
		{name: "other day", change: edit("20261122", "20261121"), kind: WrongScope, text: "Date in Credential scope"},
		{name: "region", change: edit("us-east-1", "us-west-2"), kind: WrongScope, text: "valid region, not 'us-west-2'"},
		{name: "service", change: edit("acm-pca", "ec2"), kind: WrongScope, text: "correct service: 'acm-pca'"},
		{name: "terminator", change: edit("aws4_request", "aws5_request"), kind: WrongScope, text: "valid terminator"},
		{name: "host not signed", change: edit("host;", ""), kind: UnsignedHeader},
		{name: "target not signed", change: edit(";x-amz-target", ""), kind: UnsignedHeader, text: "'x-amz-target'"},
		{name: "unknown key", change: edit(testKey, "AKIDOTHER"), kind: UnknownKey, text: "The security token included in the request is invalid."},
		{name: "other header", change: func(r *http.Request) { r.Header.Set("X-Amz-Target", "ACMPrivateCA.GetPolicy") }, kind: Mismatch, text: "The request signature we calculated does not match"},
		{name: "late", offset: -15*time.Minute - time.Second, change: func(*http.Request) {}, kind: Skewed, text: "Signature expired: 20261122T100529Z is now earlier than 20261122T100530Z (20261122T102030Z - 15 min.)"},
		{name: "early", offset: 15*time.Minute + time.Second, change: func(*http.Request) {}, kind: Skewed, text: "Signature not yet current: 20261122T103531Z is still later than 20261122T103530Z (20261122T102030Z + 15 min.)"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			cfg := testConfig()
			cfg.Services, cfg.Regions = []string{"acm-pca", "sts"}, []string{"us-east-1"}
			r := signed(t, testTime.Add(row.offset))
			row.change(r)
			_, err := New(cfg).Verify(r, hexHash("{}"))
			if kindOf(err) != row.kind || (err == nil) != (row.kind == 0) || err != nil && !strings.Contains(err.Error(), row.text) {
				t.Errorf("kind %d, %v; want kind %d, text %q", kindOf(err), err, row.kind, row.text)
			}
		})
	}
}

// Begin refuses all that needs no body, and what it returns still needs the body's hash.
func TestBegin(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	v := New(cfg)
	now := cfg.Now()
	claim, err := v.Begin(received(t, signed(t, now)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := claim.Verify(hexHash("{}")); err != nil {
		t.Error(err)
	}
	if _, err := claim.Verify(hexHash("{ }")); kindOf(err) != Mismatch {
		t.Errorf("another body: %v, want Mismatch", err)
	}
	for _, test := range []struct {
		at   time.Time
		edit func(h http.Header)
		kind Kind
	}{
		{now, func(h http.Header) { h.Del("Authorization") }, MissingAuthentication},
		{now, func(h http.Header) { h.Set("Authorization", "Basic eA==") }, Malformed},
		{now.Add(-time.Hour), func(http.Header) {}, Skewed},
		{now, func(h http.Header) {
			h.Set("Authorization", strings.Replace(h.Get("Authorization"), testKey, "AKIDNOBODY", 1))
		}, UnknownKey},
	} {
		r := signed(t, test.at)
		test.edit(r.Header)
		if _, err := v.Begin(received(t, r)); kindOf(err) != test.kind {
			t.Errorf("%v, want kind %d", err, test.kind)
		}
	}
}

func TestPresignedRefusals(t *testing.T) {
	t.Parallel()
	sign := func(expires string) *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "http://h/bucket/key?X-Amz-Expires="+expires, nil)
		uri, _, err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).PresignHTTP(t.Context(),
			aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}, r, UnsignedPayload, "s3", "us-east-1", testTime)
		if err != nil {
			t.Fatal(err)
		}
		return httptest.NewRequestWithContext(t.Context(), "GET", uri, nil)
	}
	v := New(testConfig())
	for _, row := range []struct {
		expires string
		change  func(*http.Request)
		kind    Kind
	}{
		{"60", func(*http.Request) {}, 0},
		{"604800", func(*http.Request) {}, 0},
		{"604801", func(*http.Request) {}, Malformed},
		{"0", func(*http.Request) {}, Malformed},
		{"-1", func(*http.Request) {}, Malformed},
		{"", func(*http.Request) {}, Malformed},
		{"60", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") }, Malformed},
		{"60", func(r *http.Request) { r.URL.RawQuery += "&X-Amz-Signature=a" }, Malformed},
		{"60", func(r *http.Request) { r.URL.RawQuery += "&a=%zz" }, Malformed},
		{"60", func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "X-Amz-Date", "X-Amz-Dat", 1) }, Malformed},
		{"60", func(r *http.Request) { r.Header.Set("X-Amz-Acl", "public-read") }, UnsignedHeader},
		{"60", func(r *http.Request) { r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Expires=60", "Expires=61", 1) }, Mismatch},
		{"60", func(r *http.Request) { r.Method = "DELETE" }, Mismatch},
	} {
		r := sign(row.expires)
		row.change(r)
		if _, err := v.VerifyPresigned(r); kindOf(err) != row.kind || (err == nil) != (row.kind == 0) {
			t.Errorf("expires %q: %v, want kind %d", row.expires, err, row.kind)
		}
	}
}

// TestAllAmzHeadersMustBeSigned: S3 acts on x-amz-* headers, so one that was
// added on the way is refused.
func TestAllAmzHeadersMustBeSigned(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "http://h/bucket/key", nil)
	r.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}, r, emptySHA256, "s3", "any-region", testTime)
	if err != nil {
		t.Fatal(err)
	}
	v := New(testConfig())
	if _, err := v.Verify(r, ""); err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Amz-Copy-Source", "/other/key")
	if _, err := v.Verify(r, ""); kindOf(err) != UnsignedHeader {
		t.Errorf("added header: %v", err)
	}
	r.Header.Del("X-Amz-Copy-Source")
	for _, hash := range []string{"", "UNSIGNED", strings.Repeat("A", 64), "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"} {
		r.Header.Set("X-Amz-Content-Sha256", hash)
		if _, err := v.Verify(r, ""); kindOf(err) != PayloadHash {
			t.Errorf("x-amz-content-sha256 %q: %v", hash, err)
		}
	}
	r.Header.Del("X-Amz-Content-Sha256")
	if _, err := v.Verify(r, ""); kindOf(err) != PayloadHash {
		t.Errorf("no x-amz-content-sha256: %v", err)
	}
}

// TestSecrets: a changed secret counts at once although the signing key was
// cached, and an error of the lookup is not a refusal.
func TestSecrets(t *testing.T) {
	t.Parallel()
	secret, lookup := testSecret, error(nil)
	cfg := testConfig()
	cfg.Secret = func(context.Context, string) (string, bool, error) { return secret, true, lookup }
	v := New(cfg)
	r := signed(t, testTime)
	if _, err := v.Verify(r, hexHash("{}")); err != nil {
		t.Fatal(err)
	}
	secret = "another"
	if _, err := v.Verify(r, hexHash("{}")); kindOf(err) != Mismatch {
		t.Errorf("changed secret: %v", err)
	}
	if n := len(v.keys.keys); n != 1 {
		t.Errorf("%d keys cached, want 1: refused signatures must not enter", n)
	}
	lookup = io.ErrClosedPipe
	if _, err := v.Verify(r, hexHash("{}")); !errors.Is(err, io.ErrClosedPipe) || kindOf(err) != 0 {
		t.Errorf("lookup error: %v", err)
	}
}

func TestKeyCacheIsBounded(t *testing.T) {
	t.Parallel()
	var k keyCache
	for i := range 3 * maxCachedKeys {
		k.put(&claim{region: strings.Repeat("r", i)}, "s", [32]byte{})
	}
	if len(k.keys) > maxCachedKeys {
		t.Errorf("%d keys", len(k.keys))
	}
}

func BenchmarkVerify(b *testing.B) {
	v := New(testConfig())
	r, hash := signed(b, testTime), hexHash("{}")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(r, hash); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add(signed(f, testTime).Header.Get("Authorization"), "a=b", "/x")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e,SignedHeaders=a,Signature="+strings.Repeat("0", 64), "X-Amz-Date=%zz&&=", "//")
	f.Add("AWS4-HMAC-SHA256 ,=,==,", ";", "")
	f.Fuzz(func(t *testing.T, authorization, query, path string) {
		c, err := parseAuthorization(authorization)
		if err != nil {
			if kindOf(err) == 0 {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		if !isHexSHA256(c.signature) || len(c.signedHeaders) == 0 || strings.Count(c.scope, "/") != 3 {
			t.Fatalf("claim %+v", c)
		}
		r := &http.Request{Method: "GET", URL: &url.URL{Path: path, RawQuery: query}, Host: "h", Header: http.Header{
			"Authorization": {authorization}, "X-Amz-Date": {testTime.Format(timeFormat)}}}
		v := New(testConfig())
		// Nothing but the right MAC may pass; the fuzzer does not know the secret.
		if _, err := v.Verify(r, emptySHA256); err == nil {
			t.Fatal("accepted")
		} else if kindOf(err) == 0 {
			t.Fatalf("error without a kind: %v", err)
		}
		if _, err := v.VerifyPresigned(r); kindOf(err) == 0 {
			t.Fatalf("presigned: %v", err)
		}
	})
}
