package bucket

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

// ServicePrincipal is who a bucket's policy must allow to write.
const ServicePrincipal = "acm-pca.amazonaws.com"

// testKey is the object that is written to try a bucket, as AWS does
// (audit-report.md 9.3, revocation.md 3).
func testKey(acl types.ObjectCannedACL) string {
	if acl == types.ObjectCannedACLPublicRead {
		return "acm-pca-permission-test-key"
	}
	return "acm-pca-permission-test-key-private"
}

// GateRequest asks whether a CA may write one object and what goes with it.
type GateRequest struct {
	Bucket  string
	Key     string
	Beside  []string // keys of further objects that go with it, which it may write too
	CAARN   string
	Account string // the CA's owner
	// Try also tries the bucket as Config.Preflight says, or, with
	// AuthorizeCredentials, by a multipart upload that is aborted. Set when a
	// report is asked for; not when the gate is passed again before Complete.
	Try bool

	crl bool                  // not a report; see GateCRL
	acl types.ObjectCannedACL // of the objects; empty: Config.ACL
}

// GateDecision is why the gate let a request pass; it goes into the report's
// manifest (D-13).
type GateDecision struct {
	Authorization Authorization
	PolicySHA256  []byte // of the policy's text; nil with AuthorizeCredentials
}

// Gate returns nil when the CA may write the object now. Its errors are
// *pca.Error: ResourceNotFoundException for a bucket that is not there,
// ValidationException for a refusal, RequestFailedException when the store
// cannot be asked, which alone is Temporary.
func (c *Client) Gate(ctx context.Context, r GateRequest) (*GateDecision, error) {
	head, err := c.find(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := c.checkObjectLock(ctx, r); err != nil {
		return nil, err
	}
	d := &GateDecision{Authorization: c.cfg.Authorization}
	if c.cfg.Authorization == AuthorizeCredentials {
		switch {
		case r.Try && r.crl:
			err = c.tryWrite(ctx, r)
		case r.Try:
			err = c.probe(ctx, r)
		}
		return d, err
	}
	if d.PolicySHA256, err = c.checkPolicy(ctx, r); err != nil {
		return nil, err
	}
	if !r.Try || c.cfg.Preflight == PreflightOff {
		return d, nil
	}
	if head != nil {
		// The bucket is there, but does not say so to us; only off is less than that.
		if c.cfg.Preflight == PreflightHead {
			return nil, c.refused(r, fmt.Sprintf("%s refuses HeadBucket to this server (%s)", c.name, answerOf(head)), head)
		}
	}
	if c.cfg.Preflight == PreflightWrite {
		return d, c.tryWrite(ctx, r)
	}
	return d, nil
}

// find looks for the bucket and, on AWS, learns its region (D-10). forbidden
// is the answer of a bucket that exists and does not let us look; that alone
// decides nothing.
func (c *Client) find(ctx context.Context, r GateRequest) (forbidden, err error) {
	in := &s3.HeadBucketInput{Bucket: &r.Bucket, ExpectedBucketOwner: c.ownerOf(r.Account)}
	for range 2 {
		var out *s3.HeadBucketOutput
		out, err = c.owner.HeadBucket(ctx, in, c.in(r.Bucket))
		if err == nil {
			c.setRegion(r.Bucket, aws.ToString(out.BucketRegion))
			return nil, nil
		}
		// A bucket of another region names it in a header; follow once.
		var re *awshttp.ResponseError
		s := status(err)
		if !c.onAWS || s != http.StatusMovedPermanently && s != http.StatusBadRequest && s != http.StatusTemporaryRedirect ||
			!errors.As(err, &re) || re.Response == nil || re.Response.Header.Get("X-Amz-Bucket-Region") == "" {
			break
		}
		c.setRegion(r.Bucket, re.Response.Header.Get("X-Amz-Bucket-Region"))
	}
	switch s := status(err); {
	case s == http.StatusNotFound || s == http.StatusForbidden:
		// An answer to HEAD has no code: a bucket that does not exist, wrong
		// credentials and a refusal look alike in some stores. GetBucketLocation
		// tells them apart, and is one of the four actions of the policy.
		_, lerr := c.s3.GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: &r.Bucket, ExpectedBucketOwner: c.ownerOf(r.Account)}, c.in(r.Bucket))
		switch what := code(lerr); {
		case what == "NoSuchBucket", s == http.StatusNotFound && lerr != nil && (what == "" || what == "NotFound"):
			return nil, c.missing(r.Bucket, err)
		case s == http.StatusNotFound && lerr != nil, what == "InvalidAccessKeyId", what == "SignatureDoesNotMatch":
			return nil, c.refused(r, fmt.Sprintf("%s does not accept the credentials of this server (%s)", c.name, what), lerr)
		case c.onAWS && status(lerr) == http.StatusForbidden:
			return nil, c.refused(r, fmt.Sprintf("the bucket does not belong to account %s, or refuses this server", r.Account), lerr)
		}
		return err, nil
	case s == http.StatusNotImplemented || s == http.StatusMethodNotAllowed:
		return err, nil
	}
	return nil, c.unreachable("looking for bucket", r.Bucket, err)
}

