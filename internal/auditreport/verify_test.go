package auditreport

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// verified has a report verified and waits for the outcome.
func (h *house) verified(s *Service, id string) Verification {
	h.t.Helper()
	if v, err := s.Verify(h.t.Context(), testCA, id); err != nil || v.State != VerificationRunning {
		h.t.Fatalf("%+v, %v", v, err)
	}
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		v, err := s.Verification(h.t.Context(), id)
		if err != nil {
			h.t.Fatal(err)
		}
		if v.State != VerificationRunning {
			return v
		}
	}
	h.t.Fatal("the verification does not end")
	return Verification{}
}

func (h *house) put(key string, body []byte) {
	h.t.Helper()
	if _, err := h.s3.PutObject(h.t.Context(), &s3.PutObjectInput{Bucket: aws.String(testBucket), Key: &key, Body: bytes.NewReader(body)}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) remove(key string) {
	h.t.Helper()
	if _, err := h.s3.DeleteObject(h.t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(testBucket), Key: &key}); err != nil {
		h.t.Fatal(err)
	}
}

// status is the answer to one question.
func (v *Verification) status(name string) proof.Verdict {
	for _, d := range v.Verdicts {
		if d.Name == name {
			return d
		}
	}
	return proof.Verdict{}
}

// TestVerification: what is in the bucket is verified as an auditor would, what
// was found stays known, and what was changed there is found.
func TestVerification(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	trusting := func(c *Config) {
		c.MinInterval = 0
		c.Certificates = func(context.Context, *store.CertificateAuthority) ([][]byte, error) {
			return [][]byte{h.signer.certificate}, nil
		}
	}
	s := h.service(trusting)
	waits := h.mustCreate(s, pca.AuditReportResponseFormat_CSV)
	if _, err := s.Verify(t.Context(), testCA, waits.AuditReportId); err == nil || !strings.Contains(err.Error(), "CREATING") {
		t.Errorf("a report that is not there yet: %v", err)
	}
	stop := start(t, s)
	h.wait(s, waits.AuditReportId)
	first := h.verified(s, waits.AuditReportId)
	if !first.Verified() || first.status(proof.Consistency).Status != proof.Unknown || first.Rows != 0 || first.FinishedAt.IsZero() || first.Done == 0 || first.Done != first.Total {
		t.Errorf("the first report: %+v", first)
	}
	for range 40 {
		h.revoke(h.issue("CN=verified"), 1)
	}
	second := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
	h.wait(s, second.AuditReportId)
	if v := h.verified(s, second.AuditReportId); !v.Verified() || v.status(proof.Consistency).Status != proof.Pass || v.Rows != 40 || v.Revoked != 40 {
		t.Errorf("the second report: %+v", v)
	}
	// The log beside an earlier report has grown, and another bucket's may not have.
	if v := h.verified(s, waits.AuditReportId); !v.Verified() || v.status(proof.Consistency).Status != proof.Pass {
		t.Errorf("the first report again: %+v", v)
	}
	stop()
	s = h.service(trusting)
	defer start(t, s)()
	if v, err := s.Verification(t.Context(), second.AuditReportId); err != nil || !v.Verified() || v.StartedAt.IsZero() || len(v.NotProven) == 0 {
		t.Errorf("after a restart: %+v, %v", v, err)
	}

	body, _ := h.get(second.S3Key)
	changed := bytes.Replace(body, []byte("CN=verified"), []byte("CN=forged.."), 1)
	h.put(second.S3Key, changed)
	if v := h.verified(s, second.AuditReportId); v.State != VerificationDone || !v.Failed() || v.status(proof.Completeness).Class != proof.ClassReportBytes {
		t.Errorf("a changed report: %+v", v)
	}
	h.put(second.S3Key, body)
	manifest, _ := h.get(second.S3Key + proof.ManifestSuffix)
	h.remove(second.S3Key + proof.ManifestSuffix)
	if v := h.verified(s, second.AuditReportId); !v.Failed() || v.status(proof.Integrity).Class != proof.ClassManifestMissing {
		t.Errorf("a report without its manifest: %+v", v)
	}
	h.put(second.S3Key+proof.ManifestSuffix, make([]byte, proof.MaxManifest+1))
	if v := h.verified(s, second.AuditReportId); !v.Failed() || v.status(proof.Integrity).Class != proof.ClassManifestSignature {
		t.Errorf("a manifest of %d bytes: %+v", proof.MaxManifest+1, v)
	}
	h.put(second.S3Key+proof.ManifestSuffix, manifest)
	// What nobody wrote lies beside the log, and is not of it.
	beyond := proof.LogFolder(testCA, 1) + "/" + proof.PackName(proof.PackSize, 2*proof.PackSize)
	h.put(beyond, []byte("x"))
	client, err := s.cfg.Destination(t.Context(), testAccount, caARN(testCA))
	if err != nil {
		t.Fatal(err)
	}
	beside := &files{ctx: t.Context(), client: client, report: &store.AuditReport{Bucket: testBucket, Account: testAccount}}
	if err := beside.list(proof.LogFolder(testCA, 1)+"/", proof.PackSize); err != nil || len(beside.packs) == 0 || beside.packs[len(beside.packs)-1].lo != 0 {
		t.Errorf("%+v, %v", beside.packs, err)
	}
	h.remove(beyond)
	h.remove(proof.LogFolder(testCA, 1) + "/" + proof.PackName(0, s.size(t, second.AuditReportId)))
	if v := h.verified(s, second.AuditReportId); !v.Failed() || v.status(proof.Completeness).Class != proof.ClassLogMissing {
		t.Errorf("a report without its log: %+v", v)
	}
	h.remove(second.S3Key)
	if v := h.verified(s, second.AuditReportId); v.State != VerificationError || v.Failed() || !strings.Contains(v.Error, "not in the bucket any more") {
		t.Errorf("a report that is gone: %+v", v)
	}
}

