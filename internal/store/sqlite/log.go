package sqlite

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/store"
)

var (
	_ certlog.Store  = (*DB)(nil)
	_ certlog.Sealer = (*DB)(nil)
)

// tailRows is how many entries of the tail are read with one statement.
const tailRows = 1024

// LogHead implements certlog.Store.
func (db *DB) LogHead(ctx context.Context, ca string) (h certlog.Head, err error) {
	err = db.read(ctx, func(c *conn) error {
		h, err = readHead(c, ca)
		return err
	})
	if err != nil {
		return certlog.Head{}, fmt.Errorf("reading log head: %w", err)
	}
	return h, nil
}

func readHead(c *conn, ca string) (h certlog.Head, err error) {
	var edge, root []byte
	found, err := c.queryRow(func(r *rows) {
		h.Size, edge, root, h.Time = uint64(r.int(0)), r.blob(1), r.blob(2), r.int(3)
	}, "SELECT size, edge, root, time FROM log_head WHERE ca = ?", ca)
	if err != nil || !found {
		return certlog.Head{}, err
	}
	if len(edge)%tlog.HashSize != 0 || len(root) != tlog.HashSize {
		return certlog.Head{}, fmt.Errorf("%w: edge of %d bytes, root of %d", certlog.ErrHead, len(edge), len(root))
	}
	h.Edge = make([]tlog.Hash, len(edge)/tlog.HashSize)
	for i := range h.Edge {
		copy(h.Edge[i][:], edge[i*tlog.HashSize:])
	}
	copy(h.Root[:], root)
	return h, nil
}

// moveHead replaces From by To, if From is what is stored.
func moveHead(c *conn, ca string, from, to *certlog.Head) error {
	edge := make([]byte, 0, len(to.Edge)*tlog.HashSize)
	for i := range to.Edge {
		edge = append(edge, to.Edge[i][:]...)
	}
	var n int64
	var err error
	if from.Size == 0 {
		n, err = c.exec("INSERT INTO log_head (ca, size, edge, root, time) VALUES (?, ?, ?, ?, ?) ON CONFLICT (ca) DO NOTHING",
			ca, int64(to.Size), edge, to.Root[:], to.Time)
	} else {
		n, err = c.exec("UPDATE log_head SET size = ?, edge = ?, root = ?, time = ? WHERE ca = ? AND size = ? AND root = ?",
			int64(to.Size), edge, to.Root[:], to.Time, ca, int64(from.Size), from.Root[:])
	}
	if err != nil {
		return fmt.Errorf("writing head of log %s: %w", ca, err)
	}
	if n == 0 {
		return fmt.Errorf("writing head of log %s: %w", ca, certlog.ErrHeadMoved)
	}
	return nil
}

// CommitLog implements certlog.Store. Records at fault are reported all
// together, as certlog.RowErrors.
func (db *DB) CommitLog(ctx context.Context, batches []certlog.Batch) error {
	for i := range batches {
		if b := &batches[i]; b.To.Size != b.From.Size+uint64(len(b.Records)) {
			return fmt.Errorf("batch %d of log %s goes from %d to %d with %d records", i, b.CA, b.From.Size, b.To.Size, len(b.Records))
		}
	}
	err := db.write(ctx, func(c *conn) error {
		for i := range batches {
			b := &batches[i]
			if err := moveHead(c, b.CA, &b.From, &b.To); err != nil {
				return err
			}
			if err := insertRecords(c, b.CA, b.From.Size, b.Records); err != nil {
				var row *rowError
				if errors.As(err, &row) {
					return &faultError{} // all of them, below
				}
				return err
			}
			if err := insertNodes(c, b.CA, b.Nodes); err != nil {
				return err
			}
		}
		return nil
	})
	var fault *faultError
	if errors.As(err, &fault) {
		return db.findFaults(ctx, batches)
	}
	if err != nil {
		return fmt.Errorf("storing log entries: %w", err)
	}
	for i := range batches {
		countSignedCRLs(batches[i].Records)
	}
	return nil
}

