package auditlog

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/anchor"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/witness"
)

// signedHead is a checkpoint that was made.
type signedHead struct {
	size   uint64
	key    string // verifier key
	signed []byte
	whole  bool // as many witnesses cosigned as must
}

// maxKept is how many checkpoints of a log are remembered beside the newest: a
// report asks for its own again when it is tried again.
const maxKept = 8

// Checkpoint gives the signed, cosigned tree head of the first size entries of
// a log, or of all that there are now when size is 0, with what a proof needs
// beside it. Of a size that was asked for by name it also anchors it. A log that
// is not what it was gives an error that wraps certlog.ErrHead, and nothing of
// it is signed.
//
// With too few witnesses the checkpoint has the cosignatures that there are, and
// the log a warning.
func (s *Service) Checkpoint(ctx context.Context, ca string, size uint64) (*proof.Head, error) {
	st := s.state(ca)
	st.mu.Lock()
	defer st.mu.Unlock()
	return s.checkpoint(ctx, st, ca, size, size > 0)
}

// checkpoint is Checkpoint for those who hold st.mu.
func (s *Service) checkpoint(ctx context.Context, st *logState, ca string, size uint64, fix bool) (*proof.Head, error) {
	if err := s.Entries.Refused(ca); err != nil {
		return nil, err
	}
	now, err := s.Entries.Head(ctx, ca)
	if err != nil {
		return nil, err
	}
	if now.Size == 0 || size > now.Size {
		return nil, fmt.Errorf("signing the head of %d entries of log %s, which has %d: %w", size, ca, now.Size, store.ErrNotFound)
	}
	keys, err := s.keys(ctx, ca) // may add an entry
	if err != nil {
		return nil, err
	}
	all := size == 0
	if all {
		if now, err = s.Entries.Head(ctx, ca); err != nil {
			return nil, err
		}
		size = now.Size
	}
	h, err := s.head(ctx, keys, &now, size)
	if err != nil {
		return nil, err
	}
	if h.Signed, err = s.cosigned(ctx, st, keys, h, fix || all); err != nil {
		return nil, err
	}
	if fix {
		return h, s.anchor(ctx, st, ca, h)
	}
	return h, nil
}

// Head gives what Checkpoint gave when it made the signed checkpoint. Nothing is
// signed, so it also works for a log that refuses entries.
func (s *Service) Head(ctx context.Context, ca string, size uint64, signed []byte) (*proof.Head, error) {
	keys, err := s.recorded(ctx, ca)
	if err != nil {
		return nil, err
	}
	h, err := s.head(ctx, keys, &certlog.Head{}, size)
	if err != nil {
		return nil, err
	}
	h.Signed = signed
	if _, _, root, err := proof.OpenCheckpoint(signed, h.Key); err != nil || root != h.Root {
		return nil, fmt.Errorf("the checkpoint of %d entries of log %s is not of this log: %w", size, ca, errors.Join(certlog.ErrHead, err))
	}
	return h, nil
}

// head is all of a Head but the checkpoint.
func (s *Service) head(ctx context.Context, keys []store.AuditKey, now *certlog.Head, size uint64) (*proof.Head, error) {
	k := inForce(keys, size)
	h := &proof.Head{Origin: originOf(k), Size: size, Root: now.Root, Key: k.Verifier, Endorsement: proof.Endorsement{Algorithm: string(k.Algorithm), Signature: k.Endorsement}}
	var err error
	if size != now.Size {
		if h.Root, err = s.root(ctx, k.CA, size); err != nil {
			return nil, err
		}
	}
	h.SPKI, err = s.spki(ctx, k.CA)
	return h, err
}

// Sign signs a manifest with the key that is in force at its tree's size. It
// fills nothing in.
func (s *Service) Sign(ctx context.Context, ca string, m *proof.Manifest) ([]byte, error) {
	if err := s.Entries.Refused(ca); err != nil {
		return nil, err
	}
	keys, err := s.keys(ctx, ca)
	if err != nil {
		return nil, err
	}
	signer, err := s.signer(ctx, inForce(keys, m.Size))
	if err != nil {
		return nil, err
	}
	return proof.SignManifest(m, signer)
}

