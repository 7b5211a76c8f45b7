package issuance

import (
	"crypto/elliptic"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

// generalNameDER encodes "dns:x", "mail:x", "uri:x", "ip:1.2.3.4", "ip:prefix"
// (as a subtree), "dn:CN" or "rid:1.2" for tests.
func generalNameDER(t testing.TB, text string) []byte {
	t.Helper()
	kind, value, _ := strings.Cut(text, ":")
	tag := map[string]casn1.Tag{"dns": nameDNS, "mail": nameRFC822, "uri": nameURI, "ip": nameIP, "dn": nameDirectory, "rid": nameRegID}[kind]
	switch kind {
	case "ip":
		if p, err := netip.ParsePrefix(value); err == nil {
			mask := make([]byte, len(p.Addr().AsSlice()))
			for i := range p.Bits() {
				mask[i/8] |= 0x80 >> (i % 8)
			}
			value = string(append(p.Addr().AsSlice(), mask...))
		} else {
			value = string(netip.MustParseAddr(value).AsSlice())
		}
	case "dn":
		value = string(distinguished(t, value))
	case "rid":
		value = oid(t, value)
	}
	return der(t, func(b *cryptobyte.Builder) { addString(b, tag, value) })
}

// distinguished encodes "C=DE/O=x"; a value that starts with ! is a PrintableString.
func distinguished(t testing.TB, text string) []byte {
	t.Helper()
	var rdns [][]byte
	for part := range strings.SplitSeq(text, "/") {
		key, value, ok := strings.Cut(part, "=")
		if !ok {
			continue
		}
		id := map[string]string{"C": oidCountry, "O": oidOrganization, "CN": oidCommonName, "E": oidEmailAddress, "OU": oidOrganizationalUnit}[key]
		tag := casn1.UTF8String
		if v, ok := strings.CutPrefix(value, "!"); ok {
			value, tag = v, casn1.PrintableString
		}
		rdns = append(rdns, der(t, func(b *cryptobyte.Builder) {
			b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
				b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { addOID(b, id); addString(b, tag, value) })
			})
		}))
	}
	return sequenceOf(t, rdns...)
}

func constraintsValue(t testing.TB, permitted, excluded []string) []byte {
	t.Helper()
	return der(t, func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for tag, list := range [][]string{permitted, excluded} {
				if list == nil {
					continue
				}
				b.AddASN1(casn1.Tag(tag).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
					for _, n := range list {
						b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(generalNameDER(t, n)) })
					}
				})
			}
		})
	})
}

