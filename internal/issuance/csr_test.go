package issuance

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/mldsa"
	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

// A CSR is read as crypto/x509 reads it.
func TestParseCSRAgreesWithX509(t *testing.T) {
	t.Parallel()
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, key := range map[string]crypto.Signer{
		"P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()), "P-521": ecKey(t, elliptic.P521()), "RSA": rsaKey(), "Ed25519": edKey,
	} {
		for _, alg := range []x509.SignatureAlgorithm{0, x509.SHA384WithRSA, x509.SHA256WithRSAPSS, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512} {
			rsaAlg := alg == x509.SHA384WithRSA || alg == x509.SHA256WithRSAPSS || alg == x509.SHA512WithRSAPSS
			if alg != 0 && (rsaAlg != isRSA(key.Public()) || !rsaAlg && !isECDSA(key.Public())) {
				continue
			}
			der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
				Subject: pkix.Name{CommonName: "a.example", Organization: []string{"O"}}, DNSNames: []string{"a.example", "b.example"}, SignatureAlgorithm: alg,
				ExtraExtensions: []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}},
			}, key)
			if err != nil {
				t.Fatal(err)
			}
			want, err := x509.ParseCertificateRequest(der)
			if err != nil {
				t.Fatal(err)
			}
			got, err := ParseCSR(pemCSR(der))
			if err != nil {
				t.Errorf("%s %v: %v", what, alg, err)
				continue
			}
			if !bytes.Equal(got.RawSubject, want.RawSubject) || !bytes.Equal(got.RawSPKI, want.RawSubjectPublicKeyInfo) || !samePublicKey(got.PublicKey, want.PublicKey) ||
				len(got.Extensions) != 2 || len(want.Extensions) != 2 {
				t.Errorf("%s: %+v differs from %+v", what, got, want)
			}
			for i, e := range got.Extensions {
				if w := want.Extensions[i]; oidText(e.OID) != w.Id.String() || e.Critical != w.Critical || !bytes.Equal(e.Value, w.Value) {
					t.Errorf("%s: extension %d: %+v, want %+v", what, i, e, w)
				}
			}
		}
	}
}

