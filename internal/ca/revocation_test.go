package ca

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

// lists stands for the CRLs, whose room is above: it gives a number and a URI,
// and refuses when it is told to.
type lists struct {
	db *sqlite.DB

	mu      sync.Mutex
	bound   int
	refuses error
	checked []*store.CertificateAuthority
	changed []*store.CertificateAuthority
	revoked []string
}

func (l *lists) Check(_ context.Context, rec *store.CertificateAuthority) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.checked = append(l.checked, rec)
	return l.refuses
}

func (l *lists) Bind(ctx context.Context, rec *store.CertificateAuthority) (int64, string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bound++
	list := &store.CRL{CA: rec.ID, ID: int64(6 + l.bound), Active: true, URI: "http://crl.example.com/x.crl"}
	return list.ID, list.URI, l.db.AddCRLs(ctx, []*store.CRL{list}, nil)
}

func (l *lists) refuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuses = err
}

// tell are the settings of a house that publishes.
func (l *lists) tell(cfg *Config) {
	cfg.CRLs, cfg.OCSPURL = l, func() string { return "http://ocsp.example.com" }
	cfg.Changed = func(rec *store.CertificateAuthority) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed = append(l.changed, rec)
	}
	cfg.Revoked = func(ca string, serial []byte) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.revoked = append(l.revoked, fmt.Sprintf("%s/%x", ca, serial))
	}
}

// certificate parses what an ARN names.
func (h *house) certificate(t *testing.T, ca, arn string) *x509.Certificate {
	t.Helper()
	out, err := h.get(ca, arn)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(out.Certificate))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestRevocationConfiguration holds the rules and revocation.md 2.1.
