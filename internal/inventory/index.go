package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Index is an open index. Safe for concurrent use.
type Index struct {
	cfg      Config
	codec    *codec
	patience time.Duration // of one search

	// turn is held by the one goroutine that writes.
	turn chan struct{}

	opened sync.RWMutex // held to read by all who use file
	file   *file
	times  atomic.Int64 // how often file was made anew because it was damaged

	untidy atomic.Bool // there may be logs that are no more

	mu    sync.Mutex
	known map[string]uint64 // entries of the logs that the index has, and whose tree was compared with the log's
}

// Open opens the index, and makes it anew when there is none or it is damaged.
func Open(ctx context.Context, cfg Config) (*Index, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	x := &Index{cfg: cfg, patience: searchTime, turn: make(chan struct{}, 1), known: map[string]uint64{}}
	x.untidy.Store(true)
	var err error
	if x.codec, err = newCodec(); err != nil {
		return nil, fmt.Errorf("opening the index of certificates: %w", err)
	}
	if x.file, err = openFile(ctx, cfg.Path); err != nil {
		return nil, fmt.Errorf("opening the index of certificates: %w", err)
	}
	return x, nil
}

// Close closes the file. No other method may be running or be called again.
func (x *Index) Close() error {
	x.codec.dec.Close()
	if err := x.file.close(); err != nil {
		return fmt.Errorf("closing the index of certificates: %w", err)
	}
	return nil
}

// use runs do on the open file. When that turns out to be damaged it is made anew,
// empty, and do runs once more.
func (x *Index) use(ctx context.Context, do func(*file) error) error {
	err, times := x.useOnce(do)
	if err == nil || ctx.Err() != nil || !isDamaged(err) {
		return err
	}
	if err := x.renew(ctx, times, err); err != nil {
		return err
	}
	err, _ = x.useOnce(do)
	return err
}

func (x *Index) useOnce(do func(*file) error) (err error, times int64) {
	x.opened.RLock()
	defer x.opened.RUnlock()
	return do(x.file), x.times.Load()
}

// renew makes the file anew, unless somebody did since it was made times times.
func (x *Index) renew(ctx context.Context, times int64, why error) error {
	x.opened.Lock()
	defer x.opened.Unlock()
	if x.times.Load() != times {
		return nil
	}
	x.cfg.Log.WarnContext(ctx, "the index of certificates is damaged and is made anew", slog.Any("error", why))
	err := errors.Join(x.file.close(), removeFile(x.cfg.Path))
	if err == nil {
		var f *file
		if f, err = tryOpen(context.WithoutCancel(ctx), x.cfg.Path); err == nil {
			x.file = f
		}
	}
	if err != nil {
		return fmt.Errorf("making the index of certificates anew: %w", err)
	}
	x.times.Add(1)
	x.mu.Lock()
	clear(x.known)
	x.mu.Unlock()
	return nil
}

// place is where the index stands in a log.
type place struct {
	number          int64 // 0 when there is nothing of the log yet
	size            uint64
	root            []byte
	issued, revoked uint64
}

// place reads where the index stands in a CA's log.
func (c *conn) place(ctx context.Context, ca string) (p place, err error) {
	err = c.row(ctx, "SELECT number, size, root, issued, revoked FROM log WHERE ca = ?", ca).Scan(&p.number, &p.size, &p.root, &p.issued, &p.revoked)
	if errors.Is(err, sql.ErrNoRows) {
		return place{}, nil
	}
	return p, err
}

// Counts gives what a CA, by UUID, has issued and revoked.
func (x *Index) Counts(ctx context.Context, ca string) (n Counts, err error) {
	err = x.snapshot(ctx, ca, func(c *conn, p place, behind uint64) error {
		n = Counts{p.issued, p.revoked, behind}
		return nil
	})
	if err != nil {
		return Counts{}, fmt.Errorf("counting the certificates of CA %s: %w", ca, err)
	}
	return n, nil
}

// snapshot catches up with a CA's log if that is quickly done, and runs do on
// what the index then has of it.
func (x *Index) snapshot(ctx context.Context, ca string, do func(c *conn, p place, behind uint64) error) error {
	head, err := x.cfg.Logs.LogHead(ctx, ca)
	if err != nil {
		return err
	}
	return x.use(ctx, func(f *file) error {
		if err := x.catchUp(ctx, f, ca, &head); err != nil {
			return err
		}
		return f.read(ctx, func(c *conn) error {
			p, err := c.place(ctx, ca)
			if err != nil {
				return err
			}
			if !x.compared(ca) { // it may be of another log
				return do(c, place{}, head.Size)
			}
			return do(c, p, head.Size-min(p.size, head.Size))
		})
	})
}

// compared tells whether what the index has of a log was compared with it.
func (x *Index) compared(ca string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, ok := x.known[ca]
	return ok
}
