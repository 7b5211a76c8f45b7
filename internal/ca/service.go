package ca

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/issuance"
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
	// CertificateStatus is Certificate without the DER, and the revocation; nil when it is not revoked.
	CertificateStatus(ctx context.Context, ca string, serial []byte) (*store.Certificate, *store.Revocation, error)
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

// Keys makes, finds and destroys private keys; *keystore.Store is one. The keys never leave it.
type Keys interface {
	Generate(ctx context.Context, id, algorithm string) (crypto.Signer, error)
	Signer(ctx context.Context, id string) (crypto.Signer, error)
	Delete(ctx context.Context, id string) error
}

// Overview looks over all CAs, for what is not about one.
type Overview interface {
	// SharedCAs gives, in the order and the pages of CAs, the records of other
	// accounts than the given one that have a policy.
	SharedCAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error)
	// CountCAs counts an account's CAs that are not gone for good at now.
	CountCAs(ctx context.Context, account string, now time.Time) (int64, error)
	// CountCertificates counts what a CA issued; it may take a while.
	CountCertificates(ctx context.Context, ca string) (int64, error)
	// Revoked calls yield for the revoked certificates of a CA, at least those
	// that have not expired, whose revoke entry is in [lo, hi); crl is 0 for all.
	// What yield gets is valid during the call.
	Revoked(ctx context.Context, ca string, crl int64, lo, hi uint64, yield func(r *store.Revoked) error) error
}

// CRLs are the revocation lists that certificates are bound to; *crl.Service is
// them. Errors for the caller are *pca.Error.
type CRLs interface {
	// Check refuses a configuration whose bucket the CA cannot write. rec
	// has the configuration as it is to be.
	Check(ctx context.Context, rec *store.CertificateAuthority) error
	// Bind gives the CA's open CRL a place for one more certificate: the number
	// for its row and the URI of its distribution point, empty when the
	// configuration omits the extension. rec's configuration has CRLs enabled.
	Bind(ctx context.Context, rec *store.CertificateAuthority) (crl int64, uri string, err error)
}

// Caller is who sent a request.
type Caller struct {
	Account    string // 12 digits; the account that a report names as the requester
	ARN        string
	Service    string              // service principal; empty for people and programs
	Principal  *iam.Principal      // the same as policies judge it
	Conditions map[string][]string // condition keys of the request; not changed here
}

// Quotas bound what there may be; 0 is any number (O-22).
type Quotas struct {
	CertificateAuthorities int64 // of an account, with those that can be restored
	CertificatesPerCA      int64 // over the life of a CA
	RevokedPerCA           int64 // and not expired, of a CA whose CRLs are complete
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
	Overview     Overview
	Certificates Certificates
	Entries      Log
	Keys         Keys

	// CRLs and OCSPURL are what relying parties learn of revocations from: the
	// URL for certificates of a CA whose configuration has OCSP enabled and no
	// name of its own. Nil: not to be switched on.
	CRLs    CRLs
	OCSPURL func() string
	// Changed is called with the record of a CA that was made or loaded or has
	// changed, and Revoked with the serial number of a certificate before its
	// revocation is answered, both while the CA is locked: they are quick, and
	// call nothing of this Service. Nil: nobody.
	Changed func(rec *store.CertificateAuthority)
	Revoked func(ca string, serial []byte)
	// RequireBucketWrite refuses a revocation that no CRL could tell: while the
	// bucket cannot be written.
	RequireBucketWrite bool

	// Caller tells who sent the request that ctx belongs to.
	Caller func(ctx context.Context) Caller
	// AuthorizeAlso checks an action beyond the one that was called, such as
	// acm-pca:TagCertificateAuthority when a CA is created with tags.
	AuthorizeAlso func(ctx context.Context, action, resource string) error
	// PageKey authenticates page tokens.
	PageKey [32]byte

	Quotas Quotas
	// KeyStandards are the values of KeyStorageSecurityStandard that are
	// accepted, and echoed (ca-lifecycle.md 3). Nil: all of the API.
	KeyStandards []pca.KeyStorageSecurityStandard
	// PermissionPrincipals are the services that CreatePermission takes; nil:
	// acm.amazonaws.com alone.
	PermissionPrincipals []string
	// StrictAWS2023 takes only policies of the exact form of 2023 (access.md 4.2).
	StrictAWS2023 bool
	// CrossAccountClassicSix leaves other accounts the six templates of the
	// classic rule, whatever a policy says (T-85).
	CrossAccountClassicSix bool
	// SyncValidation refuses what violates the name constraints of a CA at once
	// instead of answering an ARN whose issuance failed (T-93).
	SyncValidation bool
	// VisibilityDelay is how long an issued certificate is still said to be in
	// progress, for tests of clients; 0 is off.
	VisibilityDelay time.Duration
	// CreateFor is how long errors of the disk are retried while a CA's key is
	// made, before the CA becomes FAILED; default 5 minutes.
	CreateFor time.Duration

	Log *slog.Logger
	Now func() time.Time // nil: time.Now
}

