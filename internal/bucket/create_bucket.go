package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

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
// do something about them: InvalidArgsException for the name, S3's
// BucketAlreadyOwnedByYou and BucketAlreadyExists for one that is taken,
// AccessDeniedException when Config.Caller may not, RequestFailedException for
// the store.
func (c *Client) CreateBucket(ctx context.Context, r CreateBucketRequest) error {
	if err := CheckName(r.Bucket); err != nil {
		return err
	}
	err := c.create(ctx, c.asker, r.Bucket, c.cfg.Retention > 0)
	switch code(err) {
	case codeTaken:
		return &pca.Error{Code: codeTaken, Message: fmt.Sprintf("A bucket named %s exists already and belongs to another account. Names are shared by all accounts: choose another name.", r.Bucket), Err: err}
	case codeOwned:
		return &pca.Error{Code: codeOwned, Message: fmt.Sprintf("A bucket named %s exists already. Choose another name, or choose the existing bucket.", r.Bucket), Err: err}
	case "InvalidBucketName":
		return &pca.Error{Code: pca.InvalidArgsException, Message: fmt.Sprintf("%s does not take the name %s. Choose another name.", c.name, r.Bucket), Err: err}
	}
	if err != nil {
		return c.notMade("creating bucket", r.Bucket, err)
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

// Codes of S3 for a name that is taken.
const (
	codeTaken = "BucketAlreadyExists"
	codeOwned = "BucketAlreadyOwnedByYou"
)

// notMade is the answer when a bucket cannot be made: what Config.Caller may
// not is told as the service tells it.
func (c *Client) notMade(doing, bucket string, err error) error {
	var api smithy.APIError
	if c.cfg.Caller != nil && status(err) == http.StatusForbidden && errors.As(err, &api) {
		return &pca.Error{Code: pca.AccessDeniedException, Message: api.ErrorMessage(), Err: fmt.Errorf("%s %s: %w", doing, bucket, err)}
	}
	return c.unreachable(doing, bucket, err)
}

// create makes a bucket as who, locked: with Object Lock.
func (c *Client) create(ctx context.Context, who *s3.Client, bucket string, locked bool) error {
	in := &s3.CreateBucketInput{Bucket: &bucket, ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}
	if locked {
		in.ObjectLockEnabledForBucket = aws.Bool(true)
	}
	if c.cfg.Region != "us-east-1" {
		in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(c.cfg.Region)}
	}
	_, err := who.CreateBucket(ctx, in)
	if tolerated(err) || code(err) == "InvalidArgument" {
		in.ObjectOwnership = ""
		_, err = who.CreateBucket(ctx, in)
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
	return c.attach(ctx, r)
}

// AttachPolicy attaches the policy of PolicyFor for the account to a bucket that
// has none, and never takes the place of one: that is a ValidationException.
// Another error that somebody can do something about is an
// AccessDeniedException when Config.Caller may not look for a policy or attach
// one, a ResourceNotFoundException, or a RequestFailedException for the store.
func (c *Client) AttachPolicy(ctx context.Context, r CreateBucketRequest) error {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	if err := CheckName(r.Bucket); err != nil {
		return err
	}
	if c.cfg.Authorization == AuthorizeCredentials {
		return pca.Errorf(pca.ValidationException, "%s decides by its own access control who may write. No bucket policy is needed there.", c.name)
	}
	_, err := c.asker.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &r.Bucket, ExpectedBucketOwner: c.ownerOf(r.Account)}, c.in(r.Bucket))
	switch code(err) {
	case "NoSuchBucketPolicy":
		return c.attach(ctx, r)
	case "NoSuchBucket":
		return c.missing(r.Bucket, err)
	}
	if err != nil {
		return c.notShown("reading the policy of bucket "+r.Bucket, err)
	}
	return pca.Errorf(pca.ValidationException, "The bucket %s has a policy, and it is not replaced. Add the statements that the private CA needs to it yourself, or choose another bucket.", r.Bucket)
}

func (c *Client) attach(ctx context.Context, r CreateBucketRequest) error {
	policy := string(c.policyFor(partition(r.CAARN), r.Bucket, r.Account))
	_, err := c.asker.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &r.Bucket, Policy: &policy, ExpectedBucketOwner: c.ownerOf(r.Account)}, c.in(r.Bucket))
	if s := status(err); err != nil && !c.onAWS && (s == http.StatusBadRequest || tolerated(err)) {
		return &pca.Error{
			Code:    pca.RequestFailedException,
			Message: fmt.Sprintf("%s cannot hold a bucket policy for the service %s. Nothing was changed. Configure this endpoint with authorization: credentials, and its own access control decides who may write.", c.name, ServicePrincipal),
			Err:     err,
		}
	}
	if err != nil {
		return c.notMade("attaching the policy to", r.Bucket, err)
	}
	if _, err = c.owner.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &r.Bucket}, c.in(r.Bucket)); err != nil {
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
