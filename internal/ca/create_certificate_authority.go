package ca

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/note"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// tokenWindow is how long an idempotency token stands for its first answer (api.md 6).
const tokenWindow = 5 * time.Minute

// maxSubject keeps a CA's CSR within what IssueCertificate takes, 32 KiB of PEM.
const maxSubject = 16 << 10

// CreateCertificateAuthority records the CA and answers at once; the key pair
// and the CSR are made in the background while the status is CREATING.
func (s *Service) CreateCertificateAuthority(ctx context.Context, in *pca.CreateCertificateAuthorityRequest) (*pca.CreateCertificateAuthorityResponse, error) {
	if err := s.checkCreate(ctx, in); err != nil {
		return nil, err
	}
	caller := s.Caller(ctx)
	now := s.now().Truncate(time.Millisecond).UTC()
	id := uuid.NewString()
	rec := &store.CertificateAuthority{
		ID:                id,
		ARN:               pca.ARN{Partition: s.Partition, Region: s.Region, Account: caller.Account, CA: id}.String(),
		Account:           caller.Account,
		Type:              in.CertificateAuthorityType,
		Status:            pca.CertificateAuthorityStatus_CREATING,
		Configuration:     in.CertificateAuthorityConfiguration,
		KeyStandard:       in.KeyStorageSecurityStandard,
		UsageMode:         in.UsageMode,
		Tags:              in.Tags,
		CreatedAt:         now,
		LastStateChangeAt: now,
		KeyID:             id,
	}
	if in.RevocationConfiguration != nil {
		rec.Revocation = *in.RevocationConfiguration
	}
	if rec.KeyStandard == "" {
		rec.KeyStandard = pca.KeyStorageSecurityStandard_FIPS_140_2_LEVEL_3_OR_HIGHER
	}
	if rec.UsageMode == "" {
		rec.UsageMode = pca.CertificateAuthorityUsageMode_GENERAL_PURPOSE
	}
	var token *store.Token
	if in.IdempotencyToken != "" {
		token = &store.Token{
			Key:   strings.Join([]string{caller.Account, "CreateCertificateAuthority", in.IdempotencyToken}, "/"),
			Value: rec.ARN, Now: now, Expires: now.Add(tokenWindow),
		}
	}
	err := s.Records.CreateCA(ctx, rec, token)
	if exists, ok := errors.AsType[*store.ExistsError](err); ok && token != nil {
		return &pca.CreateCertificateAuthorityResponse{CertificateAuthorityArn: exists.Value}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("storing CA %s: %w", id, err)
	}
	a, err := s.load(ctx, rec)
	if err != nil {
		return nil, err
	}
	s.create(a)
	return &pca.CreateCertificateAuthorityResponse{CertificateAuthorityArn: rec.ARN}, nil
}

func (s *Service) checkCreate(ctx context.Context, in *pca.CreateCertificateAuthorityRequest) error {
	c := &in.CertificateAuthorityConfiguration
	if err := issuance.CheckKeyAlgorithm(c.KeyAlgorithm, s.Partition); err != nil {
		return err
	}
	if err := issuance.CheckSigningAlgorithm(c.KeyAlgorithm, c.SigningAlgorithm); err != nil {
		return err
	}
	subject, err := issuance.EncodeSubject(&c.Subject, s.MixedSubjects)
	if err != nil {
		return err
	}
	if len(subject) <= 2 { // an empty SEQUENCE
		return pca.Errorf(pca.InvalidArgsException, "The subject of a certificate authority must not be empty. Give at least one attribute, such as CommonName.")
	}
	if len(subject) > maxSubject {
		return pca.Errorf(pca.InvalidArgsException, "The subject of a certificate authority must not be longer than %d bytes of DER; this one has %d.", maxSubject, len(subject))
	}
	if err := issuance.CheckCSRExtensions(c.CsrExtensions, s.MixedSubjects); err != nil {
		return err
	}
	if err := checkRevocation(in.RevocationConfiguration); err != nil {
		return err
	}
	if err := checkTags(in.Tags); err != nil {
		return err
	}
	if len(in.Tags) > 0 {
		return s.Authorize(ctx, "acm-pca:TagCertificateAuthority", "*")
	}
	return nil
}