// rowError is the contradiction of one row; faultError says that there is one.
type rowError struct{ err error }

func (e *rowError) Error() string { return e.err.Error() }
func (e *rowError) Unwrap() error { return e.err }

type faultError struct{}

func (*faultError) Error() string { return "a record is at fault" }

// findFaults tries the records one after the other, each with the rows of
// those before it that are sound, and stores nothing. So a crowd of calls with
// the same token costs two transactions more, not one for each.
func (db *DB) findFaults(ctx context.Context, batches []certlog.Batch) error {
	var faults certlog.RowErrors
	err := db.write(ctx, func(c *conn) error {
		for i := range batches {
			for j := range batches[i].Records {
				if _, err := c.exec("SAVEPOINT record"); err != nil {
					return err
				}
				b := &batches[i]
				err := insertRecords(c, b.CA, b.From.Size+uint64(j), b.Records[j:j+1])
				var row *rowError
				if errors.As(err, &row) {
					faults = append(faults, &certlog.RowError{Batch: i, Record: j, Err: row.err})
					_, err = c.exec("ROLLBACK TO record")
				}
				if err != nil {
					return err
				}
				if _, err := c.exec("RELEASE record"); err != nil {
					return err
				}
			}
		}
		return &faultError{} // never commit
	})
	var fault *faultError
	switch {
	case !errors.As(err, &fault):
		return fmt.Errorf("looking for the records at fault: %w", err)
	case len(faults) == 0:
		// Somebody else removed the reason meanwhile; the caller reads the
		// heads and tries again.
		return certlog.ErrHeadMoved
	}
	return faults
}

var (
	insertEntry       = newBulk("INSERT INTO log_entry (ca, idx, bytes) VALUES ", "(?, ?, ?)", "")
	insertCertificate = newBulk("INSERT INTO certificate (ca, serial, idx, generation, not_after, crl) VALUES ", "(?, ?, ?, ?, ?, ?)", " ON CONFLICT (ca, serial) DO NOTHING")
	insertDER         = newBulk("INSERT INTO certificate_der (ca, idx, der) VALUES ", "(?, ?, ?)", "")
)

// insertRecords stores records, the first with the index from, and their rows.
// A contradiction is a *rowError; when there are several records it need not
// say more than that there is one.
func insertRecords(c *conn, ca string, from uint64, records []certlog.Record) error {
	entries := make([]driver.Value, 0, len(records)*insertEntry.columns)
	certs := make([]driver.Value, 0, len(records)*insertCertificate.columns)
	ders := make([]driver.Value, 0, len(records)*insertDER.columns)
	var lists []bound
	for i := range records {
		index := from + uint64(i)
		entries = append(entries, ca, int64(index), records[i].Entry)
		for _, row := range records[i].Rows {
			var err error
			if cert, ok := row.(*store.Certificate); ok {
				certs, err = appendCertificate(certs, ca, index, cert)
				ders = append(ders, ca, int64(index), cert.DER)
				if cert.CRL != 0 {
					lists = bind(lists, cert, records[i].Entry)
				}
			} else {
				err = insertRow(c, ca, index, row)
			}
			if err != nil {
				return err
			}
		}
	}
	if _, err := c.insert(insertEntry, entries); err != nil {
		return fmt.Errorf("inserting entries of log %s from %d: %w", ca, from, err)
	}
	if err := insertCertificates(c, certs); err != nil {
		return err
	}
	if _, err := c.insert(insertDER, ders); err != nil {
		return fmt.Errorf("inserting certificates of log %s from %d: %w", ca, from, err)
	}
	return countBound(c, ca, lists)
}

