package inventory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"modernc.org/sqlite"
)

// format is the number of the file's format: a file of another one is made anew.
// It changes, too, when the same log gives other rows than before.
const format = 0x63690001

// schema of the file. The id of an entry is log.number << 40 | its index, that of
// a group, a block and a page the same of its first entry, shifted right as far as
// it counts. Tables of large rows are not clustered, see the store's schema.
const schema = `
-- A log without a CA is one that was replaced, and is being deleted.
CREATE TABLE log (
	number  INTEGER PRIMARY KEY,
	ca      TEXT UNIQUE,
	size    INTEGER NOT NULL, -- entries that are in the index
	root    BLOB    NOT NULL, -- of their tree: another root is another log
	issued  INTEGER NOT NULL,
	revoked INTEGER NOT NULL
);

CREATE TABLE rows (
	id    INTEGER PRIMARY KEY, -- of 256 entries
	bytes BLOB    NOT NULL     -- zstd, see appendGroup
);

-- The blocks of 16384 entries that are complete, with the least and the greatest
-- of what their certificates have. Serials are compared as bytes.
CREATE TABLE block (
	id            INTEGER PRIMARY KEY,
	first_issued  INTEGER NOT NULL, -- milliseconds
	last_issued   INTEGER NOT NULL,
	first_expires INTEGER NOT NULL, -- seconds
	last_expires  INTEGER NOT NULL,
	first_serial  BLOB    NOT NULL,
	last_serial   BLOB    NOT NULL,
	directory     BLOB    NOT NULL -- the first key of each page
);

CREATE TABLE page (
	id    INTEGER PRIMARY KEY, -- of the block << 12 | number
	bytes BLOB    NOT NULL     -- see dictionary.encode
);

CREATE TABLE revocation (
	id     INTEGER PRIMARY KEY, -- of the issue entry
	time   INTEGER NOT NULL,    -- milliseconds
	reason INTEGER NOT NULL
);

CREATE TABLE counter (
	log  INTEGER NOT NULL,
	kind INTEGER NOT NULL,
	key  BLOB    NOT NULL, -- a number or a name
	n    INTEGER NOT NULL,
	PRIMARY KEY (log, kind, key)
) WITHOUT ROWID;
`

// Bits of ids below the log's number.
const (
	entryBits = 40
	groupBits = entryBits - 8
	blockBits = entryBits - 14
	pageBits  = blockBits + 12
)

// readers is how many searches read at a time; others wait for them.
const readers = 4

// file is the open database.
type file struct {
	db     *sql.DB
	all    []*conn
	writer *conn
	free   chan *conn
}

// conn is one connection with its prepared statements, used by one goroutine at a
// time.
type conn struct {
	raw   *sql.Conn
	stmts map[string]*sql.Stmt
}

// openFile opens the database, and makes a new one when what is there cannot be
// used.
func openFile(ctx context.Context, path string) (*file, error) {
	f, err := tryOpen(ctx, path)
	if err == nil || ctx.Err() != nil || !isDamaged(err) {
		return f, err
	}
	if err := removeFile(path); err != nil {
		return nil, err
	}
	return tryOpen(ctx, path)
}

