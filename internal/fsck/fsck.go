// Package fsck checks a store against its logs: every entry against the tree
// that it was hashed into, and every row against the entry that it came with. It
// only reads. What it finds it names, with the CA, the entry and what to do.
//
// Run checks everything, or with Quick what a start of the server checks. It
// proves that a store agrees with itself; whether the log is the one that
// others were shown only their checkpoints tell (package proof).
package fsck

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

// Classes of findings.
const (
	ClassDatabase    = "database"    // SQLite finds its own file damaged
	ClassHead        = "head"        // the head contradicts itself or the entries
	ClassNode        = "node"        // a stored hash of the tree is missing, or one too many
	ClassEntry       = "entry"       // an entry is missing, unreadable, or not the one that was committed
	ClassCertificate = "certificate" // a certificate's row and its entry differ, or there is only one of them
	ClassRevocation  = "revocation"  // the same of a revocation
	ClassReport      = "report"      // the same of a report
	ClassCRLEntry    = "crl-entry"   // what CRLs are made of differs from the entry that revoked
	ClassCRL         = "crl"         // a CRL, its record, its entry, its file, or its object in the bucket differ
	ClassOCSP        = "ocsp"        // what OCSP would answer differs from the log, or a responder cannot sign
	ClassAuditKey    = "audit-key"   // the same of a key that signs the log's heads
	ClassKey         = "key"         // a private key is missing, or is not the one that the log names
	ClassRecord      = "record"      // a CA without a log, or a log without a CA
)

// Finding is one thing that is wrong.
type Finding struct {
	CA     string  `json:"certificateAuthority,omitempty"` // UUID; empty when it concerns the whole store
	Class  string  `json:"class"`
	Index  *uint64 `json:"index,omitempty"` // of the log entry, where there is one
	Words  string  `json:"words"`
	Advice string  `json:"advice"`
}

func (f *Finding) String() string {
	var b strings.Builder
	if f.CA != "" {
		b.WriteString("CA " + f.CA + ", ")
	}
	if f.Index != nil {
		fmt.Fprintf(&b, "entry %d, ", *f.Index)
	}
	return b.String() + f.Class + ": " + f.Words
}

const restore = "stop the server and restore the data folder from a backup of before the damage; what the backup lacks is then declared with: chirograph log recover"

var advice = map[string]string{
	ClassDatabase:    restore,
	ClassHead:        restore,
	ClassNode:        restore,
	ClassEntry:       restore,
	ClassCertificate: "somebody or something changed the database beside the server. The log has what was signed and reports follow it; restore the data folder from a backup of before the change",
	ClassRevocation:  "somebody or something changed the database beside the server, and reports and CRLs made now would be wrong; restore the data folder from a backup of before the change",
	ClassReport:      "the report's object in the bucket is not affected; restore the data folder from a backup of before the change to see its record right",
	ClassCRLEntry:    "somebody or something changed the database beside the server, and CRLs made now would be wrong; restore the data folder from a backup of before the change",
	ClassCRL:         "have the CA's lists made and written anew, with the server running: chirograph crl publish. When that changes nothing, restore the data folder from a backup of before the change",
	ClassOCSP:        "somebody or something changed the database or the keys beside the server, and OCSP answers made now would be wrong, or there would be none; restore the data folder from a backup of before the change",
	ClassAuditKey:    "restore the data folder from a backup of before the change; reports made now would not verify",
	ClassKey:         "restore the file from a backup of the folder keys, or the master key that seals it",
	ClassRecord:      restore,
}

// Rows are the rows that came with the entries of logs.
type Rows interface {
	LogShape(ctx context.Context, ca string, size uint64) (store.LogShape, error)
	CertificateRows(ctx context.Context, ca string, yield func(serial []byte, index uint64, notAfter int64) error) error // notAfter in milliseconds
	CertificateIndex(ctx context.Context, ca string, serial []byte) (uint64, error)
	LogDERs(ctx context.Context, ca string, lo, hi uint64, yield func(index uint64, der []byte) error) error
	Revocations(ctx context.Context, ca string, lo, hi, before uint64, yield func(store.Revocation) error) error
}