const (
	defaultCreateFor = 5 * time.Minute
	acmPrincipal     = "acm.amazonaws.com"
)

// Service answers the operations on certificate authorities and certificates.
// It is safe for concurrent use.
type Service struct {
	Config
	classic []string      // ARNs of the six templates of the classic cross-account rule
	pause   time.Duration // the first one between attempts to make a key; it doubles

	mu          sync.Mutex
	authorities map[string]*authority
	deleted     map[string]*authority // whose key is to be destroyed, now or when they can no longer be restored
	destroying  sync.Mutex            // one run of destroyDue at a time

	counting sync.Mutex // held from the count of an account's CAs until there is one more

	background     context.Context
	stopBackground context.CancelFunc
	creations      sync.WaitGroup // key generations that run in the background
	follower       sync.WaitGroup // the one that destroys keys
	wake           chan struct{}  // has one element when there is something to destroy
}

// New makes a Service and goes on with what a former process left unfinished:
// the creation of CAs, and the destruction of their keys.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.CreateFor == 0 {
		cfg.CreateFor = defaultCreateFor
	}
	if cfg.PermissionPrincipals == nil {
		cfg.PermissionPrincipals = []string{acmPrincipal}
	}
	s := &Service{
		Config: cfg, pause: time.Second,
		authorities: map[string]*authority{}, deleted: map[string]*authority{}, wake: make(chan struct{}, 1),
	}
	for _, arn := range issuance.Templates(cfg.Partition) {
		if t, err := issuance.LookupTemplate(arn, cfg.Partition); err == nil && t.CrossAccount {
			s.classic = append(s.classic, arn)
		}
	}
	s.background, s.stopBackground = context.WithCancel(context.WithoutCancel(ctx))
	if err := s.resume(ctx); err != nil {
		return nil, err
	}
	s.follower.Go(s.destroyKeys)
	return s, nil
}

// Close waits for key generations under way. What is cut off goes on at the
// next start.
func (s *Service) Close() {
	s.stopBackground()
	s.creations.Wait()
	s.follower.Wait()
}

// resume looks through all CAs for what a former process left unfinished.
func (s *Service) resume(ctx context.Context) error {
	return store.EachCA(ctx, s.Records.CAs, func(rec *store.CertificateAuthority) error {
		s.changed(rec)
		creating := rec.Status == pca.CertificateAuthorityStatus_CREATING
		if !creating && (rec.Status != pca.CertificateAuthorityStatus_DELETED || rec.KeyID == "") {
			return nil
		}
		a, err := s.load(ctx, rec)
		if err != nil {
			return err
		}
		if creating {
			s.create(a)
		} else {
			s.destroyLater(a)
		}
		return nil
	})
}

