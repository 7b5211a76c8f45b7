package certlog

import (
	"bytes"
	"context"
	"errors"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

// memory is a Store that keeps to the contract, and that can break it where a
// test asks for it: fault runs at the beginning of each commit, lose at its
// end, when everything is stored but the caller does not learn of it.
type memory struct {
	mu      sync.Mutex
	heads   map[string]Head
	entries map[string][][]byte
	nodes   map[string]map[tileKey]tlog.Hash
	keys    map[string]bool // of rows
	commits int
	largest int
	fault   func(batches []Batch) error
	lose    func() error
}

func newMemory() *memory {
	return &memory{heads: map[string]Head{}, entries: map[string][][]byte{}, nodes: map[string]map[tileKey]tlog.Hash{}, keys: map[string]bool{}}
}

// unique is a row whose key must be new.
type unique struct{ key string }

func (unique) LogRow() {}

var errTaken = errors.New("key is taken")

func (m *memory) LogHead(_ context.Context, ca string) (Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.heads[ca]
	return h.clone(), nil
}

func (m *memory) CommitLog(_ context.Context, batches []Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fault != nil {
		if err := m.fault(batches); err != nil {
			return err
		}
	}
	added := map[string]bool{}
	for i, b := range batches {
		if h := m.heads[b.CA]; h.Size != b.From.Size || h.Size > 0 && h.Root != b.From.Root {
			return ErrHeadMoved
		}
		for j, r := range b.Records {
			for _, row := range r.Rows {
				key := row.(unique).key
				if m.keys[key] || added[key] {
					return &RowError{Batch: i, Record: j, Err: errTaken}
				}
				added[key] = true
			}
		}
	}
	n := 0
	for _, b := range batches {
		for _, r := range b.Records {
			m.entries[b.CA] = append(m.entries[b.CA], bytes.Clone(r.Entry))
			n++
		}
		if m.nodes[b.CA] == nil {
			m.nodes[b.CA] = map[tileKey]tlog.Hash{}
		}
		for _, node := range b.Nodes {
			m.nodes[b.CA][tileKey{node.Level, node.N}] = node.Hash
		}
		m.heads[b.CA] = b.To.clone()
	}
	for k := range added {
		m.keys[k] = true
	}
	m.commits++
	m.largest = max(m.largest, n)
	if m.lose != nil {
		return m.lose()
	}
	return nil
}

func (m *memory) LogEntries(_ context.Context, ca string, lo, hi uint64, yield func(uint64, []byte) error) error {
	m.mu.Lock()
	all := m.entries[ca]
	m.mu.Unlock()
	if hi > uint64(len(all)) {
		return errors.New("no such entry")
	}
	for i := lo; i < hi; i++ {
		if err := yield(i, all[i]); err != nil {
			return err
		}
	}
	return nil
}

func (m *memory) LogNodes(_ context.Context, ca string, level int, lo, hi uint64) ([]tlog.Hash, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []tlog.Hash
	for n := lo; n < hi; n++ {
		h, ok := m.nodes[ca][tileKey{level, n}]
		if !ok {
			return nil, errors.New("no such node")
		}
		out = append(out, h)
	}
	return out, nil
}