func TestRevocationConfiguration(t *testing.T) {
	t.Parallel()
	var l lists
	h := open(t, t.TempDir(), l.tell)
	l.db = h.db
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, ca, 3600)
	omit := &pca.CrlDistributionPointExtensionConfiguration{OmitExtension: true}
	on := func(change func(*pca.CrlConfiguration)) pca.UpdateCertificateAuthorityRequest {
		c := pca.CrlConfiguration{Enabled: true, ExpirationInDays: 7, S3BucketName: "crls"}
		if change != nil {
			change(&c)
		}
		return crl(c)
	}
	cname := func(name string) pca.UpdateCertificateAuthorityRequest {
		return on(func(c *pca.CrlConfiguration) { c.CustomCname = name })
	}
	for name, c := range map[string]struct {
		change pca.UpdateCertificateAuthorityRequest
		text   string // empty: taken
	}{
		"no days":          {on(func(c *pca.CrlConfiguration) { c.ExpirationInDays = 0 }), "ExpirationInDays"},
		"no bucket":        {on(func(c *pca.CrlConfiguration) { c.S3BucketName = "" }), "S3BucketName"},
		"bucket and path":  {on(func(c *pca.CrlConfiguration) { c.S3BucketName = "crls/more" }), "not a valid S3 bucket name"},
		"scheme":           {cname("http://x"), "scheme"},
		"space":            {cname("a b"), "not a host name"},
		"query":            {cname("a/b?c"), "not a host name"},
		"port 0":           {cname("a:0"), "not a host name"},
		"no host":          {cname("/b"), "not a host name"},
		"user":             {cname("me@a"), "not a host name"},
		"half an escape":   {cname("a/b%4"), "not a host name"},
		"OmitExtension":    {on(func(c *pca.CrlConfiguration) { c.CustomCname, c.CrlDistributionPointExtensionConfiguration = "x", omit }), "OmitExtension"},
		"path that climbs": {on(func(c *pca.CrlConfiguration) { c.CustomPath = "a/../b" }), "CustomPath"},
		"OCSP scheme":      {ocsp(pca.OcspConfiguration{Enabled: true, OcspCustomCname: "https://x"}), "scheme"},
		"OCSP name":        {ocsp(pca.OcspConfiguration{Enabled: true, OcspCustomCname: "-x"}), "not a host name"},
		"name":             {cname("crl.example.com"), ""},
		"name and port":    {cname("10.0.0.1:8080/a/b%20c"), ""},
		"OCSP":             {ocsp(pca.OcspConfiguration{Enabled: true, OcspCustomCname: "ocsp.example.com/x"}), ""},
	} {
		in := c.change
		in.CertificateAuthorityArn = ca
		_, err := h.UpdateCertificateAuthority(t.Context(), &in)
		if c.text == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantCode(t, err, pca.InvalidArgsException)
		if err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v does not say %q", name, err, c.text)
		}
	}

	// Defaults are told; of two, the one that is not given stays.
	in := on(nil)
	in.CertificateAuthorityArn = ca
	if _, err := h.UpdateCertificateAuthority(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	got := h.describe(t, ca).RevocationConfiguration
	if want := (pca.CrlConfiguration{Enabled: true, ExpirationInDays: 7, S3BucketName: "crls", S3ObjectAcl: pca.S3ObjectAcl_PUBLIC_READ, CrlType: pca.CrlType_COMPLETE}); *got.CrlConfiguration != want {
		t.Errorf("described as %+v", *got.CrlConfiguration)
	}
	if !got.OcspConfiguration.Enabled || got.OcspConfiguration.OcspCustomCname != "ocsp.example.com/x" {
		t.Errorf("described as %+v", *got.OcspConfiguration)
	}

	// A bucket that cannot be written refuses both operations, and nothing changes.
	denied := pca.Errorf(pca.ValidationException, "Permission error")
	l.refuse(denied)
	bad := on(func(c *pca.CrlConfiguration) { c.S3BucketName = "closed" })
	bad.CertificateAuthorityArn = ca
	if _, err := h.UpdateCertificateAuthority(t.Context(), &bad); !errors.Is(err, denied) {
		t.Error(err)
	}
	if got := l.checked[len(l.checked)-1]; got.Revocation.CrlConfiguration.S3BucketName != "closed" || got.ARN != ca {
		t.Errorf("asked about %+v", got)
	}
	create := createRequest()
	create.RevocationConfiguration, create.IdempotencyToken = bad.RevocationConfiguration, "once"
	if _, err := h.CreateCertificateAuthority(t.Context(), create); !errors.Is(err, denied) {
		t.Error(err)
	}
	if cas, err := h.db.CAs(t.Context(), "", time.Time{}, "", 10); err != nil || len(cas) != 1 || cas[0].Revocation.CrlConfiguration.S3BucketName != "crls" {
		t.Errorf("%d CAs, %v", len(cas), err)
	}
	l.refuse(nil)
	first, err := h.CreateCertificateAuthority(t.Context(), create)
	if err != nil {
		t.Fatal(err)
	}
	l.refuse(denied)
	if again, err := h.CreateCertificateAuthority(t.Context(), create); err != nil || again.CertificateAuthorityArn != first.CertificateAuthorityArn {
		t.Errorf("a replay: %+v, %v", again, err)
	}
	// Switching off asks nobody.
	off := crl(pca.CrlConfiguration{})
	off.CertificateAuthorityArn = ca
	if _, err := h.UpdateCertificateAuthority(t.Context(), &off); err != nil {
		t.Error(err)
	}
	h.creations.Wait()
	l.mu.Lock()
	newest := map[string]int64{}
	for _, rec := range l.changed {
		if rec.Version < newest[rec.ID] {
			t.Errorf("version %d of a CA was told after %d", rec.Version, newest[rec.ID])
		}
		newest[rec.ID] = rec.Version
	}
	l.mu.Unlock()
	for id, version := range newest {
		if rec, err := h.db.CA(t.Context(), id); err != nil || rec.Version != version {
			t.Errorf("version %d was told of %+v, %v", version, rec, err)
		}
	}
	// The next start tells of all.
	var next lists
	h.close()
	if open(t, h.dir, next.tell); len(next.changed) < 2 {
		t.Errorf("a start tells of %d CAs", len(next.changed))
	}
}

