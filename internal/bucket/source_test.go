package bucket_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/buckettest"
)

// TestSources makes an object of the server's own objects (D-24), in the
// embedded service, where the user's bucket and its policy come first, and in
// a foreign one.
func TestSources(t *testing.T) {
	t.Parallel()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		e := startEmbedded(t)
		e.bucket(t, founding())
		own, err := bucket.New(bucket.Config{Transport: e.service.Transport(bucket.Principal(account, caARN))})
		if err != nil {
			t.Fatal(err)
		}
		const hidden = "chirograph-internal-segments"
		copies(t, e.client(t), own, hidden, e.s3)

		// Nobody else sees the server's own bucket, also not as a source.
		if _, err := e.s3.HeadBucket(t.Context(), &s3.HeadBucketInput{Bucket: aws.String(hidden)}); err == nil {
			t.Error("the owner of the buckets sees the server's own")
		}
		if _, err := e.s3.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String(name), Key: aws.String("mine"), CopySource: aws.String(hidden + "/ca/JSON/1 +ä")}); err == nil {
			t.Error("the owner of the buckets copied the server's own object")
		}
		// What the disk lost is told when it is copied or read.
		lost := bucket.Object{Bucket: hidden, Key: "lost", ContentType: "text/plain"}
		rows := bytes.Repeat([]byte("a row\n"), 100_000)
		st, err := own.Put(t.Context(), lost, rows, sha256.Sum256(rows))
		if err != nil {
			t.Fatal(err)
		}
		if err := filepath.WalkDir(filepath.Join(e.dir, "parts"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			return os.Truncate(path, 0)
		}); err != nil {
			t.Fatal(err)
		}
		src := bucket.Source{Bucket: hidden, Key: lost.Key, ETag: st.ETag, Size: st.Size}
		if _, err := own.Get(t.Context(), nil, src); !errors.Is(err, bucket.ErrSource) {
			t.Errorf("reading what is lost: %v", err)
		}
		u, err := e.client(t).CreateUpload(t.Context(), object())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.client(t).CopyPart(t.Context(), u, 1, src); !errors.Is(err, bucket.ErrSource) {
			t.Errorf("copying what is lost: %v", err)
		}
		// The policy of the destination decides about copies as about writes.
		e.policy(t, string(bucket.PolicyFor(name, "210987654321", "")))
		if _, err := e.client(t).CopyPart(t.Context(), u, 1, src); err == nil || errors.Is(err, bucket.ErrSource) {
			t.Errorf("copying where the policy refuses: %v", err)
		}
	})
	t.Run("foreign", func(t *testing.T) {
		t.Parallel()
		f := buckettest.StartForeign(t)
		if _, err := f.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
			t.Fatal(err)
		}
		cfg := bucket.Config{Endpoint: f.Endpoint, Credentials: f.Credentials, Authorization: bucket.AuthorizeCredentials}
		c, err := bucket.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Endpoint += "/"
		own, err := bucket.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		copies(t, c, own, "own-segments", f.S3)
		if e := startEmbedded(t); c.Shares(e.client(t)) || e.client(t).Shares(c) {
			t.Error("the embedded service shares objects with a foreign one")
		}
	})
}

