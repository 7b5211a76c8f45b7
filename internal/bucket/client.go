package bucket

import (
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
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

// Preflight says how a bucket is tried before a report is accepted (audit.preflight).
type Preflight string

// The ways to try a bucket.
const (
	PreflightOff   Preflight = "off"   // the policy alone decides
	PreflightHead  Preflight = "head"  // and the bucket must answer
	PreflightWrite Preflight = "write" // and an empty test object is written, and left there (audit-report.md 9.3)
)

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
	// reads what the service principal may not: the bucket's policy, and the
	// finished object's size and checksum. Nil: Transport.
	Owner http.RoundTripper

	Authorization Authorization // default AuthorizePolicy
	Preflight     Preflight     // default PreflightWrite
	// UniformParts makes all parts of an upload but the last equally long, for
	// stores that want it (D-21).
	UniformParts bool
	// ACL of the written objects; default bucket-owner-full-control, "none"
	// sends none.
	ACL string
	// SSE and SSEKMSKeyID are sent with every object when set: AES256, or
	// aws:kms with a key (audit-report.md 10). Default: the bucket decides.
	SSE         string
	SSEKMSKeyID string
}

// Client writes into the buckets of one endpoint. Safe for concurrent use.
type Client struct {
	cfg   Config
	s3    *s3.Client
	owner *s3.Client // reads; same as s3 but for the embedded service
}

// New makes a Client. It does not touch the network.
func New(cfg Config) (*Client, error) { return &Client{cfg: cfg}, nil }