// checkRevocation holds the rules of api.md 3. CRLs and OCSP responses are not
// served yet, so switching them on is refused: never accepted and ignored.
func checkRevocation(r *pca.RevocationConfiguration) error {
	if r == nil {
		return nil
	}
	if c := r.CrlConfiguration; c != nil {
		if c.Enabled {
			return pca.Errorf(pca.InvalidArgsException, "CRLs are not served by this version. Create the certificate authority without CrlConfiguration, or with Enabled set to false.")
		}
		if *c != (pca.CrlConfiguration{}) {
			return pca.Errorf(pca.InvalidArgsException, "CrlConfiguration with Enabled set to false must have no other member.")
		}
	}
	if o := r.OcspConfiguration; o != nil {
		if o.Enabled {
			return pca.Errorf(pca.InvalidArgsException, "OCSP is not served by this version. Create the certificate authority without OcspConfiguration, or with Enabled set to false.")
		}
		if o.OcspCustomCname != "" {
			return pca.Errorf(pca.InvalidArgsException, "OcspConfiguration with Enabled set to false must have no other member.")
		}
	}
	return nil
}

func checkTags(tags []pca.Tag) error {
	seen := map[string]bool{}
	for _, t := range tags {
		if lower := strings.ToLower(t.Key); strings.HasPrefix(lower, "aws:") || strings.HasPrefix(t.Key, "rds:") {
			return pca.Errorf(pca.InvalidTagException, "The tag key %q starts with a reserved prefix (aws: or rds:). Choose another key.", t.Key)
		}
		if seen[t.Key] {
			return pca.Errorf(pca.InvalidTagException, "The tag key %q is given twice. Give every key once.", t.Key)
		}
		seen[t.Key] = true
	}
	return nil
}

// resumeCreations goes on with CAs that a former process left CREATING.
func (s *Service) resumeCreations(ctx context.Context) error {
	const page = 100
	var created time.Time
	var id string
	for {
		recs, err := s.Records.CAs(ctx, "", created, id, page)
		if err != nil {
			return fmt.Errorf("listing CAs: %w", err)
		}
		for _, rec := range recs {
			if rec.Status == pca.CertificateAuthorityStatus_CREATING {
				a, err := s.load(ctx, rec)
				if err != nil {
					return err
				}
				s.create(a)
			}
			created, id = rec.CreatedAt, rec.ID
		}
		if len(recs) < page {
			return nil
		}
	}
}

// create makes the key and the CSR of a CREATING authority in the background.
func (s *Service) create(a *authority) {
	s.creations.Go(func() {
		ctx := s.background
		rec := a.rec // nobody else changes a record that is CREATING
		log := s.Log.With("ca", rec.ID)
		err := s.makeKey(ctx, a, rec)
		if err == nil {
			log.InfoContext(ctx, "certificate authority awaits its certificate")
			return
		}
		if ctx.Err() != nil {
			return // the next start goes on
		}
		log.ErrorContext(ctx, "creating the certificate authority failed", "error", err)
		failed := *rec
		failed.Status = pca.CertificateAuthorityStatus_FAILED
		failed.FailureReason = pca.FailureReason_OTHER
		failed.LastStateChangeAt = s.now().Truncate(time.Millisecond).UTC()
		if err := s.update(ctx, a, &failed); err != nil {
			log.ErrorContext(ctx, "recording the failure failed; the next start tries the creation again", "error", err)
		}
	})
}

