package issuance

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/pca"
)

// foreign is an external hierarchy: root > A > B > own, each with its key.
type foreign struct {
	keys  []*ecdsa.PrivateKey // root first, the imported CA's last
	specs []certSpec
}

var basicCA = Extension{OID: oidBasicConstraints, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}

func pathLen(n byte) Extension {
	return Extension{OID: oidBasicConstraints, Critical: true, Value: []byte{0x30, 6, 1, 1, 0xff, 2, 1, n}}
}

func keyUsage(hex byte) Extension {
	return Extension{OID: oidKeyUsage, Critical: true, Value: []byte{3, 2, 1, hex}}
}

func newForeign(t testing.TB) *foreign {
	f := &foreign{}
	for _, n := range []string{"root", "A", "B", "own"} {
		f.keys = append(f.keys, ecKey(t, elliptic.P256()))
		f.specs = append(f.specs, certSpec{subject: distinguished(t, "O=Ext/CN="+n), extensions: []Extension{basicCA, keyUsage(0x06)}})
	}
	for n := 1; n < 4; n++ {
		f.specs[n].issuer = f.specs[n-1].subject
	}
	return f
}

// certs makes the certificates, root first.
func (f *foreign) certs(t testing.TB) (list [][]byte) {
	for n, s := range f.specs {
		list = append(list, s.der(t, f.keys[n], f.keys[max(n-1, 0)]))
	}
	return list
}

func (f *foreign) request(t testing.TB) ImportRequest {
	c := f.certs(t)
	return ImportRequest{Type: pca.CertificateAuthorityType_SUBORDINATE, PublicKey: f.keys[3].Public(), Certificate: pemCert(c[3]), Chain: pemCert(c[2], c[1], c[0]), Now: now}
}

