// Package sqlite is the embedded engine: one SQLite file in WAL mode, synced at
// every commit, no cgo.
//
// One connection writes, in the order in which writers ask; a few others
// read, for one statement at a time, so that nothing here ever holds a
// snapshot for long and the WAL can always be folded back into the file.
// Every connection runs with synchronous=FULL: a commit that returned is on
// the disk, as far as the disk tells the truth.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"modernc.org/sqlite"
)

// What Open refuses, and what a closed DB answers.
var (
	// ErrInUse says that another process has the store open.
	ErrInUse = errors.New("data folder is in use by another process")
	// ErrNewerFormat says that a newer version of the program wrote the store.
	ErrNewerFormat = errors.New("store was written by a newer version")
	// ErrForeign says that the file is no store of this program.
	ErrForeign = errors.New("file is not a chirograph store")
	// ErrOldLibrary says that the SQLite library has a known defect that can
	// damage a WAL with several connections (fixed in 3.51.3).
	ErrOldLibrary = errors.New("SQLite library is too old")
	// ErrClosed is the answer of a DB after Close.
	ErrClosed = errors.New("store is closed")
)

// minLibrary is the oldest SQLite that is safe with WAL and several connections.
const minLibrary = "3.51.3"

// LockName is the name of the lock file, in the folder of the store. It holds
// the pid of the process that has the store open.
const LockName = "chirograph.lock"

// Config says where the store is.
type Config struct {
	Path string // the database file; its folder is made when it is missing

	// ReadOnly opens a store of this version's format for reading alone:
	// nothing in the folder changes but the lock file. What writes gives an error.
	ReadOnly bool

	// Bulk is for filling a store: what is committed survives the end of the
	// process at once, but a loss of power only after Close, or in part. The WAL
	// may grow larger, and packs are made on all processors.
	Bulk bool

	Readers int           // most connections that read; 0 is 8
	WAL     int64         // bytes of WAL after which it is folded back into the file; 0 is 16 MiB
	Purge   time.Duration // how often expired tokens are looked for; 0 is 30 s
	Now     func() time.Time
	Log     *slog.Logger // background work, and a change of format; nil is slog.Default()
}

const (
	defaultReaders = 8
	defaultWAL     = 16 << 20
	bulkWAL        = 128 << 20
	defaultPurge   = 30 * time.Second
	pageSize       = 4096 // larger ones make the commit of a single certificate dearer, and nothing cheaper
	busyTimeout    = 5 * time.Second
)

// DB is an open store. It implements certlog.Store and certlog.Sealer and the
// interfaces of those who keep records. Safe for concurrent use.
type DB struct {
	cfg  Config
	lock *os.File

	writer, readers *pool

	enc     *encoders
	dec     *zstd.Decoder
	buffers sync.Pool // *[]byte, for decoded packs

	sealing sync.Mutex // one SealLog at a time

	wal    wal
	closed chan struct{}
	once   sync.Once
	work   sync.WaitGroup
}

// Open opens the store, and makes it when there is none. The error wraps
// ErrInUse, ErrNewerFormat, ErrForeign or ErrOldLibrary where one of these is
// the reason.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	if cfg.Readers <= 0 {
		cfg.Readers = defaultReaders
	}
	if cfg.WAL <= 0 {
		cfg.WAL = defaultWAL
		if cfg.Bulk {
			cfg.WAL = bulkWAL
		}
	}
	if cfg.Purge <= 0 {
		cfg.Purge = defaultPurge
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("opening store: %w", err)
	}
	cfg.Path = path
	dir := filepath.Dir(path)
	if cfg.ReadOnly {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("opening store: %w", err)
		}
	} else if err := makeFolder(dir); err != nil {
		return nil, fmt.Errorf("making data folder: %w", err)
	}
	lock, err := takeLock(filepath.Join(dir, LockName))
	if err != nil {
		return nil, err
	}
	db := &DB{
		cfg: cfg, lock: lock,
		writer: newPool(1), readers: newPool(cfg.Readers),
		closed: make(chan struct{}),
	}
	db.wal.limit.Store(cfg.WAL)
	db.wal.nudge = make(chan struct{}, 1)
	start := db.start
	if cfg.ReadOnly {
		start = db.startReadOnly
	}
	if err := start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("opening store %s: %w", path, err), unlock(lock))
	}
	return db, nil
}

