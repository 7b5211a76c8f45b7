package issuance

import (
	"bytes"
	"net/netip"
	"net/url"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// generalName is a GeneralName by its identifier octet and content.
type generalName struct {
	tag   byte
	value []byte
}

// nameConstraints is the extension of one CA certificate (RFC 5280 4.2.1.10).
type nameConstraints struct {
	permitted, excluded []generalName
	// unsupported: critical, with a form of name or a minimum or maximum that
	// is not understood. Nothing can then be issued below it (T-92).
	unsupported bool
}

func parseNameConstraints(e *Extension) (*nameConstraints, error) {
	s := cryptobyte.String(e.Value)
	var body, permitted, excluded cryptobyte.String
	var hasPermitted, hasExcluded bool
	if !s.ReadASN1(&body, asn1.SEQUENCE) || !s.Empty() ||
		!body.ReadOptionalASN1(&permitted, &hasPermitted, asn1.Tag(0).Constructed().ContextSpecific()) ||
		!body.ReadOptionalASN1(&excluded, &hasExcluded, asn1.Tag(1).Constructed().ContextSpecific()) || !body.Empty() {
		return nil, certificateError("name constraints cannot be read")
	}
	c := &nameConstraints{}
	var ok, understood bool
	if c.permitted, understood, ok = readSubtrees(permitted); !ok {
		return nil, certificateError("the permitted name constraints cannot be read")
	}
	c.unsupported = e.Critical && !understood
	if c.excluded, understood, ok = readSubtrees(excluded); !ok {
		return nil, certificateError("the excluded name constraints cannot be read")
	}
	c.unsupported = c.unsupported || e.Critical && !understood
	return c, nil
}

func readSubtrees(s cryptobyte.String) (list []generalName, understood, ok bool) {
	understood = true
	for !s.Empty() {
		var subtree cryptobyte.String
		if !s.ReadASN1(&subtree, asn1.SEQUENCE) {
			return nil, false, false
		}
		tag, value, rest, ok := readTLV(subtree)
		if !ok || !wellFormedValue(tag, value, maxDepth) {
			return nil, false, false
		}
		if len(rest) > 0 { // RFC 5280 allows no minimum but 0, the default, and no maximum
			understood = false
			continue
		}
		switch tag {
		case nameRFC822, nameDNS, nameURI:
		case nameIP:
			if len(value) != 8 && len(value) != 32 {
				return nil, false, false
			}
		case nameDirectory:
			if _, err := checkName(value); err != nil {
				return nil, false, false
			}
		default:
			understood = false
			continue
		}
		list = append(list, generalName{tag, value})
	}
	return list, understood, true
}

// certificateNames lists the names of a certificate that constraints bind:
// the alternative names, the subject when it is not empty, and, when there is
// no rfc822 alternative name, the email addresses in the subject (T-90). ok is
// false when the alternative names cannot be read.
func certificateNames(rawSubject, altNames []byte) (names []generalName, ok bool) {
	email := false
	if altNames != nil {
		s := cryptobyte.String(altNames)
		var list cryptobyte.String
		if !s.ReadASN1(&list, asn1.SEQUENCE) || !s.Empty() {
			return nil, false
		}
		for rest := []byte(list); len(rest) > 0; {
			var n generalName
			if n.tag, n.value, rest, ok = readTLV(rest); !ok {
				return nil, false
			}
			if n.tag == nameDirectory {
				if _, err := checkName(n.value); err != nil {
					return nil, false
				}
			}
			email = email || n.tag == nameRFC822
			names = append(names, n)
		}
	}
	if isEmptySequence(rawSubject) {
		return names, true
	}
	names = append(names, generalName{nameDirectory, rawSubject})
	if email {
		return names, true
	}
	rdns, err := appendRDNs(nil, rawSubject)
	if err != nil {
		return nil, false
	}
	for _, rdn := range rdns {
		for s := cryptobyte.String(rdn); !s.Empty(); {
			a, err := readAttribute(&s)
			if err != nil {
				return nil, false
			}
			if string(a.oid) == oidEmailAddress {
				names = append(names, generalName{nameRFC822, a.value})
			}
		}
	}
	return names, true
}

// check gives the reason why the constraints of one CA do not let the names
// pass, in the words of the API's events; empty when they do.
func (c *nameConstraints) check(names []generalName) string {
	if c.unsupported {
		return "Name Constraints violation: the name constraints of the certificate authority hold a form that is not supported."
	}
	for _, n := range names {
		if !recognized(n.tag) {
			continue // a form that no constraint here is about
		}
		matched, constrained := false, false
		for _, p := range c.permitted {
			if p.tag != n.tag {
				continue
			}
			constrained = true
			in, ok := n.within(p.value, false)
			if !ok {
				return "Name Constraints violation: " + describe(n.tag) + " cannot be compared with a subtree."
			}
			if matched = in; matched {
				break
			}
		}
		if constrained && !matched {
			return "Name Constraints violation: " + describe(n.tag) + " not found in a permitted subtree."
		}
		for _, x := range c.excluded {
			if x.tag != n.tag {
				continue
			}
			in, ok := n.within(x.value, true)
			if !ok {
				return "Name Constraints violation: " + describe(n.tag) + " cannot be compared with a subtree."
			}
			if in {
				return "Name Constraints violation: " + describe(n.tag) + " found in an excluded subtree."
			}
		}
	}
	return ""
}

func recognized(tag byte) bool { return describe(tag) != "" }

func describe(tag byte) string {
	switch tag {
	case nameRFC822:
		return "Email address"
	case nameDNS:
		return "DNS name"
	case nameURI:
		return "URI"
	case nameIP:
		return "IP address"
	case nameDirectory:
		return "Directory name"
	}
	return ""
}

// within tells whether the name lies in the subtree of the same form. ok is
// false when the name has no form that could be compared; it must then be
// refused. For an excluded subtree a wildcard is in it when one of the names
// that it stands for could be.
func (n *generalName) within(subtree []byte, excluded bool) (in, ok bool) {
	switch n.tag {
	case nameDNS:
		return dnsWithin(string(n.value), string(subtree), excluded), isASCII(string(n.value))
	case nameRFC822:
		return emailWithin(string(n.value), string(subtree))
	case nameURI:
		return uriWithin(string(n.value), string(subtree))
	case nameIP:
		return ipWithin(n.value, subtree)
	}
	return directoryWithin(n.value, subtree), true
}

// dnsWithin: zero or more labels added on the left. A leading dot asks for at
// least one.
func dnsWithin(name, subtree string, excluded bool) bool {
	name, subtree = strings.TrimSuffix(strings.ToLower(name), "."), strings.ToLower(subtree)
	if subtree == "" || name == subtree {
		return true
	}
	if strings.HasPrefix(subtree, ".") {
		return strings.HasSuffix(name, subtree) && len(name) > len(subtree)
	}
	if strings.HasSuffix(name, "."+subtree) {
		return true
	}
	if base, wildcard := strings.CutPrefix(name, "*."); excluded && wildcard {
		label, parent, found := strings.Cut(subtree, ".")
		return found && label != "" && parent == base
	}
	return false
}

// hostWithin compares hosts for email addresses and URIs: a leading dot means
// any host below, else that host alone.
func hostWithin(host, subtree string) bool {
	host, subtree = strings.ToLower(host), strings.ToLower(subtree)
	if strings.HasPrefix(subtree, ".") {
		return strings.HasSuffix(host, subtree) && len(host) > len(subtree)
	}
	return subtree == "" || host == subtree
}

func emailWithin(address, subtree string) (in, ok bool) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 || at == len(address)-1 || !isASCII(address) {
		return false, false
	}
	if mark := strings.LastIndexByte(subtree, '@'); mark >= 0 { // one mailbox; the local part is case-sensitive
		return address[:at] == subtree[:mark] && strings.EqualFold(address[at+1:], subtree[mark+1:]), true
	}
	return hostWithin(address[at+1:], subtree), true
}

