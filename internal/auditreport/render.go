package auditreport

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/pace"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// errLog says that the log does not read as it was written. No retry helps.
var errLog = errors.New("the log of the certificate authority is damaged")

// chunk is a run of rendered rows. A JSON row begins with the separator; the
// assembler makes that the start for the first row of a report. The chunk of the log's
// beginning holds the header of a CSV report.
type chunk struct {
	buf           []byte
	lo, hi        uint64 // log range
	rows, revoked uint64
	endsBlock     bool
}

// renderer renders a log prefix: always the same bytes for the same prefix.
type renderer struct {
	entries Entries
	ca      string
	caARN   []byte
	format  pca.AuditReportResponseFormat
	layout  layout // of the prefix
	workers int
	buffers *buffers
}

// run renders the entries [lo, size) block by block, in parallel, and calls
// take for the chunks in the order of the log. take owns the chunk's buffer.
// At most workers+1 blocks are in memory.
func (r *renderer) run(ctx context.Context, lo uint64, take func(chunk) error) error {
	type block struct {
		chunks chan chunk
		err    error // set before chunks is closed
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	scribes := r.scribes()
	queue := make(chan *block, r.workers)
	wg.Go(func() {
		defer close(queue)
		for lo < r.layout.size {
			hi := min((lo/certlog.BlockSize+1)*certlog.BlockSize, r.layout.size)
			var s *scribe
			select {
			case s = <-scribes:
			case <-ctx.Done():
				return
			}
			b := &block{chunks: make(chan chunk)}
			select {
			case queue <- b:
			case <-ctx.Done():
				return
			}
			from := lo
			wg.Go(func() {
				pace.GiveWay()
				b.err = s.block(ctx, from, hi, func(c chunk) error {
					select {
					case b.chunks <- c:
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				close(b.chunks)
				scribes <- s
			})
			lo = hi
		}
	})
	for b := range queue {
		for c := range b.chunks {
			if err := take(c); err != nil {
				return err
			}
		}
		if b.err != nil {
			return b.err
		}
	}
	return ctx.Err()
}

// scribes are as many as render at a time.
func (r *renderer) scribes() chan *scribe {
	scribes := make(chan *scribe, r.workers)
	for range r.workers {
		scribes <- &scribe{renderer: r}
	}
	return scribes
}

// scribe renders one block at a time and keeps what it needs for that.
type scribe struct {
	*renderer
	encoder     rendering.Encoder
	entry       certlog.Entry
	row         rendering.Row
	revocations []store.Revocation
	bundle      []byte // entries, each after its length
}

// block renders entries of one block and calls take for their chunks. take owns
// the chunk's buffer.
func (s *scribe) block(ctx context.Context, lo, hi uint64, take func(chunk) error) error {
	if err := pace.Hurry(func() error { return s.read(ctx, lo, hi) }); err != nil {
		return err
	}
	entries, revocations := s.bundle, s.revocations
	c := chunk{buf: s.buffers.get(hi - lo), lo: lo}
	if lo == 0 && s.format == pca.AuditReportResponseFormat_CSV {
		c.buf = append(c.buf, rendering.CSVHeader...)
	}
	for index := lo; index < hi; index++ {
		entry, rest, ok := certlog.CutBundled(entries)
		if !ok {
			return fmt.Errorf("%w: entries %d to %d are missing", errLog, index, hi)
		}
		entries = rest
		if err := s.entry.Decode(entry); err != nil {
			return fmt.Errorf("%w: entry %d: %w", errLog, index, err)
		}
		if s.entry.Type != certlog.TypeIssue {
			continue
		}
		var v *store.Revocation
		if len(revocations) > 0 && revocations[0].IssueIndex == index {
			v, revocations = &revocations[0], revocations[1:]
			if !rendering.KnownReason(v.Reason) {
				return fmt.Errorf("%w: entry %d revokes for the unknown reason %d", errLog, v.RevokeIndex, v.Reason)
			}
			c.revoked++
		}
		s.append(&c, v)
		if next := index + 1; len(c.buf) >= s.layout.chunk && next < hi {
			c.hi = next
			if err := take(c); err != nil {
				return err
			}
			c = chunk{buf: s.buffers.get(hi - next), lo: next}
		}
	}
	switch {
	case len(entries) > 0:
		return fmt.Errorf("%w: there are more entries than %d to %d", errLog, lo, hi)
	case len(revocations) > 0:
		return fmt.Errorf("%w: entry %d revokes entry %d, which issued nothing", errLog, revocations[0].RevokeIndex, revocations[0].IssueIndex)
	}
	c.hi, c.endsBlock = hi, true
	return take(c)
}

// read reads entries of one block and what revokes them.
func (s *scribe) read(ctx context.Context, lo, hi uint64) (err error) {
	s.revocations = s.revocations[:0]
	err = s.entries.Revocations(ctx, s.ca, lo, hi, s.layout.size, func(v store.Revocation) error {
		s.revocations = append(s.revocations, v)
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading revocations of entries %d to %d: %w", lo, hi, err)
	}
	s.bundle, err = s.entries.AppendLogBundle(ctx, s.bundle[:0], s.ca, lo, hi)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return fmt.Errorf("%w: reading entries %d to %d: %w", errLog, lo, hi, err)
	case err != nil:
		return fmt.Errorf("reading entries %d to %d: %w", lo, hi, err)
	}
	return nil
}

// append renders the entry, an issued certificate, with its revocation or nil.
func (s *scribe) append(c *chunk, v *store.Revocation) {
	s.row.Issued(&s.entry, s.caARN)
	if v != nil {
		s.row.Revoke(v.Time, v.Reason)
	}
	if s.format == pca.AuditReportResponseFormat_CSV {
		c.buf = s.encoder.AppendCSV(c.buf, &s.row)
	} else {
		c.buf = append(c.buf, rendering.JSONSeparator...)
		c.buf = s.encoder.AppendJSON(c.buf, &s.row)
	}
	c.rows++
}

// buffers hands out the big byte slices that the rows of one report are
// rendered into, and takes them back, so that its garbage does not grow with
// its length. There are as many as are in use at a time.
type buffers struct {
	mu   sync.Mutex
	free [][]byte
}

// rowSize is a generous mean length of a rendered row in bytes: buffers that
// hold longer ones grow, once each.
const rowSize = 576

// get returns an empty buffer with room for so many rows, mostly.
func (b *buffers) get(rows uint64) []byte {
	want := int(min(rows, certlog.BlockSize))*rowSize + 4096
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := len(b.free) - 1; i >= 0; i-- {
		if buf := b.free[i]; cap(buf) >= want {
			b.free = append(b.free[:i], b.free[i+1:]...)
			return buf[:0]
		}
	}
	return make([]byte, 0, want)
}

// put gives a buffer back. Giants of unusual rows are not kept.
func (b *buffers) put(buf []byte) {
	if cap(buf) == 0 || cap(buf) > 2*certlog.BlockSize*rowSize {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, buf)
}
