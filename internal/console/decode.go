package console

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/emmansun/gmsm/smx509"

	"chirograph.dev/internal/issuance"
)

// Decoded is a certificate in words.
type Decoded struct {
	Subject            string      `json:"subject"` // as reports print it, as the issuer
	Issuer             string      `json:"issuer"`
	Serial             string      `json:"serial"` // hexadecimal with colons, as are the identifiers and the hash
	NotBefore          time.Time   `json:"notBefore"`
	NotAfter           time.Time   `json:"notAfter"`
	KeyAlgorithm       string      `json:"keyAlgorithm"` // as the API names it, where it does
	SignatureAlgorithm string      `json:"signatureAlgorithm"`
	SHA256             string      `json:"sha256"`
	SubjectKeyID       string      `json:"subjectKeyId"`
	AuthorityKeyID     string      `json:"authorityKeyId"`
	Extensions         []Extension `json:"extensions"`
	PEM                string      `json:"pem"`
}

// Extension is an extension of a certificate, its value in words, or in
// hexadecimal where there are none.
type Extension struct {
	Name     string `json:"name"`
	OID      string `json:"oid"`
	Critical bool   `json:"critical"`
	Value    string `json:"value"` // of several lines
}

// Decode puts a DER certificate of any key into words. Of one that only the
// room issuance can read the extensions are left out.
func Decode(der []byte) (*Decoded, error) {
	sum := sha256.Sum256(der)
	out := &Decoded{
		SHA256: colons(sum[:]), Extensions: []Extension{},
		PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	}
	c, err := parseCertificate(der)
	if err != nil {
		read, failure := issuance.ReadCertificate(der)
		if failure != nil {
			return nil, fmt.Errorf("reading a certificate: %w", failure)
		}
		out.Subject, out.Serial, out.KeyAlgorithm = string(read.Subject), colons(read.Serial), keyAlgorithm(nil, read.SPKI)
		out.NotBefore, out.NotAfter, out.SignatureAlgorithm = read.NotBefore.UTC(), read.NotAfter.UTC(), signatureAlgorithm(der)
		return out, nil
	}
	out.Subject, out.Issuer, out.Serial = nameText(c.RawSubject), nameText(c.RawIssuer), colons(c.SerialNumber.Bytes())
	out.NotBefore, out.NotAfter = c.NotBefore.UTC(), c.NotAfter.UTC()
	out.KeyAlgorithm, out.SignatureAlgorithm = keyAlgorithm(c.PublicKey, c.RawSubjectPublicKeyInfo), signatureAlgorithm(der)
	out.SubjectKeyID, out.AuthorityKeyID = colons(c.SubjectKeyId), colons(c.AuthorityKeyId)
	for _, e := range c.Extensions {
		out.Extensions = append(out.Extensions, inWords(c, e))
	}
	return out, nil
}

// parseCertificate reads a certificate with the standard library, or with the
// one that knows SM2 besides.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err == nil {
		return c, nil
	}
	other, failure := smx509.ParseCertificate(der)
	if failure != nil {
		return nil, err
	}
	return other.ToX509(), nil
}

// decodeAll decodes the certificates of a PEM text.
func decodeAll(text string) ([]*Decoded, error) {
	list := []*Decoded{}
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		d, err := Decode(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return list, nil
}

func nameText(raw []byte) string {
	text, err := issuance.AppendSubject(nil, raw)
	if err != nil {
		return hex.EncodeToString(raw)
	}
	return string(text)
}

// colons is bytes in hexadecimal, with a colon between two.
func colons(b []byte) string {
	var s strings.Builder
	for i, c := range b {
		if i > 0 {
			s.WriteByte(':')
		}
		s.WriteString(hex.EncodeToString([]byte{c}))
	}
	return s.String()
}

// algorithmName names an algorithm as the API does, where it does.
func algorithmName(oid asn1.ObjectIdentifier) string {
	text := oid.String()
	switch text {
	case "1.2.840.113549.1.1.11":
		return "SHA256WITHRSA"
	case "1.2.840.113549.1.1.12":
		return "SHA384WITHRSA"
	case "1.2.840.113549.1.1.13":
		return "SHA512WITHRSA"
	case "1.2.840.10045.4.3.2":
		return "SHA256WITHECDSA"
	case "1.2.840.10045.4.3.3":
		return "SHA384WITHECDSA"
	case "1.2.840.10045.4.3.4":
		return "SHA512WITHECDSA"
	case "2.16.840.1.101.3.4.3.17":
		return "ML_DSA_44"
	case "2.16.840.1.101.3.4.3.18":
		return "ML_DSA_65"
	case "2.16.840.1.101.3.4.3.19":
		return "ML_DSA_87"
	case "1.2.156.10197.1.501":
		return "SM3WITHSM2"
	case "1.3.101.112":
		return "Ed25519"
	}
	return text
}

func signatureAlgorithm(der []byte) string {
	var outer struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &outer); err != nil {
		return ""
	}
	return algorithmName(outer.Algorithm.Algorithm)
}

