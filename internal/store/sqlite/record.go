package sqlite

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// ms is a time as it is stored: milliseconds since the epoch, 0 for none.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// at is the time of ms.
func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// blob is b for a column that is never NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// must makes a row that is not there an error.
func must(found bool, err error) error {
	if err == nil && !found {
		return store.ErrNotFound
	}
	return err
}

// one reads the row of a record by its key.
func (db *DB) one(ctx context.Context, scan func(*rows), sql string, args ...driver.Value) error {
	return db.read(ctx, func(c *conn) error { return must(c.queryRow(scan, sql, args...)) })
}

// list reads all rows of a statement, which bounds their number itself.
func (db *DB) list(ctx context.Context, scan func(*rows), sql string, args ...driver.Value) error {
	return db.read(ctx, func(c *conn) error {
		r, err := c.query(sql, args...)
		if err != nil {
			return err
		}
		for r.next() {
			scan(r)
		}
		return r.close()
	})
}

// change runs one statement that must change one row; none is store.ErrNotFound.
func (db *DB) change(ctx context.Context, sql string, args ...driver.Value) error {
	return db.write(ctx, func(c *conn) error {
		n, err := c.exec(sql, args...)
		return must(n > 0, err)
	})
}

// versioned runs an update that names the version it is based on; when it
// changes nothing, exists tells a moved version from a record that is not there.
func versioned(c *conn, exists, id, update string, args ...driver.Value) error {
	n, err := c.exec(update, args...)
	if err != nil || n > 0 {
		return err
	}
	found, err := c.queryRow(func(*rows) {}, exists, id)
	if err == nil && found {
		return store.ErrConflict
	}
	return must(found, err)
}

const caColumns = "id, arn, account, type, status, failure_reason, configuration, revocation, key_standard, usage_mode, tags, created_at, last_state_change_at, restorable_until, csr, key_id, audit_key, installed, not_after, version, permissions, policy, deleted_from"

func caValues(ca *store.CertificateAuthority) ([]driver.Value, error) {
	configuration, err1 := json.Marshal(&ca.Configuration)
	revocation, err2 := json.Marshal(&ca.Revocation)
	tags, err3 := json.Marshal(ca.Tags)
	permissions, err4 := json.Marshal(ca.Permissions)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	return []driver.Value{
		ca.ID, ca.ARN, ca.Account, string(ca.Type), string(ca.Status), string(ca.FailureReason), string(configuration), string(revocation),
		string(ca.KeyStandard), string(ca.UsageMode), string(tags), ms(ca.CreatedAt), ms(ca.LastStateChangeAt), ms(ca.RestorableUntil),
		blob(ca.CSR), ca.KeyID, ca.AuditKey, ca.Installed, ms(ca.NotAfter), ca.Version, string(permissions), ca.Policy, string(ca.DeletedFrom),
	}, nil
}

func scanCA(r *rows) (*store.CertificateAuthority, error) {
	ca := &store.CertificateAuthority{
		ID: r.text(0), ARN: r.text(1), Account: r.text(2),
		Type: pca.CertificateAuthorityType(r.text(3)), Status: pca.CertificateAuthorityStatus(r.text(4)), FailureReason: pca.FailureReason(r.text(5)),
		KeyStandard: pca.KeyStorageSecurityStandard(r.text(8)), UsageMode: pca.CertificateAuthorityUsageMode(r.text(9)),
		CreatedAt: at(r.int(11)), LastStateChangeAt: at(r.int(12)), RestorableUntil: at(r.int(13)),
		CSR: r.blob(14), KeyID: r.text(15), AuditKey: r.text(16), Installed: r.int(17), NotAfter: at(r.int(18)), Version: r.int(19),
		Policy: r.text(21), DeletedFrom: pca.CertificateAuthorityStatus(r.text(22)),
	}
	err1 := json.Unmarshal([]byte(r.text(6)), &ca.Configuration)
	err2 := json.Unmarshal([]byte(r.text(7)), &ca.Revocation)
	err3 := json.Unmarshal([]byte(r.text(10)), &ca.Tags)
	err4 := json.Unmarshal([]byte(r.text(20)), &ca.Permissions)
	return ca, errors.Join(err1, err2, err3, err4)
}

