package issuance

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"chirograph.dev/internal/pca"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Values that the CSR asks for in the matrix, by OID; hand-encoded.
var csrValues = []struct{ oid, value string }{
	{"1.2.3.5", "0c03637372"},
	{"2.5.29.31", "3016 3014 a012 a010 860e 687474703a2f2f6373722f63726c"},
	{"2.5.29.15", "03020388"},
	{"2.5.29.37", "300a 06082b06010505070304"},
	{"2.5.29.17", "300d 820b 6373722e6578616d706c65"},
	{"2.5.29.19", "30030101ff"},
	{"2.5.29.14", "04020102"},
	{"2.5.29.35", "3004 80020304"},
	{"1.3.6.1.5.5.7.1.1", "301d 301b 06082b06010505073001 860f 687474703a2f2f6373722f6f637370"},
	{"2.5.29.32", "3006 3004 06022a64"},
	{"1.2.3.4", "0c03637372"},
}

// matrixAPI has another value for everything that the CSR asks for.
func matrixAPI(t testing.TB) *pca.ApiPassthrough {
	custom := func(oid, value string) pca.CustomExtension {
		return pca.CustomExtension{ObjectIdentifier: oid, Value: base64.StdEncoding.EncodeToString(unhex(t, value))}
	}
	return &pca.ApiPassthrough{
		Subject: &pca.ASN1Subject{CommonName: "api.example", Country: "DE"},
		Extensions: &pca.Extensions{
			KeyUsage:                &pca.KeyUsage{NonRepudiation: true, CRLSign: true},
			ExtendedKeyUsage:        []pca.ExtendedKeyUsage{{ExtendedKeyUsageType: pca.ExtendedKeyUsageType_TIME_STAMPING}},
			SubjectAlternativeNames: []pca.GeneralName{{DnsName: "api.example"}},
			CertificatePolicies:     []pca.PolicyInformation{{CertPolicyId: "1.2.101"}},
			CustomExtensions: []pca.CustomExtension{
				custom("1.2.3.6", "0c03617069"), custom("2.5.29.19", "3000"), custom("2.5.29.14", "04020506"), custom("2.5.29.35", "300480020708"),
				custom("2.5.29.31", "30163014a012a010860e687474703a2f2f6170692f63726c"),
				custom("1.3.6.1.5.5.7.1.1", "301d301b06082b06010505073001860f687474703a2f2f6170692f6f637370"), custom("1.2.3.4", "0c03617069"),
			},
		},
	}
}

// wantExtensions is the table of templates 2.1 and the order T-23, by hand.
func wantExtensions(t testing.TB, r templateRow, hasAPI, hasCSR, configured bool, ski, aki []byte) (list []Extension) {
	api, csr := r.api && hasAPI, r.csr && hasCSR
	add := func(id, value string, critical bool) {
		list = append(list, Extension{OID: oid(t, id), Critical: critical, Value: unhex(t, value)})
	}
	list = append(list, *r.bc)
	if !r.selfSigned {
		add("2.5.29.35", "30168014"+hex.EncodeToString(aki), false)
	} else if api {
		add("2.5.29.35", "300480020708", false)
	}
	add("2.5.29.14", "0414"+hex.EncodeToString(ski), false)
	pick := func(fixed *Extension, id, fromAPI string, apiCritical bool, fromCSR string) {
		switch {
		case fixed != nil:
			list = append(list, *fixed)
		case api:
			add(id, fromAPI, apiCritical)
		case csr:
			add(id, fromCSR, false)
		}
	}
	pick(r.ku, "2.5.29.15", "03020142", true, "03020388")
	pick(r.eku, "2.5.29.37", "300a06082b06010505070308", false, "300a06082b06010505070304")
	if api {
		add("2.5.29.17", "300d820b6170692e6578616d706c65", false)
	} else if hasCSR {
		add("2.5.29.17", "300d820b6373722e6578616d706c65", false)
	}
	var cdp, aia *Extension
	if configured && !r.selfSigned {
		cdp = &Extension{OID: oid(t, "2.5.29.31"), Value: unhex(t, "30153013a011a00f860d"+hex.EncodeToString([]byte("http://cfg/cr")))}
		aia = &Extension{OID: oid(t, "1.3.6.1.5.5.7.1.1"), Value: unhex(t, "301c301a06082b06010505073001860e"+hex.EncodeToString([]byte("http://cfg/ocs")))}
	}
	pick(cdp, "2.5.29.31", "30163014a012a010860e687474703a2f2f6170692f63726c", false, "30163014a012a010860e687474703a2f2f6373722f63726c")
	pick(aia, "1.3.6.1.5.5.7.1.1", "301d301b06082b06010505073001860f687474703a2f2f6170692f6f637370", false, "301d301b06082b06010505073001860f687474703a2f2f6373722f6f637370")
	if api {
		add("2.5.29.32", "3006300406022a65", false)
		add("1.2.3.6", "0c03617069", false)
		add("1.2.3.4", "0c03617069", false)
	}
	if csr {
		add("1.2.3.5", "0c03637372", false)
		if !api {
			add("2.5.29.32", "3006300406022a64", false)
			add("1.2.3.4", "0c03637372", false)
		}
	}
	return list
}

