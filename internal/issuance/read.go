package issuance

import (
	"crypto"
	"time"
)

// Certificate is what is read from a certificate of any key to compare it with
// what is recorded of it.
type Certificate struct {
	Serial    []byte // magnitude without leading zeros
	NotBefore time.Time
	NotAfter  time.Time
	Subject   []byte // as audit reports print it
	SPKI      []byte // DER SubjectPublicKeyInfo

	// What those copy who sign for its holder.
	RawSubject    []byte // DER Name
	KeyIdentifier []byte // what their AuthorityKeyIdentifier says
	PublicKey     crypto.PublicKey

	parsed *certificate
}

// ReadCertificate reads a DER certificate.
func ReadCertificate(der []byte) (*Certificate, error) {
	c, err := parseCertificate(der)
	if err != nil {
		return nil, err
	}
	subject, err := AppendSubject(nil, c.rawSubject)
	if err != nil {
		return nil, err
	}
	return &Certificate{
		Serial: c.serial, NotBefore: c.notBefore, NotAfter: c.notAfter, Subject: subject, SPKI: c.rawSPKI,
		RawSubject: c.rawSubject, KeyIdentifier: c.keyIdentifier(), PublicKey: c.publicKey, parsed: c,
	}, nil
}

// SignedBy checks the certificate's signature with a DER SubjectPublicKeyInfo.
func (c *Certificate) SignedBy(spki []byte) error {
	key, err := publicKey(spki)
	if err != nil {
		return err
	}
	_, err = verifySignature(key, c.parsed.algorithm, c.parsed.rawTBS, c.parsed.signature)
	return err
}
