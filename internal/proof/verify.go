package proof

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"
)

// VerifyConfig is what a report is verified with. Report, Manifest and, unless
// Quick, Log are needed; all else sharpens the answer.
type VerifyConfig struct {
	Report     io.ReaderAt
	ReportSize int64
	Manifest   []byte // signed
	Log        fs.FS  // the log's folder, with EntriesFolder in it; its files must be io.ReaderAt

	// CACertificates are DER certificates of the CA: one of them must have
	// the key that endorsed the log. CAKeys are the same as SHA-256 of the
	// SubjectPublicKeyInfo.
	CACertificates [][]byte
	CAKeys         [][32]byte
	LogKeys        []string    // verifier keys that the log may have; with them no CA is needed
	Policy         *Policy     // witnesses that must have cosigned
	Known          []KnownHead // the log must have grown from these
	Seen           [][]byte    // DER certificates of the CA, found anywhere: the log must have them
	CRLs           []CRLFile   // of the CA: each must say what the log says; a verdict named CRL for each

	ReportID string        // the report that is expected; empty is any
	Now      time.Time     // zero is the time of the call
	MaxAge   time.Duration // 0 is any

	Quick   bool // the file against its manifest only; the log is not replayed
	Serials bool // also that no serial was issued twice; 16 bytes of memory for each row

	Sample   Sample
	OnSample func(SampledRow) error // takes the sampled rows, in their order; nil: they are in the Result

	MaxBlock int64                   // bytes of a block of the log that a worker holds; more is ErrMaxBlock. 0 is any that a log can have
	Workers  int                     // 0 is one for each processor
	OnWorker func()                  // called by each of them before it works; nil: nothing
	Progress func(done, total int64) // bytes of the report; called by several goroutines at a time
}

// Verdict is the answer to one question.
type Verdict struct {
	Name   string `json:"name"`            // one of the Names
	Status string `json:"status"`          // Pass, Fail or Unknown
	Class  string `json:"class,omitempty"` // what kind of failure
	Words  string `json:"words"`           // a sentence for people
}

// The questions, in the order of the verdicts.
const (
	Integrity    = "integrity"    // the file is the one that the manifest is about, and the manifest is whole
	Authenticity = "authenticity" // the CA's key stands behind the key that signed
	Completeness = "completeness" // the report is what the log says, and the log keeps its own rules
	Consistency  = "consistency"  // the log grew from what was known before
	Witnesses    = "witnesses"    // others have seen the same log
	Freshness    = "freshness"    // the report is the one that was asked for, and not too old
	CRL          = "crl"          // a revocation list is what the log says
)

// The answers.
const (
	Pass    = "pass"
	Fail    = "fail"
	Unknown = "unknown"
)

// The classes of failures (proof.md 7).
const (
	ClassReportBytes       = "report-bytes"                // the file is not the one that was signed
	ClassManifest          = "manifest"                    // the manifest contradicts the log or itself
	ClassManifestMissing   = "manifest-missing"            //
	ClassManifestSignature = "manifest-signature"          //
	ClassAuditKey          = "audit-key"                   // the log's key is not the CA's, or not the one that is in force
	ClassCheckpoint        = "checkpoint"                  // the checkpoint is not of this tree, or not signed by the log's key
	ClassLogMissing        = "log-missing"                 // packs are missing
	ClassLogEntries        = "log-entries"                 // packs cannot be read as entries
	ClassLogDiffers        = "log-differs-from-checkpoint" // the packs are not the log that was signed
	ClassLogRules          = "log-rules"                   // the signed log contradicts itself
	ClassBackDated         = "back-dated"                  // the signed log's times cannot be
	ClassReportDiffers     = "report-differs-from-log"     // what was signed as the report is not what the log says
	ClassUnlogged          = "unlogged"                    // a certificate of the CA is not in the log as it is
	ClassRollback          = "rollback"                    // the log was longer before
	ClassSplitView         = "split-view"                  // there are two histories
	ClassWitnessQuorum     = "witness-quorum"              // too few witnesses cosigned
	ClassStale             = "stale"                       // too old
	ClassCRL               = "crl"                         // a revocation list that the CA's key did not sign
	ClassCRLDiffers        = "crl-differs-from-log"        // what was signed as the list is not what the log says
)

// Result is what a verification found.
type Result struct {
	Verdicts []Verdict `json:"verdicts"`

	Manifest *Manifest `json:"-"` // nil when it could not be read
	Report   string    `json:"report"`
	CA       string    `json:"ca"`
	Origin   string    `json:"origin"`
	Rows     uint64    `json:"rows"`
	Revoked  uint64    `json:"revoked"`
	Entries  uint64    `json:"entries"`
	Created  time.Time `json:"created"`

	Epoch     int          `json:"epoch"`            // 1 unless the log was recovered
	Epochs    []string     `json:"epochs,omitempty"` // of a recovered log: what each recovery kept and lost, in words
	Sample    []SampledRow `json:"sample,omitempty"`
	NotProven []string     `json:"notProven"` // in words

	doubtful bool // something was given that is neither of this log nor evidence against it

	// Head is the tree head to remember when the report is accepted.
	Head *KnownHead `json:"-"`
}

// ErrCannotCheck is wrapped by the errors of Verify: something is missing or
// cannot be read, which says nothing about the report.
var ErrCannotCheck = errors.New("cannot check")

// Verdict gives the answer to one question.
func (r *Result) Verdict(name string) Verdict {
	for _, v := range r.Verdicts {
		if v.Name == name {
			return v
		}
	}
	return Verdict{Name: name, Status: Unknown}
}

// ExitCode is what a program says: 1 when something failed, 3 when nothing
// failed but nothing from earlier anchors the log, or something from earlier
// does not fit it, nobody vouches for its key, or it was recovered from a loss,
// and 0 otherwise.
func (r *Result) ExitCode() int {
	for _, v := range r.Verdicts {
		if v.Status == Fail {
			return 1
		}
	}
	anchored := r.Verdict(Consistency).Status == Pass || r.Verdict(Witnesses).Status == Pass
	if !anchored || r.doubtful || r.Verdict(Authenticity).Status != Pass || r.Epoch > 1 {
		return 3
	}
	return 0
}

// Verify verifies a report, offline. The error wraps ErrCannotCheck or is the
// context's; whatever was found out about the report is in the Result.
func Verify(ctx context.Context, c VerifyConfig) (*Result, error) {
	v := &verifier{VerifyConfig: c}
	return v.run(ctx)
}
