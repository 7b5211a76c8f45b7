package local

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestNoRouteWithoutAllow walks every operation of the service: none is served
// to somebody unknown, or without an Allow.
func TestNoRouteWithoutAllow(t *testing.T) {
	t.Parallel()
	people := everybody(t)
	people["AKDENIED"] = identity(t, accountA, "denied", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"s3:*","Resource":"*"}]}`)
	f := startIn(t, t.TempDir()+"/buckets", func(c *Config) { c.Credentials = people })
	admin := f.bucket(t, "routes")
	must(admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("routes"), Key: aws.String("key"), Body: body([]byte("kept"))}))
	upload := *must(admin.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("routes"), Key: aws.String("key")})).UploadId

	// ask sends the request of a route with a key; empty is unsigned.
	ask := func(route, key, secret string) (int, string) {
		t.Helper()
		method, rest, _ := strings.Cut(route, " ")
		level, sub, _ := strings.Cut(rest, " ")
		sub, copied := strings.CutSuffix(sub, "copy")
		sub = strings.TrimSpace(sub)
		query := url.Values{}
		if sub != "" {
			query.Set(sub, map[string]string{"uploadId": upload, "list-type": "2"}[sub])
		}
		if sub == "uploadId" && method == "PUT" {
			query.Set("partNumber", "1")
		}
		text := ""
		if sub == "delete" {
			text = `<Delete><Object><Key>key</Key></Object></Delete>`
		}
		path := map[string]string{"service": "/", "bucket": "/routes", "object": "/routes/key"}[level]
		if route == "PUT bucket" {
			path = "/new-routes"
		}
		r := must(http.NewRequestWithContext(t.Context(), method, f.url+path+"?"+query.Encode(), strings.NewReader(text)))
		if copied {
			r.Header.Set("X-Amz-Copy-Source", "/routes/key")
		}
		sum := sha256.Sum256([]byte(text))
		if sub == "delete" {
			md := md5.Sum([]byte(text))
			r.Header.Set("Content-Md5", base64.StdEncoding.EncodeToString(md[:]))
		}
		r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
		if key != "" {
			if err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(t.Context(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, r, hex.EncodeToString(sum[:]), "s3", "us-east-1", time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		res := must(http.DefaultClient.Do(r))
		defer res.Body.Close()
		return res.StatusCode, string(must(io.ReadAll(res.Body)))
	}
	for route := range operations() {
		for key, secret := range map[string]string{"": "", "AKUNKNOWN": "secret-of-AKUNKNOWN", "AKADMIN": "wrong", "AKNOBODY": "secret-of-AKNOBODY", "AKDENIED": "secret-of-AKDENIED"} {
			status, text := ask(route, key, secret)
			if route == "POST bucket delete" && (key == "" || key == "AKNOBODY" || key == "AKDENIED") {
				// As at S3: the answer tells of each object.
				if !strings.Contains(text, "<Error>") || !strings.Contains(text, "AccessDenied") || strings.Contains(text, "<Deleted>") {
					t.Errorf("%s by %s: %d %s", route, key, status, text)
				}
				continue
			}
			if status != 403 {
				t.Errorf("%s by %q: %d %s", route, key, status, text)
			}
		}
	}
	if got := f.get(t, admin, "routes", "key"); string(got) != "kept" {
		t.Errorf("the object is %q", got)
	}
	if list := must(admin.ListBuckets(t.Context(), &s3.ListBucketsInput{})); len(list.Buckets) != 1 {
		t.Errorf("%d buckets", len(list.Buckets))
	}
}
