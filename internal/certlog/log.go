// Package certlog is the append-only log of everything that one CA key
// signed: entries, the RFC 9162 Merkle tree over them, and group commit. One
// log per CA. The report, the CRL, OCSP and the console are readings of a
// prefix of it.
//
// The promise: when Append returns, the entry and its rows are durable, have
// an index, and are under the head that Head returns. An entry is never
// changed and an index is never reused.
package certlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// ErrHeadMoved says that someone else appended to the log since its head was
// read; nothing of the call was stored.
var ErrHeadMoved = errors.New("log head moved")

// MaxClockStep is how far the times of a log may go back: clocks of several
// servers differ, and a commit is not ordered by time. Verifiers ask for the
// same (proof.md 2).
const MaxClockStep = 5 * time.Minute

// ErrClock says that an entry is dated before one that the log has, by more
// than MaxClockStep: the clock of the server is wrong, or was. Such an entry
// would look back-dated for ever, so it is not appended.
var ErrClock = errors.New("the clock went back")

// RowError says which record of a CommitLog contradicts what is stored, and
// how. Nothing of the call was stored.
type RowError struct {
	Batch, Record int // places in the batches that were given
	Err           error
}

func (e *RowError) Error() string {
	return fmt.Sprintf("record %d of batch %d: %v", e.Record, e.Batch, e.Err)
}

// Unwrap gives the contradiction.
func (e *RowError) Unwrap() error { return e.Err }

// RowErrors is the answer of a Store that finds all records that contradict
// what is stored, or each other, in one go.
type RowErrors []*RowError

func (e RowErrors) Error() string {
	if len(e) == 0 {
		return "no record at fault"
	}
	return fmt.Sprintf("%d records at fault: %v", len(e), e[0])
}

// Unwrap gives each of them.
func (e RowErrors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, r := range e {
		errs[i] = r
	}
	return errs
}

// BlockSize is the number of consecutive entries that are sealed into one
// immutable, compressed pack. Part of the format.
const BlockSize = 1 << 14

// Head is the state of a log: how many entries it has and what they hash to.
type Head struct {
	Size uint64
	Edge []tlog.Hash // roots of the complete subtrees that make up the tree, largest first
	Root tlog.Hash   // RFC 9162 root of the first Size entries; the hash of nothing when Size is 0
	Time int64       // milliseconds since the epoch: the latest time of an entry since the last recovery
}

// Node is the root of a complete subtree of 2^Level leaves; only the levels
// 8, 16, 24, ... are kept (they are the C2SP tiles above level 0). It covers
// the entries [N<<Level, (N+1)<<Level).
type Node struct {
	Level int
	N     uint64
	Hash  tlog.Hash
}

// Row is a record that a Store makes durable in the transaction of the entry
// it belongs to: the certificate, a revocation, an idempotency token, a
// report. The log does not look into it; the store knows its kinds.
type Row interface{ LogRow() }

// Record is one entry with the rows that must become durable with it.
type Record struct {
	Entry []byte // encoded, see Entry.Append
	Rows  []Row
}

// Batch is what one commit adds to one log: Records get the indices
// From.Size, From.Size+1, ... and To is the head after them.
type Batch struct {
	CA       string // the CA's UUID
	From, To Head
	Records  []Record
	Nodes    []Node
}

// Store keeps logs. Implementations are safe for concurrent use; every
// implementation passes store/storetest.
type Store interface {
	// LogHead gives the head of a log; a log without entries has Size 0.
	LogHead(ctx context.Context, ca string) (Head, error)

	// CommitLog adds all batches and all their rows in one transaction with
	// one sync, or nothing. When it returns nil everything is durable. A head
	// that is no longer a batch's From gives ErrHeadMoved; a row that
	// contradicts what is stored gives a *RowError or RowErrors, and then
	// nothing of the call is stored. After any other error the outcome is
	// unknown until the head is read again.
	CommitLog(ctx context.Context, batches []Batch) error

	// LogEntries calls yield for the entries [lo, hi) in order, from packs
	// and from the tail alike. entry is valid during the call only.
	LogEntries(ctx context.Context, ca string, lo, hi uint64, yield func(index uint64, entry []byte) error) error

	// LogNodes gives the hashes of the nodes [lo, hi) of a level that Node
	// allows.
	LogNodes(ctx context.Context, ca string, level int, lo, hi uint64) ([]tlog.Hash, error)
}

// Sealer is a Store that packs full blocks. SealLog is idempotent, also after
// a crash in the middle of it: the entries [block*BlockSize,
// (block+1)*BlockSize) go from the tail into a pack, and readers see one or the
// other. It holds up CommitLog for a few milliseconds at a time.
type Sealer interface {
	SealLog(ctx context.Context, ca string, block uint64) error
	// UnsealedBlocks lists full blocks that are still in the tail.
	UnsealedBlocks(ctx context.Context) (map[string][]uint64, error)
}
