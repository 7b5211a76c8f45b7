package issuance

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

// IssuerConfig describes a CA for NewIssuer.
type IssuerConfig struct {
	Type      pca.CertificateAuthorityType
	UsageMode pca.CertificateAuthorityUsageMode
	// Signer is the CA's key. Nil when it cannot be had: the Issuer then tells
	// what its certificate says and issues nothing.
	Signer crypto.Signer
	// Verify checks every signature with the public key before it leaves: for
	// keys that live outside this process (HSM, KMS).
	Verify bool
	// Certificate is the installed CA certificate (DER); nil while there is
	// none, and then only self-signed templates can be issued.
	Certificate []byte
	// Partition is the server's; keys of kinds that it does not offer are
	// refused in CSRs.
	Partition string
	// MixedSubjects lets a subject have custom attributes beside standard ones
	// (T-43).
	MixedSubjects bool
	// Chain is that certificate's chain (DER), parent first; empty for a root.
	Chain [][]byte
}

// Issuer signs certificates for one CA with one installed certificate. It is
// immutable and safe for concurrent use when its Signer is.
type Issuer struct {
	cfg         IssuerConfig
	public      crypto.PublicKey
	rawName     []byte // subject of the CA certificate; nil when there is none
	authority   []byte // the encoded authorityKeyIdentifier extension
	serial      []byte // of the CA certificate: magnitude without leading zeros
	notBefore   time.Time
	notAfter    time.Time
	pathLen     int // -1: none
	constraints []*nameConstraints
}

// NewIssuer prepares what all certificates of a CA share. It fails when a
// certificate cannot be read or does not hold the signer's key.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	i := &Issuer{cfg: cfg, pathLen: -1}
	if cfg.Signer != nil {
		i.public = cfg.Signer.Public()
	}
	if cfg.Certificate == nil {
		return i, nil
	}
	own, err := parseCertificate(cfg.Certificate)
	if err != nil {
		return nil, fmt.Errorf("reading the CA certificate: %w", err)
	}
	if cfg.Signer != nil && !samePublicKey(own.publicKey, i.public) {
		return nil, errors.New("the CA certificate does not hold the CA's public key")
	}
	i.rawName, i.notAfter, i.pathLen = own.rawSubject, own.notAfter, own.pathLen
	i.serial, i.notBefore = own.serial, own.notBefore
	if i.authority, err = encodeAuthorityKeyID(own.keyIdentifier()); err != nil {
		return nil, err
	}
	chain := []*certificate{own}
	for n, der := range cfg.Chain {
		c, err := parseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading certificate %d of the CA's chain: %w", n+1, err)
		}
		chain = append(chain, c)
	}
	for _, c := range chain {
		if c.constraints != nil {
			i.constraints = append(i.constraints, c.constraints)
		}
	}
	return i, nil
}

// Validity tells the serial number of the CA certificate, big-endian without
// leading zeros, and its validity; only when there is a certificate.
func (i *Issuer) Validity() (serial []byte, notBefore, notAfter time.Time) {
	return i.serial, i.notBefore, i.notAfter
}

// Certificate is the DER of the CA certificate; nil when there is none.
func (i *Issuer) Certificate() []byte { return i.cfg.Certificate }

func encodeAuthorityKeyID(id []byte) ([]byte, error) {
	value, err := asDER(func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addString(b, asn1.Tag(0).ContextSpecific(), string(id)) })
	})
	if err != nil {
		return nil, err
	}
	e := Extension{OID: oidAuthorityKeyIdentifier, Value: value}
	return asDER(func(b *cryptobyte.Builder) { e.add(b) })
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
	// OCSPURL and CRLURL are what the CA's configuration puts into its
	// certificates, in ASCII; empty and nil when off or omitted (T-20, T-21). The
	// CRL is asked for when every check has passed: it has room for so many.
	OCSPURL string
	CRLURL  func() (string, error)
}

// Issued is a signed certificate.
type Issued struct {
	DER                 []byte
	Serial              [16]byte
	RawSubject          []byte // DER Name
	Subject             []byte // the same in the form of audit reports
	NotBefore, NotAfter time.Time
	Warnings            []string // for the event log, in words
}