func keyAlgorithm(key any, spki []byte) string {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return "RSA_" + strconv.Itoa(key.N.BitLen())
	case *ecdsa.PublicKey:
		switch name := key.Curve.Params().Name; name {
		case "P-256":
			return "EC_prime256v1"
		case "P-384":
			return "EC_secp384r1"
		case "P-521":
			return "EC_secp521r1"
		case "sm2p256v1":
			return "SM2"
		default:
			return name
		}
	case ed25519.PublicKey:
		return "Ed25519"
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(spki, &info); err != nil {
		return ""
	}
	return algorithmName(info.Algorithm.Algorithm)
}

var keyUsages = [...]string{
	"Digital signature", "Non-repudiation", "Key encipherment", "Data encipherment", "Key agreement",
	"Certificate signing", "CRL signing", "Encipher only", "Decipher only",
}

func usageName(u x509.ExtKeyUsage) string {
	switch u {
	case x509.ExtKeyUsageAny:
		return "Any"
	case x509.ExtKeyUsageServerAuth:
		return "TLS server"
	case x509.ExtKeyUsageClientAuth:
		return "TLS client"
	case x509.ExtKeyUsageCodeSigning:
		return "Code signing"
	case x509.ExtKeyUsageEmailProtection:
		return "E-mail protection"
	case x509.ExtKeyUsageTimeStamping:
		return "Time stamping"
	case x509.ExtKeyUsageOCSPSigning:
		return "OCSP signing"
	case x509.ExtKeyUsageIPSECEndSystem:
		return "IPsec end system"
	case x509.ExtKeyUsageIPSECTunnel:
		return "IPsec tunnel"
	case x509.ExtKeyUsageIPSECUser:
		return "IPsec user"
	}
	return "Usage " + strconv.Itoa(int(u))
}

// inWords puts an extension of c into words.
func inWords(c *x509.Certificate, e pkix.Extension) Extension {
	out := Extension{OID: e.Id.String(), Critical: e.Critical}
	var lines []string
	switch out.OID {
	case "2.5.29.19":
		out.Name = "Basic constraints"
		switch {
		case !c.IsCA:
			lines = append(lines, "Not a CA")
		case c.MaxPathLen > 0 || c.MaxPathLenZero:
			lines = append(lines, "CA, path length "+strconv.Itoa(c.MaxPathLen))
		default:
			lines = append(lines, "CA, any path length")
		}
	case "2.5.29.15":
		out.Name = "Key usage"
		for i, name := range keyUsages {
			if c.KeyUsage&(1<<i) != 0 {
				lines = append(lines, name)
			}
		}
	case "2.5.29.37":
		out.Name = "Extended key usage"
		for _, u := range c.ExtKeyUsage {
			lines = append(lines, usageName(u))
		}
		for _, u := range c.UnknownExtKeyUsage {
			lines = append(lines, u.String())
		}
	case "2.5.29.17":
		out.Name, lines = "Subject alternative name", generalNames(e.Value)
	case "2.5.29.18":
		out.Name, lines = "Issuer alternative name", generalNames(e.Value)
	case "2.5.29.14":
		out.Name, lines = "Subject key identifier", append(lines, colons(c.SubjectKeyId))
	case "2.5.29.35":
		out.Name = "Authority key identifier"
		if len(c.AuthorityKeyId) > 0 {
			lines = append(lines, colons(c.AuthorityKeyId))
		}
	case "2.5.29.31":
		out.Name, lines = "CRL distribution points", c.CRLDistributionPoints
	case "1.3.6.1.5.5.7.1.1":
		out.Name = "Authority information access"
		for _, u := range c.OCSPServer {
			lines = append(lines, "OCSP: "+u)
		}
		for _, u := range c.IssuingCertificateURL {
			lines = append(lines, "CA issuers: "+u)
		}
	case "2.5.29.32":
		out.Name = "Certificate policies"
		for _, p := range c.Policies {
			lines = append(lines, p.String())
		}
	case "2.5.29.30":
		out.Name, lines = "Name constraints", constraints(c)
	default:
		out.Name = extensionName(out.OID)
	}
	if len(lines) == 0 {
		lines = append(lines, hex.EncodeToString(e.Value))
	}
	out.Value = strings.ToValidUTF8(strings.Join(lines, "\n"), "\uFFFD")
	return out
}