// root is the root of the first size entries.
func (s *Service) root(ctx context.Context, ca string, size uint64) (tlog.Hash, error) {
	root, err := tlog.TreeHash(int64(size), certlog.NewHashReader(ctx, s.Store, ca, size))
	if errors.Is(err, store.ErrNotFound) { // an entry is gone
		err = errors.Join(certlog.ErrHead, err)
	}
	if err != nil {
		return root, fmt.Errorf("hashing the first %d entries of log %s: %w", size, ca, err)
	}
	return root, nil
}

// spki is the CA's public key: of the CSR, which stays when the key is gone.
func (s *Service) spki(ctx context.Context, ca string) ([]byte, error) {
	rec, err := s.Records.CA(ctx, ca)
	if err != nil {
		return nil, err
	}
	if len(rec.CSR) > 0 {
		return issuance.RequestKey(rec.CSR)
	}
	signer, err := s.Keys.Signer(ctx, rec.KeyID)
	if err != nil {
		return nil, fmt.Errorf("finding the key of CA %s: %w", ca, err)
	}
	return issuance.MarshalPublicKey(signer.Public())
}

// cosigned signs a head and has it cosigned, or gives what was made of it
// before; again asks the witnesses once more that were missing then. Witnesses
// sign no head that is older than their newest, so those of reports that were
// ordered meanwhile come before it, and are kept.
func (s *Service) cosigned(ctx context.Context, st *logState, keys []store.AuditKey, h *proof.Head, again bool) ([]byte, error) {
	for _, made := range []signedHead{st.newest, st.kept[h.Size]} {
		if made.size == h.Size && made.key == h.Key && (made.whole || !again) {
			return made.signed, nil
		}
	}
	if s.Witnesses != nil && h.Size > st.newest.size {
		sizes, err := s.reportSizes(ctx, keys[0].CA, st.newest.size, h.Size)
		if err != nil {
			return nil, err
		}
		for _, size := range sizes {
			between, err := s.head(ctx, keys, &certlog.Head{}, size)
			if err != nil {
				return nil, err
			}
			if _, err := s.sign(ctx, st, inForce(keys, size), between); err != nil {
				return nil, err
			}
		}
	}
	return s.sign(ctx, st, inForce(keys, h.Size), h)
}

// reportSizes are the sizes between two whose reports have no checkpoint yet.
func (s *Service) reportSizes(ctx context.Context, ca string, from, to uint64) (sizes []uint64, err error) {
	reports, err := s.Records.UnfinishedReports(ctx)
	for _, r := range reports {
		if r.CA == ca && r.Checkpoint == nil && from < r.TreeSize && r.TreeSize < to {
			sizes = append(sizes, r.TreeSize) // a CA has one unfinished report at most
		}
	}
	return sizes, err
}

// sign makes the checkpoint of a head and shows it to the witnesses.
func (s *Service) sign(ctx context.Context, st *logState, k *store.AuditKey, h *proof.Head) ([]byte, error) {
	signer, err := s.signer(ctx, k)
	if err != nil {
		return nil, err
	}
	signed, err := proof.SignCheckpoint(signer, h.Size, h.Root)
	if err != nil {
		return nil, err
	}
	whole := true
	if s.Witnesses != nil {
		cosigned, err := s.Witnesses.Cosign(ctx, signed, func(from, to uint64) (tlog.TreeProof, error) {
			return s.Consistency(ctx, k.CA, from, to)
		})
		conflict, refused := errors.AsType[*witness.ConflictError](err)
		switch {
		case refused:
			return nil, s.refuse(ctx, st, k.CA, conflict, knownHead{origin: conflict.Origin, size: conflict.Size})
		case err != nil && !errors.Is(err, witness.ErrQuorum):
			return nil, fmt.Errorf("having the head of %d entries of log %s cosigned: %w", h.Size, k.CA, err)
		case err != nil:
			whole = false
			s.Log.WarnContext(ctx, "too few witnesses cosigned the head of a log", "ca", k.CA, "size", h.Size, "error", err)
		}
		if err := ctx.Err(); err != nil {
			return nil, err // who asked has gone, and the witnesses were not waited for
		}
		if len(cosigned) > 0 {
			signed = cosigned
		}
		if earlier := st.kept[h.Size]; earlier.key == k.Verifier {
			signed = merge(signed, earlier.signed)
		}
	}
	made := signedHead{size: h.Size, key: k.Verifier, signed: signed, whole: whole}
	if h.Size >= st.newest.size {
		st.newest = made
	}
	if len(st.kept) >= maxKept {
		clear(st.kept)
	}
	st.kept[h.Size] = made
	return signed, nil
}

