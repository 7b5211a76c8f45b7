package auditreport

import (
	"crypto/sha256"
	"hash"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
)

// targetParts is how many parts a report of ordinary rows has at most (D-21).
const targetParts = 8000

// chunkLimit is the rendered size in bytes at which a chunk ends before its
// block does. Blocks of ordinary rows stay below it.
const chunkLimit = 16 << 20

// part is a range of the file that is written in one request. Where parts end
// follows from the record of the report alone, so every attempt has the same.
type part struct {
	number        int32
	lo, hi        uint64 // log range; hi is the report's size for the last part only
	rows, revoked uint64
	buf           []byte   // nil when the part is a copy
	sum           [32]byte // SHA-256 of it, once it is known
}

// layout says where parts end.
type layout struct {
	size    uint64 // entries in the report
	blocks  uint64 // a part has at least so many whole blocks, unless it grows beyond limit
	uniform int    // bytes of every part but the last; 0 for parts of whole rows
	min     int    // bytes of every part but the last, at least
	chunk   int    // bytes of rendered rows after which a chunk ends before its block does
	put     int    // bytes of a report that is written in one request, at most
	parts   int    // of a report of ordinary rows, at most
}

func newLayout(size uint64, uniform bool) layout {
	all := (size + certlog.BlockSize - 1) / certlog.BlockSize
	l := layout{size: size, blocks: max(1, (all+targetParts-1)/targetParts), min: bucket.MinPart, chunk: chunkLimit, put: bucket.MaxPut, parts: targetParts}
	if uniform {
		l.uniform = int(l.blocks) * l.put
	}
	return l
}

// limit is the size at which a part ends even inside of its blocks. Only rows
// of unusual length reach it; it grows late, so that MaxParts suffice for
// whatever S3 can hold.
func (l layout) limit(number int32) int {
	limit := int(l.blocks) * 2 * l.chunk
	return limit << (max(0, number-6000) / 1000)
}

// ends tells whether a part of whole rows is long enough: it has so many whole
// blocks and bytes.
func (l layout) ends(number int32, filled uint64, bytes int) bool {
	return bytes >= l.min && (filled >= l.blocks || bytes >= l.limit(number))
}

// partSize is the size of an ordinary part, for the memory that it will take.
func (l layout) partSize() int {
	if l.uniform > 0 {
		return l.uniform
	}
	return int(l.blocks) * certlog.BlockSize * rowSize
}

// runs hashes runs of whole rows, as long as ordinary parts are, for a manifest
// whose parts cannot be those of the upload.
type runs struct {
	done   []proof.Part
	next   proof.Part
	hash   hash.Hash
	filled uint64 // whole blocks in next
}

func (r *runs) add(l layout, c chunk) {
	if r.hash == nil {
		r.hash = sha256.New()
	}
	r.hash.Write(c.buf)
	r.next.Hi, r.next.Length, r.next.Rows = c.hi, r.next.Length+int64(len(c.buf)), r.next.Rows+c.rows
	if c.endsBlock {
		r.filled++
	}
	if l.ends(int32(len(r.done)+1), r.filled, int(r.next.Length)) && c.hi < l.size {
		r.flush()
	}
}

func (r *runs) flush() {
	r.hash.Sum(r.next.SHA256[:0])
	r.done = append(r.done, r.next)
	r.hash.Reset()
	r.next, r.filled = proof.Part{}, 0
}

// finish takes the end of the file.
func (r *runs) finish(l layout, end string) {
	r.next.Hi = l.size
	r.next.Length += int64(len(end))
	r.hash.Write([]byte(end))
	if r.next.Length > 0 {
		r.flush()
	}
	r.done = lastTo(r.done, l.size)
}

// lastTo has the last part end where the report does: entries without rows may
// follow its last byte.
func lastTo(parts []proof.Part, size uint64) []proof.Part {
	parts[len(parts)-1].Hi = size
	return parts
}

// assembler makes parts from chunks. Only the part that the log's end falls
// into waits for the end of the file; it is the only one whose hi is the size.
type assembler struct {
	layout
	format  pca.AuditReportResponseFormat
	buffers *buffers
	emit    func(part) error // owns the part's buffer

	next          part   // being filled
	filled        uint64 // whole blocks in next
	runs          runs   // of whole rows, when parts are uniform
	begun         bool   // there is a row before what comes
	rows, revoked uint64 // in all parts so far, next included
	skip          int64  // bytes that are in the bucket already (uniform parts only)
}

func (a *assembler) add(c chunk) error {
	if !a.begun && c.rows > 0 && a.format == pca.AuditReportResponseFormat_JSON {
		copy(c.buf, rendering.JSONStart) // was the separator from the row before
	}
	a.begun = a.begun || c.rows > 0
	if a.uniform > 0 {
		a.runs.add(a.layout, c)
	}
	if len(a.next.buf) == 0 {
		a.buffers.put(a.next.buf)
		a.next.buf = c.buf
	} else {
		a.next.buf = append(a.next.buf, c.buf...)
		a.buffers.put(c.buf)
	}
	a.next.hi = c.hi
	a.next.rows += c.rows
	a.next.revoked += c.revoked
	a.rows += c.rows
	a.revoked += c.revoked
	if c.endsBlock {
		a.filled++
	}
	if a.uniform > 0 {
		return a.cut()
	}
	if a.ends(a.next.number, a.filled, len(a.next.buf)) && c.hi < a.size {
		return a.flush()
	}
	return nil
}

func (a *assembler) flush() error {
	p := a.next
	a.next = part{number: p.number + 1, lo: p.hi, hi: p.hi}
	a.filled = 0
	return a.emit(p)
}

// cut hands out parts of equal length and drops what is in the bucket already.
func (a *assembler) cut() error {
	if a.skip > 0 {
		n := min(a.skip, int64(len(a.next.buf)))
		a.skip -= n
		a.next.buf = a.next.buf[:copy(a.next.buf, a.next.buf[n:])]
		// A row counts for the part that its chunk begins in.
		a.next.rows, a.next.revoked = 0, 0
	}
	for len(a.next.buf) >= a.uniform && a.next.hi < a.size || len(a.next.buf) > a.uniform {
		p := a.next
		rest := p.buf[a.uniform:]
		p.hi = min(p.hi, a.size-1) // not the last
		a.next = part{number: p.number + 1, lo: p.hi, hi: p.hi, buf: append(make([]byte, 0, a.uniform+certlog.BlockSize*rowSize), rest...)}
		p.buf = p.buf[:a.uniform:a.uniform]
		if err := a.emit(p); err != nil {
			return err
		}
	}
	return nil
}

// finish hands out the last part. There is none when a CSV report ended with
// the part before.
func (a *assembler) finish() error {
	end := rendering.JSONEnd
	switch {
	case a.format == pca.AuditReportResponseFormat_CSV:
		end = ""
	case !a.begun:
		end = rendering.JSONEmpty
	}
	a.next.buf = append(a.next.buf, end...)
	a.next.hi = a.size
	if a.uniform > 0 {
		a.runs.finish(a.layout, end)
		if err := a.cut(); err != nil {
			return err
		}
		a.next.hi = a.size
	}
	if len(a.next.buf) == 0 && a.next.number > 1 {
		return nil
	}
	return a.flush()
}
