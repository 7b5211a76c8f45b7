package auditreport

import (
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/pca"
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
	buf           []byte
}

// layout says where parts end.
type layout struct {
	size    uint64 // entries in the report
	blocks  uint64 // a part has at least so many whole blocks, unless it grows beyond limit
	uniform int    // bytes of every part but the last; 0 for parts of whole rows
	min     int    // bytes of every part but the last, at least
	chunk   int    // bytes of rendered rows after which a chunk ends before its block does
}

func newLayout(size uint64, uniform bool) layout {
	all := (size + certlog.BlockSize - 1) / certlog.BlockSize
	l := layout{size: size, blocks: max(1, (all+targetParts-1)/targetParts), min: bucket.MinPart, chunk: chunkLimit}
	if uniform {
		l.uniform = int(l.blocks) * bucket.MaxPut
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

// partSize is the size of an ordinary part, for the memory that it will take.
func (l layout) partSize() int {
	if l.uniform > 0 {
		return l.uniform
	}
	return int(l.blocks) * certlog.BlockSize * rowSize
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
	rows, revoked uint64 // in all parts so far, next included
	skip          int64  // bytes that are in the bucket already (uniform parts only)
}

func (a *assembler) add(c chunk) error {
	if a.rows == 0 && c.rows > 0 && a.format == pca.AuditReportResponseFormat_JSON {
		copy(c.buf, rendering.JSONStart) // was the separator from the row before
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
	if a.ends() && c.hi < a.size {
		return a.flush()
	}
	return nil
}

// ends tells whether a part of whole rows is long enough.
func (a *assembler) ends() bool {
	n := len(a.next.buf)
	return n >= a.min && (a.filled >= a.blocks || n >= a.limit(a.next.number))
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
	switch {
	case a.format == pca.AuditReportResponseFormat_CSV:
	case a.rows == 0:
		a.next.buf = append(a.next.buf, rendering.JSONEmpty...)
	default:
		a.next.buf = append(a.next.buf, rendering.JSONEnd...)
	}
	a.next.hi = a.size
	if a.uniform > 0 {
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
