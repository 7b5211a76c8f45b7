package bucket

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// ErrNoObject says that the bucket has no object with the key.
var ErrNoObject = errors.New("no such object")

// ErrTooLong says that an object is longer than was asked for.
var ErrTooLong = errors.New("the object is too long")

// ErrLocked says that Object Lock keeps the object that was to be replaced.
var ErrLocked = errors.New("Object Lock keeps the object that is there")

// LockMode says who may end a retention early (destination.md D-34).
type LockMode string

// The modes of S3 Object Lock.
const (
	Governance LockMode = "GOVERNANCE" // who has s3:BypassGovernanceRetention
	Compliance LockMode = "COMPLIANCE" // nobody
)

// ParseLockMode reads a mode; an empty one is Governance.
func ParseLockMode(s string) (LockMode, error) {
	switch m := LockMode(s); m {
	case "":
		return Governance, nil
	case Governance, Compliance:
		return m, nil
	}
	return "", fmt.Errorf("retention mode %q: it is %s or %s", s, Governance, Compliance)
}

// retain gives an upload that begins now the retention of Config. Objects that
// are to be replaced get none: they would stay as they are.
func (c *Client) retain(o Object) (mode types.ObjectLockMode, until *time.Time) {
	if c.cfg.Retention <= 0 || o.replace {
		return "", nil
	}
	return types.ObjectLockMode(c.cfg.RetentionMode), aws.Time(time.Now().Add(c.cfg.Retention).UTC().Truncate(time.Second))
}

// bodyMD5 is the checksum that stores ask for with what is retained, where
// none of ours is sent; nil otherwise.
func (c *Client) bodyMD5(body []byte) *string {
	if c.crc || c.cfg.Retention <= 0 {
		return nil
	}
	sum := md5.Sum(body)
	return aws.String(base64.StdEncoding.EncodeToString(sum[:]))
}

// Retain gives an object that is in the bucket, and was written with Replace,
// the retention of Config from now on. Without one it does nothing.
func (c *Client) Retain(ctx context.Context, o Object) error {
	o.replace = false
	mode, until := c.retain(o)
	if until == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	in := &s3.PutObjectRetentionInput{
		Bucket: &o.Bucket, Key: &o.Key, ExpectedBucketOwner: c.ownerOf(o.Account),
		Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(mode), RetainUntilDate: until},
	}
	_, err := c.owner.PutObjectRetention(ctx, in, c.in(o.Bucket))
	if status(err) == http.StatusForbidden {
		// The bucket's own default may retain it for longer, which we cannot shorten.
		if out, herr := c.head(ctx, o); herr == nil && !aws.ToTime(out.ObjectLockRetainUntilDate).Before(*until) {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("retaining %s: %w", o.Key, err)
	}
	return nil
}

func (c *Client) head(ctx context.Context, o Object) (*s3.HeadObjectOutput, error) {
	return c.owner.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &o.Bucket, Key: &o.Key, ExpectedBucketOwner: c.ownerOf(o.Account), ChecksumMode: types.ChecksumModeEnabled}, c.in(o.Bucket))
}

// lockedAs looks behind the refusal to replace an object: it may be a lock, and
// then what is there may be what was to be written.
func (c *Client) lockedAs(ctx context.Context, o Object, body []byte, refusal error) (same bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	out, err := c.head(ctx, o)
	if err != nil || out.ObjectLockMode == "" && out.ObjectLockLegalHoldStatus != types.ObjectLockLegalHoldStatusOn {
		return false, refusal
	}
	if aws.ToString(out.ChecksumCRC64NVME) == Checksum(body) && aws.ToInt64(out.ContentLength) == int64(len(body)) {
		return true, nil
	}
	return false, fmt.Errorf("%w: %w", ErrLocked, refusal)
}

// checkObjectLock refuses a bucket that cannot retain what Config wants
// retained. A store that does not tell is left to answer the write.
func (c *Client) checkObjectLock(ctx context.Context, r GateRequest) error {
	if c.cfg.Retention <= 0 || !r.Try || r.crl {
		return nil
	}
	_, err := c.owner.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &r.Bucket, ExpectedBucketOwner: c.ownerOf(r.Account)}, c.in(r.Bucket))
	if code(err) == "ObjectLockConfigurationNotFoundError" {
		return c.refused(r, "it has no Object Lock, which a bucket gets when it is made, and this server is to retain reports", err)
	}
	return nil
}

// Read returns an object of at most limit bytes, ErrTooLong or ErrNoObject. version names
// one of several that a bucket keeps; empty is the newest.
func (c *Client) Read(ctx context.Context, bucket, account, key, version string, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	out, err := c.owner.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: optional(version), ExpectedBucketOwner: c.ownerOf(account)}, c.in(bucket))
	switch {
	case status(err) == http.StatusNotFound:
		return nil, fmt.Errorf("reading %s of bucket %s: %w: %w", key, bucket, ErrNoObject, err)
	case err != nil:
		return nil, fmt.Errorf("reading %s of bucket %s: %w", key, bucket, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s of bucket %s: %w", key, bucket, err)
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("reading %s of bucket %s: %w", key, bucket, ErrTooLong)
	}
	return b, nil
}

// Versions calls yield for every version of the keys that begin with prefix,
// in the order of the keys, newest first, also where a deletion hides them:
// under Object Lock the oldest is the one that nobody could replace. A store
// without versions gives each key once, with an empty version.
func (c *Client) Versions(ctx context.Context, bucket, account, prefix string, yield func(key, version string) error) error {
	in := &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix, ExpectedBucketOwner: c.ownerOf(account)}
	for {
		out, err := c.versionsPage(ctx, in)
		switch status(err) {
		case http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusBadRequest:
			return c.List(ctx, bucket, account, prefix, func(key string) error { return yield(key, "") })
		}
		if err != nil {
			return fmt.Errorf("listing the versions of %s in bucket %s: %w", prefix, bucket, err)
		}
		for _, v := range out.Versions {
			version := aws.ToString(v.VersionId)
			if version == "null" { // of a bucket without versions
				version = ""
			}
			if err := yield(aws.ToString(v.Key), version); err != nil {
				return err
			}
		}
		if !aws.ToBool(out.IsTruncated) || aws.ToString(out.NextKeyMarker) == "" {
			return nil
		}
		in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
	}
}

func (c *Client) versionsPage(ctx context.Context, in *s3.ListObjectVersionsInput) (*s3.ListObjectVersionsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	return c.owner.ListObjectVersions(ctx, in, c.in(*in.Bucket))
}