// matrixCase is a request for one template in one of its eight variants.
type matrixCase struct {
	templateRow
	hasAPI, hasCSR, configured bool // passthrough given, extensions in the CSR, revocation configured
	subject                    []byte
	request                    Request
}

func (c *matrixCase) String() string {
	return fmt.Sprintf("%s api=%t csr=%t configured=%t", c.name, c.hasAPI, c.hasCSR, c.configured)
}

// matrix makes the requests for every template in every variant.
func matrix(t testing.TB, root *authority) (cases []matrixCase) {
	t.Helper()
	leaf := ecKey(t, elliptic.P384())
	subject := name(t, pca.ASN1Subject{CommonName: "csr.example", Organization: "From CSR"})
	var extensions []Extension
	for _, v := range csrValues {
		extensions = append(extensions, Extension{OID: oid(t, v.oid), Value: unhex(t, v.value)})
	}
	for _, row := range templateRows(t) {
		key := crypto.Signer(leaf)
		if row.selfSigned {
			key = root.key
		}
		bare, full := csrSpec{subject: subject}.pem(t, key), csrSpec{subject: subject, extensions: extensions}.pem(t, key)
		for variant := range 8 {
			c := matrixCase{templateRow: row, hasAPI: variant&1 != 0, hasCSR: variant&2 != 0, configured: variant&4 != 0, subject: subject}
			c.request = request(t, row.name, bare)
			if c.hasCSR {
				c.request.CSR = full
			}
			if c.hasAPI {
				c.request.Passthrough = matrixAPI(t)
			}
			if c.configured {
				c.request.CRLURL, c.request.OCSPURL = func() (string, error) { return "http://cfg/cr", nil }, "http://cfg/ocs"
			}
			cases = append(cases, c)
		}
	}
	return cases
}

