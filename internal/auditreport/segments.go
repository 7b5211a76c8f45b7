package auditreport

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/store"
)

// Segments are what a report leaves for the next ones (destination.md D-24):
// every part of whole rows but the last, as an object of the server's own that
// is named by its content. The next report copies those that no revocation
// touched since. All that can happen to a segment is that it is rendered again:
// nothing here makes a report fail, but the store.

const (
	maxSegment   = 5 << 30 // bytes; what S3 takes in one request
	maxFailures  = 3       // of writing segments, after which an attempt leaves it
	copiesAtOnce = 16      // UploadPartCopy in flight
)

// run is a range of the log that is one part of a report.
type run struct {
	lo, hi  uint64
	bytes   uint64         // when it was last rendered
	segment *store.Segment // that holds its rows; nil: they must be rendered
}

// segments are those that one attempt at a report uses and makes.
type segments struct {
	job      *job
	client   *bucket.Client
	bucket   string
	was, set store.SegmentSet // as found, and as of this report
	stale    []uint64         // first entries of the segments that the log touched in between
	runs     []run            // the beginning of the report, without gaps
	begun    bool             // set is what is stored
	closed   bool             // the bucket cannot be used

	copies   atomic.Bool  // parts can be made of segments without passing through here
	failures atomic.Int32 // of writing segments
	warning  sync.Once
}

// segments finds what of the report is there; nil when segments are not used.
func (j *job) segments(ctx context.Context, to *bucket.Client, l layout) (*segments, error) {
	if j.service.cfg.Segments == nil || l.uniform > 0 {
		return nil, nil
	}
	r := j.report
	client, name, err := j.service.cfg.Segments(ctx, r.Account, r.CAARN)
	if err != nil {
		j.log.WarnContext(ctx, "audit report is rendered whole, since the bucket of segments cannot be reached", "error", err)
		return nil, nil
	}
	s := &segments{job: j, client: client, bucket: name}
	s.set = store.SegmentSet{CA: r.CA, Format: r.Format, Rendering: rendering.Version, Place: place(client, name), Size: r.TreeSize}
	s.copies.Store(to.Shares(client))
	var all []store.Segment
	s.was, all, err = j.service.cfg.SegmentRecords.Segments(ctx, r.CA, r.Format)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.was = store.SegmentSet{CA: r.CA, Format: r.Format}
		return s, nil
	case err != nil:
		return nil, err
	case s.was.Size > r.TreeSize:
		j.log.WarnContext(ctx, "audit report is rendered whole, since the segments are of a later one", "entries", s.was.Size)
		return nil, nil
	case s.was.Rendering != s.set.Rendering, s.was.Place != s.set.Place:
		return s, nil // begin drops them
	}
	if s.stale, err = s.revoked(ctx, all); err != nil {
		return nil, err
	}
	s.plan(all, l)
	return s, nil
}

// revoked makes the segments stale that entries of the log since the set's last
// report revoke certificates of. It reads these entries alone.
func (s *segments) revoked(ctx context.Context, all []store.Segment) (stale []uint64, err error) {
	if len(all) == 0 {
		return nil, nil
	}
	var e certlog.Entry
	err = s.job.service.cfg.Entries.LogEntries(ctx, s.set.CA, s.was.Size, s.set.Size, func(index uint64, entry []byte) error {
		if err := e.Decode(entry); err != nil {
			return fmt.Errorf("%w: entry %d: %w", errLog, index, err)
		}
		if e.Type != certlog.TypeRevoke {
			return nil
		}
		i := sort.Search(len(all), func(i int) bool { return all[i].Hi > e.IssueIndex })
		if i < len(all) && all[i].Lo <= e.IssueIndex && !all[i].Stale {
			all[i].Stale = true
			stale = append(stale, all[i].Lo)
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: %w", errLog, err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading entries %d to %d: %w", s.was.Size, s.set.Size, err)
	}
	return stale, nil
}

// plan makes runs of the segments up to the first gap, which only a report
// that failed leaves.
func (s *segments) plan(all []store.Segment, l layout) {
	var end uint64
	for i := range all {
		g := &all[i]
		if g.Lo != end || g.Hi >= l.size {
			break
		}
		r := run{lo: g.Lo, hi: g.Hi, bytes: g.Bytes}
		if !g.Stale {
			r.segment = g
		}
		s.runs, end = append(s.runs, r), g.Hi
	}
	s.merge(l)
}

// merge joins neighbours, the shortest and oldest first, into runs that are
// rendered once more, as many as it takes for the report to have no more parts
// than it should.
func (s *segments) merge(l layout) {
	width := l.blocks * certlog.BlockSize
	more := len(s.runs) + int((l.size-s.end()+width-1)/width) - l.parts
	for limit := uint64(2 * certlog.BlockSize); more > 0; limit *= 2 {
		var merged []run
		for i := 0; i < len(s.runs); i++ {
			r := s.runs[i]
			if more > 0 && i+1 < len(s.runs) {
				if next := s.runs[i+1]; next.hi-r.lo <= limit && r.bytes+next.bytes <= maxSegment {
					r = run{lo: r.lo, hi: next.hi, bytes: r.bytes + next.bytes}
					i++
					more--
				}
			}
			merged = append(merged, r)
		}
		s.runs = merged
		if limit >= l.size {
			return
		}
	}
}

// end is where the runs end in the log.
func (s *segments) end() uint64 {
	if s == nil || len(s.runs) == 0 {
		return 0
	}
	return s.runs[len(s.runs)-1].hi
}

// begin makes the set that of this report. A crash after it leaves the marks
// that the next attempt finds.
func (s *segments) begin(ctx context.Context) error {
	if s == nil || s.begun {
		return nil
	}
	if err := s.client.EnsureBucket(ctx, s.bucket); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.warn(ctx, "audit report is rendered whole, since the bucket of segments cannot be used", err)
		s.closed = true // what is there stays for the next report
		for i := range s.runs {
			s.runs[i].segment = nil
		}
	}
	if err := s.moved(s.job.service.cfg.SegmentRecords.MoveSegments(ctx, s.was, s.set, s.stale)); err != nil {
		return err
	}
	s.begun = true
	return nil
}