// NameConstraintError is the cause of the *pca.Error of a certificate that the
// name constraints of the CA's chain do not permit (T-90). Reason is the text
// that GetCertificate answers when the failure is reported asynchronously (T-93).
type NameConstraintError struct{ Reason string }

func (e *NameConstraintError) Error() string { return e.Reason }

// Issue checks a request in the order of the API's gates (templates 6.2, gates
// 6 to 10), builds the certificate and signs it. Nothing is signed when a
// check fails. Every refusal is a *pca.Error; a *NameConstraintError is found
// in it with errors.As. Other errors are the signer's or CRLURL's.
func (i *Issuer) Issue(r Request) (*Issued, error) {
	if i.cfg.Signer == nil {
		return nil, errors.New("issuing without the CA's key")
	}
	t := r.Template
	if t.SelfSigned && i.cfg.Type != pca.CertificateAuthorityType_ROOT {
		return nil, invalidArgs("The template %s makes a self-signed certificate; only a certificate authority of type ROOT can use it.", t.ARN)
	}
	if !t.SelfSigned && i.rawName == nil {
		return nil, pca.Errorf(pca.InvalidStateException, "The certificate authority is not in a valid state for issuing certificates")
	}
	api, err := encodePassthrough(t, r.Passthrough, i.cfg.MixedSubjects)
	if err != nil {
		return nil, err
	}
	csr, err := ParseCSR(r.CSR)
	if err != nil {
		return nil, err
	}
	if keyKind(csr.PublicKey) == pca.KeyAlgorithm_SM2 && i.cfg.Partition != partitionOfSM2 {
		return nil, malformedCSR("The public key in the CSR is an SM2 key, which only servers of the partition %s accept. Use %s.", partitionOfSM2, acceptedKeys)
	}
	return i.issue(&r, csr, &api)
}

// issue is Issue for a key whose owner has shown that he has it.
func (i *Issuer) issue(r *Request, csr *CSR, api *passthrough) (*Issued, error) {
	t := r.Template
	c, err := i.assemble(r, csr, api)
	if err != nil {
		return nil, err
	}
	algorithm, err := algorithmFor(r.SigningAlgorithm, i.public)
	if err != nil {
		return nil, err
	}
	if err := i.checkPathLen(t); err != nil {
		return nil, err
	}
	if c.period, err = requestedPeriod(r); err != nil {
		return nil, err
	}
	if err := i.checkPeriod(t, c.period, r.Now); err != nil {
		return nil, err
	}
	if err := i.checkNames(t, c); err != nil {
		return nil, err
	}
	// Before the signature: what cannot be logged is not signed.
	subject, err := c.subjectText(api.subject != nil)
	if err != nil {
		return nil, err
	}
	if err := c.addCRL(); err != nil {
		return nil, err
	}
	tbs, err := c.tbs(r.Serial, algorithm.identifier)
	if err != nil {
		return nil, fmt.Errorf("encoding certificate: %w", err)
	}
	der, err := algorithm.sign(i.cfg.Signer, tbs, i.cfg.Verify)
	if err != nil {
		return nil, err
	}
	return &Issued{
		DER: der, Serial: r.Serial, RawSubject: c.subject, Subject: subject,
		NotBefore: c.period.notBefore, NotAfter: c.period.notAfter, Warnings: c.warnings,
	}, nil
}

// maxSubjectText is the longest subject, in bytes of the audit report's form,
// that a log entry has room for beside its other fields (proof.md 2). Control
// characters take three bytes for one, so a CSR can ask for more.
const maxSubjectText = 62 << 10

// subjectText gives the subject in the form of audit reports.
func (c *assembly) subjectText(fromAPI bool) ([]byte, error) {
	text, err := AppendSubject(make([]byte, 0, 128), c.subject)
	switch {
	case err != nil:
		return nil, err
	case len(text) <= maxSubjectText:
		return text, nil
	case fromAPI:
		return nil, invalidArgs("The subject is too long: audit reports would show it in %d bytes, and at most %d are possible.", len(text), maxSubjectText)
	}
	return nil, malformedCSR("The subject of the CSR is too long: audit reports would show it in %d bytes, and at most %d are possible.", len(text), maxSubjectText)
}