// merge adds to a checkpoint the cosignatures that it had before and has no
// more: a witness that has gone on to a later head signs this one no second time.
func merge(signed, earlier []byte) []byte {
	who := func(line []byte) string { // name, and the hash of the key in base64
		f := strings.Fields(string(line))
		return f[1] + " " + f[2][:min(5, len(f[2]))]
	}
	text, lines, _ := bytes.Cut(signed, []byte("\n\n"))
	there := map[string]bool{}
	for line := range bytes.Lines(lines) {
		there[who(line)] = true
	}
	before, lines, _ := bytes.Cut(earlier, []byte("\n\n"))
	if !bytes.Equal(text, before) {
		return signed
	}
	for line := range bytes.Lines(lines) {
		if !there[who(line)] {
			signed = append(signed, line...)
		}
	}
	return signed
}

// anchor keeps a checkpoint elsewhere. That the place cannot be reached is a
// warning; that it holds another tree of this size stops the log.
func (s *Service) anchor(ctx context.Context, st *logState, ca string, h *proof.Head) error {
	if s.Anchor == nil || h.Size <= st.anchored {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sourceTimeout)
	defer cancel()
	err := s.Anchor.Put(ctx, ca, h.Origin, h.Size, h.Signed)
	if conflict, ok := errors.AsType[*anchor.ConflictError](err); ok {
		return s.refuse(ctx, st, ca, conflict, s.heads(ctx, ca, conflict.Anchored)...)
	}
	if err != nil {
		s.Log.WarnContext(ctx, "a head of a log could not be anchored; the next one is tried again", "ca", ca, "size", h.Size, "error", err)
		return nil
	}
	st.anchored = h.Size
	return nil
}

// Newest gives the newest head that was signed, signing one when there is none
// or it has fewer than atLeast entries. It fits Endpoints.
func (s *Service) Newest(ctx context.Context, ca string, atLeast uint64) (*SignedHead, error) {
	st := s.state(ca)
	st.mu.Lock()
	defer st.mu.Unlock()
	size := st.newest.size
	if size < atLeast {
		size = 0
	}
	h, err := s.checkpoint(ctx, st, ca, size, false)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &pca.Error{Code: pca.ResourceNotFoundException, Message: "The certificate authority has no log yet. Try again when it is in the PENDING_CERTIFICATE state.", Err: err}
	}
	if errors.Is(err, certlog.ErrHead) {
		return nil, refusedError(err)
	}
	if err != nil {
		return nil, err
	}
	var key strings.Builder
	key.WriteString("key " + h.Key + "\nspki " + base64.StdEncoding.EncodeToString(h.SPKI) + "\n")
	if len(h.Endorsement.Signature) > 0 {
		key.WriteString("endorsement " + certlog.FormatEndorsement(h.Endorsement.Algorithm, h.Endorsement.Signature) + "\n")
	}
	return &SignedHead{Size: h.Size, Signed: h.Signed, Key: key.String()}, nil
}

// Consistency proves that the first to entries extend the first from (RFC 6962
// 2.1.2); empty when there is nothing to prove.
func (s *Service) Consistency(ctx context.Context, ca string, from, to uint64) (tlog.TreeProof, error) {
	if from == 0 || from == to {
		return nil, nil
	}
	p, err := tlog.ProveTree(int64(to), int64(from), certlog.NewHashReader(ctx, s.Store, ca, to))
	if err != nil {
		return nil, fmt.Errorf("proving that %d entries of log %s extend %d: %w", to, ca, from, err)
	}
	return p, nil
}

// InclusionProof proves that an entry is one of the first size (RFC 6962 2.1.1).
func (s *Service) InclusionProof(ctx context.Context, ca string, index, size uint64) (tlog.RecordProof, error) {
	p, err := tlog.ProveRecord(int64(size), int64(index), certlog.NewHashReader(ctx, s.Store, ca, size))
	if err != nil {
		return nil, fmt.Errorf("proving entry %d of %d of log %s: %w", index, size, ca, err)
	}
	return p, nil
}
