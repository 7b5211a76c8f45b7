package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"chirograph.dev/internal/pca"
)

// Foreign CAs put into certificates what crypto/x509 does not take. What the
// import checks accept is installed, and found again after a restart; what
// they refuse has a code.
func TestImportOfUncommonCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	sub := h.create(t, pca.CertificateAuthorityType_SUBORDINATE)
	block, _ := pem.Decode(h.csr(t, sub))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	parent := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Parent"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	parentDER, err := x509.CreateCertificate(rand.Reader, parent, parent, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	importWith := func(before string, serial *big.Int, e pkix.Extension) error {
		child := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: "Child"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(12 * time.Hour),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, ExtraExtensions: []pkix.Extension{e}}
		der, err := x509.CreateCertificate(rand.Reader, child, parent, request.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		_, err = h.ImportCertificateAuthorityCertificate(t.Context(), &pca.ImportCertificateAuthorityCertificateRequest{
			CertificateAuthorityArn: sub, Certificate: slices.Concat([]byte(before), encode(der)), CertificateChain: encode(parentDER),
		})
		return err
	}
	san := asn1.ObjectIdentifier{2, 5, 29, 17}
	for what, e := range map[string]pkix.Extension{
		"no DER":     {Id: san, Value: []byte("xx")},
		"two values": {Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 1}, Value: []byte{0x30, 0, 0x30, 0}},
		"empty":      {Id: asn1.ObjectIdentifier{2, 5, 29, 31}},
	} {
		t.Log(what)
		wantCode(t, importWith("", big.NewInt(2), e), pca.MalformedCertificateException)
	}
	if s := h.status(t, sub); s != pca.CertificateAuthorityStatus_PENDING_CERTIFICATE {
		t.Errorf("after refused imports the status is %s", s)
	}
	for what, e := range map[string]pkix.Extension{
		"a URI that is none":        {Id: san, Value: []byte("\x30\x04\x86\x02%%")},
		"an address of three bytes": {Id: san, Value: []byte{0x30, 5, 0x87, 3, 1, 2, 3}},
		"extended key usage":        {Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: []byte{5, 0}},
	} {
		if err := importWith("text with a \x00 in it\n", new(big.Int).Lsh(big.NewInt(1), 158), e); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	describe := func() *pca.CertificateAuthority {
		out, err := h.DescribeCertificateAuthority(t.Context(), &pca.DescribeCertificateAuthorityRequest{CertificateAuthorityArn: sub})
		if err != nil {
			t.Fatal(err)
		}
		return out.CertificateAuthority
	}
	if d := describe(); d.Serial != new(big.Int).Lsh(big.NewInt(1), 158).String() || d.Status != pca.CertificateAuthorityStatus_ACTIVE {
		t.Errorf("serial %s, status %s", d.Serial, d.Status)
	}
	installed := func() pca.GetCertificateAuthorityCertificateResponse {
		out, err := h.GetCertificateAuthorityCertificate(t.Context(), &pca.GetCertificateAuthorityCertificateRequest{CertificateAuthorityArn: sub})
		if err != nil {
			t.Fatal(err)
		}
		return *out
	}
	before := installed()
	h.close()
	h = open(t, dir)
	if after := installed(); after != before {
		t.Errorf("after a restart the certificate is %q, was %q", after.Certificate, before.Certificate)
	}
	if _, err := h.issue(t, sub, leafCSR(t, "leaf.example.com"), "", 60); err != nil {
		t.Error(err)
	}
}
