package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	_ "modernc.org/sqlite" // the driver of the index
)

// The states of a row of table object; part of the format.
const (
	stateUpload  = 0 // a multipart upload under way
	stateObject  = 1 // visible
	stateGarbage = 2 // nothing but work for the collector
)

// formatVersion 2 added default retentions and legal holds, 3 packed part files.
const formatVersion = 3

// upgrades bring the index from the format of their place plus 1 to the next.
// The part files stay as they are.
var upgrades = [formatVersion - 1]string{`
ALTER TABLE bucket ADD COLUMN default_mode TEXT NOT NULL DEFAULT '';
ALTER TABLE bucket ADD COLUMN default_days INTEGER NOT NULL DEFAULT 0;
ALTER TABLE bucket ADD COLUMN default_years INTEGER NOT NULL DEFAULT 0;
ALTER TABLE object ADD COLUMN legal_hold TEXT NOT NULL DEFAULT '';
`, `
ALTER TABLE extent ADD COLUMN stored INTEGER NOT NULL DEFAULT 0;
`}

// A multipart upload and the object that it becomes are one row, so that
// Complete moves no part: it changes the state. A part is a run of extents; an
// extent is a piece of a part file with the CRC-64/NVME of its bytes. Its place
// counts plain bytes, also where the file is packed.
const schema = `
CREATE TABLE format (version INTEGER NOT NULL);
CREATE TABLE bucket (
	name TEXT PRIMARY KEY,
	account TEXT NOT NULL,
	region TEXT NOT NULL,
	created INTEGER NOT NULL,        -- Unix milliseconds
	acl TEXT NOT NULL,               -- canned
	ownership TEXT NOT NULL,         -- empty: none configured
	public_access INTEGER NOT NULL,  -- bits; -1: none configured
	object_lock INTEGER NOT NULL,
	policy BLOB,                     -- NULL: none
	default_mode TEXT NOT NULL DEFAULT '', -- of retention; empty: none, and both periods 0
	default_days INTEGER NOT NULL DEFAULT 0,
	default_years INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE object (
	id INTEGER PRIMARY KEY AUTOINCREMENT,
	state INTEGER NOT NULL,
	bucket TEXT NOT NULL,
	key BLOB NOT NULL,
	upload TEXT NOT NULL,            -- empty: not by multipart upload
	modified INTEGER NOT NULL,       -- Unix milliseconds; of an upload: begun
	size INTEGER NOT NULL,
	etag TEXT NOT NULL,              -- without quotes
	parts INTEGER NOT NULL,          -- 0: not by multipart upload
	algorithm TEXT NOT NULL,
	checksum_type TEXT NOT NULL,
	checksum TEXT NOT NULL,
	acl TEXT NOT NULL,
	initiator TEXT NOT NULL,
	lock_mode TEXT NOT NULL,         -- empty: no retention
	retain_until INTEGER NOT NULL,   -- Unix milliseconds
	headers TEXT NOT NULL,           -- form-encoded
	legal_hold TEXT NOT NULL DEFAULT '' -- ON or OFF; empty: never set
);
CREATE UNIQUE INDEX object_key ON object (bucket, key) WHERE state = 1;
CREATE INDEX object_upload ON object (bucket, key, upload) WHERE state = 0;
CREATE INDEX object_garbage ON object (id) WHERE state = 2;
CREATE TABLE part (
	object INTEGER NOT NULL,
	number INTEGER NOT NULL,
	start INTEGER NOT NULL,          -- set at Complete
	size INTEGER NOT NULL,
	etag TEXT NOT NULL,
	checksum TEXT NOT NULL,          -- by the object's algorithm
	crc64 INTEGER NOT NULL,
	modified INTEGER NOT NULL,
	PRIMARY KEY (object, number)
) WITHOUT ROWID;
CREATE TABLE extent (
	object INTEGER NOT NULL,
	part INTEGER NOT NULL,
	seq INTEGER NOT NULL,
	file BLOB NOT NULL,
	start INTEGER NOT NULL,
	size INTEGER NOT NULL,
	crc64 INTEGER NOT NULL,
	stored INTEGER NOT NULL DEFAULT 0, -- length of the packed file; 0: the file is plain
	PRIMARY KEY (object, part, seq)
) WITHOUT ROWID;
CREATE INDEX extent_file ON extent (file);
`

type bucket struct {
	name, account, region string
	created               time.Time
	acl, ownership        string
	publicAccess          int
	objectLock            bool
	policy                []byte // nil: none
	lockDefault           lockDefault
}

type object struct {
	id                                int64
	bucket, key, upload               string
	modified                          time.Time
	size                              int64
	etag                              string
	parts                             int
	algorithm, checksumType, checksum string
	acl, initiator                    string
	lockMode                          string
	retainUntil                       time.Time
	legalHold                         string
	headers                           url.Values
}