// TestBinding: what certificates say about revocation, and which CRL has them
// (T-20 to T-22, R-45).
func TestBinding(t *testing.T) {
	t.Parallel()
	var l lists
	h := open(t, t.TempDir(), l.tell)
	l.db = h.db
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	update := func(c pca.CrlConfiguration, o pca.OcspConfiguration) {
		t.Helper()
		if _, err := h.UpdateCertificateAuthority(t.Context(), &pca.UpdateCertificateAuthorityRequest{
			CertificateAuthorityArn: ca, RevocationConfiguration: &pca.RevocationConfiguration{CrlConfiguration: &c, OcspConfiguration: &o},
		}); err != nil {
			t.Fatal(err)
		}
	}
	h.activate(t, ca, 3600)
	on := pca.CrlConfiguration{Enabled: true, ExpirationInDays: 7, S3BucketName: "crls"}
	omitted := on
	omitted.CrlDistributionPointExtensionConfiguration = &pca.CrlDistributionPointExtensionConfiguration{OmitExtension: true}
	for _, c := range []struct {
		name     string
		crl      pca.CrlConfiguration
		ocsp     pca.OcspConfiguration
		template string
		cdp, aia []string
		list     int64
	}{
		{"nothing", pca.CrlConfiguration{}, pca.OcspConfiguration{}, "", nil, nil, 0},
		{"both", on, pca.OcspConfiguration{Enabled: true}, "", []string{"http://crl.example.com/x.crl"}, []string{"http://ocsp.example.com"}, 7},
		{"omitted", omitted, pca.OcspConfiguration{Enabled: true, OcspCustomCname: "o.example.com/p"}, "", nil, []string{"http://o.example.com/p"}, 8},
		{"self-signed", on, pca.OcspConfiguration{Enabled: true}, rootTemplate, nil, nil, 0},
	} {
		update(c.crl, c.ocsp)
		csr := leafCSR(t, "leaf")
		if c.template != "" {
			csr = h.csr(t, ca)
		}
		arn, err := h.issue(t, ca, csr, c.template, 600)
		if err != nil {
			t.Fatal(err)
		}
		cert := h.certificate(t, ca, arn)
		if !slices.Equal(cert.CRLDistributionPoints, c.cdp) || !slices.Equal(cert.OCSPServer, c.aia) {
			t.Errorf("%s: %q and %q", c.name, cert.CRLDistributionPoints, cert.OCSPServer)
		}
		row, _, err := h.db.CertificateStatus(t.Context(), mustARN(t, ca).CA, cert.SerialNumber.Bytes())
		if err != nil || row.CRL != c.list {
			t.Errorf("%s: %+v, %v", c.name, row, err)
		}
	}
	// What is refused takes no place.
	for _, c := range []pca.CrlConfiguration{on, omitted} {
		update(c, pca.OcspConfiguration{})
		if _, err := h.issue(t, ca, leafCSR(t, "leaf"), "", 7200); err == nil || l.bound != 2 {
			t.Errorf("%v, %d bound", err, l.bound)
		}
	}
}

