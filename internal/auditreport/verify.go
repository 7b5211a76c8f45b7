package auditreport

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/pace"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// VerificationState says how the verification of a report stands.
type VerificationState string

// The states.
const (
	VerificationNone    VerificationState = "NONE"
	VerificationRunning VerificationState = "RUNNING" // or waiting for its turn
	VerificationDone    VerificationState = "DONE"
	VerificationError   VerificationState = "ERROR" // it could not be made, which says nothing about the report
)

// Verification is the verification of a report that is under way, or else the
// last one. Its JSON form is kept in the store; part of the format.
type Verification struct {
	State      VerificationState `json:"state"`
	Done       int64             `json:"done"` // bytes of the report
	Total      int64             `json:"total"`
	StartedAt  time.Time         `json:"startedAt,omitzero"`  // when it was asked for
	FinishedAt time.Time         `json:"finishedAt,omitzero"` // zero while RUNNING
	Verdicts   []proof.Verdict   `json:"verdicts"`
	NotProven  []string          `json:"notProven"` // in words
	Rows       uint64            `json:"rows"`
	Revoked    uint64            `json:"revoked"`
	Entries    uint64            `json:"entries"`
	Error      string            `json:"error"` // in words; of an ERROR
}

// Failed says whether something about the report is wrong.
func (v *Verification) Failed() bool {
	return slices.ContainsFunc(v.Verdicts, func(d proof.Verdict) bool { return d.Status == proof.Fail })
}

// Verified says whether the report is what the log says that the CA's key
// stands behind.
func (v *Verification) Verified() bool {
	passed := 0
	for _, d := range v.Verdicts {
		if d.Status == proof.Pass && (d.Name == proof.Integrity || d.Name == proof.Authenticity || d.Name == proof.Completeness) {
			passed++
		}
	}
	return passed == 3 && !v.Failed()
}

// Names of settings: of the last verification of a report, and of the tree heads
// of a CA's logs that verifications accepted. Part of the format.
const (
	settingVerification = "verification/"
	settingKnownHeads   = "known heads/"
)

const (
	// maxVerifications is how many wait at a time.
	maxVerifications = 32
	// maxOfAccount is how many of them are one account's, so that nobody keeps
	// the others from having theirs verified.
	maxOfAccount = 4
	// maxBlock is how many bytes of the log a verification in this process holds
	// for each worker: 4 KiB for each entry of a full block, of which most have
	// some hundred. What is in a bucket is whatever its owner put there.
	maxBlock = 64 << 20
	// maxKnownHeads is how many accepted heads of a CA's logs are remembered.
	maxKnownHeads = 16
)

// verifications are made one at a time.
type verifications struct {
	mu      sync.Mutex
	waiting []*verification
	jobs    map[string]*verification // by report id: waiting or being made
	wake    chan struct{}            // has one element when waiting is not empty
}

// verification is one that was asked for.
type verification struct {
	report      *store.AuditReport
	asked       time.Time
	done, total atomic.Int64
}

func (j *verification) state() Verification {
	return Verification{State: VerificationRunning, Done: j.done.Load(), Total: j.total.Load(), StartedAt: j.asked, Verdicts: []proof.Verdict{}, NotProven: []string{}}
}

// Verify has a report verified, when its turn comes: what is in the bucket is
// held against the log beside it, as an auditor would. Verification tells how
// it stands. One that is under way is the same one.
func (s *Service) Verify(ctx context.Context, ca, id string) (Verification, error) {
	r, err := s.Find(ctx, ca, id)
	if err != nil {
		return Verification{}, err
	}
	if r.Status != pca.AuditReportStatus_SUCCESS {
		return Verification{}, pca.Errorf(pca.InvalidStateException, "The audit report %s is %s. Only a report that is SUCCESS can be verified.", r.ID, r.Status)
	}
	return s.verify(r)
}

func (s *Service) verify(r *store.AuditReport) (Verification, error) {
	v := &s.verifications
	v.mu.Lock()
	defer v.mu.Unlock()
	j := v.jobs[r.ID]
	if j == nil {
		ofAccount := 0
		for _, w := range v.waiting {
			if w.report.Account == r.Account {
				ofAccount++
			}
		}
		if len(v.waiting) >= maxVerifications || ofAccount >= maxOfAccount {
			return Verification{}, pca.Errorf(pca.ThrottlingException, "Too many reports wait to be verified. Try again later.")
		}
		j = &verification{report: r, asked: s.stamp()}
		j.total.Store(int64(r.Bytes))
		v.jobs[r.ID] = j
		v.waiting = append(v.waiting, j)
		select {
		case v.wake <- struct{}{}:
		default:
		}
	}
	return j.state(), nil
}