type part struct {
	number         int
	start, size    int64
	etag, checksum string
	crc64          uint64
	modified       time.Time
	extents        []extent
}

type extent struct {
	file        fileID
	start, size int64
	crc64       uint64
	stored      int64 // length of the packed file; 0: the file is plain
}

// index is the database of buckets, objects and extents. One connection
// writes, several read; each write is durable when it returns.
type index struct {
	*commits
	r *database
}

// lost is asked before a new index is made: true says that there was one.
func openIndex(ctx context.Context, path string, lost func() (bool, error)) (*index, error) {
	// The file is made before SQLite opens it, for its mode.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("opening the index: %w", err)
	}
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String()
	common := "?_pragma=busy_timeout(15000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=journal_size_limit(67108864)"
	w, err := openDatabase(dsn+common+"&_txlock=immediate", 1)
	if err != nil {
		return nil, err
	}
	x := &index{commits: newCommits(w)}
	if err := x.migrate(ctx, lost); err != nil {
		w.Close()
		return nil, err
	}
	if x.r, err = openDatabase(dsn+common+"&_pragma=query_only(1)", 8); err != nil {
		w.Close()
		return nil, err
	}
	// Only now are there tables to prepare statements for.
	if err := errors.Join(w.prepare(ctx, hotWrites[:]), x.r.prepare(ctx, hotReads[:])); err != nil {
		return nil, errors.Join(err, x.close())
	}
	return x, nil
}

// errIndexLost protects the objects' bytes: under a new index they would all be garbage.
var errIndexLost = errors.New("the bucket folder holds objects but its index (index.db) is missing or empty: restore index.db from the backup that belongs to the parts folder, or move the bucket folder away to begin with an empty one")

func (x *index) migrate(ctx context.Context, lost func() (bool, error)) error {
	return x.write(ctx, func(ctx context.Context, tx *txn) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'format'`).Scan(&n); err != nil {
			return fmt.Errorf("reading the index's schema: %w", err)
		}
		if n == 0 {
			if lost, err := lost(); err != nil {
				return err
			} else if lost {
				return errIndexLost
			}
			if _, err := tx.ExecContext(ctx, schema); err != nil {
				return fmt.Errorf("making the index's tables: %w", err)
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO format (version) VALUES (?)`, formatVersion)
			return err
		}
		var version int
		if err := tx.QueryRowContext(ctx, `SELECT version FROM format`).Scan(&version); err != nil {
			return fmt.Errorf("reading the index's format: %w", err)
		}
		for ; version >= 1 && version < formatVersion; version++ {
			if _, err := tx.ExecContext(ctx, upgrades[version-1]); err != nil {
				return fmt.Errorf("bringing the index to format %d: %w", version+1, err)
			}
			if _, err := tx.ExecContext(ctx, `UPDATE format SET version = ?`, version+1); err != nil {
				return fmt.Errorf("bringing the index to format %d: %w", version+1, err)
			}
		}
		if version != formatVersion {
			return fmt.Errorf("the bucket folder has format %d, this program knows %d: use the program that wrote it, or a newer one", version, formatVersion)
		}
		return nil
	})
}

func (x *index) close() error {
	err := x.r.Close()
	if werr := x.db.Close(); err == nil {
		err = werr
	}
	return err
}

// read runs fn on one snapshot.
func (x *index) read(ctx context.Context, fn func(*txn) error) error {
	tx, err := x.r.begin(ctx)
	if err != nil {
		return fmt.Errorf("reading the index: %w", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing to keep
	return fn(tx)
}

const bucketColumns = `name, account, region, created, acl, ownership, public_access, object_lock, policy, default_mode, default_days, default_years`

type scanner interface{ Scan(...any) error }

func scanBucket(row scanner) (*bucket, error) {
	var b bucket
	var created int64
	if err := row.Scan(&b.name, &b.account, &b.region, &created, &b.acl, &b.ownership, &b.publicAccess, &b.objectLock, &b.policy,
		&b.lockDefault.mode, &b.lockDefault.days, &b.lockDefault.years); err != nil {
		return nil, err
	}
	b.created = time.UnixMilli(created)
	return &b, nil
}

// bucket returns a bucket, nil when there is none.
func (x *index) bucket(ctx context.Context, name string) (*bucket, error) {
	b, err := scanBucket(x.r.QueryRowContext(ctx, `SELECT `+bucketColumns+` FROM bucket WHERE name = ?`, name))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a bucket: %w", err)
	}
	return b, nil
}

const objectColumns = `id, bucket, key, upload, modified, size, etag, parts, algorithm, checksum_type, checksum, acl, initiator, lock_mode, retain_until, headers, legal_hold`

func scanObject(row scanner) (*object, error) {
	var o object
	var key []byte
	var modified, retain int64
	var headers string
	err := row.Scan(&o.id, &o.bucket, &key, &o.upload, &modified, &o.size, &o.etag, &o.parts, &o.algorithm, &o.checksumType,
		&o.checksum, &o.acl, &o.initiator, &o.lockMode, &retain, &headers, &o.legalHold)
	if err != nil {
		return nil, err
	}
	o.key = string(key)
	o.modified = time.UnixMilli(modified)
	if retain != 0 {
		o.retainUntil = time.UnixMilli(retain)
	}
	if o.headers, err = url.ParseQuery(headers); err != nil {
		return nil, fmt.Errorf("reading an object's headers: %w", err)
	}
	return &o, nil
}

// findObject returns the visible object of a key, nil when there is none.
func findObject(ctx context.Context, tx *txn, bucket, key string) (*object, error) {
	o, err := scanObject(tx.QueryRowContext(ctx, objectByKey, bucket, []byte(key)))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading an object: %w", err)
	}
	return o, nil
}

