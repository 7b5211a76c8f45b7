package auditreport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// Log appends to a CA's log; *certlog.Log is one.
type Log interface {
	Append(ctx context.Context, ca string, r certlog.Record) (index uint64, err error)
}

// Entries reads a CA's log and the revocations that point into a range of it;
// the store is one. What lies below an index of the log never changes, so a
// report needs no snapshot.
type Entries interface {
	LogEntries(ctx context.Context, ca string, lo, hi uint64, yield func(index uint64, entry []byte) error) error
	// AppendLogBundle appends entries of one block to dst, each after its length
	// (certlog.CutBundled).
	AppendLogBundle(ctx context.Context, dst []byte, ca string, lo, hi uint64) ([]byte, error)
	// Revocations calls yield for the revocations of entries [lo, hi) whose own
	// entry lies before before, in the order of the entries that they revoke.
	Revocations(ctx context.Context, ca string, lo, hi, before uint64, yield func(store.Revocation) error) error
}

// Reports keeps the records of reports; the store is one.
type Reports interface {
	Report(ctx context.Context, ca, id string) (*store.AuditReport, error)
	// Reports gives the newest that cover fewer than before entries, newest first.
	Reports(ctx context.Context, ca string, before uint64, limit int) ([]*store.AuditReport, error)
	// PreviousReport gives the newest SUCCESS with a checkpoint that covers
	// fewer than size entries.
	PreviousReport(ctx context.Context, ca string, size uint64) (*store.AuditReport, error)
	UnfinishedReports(ctx context.Context) ([]*store.AuditReport, error)
	// UpdateReport replaces the record and counts its Version;
	// store.ErrConflict when it changed since it was read.
	UpdateReport(ctx context.Context, r *store.AuditReport) error
}

// Parts keeps what is in the bucket already of reports that are being
// written; the store is one.
type Parts interface {
	PutUploadedParts(ctx context.Context, parts []store.UploadedPart) error
	UploadedParts(ctx context.Context, report string) ([]store.UploadedPart, error)
	DeleteUploadedParts(ctx context.Context, report string) error
}

// Segments keeps the records of segments; the store is one.
type Segments interface {
	SegmentSets(ctx context.Context) ([]store.SegmentSet, error)
	// Segments gives a set and its segments in the order of the log;
	// store.ErrNotFound when there is none.
	Segments(ctx context.Context, ca string, format pca.AuditReportResponseFormat) (store.SegmentSet, []store.Segment, error)
	// MoveSegments and PutSegments change a set that is as the caller knows it;
	// store.ErrConflict when it is not.
	MoveSegments(ctx context.Context, from, to store.SegmentSet, stale []uint64) error
	PutSegments(ctx context.Context, set store.SegmentSet, segments []store.Segment) error
}

// Authorities knows the CAs; *ca.Service is one. Record gives a CA's record
// and its status as of now (EXPIRED is derived). A CA that is unknown or gone
// for good is a ResourceNotFoundException.
type Authorities interface {
	Record(ctx context.Context, arn pca.ARN) (*store.CertificateAuthority, pca.CertificateAuthorityStatus, error)
}

// Event says that a report reached its end (audit-report.md 13). It is sent
// when the report's record says so; a crash between the two loses it.
type Event struct {
	CAARN    string
	ReportID string
	Account  string
	Time     time.Time
	Failure  string // why it failed, in words; empty for a success
}

// Config is what a Service is made of.
type Config struct {
	Log         Log
	Entries     Entries
	Reports     Reports
	Parts       Parts
	Authorities Authorities
	Checkpoints Checkpoints
	Packs       Packs
	Settings    Settings
	// Destination gives the client for the buckets that a CA writes into. It is
	// asked for every call and attempt, so a client that holds connections is
	// kept by whoever gives it.
	Destination func(ctx context.Context, account, caARN string) (*bucket.Client, error)
	// Segments gives the client and the bucket, the server's own, that keep what
	// a CA's next reports have in common with its last ones (D-24). Nil: nothing
	// is kept, and every report is rendered whole. SegmentRecords is needed with it.
	Segments       func(ctx context.Context, account, caARN string) (client *bucket.Client, bucketName string, err error)
	SegmentRecords Segments
	// Certificates gives the certificates, DER, that were ever installed in a CA:
	// a verification trusts their keys. Nil: none.
	Certificates func(ctx context.Context, ca *store.CertificateAuthority) ([][]byte, error)
	// Call identifies the call that ctx belongs to: who calls, and the SDK's
	// invocation id, empty when there is none. Nil: what awsjson knows.
	Call func(ctx context.Context) (caller, invocation string)

	Partition   string        // of ARNs; default aws
	MinInterval time.Duration // audit.min_interval between reports of a CA; 0 is off
	// AllowBucket says whether an account's reports may go to a bucket, before
	// the bucket is asked. Nil: to any.
	AllowBucket   func(account, bucket string) bool
	RefuseExpired bool             // audit.allowInactive=false: an EXPIRED CA gets no new report
	RetryFor      time.Duration    // how long errors of the bucket are retried; default 10 minutes
	Memory        int              // bytes for the rendered rows of one large report; default 48 MiB
	Workers       int              // blocks rendered at a time; default 2
	Events        func(Event)      // called once a report has ended; may be nil
	Logger        *slog.Logger     // default slog.Default()
	Now           func() time.Time // default time.Now
}

