// Package keystore keeps private keys, sealed at rest.
package keystore

import (
	"context"
	"crypto"
	"errors"
)

// Errors that callers tell apart.
var (
	ErrNotFound             = errors.New("no such key")
	ErrExists               = errors.New("key exists")
	ErrUnsupportedAlgorithm = errors.New("unsupported key algorithm")
	ErrWrongMasterKey       = errors.New("wrong master key")
	ErrCorrupt              = errors.New("sealed data is damaged or was put in the wrong place")
)

// MasterKey seals everything; it prints as nothing.
type MasterKey [32]byte

// Config is where the keys are and what seals them.
type Config struct {
	Dir       string
	MasterKey MasterKey
}

// Store holds the keys of one folder. It is safe for concurrent use.
type Store struct{}

// Open opens or makes the folder.
func Open(cfg Config) (*Store, error) { return &Store{}, nil }

// Generate makes a key.
func (s *Store) Generate(ctx context.Context, id, algorithm string) (crypto.Signer, error) {
	return nil, ErrUnsupportedAlgorithm
}

// Signer finds a key.
func (s *Store) Signer(ctx context.Context, id string) (crypto.Signer, error) {
	return nil, ErrNotFound
}

// Delete destroys a key.
func (s *Store) Delete(ctx context.Context, id string) error { return ErrNotFound }

// SealSecret seals a small secret; context is bound to it and must be given again.
func (s *Store) SealSecret(secret []byte, context string) ([]byte, error) { return nil, nil }

// OpenSecret gives back what SealSecret sealed under the same context.
func (s *Store) OpenSecret(sealed []byte, context string) ([]byte, error) { return nil, nil }

// LoadMasterKey reads a master key file.
func LoadMasterKey(path string) (MasterKey, error) { return MasterKey{}, nil }

// CreateMasterKey makes a master key file with mode 0600.
func CreateMasterKey(path string) (MasterKey, error) { return MasterKey{}, nil }
