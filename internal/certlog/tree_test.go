package certlog

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// libraryTree keeps all hashes, as the library wants it.
type libraryTree []tlog.Hash

func (t libraryTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = t[x]
	}
	return out, nil
}

func testEntry(i uint64) []byte {
	b, err := (&Entry{Type: TypeSign, Time: int64(i), Label: binary.BigEndian.AppendUint64(nil, i)}).Append(nil)
	if err != nil {
		panic(err)
	}
	return b
}

// fill commits n entries of one log in batches of odd sizes, and gives the
// library's tree over the same.
func fill(t *testing.T, m *memory, ca string, n uint64) libraryTree {
	t.Helper()
	var lib libraryTree
	rng := rand.New(rand.NewPCG(1, 2))
	for size := uint64(0); size < n; {
		var entries [][]byte
		var records []Record
		for range min(n-size, 1+rng.Uint64N(700)) {
			e := testEntry(size + uint64(len(entries)))
			entries = append(entries, e)
			records = append(records, Record{Entry: e})
			hashes, err := tlog.StoredHashes(int64(size)+int64(len(entries)-1), e, lib)
			if err != nil {
				t.Fatal(err)
			}
			lib = append(lib, hashes...)
		}
		from, err := m.LogHead(t.Context(), ca)
		if err != nil {
			t.Fatal(err)
		}
		to, nodes, err := from.Extend(entries)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.CommitLog(t.Context(), []Batch{{CA: ca, From: from, To: to, Records: records, Nodes: nodes}}); err != nil {
			t.Fatal(err)
		}
		size += uint64(len(entries))
	}
	return lib
}

func TestTreeEqualsLibrary(t *testing.T) {
	t.Parallel()
	var lib libraryTree
	h := Head{}
	var nodes []Node
	for n := range int64(70_000) {
		leaf := tlog.RecordHash(testEntry(uint64(n)))
		hashes, err := tlog.StoredHashesForRecordHash(n, leaf, lib)
		if err != nil {
			t.Fatal(err)
		}
		lib = append(lib, hashes...)
		before := h
		before.Edge = append([]tlog.Hash(nil), h.Edge...)
		nodes = h.add(leaf, nodes)
		h.seal()
		if n > 5000 && n%97 != 0 && n&(n+1) != 0 && n&(n-1) != 0 {
			continue
		}
		want, err := tlog.TreeHash(n+1, lib)
		if err != nil {
			t.Fatal(err)
		}
		if h.Root != want || h.Size != uint64(n+1) {
			t.Fatalf("root of %d entries is %v, the library has %v", n+1, h.Root, want)
		}
		if err := h.Check(&before); err != nil {
			t.Fatal(err)
		}
	}
	want := 0
	for level := tileHeight; h.Size>>level > 0; level += tileHeight {
		want += int(h.Size >> level)
	}
	if len(nodes) != want {
		t.Fatalf("%d nodes, want %d", len(nodes), want)
	}
	for _, n := range nodes {
		if n.Hash != lib[tlog.StoredHashIndex(n.Level, int64(n.N))] {
			t.Fatalf("node %d of level %d differs from the library's", n.N, n.Level)
		}
	}
}

func TestEmptyTree(t *testing.T) {
	t.Parallel()
	var h Head
	h.seal()
	want, err := tlog.TreeHash(0, nil)
	if err != nil || h.Root != want {
		t.Fatalf("%v, %v, want %v", h.Root, err, want)
	}
	if err := h.Check(&Head{}); err != nil {
		t.Fatal(err)
	}
}

