package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strconv"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

// ErrOlderFormat says that the store must be upgraded, by a start of the
// server, before it can be opened to read alone.
var ErrOlderFormat = errors.New("store was written by an older version")

// startReadOnly opens what is there. There is no writer and nothing works in
// the background.
func (db *DB) startReadOnly(ctx context.Context) (err error) {
	if db.enc, err = newEncoders(false); err != nil {
		return err
	}
	if db.dec, err = newDecoder(); err != nil {
		return err
	}
	c, err := db.openReader()
	if err != nil {
		return err
	}
	if err := errors.Join(ctx.Err(), checkLibrary(c)); err != nil {
		return errors.Join(err, c.close())
	}
	if err := checkFormat(c); err != nil {
		return errors.Join(err, c.close())
	}
	for range db.cfg.Readers - 1 {
		db.readers.put(nil)
	}
	db.readers.put(c)
	db.writer.put(nil)
	return nil
}

// sweep removes the files of the WAL that SQLite makes even to read, unless they
// hold what a server that was killed committed.
func (db *DB) sweep() error {
	info, err := os.Stat(db.cfg.Path + "-wal")
	if err != nil || info.Size() > 0 {
		return nil
	}
	return errors.Join(os.Remove(db.cfg.Path+"-wal"), os.Remove(db.cfg.Path+"-shm"))
}

func checkFormat(c *conn) error {
	var id int64
	if _, err := c.queryRow(func(r *rows) { id = r.int(0) }, "PRAGMA application_id"); err != nil {
		return describe(err)
	}
	if id != applicationID {
		return fmt.Errorf("%w: it is an SQLite database of another program, or empty", ErrForeign)
	}
	var text string
	if err := must(c.queryRow(func(r *rows) { text = r.text(0) }, "SELECT value FROM setting WHERE name = ?", formatSetting)); err != nil {
		return fmt.Errorf("reading the store's format: %w", err)
	}
	switch format, err := strconv.Atoi(text); {
	case err != nil || format < 1:
		return fmt.Errorf("%w: its format is %q", ErrForeign, text)
	case format > Format:
		return fmt.Errorf("%w: it has format %d, this version knows formats up to %d", ErrNewerFormat, format, Format)
	case format < Format:
		return fmt.Errorf("%w: it has format %d, this version reads format %d; start the server once, which upgrades it", ErrOlderFormat, format, Format)
	}
	return nil
}

// QuickCheck is SQLite's own check of the file: nil when it is sound, or what
// is wrong, 100 lines at most. It reads all of the file.
func (db *DB) QuickCheck(ctx context.Context) (wrong []string, err error) {
	err = db.read(ctx, func(c *conn) error {
		r, err := c.query("PRAGMA quick_check(100)")
		if err != nil {
			return err
		}
		for r.next() {
			if line := r.text(0); line != "ok" {
				wrong = append(wrong, line)
			}
		}
		return r.close()
	})
	if err != nil {
		return nil, fmt.Errorf("checking the database file: %w", err)
	}
	return wrong, nil
}

// LogNames lists the CAs that have a log or a record, by id.
func (db *DB) LogNames(ctx context.Context) (names []string, err error) {
	err = db.list(ctx, func(r *rows) { names = append(names, r.text(0)) }, "SELECT ca FROM log_head UNION SELECT id FROM certificate_authority ORDER BY 1")
	if err != nil {
		return nil, fmt.Errorf("listing logs: %w", err)
	}
	return names, nil
}