// findUpload returns a multipart upload under way.
func findUpload(ctx context.Context, tx *txn, bucket, key, upload string) (*object, error) {
	o, err := scanObject(tx.QueryRowContext(ctx, uploadByID, bucket, []byte(key), upload))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, errNoSuchUpload(upload)
	}
	if err != nil {
		return nil, fmt.Errorf("reading an upload: %w", err)
	}
	return o, nil
}

// insertObject adds a row in a state and sets o.id.
func insertObject(ctx context.Context, tx *txn, o *object, state int) error {
	var retain int64
	if !o.retainUntil.IsZero() {
		retain = o.retainUntil.UnixMilli()
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO object (state, bucket, key, upload, modified, size, etag, parts, algorithm, checksum_type, checksum, acl, initiator, lock_mode, retain_until, headers, legal_hold)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)`, state, o.bucket, []byte(o.key), o.upload, o.modified.UnixMilli(), o.size, o.etag, o.parts,
		o.algorithm, o.checksumType, o.checksum, o.acl, o.initiator, o.lockMode, retain, o.headers.Encode(), o.legalHold)
	if err != nil {
		return fmt.Errorf("adding an object: %w", err)
	}
	if o.id, err = res.LastInsertId(); err != nil {
		return fmt.Errorf("adding an object: %w", err)
	}
	return nil
}

func insertPart(ctx context.Context, tx *txn, objectID int64, p *part) error {
	_, err := tx.ExecContext(ctx, addPart,
		objectID, p.number, p.start, p.size, p.etag, p.checksum, int64(p.crc64), p.modified.UnixMilli())
	if err != nil {
		return fmt.Errorf("adding a part: %w", err)
	}
	for i := range p.extents {
		e := &p.extents[i]
		if _, err := tx.ExecContext(ctx, addExtent, objectID, p.number, i, e.file[:], e.start, e.size, int64(e.crc64), e.stored); err != nil {
			return fmt.Errorf("adding extents: %w", err)
		}
	}
	return nil
}

// parts returns the parts of an object or upload in order, without extents.
func listParts(ctx context.Context, tx *txn, objectID int64, after, limit int) ([]part, error) {
	rows, err := tx.QueryContext(ctx, `SELECT number, start, size, etag, checksum, crc64, modified FROM part WHERE object = ? AND number > ? ORDER BY number LIMIT ?`,
		objectID, after, limit)
	if err != nil {
		return nil, fmt.Errorf("reading parts: %w", err)
	}
	defer rows.Close()
	var list []part
	for rows.Next() {
		var p part
		var crc, modified int64
		if err := rows.Scan(&p.number, &p.start, &p.size, &p.etag, &p.checksum, &crc, &modified); err != nil {
			return nil, fmt.Errorf("reading parts: %w", err)
		}
		p.crc64, p.modified = uint64(crc), time.UnixMilli(modified)
		list = append(list, p)
	}
	return list, rows.Err()
}

// listExtents returns the extents that hold the bytes [from, to) of an object,
// cut to them, and each as it is in the index: the crc64 of a cut one is not
// that of its bytes.
func listExtents(ctx context.Context, tx *txn, objectID, from, to int64) (list, whole []extent, err error) {
	rows, err := tx.QueryContext(ctx, extentsOf, objectID, to, from)
	if err != nil {
		return nil, nil, fmt.Errorf("reading extents: %w", err)
	}
	defer rows.Close()
	current, at := -1, int64(0) // at: where the extent begins in the object
	for rows.Next() {
		var e extent
		var file []byte
		var number int
		var start, crc int64
		if err := rows.Scan(&number, &start, &file, &e.start, &e.size, &crc, &e.stored); err != nil {
			return nil, nil, fmt.Errorf("reading extents: %w", err)
		}
		if len(file) != len(e.file) {
			return nil, nil, errors.New("reading extents: a file id of another length")
		}
		e.file, e.crc64 = fileID(file), uint64(crc)
		if number != current {
			current, at = number, start
		}
		begin, end := at, at+e.size
		at = end
		if end <= from || begin >= to {
			continue
		}
		whole = append(whole, e)
		if begin < from {
			e.start += from - begin
			e.size -= from - begin
		}
		if end > to {
			e.size -= end - to
		}
		list = append(list, e)
	}
	return list, whole, rows.Err()
}

// retire takes the visible object of a key away; its row and parts stay for
// the collector, so that the cost does not depend on the size.
func retire(ctx context.Context, tx *txn, objectID int64) error {
	if _, err := tx.ExecContext(ctx, `UPDATE object SET state = 2 WHERE id = ?`, objectID); err != nil {
		return fmt.Errorf("retiring an object: %w", err)
	}
	return nil
}

// retirePart moves one part of an upload, if it is there, to a row of garbage.
func retirePart(ctx context.Context, tx *txn, o *object, number int) error {
	var there bool
	if err := tx.QueryRowContext(ctx, partThere, o.id, number).Scan(&there); err != nil {
		return fmt.Errorf("retiring a part: %w", err)
	}
	if !there {
		return nil
	}
	g := &object{bucket: o.bucket, key: o.key, modified: o.modified}
	if err := insertObject(ctx, tx, g, stateGarbage); err != nil {
		return err
	}
	for _, q := range []string{`UPDATE part SET object = ? WHERE object = ? AND number = ?`, `UPDATE extent SET object = ? WHERE object = ? AND part = ?`} {
		if _, err := tx.ExecContext(ctx, q, g.id, o.id, number); err != nil {
			return fmt.Errorf("retiring a part: %w", err)
		}
	}
	return nil
}

// sweep takes up to limit extents of garbage out of the index and returns the
// files that nothing refers to any more. done is true when no garbage is left.
//
// Nothing can refer to such a file again: references are only copied from
// objects and uploads in the index, and the file has none there.
func (x *index) sweep(ctx context.Context, limit int) (freed []fileID, done bool, err error) {
	err = x.write(ctx, func(ctx context.Context, tx *txn) error {
		freed, done = nil, false
		var id int64
		err := tx.QueryRowContext(ctx, `SELECT id FROM object WHERE state = 2 ORDER BY id LIMIT 1`).Scan(&id)
		if errors.Is(err, sql.ErrNoRows) {
			done = true
			return nil
		}
		if err != nil {
			return fmt.Errorf("looking for garbage: %w", err)
		}
		type place struct{ part, seq int64 }
		var places []place
		seen := map[fileID]struct{}{}
		rows, err := tx.QueryContext(ctx, `SELECT part, seq, file FROM extent WHERE object = ? LIMIT ?`, id, limit)
		if err != nil {
			return fmt.Errorf("reading garbage: %w", err)
		}
		for rows.Next() {
			var p place
			var file []byte
			if err := rows.Scan(&p.part, &p.seq, &file); err != nil {
				rows.Close()
				return fmt.Errorf("reading garbage: %w", err)
			}
			places = append(places, p)
			if len(file) == len(fileID{}) {
				seen[fileID(file)] = struct{}{}
			}
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return fmt.Errorf("reading garbage: %w", err)
		}
		for _, p := range places {
			if _, err := tx.ExecContext(ctx, `DELETE FROM extent WHERE object = ? AND part = ? AND seq = ?`, id, p.part, p.seq); err != nil {
				return fmt.Errorf("removing garbage: %w", err)
			}
		}
		if len(places) < limit {
			for _, q := range []string{`DELETE FROM part WHERE object = ?`, `DELETE FROM object WHERE id = ?`} {
				if _, err := tx.ExecContext(ctx, q, id); err != nil {
					return fmt.Errorf("removing garbage: %w", err)
				}
			}
		}
		for file := range seen {
			used, err := fileUsed(ctx, tx, file)
			if err != nil {
				return err
			}
			if !used {
				freed = append(freed, file)
			}
		}
		return nil
	})
	return freed, done, err
}

func fileUsed(ctx context.Context, tx *txn, id fileID) (bool, error) {
	var used bool
	if err := tx.QueryRowContext(ctx, fileReferred, id[:]).Scan(&used); err != nil {
		return false, fmt.Errorf("looking for references to a part file: %w", err)
	}
	return used, nil
}
