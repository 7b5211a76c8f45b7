package issuance

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

const (
	maxCSR        = 32768 // octets of the blob (T-30)
	maxCommonName = 64    // characters (T-34)
)

// CSR is a certification request whose signature has been verified.
type CSR struct {
	Raw        []byte // DER
	RawSubject []byte // DER Name, verbatim
	RawSPKI    []byte // DER SubjectPublicKeyInfo, verbatim
	PublicKey  crypto.PublicKey
	Extensions []Extension // of the extensionRequest attribute, in its order, no OID twice
}

// Extension is one X.509 extension.
type Extension struct {
	OID      string // content octets of the DER OBJECT IDENTIFIER
	Critical bool
	Value    []byte // content of extnValue
}

func malformedCSR(format string, args ...any) error {
	return pca.Errorf(pca.MalformedCSRException, format, args...)
}

// ParseCSR reads one PEM certification request and verifies its signature
// (T-30 to T-36, CA lifecycle 4). The subject and the key are kept as they
// stand; the content of extensions is not looked at. Every refusal is a
// MalformedCSRException. The CSR does not alias text.
func ParseCSR(text []byte) (*CSR, error) {
	if len(text) > maxCSR {
		return nil, malformedCSR("The CSR has %d bytes; at most %d are allowed.", len(text), maxCSR)
	}
	der, err := requestBlock(text)
	if err != nil {
		return nil, err
	}
	return parseCSR(der)
}

// RequestKey gives the DER SubjectPublicKeyInfo, verbatim, of a DER
// certification request that CreateCSR made.
func RequestKey(der []byte) (spki []byte, err error) {
	s := cryptobyte.String(der)
	var request, info, key cryptobyte.String
	var version uint
	if !s.ReadASN1(&request, asn1.SEQUENCE) || !request.ReadASN1(&info, asn1.SEQUENCE) || !info.ReadASN1Integer(&version) ||
		!info.SkipASN1(asn1.SEQUENCE) || !info.ReadASN1Element(&key, asn1.SEQUENCE) {
		return nil, errors.New("the certification request has no key")
	}
	return key, nil
}

// requestBlock finds the one PEM block.
func requestBlock(text []byte) ([]byte, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		if _, content, _, ok := readTLV(text); ok && len(content) > 0 && text[0] == 0x30 {
			return nil, malformedCSR("The CSR is DER; send it as PEM, from -----BEGIN CERTIFICATE REQUEST----- to -----END CERTIFICATE REQUEST-----.")
		}
		return nil, malformedCSR("The CSR is not PEM; it must hold a block from -----BEGIN CERTIFICATE REQUEST----- to -----END CERTIFICATE REQUEST-----.")
	}
	if block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return nil, malformedCSR("The CSR must be a PEM block of type CERTIFICATE REQUEST, not %s.", printable(block.Type))
	}
	if bytes.Contains(rest, []byte("-----BEGIN ")) {
		return nil, malformedCSR("The CSR must hold exactly one PEM block.")
	}
	return block.Bytes, nil
}

// printable shortens text of unknown origin for a message.
func printable(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b)
}

