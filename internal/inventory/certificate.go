package inventory

import (
	"bytes"
	"net/netip"
	"strconv"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Object identifiers, as DER has their content.
const (
	oidRSA     = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
	oidEC      = "\x2a\x86\x48\xce\x3d\x02\x01"
	oidEd25519 = "\x2b\x65\x70"
	oidMLDSA   = "\x60\x86\x48\x01\x65\x03\x04\x03" // and one octet
	oidSAN     = "\x55\x1d\x11"
)

// curves are named as the API names them.
var curves = map[string]string{
	"\x2a\x86\x48\xce\x3d\x03\x01\x07": "EC_prime256v1",
	"\x2b\x81\x04\x00\x22":             "EC_secp384r1",
	"\x2b\x81\x04\x00\x23":             "EC_secp521r1",
	"\x2a\x81\x1c\xcf\x55\x01\x82\x2d": "SM2",
}

// readDER reads what the log's entry does not have out of a certificate: the key
// algorithm, empty when it is none that has a name here, and the alternative names
// that text, the folded subject, lacks. What cannot be read is left out:
// the certificate is in the log all the same.
func readDER(der, text []byte) (algorithm string, names []byte) {
	var tbs, spki, extensions cryptobyte.String
	s := cryptobyte.String(der)
	if !s.ReadASN1(&s, asn1.SEQUENCE) || !s.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) || !tbs.SkipASN1(asn1.INTEGER) ||
		!tbs.SkipASN1(asn1.SEQUENCE) || !tbs.SkipASN1(asn1.SEQUENCE) || !tbs.SkipASN1(asn1.SEQUENCE) || !tbs.SkipASN1(asn1.SEQUENCE) ||
		!tbs.ReadASN1(&spki, asn1.SEQUENCE) {
		return "", nil
	}
	algorithm = keyAlgorithm(spki)
	var there bool
	if !tbs.SkipOptionalASN1(asn1.Tag(1).ContextSpecific()) || !tbs.SkipOptionalASN1(asn1.Tag(2).ContextSpecific()) ||
		!tbs.ReadOptionalASN1(&extensions, &there, asn1.Tag(3).Constructed().ContextSpecific()) || !there || !extensions.ReadASN1(&extensions, asn1.SEQUENCE) {
		return algorithm, nil
	}
	for !extensions.Empty() {
		var extension, oid, value cryptobyte.String
		if !extensions.ReadASN1(&extension, asn1.SEQUENCE) || !extension.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
			return algorithm, nil
		}
		if string(oid) == oidSAN && extension.SkipOptionalASN1(asn1.BOOLEAN) && extension.ReadASN1(&value, asn1.OCTET_STRING) {
			return algorithm, readNames(value, text)
		}
	}
	return algorithm, nil
}

func keyAlgorithm(spki cryptobyte.String) string {
	var algorithm, oid, curve cryptobyte.String
	if !spki.ReadASN1(&algorithm, asn1.SEQUENCE) || !algorithm.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) {
		return ""
	}
	switch {
	case string(oid) == oidEC && algorithm.ReadASN1(&curve, asn1.OBJECT_IDENTIFIER):
		return curves[string(curve)]
	case string(oid) == oidRSA:
		return rsaAlgorithm(spki)
	case string(oid) == oidEd25519:
		return "Ed25519"
	case len(oid) == len(oidMLDSA)+1 && string(oid[:len(oidMLDSA)]) == oidMLDSA:
		switch oid[len(oidMLDSA)] {
		case 17:
			return "ML_DSA_44"
		case 18:
			return "ML_DSA_65"
		case 19:
			return "ML_DSA_87"
		}
	}
	return ""
}

// rsaAlgorithm names an RSA key by the length of its modulus.
func rsaAlgorithm(spki cryptobyte.String) string {
	var key, modulus cryptobyte.String
	var unused uint8
	if !spki.ReadASN1(&key, asn1.BIT_STRING) || !key.ReadUint8(&unused) || !key.ReadASN1(&key, asn1.SEQUENCE) || !key.ReadASN1(&modulus, asn1.INTEGER) {
		return ""
	}
	return "RSA_" + strconv.Itoa(8*len(bytes.TrimLeft(modulus, "\x00")))
}

// readNames gives the names of a subjectAltName that are texts or addresses.
func readNames(value cryptobyte.String, text []byte) (names []byte) {
	if !value.ReadASN1(&value, asn1.SEQUENCE) {
		return nil
	}
	var folded []byte
	for !value.Empty() {
		var name cryptobyte.String
		var tag asn1.Tag
		if !value.ReadAnyASN1(&name, &tag) {
			return names
		}
		switch tag {
		case asn1.Tag(1).ContextSpecific(), asn1.Tag(2).ContextSpecific(), asn1.Tag(6).ContextSpecific(): // mail, DNS, URI
		case asn1.Tag(7).ContextSpecific():
			address, ok := netip.AddrFromSlice(name)
			if !ok {
				continue
			}
			name = address.AppendTo(nil)
		default:
			continue
		}
		if folded = fold(folded[:0], name); len(folded) > 0 && !holds(text, folded) {
			names = append(append(names, name...), '\n')
		}
	}
	return names
}
