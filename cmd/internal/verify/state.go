package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"chirograph.dev/internal/proof"
)

// state is what is remembered of logs that were accepted: their heads, with the
// keys that signed them, oldest first.
type state []proof.KnownHead

// headsKept is how many heads of a log are remembered: the first one and the
// newest.
const headsKept = 64

// defaultState is the file that remembers unless --state names another.
func defaultState() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "off"
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "chirograph", "known-logs")
}

func readState(file string) (state, error) {
	b, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the state file: %w", err)
	}
	known, err := proof.ParseKnown(b, file)
	if err != nil {
		return nil, fmt.Errorf("reading the state file: %w", err)
	}
	return known, nil
}

// ofCA are the heads of the logs of a CA: there should be one, with its epochs.
func ofCA(known []proof.KnownHead, caARN string) []proof.KnownHead {
	return slices.DeleteFunc(slices.Clone(known), func(k proof.KnownHead) bool { return !k.OfCA(caARN) })
}

// remember writes the state with one more head, in one step: a crash leaves
// the old file or the new one. It is false when the head was known.
func (s state) remember(file string, head *proof.KnownHead) (bool, error) {
	same := func(k proof.KnownHead) bool { return k.Origin == head.Origin && k.Size == head.Size }
	if slices.ContainsFunc(s, same) {
		return false, nil
	}
	s = append(s, *head)
	of := 0
	for i := range s {
		if s[i].Origin == head.Origin {
			of++
		}
	}
	if of > headsKept {
		first := true
		drop := slices.IndexFunc(s, func(k proof.KnownHead) bool {
			if k.Origin != head.Origin {
				return false
			}
			if first {
				first = false
				return false
			}
			return true
		})
		s = slices.Delete(s, drop, drop+1)
	}
	var text strings.Builder
	for i := range s {
		text.WriteString(s[i].StateLine())
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return false, err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text.String()) // CreateTemp makes it 0600
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), file)
	}
	return true, err
}