// authority is the loaded state of one CA.
type authority struct {
	// mu is held for reading while a key use is decided and committed, for
	// writing while the record changes: an issuance that races with a status
	// change commits before it or is judged by the new status.
	mu     sync.RWMutex
	rec    *store.CertificateAuthority // never changed in place
	issuer *issuer                     // of rec.Installed; nil when none

	cancel context.CancelFunc // ends the making of its key; nil when none was begun
	made   chan struct{}      // closed when that has ended

	issued  tally // what it issued
	revoked tally // what it revoked and has not expired
	// access follows from rec. It is apart so that nobody waits for a change
	// under way to be told that he may not.
	access atomic.Pointer[access]
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
	a, err := s.lookup(ctx, arn)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, notFound(arn.CAARN())
	}
	rec := a.access.Load().rec
	if s.gone(rec) {
		if rec.KeyID != "" {
			s.look()
		}
		return nil, notFound(arn.CAARN())
	}
	return a, nil
}

func notFound(arn string) error {
	return pca.Errorf(pca.ResourceNotFoundException, "Could not find the certificate authority %s. Check the ARN, its region and its account.", arn)
}

// lookup finds a CA, also one that is gone; nil when there never was one of that ARN.
func (s *Service) lookup(ctx context.Context, arn pca.ARN) (*authority, error) {
	if arn.Region != s.Region {
		return nil, nil
	}
	a, err := s.byID(ctx, arn.CA)
	if err != nil || a == nil || a.access.Load().rec.Account != arn.Account {
		return nil, err
	}
	return a, nil
}

// byID finds a CA whoever owns it; nil when there is none.
func (s *Service) byID(ctx context.Context, id string) (*authority, error) {
	s.mu.Lock()
	a, ok := s.authorities[id]
	s.mu.Unlock()
	if ok {
		return a, nil
	}
	rec, err := s.Records.CA(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading CA %s: %w", id, err)
	}
	return s.load(ctx, rec)
}

// Find gives the record of the CA with an id, whoever owns it, to rooms that
// know it by that alone and ask Authorize before they tell anything. Unknown
// or gone: a ResourceNotFoundException. The record must not be changed.
func (s *Service) Find(ctx context.Context, id string) (*store.CertificateAuthority, error) {
	a, err := s.byID(ctx, id)
	if err != nil {
		return nil, err
	}
	if a != nil {
		if rec := a.access.Load().rec; !s.gone(rec) {
			return rec, nil
		}
	}
	return nil, unknownCA(id)
}

// load makes the authority of a record; of two that load at once one wins.
func (s *Service) load(ctx context.Context, rec *store.CertificateAuthority) (*authority, error) {
	s.mu.Lock()
	a, ok := s.authorities[rec.ID]
	s.mu.Unlock()
	if ok {
		return a, nil
	}
	a = &authority{}
	if err := s.fill(ctx, a, rec); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other, ok := s.authorities[rec.ID]; ok {
		return other, nil
	}
	// Before anybody can find it, so that what he changes is told later.
	s.changed(rec)
	s.authorities[rec.ID] = a
	return a, nil
}

// changed tells the others of a record.
func (s *Service) changed(rec *store.CertificateAuthority) {
	if s.Changed != nil {
		s.Changed(rec)
	}
}

// fill gives an authority its record and what follows from it.
func (s *Service) fill(ctx context.Context, a *authority, rec *store.CertificateAuthority) error {
	var i *issuer
	// Of a tombstone the key may be gone already.
	if rec.Installed > 0 && !tombstone(rec) {
		inst, err := s.Certificates.InstalledCertificate(ctx, rec.ID, rec.Installed)
		if err != nil {
			return fmt.Errorf("reading certificate %d of CA %s: %w", rec.Installed, rec.ID, err)
		}
		if i, err = s.newIssuer(ctx, rec, inst); err != nil {
			return fmt.Errorf("loading CA %s: %w", rec.ID, err)
		}
	}
	view, err := s.compileAccess(rec)
	if err != nil {
		return fmt.Errorf("loading CA %s: %w", rec.ID, err)
	}
	a.rec, a.issuer = rec, i
	a.access.Store(view)
	return nil
}