func TestEveryTemplate(t *testing.T) {
	t.Parallel()
	root := p256Root()
	dir := t.TempDir()
	var issued, strict, selfSigned []string
	var all [][]byte
	for _, c := range matrix(t, root) {
		what, row, r := c.String(), c.templateRow, c.request
		out, err := root.issuer(t).Issue(r)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		cert, err := x509.ParseCertificate(out.DER)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		_, bits, _ := splitPublicKey(cert.RawSubjectPublicKeyInfo)
		ski := sha1.Sum(bits)
		want := wantExtensions(t, row, c.hasAPI, c.hasCSR, c.configured, ski[:], root.cert.SubjectKeyId)
		got := extensionsOf(t, cert)
		if show(got) != show(want) {
			t.Errorf("%s:\n got %s\nwant %s", what, show(got), show(want))
		}
		wantSubject := c.subject
		if row.api && c.hasAPI {
			wantSubject = name(t, *matrixAPI(t).Subject)
		}
		wantIssuer, parent := root.cert.RawSubject, root.cert
		if row.selfSigned {
			wantIssuer = wantSubject
			parent = cert
		}
		if !bytes.Equal(cert.RawSubject, wantSubject) || !bytes.Equal(out.RawSubject, wantSubject) || !bytes.Equal(cert.RawIssuer, wantIssuer) {
			t.Errorf("%s: subject %x, issuer %x", what, cert.RawSubject, cert.RawIssuer)
		}
		if cert.Version != 3 || cert.SerialNumber.Text(16) != strings.TrimLeft(hex.EncodeToString(r.Serial[:]), "0") {
			t.Errorf("%s: version %d, serial %x", what, cert.Version, cert.SerialNumber)
		}
		if err := parent.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if wantWarning := !row.ca && row.ku == nil && row.api && c.hasAPI; wantWarning != (len(out.Warnings) == 1) {
			t.Errorf("%s: warnings %q", what, out.Warnings)
		}
		path := filepath.Join(dir, strconv.Itoa(len(all))+".pem")
		if err := os.WriteFile(path, pemCert(out.DER), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, out.DER)
		if row.selfSigned {
			selfSigned = append(selfSigned, path)
		} else {
			issued = append(issued, path)
			// Strict checking rightly minds a key usage that contradicts
			// basicConstraints, as this test has it asked for.
			if cert.IsCA == (cert.KeyUsage&x509.KeyUsageCertSign != 0) && (cert.IsCA || cert.KeyUsage&x509.KeyUsageCRLSign == 0) {
				strict = append(strict, path)
			}
		}
	}
	rootPath := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(rootPath, pemCert(root.cert.Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	at := strconv.FormatInt(now.Unix(), 10)
	openssl(t, nil, append([]string{"verify", "-attime", at, "-check_ss_sig", "-x509_strict", "-CAfile", rootPath}, strict...)...)
	openssl(t, nil, append([]string{"verify", "-attime", at, "-CAfile", rootPath}, issued...)...)
	for _, path := range selfSigned[:3] {
		openssl(t, nil, "verify", "-attime", at, "-check_ss_sig", "-CAfile", path, path)
	}
	openssl(t, sequenceOf(t, all...), "asn1parse", "-inform", "DER")
	text := openssl(t, []byte(openssl(t, pemCert(all...), "crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin")), "pkcs7", "-print_certs", "-text", "-noout")
	if n := strings.Count(text, "Subject Key Identifier:"); n != len(all) || len(all) != 61*8 {
		t.Errorf("openssl shows %d certificates, want %d", n, len(all))
	}
	if strings.Contains(text, "<INVALID") || strings.Contains(text, "<Not Supported>") || strings.Contains(text, "error") {
		t.Error("openssl cannot print an extension")
	}
}

// Chains of every kind of key and every signing algorithm, through CSR,
// issuing and import, checked by crypto/x509 and openssl.
func TestChains(t *testing.T) {
	t.Parallel()
	ec := func(c elliptic.Curve) func() crypto.Signer {
		return func() crypto.Signer { return ecKey(t, c) }
	}
	all := []pca.SigningAlgorithm{pca.SigningAlgorithm_SHA256WITHECDSA, pca.SigningAlgorithm_SHA384WITHECDSA, pca.SigningAlgorithm_SHA512WITHECDSA}
	for _, c := range []struct {
		name       string
		key        func() crypto.Signer
		algorithms []pca.SigningAlgorithm
	}{
		{"RSA", func() crypto.Signer { return rsaKey() }, []pca.SigningAlgorithm{pca.SigningAlgorithm_SHA256WITHRSA, pca.SigningAlgorithm_SHA384WITHRSA, pca.SigningAlgorithm_SHA512WITHRSA}},
		{"P-256", ec(elliptic.P256()), all}, {"P-384", ec(elliptic.P384()), all}, {"P-521", ec(elliptic.P521()), all},
	} {
		for _, alg := range c.algorithms {
			t.Run(c.name+" "+string(alg), func(t *testing.T) {
				t.Parallel()
				root := newRoot(t, c.key(), alg, "RootCACertificate", nil)
				sub := newCA(t, root, ecKey(t, elliptic.P256()), pca.SigningAlgorithm_SHA256WITHECDSA, "SubordinateCACertificate_PathLen1", nil)
				issuing := newCA(t, sub, c.key(), alg, "SubordinateCACertificate_PathLen0", nil)
				r := request(t, "EndEntityServerAuthCertificate", csrSpec{extensions: []Extension{{OID: oidSubjectAltName, Critical: true, Value: dnsNames(t, "www.example.com")}}}.pem(t, ecKey(t, elliptic.P256())))
				r.SigningAlgorithm = alg
				issuing.config.Verify = true
				out, err := issuing.issuer(t).Issue(r)
				if err != nil {
					t.Fatal(err)
				}
				leaf, err := x509.ParseCertificate(out.DER)
				if err != nil {
					t.Fatal(err)
				}
				roots, between := x509.NewCertPool(), x509.NewCertPool()
				roots.AddCert(root.cert)
				between.AddCert(sub.cert)
				between.AddCert(issuing.cert)
				if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, DNSName: "www.example.com"}); err != nil {
					t.Error(err)
				}
				dir := t.TempDir()
				for name, text := range map[string][]byte{"root": pemCert(root.cert.Raw), "between": pemCert(sub.cert.Raw, issuing.cert.Raw), "leaf": pemCert(out.DER)} {
					if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				openssl(t, nil, "verify", "-x509_strict", "-check_ss_sig", "-purpose", "sslserver", "-verify_hostname", "www.example.com", "-attime", strconv.FormatInt(now.Unix(), 10),
					"-CAfile", filepath.Join(dir, "root"), "-untrusted", filepath.Join(dir, "between"), filepath.Join(dir, "leaf"))
			})
		}
	}
}

func TestPathLength(t *testing.T) {
	t.Parallel()
	csr := csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "sub"})}.pem(t, ecKey(t, elliptic.P256()))
	for p := -1; p <= 3; p++ {
		tmpl := "BlankRootCACertificate_APIPassthrough"
		if p >= 0 {
			tmpl = fmt.Sprintf("BlankRootCACertificate_PathLen%d_APIPassthrough", p)
		}
		root := newRoot(t, ecKey(t, elliptic.P256()), pca.SigningAlgorithm_SHA256WITHECDSA, tmpl,
			&pca.ApiPassthrough{Extensions: &pca.Extensions{KeyUsage: &pca.KeyUsage{KeyCertSign: true}}})
		for n := range 4 {
			for _, family := range []string{"SubordinateCACertificate_PathLen%d", "BlankSubordinateCACertificate_PathLen%d_APIPassthrough"} {
				_, err := root.issuer(t).Issue(request(t, fmt.Sprintf(family, n), csr))
				if p < 0 || n < p {
					if err != nil {
						t.Errorf("p=%d n=%d: %v", p, n, err)
					}
				} else {
					wantCode(t, err, pca.ValidationException)
				}
			}
		}
		if _, err := root.issuer(t).Issue(request(t, "EndEntityCertificate", csr)); err != nil {
			t.Errorf("p=%d, end entity: %v", p, err)
		}
	}
}