func TestParseCSRFromOpenSSL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "c")
	text := "[req]\ndistinguished_name=dn\nreq_extensions=e\nattributes=at\nstring_mask=nombstr\nprompt=no\n[dn]\nC=US\nO=Müll\nCN=x\n" +
		"[at]\nchallengePassword=secret12\nunstructuredName=n\n[e]\nsubjectAltName=DNS:a.example,IP:10.0.0.1\nkeyUsage=critical,digitalSignature\n1.2.3=ASN1:UTF8:hi\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "k")
	for _, c := range []struct {
		gen []string
		req []string
		ok  bool
	}{
		{[]string{"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, []string{"-sha1"}, true},
		{[]string{"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, []string{"-sha224"}, true},
		{[]string{"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, []string{"-sha256", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20"}, true},
		{[]string{"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"}, []string{"-md5"}, false},
		{[]string{"genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"}, []string{"-sha256"}, false},
		{[]string{"genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"}, []string{"-sha256"}, false},
		{[]string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"}, []string{"-sha512"}, true},
		{[]string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-224"}, []string{"-sha256"}, false},
		{[]string{"genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"}, []string{"-sha256"}, false},
		{[]string{"genpkey", "-algorithm", "ED25519"}, nil, true},
		{[]string{"genpkey", "-algorithm", "ED448"}, nil, false},
	} {
		openssl(t, nil, append(c.gen, "-out", key)...)
		csr := openssl(t, nil, append([]string{"req", "-new", "-newhdr", "-text", "-key", key, "-config", config, "-utf8"}, c.req...)...)
		got, err := ParseCSR([]byte(strings.ReplaceAll(csr, "\n", "\r\n")))
		if !c.ok {
			wantCode(t, err, pca.MalformedCSRException)
			continue
		}
		if err != nil {
			t.Errorf("%v %v: %v", c.gen, c.req, err)
			continue
		}
		if s := subject(t, got.RawSubject); s != "CN=x,O=#14044dfc6c6c,C=US" || len(got.Extensions) != 3 || !got.Extensions[1].Critical {
			t.Errorf("%v: %s, %+v", c.gen, s, got.Extensions)
		}
	}
}

// What others refuse and must be accepted here: odd names and values are
// copied, not judged.
func TestParseCSRAcceptsOddities(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	odd := sequenceOf(t,
		unhex(t, "310f 300d 0603550403 1306 615f62406325"),                           // PrintableString with _ @ %
		unhex(t, "3109 3007 0603550406 0c00"),                                        // empty country
		unhex(t, "311a 300b 060355040b 0c04 7a7a7a7a 300b 060355040b 0c04 61616161"), // SET out of order
		unhex(t, "310d 300b 0603550403 1e04 00e4 d800"),                              // BMPString with half a surrogate
	)
	spec := csrSpec{subject: odd, extensions: []Extension{
		{OID: oidSubjectAltName, Value: unhex(t, "3012 8203 e4f6fc 8703 0a0000 8606 3a2f2f5b5d25")}, // bad DNS, IP and URI
		{OID: "\x2a\x03\x04", Value: []byte("not DER at all")},
	}}
	csr, err := ParseCSR(spec.pem(t, key))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(csr.RawSubject, odd) {
		t.Errorf("subject %x", csr.RawSubject)
	}
	// A base template takes subject and SAN and has no use for the rest.
	out, err := p256Root().issuer(t).Issue(request(t, "EndEntityCertificate", spec.pem(t, key)))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := parseCertificate(out.DER)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(cert.rawSubject, odd) || !bytes.Equal(findExtension(cert.extensions, oidSubjectAltName).Value, spec.extensions[0].Value) {
		t.Error("subject or SAN was changed")
	}
	// One that copies it refuses what is not DER.
	_, err = p256Root().issuer(t).Issue(request(t, "EndEntityCertificate_CSRPassthrough", spec.pem(t, key)))
	if got := wantCode(t, err, pca.MalformedCSRException); !strings.Contains(got, "1.2.3.4") {
		t.Errorf("message %q does not name the extension", got)
	}
	for what, s := range map[string]csrSpec{
		"no attributes at all": {subject: odd, noAttrs: true},
		"unknown attributes":   {subject: odd, attributes: unhex(t, "3008 06022a03 3102 0500 300a 06022a04 3104 0500 0500")},
	} {
		if _, err := ParseCSR(s.pem(t, key)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	explicitFalse := bytes.Replace(extensionAttribute(t, []Extension{{OID: oidSubjectAltName, Critical: true, Value: dnsNames(t, "a")}}), []byte{1, 1, 0xff}, []byte{1, 1, 0}, 1)
	csr, err = ParseCSR(csrSpec{attributes: explicitFalse}.pem(t, key))
	if err != nil || csr.Extensions[0].Critical {
		t.Errorf("explicit FALSE: %v", err)
	}
}

func TestParseCSRRefusals(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	subjectName := name(t, pca.ASN1Subject{CommonName: "x"})
	good := csrSpec{subject: subjectName}.der(t, key)
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	changed := func(at int, mask byte) []byte {
		b := bytes.Clone(good)
		b[(at+len(b))%len(b)] ^= mask
		return b
	}
	spki := func(key any) []byte {
		b, err := x509.MarshalPKIXPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	longCN := func(tag byte, value string) []byte {
		return sequenceOf(t, der(t, func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { addOID(b, oidCommonName); addString(b, casn1.Tag(tag), value) })
			})
		}))
	}
	extension := Extension{OID: "\x2a\x03", Value: []byte{5, 0}}
	attribute := extensionAttribute(t, []Extension{extension})
	smallRSA, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	evenE := &rsa.PublicKey{N: rsaKey().N, E: 65536}
	evenN := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}
	largeN := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 8192), big.NewInt(1)), E: 65537}
	for what, text := range map[string][]byte{
		"empty":                        nil,
		"text":                         []byte("hello"),
		"raw DER":                      good,
		"cut PEM":                      pemCSR(good)[:100],
		"certificate":                  block("CERTIFICATE", good),
		"private key":                  block("PRIVATE KEY", good),
		"two requests":                 append(pemCSR(good), pemCSR(good)...),
		"request and key":              append(pemCSR(good), block("PRIVATE KEY", good)...),
		"too large":                    append(pemCSR(good), bytes.Repeat([]byte("\n"), maxCSR)...),
		"empty block":                  block("CERTIFICATE REQUEST", nil),
		"trailing byte":                pemCSR(append(bytes.Clone(good), 0)),
		"cut DER":                      pemCSR(good[:len(good)-1]),
		"signature changed":            pemCSR(changed(-1, 1)),
		"subject changed":              pemCSR(changed(bytes.Index(good, []byte("\x0c\x01x"))+2, 1)),
		"version 1":                    csrSpec{subject: subjectName, version: 1}.pem(t, key),
		"other key":                    csrSpec{subject: subjectName, spki: spki(&ecKey(t, elliptic.P256()).PublicKey)}.pem(t, key),
		"other kind of key":            csrSpec{subject: subjectName, spki: spki(&rsaKey().PublicKey)}.pem(t, key),
		"RSA 1024":                     csrSpec{subject: subjectName, spki: spki(&smallRSA.PublicKey)}.pem(t, key),
		"even RSA exponent":            csrSpec{subject: subjectName, spki: spki(evenE)}.pem(t, key),
		"even RSA modulus":             csrSpec{subject: subjectName, spki: spki(evenN)}.pem(t, key),
		"RSA 8193":                     csrSpec{subject: subjectName, spki: spki(largeN)}.pem(t, key),
		"P-224":                        csrSpec{subject: subjectName, spki: spki(&ecKey(t, elliptic.P224()).PublicKey)}.pem(t, key),
		"no key":                       csrSpec{subject: subjectName, spki: emptyName}.pem(t, key),
		"CN of 65":                     csrSpec{subject: longCN(0x0c, strings.Repeat("ä", 65))}.pem(t, key),
		"CN of 65 BMP":                 csrSpec{subject: longCN(0x1e, strings.Repeat("\x00a", 65))}.pem(t, key),
		"CN of 65 universal":           csrSpec{subject: longCN(0x1c, strings.Repeat("\x00\x00\x00a", 65))}.pem(t, key),
		"empty RDN":                    csrSpec{subject: unhex(t, "30023100")}.pem(t, key),
		"subject not a Name":           csrSpec{subject: unhex(t, "30020500")}.pem(t, key),
		"duplicate extension":          csrSpec{subject: subjectName, extensions: []Extension{extension, {OID: "\x2a\x04", Value: []byte{5, 0}}, extension}}.pem(t, key),
		"two requests for extensions":  csrSpec{subject: subjectName, attributes: append(bytes.Clone(attribute), attribute...)}.pem(t, key),
		"empty extension attribute":    csrSpec{subject: subjectName, attributes: unhex(t, "300d 06092a864886f70d01090e 3100")}.pem(t, key),
		"two values":                   csrSpec{subject: subjectName, attributes: unhex(t, "3011 06092a864886f70d01090e 3104 3000 3000")}.pem(t, key),
		"attribute not DER":            csrSpec{subject: subjectName, attributes: unhex(t, "3008 06022a03 3102 0501")}.pem(t, key),
		"attribute of indefinite form": csrSpec{subject: subjectName, attributes: unhex(t, "300a 06022a03 3104 3080 0000")}.pem(t, key),
		"extension without value":      csrSpec{subject: subjectName, attributes: unhex(t, "3015 06092a864886f70d01090e 3108 3006 3004 06022a03")}.pem(t, key),
		"critical of 1":                csrSpec{subject: subjectName, attributes: bytes.Replace(extensionAttribute(t, []Extension{{OID: "\x2a\x03", Critical: true, Value: []byte{5, 0}}}), []byte{1, 1, 0xff}, []byte{1, 1, 1}, 1)}.pem(t, key),
	} {
		csr, err := ParseCSR(text)
		if err == nil {
			t.Errorf("%s: accepted %+v", what, csr)
			continue
		}
		if got := wantCode(t, err, pca.MalformedCSRException); strings.ContainsFunc(got, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: message %q", what, got)
		}
	}
	for _, cn := range [][]byte{longCN(0x0c, strings.Repeat("ä", 64)), longCN(0x1e, strings.Repeat("\x00a", 64))} {
		if _, err := ParseCSR(csrSpec{subject: cn}.pem(t, key)); err != nil {
			t.Errorf("CN of 64: %v", err)
		}
	}
}

