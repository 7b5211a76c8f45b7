package auditreport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// lookAgain is how often Run looks for unfinished reports that nobody told it
// about, such as one whose commit was reported as failed and was not.
const lookAgain = time.Minute

// maxPause is the longest pause between two attempts.
const maxPause = 30 * time.Second

// Run resumes the reports that an earlier process left unfinished, and makes
// those that are created, until ctx ends. A report that is under way then is
// left as it is, to be resumed.
func (s *Service) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	if err := s.findUnfinished(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	wg.Go(func() { s.tend(ctx) })
	wg.Go(func() { s.verifyWaiting(ctx) })
	tick := time.NewTicker(s.again)
	defer tick.Stop()
	for {
		for _, r := range s.takeWaiting() {
			wg.Go(func() { s.run(ctx, r) })
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
			if err := s.findUnfinished(ctx); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "looking for unfinished audit reports", "error", err)
			}
		}
	}
}

func (s *Service) findUnfinished(ctx context.Context) error {
	reports, err := s.cfg.Reports.UnfinishedReports(ctx)
	if err != nil {
		return fmt.Errorf("listing unfinished reports: %w", err)
	}
	for _, r := range reports {
		s.enqueue(r)
	}
	return nil
}

// enqueue hands a report to Run, unless it has it already.
func (s *Service) enqueue(r *store.AuditReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs[r.ID] != nil {
		return
	}
	record := *r // the caller goes on with its own
	s.jobs[r.ID] = &job{service: s, report: &record, log: s.log.With("report", r.ID, "ca", r.CAARN)}
	s.waiting = append(s.waiting, &record)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *Service) takeWaiting() []*store.AuditReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.waiting
	s.waiting = nil
	return w
}

// run makes one report.
func (s *Service) run(ctx context.Context, r *store.AuditReport) {
	s.mu.Lock()
	j := s.jobs[r.ID]
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.jobs, r.ID)
		s.mu.Unlock()
	}()
	lane := s.large
	if r.TreeSize <= certlog.BlockSize {
		lane = s.small
	}
	j.run(ctx, lane)
}

// job is the making of one report.
type job struct {
	service *Service
	report  *store.AuditReport // changed by run only
	log     *slog.Logger

	entries, rows, bytes atomic.Uint64 // in the bucket already
	copied               atomic.Uint64 // of bytes, those that were copied from segments
	packs                atomic.Uint64 // of the log, written for this report
	root                 tlog.Hash     // of the tree that proves the report
}

// errMoved says that someone else decided about the report meanwhile.
var errMoved = errors.New("the report's record was changed by someone else")

// turn makes one attempt in a lane, and tells how long it waited for it. The lane
// is free while the witnesses of the log are asked, and between attempts.
func (j *job) turn(ctx context.Context, lane chan struct{}) (waited time.Duration, err error) {
	leave, err := enter(ctx, j.service.heads)
	if err != nil {
		return 0, err
	}
	_, err = j.head(ctx)
	leave()
	if err != nil {
		return 0, err
	}
	ready := time.Now()
	if leave, err = enter(ctx, lane); err != nil {
		return 0, err
	}
	defer leave()
	waited = time.Since(ready)
	return waited, j.attempt(ctx)
}