func extensionName(oid string) string {
	switch oid {
	case "2.5.29.33":
		return "Policy mappings"
	case "2.5.29.36":
		return "Policy constraints"
	case "2.5.29.46":
		return "Freshest CRL"
	case "2.5.29.54":
		return "Inhibit anyPolicy"
	case "1.3.6.1.5.5.7.1.24":
		return "TLS feature"
	case "1.3.6.1.5.5.7.48.1.5":
		return "OCSP no check"
	case "1.3.6.1.4.1.11129.2.4.2":
		return "Signed certificate timestamps"
	}
	return "Extension " + oid
}

func constraints(c *x509.Certificate) (lines []string) {
	nets := func(list []*net.IPNet) (out []string) {
		for _, n := range list {
			out = append(out, n.String())
		}
		return out
	}
	for _, l := range []struct {
		words string
		names []string
	}{
		{"Permitted DNS", c.PermittedDNSDomains}, {"Excluded DNS", c.ExcludedDNSDomains},
		{"Permitted IP", nets(c.PermittedIPRanges)}, {"Excluded IP", nets(c.ExcludedIPRanges)},
		{"Permitted e-mail", c.PermittedEmailAddresses}, {"Excluded e-mail", c.ExcludedEmailAddresses},
		{"Permitted URI", c.PermittedURIDomains}, {"Excluded URI", c.ExcludedURIDomains},
	} {
		for _, name := range l.names {
			lines = append(lines, l.words+": "+name)
		}
	}
	return lines
}

// generalNames are the names of a GeneralNames (RFC 5280 4.2.1.6), one a line;
// those without a text of their own in hexadecimal.
func generalNames(der []byte) (lines []string) {
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &names); err != nil || len(rest) > 0 {
		return nil
	}
	for _, n := range names {
		if n.Class != asn1.ClassContextSpecific {
			return nil
		}
		text := hex.EncodeToString(n.Bytes)
		kind := "Name " + strconv.Itoa(n.Tag)
		switch n.Tag {
		case 0:
			kind = "Other name"
		case 1:
			kind, text = "E-mail", string(n.Bytes)
		case 2:
			kind, text = "DNS", string(n.Bytes)
		case 4:
			kind, text = "Directory name", nameText(n.Bytes)
		case 6:
			kind = "URI"
			if _, err := url.Parse(string(n.Bytes)); err == nil {
				text = string(n.Bytes)
			}
		case 7:
			if kind = "IP"; len(n.Bytes) == net.IPv4len || len(n.Bytes) == net.IPv6len {
				text = net.IP(bytes.Clone(n.Bytes)).String()
			}
		case 8:
			kind = "Registered ID"
			var oid asn1.ObjectIdentifier
			if b, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagOID, Bytes: n.Bytes}); err == nil {
				if _, err := asn1.Unmarshal(b, &oid); err == nil {
					text = oid.String()
				}
			}
		}
		lines = append(lines, kind+": "+text)
	}
	return lines
}