// checkPolicy reads the bucket's policy and evaluates it as AWS would for the
// service (D-11, D-12).
func (c *Client) checkPolicy(ctx context.Context, r GateRequest) (sum []byte, err error) {
	out, err := c.owner.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: &r.Bucket, ExpectedBucketOwner: c.ownerOf(r.Account)}, c.in(r.Bucket))
	if err != nil {
		switch s := status(err); {
		case code(err) == "NoSuchBucketPolicy":
			return nil, c.refused(r, "it has no bucket policy", err)
		case s == http.StatusNotFound:
			return nil, c.missing(r.Bucket, err)
		case s == http.StatusForbidden:
			return nil, c.refused(r, "the credentials of this server may not read the bucket's policy; allow them s3:GetBucketPolicy", err)
		case s == http.StatusNotImplemented || s == http.StatusMethodNotAllowed:
			return nil, c.refused(r, c.name+" has no bucket policies; if its own access control is to decide, configure it with authorization: credentials", err)
		}
		return nil, c.unreachable("reading the policy", r.Bucket, err)
	}
	text := []byte(aws.ToString(out.Policy))
	policy, err := iam.ParseResourcePolicy(text)
	if err != nil {
		return nil, c.refused(r, "its bucket policy cannot be read ("+err.Error()+")", err)
	}
	bucketARN := "arn:" + partition(r.CAARN) + ":s3:::" + r.Bucket
	type access struct{ action, resource string }
	var wanted []access
	for _, key := range append([]string{r.Key}, r.Beside...) {
		wanted = append(wanted, access{"s3:PutObject", bucketARN + "/" + key}, access{"s3:PutObjectAcl", bucketARN + "/" + key})
		if c.cfg.Retention > 0 && !r.crl {
			wanted = append(wanted, access{putRetention, bucketARN + "/" + key})
		}
	}
	wanted = append(wanted, access{"s3:GetBucketAcl", bucketARN}, access{"s3:GetBucketLocation", bucketARN})
	for _, want := range wanted {
		switch policy.Evaluate(&iam.Request{
			Principal: Principal(r.Account, r.CAARN),
			Action:    want.action, Resource: want.resource,
			Context: c.conditionKeys(r, want.action),
		}) {
		case iam.Allow:
		case iam.ExplicitDeny:
			return nil, c.refused(r, fmt.Sprintf("its bucket policy denies %s %s on %s", ServicePrincipal, want.action, want.resource), nil)
		default:
			return nil, c.refused(r, fmt.Sprintf("its bucket policy does not allow %s %s on %s", ServicePrincipal, want.action, want.resource), nil)
		}
	}
	h := sha256.Sum256(text)
	return h[:], nil
}

// Principal is the identity that a CA's reports are written with: the service
// principal acm-pca.amazonaws.com on behalf of the CA. The Transport to the
// embedded bucket service carries it.
func Principal(account, caARN string) *iam.Principal {
	return &iam.Principal{
		Service: ServicePrincipal,
		Context: map[string][]string{
			"aws:SourceAccount":         {account},
			"aws:SourceArn":             {caARN},
			"aws:PrincipalIsAWSService": {"true"},
			"aws:PrincipalServiceName":  {ServicePrincipal},
		},
	}
}