// CreateCA stores a new CA as its Version 1, and the idempotency token that it
// was asked for with, if there is one. A token that is reserved, or a CA that
// is there, gives a *store.ExistsError, and nothing is stored.
func (db *DB) CreateCA(ctx context.Context, ca *store.CertificateAuthority, token *store.Token) error {
	created := *ca
	created.Version = 1
	vals, err := caValues(&created)
	if err != nil {
		return fmt.Errorf("creating CA %s: %w", ca.ID, err)
	}
	err = db.write(ctx, func(c *conn) error {
		if token != nil {
			if err := insertToken(c, token); err != nil {
				return err
			}
		}
		n, err := c.exec("INSERT INTO certificate_authority ("+caColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING", vals...)
		if err == nil && n == 0 {
			return &store.ExistsError{Kind: "certificate authority", Value: ca.ID}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("creating CA %s: %w", ca.ID, err)
	}
	ca.Version = 1
	return nil
}

// UpdateCA stores a changed CA if its Version is the one that is stored, and
// counts the Version of ca up; otherwise the error wraps store.ErrConflict, or
// store.ErrNotFound.
func (db *DB) UpdateCA(ctx context.Context, ca *store.CertificateAuthority) error {
	err := db.write(ctx, func(c *conn) error { return updateCA(c, ca) })
	if err != nil {
		return fmt.Errorf("updating CA %s: %w", ca.ID, err)
	}
	ca.Version++
	return nil
}

func updateCA(c *conn, ca *store.CertificateAuthority) error {
	next := *ca
	next.Version++
	vals, err := caValues(&next)
	if err != nil {
		return err
	}
	return versioned(c, "SELECT 1 FROM certificate_authority WHERE id = ?", ca.ID,
		"UPDATE certificate_authority SET ("+caColumns+") = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ? AND version = ?",
		append(vals, ca.ID, ca.Version)...)
}

// InstallCertificate stores a changed CA, as UpdateCA does, together with the
// certificate that was imported into it. A generation that is there already
// gives a *store.ExistsError.
func (db *DB) InstallCertificate(ctx context.Context, ca *store.CertificateAuthority, cert *store.InstalledCertificate) error {
	err := db.write(ctx, func(c *conn) error {
		if cert.CA != ca.ID {
			return fmt.Errorf("certificate is for CA %s", cert.CA)
		}
		n, err := c.exec("INSERT INTO installed_certificate (ca, generation, certificate, chain, installed_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (ca, generation) DO NOTHING",
			cert.CA, cert.Generation, cert.Certificate, cert.Chain, ms(cert.InstalledAt))
		if err != nil {
			return err
		}
		// The version decides first: of two imports at once one is a conflict.
		if err := updateCA(c, ca); err != nil {
			return err
		}
		if n == 0 {
			return &store.ExistsError{Kind: "installed certificate", Value: fmt.Sprint(cert.Generation)}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("installing certificate %d of CA %s: %w", cert.Generation, ca.ID, err)
	}
	ca.Version++
	return nil
}

// CA gives a CA by its UUID, or store.ErrNotFound.
func (db *DB) CA(ctx context.Context, id string) (ca *store.CertificateAuthority, err error) {
	var scanErr error
	err = db.one(ctx, func(r *rows) { ca, scanErr = scanCA(r) }, "SELECT "+caColumns+" FROM certificate_authority WHERE id = ?", id)
	if err := errors.Join(err, scanErr); err != nil {
		return nil, fmt.Errorf("reading CA %s: %w", id, err)
	}
	return ca, nil
}

// CAs lists the CAs of an account, or of all when account is empty, in the
// order of their creation and then of their ids, beginning after the one that
// was created at afterCreated with the id afterID. The zero time begins at the
// first one.
func (db *DB) CAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error) {
	where, args := "(created_at, id) > (?, ?)", []driver.Value{ms(afterCreated), afterID}
	if account != "" {
		where, args = "account = ? AND "+where, append([]driver.Value{account}, args...)
	}
	return db.listCAs(ctx, limit, where, args...)
}

// SharedCAs lists, as CAs does, the CAs that have a policy and belong to other
// accounts than the one that is given.
func (db *DB) SharedCAs(ctx context.Context, account string, afterCreated time.Time, afterID string, limit int) ([]*store.CertificateAuthority, error) {
	return db.listCAs(ctx, limit, "policy <> '' AND account <> ? AND (created_at, id) > (?, ?)", account, ms(afterCreated), afterID)
}

func (db *DB) listCAs(ctx context.Context, limit int, where string, args ...driver.Value) ([]*store.CertificateAuthority, error) {
	var cas []*store.CertificateAuthority
	var scanErr error
	scan := func(r *rows) {
		ca, err := scanCA(r)
		cas, scanErr = append(cas, ca), errors.Join(scanErr, err)
	}
	err := db.list(ctx, scan, "SELECT "+caColumns+" FROM certificate_authority WHERE "+where+" ORDER BY created_at, id LIMIT ?", append(args, int64(limit))...)
	if err := errors.Join(err, scanErr); err != nil {
		return nil, fmt.Errorf("listing CAs: %w", err)
	}
	return cas, nil
}

// CountCAs counts the CAs of an account that are not gone for good: those that
// are DELETED count until they can no longer be restored.
func (db *DB) CountCAs(ctx context.Context, account string, now time.Time) (n int64, err error) {
	err = db.one(ctx, func(r *rows) { n = r.int(0) },
		"SELECT count(*) FROM certificate_authority WHERE account = ? AND (status <> 'DELETED' OR restorable_until > ?)", account, ms(now))
	if err != nil {
		return 0, fmt.Errorf("counting CAs of %s: %w", account, err)
	}
	return n, nil
}

// CountCertificates counts what a CA issued. It reads all of its keys.
func (db *DB) CountCertificates(ctx context.Context, ca string) (n int64, err error) {
	err = db.one(ctx, func(r *rows) { n = r.int(0) }, "SELECT count(*) FROM certificate WHERE ca = ?", ca)
	if err != nil {
		return 0, fmt.Errorf("counting certificates of CA %s: %w", ca, err)
	}
	return n, nil
}

// InstalledCertificate gives one of the certificates that were imported into
// a CA, or store.ErrNotFound.
func (db *DB) InstalledCertificate(ctx context.Context, ca string, generation int64) (*store.InstalledCertificate, error) {
	cert := &store.InstalledCertificate{CA: ca, Generation: generation}
	err := db.one(ctx, func(r *rows) { cert.Certificate, cert.Chain, cert.InstalledAt = r.text(0), r.text(1), at(r.int(2)) },
		"SELECT certificate, chain, installed_at FROM installed_certificate WHERE ca = ? AND generation = ?", ca, generation)
	if err != nil {
		return nil, fmt.Errorf("reading installed certificate %d of CA %s: %w", generation, ca, err)
	}
	return cert, nil
}

// Token gives what was answered to the call that reserved an idempotency
// token, or store.ErrNotFound when there is none or it is expired at now.
func (db *DB) Token(ctx context.Context, key string, now time.Time) (value string, err error) {
	err = db.one(ctx, func(r *rows) { value = r.text(0) }, "SELECT value FROM token WHERE key = ? AND expires > ?", key, ms(now))
	if err != nil {
		return "", fmt.Errorf("reading idempotency token: %w", err)
	}
	return value, nil
}

const reportColumns = "id, ca, ca_arn, account, bucket, key, format, status, reason, created_at, finished_at, tree_size, min_interval, invocation, total_rows, revoked, size, sha256, upload_id, version, slot_until, checkpoint"

func reportValues(r *store.AuditReport) []driver.Value {
	return []driver.Value{
		r.ID, r.CA, r.CAARN, r.Account, r.Bucket, r.Key, string(r.Format), string(r.Status), r.Reason, ms(r.CreatedAt), ms(r.FinishedAt),
		int64(r.TreeSize), r.Interval.Milliseconds(), r.Invocation, int64(r.Rows), int64(r.Revoked), int64(r.Bytes), blob(r.SHA256), r.UploadID, r.Version, slotUntil(r), blob(r.Checkpoint),
	}
}

// slotUntil is from when on the report may hold its CA's slot no more, but for
// the interval: never while it is being made, at once when it failed
// (audit-report.md 4).
func slotUntil(r *store.AuditReport) int64 {
	switch r.Status {
	case pca.AuditReportStatus_CREATING:
		return math.MaxInt64
	case pca.AuditReportStatus_SUCCESS:
		return ms(r.CreatedAt)
	}
	return 0
}

func scanReport(r *rows) *store.AuditReport {
	return &store.AuditReport{
		ID: r.text(0), CA: r.text(1), CAARN: r.text(2), Account: r.text(3), Bucket: r.text(4), Key: r.text(5),
		Format: pca.AuditReportResponseFormat(r.text(6)), Status: pca.AuditReportStatus(r.text(7)), Reason: r.text(8),
		CreatedAt: at(r.int(9)), FinishedAt: at(r.int(10)), TreeSize: uint64(r.int(11)), Interval: time.Duration(r.int(12)) * time.Millisecond,
		Invocation: r.text(13), Rows: uint64(r.int(14)), Revoked: uint64(r.int(15)), Bytes: uint64(r.int(16)), SHA256: r.blob(17), UploadID: r.text(18), Version: r.int(19), Checkpoint: r.blob(21),
	}
}

// insertReport stores a report's record unless the CA's slot is held. It runs
// in the one transaction that writes, so that of two calls one sees the other.
func insertReport(c *conn, ca string, index uint64, r *store.AuditReport) error {
	if err := sameCA(ca, r.CA); err != nil {
		return err
	}
	since := int64(math.MaxInt64 - 1) // no interval: only what is being made holds the slot
	if r.Interval > 0 {
		since = ms(r.CreatedAt.Add(-r.Interval))
	}
	var holder string
	held, err := c.queryRow(func(r *rows) { holder = r.text(0) },
		"SELECT id FROM audit_report WHERE ca = ? AND slot_until > ? AND (created_at <= ? OR status = 'CREATING') ORDER BY slot_until DESC LIMIT 1",
		ca, since, ms(r.CreatedAt.Add(store.ClockSkew)))
	if err != nil {
		return fmt.Errorf("looking at the report slot: %w", err)
	}
	if held {
		return &rowError{&store.ExistsError{Kind: "report slot", Value: holder}}
	}
	r.TreeSize = index + 1
	n, err := c.exec("INSERT INTO audit_report ("+reportColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING", reportValues(r)...)
	if err != nil {
		return fmt.Errorf("inserting report: %w", err)
	}
	if n == 0 {
		return &rowError{&store.ExistsError{Kind: "report", Value: r.ID}}
	}
	return nil
}

// Report gives a report of a CA, or store.ErrNotFound.
func (db *DB) Report(ctx context.Context, ca, id string) (report *store.AuditReport, err error) {
	err = db.one(ctx, func(r *rows) { report = scanReport(r) }, "SELECT "+reportColumns+" FROM audit_report WHERE id = ? AND ca = ?", id, ca)
	if err != nil {
		return nil, fmt.Errorf("reading report %s of CA %s: %w", id, ca, err)
	}
	return report, nil
}

// LastReport gives the newest report of a CA, or store.ErrNotFound.
func (db *DB) LastReport(ctx context.Context, ca string) (*store.AuditReport, error) {
	reports, err := db.Reports(ctx, ca, math.MaxInt64, 1)
	if err != nil {
		return nil, err
	}
	if len(reports) == 0 {
		return nil, fmt.Errorf("reading the last report of CA %s: %w", ca, store.ErrNotFound)
	}
	return reports[0], nil
}

// Reports lists the newest reports of a CA that cover fewer than before entries,
// newest first; math.MaxInt64 is any.
func (db *DB) Reports(ctx context.Context, ca string, before uint64, limit int) (reports []*store.AuditReport, err error) {
	err = db.list(ctx, func(r *rows) { reports = append(reports, scanReport(r)) },
		"SELECT "+reportColumns+" FROM audit_report WHERE ca = ? AND tree_size < ? ORDER BY tree_size DESC LIMIT ?", ca, int64(before), int64(limit))
	if err != nil {
		return nil, fmt.Errorf("listing reports of CA %s: %w", ca, err)
	}
	return reports, nil
}

// PreviousReport gives the newest report of a CA that is SUCCESS, has a
// checkpoint and covers fewer than size entries, or store.ErrNotFound.
func (db *DB) PreviousReport(ctx context.Context, ca string, size uint64) (report *store.AuditReport, err error) {
	err = db.one(ctx, func(r *rows) { report = scanReport(r) },
		"SELECT "+reportColumns+" FROM audit_report WHERE ca = ? AND tree_size < ? AND status = 'SUCCESS' AND checkpoint <> x'' ORDER BY tree_size DESC LIMIT 1", ca, int64(size))
	if err != nil {
		return nil, fmt.Errorf("reading the report of CA %s before entry %d: %w", ca, size, err)
	}
	return report, nil
}

// UnfinishedReports lists the reports of all CAs that are CREATING, oldest
// first; a CA has at most one.
func (db *DB) UnfinishedReports(ctx context.Context) (reports []*store.AuditReport, err error) {
	err = db.list(ctx, func(r *rows) { reports = append(reports, scanReport(r)) },
		"SELECT "+reportColumns+" FROM audit_report WHERE status = 'CREATING' ORDER BY created_at")
	if err != nil {
		return nil, fmt.Errorf("listing unfinished reports: %w", err)
	}
	return reports, nil
}

// UpdateReport stores a changed report if its Version is the one that is
// stored, and counts the Version of r up; otherwise the error wraps
// store.ErrConflict, or store.ErrNotFound.
func (db *DB) UpdateReport(ctx context.Context, r *store.AuditReport) error {
	next := *r
	next.Version++
	err := db.write(ctx, func(c *conn) error {
		return versioned(c, "SELECT 1 FROM audit_report WHERE id = ?", r.ID,
			"UPDATE audit_report SET ("+reportColumns+") = (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ? AND version = ?",
			append(reportValues(&next), r.ID, r.Version)...)
	})
	if err != nil {
		return fmt.Errorf("updating report %s: %w", r.ID, err)
	}
	r.Version++
	return nil
}

// insertAuditKey stores a key of the log's signer; one that is there gives an
// ExistsError.
func insertAuditKey(c *conn, ca string, index uint64, r *store.AuditKey) error {
	if err := sameCA(ca, r.CA); err != nil {
		return err
	}
	r.Index = index
	n, err := c.exec("INSERT INTO audit_key (ca, verifier, idx, key_id, algorithm, endorsement) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (ca, verifier) DO NOTHING",
		ca, r.Verifier, int64(index), r.KeyID, string(r.Algorithm), blob(r.Endorsement))
	if err != nil {
		return fmt.Errorf("inserting audit key: %w", err)
	}
	if n == 0 {
		return exists(c, store.KindAuditKey, "SELECT CAST(idx AS TEXT) FROM audit_key WHERE ca = ? AND verifier = ?", ca, r.Verifier)
	}
	return nil
}

// AuditKeys lists the endorsed keys of a CA's log, oldest first.
func (db *DB) AuditKeys(ctx context.Context, ca string) (keys []store.AuditKey, err error) {
	err = db.list(ctx, func(r *rows) {
		keys = append(keys, store.AuditKey{CA: ca, Verifier: r.text(0), Index: uint64(r.int(1)), KeyID: r.text(2), Algorithm: pca.SigningAlgorithm(r.text(3)), Endorsement: r.blob(4)})
	}, "SELECT verifier, idx, key_id, algorithm, endorsement FROM audit_key WHERE ca = ? ORDER BY idx", ca)
	if err != nil {
		return nil, fmt.Errorf("listing the audit keys of CA %s: %w", ca, err)
	}
	return keys, nil
}

// PutUploadedParts stores parts, each in the place of one with the same number.
func (db *DB) PutUploadedParts(ctx context.Context, parts []store.UploadedPart) error {
	err := db.write(ctx, func(c *conn) error {
		for i := range parts {
			p := &parts[i]
			_, err := c.exec(`INSERT INTO uploaded_part (report, number, lo, hi, total_rows, revoked, size, etag, checksum, sha256) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (report, number) DO UPDATE SET lo = excluded.lo, hi = excluded.hi, total_rows = excluded.total_rows, revoked = excluded.revoked, size = excluded.size, etag = excluded.etag, checksum = excluded.checksum, sha256 = excluded.sha256`,
				p.Report, int64(p.Number), int64(p.Lo), int64(p.Hi), int64(p.Rows), int64(p.Revoked), int64(p.Bytes), p.ETag, p.Checksum, blob(p.SHA256))
			if err != nil {
				return fmt.Errorf("part %d of report %s: %w", p.Number, p.Report, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("storing uploaded parts: %w", err)
	}
	return nil
}

// UploadedParts lists the parts of a report by their number.
func (db *DB) UploadedParts(ctx context.Context, report string) (parts []store.UploadedPart, err error) {
	err = db.list(ctx, func(r *rows) {
		parts = append(parts, store.UploadedPart{
			Report: report, Number: int32(r.int(0)), Lo: uint64(r.int(1)), Hi: uint64(r.int(2)), Rows: uint64(r.int(3)), Revoked: uint64(r.int(4)),
			Bytes: uint64(r.int(5)), ETag: r.text(6), Checksum: r.text(7), SHA256: r.blob(8),
		})
	}, "SELECT number, lo, hi, total_rows, revoked, size, etag, checksum, sha256 FROM uploaded_part WHERE report = ? ORDER BY number", report)
	if err != nil {
		return nil, fmt.Errorf("listing parts of report %s: %w", report, err)
	}
	return parts, nil
}

// DeleteUploadedParts forgets the parts of a report; that there are none is
// no error.
func (db *DB) DeleteUploadedParts(ctx context.Context, report string) error {
	err := db.write(ctx, func(c *conn) error {
		_, err := c.exec("DELETE FROM uploaded_part WHERE report = ?", report)
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting parts of report %s: %w", report, err)
	}
	return nil
}

// PutFailedIssuance keeps why a certificate with that serial was not issued
// though its ARN had been answered, and reserves the call's token, which may be
// nil; a token that is reserved already is a *store.ExistsError.
func (db *DB) PutFailedIssuance(ctx context.Context, ca string, serial []byte, reason string, token *store.Token) error {
	err := db.write(ctx, func(c *conn) error {
		if token != nil {
			if err := insertToken(c, token); err != nil {
				return err
			}
		}
		_, err := c.exec("INSERT INTO failed_issuance (ca, serial, reason) VALUES (?, ?, ?)", ca, serial, reason)
		return err
	})
	if err != nil {
		return fmt.Errorf("storing the failed issuance %x of CA %s: %w", serial, ca, err)
	}
	return nil
}

// FailedIssuance gives the reason, or store.ErrNotFound.
func (db *DB) FailedIssuance(ctx context.Context, ca string, serial []byte) (reason string, err error) {
	err = db.one(ctx, func(r *rows) { reason = r.text(0) }, "SELECT reason FROM failed_issuance WHERE ca = ? AND serial = ?", ca, serial)
	if err != nil {
		return "", fmt.Errorf("reading the failed issuance %x of CA %s: %w", serial, ca, err)
	}
	return reason, nil
}

// formatSetting is the name of the setting that holds the format's number;
// nobody else may set it.
const formatSetting = "format"

// Setting gives the value of a setting, or store.ErrNotFound.
func (db *DB) Setting(ctx context.Context, name string) (value string, err error) {
	err = db.one(ctx, func(r *rows) { value = r.text(0) }, "SELECT value FROM setting WHERE name = ?", name)
	if err != nil {
		return "", fmt.Errorf("reading setting %s: %w", name, err)
	}
	return value, nil
}

// PutSetting stores a setting, in the place of the value it had.
func (db *DB) PutSetting(ctx context.Context, name, value string) error {
	if name == formatSetting {
		return fmt.Errorf("setting %s belongs to the store", name)
	}
	err := db.change(ctx, "INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	if err != nil {
		return fmt.Errorf("storing setting %s: %w", name, err)
	}
	return nil
}
