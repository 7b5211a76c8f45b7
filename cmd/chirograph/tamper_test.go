package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/pem"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
)

const tamperBucket = "tampered-reports"

// tampered is a server whose reports somebody tampers with, and what an auditor
// has of it: the CA's certificate, and copies of what the bucket held.
type tampered struct {
	*instance
	ca     authority
	caCert []byte // DER
}

// TestTamperedReports tampers with the bucket and with the store of a real server, as
// an attacker who has the one, the other, or both, and the audit key beside;
// each time an auditor who verifies what the bucket holds is told so.
func TestTamperedReports(t *testing.T) {
	t.Parallel()
	s := &tampered{instance: start(t, nil)}
	s.ca = s.root(t)
	cert := must(s.pca.GetCertificateAuthorityCertificate(t.Context(), &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &s.ca.arn}))(t)
	block, _ := pem.Decode([]byte(*cert.Certificate))
	s.caCert = block.Bytes
	s.bucket(t, tamperBucket, true)

	csr := newCSR(t, newKey(t), "device.example.com")
	issue := func() string { return must(s.ca.issue(t.Context(), csr, nil))(t) }
	revoked, kept := issue(), issue()
	issue()
	if err := s.ca.revoke(t, serialOf(revoked), types.RevocationReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	first, _ := s.ca.report(t, tamperBucket, types.AuditReportResponseFormatJson)
	young := copyData(t, s.DataDir) // while the server runs: as a backup that was taken at the wrong time
	last := issue()
	second, _ := s.ca.report(t, tamperBucket, types.AuditReportResponseFormatJson)
	csv, _ := s.ca.report(t, tamperBucket, types.AuditReportResponseFormatCsv)

	honest := s.sync(t)
	for _, key := range []string{first, second, csv} {
		s.wantExit(t, honest, key, 3)
	}
	known := [][]byte{honest[first+proof.ManifestSuffix]}
	s.wantExit(t, honest, second, 0, known...)
	s.wantExit(t, honest, csv, 0, known[0], honest[second+proof.ManifestSuffix])

	t.Run("bucket", func(t *testing.T) { s.bucketAttacks(t, honest, first, second, csv) })

	// From here on the attacker has the server's disk. The newest checkpoint goes
	// first, since a server that is behind it takes no entries.
	checkpoint := beside(second, "log/"+proof.CheckpointName)
	whole := copyData(t, s.DataDir)
	s.delete(t, checkpoint)
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	known = [][]byte{honest[second+proof.ManifestSuffix]}
	t.Run("store", func(t *testing.T) { s.storeAttacks(t, known, revoked, kept, last) })
	t.Run("rollback", func(t *testing.T) {
		t.Parallel()
		// The young store with the bucket of today: the server sees it.
		db := filepath.Join(whole, "chirograph.db")
		for _, end := range []string{"", "-wal", "-shm"} {
			if err := os.RemoveAll(db + end); err != nil {
				t.Fatal(err)
			}
		}
		copyFiles(t, young, whole, func(name string) bool { return strings.HasPrefix(name, "chirograph.db") })
		behind := s.on(t, whole)
		behind.wantNoReport(t)
	})
	t.Run("rollback of both", func(t *testing.T) {
		t.Parallel()
		// Store and bucket of yesterday: the server cannot know, the auditor does.
		behind := s.on(t, young)
		behind.delete(t, checkpoint)
		again, _ := behind.ca.report(t, tamperBucket, types.AuditReportResponseFormatJson)
		files := behind.sync(t)
		s.wantExit(t, files, again, 3)
		s.wantClass(t, files, again, proof.Consistency, proof.ClassRollback, known...)
	})
}

// on starts a server on a data folder.
func (s *tampered) on(t *testing.T, dir string) *tampered {
	t.Helper()
	i := start(t, func(c *serveConfig) { c.DataDir = dir })
	return &tampered{instance: i, ca: authority{i, s.ca.arn, s.ca.in}, caCert: s.caCert}
}