// TestRevocationsAreTold: of, and that OCSP learns at once.
func TestRevocationsAreTold(t *testing.T) {
	t.Parallel()
	var l lists
	h := open(t, t.TempDir(), l.tell, func(c *Config) { c.RequireBucketWrite, c.Quotas.RevokedPerCA = true, 2 })
	l.db = h.db
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, ca, 24*3600)
	update := func(c pca.CrlConfiguration) {
		t.Helper()
		in := crl(c)
		in.CertificateAuthorityArn = ca
		if _, err := h.UpdateCertificateAuthority(t.Context(), &in); err != nil {
			t.Fatal(err)
		}
	}
	on := pca.CrlConfiguration{Enabled: true, ExpirationInDays: 7, S3BucketName: "crls"}
	update(on)
	issue := func(seconds int64) string {
		t.Helper()
		arn, err := h.issue(t, ca, leafCSR(t, "leaf"), "", seconds)
		if err != nil {
			t.Fatal(err)
		}
		return arn
	}
	short, long, third := issue(600), issue(7200), issue(7200)

	l.refuse(pca.Errorf(pca.ValidationException, "Permission error"))
	err := h.revoke(ca, short)
	wantCode(t, err, pca.RequestFailedException)
	if n := h.entries(t, ca)[certlog.TypeRevoke]; n != 0 || len(l.revoked) != 0 {
		t.Errorf("%d revocations", n)
	}
	// What is wrong with the request comes first.
	wantCode(t, h.revoke(ca, ca+"/certificate/ff"), pca.ResourceNotFoundException)
	l.refuse(nil)
	for _, arn := range []string{short, long} {
		if err := h.revoke(ca, arn); err != nil {
			t.Fatal(err)
		}
	}
	if cert := h.certificate(t, ca, short); len(l.revoked) != 2 || l.revoked[0] != fmt.Sprintf("%s/%x", mustARN(t, ca).CA, cert.SerialNumber.Bytes()) {
		t.Errorf("told of %q", l.revoked)
	}
	wantCode(t, h.revoke(ca, third), pca.LimitExceededException)
	// One that expires makes room; partitioned CRLs have no such quota.
	h.pass(time.Hour)
	if err := h.revoke(ca, third); err != nil {
		t.Error(err)
	}
	fourth := issue(7200)
	wantCode(t, h.revoke(ca, fourth), pca.LimitExceededException)
	on.CrlType = pca.CrlType_PARTITIONED
	update(on)
	if err := h.revoke(ca, fourth); err != nil {
		t.Error(err)
	}
}

// TestIssueResponder: a responder certificate is an entry like any other.
func TestIssueResponder(t *testing.T) {
	t.Parallel()
	var l lists
	h := open(t, t.TempDir(), l.tell)
	l.db = h.db
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	id := mustARN(t, ca).CA
	if _, err := h.Keys.Generate(t.Context(), id+"-ocsp-1", string(pca.KeyAlgorithm_EC_prime256v1)); err != nil {
		t.Fatal(err)
	}
	r := func() *store.Responder {
		return &store.Responder{CA: id, Generation: 1, KeyID: id + "-ocsp-1", NotAfter: h.Now().Add(30 * 24 * time.Hour)}
	}
	_, err := h.IssueResponder(t.Context(), r())
	wantCode(t, err, pca.InvalidStateException)
	h.activate(t, ca, 3600)
	if err := h.update(ca, pca.CertificateAuthorityStatus_DISABLED); err != nil {
		t.Fatal(err)
	}
	one := r()
	der, err := h.IssueResponder(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil || !bytes.Equal(cert.SerialNumber.Bytes(), one.Serial) || !cert.NotAfter.Equal(one.NotAfter) || one.NotAfter.After(h.Now().Add(time.Hour)) {
		t.Errorf("%+v, %+v, %v", cert, one, err)
	}
	rows, err := h.db.Responders(t.Context(), id, h.Now())
	if err != nil || len(rows) != 1 || !bytes.Equal(rows[0].Serial, one.Serial) || rows[0].KeyID != one.KeyID || rows[0].Index == 0 {
		t.Errorf("%+v, %v", rows, err)
	}
	row, err := h.db.Certificate(t.Context(), id, one.Serial)
	if err != nil || !bytes.Equal(row.DER, der) || row.CRL != 0 || row.Generation != 1 || row.Index != rows[0].Index {
		t.Errorf("%+v, %v", row, err)
	}
	var e certlog.Entry
	if err := h.db.LogEntries(t.Context(), id, row.Index, row.Index+1, func(_ uint64, b []byte) error { return e.Decode(bytes.Clone(b)) }); err != nil {
		t.Fatal(err)
	}
	if string(e.Principal) != "acm-pca.amazonaws.com" || string(e.Account) != "123456789012" || string(e.TemplateARN) != "arn:aws:acm-pca:::template/OCSPSigningCertificate/V1" ||
		string(e.Subject) != "CN=Test OCSP Responder" {
		t.Errorf("%+v", e)
	}
	h.pass(2 * time.Hour)
	_, err = h.IssueResponder(t.Context(), r())
	wantCode(t, err, pca.InvalidStateException)
}
