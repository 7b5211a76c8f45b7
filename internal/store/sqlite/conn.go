package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"

	"modernc.org/sqlite"
)

// conn is one connection with its prepared statements. It is used by one
// goroutine at a time. It speaks to the driver itself, not through
// database/sql: the pool here knows one writer and many readers, and a row
// costs half.
type conn struct {
	raw   driver.Conn
	stmts map[string]*stmt
}

type stmt struct {
	raw  driver.Stmt
	args []driver.NamedValue
	rows rows
}

// openConn opens a connection; dsn carries its settings.
func openConn(dsn string) (*conn, error) {
	raw, err := new(sqlite.Driver).Open(dsn)
	if err != nil {
		return nil, err
	}
	return &conn{raw: raw, stmts: map[string]*stmt{}}, nil
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.raw.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

func (c *conn) prepare(sql string, args []driver.Value) (*stmt, error) {
	s := c.stmts[sql]
	if s == nil {
		raw, err := c.raw.Prepare(sql)
		if err != nil {
			return nil, fmt.Errorf("preparing %q: %w", sql, err)
		}
		s = &stmt{raw: raw}
		c.stmts[sql] = s
	}
	s.args = s.args[:0]
	for i, a := range args {
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return s, nil
}

// exec runs a statement and returns how many rows it changed. Arguments are
// int64, string, []byte or nil. A statement is not interrupted half-way:
// contexts are looked at between statements.
func (c *conn) exec(sql string, args ...driver.Value) (int64, error) {
	s, err := c.prepare(sql, args)
	if err != nil {
		return 0, err
	}
	res, err := s.raw.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
	clear(s.args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// bulk is an INSERT that takes many rows with few statements, each of which
// costs about as much as its row.
type bulk struct {
	columns int
	sql     [len(bulkRows)]string
}

// bulkRows is how many rows the statements of a bulk take.
var bulkRows = [...]int{16, 4, 1}

// newBulk makes a bulk of a statement up to VALUES, one row of parameters and
// what follows the rows.
func newBulk(insert, row, rest string) *bulk {
	b := &bulk{columns: strings.Count(row, "?")}
	for i, n := range bulkRows {
		b.sql[i] = insert + strings.Repeat(row+", ", n-1) + row + rest
	}
	return b
}

// insert inserts rows, whose values follow each other in args, and returns how
// many it inserted.
func (c *conn) insert(b *bulk, args []driver.Value) (inserted int64, err error) {
	for i, rows := range bulkRows {
		for size := rows * b.columns; len(args) >= size; args = args[size:] {
			n, err := c.exec(b.sql[i], args[:size]...)
			if err != nil {
				return inserted, err
			}
			inserted += n
		}
	}
	return inserted, nil
}

// query runs a statement that gives rows; they must be read to the end or
// closed before the same statement runs again.
func (c *conn) query(sql string, args ...driver.Value) (*rows, error) {
	s, err := c.prepare(sql, args)
	if err != nil {
		return nil, err
	}
	r, err := s.raw.(driver.StmtQueryContext).QueryContext(context.Background(), s.args)
	clear(s.args)
	if err != nil {
		return nil, err
	}
	s.rows.raw, s.rows.err = r, nil
	if n := len(r.Columns()); n != len(s.rows.vals) {
		s.rows.vals = make([]driver.Value, n)
	}
	return &s.rows, nil
}

// queryRow runs a statement that gives at most one row and hands it to scan.
// It reports whether there was one.
func (c *conn) queryRow(scan func(*rows), sql string, args ...driver.Value) (bool, error) {
	r, err := c.query(sql, args...)
	if err != nil {
		return false, err
	}
	found := r.next()
	if found {
		scan(r)
	}
	return found, r.close()
}

// rows is the result of a query; the values are those of the current row.
type rows struct {
	raw  driver.Rows
	vals []driver.Value
	err  error
}

// next steps to the next row; it reports false at the end and after an error,
// which close then returns.
func (r *rows) next() bool {
	if r.err != nil {
		return false
	}
	err := r.raw.Next(r.vals)
	if err == nil {
		return true
	}
	if err != io.EOF {
		r.err = err
	}
	return false
}

func (r *rows) close() error {
	err := errors.Join(r.err, r.raw.Close())
	clear(r.vals)
	return err
}

// int, text and blob give one column; NULL is the zero value. A blob is a copy
// that the caller may keep.
func (r *rows) int(i int) int64   { v, _ := r.vals[i].(int64); return v }
func (r *rows) text(i int) string { v, _ := r.vals[i].(string); return v }
func (r *rows) blob(i int) []byte { v, _ := r.vals[i].([]byte); return v }
func (r *rows) null(i int) bool   { return r.vals[i] == nil }