// removeFile deletes the database. The main file goes first: a log without it is
// deleted by SQLite.
func removeFile(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func tryOpen(ctx context.Context, path string) (_ *file, err error) {
	// Subjects are nobody else's business, and SQLite would let the umask decide.
	made, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := made.Close(); err != nil {
		return nil, err
	}
	name := filepath.ToSlash(path)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // C:/...
	}
	u := url.URL{Scheme: "file", Path: name, RawQuery: "_dqs=0&_defensive=1&_error_rc=1"}
	f := &file{free: make(chan *conn, readers)}
	if f.db, err = sql.Open("sqlite", u.String()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if f.writer, err = f.connect(ctx); err != nil {
		return nil, err
	}
	if err := f.prepare(ctx); err != nil {
		return nil, err
	}
	for range readers {
		c, err := f.connect(ctx)
		if err != nil {
			return nil, err
		}
		f.free <- c
	}
	return f, nil
}

func (f *file) connect(ctx context.Context) (*conn, error) {
	raw, err := f.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &conn{raw, map[string]*sql.Stmt{}}
	f.all = append(f.all, c)
	// The order counts: the page size is taken only before the file has a WAL. A
	// crash of the machine loses the last commits and nothing else.
	for _, p := range []string{"busy_timeout = 5000", "page_size = 8192", "journal_mode = WAL", "synchronous = NORMAL", "cache_size = -4096", "temp_store = MEMORY", "journal_size_limit = 67108864"} {
		if _, err := raw.ExecContext(ctx, "PRAGMA "+p); err != nil {
			return nil, fmt.Errorf("setting %s: %w", p, err)
		}
	}
	return c, nil
}

// prepare makes the tables in a new file and looks whether another one is ours.
func (f *file) prepare(ctx context.Context) error {
	var id, tables int64
	if err := errors.Join(f.writer.row(ctx, "PRAGMA application_id").Scan(&id), f.writer.row(ctx, "SELECT count(*) FROM sqlite_master").Scan(&tables)); err != nil {
		return err
	}
	if tables > 0 {
		if id != format {
			return fmt.Errorf("%w: it has another format", errFile)
		}
		return nil
	}
	return f.write(ctx, func(c *conn) error {
		for s := range strings.SplitSeq(schema, ";\n") {
			if strings.TrimSpace(s) == "" {
				continue
			}
			if err := c.exec(ctx, s); err != nil {
				return err
			}
		}
		return c.exec(ctx, "PRAGMA application_id = "+strconv.Itoa(format))
	})
}

// close closes all connections, which nobody uses any more.
func (f *file) close() error {
	var errs []error
	for _, c := range f.all {
		for _, s := range c.stmts {
			errs = append(errs, s.Close())
		}
		errs = append(errs, c.raw.Close())
	}
	return errors.Join(append(errs, f.db.Close())...)
}

// isDamaged tells whether an error says that the file is not what it should be.
func isDamaged(err error) bool {
	const corrupt, notADB = 11, 26 // SQLite's result codes
	var e *sqlite.Error
	if errors.As(err, &e) {
		code := e.Code() & 0xff
		return code == corrupt || code == notADB
	}
	return errors.Is(err, errFile)
}

// write runs f in a transaction. Only one goroutine writes at a time.
func (f *file) write(ctx context.Context, do func(*conn) error) error {
	return f.writer.within(ctx, "BEGIN IMMEDIATE", do)
}

// read runs do on a snapshot.
func (f *file) read(ctx context.Context, do func(*conn) error) error {
	select {
	case c := <-f.free:
		defer func() { f.free <- c }()
		return c.within(ctx, "BEGIN", do)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// within runs do between begin and COMMIT, or ROLLBACK.
func (c *conn) within(ctx context.Context, begin string, do func(*conn) error) (err error) {
	if err := c.exec(ctx, begin); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// SQLite has rolled back by itself after some errors, and says so.
			_ = c.exec(context.WithoutCancel(ctx), "ROLLBACK")
		}
	}()
	if err := do(c); err != nil {
		return err
	}
	return c.exec(ctx, "COMMIT")
}

func (c *conn) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	s := c.stmts[text]
	if s == nil {
		var err error
		if s, err = c.raw.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
		c.stmts[text] = s
	}
	return s, nil
}

func (c *conn) exec(ctx context.Context, text string, args ...any) error {
	s, err := c.prepare(ctx, text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(ctx, args...)
	return err
}

// row runs a statement that gives one row; sql.ErrNoRows when there is none.
func (c *conn) row(ctx context.Context, text string, args ...any) scanner {
	s, err := c.prepare(ctx, text)
	if err != nil {
		return failed{err}
	}
	return s.QueryRowContext(ctx, args...)
}

// scanner is the result of row.
type scanner interface{ Scan(dest ...any) error }

// failed is the result of a statement that could not be prepared.
type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

// each runs a statement and calls yield for its rows.
func (c *conn) each(ctx context.Context, yield func(*sql.Rows) error, text string, args ...any) (err error) {
	s, err := c.prepare(ctx, text)
	if err != nil {
		return err
	}
	rows, err := s.QueryContext(ctx, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := yield(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// blob appends what a statement gives, one value in one row, to dst; sql.ErrNoRows
// when there is none.
func (c *conn) blob(ctx context.Context, dst []byte, text string, args ...any) ([]byte, error) {
	found := false
	err := c.each(ctx, func(rows *sql.Rows) error {
		var b sql.RawBytes
		err := rows.Scan(&b)
		dst, found = append(dst, b...), true
		return err
	}, text, args...)
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return dst, err
}
