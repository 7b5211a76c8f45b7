// Package keystore keeps private keys. They are made in this process, sealed
// under a master key before they reach the disk, and handed out as
// crypto.Signer values from which the private part cannot be taken or printed.
//
// A folder holds one file per key and one that proves the master key. It
// belongs to one process at a time; the caller sees to that.
package keystore

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"filippo.io/mldsa"
	"github.com/emmansun/gmsm/sm2"
)

// Errors that callers tell apart.
var (
	ErrNotFound             = errors.New("no such key")
	ErrExists               = errors.New("a key of that name exists")
	ErrUnsupportedAlgorithm = errors.New("key algorithm is not supported")
	// ErrWrongMasterKey: the folder was sealed under another master key. Start
	// with the master key file that belongs to it; without that the keys are lost.
	ErrWrongMasterKey = errors.New("the master key is not the one that sealed this key folder; start with the master key file that belongs to it")
	// ErrCorrupt: sealed data was changed, or was sealed for another name.
	ErrCorrupt = errors.New("sealed data is damaged or was sealed for another purpose; restore it from a backup")
	// ErrNewerFormat: a newer program sealed it.
	ErrNewerFormat = errors.New("sealed in a format that is newer than this program; use the newer program")
)

const (
	keySuffix  = ".key"
	checkFile  = "master.check"
	tmpPrefix  = ".tmp-"       // a file being written
	diePrefix  = ".destroyed-" // a key being destroyed
	checkText  = "chirograph key folder"
	keyContext = "key/" // and the key's id: part of the format
)

// Config is where the keys are and what seals them.
type Config struct {
	Dir       string
	MasterKey MasterKey
	ReadOnly  bool // only Signer and OpenSecret are used, and nothing in the folder is touched
}

// Store holds the keys of one folder. It is safe for concurrent use.
type Store struct {
	dir  string
	seal *sealer

	mu     sync.Mutex
	loaded map[string]*signer
	busy   map[string]bool // names for which a key is being made or destroyed
}

// Open opens the folder, or makes it with mode 0700. What a crash left behind
// half-written or half-destroyed is removed. ErrWrongMasterKey when the folder
// was sealed under another master key.
func Open(cfg Config) (*Store, error) {
	if cfg.ReadOnly {
		return openReadOnly(cfg)
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the key folder: %w", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("closing the key folder to others: %w", err)
	}
	s := &Store{dir: cfg.Dir, loaded: map[string]*signer{}, busy: map[string]bool{}}
	var err error
	if s.seal, err = newSealer(cfg.MasterKey); err != nil {
		return nil, err
	}
	if err := s.sweep(); err != nil {
		return nil, fmt.Errorf("cleaning the key folder: %w", err)
	}
	// A key whose name a crash overtook on its way to the disk is found and
	// used from now on: it must not be lost by the next crash.
	if err := syncDir(cfg.Dir); err != nil {
		return nil, fmt.Errorf("syncing the key folder: %w", err)
	}
	return s, s.checkMasterKey()
}

// openReadOnly opens a folder that has keys.
func openReadOnly(cfg Config) (*Store, error) {
	s := &Store{dir: cfg.Dir, loaded: map[string]*signer{}, busy: map[string]bool{}}
	var err error
	if s.seal, err = newSealer(cfg.MasterKey); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(cfg.Dir, checkFile)); err != nil {
		return nil, fmt.Errorf("opening the key folder: %w", err)
	}
	return s, s.checkMasterKey()
}

// sweep removes what unfinished writes and deletions left.
func (s *Store) sweep() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) || strings.HasPrefix(e.Name(), diePrefix) {
			if err := s.shred(e.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkMasterKey opens the check file, or makes it in a folder without keys. A
// folder with keys but without the check file is left as it is.
func (s *Store) checkMasterKey() error {
	sealed, err := os.ReadFile(filepath.Join(s.dir, checkFile))
	if err == nil {
		text, err := s.seal.open(sealed, checkFile)
		if errors.Is(err, ErrNewerFormat) {
			return fmt.Errorf("opening %s: %w", s.dir, err)
		}
		if err != nil || string(text) != checkText {
			return fmt.Errorf("opening %s: %w", s.dir, ErrWrongMasterKey)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the key folder: %w", err)
	}
	empty, err := s.Empty()
	if err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("opening %s: it holds keys but no %s: %w", s.dir, checkFile, ErrCorrupt)
	}
	return s.write(checkFile, s.seal.seal([]byte(checkText), checkFile))
}

// Empty tells whether the folder holds no key at all.
func (s *Store) Empty() (bool, error) {
	keys, err := filepath.Glob(filepath.Join(s.dir, "*"+keySuffix))
	if err != nil {
		return false, fmt.Errorf("reading the key folder: %w", err)
	}
	return len(keys) == 0, nil
}

// Generate makes a key and keeps it under id before it returns. algorithm is
// one of the API's KeyAlgorithm values or ED25519; others are
// ErrUnsupportedAlgorithm. An id is never used for two keys: ErrExists. When ctx
// ends while the key is being made, nothing is kept.
func (s *Store) Generate(ctx context.Context, id, algorithm string) (crypto.Signer, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if err := s.claim(id); err != nil {
		return nil, err
	}
	defer s.release(id)
	_, err := os.Lstat(s.path(id))
	if err == nil {
		return nil, fmt.Errorf("key %s: %w", id, ErrExists)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for key %s: %w", id, err)
	}
	private, err := generate(algorithm)
	if err != nil {
		return nil, fmt.Errorf("making key %s: %w", id, err)
	}
	der, err := marshalPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("encoding key %s: %w", id, err)
	}
	defer clear(der)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("making key %s: %w", id, err)
	}
	if err := s.write(id+keySuffix, s.seal.seal(der, keyContext+id)); err != nil {
		return nil, fmt.Errorf("keeping key %s: %w", id, err)
	}
	return s.keep(id, private), nil
}

