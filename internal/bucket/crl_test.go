package bucket_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/buckettest"
	"chirograph.dev/internal/pca"
)

const crlKey = "crl/11111111-2222-3333-4444-555555555555.crl"

func crlRequest(acl pca.S3ObjectAcl) bucket.CRLGateRequest {
	return bucket.CRLGateRequest{Bucket: name, Keys: []string{crlKey}, ACL: acl, CAARN: caARN, Account: account, Try: true}
}

// open switches off what keeps the public out of a bucket.
func (e *embedded) open(t *testing.T) {
	t.Helper()
	if _, err := e.s3.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String(name)}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.s3.PutBucketOwnershipControls(t.Context(), &s3.PutBucketOwnershipControlsInput{Bucket: aws.String(name), OwnershipControls: &types.OwnershipControls{
		Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}},
	}}); err != nil {
		t.Fatal(err)
	}
}

// TestGateCRL has the permission tests of revocation.md 3 and R-23.
func TestGateCRL(t *testing.T) {
	t.Parallel()
	const public, private = pca.S3ObjectAcl_PUBLIC_READ, pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL
	e := startEmbedded(t)
	c := e.client(t)
	refused := func(acl pca.S3ObjectAcl, parts ...string) {
		t.Helper()
		err := c.GateCRL(t.Context(), crlRequest(acl))
		wantRefusal(t, err, parts...)
		if bucket.Temporary(err) || !bucket.Refused(err) {
			t.Errorf("%v is a refusal", err)
		}
	}
	refused(public, "no such bucket", "Create it", "s3:PutObjectAcl")
	e.bucket(t, "")
	refused(private, "no bucket policy", `"Service":"acm-pca.amazonaws.com"`)
	e.policy(t, strings.ReplaceAll(founding(), name+"/*", name+"/audit-report/*"))
	refused(private, crlKey)
	e.policy(t, founding())
	refused(public, "Block Public Access", "BUCKET_OWNER_FULL_CONTROL")
	if err := c.GateCRL(t.Context(), crlRequest(private)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.s3.DeletePublicAccessBlock(t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: aws.String(name)}); err != nil {
		t.Fatal(err)
	}
	refused(public, "BucketOwnerEnforced", "BucketOwnerPreferred")
	if got := e.keys(t); len(got) != 1 || got[0] != "acm-pca-permission-test-key-private" {
		t.Errorf("the gate left %q", got)
	}
	// Whoever may not look at these settings learns it from the write, which
	// never becomes private unnoticed.
	unseeing := e.client(t, func(c *bucket.Config) { c.Owner, c.Authorization = nil, bucket.AuthorizeCredentials })
	wantRefusal(t, unseeing.GateCRL(t.Context(), crlRequest(public)), "AccessControlListNotSupported")
	e.open(t)
	for range 2 {
		if err := c.GateCRL(t.Context(), crlRequest(public)); err != nil {
			t.Fatal(err)
		}
	}
	if got := e.keys(t); len(got) != 2 || got[0] != "acm-pca-permission-test-key" {
		t.Errorf("the gate left %q", got)
	}
	// A policy may ask for the ACL.
	e.policy(t, strings.Replace(founding(), `"Statement": [`, `"Statement": [{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::`+name+
		`/*","Condition":{"StringEquals":{"s3:x-amz-acl":"public-read"}}},`, 1))
	refused(public, "denies")
	if err := c.GateCRL(t.Context(), crlRequest(private)); err != nil {
		t.Error(err)
	}
	// Without trying, the policy alone decides.
	r := crlRequest(private)
	r.Try, r.Keys = false, append(r.Keys, "crl/x-delta.crl")
	if err := c.GateCRL(t.Context(), r); err != nil {
		t.Error(err)
	}
	down, err := bucket.New(bucket.Config{Endpoint: "http://127.0.0.1:1", Credentials: aws.AnonymousCredentials{}})
	if err != nil {
		t.Fatal(err)
	}
	err = down.GateCRL(t.Context(), r)
	if wantCode(t, err, pca.RequestFailedException); !bucket.Temporary(err) || bucket.Refused(err) {
		t.Error(err)
	}
}

// wantRefusal is for the texts that clients match.
func wantRefusal(t *testing.T, err error, parts ...string) {
	t.Helper()
	e, ok := err.(*pca.Error)
	if !ok || e.Code != pca.ValidationException {
		t.Fatalf("%v, want a refusal", err)
	}
	for _, part := range append(parts, "Permission error with your S3 bucket '"+name+"'. Check that your bucket policy, encryption settings, S3 Block Public Access settings, and global account permissions are configured correctly. "+
		"For more information, check the service documentation. Check your S3 bucket permissions and try again") {
		if !strings.Contains(e.Message, part) {
			t.Errorf("%q does not say %q", e.Message, part)
		}
	}
}