// LogShape counts the parts of a log that should have size entries.
func (db *DB) LogShape(ctx context.Context, ca string, size uint64) (s store.LogShape, err error) {
	err = db.read(ctx, func(c *conn) error {
		packed := map[int64]bool{}
		packs, err := c.query("SELECT block FROM log_pack WHERE ca = ?", ca)
		if err != nil {
			return err
		}
		for packs.next() {
			packed[packs.int(0)] = true
			s.Packs, s.PacksTo = s.Packs+1, max(s.PacksTo, uint64(packs.int(0))+1)
		}
		if err := packs.close(); err != nil {
			return err
		}
		loose, err := c.query("SELECT idx / ? AS block, count(*), max(idx) + 1 FROM log_entry WHERE ca = ? GROUP BY block", int64(certlog.BlockSize), ca)
		if err != nil {
			return err
		}
		for loose.next() {
			if !packed[loose.int(0)] { // else on their way out
				s.Loose, s.LooseTo = s.Loose+uint64(loose.int(1)), max(s.LooseTo, uint64(loose.int(2)))
			}
		}
		if err := loose.close(); err != nil {
			return err
		}
		for level := 8; level < 64; level += 8 {
			_, err := c.queryRow(func(r *rows) { s.NodesBeyond += uint64(r.int(0)) },
				"SELECT count(*) FROM log_node WHERE ca = ? AND level = ? AND n >= ?", ca, int64(level), int64(size>>level))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return store.LogShape{}, fmt.Errorf("counting the parts of log %s: %w", ca, err)
	}
	return s, nil
}

// certificateRows is how many certificate rows are read with one statement.
const certificateRows = 4096

// CertificateRows calls yield for every certificate of a CA by serial, without
// its DER; notAfter is in milliseconds. Nothing is locked while yield runs.
func (db *DB) CertificateRows(ctx context.Context, ca string, yield func(serial []byte, index uint64, notAfter int64) error) error {
	type row struct {
		serial   []byte
		index    uint64
		notAfter int64
	}
	after := []byte{}
	var page []row
	for {
		page = page[:0]
		err := db.list(ctx, func(r *rows) { page = append(page, row{r.blob(0), uint64(r.int(1)), r.int(2)}) },
			"SELECT serial, idx, not_after FROM certificate WHERE ca = ? AND serial > ? ORDER BY serial LIMIT ?", ca, after, int64(certificateRows))
		if err != nil {
			return fmt.Errorf("reading certificates of CA %s: %w", ca, err)
		}
		for _, r := range page {
			if err := yield(r.serial, r.index, r.notAfter); err != nil {
				return err
			}
		}
		if len(page) < certificateRows {
			return nil
		}
		after = page[len(page)-1].serial
	}
}

// CertificateIndex gives the index of the entry that a certificate's row
// names; store.ErrNotFound when there is no row.
func (db *DB) CertificateIndex(ctx context.Context, ca string, serial []byte) (index uint64, err error) {
	err = db.one(ctx, func(r *rows) { index = uint64(r.int(0)) }, "SELECT idx FROM certificate WHERE ca = ? AND serial = ?", ca, serial)
	if err != nil {
		return 0, fmt.Errorf("reading certificate %x of CA %s: %w", serial, ca, err)
	}
	return index, nil
}

// LogDERs calls yield for the certificates of the entries [lo, hi) of one
// block, out of packs and then out of the tail, each in the order of the log.
// der is valid during the call only.
func (db *DB) LogDERs(ctx context.Context, ca string, lo, hi uint64, yield func(index uint64, der []byte) error) error {
	buf := db.buffer()
	defer db.release(buf)
	for first := lo &^ (derGroup - 1); first < hi; first += derGroup {
		var pack []byte
		err := db.read(ctx, func(c *conn) (err error) {
			_, err = c.queryRow(func(r *rows) { pack = r.blob(0) }, "SELECT bytes FROM der_pack WHERE ca = ? AND first = ?", ca, int64(first))
			return err
		})
		var plain []byte
		if err == nil && pack != nil {
			plain, err = db.decode((*buf)[:0], pack)
		}
		if err != nil {
			return fmt.Errorf("reading certificates of the entries [%d, %d) of CA %s: %w", first, first+derGroup, ca, err)
		}
		for at := plain; len(at) > 0; {
			offset, der, rest, err := cutDER(at)
			if err != nil {
				return fmt.Errorf("reading certificates of the entries [%d, %d) of CA %s: %w", first, first+derGroup, ca, err)
			}
			if i := first + uint64(offset); i >= lo && i < hi {
				if err := yield(i, der); err != nil {
					return err
				}
			}
			at = rest
		}
		if plain != nil {
			*buf = plain
		}
	}
	type row struct {
		index uint64
		der   []byte
	}
	for lo < hi {
		var page []row
		err := db.list(ctx, func(r *rows) { page = append(page, row{uint64(r.int(0)), r.blob(1)}) },
			"SELECT idx, der FROM certificate_der WHERE ca = ? AND idx >= ? AND idx < ? ORDER BY idx LIMIT ?", ca, int64(lo), int64(hi), int64(tailRows))
		if err != nil {
			return fmt.Errorf("reading certificates of the entries [%d, %d) of CA %s: %w", lo, hi, ca, err)
		}
		for _, r := range page {
			if err := yield(r.index, r.der); err != nil {
				return err
			}
		}
		if len(page) < tailRows {
			return nil
		}
		lo = page[len(page)-1].index + 1
	}
	return nil
}

// LogSizes gives the number of entries of every log.
func (db *DB) LogSizes(ctx context.Context) (map[string]uint64, error) {
	sizes := map[string]uint64{}
	err := db.list(ctx, func(r *rows) { sizes[r.text(0)] = uint64(r.int(1)) }, "SELECT ca, size FROM log_head")
	if err != nil {
		return nil, fmt.Errorf("reading the sizes of the logs: %w", err)
	}
	return sizes, nil
}

// SerialRange gives the entries of a CA's certificates whose serial lies in [lo,
// hi), a nil hi being no bound, in the order of the serials' bytes and at most
// limit.
func (db *DB) SerialRange(ctx context.Context, ca string, lo, hi []byte, limit int) (indices []uint64, err error) {
	sql, args := "SELECT idx FROM certificate WHERE ca = ? AND serial >= ? ORDER BY serial LIMIT ?", []driver.Value{ca, lo, int64(limit)}
	if hi != nil {
		sql, args = "SELECT idx FROM certificate WHERE ca = ? AND serial >= ? AND serial < ? ORDER BY serial LIMIT ?", []driver.Value{ca, lo, hi, int64(limit)}
	}
	err = db.list(ctx, func(r *rows) { indices = append(indices, uint64(r.int(0))) }, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("reading certificates of CA %s by serial: %w", ca, err)
	}
	return indices, nil
}