// conditionKeys are the keys of D-12 that a request carries; a key that is not
// here is absent.
func (c *Client) conditionKeys(r GateRequest, action string) map[string][]string {
	keys := map[string][]string{
		"aws:SecureTransport": {fmt.Sprint(c.cfg.Transport != nil || !strings.HasPrefix(strings.ToLower(c.cfg.Endpoint), "http://"))},
	}
	if !strings.HasPrefix(action, "s3:PutObject") {
		return keys
	}
	if acl := c.acl(r.Bucket, r.acl); acl != "" {
		keys["s3:x-amz-acl"] = []string{string(acl)}
	}
	if c.cfg.SSE != "" {
		keys["s3:x-amz-server-side-encryption"] = []string{c.cfg.SSE}
	}
	if c.cfg.SSEKMSKeyID != "" {
		keys["s3:x-amz-server-side-encryption-aws-kms-key-id"] = []string{c.cfg.SSEKMSKeyID}
	}
	return keys
}

// tryWrite writes the test object with the settings of what is to be written,
// and leaves it.
// One that the bucket's own retention keeps from being written again was
// written before, and shows that it can be.
func (c *Client) tryWrite(ctx context.Context, r GateRequest) error {
	o := Object{Bucket: r.Bucket, Key: testKey(r.acl), Account: r.Account, ContentType: "application/octet-stream", acl: r.acl, replace: true}
	err := c.putObject(ctx, o, nil, sha256.Sum256(nil), new(Stored))
	if status(err) == http.StatusForbidden {
		o.replace = false
		if again := c.putObject(ctx, o, nil, sha256.Sum256(nil), new(Stored)); status(again) == http.StatusPreconditionFailed {
			err = nil
		}
	}
	return c.tried(r, "writing the test object "+o.Key, err)
}

// probe begins an upload and aborts it: the store's own access control decides (D-14).
func (c *Client) probe(ctx context.Context, r GateRequest) error {
	u, err := c.CreateUpload(ctx, Object{Bucket: r.Bucket, Key: r.Key, Account: r.Account, ContentType: "application/octet-stream"})
	if err == nil {
		// What cannot be aborted is invisible; Sweep tries again.
		_ = c.Abort(ctx, u)
	}
	return c.tried(r, "beginning an upload of "+r.Key, err)
}

func (c *Client) tried(r GateRequest, doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case code(err) == "NoSuchBucket":
		return c.missing(r.Bucket, err)
	case Temporary(err):
		return c.unreachable(doing, r.Bucket, err)
	}
	return c.refused(r, fmt.Sprintf("%s was refused by %s (%s)", doing, c.name, answerOf(err)), err)
}

func answerOf(err error) string {
	if s := code(err); s != "" {
		return s
	}
	return http.StatusText(status(err))
}

// refused is the answer for a bucket that the CA may not write (D-13). It says
// what is missing and what to attach.
func (c *Client) refused(r GateRequest, why string, err error) error {
	return &pca.Error{
		Code:    pca.ValidationException,
		Message: fmt.Sprintf("The audit report cannot be written to S3 bucket %s: %s. %s %s", r.Bucket, why, c.remedy(r), checkPermissions),
		Err:     &refusal{why, err},
	}
}

// remedy says what lets a CA write.
func (c *Client) remedy(r GateRequest) string {
	if c.cfg.Authorization == AuthorizePolicy {
		return "A policy that works: " + string(bytes.TrimSpace(compact(c.policyFor(partition(r.CAARN), r.Bucket, r.Account)))) + "."
	}
	return fmt.Sprintf("Allow the credentials of this server s3:PutObject, s3:AbortMultipartUpload and s3:GetBucketLocation on %s.", r.Bucket)
}

// refusal is why a bucket was refused, without the remedy.
type refusal struct {
	why string
	err error // the store's answer; may be nil
}

func (r *refusal) Error() string {
	if r.err != nil {
		return r.err.Error()
	}
	return r.why
}

func (r *refusal) Unwrap() error { return r.err }
