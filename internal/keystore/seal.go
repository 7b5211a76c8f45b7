package keystore

import (
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// formatVersion is the first octet of everything sealed; part of the format.
// Then follow the nonce and the ciphertext with its tag.
const formatVersion = 1

// sealer seals under a key derived from the master key.
type sealer struct{ aead cipher.AEAD }

func newSealer(master MasterKey) (*sealer, error) {
	key, err := hkdf.Key(sha256.New, master[:], nil, "chirograph keystore 1", chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("deriving the sealing key: %w", err)
	}
	defer clear(key)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("deriving the sealing key: %w", err)
	}
	return &sealer{aead}, nil
}

// associated binds the version and what the data is for.
func associated(context string) []byte { return append([]byte{formatVersion}, context...) }

// seal encrypts under a random nonce: 24 octets, so that chance repeats none.
func (s *sealer) seal(plain []byte, context string) []byte {
	out := make([]byte, 1+chacha20poly1305.NonceSizeX, 1+chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	out[0] = formatVersion
	nonce := out[1:]
	rand.Read(nonce) // ends the program when the system has no randomness
	return s.aead.Seal(out, nonce, plain, associated(context))
}

func (s *sealer) open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) > 0 && sealed[0] > formatVersion {
		return nil, fmt.Errorf("format %d: %w", sealed[0], ErrNewerFormat)
	}
	if len(sealed) < 1+chacha20poly1305.NonceSizeX || sealed[0] != formatVersion {
		return nil, ErrCorrupt
	}
	nonce, box := sealed[1:1+chacha20poly1305.NonceSizeX], sealed[1+chacha20poly1305.NonceSizeX:]
	plain, err := s.aead.Open(nil, nonce, box, associated(context))
	if err != nil {
		return nil, ErrCorrupt
	}
	return plain, nil
}
