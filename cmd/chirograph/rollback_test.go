package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// copyFile is a backup of a file, or its restore.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b := must(os.ReadFile(from))(t)
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestRollback restores an old database. With an anchor, and with the checkpoint
// beside its reports alone, the CA that lost entries stops, and it alone; log
// recover lets it go on, and an auditor is told.
func TestRollback(t *testing.T) {
	t.Parallel()
	data, kept := filepath.Join(t.TempDir(), "data"), t.TempDir()
	database, backup := filepath.Join(data, "chirograph.db"), filepath.Join(kept, "chirograph.db")
	run := func(anchored bool) *instance {
		return start(t, func(c *serveConfig) {
			c.DataDir = data
			if anchored {
				c.AnchorBucket = "anchors"
			}
		})
	}
	i := run(true)
	i.bucket(t, "anchors", false)
	reports := i.bucket(t, "reports", true)
	a, other := i.root(t), i.root(t)
	csr := newCSR(t, newKey(t), "leaf.example.com")
	at := func(i *instance, a authority) authority { return authority{i, a.arn, a.in} }
	issue := func(i *instance, a authority) error {
		_, err := at(i, a).issue(t.Context(), csr, nil)
		return err
	}
	if err := issue(i, a); err != nil {
		t.Fatal(err)
	}
	a.report(t, reports, types.AuditReportResponseFormatJson)
	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, database, backup)

	// What is going to be lost: three certificates and a report.
	i = run(true)
	for range 3 {
		if err := issue(i, a); err != nil {
			t.Fatal(err)
		}
	}
	key, _ := at(i, a).report(t, reports, types.AuditReportResponseFormatJson)
	// S3 refuses what is not there to whom it does not list the bucket.
	refused := strings.Replace(grantPolicy(reports), `"Statement": [`, `"Statement": [{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::`+reports+`/*/log-2/*"},`, 1)
	must(i.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &reports, Policy: &refused}))(t)
	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, backup, database)

	for _, anchored := range []bool{false, true} {
		i = run(anchored)
		i.pca = acmpca.NewFromConfig(i.aws, func(o *acmpca.Options) { o.RetryMaxAttempts = 1 })
		if err := issue(i, a); err == nil {
			t.Fatalf("anchored %v: a CA whose store was rolled back issues", anchored)
		} else {
			wantMessage(t, err, "InternalFailure", "is not what it was")
		}
		if err := issue(i, other); err != nil {
			t.Errorf("anchored %v: another CA does not issue: %v", anchored, err)
		}
		if status := at(i, a).describe(t).Status; status != types.CertificateAuthorityStatusActive {
			t.Errorf("the CA is %s", status)
		}
		for path, want := range map[string]string{"/healthz": "ok", "/metrics": "pca_log_refused 1\n"} {
			resp := must(http.Get(i.API + path))(t)
			body := must(io.ReadAll(resp.Body))(t)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
				t.Errorf("GET %s: status %d, and no %q", path, resp.StatusCode, want)
			}
		}
		if !anchored {
			if err := i.close(); err != nil {
				t.Fatal(err)
			}
			if text := i.log.String(); !strings.Contains(text, "chirograph log recover") {
				t.Errorf("the server's log does not say what to do:\n%s", text)
			}
		}
	}

	must(i.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &reports, Policy: aws.String(grantPolicy(reports))}))(t)
	if code, _, text := command(t, "log", "rotate-key", "--data-dir", data, "--ca", a.arn); code != exitFailure || !strings.Contains(text, "log recover") {
		t.Errorf("rotating the key of a refused log: %d\n%s", code, text)
	}
	if code, _, text := command(t, "log", "recover", "--data-dir", data, "--ca", other.arn); code != exitFailure || !strings.Contains(text, "would only break its history") {
		t.Errorf("recovering a sound log: %d\n%s", code, text)
	}
	// The auditor has the manifest of the report that the store forgot.
	audit := filepath.Join(kept, "audit")
	auditor := func(key string) string {
		t.Helper()
		code, out, text := command(t, "audit-report", "download", "--data-dir", data, "--bucket", reports, "--key", key, "--to", audit, "--output", "json")
		var done struct{ Report string }
		if err := json.Unmarshal([]byte(out), &done); code != exitOK || err != nil {
			t.Fatalf("downloading %s: %d\n%s%s", key, code, out, text)
		}
		return done.Report
	}
	manifest := auditor(key) + ".manifest"
	code, out, text := command(t, "log", "recover", "--data-dir", data, "--ca", a.arn, "--known", manifest, "--output", "json")
	var recovered struct {
		Origin           string
		Surviving, Known uint64
	}
	if err := json.Unmarshal([]byte(out), &recovered); code != exitOK || err != nil || !strings.HasSuffix(recovered.Origin, "/2") || recovered.Known != recovered.Surviving+4 {
		t.Fatalf("%d %v\n%s%s", code, err, out, text)
	}
	if err := issue(i, a); err != nil {
		t.Fatalf("after the recovery: %v", err)
	}
	if code, out, text := command(t, "log", "rotate-key", "--data-dir", data, "--ca", a.arn); code != exitOK || !strings.HasPrefix(out, recovered.Origin+"+") {
		t.Errorf("rotating the key: %d\n%s%s", code, out, text)
	}
	key, _ = at(i, a).report(t, reports, types.AuditReportResponseFormatCsv)
	certificate := must(i.pca.GetCertificateAuthorityCertificate(t.Context(), &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &a.arn}))(t).Certificate
	root := filepath.Join(kept, "root.pem")
	if err := os.WriteFile(root, []byte(*certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, text = command(t, "verify", auditor(key), "--ca-certificate", root, "--known", manifest, "--state", "off")
	if code != 3 || !strings.Contains(out, "epoch 2; epoch 1 was known with") || !strings.Contains(out, ", 4 lost") {
		t.Errorf("verify: %d\n%s%s", code, out, text)
	}

	// The next start has nothing to say, and neither has fsck.
	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	i = run(true)
	if err := issue(i, a); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	if code, out, text := command(t, "fsck", "--data-dir", data); code != exitOK {
		t.Errorf("fsck: %d\n%s%s", code, out, text)
	}
}
