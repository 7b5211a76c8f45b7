package bucket

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
)

// Limits of S3 that uploads keep to (D-20, D-21).
const (
	MaxPut      = 16 << 20 // bytes that are written with one PutObject; more needs parts
	MinPart     = 5 << 20  // bytes; only the last part may be smaller
	MaxParts    = 10000    // parts of one object
	MaxParallel = 8        // parts in flight of one upload
)

const reportIDKey = "report-id" // x-amz-meta-report-id

// Time-outs of single steps. Complete is long: a store may copy the whole
// object before it answers (D-5).
const (
	shortStep    = time.Minute
	lastStep     = 5 * time.Second // of who has no time left, or stops
	partStep     = 15 * time.Minute
	completeStep = 30 * time.Minute
)

// Object is what is to be written, but for its bytes.
type Object struct {
	Bucket      string
	Key         string
	Account     string // the CA's owner; on AWS also the bucket's
	ContentType string
	ReportID    string // goes into the metadata, to tell our object from another; may be empty

	acl          types.ObjectCannedACL // empty: Config.ACL
	cacheControl string
	replace      bool // in the place of one with its key, and to be replaced itself
}

// Upload is a multipart upload under way. Nothing of it is visible before Complete.
type Upload struct {
	Object
	ID string
}

// Part is a part that is in the store.
type Part struct {
	Number   int32
	Size     int64
	ETag     string
	Checksum string // CRC64NVME, base64; empty when the endpoint takes none
}

// Stored says what is known of an object that was written.
type Stored struct {
	Size     int64
	ETag     string
	Checksum string // CRC64NVME of the whole object, base64; empty when the endpoint takes none
	// Seen tells that the object was looked at after it was written, and is
	// the one. False only when our credentials may not look (D-4).
	Seen bool
}

// Put writes a small object in one step, and never over another: one with the
// key and the same report id is taken for ours, from an earlier attempt whose
// answer was lost; any other is ErrForeignObject. sum is body's SHA-256.
func (c *Client) Put(ctx context.Context, o Object, body []byte, sum [32]byte) (Stored, error) {
	st := Stored{Size: int64(len(body))}
	err := c.putObject(ctx, o, body, sum, &st)
	return c.settle(ctx, o, st, err)
}

func (c *Client) putObject(ctx context.Context, o Object, body []byte, sum [32]byte, st *Stored) error {
	ctx, cancel := context.WithTimeout(ctx, partStep)
	defer cancel()
	return c.adapt(o, func(condition *string) error {
		in := &s3.PutObjectInput{
			Bucket: &o.Bucket, Key: &o.Key, ExpectedBucketOwner: c.ownerOf(o.Account),
			Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
			ContentType: &o.ContentType, CacheControl: optional(o.cacheControl), Metadata: o.metadata(),
			ACL:                  c.acl(o.Bucket, o.acl),
			ServerSideEncryption: types.ServerSideEncryption(c.cfg.SSE), SSEKMSKeyId: optional(c.cfg.SSEKMSKeyID),
		}
		in.IfNoneMatch = condition
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = c.retain(o)
		in.ContentMD5 = c.bodyMD5(body)
		if c.crc {
			if st.Checksum == "" {
				st.Checksum = Checksum(body)
			}
			in.ChecksumCRC64NVME = aws.String(st.Checksum)
		}
		out, err := c.s3.PutObject(ctx, in, c.in(o.Bucket), payload(sum))
		if err == nil {
			st.ETag = aws.ToString(out.ETag)
		}
		return err
	})
}

// CreateUpload begins a multipart upload.
func (c *Client) CreateUpload(ctx context.Context, o Object) (Upload, error) {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	u := Upload{Object: o}
	err := c.adapt(o, func(*string) error {
		in := &s3.CreateMultipartUploadInput{
			Bucket: &o.Bucket, Key: &o.Key, ExpectedBucketOwner: c.ownerOf(o.Account),
			ContentType: &o.ContentType, CacheControl: optional(o.cacheControl), Metadata: o.metadata(),
			ACL:                  c.acl(o.Bucket, o.acl),
			ServerSideEncryption: types.ServerSideEncryption(c.cfg.SSE), SSEKMSKeyId: optional(c.cfg.SSEKMSKeyID),
		}
		in.ObjectLockMode, in.ObjectLockRetainUntilDate = c.retain(o)
		if c.crc {
			in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject
		}
		out, err := c.s3.CreateMultipartUpload(ctx, in, c.in(o.Bucket))
		if err == nil {
			u.ID = aws.ToString(out.UploadId)
		}
		return err
	})
	return u, err
}

