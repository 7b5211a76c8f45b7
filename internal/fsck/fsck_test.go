package fsck_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/fsck"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

const (
	small = "00000001-1111-4111-8111-111111111111" // a log that has no pack
	large = "00000002-1111-4111-8111-111111111111" // one that has
	begin = int64(1_790_000_000_000)
)

// origin is a store to copy and damage.
type origin struct {
	dir    string
	master keystore.MasterKey
}

// newOriginOf makes one CA for each number of entries.
func newOriginOf(t *testing.T, entries ...int) *origin {
	t.Helper()
	o := &origin{dir: t.TempDir()}
	var err error
	if o.master, err = keystore.CreateMasterKey(filepath.Join(o.dir, "master.key")); err != nil {
		t.Fatal(err)
	}
	keys, err := keystore.Open(keystore.Config{Dir: filepath.Join(o.dir, "keys"), MasterKey: o.master})
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(o.dir, "chirograph.db")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Generate(t.Context(), "other", "EC_prime256v1"); err != nil {
		t.Fatal(err)
	}
	for i, n := range entries {
		fill(t, db, keys, []string{small, large}[i], n)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

func serial(i int) []byte { return binary.BigEndian.AppendUint64([]byte{1}, uint64(i)) }

// expires is when a certificate does: long ago, or not soon.
func expires(i int) time.Time {
	if i == 10 {
		return time.UnixMilli(begin).AddDate(-9, 0, 0)
	}
	return time.UnixMilli(begin).AddDate(70, 0, i)
}

// revoked gives an SQL literal of what the lists have of the certificate that
// entry 40 revoked.
func revoked(change func(r *store.Revoked)) string {
	r := store.Revoked{Serial: serial(30), NotAfter: expires(30).UnixMilli(), Time: begin + 40, Reason: 4, RevokeIndex: 40}
	change(&r)
	var b []byte
	for _, v := range []uint64{r.RevokeIndex, uint64(r.CRL), uint64(r.NotAfter), uint64(r.Time), uint64(r.Reason)} {
		b = binary.AppendUvarint(b, v)
	}
	return fmt.Sprintf("x'%x'", append(b, r.Serial...))
}

// fill makes a CA whose log has n entries: every 20th revokes the certificate
// ten entries before it, and the 19th is a report.
func fill(t *testing.T, db *sqlite.DB, keys *keystore.Store, ca string, n int) {
	t.Helper()
	ctx := t.Context()
	signer, err := keys.Generate(ctx, ca, "EC_prime256v1")
	if err != nil {
		t.Fatal(err)
	}
	auditSigner, err := keys.Generate(ctx, ca+"-audit", "ED25519")
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(signer.Public())
	if err != nil {
		t.Fatal(err)
	}
	name := "test/audit/" + ca
	vkey, err := note.NewEd25519VerifierKey(name, auditSigner.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	rec := &store.CertificateAuthority{ID: ca, ARN: "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/" + ca, Account: "123456789012",
		Status: pca.CertificateAuthorityStatus_ACTIVE, KeyID: ca, AuditKey: vkey, CreatedAt: time.UnixMilli(begin)}
	if err := db.CreateCA(ctx, rec, nil); err != nil {
		t.Fatal(err)
	}
	records := make([]certlog.Record, n)
	for i := range records {
		e, rows := certlog.Entry{Time: begin + int64(i)}, []certlog.Row(nil)
		switch {
		case i == 0:
			e.Type, e.Digest, e.Label, e.Extra = certlog.TypeGenesis, sha256.Sum256(spki), []byte(name), []byte(vkey)
		case i == 1:
			e.Type, e.Label, e.Extra = certlog.TypeSign, []byte(certlog.LabelEndorsement), []byte(certlog.FormatEndorsement("SHA256WITHECDSA", []byte("signature")))
			rows = append(rows, &store.AuditKey{CA: ca, Verifier: vkey, KeyID: ca + "-audit", Algorithm: "SHA256WITHECDSA", Endorsement: []byte("signature")})
		case i%20 == 19 && i < 60:
			id := fmt.Sprintf("%08d-0000-4000-8000-%s%s", i, ca[:8], ca[32:])
			e.Type, e.Label, e.Extra = certlog.TypeReport, []byte(id), []byte("JSON")
			rows = append(rows, &store.AuditReport{ID: id, CA: ca, CAARN: rec.ARN, Account: rec.Account, Bucket: "b", Key: "k" + id, Format: "JSON", Status: "FAILED", CreatedAt: time.UnixMilli(e.Time)})
		case i%20 == 0:
			e.Type, e.Serial, e.IssueIndex, e.Reason = certlog.TypeRevoke, serial(i-10), uint64(i-10), 4
			rows = append(rows, &store.Revocation{CA: ca, IssueIndex: e.IssueIndex, Time: e.Time, Reason: e.Reason, Serial: e.Serial, NotAfter: expires(i - 10)})
		default:
			der := fmt.Appendf(nil, "certificate %d of %s", i, ca)
			e.Type, e.Serial, e.CertSHA256, e.NotAfter, e.Account = certlog.TypeIssue, serial(i), sha256.Sum256(der), expires(i).Unix(), []byte(rec.Account)
			rows = append(rows, &store.Certificate{CA: ca, Serial: e.Serial, Generation: 1, NotAfter: expires(i), DER: der})
		}
		b, err := e.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		records[i] = certlog.Record{Entry: b, Rows: rows}
	}
	for chunk := range slices.Chunk(records, certlog.BlockSize) {
		if _, err := db.SeedBlock(ctx, ca, chunk); err != nil {
			t.Fatal(err)
		}
	}
}

// copyTo copies the folder, so that a test has one to damage.
func (o *origin) copyTo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(o.dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "master.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (o *origin) check(t *testing.T, dir, ca string, quick bool) *fsck.Result {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "chirograph.db"), ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	keys, err := keystore.Open(keystore.Config{Dir: filepath.Join(dir, "keys"), MasterKey: o.master, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	r, err := fsck.Run(t.Context(), fsck.Config{Log: db, Rows: db, Records: db, Lists: db, Keys: keys, CA: ca, Quick: quick})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestCheck(t *testing.T) {
	t.Parallel()
	// Most tests damage the first, which is small: SQLite checks all of the file.
	origins := map[string]*origin{small: newOriginOf(t, 400), large: newOriginOf(t, 400, certlog.BlockSize+100)}
	t.Run("forgotten", func(t *testing.T) { // a certificate that expired, by lists alone
		t.Parallel()
		dir := origins[small].copyTo(t)
		damage(t, filepath.Join(dir, "chirograph.db"), "DELETE FROM crl_entry WHERE revoke_idx = 20")
		if r := origins[small].check(t, dir, small, false); len(r.Findings) != 0 {
			t.Errorf("%+v", r.Findings)
		}
	})
	t.Run("clean", func(t *testing.T) {
		t.Parallel()
		o := origins[large]
		r := o.check(t, o.copyTo(t), "", false)
		if len(r.Findings) != 0 || r.CAs != 2 || r.Entries != 400+certlog.BlockSize+100 || r.Reports != 6 || r.Revocations != 19+824 {
			t.Errorf("%+v", r)
		}
		if r := o.check(t, o.copyTo(t), "", true); len(r.Findings) != 0 {
			t.Errorf("quick: %+v", r)
		}
	})
	const in = " WHERE ca = '" + small + "' AND "
	const pack = " WHERE ca = '" + large + "'"
	for _, c := range []struct {
		name, sql string
		ca        string
		class     string
		index     int // of the entry that the finding names; -1 for none
		words     string
		quick     bool // the quick check finds it, too
	}{
		{"head back", "UPDATE log_head SET size = 399" + in + "1", small, fsck.ClassHead, -1, "need", true},
		{"head gone", "DELETE FROM log_head" + in + "1", small, fsck.ClassHead, -1, "no head", true},
		{"root", "UPDATE log_head SET root = zeroblob(32)" + in + "1", small, fsck.ClassHead, -1, "root", true},
		{"head time", "UPDATE log_head SET time = time + 1000000" + in + "1", small, fsck.ClassHead, -1, "time", false},
		{"tail cut", "DELETE FROM log_entry" + in + "idx >= 390", small, fsck.ClassEntry, -1, "10 of the 400", true},
		{"entry gone", "DELETE FROM log_entry" + in + "idx = 300", small, fsck.ClassEntry, 300, "300", true},
		{"entry added", "INSERT INTO log_entry SELECT ca, 400, bytes FROM log_entry" + in + "idx = 5", small, fsck.ClassEntry, -1, "up to 400", true},
		{"old entry", "UPDATE log_entry SET bytes = (SELECT bytes FROM log_entry" + in + "idx = 5)" + in + "idx = 6", small, fsck.ClassEntry, 0, "0 to 255", true},
		{"new entry", "UPDATE log_entry SET bytes = (SELECT bytes FROM log_entry" + in + "idx = 5)" + in + "idx = 399", small, fsck.ClassHead, -1, "root", true},
		{"malformed", "UPDATE log_entry SET bytes = x'0109'" + in + "idx = 7", small, fsck.ClassEntry, 7, "malformed", true},
		{"genesis", "UPDATE log_entry SET bytes = (SELECT bytes FROM log_entry" + in + "idx = 5)" + in + "idx = 0", small, fsck.ClassEntry, 0, "genesis", true},
		{"node", "UPDATE log_node SET hash = zeroblob(32)" + in + "n = 0", small, fsck.ClassEntry, 0, "0 to 255", true},
		{"node gone", "DELETE FROM log_node" + in + "n = 0", small, fsck.ClassNode, -1, "node 0", true},
		{"node added", "INSERT INTO log_node SELECT ca, level, 1, hash FROM log_node" + in + "n = 0", small, fsck.ClassNode, -1, "beyond", true},
		{"pack gone", "DELETE FROM log_pack" + pack, large, fsck.ClassEntry, -1, "16384 of the 16484", true},
		{"pack damaged", "UPDATE log_pack SET bytes = substr(bytes, 1, 5000)" + pack, large, fsck.ClassEntry, 0, "damaged", true},
		{"upper node", "UPDATE log_node SET hash = zeroblob(32)" + pack + " AND n = 3", large, fsck.ClassEntry, 3 * 256, "768 to 1023", true},
		{"certificate packs", "DELETE FROM der_pack" + pack + " AND first = 640", large, fsck.ClassCertificate, 641, "missing", false},
		{"row gone", "DELETE FROM certificate" + in + "idx = 33", small, fsck.ClassCertificate, 33, "row of the certificate", false},
		{"row added", "INSERT INTO certificate VALUES ('" + small + "', x'7f', 34, 1, 0, 0)", small, fsck.ClassCertificate, 34, "7f", false},
		{"row moved", "UPDATE certificate SET serial = x'7e'" + in + "idx = 35", small, fsck.ClassCertificate, 35, "names 7e", false},
		{"row beyond", "UPDATE certificate SET idx = 4000" + in + "idx = 35", small, fsck.ClassCertificate, 4000, "400 entries", false},
		{"DER gone", "DELETE FROM certificate_der" + in + "idx = 36", small, fsck.ClassCertificate, 36, "missing", false},
		{"DER changed", "UPDATE certificate_der SET der = x'3000'" + in + "idx = 37", small, fsck.ClassCertificate, 37, "SHA-256", false},
		{"DER added", "INSERT INTO certificate_der VALUES ('" + small + "', 40, x'3000')", small, fsck.ClassCertificate, 40, "issued none", false},
		{"revocation gone", "DELETE FROM revocation" + in + "issue_idx = 30", small, fsck.ClassRevocation, 40, "no row", false},
		{"revocation added", "INSERT INTO revocation VALUES ('" + small + "', 31, 33, 1, 1)", small, fsck.ClassRevocation, 31, "did not revoke", false},
		{"reason", "UPDATE revocation SET reason = 1" + in + "issue_idx = 30", small, fsck.ClassRevocation, 40, "reason 4", false},
		{"revocation time", "UPDATE revocation SET time = 1" + in + "issue_idx = 30", small, fsck.ClassRevocation, 40, "says at 1", false},
		{"expiry", "UPDATE certificate SET not_after = not_after - 1000" + in + "idx = 33", small, fsck.ClassCertificate, 33, "the row says until", false},
		{"OCSP good", "DELETE FROM revocation" + in + "issue_idx = 30", small, fsck.ClassOCSP, 40, "OCSP would not say", false},
		{"OCSP reason", "UPDATE revocation SET reason = 1" + in + "issue_idx = 30", small, fsck.ClassOCSP, 40, "would say", false},
		{"CRLs lack", "DELETE FROM crl_entry" + in + "revoke_idx = 40", small, fsck.ClassCRLEntry, 40, "would not list it", false},
		{"CRLs have", "INSERT INTO crl_entry VALUES ('" + small + "', 41, 0, " + revoked(func(r *store.Revoked) { r.RevokeIndex = 41 }) + ")", small, fsck.ClassCRLEntry, 41, "did not revoke", false},
		{"CRLs beyond", "INSERT INTO crl_entry VALUES ('" + small + "', 4000, 0, " + revoked(func(r *store.Revoked) { r.RevokeIndex = 4000 }) + ")", small, fsck.ClassCRLEntry, 4000, "400 entries", false},
		{"CRLs malformed", "UPDATE crl_entry SET bytes = x'80'" + in + "revoke_idx = 40", small, fsck.ClassCRLEntry, -1, "not readable", false},
		{"CRLs reason", "UPDATE crl_entry SET bytes = " + revoked(func(r *store.Revoked) { r.Reason = 1 }) + in + "revoke_idx = 40", small, fsck.ClassCRLEntry, 40, "for reason 1", false},
		{"CRLs time", "UPDATE crl_entry SET bytes = " + revoked(func(r *store.Revoked) { r.Time-- }) + in + "revoke_idx = 40", small, fsck.ClassCRLEntry, 40, "would say at", false},
		{"CRLs serial", "UPDATE crl_entry SET bytes = " + revoked(func(r *store.Revoked) { r.Serial = []byte{0x7f} }) + in + "revoke_idx = 40", small, fsck.ClassCRLEntry, 40, "7f in its place", false},
		{"CRLs expiry", "UPDATE crl_entry SET bytes = " + revoked(func(r *store.Revoked) { r.NotAfter = 0 }) + in + "revoke_idx = 40", small, fsck.ClassCRLEntry, 40, "leave it out", false},
		{"CRLs list", "UPDATE crl_entry SET bytes = " + revoked(func(r *store.Revoked) { r.CRL = 3 }) + in + "revoke_idx = 40", small, fsck.ClassCRLEntry, 40, "the list 3", false},
		{"responder added", "INSERT INTO responder VALUES ('" + small + "', 33, x'7f', 1, 'k', 0, 5000000000000)", small, fsck.ClassOCSP, 33, "was not", false},
		{"responder's key", "INSERT INTO responder SELECT ca, idx, serial, 1, 'none', 0, not_after FROM certificate" + in + "idx = 33", small, fsck.ClassOCSP, 33, "no such key", false},
		{"report gone", "DELETE FROM audit_report" + in + "tree_size = 20", small, fsck.ClassReport, 19, "no record", false},
		{"report added", "UPDATE audit_report SET tree_size = 11" + in + "tree_size = 20", small, fsck.ClassReport, 10, "was not", false},
		{"report format", "UPDATE audit_report SET format = 'CSV'" + in + "tree_size = 20", small, fsck.ClassReport, 19, "CSV", false},
		{"audit key", "UPDATE certificate_authority SET audit_key = 'x' WHERE id = '" + small + "'", small, fsck.ClassAuditKey, 0, "genesis names", false},
		{"endorsement", "UPDATE audit_key SET endorsement = x'00'" + in + "1", small, fsck.ClassAuditKey, 1, "endorsement", false},
		{"endorsement gone", "DELETE FROM audit_key" + in + "1", small, fsck.ClassAuditKey, 1, "no record", false},
		{"no record", "DELETE FROM certificate_authority WHERE id = '" + small + "'", small, fsck.ClassRecord, -1, "no record", true},
		{"other key", "UPDATE certificate_authority SET key_id = 'other' WHERE id = '" + small + "'", small, fsck.ClassKey, -1, "is not the one", false},
		{"no key", "UPDATE certificate_authority SET key_id = 'none' WHERE id = '" + small + "'", small, fsck.ClassKey, -1, "no such key", false},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			o := origins[c.ca]
			dir := o.copyTo(t)
			damage(t, filepath.Join(dir, "chirograph.db"), c.sql)
			named := func(f fsck.Finding) bool {
				return f.CA == c.ca && f.Class == c.class && (f.Index == nil) == (c.index < 0) && (f.Index == nil || *f.Index == uint64(c.index)) &&
					strings.Contains(f.Words, c.words) && f.Advice != ""
			}
			r := o.check(t, dir, c.ca, false)
			if !slices.ContainsFunc(r.Findings, named) {
				t.Errorf("not named: %v", r.Findings)
			}
			if !c.quick {
				return
			}
			r = o.check(t, dir, c.ca, true)
			if !errors.Is(r.Refusals()[c.ca], certlog.ErrHead) {
				t.Errorf("the quick check found %v", r.Findings)
			}
		})
	}
}

func damage(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	res, err := db.ExecContext(t.Context(), statement)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		t.Fatalf("%d rows changed, %v", n, err)
	}
}

