// Package ocsp is the OCSP responder of all CAs (RFC 6960, RFC 5019, RFC 9654).
// It signs with certificates that CAs issue for that alone, which are entries of
// their logs as every certificate is. What it answers is read from the store,
// whose rows are those of the log's entries.
package ocsp

import (
	"context"
	"crypto"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/store"
)

// Records are what the responder reads. store.ErrNotFound when it is not there.
type Records interface {
	CertificateStatus(ctx context.Context, ca string, serial []byte) (*store.Certificate, *store.Revocation, error)
	Certificate(ctx context.Context, ca string, serial []byte) (*store.Certificate, error)
	InstalledCertificate(ctx context.Context, ca string, generation int64) (*store.InstalledCertificate, error)
	// Responders gives the responder certificates of a CA that expire after a
	// time, the newest first.
	Responders(ctx context.Context, ca string, after time.Time) ([]*store.Responder, error)
	// CAs as ca.Records has it.
	CAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error)
}

// Authorities are the CAs; *ca.Service is them.
type Authorities interface {
	Authority(ctx context.Context, id string) (ca.Authority, error)
	// IssueResponder signs a responder certificate for the key r.KeyID, in the
	// name of the installed certificate r.Generation of the CA r.CA (an older one
	// than the newest has another name at times: R-65). r.NotAfter is when it is
	// to end at the latest; the rest of r is set.
	IssueResponder(ctx context.Context, r *store.Responder) (der []byte, err error)
}

// Keys makes, finds and destroys private keys; *keystore.Store is one.
type Keys interface {
	Generate(ctx context.Context, id, algorithm string) (crypto.Signer, error)
	Signer(ctx context.Context, id string) (crypto.Signer, error)
	Delete(ctx context.Context, id string) error
}

// UnknownSerial is the answer about a serial number that a CA never issued.
type UnknownSerial string

// The answers about serial numbers that were never issued.
const (
	Unauthorized UnknownSerial = "unauthorized"
	Unknown      UnknownSerial = "unknown"
	RevokedToo   UnknownSerial = "revoked"
)

// Config is everything a Service needs.
type Config struct {
	Records     Records
	Authorities Authorities
	Keys        Keys

	Validity      time.Duration // of an answer: nextUpdate - thisUpdate; 0: 24 hours
	UnknownSerial UnknownSerial // "": Unauthorized
	CacheBytes    int64         // most of the cache of signed answers; 0: 64 MiB
	Registerer    prometheus.Registerer
	Log           *slog.Logger
	Now           func() time.Time // nil: time.Now
}

// Service answers OCSP requests. It is an http.Handler and safe for concurrent use.
type Service struct {
	cfg Config
}

// New makes a Service that knows all CAs there are. Of cfg, Status needs Records
// and Now alone; to serve and to Run the rest is needed.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{cfg: cfg}, nil
}

// Changed tells of a CA that was made, was loaded or has changed (ca.Config).
func (s *Service) Changed(rec *store.CertificateAuthority) {}

// Revoked tells of a committed revocation (ca.Config): no answer that was made
// before it is given after Revoked returns.
func (s *Service) Revoked(ca string, serial []byte) {}

// Run renews responder certificates and destroys the keys of expired ones until
// ctx ends.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// ServeHTTP answers a request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {}
