// Package crl makes the certificate revocation lists of CAs (RFC 5280 5) and
// writes them to buckets: complete and partitioned ones, and delta CRLs. It
// follows the logs: a CRL is a reading of the first Covered entries of one, and
// an entry of it before anybody sees it.
//
// A revocation never waits for a list: what cannot be made or written is
// recorded, reported and tried again.
package crl

import (
	"context"
	"crypto"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

// Records keeps the lists. store.ErrNotFound when it is not there; what
// returns nil is durable.
type Records interface {
	// AddCRLs adds lists and changes others as UpdateCRL does, in one
	// transaction. Of a list whose Version moved, and of an ID that is taken, it
	// is store.ErrConflict.
	AddCRLs(ctx context.Context, add, change []*store.CRL) error
	CRL(ctx context.Context, ca string, id int64) (*store.CRL, error)
	// CRLs gives the lists of a CA by ID, those after the given one.
	CRLs(ctx context.Context, ca string, after int64, limit int) ([]*store.CRL, error)
	// DueCRLs gives active lists whose Due is not after now, the earliest first.
	DueCRLs(ctx context.Context, now time.Time, limit int) ([]*store.CRL, error)
	// UpdateCRL stores all but the place, the URI and what rows of certificates
	// and revocations keep; store.ErrConflict when Version moved. Due becomes
	// earlier by itself when a revocation came that the caller did not know of
	// (RevokeIndex).
	UpdateCRL(ctx context.Context, c *store.CRL) error
}

// Revocations reads what is revoked.
type Revocations interface {
	// Revoked calls yield for the revoked certificates that a list is to have,
	// newest revocation first: those bound to crl, or of all when it is 0, whose
	// revoke entry is in [lo, hi). What yield gets is valid during the call.
	Revoked(ctx context.Context, ca string, crl int64, lo, hi uint64, yield func(r *store.Revoked) error) error
	// PruneRevoked forgets, for Revoked alone, certificates that expired before.
	PruneRevoked(ctx context.Context, ca string, before time.Time) error
	// RestoreRevoked undoes PruneRevoked.
	RestoreRevoked(ctx context.Context, ca string) error
	LogHead(ctx context.Context, ca string) (certlog.Head, error)
}

// Authorities are the CAs; *ca.Service is them.
type Authorities interface {
	Authority(ctx context.Context, id string) (ca.Authority, error)
	UseKey(ctx context.Context, id string, sign func(a ca.Authority, key crypto.Signer) (certlog.Record, error)) (uint64, error)
}

// Config is everything a Service needs.
type Config struct {
	// Dir keeps the newest of every list as a file, named by its place (FileName):
	// what is written to a bucket again after a crash, and what Mirror serves.
	Dir         string
	Records     Records
	Revocations Revocations
	Authorities Authorities
	// Destination is the client for the buckets that a CA's lists go to.
	Destination func(ctx context.Context, account, caARN string) (*bucket.Client, error)
	// URL gives the URI of an object that a CA without a CustomCname has in a
	// bucket; private says that its ACL lets nobody read it. The key is escaped
	// already, as the path of a URI has it.
	URL func(bucket, key string, private bool) string
	// Find gives the ARN and the account of the CA with an id, whoever owns it, for
	// Route; gone: ResourceNotFoundException.
	Find func(ctx context.Context, id string) (arn, account string, err error)
	// CAs gives all CAs by time of creation and ID, those after the given ones; of
	// all accounts when account is empty.
	CAs func(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error)

	Partition, Region string // of ARNs

	Delay         time.Duration // from a revocation to its list, at least
	PartitionSize int64         // certificates bound to a partition; 0: DefaultPartitionSize
	Deltas        bool          // delta CRLs between complete ones
	Retry         time.Duration // after a failure; 0: 15 minutes (revocation.md 4.1)
	Registerer    prometheus.Registerer
	Log           *slog.Logger
	Now           func() time.Time // nil: time.Now
}

// DefaultPartitionSize keeps a partition below 1 MB when all of its certificates
// are revoked: 49 bytes each with a serial number of 16 octets and a reason.
const DefaultPartitionSize = 20000

// PathPrefix is the path below which every CA has the routes of Route, and
// ActionPublish the action of having lists made at once. Its prefix is the
// server's own, as that of the audit log's actions (access.md A-42).
const (
	PathPrefix    = "/revocation/"
	ActionPublish = "pcaaudit:PublishCRL"
)
