package sqlite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
)

const (
	// restartRetry is the pause after a reader of another process or a full
	// disk kept the WAL from beginning anew.
	restartRetry = 250 * time.Millisecond
	// behindFactor times Config.WAL is the size from which writers wait for
	// the whole checkpoint.
	behindFactor = 2
	// warnFactor times Config.WAL is the size from which a WAL that cannot
	// begin anew is worth a line in the log.
	warnFactor = 16

	purgeStep = 256 // tokens, or revocations of expired certificates, of one transaction
)

// wal counts what goes into the WAL, so that it is folded back in time.
// SQLite's own way, inside of the commit that happens to cross the limit,
// would hold up that commit for all of it and never finishes under load.
type wal struct {
	bytes atomic.Int64 // written since the WAL began anew
	limit atomic.Int64 // from which the keeper is told
	nudge chan struct{}
}

// wrote counts the pages of the transaction that just ended.
func (db *DB) wrote(c *conn) {
	status, ok := c.raw.(sqlite.DBStatus)
	if !ok {
		return
	}
	pages, _, err := status.Status(sqlite.DBStatusCacheWrite, true)
	if err != nil {
		return // the counter is one that SQLite knows: cannot be
	}
	if db.wal.bytes.Add(int64(pages)*(pageSize+24)) >= db.wal.limit.Load() {
		select {
		case db.wal.nudge <- struct{}{}:
		default:
		}
	}
}

// keep folds the WAL back and purges tokens until ctx ends. c is its connection.
func (db *DB) keep(ctx context.Context, c *conn) {
	defer func() {
		if err := c.close(); err != nil {
			db.cfg.Log.Error("closing the connection of the checkpoints", slog.Any("error", err))
		}
	}()
	purge := time.NewTicker(db.cfg.Purge)
	defer purge.Stop()
	// A crash may have left any amount of WAL.
	retry := time.NewTimer(0)
	defer retry.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-purge.C:
			err = db.purgeTokens(ctx)
		case <-db.wal.nudge:
			err = db.checkpoint(ctx, c, retry)
		case <-retry.C:
			err = db.checkpoint(ctx, c, retry)
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			db.cfg.Log.Error("keeping the store in order", slog.Any("error", err))
		}
	}
}

// checkpoint brings the WAL into the file and lets it begin anew. Most of it
// goes beside the writers; they wait only while the rest, what was written
// meanwhile, follows. When writers are faster than that they wait for all of
// it, so the WAL stays within a small multiple of its limit.
func (db *DB) checkpoint(ctx context.Context, c *conn, retry *time.Timer) error {
	if db.wal.bytes.Load() < behindFactor*db.cfg.WAL {
		if _, err := foldWAL(c, "PASSIVE"); err != nil {
			retry.Reset(restartRetry)
			return err
		}
	}
	done, err := db.restartWAL(ctx, c)
	if done {
		return nil
	}
	retry.Reset(restartRetry)
	if n := db.wal.bytes.Load(); err == nil && n > warnFactor*db.cfg.WAL {
		db.cfg.Log.Warn("another process reads the database without a pause and keeps its WAL from shrinking", slog.Int64("bytes", n))
	}
	return err
}

// restartWAL stops all writers and readers of this process, which takes as
// long as the longest statement, and so can tell at once whether somebody
// else keeps the WAL from beginning anew.
func (db *DB) restartWAL(ctx context.Context, c *conn) (done bool, err error) {
	w, err := db.acquire(ctx, db.writer)
	if err != nil {
		return false, err
	}
	defer func() { db.writer.put(w) }()
	for range db.cfg.Readers {
		r, err := db.acquire(ctx, db.readers)
		if err != nil {
			return false, err
		}
		defer func() { db.readers.put(r) }()
	}
	if done, err = foldWAL(c, "RESTART"); done {
		db.wal.bytes.Store(0)
		db.wal.limit.Store(db.cfg.WAL)
	} else {
		db.wal.limit.Store(db.wal.bytes.Load() + db.cfg.WAL/4)
	}
	return done, err
}

// foldWAL runs a checkpoint and reports whether it did all of it.
func foldWAL(c *conn, mode string) (bool, error) {
	var busy int64
	_, err := c.queryRow(func(r *rows) { busy = r.int(0) }, "PRAGMA wal_checkpoint("+mode+")")
	if err != nil {
		return false, fmt.Errorf("checkpointing: %w", err)
	}
	return busy == 0, nil
}

// purgeTokens drops expired tokens in small steps, so that no writer waits
// long.
func (db *DB) purgeTokens(ctx context.Context) error {
	now := db.cfg.Now().UnixMilli()
	for {
		var n int64
		err := db.write(ctx, func(c *conn) (err error) {
			n, err = c.exec("DELETE FROM token WHERE key IN (SELECT key FROM token WHERE expires <= ? ORDER BY expires LIMIT ?)", now, int64(purgeStep))
			return err
		})
		if err != nil {
			return fmt.Errorf("purging tokens: %w", err)
		}
		if n < purgeStep {
			return nil
		}
	}
}