// Records are what a store keeps of CAs, and its check of itself.
type Records interface {
	LogNames(ctx context.Context) ([]string, error)
	CA(ctx context.Context, id string) (*store.CertificateAuthority, error)
	AuditKeys(ctx context.Context, ca string) ([]store.AuditKey, error)
	Reports(ctx context.Context, ca string, before uint64, limit int) ([]*store.AuditReport, error)
	QuickCheck(ctx context.Context) ([]string, error)
}

// Lists are the CRLs of CAs, what they are made of, and what OCSP answers from.
type Lists interface {
	CRLs(ctx context.Context, ca string, after int64, limit int) ([]*store.CRL, error)
	Revoked(ctx context.Context, ca string, crl int64, lo, hi uint64, yield func(r *store.Revoked) error) error
	CertificateStatus(ctx context.Context, ca string, serial []byte) (*store.Certificate, *store.Revocation, error)
	Responders(ctx context.Context, ca string, after time.Time) ([]*store.Responder, error)
	InstalledCertificate(ctx context.Context, ca string, generation int64) (*store.InstalledCertificate, error)
}

// Objects are the buckets that CRLs were written to, as far as they can be read.
// Object gives fs.ErrNotExist for one that is not there.
type Objects interface {
	Bucket(ctx context.Context, name string) (bool, error)
	Object(ctx context.Context, bucket, key string) (io.ReadCloser, error)
}

// Keys finds private keys; an error says that a key cannot be used.
type Keys interface {
	Signer(ctx context.Context, id string) (crypto.Signer, error)
}

// Config says what is checked and how.
type Config struct {
	Log     certlog.Store
	Rows    Rows
	Records Records
	Keys    Keys    // nil: keys are not looked for
	Lists   Lists   // nil: CRLs and OCSP are not checked; Quick does not
	Files   fs.FS   // the folder of CRLs (crl.Config.Dir), whose files are io.ReaderAt; nil: they are not read
	Objects Objects // nil: no object is read

	CA      string // UUID of the only CA to check; empty is all
	Quick   bool   // heads, packs and nodes, and of each log the last pack and what follows it
	Budget  uint64 // Quick: entries read of all logs together, of each in whole blocks from its end; beyond it a log's head and right edge alone are checked. 0 is no bound
	Workers int    // 0 is one per CPU

	Progress func(done, total uint64) // entries; called from several goroutines; may be nil
}

// Result is what a check found.
type Result struct {
	CAs          int       `json:"certificateAuthorities"`
	Entries      uint64    `json:"entries"` // read and hashed
	Certificates uint64    `json:"certificates"`
	Revocations  uint64    `json:"revocations"`
	Reports      uint64    `json:"reports"`
	CRLs         uint64    `json:"crls"` // that are kept up to date
	Findings     []Finding `json:"findings"`
}

// most is how many findings of a class are kept for each CA; the rest is counted.
const most = 50

type checker struct {
	Config
	seed  maphash.Seed
	slots chan struct{} // a goroutine that reads a block holds one

	done, total atomic.Uint64
	budget      atomic.Int64

	mu     sync.Mutex
	result Result
	more   map[[2]string]int
}

