package ocsp

import (
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

const (
	// maxRequest bounds the DER of a request, and maxEntries what it asks for.
	maxRequest = 10 << 10
	maxEntries = 16
	maxNonce   = 128 // RFC 9654 2.1

	oidBasic           = "\x2b\x06\x01\x05\x05\x07\x30\x01\x01"
	oidNonce           = "\x2b\x06\x01\x05\x05\x07\x30\x01\x02"
	oidAcceptable      = "\x2b\x06\x01\x05\x05\x07\x30\x01\x04"
	oidPreferred       = "\x2b\x06\x01\x05\x05\x07\x30\x01\x08"
	oidExtendedRevoked = "\x2b\x06\x01\x05\x05\x07\x30\x01\x09"
)

// certID is a CertID as a request has it. All of it lies in the request.
type certID struct {
	content []byte // of its SEQUENCE: what answers are cached by
	issuer  []byte // the first part of content, all but the serial number
	serial  []byte // content of its INTEGER
}

// magnitude is the serial number without leading zeros; nil when it is negative.
func (id certID) magnitude() []byte {
	switch {
	case id.serial[0] >= 0x80:
		return nil
	case id.serial[0] == 0 && len(id.serial) > 1:
		return id.serial[1:]
	}
	return id.serial
}

// request is what of an OCSPRequest matters.
type request struct {
	one   [1]certID
	many  []certID // when there are more than one
	nonce []byte   // content of the extension's OCTET STRING; nil when there is none
}

func (r *request) certIDs() []certID {
	if r.many != nil {
		return r.many
	}
	return r.one[:]
}

func contextTag(n uint8) asn1.Tag { return asn1.Tag(n).Constructed().ContextSpecific() }

// parse reads an OCSPRequest (RFC 6960 4.1.1). What it finds lies in der. A
// signature is passed over. False: malformedRequest.
func (r *request) parse(der []byte) bool {
	s := cryptobyte.String(der)
	var outer, tbs, field, list cryptobyte.String
	var present bool
	if !s.ReadASN1(&outer, asn1.SEQUENCE) || !s.Empty() || !outer.ReadASN1(&tbs, asn1.SEQUENCE) ||
		!outer.SkipOptionalASN1(contextTag(0)) || !outer.Empty() {
		return false
	}
	if !tbs.ReadOptionalASN1(&field, &present, contextTag(0)) || present && string(field) != "\x02\x01\x00" ||
		!tbs.SkipOptionalASN1(contextTag(1)) || !tbs.ReadASN1(&list, asn1.SEQUENCE) || list.Empty() {
		return false
	}
	for n := 0; !list.Empty(); n++ {
		var id certID
		if n == maxEntries || !readEntry(&list, &id) {
			return false
		}
		switch n {
		case 0:
			r.one[0] = id
		case 1:
			r.many = append(make([]certID, 0, maxEntries), r.one[0], id)
		default:
			r.many = append(r.many, id)
		}
	}
	if !tbs.ReadOptionalASN1(&field, &present, contextTag(2)) || !tbs.Empty() {
		return false
	}
	return !present || readExtensions(field, &r.nonce)
}

// readEntry reads one Request.
func readEntry(list *cryptobyte.String, id *certID) bool {
	var entry, content, algorithm, hash, field cryptobyte.String
	var present bool
	if !list.ReadASN1(&entry, asn1.SEQUENCE) || !entry.ReadASN1(&content, asn1.SEQUENCE) ||
		!entry.ReadOptionalASN1(&field, &present, contextTag(0)) || !entry.Empty() || present && !readExtensions(field, nil) {
		return false
	}
	rest := content
	if !rest.ReadASN1(&algorithm, asn1.SEQUENCE) || !rest.ReadASN1(&hash, asn1.OCTET_STRING) || !rest.ReadASN1(&hash, asn1.OCTET_STRING) {
		return false
	}
	id.content, id.issuer = content, content[:len(content)-len(rest)]
	var serial cryptobyte.String
	if !rest.ReadASN1(&serial, asn1.INTEGER) || !rest.Empty() {
		return false
	}
	id.serial = serial
	return len(serial) == 1 || len(serial) > 1 && !(serial[0] == 0 && serial[1] < 0x80 || serial[0] == 0xff && serial[1] >= 0x80)
}

// readExtensions reads Extensions; a critical one that is not known, or one that
// stands there twice, is refused. Where nonce is nil there can be none.
func readExtensions(s cryptobyte.String, nonce *[]byte) bool {
	var list cryptobyte.String
	if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() || list.Empty() {
		return false
	}
	for !list.Empty() {
		var extension, oid, value cryptobyte.String
		critical := false
		if !list.ReadASN1(&extension, asn1.SEQUENCE) || !extension.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) ||
			extension.PeekASN1Tag(asn1.BOOLEAN) && !extension.ReadASN1Boolean(&critical) ||
			!extension.ReadASN1(&value, asn1.OCTET_STRING) || !extension.Empty() {
			return false
		}
		switch {
		case nonce != nil && string(oid) == oidNonce:
			var content cryptobyte.String
			if *nonce != nil || !value.ReadASN1(&content, asn1.OCTET_STRING) || !value.Empty() || len(content) == 0 || len(content) > maxNonce {
				return false
			}
			*nonce = content
		case nonce != nil && (string(oid) == oidAcceptable || string(oid) == oidPreferred):
			// There is one type of answer, and one algorithm of each CA.
		case critical:
			return false
		}
	}
	return true
}