// insertCertificates stores the rows of insertCertificate.
func insertCertificates(c *conn, args []driver.Value) error {
	n, err := c.insert(insertCertificate, args)
	switch {
	case err != nil:
		return fmt.Errorf("inserting certificates: %w", err)
	case int(n)*insertCertificate.columns == len(args):
		return nil
	case len(args) == insertCertificate.columns:
		return exists(c, "certificate", "SELECT CAST(idx AS TEXT) FROM certificate WHERE ca = ? AND serial = ?", args[0], args[1])
	}
	return &rowError{errors.New("a certificate's serial number is taken")}
}

func insertNodes(c *conn, ca string, nodes []certlog.Node) error {
	for i := range nodes {
		n := &nodes[i]
		if _, err := c.exec("INSERT INTO log_node (ca, level, n, hash) VALUES (?, ?, ?, ?)", ca, int64(n.Level), int64(n.N), n.Hash[:]); err != nil {
			return fmt.Errorf("inserting node %d of level %d of log %s: %w", n.N, n.Level, ca, err)
		}
	}
	return nil
}

// insertRow stores a row of the entry at index, other than a certificate, and
// sets what depends on it. A contradiction is a *rowError.
func insertRow(c *conn, ca string, index uint64, row certlog.Row) error {
	switch r := row.(type) {
	case *store.Revocation:
		return insertRevocation(c, ca, index, r)
	case *store.Token:
		return insertToken(c, r)
	case *store.AuditReport:
		return insertReport(c, ca, index, r)
	case *store.AuditKey:
		return insertAuditKey(c, ca, index, r)
	case *store.SignedCRLRow:
		return insertSignedCRL(c, ca, index, r)
	case *store.Responder:
		return insertResponder(c, ca, index, r)
	}
	return &rowError{fmt.Errorf("rows of type %T are not known", row)}
}

func sameCA(ca, row string) error {
	if row != ca {
		return &rowError{fmt.Errorf("row of CA %q in the log of %q", row, ca)}
	}
	return nil
}

// appendCertificate appends a certificate of the entry at index to the values of
// insertCertificate, and sets its index.
func appendCertificate(values []driver.Value, ca string, index uint64, r *store.Certificate) ([]driver.Value, error) {
	if err := sameCA(ca, r.CA); err != nil {
		return values, err
	}
	if len(r.Serial) == 0 || len(r.DER) == 0 {
		return values, &rowError{errors.New("certificate without serial or DER")}
	}
	r.Index = index
	return append(values, ca, r.Serial, int64(index), r.Generation, ms(r.NotAfter), r.CRL), nil
}

func insertRevocation(c *conn, ca string, index uint64, r *store.Revocation) error {
	if err := sameCA(ca, r.CA); err != nil {
		return err
	}
	if r.IssueIndex >= index {
		return &rowError{fmt.Errorf("entry %d cannot revoke entry %d, which is not older", index, r.IssueIndex)}
	}
	if len(r.Serial) == 0 {
		return &rowError{errors.New("revocation without serial")}
	}
	r.RevokeIndex = index
	n, err := c.exec("INSERT INTO revocation (ca, issue_idx, revoke_idx, time, reason) VALUES (?, ?, ?, ?, ?) ON CONFLICT (ca, issue_idx) DO NOTHING",
		ca, int64(r.IssueIndex), int64(index), r.Time, int64(r.Reason))
	if err != nil {
		return fmt.Errorf("inserting revocation: %w", err)
	}
	if n == 0 {
		return exists(c, "revocation", "SELECT CAST(revoke_idx AS TEXT) FROM revocation WHERE ca = ? AND issue_idx = ?", ca, int64(r.IssueIndex))
	}
	return insertRevoked(c, r)
}

func insertToken(c *conn, r *store.Token) error {
	n, err := c.exec("INSERT INTO token (key, value, expires) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, expires = excluded.expires WHERE token.expires <= ?",
		r.Key, r.Value, ms(r.Expires), ms(r.Now))
	if err != nil {
		return fmt.Errorf("inserting token: %w", err)
	}
	if n == 0 {
		return exists(c, "token", "SELECT value FROM token WHERE key = ?", r.Key)
	}
	return nil
}

