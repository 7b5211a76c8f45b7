package issuance

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

// now is the acceptance of every test request that does not say otherwise.
var now = time.Date(2026, 11, 22, 10, 20, 30, 900e6, time.UTC)

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rsaKey is made once; tests never change it.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func template(t testing.TB, name string) *Template {
	t.Helper()
	tmpl, err := LookupTemplate("arn:aws:acm-pca:::template/"+name+"/V1", "aws")
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func oid(t testing.TB, text string) string {
	t.Helper()
	o, ok := parseOID(text)
	if !ok {
		t.Fatalf("bad OID %q in the test", text)
	}
	return o
}

func der(t testing.TB, build func(b *cryptobyte.Builder)) []byte {
	t.Helper()
	b, err := asDER(build)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// name encodes a subject from API members.
func name(t testing.TB, s pca.ASN1Subject) []byte {
	t.Helper()
	b, err := EncodeSubject(&s, false)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// csrSpec is a CSR to make; every part can be wrong on purpose.
type csrSpec struct {
	subject    []byte
	extensions []Extension
	attributes []byte // content of the attributes when not made from extensions
	noAttrs    bool   // leave the [0] out
	spki       []byte // instead of the key's own
	version    int64
	algorithm  pca.SigningAlgorithm // SHA256 with the key's family when empty
}

func (s csrSpec) der(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	spki, err := MarshalPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if s.spki != nil {
		spki = s.spki
	}
	if s.subject == nil {
		s.subject = emptyName
	}
	attributes := s.attributes
	if attributes == nil && s.extensions != nil {
		attributes = extensionAttribute(t, s.extensions)
	}
	info := der(t, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(s.version)
			b.AddBytes(s.subject)
			b.AddBytes(spki)
			if !s.noAttrs {
				b.AddASN1(casn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(attributes) })
			}
		})
	})
	if s.algorithm == "" {
		s.algorithm = anyAlgorithm(key)
	}
	alg, err := algorithmFor(s.algorithm, key.Public())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := alg.sign(key, info, true)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (s csrSpec) pem(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	return pemCSR(s.der(t, key))
}

func extensionAttribute(t testing.TB, list []Extension) []byte {
	t.Helper()
	return der(t, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addOID(b, oidExtensionsReq)
			b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
					for i := range list {
						list[i].add(b)
					}
				})
			})
		})
	})
}

var emptyName = []byte{0x30, 0}

func pemCSR(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func pemCert(list ...[]byte) (text []byte) {
	for _, der := range list {
		text = append(text, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return text
}

func sequenceOf(t testing.TB, content ...[]byte) []byte {
	t.Helper()
	return der(t, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, c := range content {
				b.AddBytes(c)
			}
		})
	})
}

// dnsNames is the value of a subjectAltName extension.
func dnsNames(t testing.TB, names ...string) []byte {
	t.Helper()
	var list [][]byte
	for _, n := range names {
		list = append(list, der(t, func(b *cryptobyte.Builder) { addString(b, nameDNS, n) }))
	}
	return sequenceOf(t, list...)
}

// authority is a CA for tests.
type authority struct {
	key    crypto.Signer
	cert   *x509.Certificate // nil for SM2
	chain  [][]byte          // parents
	config IssuerConfig
}

func (a *authority) issuer(t testing.TB) *Issuer {
	t.Helper()
	i, err := NewIssuer(a.config)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func (a *authority) algorithm() pca.KeyAlgorithm { return keyKind(a.key.Public()) }

// anyAlgorithm is one that goes with the key; the SHA-256 one where there are several.
func anyAlgorithm(key crypto.Signer) pca.SigningAlgorithm {
	return signingAlgorithms(keyKind(key.Public()))[0]
}

// newRoot makes a root through CreateCSR, Issue and CheckImport.
func newRoot(t testing.TB, key crypto.Signer, alg pca.SigningAlgorithm, tmpl string, api *pca.ApiPassthrough) *authority {
	t.Helper()
	return newCA(t, nil, key, alg, tmpl, api)
}

func createCSR(key crypto.Signer, subject *pca.ASN1Subject, e *pca.CsrExtensions, algorithm pca.SigningAlgorithm) ([]byte, error) {
	return CreateCSR(key, &pca.CertificateAuthorityConfiguration{Subject: *subject, CsrExtensions: e, SigningAlgorithm: algorithm}, false)
}

// newCA makes a CA below parent, or a root, and installs its certificate.
func newCA(t testing.TB, parent *authority, key crypto.Signer, alg pca.SigningAlgorithm, tmpl string, api *pca.ApiPassthrough) *authority {
	t.Helper()
	csr, err := createCSR(key, &pca.ASN1Subject{Organization: "Example", CommonName: "CA " + tmpl}, nil, alg)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, config: IssuerConfig{Type: pca.CertificateAuthorityType_ROOT, Signer: key, Partition: "aws-cn"}}
	signing, years := a, int64(10)
	if parent != nil {
		signing, years = parent, 5
		a.config.Type = pca.CertificateAuthorityType_SUBORDINATE
		a.chain = append([][]byte{parent.config.Certificate}, parent.chain...)
	}
	signedWith := anyAlgorithm(signing.key)
	if parent == nil {
		signedWith = alg
	}
	r := request(t, tmpl, pemCSR(csr))
	r.SigningAlgorithm, r.Validity, r.Passthrough = signedWith, pca.Validity{Type: pca.ValidityPeriodType_YEARS, Value: years}, api
	out, err := signing.issuer(t).Issue(r)
	if err != nil {
		t.Fatalf("%s: %v", tmpl, err)
	}
	imported, err := CheckImport(ImportRequest{Type: a.config.Type, PublicKey: key.Public(), Certificate: pemCert(out.DER), Chain: pemCert(a.chain...), Now: now})
	if err != nil {
		t.Fatalf("%s: import: %v", tmpl, err)
	}
	// crypto/x509 cannot read certificates with SM2 keys.
	if a.cert, err = x509.ParseCertificate(imported.Certificate); err != nil && a.algorithm() != pca.KeyAlgorithm_SM2 {
		t.Fatal(err)
	}
	a.config.Certificate, a.config.Chain = imported.Certificate, imported.Chain
	return a
}