// checkPathLen: a CA certificate needs a shorter path than its issuer's (T-84).
func (i *Issuer) checkPathLen(t *Template) error {
	if !t.CA || t.SelfSigned || i.pathLen < 0 || t.PathLen < i.pathLen {
		return nil
	}
	if i.pathLen == 0 {
		return invalidValidity("The certificate authority has a path length constraint of 0 and cannot issue CA certificates.")
	}
	return invalidValidity("The template %s sets a path length of %d; the path length constraint of the certificate authority allows at most %d.", t.ARN, t.PathLen, i.pathLen-1)
}

// checkPeriod: a certificate must not outlive its issuer, nor the limit of a
// short-lived CA; self-signed ones are exempt (T-74, T-76).
func (i *Issuer) checkPeriod(t *Template, p period, now time.Time) error {
	if t.SelfSigned {
		return nil
	}
	if p.notAfter.After(i.notAfter) {
		return invalidValidity("The certificate validity specified exceeds the certificate authority validity: it would end at %s, the certificate authority's certificate ends at %s.",
			p.notAfter.Format(time.RFC3339), i.notAfter.Format(time.RFC3339))
	}
	if i.cfg.UsageMode == pca.CertificateAuthorityUsageMode_SHORT_LIVED_CERTIFICATE && p.notAfter.Sub(now.Truncate(time.Second)) > shortLived {
		return invalidValidity("A certificate authority in SHORT_LIVED_CERTIFICATE mode issues certificates for at most 7 days; this one would end at %s.", p.notAfter.Format(time.RFC3339))
	}
	return nil
}

// checkNames holds the names against the name constraints of the CA's
// certificate and its chain (T-90 to T-92).
func (i *Issuer) checkNames(t *Template, c *assembly) error {
	if t.SelfSigned {
		return nil
	}
	if err := checkNameConstraints(i.constraints, c.subject, c.altNames); err != nil {
		return &pca.Error{Code: pca.ValidationException, Message: err.Reason, Err: err}
	}
	return nil
}

// checkNameConstraints holds names against the constraints of several CA
// certificates; nil when all let them pass.
func checkNameConstraints(constraints []*nameConstraints, subject, altNames []byte) *NameConstraintError {
	if len(constraints) == 0 {
		return nil
	}
	reason := ""
	names, ok := certificateNames(subject, altNames)
	if !ok {
		reason = "Name Constraints violation: the subject alternative names cannot be read."
	}
	for n := 0; n < len(constraints) && reason == ""; n++ {
		reason = constraints[n].check(names)
	}
	if reason == "" {
		return nil
	}
	return &NameConstraintError{Reason: reason}
}

// assembly is a certificate before it is signed.
type assembly struct {
	issuer, subject, spki []byte
	period                period
	extensions            []byte // content of the SEQUENCE OF Extension
	altNames              []byte // value of the subjectAltName extension, for name constraints
	warnings              []string

	// crlURL is asked for the CRL between firstExtensions and extensions; nil: there is none.
	crlURL          func() (string, error)
	firstExtensions []byte
}

// addCRL binds the certificate to a CRL, if it is to have one.
func (c *assembly) addCRL() error {
	if c.crlURL == nil {
		return nil
	}
	url, err := c.crlURL()
	if err != nil {
		return err
	}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(c.firstExtensions)+len(url)+len(c.extensions)+32))
	b.AddBytes(c.firstExtensions)
	addDistributionPoint(b, url)
	b.AddBytes(c.extensions)
	if c.extensions, err = b.Bytes(); err != nil {
		return fmt.Errorf("encoding extensions: %w", err)
	}
	return nil
}

