package bucket

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// Authorization says who decides whether a CA may write into a bucket.
type Authorization string

// The ways to authorize. It is always an explicit setting: detection would
// fail open (D-14).
const (
	// AuthorizePolicy reads the bucket's policy and evaluates it for the
	// principal acm-pca.amazonaws.com (D-10 to D-13).
	AuthorizePolicy Authorization = "policy"
	// AuthorizeCredentials leaves the decision to the store: what the
	// configured credentials may write is allowed. For stores that cannot hold
	// the statement of the policy.
	AuthorizeCredentials Authorization = "credentials"
)

// Preflight says how a bucket is tried before a report is accepted
// (audit.preflight). It applies to AuthorizePolicy; AuthorizeCredentials
// always tries.
type Preflight string

// The ways to try a bucket.
const (
	PreflightOff   Preflight = "off"   // the policy alone decides
	PreflightHead  Preflight = "head"  // and the bucket must answer HeadBucket with 200
	PreflightWrite Preflight = "write" // and an empty test object is written, and left there (audit-report.md 9.3)
)

// NoACL as Config.ACL sends no canned ACL.
const NoACL = "none"

// Config says where buckets are and how to write into them. One Client serves
// one endpoint, and for the embedded service one CA.
type Config struct {
	// Endpoint is the base URL of an S3-compatible service. Empty: AWS S3 in
	// Region. Ignored when Transport is set.
	Endpoint string
	// Region of the endpoint; default us-east-1.
	Region string
	// Credentials sign the requests. Nil: the SDK's default chain. Not used
	// when Transport is set.
	Credentials aws.CredentialsProvider

	// Transport reaches the embedded bucket service in process. It carries the
	// identity of the service principal acm-pca.amazonaws.com with the source
	// account and source ARN of one CA, so the service itself enforces the
	// bucket's policy on every write.
	Transport http.RoundTripper
	// Owner reaches the embedded bucket service in process as its operator. It
	// does what the service principal may not: reads the bucket's policy and
	// the finished object's size and checksum, aborts uploads, makes buckets.
	// Nil: Transport.
	Owner http.RoundTripper
	// Caller reaches the embedded bucket service in process as whoever wants to
	// see buckets or have one made, so the service itself decides what they may.
	// Nil: Owner; then that is decided before.
	Caller http.RoundTripper

	Authorization Authorization // default AuthorizePolicy
	Preflight     Preflight     // default PreflightWrite
	// UniformParts makes all parts of an upload but the last equally long, for
	// stores that want it (D-21).
	UniformParts bool
	// ACL of the written objects; default bucket-owner-full-control, NoACL
	// sends none.
	ACL string
	// SSE and SSEKMSKeyID are sent with every object when set: AES256, or
	// aws:kms with a key (audit-report.md 10). Default: the bucket decides.
	SSE         string
	SSEKMSKeyID string
	// Retention is how long what is written cannot be deleted or replaced: S3
	// Object Lock, which the bucket must have (D-34). 0: not retained. What is
	// written to be replaced, with Replace, is not retained. The policy of the
	// bucket must also allow s3:PutObjectRetention.
	Retention     time.Duration
	RetentionMode LockMode // default Governance
}

// Client writes into the buckets of one endpoint. Safe for concurrent use.
type Client struct {
	cfg   Config
	name  string     // of the service, for messages
	onAWS bool       // the endpoint is Amazon's
	crc   bool       // the endpoint takes CRC64NVME (D-3)
	s3    *s3.Client // writes
	owner *s3.Client // reads and administers; s3 itself but for the embedded service
	asker *s3.Client // shows and makes buckets; owner itself but for Config.Caller

	// What the endpoint turned out not to take; each costs one request to learn.
	noConditions atomic.Bool // If-None-Match
	mu           sync.Mutex
	noACL        map[string]bool   // by bucket
	regions      map[string]string // by bucket; AWS only
}

