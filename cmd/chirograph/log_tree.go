package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
)

// treeWriter hashes the entries of a log in their order, and keeps entries and
// hashes as C2SP tiles in a folder. It holds the right edge of the tree only.
type treeWriter struct {
	dir    string // empty: nothing is kept
	size   uint64
	bundle []byte        // of the entries that make no full tile yet
	levels [][]tlog.Hash // of each level of tiles, the hashes that make no full tile yet
}

// resume reads the edge of the tree that a head is of back from the folder. An
// error that wraps fs.ErrNotExist says that the folder does not have it.
func (t *treeWriter) resume(h *signedHead) error {
	t.size = h.size
	for level := 0; h.size>>(torchwood.TileHeight*level) > 0; level++ {
		hashes := h.size >> (torchwood.TileHeight * level)
		edge := tlog.Tile{H: torchwood.TileHeight, L: level, N: int64(hashes / torchwood.TileWidth), W: int(hashes % torchwood.TileWidth)}
		if edge.W == 0 {
			t.levels = append(t.levels, nil)
			continue
		}
		b, err := os.ReadFile(t.path(edge))
		if err != nil {
			return err
		}
		if len(b) != edge.W*tlog.HashSize {
			return fmt.Errorf("%s: %w", t.path(edge), errTile)
		}
		t.levels = append(t.levels, hashesOf(b))
		if level == 0 {
			edge.L = -1
			if t.bundle, err = os.ReadFile(t.path(edge)); err != nil {
				return err
			}
		}
	}
	if root := t.treeHash(); root != h.root {
		return fmt.Errorf("%s: %w", t.dir, errTile)
	}
	return nil
}

var errTile = errors.New("the tiles there are not those of the checkpoint there")

func hashesOf(b []byte) (hashes []tlog.Hash) {
	for ; len(b) >= tlog.HashSize; b = b[tlog.HashSize:] {
		hashes = append(hashes, tlog.Hash(b[:tlog.HashSize]))
	}
	return hashes
}

func (t *treeWriter) path(tile tlog.Tile) string {
	return filepath.Join(t.dir, filepath.FromSlash(torchwood.TilePath(tile)))
}

// add takes the next entry.
func (t *treeWriter) add(entry []byte) error {
	if t.dir != "" {
		t.bundle = certlog.AppendBundled(t.bundle, entry)
	}
	t.size++
	hash := tlog.RecordHash(entry)
	for level := 0; ; level++ {
		if level == len(t.levels) {
			t.levels = append(t.levels, nil)
		}
		t.levels[level] = append(t.levels[level], hash)
		if len(t.levels[level]) < torchwood.TileWidth {
			return nil
		}
		n := int64(t.size>>(torchwood.TileHeight*(level+1))) - 1
		if err := t.keep(level, n); err != nil {
			return err
		}
		hash = certlog.TreeRoot(t.levels[level])
		t.levels[level] = t.levels[level][:0]
	}
}

// keep writes what there is of tile n of a level, with its entries on level 0.
func (t *treeWriter) keep(level int, n int64) error {
	if t.dir == "" {
		return nil
	}
	tile := tlog.Tile{H: torchwood.TileHeight, L: level, N: n, W: len(t.levels[level])}
	b := make([]byte, 0, tile.W*tlog.HashSize)
	for _, h := range t.levels[level] {
		b = append(b, h[:]...)
	}
	if err := t.write(tile, b); err != nil {
		return err
	}
	if level > 0 {
		return nil
	}
	tile.L = -1
	err := t.write(tile, t.bundle)
	if tile.W == torchwood.TileWidth {
		t.bundle = t.bundle[:0]
	}
	return err
}

func (t *treeWriter) write(tile tlog.Tile, b []byte) error {
	path := t.path(tile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	// A crash leaves the file whole or not at all; the root is checked at the
	// end, so nothing need be synced here.
	if err := os.WriteFile(path+"~", b, 0o644); err != nil {
		return err
	}
	return os.Rename(path+"~", path)
}

// finish keeps the partial tiles of the right edge.
func (t *treeWriter) finish() error {
	for level, hashes := range t.levels {
		if len(hashes) > 0 {
			if err := t.keep(level, int64(t.size>>(torchwood.TileHeight*(level+1)))); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropPartials takes the partial tiles of an earlier size away.
func (t *treeWriter) dropPartials(size uint64) error {
	for level := -1; level < 0 || size>>(torchwood.TileHeight*level) > 0; level++ {
		shift := torchwood.TileHeight * max(0, level)
		hashes, now := size>>shift, t.size>>shift
		tile := tlog.Tile{H: torchwood.TileHeight, L: level, N: int64(hashes / torchwood.TileWidth), W: int(hashes % torchwood.TileWidth)}
		if tile.W == 0 || hashes == now {
			continue
		}
		path := t.path(tile)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		_ = os.Remove(filepath.Dir(path)) // when it was the last one in it
	}
	return nil
}

// treeHash is the RFC 9162 root over all entries so far.
func (t *treeWriter) treeHash() tlog.Hash {
	var below []tlog.Hash // the root over what makes no full tile on the levels below, if there is any
	for _, hashes := range t.levels {
		if row := slices.Concat(hashes, below); len(row) > 0 {
			below = []tlog.Hash{certlog.TreeRoot(row)}
		}
	}
	return certlog.TreeRoot(below)
}
