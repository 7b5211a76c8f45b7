package anchor_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"golang.org/x/mod/sumdb/note"

	"filippo.io/torchwood"

	"chirograph.dev/internal/anchor"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/buckettest"
	"chirograph.dev/internal/bucket/local"
	"chirograph.dev/internal/iam"
)

const (
	name   = "anchors"
	ca     = "11111111-2222-3333-4444-555555555555"
	origin = "pca.example.com/audit/" + ca
)

// place is a bucket service that anchors can lie in.
type place struct {
	config bucket.Config
	s3     *s3.Client // as the owner of the bucket
}

func embedded(t *testing.T) place {
	t.Helper()
	service, err := local.Open(local.Config{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
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
	operator := service.Transport(&iam.Principal{Account: "123456789012", ARN: "arn:aws:iam::123456789012:root", ID: "123456789012", Policies: []*iam.Policy{all}})
	return place{bucket.Config{Transport: operator}, s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("https://bucket.internal"), UsePathStyle: true,
		Credentials: aws.AnonymousCredentials{}, HTTPClient: &http.Client{Transport: operator},
	})}
}

func foreign(t *testing.T) place {
	t.Helper()
	f := buckettest.StartVersioned(t)
	return place{bucket.Config{Endpoint: f.Endpoint, Credentials: f.Credentials}, f.S3}
}

func (p place) anchors(t *testing.T, retention time.Duration, mode bucket.LockMode) *anchor.Store {
	t.Helper()
	p.config.Authorization = bucket.AuthorizeCredentials
	p.config.Retention, p.config.RetentionMode = retention, mode
	c, err := bucket.New(p.config)
	if err != nil {
		t.Fatal(err)
	}
	s, err := anchor.New(anchor.Config{Client: c, Bucket: name})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signer signs the checkpoints of a log.
func signer(t *testing.T) note.Signer {
	t.Helper()
	key, _, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func checkpoint(t *testing.T, s note.Signer, origin string, size int64, root byte) []byte {
	t.Helper()
	c := torchwood.Checkpoint{Origin: origin}
	c.N, c.Hash[0] = size, root
	b, err := note.Sign(&note.Note{Text: c.String()}, s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAnchors is the same with and without versions of objects.
func TestAnchors(t *testing.T) {
	t.Parallel()
	for kind, start := range map[string]func(*testing.T) place{"embedded": embedded, "foreign": foreign} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			ctx := t.Context()
			key := signer(t)
			s := p.anchors(t, time.Hour, bucket.Compliance)
			if _, err := s.Newest(ctx, ca); err == nil || errors.Is(err, anchor.ErrNone) {
				t.Errorf("anchors in no bucket: %v", err)
			}
			if _, err := p.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(name), ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
				t.Fatal(err)
			}
			newest := func(want []byte) {
				t.Helper()
				got, err := s.Newest(ctx, ca)
				if err != nil || string(got) != string(want) {
					t.Errorf("the newest anchor is %q, %v; want %q", got, err, want)
				}
			}
			put := func(origin string, size int64, root byte) []byte {
				t.Helper()
				c := checkpoint(t, key, origin, size, root)
				if err := s.Put(ctx, ca, origin, uint64(size), c); err != nil {
					t.Fatal(err)
				}
				return c
			}
			if _, err := s.Newest(ctx, ca); !errors.Is(err, anchor.ErrNone) {
				t.Errorf("no anchors yet: %v", err)
			}
			put(origin, 9, 1)
			first := put(origin, 1000, 2)
			put(origin, 200, 3)
			newest(first)

			// Again, with a cosignature more: the first stays.
			if err := s.Put(ctx, ca, origin, 1000, checkpoint(t, signer(t), origin, 1000, 2)); err != nil {
				t.Error(err)
			}
			newest(first)
			var conflict *anchor.ConflictError
			err := s.Put(ctx, ca, origin, 1000, checkpoint(t, key, origin, 1000, 4))
			if !errors.As(err, &conflict) || string(conflict.Anchored) != string(first) {
				t.Errorf("another tree of 1000 entries: %v", err)
			}

			// Object Lock holds it against the owner of the bucket.
			at := fmt.Sprintf("anchors/%s/1/%020d.checkpoint", ca, 1000)
			head, err := p.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(name), Key: &at})
			if err != nil || head.ObjectLockMode != types.ObjectLockModeCompliance || head.ObjectLockRetainUntilDate == nil {
				t.Fatalf("%+v, %v", head, err)
			}
			_, err = p.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(name), Key: &at, VersionId: head.VersionId, BypassGovernanceRetention: aws.Bool(true)})
			var refused smithy.APIError
			if !errors.As(err, &refused) || refused.ErrorCode() != "AccessDenied" {
				t.Errorf("deleting an anchor: %v", err)
			}
			hide(ctx, t, p.s3, at, kind == "foreign")
			newest(first)

			// A new epoch comes after every size of the one before; what is not an
			// anchor is passed over.
			second := put(origin+"/2", 300, 5)
			for _, k := range []string{"3/x.checkpoint", "readme", "9/1", "2/00000000000000000400.checkpoint", "7/1.checkpoint"} {
				if _, err := p.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(name), Key: aws.String("anchors/" + ca + "/" + k)}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := p.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(name), Key: aws.String("anchors/" + ca + "/8/2.checkpoint"), Body: bytes.NewReader(make([]byte, 100_000))}); err != nil {
				t.Fatal(err)
			}
			newest(second)
			if err := s.Put(ctx, ca, origin+"/2", 400, checkpoint(t, key, origin+"/2", 400, 1)); err == nil || errors.As(err, &conflict) {
				t.Errorf("what is no checkpoint is in the place of one: %v", err)
			}
			if _, err := s.Newest(ctx, "99999999-2222-3333-4444-555555555555"); !errors.Is(err, anchor.ErrNone) {
				t.Errorf("another CA's anchors: %v", err)
			}

			// Without retention nothing is asked of the bucket.
			if err := p.anchors(t, 0, "").Put(ctx, ca, origin, 1001, checkpoint(t, key, origin, 1001, 1)); err != nil {
				t.Error(err)
			}
			if head, err := p.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(name), Key: aws.String(fmt.Sprintf("anchors/%s/1/%020d.checkpoint", ca, 1001))}); err != nil || head.ObjectLockMode != "" {
				t.Errorf("%+v, %v", head, err)
			}
		})
	}
}

// hide does what Object Lock does not prevent where there are versions: a newer
// one, and a deletion on top of it.
func hide(ctx context.Context, t *testing.T, c *s3.Client, key string, versions bool) {
	t.Helper()
	in := &s3.PutObjectInput{Bucket: aws.String(name), Key: &key, Body: http.NoBody}
	_, err := c.PutObject(ctx, in)
	if (err == nil) != versions {
		t.Errorf("a newer version: %v", err)
	}
	_, err = c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(name), Key: &key})
	if (err == nil) != versions {
		t.Errorf("a deletion: %v", err)
	}
}
