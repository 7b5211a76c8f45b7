package ca

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// TestQuotas: what is there counts, also what can be restored, and also when
// many ask at once.
func TestQuotas(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.Quotas = Quotas{CertificateAuthorities: 3, CertificatesPerCA: 12}
	root := h.create(t, pca.CertificateAuthorityType_ROOT)
	second := h.create(t, pca.CertificateAuthorityType_ROOT)
	refused := func(err error, quota string) bool {
		t.Helper()
		if err == nil {
			return false
		}
		wantCode(t, err, pca.LimitExceededException)
		if !strings.Contains(err.Error(), quota) {
			t.Errorf("%v does not name the quota %q", err, quota)
		}
		return true
	}
	create := func(token string) (string, bool) {
		t.Helper()
		in := createRequest()
		in.IdempotencyToken = token
		out, err := h.CreateCertificateAuthority(t.Context(), in)
		if refused(err, "certificate authorities of an account (3)") {
			return "", false
		}
		return out.CertificateAuthorityArn, true
	}
	var made atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, ok := create("once more"); ok {
				made.Add(1)
			}
		})
	}
	wg.Wait()
	if made.Load() != 4 {
		t.Errorf("of 4 calls with one token %d were answered", made.Load())
	}
	if _, ok := create(""); ok {
		t.Error("a fourth CA was created")
	}
	if err := h.remove(second, 7); err != nil {
		t.Fatal(err)
	}
	if _, ok := create(""); ok {
		t.Error("one that can be restored does not count")
	}
	h.pass(7 * day)
	if _, ok := create(""); !ok {
		t.Error("one that is gone counts")
	}

	h.activate(t, root, 3600*24*30)
	csr := leafCSR(t, "leaf.example.com")
	var issued atomic.Int64
	for range 8 {
		wg.Go(func() {
			for range 3 {
				if _, err := h.issue(t, root, csr, "", 60); !refused(err, "certificates of a certificate authority allows (12)") {
					issued.Add(1)
				}
			}
		})
	}
	wg.Wait()
	// While others are under way it may refuse too soon, but not for good.
	for range 12 {
		if _, err := h.issue(t, root, csr, "", 60); !refused(err, "(12)") {
			issued.Add(1)
		}
	}
	if n, err := h.db.CountCertificates(t.Context(), mustARN(t, root).CA); err != nil || n != 12 || issued.Load() != 11 {
		t.Errorf("with the root's own %d certificates were issued, %d answered (%v)", n, issued.Load(), err)
	}
}

