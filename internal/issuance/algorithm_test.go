package issuance

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/mldsa"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/emmansun/gmsm/sm2"

	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
)

var keyAlgorithms = []pca.KeyAlgorithm{
	pca.KeyAlgorithm_RSA_2048, pca.KeyAlgorithm_RSA_3072, pca.KeyAlgorithm_RSA_4096, pca.KeyAlgorithm_EC_prime256v1, pca.KeyAlgorithm_EC_secp384r1,
	pca.KeyAlgorithm_EC_secp521r1, pca.KeyAlgorithm_ML_DSA_44, pca.KeyAlgorithm_ML_DSA_65, pca.KeyAlgorithm_ML_DSA_87, pca.KeyAlgorithm_SM2,
}

// wantSignature is the OID of the signature that each signing algorithm of the
// model makes, as openssl writes it, and the keys that it goes with.
var wantSignature = map[pca.SigningAlgorithm]struct{ name, keys string }{
	pca.SigningAlgorithm_SHA256WITHRSA: {"sha256WithRSAEncryption", "RSA"}, pca.SigningAlgorithm_SHA384WITHRSA: {"sha384WithRSAEncryption", "RSA"},
	pca.SigningAlgorithm_SHA512WITHRSA: {"sha512WithRSAEncryption", "RSA"}, pca.SigningAlgorithm_SHA256WITHECDSA: {"ecdsa-with-SHA256", "EC_"},
	pca.SigningAlgorithm_SHA384WITHECDSA: {"ecdsa-with-SHA384", "EC_"}, pca.SigningAlgorithm_SHA512WITHECDSA: {"ecdsa-with-SHA512", "EC_"},
	pca.SigningAlgorithm_ML_DSA_44: {"ML-DSA-44", "ML_DSA_44"}, pca.SigningAlgorithm_ML_DSA_65: {"ML-DSA-65", "ML_DSA_65"},
	pca.SigningAlgorithm_ML_DSA_87: {"ML-DSA-87", "ML_DSA_87"}, pca.SigningAlgorithm_SM3WITHSM2: {"SM2-with-SM3", "SM2"},
}

// newKey makes a key in the real key store.
func newKey(t testing.TB, algorithm pca.KeyAlgorithm) crypto.Signer {
	t.Helper()
	store, err := keystore.Open(keystore.Config{Dir: t.TempDir(), MasterKey: keystore.MasterKey{1}})
	if err != nil {
		t.Fatal(err)
	}
	key, err := store.Generate(t.Context(), "key", string(algorithm))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// distID is the default user id of SM2, which OpenSSL 3 wants to be told.
const distID = "distid:1234567812345678"

// verifyChain has openssl check leaf and every certificate above it, root last.
func verifyChain(t testing.TB, chain ...[]byte) {
	t.Helper()
	verify := []string{"verify", "-x509_strict", "-attime", strconv.FormatInt(now.Unix(), 10)}
	last := len(chain) - 1
	ofSM2 := false
	for n, der := range chain {
		child, err := parseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		issuer, err := parseCertificate(chain[min(n+1, last)])
		if err != nil {
			t.Fatal(err)
		}
		if keyKind(issuer.publicKey) != pca.KeyAlgorithm_SM2 {
			continue
		}
		// verify passes the user id on to the first certificate only, and not
		// when that is the trusted one.
		ofSM2 = true
		public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: issuer.rawSPKI})
		openssl(t, child.rawTBS, "dgst", "-sm3", "-verify", file(t, public), "-sigopt", distID, "-signature", file(t, child.signature))
		if n < last {
			openssl35(t, nil, append(verify, "-partial_chain", "-vfyopt", distID, "-trusted", file(t, pemCert(issuer.raw)), file(t, pemCert(der)))...)
		}
	}
	if !ofSM2 {
		args := append(verify, "-check_ss_sig", "-CAfile", file(t, pemCert(chain[last])))
		if last > 1 {
			args = append(args, "-untrusted", file(t, pemCert(chain[1:last]...)))
		}
		openssl35(t, nil, append(args, file(t, pemCert(chain[0])))...)
	}
}

