package ca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// Records keeps the CAs themselves. Implementations are safe for concurrent
// use; what returns nil is durable.
type Records interface {
	// CreateCA adds a CA. A token that is reserved and not expired gives a
	// *store.ExistsError whose Value is the ARN answered to its first use.
	CreateCA(ctx context.Context, c *store.CertificateAuthority, t *store.Token) error
	// UpdateCA replaces the record; store.ErrConflict when it changed since it was read.
	UpdateCA(ctx context.Context, c *store.CertificateAuthority) error
	// InstallCertificate updates the record and adds the certificate in one transaction.
	InstallCertificate(ctx context.Context, c *store.CertificateAuthority, i *store.InstalledCertificate) error
	// CA gives one record, or store.ErrNotFound.
	CA(ctx context.Context, id string) (*store.CertificateAuthority, error)
	// CAs gives an account's records ordered by CreatedAt and ID, those after
	// the given pair; an empty account gives every account's.
	CAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error)
}

// Certificates keeps what CAs issued. store.ErrNotFound when it is not there.
type Certificates interface {
	InstalledCertificate(ctx context.Context, ca string, generation int64) (*store.InstalledCertificate, error)
	Certificate(ctx context.Context, ca string, serial []byte) (*store.Certificate, error)
	Revocation(ctx context.Context, ca string, issueIndex uint64) (*store.Revocation, error)
	// Token gives the value of a token that has not expired at now.
	Token(ctx context.Context, key string, now time.Time) (string, error)
	FailedIssuances
}

// FailedIssuances keeps why an issuance failed after its ARN had been answered (templates.md T-93).
type FailedIssuances interface {
	// PutFailedIssuance also reserves the token of the call, nil when it had none.
	PutFailedIssuance(ctx context.Context, ca string, serial []byte, reason string, t *store.Token) error
	FailedIssuance(ctx context.Context, ca string, serial []byte) (reason string, err error)
}

// Log appends to CA logs; *certlog.Log is one.
type Log interface {
	Append(ctx context.Context, ca string, r certlog.Record) (index uint64, err error)
	Head(ctx context.Context, ca string) (certlog.Head, error)
}

// Keys makes and finds private keys; *keystore.Store is one. The keys never leave it.
type Keys interface {
	Generate(ctx context.Context, id, algorithm string) (crypto.Signer, error)
	Signer(ctx context.Context, id string) (crypto.Signer, error)
}

// Caller is who sent a request, as far as issuing depends on it.
type Caller struct {
	Account string // 12 digits; the account that a report names as the requester
	ARN     string
	Service string // service principal; empty for people and programs
}

// Config is everything a Service needs.
type Config struct {
	Partition string // such as "aws"
	Region    string
	// ServerName starts the origin of every log: <ServerName>/audit/<CA id> (proof.md 2).
	ServerName string

	// MixedSubjects lets a subject have custom attributes beside standard ones (templates.md T-43).
	MixedSubjects bool

	Records      Records
	Certificates Certificates
	Entries      Log
	Keys         Keys

	// Caller tells who sent the request that ctx belongs to.
	Caller func(ctx context.Context) Caller
	// Authorize checks an action beyond the one that was called, such as
	// acm-pca:TagCertificateAuthority when a CA is created with tags.
	Authorize func(ctx context.Context, action, resource string) error
	// PageKey authenticates page tokens.
	PageKey [32]byte

	Log *slog.Logger

	now func() time.Time // time.Now but in tests
}

// Service answers the operations on certificate authorities and certificates.
// It is safe for concurrent use.
type Service struct {
	Config

	mu          sync.Mutex
	authorities map[string]*authority

	background     context.Context
	stopBackground context.CancelFunc
	creations      sync.WaitGroup // key generations that run in the background
}

