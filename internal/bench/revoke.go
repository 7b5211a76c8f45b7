package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"path/filepath"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

// SeedRevocations revokes certificates in the store of a server that is not
// running: for each of the indices, which grow, the first certificate from that
// entry on that is not revoked. It returns how many there were; indices behind
// which none is left in the same block are passed over.
func SeedRevocations(ctx context.Context, dataDir, caARN string, indices []uint64) (n int, err error) {
	if len(indices) == 0 {
		return 0, nil
	}
	db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dataDir, "chirograph.db"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	ca := path.Base(caARN)
	head, err := db.LogHead(ctx, ca)
	if err != nil {
		return 0, err
	}
	now := max(time.Now().UnixMilli(), head.Time)
	var records []certlog.Record
	next := uint64(0)
	log := &logReader{db: db, ca: ca, size: head.Size}
	for _, index := range indices {
		c, err := log.unrevoked(ctx, max(index, next))
		if err != nil {
			return n, err
		}
		if c == nil {
			continue
		}
		next = c.Index + 1
		r := &store.Revocation{CA: ca, IssueIndex: c.Index, Time: now, Reason: 4, Serial: c.Serial, NotAfter: c.NotAfter, CRL: c.CRL}
		b, err := (&certlog.Entry{Type: certlog.TypeRevoke, Time: now, Serial: c.Serial, IssueIndex: c.Index, Reason: r.Reason}).Append(nil)
		if err != nil {
			return n, err
		}
		records = append(records, certlog.Record{Entry: b, Rows: []certlog.Row{r}})
	}
	for len(records) > 0 {
		k := min(len(records), int(certlog.BlockSize-head.Size%certlog.BlockSize))
		if head, err = db.SeedBlock(ctx, ca, records[:k]); err != nil {
			return n, err
		}
		n, records = n+k, records[k:]
	}
	return n, nil
}

// logReader reads a log block by block, each once when they are asked for in order.
type logReader struct {
	db      *sqlite.DB
	ca      string
	size    uint64
	lo      uint64 // of entries
	entries [][]byte
}

// unrevoked finds the first certificate from entry at on, to the end of its
// block, that is not revoked; nil when there is none.
func (l *logReader) unrevoked(ctx context.Context, at uint64) (*store.Certificate, error) {
	lo := at &^ (certlog.BlockSize - 1)
	hi := min(l.size, lo+certlog.BlockSize)
	if at < hi && (l.lo != lo || l.entries == nil) {
		bundle, err := l.db.AppendLogBundle(ctx, nil, l.ca, lo, hi)
		if err != nil {
			return nil, err
		}
		l.lo, l.entries = lo, l.entries[:0]
		for b, rest, ok := certlog.CutBundled(bundle); ok; b, rest, ok = certlog.CutBundled(rest) {
			l.entries = append(l.entries, b)
		}
		if uint64(len(l.entries)) != hi-lo {
			return nil, fmt.Errorf("of the entries %d to %d there are %d", lo, hi, len(l.entries))
		}
	}
	for ; at < hi; at++ {
		var e certlog.Entry
		if err := e.Decode(l.entries[at-lo]); err != nil {
			return nil, fmt.Errorf("entry %d: %w", at, err)
		}
		if e.Type != certlog.TypeIssue {
			continue
		}
		if c, revoked, err := l.db.CertificateStatus(ctx, l.ca, e.Serial); err != nil {
			return nil, err
		} else if revoked == nil {
			return c, nil
		}
	}
	return nil, nil
}

// CountLog counts the entries of a CA's log and the certificates that it issued,
// in the store of a server that is not running. It reads all of their keys.
func CountLog(ctx context.Context, dataDir, caARN string) (entries, certificates uint64, err error) {
	db, err := OpenStopped(ctx, dataDir)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	head, err := db.LogHead(ctx, path.Base(caARN))
	if err != nil {
		return 0, 0, err
	}
	n, err := db.CountCertificates(ctx, path.Base(caARN))
	return head.Size, uint64(n), err
}

// HasSegments tells whether a report of that format finds segments of an
// earlier one, in the store of a server that is not running.
func HasSegments(ctx context.Context, dataDir, caARN, format string) (has bool, err error) {
	db, err := OpenStopped(ctx, dataDir)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, segments, err := db.Segments(ctx, path.Base(caARN), pca.AuditReportResponseFormat(format))
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return len(segments) > 0, err
}

// OpenStopped opens the store of a server that is not running, for reading.
func OpenStopped(ctx context.Context, dataDir string) (*sqlite.DB, error) {
	return sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dataDir, "chirograph.db"), ReadOnly: true, Log: slog.New(slog.DiscardHandler)})
}
