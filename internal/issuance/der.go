package issuance

import (
	"math/big"
	"strconv"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// maxDepth bounds the nesting of values that are copied without being understood.
const maxDepth = 64

// Object identifiers are held as the content octets of their DER form, in
// strings, so that they compare and serve as map keys.
const (
	oidCommonName         = "\x55\x04\x03"
	oidSurname            = "\x55\x04\x04"
	oidSerialNumber       = "\x55\x04\x05"
	oidCountry            = "\x55\x04\x06"
	oidLocality           = "\x55\x04\x07"
	oidState              = "\x55\x04\x08"
	oidStreet             = "\x55\x04\x09"
	oidOrganization       = "\x55\x04\x0a"
	oidOrganizationalUnit = "\x55\x04\x0b"
	oidTitle              = "\x55\x04\x0c"
	oidGivenName          = "\x55\x04\x2a"
	oidInitials           = "\x55\x04\x2b"
	oidGeneration         = "\x55\x04\x2c"
	oidDNQualifier        = "\x55\x04\x2e"
	oidPseudonym          = "\x55\x04\x41"
	oidDomainComponent    = "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19"
	oidUserID             = "\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01"
	oidEmailAddress       = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01"

	oidSubjectDirectoryAttributes = "\x55\x1d\x09"
	oidSubjectKeyIdentifier       = "\x55\x1d\x0e"
	oidKeyUsage                   = "\x55\x1d\x0f"
	oidSubjectAltName             = "\x55\x1d\x11"
	oidIssuerAltName              = "\x55\x1d\x12"
	oidBasicConstraints           = "\x55\x1d\x13"
	oidNameConstraints            = "\x55\x1d\x1e"
	oidCRLDistributionPoints      = "\x55\x1d\x1f"
	oidCertificatePolicies        = "\x55\x1d\x20"
	oidPolicyMappings             = "\x55\x1d\x21"
	oidAuthorityKeyIdentifier     = "\x55\x1d\x23"
	oidExtendedKeyUsage           = "\x55\x1d\x25"
	oidInhibitAnyPolicy           = "\x55\x1d\x36"
	oidAuthorityInfoAccess        = "\x2b\x06\x01\x05\x05\x07\x01\x01"
	oidSubjectInfoAccess          = "\x2b\x06\x01\x05\x05\x07\x01\x0b"

	oidQualifierCPS  = "\x2b\x06\x01\x05\x05\x07\x02\x01"
	oidAccessOCSP    = "\x2b\x06\x01\x05\x05\x07\x30\x01"
	oidOCSPNoCheck   = "\x2b\x06\x01\x05\x05\x07\x30\x01\x05" // RFC 6960 4.2.2.2.1
	oidExtensionsReq = "\x2a\x86\x48\x86\xf7\x0d\x01\x09\x0e"
)

// readTLV splits the first TLV off b; lengths must be definite and minimal
// (X.690 10.1). Unlike cryptobyte it knows tag numbers above 30.
func readTLV(b []byte) (id byte, content, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	id, n := b[0], 1
	if id&0x1f == 0x1f {
		number := 0
		for {
			if n == len(b) || number == 0 && b[n] == 0x80 || number >= 1<<21 {
				return 0, nil, nil, false
			}
			c := b[n]
			n++
			number = number<<7 | int(c&0x7f)
			if c < 0x80 {
				break
			}
		}
		if number < 0x1f || n == len(b) {
			return 0, nil, nil, false
		}
	}
	length := int(b[n])
	n++
	if length >= 0x80 {
		octets := length & 0x7f
		if octets == 0 || octets > 4 || len(b)-n < octets || b[n] == 0 {
			return 0, nil, nil, false
		}
		length = 0
		for _, c := range b[n : n+octets] {
			length = length<<8 | int(c)
		}
		n += octets
		if length < 0x80 {
			return 0, nil, nil, false
		}
	}
	if len(b)-n < length {
		return 0, nil, nil, false
	}
	return id, b[n : n+length], b[n+length:], true
}

// wellFormed tells whether b is exactly one DER value, down to its leaves.
func wellFormed(b []byte) bool {
	id, content, rest, ok := readTLV(b)
	return ok && len(rest) == 0 && wellFormedValue(id, content, maxDepth)
}

func wellFormedValue(id byte, content []byte, depth int) bool {
	if id&0xc0 == 0 && !wellFormedUniversal(id, content) {
		return false
	}
	if id&0x20 == 0 {
		return true
	}
	if depth == 0 {
		return false
	}
	for len(content) > 0 {
		inner, value, rest, ok := readTLV(content)
		if !ok || !wellFormedValue(inner, value, depth-1) {
			return false
		}
		content = rest
	}
	return true
}

// wellFormedUniversal checks the form of a universal tag, and the content of
// the types for which DER leaves one encoding.
func wellFormedUniversal(id byte, content []byte) bool {
	constructed := id&0x20 != 0
	switch id & 0x1f {
	case 0: // end-of-contents belongs to BER
		return false
	case 1:
		return !constructed && len(content) == 1 && (content[0] == 0 || content[0] == 0xff)
	case 2, 10:
		return !constructed && minimalInteger(content)
	case 5:
		return !constructed && len(content) == 0
	case 6:
		return !constructed && validOID(content)
	case 3:
		return !constructed && len(content) > 0 && content[0] < 8 && (content[0] == 0 || len(content) > 1)
	case 8, 11, 16, 17, 29:
		return constructed
	}
	return !constructed
}

func minimalInteger(b []byte) bool {
	if len(b) < 2 {
		return len(b) == 1
	}
	return !(b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80)
}

func validOID(b []byte) bool {
	if len(b) == 0 || b[len(b)-1] >= 0x80 {
		return false
	}
	start := true
	for _, c := range b {
		if start && c == 0x80 {
			return false
		}
		start = c < 0x80
	}
	return true
}

// appendOIDText appends the dotted form of a valid OID; arcs may be of any size.
func appendOIDText[T []byte | string](dst []byte, oid T) []byte {
	first := true
	for i := 0; i < len(oid); {
		end := i
		for oid[end] >= 0x80 {
			end++
		}
		end++
		if end-i > 9 { // more than 63 bits
			dst = appendLargeArc(dst, []byte(oid[i:end]), first)
		} else {
			var arc uint64
			for _, c := range []byte(oid[i:end]) {
				arc = arc<<7 | uint64(c&0x7f)
			}
			if first {
				root := min(arc/40, 2)
				dst = append(dst, byte('0'+root))
				arc -= root * 40
			}
			dst = append(dst, '.')
			dst = strconv.AppendUint(dst, arc, 10)
		}
		first = false
		i = end
	}
	return dst
}

func appendLargeArc(dst, octets []byte, first bool) []byte {
	arc := new(big.Int)
	for _, c := range octets {
		arc.Or(arc.Lsh(arc, 7), big.NewInt(int64(c&0x7f)))
	}
	if first {
		dst = append(dst, '2')
		arc.Sub(arc, big.NewInt(80))
	}
	dst = append(dst, '.')
	return arc.Append(dst, 10)
}

func oidText(oid string) string { return string(appendOIDText(nil, oid)) }

// parseOID encodes dotted decimal text; it refuses what is not an object
// identifier, such as an arc with leading zeros.
func parseOID(text string) (string, bool) {
	arcs := strings.Split(text, ".")
	if len(arcs) < 2 {
		return "", false
	}
	var first uint64
	var b []byte
	for i, text := range arcs {
		if text == "" || len(text) > 1 && text[0] == '0' || strings.Trim(text, "0123456789") != "" {
			return "", false
		}
		arc, ok := new(big.Int).SetString(text, 10)
		if !ok {
			return "", false
		}
		switch i {
		case 0:
			if first = arc.Uint64(); len(text) > 1 || first > 2 {
				return "", false
			}
			continue
		case 1:
			if first < 2 && arc.Cmp(big.NewInt(40)) >= 0 {
				return "", false
			}
			arc.Add(arc, new(big.Int).SetUint64(first*40))
		}
		for n := (max(arc.BitLen(), 1) + 6) / 7; n > 0; n-- {
			c := byte(new(big.Int).Rsh(arc, uint(n-1)*7).Uint64() & 0x7f)
			if n > 1 {
				c |= 0x80
			}
			b = append(b, c)
		}
	}
	return string(b), true
}

// addOID adds an OBJECT IDENTIFIER.
func addOID(b *cryptobyte.Builder, oid string) { addString(b, asn1.OBJECT_IDENTIFIER, oid) }

// addString adds a primitive value.
func addString(b *cryptobyte.Builder, tag asn1.Tag, s string) {
	b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(s)) })
}