// uriWithin needs an authority with a host name; RFC 5280 has others refused.
func uriWithin(uri, subtree string) (in, ok bool) {
	u, err := url.Parse(uri)
	if err != nil || !isASCII(uri) {
		return false, false
	}
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); host == "" || err == nil {
		return false, false
	}
	return hostWithin(strings.TrimSuffix(host, "."), subtree), true
}

func ipWithin(addr, subtree []byte) (in, ok bool) {
	if len(addr) != 4 && len(addr) != 16 {
		return false, false
	}
	if len(subtree) != 2*len(addr) {
		return false, true
	}
	base, mask := subtree[:len(addr)], subtree[len(addr):]
	for i := range addr {
		if (addr[i]^base[i])&mask[i] != 0 {
			return false, true
		}
	}
	return true, true
}

// directoryWithin tells whether a Name begins with the RDNs of another one.
// Both have passed checkName.
func directoryWithin(name, prefix []byte) bool {
	have, err := appendRDNs(nil, name)
	if err != nil {
		return false
	}
	want, err := appendRDNs(nil, prefix)
	if err != nil || len(want) > len(have) {
		return false
	}
	for i := range want {
		if !sameRDN(have[i], want[i]) {
			return false
		}
	}
	return true
}

// sameName compares two Names as RFC 5280 7.1 does.
func sameName(a, b []byte) bool {
	return bytes.Equal(a, b) || directoryWithin(a, b) && directoryWithin(b, a)
}

// sameRDN compares two RDNs as sets of attributes.
func sameRDN(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	have, ok := normalRDN(a)
	if !ok {
		return false
	}
	want, ok := normalRDN(b)
	if !ok || len(have) != len(want) {
		return false
	}
	for key, n := range want {
		if have[key] != n {
			return false
		}
	}
	return true
}

// normalRDN counts the attributes of an RDN by a form in which equal ones are equal.
func normalRDN(rdn []byte) (map[string]int, bool) {
	m := map[string]int{}
	for s := cryptobyte.String(rdn); !s.Empty(); {
		a, err := readAttribute(&s)
		if err != nil {
			return nil, false
		}
		m[string(a.oid)+"\x00"+a.normal()]++
	}
	return m, true
}

// normal folds case and inner spaces of text, whatever its string type; other
// values stand for themselves.
func (a *attribute) normal() string {
	text, ok := a.text()
	if !ok {
		return "#" + string(a.raw)
	}
	return "=" + strings.ToLower(strings.Join(strings.Fields(text), " "))
}

// text is a value of a string type that is known.
func (a *attribute) text() (text string, ok bool) {
	switch tag := asn1.Tag(a.tag); {
	case tag == asn1.T61String:
		runes := make([]rune, len(a.value)) // taken as Latin-1, as is common
		for i, c := range a.value {
			runes[i] = rune(c)
		}
		return string(runes), true
	case isText(tag) || tag == 26: // VisibleString
		return string(a.value), true
	case tag == 30 && len(a.value)%2 == 0: // BMPString
		units := make([]uint16, len(a.value)/2)
		for i := range units {
			units[i] = uint16(a.value[2*i])<<8 | uint16(a.value[2*i+1])
		}
		return string(utf16.Decode(units)), true
	}
	return "", false
}