// Every key algorithm with every signing algorithm of the model: a CA of that
// key issues with those that go with it, which openssl verifies, and refuses
// the others.
func TestKeyAndSigningAlgorithms(t *testing.T) {
	t.Parallel()
	csr := csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "leaf"})}.pem(t, ecKey(t, elliptic.P256()))
	for _, alg := range types.SigningAlgorithm("").Values() { // the SDK's model is newer: it has RSASSA-PSS, which is refused here
		if wantSignature[pca.SigningAlgorithm(alg)].name == "" && !strings.HasSuffix(string(alg), "WITHRSA_PSS") {
			t.Errorf("the signing algorithm %s is not tested", alg)
		}
	}
	for _, k := range types.KeyAlgorithm("").Values() {
		if !slices.Contains(keyAlgorithms, pca.KeyAlgorithm(k)) {
			t.Errorf("the key algorithm %s is not tested", k)
		}
	}
	for _, k := range keyAlgorithms {
		t.Run(string(k), func(t *testing.T) {
			t.Parallel()
			key := newKey(t, k)
			root := newRoot(t, key, anyAlgorithm(key), "RootCACertificate", nil)
			root.config.Verify = true
			issuer := root.issuer(t)
			pairs := 0
			for alg, want := range wantSignature {
				r := request(t, "EndEntityCertificate", csr)
				r.SigningAlgorithm = alg
				out, err := issuer.Issue(r)
				_, csrErr := createCSR(key, &pca.ASN1Subject{CommonName: "x"}, nil, alg)
				if !strings.HasPrefix(string(k), want.keys) {
					for _, err := range []error{err, csrErr, CheckSigningAlgorithm(k, alg)} {
						if got := wantCode(t, err, pca.InvalidArgsException); !strings.Contains(got, listed(signingAlgorithms(k))) {
							t.Errorf("%s: message %q does not tell what goes", alg, got)
						}
					}
					continue
				}
				pairs++
				if err != nil || csrErr != nil {
					t.Errorf("%s: %v, %v", alg, err, csrErr)
					continue
				}
				verifyChain(t, out.DER, root.config.Certificate)
				if text := openssl35(t, out.DER, "x509", "-inform", "DER", "-noout", "-text"); strings.Count(text, "Signature Algorithm: "+want.name+"\n") != 2 {
					t.Errorf("%s: openssl shows\n%s", alg, text)
				}
			}
			if pairs != len(signingAlgorithms(k)) {
				t.Errorf("%d signing algorithms were used, want %d", pairs, len(signingAlgorithms(k)))
			}
		})
	}
}

// Hierarchies whose certificates have keys of different kinds, in both
// directions; two of them with leaf keys that no CA has.
func TestMixedHierarchies(t *testing.T) {
	t.Parallel()
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edwardsCSR, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{"ed.example"}}, edwards)
	if err != nil {
		t.Fatal(err)
	}
	const ec, rsa, sm = pca.KeyAlgorithm_EC_secp384r1, pca.KeyAlgorithm_RSA_2048, pca.KeyAlgorithm_SM2
	const m44, m65, m87 = pca.KeyAlgorithm_ML_DSA_44, pca.KeyAlgorithm_ML_DSA_65, pca.KeyAlgorithm_ML_DSA_87
	for _, kinds := range [][]pca.KeyAlgorithm{ // root first, leaf last; "" is Ed25519
		{m87, ec, ec}, {m87, ec, m44}, {ec, m65, ec}, {ec, m65, ""}, {m65, m44, m44}, {rsa, m44, rsa}, {m44, rsa, ""}, {sm, ec, ec}, {ec, sm, sm}, {sm, m65, sm}, {m87, m65, m44, m44},
	} {
		var names []string
		for _, k := range kinds {
			names = append(names, string(k))
		}
		t.Run(strings.Join(names, " over "), func(t *testing.T) {
			t.Parallel()
			var above *authority
			for n, k := range kinds[:len(kinds)-1] {
				tmpl := "RootCACertificate"
				if n > 0 {
					tmpl = "SubordinateCACertificate_PathLen" + strconv.Itoa(len(kinds)-2-n)
				}
				key := newKey(t, k)
				above = newCA(t, above, key, anyAlgorithm(key), tmpl, nil)
			}
			csr := pemCSR(edwardsCSR)
			if k := kinds[len(kinds)-1]; k != "" {
				csr = csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "leaf"})}.pem(t, newKey(t, k))
			}
			r := request(t, "EndEntityServerAuthCertificate", csr)
			r.SigningAlgorithm = anyAlgorithm(above.key)
			out, err := above.issuer(t).Issue(r)
			if err != nil {
				t.Fatal(err)
			}
			verifyChain(t, append([][]byte{out.DER, above.config.Certificate}, above.chain...)...)
			leaf, err := parseCertificate(out.DER)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := ParseCSR(csr)
			if err != nil || !samePublicKey(leaf.publicKey, parsed.PublicKey) || !bytes.Equal(leaf.subjectKeyID, subjectKeyIdentifier(parsed.RawSPKI)) {
				t.Errorf("key of the certificate: %v", err)
			}
		})
	}
}