// Verification tells how the verification of a report stands.
func (s *Service) Verification(ctx context.Context, id string) (Verification, error) {
	v := &s.verifications
	v.mu.Lock()
	j := v.jobs[id]
	v.mu.Unlock()
	if j != nil {
		return j.state(), nil
	}
	found := Verification{State: VerificationNone, Verdicts: []proof.Verdict{}, NotProven: []string{}}
	text, err := s.cfg.Settings.Setting(ctx, settingVerification+id)
	if errors.Is(err, store.ErrNotFound) {
		return found, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &found)
	}
	if err != nil {
		return Verification{}, reading("the verification of report", id, err)
	}
	return found, nil
}

// verifyWaiting makes verifications until ctx ends. One that is under way then
// is forgotten, and so are those that wait.
func (s *Service) verifyWaiting(ctx context.Context) {
	v := &s.verifications
	for {
		select {
		case <-ctx.Done():
			return
		case <-v.wake:
		}
		for {
			v.mu.Lock()
			var j *verification
			if len(v.waiting) > 0 {
				j, v.waiting = v.waiting[0], v.waiting[1:]
			}
			v.mu.Unlock()
			if j == nil || ctx.Err() != nil {
				break
			}
			s.verifyOne(ctx, j)
			v.mu.Lock()
			delete(v.jobs, j.report.ID)
			v.mu.Unlock()
		}
	}
}

// verifyOne makes a verification and keeps what it found.
func (s *Service) verifyOne(ctx context.Context, j *verification) {
	log := s.log.With("report", j.report.ID, "ca", j.report.CAARN)
	var result *proof.Result
	err := pace.Aside(func() (err error) {
		result, err = s.readAndVerify(ctx, j)
		return err
	})
	if ctx.Err() != nil {
		return
	}
	out := Verification{State: VerificationDone, Done: j.done.Load(), Total: j.total.Load(), StartedAt: j.asked, FinishedAt: s.stamp()}
	if result != nil {
		out.Verdicts, out.NotProven = result.Verdicts, result.NotProven
		out.Rows, out.Revoked, out.Entries = result.Rows, result.Revoked, result.Entries
	}
	switch {
	case err != nil:
		out.State, out.Error, out.Verdicts, out.NotProven = VerificationError, whyNotVerified(err), []proof.Verdict{}, []string{}
		log.WarnContext(ctx, "an audit report could not be verified", "error", err)
	case out.Failed():
		log.ErrorContext(ctx, "an audit report is not what was written", "verdicts", out.Verdicts)
	default:
		log.InfoContext(ctx, "audit report verified", "verified", out.Verified(), "took", out.FinishedAt.Sub(out.StartedAt))
	}
	text, err := json.Marshal(&out)
	if err == nil {
		err = s.cfg.Settings.PutSetting(ctx, settingVerification+j.report.ID, string(text))
	}
	if err != nil {
		log.ErrorContext(ctx, "keeping the verification of an audit report", "error", err)
	}
}

// readAndVerify verifies what is in the bucket.
func (s *Service) readAndVerify(ctx context.Context, j *verification) (*proof.Result, error) {
	r := j.report
	client, err := s.cfg.Destination(ctx, r.Account, r.CAARN)
	if err != nil {
		return nil, fmt.Errorf("reaching the buckets of CA %s: %w", r.CA, err)
	}
	files := &files{ctx: ctx, client: client, report: r}
	report, err := files.open(r.Key)
	if err != nil {
		return nil, err
	}
	j.total.Store(report.Size())
	manifest, err := files.manifest()
	if err != nil {
		return nil, err
	}
	cfg := proof.VerifyConfig{
		Report: report, ReportSize: report.Size(), Manifest: manifest, ReportID: r.ID, Now: s.now(),
		Workers: s.cfg.Workers, OnWorker: pace.GiveWay, MaxBlock: maxBlock,
		Progress: func(done, total int64) {
			j.done.Store(done)
			j.total.Store(total)
		},
	}
	var known []proof.KnownHead
	m, err := proof.OpenManifest(manifest)
	if err == nil { // else Verify says what is wrong with it
		if known, err = s.knownHeads(ctx, r.CA); err != nil {
			return nil, err
		}
		end := m.Size
		for i := range known {
			end = max(end, known[i].Size)
		}
		if err := files.list(path.Dir(r.Key)+"/"+m.LogFolder()+"/", end); err != nil {
			return nil, err
		}
		cfg.Log = files
		if cfg.CACertificates, err = s.certificates(ctx, r); err != nil {
			return nil, err
		}
		cfg.Known = comparable(known, m, files.reach())
	}
	result, err := proof.Verify(ctx, cfg)
	if err != nil {
		return nil, err
	}
	found := Verification{Verdicts: result.Verdicts}
	if result.Head == nil || !found.Verified() {
		return result, nil
	}
	return result, s.remember(ctx, r.CA, known, result.Head)
}

