package bucket

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// ErrNoListing says that the store does not list the bucket to us.
var ErrNoListing = errors.New("the bucket service does not list the bucket to this server")

// ErrNoBucket says that a bucket that is listed does not exist.
var ErrNoBucket = errors.New("the bucket does not exist")

// Add writes an object whose key says all that it holds, so that one which is
// there already is as good: it is left alone.
func (c *Client) Add(ctx context.Context, o Object, body []byte) error {
	return c.beside(ctx, o, body, false)
}

// Replace writes an object, in the place of one with its key. One that Object
// Lock keeps, where there are no versions, is ErrLocked unless it holds the same.
func (c *Client) Replace(ctx context.Context, o Object, body []byte) error {
	return c.beside(ctx, o, body, true)
}

// beside writes what belongs to reports and is none. Its absence afterwards is
// an error (D-4); how it got there is not looked at, since readers check it.
func (c *Client) beside(ctx context.Context, o Object, body []byte, overwrite bool) error {
	var st Stored
	o.replace = overwrite
	err := c.putObject(ctx, o, body, sha256.Sum256(body), &st)
	if !overwrite && status(err) == http.StatusPreconditionFailed {
		return nil
	}
	if overwrite && status(err) == http.StatusForbidden {
		var same bool
		if same, err = c.lockedAs(ctx, o, body, err); same {
			return nil
		}
	}
	if err == nil {
		st.Size = int64(len(body))
		if _, err = c.look(ctx, o, &st); !errors.Is(err, ErrAbsent) {
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", o.Key, err)
	}
	return nil
}

// List calls yield for the keys of a bucket that begin with prefix, in their
// order. A store that does not list to us gives ErrNoListing, a bucket that is
// not there ErrNoBucket.
func (c *Client) List(ctx context.Context, bucket, account, prefix string, yield func(key string) error) error {
	return c.ListSizes(ctx, bucket, account, prefix, func(key string, _ int64) error { return yield(key) })
}

// ListSizes is List with the sizes of the objects in bytes.
func (c *Client) ListSizes(ctx context.Context, bucket, account, prefix string, yield func(key string, size int64) error) error {
	in := &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix, ExpectedBucketOwner: c.ownerOf(account)}
	for {
		out, err := c.listPage(ctx, in)
		switch status(err) {
		case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			return fmt.Errorf("%w: %w", ErrNoListing, err)
		}
		if code(err) == "NoSuchBucket" {
			err = fmt.Errorf("%w: %w", ErrNoBucket, err)
		}
		if err != nil {
			return fmt.Errorf("listing %s of bucket %s: %w", prefix, bucket, err)
		}
		for _, o := range out.Contents {
			if err := yield(aws.ToString(o.Key), aws.ToInt64(o.Size)); err != nil {
				return err
			}
		}
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextContinuationToken) == "" {
			return nil
		}
		in.ContinuationToken = out.NextContinuationToken
	}
}

func (c *Client) listPage(ctx context.Context, in *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	return c.owner.ListObjectsV2(ctx, in, c.in(*in.Bucket))
}

// Name is the bucket service in words, such as "Amazon S3".
func (c *Client) Name() string { return c.name }

// Embedded tells that the buckets are those of this server's own service.
func (c *Client) Embedded() bool { return c.cfg.Transport != nil }