// Service serves the two operations and runs the reports. Safe for concurrent use.
type Service struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	backoff time.Duration // the first pause between attempts; it doubles
	again   time.Duration // how often Run looks for reports that nobody told it about
	chunk   int           // for tests with short logs: layout.chunk, half of layout.put; 0: as newLayout says
	parts   int           // for tests: layout.parts; 0: as newLayout says

	// A report of at most one block never waits for a long one.
	large, small chan struct{}
	heads        chan struct{} // taken while witnesses are asked

	verifications verifications

	mu      sync.Mutex
	waiting []*store.AuditReport // accepted, not yet taken by Run
	jobs    map[string]*job      // by report id: being made, or waiting for their turn
	wake    chan struct{}        // has one element when waiting is not empty
}

const (
	defaultRetryFor = 10 * time.Minute
	defaultMemory   = 48 << 20
	defaultWorkers  = 2
	smallReports    = 4 // small reports at a time; large ones go one by one, since each takes all of Memory
	headsAtOnce     = 32
)

// New makes a Service. Nothing runs before Run.
func New(cfg Config) (*Service, error) {
	if cfg.Log == nil || cfg.Entries == nil || cfg.Reports == nil || cfg.Parts == nil || cfg.Authorities == nil || cfg.Checkpoints == nil || cfg.Packs == nil || cfg.Settings == nil || cfg.Destination == nil {
		return nil, errors.New("auditreport: Log, Entries, Reports, Parts, Authorities, Checkpoints, Packs, Settings and Destination are needed")
	}
	if cfg.Segments != nil && cfg.SegmentRecords == nil {
		return nil, errors.New("auditreport: Segments needs SegmentRecords")
	}
	if cfg.Call == nil {
		cfg.Call = awsCall
	}
	if cfg.Partition == "" {
		cfg.Partition = "aws"
	}
	if cfg.RetryFor == 0 {
		cfg.RetryFor = defaultRetryFor
	}
	if cfg.Memory == 0 {
		cfg.Memory = defaultMemory
	}
	if cfg.Workers == 0 {
		cfg.Workers = defaultWorkers
	}
	if cfg.Events == nil {
		cfg.Events = func(Event) {}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Service{
		cfg: cfg, log: cfg.Logger, now: cfg.Now, backoff: time.Second, again: lookAgain,
		large: make(chan struct{}, 1), small: make(chan struct{}, smallReports), heads: make(chan struct{}, headsAtOnce),
		verifications: verifications{jobs: map[string]*verification{}, wake: make(chan struct{}, 1)},
		jobs:          map[string]*job{}, wake: make(chan struct{}, 1),
	}, nil
}

// awsCall is who called the API, and the amz-sdk-invocation-id that SDKs keep
// over their retries.
func awsCall(ctx context.Context) (caller, invocation string) {
	if p := awsjson.Caller(ctx); p != nil {
		caller = cmp.Or(p.ARN, p.Service)
	}
	return caller, awsjson.Invocation(ctx)
}

// authority finds the CA that an ARN names.
func (s *Service) authority(ctx context.Context, arn string) (*store.CertificateAuthority, pca.CertificateAuthorityStatus, error) {
	a, err := pca.ParseCAARN(arn, s.cfg.Partition)
	if err != nil {
		return nil, "", err
	}
	return s.cfg.Authorities.Record(ctx, a)
}

// stamp is the time in the precision that records keep.
func (s *Service) stamp() time.Time { return s.now().UTC().Truncate(time.Millisecond) }

// reading wraps an error of the store for the front, which logs it and
// answers InternalFailure.
func reading(what, id string, err error) error { return fmt.Errorf("reading %s %s: %w", what, id, err) }
