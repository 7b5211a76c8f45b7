package issuance

import (
	"crypto"
	"crypto/rand"
	"fmt"
	"hash"

	"chirograph.dev/internal/pca"
)

// Message is something that a key signs, written piece by piece: it is hashed
// and not kept, but for algorithms that need it whole (ML-DSA, Ed25519).
type Message struct {
	public    crypto.PublicKey
	algorithm signatureAlgorithm
	hash      hash.Hash // nil: kept in whole
	whole     []byte
}

// NewMessage begins a message to be signed with the private part of a key. An
// algorithm that does not go with the key is an InvalidArgsException.
func NewMessage(public crypto.PublicKey, algorithm pca.SigningAlgorithm) (*Message, error) {
	a, err := algorithmFor(algorithm, public)
	if err != nil {
		return nil, err
	}
	m := &Message{public: public, algorithm: a}
	if m.hash, err = messageHash(public, a.hash); err != nil {
		return nil, err
	}
	return m, nil
}

// Algorithm is the DER AlgorithmIdentifier of the signature.
func (m *Message) Algorithm() []byte { return m.algorithm.identifier }

// Write adds to the message; it does not fail.
func (m *Message) Write(p []byte) (int, error) {
	if m.hash == nil {
		m.whole = append(m.whole, p...)
		return len(p), nil
	}
	return m.hash.Write(p)
}

// Sign signs what was written, with the private part of the key.
func (m *Message) Sign(signer crypto.Signer) ([]byte, error) {
	digest := m.whole
	if m.hash != nil {
		digest = m.hash.Sum(make([]byte, 0, 64))
	}
	signature, err := signer.Sign(rand.Reader, digest, m.algorithm.hash)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return signature, nil
}
