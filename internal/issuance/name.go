package issuance

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

var errName = errors.New("not a DER Name")

// tagGeneralString is the one string tag that cryptobyte does not name.
const tagGeneralString = asn1.Tag(27)

// attribute is one AttributeTypeAndValue; its slices alias the Name.
type attribute struct {
	oid   []byte
	tag   byte
	value []byte // content octets
	raw   []byte // the value's whole TLV
}

// appendRDNs appends the content of each RelativeDistinguishedName of a Name.
func appendRDNs(dst [][]byte, rawName []byte) ([][]byte, error) {
	s := cryptobyte.String(rawName)
	var rdns cryptobyte.String
	if !s.ReadASN1(&rdns, asn1.SEQUENCE) || !s.Empty() {
		return nil, errName
	}
	for !rdns.Empty() {
		var rdn cryptobyte.String
		if !rdns.ReadASN1(&rdn, asn1.SET) || rdn.Empty() {
			return nil, errName
		}
		dst = append(dst, rdn)
	}
	return dst, nil
}

// readAttribute reads the next attribute of an RDN.
func readAttribute(rdn *cryptobyte.String) (a attribute, err error) {
	var ava, oid cryptobyte.String
	if !rdn.ReadASN1(&ava, asn1.SEQUENCE) || !ava.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) || !validOID(oid) {
		return a, errName
	}
	id, content, rest, ok := readTLV(ava)
	if !ok || len(rest) > 0 {
		return a, errName
	}
	return attribute{oid: oid, tag: id, value: content, raw: ava}, nil
}

// checkName tells whether AppendSubject can print the Name and its values are
// DER. It gives the number of characters of the longest CommonName.
func checkName(rawName []byte) (commonName int, err error) {
	var buf [16][]byte
	rdns, err := appendRDNs(buf[:0], rawName)
	if err != nil {
		return 0, err
	}
	for _, rdn := range rdns {
		for s := cryptobyte.String(rdn); !s.Empty(); {
			a, err := readAttribute(&s)
			if err != nil {
				return 0, err
			}
			if !wellFormedValue(a.tag, a.value, maxDepth) {
				return 0, errName
			}
			if string(a.oid) == oidCommonName {
				commonName = max(commonName, a.characters())
			}
		}
	}
	return commonName, nil
}

// characters counts the characters of a string value.
func (a *attribute) characters() int {
	switch asn1.Tag(a.tag) {
	case asn1.UTF8String:
		return utf8.RuneCount(a.value)
	case 30: // BMPString
		return len(a.value) / 2
	case 28: // UniversalString
		return len(a.value) / 4
	}
	return len(a.value)
}

// subjectAttribute is one row of the table of templates 3.
type subjectAttribute struct {
	oid   string
	name  string // the API's
	limit int    // characters
}

// tag is the string type of an attribute by its OID (T-45).
func stringType(oid string) asn1.Tag {
	switch oid {
	case oidCountry, oidSerialNumber, oidDNQualifier:
		return asn1.PrintableString
	case oidDomainComponent, oidEmailAddress:
		return asn1.IA5String
	}
	return asn1.UTF8String
}

// standardAttribute finds the row of an OID of the API's table.
func standardAttribute(oid string) (subjectAttribute, bool) {
	for _, a := range [...]subjectAttribute{
		{oidCountry, "Country", 2}, {oidOrganization, "Organization", 64}, {oidOrganizationalUnit, "OrganizationalUnit", 64},
		{oidDNQualifier, "DistinguishedNameQualifier", 64}, {oidState, "State", 128}, {oidCommonName, "CommonName", 64},
		{oidSerialNumber, "SerialNumber", 64}, {oidLocality, "Locality", 128}, {oidTitle, "Title", 64}, {oidSurname, "Surname", 40},
		{oidGivenName, "GivenName", 16}, {oidInitials, "Initials", 5}, {oidPseudonym, "Pseudonym", 128}, {oidGeneration, "GenerationQualifier", 3},
	} {
		if a.oid == oid {
			return a, true
		}
	}
	return subjectAttribute{}, false
}