func TestImportSubordinate(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	f.specs[3].serial = unhex(t, "00e8cbd2bedb122329f97706bcfec990f8")
	f.specs[3].extensions = append(f.specs[3].extensions, Extension{OID: oidSubjectKeyIdentifier, Value: []byte{4, 2, 7, 8}})
	r := f.request(t)
	r.Certificate = append([]byte("Certificate of the CA\r\n"), bytes.ReplaceAll(r.Certificate, []byte("\n"), []byte("\r\n"))...)
	got, err := CheckImport(r)
	if err != nil {
		t.Fatal(err)
	}
	if hex.EncodeToString(got.Serial) != "e8cbd2bedb122329f97706bcfec990f8" || !bytes.Equal(got.SKI, []byte{7, 8}) || got.PathLen != -1 || len(got.Chain) != 3 ||
		!bytes.Equal(got.RawSubject, f.specs[3].subject) || !got.NotBefore.Equal(now.AddDate(-1, 0, 0).Truncate(time.Second)) || !got.NotAfter.Equal(now.AddDate(1, 0, 0).Truncate(time.Second)) {
		t.Errorf("%+v", got)
	}
	x, err := x509.ParseCertificate(got.Certificate)
	if err != nil || new(big.Int).SetBytes(got.Serial).Cmp(x.SerialNumber) != 0 {
		t.Errorf("crypto/x509: %v", err)
	}
	f.specs[3].extensions[0] = pathLen(0)
	if got, err = CheckImport(f.request(t)); err != nil || got.PathLen != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestImportRefusals(t *testing.T) {
	t.Parallel()
	malformed, mismatch, invalid := pca.MalformedCertificateException, pca.CertificateMismatchException, pca.InvalidRequestException
	const sha1ECDSA = "300906072a8648ce3d0401"
	for _, c := range []struct {
		what    string
		code    pca.Code // empty: accepted
		prepare func(f *foreign)
		change  func(f *foreign, r *ImportRequest)
	}{
		{"as it is", "", nil, nil},
		{"4: two certificates", malformed, nil, func(f *foreign, r *ImportRequest) { r.Certificate = append(r.Certificate, r.Certificate...) }},
		{"4: no PEM", malformed, nil, func(f *foreign, r *ImportRequest) { r.Certificate = []byte("x") }},
		{"4: DER", malformed, nil, func(f *foreign, r *ImportRequest) { b, _ := pem.Decode(r.Certificate); r.Certificate = b.Bytes }},
		{"4: a CSR", malformed, nil, func(f *foreign, r *ImportRequest) {
			r.Certificate = bytes.ReplaceAll(r.Certificate, []byte("CERTIFICATE"), []byte("CERTIFICATE REQUEST"))
		}},
		{"4: trailing byte", malformed, nil, func(f *foreign, r *ImportRequest) {
			b, _ := pem.Decode(r.Certificate)
			r.Certificate = pemCert(append(b.Bytes, 0))
		}},
		{"4: duplicate extension", malformed, func(f *foreign) { f.specs[3].extensions = append(f.specs[3].extensions, basicCA) }, nil},
		{"4: negative serial", malformed, func(f *foreign) { f.specs[3].serial = []byte{0x80} }, nil},
		{"5: root with chain", invalid, nil, func(f *foreign, r *ImportRequest) { r.Type = pca.CertificateAuthorityType_ROOT }},
		{"6: no chain", invalid, nil, func(f *foreign, r *ImportRequest) { r.Chain = []byte{} }},
		{"7: another key", mismatch, nil, func(f *foreign, r *ImportRequest) { r.PublicKey = f.keys[0].Public() }},
		{"7: another kind of key", mismatch, nil, func(f *foreign, r *ImportRequest) { r.PublicKey = rsaKey().Public() }},
		{"8: self-signed subordinate", invalid, nil, func(f *foreign, r *ImportRequest) {
			f.specs[3].issuer = f.specs[3].subject
			r.Certificate = pemCert(f.specs[3].der(t, f.keys[3], f.keys[3]))
		}},
		{"9: no basicConstraints", malformed, func(f *foreign) { f.specs[3].extensions = []Extension{keyUsage(0x06)} }, nil},
		{"9: not critical", malformed, func(f *foreign) { f.specs[3].extensions[0].Critical = false }, nil},
		{"9: not a CA", malformed, func(f *foreign) { f.specs[3].extensions[0].Value = []byte{0x30, 0} }, nil},
		{"9: version 1", malformed, func(f *foreign) { f.specs[3].extensions = nil }, nil},
		{"10: no keyCertSign", malformed, func(f *foreign) { f.specs[3].extensions[1] = keyUsage(0x02) }, nil},
		{"10: no key usage", "", func(f *foreign) { f.specs[3].extensions = []Extension{basicCA} }, nil},
		{"11: unknown critical", malformed, func(f *foreign) {
			f.specs[3].extensions = append(f.specs[3].extensions, Extension{OID: "\x2a\x03", Critical: true, Value: []byte{5, 0}})
		}, nil},
		{"11: unknown", "", func(f *foreign) {
			f.specs[3].extensions = append(f.specs[3].extensions, Extension{OID: "\x2a\x03", Value: []byte{5, 0}})
		}, nil},
		{"11: critical CDP in the chain", malformed, func(f *foreign) {
			f.specs[1].extensions = append(f.specs[1].extensions, Extension{OID: oidCRLDistributionPoints, Critical: true, Value: []byte{0x30, 0}})
		}, nil},
		{"11: critical policyConstraints", malformed, func(f *foreign) {
			f.specs[3].extensions = append(f.specs[3].extensions, Extension{OID: "\x55\x1d\x24", Critical: true, Value: []byte{0x30, 0}})
		}, nil},
		{"11: all that may be critical", "", func(f *foreign) {
			for _, o := range []string{oidAuthorityKeyIdentifier, oidCertificatePolicies, oidExtendedKeyUsage, oidInhibitAnyPolicy, oidIssuerAltName, oidPolicyMappings,
				oidSubjectAltName, oidSubjectDirectoryAttributes, oidSubjectInfoAccess} {
				f.specs[3].extensions = append(f.specs[3].extensions, Extension{OID: o, Critical: true, Value: []byte{0x30, 0}})
			}
			f.specs[3].extensions = append(f.specs[3].extensions, Extension{OID: oidSubjectKeyIdentifier, Critical: true, Value: []byte{4, 1, 1}},
				Extension{OID: oidNameConstraints, Critical: true, Value: []byte{0x30, 0}})
		}, nil},
		{"12: chain no PEM", malformed, nil, func(f *foreign, r *ImportRequest) { r.Chain = []byte("x") }},
		{"12: a broken block", malformed, nil, func(f *foreign, r *ImportRequest) { r.Chain = append(r.Chain, "-----BEGIN CERTIFICATE-----\nAAA"...) }},
		{"12: order", malformed, nil, func(f *foreign, r *ImportRequest) { c := f.certs(t); r.Chain = pemCert(c[0], c[1], c[2]) }},
		{"12: no root", malformed, nil, func(f *foreign, r *ImportRequest) { c := f.certs(t); r.Chain = pemCert(c[2], c[1]) }},
		{"12: gap", malformed, nil, func(f *foreign, r *ImportRequest) { c := f.certs(t); r.Chain = pemCert(c[2], c[0]) }},
		{"12: more behind the root", malformed, nil, func(f *foreign, r *ImportRequest) { c := f.certs(t); r.Chain = pemCert(c[2], c[1], c[0], c[1]) }},
		{"12: itself in the chain", malformed, nil, func(f *foreign, r *ImportRequest) { r.Chain = append(bytes.Clone(r.Certificate), r.Chain...) }},
		{"12: signature", mismatch, nil, func(f *foreign, r *ImportRequest) {
			r.Certificate = pemCert(f.specs[3].der(t, f.keys[3], f.keys[1]))
		}},
		{"12: signature in the chain", mismatch, nil, func(f *foreign, r *ImportRequest) {
			c := f.certs(t)
			r.Chain = pemCert(c[2], f.specs[1].der(t, f.keys[1], f.keys[3]), c[0])
		}},
		{"13: no CA in the chain", mismatch, func(f *foreign) { f.specs[2].extensions = nil }, nil},
		{"13: no keyCertSign in the chain", mismatch, func(f *foreign) { f.specs[1].extensions[1] = keyUsage(0x02) }, nil},
		{"14: A allows one, two below", mismatch, func(f *foreign) { f.specs[1].extensions[0] = pathLen(1) }, nil},
		{"14: A allows two", "", func(f *foreign) { f.specs[1].extensions[0] = pathLen(2) }, nil},
		{"14: B allows none", mismatch, func(f *foreign) { f.specs[2].extensions[0] = pathLen(0) }, nil},
		{"14: B allows one", "", func(f *foreign) { f.specs[2].extensions[0] = pathLen(1) }, nil},
		{"14: root allows two, three below", mismatch, func(f *foreign) { f.specs[0].extensions[0] = pathLen(2) }, nil},
		{"14: a self-issued one does not count", "", func(f *foreign) {
			f.specs[1].subject = f.specs[0].subject
			f.specs[2].issuer = f.specs[0].subject
			f.specs[0].extensions[0] = pathLen(2)
		}, nil},
		{"15: over", mismatch, func(f *foreign) { f.specs[3].notAfter = now.Add(-time.Second) }, nil},
		{"15: last second", "", func(f *foreign) { f.specs[3].notAfter = now }, nil},
		{"15: not yet", mismatch, func(f *foreign) { f.specs[3].notBefore = now.Add(time.Minute) }, nil},
		{"15: chain over", mismatch, func(f *foreign) { f.specs[3].notAfter = now; f.specs[1].notAfter = now.Add(-time.Hour) }, nil},
		{"15: chain not yet", mismatch, func(f *foreign) { f.specs[0].notBefore = now.Add(time.Hour) }, nil},
		{"15: outlives an issuer", mismatch, func(f *foreign) { f.specs[1].notAfter = now.AddDate(0, 6, 0) }, nil},
		{"16: name constraints", mismatch, func(f *foreign) {
			f.specs[0].extensions = append(f.specs[0].extensions, Extension{OID: oidNameConstraints, Critical: true, Value: constraintsValue(t, []string{"dn:O=Other"}, nil)})
		}, nil},
		{"16: permitted", "", func(f *foreign) {
			f.specs[0].extensions = append(f.specs[0].extensions, Extension{OID: oidNameConstraints, Critical: true, Value: constraintsValue(t, []string{"dn:O=ext"}, nil)})
		}, nil},
		{"17: SHA-1", malformed, func(f *foreign) { f.specs[3].algorithm, f.specs[3].hash = sha1ECDSA, crypto.SHA1 }, nil},
		{"17: SHA-1 in the root", "", func(f *foreign) { f.specs[0].algorithm, f.specs[0].hash = sha1ECDSA, crypto.SHA1 }, nil},
		{"names that are equal but not in bytes", "", func(f *foreign) { f.specs[3].issuer = distinguished(t, "O=! eXt/CN=!b") }, nil},
	} {
		f := newForeign(t)
		if c.prepare != nil {
			c.prepare(f)
		}
		r := f.request(t)
		if c.change != nil {
			c.change(f, &r)
		}
		got, err := CheckImport(r)
		if c.code == "" {
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: accepted %+v", c.what, got)
			continue
		}
		t.Run(c.what, func(t *testing.T) { wantCode(t, err, c.code) })
	}
}

func TestImportRoot(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	spec := certSpec{subject: distinguished(t, "CN=root"), extensions: []Extension{basicCA}}
	try := func(code pca.Code, s certSpec, signer crypto.Signer) {
		t.Helper()
		got, err := CheckImport(ImportRequest{Type: pca.CertificateAuthorityType_ROOT, PublicKey: key.Public(), Certificate: pemCert(s.der(t, key, signer)), Now: now})
		if code != "" {
			wantCode(t, err, code)
		} else if err != nil || got.Chain != nil || got.PathLen != -1 || got.SKI != nil {
			t.Errorf("%+v, %v", got, err)
		}
	}
	try("", spec, key)
	try(pca.InvalidRequestException, spec, ecKey(t, elliptic.P256()))
	other := spec
	other.issuer = distinguished(t, "CN=other")
	try(pca.InvalidRequestException, other, key)
	later := spec
	later.notBefore = now.AddDate(0, 1, 0) // no validity check at a root but that it is not over
	try("", later, key)
	over := spec
	over.notAfter = now
	try(pca.CertificateMismatchException, over, key)
	over.notAfter = now.Add(2 * time.Second)
	try("", over, key)
	weak := spec
	weak.algorithm, weak.hash = "300906072a8648ce3d0401", crypto.SHA1
	try(pca.MalformedCertificateException, weak, key)
}

// What crypto/x509 makes and reads, parseCertificate reads alike.
func TestParseCertificateAgreesWithX509(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P384())
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(0x80), Subject: pkix.Name{CommonName: "x", Country: []string{"DE"}}, NotBefore: now, NotAfter: time.Date(2051, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: 3, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1, 2, 3},
		PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"example.com"}, ExcludedEmailAddresses: []string{"x@y"},
	}
	for _, signer := range []crypto.Signer{key, rsaKey()} {
		for _, alg := range []x509.SignatureAlgorithm{0, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS} {
			if alg != 0 && !isRSA(signer.Public()) {
				continue
			}
			tmpl.SignatureAlgorithm = alg
			der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, signer.Public(), signer)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			want, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.serial, []byte{0x80}) || !bytes.Equal(got.rawTBS, want.RawTBSCertificate) || !bytes.Equal(got.rawSubject, want.RawSubject) || !bytes.Equal(got.rawIssuer, want.RawIssuer) ||
				!got.notBefore.Equal(want.NotBefore) || !got.notAfter.Equal(want.NotAfter) || got.pathLen != 3 || !got.ca || !got.criticalBasic || !got.mayCertSign ||
				!bytes.Equal(got.subjectKeyID, want.SubjectKeyId) || len(got.constraints.permitted) != 1 || len(got.constraints.excluded) != 1 || got.constraints.unsupported ||
				!samePublicKey(got.publicKey, want.PublicKey) || !got.selfSigned() {
				t.Errorf("%+v differs from what crypto/x509 reads", got)
			}
		}
	}
}

