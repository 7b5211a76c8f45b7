package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const (
	// crlRowColumns are what the rows of certificates and revocations keep.
	crlRowColumns = "certificates, not_after, revoke_idx, changed_at"
	// crlUpdateColumns are what UpdateCRL stores as it is.
	crlUpdateColumns = "partitioned, open, active, acl, days, failures, failed_at, failure, version, " +
		"base_number, base_of, base_idx, base_covered, base_since, base_next_update, base_entries, base_size, base_sha256, base_certificate, base_written_at, " +
		"delta_number, delta_of, delta_idx, delta_covered, delta_since, delta_next_update, delta_entries, delta_size, delta_sha256, delta_certificate, delta_written_at"
	crlColumns = "ca, id, name, bucket, key, uri, due, " + crlRowColumns + ", " + crlUpdateColumns
)

var (
	crlInsert = "INSERT INTO crl (" + crlColumns + ") VALUES (" + parameters(crlColumns) + ") ON CONFLICT DO NOTHING"
	// crlUpdate leaves a Due that is earlier because of what the caller did not know.
	crlUpdate = "UPDATE OR IGNORE crl SET (" + crlUpdateColumns + ") = (" + parameters(crlUpdateColumns) + `),
		due = CASE WHEN due > 0 AND (? = 0 OR due < ?) AND (revoke_idx > ? AND revoke_idx >= ? OR certificates > 0 AND ? = 0 AND ? = 0) THEN due ELSE ? END
		WHERE ca = ? AND id = ? AND version = ?`
)

