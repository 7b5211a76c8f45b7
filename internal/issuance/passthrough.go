package issuance

import (
	"encoding/base64"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

// passthrough is an ApiPassthrough in DER. The zero value supplies nothing.
type passthrough struct {
	subject    []byte // nil when not supplied
	extensions []Extension
	typedSAN   bool // SubjectAlternativeNames was given, not a custom 2.5.29.17
}

// encodePassthrough encodes what the API supplies for the template and refuses
// what has no meaning (templates 3 and 4). A template without API passthrough
// ignores all of it (T-11); mixed is EncodeSubject's.
func encodePassthrough(t *Template, in *pca.ApiPassthrough, mixed bool) (p passthrough, err error) {
	if in == nil || !t.APIPassthrough {
		return p, nil
	}
	if in.Subject != nil {
		if p.subject, err = EncodeSubject(in.Subject, mixed); err != nil {
			return p, err
		}
		if isEmptySequence(p.subject) { // T-47
			p.subject = nil
		}
	}
	if in.Extensions == nil {
		return p, nil
	}
	if err := p.addTyped(in.Extensions, mixed); err != nil {
		return p, err
	}
	if err := p.addCustom(in.Extensions.CustomExtensions); err != nil {
		return p, err
	}
	return p, nil
}

func (p *passthrough) addTyped(e *pca.Extensions, mixed bool) error {
	if e.KeyUsage != nil {
		if value := encodeKeyUsage(e.KeyUsage); value != nil {
			p.extensions = append(p.extensions, Extension{OID: oidKeyUsage, Critical: true, Value: value})
		}
	}
	for _, typed := range [...]struct {
		oid    string
		given  bool
		encode func(*pca.Extensions) ([]byte, error)
	}{
		{oidExtendedKeyUsage, len(e.ExtendedKeyUsage) > 0, encodeExtendedKeyUsage},
		{oidSubjectAltName, len(e.SubjectAlternativeNames) > 0, func(e *pca.Extensions) ([]byte, error) { return encodeSubjectAltName(e, mixed) }},
		{oidCertificatePolicies, len(e.CertificatePolicies) > 0, encodePolicies},
	} {
		if !typed.given {
			continue
		}
		value, err := typed.encode(e)
		if err != nil {
			return err
		}
		p.extensions = append(p.extensions, Extension{OID: typed.oid, Value: value})
	}
	p.typedSAN = len(e.SubjectAlternativeNames) > 0
	return nil
}

// addCustom takes custom extensions as they are: exactly one DER value each,
// no OID twice, none that is there as a typed member (T-60 to T-66).
func (p *passthrough) addCustom(list []pca.CustomExtension) error {
	for i := range list {
		c := &list[i]
		oid, ok := parseOID(c.ObjectIdentifier)
		if !ok {
			return invalidOID("CustomExtensions", c.ObjectIdentifier)
		}
		value, err := base64.StdEncoding.Strict().DecodeString(c.Value)
		if err != nil {
			return invalidArgs("The value of the custom extension %s is not canonical base64.", c.ObjectIdentifier)
		}
		if !wellFormed(value) {
			return invalidArgs("The value of the custom extension %s is not exactly one DER value. Give the base64 of the extension's DER, without an OCTET STRING around it.", c.ObjectIdentifier)
		}
		if findExtension(p.extensions, oid) != nil {
			return invalidArgs("Duplicate extension %s.", c.ObjectIdentifier)
		}
		p.extensions = append(p.extensions, Extension{OID: oid, Critical: c.Critical, Value: value})
	}
	return nil
}

// encodeKeyUsage gives the BIT STRING without trailing zero bits (T-50); nil
// when no bit is set (T-51).
func encodeKeyUsage(k *pca.KeyUsage) []byte {
	var bits [2]byte
	last := -1
	for i, set := range [...]bool{k.DigitalSignature, k.NonRepudiation, k.KeyEncipherment, k.DataEncipherment,
		k.KeyAgreement, k.KeyCertSign, k.CRLSign, k.EncipherOnly, k.DecipherOnly} {
		if set {
			bits[i/8] |= 0x80 >> (i % 8)
			last = i
		}
	}
	if last < 0 {
		return nil
	}
	octets := last/8 + 1
	return append([]byte{3, byte(octets + 1), byte(7 - last%8)}, bits[:octets]...)
}

func encodeExtendedKeyUsage(e *pca.Extensions) ([]byte, error) {
	var purposes []string
	for i := range e.ExtendedKeyUsage {
		oid, err := keyPurpose(&e.ExtendedKeyUsage[i])
		if err != nil {
			return nil, err
		}
		if !slices.Contains(purposes, oid) {
			purposes = append(purposes, oid)
		}
	}
	var b cryptobyte.Builder
	for _, oid := range purposes {
		addOID(&b, oid)
	}
	return sequence(&b)
}

func keyPurpose(u *pca.ExtendedKeyUsage) (string, error) {
	if (u.ExtendedKeyUsageType == "") == (u.ExtendedKeyUsageObjectIdentifier == "") {
		return "", invalidArgs("Every entry of ExtendedKeyUsage needs exactly one of ExtendedKeyUsageType and ExtendedKeyUsageObjectIdentifier.")
	}
	const pkix = "\x2b\x06\x01\x05\x05\x07\x03"
	switch u.ExtendedKeyUsageType {
	case pca.ExtendedKeyUsageType_SERVER_AUTH:
		return pkix + "\x01", nil
	case pca.ExtendedKeyUsageType_CLIENT_AUTH:
		return pkix + "\x02", nil
	case pca.ExtendedKeyUsageType_CODE_SIGNING:
		return pkix + "\x03", nil
	case pca.ExtendedKeyUsageType_EMAIL_PROTECTION:
		return pkix + "\x04", nil
	case pca.ExtendedKeyUsageType_TIME_STAMPING:
		return pkix + "\x08", nil
	case pca.ExtendedKeyUsageType_OCSP_SIGNING:
		return pkix + "\x09", nil
	case pca.ExtendedKeyUsageType_SMART_CARD_LOGIN:
		return "\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x02", nil
	case pca.ExtendedKeyUsageType_DOCUMENT_SIGNING:
		return "\x2b\x06\x01\x04\x01\x82\x37\x0a\x03\x0c", nil
	case pca.ExtendedKeyUsageType_CERTIFICATE_TRANSPARENCY:
		return "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x04", nil
	case "":
	default:
		return "", invalidArgs("The ExtendedKeyUsageType %s is unknown.", u.ExtendedKeyUsageType)
	}
	oid, ok := parseOID(u.ExtendedKeyUsageObjectIdentifier)
	if !ok {
		return "", invalidOID("ExtendedKeyUsage", u.ExtendedKeyUsageObjectIdentifier)
	}
	return oid, nil
}

func encodeSubjectAltName(e *pca.Extensions, mixed bool) ([]byte, error) {
	var b cryptobyte.Builder
	for i := range e.SubjectAlternativeNames {
		name, err := encodeGeneralName(&e.SubjectAlternativeNames[i], "SubjectAlternativeNames", mixed)
		if err != nil {
			return nil, err
		}
		b.AddBytes(name)
	}
	return sequence(&b)
}

func encodePolicies(e *pca.Extensions) ([]byte, error) {
	var b cryptobyte.Builder
	var seen []string
	for i := range e.CertificatePolicies {
		p := &e.CertificatePolicies[i]
		oid, ok := parseOID(p.CertPolicyId)
		if !ok {
			return nil, invalidOID("CertificatePolicies", p.CertPolicyId)
		}
		if slices.Contains(seen, oid) {
			return nil, invalidArgs("CertificatePolicies holds the policy %s more than once.", p.CertPolicyId)
		}
		seen = append(seen, oid)
		for j := range p.PolicyQualifiers {
			q := &p.PolicyQualifiers[j]
			if q.PolicyQualifierId != pca.PolicyQualifierId_CPS {
				return nil, invalidArgs("The PolicyQualifierId %s is unknown; use CPS.", q.PolicyQualifierId)
			}
			if !isASCII(q.Qualifier.CpsUri) {
				return nil, invalidArgs("The CpsUri of the policy %s may hold only ASCII characters.", p.CertPolicyId)
			}
		}
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { addPolicy(b, oid, p.PolicyQualifiers) })
	}
	return sequence(&b)
}

func addPolicy(b *cryptobyte.Builder, oid string, qualifiers []pca.PolicyQualifierInfo) {
	addOID(b, oid)
	if len(qualifiers) == 0 {
		return
	}
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for i := range qualifiers {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addOID(b, oidQualifierCPS)
				addString(b, asn1.IA5String, qualifiers[i].Qualifier.CpsUri)
			})
		}
	})
}
