package auditreport

import (
	"context"
	"log/slog"
	"time"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// Log appends to a CA's log; *certlog.Log.
type Log interface {
	Append(ctx context.Context, ca string, r certlog.Record) (index uint64, err error)
}

// Entries reads a CA's log and the revocations that point into a range of it;
// the store. Both are fixed below an index once the index exists.
type Entries interface {
	LogEntries(ctx context.Context, ca string, lo, hi uint64, yield func(index uint64, entry []byte) error) error
	Revocations(ctx context.Context, ca string, lo, hi, before uint64, yield func(store.Revocation) error) error
}

// Reports keeps the records of reports; the store.
type Reports interface {
	Report(ctx context.Context, ca, id string) (*store.AuditReport, error)
	LastReport(ctx context.Context, ca string) (*store.AuditReport, error)
	UnfinishedReports(ctx context.Context) ([]*store.AuditReport, error)
	UpdateReport(ctx context.Context, r *store.AuditReport) error
}

// Parts keeps what is in the bucket already of reports that are being
// written; the store.
type Parts interface {
	PutUploadedPart(ctx context.Context, p *store.UploadedPart) error
	UploadedParts(ctx context.Context, report string) ([]store.UploadedPart, error)
	DeleteUploadedParts(ctx context.Context, report string) error
}

// Authorities knows the CAs. Authority gives a CA's record and its status as
// of now (EXPIRED is derived); store.ErrNotFound when there is none.
type Authorities interface {
	Authority(ctx context.Context, id string) (*store.CertificateAuthority, pca.CertificateAuthorityStatus, error)
}

// Event says that a report reached its end (audit-report.md 13). It is sent at
// least once.
type Event struct {
	CAARN    string
	ReportID string
	Account  string
	Time     time.Time
	Failure  string // why it failed, in words; empty for a success
}

// Progress is how far a report has come, in log entries.
type Progress struct {
	Status      pca.AuditReportStatus
	Done, Total uint64 // entries in the bucket, of entries that the report covers
	Rows        uint64 // certificates listed so far
	Bytes       uint64 // written so far
	Reason      string // of a failure, in words
}

// Config is what a Service is made of.
type Config struct {
	Log         Log
	Entries     Entries
	Reports     Reports
	Parts       Parts
	Authorities Authorities
	// Destination gives the client for the buckets that a CA writes into.
	Destination func(ctx context.Context, account, caARN string) (*bucket.Client, error)
	// Call identifies the call that ctx belongs to: who calls, and the SDK's
	// invocation id (empty when there is none). Nil: from awsjson.
	Call func(ctx context.Context) (caller, invocation string)

	Partition     string        // of ARNs; default aws
	MinInterval   time.Duration // audit.min_interval; 0 is off
	RefuseExpired bool          // audit.allowInactive=false: an EXPIRED CA may have no new reports
	RetryFor      time.Duration // how long errors of the bucket are retried; default 10 minutes
	Buffers       int           // bytes of rendered rows in memory; default 64 MiB
	Events        func(Event)   // may be nil
	Logger        *slog.Logger  // default slog.Default
}

// Service serves the two operations and runs the reports.
type Service struct {
	cfg Config
	now func() time.Time
}

// New makes a Service. Nothing runs before Run.
func New(cfg Config) (*Service, error) {
	return &Service{cfg: cfg, now: time.Now}, nil
}

// Run resumes the reports that an earlier process left unfinished, and runs
// those that are created, until ctx ends. A report that is running then is
// left as it is, to be resumed.
func (s *Service) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Progress tells how far a report has come; store.ErrNotFound when the CA has
// no such report.
func (s *Service) Progress(ctx context.Context, ca, id string) (Progress, error) {
	return Progress{}, ctx.Err()
}