// enter waits for a place in a lane.
func enter(ctx context.Context, lane chan struct{}) (leave func(), err error) {
	select {
	case lane <- struct{}{}:
		return func() { <-lane }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run tries until the report is SUCCESS or FAILED, or ctx ends.
func (j *job) run(ctx context.Context, lane chan struct{}) {
	// The record may be older than its last owner's work.
	fresh, err := j.service.cfg.Reports.Report(ctx, j.report.CA, j.report.ID)
	if err != nil {
		if ctx.Err() == nil {
			j.log.ErrorContext(ctx, "reading an audit report to make it", "error", err) // Run finds it again
		}
		return
	}
	*j.report = *fresh
	if fresh.Status != pca.AuditReportStatus_CREATING {
		return
	}
	started := time.Now()
	pause := j.service.backoff
	var failing time.Time // since when nothing went forward, but for waiting its turn
	for {
		before := j.bytes.Load() + j.packs.Load()
		waited, err := j.turn(ctx, lane)
		if !failing.IsZero() {
			failing = failing.Add(waited)
		}
		if err == nil {
			j.log.InfoContext(ctx, "audit report written", "tree", j.report.TreeSize, "root", j.root, "rows", j.report.Rows, "revoked", j.report.Revoked, "bytes", j.report.Bytes, "copied", j.copied.Load(), "took", time.Since(started))
			return
		}
		if ctx.Err() != nil {
			return // resumed by the next process
		}
		if errors.Is(err, errMoved) {
			j.log.WarnContext(ctx, "audit report left to someone else", "error", err)
			return
		}
		if failing.IsZero() || j.bytes.Load()+j.packs.Load() > before {
			failing, pause = time.Now(), j.service.backoff
		}
		if !retryable(err) || time.Since(failing)+pause > j.service.cfg.RetryFor {
			j.fail(ctx, err)
			return
		}
		j.log.WarnContext(ctx, "audit report delayed, will try again", "error", err, "pause", pause)
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, maxPause)
	}
}

// retryable tells whether an attempt failed for a reason that may go away.
func retryable(err error) bool {
	switch {
	case errors.Is(err, errLog), errors.Is(err, errTooLarge), errors.Is(err, certlog.ErrHead):
		return false
	}
	return errors.Is(err, errProof) || bucket.Temporary(err)
}

// fail ends a report that cannot be written. Nothing of it stays visible.
func (j *job) fail(ctx context.Context, cause error) {
	r := j.report
	if r.UploadID != "" {
		if client, err := j.service.cfg.Destination(ctx, r.Account, r.CAARN); err == nil {
			// What cannot be aborted now is invisible, and swept by the CA's next report.
			if err := client.Abort(ctx, bucket.Upload{Object: j.object(), ID: r.UploadID}); err != nil {
				j.log.WarnContext(ctx, "aborting the upload of a failed audit report", "error", err)
			}
		}
	}
	r.Status, r.Reason, r.FinishedAt = pca.AuditReportStatus_FAILED, why(cause), j.service.stamp()
	r.UploadID = ""
	if err := j.update(ctx); err != nil {
		j.log.ErrorContext(ctx, "audit report failed, and that could not be recorded", "error", err, "cause", cause)
		return // still CREATING: Run finds it again
	}
	j.log.ErrorContext(ctx, "audit report failed", "error", cause, "reason", r.Reason)
	j.ended(ctx)
}

// why is the reason of a failure for the owner of the CA.
func why(err error) string {
	var refused *pca.Error
	switch {
	case errors.Is(err, errLog):
		return "The log of the certificate authority could not be read. The operator of this server finds the details in its log."
	case errors.Is(err, certlog.ErrHead):
		return "The log of the certificate authority is not what it was known to be, so no report of it is written. The operator of this server finds the details, and what to do, in its log."
	case errors.Is(err, errProof):
		return "The proof that goes with the report could not be made, and no report is written without. The operator of this server finds the details in its log."
	case errors.Is(err, errTooLarge):
		return "The report has more parts than S3 allows for one object."
	case errors.As(err, &refused) && refused.Code != pca.RequestFailedException:
		return refused.Message
	}
	return bucket.Explain(err, "report")
}

// ended cleans up after the record says SUCCESS or FAILED. A crash before it
// leaves rows that nobody reads.
func (j *job) ended(ctx context.Context) {
	r := j.report
	if err := j.service.cfg.Parts.DeleteUploadedParts(context.WithoutCancel(ctx), r.ID); err != nil {
		j.log.WarnContext(ctx, "forgetting the parts of an audit report", "error", err)
	}
	j.service.cfg.Events(Event{CAARN: r.CAARN, ReportID: r.ID, Account: r.Account, Time: r.FinishedAt, Failure: r.Reason})
}

// update stores the record.
func (j *job) update(ctx context.Context) error {
	err := j.service.cfg.Reports.UpdateReport(ctx, j.report)
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("%w: %w", errMoved, err)
	}
	return err
}

// Progress is how far a report has come.
type Progress struct {
	Status      pca.AuditReportStatus
	Done, Total uint64 // log entries in the bucket, of those that the report covers
	Rows        uint64 // certificates in the bucket
	Bytes       uint64 // in the bucket
	Reason      string // of a failure, in words
}

// Progress tells how far a report has come; store.ErrNotFound when the CA has
// no such report.
func (s *Service) Progress(ctx context.Context, ca, id string) (Progress, error) {
	r, err := s.cfg.Reports.Report(ctx, ca, id)
	if err != nil {
		return Progress{}, reading("report", id, err)
	}
	return s.ProgressOf(r), nil
}

// ProgressOf tells how far the report of a record has come.
func (s *Service) ProgressOf(r *store.AuditReport) Progress {
	p := Progress{Status: r.Status, Total: r.TreeSize, Rows: r.Rows, Bytes: r.Bytes, Reason: r.Reason}
	s.mu.Lock()
	j := s.jobs[r.ID]
	s.mu.Unlock()
	switch {
	case r.Status == pca.AuditReportStatus_SUCCESS:
		p.Done = r.TreeSize
	case r.Status == pca.AuditReportStatus_CREATING && j != nil:
		p.Done, p.Rows, p.Bytes = j.entries.Load(), j.rows.Load(), j.bytes.Load()
	}
	return p
}