// moved tells that another report, or another server, took the set over.
func (s *segments) moved(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("%w: %w", errMoved, err)
	}
	return err
}

func (s *segments) warn(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.warning.Do(func() { s.job.log.WarnContext(ctx, what, "bucket", s.bucket, "error", err) })
	}
}

func (s *segments) source(g *store.Segment) bucket.Source {
	return bucket.Source{Bucket: s.bucket, Key: g.Key, ETag: g.ETag, Size: int64(g.Bytes)}
}

// place names a bucket of segments in the records of sets.
func place(client *bucket.Client, name string) string { return client.Name() + "/" + name }

// prefix begins the keys of the segments of a set.
func prefix(set store.SegmentSet) string { return set.CA + "/" + string(set.Format) + "/" }

// put keeps a part as a segment. Without an object, which only costs the next
// report, the segment is stale from the beginning.
func (s *segments) put(ctx context.Context, p part) *store.Segment {
	g := &store.Segment{Lo: p.lo, Hi: p.hi, Rows: p.rows, Revoked: p.revoked, Bytes: uint64(len(p.buf)), SHA256: p.sum[:], Stale: true}
	if s.failures.Load() >= maxFailures {
		return g
	}
	key := fmt.Sprintf("%s%012d-%012d-%x", prefix(s.set), p.lo, p.hi, p.sum[:16])
	st, err := s.client.PutSource(ctx, bucket.Object{Bucket: s.bucket, Key: key, ContentType: "application/octet-stream"}, p.buf, p.sum)
	if err != nil {
		s.failures.Add(1)
		s.warn(ctx, "parts of an audit report are not kept for the next one", err)
		return g
	}
	g.Key, g.ETag, g.Checksum, g.Stale = key, st.ETag, st.Checksum, false
	return g
}

// copyPart makes a part of a segment without its passing through here. ok is
// false when that did not work, and the part is to be made otherwise.
func (s *segments) copyPart(ctx context.Context, w *writer, number int32, g *store.Segment) (done bucket.Part, ok bool, err error) {
	if g.Stale || !s.copies.Load() {
		return done, false, nil
	}
	done, err = w.client.CopyPart(ctx, w.upload, number, s.source(g))
	known := done.Checksum != "" && g.Checksum != ""
	switch {
	case err == nil && (known && done.Checksum == g.Checksum || !known && done.ETag == g.ETag):
		return done, true, nil
	case err == nil && known:
		err = fmt.Errorf("%w: the checksum of %s is %s, not %s", bucket.ErrSource, g.Key, done.Checksum, g.Checksum)
	case err == nil:
		// Nothing says that these are the bytes: an endpoint without checksums may
		// not look at the condition of a copy either.
		s.copies.Store(false)
		err = fmt.Errorf("%w: the copy of %s has the ETag %s, not %s", bucket.ErrSource, g.Key, done.ETag, g.ETag)
	case errors.Is(err, bucket.ErrNoUpload), ctx.Err() != nil:
		return done, false, err
	case !errors.Is(err, bucket.ErrSource):
		// The endpoint does not copy, or not now: what passes through here does.
		s.copies.Store(false)
	}
	s.warn(ctx, "part of an audit report is made without its segment", err)
	return done, false, nil
}

// read reads the rows of a segment; nil when they are not what was written.
func (s *segments) read(ctx context.Context, g *store.Segment, buf []byte) []byte {
	buf, err := s.client.Get(ctx, buf, s.source(g))
	if err == nil {
		err = intact(g, buf)
	}
	if err != nil {
		s.warn(ctx, "part of an audit report is rendered again, since its segment cannot be read", err)
		return nil
	}
	return buf
}
