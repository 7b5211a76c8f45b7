package issuance

import (
	"crypto"
	"crypto/rand"
	"crypto/sha3"
	"errors"
	"fmt"
	"io"

	"filippo.io/mldsa"
	"filippo.io/mldsa/mldsacrypto"

	"chirograph.dev/internal/pca"
)

// Message is something that a key signs, written piece by piece: it is hashed
// and not kept.
type Message struct {
	algorithm signatureAlgorithm
	hash      io.Writer
	digest    func() []byte // of what was written
	scheme    crypto.Hash   // what a signer is told that the digest is
}

// NewMessage begins a message to be signed with the private part of a CA's key.
// An algorithm that does not go with the key is an InvalidArgsException.
func NewMessage(public crypto.PublicKey, algorithm pca.SigningAlgorithm) (*Message, error) {
	a, err := algorithmFor(algorithm, public)
	if err != nil {
		return nil, err
	}
	if k, ok := public.(*mldsa.PublicKey); ok {
		// The message representative of FIPS 204, algorithm 7, with an empty context.
		mu := sha3.NewSHAKE256()
		mu.Write(sha3.SumSHAKE256(k.Bytes(), 64))
		mu.Write([]byte{0, 0})
		return &Message{algorithm: a, hash: mu, scheme: mldsacrypto.MLDSAMu, digest: func() []byte {
			digest := make([]byte, 64)
			mu.Read(digest)
			return digest
		}}, nil
	}
	h, err := messageHash(public, a.hash)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return nil, errors.New("the algorithm " + string(algorithm) + " signs no message in pieces")
	}
	return &Message{algorithm: a, hash: h, scheme: a.hash, digest: func() []byte { return h.Sum(make([]byte, 0, 64)) }}, nil
}

// Algorithm is the DER AlgorithmIdentifier of the signature.
func (m *Message) Algorithm() []byte { return m.algorithm.identifier }

// Write adds to the message; it does not fail.
func (m *Message) Write(p []byte) (int, error) { return m.hash.Write(p) }

// Sign signs what was written, with the private part of the key, once.
func (m *Message) Sign(signer crypto.Signer) ([]byte, error) {
	signature, err := signer.Sign(rand.Reader, m.digest(), m.scheme)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return signature, nil
}