func TestSelfSignedRules(t *testing.T) {
	t.Parallel()
	root := p256Root()
	own, err := createCSR(root.key, &pca.ASN1Subject{CommonName: "root"}, nil, pca.SigningAlgorithm_SHA256WITHECDSA)
	if err != nil {
		t.Fatal(err)
	}
	pending := &authority{key: root.key, config: IssuerConfig{Type: pca.CertificateAuthorityType_ROOT, Signer: root.key}}
	if _, err := pending.issuer(t).Issue(request(t, "RootCACertificate", pemCSR(own))); err != nil {
		t.Errorf("self-signing while there is no certificate: %v", err)
	}
	_, err = pending.issuer(t).Issue(request(t, "EndEntityCertificate", pemCSR(own)))
	if got, want := wantCode(t, err, pca.InvalidStateException), "The certificate authority is not in a valid state for issuing certificates"; got != want {
		t.Errorf("message %q", got)
	}
	foreign := csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "root"})}.pem(t, ecKey(t, elliptic.P256()))
	_, err = root.issuer(t).Issue(request(t, "RootCACertificate", foreign))
	wantCode(t, err, pca.InvalidArgsException) // T-82
	nameless := csrSpec{extensions: []Extension{{OID: oidSubjectAltName, Value: dnsNames(t, "a.example")}}}.pem(t, root.key)
	_, err = root.issuer(t).Issue(request(t, "RootCACertificate", nameless))
	wantCode(t, err, pca.InvalidArgsException)

	sub := newCA(t, root, ecKey(t, elliptic.P256()), pca.SigningAlgorithm_SHA256WITHECDSA, "SubordinateCACertificate_PathLen3", nil)
	csr, err := createCSR(sub.key, &pca.ASN1Subject{CommonName: "sub"}, nil, pca.SigningAlgorithm_SHA256WITHECDSA)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range templateRows(t) { // T-80
		if _, err := sub.issuer(t).Issue(request(t, r.name, pemCSR(csr))); r.selfSigned {
			wantCode(t, err, pca.InvalidArgsException)
		} else if wantOK := !r.ca || template(t, r.name).PathLen < 3; wantOK != (err == nil) {
			t.Errorf("%s below a subordinate: %v", r.name, err)
		}
	}
	renewal := request(t, "RootCACertificate", pemCSR(own))
	renewal.Validity = pca.Validity{Type: pca.ValidityPeriodType_YEARS, Value: 30}
	short := *root
	short.config.UsageMode = pca.CertificateAuthorityUsageMode_SHORT_LIVED_CERTIFICATE
	if _, err := short.issuer(t).Issue(renewal); err != nil {
		t.Errorf("a root may outlive itself: %v", err)
	}
}

