package issuance

import (
	"bytes"
	"crypto"
	"encoding/pem"
	"fmt"
	"time"

	"chirograph.dev/internal/pca"
)

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
	RawSubject          []byte // DER Name; need not be the CSR's
	SKI                 []byte // nil when the certificate has none
	PathLen             int    // -1 when there is no path length constraint
}

func malformed(format string, args ...any) error {
	return pca.Errorf(pca.MalformedCertificateException, format, args...)
}

func mismatch(format string, args ...any) error {
	return pca.Errorf(pca.CertificateMismatchException, format, args...)
}

// CheckImport makes the checks 4 to 17 of CA lifecycle 5 in their order. The
// first that fails gives a *pca.Error of the code that stands there.
func CheckImport(r ImportRequest) (*Imported, error) {
	list, err := certificatesIn(r.Certificate, "Certificate")
	if err != nil {
		return nil, err
	}
	if len(list) != 1 {
		return nil, malformed("Certificate must hold exactly one PEM certificate; it holds %d. Put the others into CertificateChain.", len(list))
	}
	own := list[0]
	for i := range own.extensions {
		if e := &own.extensions[i]; !wellFormed(e.Value) {
			return nil, malformed("The value of the extension %s in the certificate is not exactly one DER value.", oidText(e.OID))
		}
	}
	root := r.Type == pca.CertificateAuthorityType_ROOT
	if root && len(r.Chain) > 0 {
		return nil, pca.Errorf(pca.InvalidRequestException, "The certificate authority is a root; import its certificate without a CertificateChain.")
	}
	if !root && len(r.Chain) == 0 {
		return nil, pca.Errorf(pca.InvalidRequestException, "The certificate authority is subordinate; give its parent's certificate and all up to the root in CertificateChain.")
	}
	if !samePublicKey(own.publicKey, r.PublicKey) {
		return nil, mismatch("The certificate does not hold the public key of the certificate authority. It must be made from the CSR that GetCertificateAuthorityCsr gives.")
	}
	if self := own.selfSigned(); self != root {
		if root {
			return nil, pca.Errorf(pca.InvalidRequestException, "The certificate authority is a root; its certificate must be self-signed.")
		}
		return nil, pca.Errorf(pca.InvalidRequestException, "The certificate authority is subordinate; its certificate must not be self-signed.")
	}
	if err := checkCA(own); err != nil {
		return nil, err
	}
	if err := checkCritical(own, "The certificate"); err != nil {
		return nil, err
	}
	var chain []*certificate
	if !root {
		if chain, err = checkChain(own, r.Chain); err != nil {
			return nil, err
		}
	}
	if err := checkImportTime(own, chain, r.Now); err != nil {
		return nil, err
	}
	if err := checkImportNames(own, chain); err != nil {
		return nil, err
	}
	if err := checkStrength(own); err != nil {
		return nil, err
	}
	f := &Imported{
		Certificate: own.raw, Serial: own.serial, NotBefore: own.notBefore, NotAfter: own.notAfter,
		RawSubject: own.rawSubject, SKI: own.subjectKeyID, PathLen: own.pathLen,
	}
	for _, c := range chain {
		f.Chain = append(f.Chain, c.raw)
	}
	return f, nil
}

// certificatesIn reads all PEM certificates of a blob; text around them is
// ignored, blocks of other types are not.
func certificatesIn(blob []byte, member string) ([]*certificate, error) {
	var list []*certificate
	for {
		block, rest := pem.Decode(blob)
		if block == nil {
			if bytes.Contains(blob, []byte("-----BEGIN ")) {
				return nil, malformed("%s holds a PEM block that cannot be read.", member)
			}
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, malformed("%s must hold PEM blocks of type CERTIFICATE only, not %s.", member, printable(block.Type))
		}
		c, err := parseCertificate(block.Bytes)
		if err != nil {
			return nil, &pca.Error{Code: pca.MalformedCertificateException, Message: member + " holds something that is not a DER certificate.", Err: err}
		}
		list = append(list, c)
		blob = rest
	}
	if len(list) == 0 {
		return nil, malformed("%s holds no PEM certificate; send it from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.", member)
	}
	return list, nil
}

// checkCA: basicConstraints critical CA:TRUE, and keyCertSign where there is a
// key usage (checks 9 and 10).
func checkCA(c *certificate) error {
	if !c.basicConstraints || !c.criticalBasic || !c.ca {
		return malformed("The certificate is not a CA certificate: it needs basicConstraints, critical, with CA:TRUE.")
	}
	if c.keyUsage && !c.mayCertSign {
		return malformed("The key usage of the certificate lacks keyCertSign; a CA certificate needs it.")
	}
	return nil
}