func TestNameConstraints(t *testing.T) {
	t.Parallel()
	list := func(s ...string) []string { return s }
	for _, c := range []struct {
		permitted, excluded []string
		subject             string
		names               []string
		want                string // part of the reason; empty: permitted
	}{
		{list("dns:example.com"), nil, "CN=x", list("dns:example.com", "dns:www.example.com", "dns:a.b.EXAMPLE.com", "dns:*.example.com"), ""},
		{list("dns:example.com"), nil, "CN=x", list("dns:badexample.com"), "DNS name not found in a permitted subtree."},
		{list("dns:example.com"), nil, "CN=x", list("dns:www.example.com", "dns:example.org"), "DNS name not found in a permitted subtree."},
		{list("dns:.example.com"), nil, "CN=x", list("dns:www.example.com"), ""},
		{list("dns:.example.com"), nil, "CN=x", list("dns:example.com"), "DNS name not found"},
		{list("dns:example.com", "dns:example.org"), nil, "", list("dns:a.example.org", "dns:a.example.com"), ""},
		{list("dns:"), nil, "", list("dns:anything"), ""},
		{nil, list("dns:"), "", list("dns:anything"), "DNS name found in an excluded subtree."},
		{nil, list("dns:bad.example.com"), "", list("dns:example.com", "dns:good.example.com"), ""},
		{nil, list("dns:bad.example.com"), "", list("dns:x.bad.example.com"), "DNS name found in an excluded subtree."},
		{nil, list("dns:bad.example.com"), "", list("dns:*.example.com"), "DNS name found in an excluded subtree."},
		{nil, list("dns:bad.example.com"), "", list("dns:*.other.com"), ""},
		{list("dns:example.com"), list("dns:bad.example.com"), "", list("dns:bad.example.com."), "excluded"},
		{list("dns:example.com"), nil, "", list("dns:ex\xc3\xa9.example.com"), "cannot be compared"},
		{list("dns:example.com"), nil, "CN=www.example.org", list("ip:10.0.0.1", "mail:a@b"), ""},
		{list("mail:a@example.com"), nil, "", list("mail:a@EXAMPLE.com"), ""},
		{list("mail:a@example.com"), nil, "", list("mail:A@example.com"), "Email address not found"},
		{list("mail:example.com"), nil, "", list("mail:a@example.com"), ""},
		{list("mail:example.com"), nil, "", list("mail:a@host.example.com"), "Email address not found"},
		{list("mail:.example.com"), nil, "", list("mail:a@host.example.com"), ""},
		{list("mail:.example.com"), nil, "", list("mail:a@example.com"), "Email address not found"},
		{list("mail:example.com"), nil, "", list("mail:example.com"), "cannot be compared"},
		{nil, list("mail:example.com"), "CN=x/E=a@example.com", nil, "Email address found in an excluded subtree."},
		{nil, list("mail:example.com"), "CN=x/E=a@example.com", list("mail:a@other.com"), ""},
		{list("uri:host.example.com"), nil, "", list("uri:https://host.example.com:8443/a?b"), ""},
		{list("uri:example.com"), nil, "", list("uri:https://host.example.com/"), "URI not found"},
		{list("uri:.example.com"), nil, "", list("uri:spiffe://u@HOST.example.com/a"), ""},
		{list("uri:.example.com"), nil, "", list("uri:urn:uuid:1"), "URI cannot be compared"},
		{nil, list("uri:.example.com"), "", list("uri:https://10.0.0.1/"), "URI cannot be compared"},
		{list("ip:10.0.0.0/8"), nil, "", list("ip:10.255.0.1"), ""},
		{list("ip:10.0.0.0/8"), nil, "", list("ip:11.0.0.1"), "IP address not found"},
		{list("ip:10.0.0.0/8"), nil, "", list("ip:2001:db8::1"), "IP address not found"},
		{list("ip:10.0.0.0/8", "ip:2001:db8::/32"), nil, "", list("ip:2001:db8:5::1", "ip:10.0.0.1"), ""},
		{nil, list("ip:10.1.0.0/16"), "", list("ip:10.2.0.1"), ""},
		{nil, list("ip:10.1.0.0/16"), "", list("ip:10.1.2.3"), "IP address found in an excluded subtree."},
		{list("dn:C=DE/O=Acme"), nil, "C=DE/O=Acme/CN=x", nil, ""},
		{list("dn:C=DE/O=Acme"), nil, "C=!DE/O=! ACME", nil, ""},
		{list("dn:C=DE/O=Acme Corp"), nil, "C=DE/O=acme   corp /CN=x", nil, ""},
		{list("dn:C=DE/O=Acme"), nil, "C=DE/CN=x", nil, "Directory name not found"},
		{list("dn:C=DE/O=Acme"), nil, "O=Acme/C=DE", nil, "Directory name not found"},
		{list("dn:C=DE"), nil, "", list("dns:a"), ""},
		{list("dn:C=DE"), nil, "C=DE", list("dn:C=FR"), "Directory name not found"},
		{nil, list("dn:C=DE/O=Bad"), "C=DE/O=Good", list("dn:C=DE/O=Bad/CN=x"), "Directory name found in an excluded subtree."},
		{list("dns:a"), nil, "CN=x", list("rid:1.2.3"), ""},
		{list("rid:1.2.3"), nil, "CN=x", nil, "not supported"},
	} {
		nc, err := parseNameConstraints(&Extension{OID: oidNameConstraints, Critical: true, Value: constraintsValue(t, c.permitted, c.excluded)})
		if err != nil {
			t.Fatalf("%v: %v", c, err)
		}
		var altNames []byte
		if c.names != nil {
			var names [][]byte
			for _, n := range c.names {
				names = append(names, generalNameDER(t, n))
			}
			altNames = sequenceOf(t, names...)
		}
		names, ok := certificateNames(distinguished(t, c.subject), altNames)
		if !ok {
			t.Fatalf("%v: names cannot be read", c)
		}
		got := nc.check(names)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("permitted %q excluded %q, subject %q names %q: %q, want %q", c.permitted, c.excluded, c.subject, c.names, got, c.want)
		}
	}
}

