package auditreport

import (
	"context"
	"crypto/sha256"
	"fmt"

	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/pace"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// len is how many parts of the report are runs.
func (s *segments) len() int {
	if s == nil {
		return 0
	}
	return len(s.runs)
}

// known makes the parts that are runs: it copies those whose segments are good,
// beside everything else, and renders the others.
func (w *writer) known(ctx context.Context, render *renderer) error {
	if !w.multipart() {
		if w.segments.len() == 0 {
			return nil
		}
		if err := w.begin(ctx); err != nil {
			return err
		}
	} else if err := w.segments.begin(ctx); err != nil {
		return err
	}
	var copies, others []int
	for i := range w.segments.len() {
		switch {
		case w.there[int32(i+1)]:
		case w.segments.runs[i].segment != nil && w.segments.copies.Load():
			copies = append(copies, i)
		default:
			others = append(others, i)
		}
	}
	if len(copies)+len(others) == 0 {
		return nil
	}
	scribes := render.scribes()
	w.wg.Go(func() { w.fail(w.copyRuns(ctx, copies)) })
	return w.makeRuns(ctx, others, scribes)
}

// copyRuns copies segments; those that could not be are left in uncopied.
func (w *writer) copyRuns(ctx context.Context, runs []int) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(copiesAtOnce)
	for _, i := range runs {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			segment := w.segments.runs[i].segment
			done, ok, err := w.segments.copyPart(gctx, w, int32(i+1), segment)
			switch {
			case err != nil:
				return fmt.Errorf("copying part %d: %w", i+1, err)
			case !ok:
				w.mu.Lock()
				w.uncopied = append(w.uncopied, i)
				w.mu.Unlock()
				return nil
			}
			w.job.copied.Add(uint64(done.Size))
			return w.record(gctx, partOf(segment, int32(i+1)), done, nil)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

// partOf is the part that a segment makes, without its bytes.
func partOf(g *store.Segment, number int32) part {
	return part{number: number, lo: g.Lo, hi: g.Hi, rows: g.Rows, revoked: g.Revoked, sum: [32]byte(g.SHA256)}
}

// makeRuns makes parts of runs out of what passes through here, as many at a
// time as the memory of a report allows.
func (w *writer) makeRuns(ctx context.Context, runs []int, scribes chan *scribe) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(cap(w.slots) + cap(scribes))
	for _, i := range runs {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			pace.GiveWay()
			return w.makeRun(gctx, i, scribes)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}

func (w *writer) makeRun(ctx context.Context, i int, scribes chan *scribe) error {
	r := w.segments.runs[i]
	if g := r.segment; g != nil {
		if buf := w.segments.read(ctx, g, w.buffers.get(r.hi-r.lo)); buf != nil {
			defer w.buffers.put(buf)
			p := partOf(g, int32(i+1))
			p.buf = buf
			if w.segments.copies.Load() {
				return w.putNow(ctx, p) // its record is not what it is
			}
			return w.putBytes(ctx, p, nil)
		}
	}
	s := <-scribes
	p, err := s.run(ctx, r)
	scribes <- s
	if err != nil {
		return err
	}
	p.number = int32(i + 1)
	if err := w.putNow(ctx, p); err != nil {
		return err
	}
	w.buffers.put(p.buf)
	return nil
}

// run renders a run into one buffer.
func (s *scribe) run(ctx context.Context, r run) (p part, err error) {
	p.lo, p.hi = r.lo, r.hi
	if r.hi-r.lo > certlog.BlockSize {
		p.buf = make([]byte, 0, r.bytes+r.bytes/16) // revocations make it longer
	}
	for lo := r.lo; lo < r.hi && err == nil; {
		hi := min((lo/certlog.BlockSize+1)*certlog.BlockSize, r.hi)
		err = s.block(ctx, lo, hi, func(c chunk) error {
			p.rows += c.rows
			p.revoked += c.revoked
			if p.buf == nil {
				p.buf = c.buf
				return ctx.Err()
			}
			p.buf = append(p.buf, c.buf...)
			s.buffers.put(c.buf)
			return ctx.Err()
		})
		lo = hi
	}
	if r.lo == 0 && p.rows > 0 && s.format == pca.AuditReportResponseFormat_JSON {
		copy(p.buf, rendering.JSONStart) // was the separator from the row before
	}
	return p, err
}

// intact tells whether bytes are those of a segment.
func intact(g *store.Segment, b []byte) error {
	if sha256.Sum256(b) != [32]byte(g.SHA256) {
		return fmt.Errorf("%w: the SHA-256 of %s is not %x", bucket.ErrSource, g.Key, g.SHA256)
	}
	return nil
}

// records are what is to be stored of parts that are in the bucket. They are
// stored together: thousands of copies are made in a second.
type records struct {
	parts    []store.UploadedPart
	segments []store.Segment
	busy     bool // someone stores what is here, and what is added meanwhile
}

// copiesRecorded is how many copied parts are recorded together: those that a
// crash makes unknown are copied again.
const copiesRecorded = 256

// record notes that a part is in the bucket; g is the segment that was made of
// it, or nil.
func (w *writer) record(ctx context.Context, p part, done bucket.Part, g *store.Segment) error {
	up := store.UploadedPart{
		Report: w.job.report.ID, Number: p.number, Lo: p.lo, Hi: p.hi, Rows: p.rows, Revoked: p.revoked,
		Bytes: uint64(done.Size), ETag: done.ETag, Checksum: done.Checksum, SHA256: p.sum[:],
	}
	w.mu.Lock()
	w.parts = append(w.parts, up)
	w.pending.parts = append(w.pending.parts, up)
	if g != nil {
		w.pending.segments = append(w.pending.segments, *g)
	}
	wait := p.buf == nil && len(w.pending.parts) < copiesRecorded
	w.mu.Unlock()
	w.job.count(up)
	if wait {
		return nil
	}
	return w.flush(ctx)
}

// flush stores the records that wait, unless someone is at it.
func (w *writer) flush(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.pending.busy {
		return nil
	}
	w.pending.busy = true
	defer func() { w.pending.busy = false }()
	for len(w.pending.parts) > 0 {
		r := w.pending
		w.pending.parts, w.pending.segments = nil, nil
		w.mu.Unlock()
		err := pace.Hurry(func() error { return w.store(ctx, r) })
		w.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) store(ctx context.Context, r records) error {
	if len(r.segments) > 0 {
		if err := w.segments.moved(w.job.service.cfg.SegmentRecords.PutSegments(ctx, w.segments.set, r.segments)); err != nil {
			return err
		}
	}
	// A crash before this line has the parts written again, with the same bytes.
	if err := w.job.service.cfg.Parts.PutUploadedParts(ctx, r.parts); err != nil {
		return fmt.Errorf("recording parts: %w", err)
	}
	return nil
}

// fail keeps the first error of what runs beside the rendering.
func (w *writer) fail(err error) {
	if err == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.err = err
	}
}
