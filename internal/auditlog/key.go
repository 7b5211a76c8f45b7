package auditlog

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/note"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// errNoKey says that the CA key is gone, or was never made.
var errNoKey = errors.New("the key of the certificate authority is gone")

// keys are the keys of a log with entries, oldest first; there is at least one.
// The key that the genesis names is endorsed here when it is not yet, as in the
// logs of earlier versions, if the CA key still exists.
func (s *Service) keys(ctx context.Context, ca string) ([]store.AuditKey, error) {
	keys, err := s.Records.AuditKeys(ctx, ca)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	first, err := s.genesisKey(ctx, ca)
	if err != nil {
		return nil, err
	}
	if s.Entries.Refused(ca) != nil {
		return []store.AuditKey{first}, nil
	}
	endorsed := first
	text, err := s.endorse(ctx, &endorsed)
	if errors.Is(err, errNoKey) {
		return []store.AuditKey{first}, nil
	}
	if err != nil {
		return nil, err
	}
	// The entry brings the signature into the store. A crash before it loses a
	// signature that nobody has; the next head makes another.
	err = s.append(ctx, ca, certlog.Entry{
		Type: certlog.TypeSign, Digest: sha256.Sum256(text), Label: []byte(certlog.LabelEndorsement), Extra: []byte(endorsement(&endorsed)),
	}, &endorsed, s.Entries.Append)
	if exists, ok := errors.AsType[*store.ExistsError](err); ok && exists.Kind == store.KindAuditKey {
		return s.Records.AuditKeys(ctx, ca) // the CA's creation, going on meanwhile
	}
	return []store.AuditKey{endorsed}, err
}

// genesisKey is the key that the genesis of a log names.
func (s *Service) genesisKey(ctx context.Context, ca string) (store.AuditKey, error) {
	k := store.AuditKey{CA: ca, KeyID: ca + "-audit"}
	err := s.Store.LogEntries(ctx, ca, 0, 1, func(_ uint64, b []byte) error {
		var e certlog.Entry
		err := e.Decode(b)
		k.Verifier = string(e.Extra)
		return err
	})
	if err != nil {
		return k, fmt.Errorf("reading the genesis of log %s: %w", ca, err)
	}
	return k, nil
}

// endorse has the CA key sign that k signs the heads of its log, and gives the
// text. The signature must be logged before it leaves.
func (s *Service) endorse(ctx context.Context, k *store.AuditKey) (text []byte, err error) {
	rec, err := s.Records.CA(ctx, k.CA)
	if err != nil {
		return nil, err
	}
	if rec.KeyID == "" {
		return nil, errNoKey
	}
	signer, err := s.Keys.Signer(ctx, rec.KeyID)
	if errors.Is(err, keystore.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", errNoKey, err)
	}
	if err != nil {
		return nil, err
	}
	spki, err := issuance.MarshalPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	text = certlog.EndorsementText(sha256.Sum256(spki), originOf(k), k.Verifier)
	k.Algorithm = rec.Configuration.SigningAlgorithm
	if k.Endorsement, err = issuance.SignText(signer, k.Algorithm, text); err != nil {
		return nil, fmt.Errorf("endorsing an audit key: %w", err)
	}
	return text, nil
}

func endorsement(k *store.AuditKey) string {
	return certlog.FormatEndorsement(string(k.Algorithm), k.Endorsement)
}

// inForce is the key that signs the head of the first size entries: the last
// one that an entry below brought, or the genesis' own.
func inForce(keys []store.AuditKey, size uint64) *store.AuditKey {
	k := &keys[0]
	for i := range keys {
		if keys[i].Index < size {
			k = &keys[i]
		}
	}
	return k
}

// originOf is the name of the log, and of its epoch, that a key signs heads of.
func originOf(k *store.AuditKey) string {
	origin, _, _ := strings.Cut(k.Verifier, "+") // base64 may have a + too
	return origin
}

// epochOf is the number of the epoch that an origin names, where first is the
// origin of epoch 1; 0 when it is another log's.
func epochOf(first, origin string) uint64 {
	if base, epoch := proof.SplitOrigin(origin, first); base == first {
		return uint64(epoch)
	}
	return 0
}

// Epoch is the number of a log's epoch: 1 unless it was recovered.
func (s *Service) Epoch(ctx context.Context, ca string) (int, error) {
	keys, err := s.recorded(ctx, ca)
	if err != nil {
		return 0, err
	}
	return int(epochOf(originOf(&keys[0]), originOf(&keys[len(keys)-1]))), nil
}

// signer signs notes with a key of the keystore.
func (s *Service) signer(ctx context.Context, k *store.AuditKey) (note.Signer, error) {
	key, err := s.Keys.Signer(ctx, k.KeyID)
	if err != nil {
		return nil, fmt.Errorf("finding the audit key of log %s; restore the key folder, or sign with another one from now on with chirograph log rotate-key: %w", originOf(k), err)
	}
	v, err := note.NewVerifier(k.Verifier)
	if err != nil {
		return nil, fmt.Errorf("reading the audit key %s: %w", k.Verifier, err)
	}
	return &noteSigner{v, key}, nil
}

