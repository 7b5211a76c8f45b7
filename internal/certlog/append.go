package certlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Defaults of Config.
const (
	DefaultBatch         = 1024
	DefaultCommitTimeout = 30 * time.Second
)

// maxBatchBytes bounds the entries of one commit, whatever their number.
const maxBatchBytes = 8 << 20

// Config is what a Log is made of.
type Config struct {
	Store Store
	Log   *slog.Logger // background work only; nil is slog.Default()

	Batch         int           // most records of one commit; 0 is DefaultBatch
	CommitTimeout time.Duration // of one commit; 0 is DefaultCommitTimeout
}

// Log appends to the logs of all CAs by group commit: of the callers that
// wait, one commits for all of them, with one sync. Safe for concurrent use.
type Log struct {
	store   Store
	log     *slog.Logger
	batch   int
	timeout time.Duration
	full    chan struct{} // a block filled up; for Run

	mu      sync.Mutex
	leading bool // a caller is committing, or was told to
	queue   []*waiter
	known   map[string]known
	refused map[string]error // why nothing is appended to these logs
}

// known is what this process saw of a log. head never goes back; fresh says
// that it is also the newest as far as we know, and need not be read again.
type known struct {
	head  Head
	fresh bool
}

// waiter is one call of Append.
type waiter struct {
	ca   string
	rec  Record
	leaf tlog.Hash
	time int64
	lift bool // goes into a log that refuses others, and ends that

	wake  chan struct{} // one message: the call is finished, or is to lead
	taken bool          // part of a commit; guarded by Log.mu
	leads bool          // is to commit for all; guarded by Log.mu

	refused  error // what the record contradicts; for the leader alone
	finished bool  // written by the leader before it sends to wake
	index    uint64
	err      error
}

// New makes a Log. One process has one Log per Store.
func New(c Config) *Log {
	l := &Log{
		store: c.Store, log: c.Log, batch: c.Batch, timeout: c.CommitTimeout,
		full: make(chan struct{}, 1), known: map[string]known{}, refused: map[string]error{},
	}
	if l.log == nil {
		l.log = slog.Default()
	}
	if l.batch <= 0 {
		l.batch = DefaultBatch
	}
	if l.timeout <= 0 {
		l.timeout = DefaultCommitTimeout
	}
	return l
}

// Append adds one record to the log of a CA and returns its index; then it is
// durable, with all its rows. The caller leaves r alone until Append returns.
//
// When ctx ends before the record is part of a commit, it is not stored and
// the error is ctx's. A row that contradicts what is stored gives the row's
// error (a *store.ExistsError for instance) and stores nothing of r. A head
// that fails its check gives ErrHead, and so does a log that refuses; an entry
// that is dated before the log's others ErrClock. After any other error it is
// unknown whether the record was stored.
func (l *Log) Append(ctx context.Context, ca string, r Record) (uint64, error) {
	return l.append(ctx, ca, r, false)
}

// Recover is Append of the entry that a log which refuses goes on with. Once it
// is durable the log takes records again, and none comes before it.
func (l *Log) Recover(ctx context.Context, ca string, r Record) (uint64, error) {
	return l.append(ctx, ca, r, true)
}

// Refuse makes a log refuse all records from now on, because of evidence from
// outside that its store is not what it was; nil ends that. Reading goes on.
// Append's errors then wrap why and ErrHead.
func (l *Log) Refuse(ca string, why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if why == nil {
		delete(l.refused, ca)
		return
	}
	l.refused[ca] = fmt.Errorf("log %s takes no entries: %w: %w", ca, ErrHead, why)
}

// Refused tells why a log refuses records; nil when it does not.
func (l *Log) Refused(ca string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused[ca]
}

// CountRefused is how many logs refuse records.
func (l *Log) CountRefused() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.refused)
}

func (l *Log) append(ctx context.Context, ca string, r Record, lift bool) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("appending to log %s: %w", ca, err)
	}
	if len(r.Entry) > MaxEntrySize {
		return 0, malformed("%d bytes, at most %d are possible", len(r.Entry), MaxEntrySize)
	}
	t, err := EntryTime(r.Entry)
	if err != nil {
		return 0, err
	}
	// The leaf is hashed here, by each caller, and not by the one that commits.
	w := &waiter{ca: ca, rec: r, leaf: tlog.RecordHash(r.Entry), time: t, lift: lift, wake: make(chan struct{}, 1)}

	l.mu.Lock()
	l.queue = append(l.queue, w)
	if !l.leading {
		l.leading, w.leads = true, true
	}
	leads := w.leads
	l.mu.Unlock()

	if !leads {
		select {
		case <-w.wake:
		case <-ctx.Done():
			if l.withdraw(w) {
				return 0, fmt.Errorf("appending to log %s: %w", ca, ctx.Err())
			}
			// Part of a commit already: its outcome comes within the
			// commit's own time limit, and the caller must know it.
			<-w.wake
		}
		if w.finished {
			return w.index, w.err
		}
	}
	l.lead(ctx)
	return w.index, w.err
}

