package inventory

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/errgroup"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pace"
)

const (
	// followEvery is how often the logs are looked at. Who searches does not wait
	// for it.
	followEvery = 2 * time.Second
	// followRetry is the pause after a failure.
	followRetry = 30 * time.Second

	// catchUpEntries and catchUpTime bound what a search does of the follower's work.
	catchUpEntries = 2048
	catchUpTime    = 100 * time.Millisecond

	// dropRows is how many rows of a log that was replaced are deleted at a time.
	dropRows = 256
)

// errMoved says that somebody else went on with a log in between.
var errMoved = errors.New("the index of the log moved")

// Run follows the logs until ctx ends; then it returns nil. A failure is logged
// and tried again.
func (x *Index) Run(ctx context.Context) error {
	for {
		wait := followEvery
		if err := x.follow(ctx); err != nil && ctx.Err() == nil {
			x.cfg.Log.ErrorContext(ctx, "bringing the index of certificates up to date", slog.Any("error", err))
			wait = followRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// follow brings all logs up to date. One that fails does not keep the others back.
func (x *Index) follow(ctx context.Context) error {
	sizes, err := x.cfg.Logs.LogSizes(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, ca := range slices.Sorted(maps.Keys(sizes)) {
		x.mu.Lock()
		size, ok := x.known[ca]
		x.mu.Unlock()
		if ok && size == sizes[ca] {
			continue
		}
		for more := true; more; {
			more = false
			err := x.use(ctx, func(f *file) (err error) {
				more, err = x.followLog(ctx, f, ca)
				return err
			})
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("log %s: %w", ca, err))
			}
		}
	}
	if x.untidy.Swap(false) {
		if err := x.use(ctx, func(f *file) error { return x.drop(ctx, f, sizes) }); err != nil {
			x.untidy.Store(true)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// followLog brings a log further: its next blocks, on all processors, as many as
// are made at a time, in one transaction. It tells whether there is more.
func (x *Index) followLog(ctx context.Context, f *file, ca string) (more bool, err error) {
	head, err := x.cfg.Logs.LogHead(ctx, ca)
	if err != nil {
		return false, err
	}
	p, err := x.compare(ctx, f, ca, &head)
	if err != nil || p.size == head.Size {
		return false, err
	}
	var pieces []*piece
	lo := p.size
	for lo < head.Size && len(pieces) < runtime.GOMAXPROCS(0) {
		hi := min((lo/blockSize+1)*blockSize, head.Size)
		pieces = append(pieces, &piece{lo: lo, hi: hi})
		lo = hi
	}
	if err := f.read(ctx, func(c *conn) error { return x.before(ctx, c, p, pieces[0]) }); err != nil {
		return false, err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, piece := range pieces {
		g.Go(func() error { return pace.Aside(func() error { return x.make(gctx, ca, piece) }) })
	}
	if err := g.Wait(); err != nil {
		return false, err
	}
	err = x.inTurn(ctx, func() error { return x.store(ctx, f, ca, p, pieces, &head) })
	if errors.Is(err, errMoved) {
		return true, nil
	}
	return lo < head.Size, err
}

// inTurn runs do as the only one that writes.
func (x *Index) inTurn(ctx context.Context, do func() error) error {
	select {
	case x.turn <- struct{}{}:
		defer func() { <-x.turn }()
		return do()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// catchUp does the follower's work for someone who wants to know what was just
// issued, unless it is too much.
func (x *Index) catchUp(ctx context.Context, f *file, ca string, head *certlog.Head) error {
	x.mu.Lock()
	size, ok := x.known[ca]
	x.mu.Unlock()
	if ok && (size >= head.Size || head.Size-size > catchUpEntries) {
		return nil
	}
	wait, cancel := context.WithTimeout(ctx, catchUpTime)
	defer cancel()
	err := x.inTurn(wait, func() error {
		// What was begun is finished even if nobody waits for the answer any more.
		ctx := context.WithoutCancel(ctx)
		for {
			p, err := x.compareInTurn(ctx, f, ca, head)
			if err != nil || p.size >= head.Size || head.Size-p.size > catchUpEntries {
				return err
			}
			next := &piece{lo: p.size, hi: min((p.size/blockSize+1)*blockSize, head.Size)}
			if err := f.read(ctx, func(c *conn) error { return x.before(ctx, c, p, next) }); err != nil {
				return err
			}
			if err := x.make(ctx, ca, next); err != nil {
				return err
			}
			if err := x.store(ctx, f, ca, p, []*piece{next}, head); err != nil {
				return err
			}
		}
	})
	if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return nil // somebody else is at work, and the answer says what is missing
	}
	return err
}

// compare gives where the index stands in a log. The first time it looks whether
// the log is still the one that is in the index; of another one it forgets all.
func (x *Index) compare(ctx context.Context, f *file, ca string, head *certlog.Head) (p place, err error) {
	if x.compared(ca) {
		err = f.read(ctx, func(c *conn) error {
			p, err = c.place(ctx, ca)
			return err
		})
		return p, err
	}
	err = x.inTurn(ctx, func() error {
		p, err = x.compareInTurn(ctx, f, ca, head)
		return err
	})
	return p, err
}

func (x *Index) compareInTurn(ctx context.Context, f *file, ca string, head *certlog.Head) (p place, err error) {
	err = f.read(ctx, func(c *conn) error {
		p, err = c.place(ctx, ca)
		return err
	})
	if err != nil || x.compared(ca) {
		return p, err
	}
	same := p.number == 0
	if !same && p.size <= head.Size {
		root, err := x.root(ctx, ca, p.size, head)
		if err != nil {
			return p, err
		}
		same = bytes.Equal(p.root, root[:])
	}
	if !same {
		x.cfg.Log.WarnContext(ctx, "the log of a certificate authority is not the one that the index of certificates was made from, which is made anew", slog.String("ca", ca), slog.Uint64("entries", p.size))
		err := f.write(ctx, func(c *conn) error { return c.exec(ctx, "UPDATE log SET ca = NULL WHERE ca = ?", ca) })
		if err != nil {
			return p, err
		}
		p = place{}
		x.untidy.Store(true)
	}
	x.mu.Lock()
	x.known[ca] = p.size
	x.mu.Unlock()
	return p, nil
}

// root is the root of the first size entries of a log.
func (x *Index) root(ctx context.Context, ca string, size uint64, head *certlog.Head) (tlog.Hash, error) {
	if size == head.Size {
		return head.Root, nil
	}
	root, err := tlog.TreeHash(int64(size), certlog.NewHashReader(ctx, x.cfg.Logs, ca, size))
	if err != nil {
		return root, fmt.Errorf("hashing the first %d entries of log %s: %w", size, ca, err)
	}
	return root, nil
}

// before reads the rows that a piece begins with.
func (x *Index) before(ctx context.Context, c *conn, at place, p *piece) error {
	first := p.lo &^ (groupSize - 1)
	if p.hi%blockSize == 0 {
		first = p.lo &^ (blockSize - 1)
	}
	if at.number == 0 || first == p.lo {
		return nil
	}
	return x.eachGroup(ctx, c, at.number, first, p.lo, func(first uint64, plain []byte) (err error) {
		p.rows, err = readGroup(p.rows, bytes.Clone(plain), first)
		return err
	})
}

// eachGroup calls yield for the decoded groups that begin in [lo, hi). plain is
// valid during the call only.
func (x *Index) eachGroup(ctx context.Context, c *conn, number int64, lo, hi uint64, yield func(first uint64, plain []byte) error) error {
	var packed sql.RawBytes
	var plain []byte
	base := number << groupBits
	return c.each(ctx, func(rows *sql.Rows) (err error) {
		var id int64
		if err = rows.Scan(&id, &packed); err != nil {
			return err
		}
		if plain, err = x.codec.decode(plain[:0], packed); err != nil {
			return err
		}
		return yield(uint64(id-base)*groupSize, plain)
	}, "SELECT id, bytes FROM rows WHERE id >= ? AND id < ? ORDER BY id", base+int64(lo/groupSize), base+int64((hi+groupSize-1)/groupSize))
}

// store writes pieces that follow each other, the first where the index stands,
// in one transaction: a crash leaves a whole prefix of the log.
func (x *Index) store(ctx context.Context, f *file, ca string, at place, pieces []*piece, head *certlog.Head) error {
	end := pieces[len(pieces)-1].hi
	root, err := x.root(ctx, ca, end, head)
	if err != nil {
		return err
	}
	err = f.write(ctx, func(c *conn) error {
		p, err := c.place(ctx, ca)
		if err != nil {
			return err
		}
		if p.number != at.number || p.size != at.size {
			return errMoved
		}
		if p.number == 0 {
			if err := c.row(ctx, "INSERT INTO log (number, ca, size, root, issued, revoked) VALUES ((SELECT coalesce(max(number), 0) + 1 FROM log), ?, 0, x'', 0, 0) RETURNING number", ca).Scan(&p.number); err != nil {
				return err
			}
		}
		counts := map[counterKey]int64{}
		for _, piece := range pieces {
			if err := x.storePiece(ctx, c, &p, piece, counts); err != nil {
				return err
			}
		}
		for k, n := range counts {
			err := c.exec(ctx, "INSERT INTO counter (log, kind, key, n) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", p.number, k.kind, k.key, n)
			if err != nil {
				return err
			}
		}
		return c.exec(ctx, "UPDATE log SET size = ?, root = ?, issued = ?, revoked = ? WHERE number = ?", int64(end), root[:], int64(p.issued), int64(p.revoked), p.number)
	})
	if err != nil {
		return fmt.Errorf("storing the entries [%d, %d): %w", at.size, end, err)
	}
	x.mu.Lock()
	x.known[ca] = end
	x.mu.Unlock()
	return nil
}

// storePiece writes a piece and counts what it counts.
func (x *Index) storePiece(ctx context.Context, c *conn, at *place, p *piece, counts map[counterKey]int64) error {
	for k, n := range p.counts {
		counts[k] += n
	}
	for _, g := range p.groups {
		if err := c.exec(ctx, "INSERT INTO rows (id, bytes) VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = excluded.bytes", at.number<<groupBits+int64(g.first/groupSize), g.bytes); err != nil {
			return err
		}
	}
	if b := p.block; b != nil {
		id := at.number<<blockBits + int64(p.lo/blockSize)
		err := c.exec(ctx, "INSERT INTO block (id, first_issued, last_issued, first_expires, last_expires, first_serial, last_serial, directory) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			id, b.firstIssued, b.lastIssued, b.firstExpires, b.lastExpires, notNull(b.firstSerial), notNull(b.lastSerial), notNull(b.directory))
		if err != nil {
			return err
		}
		for i, page := range b.pages {
			if err := c.exec(ctx, "INSERT INTO page (id, bytes) VALUES (?, ?)", id<<(pageBits-blockBits)+int64(i), page); err != nil {
				return err
			}
		}
	}
	at.issued += uint64(p.issued)
	at.revoked += uint64(len(p.revocations))
	return x.storeRevocations(ctx, c, at.number, p.revocations, counts)
}

func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// storeRevocations writes revocations and takes them off the counters of what will
// expire, which needs their rows: in the order of the log, so that a group is read
// once. The rows of this transaction are there already.
func (x *Index) storeRevocations(ctx context.Context, c *conn, number int64, revocations []revocation, counts map[counterKey]int64) error {
	slices.SortFunc(revocations, func(a, b revocation) int { return int(int64(a.index) - int64(b.index)) })
	for i := 0; i < len(revocations); {
		first := revocations[i].index &^ (groupSize - 1)
		n := i
		for n < len(revocations) && revocations[n].index < first+groupSize {
			n++
		}
		var rows []row
		err := x.eachGroup(ctx, c, number, first, first+groupSize, func(first uint64, plain []byte) (err error) {
			rows, err = readGroup(rows, plain, first)
			for ; i < n && err == nil; i++ {
				r := &revocations[i]
				if one := between(rows, r.index, r.index+1); len(one) == 1 {
					counts[counterKey{countExpiring, floor(one[0].notAfter, hour)}]--
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		i = n
	}
	for _, r := range revocations {
		if err := c.exec(ctx, "INSERT INTO revocation (id, time, reason) VALUES (?, ?, ?)", number<<entryBits+int64(r.index), r.time, int64(r.reason)); err != nil {
			return err
		}
	}
	return nil
}

// drop deletes what is left of logs that are no more, step by step: sizes has those
// that are.
func (x *Index) drop(ctx context.Context, f *file, sizes map[string]uint64) error {
	var gone []int64
	err := f.read(ctx, func(c *conn) error {
		return c.each(ctx, func(rows *sql.Rows) error {
			var number int64
			var ca sql.NullString
			err := rows.Scan(&number, &ca)
			if _, ok := sizes[ca.String]; !ok {
				gone = append(gone, number)
			}
			return err
		}, "SELECT number, ca FROM log")
	})
	if err != nil {
		return err
	}
	for _, number := range gone {
		if err := x.dropLog(ctx, f, number); err != nil {
			return fmt.Errorf("deleting what is left of a log: %w", err)
		}
	}
	return nil
}

func (x *Index) dropLog(ctx context.Context, f *file, number int64) error {
	step := func(do func(c *conn) error) error {
		return x.inTurn(ctx, func() error { return f.write(ctx, do) })
	}
	for _, t := range []struct {
		name string
		bits int
	}{{"rows", groupBits}, {"page", pageBits}, {"block", blockBits}, {"revocation", entryBits}} {
		for left := true; left; {
			err := step(func(c *conn) error {
				err := c.exec(ctx, "DELETE FROM "+t.name+" WHERE id IN (SELECT id FROM "+t.name+" WHERE id >= ? AND id < ? LIMIT ?)", number<<t.bits, (number+1)<<t.bits, dropRows)
				if err != nil {
					return err
				}
				return c.row(ctx, "SELECT changes() > 0").Scan(&left)
			})
			if err != nil {
				return err
			}
		}
	}
	// The log goes last: a crash before leaves it to the next start.
	return step(func(c *conn) error {
		return errors.Join(c.exec(ctx, "DELETE FROM counter WHERE log = ?", number), c.exec(ctx, "DELETE FROM log WHERE number = ?", number))
	})
}
