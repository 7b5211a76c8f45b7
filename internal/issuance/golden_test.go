package issuance

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"testing"

	"chirograph.dev/internal/pca"
)

// The bytes to be signed, whole, for one certificate of each kind; the golden
// files hold them in hex, which is compared, and as openssl asn1parse shows
// them, for the reader (T-24, T-25, T-40, T-45).
func TestGoldenCertificates(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/golden.csr")
	if err != nil {
		t.Fatal(err)
	}
	csr, err := ParseCSR(text)
	if err != nil {
		t.Fatal(err)
	}
	aki, err := encodeAuthorityKeyID(bytes.Repeat([]byte{0xaa}, 20))
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{
		cfg: IssuerConfig{Type: pca.CertificateAuthorityType_ROOT}, public: csr.PublicKey, pathLen: -1, authority: aki,
		rawName: name(t, pca.ASN1Subject{Country: "US", Organization: "Example", CommonName: "Root"}),
	}
	all := &pca.ApiPassthrough{
		Subject: &pca.ASN1Subject{CustomAttributes: []pca.CustomAttribute{
			{ObjectIdentifier: "2.5.4.6", Value: "DE"}, {ObjectIdentifier: "0.9.2342.19200300.100.1.25", Value: "example"}, {ObjectIdentifier: "1.2.840.113549.1.9.1", Value: "a@example.com"},
			{ObjectIdentifier: "2.5.4.5", Value: "12345"}, {ObjectIdentifier: "1.3.6.1.4.1.37244.1.1", Value: "ACDC"}, {ObjectIdentifier: "2.5.4.3", Value: "Müller"},
		}},
		Extensions: &pca.Extensions{
			KeyUsage:         &pca.KeyUsage{DigitalSignature: true, DecipherOnly: true},
			ExtendedKeyUsage: []pca.ExtendedKeyUsage{{ExtendedKeyUsageType: pca.ExtendedKeyUsageType_SMART_CARD_LOGIN}, {ExtendedKeyUsageObjectIdentifier: "1.2.3.4"}},
			SubjectAlternativeNames: []pca.GeneralName{
				{OtherName: &pca.OtherName{TypeId: "1.3.6.1.4.1.311.20.2.3", Value: "user@example.com"}}, {Rfc822Name: "a@example.com"}, {DnsName: "example.com"},
				{DirectoryName: &pca.ASN1Subject{CommonName: "x", Country: "DE"}}, {EdiPartyName: &pca.EdiPartyName{PartyName: "p", NameAssigner: "a"}},
				{UniformResourceIdentifier: "spiffe://example/x"}, {IpAddress: "10.0.0.1"}, {IpAddress: "2001:db8::1"}, {RegisteredId: "1.2.3"},
			},
			CertificatePolicies: []pca.PolicyInformation{{CertPolicyId: "1.2.3", PolicyQualifiers: []pca.PolicyQualifierInfo{{PolicyQualifierId: "CPS", Qualifier: pca.Qualifier{CpsUri: "https://example.com/cps"}}}}},
			CustomExtensions:    []pca.CustomExtension{{ObjectIdentifier: "1.2.3.4.5", Value: "DAJoaQ==", Critical: true}},
		},
	}
	standard := &pca.ApiPassthrough{Subject: &pca.ASN1Subject{CommonName: "n", Country: "US", Locality: "l", Organization: "o", OrganizationalUnit: "u", State: "s", SerialNumber: "1", DistinguishedNameQualifier: "q",
		Title: "t", Surname: "f", GivenName: "g", Initials: "i", Pseudonym: "p", GenerationQualifier: "j"}}
	for _, c := range []struct {
		file, tmpl, notAfter string
		api                  *pca.ApiPassthrough
		configured           bool
	}{
		{"base", "EndEntityCertificate", "2049-12-31T23:59:59Z", nil, true},
		{"api", "BlankEndEntityCertificate_CriticalBasicConstraints_APIPassthrough", "2050-01-01T00:00:00Z", all, false},
		{"subject", "CodeSigningCertificate_APIPassthrough", "9999-12-31T23:59:59Z", standard, false},
		{"subordinate", "SubordinateCACertificate_PathLen2", "2040-01-01T00:00:00Z", nil, true},
		{"root", "RootCACertificate", "2040-01-01T00:00:00Z", nil, true},
	} {
		r := request(t, c.tmpl, text)
		if c.configured {
			r.CRLURL, r.OCSPURL = func() (string, error) { return "http://ca.example/crl/1.crl", nil }, "http://ca.example/ocsp"
		}
		api, err := encodePassthrough(r.Template, c.api, false)
		if err != nil {
			t.Fatal(err)
		}
		a, err := i.assemble(&r, csr, &api)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.addCRL(); err != nil {
			t.Fatal(err)
		}
		a.period = period{at(t, "2026-11-22T09:20:30Z"), at(t, c.notAfter)}
		alg, _ := lookupSignatureAlgorithm(pca.SigningAlgorithm_SHA384WITHECDSA)
		tbs, err := a.tbs([16]byte{0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, alg.identifier)
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s\n%s", hex.EncodeToString(tbs), openssl(t, tbs, "asn1parse", "-inform", "DER", "-i"))
		path := "testdata/" + c.file + ".asn1"
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		wantHex, _, _ := bytes.Cut(want, []byte("\n"))
		if string(wantHex) != hex.EncodeToString(tbs) {
			t.Errorf("%s: the certificate differs from %s:\n%s", c.tmpl, path, got)
		}
	}
}