// T-32: neither a subject nor a SAN.
func TestNameless(t *testing.T) {
	t.Parallel()
	key := ecKey(t, elliptic.P256())
	i := p256Root().issuer(t)
	san := &pca.Extensions{SubjectAlternativeNames: []pca.GeneralName{{DnsName: "a.example"}}}
	nameless := csrSpec{}.pem(t, key)
	for _, c := range []struct {
		what, tmpl string
		csr        []byte
		api        *pca.ApiPassthrough
		ok         bool
		critical   bool
	}{
		{"nothing", "EndEntityCertificate", nameless, nil, false, false},
		{"empty SAN", "EndEntityCertificate", csrSpec{extensions: []Extension{{OID: oidSubjectAltName, Value: emptyName}}}.pem(t, key), nil, false, false},
		{"SAN in the CSR", "EndEntityCertificate", csrSpec{extensions: []Extension{{OID: oidSubjectAltName, Value: dnsNames(t, "a")}}}.pem(t, key), nil, true, false},
		{"API SAN that is ignored", "EndEntityCertificate", nameless, &pca.ApiPassthrough{Extensions: san}, false, false},
		{"API SAN", "EndEntityCertificate_APIPassthrough", nameless, &pca.ApiPassthrough{Extensions: san}, true, true},
		{"API SAN on a CSR with a SAN", "BlankEndEntityCertificate_APICSRPassthrough", csrSpec{extensions: []Extension{{OID: oidSubjectAltName, Value: dnsNames(t, "b")}}}.pem(t, key), &pca.ApiPassthrough{Extensions: san}, true, true},
		{"API subject", "EndEntityCertificate_APIPassthrough", nameless, &pca.ApiPassthrough{Subject: &pca.ASN1Subject{CommonName: "a"}}, true, false},
		{"empty API subject", "EndEntityCertificate_APIPassthrough", nameless, &pca.ApiPassthrough{Subject: &pca.ASN1Subject{}}, false, false},
		{"API subject and SAN", "EndEntityCertificate_APIPassthrough", nameless, &pca.ApiPassthrough{Subject: &pca.ASN1Subject{CommonName: "a"}, Extensions: san}, true, false},
		{"custom SAN", "EndEntityCertificate_APIPassthrough", nameless, &pca.ApiPassthrough{Extensions: &pca.Extensions{CustomExtensions: []pca.CustomExtension{{ObjectIdentifier: "2.5.29.17", Value: "MAOCAWE="}}}}, true, false},
	} {
		r := request(t, c.tmpl, c.csr)
		r.Passthrough = c.api
		out, err := i.Issue(r)
		if !c.ok {
			wantCode(t, err, pca.MalformedCSRException)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		cert, err := x509.ParseCertificate(out.DER)
		if err != nil {
			t.Fatal(err)
		}
		if e := findExtension(extensionsOf(t, cert), oidSubjectAltName); e != nil && e.Critical != c.critical {
			t.Errorf("%s: SAN critical %t", c.what, e.Critical)
		}
	}
}

func TestCreateCSR(t *testing.T) {
	t.Parallel()
	uri := func(s string) pca.GeneralName { return pca.GeneralName{UniformResourceIdentifier: s} }
	ext := &pca.CsrExtensions{
		KeyUsage: &pca.KeyUsage{KeyCertSign: true, CRLSign: true},
		SubjectInformationAccess: []pca.AccessDescription{
			{AccessMethod: pca.AccessMethod{AccessMethodType: pca.AccessMethodType_CA_REPOSITORY}, AccessLocation: uri("https://a")},
			{AccessMethod: pca.AccessMethod{AccessMethodType: pca.AccessMethodType_RESOURCE_PKI_MANIFEST}, AccessLocation: uri("https://b")},
			{AccessMethod: pca.AccessMethod{AccessMethodType: pca.AccessMethodType_RESOURCE_PKI_NOTIFY}, AccessLocation: uri("https://c")},
			{AccessMethod: pca.AccessMethod{CustomObjectIdentifier: "1.2.3"}, AccessLocation: pca.GeneralName{DnsName: "d"}},
		},
	}
	s := &pca.ASN1Subject{Country: "US", CommonName: "CA"}
	for _, c := range []struct {
		key  crypto.Signer
		alg  pca.SigningAlgorithm
		ext  *pca.CsrExtensions
		want string
	}{
		{rsaKey(), pca.SigningAlgorithm_SHA512WITHRSA, nil, "2.5.29.19 critical=true 30030101ff\n"},
		{ecKey(t, elliptic.P384()), pca.SigningAlgorithm_SHA256WITHECDSA, &pca.CsrExtensions{KeyUsage: &pca.KeyUsage{}}, "2.5.29.19 critical=true 30030101ff\n"},
		{ecKey(t, elliptic.P256()), pca.SigningAlgorithm_SHA384WITHECDSA, ext, "2.5.29.19 critical=true 30030101ff\n2.5.29.15 critical=true 03020106\n1.3.6.1.5.5.7.1.11 critical=false " +
			"304e301506082b060105050730058609" + "68747470733a2f2f61" + "301506082b0601050507300a8609" + "68747470733a2f2f62" + "301506082b0601050507300d8609" + "68747470733a2f2f63" + "300706022a03820164\n"},
	} {
		if err := CheckNames(pca.CertificateAuthorityType_ROOT, &pca.CertificateAuthorityConfiguration{Subject: *s, CsrExtensions: c.ext}, false); err != nil {
			t.Error(err)
		}
		der, err := createCSR(c.key, s, c.ext, c.alg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseCSR(pemCSR(der))
		if err != nil {
			t.Fatal(err)
		}
		if show(got.Extensions) != c.want {
			t.Errorf("extensions\n%swant\n%s", show(got.Extensions), c.want)
		}
		if !bytes.Equal(got.RawSubject, name(t, *s)) {
			t.Errorf("subject %x", got.RawSubject)
		}
		x, err := x509.ParseCertificateRequest(der)
		if err != nil || x.CheckSignature() != nil {
			t.Errorf("crypto/x509: %v", err)
		}
		openssl(t, pemCSR(der), "req", "-verify", "-noout")
	}
	for what, e := range map[string]*pca.CsrExtensions{
		"no method":   {SubjectInformationAccess: []pca.AccessDescription{{AccessLocation: uri("https://a")}}},
		"two methods": {SubjectInformationAccess: []pca.AccessDescription{{AccessMethod: pca.AccessMethod{AccessMethodType: pca.AccessMethodType_CA_REPOSITORY, CustomObjectIdentifier: "1.2"}, AccessLocation: uri("https://a")}}},
		"no location": {SubjectInformationAccess: []pca.AccessDescription{{AccessMethod: pca.AccessMethod{CustomObjectIdentifier: "1.2"}}}},
		"bad OID":     {SubjectInformationAccess: []pca.AccessDescription{{AccessMethod: pca.AccessMethod{CustomObjectIdentifier: "1.99"}, AccessLocation: uri("https://a")}}},
	} {
		wantCode(t, CheckNames(pca.CertificateAuthorityType_ROOT, &pca.CertificateAuthorityConfiguration{Subject: *s, CsrExtensions: e}, false), pca.InvalidArgsException)
		_, err := createCSR(rsaKey(), s, e, pca.SigningAlgorithm_SHA256WITHRSA)
		if got := wantCode(t, err, pca.InvalidArgsException); got == "" {
			t.Error(what)
		}
	}
	_, err := createCSR(rsaKey(), s, nil, pca.SigningAlgorithm_SHA256WITHECDSA)
	wantCode(t, err, pca.InvalidArgsException)
}

// TestCheckNamesSize: the longest names that are taken leave a CSR that can be
// issued from and a root that can be imported; without the bound a CA was made
// that could never become active.
func TestCheckNamesSize(t *testing.T) {
	t.Parallel()
	mldsa87, err := mldsa.GenerateKey(mldsa.MLDSA87())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		algorithm pca.KeyAlgorithm
		key       crypto.Signer
	}{
		{pca.KeyAlgorithm_RSA_2048, rsaKey()}, {pca.KeyAlgorithm_EC_prime256v1, ecKey(t, elliptic.P256())}, {pca.KeyAlgorithm_ML_DSA_87, mldsa87},
	} {
		// longest grows one thing until it is refused, and gives the PEM of the CSR.
		longest := func(kind pca.CertificateAuthorityType, grow func(*pca.CertificateAuthorityConfiguration)) []byte {
			t.Helper()
			cfg := pca.CertificateAuthorityConfiguration{KeyAlgorithm: c.algorithm, SigningAlgorithm: anyAlgorithm(c.key), Subject: pca.ASN1Subject{CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "1.2.3", Value: "x"}}}}
			for {
				next := cfg
				grow(&next)
				if err := CheckNames(kind, &next, false); err != nil {
					wantCode(t, err, pca.InvalidArgsException)
					break
				}
				cfg = next
			}
			der, err := CreateCSR(c.key, &cfg, false)
			if err != nil {
				t.Fatal(err)
			}
			return pemCSR(der)
		}
		rename := func(cfg *pca.CertificateAuthorityConfiguration) {
			cfg.Subject.CustomAttributes = append(slices.Clip(cfg.Subject.CustomAttributes), pca.CustomAttribute{ObjectIdentifier: "1.2.3", Value: strings.Repeat("x", 90)})
		}
		extend := func(cfg *pca.CertificateAuthorityConfiguration) {
			e := pca.CsrExtensions{}
			if cfg.CsrExtensions != nil {
				e = *cfg.CsrExtensions
			}
			e.SubjectInformationAccess = append(slices.Clip(e.SubjectInformationAccess), pca.AccessDescription{
				AccessMethod: pca.AccessMethod{AccessMethodType: pca.AccessMethodType_CA_REPOSITORY}, AccessLocation: pca.GeneralName{UniformResourceIdentifier: strings.Repeat("x", 90)},
			})
			cfg.CsrExtensions = &e
		}
		for what, n := range map[string]int{
			"CSR of a subordinate": len(longest(pca.CertificateAuthorityType_SUBORDINATE, rename)),
			"CSR with extensions":  len(longest(pca.CertificateAuthorityType_ROOT, extend)),
		} {
			if n > maxCSR || n < maxCSR-2000 {
				t.Errorf("%s: the longest %s has %d bytes", c.algorithm, what, n)
			}
		}
		i, err := NewIssuer(IssuerConfig{Type: pca.CertificateAuthorityType_ROOT, Signer: c.key, Partition: "aws"})
		if err != nil {
			t.Fatal(err)
		}
		r := request(t, "RootCACertificate", longest(pca.CertificateAuthorityType_ROOT, rename))
		r.SigningAlgorithm = anyAlgorithm(c.key)
		out, err := i.Issue(r)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(pemCert(out.DER)); n > 32768 || n < 32768-2000 {
			t.Errorf("%s: the longest root certificate has %d bytes", c.algorithm, n)
		}
	}
}

