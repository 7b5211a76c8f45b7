package issuance

import (
	"encoding/hex"
	"fmt"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// AppendSubject appends the text form that audit reports give a DER Name
// (audit reports 8.5): Java's X500Principal.getName(), but for values that are
// not valid UTF-8 or are BMPStrings, which are printed as #hex. What is not a
// DER Name is an error; ParseCSR lets none pass.
func AppendSubject(dst, rawName []byte) ([]byte, error) {
	var buf [16][]byte
	rdns, err := appendRDNs(buf[:0], rawName)
	if err != nil {
		return nil, fmt.Errorf("printing subject: %w", err)
	}
	for i := len(rdns) - 1; i >= 0; i-- {
		rdn := cryptobyte.String(rdns[i])
		for separator := byte(','); !rdn.Empty(); separator = '+' {
			a, err := readAttribute(&rdn)
			if err != nil {
				return nil, fmt.Errorf("printing subject: %w", err)
			}
			if separator == '+' || i < len(rdns)-1 {
				dst = append(dst, separator)
			}
			dst = appendAttribute(dst, &a)
		}
	}
	return dst, nil
}

func appendAttribute(dst []byte, a *attribute) []byte {
	keyword := attributeKeyword(string(a.oid))
	if keyword != "" {
		dst = append(dst, keyword...)
	} else {
		dst = appendOIDText(dst, a.oid)
	}
	dst = append(dst, '=')
	if keyword != "" && isText(asn1.Tag(a.tag)) && utf8.Valid(a.value) {
		return appendEscaped(dst, a.value)
	}
	return hex.AppendEncode(append(dst, '#'), a.raw)
}

func attributeKeyword(oid string) string {
	switch oid {
	case oidCommonName:
		return "CN"
	case oidCountry:
		return "C"
	case oidLocality:
		return "L"
	case oidState:
		return "ST"
	case oidOrganization:
		return "O"
	case oidOrganizationalUnit:
		return "OU"
	case oidStreet:
		return "STREET"
	case oidDomainComponent:
		return "DC"
	case oidUserID:
		return "UID"
	}
	return ""
}

func isText(tag asn1.Tag) bool {
	switch tag {
	case asn1.UTF8String, asn1.PrintableString, asn1.IA5String, asn1.T61String, tagGeneralString:
		return true
	}
	return false
}

// appendEscaped escapes every special character wherever it stands, as Java
// does, and every leading and trailing space or CR.
func appendEscaped(dst, value []byte) []byte {
	isSpace := func(c byte) bool { return c == ' ' || c == '\r' }
	lead, trail := 0, len(value)
	for lead < trail && isSpace(value[lead]) {
		lead++
	}
	for trail > lead && isSpace(value[trail-1]) {
		trail--
	}
	for i, c := range value {
		switch c {
		case ',', '=', '+', '<', '>', '#', ';', '"', '\\':
			dst = append(dst, '\\', c)
		case 0:
			dst = append(dst, `\00`...)
		default:
			if i < lead || i >= trail {
				dst = append(dst, '\\')
			}
			dst = append(dst, c)
		}
	}
	return dst
}