func TestSigningAlgorithms(t *testing.T) {
	t.Parallel()
	rsaAlgs := []pca.SigningAlgorithm{pca.SigningAlgorithm_SHA256WITHRSA, pca.SigningAlgorithm_SHA384WITHRSA, pca.SigningAlgorithm_SHA512WITHRSA}
	ecAlgs := []pca.SigningAlgorithm{pca.SigningAlgorithm_SHA256WITHECDSA, pca.SigningAlgorithm_SHA384WITHECDSA, pca.SigningAlgorithm_SHA512WITHECDSA}
	others := []pca.SigningAlgorithm{pca.SigningAlgorithm_SM3WITHSM2, pca.SigningAlgorithm_ML_DSA_44, pca.SigningAlgorithm_ML_DSA_65, pca.SigningAlgorithm_ML_DSA_87, ""}
	one := func(a pca.SigningAlgorithm) []pca.SigningAlgorithm { return []pca.SigningAlgorithm{a} }
	keys := map[pca.KeyAlgorithm][]pca.SigningAlgorithm{
		pca.KeyAlgorithm_RSA_2048: rsaAlgs, pca.KeyAlgorithm_RSA_3072: rsaAlgs, pca.KeyAlgorithm_RSA_4096: rsaAlgs,
		pca.KeyAlgorithm_EC_prime256v1: ecAlgs, pca.KeyAlgorithm_EC_secp384r1: ecAlgs, pca.KeyAlgorithm_EC_secp521r1: ecAlgs,
		pca.KeyAlgorithm_ML_DSA_44: one(pca.SigningAlgorithm_ML_DSA_44), pca.KeyAlgorithm_ML_DSA_65: one(pca.SigningAlgorithm_ML_DSA_65),
		pca.KeyAlgorithm_ML_DSA_87: one(pca.SigningAlgorithm_ML_DSA_87), pca.KeyAlgorithm_SM2: one(pca.SigningAlgorithm_SM3WITHSM2), "": nil, "RSA_1024": nil,
	}
	for key, allowed := range keys {
		for _, partition := range []string{"aws", "aws-cn", "aws-us-gov", "here"} {
			offered := allowed != nil && (key != pca.KeyAlgorithm_SM2 || partition == "aws-cn")
			if err := CheckKeyAlgorithm(key, partition); (err == nil) != offered {
				t.Errorf("%s in %s: %v", key, partition, err)
			} else if err != nil {
				wantCode(t, err, pca.InvalidArgsException)
			}
		}
		for _, alg := range append(append(append([]pca.SigningAlgorithm{}, rsaAlgs...), ecAlgs...), others...) {
			err := CheckSigningAlgorithm(key, alg)
			ok := strings.Contains(fmt.Sprint(allowed), string(alg)) && alg != ""
			if ok != (err == nil) {
				t.Errorf("%s with %s: %v", key, alg, err)
			} else if err != nil {
				wantCode(t, err, pca.InvalidArgsException)
			}
		}
	}
	csr := csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "x"})}.pem(t, ecKey(t, elliptic.P256()))
	for _, alg := range append(rsaAlgs, others...) {
		r := request(t, "EndEntityCertificate", csr)
		r.SigningAlgorithm = alg
		_, err := p256Root().issuer(t).Issue(r)
		wantCode(t, err, pca.InvalidArgsException)
	}
}