// TestTokens are the rules of api.md 6.
func TestTokens(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	var warnings atomic.Int64
	h.Log = slog.New(onWarning{slog.DiscardHandler, func() { warnings.Add(1) }})
	create := func(token, name string) string {
		t.Helper()
		in := createRequest()
		in.IdempotencyToken, in.CertificateAuthorityConfiguration.Subject.CommonName = token, name
		out, err := h.CreateCertificateAuthority(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		h.creations.Wait()
		return out.CertificateAuthorityArn
	}
	ca := create("t", "a")
	if create("t", "a") != ca || warnings.Load() != 0 {
		t.Errorf("a retry made another CA, or %d warnings", warnings.Load())
	}
	if create("t", "b") != ca || warnings.Load() != 1 {
		t.Errorf("another request with the token made another CA, or %d warnings", warnings.Load())
	}
	if create("T", "a") == ca || create("", "a") == ca {
		t.Error("other calls are taken for retries")
	}
	h.activate(t, ca, 3600)
	warnings.Store(0)
	csr := leafCSR(t, "leaf.example.com")
	issue := func(token string, seconds int64, csr []byte, template string) (string, error) {
		out, err := h.IssueCertificate(context.Background(), &pca.IssueCertificateRequest{
			CertificateAuthorityArn: ca, Csr: csr, SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA, TemplateArn: template, IdempotencyToken: token,
			Validity: pca.Validity{Type: pca.ValidityPeriodType_ABSOLUTE, Value: h.Now().Unix() + seconds},
		})
		if err != nil {
			return "", err
		}
		return out.CertificateArn, nil
	}
	if _, err := issue("t", 4000, csr, ""); err == nil {
		t.Error("a certificate outlives its CA")
	} // and reserves nothing
	var wg sync.WaitGroup
	answers := make([]string, 8)
	for i := range answers {
		wg.Go(func() {
			var err error
			if answers[i], err = issue("t", 60+int64(i), csr, ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("one token stands for %s and %s", a, answers[0])
		}
	}
	if warnings.Load() != 0 {
		t.Errorf("another validity makes %d warnings", warnings.Load())
	}
	if again, err := issue("t", 60, leafCSR(t, "other.example.com"), "arn:aws:acm-pca:::template/None/V1"); err != nil || again != answers[0] || warnings.Load() != 1 {
		t.Errorf("another request with the token gives %s, %v, %d warnings", again, err, warnings.Load())
	}
	if err := h.update(ca, pca.CertificateAuthorityStatus_DISABLED); err != nil {
		t.Fatal(err)
	}
	_, err := issue("t", 60, csr, "")
	wantCode(t, err, pca.InvalidStateException) // the status comes first
	if err := h.update(ca, pca.CertificateAuthorityStatus_ACTIVE); err != nil {
		t.Fatal(err)
	}
	h.pass(tokenWindow - time.Second)
	if again, err := issue("t", 60, csr, ""); err != nil || again != answers[0] {
		t.Errorf("within 5 minutes the token gives %s, %v", again, err)
	}
	h.pass(2 * time.Second)
	if again, err := issue("t", 60, csr, ""); err != nil || again == answers[0] {
		t.Errorf("after 5 minutes the token gives %s, %v", again, err)
	}
	if n, err := h.db.CountCertificates(t.Context(), mustARN(t, ca).CA); err != nil || n != 3 {
		t.Errorf("%d certificates, want the root and two (%v)", n, err)
	}
	// Others have tokens of their own.
	h.as(principal(t, stranger, "admin", allowAll))
	if again, err := issue("t", 60, csr, ""); err != nil || again == answers[0] {
		t.Errorf("another account's token gives %s, %v", again, err)
	}
}

// TestVisibilityDelay is the setting for tests of clients.
func TestVisibilityDelay(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, ca, 3600)
	h.VisibilityDelay = 3 * time.Second
	leaf, err := h.issue(t, ca, leafCSR(t, "leaf.example.com"), "", 60)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err = h.get(ca, leaf)
		wantCode(t, err, pca.RequestInProgressException)
		wantCode(t, h.revoke(ca, leaf), pca.RequestInProgressException)
		h.pass(time.Second)
	}
	_, err = h.get(ca, ca+"/certificate/"+leaf[len(leaf)-32:len(leaf)-2]+"00")
	wantCode(t, err, pca.ResourceNotFoundException)
	if _, err := h.get(ca, leaf); err != nil {
		t.Error(err)
	}
	if err := h.revoke(ca, leaf); err != nil {
		t.Error(err)
	}
	h.pass(time.Minute)
	wantCode(t, h.revoke(ca, leaf), pca.RequestAlreadyProcessedException) // also when it has expired
}

// TestKeyStandards: the values of the list are echoed, others refused.
func TestKeyStandards(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.KeyStandards = []pca.KeyStorageSecurityStandard{pca.KeyStorageSecurityStandard_FIPS_140_2_LEVEL_2_OR_HIGHER}
	for standard, accepted := range map[pca.KeyStorageSecurityStandard]bool{
		"": false, // FIPS_140_2_LEVEL_3_OR_HIGHER
		pca.KeyStorageSecurityStandard_CCPC_LEVEL_1_OR_HIGHER:       false,
		pca.KeyStorageSecurityStandard_FIPS_140_2_LEVEL_2_OR_HIGHER: true,
	} {
		in := createRequest()
		in.KeyStorageSecurityStandard = standard
		out, err := h.CreateCertificateAuthority(t.Context(), in)
		if !accepted {
			wantCode(t, err, pca.InvalidArgsException)
			if err != nil && !strings.Contains(err.Error(), "A certificate authority cannot be created in this region with the specified security standard.") {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := h.describe(t, out.CertificateAuthorityArn).KeyStorageSecurityStandard; got != standard {
			t.Errorf("%s is shown as %s", standard, got)
		}
	}
}

// TestOldTokens: a token that was reserved before its request was noted.
func TestOldTokens(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	rec := &store.CertificateAuthority{ID: "0a1b2c3d-0000-4000-8000-000000000000", Account: owner, Status: pca.CertificateAuthorityStatus_FAILED}
	token := &store.Token{Key: owner + "/CreateCertificateAuthority/t", Value: "arn:first", Now: h.Now(), Expires: h.Now().Add(time.Minute)}
	if err := h.db.CreateCA(t.Context(), rec, token); err != nil {
		t.Fatal(err)
	}
	in := createRequest()
	in.IdempotencyToken = "t"
	if out, err := h.CreateCertificateAuthority(t.Context(), in); err != nil || out.CertificateAuthorityArn != "arn:first" {
		t.Errorf("%v, %v", out, err)
	}
}
