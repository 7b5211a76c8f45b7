package ca

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// maxPause is the longest wait between attempts to make a key.
const maxPause = 30 * time.Second

// errNotCreating says that the CA was deleted while its key was made.
var errNotCreating = errors.New("the certificate authority is no longer being created")

// finalError is a failure that no other attempt would mend.
type finalError struct{ err error }

func (e *finalError) Error() string { return e.err.Error() }
func (e *finalError) Unwrap() error { return e.err }

// create makes the key and the CSR of a CREATING authority in the background.
func (s *Service) create(a *authority) {
	a.mu.Lock()
	defer a.mu.Unlock()
	rec := a.rec
	if rec.Status != pca.CertificateAuthorityStatus_CREATING || a.made != nil {
		return // deleted, before anything was made
	}
	ctx, cancel := context.WithCancel(s.background)
	made := make(chan struct{})
	a.cancel, a.made = cancel, made
	s.creations.Go(func() {
		defer close(made)
		defer cancel()
		log := s.Log.With("ca", rec.ID)
		reason, err := s.makeKeyFor(ctx, a, rec)
		switch {
		case err == nil:
			log.InfoContext(ctx, "certificate authority awaits its certificate")
			return
		case ctx.Err() != nil || a.access.Load().rec.Status != pca.CertificateAuthorityStatus_CREATING:
			return // deleted; or the server stops, and the next start goes on
		}
		log.ErrorContext(ctx, "creating the certificate authority failed", "error", err)
		err = s.settle(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
			if next.Status != pca.CertificateAuthorityStatus_CREATING {
				return false, nil
			}
			next.Status = pca.CertificateAuthorityStatus_FAILED
			next.FailureReason = reason
			next.LastStateChangeAt = s.stamp()
			return true, nil
		})
		if err != nil {
			log.ErrorContext(ctx, "recording the failure failed; the next start tries the creation again", "error", err)
		}
	})
}

// makeKeyFor tries for CreateFor to make the key: a disk that is full for a
// moment costs nobody a CA.
func (s *Service) makeKeyFor(ctx context.Context, a *authority, rec *store.CertificateAuthority) (pca.FailureReason, error) {
	until, pause := s.Now().Add(s.CreateFor), s.pause
	for {
		err := s.makeKey(ctx, a, rec)
		reason := failureReason(err)
		if err == nil || ctx.Err() != nil || reason != pca.FailureReason_REQUEST_TIMED_OUT || !s.Now().Before(until) {
			return reason, err
		}
		s.Log.WarnContext(ctx, "making the key of a certificate authority failed; it is tried again", "ca", rec.ID, "error", err)
		select {
		case <-ctx.Done():
			return reason, err
		case <-time.After(pause):
			pause = min(2*pause, maxPause)
		}
	}
}

// failureReason is what a CA's record says of a creation that is given up.
// What is not known to be final is an error of the disk, and worth a second try.
func failureReason(err error) pca.FailureReason {
	_, refused := errors.AsType[*pca.Error](err)
	_, final := errors.AsType[*finalError](err)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, keystore.ErrUnsupportedAlgorithm):
		return pca.FailureReason_UNSUPPORTED_ALGORITHM
	case refused, final, errors.Is(err, errNotCreating), errors.Is(err, keystore.ErrNotFound), errors.Is(err, keystore.ErrCorrupt), errors.Is(err, keystore.ErrNewerFormat):
		return pca.FailureReason_OTHER
	}
	return pca.FailureReason_REQUEST_TIMED_OUT
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
	auditKey, err := certlog.VerifierKey(origin, auditSigner.Public())
	if err != nil {
		return &finalError{err}
	}
	spki, err := issuance.MarshalPublicKey(signer.Public())
	if err != nil {
		return &finalError{err}
	}
	if head.Size == 0 {
		err = s.append(ctx, rec.ID, certlog.Entry{
			Type: certlog.TypeGenesis, Digest: sha256.Sum256(spki), Label: []byte(origin), Extra: []byte(auditKey),
		})
		if err != nil {
			return fmt.Errorf("starting the log: %w", err)
		}
	}
	if err := s.endorse(ctx, rec, signer, sha256.Sum256(spki), origin, auditKey); err != nil {
		return fmt.Errorf("endorsing the audit key: %w", err)
	}
	// mixed: what the configuration holds was checked when it was taken.
	csr, err := issuance.CreateCSR(signer, &rec.Configuration, true)
	if err != nil {
		return &finalError{fmt.Errorf("making the CSR: %w", err)}
	}
	// The CSR is a use of the key: it is logged before anybody can read it.
	if err := s.append(ctx, rec.ID, certlog.Entry{Type: certlog.TypeSign, Digest: sha256.Sum256(csr), Label: []byte("csr")}); err != nil {
		return fmt.Errorf("logging the CSR: %w", err)
	}
	return s.settle(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
		if next.Status != pca.CertificateAuthorityStatus_CREATING {
			return false, errNotCreating
		}
		next.Status = pca.CertificateAuthorityStatus_PENDING_CERTIFICATE
		next.CSR = csr
		next.AuditKey = auditKey
		next.LastStateChangeAt = s.stamp()
		return true, nil
	})
}

// endorse has the CA key sign that the audit key signs the heads of the log.
// The entry brings the signature into the store, so it is logged before it can
// be used; a second try finds that it is there.
func (s *Service) endorse(ctx context.Context, rec *store.CertificateAuthority, signer crypto.Signer, spki [sha256.Size]byte, origin, auditKey string) error {
	text := certlog.EndorsementText(spki, origin, auditKey)
	signature, err := issuance.SignText(signer, rec.Configuration.SigningAlgorithm, text)
	if err != nil {
		return err
	}
	algorithm := rec.Configuration.SigningAlgorithm
	err = s.append(ctx, rec.ID, certlog.Entry{
		Type: certlog.TypeSign, Digest: sha256.Sum256(text), Label: []byte(certlog.LabelEndorsement), Extra: []byte(certlog.FormatEndorsement(string(algorithm), signature)),
	}, &store.AuditKey{CA: rec.ID, Verifier: auditKey, KeyID: rec.KeyID + "-audit", Algorithm: algorithm, Endorsement: signature})
	if exists, ok := errors.AsType[*store.ExistsError](err); ok && exists.Kind == store.KindAuditKey {
		return nil
	}
	return err
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

// append adds one entry with its rows, stamped with the time of now.
func (s *Service) append(ctx context.Context, ca string, e certlog.Entry, rows ...certlog.Row) error {
	e.Time = s.Now().UnixMilli()
	b, err := e.Append(nil)
	if err != nil {
		return err
	}
	_, err = s.Entries.Append(ctx, ca, certlog.Record{Entry: b, Rows: rows})
	return err
}
