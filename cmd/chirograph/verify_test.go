package main

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
)

// TestVerifyCommand is an auditor's day: reports downloaded with what proves
// them, verified, verified again, and what tampering and missing files say.
func TestVerifyCommand(t *testing.T) {
	t.Parallel()
	s := serveHouse(t, nil)
	a := s.root(t)
	leaf := must(a.issue(t.Context(), newCSR(t, newKey(t), "one.example.com"), nil))(t)
	must(a.issue(t.Context(), newCSR(t, newKey(t), "two.example.com"), nil))(t)
	serial := leaf[strings.LastIndexByte(leaf, '/')+1:]
	if err := a.revoke(t, serial, types.RevocationReasonSuperseded); err != nil {
		t.Fatal(err)
	}
	dir, b := t.TempDir(), s.bucket(t, "proofs", true)
	caFile, state := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "state", "known-logs")
	ca := must(a.pca.GetCertificateAuthorityCertificate(t.Context(), &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &a.arn}))(t)
	write(t, caFile, []byte(*ca.Certificate))

	// check runs verify; its output holds each of want.
	check := func(code int, report string, flags []string, want ...string) string {
		t.Helper()
		got, stdout, stderr := command(t, append([]string{"verify", report, "--state", state, "--ca-certificate", caFile}, flags...)...)
		if got != code {
			t.Errorf("exit code %d, want %d:\n%s%s", got, code, stdout, stderr)
		}
		for _, w := range want {
			if !strings.Contains(stdout+stderr, w) {
				t.Errorf("it does not say %q:\n%s%s", w, stdout, stderr)
			}
		}
		return stdout
	}
	fetch := func(key string, want string) string {
		t.Helper()
		id := strings.TrimSuffix(filepath.Base(key), filepath.Ext(key))
		code, stdout, stderr := command(t, "audit-report", "download", "--data-dir", s.DataDir, "--ca", a.arn, "--id", id, "--to", filepath.Join(dir, "dl"))
		if code != exitOK || !strings.Contains(stdout, want) {
			t.Fatalf("download: exit code %d:\n%s%s", code, stdout, stderr)
		}
		return filepath.Join(dir, "dl", filepath.Base(key))
	}

	key, file := a.report(t, b, types.AuditReportResponseFormatJson)
	first := fetch(key, "1 of 1 files")
	if got := must(os.ReadFile(first))(t); !bytes.Equal(got, file) {
		t.Error("the downloaded report is another one")
	}
	check(3, first, []string{"--quick"}, "Whether it is complete was not asked", "exit code 3")
	if _, err := os.Stat(state); err == nil {
		t.Error("what was not replayed is remembered")
	}
	if code, stdout, _ := command(t, "verify", first, "--state", state); code != 3 || !strings.Contains(stdout, "nobody vouches") || strings.Contains(stdout, "Remembered") {
		t.Errorf("exit code %d, or a log is remembered for which nobody vouched:\n%s", code, stdout)
	}
	check(3, first, nil, "nothing from before was known", "rows    3, 1 of them revoked", "Not proven by this", "Remembered")
	check(3, first, nil, "nothing from before was known") // a report is no witness for itself
	check(0, first, []string{"--known", first + ".manifest"}, "Verified. (exit code 0)")
	var out struct {
		ExitCode int
		Verdicts []struct{ Name, Status string }
		Sample   []struct{ Text string }
	}
	text := check(0, first, []string{"--known", first + ".manifest", "--output", "json", "--sample", "2", "--nonce", "a nonce", "--max-age", "1d"})
	if err := json.Unmarshal([]byte(text), &out); err != nil || out.ExitCode != 0 || len(out.Verdicts) != 6 || len(out.Sample) != 2 || !strings.Contains(out.Sample[0].Text, "awsAccountId") {
		t.Errorf("%v: %s", err, text)
	}

	must(a.issue(t.Context(), newCSR(t, newKey(t), "three.example.com"), nil))(t)
	key, _ = a.report(t, b, types.AuditReportResponseFormatCsv)
	second := fetch(key, "1 of 1 files") // the pack that reaches farther
	fetch(key, "0 of 1 files")
	check(0, second, []string{"--quick"}, "Whether it is complete was not asked")
	check(0, second, nil, "Verified.")
	check(0, second, []string{"--state", "off", "--known", first + ".manifest"}, "Verified.")

	if code, stdout, stderr := command(t, "audit-report", "list", "--data-dir", s.DataDir, "--ca", a.arn, "--bucket", b); code != exitOK || strings.Count(stdout, "  proof  ") != 2 || strings.Count(stdout, "\n") != 2 {
		t.Errorf("list: exit code %d:\n%s%s", code, stdout, stderr)
	}

	if code, _, stderr := command(t, "audit-report", "download", "--data-dir", s.DataDir, "--bucket", b, "--key", "none.json", "--to", dir); code != exitFailure || !strings.Contains(stderr, "there is no report") {
		t.Errorf("download of nothing: exit code %d: %s", code, stderr)
	}

	// A row that disappears, from the file alone.
	tampered := filepath.Join(dir, "dl", "tampered.json")
	lines := strings.SplitAfter(string(file), "\n")
	write(t, tampered, []byte(strings.Join(append(lines[:1:1], lines[2:]...), "")))
	check(1, tampered, []string{"--bundle", first + ".manifest"}, "[report-bytes]", "exit code 1")
	// The other report's manifest; a report of before proofs; half a download.
	check(1, first, []string{"--bundle", second + ".manifest"}, "[report-bytes]")
	check(2, tampered, nil, "there is no manifest", "manifest-missing")
	check(2, first, []string{"--log", filepath.Join(dir, "nowhere")}, "there is no folder")
	check(2, first, []string{"--log", filepath.Dir(first)}, "not that of a log")
	edited := filepath.Join(dir, "edited.manifest")
	write(t, edited, bytes.Replace(must(os.ReadFile(first+".manifest"))(t), []byte("\nrows 3 1\n"), []byte("\nrows 2 1\n"), 1))
	check(1, first, []string{"--bundle", edited}, "[manifest-signature]")
	check(2, filepath.Join(dir, "none.json"), nil, "opening the report")
	check(2, first, []string{"--sample", "25"}, "needs --nonce")
	check(2, first, []string{"--witness-quorum", "2"}, "--witness-key")
	check(1, first, []string{"--report-id", "00000000-0000-4000-8000-000000000000"}, "FAIL")

	// One certificate alone.
	cert, _ := a.get(t, leaf)
	leafFile, proofFile := filepath.Join(dir, "leaf.pem"), filepath.Join(dir, "leaf.tlog-proof")
	write(t, leafFile, []byte(cert))
	if code, stdout, stderr := command(t, "log", "prove", "--data-dir", s.DataDir, "--ca", a.arn, "--serial", serial, "--out", proofFile); code != exitOK {
		t.Fatalf("log prove: exit code %d:\n%s%s", code, stdout, stderr)
	}
	inclusion := func(code int, want string, flags ...string) {
		t.Helper()
		got, stdout, stderr := command(t, append([]string{"verify", "--inclusion", proofFile}, flags...)...)
		if got != code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("exit code %d, want %d and %q:\n%s%s", got, code, want, stdout, stderr)
		}
	}
	inclusion(0, "Verified", "--cert", leafFile, "--state", state)
	inclusion(0, "Verified", "--cert", leafFile, "--state", "off", "--known", first+".manifest", "--ca-certificate", caFile)
	inclusion(2, "which key the log has", "--cert", leafFile, "--state", "off")
	inclusion(1, "does not hold", "--cert", caFile, "--state", state)
	inclusion(2, "--cert FILE")
	inclusion(2, "--max-age is about a report", "--cert", leafFile, "--max-age", "1d")
	check(2, first, []string{"--cert", caFile}, "--ca-certificate")
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFsckCommand: a folder that is in use, clean, and damaged; and a server
// that starts over the damage lets nothing be added to that log.
func TestFsckCommand(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	a, other := i.root(t), i.root(t)
	check := func(code int, want string, flags ...string) {
		t.Helper()
		got, stdout, stderr := command(t, append([]string{"fsck", "--data-dir", i.DataDir}, flags...)...)
		if got != code || !strings.Contains(stdout+stderr, want) {
			t.Errorf("exit code %d, want %d and %q:\n%s%s", got, code, want, stdout, stderr)
		}
	}
	check(exitCannotCheck, "stop the server")
	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	check(exitOK, "2 certificate authorities")
	check(exitOK, "not certificates and revocations", "--quick", "--ca", a.arn)
	check(exitCannotCheck, "no such record", "--ca", strings.Replace(a.arn, a.arn[len(a.arn)-3:], "zzz", 1))
	if left := must(filepath.Glob(filepath.Join(i.DataDir, "chirograph.db*")))(t); len(left) != 1 {
		t.Errorf("it left %v", left)
	}
	db := must(sql.Open("sqlite", filepath.Join(i.DataDir, "chirograph.db")))(t)
	must(db.ExecContext(t.Context(), "UPDATE log_entry SET bytes = substr(bytes, 1, 40) WHERE ca = ? AND idx = 1", must(caID(a.arn))(t)))(t)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	check(exitFailure, "entry 1, entry: malformed")
	check(exitFailure, `"class": "entry"`, "--quick", "--output", "json")

	dataDir := i.DataDir
	i = start(t, func(cfg *serveConfig) { cfg.DataDir = dataDir })
	a.instance, other.instance = i, i
	if _, err := a.issue(t.Context(), newCSR(t, newKey(t), "damaged.example.com"), nil); err == nil {
		t.Error("a damaged log took a certificate")
	}
	must(other.issue(t.Context(), newCSR(t, newKey(t), "sound.example.com"), nil))(t)
}
