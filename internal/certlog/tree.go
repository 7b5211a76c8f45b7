package certlog

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/bits"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is the distance of the levels of the tree that are kept; the
// levels between are recomputed from 2^tileHeight hashes. Part of the format.
const tileHeight = 8

// ErrHead says that a head contradicts itself or what this process saw of
// the log before: the store was rolled back, rewritten or damaged. Nothing is
// appended to such a log.
var ErrHead error = headError{}

type headError struct{}

func (headError) Error() string { return "log head failed its check" }

// ErrorCode and ErrorMessage are what callers of the API are told.
func (headError) ErrorCode() string { return "InternalFailure" }

func (headError) ErrorMessage() string {
	return "The log of the certificate authority is not what it was, so nothing is signed. The operator of this server finds the reason and the way out in the server's log."
}

// ErrDamaged is an ErrHead that no recovery helps: entries, or hashes of them, are
// not those that were committed.
var ErrDamaged = fmt.Errorf("%w: the store is damaged", ErrHead)

// add appends one leaf to the tree that h heads (Root is not kept up to date,
// see Head.seal) and the nodes that the leaf completes to nodes. The edge must
// belong to h alone.
func (h *Head) add(leaf tlog.Hash, nodes []Node) []Node { return h.graft(leaf, 0, nodes) }

// graft is add for the root of a complete subtree of 2^level leaves; the size
// must be a multiple of that.
func (h *Head) graft(root tlog.Hash, level int, nodes []Node) []Node {
	at, grown := level, h.Size+1<<level
	for n := h.Size >> at; n&1 == 1; n >>= 1 {
		last := len(h.Edge) - 1
		root = tlog.NodeHash(h.Edge[last], root)
		h.Edge = h.Edge[:last]
		at++
		if at%tileHeight == 0 {
			nodes = append(nodes, Node{Level: at, N: h.Size >> at, Hash: root})
		}
	}
	h.Edge = append(h.Edge, root)
	h.Size = grown
	return nodes
}

// advance moves the time on to an entry's.
func (h *Head) advance(t int64, recovery bool) {
	if h.Time = max(h.Time, t); recovery {
		h.Time = t
	}
}

// seal sets Root from the edge.
func (h *Head) seal() { h.Root = edgeRoot(h.Edge) }

// edgeRoot is the RFC 9162 root over the complete subtrees of an edge.
func edgeRoot(edge []tlog.Hash) tlog.Hash {
	if len(edge) == 0 {
		return sha256.Sum256(nil)
	}
	root := edge[len(edge)-1]
	for i := len(edge) - 2; i >= 0; i-- {
		root = tlog.NodeHash(edge[i], root)
	}
	return root
}

// TreeRoot is the RFC 9162 root over hashes of one level, which it uses up. Of
// the last one the subtree may be smaller than those of the others: without a
// neighbour it moves up as it is.
func TreeRoot(level []tlog.Hash) tlog.Hash {
	if len(level) == 0 {
		return sha256.Sum256(nil)
	}
	for len(level) > 1 {
		n := len(level) / 2
		for i := range n {
			level[i] = tlog.NodeHash(level[2*i], level[2*i+1])
		}
		if len(level)%2 == 1 {
			level[n] = level[len(level)-1]
			n++
		}
		level = level[:n]
	}
	return level[0]
}

// clone is a copy of h with an edge of its own and room for growth.
func (h *Head) clone() Head {
	c := *h
	c.Edge = append(make([]tlog.Hash, 0, len(h.Edge)+8), h.Edge...)
	return c
}

// Extend is the head after appending entries to h, and the nodes that they
// complete. h is not changed. It is for programs that fill a store without a
// Log; Log.Append is the way for all else.
func (h *Head) Extend(entries [][]byte) (Head, []Node, error) {
	to := h.clone()
	var nodes []Node
	for _, e := range entries {
		t, err := EntryTime(e)
		if err != nil {
			return Head{}, nil, err
		}
		to.advance(t, len(e) > 1 && EntryType(e[1]) == TypeRecovery)
		nodes = to.add(tlog.RecordHash(e), nodes)
	}
	to.seal()
	return to, nodes, nil
}

// Join is the head after appending the entries of sub to h, and the nodes that
// this completes. sub is what Extend made of these entries alone, 2^n of them,
// and nodes are those that came with it, so many logs' worth of entries can be
// hashed beside each other; none of them is a recovery. h must hold a multiple
// of 2^n entries. Neither h nor sub is changed.
func (h *Head) Join(sub *Head, nodes []Node) (Head, []Node, error) {
	level := bits.TrailingZeros64(sub.Size)
	if bits.OnesCount64(sub.Size) != 1 || h.Size%sub.Size != 0 {
		return Head{}, nil, fmt.Errorf("%w: %d entries are no subtree behind %d", ErrHead, sub.Size, h.Size)
	}
	to := h.clone()
	joined := make([]Node, len(nodes), len(nodes)+1)
	for i, n := range nodes {
		n.N += h.Size >> n.Level
		joined[i] = n
	}
	to.advance(sub.Time, false)
	joined = to.graft(sub.Edge[0], level, joined)
	to.seal()
	return to, joined, nil
}

