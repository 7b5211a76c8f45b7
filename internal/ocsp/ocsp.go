// Package ocsp is the OCSP responder of all CAs (RFC 6960, RFC 5019, RFC 9654).
// It signs with certificates that CAs issue for that alone, which are entries of
// their logs as every certificate is. What it answers is read from the store,
// whose rows are those of the log's entries.
package ocsp

import (
	"context"
	"crypto"
	"log/slog"
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
	// IssueResponder signs a responder certificate for the key with the id.
	IssueResponder(ctx context.Context, id, keyID string, notAfter time.Time) (*store.Responder, []byte, error)
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