// change stores what edit makes of an authority's record. edit sees a copy of
// the record as it is now, whose slices it must not change in place; its error
// is the caller's. When it says that nothing changed, nothing is stored.
func (s *Service) change(ctx context.Context, a *authority, edit func(next *store.CertificateAuthority) (changed bool, err error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.gone(a.rec) {
		return notFound(a.rec.ARN)
	}
	next := *a.rec
	if changed, err := edit(&next); err != nil || !changed {
		return err
	}
	return s.commit(ctx, a, &next, a.issuer, func(ctx context.Context) error { return s.Records.UpdateCA(ctx, &next) })
}

// settle is change for operations that have no error for a lost race.
func (s *Service) settle(ctx context.Context, a *authority, edit func(next *store.CertificateAuthority) (changed bool, err error)) error {
	const tries = 3
	for try := 1; ; try++ {
		err := s.change(ctx, a, edit)
		if try == tries || !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// commit makes next the authority's record by write, which must be durable
// when it returns. The caller holds a.mu. A record that somebody else changed
// is read again and the change refused.
func (s *Service) commit(ctx context.Context, a *authority, next *store.CertificateAuthority, i *issuer, write func(context.Context) error) error {
	view, err := s.compileAccess(next)
	if err != nil {
		return fmt.Errorf("changing CA %s: %w", next.ID, err)
	}
	// A caller who hangs up does not make the outcome unknown.
	ctx = context.WithoutCancel(ctx)
	if err = write(ctx); err == nil {
		a.rec, a.issuer = next, i
		a.access.Store(view)
		s.changed(next)
		return nil
	}
	// Whatever is stored now, that is what counts.
	if rec, e := s.Records.CA(ctx, next.ID); e != nil {
		err = errors.Join(err, e)
	} else if rec.Version != a.rec.Version {
		err = errors.Join(err, s.fill(ctx, a, rec))
		s.changed(a.rec)
	}
	if errors.Is(err, store.ErrConflict) {
		return &pca.Error{Code: pca.ConcurrentModificationException, Message: "Another change of the certificate authority was made at the same time. Try again.", Err: err}
	}
	return fmt.Errorf("storing CA %s: %w", next.ID, err)
}

// stamp is the time in the precision that records keep.
func (s *Service) stamp() time.Time { return s.Now().Truncate(time.Millisecond).UTC() }

// status is the status that callers see: EXPIRED is derived on read and shown
// instead of ACTIVE or DISABLED (ca-lifecycle.md 1).
func (s *Service) status(rec *store.CertificateAuthority) pca.CertificateAuthorityStatus {
	switch rec.Status {
	case pca.CertificateAuthorityStatus_ACTIVE, pca.CertificateAuthorityStatus_DISABLED:
		// NotAfter is the last valid second (RFC 5280 4.1.2.5).
		if !rec.NotAfter.IsZero() && s.Now().Unix() > rec.NotAfter.Unix() {
			return pca.CertificateAuthorityStatus_EXPIRED
		}
	}
	return rec.Status
}

// gone tells whether a deleted CA can no longer be restored.
func (s *Service) gone(rec *store.CertificateAuthority) bool {
	return rec.Status == pca.CertificateAuthorityStatus_DELETED && !s.Now().Before(rec.RestorableUntil)
}

// tombstone tells whether a CA is gone for good, whatever a clock says. What it
// issued stays in the log and the store, for offline audit.
func tombstone(rec *store.CertificateAuthority) bool {
	return rec.Status == pca.CertificateAuthorityStatus_DELETED && rec.RestorableUntil.IsZero()
}

// usable refuses the states in which the permissions and policies of a CA
// cannot be touched, and in the same words those of its tags (api.md 4).
func (s *Service) usable(rec *store.CertificateAuthority, refused ...pca.CertificateAuthorityStatus) error {
	if !slices.Contains(refused, rec.Status) {
		return nil
	}
	remedy := ""
	switch rec.Status {
	case pca.CertificateAuthorityStatus_CREATING:
		remedy = "Try again when it is in the PENDING_CERTIFICATE state."
	case pca.CertificateAuthorityStatus_FAILED:
		remedy = "Its creation failed; delete it and create another one."
	case pca.CertificateAuthorityStatus_DELETED:
		remedy = "Restore it first with RestoreCertificateAuthority."
	}
	return pca.Errorf(pca.InvalidStateException, "The certificate authority is in the %s state. %s", rec.Status, remedy)
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