func FuzzParseCertificate(f *testing.F) {
	var once fatal
	f.Add(p256Root().cert.Raw)
	fc := newForeign(once)
	fc.specs[3].extensions = append(fc.specs[3].extensions, Extension{OID: oidNameConstraints, Critical: true, Value: constraintsValue(once, []string{"dns:a", "dn:O=x", "ip:10.0.0.0/8"}, []string{"uri:.b", "mail:c"})})
	f.Add(fc.certs(once)[3])
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := parseCertificate(der)
		if err != nil {
			return
		}
		if _, err := AppendSubject(nil, c.rawSubject); err != nil {
			t.Errorf("%x: %v", der, err)
		}
		if c.constraints != nil {
			c.constraints.check([]generalName{{nameDNS, []byte("a")}, {nameIP, []byte{10, 0, 0, 1}}, {nameDirectory, c.rawSubject}})
		}
		// Whatever can be read, crypto/x509 does not read differently.
		x, err := x509.ParseCertificate(der)
		if err == nil && (!bytes.Equal(x.RawSubject, c.rawSubject) || !bytes.Equal(x.SerialNumber.Bytes(), c.serial) || x.BasicConstraintsValid && x.IsCA != c.ca) {
			t.Errorf("%x: differs from crypto/x509", der)
		}
		if _, err := CheckImport(ImportRequest{Type: pca.CertificateAuthorityType_ROOT, PublicKey: c.publicKey, Certificate: pemCert(der), Now: c.notBefore}); err != nil && strings.TrimSpace(err.Error()) == "" {
			t.Errorf("%x: an error without a message", der)
		}
	})
}