// exists makes the error for a row whose key is taken; sql reads what it holds.
func exists(c *conn, kind, sql string, args ...driver.Value) error {
	e := &store.ExistsError{Kind: kind}
	if _, err := c.queryRow(func(r *rows) { e.Value = r.text(0) }, sql, args...); err != nil {
		return fmt.Errorf("reading existing %s: %w", kind, err)
	}
	return &rowError{e}
}

// LogEntries implements certlog.Store. Ranges of the same block may be read
// at the same time; each call decodes the blocks that it touches. No lock and
// no snapshot is held while yield runs.
func (db *DB) LogEntries(ctx context.Context, ca string, lo, hi uint64, yield func(index uint64, entry []byte) error) error {
	buf := db.buffer()
	defer db.release(buf)
	for lo < hi {
		end := min(hi, (lo/certlog.BlockSize+1)*certlog.BlockSize)
		bundle, next, err := db.bundle(ctx, (*buf)[:0], ca, lo, end, tailRows)
		*buf = bundle[:0]
		if err != nil {
			return fmt.Errorf("reading entries [%d, %d) of log %s: %w", lo, end, ca, err)
		}
		for ; lo < next; lo++ {
			entry, rest, ok := certlog.CutBundled(bundle)
			if !ok {
				return fmt.Errorf("reading entry %d of log %s: %w", lo, ca, errPack)
			}
			if err := yield(lo, entry); err != nil {
				return err
			}
			bundle = rest
		}
	}
	return nil
}

// AppendLogBundle appends the entries [lo, hi) of one block to dst, each
// after its length (certlog.CutBundled). It is for those who make more of a
// block than one pass, or hand it to another goroutine.
func (db *DB) AppendLogBundle(ctx context.Context, dst []byte, ca string, lo, hi uint64) ([]byte, error) {
	if lo < hi && lo/certlog.BlockSize != (hi-1)/certlog.BlockSize {
		return dst, fmt.Errorf("entries [%d, %d) are not of one block", lo, hi)
	}
	start := len(dst)
	for at := lo; at < hi; {
		begin := len(dst)
		b, next, err := db.bundle(ctx, dst, ca, at, hi, tailRows)
		if err != nil {
			return dst[:start], fmt.Errorf("reading entries [%d, %d) of log %s: %w", at, hi, ca, err)
		}
		end := begin
		for ; at < next; at++ {
			entry, _, ok := certlog.CutBundled(b[end:])
			if !ok {
				return dst[:start], fmt.Errorf("reading entry %d of log %s: %w", at, ca, errPack)
			}
			end += 2 + len(entry)
		}
		dst = b[:end]
	}
	return dst, nil
}

// bundle appends the entries from lo on to dst, up to hi or up to next: out of
// the pack, or at most limit of the tail. [lo, hi) lies in one block. What
// follows entry next-1 in the result is not defined.
func (db *DB) bundle(ctx context.Context, dst []byte, ca string, lo, hi uint64, limit int) (b []byte, next uint64, err error) {
	block := lo / certlog.BlockSize
	start := len(dst)
	// Two rounds: between looking for the pack and reading the tail the block
	// may go from the one to the other, once.
	for range 2 {
		var pack []byte
		err := db.read(ctx, func(c *conn) error {
			if pack, err = readPack(c, ca, block); err != nil || pack != nil {
				return err
			}
			dst, next, err = readTail(c, dst[:start], ca, lo, hi, limit)
			return err
		})
		if err != nil {
			return dst[:start], lo, err
		}
		if pack != nil {
			if dst, err = db.decode(dst[:start], pack); err != nil {
				return dst[:start], lo, err
			}
			skip := start
			for i := block * certlog.BlockSize; i < lo; i++ {
				entry, _, ok := certlog.CutBundled(dst[skip:])
				if !ok {
					return dst[:start], lo, errPack
				}
				skip += 2 + len(entry)
			}
			if skip != start {
				dst = append(dst[:start], dst[skip:]...)
			}
			return dst, hi, nil
		}
		if next > lo {
			return dst, next, nil
		}
	}
	return dst[:start], lo, fmt.Errorf("entry %d: %w", lo, store.ErrNotFound)
}

