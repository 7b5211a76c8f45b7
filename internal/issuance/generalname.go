package issuance

import (
	"net/netip"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

// Context tags of GeneralName (RFC 5280 4.2.1.6); DER identifier octets.
const (
	nameOther     = 0xa0
	nameRFC822    = 0x81
	nameDNS       = 0x82
	nameX400      = 0xa3
	nameDirectory = 0xa4
	nameEDIParty  = 0xa5
	nameURI       = 0x86
	nameIP        = 0x87
	nameRegID     = 0x88
)

func invalidArgs(format string, args ...any) error {
	return pca.Errorf(pca.InvalidArgsException, format, args...)
}

// encodeGeneralName encodes a GeneralName that has exactly one member
// (templates 4.3); where names the list that it stands in, for messages, mixed
// is EncodeSubject's.
func encodeGeneralName(g *pca.GeneralName, where string, mixed bool) ([]byte, error) {
	members := 0
	for _, given := range [...]bool{g.OtherName != nil, g.Rfc822Name != "", g.DnsName != "", g.DirectoryName != nil,
		g.EdiPartyName != nil, g.UniformResourceIdentifier != "", g.IpAddress != "", g.RegisteredId != ""} {
		if given {
			members++
		}
	}
	if members != 1 {
		return nil, invalidArgs("Every GeneralName in %s needs exactly one member; one has %d.", where, members)
	}
	switch {
	case g.OtherName != nil:
		return encodeOtherName(g.OtherName, where)
	case g.Rfc822Name != "":
		return encodeIA5(nameRFC822, g.Rfc822Name, "Rfc822Name", where)
	case g.DnsName != "":
		return encodeIA5(nameDNS, g.DnsName, "DnsName", where)
	case g.DirectoryName != nil:
		return encodeDirectoryName(g.DirectoryName, where, mixed)
	case g.EdiPartyName != nil:
		return encodeEDIParty(g.EdiPartyName, where)
	case g.UniformResourceIdentifier != "":
		return encodeIA5(nameURI, g.UniformResourceIdentifier, "UniformResourceIdentifier", where)
	case g.IpAddress != "":
		return encodeIP(g.IpAddress, where)
	}
	oid, ok := parseOID(g.RegisteredId)
	if !ok {
		return nil, invalidOID(where, g.RegisteredId)
	}
	return asDER(func(b *cryptobyte.Builder) { addString(b, nameRegID, oid) })
}

func encodeIA5(tag asn1.Tag, value, member, where string) ([]byte, error) {
	if !isASCII(value) {
		return nil, invalidArgs("The %s in %s may hold only ASCII characters; write international names in their ASCII form (A-labels, percent encoding).", member, where)
	}
	return asDER(func(b *cryptobyte.Builder) { addString(b, tag, value) })
}

func encodeOtherName(o *pca.OtherName, where string) ([]byte, error) {
	oid, ok := parseOID(o.TypeId)
	if !ok {
		return nil, invalidOID(where, o.TypeId)
	}
	if !utf8.ValidString(o.Value) {
		return nil, invalidArgs("The value of the OtherName in %s is not valid UTF-8.", where)
	}
	return asDER(func(b *cryptobyte.Builder) {
		b.AddASN1(nameOther, func(b *cryptobyte.Builder) {
			addOID(b, oid)
			b.AddASN1(asn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
				addString(b, asn1.UTF8String, o.Value)
			})
		})
	})
}

func encodeDirectoryName(s *pca.ASN1Subject, where string, mixed bool) ([]byte, error) {
	name, err := EncodeSubject(s, mixed)
	if err != nil {
		return nil, err
	}
	if isEmptySequence(name) {
		return nil, invalidArgs("The DirectoryName in %s needs at least one attribute.", where)
	}
	return asDER(func(b *cryptobyte.Builder) {
		b.AddASN1(nameDirectory, func(b *cryptobyte.Builder) { b.AddBytes(name) })
	})
}

func encodeEDIParty(e *pca.EdiPartyName, where string) ([]byte, error) {
	if e.PartyName == "" {
		return nil, invalidArgs("The EdiPartyName in %s needs a PartyName.", where)
	}
	if !utf8.ValidString(e.PartyName) || !utf8.ValidString(e.NameAssigner) {
		return nil, invalidArgs("The EdiPartyName in %s is not valid UTF-8.", where)
	}
	return asDER(func(b *cryptobyte.Builder) {
		b.AddASN1(nameEDIParty, func(b *cryptobyte.Builder) {
			for tag, value := range [...]string{e.NameAssigner, e.PartyName} {
				if value != "" {
					b.AddASN1(asn1.Tag(tag).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
						addString(b, asn1.UTF8String, value)
					})
				}
			}
		})
	})
}

func encodeIP(text, where string) ([]byte, error) {
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		return nil, invalidArgs("%q in %s is not an IPv4 or IPv6 address; a prefix length or a zone is not allowed.", text, where)
	}
	return asDER(func(b *cryptobyte.Builder) { addString(b, nameIP, string(addr.AsSlice())) })
}

// sequence wraps what a builder holds into a SEQUENCE.
func sequence(content *cryptobyte.Builder) ([]byte, error) {
	body, err := content.Bytes()
	if err != nil {
		return nil, err
	}
	return asDER(func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(body) })
	})
}