// makeFolder makes a folder that only we may read, durably, if there is none.
func makeFolder(dir string) error {
	_, err := os.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func (db *DB) start(ctx context.Context) error {
	// The file holds every certificate: made here, because SQLite would let
	// the umask decide who may read it. No other descriptor of ours is open
	// yet: closing one would drop SQLite's locks.
	f, err := os.OpenFile(db.cfg.Path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	// SQLite syncs its own files and not the folder that they are found in.
	if err := errors.Join(f.Close(), syncDir(filepath.Dir(db.cfg.Path))); err != nil {
		return err
	}
	if db.enc, err = newEncoders(db.cfg.Bulk); err != nil {
		return err
	}
	if db.dec, err = newDecoder(); err != nil {
		return err
	}
	w, err := db.openWriter()
	if err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), checkLibrary(w)); err != nil {
		return errors.Join(err, w.close())
	}
	if err := prepareSchema(w, db.cfg.Log); err != nil {
		return errors.Join(err, w.close())
	}
	keeper, err := db.open("busy_timeout = 0")
	if err != nil {
		return errors.Join(err, w.close())
	}
	db.writer.put(w)
	for range db.cfg.Readers {
		db.readers.put(nil)
	}
	stop, cancel := context.WithCancel(context.Background())
	db.work.Go(func() {
		<-db.closed
		cancel()
	})
	db.work.Go(func() { db.keep(stop, keeper) })
	return nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// open opens a connection with the settings that all have, and pragmas.
func (db *DB) open(pragmas ...string) (*conn, error) {
	// fullfsync makes the sync reach the medium where fsync alone does not
	// (macOS). The page size is taken only before the file becomes a WAL
	// database, so the order counts, and the driver would sort what stands in
	// the DSN.
	common := []string{
		"busy_timeout = " + milliseconds(busyTimeout), "page_size = " + strconv.Itoa(pageSize), "journal_mode = WAL",
		"synchronous = FULL", "fullfsync = 1", "checkpoint_fullfsync = 1", "wal_autocheckpoint = 0", "temp_store = MEMORY",
		"journal_size_limit = " + strconv.FormatInt(2*db.cfg.WAL, 10),
	}
	path := filepath.ToSlash(db.cfg.Path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/...
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: "_dqs=0&_defensive=1&_error_rc=1"}
	if db.cfg.ReadOnly {
		u.RawQuery += "&mode=ro"
	}
	c, err := openConn(u.String())
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", describe(err))
	}
	for _, p := range append(common, pragmas...) {
		if _, err := c.exec("PRAGMA " + p); err != nil {
			return nil, errors.Join(fmt.Errorf("setting %s: %w", p, describe(err)), c.close())
		}
	}
	// A setting that SQLite did not take is not an error of its own.
	mode, sync := "", int64(0)
	_, err1 := c.queryRow(func(r *rows) { mode = r.text(0) }, "PRAGMA journal_mode")
	_, err2 := c.queryRow(func(r *rows) { sync = r.int(0) }, "PRAGMA synchronous")
	if err := errors.Join(err1, err2); err != nil {
		return nil, errors.Join(describe(err), c.close())
	}
	least := int64(2)
	if db.cfg.Bulk {
		least = 1
	}
	if mode != "wal" || sync < least {
		return nil, errors.Join(fmt.Errorf("the file system does not let SQLite commit safely: journal_mode is %q, synchronous is %d", mode, sync), c.close())
	}
	return c, nil
}

func (db *DB) openWriter() (*conn, error) {
	pragmas := []string{"cache_size = -16384"}
	if db.cfg.Bulk {
		// The WAL is then synced before it is folded back and the file after it,
		// so a loss of power cuts off whole commits at the end and nothing else.
		pragmas = append(pragmas, "synchronous = NORMAL")
	}
	return db.open(pragmas...)
}

func (db *DB) openReader() (*conn, error) {
	return db.open("cache_size = -2048", "query_only = 1")
}

// describe adds to an error that says that the file is no database what that
// means here.
func describe(err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) && e.Code()&0xff == codeNotADB {
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return err
}