// LogPack gives the pack of a sealed block: one zstd frame of its entries, each
// after its length (certlog.CutBundled). store.ErrNotFound when the block is not
// sealed.
func (db *DB) LogPack(ctx context.Context, ca string, block uint64) (frame []byte, err error) {
	err = db.read(ctx, func(c *conn) error {
		frame, err = readPack(c, ca, block)
		return must(frame != nil, err)
	})
	if err != nil {
		return nil, fmt.Errorf("reading pack %d of log %s: %w", block, ca, err)
	}
	return frame, nil
}

func readPack(c *conn, ca string, block uint64) (pack []byte, err error) {
	_, err = c.queryRow(func(r *rows) { pack = r.blob(0) }, "SELECT bytes FROM log_pack WHERE ca = ? AND block = ?", ca, int64(block))
	return pack, err
}

// readTail appends entries from lo on to dst; next is the first that is not there.
func readTail(c *conn, dst []byte, ca string, lo, hi uint64, limit int) (b []byte, next uint64, err error) {
	next = lo
	r, err := c.query("SELECT idx, bytes FROM log_entry WHERE ca = ? AND idx >= ? AND idx < ? ORDER BY idx LIMIT ?", ca, int64(lo), int64(hi), int64(limit))
	if err != nil {
		return dst, lo, err
	}
	for r.next() {
		if uint64(r.int(0)) != next {
			break
		}
		dst = certlog.AppendBundled(dst, r.blob(1))
		next++
	}
	return dst, next, r.close()
}

