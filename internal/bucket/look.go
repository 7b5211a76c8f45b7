package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"chirograph.dev/internal/pca"
)

// Listed is a bucket of a list.
type Listed struct {
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`
}

// Buckets gives the buckets that there are: those of Config.Caller's account, or
// of whose the credentials are. The error is an AccessDeniedException when
// Config.Caller may not.
func (c *Client) Buckets(ctx context.Context) ([]Listed, error) {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	var all []Listed
	pages := s3.NewListBucketsPaginator(c.asker, &s3.ListBucketsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, c.notShown("listing the buckets", err)
		}
		for _, b := range page.Buckets {
			all = append(all, Listed{aws.ToString(b.Name), aws.ToTime(b.CreationDate).UTC()})
		}
	}
	return all, nil
}

// Access is how a bucket stands to the reports of a CA.
type Access struct {
	Exists  bool   `json:"exists"`
	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason"` // in words, why not; or by what it is
	Policy  string `json:"policy"` // the bucket's own; empty for none, and where the store keeps none
	Needed  string `json:"needed"` // a policy that works; empty with AuthorizeCredentials
}

// Look tells what Gate would say, without trying the bucket, and shows the
// bucket's policy. The error is an AccessDeniedException when Config.Caller
// may not see it.
func (c *Client) Look(ctx context.Context, r GateRequest) (Access, error) {
	ctx, cancel := context.WithTimeout(ctx, shortStep)
	defer cancel()
	var a Access
	if err := CheckName(r.Bucket); err != nil {
		return a, err
	}
	if c.cfg.Authorization == AuthorizePolicy {
		a.Needed = string(c.policyFor(partition(r.CAARN), r.Bucket, r.Account))
	}
	absent := fmt.Sprintf("There is no bucket %s in %s.", r.Bucket, c.name)
	out, err := c.asker.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &r.Bucket, ExpectedBucketOwner: c.ownerOf(r.Account)}, c.in(r.Bucket))
	switch {
	case err == nil:
		a.Policy = aws.ToString(out.Policy)
	case code(err) == "NoSuchBucket":
		a.Reason = absent
		return a, nil
	case code(err) == "NoSuchBucketPolicy", c.cfg.Caller == nil: // what else is wrong Gate says
	default:
		return a, c.notShown("reading the policy of bucket "+r.Bucket, err)
	}
	r.Try = false
	_, err = c.Gate(ctx, r)
	var refused *pca.Error
	var why *refusal
	switch {
	case err == nil:
		a.Exists, a.Allowed, a.Reason = true, true, "The bucket's policy lets the certificate authority write its audit reports."
		if c.cfg.Authorization == AuthorizeCredentials {
			a.Reason = fmt.Sprintf("%s decides by its own access control whether this server's credentials may write. It is asked when a report is created; no bucket policy is needed.", c.name)
		}
	case errors.As(err, &why):
		a.Exists, a.Reason = true, sentence(why.why)
	case !errors.As(err, &refused):
		return a, err
	case refused.Code == pca.ResourceNotFoundException:
		a.Reason = absent
	default:
		return a, err
	}
	return a, nil
}

// sentence makes a sentence of a clause.
func sentence(clause string) string {
	return strings.ToUpper(clause[:1]) + clause[1:] + "."
}

// notShown is the answer when buckets cannot be shown.
func (c *Client) notShown(doing string, err error) error {
	var api smithy.APIError
	if status(err) == http.StatusForbidden && errors.As(err, &api) {
		return &pca.Error{Code: pca.AccessDeniedException, Message: api.ErrorMessage(), Err: fmt.Errorf("%s: %w", doing, err)}
	}
	why := "it did not answer"
	if errors.As(err, &api) {
		why = "it answered " + answer(api)
	}
	return &pca.Error{
		Code:    pca.RequestFailedException,
		Message: fmt.Sprintf("%s does not tell about its buckets: %s. Try again, and if it stays so check the bucket endpoint of this server.", c.name, why),
		Err:     fmt.Errorf("%s: %w", doing, err),
	}
}