// UploadPart writes one part; a part with that number is replaced. sum is
// body's SHA-256. The part is durable when it returns nil.
func (c *Client) UploadPart(ctx context.Context, u Upload, number int32, body []byte, sum [32]byte) (Part, error) {
	ctx, cancel := context.WithTimeout(ctx, partStep)
	defer cancel()
	in := &s3.UploadPartInput{
		Bucket: &u.Bucket, Key: &u.Key, UploadId: &u.ID, PartNumber: &number, ExpectedBucketOwner: c.ownerOf(u.Account),
		Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
	}
	p := Part{Number: number, Size: int64(len(body))}
	in.ContentMD5 = c.bodyMD5(body)
	if c.crc {
		p.Checksum = Checksum(body)
		in.ChecksumCRC64NVME = &p.Checksum
	}
	out, err := c.s3.UploadPart(ctx, in, c.in(u.Bucket), payload(sum))
	if err != nil {
		return Part{}, gone(err)
	}
	p.ETag = aws.ToString(out.ETag)
	return p, nil
}

// Complete makes the object visible, whole, from all its parts in order, and
// looks at it. After a time-out, or when the upload turns out to be gone, it
// does not trust the answer but looks (D-4). It may be called again.
func (c *Client) Complete(ctx context.Context, u Upload, parts []Part) (Stored, error) {
	st, err := c.complete(ctx, u, parts)
	return c.settle(ctx, u.Object, st, err)
}

// complete is the request alone; what it returns is known also after an error.
func (c *Client) complete(ctx context.Context, u Upload, parts []Part) (st Stored, err error) {
	ctx, cancel := context.WithTimeout(ctx, completeStep)
	defer cancel()
	done := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		st.Size += p.Size
		done[i] = types.CompletedPart{PartNumber: aws.Int32(p.Number), ETag: aws.String(p.ETag), ChecksumCRC64NVME: optional(p.Checksum)}
	}
	if c.crc {
		if st.Checksum, err = Combine(parts); err != nil {
			return Stored{}, err
		}
	}
	err = c.adapt(u.Object, func(condition *string) error {
		in := &s3.CompleteMultipartUploadInput{
			Bucket: &u.Bucket, Key: &u.Key, UploadId: &u.ID, ExpectedBucketOwner: c.ownerOf(u.Account),
			MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
			IfNoneMatch:     condition,
		}
		if c.crc {
			in.ChecksumCRC64NVME, in.ChecksumType, in.MpuObjectSize = &st.Checksum, types.ChecksumTypeFullObject, &st.Size
		}
		out, err := c.s3.CompleteMultipartUpload(ctx, in, c.in(u.Bucket))
		if err == nil {
			st.ETag = aws.ToString(out.ETag)
		}
		return err
	})
	return st, gone(err)
}

// settle turns the answer to a write of a whole object into the truth. A store
// may answer an error for what it did, for instance to a retry that it cannot
// recognize as one; so every error is looked behind (D-4).
func (c *Client) settle(ctx context.Context, o Object, st Stored, err error) (Stored, error) {
	seen, lookErr := c.look(ctx, o, &st)
	exists := status(err) == http.StatusPreconditionFailed
	switch {
	case seen:
		st.Seen = true
		return st, nil
	case lookErr == nil && (err == nil || exists):
		// We may not look. Nobody else knows the key, a fresh UUID, before it
		// is written: an object that exists is ours, from an attempt whose
		// answer was lost.
		return st, nil
	case errors.Is(lookErr, ErrForeignObject):
		return Stored{}, lookErr
	case err != nil:
		return Stored{}, err
	}
	return Stored{}, lookErr
}

// look compares what is in the store with what was written, and takes its ETag
// where the answer with it was lost. seen is false, without an error, when our
// credentials may not look.
func (c *Client) look(ctx context.Context, o Object, want *Stored) (seen bool, err error) {
	wait := shortStep
	if ctx.Err() != nil {
		wait = lastStep
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait)
	defer cancel()
	in := &s3.HeadObjectInput{Bucket: &o.Bucket, Key: &o.Key, ExpectedBucketOwner: c.ownerOf(o.Account)}
	if c.crc {
		in.ChecksumMode = types.ChecksumModeEnabled
	}
	out, err := c.owner.HeadObject(ctx, in, c.in(o.Bucket))
	switch status(err) {
	case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return false, nil
	case http.StatusNotFound:
		return false, fmt.Errorf("%w: %w", ErrAbsent, err)
	}
	if err != nil {
		return false, fmt.Errorf("looking at the object: %w", err)
	}
	have := aws.ToString(out.ChecksumCRC64NVME)
	var id string
	for k, v := range out.Metadata {
		if strings.EqualFold(k, reportIDKey) {
			id = v
		}
	}
	switch {
	case id != o.ReportID,
		aws.ToInt64(out.ContentLength) != want.Size,
		// A store that recomputes the checksum in another form answers with none.
		want.Checksum != "" && have != "" && out.ChecksumType != types.ChecksumTypeComposite && have != want.Checksum:
		return false, fmt.Errorf("%w (report id %q, %d bytes, checksum %q; wanted %q, %d, %q)",
			ErrForeignObject, id, aws.ToInt64(out.ContentLength), have, o.ReportID, want.Size, want.Checksum)
	}
	if want.ETag == "" {
		want.ETag = aws.ToString(out.ETag)
	}
	return true, nil
}

