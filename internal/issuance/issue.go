package issuance

import (
	"crypto"
	"time"

	"chirograph.dev/internal/pca"
)

// IssuerConfig describes a CA for NewIssuer.
type IssuerConfig struct {
	Type      pca.CertificateAuthorityType
	UsageMode pca.CertificateAuthorityUsageMode
	Signer    crypto.Signer
	// Verify checks every signature with the public key before it leaves: for
	// keys that live outside this process (HSM, KMS).
	Verify bool
	// Certificate is the installed CA certificate (DER); nil while there is
	// none, and then only self-signed templates can be issued.
	Certificate []byte
	// Chain is that certificate's chain (DER), parent first; empty for a root.
	Chain [][]byte
}

// Issuer signs certificates for one CA with one installed certificate. It is
// immutable and safe for concurrent use when its Signer is.
type Issuer struct {
	cfg IssuerConfig
}

// NewIssuer prepares what all certificates of a CA share.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	return &Issuer{cfg: cfg}, nil
}

// Request is one certificate to issue.
type Request struct {
	Template         *Template
	CSR              []byte              // PEM, as the caller sent it
	Passthrough      *pca.ApiPassthrough // ignored by templates without API passthrough (T-11)
	SigningAlgorithm pca.SigningAlgorithm
	Validity         pca.Validity
	NotBefore        *pca.Validity // nil: one hour before Now
	Now              time.Time     // instant of acceptance
	Serial           [16]byte      // see NewSerial
	// CRLURL and OCSPURL are what the CA's configuration puts into its
	// certificates; empty when off or omitted (T-20, T-21).
	CRLURL, OCSPURL string
}

// Issued is a signed certificate.
type Issued struct {
	DER                 []byte
	Serial              [16]byte
	RawSubject          []byte // DER Name, aliases DER
	NotBefore, NotAfter time.Time
	Warnings            []string // for the event log, in words
}

// NameConstraintError is the cause of the *pca.Error of a certificate that the
// name constraints of the CA's chain do not permit (T-90). Reason is the text
// that GetCertificate answers when the failure is reported asynchronously (T-93).
type NameConstraintError struct{ Reason string }

func (e *NameConstraintError) Error() string { return e.Reason }

// Issue checks a request in the order of the API's gates (templates 6.2, 6 to
// 10) and signs the certificate. Nothing is signed when it returns an error.
// Every refusal is a *pca.Error; a *NameConstraintError is found in it with
// errors.As.
func (i *Issuer) Issue(r Request) (*Issued, error) {
	return nil, pca.Errorf(pca.InvalidStateException, "")
}

// NewSerial is a serial number for a certificate issued now: 48 bits of
// milliseconds, then 80 random bits; never zero (T-14).
func NewSerial(now time.Time) ([16]byte, error) { return [16]byte{}, nil }

// NotAfter is the end of a validity that is accepted at t0 (CA lifecycle 6.2).
func NotAfter(v pca.Validity, t0 time.Time) (time.Time, error) { return time.Time{}, nil }

// CSR is a certification request whose signature has been verified.
type CSR struct {
	Raw        []byte // DER
	RawSubject []byte // DER Name, verbatim
	RawSPKI    []byte // DER SubjectPublicKeyInfo, verbatim
	PublicKey  crypto.PublicKey
	Extensions []Extension // of the extensionRequest attribute, in its order
}

// Extension is one X.509 extension.
type Extension struct {
	OID      string // the content octets of the DER OBJECT IDENTIFIER
	Critical bool
	Value    []byte // content of extnValue
}

// ParseCSR reads one PEM certification request and verifies its signature.
func ParseCSR(pem []byte) (*CSR, error) { return nil, nil }

// CreateCSR makes the DER certification request of a CA (CA lifecycle 2).
func CreateCSR(signer crypto.Signer, subject *pca.ASN1Subject, ext *pca.CsrExtensions, algorithm pca.SigningAlgorithm) ([]byte, error) {
	return nil, nil
}

// EncodeSubject encodes an API subject as a DER Name (T-40 to T-46); one
// without attributes is the empty Name.
func EncodeSubject(s *pca.ASN1Subject) ([]byte, error) { return nil, nil }

// CheckCSRExtensions checks the CsrExtensions of a CA to create; nil is fine.
func CheckCSRExtensions(e *pca.CsrExtensions) error { return nil }

// CheckKeyAlgorithm refuses key algorithms that this server cannot make.
func CheckKeyAlgorithm(a pca.KeyAlgorithm) error { return nil }

// CheckSigningAlgorithm refuses a signing algorithm that does not go with the key algorithm (T-6.1).
func CheckSigningAlgorithm(k pca.KeyAlgorithm, s pca.SigningAlgorithm) error { return nil }

// AppendSubject appends the audit report's text form of a DER Name.
func AppendSubject(dst, rawName []byte) ([]byte, error) { return dst, nil }

// ImportRequest is what ImportCertificateAuthorityCertificate is asked to install.
type ImportRequest struct {
	Type        pca.CertificateAuthorityType
	PublicKey   crypto.PublicKey // of the CA's key
	Certificate []byte           // PEM
	Chain       []byte           // PEM, parent first; empty for a root
	Now         time.Time
}

// Imported holds the facts of an acceptable CA certificate.
type Imported struct {
	Certificate         []byte   // DER
	Chain               [][]byte // DER, parent first
	Serial              []byte   // magnitude, big-endian, without leading zeros
	NotBefore, NotAfter time.Time
	RawSubject          []byte
	SKI                 []byte // nil when the certificate has none
	PathLen             int    // -1 when there is no path length constraint
}

// CheckImport makes the checks 4 to 17 of CA lifecycle 5 in their order.
func CheckImport(r ImportRequest) (*Imported, error) { return nil, nil }