// codeNotADB is SQLite's result code for a file that is no database.
const codeNotADB = 26

func checkLibrary(c *conn) error {
	var version string
	if _, err := c.queryRow(func(r *rows) { version = r.text(0) }, "SELECT sqlite_version()"); err != nil {
		return err
	}
	if versionLess(version, minLibrary) {
		return fmt.Errorf("%w: it is %s and must be %s or later", ErrOldLibrary, version, minLibrary)
	}
	return nil
}

// versionLess compares dotted numbers; what is not a number counts as 0.
func versionLess(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(as), len(bs)) {
		var x, y int
		if i < len(as) {
			x, _ = strconv.Atoi(as[i])
		}
		if i < len(bs) {
			y, _ = strconv.Atoi(bs[i])
		}
		if x != y {
			return x < y
		}
	}
	return false
}

// prepareSchema makes the tables in a new file and checks the format of one
// that has them. A crash in between leaves an empty file, which is new again.
func prepareSchema(c *conn, log *slog.Logger) error {
	var id, tables int64
	_, err1 := c.queryRow(func(r *rows) { id = r.int(0) }, "PRAGMA application_id")
	_, err2 := c.queryRow(func(r *rows) { tables = r.int(0) }, "SELECT count(*) FROM sqlite_master")
	if err := errors.Join(err1, err2); err != nil {
		return describe(err)
	}
	if tables == 0 {
		return inTransaction(c, func() error {
			if err := script(c, schema); err != nil {
				return err
			}
			if _, err := c.exec("PRAGMA application_id = " + strconv.Itoa(applicationID)); err != nil {
				return err
			}
			_, err := c.exec("INSERT INTO setting (name, value) VALUES (?, ?)", formatSetting, strconv.Itoa(Format))
			return err
		})
	}
	if id != applicationID {
		return fmt.Errorf("%w: it is an SQLite database of another program", ErrForeign)
	}
	var text string
	found, err := c.queryRow(func(r *rows) { text = r.text(0) }, "SELECT value FROM setting WHERE name = ?", formatSetting)
	if err != nil {
		return err
	}
	format, err := strconv.Atoi(text)
	if !found || err != nil || format < 1 {
		return fmt.Errorf("%w: it has no format number", ErrForeign)
	}
	if format > Format {
		return fmt.Errorf("%w: it has format %d, this version knows formats up to %d; use the version that wrote it, or a later one", ErrNewerFormat, format, Format)
	}
	if format == Format {
		return nil
	}
	log.Info("bringing the store to a newer format, which takes a while and from format 3 on needs room for a copy of its packs; a crash leaves it as it was", "from", format, "to", Format)
	// One transaction: a crash in between leaves the store as it was.
	return inTransaction(c, func() error {
		if format == 1 {
			err := script(c, upgrade1)
			if err == nil {
				err = upgradeKeys(c)
			}
			if err != nil {
				return fmt.Errorf("upgrading the store from format 1: %w", err)
			}
		}
		if format <= 2 {
			if err := script(c, upgrade2); err != nil {
				return fmt.Errorf("upgrading the store from format 2: %w", err)
			}
		}
		if format <= 3 {
			if err := script(c, upgrade3); err != nil {
				return fmt.Errorf("upgrading the store from format 3: %w", err)
			}
		}
		err := script(c, upgrade4)
		if err == nil {
			err = upgradeRevoked(c)
		}
		if err != nil {
			return fmt.Errorf("upgrading the store from format 4: %w", err)
		}
		_, err = c.exec("UPDATE setting SET value = ? WHERE name = ?", strconv.Itoa(Format), formatSetting)
		return err
	})
}

// script runs the statements of sql, each of which ends a line.
func script(c *conn, sql string) error {
	for s := range strings.SplitSeq(sql, ";\n") {
		if strings.TrimSpace(s) == "" {
			continue
		}
		if _, err := c.exec(s); err != nil {
			return err
		}
	}
	return nil
}