// Check reports whether the head is one that an earlier head of the same log
// can have grown into: the edge has the subtrees that Size asks for and hashes
// to Root, the size did not shrink, and subtrees that both heads share are
// equal. The zero Head is earlier than every other. The error wraps ErrHead.
func (h *Head) Check(earlier *Head) error {
	if len(h.Edge) != bits.OnesCount64(h.Size) {
		return fmt.Errorf("%w: %d entries need %d subtrees, there are %d", ErrHead, h.Size, bits.OnesCount64(h.Size), len(h.Edge))
	}
	if root := edgeRoot(h.Edge); h.Size != 0 && root != h.Root {
		return fmt.Errorf("%w: the subtrees hash to %v, the root of %d entries is given as %v", ErrHead, root, h.Size, h.Root)
	}
	if h.Size < earlier.Size {
		return fmt.Errorf("%w: it has %d entries and had %d before: the store was rolled back", ErrHead, h.Size, earlier.Size)
	}
	// The bits of the sizes above the highest one that differs are subtrees
	// over the same entries.
	shared := bits.OnesCount64(h.Size >> bits.Len64(h.Size^earlier.Size))
	if !slices.Equal(h.Edge[:shared], earlier.Edge[:shared]) {
		return fmt.Errorf("%w: of its %d entries the first %d are not those that were there before: the log was rewritten", ErrHead, h.Size, earlier.Size)
	}
	return nil
}

// HashReader gives tlog the hashes of one log of a Store for proofs and roots
// at any size up to the one it was made with. It reads kept nodes, and
// recomputes the hashes below from at most 256 entries. It is not safe for
// concurrent use.
type HashReader struct {
	ctx   context.Context
	store Store
	ca    string
	size  uint64
	tiles map[tileKey][]tlog.Hash
}

type tileKey struct {
	level int
	n     uint64
}

// tileCache bounds the tiles that a HashReader keeps, 8 KiB each.
const tileCache = 64

// NewHashReader makes a HashReader for the first size entries of a log; ctx
// bounds all its reads.
func NewHashReader(ctx context.Context, s Store, ca string, size uint64) *HashReader {
	return &HashReader{ctx: ctx, store: s, ca: ca, size: size, tiles: map[tileKey][]tlog.Hash{}}
}

// ReadHashes implements tlog.HashReader.
func (r *HashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		h, err := r.hash(level, uint64(n))
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

// hash is the root of the complete subtree n of a level.
func (r *HashReader) hash(level int, n uint64) (tlog.Hash, error) {
	if (n+1)<<level > r.size {
		return tlog.Hash{}, fmt.Errorf("hash %d of level %d lies beyond %d entries", n, level, r.size)
	}
	up := level % tileHeight
	lo := n << up // first hash of the level of the tile
	tile, err := r.tile(level-up, lo>>tileHeight)
	if err != nil {
		return tlog.Hash{}, err
	}
	lo &= 1<<tileHeight - 1
	return TreeRoot(slices.Clone(tile[lo : lo+1<<up])), nil
}

// tile gives the hashes [n*256, (n+1)*256) of a kept level or of the leaves,
// as many as there are.
func (r *HashReader) tile(level int, n uint64) ([]tlog.Hash, error) {
	key := tileKey{level, n}
	if t, ok := r.tiles[key]; ok {
		return t, nil
	}
	lo := n << tileHeight
	hi := min(lo+1<<tileHeight, r.size>>level)
	var t []tlog.Hash
	if level == 0 {
		t = make([]tlog.Hash, 0, hi-lo)
		err := r.store.LogEntries(r.ctx, r.ca, lo, hi, func(_ uint64, entry []byte) error {
			t = append(t, tlog.RecordHash(entry))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("hashing entries [%d, %d): %w", lo, hi, err)
		}
	} else {
		var err error
		if t, err = r.store.LogNodes(r.ctx, r.ca, level, lo, hi); err != nil {
			return nil, fmt.Errorf("reading nodes [%d, %d) of level %d: %w", lo, hi, level, err)
		}
	}
	if uint64(len(t)) != hi-lo {
		return nil, fmt.Errorf("%w: level %d has %d of the hashes [%d, %d)", ErrHead, level, len(t), lo, hi)
	}
	if len(r.tiles) >= tileCache {
		clear(r.tiles)
	}
	r.tiles[key] = t
	return t, nil
}