// New makes a Client. It does not touch the network, but for the default
// chain of credentials, which may.
func New(cfg Config) (*Client, error) {
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if cfg.ACL == "" {
		cfg.ACL = string(types.ObjectCannedACLBucketOwnerFullControl)
	}
	switch cfg.Authorization {
	case "":
		cfg.Authorization = AuthorizePolicy
	case AuthorizePolicy, AuthorizeCredentials:
	default:
		return nil, fmt.Errorf("authorization %q: it is %q or %q", cfg.Authorization, AuthorizePolicy, AuthorizeCredentials)
	}
	switch cfg.Preflight {
	case "":
		cfg.Preflight = PreflightWrite
	case PreflightOff, PreflightHead, PreflightWrite:
	default:
		return nil, fmt.Errorf("preflight %q: it is %q, %q or %q", cfg.Preflight, PreflightOff, PreflightHead, PreflightWrite)
	}
	var err error
	if cfg.RetentionMode, err = ParseLockMode(string(cfg.RetentionMode)); err != nil {
		return nil, err
	}
	if cfg.Retention < 0 {
		return nil, fmt.Errorf("a retention of %s: it is not negative", cfg.Retention)
	}
	c := &Client{cfg: cfg, noACL: map[string]bool{}, regions: map[string]string{}}

	if cfg.Transport != nil {
		c.name, c.crc = "the embedded bucket service", true
		c.s3 = embedded(cfg.Region, cfg.Transport)
		c.owner = c.s3
		if cfg.Owner != nil {
			c.owner = embedded(cfg.Region, cfg.Owner)
		}
		c.asker = c.owner
		if cfg.Caller != nil {
			c.asker = embedded(cfg.Region, cfg.Caller)
		}
		return c, nil
	}

	c.name, c.onAWS = "Amazon S3", cfg.Endpoint == ""
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("bucket endpoint %q: it is a URL such as https://s3.example.com", cfg.Endpoint)
		}
		c.name = "the bucket service at " + u.Host
		c.onAWS = strings.HasSuffix(u.Hostname(), ".amazonaws.com") || strings.HasSuffix(u.Hostname(), ".amazonaws.com.cn")
	}
	c.crc = c.onAWS
	if cfg.Credentials == nil {
		chain, err := config.LoadDefaultConfig(context.Background(), config.WithRegion(cfg.Region))
		if err != nil {
			return nil, fmt.Errorf("credentials for %s: %w", c.name, err)
		}
		cfg.Credentials = chain.Credentials
	}
	o := s3.Options{
		Region:       cfg.Region,
		Credentials:  cfg.Credentials,
		UsePathStyle: !c.onAWS,
		Retryer:      newRetryer(),
		// The client sends the one checksum that it wants itself; the SDK's own
		// default breaks several stores (D-3).
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		// No time-out over a whole request: Complete may take minutes (D-5).
		HTTPClient: awshttp.NewBuildableClient().WithDialerOptions(func(d *net.Dialer) {
			d.Timeout = 10 * time.Second
		}).WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = 2*MaxParallel + 2 // copies are twice as many
			t.DisableCompression = true
		}),
	}
	if cfg.Endpoint != "" {
		o.BaseEndpoint = aws.String(cfg.Endpoint)
	}
	c.s3 = s3.New(o)
	c.owner, c.asker = c.s3, c.s3
	return c, nil
}

// newRetryer hides a hiccup; what fails longer is the caller's to retry.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = 3, time.Second
	})
}

// embedded is a client whose requests are answered in this process: nothing is
// signed, so nothing is hashed to be signed.
func embedded(region string, t http.RoundTripper) *s3.Client {
	return s3.New(s3.Options{
		Region:                     region,
		BaseEndpoint:               aws.String("https://bucket.internal"), // the name is never looked up
		Credentials:                aws.AnonymousCredentials{},
		UsePathStyle:               true,
		Retryer:                    newRetryer(),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
		HTTPClient:                 &http.Client{Transport: t},
	})
}

// Authorization is how this endpoint's writes are authorized.
func (c *Client) Authorization() Authorization { return c.cfg.Authorization }

// UniformParts tells whether the endpoint wants parts of equal length.
func (c *Client) UniformParts() bool { return c.cfg.UniformParts }

// ownerOf is the ExpectedBucketOwner of requests: on AWS a bucket must belong
// to the CA's account (D-10).
func (c *Client) ownerOf(account string) *string {
	if !c.onAWS || account == "" {
		return nil
	}
	return aws.String(account)
}

// in makes a request go to the region of the bucket.
func (c *Client) in(bucket string) func(*s3.Options) {
	c.mu.Lock()
	region := c.regions[bucket]
	c.mu.Unlock()
	return func(o *s3.Options) {
		if region != "" {
			o.Region = region
		}
	}
}

func (c *Client) setRegion(bucket, region string) {
	if !c.onAWS || region == "" {
		return
	}
	c.mu.Lock()
	c.regions[bucket] = region
	c.mu.Unlock()
}

// acl is the canned ACL of an object that is written into the bucket, given the
// one that it is to have, empty for Config's; empty for none.
func (c *Client) acl(bucket string, own types.ObjectCannedACL) types.ObjectCannedACL {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cfg.ACL == NoACL || c.noACL[bucket] {
		return ""
	}
	if own != "" {
		return own
	}
	return types.ObjectCannedACL(c.cfg.ACL)
}