// A CA whose certificate has a foreign form: the issuer name is copied byte
// for byte, and the authority key id is the certificate's SKI, or else the
// SHA-1 of its key (T-16, T-19b).
func TestForeignIssuer(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	subject := sequenceOf(t,
		der(t, func(b *cryptobyte.Builder) {
			b.AddASN1(0x31, func(b *cryptobyte.Builder) {
				b.AddASN1(0x30, func(b *cryptobyte.Builder) { addOID(b, oidCountry); addString(b, 0x13, "DE") })
			})
		}),
		der(t, func(b *cryptobyte.Builder) { // not in DER order of a SET, T61String, two attributes
			b.AddASN1(0x31, func(b *cryptobyte.Builder) {
				b.AddASN1(0x30, func(b *cryptobyte.Builder) { addOID(b, oidCommonName); addString(b, 0x14, "\xd6sterreich") })
				b.AddASN1(0x30, func(b *cryptobyte.Builder) { addOID(b, oidCountry); addString(b, 0x13, "AT") })
			})
		}))
	for _, ski := range [][]byte{nil, {1, 2, 3}, bytes.Repeat([]byte{7}, 40)} {
		var extensions []Extension
		extensions = append(extensions, Extension{OID: oidBasicConstraints, Critical: true, Value: unhex(t, "30030101ff")})
		if ski != nil {
			extensions = append(extensions, Extension{OID: oidSubjectKeyIdentifier, Value: append([]byte{4, byte(len(ski))}, ski...)})
		}
		cert := certSpec{subject: subject, issuer: subject, extensions: extensions}.der(t, key, key)
		i, err := NewIssuer(IssuerConfig{Type: pca.CertificateAuthorityType_ROOT, Signer: key, Certificate: cert})
		if err != nil {
			t.Fatal(err)
		}
		out, err := i.Issue(request(t, "EndEntityCertificate", csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "x"})}.pem(t, key)))
		if err != nil {
			t.Fatal(err)
		}
		c, err := parseCertificate(out.DER)
		if err != nil {
			t.Fatal(err)
		}
		want := ski
		if ski == nil {
			want = subjectKeyIdentifier(c.rawSPKI) // here CA and leaf have one key
		}
		aki := findExtension(c.extensions, oidAuthorityKeyIdentifier)
		if !bytes.Equal(c.rawIssuer, subject) || !bytes.Equal(aki.Value[4:], want) {
			t.Errorf("issuer %x, authority key id %x", c.rawIssuer, aki.Value)
		}
	}
	other := ecKey(t, elliptic.P256())
	cert := certSpec{subject: subject, issuer: subject}.der(t, key, key)
	if _, err := NewIssuer(IssuerConfig{Signer: other, Certificate: cert}); err == nil {
		t.Error("NewIssuer took a certificate of another key")
	}
}