// ML-DSA and SM2 requests and certificates that openssl made.
func TestForeignKeysOfOtherKinds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		algorithm pca.KeyAlgorithm
		gen       []string
		sign      []string // options of req and x509
	}{
		{pca.KeyAlgorithm_ML_DSA_44, []string{"-algorithm", "ML-DSA-44"}, nil},
		{pca.KeyAlgorithm_ML_DSA_65, []string{"-algorithm", "ML-DSA-65"}, nil},
		{pca.KeyAlgorithm_ML_DSA_87, []string{"-algorithm", "ML-DSA-87"}, nil},
		{pca.KeyAlgorithm_SM2, []string{"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2"}, []string{"-sm3", "-sigopt", distID}},
	} {
		t.Run(string(c.algorithm), func(t *testing.T) {
			t.Parallel()
			ssl := openssl35
			if c.algorithm == pca.KeyAlgorithm_SM2 { // also in the system's OpenSSL 3.0
				ssl = openssl
			}
			keyFile := filepath.Join(t.TempDir(), "key")
			ssl(t, nil, append(append([]string{"genpkey"}, c.gen...), "-out", keyFile)...)

			// Their CSR, our certificate.
			csr := []byte(ssl(t, nil, append([]string{"req", "-new", "-key", keyFile, "-subj", "/O=Ext/CN=leaf", "-addext", "subjectAltName=DNS:leaf.example"}, c.sign...)...))
			parsed, err := ParseCSR(csr)
			if err != nil {
				t.Fatal(err)
			}
			if keyKind(parsed.PublicKey) != c.algorithm || len(parsed.Extensions) != 1 {
				t.Errorf("%s, %d extensions", keyKind(parsed.PublicKey), len(parsed.Extensions))
			}
			if spki, err := MarshalPublicKey(parsed.PublicKey); err != nil || !bytes.Equal(spki, parsed.RawSPKI) {
				t.Errorf("the public key %x is encoded as %x, %v", parsed.RawSPKI, spki, err)
			}
			root := newRoot(t, newKey(t, c.algorithm), signingAlgorithms(c.algorithm)[0], "RootCACertificate", nil)
			r := request(t, "EndEntityCertificate", csr)
			r.SigningAlgorithm = signingAlgorithms(c.algorithm)[0]
			out, err := root.issuer(t).Issue(r)
			if err != nil {
				t.Fatal(err)
			}
			verifyChain(t, out.DER, root.config.Certificate)

			// Our CSR, their check.
			ours, err := createCSR(root.key, &pca.ASN1Subject{CommonName: "ours"}, nil, r.SigningAlgorithm)
			if err != nil {
				t.Fatal(err)
			}
			verifyRequest := []string{"req", "-verify", "-noout"}
			if c.algorithm == pca.KeyAlgorithm_SM2 {
				verifyRequest = append(verifyRequest, "-vfyopt", distID)
			}
			ssl(t, pemCSR(ours), verifyRequest...)

			// Their root signs our CSRs, of its kind and of another, and we import.
			theirs := []byte(ssl(t, nil, append([]string{"req", "-x509", "-new", "-key", keyFile, "-subj", "/O=Ext/CN=root", "-days", "3650", "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"}, c.sign...)...))
			rootFile := file(t, theirs)
			block, _ := pem.Decode(theirs)
			root0, err := parseCertificate(block.Bytes)
			if err != nil || !root0.selfSigned() {
				t.Fatalf("their root: self-signed %t, %v", err == nil && root0.selfSigned(), err)
			}
			for _, key := range []crypto.Signer{root.key, ecKey(t, elliptic.P256())} {
				request, err := createCSR(key, &pca.ASN1Subject{CommonName: "ours"}, nil, anyAlgorithm(key))
				if err != nil {
					t.Fatal(err)
				}
				args := append([]string{"x509", "-req", "-in", file(t, pemCSR(request)), "-CA", rootFile, "-CAkey", keyFile, "-days", "365", "-extfile", file(t, []byte("basicConstraints=critical,CA:TRUE,pathlen:0\n"))}, c.sign...)
				if c.algorithm == pca.KeyAlgorithm_SM2 && keyKind(key.Public()) == c.algorithm {
					args = append(args, "-vfyopt", distID)
				}
				certificate := []byte(ssl(t, nil, args...))
				certificate = certificate[bytes.Index(certificate, []byte("-----BEGIN")):]
				in := ImportRequest{Type: pca.CertificateAuthorityType_SUBORDINATE, PublicKey: key.Public(), Certificate: certificate, Chain: theirs, Now: root0.notBefore.Add(time.Hour)}
				got, err := CheckImport(in)
				if err != nil {
					t.Errorf("importing what their root signed: %v", err)
					continue
				}
				if _, err := NewIssuer(IssuerConfig{Type: in.Type, Signer: key, Certificate: got.Certificate, Chain: got.Chain}); err != nil {
					t.Error(err)
				}
				in.PublicKey = newKey(t, c.algorithm).Public()
				_, err = CheckImport(in)
				wantCode(t, err, pca.CertificateMismatchException)
				b, _ := pem.Decode(certificate)
				b.Bytes[len(b.Bytes)-5] ^= 1
				in.PublicKey, in.Certificate = key.Public(), pemCert(b.Bytes)
				_, err = CheckImport(in)
				wantCode(t, err, pca.CertificateMismatchException)
			}
		})
	}
}

