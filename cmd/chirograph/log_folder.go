package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
)

// folderLog is a CA's log in a folder: packs, as they stand in the bucket
// beside the reports, or C2SP tiles, as export writes them.
type folderLog struct {
	dir   string
	key   string       // pinned verifier key; empty: the one that the log itself names
	packs *proof.Packs // nil: tiles
	tiles torchwood.TileReader
	size  uint64 // of the tree that the tiles are of
}

func openFolder(dir, key string) (*folderLog, error) {
	l := &folderLog{dir: dir, key: key}
	folder := os.DirFS(dir)
	if _, err := fs.Stat(folder, "tile/entries"); err == nil {
		if l.tiles, err = torchwood.NewTileFS(folder); err != nil {
			return nil, err
		}
		_, h, err := l.unchecked()
		l.size = h.Size
		return l, err
	}
	var err error
	if l.packs, err = proof.OpenPacks(folder); err != nil {
		return nil, fmt.Errorf("reading the log in %s: %w", dir, err)
	}
	if l.packs.End() == 0 {
		return nil, usageError("name the folder that has entries/ or tile/ in it, such as the bucket's audit-report/<CA id>/log", "there is no log in %s", dir)
	}
	return l, nil
}

// end is how many entries there are.
func (l *folderLog) end() uint64 {
	if l.packs != nil {
		return l.packs.End()
	}
	return l.size
}

// checkpoint is the log's own checkpoint, checked.
func (l *folderLog) checkpoint(ctx context.Context) (*signedHead, error) {
	signed, head, err := l.unchecked()
	if err != nil {
		return nil, err
	}
	key, err := l.keyAt(ctx, head.Size)
	if err != nil {
		return nil, err
	}
	h, err := openHead(signed, key)
	if err != nil {
		return nil, fmt.Errorf("checking %s: %w", head.Source, err)
	}
	return h, nil
}

// unchecked is the log's own checkpoint as it stands there.
func (l *folderLog) unchecked() (signed []byte, head proof.KnownHead, err error) {
	name := filepath.Join(l.dir, proof.CheckpointName)
	if signed, err = readFile(name, "log's checkpoint"); err != nil {
		return nil, head, err
	}
	if head, err = oneHead(signed, name); err != nil {
		return nil, head, fmt.Errorf("reading the log's checkpoint: %w", err)
	}
	return signed, head, nil
}

// oneHead reads a checkpoint, whose signature is not checked.
func oneHead(signed []byte, name string) (proof.KnownHead, error) {
	known, err := proof.ParseKnown(signed, name)
	if err == nil && len(known) != 1 {
		err = fmt.Errorf("%s: %w", name, proof.ErrCheckpoint)
	}
	if err != nil {
		return proof.KnownHead{}, err
	}
	return known[0], nil
}

// keyAt is the verifier key that signs the head of the first size entries: the
// last one that an entry below brought. Whose key that is remains to be seen.
func (l *folderLog) keyAt(ctx context.Context, size uint64) (key string, err error) {
	if l.key != "" {
		return l.key, nil
	}
	err = l.entries(ctx, size, 0, size, nil, func(index uint64, b []byte) error {
		// The second byte is the type; entries of other types need no decoding.
		if len(b) < 2 || certlog.EntryType(b[1]) != certlog.TypeGenesis && certlog.EntryType(b[1]) != certlog.TypeKey && certlog.EntryType(b[1]) != certlog.TypeRecovery {
			return nil
		}
		var e certlog.Entry
		if err := e.Decode(b); err != nil {
			return fmt.Errorf("entry %d: %w", index, err)
		}
		switch e.Type {
		case certlog.TypeGenesis:
			key = string(e.Extra)
		case certlog.TypeKey:
			key = string(e.Label)
		case certlog.TypeRecovery:
			key, _, _, _, _ = certlog.ParseRecovery(string(e.Extra))
		}
		return nil
	})
	return key, err
}

// entries yields the entries [lo, hi); lo is a multiple of 256. entry is valid
// during the call only.
func (l *folderLog) entries(ctx context.Context, _, lo, hi uint64, _ func(tlog.Tile) []byte, yield func(index uint64, entry []byte) error) error {
	if l.packs != nil {
		return l.packed(ctx, lo, hi, yield)
	}
	for lo < hi {
		if err := ctx.Err(); err != nil {
			return err
		}
		if lo >= l.size {
			return fmt.Errorf("reading the log in %s: %w", l.dir, proof.ErrNoPack)
		}
		t := tileOf(lo, l.size)
		data, err := l.tiles.ReadTiles(ctx, []tlog.Tile{t})
		if err != nil {
			return err
		}
		if err := cutBundle(data[0], t.W, func(entry []byte) error {
			err := error(nil)
			if lo < hi {
				err = yield(lo, entry)
			}
			lo++
			return err
		}); err != nil {
			return fmt.Errorf("reading %s: %w", torchwood.TilePath(t), err)
		}
	}
	return nil
}

func (l *folderLog) packed(ctx context.Context, lo, hi uint64, yield func(uint64, []byte) error) error {
	r, err := l.packs.Reader()
	if err != nil {
		return err
	}
	defer r.Close()
	var block []byte
	for lo < hi {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := lo / certlog.BlockSize
		if block, err = r.Block(block, n); err != nil {
			return fmt.Errorf("reading the log in %s: %w", l.dir, err)
		}
		at, rest := n*certlog.BlockSize, block
		for end := min(hi, at+certlog.BlockSize); at < end; at++ {
			entry, more, ok := certlog.CutBundled(rest)
			if !ok {
				return fmt.Errorf("reading the log in %s: entry %d: %w", l.dir, at, proof.ErrPack)
			}
			rest = more
			if at < lo {
				continue
			}
			if err := yield(at, entry); err != nil {
				return err
			}
		}
		lo = at
	}
	return nil
}