func parseCSR(der []byte) (*CSR, error) {
	bad := func(what string) (*CSR, error) {
		return nil, malformedCSR("The CSR cannot be read as PKCS#10: %s. Make a new one, for example with openssl req -new.", what)
	}
	s := cryptobyte.String(der)
	var request, rawInfo, info, rawAlgorithm cryptobyte.String
	var signature []byte
	if !s.ReadASN1(&request, asn1.SEQUENCE) {
		return bad("it is not a DER SEQUENCE")
	}
	if !s.Empty() {
		return bad("bytes follow the request")
	}
	if !request.ReadASN1Element(&rawInfo, asn1.SEQUENCE) || !request.ReadASN1Element(&rawAlgorithm, asn1.SEQUENCE) ||
		!request.ReadASN1BitStringAsBytes(&signature) || !request.Empty() {
		return bad("it does not consist of content, algorithm and signature")
	}
	whole := rawInfo
	var version uint
	var subject, spki, attributes cryptobyte.String
	var present bool
	if !whole.ReadASN1(&info, asn1.SEQUENCE) || !info.ReadASN1Integer(&version) || version != 0 {
		return bad("its version is not 0")
	}
	if !info.ReadASN1Element(&subject, asn1.SEQUENCE) {
		return bad("its subject is not a Name")
	}
	commonName, err := checkName(subject)
	if err != nil {
		return bad("its subject is not a DER Name")
	}
	if commonName > maxCommonName {
		return nil, malformedCSR("The common name in the CSR has %d characters; at most %d are allowed.", commonName, maxCommonName)
	}
	if !info.ReadASN1Element(&spki, asn1.SEQUENCE) {
		return bad("its public key is not a SubjectPublicKeyInfo")
	}
	// RFC 2986 asks for the attributes even when there are none; some software leaves them out.
	if !info.ReadOptionalASN1(&attributes, &present, asn1.Tag(0).Constructed().ContextSpecific()) || !info.Empty() {
		return bad("its attributes are not a SET")
	}
	c := &CSR{Raw: der, RawSubject: subject, RawSPKI: spki}
	if c.Extensions, err = requestedExtensions(attributes); err != nil {
		return nil, err
	}
	if c.PublicKey, err = publicKey(spki); err != nil {
		return nil, &pca.Error{Code: pca.MalformedCSRException, Message: "The public key in the CSR is not accepted. Use " + acceptedKeys + ".", Err: err}
	}
	hash, err := verifySignature(c.PublicKey, rawAlgorithm, rawInfo, signature)
	if err == nil && hash == crypto.MD5 {
		err = errAlgorithm
	}
	if errors.Is(err, errAlgorithm) {
		return nil, malformedCSR("The CSR is signed with an algorithm that is unknown or does not go with its key. Sign it with SHA-256, SHA-384 or SHA-512.")
	}
	if err != nil {
		return nil, malformedCSR("The signature of the CSR does not verify with the public key in it. The CSR was damaged or not signed with its own private key.")
	}
	return c, nil
}

// requestedExtensions reads the attributes: the one extensionRequest, if any;
// others are ignored but must be DER (T-33, T-36).
func requestedExtensions(attributes cryptobyte.String) (list []Extension, err error) {
	found := false
	for !attributes.Empty() {
		var attribute, oid, values cryptobyte.String
		if !attributes.ReadASN1(&attribute, asn1.SEQUENCE) || !attribute.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) || !validOID(oid) ||
			!attribute.ReadASN1(&values, asn1.SET) || !attribute.Empty() || !wellFormedValue(byte(asn1.SET), values, maxDepth) {
			return nil, malformedCSR("An attribute of the CSR is not DER.")
		}
		if string(oid) != oidExtensionsReq {
			continue
		}
		if found {
			return nil, malformedCSR("The CSR holds more than one extensionRequest attribute.")
		}
		found = true
		var extensions cryptobyte.String
		if !values.ReadASN1(&extensions, asn1.SEQUENCE) || !values.Empty() {
			return nil, malformedCSR("The extensionRequest attribute of the CSR must hold one list of extensions.")
		}
		var duplicate string
		var ok bool
		if list, duplicate, ok = readExtensions(extensions); !ok {
			return nil, malformedCSR("An extension in the CSR is not DER.")
		}
		if duplicate != "" {
			return nil, malformedCSR("The CSR holds the extension %s more than once.", oidText(duplicate))
		}
	}
	return list, nil
}

// CheckNames refuses, as an InvalidArgsException, a subject and CsrExtensions
// that CreateCSR cannot encode, a subject without attributes, and a CA that could
// never get its certificate: IssueCertificate takes 32768 bytes of PEM as a CSR,
// and ImportCertificateAuthorityCertificate as many of a certificate, which names
// a root twice. mixed is EncodeSubject's.
func CheckNames(t pca.CertificateAuthorityType, c *pca.CertificateAuthorityConfiguration, mixed bool) error {
	// With its armour and line breaks this makes 32709 bytes of PEM.
	const room = 24_100
	const rest = 400 // versions, algorithms, validity, what every template adds
	subject, err := EncodeSubject(&c.Subject, mixed)
	if err != nil {
		return err
	}
	if isEmptySequence(subject) {
		return invalidArgs("The subject of a certificate authority must not be empty. Give at least one attribute, such as CommonName.")
	}
	extensions, err := csrExtensions(c.CsrExtensions, mixed)
	if err != nil {
		return err
	}
	fixed := rest + keySize(c.KeyAlgorithm)
	size := fixed + len(subject)
	for i := range extensions {
		size += len(extensions[i].Value) + 24
	}
	if t == pca.CertificateAuthorityType_ROOT {
		size = max(size, fixed+2*len(subject))
	}
	if size > room {
		return invalidArgs("The subject and the CsrExtensions are too long: the CSR of the certificate authority, or its certificate, would have about %d bytes of DER, and at most %d are possible.", size, room)
	}
	return nil
}