func TestNameConstraintsParsing(t *testing.T) {
	t.Parallel()
	parse := func(critical bool, value string) (*nameConstraints, error) {
		return parseNameConstraints(&Extension{Critical: critical, Value: unhex(t, value)})
	}
	for _, bad := range []string{"", "30", "0500", "3003a00105", "3004a0020500", "3006a00430028700", "300ca00a30088706 0a000000ff00", "3006a00430028102", "300800"} {
		if c, err := parse(true, bad); err == nil {
			t.Errorf("%s: %+v", bad, c)
		}
	}
	// otherName, a minimum, a maximum
	for _, odd := range []string{"300ea00c300aa00806012aa0030c0161", "300aa0083006820161800101", "300aa0083006820161810101"} {
		c, err := parse(true, odd)
		if err != nil || !c.unsupported {
			t.Errorf("%s critical: %+v, %v", odd, c, err)
		}
		c, err = parse(false, odd)
		if err != nil || c.unsupported || len(c.permitted) != 0 {
			t.Errorf("%s: %+v, %v", odd, c, err)
		}
	}
}

// T-64, T-90 to T-93 through a real hierarchy: the root constrains a
// subordinate by API passthrough; what that one issues is checked against it.
func TestNameConstraintsOfTheChain(t *testing.T) {
	t.Parallel()
	constrained := &pca.ApiPassthrough{Extensions: &pca.Extensions{CustomExtensions: []pca.CustomExtension{{
		ObjectIdentifier: "2.5.29.30", Critical: true, Value: base64.StdEncoding.EncodeToString(constraintsValue(t, []string{"dns:example.com", "dn:O=Example"}, nil)),
	}}}}
	root := p256Root()
	upper := newCA(t, root, ecKey(t, elliptic.P256()), pca.SigningAlgorithm_SHA256WITHECDSA, "SubordinateCACertificate_PathLen1_APIPassthrough", constrained)
	lower := newCA(t, upper, ecKey(t, elliptic.P256()), pca.SigningAlgorithm_SHA256WITHECDSA, "SubordinateCACertificate_PathLen0", nil)
	key := ecKey(t, elliptic.P256())
	san := func(host string) []Extension { return []Extension{{OID: oidSubjectAltName, Value: dnsNames(t, host)}} }
	for _, c := range []struct{ subject, host, want string }{
		{"O=Example/CN=x", "www.example.com", ""},
		{"O=Example/CN=x", "www.example.org", "Name Constraints violation: DNS name not found in a permitted subtree."},
		{"O=Other", "www.example.com", "Name Constraints violation: Directory name not found in a permitted subtree."},
		{"", "www.example.com", ""},
	} {
		for _, a := range []*authority{upper, lower} {
			out, err := a.issuer(t).Issue(request(t, "EndEntityCertificate", csrSpec{subject: distinguished(t, c.subject), extensions: san(c.host)}.pem(t, key)))
			if c.want == "" {
				if err != nil {
					t.Errorf("%+v: %v", c, err)
				}
				continue
			}
			var violation *NameConstraintError
			if out != nil || !errors.As(err, &violation) || violation.Reason != c.want {
				t.Errorf("%+v: %v", c, err)
				continue
			}
			wantCode(t, err, pca.ValidationException)
		}
	}
	// A CA certificate is bound too; and a SAN that cannot be read is refused where it matters.
	_, err := upper.issuer(t).Issue(request(t, "SubordinateCACertificate_PathLen0", csrSpec{subject: distinguished(t, "O=Other")}.pem(t, key)))
	wantCode(t, err, pca.ValidationException)
	odd := csrSpec{subject: distinguished(t, "O=Example"), extensions: []Extension{{OID: oidSubjectAltName, Value: unhex(t, "0500")}}}.pem(t, key)
	_, err = lower.issuer(t).Issue(request(t, "EndEntityCertificate", odd))
	wantCode(t, err, pca.ValidationException)
	if _, err := root.issuer(t).Issue(request(t, "EndEntityCertificate", odd)); err != nil {
		t.Errorf("without constraints: %v", err)
	}
	// Names from the API are bound as those of the CSR.
	r := request(t, "EndEntityCertificate_APIPassthrough", csrSpec{subject: distinguished(t, "O=Example"), extensions: san("a.example.com")}.pem(t, key))
	r.Passthrough = &pca.ApiPassthrough{Extensions: &pca.Extensions{SubjectAlternativeNames: []pca.GeneralName{{DnsName: "a.example.org"}}}}
	_, err = lower.issuer(t).Issue(r)
	wantCode(t, err, pca.ValidationException)
	r.Passthrough = &pca.ApiPassthrough{Subject: &pca.ASN1Subject{Organization: "Other"}}
	_, err = lower.issuer(t).Issue(r)
	wantCode(t, err, pca.ValidationException)
}
