package verify

import (
	"cmp"
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

// headsKept is how many heads of a log are remembered: the smallest and the
// largest.
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

// ofCA are the heads of the logs of a manifest's CA.
func ofCA(known []proof.KnownHead, m *proof.Manifest) []proof.KnownHead {
	return slices.DeleteFunc(slices.Clone(known), func(k proof.KnownHead) bool { return !k.OfCA(m) })
}

// remember adds a head to the state file. It is false when the head was known.
// The file is read anew under a lock, so that what other verifications remember
// meanwhile stays; and written in one step: a crash leaves the old file or the
// new one.
func remember(file string, head *proof.KnownHead) (bool, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return false, err
	}
	l, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	defer l.Close()
	if err := lock(l); err != nil {
		return false, fmt.Errorf("locking the state file: %w", err)
	}
	s, err := readState(file)
	if err != nil {
		return false, err
	}
	same := func(k proof.KnownHead) bool {
		return k.Origin == head.Origin && k.Size == head.Size && k.Root == head.Root
	}
	if slices.ContainsFunc(s, same) {
		return false, nil
	}
	s = append(s, *head).trim(head.Origin)
	var text strings.Builder
	for i := range s {
		text.WriteString(s[i].StateLine())
	}
	if text.Len() > maxSmall {
		return false, fmt.Errorf("%s is full", file) // it could not be read again
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

// trim leaves headsKept heads of a log: the smallest and the largest, whatever
// the order in which they were accepted.
func (s state) trim(origin string) state {
	var of []int
	for i := range s {
		if s[i].Origin == origin {
			of = append(of, i)
		}
	}
	if len(of) <= headsKept {
		return s
	}
	slices.SortFunc(of, func(a, b int) int { return cmp.Compare(s[a].Size, s[b].Size) })
	return slices.Delete(s, of[1], of[1]+1)
}