// TestDatabaseFile overwrites a page behind those of the schema.
func TestDatabaseFile(t *testing.T) {
	t.Parallel()
	o := newOriginOf(t, 400)
	path := filepath.Join(o.dir, "chirograph.db")
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 4096), info.Size()*3/4/4096*4096); err != nil {
		t.Fatal(err)
	}
	r := o.check(t, o.dir, "", false)
	if len(r.Findings) == 0 {
		t.Error("nothing found")
	}
}

type noKeys struct{}

func (noKeys) Signer(context.Context, string) (crypto.Signer, error) {
	return nil, keystore.ErrNotFound
}

// TestBudget: logs beyond the budget have their last blocks and their edge checked alone.
func TestBudget(t *testing.T) {
	t.Parallel()
	o := newOriginOf(t, 400)
	damage(t, filepath.Join(o.dir, "chirograph.db"), "UPDATE log_entry SET bytes = x'0109' WHERE idx = 20")
	testBudgets(t, o, map[uint64]int{0: 2, 400: 2, 399: 0})
}

// TestBudgetOfBlocks: of what a start reads, the last block comes first.
func TestBudgetOfBlocks(t *testing.T) {
	t.Parallel()
	o := newOriginOf(t, certlog.BlockSize+400)
	damage(t, filepath.Join(o.dir, "chirograph.db"), "UPDATE log_entry SET bytes = x'0109' WHERE idx = 16404")
	testBudgets(t, o, map[uint64]int{0: 2, certlog.BlockSize + 400: 2, certlog.BlockSize: 2, 399: 0})
}

func testBudgets(t *testing.T, o *origin, budgets map[uint64]int) {
	t.Helper()
	for budget, want := range budgets {
		db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(o.dir, "chirograph.db"), ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		r, err := fsck.Run(t.Context(), fsck.Config{Log: db, Rows: db, Records: db, Keys: noKeys{}, Quick: true, Budget: budget})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if len(r.Findings) != want {
			t.Errorf("budget %d: %v", budget, r.Findings)
		}
	}
}