// New makes a Service and goes on with the creations that a former process left unfinished.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.now == nil {
		cfg.now = time.Now
	}
	s := &Service{Config: cfg, authorities: map[string]*authority{}}
	s.background, s.stopBackground = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.resumeCreations(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close waits for key generations under way. A creation that is cut off goes
// on at the next start.
func (s *Service) Close() {
	s.stopBackground()
	s.creations.Wait()
}

// authority is the loaded state of one CA.
type authority struct {
	// mu is held for reading while a key use is decided and committed, for
	// writing while the record changes: an issuance that races with a status
	// change commits before it or is judged by the new status.
	mu     sync.RWMutex
	rec    *store.CertificateAuthority // never changed in place
	issuer *issuer                     // of rec.Installed; nil when none
}

// find is the authority that an ARN of a request names.
func (s *Service) find(ctx context.Context, text string) (pca.ARN, *authority, error) {
	arn, err := pca.ParseCAARN(text, s.Partition)
	if err != nil {
		return pca.ARN{}, nil, err
	}
	a, err := s.authority(ctx, arn)
	return arn, a, err
}

// authority finds a CA and loads it once. The error is ready for the caller.
func (s *Service) authority(ctx context.Context, arn pca.ARN) (*authority, error) {
	notFound := func() (*authority, error) {
		return nil, pca.Errorf(pca.ResourceNotFoundException, "Could not find the certificate authority %s. Check the ARN, its region and its account.", arn.CAARN())
	}
	if arn.Region != s.Region {
		return notFound()
	}
	s.mu.Lock()
	a, ok := s.authorities[arn.CA]
	s.mu.Unlock()
	if !ok {
		rec, err := s.Records.CA(ctx, arn.CA)
		if errors.Is(err, store.ErrNotFound) {
			return notFound()
		}
		if err != nil {
			return nil, fmt.Errorf("reading CA %s: %w", arn.CA, err)
		}
		if a, err = s.load(ctx, rec); err != nil {
			return nil, err
		}
	}
	a.mu.RLock()
	account := a.rec.Account
	gone := s.gone(a.rec)
	a.mu.RUnlock()
	if account != arn.Account || gone {
		return notFound()
	}
	return a, nil
}

// load makes the authority of a record; of two that load at once one wins.
func (s *Service) load(ctx context.Context, rec *store.CertificateAuthority) (*authority, error) {
	a := &authority{rec: rec}
	if rec.Installed > 0 {
		inst, err := s.Certificates.InstalledCertificate(ctx, rec.ID, rec.Installed)
		if err != nil {
			return nil, fmt.Errorf("reading certificate %d of CA %s: %w", rec.Installed, rec.ID, err)
		}
		if a.issuer, err = s.newIssuer(ctx, rec, inst); err != nil {
			return nil, fmt.Errorf("loading CA %s: %w", rec.ID, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.authorities[rec.ID]; ok {
		return other, nil
	}
	s.authorities[rec.ID] = a
	return a, nil
}

// status is the status that callers see: EXPIRED is derived on read and shown
// instead of ACTIVE or DISABLED (ca-lifecycle.md 1).
func (s *Service) status(rec *store.CertificateAuthority) pca.CertificateAuthorityStatus {
	switch rec.Status {
	case pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_DISABLED:
		// NotAfter is the last valid second (RFC 5280 4.1.2.5).
		if !rec.NotAfter.IsZero() && s.now().Unix() > rec.NotAfter.Unix() {
			return pca.CertificateAuthorityStatus_EXPIRED
		}
	}
	return rec.Status
}

// gone tells whether the restoration period of a deleted CA is over.
func (s *Service) gone(rec *store.CertificateAuthority) bool {
	return rec.Status == pca.CertificateAuthorityStatus_DELETED && !rec.RestorableUntil.IsZero() && s.now().After(rec.RestorableUntil)
}

// Record gives a CA's record and its derived status, for rooms that need to
// know a CA but not to change it. A CA that is unknown or gone is a
// ResourceNotFoundException. The record must not be changed.
func (s *Service) Record(ctx context.Context, arn pca.ARN) (*store.CertificateAuthority, pca.CertificateAuthorityStatus, error) {
	a, err := s.authority(ctx, arn)
	if err != nil {
		return nil, "", err
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.rec, s.status(a.rec), nil
}

// unexpected wraps an error of the store or the log for the front, which logs
// it and answers InternalFailure.
func unexpected(doing string, arn pca.ARN, err error) error {
	return fmt.Errorf("%s of CA %s: %w", doing, arn.CA, err)
}