// makeKey tells the protocol of a CA's birth. A crash at any point leaves the
// CA CREATING; the next start goes through the same steps and uses what is
// there: a key that exists is kept, a log that has its genesis gets no second one.
func (s *Service) makeKey(ctx context.Context, a *authority, rec *store.CertificateAuthority) error {
	head, err := s.Entries.Head(ctx, rec.ID)
	if err != nil {
		return fmt.Errorf("reading the log's head: %w", err)
	}
	// The genesis names both keys. When there is one and a key is not found, as
	// after an incomplete restore, another key must not take its place.
	key := s.key
	if head.Size > 0 {
		key = func(ctx context.Context, id, _ string) (crypto.Signer, error) { return s.Keys.Signer(ctx, id) }
	}
	signer, err := key(ctx, rec.KeyID, string(rec.Configuration.KeyAlgorithm))
	if err != nil {
		return fmt.Errorf("making the key: %w", err)
	}
	auditSigner, err := key(ctx, rec.KeyID+"-audit", "ED25519")
	if err != nil {
		return fmt.Errorf("making the audit key: %w", err)
	}
	origin := s.ServerName + "/audit/" + rec.ID
	auditKey, err := verifierKey(origin, auditSigner.Public())
	if err != nil {
		return err
	}
	if head.Size == 0 {
		spki, err := issuance.MarshalPublicKey(signer.Public())
		if err != nil {
			return err
		}
		err = s.append(ctx, rec.ID, certlog.Entry{
			Type: certlog.TypeGenesis, Digest: sha256.Sum256(spki), Label: []byte(origin), Extra: []byte(auditKey),
		})
		if err != nil {
			return fmt.Errorf("starting the log: %w", err)
		}
	}
	// mixed: what the configuration holds was checked when it was taken.
	csr, err := issuance.CreateCSR(signer, &rec.Configuration, true)
	if err != nil {
		return fmt.Errorf("making the CSR: %w", err)
	}
	// The CSR is a use of the key: it is logged before anybody can read it.
	if err := s.append(ctx, rec.ID, certlog.Entry{Type: certlog.TypeSign, Digest: sha256.Sum256(csr), Label: []byte("csr")}); err != nil {
		return fmt.Errorf("logging the CSR: %w", err)
	}
	ready := *rec
	ready.Status = pca.CertificateAuthorityStatus_PENDING_CERTIFICATE
	ready.CSR = csr
	ready.AuditKey = auditKey
	ready.LastStateChangeAt = s.now().Truncate(time.Millisecond).UTC()
	return s.update(ctx, a, &ready)
}

// key finds the key of that name or makes it.
func (s *Service) key(ctx context.Context, id, algorithm string) (crypto.Signer, error) {
	signer, err := s.Keys.Signer(ctx, id)
	if err == nil {
		return signer, nil
	}
	if !errors.Is(err, keystore.ErrNotFound) {
		return nil, err
	}
	return s.Keys.Generate(ctx, id, algorithm)
}

// verifierKey is the note verifier key of an Ed25519 public key (C2SP signed-note).
func verifierKey(origin string, public crypto.PublicKey) (string, error) {
	key, ok := public.(ed25519.PublicKey)
	if !ok {
		return "", fmt.Errorf("audit key is a %T, not an Ed25519 key", public)
	}
	vkey, err := note.NewEd25519VerifierKey(origin, key)
	if err != nil {
		return "", fmt.Errorf("encoding the audit key: %w", err)
	}
	return vkey, nil
}

// append adds one entry that carries no row, stamped with the time of now.
func (s *Service) append(ctx context.Context, ca string, e certlog.Entry) error {
	e.Time = s.now().UnixMilli()
	b, err := e.Append(nil)
	if err != nil {
		return err
	}
	_, err = s.Entries.Append(ctx, ca, certlog.Record{Entry: b})
	return err
}

// update stores rec as the authority's record.
func (s *Service) update(ctx context.Context, a *authority, rec *store.CertificateAuthority) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := s.Records.UpdateCA(ctx, rec); err != nil {
		return fmt.Errorf("updating CA %s: %w", rec.ID, err)
	}
	a.rec = rec
	return nil
}
