package keystore

import (
	"crypto"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
)

// signer hands out the use of a private key and nothing else of it. Its type
// is not exported and the key is behind a pointer that no printer follows.
type signer struct {
	id      string
	public  crypto.PublicKey
	private atomic.Pointer[crypto.Signer] // nil once the key is destroyed
}

func newSigner(id string, private crypto.Signer) *signer {
	k := &signer{id: id, public: private.Public()}
	k.private.Store(&private)
	return k
}

// Public is the public key.
func (k *signer) Public() crypto.PublicKey { return k.public }

// Sign signs as the crypto.Signer of the key's kind does; ErrNotFound after
// the key was destroyed.
func (k *signer) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	private := k.private.Load()
	if private == nil {
		return nil, fmt.Errorf("key %s: %w", k.id, ErrNotFound)
	}
	return (*private).Sign(random, digest, opts)
}

// String names the key.
func (k *signer) String() string { return "key " + k.id }

// Format prints the name under every verb, also those that would walk the struct.
func (k *signer) Format(f fmt.State, _ rune) { io.WriteString(f, k.String()) }

// MarshalText keeps encoders to the name.
func (k *signer) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// LogValue logs the name.
func (k *signer) LogValue() slog.Value { return slog.StringValue(k.String()) }