func TestHashReader(t *testing.T) {
	t.Parallel()
	const size = 140_001 // two nodes of level 16 and some
	m := newMemory()
	lib := fill(t, m, "ca", size)
	head, err := m.LogHead(t.Context(), "ca")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 400 {
		// Proofs at old sizes too: a report proves the tree of its day.
		n := int64(size)
		if i%2 == 1 {
			n = 1 + rng.Int64N(size)
		}
		r := NewHashReader(t.Context(), m, "ca", uint64(n))
		root, err := tlog.TreeHash(n, r)
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := tlog.TreeHash(n, lib); root != want || n == size && root != head.Root {
			t.Fatalf("root of %d entries is %v, want %v", n, root, want)
		}
		k := rng.Int64N(n)
		record, err := tlog.ProveRecord(n, k, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(record, n, root, k, tlog.RecordHash(testEntry(uint64(k)))); err != nil {
			t.Fatalf("entry %d of %d: %v", k, n, err)
		}
		tree, err := tlog.ProveTree(n, k+1, r)
		if err != nil {
			t.Fatal(err)
		}
		old, err := tlog.TreeHash(k+1, lib)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckTree(tree, n, root, k+1, old); err != nil {
			t.Fatalf("tree of %d in %d: %v", k+1, n, err)
		}
	}
	if _, err := NewHashReader(t.Context(), m, "ca", 100).ReadHashes([]int64{tlog.StoredHashIndex(0, 100)}); err == nil {
		t.Fatal("hash beyond the size was given")
	}
	if _, err := NewHashReader(t.Context(), m, "none", 100).ReadHashes([]int64{0}); err == nil {
		t.Fatal("hash of a log without entries was given")
	}
}

func TestHeadCheck(t *testing.T) {
	t.Parallel()
	m := newMemory()
	fill(t, m, "ca", 1003)
	at := func(n uint64) Head {
		var h Head
		for i := range n {
			h.add(tlog.RecordHash(testEntry(i)), nil)
		}
		h.seal()
		return h
	}
	good, early := at(1003), at(1001)
	for name, c := range map[string]struct {
		head, earlier Head
		ok            bool
	}{
		"grown":       {good, early, true},
		"same":        {good, good, true},
		"first":       {good, Head{}, true},
		"rolled back": {early, good, false},
		"emptied":     {Head{}, early, false},
		"rewritten": {func() Head {
			h := Head{}
			for i := range uint64(1003) {
				h.add(tlog.RecordHash(testEntry(i+1)), nil)
			}
			h.seal()
			return h
		}(), early, false},
		"wrong root": {func() Head { h := good.clone(); h.Root[0]++; return h }(), Head{}, false},
		"wrong edge": {func() Head { h := good.clone(); h.Edge[1][0]++; return h }(), Head{}, false},
		"short edge": {func() Head { h := good.clone(); h.Edge = h.Edge[1:]; h.seal(); return h }(), Head{}, false},
		"wrong size": {func() Head { h := good.clone(); h.Size++; return h }(), Head{}, false},
	} {
		if err := c.head.Check(&c.earlier); c.ok && err != nil || !c.ok && !errors.Is(err, ErrHead) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestTreeRoot compares with the root of a head, which tests tie to the library,
// also over subtrees of which the last is smaller.
func TestTreeRoot(t *testing.T) {
	t.Parallel()
	var h Head
	h.seal()
	var leaves []tlog.Hash
	for i := range 70 {
		if i > 0 {
			leaf := tlog.RecordHash(testEntry(uint64(i)))
			leaves = append(leaves, leaf)
			h.add(leaf, nil)
			h.seal()
		}
		var subtrees []tlog.Hash
		for part := range slices.Chunk(leaves, 8) {
			subtrees = append(subtrees, TreeRoot(slices.Clone(part)))
		}
		if TreeRoot(slices.Clone(leaves)) != h.Root || TreeRoot(subtrees) != h.Root {
			t.Errorf("the root over %d leaves is another", i)
		}
	}
}

// TestJoin builds a log out of subtrees that were hashed by themselves.
func TestJoin(t *testing.T) {
	t.Parallel()
	const size, subs = 128, 600 // across a kept node of level 8 and of level 16
	entries := make([][]byte, size)
	for i := range entries {
		entries[i] = testEntry(uint64(i))
	}
	sub, below, err := new(Head).Extend(entries)
	if err != nil {
		t.Fatal(err)
	}
	var joined, extended Head
	for i := range subs {
		to, got, err := joined.Join(&sub, below)
		if err != nil {
			t.Fatal(err)
		}
		next, want, err := extended.Extend(entries)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) || !slices.Equal(to.Edge, next.Edge) || to.Root != next.Root || to.Size != next.Size || to.Time != next.Time {
			t.Fatalf("subtree %d: %+v %v, want %+v %v", i, to, got, next, want)
		}
		if err := to.Check(&joined); err != nil {
			t.Fatal(err)
		}
		joined, extended = to, next
	}
	for _, n := range []int{1, size - 1} { // entries that begin where the subtree cannot
		h, _, err := joined.Extend(entries[:n])
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.Join(&sub, below); !errors.Is(err, ErrHead) {
			t.Fatalf("behind %d entries: %v", n, err)
		}
	}
	if _, _, err := joined.Join(&Head{Size: 3}, nil); !errors.Is(err, ErrHead) {
		t.Fatalf("three entries: %v", err)
	}
}
