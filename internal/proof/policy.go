package proof

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
)

// ErrPolicy is wrapped by errors of policies that cannot be read.
var ErrPolicy = errors.New("malformed witness policy")

// Policy says which witnesses must have cosigned a checkpoint. All that leans
// on torchwood's policies, which are marked experimental, is in this file.
type Policy struct {
	policy torchwood.Policy
	words  string
}

// ParsePolicy reads a C2SP tlog-policy file: lines "log <vkey>", "witness <name>
// <vkey>", "group <name> <k> <names>", "quorum <name>".
func ParsePolicy(text []byte) (*Policy, error) {
	p, err := torchwood.ParsePolicy(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	var keys []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		if f := strings.Fields(line); len(f) > 2 && f[0] == "witness" {
			keys = append(keys, f[2])
		}
	}
	if err := different(keys); err != nil {
		return nil, err
	}
	return &Policy{p, "the policy's quorum of witnesses"}, nil
}

// WitnessPolicy asks for the cosignatures of k of the witnesses with these
// verifier keys (C2SP tlog-cosignature).
func WitnessPolicy(vkeys []string, k int) (*Policy, error) {
	if k < 1 || k > len(vkeys) {
		return nil, fmt.Errorf("%w: %d of %d witnesses", ErrPolicy, k, len(vkeys))
	}
	witnesses := make([]torchwood.Policy, len(vkeys))
	for i, key := range vkeys {
		v, err := torchwood.NewCosignatureVerifier(key)
		if err != nil {
			return nil, fmt.Errorf("%w: witness key %q: %w", ErrPolicy, key, err)
		}
		witnesses[i] = torchwood.SingleVerifierPolicy(v)
	}
	if err := different(vkeys); err != nil {
		return nil, err
	}
	return &Policy{torchwood.ThresholdPolicy(k, witnesses...), fmt.Sprintf("%d of %d witnesses", k, len(vkeys))}, nil
}

// different finds a witness that stands there twice, maybe under two names: it
// would be counted as two. The keys are well-formed.
func different(vkeys []string) error {
	seen := map[string]bool{}
	for _, key := range vkeys {
		b, err := base64.StdEncoding.DecodeString(strings.SplitN(key, "+", 3)[2])
		if err != nil || seen[string(b)] {
			return fmt.Errorf("%w: the key of the witness %q stands there twice", ErrPolicy, key)
		}
		seen[string(b)] = true
	}
	return nil
}

// check tells whether a signed checkpoint of that origin meets the policy, and
// who signed.
func (p *Policy) check(signed []byte, origin string) (names []string, newest int64, err error) {
	n, err := note.Open(signed, p.policy)
	if err != nil {
		return nil, 0, err
	}
	for _, s := range n.Sigs {
		names = append(names, s.Name)
		if s.Name != origin {
			if t, err := torchwood.CosignatureTimestamp(s); err == nil {
				newest = max(newest, t)
			}
		}
	}
	return names, newest, p.policy.Check(origin, n.Sigs)
}

// withLog is the policy together with the log's own signature, as a
// tlog-proof must meet it.
func (p *Policy) withLog(v note.Verifier) torchwood.Policy {
	log := torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(v.Name()), torchwood.SingleVerifierPolicy(v))
	if p == nil {
		return log
	}
	if known, err := p.policy.Verifier(v.Name(), v.KeyHash()); err == nil && known != nil {
		return p.policy // names the log itself
	}
	return torchwood.ThresholdPolicy(2, log, p.policy)
}