func FuzzParseCSR(f *testing.F) {
	var once fatal
	key := ecKey(once, elliptic.P256())
	f.Add(csrSpec{subject: name(once, pca.ASN1Subject{CommonName: "x"})}.der(once, key))
	f.Add(csrSpec{extensions: []Extension{{OID: oidSubjectAltName, Value: dnsNames(once, "a.example")}, {OID: "\x2a\x03", Critical: true, Value: []byte{5, 0}}}}.der(once, key))
	f.Add(csrSpec{subject: name(once, pca.ASN1Subject{CommonName: "x"})}.der(once, rsaKey()))
	f.Fuzz(checkParsed)
}

// FuzzCSRContent signs what the fuzzer makes of subject and attributes, so
// that it gets past the signature check.
func FuzzCSRContent(f *testing.F) {
	var once fatal
	key := ecKey(once, elliptic.P256())
	f.Add(name(once, pca.ASN1Subject{CommonName: "x", Country: "DE"}), extensionAttribute(once, []Extension{{OID: oidSubjectAltName, Value: dnsNames(once, "a.example")}, {OID: "\x2a\x03", Critical: true, Value: []byte{5, 0}}}))
	f.Add(emptyName, extensionAttribute(once, []Extension{{OID: oidKeyUsage, Critical: true, Value: []byte{3, 2, 7, 0x80}}, {OID: oidSubjectAltName, Value: emptyName}}))
	f.Fuzz(func(t *testing.T, subject, attributes []byte) {
		if subject == nil {
			subject = []byte{}
		}
		checkParsed(t, csrSpec{subject: subject, attributes: attributes}.der(t, key))
	})
}