// assemble chooses the source of every field: template, then API, then CSR,
// one source for a whole field (T-10 to T-27).
func (i *Issuer) assemble(r *Request, csr *CSR, api *passthrough) (*assembly, error) {
	t := r.Template
	c := &assembly{issuer: i.rawName, subject: csr.RawSubject, spki: csr.RawSPKI}
	if api.subject != nil {
		c.subject = api.subject
	}
	if t.SelfSigned {
		c.issuer = c.subject
	}
	altNames := api.find(oidSubjectAltName)
	if altNames == nil {
		altNames = findExtension(csr.Extensions, oidSubjectAltName)
	}
	if altNames != nil {
		c.altNames = altNames.Value
	}
	noSubject := isEmptySequence(c.subject)
	if noSubject && (c.altNames == nil || isEmptySequence(c.altNames)) {
		return nil, malformedCSR("The CSR has neither a subject nor a subject alternative name. Give it one, or use a template with API passthrough and give one there.")
	}
	if t.SelfSigned {
		if !samePublicKey(csr.PublicKey, i.public) {
			return nil, invalidArgs("The public key in the CSR is not the key of the certificate authority. A root signs only its own CSR; get it with GetCertificateAuthorityCsr.")
		}
		if noSubject {
			return nil, invalidArgs("The certificate of a root needs a subject that is not empty.")
		}
	}
	if noSubject && api.typedSAN { // RFC 5280 4.2.1.6; T-49
		critical := *altNames
		critical.Critical = true
		altNames = &critical
	}

	b := cryptobyte.NewBuilder(make([]byte, 0, 512))
	for _, oid := range [...]string{oidBasicConstraints, oidAuthorityKeyIdentifier, oidSubjectKeyIdentifier, oidKeyUsage,
		oidExtendedKeyUsage, oidSubjectAltName, oidCRLDistributionPoints, oidAuthorityInfoAccess} {
		if fixed := t.fixed[oid]; fixed != nil {
			b.AddBytes(fixed)
			continue
		}
		var e *Extension
		var err error
		switch {
		case oid == oidBasicConstraints: // fixed by every template
		case oid == oidAuthorityKeyIdentifier && !t.SelfSigned:
			b.AddBytes(i.authority)
		case oid == oidSubjectKeyIdentifier:
			addSubjectKeyID(b, csr.RawSPKI)
		case oid == oidSubjectAltName:
			if e = altNames; e != nil && !wellFormed(e.Value) {
				err = notDER(e)
			}
		case oid == oidCRLDistributionPoints && r.CRLURL != nil && !t.SelfSigned:
			if c.firstExtensions, err = b.Bytes(); err != nil {
				return nil, fmt.Errorf("encoding extensions: %w", err)
			}
			c.crlURL, b = r.CRLURL, &cryptobyte.Builder{}
		case oid == oidAuthorityInfoAccess && r.OCSPURL != "" && !t.SelfSigned:
			addOCSP(b, r.OCSPURL)
		default:
			e, err = t.choose(oid, csr, api)
		}
		if err != nil {
			return nil, err
		}
		if e != nil {
			e.add(b)
			c.warn(t, e)
		}
	}
	if err := t.addOthers(b, csr, api); err != nil {
		return nil, err
	}
	var err error
	if c.extensions, err = b.Bytes(); err != nil {
		return nil, fmt.Errorf("encoding extensions: %w", err)
	}
	return c, nil
}

// warn tells of key usages that a blank template lets an end entity have (T-52).
func (c *assembly) warn(t *Template, e *Extension) {
	if e.OID == oidKeyUsage && !t.CA && len(e.Value) > 3 && e.Value[3]&0x06 != 0 {
		c.warnings = append(c.warnings, "keyCertSign or cRLSign is asked for in a certificate that is not a CA's")
	}
}

// find gives what the API supplies for an OID.
func (p *passthrough) find(oid string) *Extension { return findExtension(p.extensions, oid) }

// choose gives the API's or, below it, the CSR's value of an extension that
// the template neither fixes nor derives.
func (t *Template) choose(oid string, csr *CSR, api *passthrough) (*Extension, error) {
	if e := api.find(oid); e != nil {
		return e, nil
	}
	if !t.CSRPassthrough {
		return nil, nil
	}
	e := findExtension(csr.Extensions, oid)
	if e != nil && !wellFormed(e.Value) {
		return nil, notDER(e)
	}
	return e, nil
}

func notDER(e *Extension) error {
	return malformedCSR("The value of the extension %s in the CSR is not exactly one DER value.", oidText(e.OID))
}

// addOthers adds what has no slot of its own: the API's in request order, then
// the CSR's in its order (T-23).
func (t *Template) addOthers(b *cryptobyte.Builder, csr *CSR, api *passthrough) error {
	for n := range api.extensions {
		if e := &api.extensions[n]; !hasSlot(e.OID) {
			e.add(b)
		}
	}
	if !t.CSRPassthrough {
		return nil
	}
	for n := range csr.Extensions {
		e := &csr.Extensions[n]
		if hasSlot(e.OID) || api.find(e.OID) != nil {
			continue
		}
		if !wellFormed(e.Value) {
			return notDER(e)
		}
		e.add(b)
	}
	return nil
}

