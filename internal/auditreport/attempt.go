package auditreport

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/pace"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// errTooLarge says that a report does not fit into the parts of one object.
var errTooLarge = errors.New("the report has too many parts")

// attempt writes the report from where it stands. It may be stopped at any
// point and called again, by this process or the next.
func (j *job) attempt(ctx context.Context) error {
	r := j.report
	// Step: the tree head that will prove the report.
	head, err := j.head(ctx)
	if err != nil {
		return err
	}
	j.root = head.Root
	client, err := j.service.cfg.Destination(ctx, r.Account, r.CAARN)
	if err != nil {
		return fmt.Errorf("reaching the buckets of CA %s: %w", r.CA, err)
	}

	// Step: the rows. Parts of an upload are not visible.
	w, err := j.resume(ctx, client)
	if err != nil {
		return err
	}
	if err := w.write(ctx); err != nil {
		if errors.Is(err, bucket.ErrNoUpload) {
			// Someone aborted the upload, or it expired: begin a new one.
			return errors.Join(err, j.forgetUpload(ctx))
		}
		return err
	}

	// Step: the proof, behind the gate, since its objects are visible at once.
	b := j.bundle(client, head)
	request := gateRequest(r, false)
	request.Beside = beside(r, b.folder)
	gate, err := client.Gate(ctx, request)
	if err != nil {
		return err
	}
	if err := b.write(ctx, w, gate); err != nil {
		return err
	}

	// Step: the gate once more. Everything but the last request is done and
	// the report is not visible yet; permission that was withdrawn stops it here.
	if _, err := client.Gate(ctx, request); err != nil {
		return err
	}

	// Step: the object becomes visible, whole, and is looked at. A crash right
	// after it is found by the next attempt: the store answers that the object
	// exists, or that the upload is gone, and a look shows that it is ours.
	var st bucket.Stored
	if w.multipart() {
		st, err = client.Complete(ctx, w.upload, w.uploaded())
		if errors.Is(err, bucket.ErrNoUpload) {
			return errors.Join(err, j.forgetUpload(ctx))
		}
	} else {
		st, err = client.Put(ctx, j.object(), w.small, w.sum())
	}
	if err != nil {
		return err
	}
	if !st.Seen {
		j.log.WarnContext(ctx, "audit report written, but the credentials may not look at it (s3:GetObject)", "bucket", r.Bucket, "key", r.Key)
	}

	// Step: its manifest is retained, where reports are. A crash before it
	// leaves that to the next attempt.
	if err := b.retain(ctx, w); err != nil {
		return err
	}

	// Step: SUCCESS.
	sum := w.sum()
	r.Status, r.Reason, r.FinishedAt = pca.AuditReportStatus_SUCCESS, "", j.service.stamp()
	r.Rows, r.Revoked, r.Bytes, r.SHA256, r.UploadID = w.rows, w.revoked, uint64(st.Size), sum[:], ""
	if err := j.update(context.WithoutCancel(ctx)); err != nil {
		r.Status = pca.AuditReportStatus_CREATING
		r.UploadID = w.upload.ID
		return err
	}
	j.entries.Store(r.TreeSize)
	j.ended(ctx)
	w.segments.collect(ctx)
	return nil
}

// forgetUpload makes the next attempt begin a new upload.
func (j *job) forgetUpload(ctx context.Context) error {
	// The parts go first: an upload id without parts is resumed from the
	// beginning, parts without their upload would be taken for another's.
	if err := j.service.cfg.Parts.DeleteUploadedParts(ctx, j.report.ID); err != nil {
		return fmt.Errorf("forgetting parts: %w", err)
	}
	j.report.UploadID = ""
	j.entries.Store(0)
	j.rows.Store(0)
	j.bytes.Store(0)
	return j.update(ctx)
}

