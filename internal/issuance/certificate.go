package issuance

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// certificate is a parsed CA certificate. It is read from the DER directly:
// names and keys of foreign CAs are compared and copied as they stand.
type certificate struct {
	raw, rawTBS           []byte
	serial                []byte // magnitude without leading zeros
	rawIssuer, rawSubject []byte
	rawSPKI               []byte
	notBefore, notAfter   time.Time
	algorithm, signature  []byte
	extensions            []Extension
	basicConstraints      bool // present
	criticalBasic, ca     bool
	pathLen               int // -1: none
	keyUsage, mayCertSign bool
	subjectKeyID          []byte // nil: none
	constraints           *nameConstraints
	publicKey             crypto.PublicKey // nil when its kind is not accepted
	selfIssued            bool             // issuer and subject are the same name
	signedWith            crypto.Hash      // set once the signature has been verified
}

var errCertificate = errors.New("not a DER certificate")

func certificateError(what string) error { return fmt.Errorf("%w: %s", errCertificate, what) }

func parseCertificate(der []byte) (*certificate, error) {
	s := cryptobyte.String(der)
	var body, rawTBS, tbs, algorithm, inner cryptobyte.String
	c := &certificate{raw: der, pathLen: -1}
	if !s.ReadASN1(&body, asn1.SEQUENCE) || !s.Empty() || !body.ReadASN1Element(&rawTBS, asn1.SEQUENCE) ||
		!body.ReadASN1Element(&algorithm, asn1.SEQUENCE) || !body.ReadASN1BitStringAsBytes(&c.signature) || !body.Empty() {
		return nil, certificateError("outer structure")
	}
	c.rawTBS, c.algorithm = rawTBS, algorithm
	whole := rawTBS
	var version uint
	var serial, issuer, validity, subject, spki, extensions, list cryptobyte.String
	var present bool
	tag := func(n uint8) asn1.Tag { return asn1.Tag(n).Constructed().ContextSpecific() }
	if !whole.ReadASN1(&tbs, asn1.SEQUENCE) || !tbs.ReadOptionalASN1Integer(&version, tag(0), uint(0)) || version > 2 {
		return nil, certificateError("version")
	}
	if !tbs.ReadASN1(&serial, asn1.INTEGER) || !minimalInteger(serial) || serial[0] >= 0x80 {
		return nil, certificateError("serial number is not a positive integer")
	}
	c.serial = bytes.TrimLeft(serial, "\x00")
	if !tbs.ReadASN1Element(&inner, asn1.SEQUENCE) || !bytes.Equal(inner, algorithm) {
		return nil, certificateError("the signature algorithm differs inside and outside")
	}
	if !tbs.ReadASN1Element(&issuer, asn1.SEQUENCE) || !tbs.ReadASN1(&validity, asn1.SEQUENCE) ||
		!readTime(&validity, &c.notBefore) || !readTime(&validity, &c.notAfter) || !validity.Empty() {
		return nil, certificateError("issuer or validity")
	}
	if !tbs.ReadASN1Element(&subject, asn1.SEQUENCE) || !tbs.ReadASN1Element(&spki, asn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(asn1.Tag(1).ContextSpecific()) || !tbs.SkipOptionalASN1(asn1.Tag(2).ContextSpecific()) {
		return nil, certificateError("subject or public key")
	}
	for _, name := range [...][]byte{issuer, subject} {
		if _, err := checkName(name); err != nil {
			return nil, certificateError("issuer or subject is not a Name")
		}
	}
	c.rawIssuer, c.rawSubject, c.rawSPKI = issuer, subject, spki
	c.selfIssued = sameName(issuer, subject)
	if _, _, ok := splitPublicKey(spki); !ok {
		return nil, certificateError("public key")
	}
	if key, err := publicKey(spki); err == nil {
		c.publicKey = key
	}
	if !tbs.ReadOptionalASN1(&extensions, &present, tag(3)) || !tbs.Empty() {
		return nil, certificateError("extensions")
	}
	if present && (version != 2 || !extensions.ReadASN1(&list, asn1.SEQUENCE) || !extensions.Empty()) {
		return nil, certificateError("extensions")
	}
	return c, c.readExtensions(list)
}

func readTime(s *cryptobyte.String, t *time.Time) bool {
	if s.PeekASN1Tag(asn1.UTCTime) {
		return s.ReadASN1UTCTime(t)
	}
	return s.ReadASN1GeneralizedTime(t)
}

func (c *certificate) readExtensions(list cryptobyte.String) error {
	var duplicate string
	var ok bool
	if c.extensions, duplicate, ok = readExtensions(list); !ok {
		return certificateError("extensions")
	}
	if duplicate != "" {
		return certificateError("the extension " + oidText(duplicate) + " stands there twice")
	}
	for i := range c.extensions {
		e := &c.extensions[i]
		value := cryptobyte.String(e.Value)
		ok := true
		switch e.OID {
		case oidBasicConstraints:
			c.basicConstraints, c.criticalBasic = true, e.Critical
			ok = c.readBasicConstraints(value)
		case oidKeyUsage:
			var bits []byte
			c.keyUsage = true
			ok = len(value) > 3 && wellFormed(value) && value[0] == 3
			if ok {
				bits = value[3:]
				c.mayCertSign = bits[0]&0x04 != 0
			}
		case oidSubjectKeyIdentifier:
			var id cryptobyte.String
			ok = value.ReadASN1(&id, asn1.OCTET_STRING) && value.Empty() && len(id) > 0
			c.subjectKeyID = id
		case oidNameConstraints:
			var err error
			if c.constraints, err = parseNameConstraints(e); err != nil {
				return err
			}
		}
		if !ok {
			return certificateError("the extension " + oidText(e.OID) + " cannot be read")
		}
	}
	return nil
}

func (c *certificate) readBasicConstraints(value cryptobyte.String) bool {
	var body cryptobyte.String
	if !value.ReadASN1(&body, asn1.SEQUENCE) || !value.Empty() {
		return false
	}
	if body.PeekASN1Tag(asn1.BOOLEAN) && !body.ReadASN1Boolean(&c.ca) {
		return false
	}
	if !body.Empty() {
		var n uint16
		if !body.ReadASN1Integer(&n) {
			return false
		}
		c.pathLen = int(n)
	}
	return body.Empty()
}

// verify checks the signature with the other certificate's key.
func (c *certificate) verify(parent *certificate) (err error) {
	if parent.publicKey == nil {
		return errAlgorithm
	}
	c.signedWith, err = verifySignature(parent.publicKey, c.algorithm, c.rawTBS, c.signature)
	return err
}

// selfSigned tells whether issuer and subject are equal and the certificate's
// own key signed it.
func (c *certificate) selfSigned() bool { return c.selfIssued && c.verify(c) == nil }

// keyIdentifier is what certificates issued under c name as their authority
// key (T-19b).
func (c *certificate) keyIdentifier() []byte {
	if c.subjectKeyID != nil {
		return c.subjectKeyID
	}
	return subjectKeyIdentifier(c.rawSPKI)
}

// subjectKeyIdentifier is the SHA-1 of the public key's bits (RFC 5280
// 4.2.1.2, method 1). spki has been parsed.
func subjectKeyIdentifier(spki []byte) []byte {
	_, bits, _ := splitPublicKey(spki)
	sum := sha1.Sum(bits)
	return sum[:]
}
