package issuance

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/pca"
)

// TestIssueResponder has what relying parties want of a responder certificate
// (RFC 6960 4.2.2.2), also below name constraints.
func TestIssueResponder(t *testing.T) {
	t.Parallel()
	root := p256Root()
	key := ecKey(t, elliptic.P256())
	for _, c := range []struct {
		name                string
		permitted, excluded []string
		want                string // subject; empty: refused
	}{
		{"unconstrained", nil, nil, "CN=OCSP Responder,O=Example"},
		{"of hosts", []string{"dns:example.com"}, nil, "CN=OCSP Responder,O=Example"},
		{"of names", []string{"dns:example.com", "dn:O=Example/OU=PKI"}, nil, "CN=OCSP Responder,OU=PKI,O=Example"},
		{"one of two names", []string{"dn:O=Bad", "dn:O=Good"}, []string{"dn:O=Bad"}, "CN=OCSP Responder,O=Good"},
		{"of nothing", []string{"dn:O=Bad"}, []string{"dn:O=Bad"}, ""},
	} {
		var constraints *pca.ApiPassthrough
		if c.permitted != nil {
			constraints = &pca.ApiPassthrough{Extensions: &pca.Extensions{CustomExtensions: []pca.CustomExtension{{
				ObjectIdentifier: "2.5.29.30", Critical: true, Value: base64.StdEncoding.EncodeToString(constraintsValue(t, c.permitted, c.excluded)),
			}}}}
		}
		a := newCA(t, root, ecKey(t, elliptic.P256()), pca.SigningAlgorithm_SHA256WITHECDSA, "SubordinateCACertificate_PathLen0_APIPassthrough", constraints)
		r := ResponderRequest{PublicKey: key.Public(), SigningAlgorithm: pca.SigningAlgorithm_SHA384WITHECDSA, Now: now, NotAfter: now.AddDate(0, 0, 30), Serial: [16]byte{1}}
		out, template, err := a.issuer(t).IssueResponder(r)
		if c.want == "" {
			wantCode(t, err, pca.ValidationException)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		verifyChain(t, out.DER, a.config.Certificate, root.config.Certificate)
		cert, err := x509.ParseCertificate(out.DER)
		if err != nil {
			t.Fatal(err)
		}
		if string(out.Subject) != c.want || template != "arn:aws-cn:acm-pca:::template/OCSPSigningCertificate/V1" || !cert.NotAfter.Equal(r.NotAfter.Truncate(time.Second)) {
			t.Errorf("%s: %s until %s, %s", c.name, out.Subject, cert.NotAfter, template)
		}
		if len(cert.ExtKeyUsage) != 1 || cert.ExtKeyUsage[0] != x509.ExtKeyUsageOCSPSigning || cert.KeyUsage != x509.KeyUsageDigitalSignature || cert.IsCA ||
			len(cert.CRLDistributionPoints)+len(cert.OCSPServer) > 0 || cert.SignatureAlgorithm != x509.ECDSAWithSHA384 {
			t.Errorf("%s: %+v", c.name, cert)
		}
		noCheck := false
		for _, e := range cert.Extensions {
			if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}) {
				noCheck = !e.Critical && bytes.Equal(e.Value, asn1.NullBytes)
			}
		}
		if !noCheck {
			t.Errorf("%s: no id-pkix-ocsp-nocheck", c.name)
		}
	}

	// It never outlives its CA, nor what a short-lived CA may issue.
	r := ResponderRequest{PublicKey: key.Public(), SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA, Now: now, NotAfter: now.AddDate(100, 0, 0), Serial: [16]byte{2}}
	out, _, err := root.issuer(t).IssueResponder(r)
	if err != nil || !out.NotAfter.Equal(root.issuer(t).notAfter) {
		t.Errorf("%+v, %v", out, err)
	}
	short := *root.issuer(t)
	short.cfg.UsageMode = pca.CertificateAuthorityUsageMode_SHORT_LIVED_CERTIFICATE
	out, _, err = short.IssueResponder(r)
	if err != nil || !out.NotAfter.Equal(now.Truncate(time.Second).Add(shortLived)) {
		t.Errorf("%+v, %v", out, err)
	}
	for common, want := range map[string]string{
		"Example CA":            "Example CA OCSP Responder",
		strings.Repeat("ä", 60): responderName, // has no room for more
	} {
		subject, err := (&Issuer{rawName: name(t, pca.ASN1Subject{Organization: "O", CommonName: common})}).responderSubject()
		if want := name(t, pca.ASN1Subject{Organization: "O", CommonName: want}); err != nil || !bytes.Equal(subject, want) {
			t.Errorf("%s: %x, %v", common, subject, err)
		}
	}
}