// checkParsed: what is accepted has a usable key, can be printed, and goes
// into a certificate that can be read again.
func checkParsed(t *testing.T, der []byte) {
	csr, err := ParseCSR(pemCSR(der))
	if err != nil {
		wantCode(t, err, pca.MalformedCSRException)
		return
	}
	if key, ok := csr.PublicKey.(*ecdsa.PublicKey); ok && isECDSA(key) {
		if _, err := key.ECDH(); err != nil { // not a point of its curve
			t.Errorf("%x: %v", der, err)
		}
	}
	if _, err := AppendSubject(nil, csr.RawSubject); err != nil {
		t.Errorf("%x: %v", der, err)
	}
	out, err := p256Root().issuer(t).Issue(request(t, "BlankEndEntityCertificate_CSRPassthrough", pemCSR(der)))
	if err != nil {
		wantCode(t, err, pca.MalformedCSRException)
		return
	}
	cert, err := parseCertificate(out.DER)
	if errors.Is(err, errCertificate) && csrAsksForUnreadable(csr) {
		return
	}
	if err != nil || !bytes.Equal(cert.rawSubject, csr.RawSubject) || !bytes.Equal(cert.rawSPKI, csr.RawSPKI) {
		t.Errorf("%x: certificate %x, %v", der, out.DER, err)
	}
}

// csrAsksForUnreadable: extensions that parseCertificate understands are
// copied from a CSR without a look at their content (T-26).
func csrAsksForUnreadable(csr *CSR) bool {
	return findExtension(csr.Extensions, oidKeyUsage) != nil || findExtension(csr.Extensions, oidNameConstraints) != nil
}