// LogNodes implements certlog.Store.
func (db *DB) LogNodes(ctx context.Context, ca string, level int, lo, hi uint64) ([]tlog.Hash, error) {
	if lo >= hi {
		return nil, nil
	}
	nodes := make([]tlog.Hash, 0, min(hi-lo, 1<<16))
	err := db.read(ctx, func(c *conn) error {
		r, err := c.query("SELECT n, hash FROM log_node WHERE ca = ? AND level = ? AND n >= ? AND n < ? ORDER BY n", ca, int64(level), int64(lo), int64(hi))
		if err != nil {
			return err
		}
		for r.next() {
			if h := r.blob(1); uint64(r.int(0)) == lo+uint64(len(nodes)) && len(h) == tlog.HashSize {
				nodes = append(nodes, tlog.Hash(h))
			}
		}
		return r.close()
	})
	if err == nil && uint64(len(nodes)) != hi-lo {
		err = fmt.Errorf("node %d: %w", lo+uint64(len(nodes)), store.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("reading nodes [%d, %d) of level %d of log %s: %w", lo, hi, level, ca, err)
	}
	return nodes, nil
}

// Certificate gives an issued certificate with its DER; store.ErrNotFound
// when the CA has none with the serial.
func (db *DB) Certificate(ctx context.Context, ca string, serial []byte) (*store.Certificate, error) {
	cert := &store.Certificate{CA: ca, Serial: bytes.Clone(serial)}
	var pack []byte
	err := db.read(ctx, func(c *conn) error {
		found, err := c.queryRow(func(r *rows) {
			cert.Index, cert.Generation, cert.NotAfter, cert.CRL, cert.DER = uint64(r.int(0)), r.int(1), at(r.int(2)), r.int(3), r.blob(4)
		}, "SELECT c.idx, c.generation, c.not_after, c.crl, d.der FROM certificate c LEFT JOIN certificate_der d ON d.ca = c.ca AND d.idx = c.idx WHERE c.ca = ? AND c.serial = ?", ca, serial)
		switch {
		case err != nil:
			return err
		case !found:
			return store.ErrNotFound
		case cert.DER != nil:
			return nil
		}
		// A certificate goes from the tail into a pack and never back: not
		// being in the one, it is in the other.
		_, err = c.queryRow(func(r *rows) { pack = r.blob(0) }, "SELECT bytes FROM der_pack WHERE ca = ? AND first = ?", ca, int64(cert.Index&^(derGroup-1)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading certificate %x of CA %s: %w", serial, ca, err)
	}
	if cert.DER != nil {
		return cert, nil
	}
	buf := db.buffer()
	defer db.release(buf)
	plain, err := db.decode((*buf)[:0], pack)
	if err != nil {
		return nil, fmt.Errorf("reading certificate %x of CA %s: %w", serial, ca, err)
	}
	*buf = plain
	der, err := findDER(plain, byte(cert.Index%derGroup))
	if err == nil && der == nil {
		err = fmt.Errorf("%w: it lacks entry %d", errPack, cert.Index)
	}
	if err != nil {
		return nil, fmt.Errorf("reading certificate %x of CA %s: %w", serial, ca, err)
	}
	cert.DER = bytes.Clone(der)
	return cert, nil
}

// CertificateStatus gives an issued certificate without its DER, and its
// revocation, nil when it is not revoked; store.ErrNotFound when the CA has none
// with the serial.
func (db *DB) CertificateStatus(ctx context.Context, ca string, serial []byte) (*store.Certificate, *store.Revocation, error) {
	cert := &store.Certificate{CA: ca, Serial: bytes.Clone(serial)}
	var rev *store.Revocation
	err := db.read(ctx, func(c *conn) error {
		return must(c.queryRow(func(r *rows) {
			cert.Index, cert.Generation, cert.NotAfter, cert.CRL = uint64(r.int(0)), r.int(1), at(r.int(2)), r.int(6)
			if !r.null(3) {
				rev = &store.Revocation{CA: ca, IssueIndex: cert.Index, RevokeIndex: uint64(r.int(3)), Time: r.int(4), Reason: uint8(r.int(5))}
			}
		}, "SELECT c.idx, c.generation, c.not_after, r.revoke_idx, r.time, r.reason, c.crl FROM certificate c LEFT JOIN revocation r ON r.ca = c.ca AND r.issue_idx = c.idx WHERE c.ca = ? AND c.serial = ?", ca, serial))
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the status of certificate %x of CA %s: %w", serial, ca, err)
	}
	return cert, rev, nil
}

// revocationRows is how many revocations are read with one statement.
const revocationRows = 4096

// Revocations calls yield for the revocations that point into the entries
// [lo, hi) and whose own entry lies below before, by IssueIndex. The result for
// a given before never changes once the log has that many entries. Nothing is
// locked while yield runs.
func (db *DB) Revocations(ctx context.Context, ca string, lo, hi, before uint64, yield func(store.Revocation) error) error {
	var page []store.Revocation
	for lo < hi {
		page = page[:0]
		err := db.read(ctx, func(c *conn) error {
			r, err := c.query("SELECT issue_idx, revoke_idx, time, reason FROM revocation WHERE ca = ? AND issue_idx >= ? AND issue_idx < ? AND revoke_idx < ? ORDER BY issue_idx LIMIT ?",
				ca, int64(lo), int64(hi), int64(before), int64(revocationRows))
			if err != nil {
				return err
			}
			for r.next() {
				page = append(page, store.Revocation{CA: ca, IssueIndex: uint64(r.int(0)), RevokeIndex: uint64(r.int(1)), Time: r.int(2), Reason: uint8(r.int(3))})
			}
			return r.close()
		})
		if err != nil {
			return fmt.Errorf("reading revocations of entries [%d, %d) of CA %s: %w", lo, hi, ca, err)
		}
		for _, rev := range page {
			if err := yield(rev); err != nil {
				return err
			}
		}
		if len(page) < revocationRows {
			return nil
		}
		lo = page[len(page)-1].IssueIndex + 1
	}
	return nil
}