func (s *Service) size(t *testing.T, id string) uint64 {
	t.Helper()
	r, err := s.Find(t.Context(), testCA, id)
	if err != nil {
		t.Fatal(err)
	}
	return r.TreeSize
}

// TestVerificationUntrusted: without a certificate of the CA nobody vouches for
// the key, and nothing is remembered.
func TestVerificationUntrusted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	s := h.service()
	defer start(t, s)()
	out := h.mustCreate(s, pca.AuditReportResponseFormat_CSV)
	h.wait(s, out.AuditReportId)
	if v := h.verified(s, out.AuditReportId); v.State != VerificationDone || v.Verified() || v.Failed() {
		t.Errorf("%+v", v)
	}
	if known, err := s.knownHeads(t.Context(), testCA); err != nil || known != nil {
		t.Errorf("%v, %v", known, err)
	}
	page, err := s.List(t.Context(), testCA, math.MaxInt64, 5)
	if err != nil || len(page) != 1 || page[0].ID != out.AuditReportId {
		t.Errorf("%v, %v", page, err)
	}
}

// TestVerificationsOfOneAccount: one account does not keep others from having
// their reports verified.
func TestVerificationsOfOneAccount(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.service() // it does not run: all wait
	v := &s.verifications
	ask := func(account string) error {
		r := &store.AuditReport{ID: uuid.NewString(), CA: testCA, Account: account, Status: pca.AuditReportStatus_SUCCESS}
		_, err := s.verify(r)
		return err
	}
	for i := range maxOfAccount + 1 {
		if err := ask(testAccount); (err != nil) != (i == maxOfAccount) {
			t.Errorf("verification %d: %v", i, err)
		}
	}
	if err := ask("210987654321"); err != nil || len(v.waiting) != maxOfAccount+1 {
		t.Errorf("of another account: %v; %d wait", err, len(v.waiting))
	}
}