// Policies of the CA's certificates bind nothing that is issued (templates 6.4).
func TestPoliciesAreNotEnforced(t *testing.T) {
	t.Parallel()
	f := newForeign(t)
	f.specs[3].extensions = append(f.specs[3].extensions,
		Extension{OID: oidCertificatePolicies, Critical: true, Value: unhex(t, "3006300406022a03")},
		Extension{OID: "\x55\x1d\x24", Value: unhex(t, "3006 800100 810100")}, // policyConstraints: explicit policy, no mapping
		Extension{OID: oidInhibitAnyPolicy, Critical: true, Value: unhex(t, "020100")})
	r := f.request(t)
	got, err := CheckImport(r)
	if err != nil {
		t.Fatal(err)
	}
	i, err := NewIssuer(IssuerConfig{Type: r.Type, Signer: f.keys[3], Certificate: got.Certificate, Chain: got.Chain})
	if err != nil {
		t.Fatal(err)
	}
	in := request(t, "EndEntityCertificate_APIPassthrough", csrSpec{subject: distinguished(t, "CN=x")}.pem(t, ecKey(t, elliptic.P256())))
	for _, policies := range [][]pca.PolicyInformation{nil, {{CertPolicyId: "2.5.29.32.0"}}, {{CertPolicyId: "1.2.99"}}} {
		in.Passthrough = &pca.ApiPassthrough{Extensions: &pca.Extensions{CertificatePolicies: policies}}
		if _, err := i.Issue(in); err != nil {
			t.Errorf("%v: %v", policies, err)
		}
	}
}
