package bucket_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/pca"
)

// beside is an object of a proof.
func beside(key string) bucket.Object {
	return bucket.Object{Bucket: name, Key: key, Account: account, ContentType: "text/plain; charset=utf-8"}
}

// TestBeside is what is written beside reports: what is there stays, what is
// newest replaces, and all of it is listed, page by page.
func TestBeside(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, founding())
	c := e.client(t, func(c *bucket.Config) { c.Owner = pagesOfTwo{c.Owner} })
	ctx := t.Context()
	list := func(c *bucket.Client) (keys []string, err error) {
		err = c.List(ctx, name, account, "log/", func(key string) error { keys = append(keys, key); return nil })
		return keys, err
	}
	if keys, err := list(c); err != nil || len(keys) != 0 {
		t.Errorf("an empty bucket lists %q, %v", keys, err)
	}
	want := []string{"log/1", "log/2", "log/3", "log/4", "log/5"}
	for _, body := range []string{"first", "again"} {
		for _, key := range want {
			if err := c.Add(ctx, beside(key), []byte(body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	checkObject(t, e.s3, beside(want[4]), []byte("first"))
	if keys, err := list(c); err != nil || !slices.Equal(keys, want) {
		t.Errorf("listed %q, %v", keys, err)
	}
	stop := errors.New("stop")
	if err := c.List(ctx, name, account, "log/", func(string) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a listing that was stopped: %v", err)
	}
	for _, body := range []string{"one", "two"} {
		if err := c.Replace(ctx, beside(want[0]), []byte(body)); err != nil {
			t.Fatal(err)
		}
		checkObject(t, e.s3, beside(want[0]), []byte(body))
	}

	// The service principal alone may write, and may neither list nor look.
	alone := e.client(t, func(c *bucket.Config) { c.Owner = nil })
	if _, err := list(alone); !errors.Is(err, bucket.ErrNoListing) {
		t.Errorf("listing as the service: %v", err)
	}
	for _, write := range []func(context.Context, bucket.Object, []byte) error{alone.Add, alone.Replace} {
		if err := write(ctx, beside("log/alone"), []byte("x")); err != nil {
			t.Error(err)
		}
	}

	// What goes with a report is asked for together with it.
	e.policy(t, string(bucket.PolicyFor(name, account, caARN)))
	r := gateRequest()
	r.Beside = []string{"log/1"}
	if _, err := c.Gate(ctx, r); err != nil {
		t.Error(err)
	}
	e.policy(t, onlyJSON)
	r.Beside = nil
	if _, err := c.Gate(ctx, r); err != nil {
		t.Error(err)
	}
	r.Beside = []string{"log/1"}
	_, err := c.Gate(ctx, r)
	wantCode(t, err, pca.ValidationException, "s3:PutObject on arn:aws:s3:::"+name+"/log/1")
	if err := c.Add(ctx, beside("log/denied"), nil); err == nil || bucket.Temporary(err) {
		t.Errorf("a denied object: %v", err)
	}
}

// onlyJSON is a policy for reports alone.
const onlyJSON = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"acm-pca.amazonaws.com"},
	"Action":["s3:PutObject","s3:PutObjectAcl","s3:GetBucketAcl","s3:GetBucketLocation"],
	"Resource":["arn:aws:s3:::` + name + `/*.json","arn:aws:s3:::` + name + `/acm-pca-permission-test-key-private","arn:aws:s3:::` + name + `"]}]}`

// pagesOfTwo makes the pages of listings short.
type pagesOfTwo struct{ next http.RoundTripper }

func (p pagesOfTwo) RoundTrip(r *http.Request) (*http.Response, error) {
	if q := r.URL.Query(); q.Has("list-type") {
		r = r.Clone(r.Context())
		q.Set("max-keys", "2")
		r.URL.RawQuery = q.Encode()
	}
	return p.next.RoundTrip(r)
}
