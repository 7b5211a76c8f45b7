package ocsp

import (
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// answer is a signed answer and what its HTTP headers say. Nothing of it changes
// but what concerns the cache.
type answer struct {
	body      []byte
	label     label
	issuer    *issuer
	responder *responder
	from      time.Time // thisUpdate; it lies ahead after the clock was turned back
	refresh   time.Time // it is to be made anew from then on: half of its period
	until     time.Time // nextUpdate

	// Values of headers, in the form of http.Header.
	length, etag, modified []string

	refreshing atomic.Bool
	key        string  // CertID; empty: not cached
	newer      *answer // in the cache, as older; guarded by its mutex
	older      *answer
}

func newAnswer(body []byte, produced time.Time, p period) *answer {
	sum := sha1.Sum(body)
	return &answer{
		body: body, from: p.from, refresh: p.from.Add(p.to.Sub(p.from) / 2), until: p.to,
		length:   []string{strconv.Itoa(len(body))},
		etag:     []string{`"` + hex.EncodeToString(sum[:]) + `"`},
		modified: []string{produced.UTC().Format(http.TimeFormat)},
	}
}

// size is what an answer takes in memory, about.
func (a *answer) size() int64 { return int64(len(a.body) + 2*len(a.key) + 512) }

// cache keeps signed answers by CertID; those that were not used for the longest
// time go when it is full. Safe for concurrent use.
type cache struct {
	limit int64

	mu      sync.Mutex
	answers map[string]*answer
	bytes   int64
	ring    answer // newer: the one used longest ago; older: the last one used
}

func newCache(limit int64) *cache {
	c := &cache{limit: limit, answers: map[string]*answer{}}
	c.ring.newer, c.ring.older = &c.ring, &c.ring
	return c
}

func (c *cache) get(id []byte) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.answers[string(id)]
	if a != nil && c.ring.older != a {
		a.unlink()
		c.link(a)
	}
	return a
}

// put keeps an answer if, still, it is current.
func (c *cache) put(a *answer, current func() bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !current() {
		return false
	}
	c.remove(a.key)
	c.answers[a.key] = a
	c.bytes += a.size()
	c.link(a)
	for c.bytes > c.limit {
		c.remove(c.ring.newer.key)
	}
	return true
}

func (c *cache) drop(ids []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		c.remove(id)
	}
}

func (c *cache) remove(id string) {
	if a := c.answers[id]; a != nil {
		delete(c.answers, id)
		c.bytes -= a.size()
		a.unlink()
	}
}

// link makes a the last one used.
func (c *cache) link(a *answer) {
	a.newer, a.older = &c.ring, c.ring.older
	a.newer.older, a.older.newer = a, a
}

func (a *answer) unlink() { a.newer.older, a.older.newer = a.older, a.newer }
