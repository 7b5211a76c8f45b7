package bucket_test

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/buckettest"
	"chirograph.dev/internal/pca"
)

// TestRetention writes reports that Object Lock keeps: in one step and in
// parts, here and in a foreign store, which takes no checksum of ours.
func TestRetention(t *testing.T) {
	t.Parallel()
	retain := func(c *bucket.Config) { c.Retention, c.RetentionMode = time.Hour, bucket.Compliance }
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		e := startEmbedded(t)
		c := e.client(t, retain)
		e.bucket(t, founding())
		_, err := c.Gate(t.Context(), gateRequest())
		wantCode(t, err, pca.ValidationException, "has no Object Lock", "s3:PutObjectRetention")
		if _, err := e.s3.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String(name)}); err != nil {
			t.Fatal(err)
		}
		if err := c.CreateBucket(t.Context(), bucket.CreateBucketRequest{Bucket: name, Account: account}); err != nil {
			t.Fatal(err)
		}
		checkRetained(t, c, e.s3)

		// Also where the bucket retains everything, the test object of the gate.
		if _, err := e.s3.PutObjectLockConfiguration(t.Context(), &s3.PutObjectLockConfigurationInput{Bucket: aws.String(name), ObjectLockConfiguration: &types.ObjectLockConfiguration{
			ObjectLockEnabled: "Enabled", Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: "GOVERNANCE", Days: aws.Int32(1)}}}}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := c.Gate(t.Context(), gateRequest()); err != nil {
				t.Fatal(err)
			}
		}
		replace := func(body string) error {
			return c.Replace(t.Context(), beside("log/default"), []byte(body))
		}
		if err := errors.Join(replace("one"), replace("one")); err != nil {
			t.Error(err)
		}
		if err := replace("two"); !errors.Is(err, bucket.ErrLocked) || bucket.Temporary(err) {
			t.Errorf("replacing what is locked: %v", err)
		}

		e.policy(t, strings.Replace(founding(), "s3:PutObjectAcl", "s3:PutObject*", 1))
		if _, err := c.Gate(t.Context(), gateRequest()); err != nil {
			t.Error(err)
		}
		e.policy(t, founding())
		_, err = c.Gate(t.Context(), gateRequest())
		wantCode(t, err, pca.ValidationException, "s3:PutObjectRetention on arn:aws:s3:::"+name+"/"+key)
	})
	t.Run("foreign", func(t *testing.T) {
		t.Parallel()
		f := buckettest.StartVersioned(t)
		if _, err := f.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name), ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
			t.Fatal(err)
		}
		cfg := bucket.Config{Endpoint: f.Endpoint, Credentials: f.Credentials, Authorization: bucket.AuthorizeCredentials}
		retain(&cfg)
		c, err := bucket.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Gate(t.Context(), gateRequest()); err != nil {
			t.Error(err)
		}
		checkRetained(t, c, f.S3)
	})
	for _, wrong := range []bucket.Config{{Retention: -1}, {RetentionMode: "governance"}} {
		wrong.Transport = startEmbedded(t).owner
		if _, err := bucket.New(wrong); err == nil {
			t.Errorf("%+v is taken", wrong)
		}
	}
}

func checkRetained(t *testing.T, c *bucket.Client, owner *s3.Client) {
	t.Helper()
	ctx := t.Context()
	retained := func(key string, want bool) {
		t.Helper()
		h, err := owner.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(name), Key: &key})
		if err != nil || (h.ObjectLockMode == types.ObjectLockModeCompliance) != want || want != (h.ObjectLockRetainUntilDate != nil) {
			t.Errorf("%s: %+v, %v", key, h, err)
		}
	}
	whole, inParts := object(), object()
	inParts.Key += ".parts"
	if _, err := c.Put(ctx, whole, []byte("body"), sha256.Sum256([]byte("body"))); err != nil {
		t.Fatal(err)
	}
	retained(whole.Key, true)
	u, err := c.CreateUpload(ctx, inParts)
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.UploadPart(ctx, u, 1, []byte("part"), sha256.Sum256([]byte("part")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Complete(ctx, u, []bucket.Part{p}); err != nil {
		t.Fatal(err)
	}
	retained(inParts.Key, true)
	if err := c.Add(ctx, beside("log/1"), []byte("pack")); err != nil {
		t.Fatal(err)
	}
	retained("log/1", true)
	for _, body := range []string{"old", "new"} {
		if err := c.Replace(ctx, beside("log/checkpoint"), []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	retained("log/checkpoint", false)
	if err := c.Retain(ctx, beside("log/checkpoint")); err != nil {
		t.Fatal(err)
	}
	retained("log/checkpoint", true)

	if b, err := c.Read(ctx, name, account, "log/checkpoint", "", 3); err != nil || string(b) != "new" {
		t.Errorf("read %q, %v", b, err)
	}
	if _, err := c.Read(ctx, name, account, "log/checkpoint", "", 2); !errors.Is(err, bucket.ErrTooLong) {
		t.Errorf("more was read than asked for: %v", err)
	}
	if _, err := c.Read(ctx, name, account, "log/2", "", 3); !errors.Is(err, bucket.ErrNoObject) {
		t.Errorf("reading nothing: %v", err)
	}
}