// Run checks a store that nobody writes to meanwhile. The error says that it
// could not be checked; what is wrong with the store is in the result.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	c := &checker{Config: cfg, seed: maphash.MakeSeed(), slots: make(chan struct{}, cfg.Workers), more: map[[2]string]int{}}
	c.budget.Store(int64(cfg.Budget))
	c.result.Findings = []Finding{}
	names, err := cfg.Records.LogNames(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.CA != "" {
		if !slices.Contains(names, cfg.CA) {
			return nil, fmt.Errorf("certificate authority %s: %w", cfg.CA, store.ErrNotFound)
		}
		names = []string{cfg.CA}
	}
	g, gctx := errgroup.WithContext(ctx)
	if !cfg.Quick {
		g.Go(func() error { return c.database(gctx) })
	}
	g.Go(func() error { return c.logs(gctx, names) })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for key, n := range c.more {
		c.result.Findings = append(c.result.Findings, Finding{CA: key[0], Class: key[1], Words: fmt.Sprintf("%d more findings like these", n), Advice: advice[key[1]]})
	}
	slices.SortStableFunc(c.result.Findings, func(a, b Finding) int { return strings.Compare(a.CA+" "+a.Class, b.CA+" "+b.Class) })
	c.result.CAs = len(names)
	c.result.Entries = c.done.Load()
	return &c.result, nil
}

func (c *checker) database(ctx context.Context) error {
	wrong, err := c.Records.QuickCheck(ctx)
	if err != nil {
		return c.unreadable(ctx, "", ClassDatabase, err)
	}
	for _, line := range wrong {
		c.find("", ClassDatabase, "SQLite's quick_check: %s", line)
	}
	return nil
}

func (c *checker) logs(ctx context.Context, names []string) error {
	heads := make([]certlog.Head, len(names))
	bad := make([]error, len(names))
	for i, ca := range names {
		var err error
		if heads[i], err = c.Log.LogHead(ctx, ca); err != nil {
			if ctx.Err() != nil {
				return err
			}
			bad[i] = err
		}
		c.total.Add(heads[i].Size)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.Workers)
	for i, ca := range names {
		g.Go(func() error {
			if bad[i] != nil {
				return c.unreadable(ctx, ca, ClassHead, bad[i])
			}
			return c.checkLog(ctx, ca, heads[i])
		})
	}
	return g.Wait()
}

// find records a finding that names no entry.
func (c *checker) find(ca, class, format string, args ...any) {
	c.add(Finding{CA: ca, Class: class, Words: fmt.Sprintf(format, args...)})
}

// findAt records a finding about the entry at index.
func (c *checker) findAt(ca, class string, index uint64, format string, args ...any) {
	c.add(Finding{CA: ca, Class: class, Index: &index, Words: fmt.Sprintf(format, args...)})
}

func (c *checker) add(f Finding) {
	f.Advice = advice[f.Class]
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for i := range c.result.Findings {
		if c.result.Findings[i].CA == f.CA && c.result.Findings[i].Class == f.Class {
			n++
		}
	}
	if n >= most {
		c.more[[2]string{f.CA, f.Class}]++
		return
	}
	c.result.Findings = append(c.result.Findings, f)
}

// unreadable makes a finding of an error of reading: that a store cannot be
// read is what a check is there to tell. Only the end of ctx ends the check.
func (c *checker) unreadable(ctx context.Context, ca, class string, err error) error {
	if e := ctx.Err(); e != nil {
		return e
	}
	c.find(ca, class, "%v", err)
	return nil
}

// advance counts entries that were read.
func (c *checker) advance(n uint64) {
	done := c.done.Add(n)
	if c.Progress != nil {
		c.Progress(done, c.total.Load())
	}
}

// Refusals are the reasons for which nothing may be appended to logs, by CA; an
// error wraps certlog.ErrDamaged. A finding about the whole store is everybody's:
// key "".
func (r *Result) Refusals() map[string]error {
	refusals := map[string]error{}
	for i := range r.Findings {
		f := &r.Findings[i]
		switch f.Class {
		case ClassKey, ClassCRL: // the operation that needs the key says so itself; lists can be made anew
			continue
		}
		refusals[f.CA] = errors.Join(refusals[f.CA], fmt.Errorf("%w: %s", certlog.ErrDamaged, f))
	}
	return refusals
}
