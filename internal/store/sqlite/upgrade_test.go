package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"chirograph.dev/internal/store"
)

// oldStore makes a store as the version of that format wrote it.
func oldStore(t *testing.T, format string, statements ...string) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "format"+format+".sql"))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "chirograph.db")
	c, err := openConn(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := script(c, string(text)+"PRAGMA application_id = 1667787122;\nINSERT INTO setting (name, value) VALUES ('format', '"+format+"');\n"); err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := c.exec(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	return path
}

const oldCA = `INSERT INTO certificate_authority VALUES ('11111111-2222-3333-4444-555555555555', 'arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11111111-2222-3333-4444-555555555555',
	'123456789012', 'ROOT', 'ACTIVE', '', '{"KeyAlgorithm":"EC_prime256v1","SigningAlgorithm":"SHA256WITHECDSA","Subject":{"CommonName":"old"}}', '{}', '', 'GENERAL_PURPOSE', '[{"Key":"k","Value":"v"}]',
	1000, 2000, 0, x'30', 'key', 'vkey', 1, 3000, 7)`

// oldKeys are access keys of format 1: the first is the administrator's, the
// second another one of the same user, the third has the same ARN and another
// policy, the fourth no user's ARN.
var oldKeys = []string{
	`INSERT INTO access_key VALUES ('AKIAFIRST', x'01', '123456789012', 'arn:aws:iam::123456789012:user/team/admin', 'AIDAFIRST', '', '{"a":1}', 1000)`,
	`INSERT INTO access_key VALUES ('AKIASECOND', x'02', '123456789012', 'arn:aws:iam::123456789012:user/team/admin', 'AIDAFIRST', '', '{"a":1}', 2000)`,
	`INSERT INTO access_key VALUES ('AKIATHIRD', x'03', '123456789012', 'arn:aws:iam::123456789012:user/team/admin', 'AIDAFIRST', '', '{"a":2}', 3000)`,
	`INSERT INTO access_key VALUES ('AKIAOTHER', x'04', '210987654321', 'arn:aws:iam::210987654321:root', '', '', '{"a":3}', 4000)`,
	`INSERT INTO access_key VALUES ('AKIASERVICE', x'05', '123456789012', '', '', 'acm.amazonaws.com', '{"a":4}', 5000)`,
}

func testUpgradedKeys(t *testing.T, db *DB) {
	t.Helper()
	for id, want := range map[string]struct{ user, path, policy string }{
		"AKIAFIRST":  {"admin", "/team/", `{"a":1}`},
		"AKIASECOND": {"admin", "/team/", `{"a":1}`},
		"AKIATHIRD":  {"AKIATHIRD", "/team/", `{"a":2}`},
		"AKIAOTHER":  {"AKIAOTHER", "/", `{"a":3}`},
	} {
		k, err := db.AccessKey(t.Context(), id)
		if err != nil || !k.Active || len(k.SealedSecret) != 1 {
			t.Fatalf("%+v, %v", k, err)
		}
		u, err := db.IdentityByID(t.Context(), k.User)
		if err != nil || u.Name != want.user || u.Path != want.path || u.Account != k.Account || len(u.Inline) != 1 || u.Inline[0].Document != want.policy {
			t.Errorf("%s: %+v, %v", id, u, err)
		}
		if id == "AKIAFIRST" && u.ID != "AIDAFIRST" {
			t.Errorf("the user got another id: %s", u.ID)
		}
	}
	if k, err := db.AccessKey(t.Context(), "AKIASERVICE"); err != nil || k.Service != "acm.amazonaws.com" || k.User != "" {
		t.Errorf("%+v, %v", k, err)
	}
	if name, err := db.Setting(t.Context(), administratorSetting); err != nil || name != "AKIAFIRST" {
		t.Errorf("%s, %v", name, err)
	}
	if accounts, err := db.Accounts(t.Context()); err != nil || len(accounts) != 2 || accounts[0].ID != "123456789012" || accounts[0].Status != "ACTIVE" {
		t.Errorf("%+v, %v", accounts, err)
	}
}

// TestUpgrade opens a store of format 1: what was in it is there, and its
// tables are those of a new one.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	path := oldStore(t, "1", append(oldKeys, oldCA)...)
	db := openDB(t, Config{Path: path})
	ca, err := db.CA(t.Context(), "11111111-2222-3333-4444-555555555555")
	if err != nil || ca.Configuration.Subject.CommonName != "old" || len(ca.Tags) != 1 || ca.Version != 7 || ca.Permissions != nil || ca.Policy != "" || !ca.NotAfter.Equal(time.UnixMilli(3000)) {
		t.Fatalf("%+v, %v", ca, err)
	}
	ca.Policy, ca.Permissions = "{}", []store.Permission{{Principal: "acm.amazonaws.com"}}
	if err := db.UpdateCA(t.Context(), ca); err != nil {
		t.Fatal(err)
	}
	testUpgradedKeys(t, db)
	sameTables(t, db)

	// Once is enough.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, Config{Path: path})
	if again, err := db.CA(t.Context(), ca.ID); err != nil || !reflect.DeepEqual(again, ca) {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestUpgradeFormat2 opens a store of format 2 with a report.
func TestUpgradeFormat2(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{Path: oldStore(t, "2",
		"INSERT INTO audit_report VALUES ('r', 'ca', 'arn', '123456789012', 'b', 'k', 'JSON', 'CREATING', '', 1000, 0, 7, 0, '', 0, 0, 0, x'', '', 3, 9223372036854775807)")})
	r, err := db.Report(t.Context(), "ca", "r")
	if err != nil || r.TreeSize != 7 || r.Checkpoint != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	r.Checkpoint = []byte("head")
	if err := db.UpdateReport(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if again, err := db.Report(t.Context(), "ca", "r"); err != nil || !reflect.DeepEqual(again, r) {
		t.Errorf("%+v, %v", again, err)
	}
	sameTables(t, db)
}

// TestUpgradeFormat3 opens a store of format 3; its CAs have no segments yet, and
// packs and certificates are where they were.
func TestUpgradeFormat3(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{Path: oldStore(t, "3", "INSERT INTO setting VALUES ('region', 'eu-west-1')",
		"INSERT INTO log_pack VALUES ('ca', 0, x'01'), ('ca', 1, x'02'), ('other', 0, x'03')",
		"INSERT INTO der_pack VALUES ('ca', 0, x'04'), ('ca', 64, x'05')",
		"INSERT INTO certificate_der VALUES ('ca', 32768, x'06'), ('ca', 32769, x'07')")})
	var packed []string
	err := db.list(t.Context(), func(r *rows) { packed = append(packed, fmt.Sprint(r.text(0), r.int(1), r.blob(2))) },
		"SELECT ca, block, bytes FROM log_pack UNION ALL SELECT ca, first, bytes FROM der_pack UNION ALL SELECT ca, idx, der FROM certificate_der ORDER BY bytes")
	if want := []string{"ca0 [1]", "ca1 [2]", "other0 [3]", "ca0 [4]", "ca64 [5]", "ca32768 [6]", "ca32769 [7]"}; err != nil || !slices.Equal(packed, want) {
		t.Errorf("%v, %v", packed, err)
	}
	if region, err := db.Setting(t.Context(), "region"); err != nil || region != "eu-west-1" {
		t.Errorf("%s, %v", region, err)
	}
	if sets, err := db.SegmentSets(t.Context()); err != nil || len(sets) != 0 {
		t.Errorf("%+v, %v", sets, err)
	}
	sameTables(t, db)
}

// TestUpgradeFormat4 opens a store of format 4 with revocations, which lists have
// from then on.
func TestUpgradeFormat4(t *testing.T) {
	t.Parallel()
	db := openDB(t, Config{Path: oldStore(t, "4",
		"INSERT INTO certificate VALUES ('a', x'07', 1, 1, 7000), ('a', x'08', 2, 1, 8000), ('a', x'06', 3, 1, 6000), ('b', x'09', 1, 1, 9000)",
		"INSERT INTO revocation VALUES ('a', 1, 5, 1000, 4), ('a', 3, 4, 2000, 0), ('b', 1, 2, 3000, 1)")})
	for ca, want := range map[string][]store.Revoked{
		"a": {{Serial: []byte{7}, NotAfter: 7000, Time: 1000, Reason: 4, RevokeIndex: 5}, {Serial: []byte{6}, NotAfter: 6000, Time: 2000, RevokeIndex: 4}},
		"b": {{Serial: []byte{9}, NotAfter: 9000, Time: 3000, Reason: 1, RevokeIndex: 2}},
		"c": nil,
	} {
		var got []store.Revoked
		err := db.Revoked(t.Context(), ca, 0, 0, 10, func(r *store.Revoked) error {
			got = append(got, *r)
			return nil
		})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", ca, got, err)
		}
	}
	if c, v, err := db.CertificateStatus(t.Context(), "a", []byte{8}); err != nil || c.CRL != 0 || v != nil {
		t.Errorf("%+v, %+v, %v", c, v, err)
	}
	sameTables(t, db)
}

// sameTables compares an upgraded store with a new one.
func sameTables(t *testing.T, db *DB) {
	t.Helper()
	upgraded, fresh := tables(t, db), tables(t, openDB(t, Config{Path: newPath(t)}))
	for name, want := range fresh {
		if got := upgraded[name]; got != want {
			t.Errorf("%s of an upgraded store is %q, of a new one %q", name, got, want)
		}
		delete(upgraded, name)
	}
	if len(upgraded) > 0 {
		t.Errorf("an upgraded store also has %v", upgraded)
	}
}

// tables are the columns of all tables, and the indexes.
func tables(t *testing.T, db *DB) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := db.list(t.Context(), func(r *rows) { m[r.text(0)+"."+r.text(1)] = r.text(2) },
		`SELECT m.name, c.name, c.type || ' ' || c."notnull" || ' ' || c.pk FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'
		UNION ALL SELECT 'clustered', name, wr FROM pragma_table_list WHERE schema = 'main'
		UNION ALL SELECT 'index', name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
