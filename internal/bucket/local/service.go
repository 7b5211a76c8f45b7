// Package local is the embedded bucket service: the part of Amazon S3 that
// reports, certificate revocation lists and their readers need, served to the
// unmodified aws CLI and SDKs from one folder.
package local

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"chirograph.dev/internal/iam"
)

// Credentials finds who is behind an access key. The server's identities
// implement it, so that the bucket service and the CA's API know the same people.
// It must be safe for concurrent use.
type Credentials interface {
	// Credential returns the secret and the principal of an access key id.
	// ok is false when there is no such key (or it is switched off).
	Credential(ctx context.Context, accessKeyID string) (secret string, p *iam.Principal, ok bool, err error)
}

// Config says where a Service keeps its objects and whom it knows.
type Config struct {
	// Dir is the folder of the service; it is made when absent. One process
	// at a time.
	Dir string
	// Credentials finds access keys; required for requests over the network.
	Credentials Credentials
	// Region is where CreateBucket without a location puts a bucket; default
	// us-east-1. Signatures for any region are accepted.
	Region string
	// Domain switches on virtual-host addressing (bucket.Domain); empty: path style only.
	Domain string
	// InternalBuckets is the name prefix of the server's own buckets, which
	// only in-process services reach; default "chirograph-internal-".
	InternalBuckets string
	// Log takes background failures and the causes of InternalError answers; default slog.Default.
	Log *slog.Logger
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Service is the bucket service. It is an http.Handler and safe for concurrent use.
type Service struct {
	cfg Config
}

// Open opens or makes the folder of a bucket service.
func Open(cfg Config) (*Service, error) {
	return nil, errors.New("the embedded bucket service is not built yet")
}

// Close ends the background work and closes the folder. Requests must have ended.
func (s *Service) Close() error { return nil }

// ServeHTTP serves one request over the network.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {}

// Transport returns a RoundTripper that serves requests in process on behalf
// of p, without signature checks. The bucket policy is enforced for p.
func (s *Service) Transport(p *iam.Principal) http.RoundTripper { return nil }
