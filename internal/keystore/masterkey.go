package keystore

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// MasterKey seals everything that a Store keeps. Whoever has it and the key
// folder has the keys. It prints as a constant text.
type MasterKey [32]byte

const hidden = "[master key]"

// String hides the key.
func (MasterKey) String() string { return hidden }

// Format hides the key under every verb.
func (MasterKey) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// MarshalText hides the key from encoders.
func (MasterKey) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue hides the key.
func (MasterKey) LogValue() slog.Value { return slog.StringValue(hidden) }

// LoadMasterKey reads a master key file: 64 hexadecimal digits and an optional
// line end. A file that others than its owner may read or write is refused.
func LoadMasterKey(path string) (key MasterKey, err error) {
	f, err := os.Open(path)
	if err != nil {
		return key, fmt.Errorf("opening the master key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return key, fmt.Errorf("opening the master key file: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return key, fmt.Errorf("the master key file %s has mode %04o, so others can reach it; run: chmod 600 %s", path, mode, path)
	}
	text, err := io.ReadAll(io.LimitReader(f, 128))
	if err != nil {
		return key, fmt.Errorf("reading the master key file: %w", err)
	}
	defer clear(text)
	if len(text) == 0 {
		return key, fmt.Errorf("the master key file %s is empty: the start that made it was cut off before any key was sealed; remove it and start again", path)
	}
	digits := strings.TrimRight(string(text), "\r\n")
	if n, err := hex.Decode(key[:], []byte(digits[:min(len(digits), 64)])); err != nil || n != len(key) || len(digits) != 64 {
		return MasterKey{}, fmt.Errorf("the master key file %s is not a master key: it does not hold 64 hexadecimal digits. Restore it from its backup; a new key opens none of the keys that the old one sealed", path)
	}
	return key, nil
}

// CreateMasterKey makes a master key file with mode 0600 and a new key. A file
// that is there is left alone: fs.ErrExist. The file is durable when it returns
// nil. A crash before that may leave it empty, which LoadMasterKey tells.
func CreateMasterKey(path string) (key MasterKey, err error) {
	rand.Read(key[:]) // ends the program when the system has no randomness
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return MasterKey{}, fmt.Errorf("making the master key file: %w", err)
	}
	_, err = fmt.Fprintln(f, hex.EncodeToString(key[:]))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return MasterKey{}, fmt.Errorf("making the master key file: %w", errors.Join(err, os.Remove(path)))
	}
	return key, nil
}