// Abort gives up an upload and its parts. An upload that is gone already is no error.
func (c *Client) Abort(ctx context.Context, u Upload) error {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	_, err := c.owner.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &u.Bucket, Key: &u.Key, UploadId: &u.ID, ExpectedBucketOwner: c.ownerOf(u.Account),
	}, c.in(u.Bucket))
	if err = gone(err); err == nil || errors.Is(err, ErrNoUpload) || code(err) == "NoSuchBucket" {
		return nil
	}
	return fmt.Errorf("aborting upload %s of %s: %w", u.ID, u.Key, err)
}

// Sweep aborts the uploads of keys with the prefix but for one, whose id may
// be empty: what a crash between beginning an upload and recording its id
// leaves behind. It aborts what it can and returns how many that were. A
// store that does not list uploads to us gives 0 and no error.
func (c *Client) Sweep(ctx context.Context, bucket, account, prefix, keep string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*shortStep)
	defer cancel()
	var n int
	in := &s3.ListMultipartUploadsInput{Bucket: &bucket, Prefix: &prefix, ExpectedBucketOwner: c.ownerOf(account)}
	for {
		out, err := c.owner.ListMultipartUploads(ctx, in, c.in(bucket))
		if s := status(err); s == http.StatusForbidden || s == http.StatusNotFound || s == http.StatusNotImplemented || s == http.StatusMethodNotAllowed {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("listing uploads of bucket %s: %w", bucket, err)
		}
		for _, u := range out.Uploads {
			if key := aws.ToString(u.Key); aws.ToString(u.UploadId) != keep && strings.HasPrefix(key, prefix) {
				if err := c.Abort(ctx, Upload{Object: Object{Bucket: bucket, Key: key, Account: account}, ID: aws.ToString(u.UploadId)}); err != nil {
					return n, err
				}
				n++
			}
		}
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextKeyMarker) == "" {
			return n, nil
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}

// adapt runs a request, and again without what the store does not take: the
// canned ACL (D-25), then If-None-Match. A bucket without ACLs is the place of
// nothing that everybody is to read.
func (c *Client) adapt(o Object, request func(condition *string) error) error {
	for {
		var condition *string
		if !c.noConditions.Load() && !o.replace {
			condition = aws.String("*")
		}
		acl := c.acl(o.Bucket, o.acl)
		err := request(condition)
		switch code(err) {
		case "AccessControlListNotSupported":
			if acl == "" || acl == types.ObjectCannedACLPublicRead {
				return err
			}
			c.dropACL(o.Bucket)
		case "NotImplemented", "InvalidArgument":
			switch {
			case acl != "":
				c.dropACL(o.Bucket)
			case condition != nil && code(err) == "NotImplemented":
				c.noConditions.Store(true)
			default:
				return err
			}
		default:
			return err
		}
	}
}

func (c *Client) dropACL(bucket string) {
	c.mu.Lock()
	c.noACL[bucket] = true
	c.mu.Unlock()
}

// gone marks the answer that an upload does not exist, or not with the parts
// that it was given.
func gone(err error) error {
	switch code(err) {
	case "NoSuchUpload", "InvalidPart":
		return fmt.Errorf("%w: %w", ErrNoUpload, err)
	}
	return err
}

// payload gives the SDK the body's SHA-256, which it would compute once more
// to sign the request.
func payload(sum [32]byte) func(*s3.Options) {
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("PayloadSHA256",
			func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
				return next.HandleInitialize(v4.SetPayloadHash(ctx, hex.EncodeToString(sum[:])), in)
			}), middleware.Before)
	})
}

func (o Object) metadata() map[string]string {
	if o.ReportID == "" {
		return nil
	}
	return map[string]string{reportIDKey: o.ReportID}
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