// bucketAttacks has somebody who may change every object of the bucket.
func (s *tampered) bucketAttacks(t *testing.T, honest map[string][]byte, first, second, csv string) {
	other := s.root(t)
	foreign, _ := other.report(t, tamperBucket, types.AuditReportResponseFormatJson)
	files := s.sync(t)
	var pack, foreignPack string
	for key := range files {
		switch {
		case strings.Contains(key, "/log/entries/") && strings.HasPrefix(key, beside(foreign, "")):
			foreignPack = key
		case strings.Contains(key, "/log/entries/") && key > pack:
			pack = key // the longest
		}
	}
	m := proof.ManifestSuffix
	edit := func(key, old, new string) map[string][]byte {
		t.Helper()
		changed := bytes.Replace(files[key], []byte(old), []byte(new), 1)
		if bytes.Equal(changed, files[key]) {
			t.Fatalf("%s has no %q", key, old)
		}
		return map[string][]byte{key: changed}
	}
	lines := bytes.SplitAfter(files[second], []byte("\n"))
	for _, tt := range []struct {
		name    string
		puts    map[string][]byte // nil: removed
		report  string
		verdict string
		class   string
	}{
		{"a row is removed", map[string][]byte{second: bytes.Join(append(lines[:2:2], lines[3:]...), nil)}, second, proof.Integrity, proof.ClassReportBytes},
		{"a subject is changed", edit(second, "device.example", "server.example"), second, proof.Integrity, proof.ClassReportBytes},
		{"a reason is changed", edit(csv, "KEY_COMPROMISE", "SUPERSEDED"), csv, proof.Integrity, proof.ClassReportBytes},
		{"a report is cut", map[string][]byte{csv: files[csv][:len(files[csv])-1]}, csv, proof.Integrity, proof.ClassReportBytes},
		{"a report is emptied", map[string][]byte{second: []byte("[\n]\n")}, second, proof.Integrity, proof.ClassReportBytes},
		{"an older report takes its place", map[string][]byte{second: files[first]}, second, proof.Integrity, proof.ClassReportBytes},
		{"an older report and its manifest", map[string][]byte{second: files[first], second + m: files[first+m]}, second, proof.Freshness, proof.ClassManifest},
		{"a report of another CA and its manifest", map[string][]byte{second: files[foreign], second + m: files[foreign+m]}, second, proof.Authenticity, proof.ClassAuditKey},
		{"a manifest is removed", map[string][]byte{second + m: nil}, second, proof.Integrity, proof.ClassManifestMissing},
		{"a manifest is edited", edit(second+m, "rows 5 1", "rows 5 0"), second, proof.Integrity, proof.ClassManifestSignature},
		{"a manifest of another report", map[string][]byte{second + m: files[csv+m]}, second, proof.Integrity, proof.ClassReportBytes},
		{"the packs are removed", nil, second, proof.Completeness, proof.ClassLogMissing},
		{"a pack of another CA", map[string][]byte{pack: files[foreignPack]}, second, proof.Completeness, proof.ClassLogEntries},
		{"a pack is cut", map[string][]byte{pack: files[pack][:len(files[pack])-9]}, second, proof.Completeness, proof.ClassLogEntries},
		{"a pack is changed", map[string][]byte{pack: append(files[pack][:40:40], append([]byte{files[pack][40] ^ 1}, files[pack][41:]...)...)}, second, proof.Completeness, proof.ClassLogEntries},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.name == "the packs are removed" {
				tt.puts = map[string][]byte{}
				for key := range files {
					if strings.HasPrefix(key, beside(second, "log/entries/")) {
						tt.puts[key] = nil
					}
				}
			}
			for key, body := range tt.puts {
				if body == nil {
					s.delete(t, key)
				} else {
					s.put(t, key, body)
				}
			}
			// The auditor has verified the report before, or the one after it.
			s.wantClass(t, s.sync(t), tt.report, tt.verdict, tt.class, honest[csv+m])
			for key := range tt.puts {
				s.put(t, key, files[key])
			}
		})
	}
	s.wantExit(t, s.sync(t), csv, 0, honest[first+m], honest[second+m])
}