// TestPutCRL writes CRLs of all sizes over each other, and reads them as
// relying parties do.
func TestPutCRL(t *testing.T) {
	t.Parallel()
	small, smaller := bytes.Repeat([]byte("a CRL, "), 1000), []byte("a CRL")
	large := bytes.Repeat([]byte("0123456789abcdef"), bucket.MaxPut/16+1000)
	o := bucket.Object{Bucket: name, Key: crlKey, Account: account}
	put := func(t *testing.T, c *bucket.Client, acl pca.S3ObjectAcl, body []byte) {
		t.Helper()
		if err := c.PutCRL(t.Context(), o, acl, "max-age=3600", bytes.NewReader(body), int64(len(body))); err != nil {
			t.Fatal(err)
		}
	}
	read := func(t *testing.T, reader *s3.Client, want []byte) {
		t.Helper()
		o := o
		o.ContentType = "application/pkix-crl"
		checkObject(t, reader, o, want)
		out, err := reader.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &o.Bucket, Key: &o.Key})
		if err != nil || aws.ToString(out.CacheControl) != "max-age=3600" {
			t.Errorf("%+v, %v", out, err)
		}
	}
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		e := startEmbedded(t)
		e.bucket(t, founding())
		e.open(t)
		// Retention is for reports: a CRL is replaced.
		c := e.client(t, func(c *bucket.Config) { c.Retention = 1 << 40 })
		for _, body := range [][]byte{small, large, smaller, small} {
			put(t, c, pca.S3ObjectAcl_PUBLIC_READ, body)
			read(t, e.s3, body)
		}
		server := httptest.NewServer(e.service)
		defer server.Close()
		get := func(method, etag string) (*http.Response, []byte) {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/"+name+"/"+crlKey, nil)
			if err != nil {
				t.Fatal(err)
			}
			if etag != "" {
				req.Header.Set("If-None-Match", etag)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			return res, b
		}
		res, b := get(http.MethodGet, "")
		etag := res.Header.Get("Etag")
		if res.StatusCode != http.StatusOK || !bytes.Equal(b, small) || res.Header.Get("Content-Type") != "application/pkix-crl" || res.Header.Get("Cache-Control") != "max-age=3600" || etag == "" {
			t.Errorf("%s %v, %d bytes", res.Status, res.Header, len(b))
		}
		if res, b = get(http.MethodHead, ""); res.StatusCode != http.StatusOK || res.ContentLength != int64(len(small)) || len(b) > 0 {
			t.Errorf("HEAD: %s, %d", res.Status, res.ContentLength)
		}
		if res, b = get(http.MethodGet, etag); res.StatusCode != http.StatusNotModified || len(b) > 0 || res.Header.Get("Cache-Control") != "max-age=3600" || res.Header.Get("Etag") != etag {
			t.Errorf("the same once more: %s %v", res.Status, res.Header)
		}
		put(t, c, pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL, small)
		if res, _ = get(http.MethodGet, ""); res.StatusCode != http.StatusForbidden {
			t.Errorf("a private CRL: %s", res.Status)
		}

		// What the bucket refuses is told from what else went wrong, and changes nothing.
		e.policy(t, string(bucket.PolicyFor(name, "210987654321", "")))
		for _, body := range [][]byte{smaller, large} {
			err := c.PutCRL(t.Context(), o, pca.S3ObjectAcl_PUBLIC_READ, "", bytes.NewReader(body), int64(len(body)))
			if !bucket.Refused(err) || bucket.Temporary(err) || !strings.Contains(bucket.Explain(err, "CRL"), "refused to take the CRL: AccessDenied") {
				t.Errorf("%v: %s", err, bucket.Explain(err, "CRL"))
			}
		}
		err := c.PutCRL(t.Context(), o, pca.S3ObjectAcl_PUBLIC_READ, "", bytes.NewReader(smaller), 100)
		if err == nil || bucket.Refused(err) {
			t.Errorf("a file that is too short: %v", err)
		}
		read(t, e.s3, small)
	})
	t.Run("lost answers", func(t *testing.T) {
		t.Parallel()
		e := startEmbedded(t)
		e.bucket(t, founding())
		var lost atomic.Bool
		c := e.client(t, func(c *bucket.Config) {
			c.Transport = losing{c.Transport, &lost}
		})
		for _, body := range [][]byte{small, large} {
			lost.Store(true)
			put(t, c, pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL, body)
			lost.Store(false)
			read(t, e.s3, body)
		}
	})
	t.Run("foreign", func(t *testing.T) {
		t.Parallel()
		f := buckettest.StartForeign(t)
		if _, err := f.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name), ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}); err != nil {
			t.Fatal(err)
		}
		c, err := bucket.New(bucket.Config{Endpoint: f.Endpoint, Credentials: f.Credentials, Authorization: bucket.AuthorizeCredentials})
		if err != nil {
			t.Fatal(err)
		}
		for _, acl := range []pca.S3ObjectAcl{pca.S3ObjectAcl_PUBLIC_READ, pca.S3ObjectAcl_BUCKET_OWNER_FULL_CONTROL} {
			if err := c.GateCRL(t.Context(), crlRequest(acl)); err != nil {
				t.Fatal(err)
			}
			for _, body := range [][]byte{small, large, smaller} {
				put(t, c, acl, body)
				read(t, f.S3, body)
			}
		}
		r := crlRequest(pca.S3ObjectAcl_PUBLIC_READ)
		r.Bucket = "none-such"
		if err := c.GateCRL(t.Context(), r); !bucket.Refused(err) || !strings.Contains(err.Error(), "no such bucket") {
			t.Errorf("a bucket that is missing: %v", err)
		}
	})
}

// losing passes requests on and loses the answers to writes of whole objects.
type losing struct {
	http.RoundTripper
	lost *atomic.Bool
}

func (l losing) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.RoundTripper.RoundTrip(r)
	q := r.URL.Query()
	if err != nil || !l.lost.Load() || r.Method == http.MethodPost && !q.Has("uploadId") || r.Method == http.MethodPut && q.Has("uploadId") || r.Method != http.MethodPost && r.Method != http.MethodPut {
		return res, err
	}
	res.Body.Close()
	return nil, io.ErrUnexpectedEOF
}