// badSigner signs wrongly, as a failing device might.
type badSigner struct{ *ecdsa.PrivateKey }

func (s badSigner) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	sig, err := s.PrivateKey.Sign(r, digest, o)
	if err == nil {
		sig[len(sig)-1] ^= 1
	}
	return sig, err
}

func TestSerial(t *testing.T) {
	t.Parallel()
	const each, workers = 12500, 8
	var mu sync.Mutex
	seen := make(map[[16]byte]bool, each*workers)
	var ones [80]int
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for n := range each {
				at := now.Add(time.Duration(n) * time.Millisecond)
				s, err := NewSerial(at)
				if err != nil {
					t.Error(err)
					return
				}
				var ms int64
				for _, c := range s[:6] {
					ms = ms<<8 | int64(c)
				}
				if ms != at.UnixMilli() {
					t.Errorf("serial %x says %d ms, want %d", s, ms, at.UnixMilli())
				}
				mu.Lock()
				seen[s] = true
				for bit := range 80 {
					ones[bit] += int(s[6+bit/8] >> (bit % 8) & 1)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != each*workers {
		t.Errorf("%d of %d serials are unique", len(seen), each*workers)
	}
	for bit, n := range ones { // 100,000 fair bits stay within 8 sigma
		if n < 48735 || n > 51265 {
			t.Errorf("random bit %d is set %d times in 100000", bit, n)
		}
	}
	for _, at := range []time.Time{time.Unix(-1, 0), {}, time.UnixMilli(1 << 48)} {
		if _, err := NewSerial(at); err == nil {
			t.Errorf("serial for %v", at)
		}
	}
}

func TestEncodeSerial(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"e8cbd2bedb122329f97706bcfec990f8": "021100e8cbd2bedb122329f97706bcfec990f8",
		"2bae9a75d71b42b4e41e36f8b4b488fc": "02102bae9a75d71b42b4e41e36f8b4b488fc",
		"00112233445566778899aabbccddeeff": "020f112233445566778899aabbccddeeff",
		"00802233445566778899aabbccddeeff": "021000802233445566778899aabbccddeeff",
		"0000000000000000000000000000002a": "02012a",
		"00000000000000000000000000000080": "02020080",
		"00000000000000000000000000000000": "020100",
	} {
		if got := hex.EncodeToString(encodeSerial([16]byte(unhex(t, in)))); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	// A foreign certificate's serial of 17 octets reads back as 16.
	key := ecKey(t, elliptic.P256())
	cert := certSpec{subject: name(t, pca.ASN1Subject{CommonName: "x"}), serial: unhex(t, "00e8cbd2bedb122329f97706bcfec990f8")}.der(t, key, key)
	if c, err := parseCertificate(cert); err != nil || hex.EncodeToString(c.serial) != "e8cbd2bedb122329f97706bcfec990f8" {
		t.Errorf("read back %x, %v", c.serial, err)
	}
}

// TestToolsArePresent says what is missing once and clearly.
func TestToolsArePresent(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("these tests need the openssl command")
	}
}