// storeAttacks has somebody who changes the database. The server then reports
// what it finds, or finds out itself.
func (s *tampered) storeAttacks(t *testing.T, known [][]byte, revoked, kept, last string) {
	ca := serialOf(s.ca.arn)
	subject := func(t *testing.T, l *storedLog) {
		l.change(t, l.issued(t, last), func(e *certlog.Entry) { e.Subject = []byte("CN=somebody.example.com") })
	}
	for _, tt := range []struct {
		name    string
		running bool // the server runs meanwhile
		packs   bool // the packs in the bucket are removed too
		attack  func(t *testing.T, l *storedLog)
		alone   int // exit of an auditor who knows nothing earlier
		verdict string
		class   string // for one who does; empty: the server makes no report
	}{
		{"a subject", false, true, subject, 0, "", ""},
		{"a subject, under a running server", true, true, subject, 0, "", ""},
		{"a time, under a running server", true, true, func(t *testing.T, l *storedLog) {
			l.change(t, l.issued(t, kept), func(e *certlog.Entry) { e.Time -= 1000 })
		}, 0, "", ""},
		{"a revocation is removed", false, false, func(t *testing.T, l *storedLog) {
			l.exec(t, "DELETE FROM revocation WHERE ca = ?", ca)
		}, 1, proof.Completeness, proof.ClassReportDiffers},
		{"a revocation has another reason", false, false, func(t *testing.T, l *storedLog) {
			l.exec(t, "UPDATE revocation SET reason = 4 WHERE ca = ?", ca)
		}, 1, proof.Completeness, proof.ClassReportDiffers},
		{"a revocation is moved", false, false, func(t *testing.T, l *storedLog) {
			l.exec(t, "UPDATE revocation SET issue_idx = ? WHERE ca = ?", l.issued(t, kept), ca)
		}, 1, proof.Completeness, proof.ClassReportDiffers},
		{"a row is deleted", false, false, func(t *testing.T, l *storedLog) {
			l.exec(t, "DELETE FROM log_entry WHERE ca = ? AND idx = ?", ca, l.issued(t, kept))
		}, 0, "", ""},
		{"a row is deleted, under a running server", true, false, func(t *testing.T, l *storedLog) {
			l.exec(t, "DELETE FROM log_entry WHERE ca = ? AND idx = ?", ca, l.issued(t, kept))
		}, 0, "", ""},
		{"a row is deleted and the tree made anew", false, true, func(t *testing.T, l *storedLog) {
			l.rewrite(t, func(entries [][]byte) [][]byte {
				at := l.issued(t, last)
				return append(entries[:at:at], entries[at+1:]...)
			})
		}, 3, proof.Consistency, proof.ClassSplitView},
		{"a subject, and the tree made anew", false, true, func(t *testing.T, l *storedLog) {
			subject(t, l)
			l.rewrite(t, func(entries [][]byte) [][]byte { return entries })
		}, 3, proof.Consistency, proof.ClassSplitView},
		{"the newest entries are dropped", false, true, func(t *testing.T, l *storedLog) {
			l.rewrite(t, func(entries [][]byte) [][]byte { return entries[:l.issued(t, last)] })
		}, 3, proof.Consistency, proof.ClassRollback},
		{"the tree is made anew, but not in the bucket", false, false, func(t *testing.T, l *storedLog) {
			l.rewrite(t, func(entries [][]byte) [][]byte { return entries[:l.issued(t, last)] })
		}, 1, proof.Completeness, proof.ClassLogDiffers},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := copyData(t, s.DataDir)
			var server *tampered
			if tt.running {
				server = s.on(t, dir)
			}
			l := &storedLog{ca: ca, db: must(sql.Open("sqlite", "file:"+filepath.Join(dir, "chirograph.db")+"?_pragma=busy_timeout(10000)"))(t)}
			tt.attack(t, l)
			if err := l.db.Close(); err != nil {
				t.Fatal(err)
			}
			if !tt.running {
				server = s.on(t, dir)
			}
			if tt.packs {
				for key := range server.sync(t) {
					if strings.HasPrefix(key, beside("audit-report/"+ca+"/", "log/entries/")) {
						server.delete(t, key)
					}
				}
			}
			if tt.class == "" {
				server.wantNoReport(t)
				return
			}
			key, _ := server.ca.report(t, tamperBucket, types.AuditReportResponseFormatJson)
			files := server.sync(t)
			s.wantExit(t, files, key, tt.alone)
			s.wantClass(t, files, key, tt.verdict, tt.class, known...)
		})
	}
	t.Run("two histories", func(t *testing.T) {
		t.Parallel()
		// The operator shows each auditor another one. Each is whole by itself;
		// auditors who compare manifests find out.
		var manifests [2][]byte
		var keys [2]string
		var files [2]map[string][]byte
		for i, name := range []string{"one.example.com", "two.example.com"} {
			side := s.on(t, copyData(t, s.DataDir))
			must(side.ca.issue(t.Context(), newCSR(t, newKey(t), name), nil))(t)
			keys[i], _ = side.ca.report(t, tamperBucket, types.AuditReportResponseFormatJson)
			files[i] = side.sync(t)
			manifests[i] = files[i][keys[i]+proof.ManifestSuffix]
			s.wantExit(t, files[i], keys[i], 0, known...)
		}
		for i := range files {
			s.wantClass(t, files[i], keys[i], proof.Consistency, proof.ClassSplitView, manifests[1-i])
		}
	})
}

