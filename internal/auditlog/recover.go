package auditlog

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// RecoverRequest is the body of a request to recover.
type RecoverRequest struct {
	Known []string // manifests and checkpoints that somebody holds of the log
	Force bool     // also when nothing says that the log lost entries
}

// Recovered is the answer: what the new epoch began with.
type Recovered struct {
	Origin    string `json:"origin"`    // of the new epoch
	Key       string `json:"key"`       // its verifier key
	Surviving uint64 `json:"surviving"` // entries
	Known     uint64 `json:"known"`     // entries that the epoch before is known to have had; no fewer than Surviving
}

// RecoverText is Recover with a JSON body and answer. It fits Endpoints.
func (s *Service) RecoverText(ctx context.Context, ca string, body []byte) ([]byte, error) {
	var in RecoverRequest
	if len(body) > 0 {
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, &pca.Error{Code: pca.ValidationException, Message: `The body is not JSON of the form {"Known": ["..."], "Force": false}.`, Err: err}
		}
	}
	out, err := s.Recover(ctx, ca, in)
	if err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// Recover has a log that lost entries, or got others, take entries again: it
// begins an epoch, with an origin and an audit key of its own, whose first entry
// says what was known of the epoch before. Nobody can take one epoch's heads for
// the other's, and every verifier sees the break (proof.md 2.4).
//
// A crash before the entry leaves a key that nothing names; its number is not
// used again, as it is not if the store forgot an epoch.
func (s *Service) Recover(ctx context.Context, ca string, in RecoverRequest) (*Recovered, error) {
	st := s.state(ca)
	st.mu.Lock()
	defer st.mu.Unlock()
	refused := s.Entries.Refused(ca)
	if errors.Is(refused, certlog.ErrDamaged) {
		return nil, damaged(refused)
	}
	if refused == nil && !in.Force {
		return nil, pca.Errorf(pca.InvalidStateException, "The log of the certificate authority agrees with all that is known of it here; a recovery would only break its history. Force it if you know that entries are lost.")
	}
	head, err := s.begun(ctx, ca)
	if err != nil {
		return nil, err
	}
	keys, err := s.recorded(ctx, ca)
	if err != nil {
		return nil, err
	}
	known, err := s.allKnown(ctx, st, ca, in.Known)
	if err != nil {
		return nil, err
	}
	first := originOf(&keys[0])
	epoch := epochOf(first, originOf(&keys[len(keys)-1]))
	var last knownHead
	of, newest := epoch, epoch // epochs of last, and the newest that anybody knows
	for _, k := range known {
		e := epochOf(first, k.origin)
		if e == 0 {
			return nil, pca.Errorf(pca.ValidationException, "A known head is one of %q, and not of this certificate authority's log %s.", k.origin, first)
		}
		// A witness tells sizes only: good for want of a better.
		if k.size > head.Size && cmp.Or(cmp.Compare(e, of), compareRooted(&k, &last), cmp.Compare(k.size, last.size)) > 0 {
			of, last = e, k
		}
		newest = max(newest, e)
	}
	if last.size == 0 {
		last = knownHead{size: head.Size, root: head.Root}
	}
	k := store.AuditKey{CA: ca}
	signer, id, number, err := s.freshKey(ctx, ca, recovered, newest+1)
	if err != nil {
		return nil, err
	}
	k.KeyID = id
	if k.Verifier, err = certlog.VerifierKey(fmt.Sprintf("%s/%d", first, number), signer.Public()); err != nil {
		return nil, err
	}
	if _, err := s.endorse(ctx, &k); err != nil {
		return nil, gone(err)
	}
	// From here on the log takes entries again.
	err = s.append(ctx, ca, certlog.Entry{
		Type: certlog.TypeRecovery, Label: []byte(originOf(&k)), Extra: []byte(certlog.FormatRecovery(k.Verifier, endorsement(&k), last.size, last.root)),
	}, &k, s.Entries.Recover)
	if err != nil {
		return nil, err
	}
	st.known, st.newest, st.anchored, st.compared = nil, signedHead{}, 0, true
	clear(st.kept)
	s.Log.WarnContext(ctx, "the log of a certificate authority goes on in a new epoch", "ca", ca, "origin", originOf(&k), "surviving", k.Index, "known", last.size, "key", k.Verifier)
	return &Recovered{Origin: originOf(&k), Key: k.Verifier, Surviving: k.Index, Known: max(last.size, k.Index)}, nil
}

// begun is the head of a log that has entries. The errors are the caller's.
func (s *Service) begun(ctx context.Context, ca string) (certlog.Head, error) {
	head, err := s.Entries.Head(ctx, ca)
	switch {
	case errors.Is(err, certlog.ErrHead):
		return head, damaged(err)
	case err == nil && head.Size == 0:
		return head, noLog(nil)
	}
	return head, err
}

func damaged(err error) error {
	return &pca.Error{Code: pca.InvalidStateException, Message: "The stored log of the certificate authority is damaged, which no entry mends. Stop the server, look with chirograph fsck, and put a sound data folder back.", Err: err}
}

func noLog(err error) error {
	return &pca.Error{Code: pca.InvalidStateException, Message: "The certificate authority has no log yet. Try again when it is in the PENDING_CERTIFICATE state.", Err: err}
}

// recorded is keys without endorsing.
func (s *Service) recorded(ctx context.Context, ca string) ([]store.AuditKey, error) {
	keys, err := s.Records.AuditKeys(ctx, ca)
	if err != nil || len(keys) > 0 {
		return keys, err
	}
	first, err := s.genesisKey(ctx, ca)
	return []store.AuditKey{first}, err
}

// allKnown is what the outside is known to know of a log: the evidence that
// stopped it, what the sources have, and what the caller holds.
func (s *Service) allKnown(ctx context.Context, st *logState, ca string, given []string) ([]knownHead, error) {
	known := slices.Clone(st.known)
	for _, src := range s.Sources {
		b, err := s.ask(ctx, &src, ca)
		if err != nil {
			s.Log.WarnContext(ctx, "what is kept of a log elsewhere cannot be read for its recovery", "ca", ca, "where", src.Name, "error", err)
			continue
		}
		for _, k := range s.heads(ctx, ca, b) {
			if k.signed || src.Trusted {
				known = append(known, k)
			}
		}
	}
	for _, text := range given {
		heads, err := proof.ParseKnown([]byte(text), "a known head")
		if err != nil {
			return nil, &pca.Error{Code: pca.ValidationException, Message: "A file with a known head is neither a manifest nor a checkpoint.", Err: err}
		}
		for _, h := range heads {
			known = append(known, knownHead{origin: h.Origin, size: h.Size, root: h.Root})
		}
	}
	return known, nil
}

// compareRooted puts heads whose root is known before others.
func compareRooted(a, b *knownHead) int {
	rooted := func(k *knownHead) int {
		if k.root == (tlog.Hash{}) {
			return 0
		}
		return 1
	}
	return cmp.Compare(rooted(a), rooted(b))
}
