package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// Reader reads the folder of a Service that is not running. Nothing in it
// changes but the lock file. Safe for concurrent use.
type Reader struct {
	service *Service
	path    string // of the index
}

// OpenReader opens a folder for reading alone. The error wraps fs.ErrNotExist
// when there is none.
func OpenReader(ctx context.Context, dir string) (*Reader, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the bucket folder: %w", err)
	}
	r := &Reader{path: filepath.Join(dir, "index.db"), service: &Service{cfg: Config{Dir: dir}, files: &files{dir: dir, packers: newPackers(), readers: map[uint64]struct{}{}}}}
	if _, err := os.Stat(r.path); err != nil {
		return nil, fmt.Errorf("opening the index of buckets: %w", err)
	}
	s := r.service
	s.collector.wake = make(chan struct{}, 1)
	if s.lock, err = lockFolder(filepath.Join(dir, "lock")); err != nil {
		return nil, err
	}
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: r.path}).EscapedPath()}).String()
	db, err := openDatabase(dsn+"?mode=ro&_pragma=busy_timeout(15000)&_pragma=query_only(1)", 1)
	if err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	s.index = &index{r: db}
	var version int
	err = db.QueryRowContext(ctx, `SELECT version FROM format`).Scan(&version)
	if err == nil && version != formatVersion {
		err = fmt.Errorf("the bucket folder has format %d, this program reads format %d", version, formatVersion)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading the index of buckets: %w", err), r.Close())
	}
	return r, nil
}

// Close ends the reading.
func (r *Reader) Close() error {
	err := r.service.index.r.Close()
	// SQLite makes these even to read. They stay when they hold what a server
	// that was killed committed.
	if info, serr := os.Stat(r.path + "-wal"); serr == nil && info.Size() == 0 {
		err = errors.Join(err, os.Remove(r.path+"-wal"), os.Remove(r.path+"-shm"))
	}
	return errors.Join(err, r.service.lock.Close())
}

// Bucket tells whether there is a bucket.
func (r *Reader) Bucket(ctx context.Context, name string) (found bool, err error) {
	err = r.service.index.r.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM bucket WHERE name = ?)`, name).Scan(&found)
	if err != nil {
		return false, fmt.Errorf("reading a bucket: %w", err)
	}
	return found, nil
}

// Object opens an object; the error wraps fs.ErrNotExist when there is none.
func (r *Reader) Object(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
	body := &extentReader{s: r.service, ticket: r.service.files.enter()}
	err := r.service.index.read(ctx, func(tx *txn) error {
		o, err := findObject(ctx, tx, bucket, key)
		if err != nil {
			return err
		}
		if o == nil {
			return fmt.Errorf("s3://%s/%s: %w", bucket, key, fs.ErrNotExist)
		}
		body.extents, _, err = listExtents(ctx, tx, o.id, 0, o.size)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	return body, nil
}
