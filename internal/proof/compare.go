package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"sort"

	"chirograph.dev/internal/certlog"
)

// comparison compares the rendered chunks of a part with the file.
type comparison struct {
	w       *worker
	part    int
	at, end int64 // of the part in the file
	sum     hash.Hash
	short   bool // the file ends before the part
	found   *difference
}

// flush compares the worker's chunk with the file and empties it. After the
// first difference the file is hashed only.
func (c *comparison) flush() error {
	w := c.w
	defer func() { w.chunk, w.rows = w.chunk[:0], w.rows[:0] }()
	if c.found != nil || len(w.chunk) == 0 {
		return nil
	}
	n := int(min(int64(len(w.chunk)), c.end-c.at))
	if err := c.read(n); err != nil {
		return err
	}
	if c.short || n < len(w.chunk) || !bytes.Equal(w.chunk, w.file[:n]) {
		c.differs(n)
	}
	return nil
}

// read hashes the next n bytes of the file, which are then in the worker's.
func (c *comparison) read(n int) error {
	w := c.w
	if cap(w.file) < n {
		w.file = make([]byte, n+n/4)
	}
	w.file = w.file[:n]
	ok, err := w.readReport(w.file, c.at)
	if err != nil {
		return err
	}
	if c.short = c.short || !ok; c.short {
		return nil
	}
	c.sum.Write(w.file)
	c.at += int64(n)
	w.progress(int64(n))
	return nil
}

// differs finds the row of the chunk that the file does not have. n bytes of
// the file stand beside the chunk.
func (c *comparison) differs(n int) {
	w := c.w
	start := c.at - int64(n)
	at := 0
	if c.short { // what there is of the file was read
		start = c.at
		n = int(max(0, min(int64(n), w.ReportSize-start)))
	}
	for at < min(n, len(w.chunk)) && w.chunk[at] == w.file[at] {
		at++
	}
	words := fmt.Sprintf("they differ at byte %d", start+int64(at))
	// The last row that begins at or before the place.
	if i := sort.Search(len(w.rows), func(i int) bool { return w.rows[i].at > at }) - 1; i >= 0 {
		index := w.rows[i].place
		if w.loaded == index/certlog.BlockSize && w.entry.Decode(w.bytes(int(index%certlog.BlockSize))) == nil {
			words += fmt.Sprintf(", in or before the row of the certificate %s, entry %d of the log", hex.EncodeToString(w.entry.Serial), index)
		} else {
			words += fmt.Sprintf(", in or before the row of entry %d of the log", index)
		}
	}
	c.found = &difference{part: c.part, at: start + int64(at), words: words}
}

// finish hashes what is left of the part and says what came out. rows is how
// many rows the log gives for it.
func (c *comparison) finish(rows uint64) error {
	w := c.w
	if c.at < c.end && c.found == nil && !c.short {
		c.found = &difference{part: c.part, at: c.at, words: fmt.Sprintf("from byte %d on the file has what the log does not have", c.at)}
	}
	for c.at < c.end && !c.short {
		if err := c.read(int(min(chunkSize, c.end-c.at))); err != nil {
			return err
		}
	}
	part := &w.m.Parts[c.part]
	intact := !c.short && [sha256.Size]byte(c.sum.Sum(nil)) == part.SHA256
	if !intact {
		w.differs(c.part)
	}
	if c.found == nil && rows != part.Rows {
		c.found = &difference{part: c.part, at: c.end, words: fmt.Sprintf("part %d has %d rows, the manifest counts %d", c.part+1, rows, part.Rows)}
	}
	if c.found == nil {
		return nil
	}
	c.found.signed = intact
	w.replay.mu.Lock()
	defer w.replay.mu.Unlock()
	if d := w.difference; d == nil || c.found.at < d.at {
		w.difference = c.found
	}
	return nil
}