// checkCritical holds critical extensions against the list of those that may be (check 11).
func checkCritical(c *certificate, which string) error {
	for i := range c.extensions {
		e := &c.extensions[i]
		if !e.Critical {
			continue
		}
		switch e.OID {
		case oidAuthorityKeyIdentifier, oidBasicConstraints, oidCertificatePolicies, oidExtendedKeyUsage, oidInhibitAnyPolicy,
			oidIssuerAltName, oidKeyUsage, oidNameConstraints, oidPolicyMappings, oidSubjectAltName, oidSubjectDirectoryAttributes,
			oidSubjectKeyIdentifier, oidSubjectInfoAccess:
		default:
			return malformed("%s has the critical extension %s, which must not be critical in a CA certificate.", which, oidText(e.OID))
		}
	}
	return nil
}

// checkChain makes the checks 11 to 14 on the chain of a subordinate.
func checkChain(own *certificate, blob []byte) ([]*certificate, error) {
	chain, err := certificatesIn(blob, "CertificateChain")
	if err != nil {
		return nil, err
	}
	for _, c := range chain {
		if err := checkCritical(c, "A certificate in CertificateChain"); err != nil {
			return nil, err
		}
		if bytes.Equal(c.raw, own.raw) {
			return nil, malformed("CertificateChain must not hold the imported certificate itself; it begins with its parent.")
		}
	}
	below := own
	for n, c := range chain {
		if !sameName(below.rawIssuer, c.rawSubject) {
			return nil, malformed("Certificate %d of CertificateChain is not the issuer of the one before it. The order is: parent first, root last.", n+1)
		}
		if err := below.verify(c); err != nil {
			return nil, &pca.Error{Code: pca.CertificateMismatchException, Err: err,
				Message: fmt.Sprintf("The key of certificate %d of CertificateChain did not sign the one before it.", n+1)}
		}
		below = c
	}
	if !below.selfSigned() {
		return nil, malformed("The last certificate of CertificateChain must be the self-signed root.")
	}
	for n, c := range chain {
		if !c.basicConstraints || !c.ca || c.keyUsage && !c.mayCertSign {
			return nil, mismatch("Certificate %d of CertificateChain is not a CA certificate that may sign certificates.", n+1)
		}
	}
	return chain, checkPathLengths(own, chain)
}

// checkPathLengths counts, for every issuer, the CA certificates below it that
// are not self-issued (check 14).
func checkPathLengths(own *certificate, chain []*certificate) error {
	below := 0
	if !own.selfIssued {
		below = 1
	}
	for n, c := range chain {
		if c.pathLen >= 0 && below > c.pathLen {
			return mismatch("Certificate %d of CertificateChain has a path length constraint of %d; %d CA certificates would stand below it.", n+1, c.pathLen, below)
		}
		if !c.selfIssued {
			below++
		}
	}
	return nil
}

// checkImportTime is check 15; NotAfter is the last valid second.
func checkImportTime(own *certificate, chain []*certificate, now time.Time) error {
	now = now.Truncate(time.Second)
	if own.notAfter.Before(now) || len(chain) == 0 && own.notAfter.Equal(now) {
		return mismatch("The certificate ended at %s. Make a new one.", own.notAfter.Format(time.RFC3339))
	}
	if len(chain) == 0 {
		return nil
	}
	if own.notBefore.After(now) {
		return mismatch("The certificate is not valid before %s.", own.notBefore.Format(time.RFC3339))
	}
	for n, c := range chain {
		if now.After(c.notAfter) || now.Before(c.notBefore) {
			return mismatch("Certificate %d of CertificateChain is valid only from %s to %s.", n+1, c.notBefore.Format(time.RFC3339), c.notAfter.Format(time.RFC3339))
		}
		if own.notAfter.After(c.notAfter) {
			return mismatch("The certificate ends at %s, after certificate %d of CertificateChain, which ends at %s.", own.notAfter.Format(time.RFC3339), n+1, c.notAfter.Format(time.RFC3339))
		}
	}
	return nil
}

// checkImportNames is check 16.
func checkImportNames(own *certificate, chain []*certificate) error {
	var altNames []byte
	if e := findExtension(own.extensions, oidSubjectAltName); e != nil {
		altNames = e.Value
	}
	var constraints []*nameConstraints
	for _, c := range chain {
		if c.constraints != nil {
			constraints = append(constraints, c.constraints)
		}
	}
	if err := checkNameConstraints(constraints, own.rawSubject, altNames); err != nil {
		return &pca.Error{Code: pca.CertificateMismatchException, Err: err,
			Message: "The name constraints of CertificateChain do not permit the certificate. " + err.Reason}
	}
	return nil
}

// checkStrength refuses SHA-1 and MD5 in the imported certificate, whose
// signature has been verified by now (check 17).
func checkStrength(own *certificate) error {
	if own.signedWith == crypto.SHA1 || own.signedWith == crypto.MD5 {
		return malformed("The certificate is signed with %s, which is broken. Have it signed with SHA-256 or better.", own.signedWith)
	}
	return nil
}