type noteSigner struct {
	note.Verifier
	key crypto.Signer
}

// Sign implements note.Signer.
func (n *noteSigner) Sign(msg []byte) ([]byte, error) {
	return n.key.Sign(rand.Reader, msg, crypto.Hash(0))
}

// Kinds of audit keys by their names in the keystore: those that a rotation
// made, and those that began an epoch, which have its number. The genesis' has
// none.
const (
	rotated   = ""
	recovered = "epoch-"
)

func keyID(ca, kind string, n uint64) string { return fmt.Sprintf("%s-audit-%s%d", ca, kind, n) }

// freshKey makes a key of a kind with the first number from n on that none has.
// Names are not used again, even if the store has forgotten what a key signed:
// it may have been rolled back.
func (s *Service) freshKey(ctx context.Context, ca, kind string, n uint64) (crypto.Signer, string, uint64, error) {
	for ; ; n++ {
		id := keyID(ca, kind, n)
		_, err := s.Keys.Signer(ctx, id)
		if errors.Is(err, keystore.ErrNotFound) {
			signer, err := s.Keys.Generate(ctx, id, "ED25519")
			if err != nil {
				return nil, "", 0, fmt.Errorf("making an audit key: %w", err)
			}
			return signer, id, n, nil
		}
		if err != nil {
			return nil, "", 0, fmt.Errorf("looking for an audit key: %w", err)
		}
	}
}

// verifiers are the keys of a log as signers of an origin, also those in the
// keystore that the store does not know any more.
func (s *Service) verifiers(ctx context.Context, ca, origin string, epoch uint64) (note.Verifiers, error) {
	var list []note.Verifier
	add := func(id string) (found bool, err error) {
		signer, err := s.Keys.Signer(ctx, id)
		if errors.Is(err, keystore.ErrNotFound) {
			return false, nil
		}
		var vkey string
		if err == nil {
			vkey, err = certlog.VerifierKey(origin, signer.Public())
		}
		if err != nil {
			return false, err
		}
		v, err := note.NewVerifier(vkey)
		list = append(list, v)
		return true, err
	}
	_, err := add(ca + "-audit")
	for n, found := uint64(2), true; found && err == nil; n++ {
		found, err = add(keyID(ca, rotated, n))
	}
	if err == nil && epoch > 1 {
		_, err = add(keyID(ca, recovered, epoch))
	}
	return note.VerifierList(list...), err
}

// RotateKey has a new key sign the heads of a log from now on and gives its
// verifier key. Older heads keep their keys. A crash leaves at most a key that
// nothing names.
func (s *Service) RotateKey(ctx context.Context, ca string) (vkey string, err error) {
	st := s.state(ca)
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := s.Entries.Refused(ca); err != nil {
		return "", refusedError(err)
	}
	if _, err := s.begun(ctx, ca); err != nil {
		return "", err
	}
	keys, err := s.keys(ctx, ca)
	if err != nil {
		return "", err
	}
	k := store.AuditKey{CA: ca}
	signer, id, _, err := s.freshKey(ctx, ca, rotated, 2)
	if err != nil {
		return "", err
	}
	k.KeyID = id
	if k.Verifier, err = certlog.VerifierKey(originOf(&keys[len(keys)-1]), signer.Public()); err != nil {
		return "", err
	}
	if _, err := s.endorse(ctx, &k); err != nil {
		return "", gone(err)
	}
	// From here on the new key signs.
	err = s.append(ctx, ca, certlog.Entry{Type: certlog.TypeKey, Label: []byte(k.Verifier), Extra: []byte(endorsement(&k))}, &k, s.Entries.Append)
	if err != nil {
		return "", err
	}
	s.Log.InfoContext(ctx, "the log of a certificate authority has a new audit key", "ca", ca, "key", k.Verifier)
	return k.Verifier, nil
}

// gone tells the caller that nothing can be endorsed any more.
func gone(err error) error {
	if errors.Is(err, errNoKey) {
		return &pca.Error{Code: pca.InvalidStateException, Message: "The key of the certificate authority is gone, so it can endorse no other audit key. Restore the key folder; nothing else would make the new key trusted.", Err: err}
	}
	return err
}

// refusedError tells the caller what a log that refuses entries needs.
func refusedError(err error) error {
	if errors.Is(err, certlog.ErrDamaged) {
		return damaged(err)
	}
	return &pca.Error{Code: pca.InvalidStateException, Message: "The log of the certificate authority is behind, or differs from, what is known of it outside. Put the newest store back, or accept the loss with chirograph log recover.", Err: err}
}