func (j *job) object() bucket.Object {
	r := j.report
	contentType := "application/json"
	if r.Format == pca.AuditReportResponseFormat_CSV {
		contentType = "text/csv; charset=utf-8"
	}
	return bucket.Object{Bucket: r.Bucket, Key: r.Key, Account: r.Account, ContentType: contentType, ReportID: r.ID}
}

// writer brings the parts of one report into the bucket. Its methods are
// called by one goroutine; uploads run in others.
type writer struct {
	job    *job
	client *bucket.Client
	layout layout
	upload bucket.Upload // ID is empty until the report turns out to need parts

	buffers buffers

	held      []part // not yet sent, since the report may still fit into one PutObject
	heldBytes int
	small     []byte // the whole report, when it did
	smallSum  [32]byte

	rows, revoked uint64
	runs          []proof.Part // of whole rows, when parts are uniform; after write
	from          uint64       // log index to render from, in parts from number next on
	next          int32
	skip          int64 // bytes that are in the bucket before it, when parts are uniform

	segments *segments      // of the parts before from; nil: none are used
	there    map[int32]bool // parts of segments that were in the bucket before this attempt
	uncopied []int          // runs whose segments could not be copied

	slots   chan struct{} // uploads in flight
	wg      sync.WaitGroup
	mu      sync.Mutex
	parts   []store.UploadedPart // in the bucket
	pending records              // of parts
	err     error                // the first of an upload
}

// resume finds what of the report is in the bucket already (D-23).
func (j *job) resume(ctx context.Context, client *bucket.Client) (*writer, error) {
	r := j.report
	w := &writer{job: j, client: client, layout: newLayout(r.TreeSize, client.UniformParts()), there: map[int32]bool{}}
	if c := j.service.chunk; c > 0 {
		w.layout.chunk, w.layout.put, w.layout.uniform = c, 2*c, min(w.layout.uniform, 2*c)
	}
	if n := j.service.parts; n > 0 {
		w.layout.parts = n
	}
	w.slots = make(chan struct{}, parallel(j.service.cfg.Memory, w.layout.partSize(), j.service.cfg.Workers))
	w.upload = bucket.Upload{Object: j.object(), ID: r.UploadID}
	var err error
	if w.segments, err = j.segments(ctx, client, w.layout); err != nil {
		return nil, err
	}
	w.from, w.next = w.segments.end(), int32(w.segments.len())+1
	if r.UploadID == "" {
		return w, nil
	}
	parts, err := j.service.cfg.Parts.UploadedParts(ctx, r.ID)
	if err != nil {
		return nil, fmt.Errorf("reading parts of report %s: %w", r.ID, err)
	}
	j.entries.Store(0)
	j.rows.Store(0)
	j.bytes.Store(0)
	w.accept(parts)
	for _, p := range w.parts {
		j.count(p)
	}
	return w, nil
}

// accept takes those parts for done that are what an attempt would make now.
// Parts finish in any order; of what is rendered anew, those after a gap are
// written again.
func (w *writer) accept(parts []store.UploadedPart) {
	byNumber := make(map[int32]store.UploadedPart, len(parts))
	for _, p := range parts {
		byNumber[p.Number] = p
	}
	for i := range w.segments.len() {
		number := int32(i + 1)
		if p, ok := byNumber[number]; ok && p.Lo == w.segments.runs[i].lo && p.Hi == w.segments.runs[i].hi {
			w.parts = append(w.parts, p)
			w.there[number] = true
		}
	}
	for {
		p, ok := byNumber[w.next]
		if !ok || p.Lo != w.from {
			break
		}
		w.parts = append(w.parts, p)
		w.from, w.next = p.Hi, w.next+1
		w.skip += int64(p.Bytes)
	}
	if w.layout.uniform > 0 {
		w.from = 0 // these parts end inside of rows: render all again, send what is missing
	}
}

// parallel is how many uploads run beside the rendering within a budget of
// memory; the blocks that are rendered and the part that waits count too (D-22).
func parallel(memory, partSize, workers int) int {
	return min(max(memory/partSize-workers-1, 1), bucket.MaxParallel)
}