// certificates are those that were installed in the report's CA.
func (s *Service) certificates(ctx context.Context, r *store.AuditReport) ([][]byte, error) {
	if s.cfg.Certificates == nil {
		return nil, nil
	}
	ca, _, err := s.authority(ctx, r.CAARN)
	if err != nil {
		return nil, err
	}
	ders, err := s.cfg.Certificates(ctx, ca)
	if err != nil {
		return nil, reading("the certificates of CA", r.CA, err)
	}
	return ders, nil
}

// knownHeads are the tree heads of a CA's logs that were accepted before,
// oldest first.
func (s *Service) knownHeads(ctx context.Context, ca string) ([]proof.KnownHead, error) {
	text, err := s.cfg.Settings.Setting(ctx, settingKnownHeads+ca)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, reading("the known heads of CA", ca, err)
	}
	known, err := proof.ParseKnown([]byte(text), "an earlier verification")
	if err != nil {
		return nil, reading("the known heads of CA", ca, err)
	}
	return known, nil
}

// remember keeps a head that was accepted. Verifications are made one at a
// time, so nobody else changes what is kept.
func (s *Service) remember(ctx context.Context, ca string, known []proof.KnownHead, head *proof.KnownHead) error {
	if slices.ContainsFunc(known, func(k proof.KnownHead) bool { return k.Origin == head.Origin && k.Size == head.Size }) {
		return nil // with this root, or it would not have been accepted
	}
	known = append(known, *head)
	var text strings.Builder
	for i := range known[max(0, len(known)-maxKnownHeads):] {
		text.WriteString(known[max(0, len(known)-maxKnownHeads)+i].StateLine())
	}
	if err := s.cfg.Settings.PutSetting(ctx, settingKnownHeads+ca, text.String()); err != nil {
		return fmt.Errorf("keeping the head of log %s: %w", head.Origin, err)
	}
	return nil
}

// comparable are the known heads that the log beside a report can be compared
// with: not those of later epochs, nor of entries that came after what the
// bucket has. A report is no witness for itself.
func comparable(known []proof.KnownHead, m *proof.Manifest, reach uint64) []proof.KnownHead {
	_, epoch := proof.SplitOrigin(m.Origin, m.CA)
	return slices.DeleteFunc(slices.Clone(known), func(k proof.KnownHead) bool {
		_, of := proof.SplitOrigin(k.Origin, m.CA)
		same := k.Origin == m.Origin && k.Size == m.Size && k.Root == m.Root
		return !k.OfCA(m) || same || of > epoch || of == epoch && k.Size > max(reach, m.Size)
	})
}

// whyNotVerified says in words why a verification could not be made.
func whyNotVerified(err error) string {
	var refused *pca.Error
	switch {
	case errors.As(err, &refused):
		return refused.Message
	case errors.Is(err, bucket.ErrNoObject):
		return "The report, or the log beside it, is not in the bucket any more: somebody removed it, or the bucket."
	case errors.Is(err, bucket.ErrChanged):
		return "The report, or the log beside it, was replaced while it was read. Verify it again."
	case errors.Is(err, bucket.ErrRefused):
		return "The bucket service does not let this server read the report: its credentials need s3:GetObject there."
	case errors.Is(err, bucket.ErrNoListing):
		return "The bucket service does not let this server list the log beside the report: its credentials need s3:ListBucket there."
	case errors.Is(err, bucket.ErrNoBucket):
		return "The bucket of the report does not exist any more."
	case errors.Is(err, proof.ErrMaxBlock):
		return "The log beside the report has more in one place than this server takes into its memory. Fetch both and verify the report with chirograph verify."
	case errors.Is(err, proof.ErrCannotCheck) && !bucket.Temporary(err):
		return "The report could not be verified: " + err.Error() + "."
	}
	return "The report could not be read from its bucket. Try again; the operator of this server finds the details in its log."
}
