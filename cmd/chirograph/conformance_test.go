package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

var update = flag.Bool("update", false, "write the files that the tests compare with")

// rule is one thing that an operation must do.
type rule struct {
	operation string
	// id says what kind of rule it is: "success", "error NAME", "status NAME",
	// or the place that has it. An operation has every error of the API's model
	// and every status once.
	id    string
	holds string
	check func(t *testing.T, w *world)
	never string // why nothing is to be checked: the operation never answers so
}

func (r *rule) name() string { return r.operation + "/" + strings.ReplaceAll(r.id, " ", "-") }

// TestConformance checks every rule of every operation against a served house
// and compares docs/conformance.md, which lists them, with what was checked.
func TestConformance(t *testing.T) {
	t.Parallel()
	list := rules()
	seen := map[string]bool{}
	for _, r := range list {
		if seen[r.name()] {
			t.Errorf("the rule %s stands twice", r.name())
		}
		if (r.check == nil) == (r.never == "") || r.holds == "" {
			t.Errorf("the rule %s has neither or both of a check and a reason for none", r.name())
		}
		seen[r.name()] = true
	}
	operations := pca.Operations()
	for _, op := range operations {
		want := []string{"success"}
		for _, code := range op.Errors {
			want = append(want, "error-"+string(code))
		}
		for _, status := range statuses() {
			want = append(want, "status-"+status)
		}
		if op.Name == "CreateCertificateAuthority" { // is about no CA
			want = want[:len(want)-len(statuses())]
		}
		for _, id := range want {
			if !seen[op.Name+"/"+id] {
				t.Errorf("nothing checks %s of %s", id, op.Name)
			}
		}
	}
	w := newWorld(t)
	t.Run("rules", func(t *testing.T) {
		for _, r := range list {
			if r.check != nil {
				t.Run(r.name(), func(t *testing.T) {
					t.Parallel()
					r.check(t, w)
				})
			}
		}
	})
	page := conformancePage(list)
	path := filepath.Join("..", "..", "docs", "conformance.md")
	if *update {
		if err := os.WriteFile(path, page, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if committed, err := os.ReadFile(path); err != nil || !bytes.Equal(committed, page) {
		t.Errorf("%s is not the table of this run (%v); write it with go test ./cmd/chirograph -run TestConformance -update", path, err)
	}
}

// conformancePage is docs/conformance.md.
func conformancePage(list []rule) []byte {
	var b bytes.Buffer
	b.WriteString(`# Conformance

What every operation of the API must do, and the test that shows it. The test
run writes this page (` + "`go test ./cmd/chirograph -run TestConformance -update`" + `)
and fails when it is not the run's: every operation has its success, every error
that the API's model gives it, and every status of a certificate authority.

The tests are sub-tests of ` + "`TestConformance/rules`" + ` unless they are named otherwise.
Besides these, ` + "`TestBadInput`" + ` breaks every member of every operation's request in
every way that the API's model knows, and sends each to a served house.

`)
	operations := pca.Operations()
	checked, never := 0, 0
	for _, r := range list {
		if r.check != nil {
			checked++
		} else {
			never++
		}
	}
	fmt.Fprintf(&b, "%d operations, %d rules tested, %d answers that are never given, for the reason that stands with them; no gap.\n", len(operations), checked, never)
	for _, op := range operations {
		fmt.Fprintf(&b, "\n## %s\n\n| Rule | What must hold | Tested by |\n|---|---|---|\n", op.Name)
		for _, r := range list {
			if r.operation != op.Name {
				continue
			}
			tested := "`" + r.name() + "`"
			if r.check == nil {
				tested = "never: " + r.never
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", r.id, strings.ReplaceAll(r.holds, "|", `\|`), tested)
		}
	}
	return b.Bytes()
}

// m is a JSON object.
type m = map[string]any

// world is a served house with certificate authorities in every status. Its
// clock is days ahead of the one at which some of them expired or were deleted.
type world struct {
	*served
	bucket  string
	expired chan *subject
	gone    *subject
}

// subject is a certificate authority that a rule is about.
type subject struct {
	arn    string
	root   string // its own certificate's ARN; empty before there is one
	leaf   string // a certificate that it issued
	report string // an audit report's id
}

func statuses() []string {
	return []string{"CREATING", "PENDING_CERTIFICATE", "ACTIVE", "DISABLED", "EXPIRED", "FAILED", "DELETED", "gone"}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{served: serveHouse(t, nil), expired: make(chan *subject, 40)}
	w.bucket = w.served.bucket(t, "conformance-reports", true)
	for range cap(w.expired) {
		s := w.pending(t)
		w.activate(t, s, m{"Type": "DAYS", "Value": 1})
		w.fill(t, s)
		w.expired <- s
	}
	w.gone = w.pending(t)
	w.ok(t, "DeleteCertificateAuthority", m{"CertificateAuthorityArn": w.gone.arn, "PermanentDeletionTimeInDays": 7})
	w.pass(9 * 24 * time.Hour)
	return w
}

// answer sends one call as the administrator.
func (w *world) answer(t *testing.T, operation string, body m) (m, reply) {
	t.Helper()
	a := w.send(t, call{operation: operation, body: encodeJSON(t, body), who: w.admin})
	out := m{}
	if len(a.body) > 0 {
		if err := json.Unmarshal(a.body, &out); err != nil {
			t.Fatal(err)
		}
	}
	return out, a
}

// ok is a call that succeeds.
func (w *world) ok(t *testing.T, operation string, body m) m {
	t.Helper()
	out, a := w.answer(t, operation, body)
	if a.status != 200 {
		t.Fatalf("%s: %d %s %s", operation, a.status, a.code, a.message)
	}
	return out
}

// refused is a call that is answered with an error whose message has a text.
func (w *world) refused(t *testing.T, operation string, body m, code, text string) {
	t.Helper()
	if _, a := w.answer(t, operation, body); a.code != code || !strings.Contains(a.message, text) {
		t.Errorf("%s: %d %s %q, want %s %q", operation, a.status, a.code, a.message, code, text)
	}
}

// outcome is a call that is answered with the code; empty for a success.
func (w *world) outcome(t *testing.T, operation string, body m, code string) {
	t.Helper()
	if _, a := w.answer(t, operation, body); a.code != code {
		t.Errorf("%s: %d %s %q, want %q", operation, a.status, a.code, a.message, code)
	}
}

func configuration() m {
	return m{"KeyAlgorithm": "EC_prime256v1", "SigningAlgorithm": "SHA256WITHECDSA", "Subject": m{"CommonName": "Conformance", "Country": "DE"}}
}

// pending makes a root that awaits its certificate.
func (w *world) pending(t *testing.T) *subject {
	t.Helper()
	return &subject{arn: w.create(t, "ROOT").arn}
}

func (w *world) create(t *testing.T, kind string) *subject {
	t.Helper()
	s := &subject{arn: w.ok(t, "CreateCertificateAuthority", m{"CertificateAuthorityType": kind, "CertificateAuthorityConfiguration": configuration()})["CertificateAuthorityArn"].(string)}
	w.csr(t, s)
	return s
}

// csr waits for the CSR of a CA.
func (w *world) csr(t *testing.T, s *subject) []byte {
	t.Helper()
	for {
		out, a := w.answer(t, "GetCertificateAuthorityCsr", m{"CertificateAuthorityArn": s.arn})
		switch {
		case a.status == 200:
			return []byte(out["Csr"].(string))
		case a.code != "RequestInProgressException":
			t.Fatalf("GetCertificateAuthorityCsr: %s %s", a.code, a.message)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// selfSign is the request for a root's own certificate.
func (w *world) selfSign(t *testing.T, s *subject, validity m) m {
	t.Helper()
	return m{"CertificateAuthorityArn": s.arn, "Csr": w.csr(t, s), "SigningAlgorithm": "SHA256WITHECDSA", "TemplateArn": rootTemplate, "Validity": validity}
}

// certificate reads an issued certificate.
func (w *world) certificate(t *testing.T, s *subject, arn string) m {
	t.Helper()
	return w.ok(t, "GetCertificate", m{"CertificateAuthorityArn": s.arn, "CertificateArn": arn})
}

func (w *world) activate(t *testing.T, s *subject, validity m) {
	t.Helper()
	s.root = w.ok(t, "IssueCertificate", w.selfSign(t, s, validity))["CertificateArn"].(string)
	w.ok(t, "ImportCertificateAuthorityCertificate", m{"CertificateAuthorityArn": s.arn, "Certificate": []byte(w.certificate(t, s, s.root)["Certificate"].(string))})
}

// issue is the request for a certificate of an hour.
func (w *world) issue(t *testing.T, s *subject) m {
	t.Helper()
	return m{"CertificateAuthorityArn": s.arn, "Csr": newCSR(t, newKey(t), "leaf.example.com"), "SigningAlgorithm": "SHA256WITHECDSA",
		"Validity": m{"Type": "ABSOLUTE", "Value": w.house.cfg.now().Add(time.Hour).Unix()}}
}

// fill gives an active CA a certificate and a report.
func (w *world) fill(t *testing.T, s *subject) {
	t.Helper()
	s.leaf = w.ok(t, "IssueCertificate", w.issue(t, s))["CertificateArn"].(string)
	s.report = w.ok(t, "CreateCertificateAuthorityAuditReport", w.reportOf(s))["AuditReportId"].(string)
	w.written(t, s)
}

// written waits for a CA's report.
func (w *world) written(t *testing.T, s *subject) {
	t.Helper()
	for w.ok(t, "DescribeCertificateAuthorityAuditReport", m{"CertificateAuthorityArn": s.arn, "AuditReportId": s.report})["AuditReportStatus"] != "SUCCESS" {
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) reportOf(s *subject) m {
	return m{"CertificateAuthorityArn": s.arn, "S3BucketName": w.bucket, "AuditReportResponseFormat": "JSON"}
}

func (w *world) disable(t *testing.T, s *subject) {
	t.Helper()
	w.ok(t, "UpdateCertificateAuthority", m{"CertificateAuthorityArn": s.arn, "Status": "DISABLED"})
}

// in makes a certificate authority of a status, for one rule alone.
func (w *world) in(t *testing.T, status string) *subject {
	t.Helper()
	var s *subject
	switch status {
	case "CREATING":
		s = w.record(t, pca.CertificateAuthorityStatus_CREATING)
	case "FAILED":
		s = w.record(t, pca.CertificateAuthorityStatus_FAILED)
	case "PENDING_CERTIFICATE":
		s = w.pending(t)
	case "EXPIRED":
		select {
		case s = <-w.expired:
		default:
			t.Fatal("more rules need an expired CA than there are")
		}
	case "gone":
		s = w.gone
	default:
		s = w.pending(t)
		w.activate(t, s, m{"Type": "YEARS", "Value": 10})
		w.fill(t, s)
		if status != "ACTIVE" {
			w.disable(t, s)
		}
		if status == "DELETED" {
			w.ok(t, "DeleteCertificateAuthority", m{"CertificateAuthorityArn": s.arn})
		}
	}
	for name, arn := range map[*string]string{&s.leaf: s.arn + "/certificate/0123456789abcdef0123456789abcdef", &s.report: "00000000-0000-4000-8000-000000000000"} {
		if *name == "" {
			*name = arn
		}
	}
	return s
}

// active is in the status that most rules are about, without a report.
func (w *world) active(t *testing.T) *subject {
	t.Helper()
	s := w.pending(t)
	w.activate(t, s, m{"Type": "YEARS", "Value": 10})
	s.leaf = w.ok(t, "IssueCertificate", w.issue(t, s))["CertificateArn"].(string)
	return s
}

// record puts a CA into the store that this server did not make.
func (w *world) record(t *testing.T, status pca.CertificateAuthorityStatus) *subject {
	t.Helper()
	id := uuid.NewString()
	now := w.house.cfg.now().UTC().Truncate(time.Millisecond)
	rec := &store.CertificateAuthority{
		ID: id, ARN: pca.ARN{Partition: "aws", Region: "us-east-1", Account: "123456789012", CA: id}.String(), Account: "123456789012",
		Type: pca.CertificateAuthorityType_ROOT, Status: status, KeyID: id, CreatedAt: now, LastStateChangeAt: now,
		KeyStandard: pca.KeyStorageSecurityStandard_FIPS_140_2_LEVEL_3_OR_HIGHER, UsageMode: pca.CertificateAuthorityUsageMode_GENERAL_PURPOSE,
		Configuration: pca.CertificateAuthorityConfiguration{KeyAlgorithm: pca.KeyAlgorithm_EC_prime256v1, SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA, Subject: pca.ASN1Subject{CommonName: "x"}},
	}
	if status == pca.CertificateAuthorityStatus_FAILED {
		rec.FailureReason = pca.FailureReason_OTHER
	}
	if err := w.house.db.CreateCA(t.Context(), rec, nil); err != nil {
		t.Fatal(err)
	}
	return &subject{arn: rec.ARN}
}

// touch changes a CA's record behind the back of the room that keeps it, as
// another change that comes first does.
func (w *world) touch(t *testing.T, s *subject) {
	t.Helper()
	rec := must(w.house.db.CA(t.Context(), s.arn[len(s.arn)-36:]))(t)
	next := *rec
	next.LastStateChangeAt = next.LastStateChangeAt.Add(time.Millisecond)
	if err := w.house.db.UpdateCA(t.Context(), &next); err != nil {
		t.Fatal(err)
	}
}

// describe gives the CertificateAuthority of Describe.
func (w *world) describe(t *testing.T, s *subject) m {
	t.Helper()
	return w.ok(t, "DescribeCertificateAuthority", m{"CertificateAuthorityArn": s.arn})["CertificateAuthority"].(m)
}

// with is a copy of an object with other members.
func with(body m, more ...any) m {
	body = maps.Clone(body)
	for pair := range slices.Chunk(more, 2) {
		body[pair[0].(string)] = pair[1]
	}
	return body
}