// wantNoReport wants a report to be refused, or to fail.
func (s *tampered) wantNoReport(t *testing.T) {
	t.Helper()
	once := func(o *acmpca.Options) { o.Retryer = aws.NopRetryer{} }
	out, err := s.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &s.ca.arn, S3BucketName: aws.String(tamperBucket), AuditReportResponseFormat: types.AuditReportResponseFormatJson,
	}, once)
	if err != nil {
		return
	}
	for range 2000 {
		d := must(s.pca.DescribeCertificateAuthorityAuditReport(t.Context(), &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &s.ca.arn, AuditReportId: out.AuditReportId}))(t)
		switch d.AuditReportStatus {
		case types.AuditReportStatusFailed:
			return
		case types.AuditReportStatusSuccess:
			t.Fatal("a report of a damaged log was made")
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the report is not given up")
}

// storedLog is a CA's log in the database of a stopped server.
type storedLog struct {
	ca string
	db *sql.DB
}

func (l *storedLog) exec(t *testing.T, query string, args ...any) {
	t.Helper()
	res := must(l.db.ExecContext(t.Context(), query, args...))(t)
	if n := must(res.RowsAffected())(t); n == 0 {
		t.Fatalf("%s changed nothing", query)
	}
}

func (l *storedLog) entries(t *testing.T) (entries [][]byte) {
	t.Helper()
	rows := must(l.db.QueryContext(t.Context(), "SELECT bytes FROM log_entry WHERE ca = ? ORDER BY idx", l.ca))(t)
	defer rows.Close()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, b)
	}
	return entries
}

// issued is the index of the entry of a certificate.
func (l *storedLog) issued(t *testing.T, arn string) (index int) {
	t.Helper()
	serial := bytes.TrimLeft(must(hex.DecodeString(serialOf(arn)))(t), "\x00")
	if err := l.db.QueryRowContext(t.Context(), "SELECT idx FROM certificate WHERE ca = ? AND serial = ?", l.ca, serial).Scan(&index); err != nil {
		t.Fatal(err)
	}
	return index
}

func (l *storedLog) change(t *testing.T, index int, change func(*certlog.Entry)) {
	t.Helper()
	var e certlog.Entry
	if err := e.Decode(l.entries(t)[index]); err != nil {
		t.Fatal(err)
	}
	change(&e)
	l.exec(t, "UPDATE log_entry SET bytes = ? WHERE ca = ? AND idx = ?", must(e.Append(nil))(t), l.ca, index)
}

// rewrite makes another log with a tree of its own. The rows that hang on
// entries that went are forgotten with them, the reports too.
func (l *storedLog) rewrite(t *testing.T, change func([][]byte) [][]byte) {
	t.Helper()
	entries := change(l.entries(t))
	head, _, err := new(certlog.Head).Extend(entries)
	if err != nil {
		t.Fatal(err)
	}
	var edge []byte
	for i := range head.Edge {
		edge = append(edge, head.Edge[i][:]...)
	}
	l.exec(t, "DELETE FROM log_entry WHERE ca = ?", l.ca)
	for i, b := range entries {
		l.exec(t, "INSERT INTO log_entry (ca, idx, bytes) VALUES (?, ?, ?)", l.ca, i, b)
	}
	l.exec(t, "UPDATE log_head SET size = ?, edge = ?, root = ?, time = ? WHERE ca = ?", head.Size, edge, head.Root[:], head.Time, l.ca)
	l.exec(t, "DELETE FROM audit_report WHERE ca = ?", l.ca)
}