// copies assembles an object by c from those that own keeps in ownBucket.
func copies(t *testing.T, c, own *bucket.Client, ownBucket string, reader *s3.Client) {
	t.Helper()
	ctx := t.Context()
	if !c.Shares(own) || !own.Shares(c) {
		t.Fatal("one endpoint does not share with itself")
	}
	for range 2 {
		if err := own.EnsureBucket(ctx, ownBucket); err != nil {
			t.Fatal(err)
		}
	}
	bodies := [][]byte{bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16), []byte("end\n")}
	var sources []bucket.Source
	for i, b := range bodies {
		o := bucket.Object{Bucket: ownBucket, Key: fmt.Sprintf("ca/JSON/%d +ä", i+1), ContentType: "application/octet-stream"}
		var st bucket.Stored
		var err error
		for range 2 { // the same once more is the same object
			if st, err = own.Put(ctx, o, b, sha256.Sum256(b)); err != nil || st.ETag == "" {
				t.Fatalf("%+v, %v", st, err)
			}
		}
		sources = append(sources, bucket.Source{Bucket: o.Bucket, Key: o.Key, ETag: st.ETag, Size: st.Size})
	}
	for i, src := range sources {
		got, err := own.Get(ctx, []byte("before"), src)
		if err != nil || !bytes.Equal(got, append([]byte("before"), bodies[i]...)) {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		src.Size++
		if _, err := own.Get(ctx, nil, src); !errors.Is(err, bucket.ErrSource) {
			t.Errorf("another size: %v", err)
		}
	}

	o := object()
	u, err := c.CreateUpload(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	parts := make([]bucket.Part, 3)
	for i, src := range sources {
		n := 2 * i
		if parts[n], err = c.CopyPart(ctx, u, int32(n+1), src); err != nil {
			t.Fatal(err)
		}
		if p := parts[n]; p.Size != src.Size || p.Checksum != "" && p.Checksum != bucket.Checksum(bodies[i]) || p.Checksum == "" && p.ETag != src.ETag {
			t.Errorf("%+v", p)
		}
	}
	mixed := bytes.Repeat([]byte("written"), 1<<20)
	if parts[1], err = c.UploadPart(ctx, u, 2, mixed, sha256.Sum256(mixed)); err != nil {
		t.Fatal(err)
	}
	wrong := sources[0]
	wrong.ETag = sources[1].ETag
	for why, src := range map[string]bucket.Source{
		"missing": {Bucket: ownBucket, Key: "none", ETag: wrong.ETag}, "changed": wrong,
	} {
		if _, err := c.CopyPart(ctx, u, 4, src); !errors.Is(err, bucket.ErrSource) {
			t.Errorf("a source that is %s: %v", why, err)
		}
		if _, err := own.Get(ctx, nil, src); !errors.Is(err, bucket.ErrSource) {
			t.Errorf("a source that is %s: %v", why, err)
		}
	}
	st, err := c.Complete(ctx, u, parts)
	if err != nil || !st.Seen {
		t.Fatalf("%+v, %v", st, err)
	}
	checkObject(t, reader, o, bytes.Join([][]byte{bodies[0], mixed, bodies[1]}, nil))
	gone := u
	gone.ID = "none"
	if _, err := c.CopyPart(ctx, gone, 1, sources[0]); !errors.Is(err, bucket.ErrNoUpload) || errors.Is(err, bucket.ErrSource) {
		t.Errorf("an upload that is gone: %v", err)
	}

	if err := own.Delete(ctx, ownBucket, account, []string{sources[1].Key, "never/there", sources[1].Key + "x"}); err != nil {
		t.Fatal(err)
	}
	var left []string
	if err := own.List(ctx, ownBucket, account, "ca/", func(key string) error { left = append(left, key); return nil }); err != nil || len(left) != 1 || left[0] != sources[0].Key {
		t.Errorf("left %q, %v", left, err)
	}
	if err := own.Delete(ctx, ownBucket, account, nil); err != nil {
		t.Error(err)
	}
}

// BenchmarkCopyPart copies one of the server's own objects into a part, as a
// report does for each of its segments.
func BenchmarkCopyPart(b *testing.B) {
	e := startEmbedded(b)
	e.bucket(b, founding())
	c := e.client(b)
	own, err := bucket.New(bucket.Config{Transport: e.service.Transport(bucket.Principal(account, caARN))})
	if err != nil {
		b.Fatal(err)
	}
	const hidden = "chirograph-internal-segments"
	if err := own.EnsureBucket(b.Context(), hidden); err != nil {
		b.Fatal(err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 5<<20/16)
	st, err := own.Put(b.Context(), bucket.Object{Bucket: hidden, Key: "k", ContentType: "text/plain"}, body, sha256.Sum256(body))
	if err != nil {
		b.Fatal(err)
	}
	u, err := c.CreateUpload(b.Context(), object())
	if err != nil {
		b.Fatal(err)
	}
	var number atomic.Int32
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := number.Add(1)%bucket.MaxParts + 1
			if _, err := c.CopyPart(b.Context(), u, n, bucket.Source{Bucket: hidden, Key: "k", ETag: st.ETag, Size: st.Size}); err != nil {
				b.Error(err)
			}
		}
	})
}