// keySize bounds the octets of a public key together with a signature made with it.
func keySize(a pca.KeyAlgorithm) int {
	switch a {
	case pca.KeyAlgorithm_ML_DSA_44:
		return 1334 + 2425
	case pca.KeyAlgorithm_ML_DSA_65:
		return 1974 + 3314
	case pca.KeyAlgorithm_ML_DSA_87:
		return 2614 + 4632
	}
	return 550 + 517 // RSA_4096; others are shorter
}

// CreateCSR makes the DER certification request of a CA: subject and key,
// basicConstraints critical CA:TRUE, and the CsrExtensions that c asks for (CA
// lifecycle 2, templates 4.6). mixed is EncodeSubject's.
func CreateCSR(signer crypto.Signer, c *pca.CertificateAuthorityConfiguration, mixed bool) ([]byte, error) {
	name, err := EncodeSubject(&c.Subject, mixed)
	if err != nil {
		return nil, err
	}
	extensions, err := csrExtensions(c.CsrExtensions, mixed)
	if err != nil {
		return nil, err
	}
	alg, err := algorithmFor(c.SigningAlgorithm, signer.Public())
	if err != nil {
		return nil, err
	}
	spki, err := MarshalPublicKey(signer.Public())
	if err != nil {
		return nil, err
	}
	info, err := asDER(func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(0)
			b.AddBytes(name)
			b.AddBytes(spki)
			b.AddASN1(asn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
					addOID(b, oidExtensionsReq)
					b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
						b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
							for i := range extensions {
								extensions[i].add(b)
							}
						})
					})
				})
			})
		})
	})
	if err != nil {
		return nil, err
	}
	return alg.sign(signer, info, false)
}

func csrExtensions(e *pca.CsrExtensions, mixed bool) ([]Extension, error) {
	list := []Extension{{OID: oidBasicConstraints, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}
	if e == nil {
		return list, nil
	}
	if e.KeyUsage != nil {
		if value := encodeKeyUsage(e.KeyUsage); value != nil {
			list = append(list, Extension{OID: oidKeyUsage, Critical: true, Value: value})
		}
	}
	if len(e.SubjectInformationAccess) == 0 {
		return list, nil
	}
	value, err := encodeAccess(e.SubjectInformationAccess, mixed)
	if err != nil {
		return nil, err
	}
	return append(list, Extension{OID: oidSubjectInfoAccess, Value: value}), nil
}

func encodeAccess(descriptions []pca.AccessDescription, mixed bool) ([]byte, error) {
	var b cryptobyte.Builder
	for i := range descriptions {
		d := &descriptions[i]
		method, err := accessMethod(&d.AccessMethod)
		if err != nil {
			return nil, err
		}
		location, err := encodeGeneralName(&d.AccessLocation, "AccessLocation", mixed)
		if err != nil {
			return nil, err
		}
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addOID(b, method)
			b.AddBytes(location)
		})
	}
	return sequence(&b)
}

func accessMethod(m *pca.AccessMethod) (string, error) {
	if (m.CustomObjectIdentifier == "") == (m.AccessMethodType == "") {
		return "", pca.Errorf(pca.InvalidArgsException, "An AccessMethod in SubjectInformationAccess needs exactly one of AccessMethodType and CustomObjectIdentifier.")
	}
	switch m.AccessMethodType {
	case pca.AccessMethodType_CA_REPOSITORY:
		return "\x2b\x06\x01\x05\x05\x07\x30\x05", nil
	case pca.AccessMethodType_RESOURCE_PKI_MANIFEST:
		return "\x2b\x06\x01\x05\x05\x07\x30\x0a", nil
	case pca.AccessMethodType_RESOURCE_PKI_NOTIFY:
		return "\x2b\x06\x01\x05\x05\x07\x30\x0d", nil
	case "":
	default:
		return "", pca.Errorf(pca.InvalidArgsException, "The AccessMethodType %s is unknown.", m.AccessMethodType)
	}
	oid, ok := parseOID(m.CustomObjectIdentifier)
	if !ok {
		return "", invalidOID("SubjectInformationAccess", m.CustomObjectIdentifier)
	}
	return oid, nil
}
