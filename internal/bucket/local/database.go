package local

import (
	"context"
	"database/sql"
	"fmt"
)

// The statements of every upload, copy and read. They are prepared once for a
// connection, since SQLite compiles for longer than it then works.
const (
	objectByKey = `SELECT ` + objectColumns + ` FROM object WHERE state = 1 AND bucket = ? AND key = ?`
	objectThere = `SELECT EXISTS (SELECT 1 FROM object WHERE id = ? AND state = 1)`
	uploadByID  = `SELECT ` + objectColumns + ` FROM object WHERE state = 0 AND bucket = ? AND key = ? AND upload = ?`
	extentsOf   = `SELECT p.number, p.start, e.file, e.start, e.size, e.crc64, e.stored
		FROM part p JOIN extent e ON e.object = p.object AND e.part = p.number
		WHERE p.object = ? AND p.start < ? AND p.start + p.size > ? ORDER BY p.number, e.seq`
	partThere    = `SELECT EXISTS (SELECT 1 FROM part WHERE object = ? AND number = ?)`
	fileReferred = `SELECT EXISTS (SELECT 1 FROM extent WHERE file = ?)`
	addPart      = `INSERT INTO part (object, number, start, size, etag, checksum, crc64, modified) VALUES (?,?,?,?,?,?,?,?)`
	addExtent    = `INSERT INTO extent (object, part, seq, file, start, size, crc64, stored) VALUES (?,?,?,?,?,?,?,?)`

	beginChange = `SAVEPOINT change`
	undoChange  = `ROLLBACK TO change`
	endChange   = `RELEASE change`
)

var (
	hotReads  = [...]string{objectByKey, uploadByID, extentsOf}
	hotWrites = [...]string{objectByKey, objectThere, uploadByID, partThere, fileReferred, addPart, addExtent, beginChange, undoChange, endChange}
)

// database is the index with statements that stay prepared.
type database struct {
	*sql.DB
	prepared map[string]*sql.Stmt // by their text
}

func openDatabase(dsn string, connections int) (*database, error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return &database{DB: db, prepared: map[string]*sql.Stmt{}}, nil
}

// prepare is called before the database is shared.
func (d *database) prepare(ctx context.Context, statements []string) error {
	for _, text := range statements {
		stmt, err := d.PrepareContext(ctx, text)
		if err != nil {
			return fmt.Errorf("preparing %q: %w", text, err)
		}
		d.prepared[text] = stmt
	}
	return nil
}

func (d *database) begin(ctx context.Context) (*txn, error) {
	tx, err := d.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return &txn{Tx: tx, prepared: d.prepared}, nil
}

// txn is a transaction that runs prepared statements where there are some.
type txn struct {
	*sql.Tx
	prepared map[string]*sql.Stmt
}

func (t *txn) ExecContext(ctx context.Context, text string, args ...any) (sql.Result, error) {
	if stmt := t.prepared[text]; stmt != nil {
		return t.StmtContext(ctx, stmt).ExecContext(ctx, args...)
	}
	return t.Tx.ExecContext(ctx, text, args...)
}

func (t *txn) QueryContext(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if stmt := t.prepared[text]; stmt != nil {
		return t.StmtContext(ctx, stmt).QueryContext(ctx, args...)
	}
	return t.Tx.QueryContext(ctx, text, args...)
}

func (t *txn) QueryRowContext(ctx context.Context, text string, args ...any) *sql.Row {
	if stmt := t.prepared[text]; stmt != nil {
		return t.StmtContext(ctx, stmt).QueryRowContext(ctx, args...)
	}
	return t.Tx.QueryRowContext(ctx, text, args...)
}