// beside is where another object of the same CA lies.
func beside(key, name string) string {
	parts := strings.SplitN(key, "/", 3)
	return parts[0] + "/" + parts[1] + "/" + name
}

func (s *tampered) put(t *testing.T, key string, body []byte) {
	t.Helper()
	must(s.s3.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String(tamperBucket), Key: &key, Body: bytes.NewReader(body)}))(t)
}

func (s *tampered) delete(t *testing.T, key string) {
	t.Helper()
	must(s.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(tamperBucket), Key: &key}))(t)
}

// sync reads all objects beside and under reports.
func (s *tampered) sync(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	pages := s3.NewListObjectsV2Paginator(s.s3, &s3.ListObjectsV2Input{Bucket: aws.String(tamperBucket), Prefix: aws.String("audit-report/")})
	for pages.HasMorePages() {
		for _, o := range must(pages.NextPage(t.Context()))(t).Contents {
			object := must(s.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(tamperBucket), Key: o.Key}))(t)
			files[*o.Key] = must(io.ReadAll(object.Body))(t)
			object.Body.Close()
		}
	}
	return files
}

// verify lays the files out as `aws s3 sync` does, and verifies a report of
// this CA; known are manifests that the auditor kept.
func (s *tampered) verify(t *testing.T, files map[string][]byte, key string, known [][]byte) *proof.Result {
	t.Helper()
	dir := t.TempDir()
	for _, name := range append([]string{beside(key, "log/entries/x")}, slices.Sorted(maps.Keys(files))...) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if body, ok := files[name]; ok {
			if err := os.WriteFile(file, body, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	report := must(os.Open(filepath.Join(dir, filepath.FromSlash(key))))(t)
	defer report.Close()
	cfg := proof.VerifyConfig{
		Report: report, ReportSize: int64(len(files[key])), Manifest: files[key+proof.ManifestSuffix],
		ReportID: strings.TrimSuffix(filepath.Base(key), filepath.Ext(key)),
		Log:      os.DirFS(filepath.Join(dir, filepath.FromSlash(beside(key, "log")))), CACertificates: [][]byte{s.caCert},
	}
	for _, manifest := range known {
		cfg.Known = append(cfg.Known, must(proof.ParseKnown(manifest, "a manifest that was kept"))(t)...)
	}
	return must(proof.Verify(context.WithoutCancel(t.Context()), cfg))(t)
}

func (s *tampered) wantExit(t *testing.T, files map[string][]byte, key string, exit int, known ...[]byte) {
	t.Helper()
	if r := s.verify(t, files, key, known); r.ExitCode() != exit {
		t.Errorf("exit %d, want %d: %+v", r.ExitCode(), exit, r.Verdicts)
	}
}

// wantClass wants a verdict to be a failure of a class.
func (s *tampered) wantClass(t *testing.T, files map[string][]byte, key, verdict, class string, known ...[]byte) {
	t.Helper()
	r := s.verify(t, files, key, known)
	if v := r.Verdict(verdict); r.ExitCode() != 1 || v.Status != proof.Fail || v.Class != class {
		t.Errorf("exit %d; want %s to fail as %q: %+v", r.ExitCode(), verdict, class, r.Verdicts)
	}
}

// copyData copies a data folder.
func copyData(t *testing.T, from string) (to string) {
	t.Helper()
	to = filepath.Join(t.TempDir(), "data")
	copyFiles(t, from, to, func(string) bool { return true })
	return to
}

// copyFiles copies the files of a folder whose names, relative to it, are wanted.
func copyFiles(t *testing.T, from, to string, want func(name string) bool) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := must(filepath.Rel(from, p))(t)
		switch {
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o700)
		case !d.Type().IsRegular() || !want(name):
			return nil
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
}
