package local

import (
	"bufio"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// TestObjectsAreNoPages: no object is a page of this host in a browser, whatever
// its type, and whatever type the URL asks for.
func TestObjectsAreNoPages(t *testing.T) {
	t.Parallel()
	f := start(t)
	admin := f.bucket(t, "console")
	for _, kind := range []string{"text/html", "text/html; charset=a; charset=b", "text/html;", "text/xml", "application/xml", "text/plain"} {
		must(admin.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("console"), Key: aws.String("page"), Body: body([]byte("<script>")), ContentType: &kind}))
		signed := must(s3.NewPresignClient(admin).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("console"), Key: aws.String("page"), ResponseContentType: aws.String("text/html; charset=utf-8")}))
		res := must(http.Get(signed.URL))
		res.Body.Close()
		if h := res.Header; res.StatusCode != 200 || h.Get("Content-Security-Policy") != "sandbox" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, %v", kind, res.StatusCode, h)
		}
	}
}

// TestContinueWithoutBody: botocore waits for 100 Continue before an empty
// body, too, and takes the answer of its next request for it otherwise.
func TestContinueWithoutBody(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := must((&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(f.url, "http://")))
	defer c.Close()
	must(c.Write([]byte("PUT /bucket/key HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n")))
	r := bufio.NewReader(c)
	for _, want := range []int{http.StatusContinue, http.StatusNotFound} {
		if res := must(http.ReadResponse(r, nil)); res.StatusCode != want {
			t.Errorf("%d, want %d", res.StatusCode, want)
		}
	}
}