func (j *job) count(p store.UploadedPart) {
	j.entries.Add(p.Hi - p.Lo)
	j.rows.Add(p.Rows)
	j.bytes.Add(p.Bytes)
}

// multipart tells whether the report is written in parts.
func (w *writer) multipart() bool { return w.upload.ID != "" }

// write renders what is missing and sends it, until only the last step is
// left: all parts are in the bucket, or the whole report is in small.
func (w *writer) write(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer w.wg.Wait()
	defer cancel()
	render := &renderer{
		entries: w.job.service.cfg.Entries, ca: w.job.report.CA, caARN: []byte(w.job.report.CAARN), format: w.job.report.Format, layout: w.layout,
		workers: w.job.service.cfg.Workers, buffers: &w.buffers,
	}
	if err := w.known(ctx, render); err != nil {
		return w.first(err)
	}
	// The last part is the only one that ends there. Uniform parts are rendered
	// all the same, for the hashes of whole rows.
	if w.from < w.layout.size || w.layout.uniform > 0 {
		if err := w.rest(ctx, render); err != nil {
			return w.first(err)
		}
	}
	w.wg.Wait()
	if err := w.first(nil); err != nil {
		return err
	}
	if err := w.makeRuns(ctx, w.uncopied, render.scribes()); err != nil {
		return err
	}
	if !w.multipart() || w.layout.uniform > 0 {
		return nil
	}
	w.rows, w.revoked = 0, 0
	for _, p := range w.parts {
		w.rows += p.Rows
		w.revoked += p.Revoked
	}
	return w.flush(ctx)
}

// rest renders the report from where it is not in the bucket, and sends it.
func (w *writer) rest(ctx context.Context, render *renderer) error {
	a := &assembler{
		layout: w.layout, format: render.format, buffers: &w.buffers,
		next: part{number: w.next, lo: w.from, hi: w.from},
		emit: func(p part) error { return w.send(ctx, p) },
		skip: w.skip,
	}
	a.begun = w.from > 0
	if err := render.run(ctx, w.from, a.add); err != nil {
		return err
	}
	if err := a.finish(); err != nil {
		return err
	}
	w.rows, w.revoked, w.runs = a.rows, a.revoked, a.runs.done
	if w.multipart() {
		return nil
	}
	if w.heldBytes <= w.layout.put {
		w.join()
		return nil
	}
	return w.begin(ctx)
}

// first is the error of an upload, if there was one, before what it led to.
func (w *writer) first(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	return err
}

// send takes a part from the assembler.
func (w *writer) send(ctx context.Context, p part) error {
	if w.multipart() {
		return w.put(ctx, p)
	}
	w.held = append(w.held, p)
	w.heldBytes += len(p.buf)
	if w.heldBytes <= w.layout.put {
		return nil
	}
	return w.begin(ctx)
}

// join makes one buffer of a small report.
func (w *writer) join() {
	w.small = w.held[0].buf
	for _, p := range w.held[1:] {
		w.small = append(w.small, p.buf...)
		w.buffers.put(p.buf)
	}
	w.held, w.smallSum = nil, sha256.Sum256(w.small)
}

