package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// ErrSource says that an object of the server's own is not what was written:
// it is missing, was changed, or cannot be read. What is made of it must be
// made anew.
var ErrSource = errors.New("the source object is missing, changed or damaged")

// Source is an object in a bucket of the server's own, as its writer knew it
// (destination.md D-24).
type Source struct {
	Bucket, Key string
	ETag        string // of another, the object is ErrSource; empty: any
	Size        int64
}

// PutSource writes an object of the server's own, in the place of one with its
// key, which may be damaged. sum is body's SHA-256.
func (c *Client) PutSource(ctx context.Context, o Object, body []byte, sum [32]byte) (Stored, error) {
	st := Stored{Size: int64(len(body))}
	o.replace = true
	err := c.putObject(ctx, o, body, sum, &st)
	return st, err
}

// Shares tells whether d's objects can be copied into c's buckets without
// passing through here: both are of one endpoint. A process has one embedded
// service.
func (c *Client) Shares(d *Client) bool {
	if c.cfg.Transport != nil || d.cfg.Transport != nil {
		return c.cfg.Transport != nil && d.cfg.Transport != nil
	}
	return strings.TrimSuffix(c.cfg.Endpoint, "/") == strings.TrimSuffix(d.cfg.Endpoint, "/") && c.cfg.Region == d.cfg.Region
}

// CopyPart makes a part of another object of the same endpoint, whole (D-24);
// a part with that number is replaced. Errors of the source wrap ErrSource: it
// is missing, changed (ETag), or damaged. The part is durable when it returns nil.
func (c *Client) CopyPart(ctx context.Context, u Upload, number int32, src Source) (Part, error) {
	ctx, cancel := context.WithTimeout(ctx, partStep)
	defer cancel()
	out, err := c.s3.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: &u.Bucket, Key: &u.Key, UploadId: &u.ID, PartNumber: &number, ExpectedBucketOwner: c.ownerOf(u.Account),
		CopySource: aws.String(copySource(src)), CopySourceIfMatch: optional(src.ETag),
	}, c.in(u.Bucket), c.reading)
	if err != nil {
		return Part{}, ofSource(fmt.Errorf("copying %s of bucket %s: %w", src.Key, src.Bucket, gone(err)))
	}
	p := Part{Number: number, Size: src.Size}
	if out.CopyPartResult != nil {
		p.ETag = aws.ToString(out.CopyPartResult.ETag)
		if c.crc {
			p.Checksum = aws.ToString(out.CopyPartResult.ChecksumCRC64NVME)
		}
	}
	if p.ETag == "" || c.crc && p.Checksum == "" {
		return Part{}, fmt.Errorf("copying %s of bucket %s: %w: the answer does not say what was copied", src.Key, src.Bucket, ErrSource)
	}
	return p, nil
}

// Get reads a whole object of src.Size bytes and appends it to dst; an object
// of another size, like any that is not there or cannot be read, is ErrSource.
// After an error dst may hold some bytes behind its length.
func (c *Client) Get(ctx context.Context, dst []byte, src Source) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, partStep)
	defer cancel()
	failed := func(err error) ([]byte, error) {
		return dst, ofSource(fmt.Errorf("reading %s of bucket %s: %w", src.Key, src.Bucket, err))
	}
	out, err := c.owner.GetObject(ctx, &s3.GetObjectInput{Bucket: &src.Bucket, Key: &src.Key, IfMatch: optional(src.ETag)}, c.in(src.Bucket), c.reading)
	if err != nil {
		return failed(err)
	}
	defer out.Body.Close()
	if n := aws.ToInt64(out.ContentLength); n != src.Size {
		return failed(fmt.Errorf("%w: it has %d bytes, not %d", ErrSource, n, src.Size))
	}
	have := len(dst)
	whole := slices.Grow(dst, int(src.Size))[:have+int(src.Size)]
	if _, err := io.ReadFull(out.Body, whole[have:]); err != nil {
		if ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", ErrSource, err)
		}
		return failed(err)
	}
	return whole, nil
}

// Delete removes objects, 1,000 in one request; those that are gone already
// are no error. account is whose bucket it is, as in Object.
func (c *Client) Delete(ctx context.Context, bucket, account string, keys []string) error {
	for some := range slices.Chunk(keys, 1000) {
		if err := c.deleteSome(ctx, bucket, account, some); err != nil {
			return fmt.Errorf("deleting from bucket %s: %w", bucket, err)
		}
	}
	return nil
}

func (c *Client) deleteSome(ctx context.Context, bucket, account string, keys []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*shortStep)
	defer cancel()
	in := &s3.DeleteObjectsInput{Bucket: &bucket, ExpectedBucketOwner: c.ownerOf(account), Delete: &types.Delete{Quiet: aws.Bool(true)}}
	for i := range keys {
		in.Delete.Objects = append(in.Delete.Objects, types.ObjectIdentifier{Key: &keys[i]})
	}
	out, err := c.owner.DeleteObjects(ctx, in, c.in(bucket))
	if err != nil {
		return err
	}
	for _, e := range out.Errors {
		if aws.ToString(e.Code) != "NoSuchKey" {
			err = errors.Join(err, fmt.Errorf("%s: %s: %s", aws.ToString(e.Key), aws.ToString(e.Code), aws.ToString(e.Message)))
		}
	}
	return err
}

// EnsureBucket makes the server's own bucket when it is missing, closed to the
// public and without a policy. One that is there but not ours to look at is an
// error: nothing may be written into another's bucket.
func (c *Client) EnsureBucket(ctx context.Context, bucket string) error {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	_, err := c.owner.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}, c.in(bucket))
	if err == nil {
		return nil
	}
	if status(err) != http.StatusNotFound {
		return fmt.Errorf("looking for bucket %s: %w", bucket, err)
	}
	switch err := c.create(ctx, c.owner, bucket, false); {
	case code(err) == "BucketAlreadyOwnedByYou": // another server was first
		return nil
	case err != nil:
		return fmt.Errorf("making bucket %s: %w", bucket, err)
	}
	return c.blockPublic(ctx, bucket)
}

// reading makes a request that reads a source ask the embedded service once:
// there a failure is of the disk, and stays.
func (c *Client) reading(o *s3.Options) {
	if c.cfg.Transport != nil {
		o.Retryer = aws.NopRetryer{}
	}
}

// ofSource marks an answer about the source. A store that fails to read it
// says 500, InternalError.
func ofSource(err error) error {
	switch code(err) {
	case "NoSuchKey", "NoSuchBucket", "PreconditionFailed", "InternalError":
		return fmt.Errorf("%w: %w", ErrSource, err)
	}
	return err
}

// copySource names a source in x-amz-copy-source, encoded; a plus sign would
// be read as a space.
func copySource(src Source) string {
	return src.Bucket + "/" + strings.ReplaceAll((&url.URL{Path: src.Key}).EscapedPath(), "+", "%2B")
}