// add adds the extension; a critical flag of FALSE is the default and is omitted (T-26).
func (e *Extension) add(b *cryptobyte.Builder) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addOID(b, e.OID)
		if e.Critical {
			b.AddASN1Boolean(true)
		}
		b.AddASN1OctetString(e.Value)
	})
}

// readExtensions reads the content of a SEQUENCE OF Extension in its order.
// duplicate is the OID that stands there twice, if any.
func readExtensions(s cryptobyte.String) (list []Extension, duplicate string, ok bool) {
	seen := map[string]bool{}
	for !s.Empty() {
		var ext, oid, value cryptobyte.String
		e := Extension{}
		if !s.ReadASN1(&ext, asn1.SEQUENCE) || !ext.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) || !validOID(oid) {
			return nil, "", false
		}
		if ext.PeekASN1Tag(asn1.BOOLEAN) && !ext.ReadASN1Boolean(&e.Critical) {
			return nil, "", false
		}
		if !ext.ReadASN1(&value, asn1.OCTET_STRING) || !ext.Empty() {
			return nil, "", false
		}
		e.OID, e.Value = string(oid), value
		if seen[e.OID] && duplicate == "" {
			duplicate = e.OID
		}
		seen[e.OID] = true
		list = append(list, e)
	}
	return list, duplicate, true
}

func findExtension(list []Extension, oid string) *Extension {
	for i := range list {
		if list[i].OID == oid {
			return &list[i]
		}
	}
	return nil
}

// asDER builds one value. The builders in this package add only what fits, so
// an error means that a value exceeds what DER lengths can say.
func asDER(build func(b *cryptobyte.Builder)) ([]byte, error) {
	var b cryptobyte.Builder
	build(&b)
	return b.Bytes()
}

// isEmptySequence recognises the empty Name and the empty GeneralNames.
func isEmptySequence(b []byte) bool { return string(b) == "\x30\x00" }