// withdraw takes a waiter out of the queue, unless it is part of a commit or
// is to lead one.
func (l *Log) withdraw(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.taken || w.leads {
		return false
	}
	l.queue = slices.DeleteFunc(l.queue, func(q *waiter) bool { return q == w })
	return true
}

// lead commits one batch from the head of the queue, which the caller is part
// of, and hands the lead to the first that still waits: nobody works for
// others longer than for one commit, and the queue is served in order.
func (l *Log) lead(ctx context.Context) {
	// Callers that can run now, and are about to append, get into this commit
	// and share its sync. When there are none this costs nothing.
	runtime.Gosched()
	batch := l.take()
	defer l.handOver() // after everyone of the batch has an answer
	defer func() {
		for _, w := range batch {
			if !w.finished { // only after a panic of the store
				w.finish(0, errors.New("commit did not come to an end"))
			}
		}
	}()
	// The commit is shared: it does not end with the one caller that happens
	// to lead.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	defer cancel()
	l.commit(ctx, batch)
}

func (l *Log) take() []*waiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.queue) && n < l.batch {
		if size += len(l.queue[n].rec.Entry); size > maxBatchBytes && n > 0 {
			break
		}
		l.queue[n].taken = true
		n++
	}
	batch := slices.Clone(l.queue[:n])
	l.queue = slices.Delete(l.queue, 0, n)
	return batch
}

func (l *Log) handOver() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		l.leading = false
		return
	}
	next := l.queue[0]
	next.leads = true
	next.wake <- struct{}{}
}