func generate(algorithm string) (crypto.Signer, error) {
	switch algorithm {
	case "RSA_2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "RSA_3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "RSA_4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "EC_prime256v1":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EC_secp384r1":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "EC_secp521r1":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ED25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case "ML_DSA_44":
		return mldsa.GenerateKey(mldsa.MLDSA44())
	case "ML_DSA_65":
		return mldsa.GenerateKey(mldsa.MLDSA65())
	case "ML_DSA_87":
		return mldsa.GenerateKey(mldsa.MLDSA87())
	case "SM2":
		return sm2.GenerateKey(rand.Reader)
	}
	return nil, fmt.Errorf("%w: %s", ErrUnsupportedAlgorithm, algorithm)
}

// Signer gives the key of that id: ErrNotFound when there is none, ErrCorrupt
// when its file was changed. All calls for one id give the same value, which
// is safe for concurrent use.
func (s *Store) Signer(ctx context.Context, id string) (crypto.Signer, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.loaded[id]; ok {
		return k, nil
	}
	if s.busy[id] {
		return nil, fmt.Errorf("key %s: %w", id, ErrNotFound)
	}
	sealed, err := os.ReadFile(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("key %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", id, err)
	}
	der, err := s.seal.open(sealed, keyContext+id)
	if err != nil {
		return nil, fmt.Errorf("opening key %s: %w", id, err)
	}
	defer clear(der)
	private, err := parsePrivateKey(der)
	if err != nil {
		// The seal is intact, so these bytes were written so.
		return nil, fmt.Errorf("reading key %s: %w", id, ErrCorrupt)
	}
	k := newSigner(id, private)
	s.loaded[id] = k
	return k, nil
}

// Delete destroys a key for good: signers that were handed out stop working,
// the file is overwritten and removed. After an error it can be called again
// and goes on. ErrNotFound when there is no such key.
func (s *Store) Delete(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	if err := s.claim(id); err != nil {
		return err
	}
	defer s.release(id)
	// Under its new name the key can no longer be found, and a crash before
	// the file is gone leaves it for Open to remove.
	dying := diePrefix + id
	err := os.Rename(s.path(id), filepath.Join(s.dir, dying))
	if errors.Is(err, fs.ErrNotExist) {
		// A call that failed may have come this far.
		if _, err = os.Lstat(filepath.Join(s.dir, dying)); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("key %s: %w", id, ErrNotFound)
		}
	}
	if err == nil {
		s.forget(id)
		err = syncDir(s.dir)
	}
	if err == nil {
		err = s.shred(dying)
	}
	if err != nil {
		return fmt.Errorf("destroying key %s: %w", id, err)
	}
	return nil
}

// SealSecret seals a small secret, such as that of an access key. The context
// is bound to it: OpenSecret needs the same.
func (s *Store) SealSecret(secret []byte, context string) ([]byte, error) {
	return s.seal.seal(secret, "secret/"+context), nil
}

// OpenSecret gives back what SealSecret sealed under the same context;
// ErrCorrupt when it is anything else.
func (s *Store) OpenSecret(sealed []byte, context string) ([]byte, error) {
	return s.seal.open(sealed, "secret/"+context)
}

// claim reserves an id for a change, so that a slow one holds up only itself.
func (s *Store) claim(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[id] {
		return fmt.Errorf("key %s is being made or destroyed: %w", id, ErrExists)
	}
	s.busy[id] = true
	return nil
}

func (s *Store) release(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, id)
}

func (s *Store) keep(id string, private crypto.Signer) *signer {
	k := newSigner(id, private)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loaded[id] = k
	return k
}

// forget ends the use of a key that is loaded.
func (s *Store) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.loaded[id]; k != nil {
		k.private.Store(nil)
		delete(s.loaded, id)
	}
}

// checkID lets names pass that are plain file names everywhere.
func checkID(id string) error {
	odd := func(r rune) bool {
		return (r|0x20 < 'a' || r|0x20 > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}
	if id == "" || len(id) > 128 || id[0] == '.' || strings.ContainsFunc(id, odd) {
		return fmt.Errorf("%q is not a key id: it needs 1 to 128 letters, digits, - _ . and no dot first", id)
	}
	return nil
}

func (s *Store) path(id string) string { return filepath.Join(s.dir, id+keySuffix) }

// write makes a file whole or not at all; when it returns nil the file is
// durable. A crash leaves at most a temporary file, which Open removes.
func (s *Store) write(name string, content []byte) error {
	f, err := os.CreateTemp(s.dir, tmpPrefix) // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.dir, name))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(s.dir)
}

// syncDir makes names in a folder durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// shred overwrites a file and removes it. File systems that write elsewhere
// keep the old bytes for a while; those are sealed.
func (s *Store) shred(name string) error {
	path := filepath.Join(s.dir, name)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil {
		_, err = f.Write(make([]byte, info.Size()))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return syncDir(s.dir)
}
