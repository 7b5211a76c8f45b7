// Package auditlog signs the heads of the CAs' logs with audit keys that the CA
// keys endorse, has them cosigned and anchored, and compares each log with what
// the outside knows of it: a log that is behind that, or another, takes no more
// entries until somebody recovers it (proof.md 2.2 to 2.4).
package auditlog

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

// Log appends to CA logs; *certlog.Log is one.
type Log interface {
	Append(ctx context.Context, ca string, r certlog.Record) (index uint64, err error)
	Recover(ctx context.Context, ca string, r certlog.Record) (index uint64, err error)
	Head(ctx context.Context, ca string) (certlog.Head, error)
	Refuse(ca string, why error)
	Refused(ca string) error
}

// Records keeps what a head needs beside the log. Implementations are safe for
// concurrent use.
type Records interface {
	CA(ctx context.Context, id string) (*store.CertificateAuthority, error)
	// CAs gives all records ordered by CreatedAt and ID, those after the given
	// pair; account is empty.
	CAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error)
	// AuditKeys gives the endorsed keys of a log, oldest first.
	AuditKeys(ctx context.Context, ca string) ([]store.AuditKey, error)
	// UnfinishedReports gives the reports that are CREATING.
	UnfinishedReports(ctx context.Context) ([]*store.AuditReport, error)
}

// Keys makes and finds private keys; *keystore.Store is one.
type Keys interface {
	Generate(ctx context.Context, id, algorithm string) (crypto.Signer, error)
	Signer(ctx context.Context, id string) (crypto.Signer, error)
}

// Witnesses cosigns checkpoints; *witness.Client is one, whose errors are those
// of the interface.
type Witnesses interface {
	Cosign(ctx context.Context, checkpoint []byte, prove func(from, to uint64) (tlog.TreeProof, error)) (cosigned []byte, err error)
}

// Anchor keeps checkpoints elsewhere; *anchor.Store is one, whose errors are
// those of the interface.
type Anchor interface {
	Put(ctx context.Context, ca, origin string, size uint64, checkpoint []byte) error
	Newest(ctx context.Context, ca string) ([]byte, error)
}

// Source is a place outside the store that may know a head of a log.
type Source struct {
	Name string // for messages: where it is
	// Newest gives the newest checkpoint there, nil when there is none.
	Newest func(ctx context.Context, ca string) ([]byte, error)
	// Trusted says that only the operator writes there: what it holds counts
	// also when the key that signed it was lost with the rest.
	Trusted bool
}

// Config is everything a Service needs.
type Config struct {
	Entries Log
	Store   certlog.Store // the same log, for reading
	Records Records
	Keys    Keys

	Witnesses Witnesses // nil: none
	Anchor    Anchor    // nil: none
	// Sources are looked at once after each start; the anchor is one by itself.
	Sources []Source
	// Interval is how often the head of each log that grew is signed, cosigned
	// and anchored; 0: with reports only.
	Interval time.Duration

	Log *slog.Logger     // nil: slog.Default()
	Now func() time.Time // nil: time.Now
}

// Bounds of what waits for the outside.
const (
	sourceTimeout = 10 * time.Second // of one source for one log
	startFor      = 30 * time.Second // of the comparisons before the server serves; the rest follows in the background
	parallel      = 8                // logs that are compared at the same time
	scrubEvery    = time.Hour
	retryEvery    = time.Minute // of comparisons that could not be made
)

// Service signs the heads of all logs. Safe for concurrent use.
type Service struct {
	Config
	behind atomic.Bool // some comparison is still to be made

	mu   sync.Mutex
	logs map[string]*logState
}

// logState is what this process knows of a log beside the store. mu is held
// while a head of the log is signed and shown to the outside, so that the sizes
// come in order.
type logState struct {
	mu       sync.Mutex
	compared bool                  // with all sources since the start
	newest   signedHead            // the largest that was signed
	kept     map[uint64]signedHead // others, by size
	anchored uint64                // size
	known    []knownHead           // evidence that the log is not what it was
}

// New makes a Service.
func New(cfg Config) (*Service, error) {
	if cfg.Entries == nil || cfg.Store == nil || cfg.Records == nil || cfg.Keys == nil {
		return nil, errors.New("signing log heads needs the log, its store, the records and the keys")
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Anchor != nil {
		cfg.Sources = append([]Source{anchorSource(cfg.Anchor)}, cfg.Sources...)
	}
	return &Service{Config: cfg, logs: map[string]*logState{}}, nil
}

func (s *Service) state(ca string) *logState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.logs[ca]
	if st == nil {
		st = &logState{kept: map[uint64]signedHead{}}
		s.logs[ca] = st
	}
	return st
}

// append adds one entry with its row, stamped with the time of now, by the
// Append or the Recover of the log.
func (s *Service) append(ctx context.Context, ca string, e certlog.Entry, row certlog.Row, put func(context.Context, string, certlog.Record) (uint64, error)) error {
	e.Time = s.Now().UnixMilli()
	b, err := e.Append(nil)
	if err == nil {
		_, err = put(ctx, ca, certlog.Record{Entry: b, Rows: []certlog.Row{row}})
	}
	if err != nil {
		return fmt.Errorf("logging an audit key: %w", err)
	}
	return nil
}