// takeLock makes this process the only one that has the data folder open.
func takeLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock file: %w", err)
	}
	ok, err := tryLock(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	if !ok {
		b, _ := io.ReadAll(io.LimitReader(f, 32)) // says only who; unreadable is "unknown"
		pid := strings.TrimSpace(string(b))
		if _, err := strconv.Atoi(pid); err != nil {
			pid = "unknown"
		}
		return nil, errors.Join(fmt.Errorf("%w: process %s holds %s; stop it, or choose another data folder", ErrInUse, pid, path), f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", path, err), f.Close())
	}
	return f, nil
}

// Close waits for what is under way, folds the WAL back and gives up the
// lock. Later calls of any method give ErrClosed.
func (db *DB) Close() error {
	var errs []error
	db.once.Do(func() {
		close(db.closed)
		db.work.Wait()
		for range db.cfg.Readers {
			<-db.readers.free
			if c := db.readers.take(); c != nil {
				errs = append(errs, c.close())
			}
		}
		<-db.writer.free
		if c := db.writer.take(); c != nil {
			errs = append(errs, c.close())
		}
		db.dec.Close()
		if db.cfg.ReadOnly {
			errs = append(errs, db.sweep())
		}
		errs = append(errs, unlock(db.lock))
	})
	return errors.Join(errs...)
}

// pool holds the connections that are free; nil stands for one that is yet to
// be opened. Waiters are served in order, each with the connection that was used
// last: it has in its cache what the others would read again.
type pool struct {
	free chan struct{} // an element for each connection

	mu    sync.Mutex
	conns []*conn
}

func newPool(n int) *pool { return &pool{free: make(chan struct{}, n)} }

func (p *pool) put(c *conn) {
	p.mu.Lock()
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	p.free <- struct{}{}
}

// take gives one of the connections to who took an element out of free.
func (p *pool) take() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.conns) - 1
	c := p.conns[last]
	p.conns = p.conns[:last]
	return c
}

// acquire takes a connection out of its pool, in turn.
func (db *DB) acquire(ctx context.Context, from *pool) (*conn, error) {
	select {
	case <-db.closed:
		return nil, ErrClosed
	default:
	}
	select {
	case <-from.free:
		return from.take(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-db.closed:
		return nil, ErrClosed
	}
}

// read runs f, which reads with short statements, on a connection of its own.
func (db *DB) read(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := db.acquire(ctx, db.readers)
	if err != nil {
		return err
	}
	defer func() { db.readers.put(c) }()
	if c == nil {
		if c, err = db.openReader(); err != nil {
			c = nil
			return err
		}
	}
	return f(c)
}

// write runs f in a transaction of the one writer; when it returns nil what f
// did is durable. An error of f is returned as it is, and nothing is stored.
// An error of the commit wraps SQLite's; then nothing is visible, and a crash
// right after it may still bring the transaction back.
func (db *DB) write(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := db.acquire(ctx, db.writer)
	if err != nil {
		return err
	}
	defer func() { db.writer.put(c) }()
	if c == nil {
		if c, err = db.openWriter(); err != nil {
			c = nil
			return err
		}
	}
	err = inTransaction(c, func() error { return f(c) })
	db.wrote(c)
	var broken *rollbackError
	if errors.As(err, &broken) {
		// The connection may be in the middle of a transaction: the next
		// writer gets a new one.
		err = errors.Join(broken.err, c.close())
		c = nil
	}
	return err
}

// rollbackError is a failure after which the state of the connection is unknown.
type rollbackError struct{ err error }

func (e *rollbackError) Error() string { return e.err.Error() }
func (e *rollbackError) Unwrap() error { return e.err }

// inTransaction runs f between BEGIN IMMEDIATE and COMMIT, or ROLLBACK.
func inTransaction(c *conn, f func() error) (err error) {
	if _, err := c.exec("BEGIN IMMEDIATE"); err != nil {
		return &rollbackError{fmt.Errorf("beginning transaction: %w", err)}
	}
	done := false
	defer func() {
		if done {
			return
		}
		// Also after a panic of f. SQLite rolls back by itself after some
		// errors, such as a full disk, and then has nothing left to roll back.
		if _, e := c.exec("ROLLBACK"); e != nil {
			if err == nil {
				err = errors.New("transaction was abandoned")
			}
			err = &rollbackError{err}
		}
	}()
	if err := f(); err != nil {
		return err
	}
	if _, err := c.exec("COMMIT"); err != nil {
		return fmt.Errorf("committing transaction: %w", err)
	}
	done = true
	return nil
}