// parameters is a list of as many parameters as there are columns.
func parameters(columns string) string {
	return "?" + strings.Repeat(", ?", strings.Count(columns, ","))
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func crlUpdateValues(c *store.CRL) []driver.Value {
	values := []driver.Value{flag(c.Partitioned), flag(c.Open), flag(c.Active), string(c.ACL), int64(c.Days), c.Failures, ms(c.FailedAt), c.Failure, c.Version}
	for _, s := range []*store.SignedCRL{&c.Base, &c.Delta} {
		values = append(values, s.Number, s.BaseNumber, int64(s.Index), int64(s.Covered), ms(s.Since), ms(s.NextUpdate), int64(s.Entries), s.Bytes, blob(s.SHA256), s.Certificate, ms(s.WrittenAt))
	}
	return values
}

func scanCRL(r *rows) *store.CRL {
	c := &store.CRL{
		CA: r.text(0), ID: r.int(1), Name: r.text(2), Bucket: r.text(3), Key: r.text(4), URI: r.text(5), Due: at(r.int(6)),
		Certificates: r.int(7), NotAfter: at(r.int(8)), RevokeIndex: uint64(r.int(9)), ChangedAt: at(r.int(10)),
		Partitioned: r.int(11) != 0, Open: r.int(12) != 0, Active: r.int(13) != 0, ACL: pca.S3ObjectAcl(r.text(14)), Days: int(r.int(15)),
		Failures: r.int(16), FailedAt: at(r.int(17)), Failure: r.text(18), Version: r.int(19),
	}
	for i, s := range []*store.SignedCRL{&c.Base, &c.Delta} {
		k := 20 + 11*i
		*s = store.SignedCRL{
			Number: r.int(k), BaseNumber: r.int(k + 1), Index: uint64(r.int(k + 2)), Covered: uint64(r.int(k + 3)), Since: at(r.int(k + 4)), NextUpdate: at(r.int(k + 5)),
			Entries: uint64(r.int(k + 6)), Bytes: r.int(k + 7), SHA256: r.blob(k + 8), Certificate: r.int(k + 9), WrittenAt: at(r.int(k + 10)),
		}
		if len(s.SHA256) == 0 {
			s.SHA256 = nil
		}
	}
	return c
}

// AddCRLs stores new lists, as their Version 1, and changes others as UpdateCRL
// does, all or nothing. The error wraps store.ErrConflict when a Version moved,
// when a CA has a list with that ID already, or would have two that are Open.
func (db *DB) AddCRLs(ctx context.Context, add, change []*store.CRL) error {
	// Closed before another one is opened: a CA has one open list at most.
	change = slices.Clone(change)
	slices.SortStableFunc(change, func(a, b *store.CRL) int { return int(flag(a.Open) - flag(b.Open)) })
	err := db.write(ctx, func(c *conn) error {
		for _, list := range change {
			if err := updateCRL(c, list); err != nil {
				return fmt.Errorf("list %d of CA %s: %w", list.ID, list.CA, err)
			}
		}
		for _, list := range add {
			created := *list
			created.Version = 1
			values := append([]driver.Value{list.CA, list.ID, list.Name, list.Bucket, list.Key, list.URI, ms(list.Due),
				list.Certificates, ms(list.NotAfter), int64(list.RevokeIndex), ms(list.ChangedAt)}, crlUpdateValues(&created)...)
			n, err := c.exec(crlInsert, values...)
			if err == nil && n == 0 {
				err = store.ErrConflict
			}
			if err != nil {
				return fmt.Errorf("list %d of CA %s: %w", list.ID, list.CA, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("adding CRLs: %w", err)
	}
	for _, list := range change {
		list.Version++
	}
	for _, list := range add {
		list.Version = 1
	}
	return nil
}

// UpdateCRL stores a changed list if its Version is the one that is stored, and
// counts the Version of list up; otherwise the error wraps store.ErrConflict, or
// store.ErrNotFound. It leaves the place, the URI and what the rows of
// certificates and revocations keep. A Due that is stored and earlier stays when
// there is news: a revocation later than list.RevokeIndex that neither Base nor
// Delta covers, or the first certificate, list.Certificates being 0, of a list
// whose Base.Number is 0.
func (db *DB) UpdateCRL(ctx context.Context, list *store.CRL) error {
	if err := db.write(ctx, func(c *conn) error { return updateCRL(c, list) }); err != nil {
		return fmt.Errorf("updating CRL %d of CA %s: %w", list.ID, list.CA, err)
	}
	list.Version++
	return nil
}

// updateCRL stores list as its next Version.
func updateCRL(c *conn, list *store.CRL) error {
	next := *list
	next.Version++
	due := ms(list.Due)
	n, err := c.exec(crlUpdate, append(crlUpdateValues(&next),
		due, due, int64(list.RevokeIndex), int64(max(list.Base.Covered, list.Delta.Covered)), list.Base.Number, list.Certificates, due,
		list.CA, list.ID, list.Version)...)
	if err == nil && n == 0 {
		var found bool
		if found, err = c.queryRow(func(*rows) {}, "SELECT 1 FROM crl WHERE ca = ? AND id = ?", list.CA, list.ID); found {
			return store.ErrConflict
		}
		return must(found, err)
	}
	if err != nil || list.Base.Number == 0 {
		return err
	}
	// What came while Base was made is not the oldest revocation any more that
	// Base lacks.
	crl := int64(0)
	if list.Partitioned {
		crl = list.ID
	}
	sql, args := selectRevoked(list.CA, crl)
	var oldest store.Revoked
	var corrupt error
	found, err := c.queryRow(func(r *rows) { oldest, corrupt = decodeRevoked(r.blob(0)) },
		sql+" AND revoke_idx >= ? ORDER BY revoke_idx LIMIT 1", append(args, int64(list.Base.Covered))...)
	if err = errors.Join(err, corrupt); err == nil && found {
		_, err = c.exec("UPDATE crl SET changed_at = ? WHERE ca = ? AND id = ?", oldest.Time, list.CA, list.ID)
	}
	return err
}

// CRL gives one list, or store.ErrNotFound.
func (db *DB) CRL(ctx context.Context, ca string, id int64) (list *store.CRL, err error) {
	err = db.one(ctx, func(r *rows) { list = scanCRL(r) }, "SELECT "+crlColumns+" FROM crl WHERE ca = ? AND id = ?", ca, id)
	if err != nil {
		return nil, fmt.Errorf("reading CRL %d of CA %s: %w", id, ca, err)
	}
	return list, nil
}

// CRLs gives the lists of a CA by ID, at most limit of those after the given one.
func (db *DB) CRLs(ctx context.Context, ca string, after int64, limit int) (lists []*store.CRL, err error) {
	err = db.list(ctx, func(r *rows) { lists = append(lists, scanCRL(r)) },
		"SELECT "+crlColumns+" FROM crl WHERE ca = ? AND id > ? ORDER BY id LIMIT ?", ca, after, int64(limit))
	if err != nil {
		return nil, fmt.Errorf("listing the CRLs of CA %s: %w", ca, err)
	}
	return lists, nil
}

// DueCRLs gives the active lists of all CAs whose Due is not after now, the
// earliest first.
func (db *DB) DueCRLs(ctx context.Context, now time.Time, limit int) (lists []*store.CRL, err error) {
	err = db.list(ctx, func(r *rows) { lists = append(lists, scanCRL(r)) },
		"SELECT "+crlColumns+" FROM crl WHERE active = 1 AND due > 0 AND due <= ? ORDER BY due LIMIT ?", ms(now), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("listing the CRLs that are due: %w", err)
	}
	return lists, nil
}

// insertSignedCRL stores the list of the crl entry at index.
func insertSignedCRL(c *conn, ca string, index uint64, r *store.SignedCRLRow) error {
	if err := sameCA(ca, r.CRL.CA); err != nil {
		return err
	}
	if r.Delta {
		r.CRL.Delta.Index = index
	} else {
		r.CRL.Base.Index = index
	}
	err := updateCRL(c, r.CRL)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return &rowError{err}
	}
	if err != nil {
		return fmt.Errorf("storing CRL %d: %w", r.CRL.ID, err)
	}
	return nil
}

// countSignedCRLs counts up the Versions of the lists that were committed.
func countSignedCRLs(records []certlog.Record) {
	for i := range records {
		for _, row := range records[i].Rows {
			if r, ok := row.(*store.SignedCRLRow); ok {
				r.CRL.Version++
			}
		}
	}
}

// bound is what the certificates of a commit add to the list that they are bound to.
type bound struct {
	crl, certificates, notAfter int64
	entry                       []byte // of the last one
}

// bind adds a certificate to those of its list.
func bind(lists []bound, cert *store.Certificate, entry []byte) []bound {
	i := slices.IndexFunc(lists, func(b bound) bool { return b.crl == cert.CRL })
	if i < 0 {
		i, lists = len(lists), append(lists, bound{crl: cert.CRL})
	}
	b := &lists[i]
	b.certificates, b.notAfter, b.entry = b.certificates+1, max(b.notAfter, ms(cert.NotAfter)), entry
	return lists
}

// countBound adds certificates to their lists. The first one of a list that was
// never made makes it due.
func countBound(c *conn, ca string, lists []bound) error {
	for _, b := range lists {
		now, err := certlog.EntryTime(b.entry)
		if err != nil {
			return err
		}
		n, err := c.exec(`UPDATE crl SET certificates = certificates + ?, not_after = max(not_after, ?),
			due = CASE WHEN active = 1 AND base_number = 0 AND due = 0 THEN ? ELSE due END WHERE ca = ? AND id = ?`,
			b.certificates, b.notAfter, now, ca, b.crl)
		if err != nil {
			return fmt.Errorf("counting certificates of CRL %d: %w", b.crl, err)
		}
		if n == 0 {
			return &rowError{fmt.Errorf("certificate bound to CRL %d: %w", b.crl, store.ErrNotFound)}
		}
	}
	return nil
}

// insertRevoked stores a revocation for the lists that are to have it, and makes
// these due. A list that had all revocations before has now one that it lacks.
func insertRevoked(c *conn, r *store.Revocation) error {
	v := store.Revoked{Serial: r.Serial, NotAfter: ms(r.NotAfter), Time: r.Time, Reason: r.Reason, RevokeIndex: r.RevokeIndex, CRL: r.CRL}
	if err := insertRevokedBytes(c, r.CA, &v); err != nil {
		return fmt.Errorf("inserting revoked certificate: %w", err)
	}
	_, err := c.exec(`UPDATE crl SET changed_at = CASE WHEN revoke_idx < base_covered OR revoke_idx = 0 THEN ? ELSE changed_at END, revoke_idx = ?,
		due = CASE WHEN due = 0 OR due > ? THEN ? ELSE due END
		WHERE ca = ? AND id IN (SELECT id FROM crl WHERE ca = ? AND active = 1 AND partitioned = 0 UNION ALL SELECT id FROM crl WHERE ca = ? AND id = ? AND active = 1 AND partitioned = 1)`,
		r.Time, int64(r.RevokeIndex), r.Time, r.Time, r.CA, r.CA, r.CA, r.CRL)
	if err != nil {
		return fmt.Errorf("making CRLs due: %w", err)
	}
	return nil
}

func insertRevokedBytes(c *conn, ca string, r *store.Revoked) error {
	b := make([]byte, 0, 48)
	for _, v := range []uint64{r.RevokeIndex, uint64(r.CRL), uint64(r.NotAfter), uint64(r.Time), uint64(r.Reason)} {
		b = binary.AppendUvarint(b, v)
	}
	_, err := c.exec("INSERT INTO crl_entry (ca, revoke_idx, crl, bytes) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", ca, int64(r.RevokeIndex), r.CRL, append(b, r.Serial...))
	return err
}

// errRevoked says that a revocation of a list cannot be read.
var errRevoked = errors.New("revoked certificate is not readable")

// decodeRevoked decodes what insertRevokedBytes stored. The serial is part of b.
func decodeRevoked(b []byte) (store.Revoked, error) {
	var v [5]uint64
	for i := range v {
		n := 0
		if v[i], n = binary.Uvarint(b); n <= 0 {
			return store.Revoked{}, errRevoked
		}
		b = b[n:]
	}
	return store.Revoked{Serial: b, NotAfter: int64(v[2]), Time: int64(v[3]), Reason: uint8(v[4]), RevokeIndex: v[0], CRL: int64(v[1])}, nil
}

// selectRevoked begins a statement that reads the revocations of certificates
// bound to crl, or of all when it is 0.
func selectRevoked(ca string, crl int64) (sql string, args []driver.Value) {
	if crl == 0 {
		return "SELECT bytes FROM crl_entry WHERE ca = ?", []driver.Value{ca}
	}
	// SQLite would look at those of all lists, in the order of the key.
	return "SELECT bytes FROM crl_entry INDEXED BY crl_entry_bound WHERE ca = ? AND crl = ? AND crl <> 0", []driver.Value{ca, crl}
}

// Revoked calls yield for the revoked certificates that a list is to have,
// newest revocation first: those bound to crl, or of all when it is 0, whose
// revoke entry is in [lo, hi). What yield gets is valid during the call. Nothing
// is locked while yield runs.
func (db *DB) Revoked(ctx context.Context, ca string, crl int64, lo, hi uint64, yield func(r *store.Revoked) error) error {
	sql, args := selectRevoked(ca, crl)
	sql += " AND revoke_idx >= ? AND revoke_idx < ? ORDER BY revoke_idx DESC LIMIT ?"
	hi = min(hi, math.MaxInt64)
	page := make([][]byte, 0, revocationRows)
	for lo < hi {
		page = page[:0]
		err := db.list(ctx, func(r *rows) { page = append(page, r.blob(0)) }, sql, append(args, int64(lo), int64(hi), int64(revocationRows))...)
		if err != nil {
			return fmt.Errorf("reading revoked certificates of the entries [%d, %d) of CA %s: %w", lo, hi, ca, err)
		}
		for _, b := range page {
			r, err := decodeRevoked(b)
			if err != nil {
				return fmt.Errorf("reading revoked certificates of the entries [%d, %d) of CA %s: %w", lo, hi, ca, err)
			}
			hi = r.RevokeIndex
			if err := yield(&r); err != nil {
				return err
			}
		}
		if len(page) < revocationRows {
			return nil
		}
	}
	return nil
}

// PruneRevoked forgets, for Revoked alone, certificates of a CA that expired
// before. It reads all that the CA revoked, and forgets in small steps.
func (db *DB) PruneRevoked(ctx context.Context, ca string, before time.Time) error {
	var expired []int64
	forget := func() error {
		return db.write(ctx, func(c *conn) error {
			for _, index := range expired {
				if _, err := c.exec("DELETE FROM crl_entry WHERE ca = ? AND revoke_idx = ?", ca, index); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := db.Revoked(ctx, ca, 0, 0, math.MaxUint64, func(r *store.Revoked) error {
		if r.NotAfter < ms(before) {
			expired = append(expired, int64(r.RevokeIndex))
		}
		if len(expired) < purgeStep {
			return nil
		}
		err := forget()
		expired = expired[:0]
		return err
	})
	if err == nil && len(expired) > 0 {
		err = forget()
	}
	if err != nil {
		return fmt.Errorf("forgetting expired certificates of CA %s: %w", ca, err)
	}
	return nil
}

// RestoreRevoked undoes PruneRevoked for a CA. Nothing else is written
// meanwhile.
func (db *DB) RestoreRevoked(ctx context.Context, ca string) error {
	if err := db.write(ctx, func(c *conn) error { return listRevoked(c, ca) }); err != nil {
		return fmt.Errorf("listing the revoked certificates of CA %s: %w", ca, err)
	}
	return nil
}

// listRevoked lists for CRLs all that a CA revoked. Certificates have no index by
// entry: it looks at all of them.
func listRevoked(c *conn, ca string) error {
	// CROSS JOIN is taken in this order. In the order of their key the rows are
	// appended to full pages, each of which is written once.
	r, err := c.query(`SELECT v.revoke_idx, c.serial, c.not_after, v.time, v.reason, c.crl
		FROM certificate c CROSS JOIN revocation v ON v.ca = c.ca AND v.issue_idx = c.idx WHERE c.ca = ? ORDER BY v.revoke_idx`, ca)
	if err != nil {
		return err
	}
	for err == nil && r.next() {
		err = insertRevokedBytes(c, ca, &store.Revoked{RevokeIndex: uint64(r.int(0)), Serial: r.blob(1), NotAfter: r.int(2), Time: r.int(3), Reason: uint8(r.int(4)), CRL: r.int(5)})
	}
	return errors.Join(err, r.close())
}

// insertResponder stores the responder certificate that the entry at index issued.
func insertResponder(c *conn, ca string, index uint64, r *store.Responder) error {
	if err := sameCA(ca, r.CA); err != nil {
		return err
	}
	r.Index = index
	_, err := c.exec("INSERT INTO responder (ca, idx, serial, generation, key_id, not_before, not_after) VALUES (?, ?, ?, ?, ?, ?, ?)",
		ca, int64(index), r.Serial, r.Generation, r.KeyID, ms(r.NotBefore), ms(r.NotAfter))
	if err != nil {
		return fmt.Errorf("inserting responder: %w", err)
	}
	return nil
}

// Responders gives the responder certificates of a CA that expire after a time,
// the newest first; after the zero time that is all of them.
func (db *DB) Responders(ctx context.Context, ca string, after time.Time) (responders []*store.Responder, err error) {
	err = db.list(ctx, func(r *rows) {
		responders = append(responders, &store.Responder{
			CA: ca, Index: uint64(r.int(0)), Serial: r.blob(1), Generation: r.int(2), KeyID: r.text(3), NotBefore: at(r.int(4)), NotAfter: at(r.int(5)),
		})
	}, "SELECT idx, serial, generation, key_id, not_before, not_after FROM responder WHERE ca = ? AND not_after > ? ORDER BY idx DESC", ca, ms(after))
	if err != nil {
		return nil, fmt.Errorf("listing the OCSP responders of CA %s: %w", ca, err)
	}
	return responders, nil
}
