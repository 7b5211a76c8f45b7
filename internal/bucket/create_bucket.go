package bucket

import (
	"context"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chirograph.dev/internal/pca"
)

// CreateBucketRequest asks for a new bucket that a CA may write reports into.
type CreateBucketRequest struct {
	Bucket  string
	Account string // the policy allows CAs of this account
	CAARN   string // for the partition; may be empty
}

// CreateBucket makes a private bucket with the policy of PolicyFor for the
// account attached, and reads the policy back (D-16). A bucket that cannot
// hold the policy is removed again. Errors are *pca.Error when the caller can
// do something about them: InvalidArgsException for the name,
// RequestFailedException for the store.
func (c *Client) CreateBucket(ctx context.Context, r CreateBucketRequest) error {
	if err := CheckName(r.Bucket); err != nil {
		return err
	}
	err := c.create(ctx, r.Bucket, c.cfg.Retention > 0)
	switch code(err) {
	case "":
	case "BucketAlreadyExists", "BucketAlreadyOwnedByYou":
		return &pca.Error{Code: pca.InvalidArgsException, Message: fmt.Sprintf("A bucket named %s exists already. Choose another name, or choose the existing bucket.", r.Bucket), Err: err}
	}
	if err != nil {
		return c.unreachable("creating bucket", r.Bucket, err)
	}
	if err := c.secure(ctx, r); err != nil {
		// A bucket without its policy serves nobody; the name becomes free again.
		if _, derr := c.owner.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: &r.Bucket}); derr != nil {
			return fmt.Errorf("%w (and the bucket could not be removed: %w)", err, derr)
		}
		return err
	}
	return nil
}

// create makes a bucket, locked: with Object Lock.
func (c *Client) create(ctx context.Context, bucket string, locked bool) error {
	in := &s3.CreateBucketInput{Bucket: &bucket, ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}
	if locked {
		in.ObjectLockEnabledForBucket = aws.Bool(true)
	}
	if c.cfg.Region != "us-east-1" {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(c.cfg.Region)}
	}
	_, err := c.owner.CreateBucket(ctx, in)
	if tolerated(err) || code(err) == "InvalidArgument" {
		in.ObjectOwnership = ""
		_, err = c.owner.CreateBucket(ctx, in)
	}
	return err
}

// secure blocks public access and attaches the policy.
func (c *Client) secure(ctx context.Context, r CreateBucketRequest) error {
	if err := c.blockPublic(ctx, r.Bucket); err != nil {
		return err
	}
	if c.cfg.Authorization == AuthorizeCredentials {
		return nil // the store holds no such policy; its own access control decides
	}
	policy := string(c.policyFor(partition(r.CAARN), r.Bucket, r.Account))
	_, err := c.owner.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &r.Bucket, Policy: &policy})
	if s := status(err); err != nil && !c.onAWS && (s == http.StatusBadRequest || tolerated(err)) {
		return &pca.Error{
			Code:    pca.RequestFailedException,
			Message: fmt.Sprintf("%s cannot hold a bucket policy for the service %s. Nothing was created. Configure this endpoint with authorization: credentials, and its own access control decides who may write.", c.name, ServicePrincipal),
			Err:     err,
		}
	}
	if err != nil {
		return c.unreachable("attaching the policy to", r.Bucket, err)
	}
	if _, err = c.owner.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &r.Bucket}); err != nil {
		return c.unreachable("reading back the policy of", r.Bucket, err)
	}
	return nil
}

func (c *Client) blockPublic(ctx context.Context, bucket string) error {
	_, err := c.owner.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{
		Bucket: &bucket,
		PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
			BlockPublicAcls: aws.Bool(true), IgnorePublicAcls: aws.Bool(true),
			BlockPublicPolicy: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true),
		},
	})
	if err != nil && (c.onAWS || !tolerated(err)) {
		return c.unreachable("blocking public access to", bucket, err)
	}
	return nil
}

// tolerated tells that a store does not know an operation.
func tolerated(err error) bool {
	s := status(err)
	return s == http.StatusNotImplemented || s == http.StatusMethodNotAllowed
}