// begin starts a multipart upload with the parts that were held.
func (w *writer) begin(ctx context.Context) error {
	r := w.job.report
	if err := w.segments.begin(ctx); err != nil {
		return err
	}
	// An upload whose id was lost in a crash between the next two steps. Only
	// one report of a CA is made at a time, so any other upload is such a one.
	if n, err := w.client.Sweep(ctx, r.Bucket, r.Account, "audit-report/"+r.CA+"/", ""); err != nil {
		w.job.log.WarnContext(ctx, "sweeping dangling uploads", "error", err)
	} else if n > 0 {
		w.job.log.InfoContext(ctx, "dangling uploads aborted", "uploads", n)
	}
	u, err := w.client.CreateUpload(ctx, w.job.object())
	if err != nil {
		return fmt.Errorf("beginning the upload: %w", err)
	}
	r.UploadID = u.ID
	if err := w.job.update(ctx); err != nil {
		r.UploadID = ""
		return fmt.Errorf("recording the upload: %w", err)
	}
	w.upload = u
	held := w.held
	w.held, w.heldBytes = nil, 0
	for _, p := range held {
		if err := w.put(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// put uploads a part beside the rendering; it waits while too many are under way.
func (w *writer) put(ctx context.Context, p part) error {
	if p.number > bucket.MaxParts {
		return errTooLarge
	}
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return w.first(ctx.Err())
	}
	if err := w.first(nil); err != nil {
		<-w.slots
		return err
	}
	w.wg.Go(func() {
		pace.GiveWay()
		defer func() { <-w.slots }()
		if err := w.putNow(ctx, p); err != nil {
			w.fail(err)
			return
		}
		w.buffers.put(p.buf)
	})
	return nil
}

func (w *writer) putNow(ctx context.Context, p part) error {
	p.sum = sha256.Sum256(p.buf)
	if w.segments == nil || w.segments.closed || p.hi == w.layout.size {
		return w.putBytes(ctx, p, nil)
	}
	// A segment first: where it can be copied the bytes are sent once.
	g := w.segments.put(ctx, p)
	done, ok, err := w.segments.copyPart(ctx, w, p.number, g)
	switch {
	case err != nil:
		return fmt.Errorf("copying part %d: %w", p.number, err)
	case !ok:
		return w.putBytes(ctx, p, g)
	}
	return w.record(ctx, p, done, g)
}

// putBytes uploads a part; g is the segment that was made of it, or nil.
func (w *writer) putBytes(ctx context.Context, p part, g *store.Segment) error {
	done, err := w.client.UploadPart(ctx, w.upload, p.number, p.buf, p.sum)
	if err != nil {
		return fmt.Errorf("uploading part %d: %w", p.number, err)
	}
	return w.record(ctx, p, done, g)
}

// uploaded lists all parts in order; only after write.
func (w *writer) uploaded() []bucket.Part {
	slices.SortFunc(w.parts, func(a, b store.UploadedPart) int { return cmp.Compare(a.Number, b.Number) })
	parts := make([]bucket.Part, len(w.parts))
	for i, p := range w.parts {
		parts[i] = bucket.Part{Number: p.Number, Size: int64(p.Bytes), ETag: p.ETag, Checksum: p.Checksum}
	}
	return parts
}

// wholeRows are the parts of the manifest; only after write. Parts of an upload
// are runs of whole rows themselves, unless they are uniform.
func (w *writer) wholeRows() []proof.Part {
	size := w.job.report.TreeSize
	if !w.multipart() {
		return []proof.Part{{Hi: size, Length: int64(len(w.small)), Rows: w.rows, SHA256: w.smallSum}}
	}
	if w.layout.uniform > 0 {
		return w.runs
	}
	w.uploaded()
	parts := make([]proof.Part, len(w.parts))
	for i, p := range w.parts {
		parts[i] = proof.Part{Hi: p.Hi, Length: int64(p.Bytes), Rows: p.Rows, SHA256: [32]byte(p.SHA256)}
	}
	return lastTo(parts, size)
}

// sum identifies the report's bytes; only after write. It is the file's
// SHA-256 when it was written in one piece, and else the SHA-256 of the parts'
// SHA-256 hashes in order (S3's COMPOSITE), since parts are hashed in parallel
// and never read again (proof.md 3).
func (w *writer) sum() [32]byte {
	if !w.multipart() {
		return w.smallSum
	}
	w.uploaded()
	if len(w.parts) == 1 {
		return [32]byte(w.parts[0].SHA256)
	}
	h := sha256.New()
	for _, p := range w.parts {
		h.Write(p.SHA256)
	}
	return [32]byte(h.Sum(nil))
}
