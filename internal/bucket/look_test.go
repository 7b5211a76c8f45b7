package bucket_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

// as is a client for somebody of an account who may do the actions.
func (e *embedded) as(t *testing.T, account string, actions ...string) *bucket.Client {
	t.Helper()
	policy, err := iam.ParsePolicy([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) + `"],"Resource":"*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	return e.client(t, func(c *bucket.Config) {
		c.Caller = e.service.Transport(&iam.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/somebody", ID: "AIDA", Policies: []*iam.Policy{policy}})
	})
}

// TestLook: the service itself decides what somebody sees and makes, and what
// is shown of a bucket is what the gate would say.
func TestLook(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	ctx := t.Context()
	all := e.as(t, account, "s3:*")
	request := bucket.CreateBucketRequest{Bucket: name, Account: account, CAARN: caARN}

	wantCode(t, e.as(t, account, "s3:PutBucketPolicy").CreateBucket(ctx, request), pca.AccessDeniedException, "s3:CreateBucket")
	// A bucket without its policy is not left behind.
	wantCode(t, e.as(t, account, "s3:CreateBucket").CreateBucket(ctx, request), pca.AccessDeniedException, "s3:PutBucketPolicy")
	if a, err := all.Look(ctx, gateRequest()); err != nil || a.Exists || a.Allowed || !strings.Contains(a.Reason, "no bucket "+name) || a.Needed == "" {
		t.Errorf("before the bucket: %+v, %v", a, err)
	}
	if err := e.as(t, account, "s3:CreateBucket", "s3:PutBucketPolicy").CreateBucket(ctx, request); err != nil {
		t.Fatal(err)
	}
	wantCode(t, all.CreateBucket(ctx, request), "BucketAlreadyOwnedByYou", name)
	wantCode(t, e.as(t, "210987654321", "s3:*").CreateBucket(ctx, request), "BucketAlreadyExists", "another account")
	a, err := all.Look(ctx, gateRequest())
	if err != nil || !a.Exists || !a.Allowed || a.Policy != a.Needed || !strings.Contains(a.Needed, account) {
		t.Errorf("the new bucket: %+v, %v", a, err)
	}
	e.policy(t, strings.ReplaceAll(founding(), "s3:PutObjectAcl", "s3:GetObjectAcl"))
	if a, err := all.Look(ctx, gateRequest()); err != nil || !a.Exists || a.Allowed || !strings.HasPrefix(a.Reason, "Its bucket policy does not allow") || strings.Contains(a.Reason, "Statement") || a.Policy == "" {
		t.Errorf("a policy that lacks something: %+v, %v", a, err)
	}
	if keys := e.keys(t); len(keys) != 0 {
		t.Errorf("looking wrote %q", keys)
	}
	_, err = e.as(t, account, "s3:List*").Look(ctx, gateRequest())
	wantCode(t, err, pca.AccessDeniedException, "s3:GetBucketPolicy")
	_, err = e.as(t, "210987654321", "s3:*").Look(ctx, gateRequest())
	wantCode(t, err, pca.AccessDeniedException)

	if list, err := all.Buckets(ctx); err != nil || len(list) != 1 || list[0].Name != name || list[0].CreatedAt.IsZero() {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := e.as(t, "210987654321", "s3:ListAllMyBuckets").Buckets(ctx); err != nil || len(list) != 0 {
		t.Errorf("of another account: %v, %v", list, err)
	}
	_, err = e.as(t, account, "s3:Get*").Buckets(ctx)
	wantCode(t, err, pca.AccessDeniedException, "s3:ListAllMyBuckets")
}

// TestReader: an object is read at any place, and not when it is another one
// meanwhile.
func TestReader(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	e.bucket(t, founding())
	c := e.client(t)
	body := make([]byte, 5<<20+7)
	if _, err := rand.NewChaCha8([32]byte{1}).Read(body); err != nil {
		t.Fatal(err)
	}
	put := func(body []byte) {
		t.Helper()
		if _, err := e.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(name), Key: aws.String(key), Body: bytes.NewReader(body)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Open(t.Context(), name, account, key); !errors.Is(err, bucket.ErrNoObject) {
		t.Errorf("an object that is not there: %v", err)
	}
	put(body)
	r, err := c.Open(t.Context(), name, account, key)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(body))
	if r.Size() != size {
		t.Errorf("%d bytes", r.Size())
	}
	for _, p := range []struct{ at, n int64 }{{0, 10}, {2<<20 - 5, 10}, {4 << 20, 3 << 19}, {size - 3, 10}, {3, 4 << 20}, {0, size + 1}, {size, 1}, {2 << 20, 0}} {
		got := make([]byte, p.n)
		n, err := r.ReadAt(got, p.at)
		want := body[p.at:min(p.at+p.n, size)]
		if !bytes.Equal(got[:n], want) || (err == io.EOF) != (int64(n) < p.n) || err != nil && err != io.EOF {
			t.Errorf("%d bytes at %d: %d, %v", p.n, p.at, n, err)
		}
	}
	put(body[:len(body)-1])
	if _, err := io.Copy(io.Discard, io.NewSectionReader(r, 0, size)); !errors.Is(err, bucket.ErrChanged) {
		t.Errorf("after another object took its place: %v", err)
	}
	if _, err := c.Link(t.Context(), name, key, "x", 1); err == nil {
		t.Error("a link to where nothing is signed")
	}
}