// p256Root is a root without path length, made once.
var p256Root = sync.OnceValue(func() *authority {
	var t fatal
	return newRoot(t, ecKey(t, elliptic.P256()), pca.SigningAlgorithm_SHA256WITHECDSA, "RootCACertificate", nil)
})

// fatal is a testing.TB for what is made once for many tests.
type fatal struct{ testing.TB }

func (fatal) Helper()                   {}
func (fatal) Fatal(args ...any)         { panic(args) }
func (fatal) Fatalf(f string, a ...any) { panic(append([]any{f}, a...)) }

func request(t testing.TB, tmpl string, csr []byte) Request {
	t.Helper()
	serial, err := NewSerial(now)
	if err != nil {
		t.Fatal(err)
	}
	return Request{
		Template: template(t, tmpl), CSR: csr, SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA,
		Validity: pca.Validity{Type: pca.ValidityPeriodType_DAYS, Value: 30}, Now: now, Serial: serial,
	}
}

// wantCode checks that err is a *pca.Error with the code and a message, and
// gives the message.
func wantCode(t testing.TB, err error, code pca.Code) string {
	t.Helper()
	var e *pca.Error
	if !errors.As(err, &e) {
		t.Fatalf("got error %v, want a %s", err, code)
	}
	if e.Code != code || e.Message == "" {
		t.Errorf("got %v, want a %s", e, code)
	}
	return e.Message
}

func extensionsOf(t testing.TB, c *x509.Certificate) (list []Extension) {
	t.Helper()
	for _, e := range c.Extensions {
		list = append(list, Extension{OID: oid(t, e.Id.String()), Critical: e.Critical, Value: e.Value})
	}
	return list
}

// show prints extensions for comparison.
func show(list []Extension) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "%s critical=%t %x\n", oidText(e.OID), e.Critical, e.Value)
	}
	return b.String()
}

// openssl runs the openssl command, which the tests need.
func openssl(t testing.TB, stdin []byte, args ...string) string {
	t.Helper()
	return run(t, "openssl", stdin, args...)
}

// openssl35 runs an openssl that has ML-DSA: .tools/openssl35, which make tools fetches.
func openssl35(t testing.TB, stdin []byte, args ...string) string {
	t.Helper()
	program, err := exec.LookPath("openssl35")
	if err != nil {
		program = filepath.Join("..", "..", ".tools", "openssl35")
		if _, err := os.Stat(program); err != nil {
			t.Fatal("this test needs OpenSSL 3.5 or later as openssl35: run `make tools`")
		}
	}
	return run(t, program, stdin, args...)
}

func run(t testing.TB, program string, stdin []byte, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin = strings.NewReader(string(stdin))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// file writes text into a new file.
func file(t testing.TB, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// certSpec is a certificate to make as another CA's software might.
type certSpec struct {
	subject, issuer []byte // issuer: the subject when nil
	serial          []byte // content of the INTEGER
	extensions      []Extension
	notBefore       time.Time // a year before now when zero
	notAfter        time.Time // a year after now when zero
	algorithm       string    // hex of the AlgorithmIdentifier; SHA-256 when empty
	hash            crypto.Hash
}

// der makes a certificate of key's public key, signed by the signer.
func (s certSpec) der(t testing.TB, key, signer crypto.Signer) []byte {
	t.Helper()
	spki, err := MarshalPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if s.issuer == nil {
		s.issuer = s.subject
	}
	if s.serial == nil {
		s.serial = []byte{1, 2, 3}
	}
	if s.notBefore.IsZero() {
		s.notBefore = now.AddDate(-1, 0, 0)
	}
	if s.notAfter.IsZero() {
		s.notAfter = now.AddDate(1, 0, 0)
	}
	alg := signatureAlgorithm{identifier: unhex(t, s.algorithm), hash: s.hash}
	if s.algorithm == "" {
		alg, _ = lookupSignatureAlgorithm(anyAlgorithm(signer))
	}
	tbs := der(t, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes([]byte{0xa0, 3, 2, 1, 2})
			addString(b, casn1.INTEGER, string(s.serial))
			b.AddBytes(alg.identifier)
			b.AddBytes(s.issuer)
			b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddBytes(appendTime(nil, s.notBefore.UTC().Truncate(time.Second)))
				b.AddBytes(appendTime(nil, s.notAfter.UTC().Truncate(time.Second)))
			})
			b.AddBytes(s.subject)
			b.AddBytes(spki)
			if s.extensions == nil {
				return
			}
			b.AddASN1(casn1.Tag(3).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
					for i := range s.extensions {
						s.extensions[i].add(b)
					}
				})
			})
		})
	})
	signed, err := alg.sign(signer, tbs, false)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}