// What is wrong with keys and signatures of these kinds is found.
func TestRefusedKeysOfOtherKinds(t *testing.T) {
	t.Parallel()
	m44, m65, sm, ec := newKey(t, pca.KeyAlgorithm_ML_DSA_44), newKey(t, pca.KeyAlgorithm_ML_DSA_65), newKey(t, pca.KeyAlgorithm_SM2), ecKey(t, elliptic.P256())
	subject := name(t, pca.ASN1Subject{CommonName: "x"})
	spki := func(key crypto.Signer) []byte {
		der, err := MarshalPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	replace := func(b []byte, old, new string) []byte {
		if bytes.Count(b, []byte(old)) == 0 || len(old) != len(new) {
			t.Fatal("bad replacement in the test")
		}
		return bytes.ReplaceAll(b, []byte(old), []byte(new))
	}
	offCurve := bytes.Clone(spki(sm))
	offCurve[len(offCurve)-1] ^= 1
	flipped := bytes.Clone(csrSpec{subject: subject}.der(t, m44))
	flipped[len(flipped)-1] ^= 1
	for what, der := range map[string][]byte{
		"the parameter set of another size":            csrSpec{subject: subject, spki: replace(spki(m44), oidMLDSA+"\x11", oidMLDSA+"\x12")}.der(t, m44),
		"an unknown parameter set":                     csrSpec{subject: subject, spki: replace(spki(m44), oidMLDSA+"\x11", oidMLDSA+"\x14")}.der(t, m44),
		"the signature of another set":                 csrSpec{subject: subject, spki: spki(m44)}.der(t, m65),
		"an ML-DSA key with parameters":                csrSpec{subject: subject, spki: withParameters(t, m44)}.der(t, m44),
		"a changed signature":                          flipped,
		"an SM2 key off its curve":                     csrSpec{subject: subject, spki: offCurve}.der(t, sm),
		"an SM2 key as P-256":                          csrSpec{subject: subject, spki: replace(spki(sm), curveSM2, "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07")}.der(t, sm),
		"a P-256 key as SM2":                           csrSpec{subject: subject, spki: replace(spki(ec), "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", curveSM2)}.der(t, ec),
		"SM2 signed as ECDSA":                          replace(csrSpec{subject: subject}.der(t, sm), oidSM2, "\x2a\x86\x48\xce\x3d\x04\x03\x02"),
		"ECDSA signed as SM2":                          replace(csrSpec{subject: subject}.der(t, ec), "\x2a\x86\x48\xce\x3d\x04\x03\x02", oidSM2),
		"the hash and not the message signed with SM2": sm2Request(t, sm, subject, nil),
		"another user id":                              sm2Request(t, sm, subject, []byte("somebody")),
	} {
		_, err := ParseCSR(pemCSR(der))
		if err == nil {
			t.Errorf("%s was accepted", what)
			continue
		}
		wantCode(t, err, pca.MalformedCSRException)
	}
	if _, err := ParseCSR(pemCSR(sm2Request(t, sm, subject, []byte("1234567812345678")))); err != nil {
		t.Errorf("the default user id: %v", err)
	}
	for partition, offered := range map[string]bool{"aws": false, "aws-cn": true, "": false} {
		root := *p256Root()
		root.config.Partition = partition
		_, err := root.issuer(t).Issue(request(t, "EndEntityCertificate", csrSpec{subject: subject}.pem(t, sm)))
		if offered && err != nil {
			t.Errorf("%s: %v", partition, err)
		} else if !offered {
			wantCode(t, err, pca.MalformedCSRException)
		}
	}
	// A certificate that names parameters with ML-DSA is not verified (RFC 9881 2).
	null := certSpec{subject: subject, algorithm: "300d" + "0609608648016503040311" + "0500"}.der(t, m44, m44)
	if c, err := parseCertificate(null); err != nil || c.selfSigned() {
		t.Errorf("NULL parameters: %v", err)
	}
	absent := certSpec{subject: subject}.der(t, m44, m44)
	if c, err := parseCertificate(absent); err != nil || !c.selfSigned() {
		t.Errorf("no parameters: %v", err)
	}
	if _, err := MarshalPublicKey("not a key"); err == nil {
		t.Error("a string was encoded as a public key")
	}
}

// withParameters is a SubjectPublicKeyInfo of an ML-DSA key with NULL parameters.
func withParameters(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	algorithm := append(append([]byte{0x30, 13, 6, 9}, oidMLDSA+"\x11"...), 5, 0)
	bits := append([]byte{3, 0x82, 0x05, 0x21, 0}, key.Public().(*mldsa.PublicKey).Bytes()...)
	return sequenceOf(t, algorithm, bits)
}

// sm2Request makes a CSR whose signature is over the message with a user id,
// or over the SM3 hash of the message alone.
func sm2Request(t testing.TB, key crypto.Signer, subject, uid []byte) []byte {
	t.Helper()
	der := csrSpec{subject: subject}.der(t, key)
	block := slices.Clone(der)
	parts := splitSequence(t, block)
	var opts crypto.SignerOpts = sm2.NewSM2SignerOption(true, uid)
	message := parts[0]
	if uid == nil {
		opts, message = crypto.SHA256, bytes.Repeat([]byte{7}, 32)
	}
	signature, err := key.Sign(rand.Reader, message, opts)
	if err != nil {
		t.Fatal(err)
	}
	bits := append([]byte{3, byte(len(signature) + 1), 0}, signature...)
	return sequenceOf(t, parts[0], parts[1], bits)
}

// splitSequence gives the elements of a SEQUENCE.
func splitSequence(t testing.TB, der []byte) (list [][]byte) {
	t.Helper()
	_, content, _, ok := readTLV(der)
	for ok && len(content) > 0 {
		var rest []byte
		_, _, rest, ok = readTLV(content)
		list = append(list, content[:len(content)-len(rest)])
		content = rest
	}
	if !ok {
		t.Fatal("not a SEQUENCE")
	}
	return list
}

// Certificates are checked with the public key when the key is outside this
// process, and only then.
func TestSelfCheck(t *testing.T) {
	t.Parallel()
	r := request(t, "EndEntityCertificate", csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "x"})}.pem(t, ecKey(t, elliptic.P256())))
	for _, c := range []struct {
		bad, verify, ok bool
	}{{false, false, true}, {false, true, true}, {true, true, false}, {true, false, true}} {
		root := *p256Root()
		if c.bad {
			root.config.Signer = badSigner{root.key.(*ecdsa.PrivateKey)}
		}
		root.config.Verify = c.verify
		if out, err := root.issuer(t).Issue(r); (err == nil) != c.ok || (out != nil) != c.ok {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