// hasSlot tells whether assemble has dealt with an extension, taking or dropping it.
func hasSlot(oid string) bool {
	switch oid {
	case oidBasicConstraints, oidAuthorityKeyIdentifier, oidSubjectKeyIdentifier, oidKeyUsage,
		oidExtendedKeyUsage, oidSubjectAltName, oidCRLDistributionPoints, oidAuthorityInfoAccess:
		return true
	}
	return false
}

func addSubjectKeyID(b *cryptobyte.Builder, spki []byte) {
	id := subjectKeyIdentifier(spki)
	e := Extension{OID: oidSubjectKeyIdentifier, Value: append([]byte{4, byte(len(id))}, id...)}
	e.add(b)
}

// addDistributionPoint adds one point with one URI (T-20).
func addDistributionPoint(b *cryptobyte.Builder, uri string) {
	constructed := asn1.Tag(0).Constructed().ContextSpecific()
	addExtension(b, oidCRLDistributionPoints, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(constructed, func(b *cryptobyte.Builder) { // distributionPoint
				b.AddASN1(constructed, func(b *cryptobyte.Builder) { // fullName
					addString(b, nameURI, uri)
				})
			})
		})
	})
}

// addOCSP adds one responder and no caIssuers (T-21).
func addOCSP(b *cryptobyte.Builder, uri string) {
	addExtension(b, oidAuthorityInfoAccess, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addOID(b, oidAccessOCSP)
			addString(b, nameURI, uri)
		})
	})
}

// addExtension adds a non-critical extension whose value is a SEQUENCE.
func addExtension(b *cryptobyte.Builder, oid string, content func(*cryptobyte.Builder)) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addOID(b, oid)
		b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1(asn1.SEQUENCE, content) })
	})
}

// tbs encodes the bytes to be signed.
func (c *assembly) tbs(serial [16]byte, algorithm []byte) ([]byte, error) {
	size := len(c.issuer) + len(c.subject) + len(c.spki) + len(c.extensions) + 128
	b := cryptobyte.NewBuilder(make([]byte, 0, size))
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes([]byte{0xa0, 3, 2, 1, 2}) // v3
		b.AddBytes(encodeSerial(serial))
		b.AddBytes(algorithm)
		b.AddBytes(c.issuer)
		validity := append(make([]byte, 0, 40), 0x30, 0)
		validity = appendTime(validity, c.period.notBefore)
		validity = appendTime(validity, c.period.notAfter)
		validity[1] = byte(len(validity) - 2)
		b.AddBytes(validity)
		b.AddBytes(c.subject)
		b.AddBytes(c.spki)
		b.AddASN1(asn1.Tag(3).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(c.extensions) })
		})
	})
	return b.Bytes()
}

// encodeSerial encodes 16 octets, read as unsigned, as a positive INTEGER:
// 17 octets of content when the top bit is set.
func encodeSerial(serial [16]byte) []byte {
	b := bytes.TrimLeft(serial[:], "\x00")
	der := append(make([]byte, 0, 19), 2, byte(len(b)))
	if len(b) == 0 || b[0] >= 0x80 {
		der = append(der, 0)
		der[1]++
	}
	return append(der, b...)
}

// NewSerial is a serial number for a certificate issued now: 48 bits of
// milliseconds since the epoch, then 80 random bits; never zero (T-14). Serial
// numbers made later sort after earlier ones, to the millisecond. It fails
// only when the clock stands before 1970 or after 10889.
func NewSerial(now time.Time) (serial [16]byte, err error) {
	ms := now.UnixMilli()
	if ms <= 0 || ms >= 1<<48 {
		return serial, fmt.Errorf("clock says %v, for which no serial number can be made", now)
	}
	for n := range 6 {
		serial[n] = byte(ms >> (40 - 8*n))
	}
	if _, err := rand.Read(serial[6:]); err != nil {
		return serial, fmt.Errorf("reading random bits: %w", err)
	}
	return serial, nil
}