type typedValue struct{ oid, value string }

// standardMembers lists the members that are given, in the order in which
// they are encoded (T-40).
func standardMembers(s *pca.ASN1Subject) []typedValue {
	given := make([]typedValue, 0, 14)
	for _, v := range [...]typedValue{
		{oidCountry, s.Country}, {oidOrganization, s.Organization}, {oidOrganizationalUnit, s.OrganizationalUnit},
		{oidDNQualifier, s.DistinguishedNameQualifier}, {oidState, s.State}, {oidCommonName, s.CommonName},
		{oidSerialNumber, s.SerialNumber}, {oidLocality, s.Locality}, {oidTitle, s.Title}, {oidSurname, s.Surname},
		{oidGivenName, s.GivenName}, {oidInitials, s.Initials}, {oidPseudonym, s.Pseudonym}, {oidGeneration, s.GenerationQualifier},
	} {
		if v.value != "" {
			given = append(given, v)
		}
	}
	return given
}

// EncodeSubject encodes an API subject as a DER Name: one attribute per RDN
// (T-40 to T-46). A subject without attributes is the empty Name, 30 00. A
// value that its attribute cannot hold is an InvalidArgsException; so are
// custom attributes beside standard ones unless mixed lets them follow (T-43).
func EncodeSubject(s *pca.ASN1Subject, mixed bool) ([]byte, error) {
	attributes := standardMembers(s)
	if !mixed && len(attributes) > 0 && len(s.CustomAttributes) > 0 {
		return nil, pca.Errorf(pca.InvalidArgsException, "CustomAttributes cannot be used in combination with standard attributes.")
	}
	for _, c := range s.CustomAttributes {
		oid, ok := parseOID(c.ObjectIdentifier)
		if !ok {
			return nil, invalidOID("CustomAttributes", c.ObjectIdentifier)
		}
		attributes = append(attributes, typedValue{oid, c.Value})
	}
	for _, a := range attributes {
		if err := checkAttribute(a); err != nil {
			return nil, err
		}
	}
	return asDER(func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, a := range attributes {
				b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						addOID(b, a.oid)
						addString(b, stringType(a.oid), a.value)
					})
				})
			}
		})
	})
}

func invalidOID(where, oid string) error {
	return pca.Errorf(pca.InvalidArgsException, "%q in %s is not an object identifier. Write it in dotted decimal form, such as 1.3.6.1.4.1.99999.1.", oid, where)
}

// checkAttribute refuses values that do not fit the string type or the length
// of their attribute (T-44, T-46).
func checkAttribute(a typedValue) error {
	row, standard := standardAttribute(a.oid)
	name := row.name
	if !standard {
		name = oidText(a.oid)
	}
	invalid := func(why string) error {
		return pca.Errorf(pca.InvalidArgsException, "The value of the subject attribute %s %s.", name, why)
	}
	if n := utf8.RuneCountInString(a.value); standard && n > row.limit {
		return pca.Errorf(pca.InvalidArgsException, "The value of the subject attribute %s has %d characters; at most %d are allowed.", name, n, row.limit)
	}
	if a.oid == oidCountry && (len(a.value) != 2 || !isLetter(a.value[0]) || !isLetter(a.value[1])) {
		return invalid("must be a country code of two letters")
	}
	switch stringType(a.oid) {
	case asn1.PrintableString:
		if !isPrintableString(a.value) {
			return invalid("may hold only letters, digits, spaces and ' ( ) + , - . / : = ?")
		}
	case asn1.IA5String:
		if !isASCII(a.value) {
			return invalid("may hold only ASCII characters")
		}
	default:
		if !utf8.ValidString(a.value) {
			return invalid("is not valid UTF-8")
		}
	}
	return nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isPrintableString(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isLetter(c) && (c < '0' || c > '9') && strings.IndexByte(" '()+,-./:=?", c) < 0 {
			return false
		}
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