// finish gives a waiter its answer. For the leader nobody reads the message.
func (w *waiter) finish(index uint64, err error) {
	w.index, w.err, w.finished = index, err, true
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// commit makes a batch durable and finishes every waiter of it.
func (l *Log) commit(ctx context.Context, all []*waiter) {
	for {
		batches, members := l.build(ctx, all)
		var err error
		if len(batches) > 0 {
			err = l.store.CommitLog(ctx, batches)
		}
		bad := rowErrors(err, batches)
		switch {
		case err == nil:
			l.committed(batches, members)
			// Only now: what a record contradicts may have become durable
			// with this very commit, and its caller may act on it.
			for _, w := range all {
				if w.refused != nil {
					w.finish(0, w.refused)
				}
			}
			return
		case len(bad) > 0:
			// Nothing was stored. The records at fault leave, the others
			// move up into their places.
			for _, e := range bad {
				w := members[e.Batch][e.Record]
				w.refused = fmt.Errorf("appending to log %s: %w", w.ca, e.Err)
			}
		case errors.Is(err, ErrHeadMoved) && ctx.Err() == nil:
			// Everybody once more: who was refused because of another
			// record of this batch may find that one gone.
			l.forget(batches)
			for _, w := range all {
				w.refused = nil
			}
		default:
			// Whether the store has the batch is unknown: read the heads
			// again before anything else is appended.
			l.forget(batches)
			err = fmt.Errorf("committing log entries: %w", err)
			for _, w := range all {
				if !w.finished {
					w.finish(0, err)
				}
			}
			return
		}
	}
}

// build makes one Batch per CA, in the order of the queue; members[i][j] is the
// waiter of record j of batch i. Waiters that were refused stay out. Those of
// a log whose head cannot be read or fails its check are finished here, and the
// other logs go on.
func (l *Log) build(ctx context.Context, all []*waiter) (batches []Batch, members [][]*waiter) {
	place := make(map[string]int, 1)
	var failed map[string]error
	for _, w := range all {
		if w.finished || w.refused != nil {
			continue
		}
		if err := l.Refused(w.ca); err != nil && !w.lift {
			w.finish(0, err)
			continue
		}
		i, ok := place[w.ca]
		if !ok {
			err := failed[w.ca]
			var head Head
			if err == nil {
				head, err = l.newest(ctx, w.ca)
			}
			if err != nil {
				if failed == nil {
					failed = map[string]error{}
				}
				failed[w.ca] = err
				w.finish(0, err)
				continue
			}
			i = len(batches)
			place[w.ca] = i
			batches = append(batches, Batch{CA: w.ca, From: head, To: head.clone()})
			members = append(members, nil)
		}
		b := &batches[i]
		// A recovery is how a log comes back from a clock that was ahead.
		recovery := EntryType(w.rec.Entry[1]) == TypeRecovery
		if w.time < b.To.Time-MaxClockStep.Milliseconds() && !recovery {
			w.refused = &clockError{ca: w.ca, entry: w.time, log: b.To.Time}
			continue
		}
		b.Records = append(b.Records, w.rec)
		b.Nodes = b.To.add(w.leaf, b.Nodes)
		b.To.advance(w.time, recovery)
		members[i] = append(members[i], w)
	}
	// Of a log whose waiters were all refused there is nothing to commit.
	for i := len(batches) - 1; i >= 0; i-- {
		if len(batches[i].Records) == 0 {
			batches, members = slices.Delete(batches, i, i+1), slices.Delete(members, i, i+1)
			continue
		}
		batches[i].To.seal()
	}
	return batches, members
}

// clockError is an ErrClock that callers of the API are told of, too.
type clockError struct {
	ca         string
	entry, log int64 // milliseconds
}

func (e *clockError) Error() string {
	return fmt.Sprintf("appending to log %s: %v: the entry is of %s, the log has one of %s. Set the server's clock right; if it was ahead before, the log takes entries from %s on, or sooner after chirograph log recover --force",
		e.ca, ErrClock, instant(e.entry), instant(e.log), e.from())
}

func (e *clockError) from() string { return instant(e.log - MaxClockStep.Milliseconds()) }

// Is implements errors.Is.
func (e *clockError) Is(target error) bool { return target == ErrClock }

// ErrorCode and ErrorMessage are what a front answers.
func (e *clockError) ErrorCode() string { return "InternalFailure" }

func (e *clockError) ErrorMessage() string {
	return fmt.Sprintf("The server's clock is wrong, or was: it says %s, and the log of the certificate authority takes no entries that are dated before %s, since they would look back-dated. The operator of this server sets it right.",
		instant(e.entry), e.from())
}

func instant(ms int64) string { return time.UnixMilli(ms).UTC().Format(time.RFC3339Nano) }

// newest is the head to append to: the known one, or the store's.
func (l *Log) newest(ctx context.Context, ca string) (Head, error) {
	l.mu.Lock()
	k := l.known[ca]
	l.mu.Unlock()
	if !k.fresh {
		return l.Head(ctx, ca)
	}
	if err := k.head.Check(&k.head); err != nil {
		return Head{}, fmt.Errorf("checking log %s: %w", ca, err)
	}
	return k.head, nil
}

// Head reads the head of a log: everything below it is durable. The error
// wraps ErrHead when it contradicts itself or a head that was seen earlier; the
// log refuses records from then on.
func (l *Log) Head(ctx context.Context, ca string) (Head, error) {
	// Taken before the read: commits meanwhile must not make it look old.
	l.mu.Lock()
	earlier := l.known[ca].head
	l.mu.Unlock()
	h, err := l.store.LogHead(ctx, ca)
	if err != nil {
		return Head{}, fmt.Errorf("reading head of log %s: %w", ca, err)
	}
	if err := h.Check(&earlier); err != nil {
		err = fmt.Errorf("checking log %s: %w", ca, err)
		if l.Refused(ca) == nil {
			l.Refuse(ca, err)
		}
		return Head{}, err
	}
	if h.Size == 0 {
		h.seal()
	}
	l.mu.Lock()
	if k := l.known[ca]; h.Size >= k.head.Size {
		l.known[ca] = known{head: h, fresh: true}
	}
	l.mu.Unlock()
	return h, nil
}

func (l *Log) committed(batches []Batch, members [][]*waiter) {
	filled := false
	l.mu.Lock()
	for i := range batches {
		b := &batches[i]
		l.known[b.CA] = known{head: b.To, fresh: true}
		for _, w := range members[i] {
			if w.lift {
				delete(l.refused, w.ca)
			}
		}
		filled = filled || b.From.Size/BlockSize != b.To.Size/BlockSize
	}
	l.mu.Unlock()
	for i, group := range members {
		for j, w := range group {
			w.finish(batches[i].From.Size+uint64(j), nil)
		}
	}
	if filled {
		select {
		case l.full <- struct{}{}:
		default:
		}
	}
}

// forget makes the next batch of these logs read their heads; what was seen
// stays for the check.
func (l *Log) forget(batches []Batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batches {
		k := l.known[batches[i].CA]
		k.fresh = false
		l.known[batches[i].CA] = k
	}
}

// rowErrors are the row errors of err that name a record of the batches.
func rowErrors(err error, batches []Batch) []*RowError {
	var all RowErrors
	var one *RowError
	if !errors.As(err, &all) && errors.As(err, &one) {
		all = RowErrors{one}
	}
	return slices.DeleteFunc(slices.Clone(all), func(e *RowError) bool {
		return e.Batch < 0 || e.Batch >= len(batches) || e.Record < 0 || e.Record >= len(batches[e.Batch].Records)
	})
}
