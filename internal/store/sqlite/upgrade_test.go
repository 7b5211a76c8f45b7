package sqlite

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"chirograph.dev/internal/store"
)

// format1 makes a store as the first version wrote it.
func format1(t *testing.T, statements ...string) (path string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "format1.sql"))
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "chirograph.db")
	c, err := openConn(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := script(c, string(text)+"PRAGMA application_id = 1667787122;\nINSERT INTO setting (name, value) VALUES ('format', '1');\n"); err != nil {
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

// TestUpgrade opens a store of format 1: what was in it is there, and its
// tables are those of a new one.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	path := format1(t, oldCA)
	db := openDB(t, Config{Path: path})
	ca, err := db.CA(t.Context(), "11111111-2222-3333-4444-555555555555")
	if err != nil || ca.Configuration.Subject.CommonName != "old" || len(ca.Tags) != 1 || ca.Version != 7 || ca.Permissions != nil || ca.Policy != "" || !ca.NotAfter.Equal(time.UnixMilli(3000)) {
		t.Fatalf("%+v, %v", ca, err)
	}
	ca.Policy, ca.Permissions = "{}", []store.Permission{{Principal: "acm.amazonaws.com"}}
	if err := db.UpdateCA(t.Context(), ca); err != nil {
		t.Fatal(err)
	}
	upgraded, fresh := tables(t, db), tables(t, openDB(t, Config{Path: newPath(t)}))
	if !reflect.DeepEqual(upgraded, fresh) {
		t.Errorf("upgraded:\n%v\nnew:\n%v", upgraded, fresh)
	}

	// Once is enough.
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = openDB(t, Config{Path: path})
	if again, err := db.CA(t.Context(), ca.ID); err != nil || !reflect.DeepEqual(again, ca) {
		t.Errorf("%+v, %v", again, err)
	}
}

// tables are the columns of all tables, and the indexes.
func tables(t *testing.T, db *DB) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := db.list(t.Context(), func(r *rows) { m[r.text(0)+"."+r.text(1)] = r.text(2) },
		`SELECT m.name, c.name, c.type || ' ' || c."notnull" || ' ' || c.pk FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'
		UNION ALL SELECT 'index', name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
