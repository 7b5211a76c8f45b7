package issuance

import (
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"chirograph.dev/internal/pca"
)

func TestEncodeSubject(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what    string
		subject pca.ASN1Subject
		want    string // hex; empty: InvalidArgsException
	}{
		{"empty", pca.ASN1Subject{}, "3000"},
		{"T-40 order", pca.ASN1Subject{CommonName: "c", Country: "US", Locality: "l", Organization: "o", State: "s"},
			"303d 310b 3009 0603550406 1302 5553 310a 3008 060355040a 0c01 6f 310a 3008 0603550408 0c01 73 310a 3008 0603550403 0c01 63 310a 3008 0603550407 0c01 6c"},
		{"all members", pca.ASN1Subject{Country: "US", Organization: "1", OrganizationalUnit: "2", DistinguishedNameQualifier: "3", State: "4", CommonName: "5", SerialNumber: "6",
			Locality: "7", Title: "8", Surname: "9", GivenName: "a", Initials: "b", Pseudonym: "c", GenerationQualifier: "d"},
			"310b 3009 0603550406 1302 5553 310a3008060355040a0c0131 310a3008060355040b0c0132 310a3008060355042e130133 310a300806035504080c0134 310a300806035504030c0135" +
				"310a30080603550405130136 310a300806035504070c0137 310a3008060355040c0c0138 310a300806035504040c0139 310a3008060355042a0c0161 310a3008060355042b0c0162 310a300806035504410c0163 310a3008060355042c0c0164"},
		{"T-45 types", pca.ASN1Subject{CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "2.5.4.6", Value: "DE"}, {ObjectIdentifier: "2.5.4.5", Value: "5"}, {ObjectIdentifier: "2.5.4.46", Value: "6"},
			{ObjectIdentifier: "0.9.2342.19200300.100.1.25", Value: "d"}, {ObjectIdentifier: "1.2.840.113549.1.9.1", Value: "e"}, {ObjectIdentifier: "0.9.2342.19200300.100.1.1", Value: "u"},
			{ObjectIdentifier: "1.3.6.1.4.1.37244.1.1", Value: "m"}, {ObjectIdentifier: "2.5.4.11", Value: "1"}, {ObjectIdentifier: "2.5.4.11", Value: "ü"}}},
			"310b3009060355040613024445310a30080603550405130135310a3008060355042e1301363111300f060a0992268993f22c640119160164" +
				"3110300e06092a864886f70d0109011601653111300f060a0992268993f22c6401010c01753111300f060a2b0601040182a27c01010c016d310a3008060355040b0c0131310b3009060355040b0c02c3bc"},
		{"T-43 mixed", pca.ASN1Subject{CommonName: "x", CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "1.2.3", Value: "x"}}}, ""},
		{"T-44 country", pca.ASN1Subject{CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "2.5.4.6", Value: "DEU"}}}, ""},
		{"T-44 country digits", pca.ASN1Subject{CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "2.5.4.6", Value: "D1"}}}, ""},
		{"T-46 printable", pca.ASN1Subject{CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "2.5.4.5", Value: "a@b"}}}, ""},
		{"T-46 ASCII", pca.ASN1Subject{CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "1.2.840.113549.1.9.1", Value: "é@x"}}}, ""},
		{"bad OID", pca.ASN1Subject{CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "1.2.03", Value: "x"}}}, ""},
		{"country", pca.ASN1Subject{Country: "U1"}, ""},
		{"invalid UTF-8", pca.ASN1Subject{CommonName: "\xff"}, ""},
	} {
		got, err := EncodeSubject(&c.subject, false)
		if c.want == "" {
			wantCode(t, err, pca.InvalidArgsException)
			continue
		}
		want := unhex(t, c.want)
		if c.what == "all members" || c.what == "T-45 types" { // the length is not written by hand
			want = sequenceOf(t, want)
		}
		if err != nil || hex.EncodeToString(got) != hex.EncodeToString(want) {
			t.Errorf("%s:\n got %x, %v\nwant %x", c.what, got, err, want)
		}
	}
	_, err := EncodeSubject(&pca.ASN1Subject{CommonName: "x", CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "1.2.3", Value: "x"}}}, false)
	if got, want := wantCode(t, err, pca.InvalidArgsException), "CustomAttributes cannot be used in combination with standard attributes."; got != want {
		t.Errorf("message %q", got)
	}
}

// Every member and every OID of the table takes its longest value and, as a
// custom attribute, not one character more.
func TestSubjectLimits(t *testing.T) {
	t.Parallel()
	limits := map[string]int{
		"2.5.4.10": 64, "2.5.4.11": 64, "2.5.4.46": 64, "2.5.4.8": 128, "2.5.4.3": 64, "2.5.4.5": 64, "2.5.4.7": 128, "2.5.4.12": 64,
		"2.5.4.4": 40, "2.5.4.42": 16, "2.5.4.43": 5, "2.5.4.65": 128, "2.5.4.44": 3, "1.2.3": 256,
	}
	for id, limit := range limits {
		character := "ü"
		if id == "2.5.4.46" || id == "2.5.4.5" {
			character = "1"
		}
		s := pca.ASN1Subject{CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: id, Value: strings.Repeat(character, limit)}}}
		if _, err := EncodeSubject(&s, false); err != nil {
			t.Errorf("%s with %d characters: %v", id, limit, err)
		}
		if limit == 256 {
			continue // the shape's limit
		}
		s.CustomAttributes[0].Value += character
		_, err := EncodeSubject(&s, false)
		if got := wantCode(t, err, pca.InvalidArgsException); !strings.Contains(got, fmt.Sprint(limit)) {
			t.Errorf("%s: message %q", id, got)
		}
	}
}

func TestKeyUsageEncoding(t *testing.T) {
	t.Parallel()
	for want, k := range map[string]pca.KeyUsage{
		"03020780": {DigitalSignature: true}, "03020640": {NonRepudiation: true}, "03020520": {KeyEncipherment: true}, "03020410": {DataEncipherment: true},
		"03020308": {KeyAgreement: true}, "03020204": {KeyCertSign: true}, "03020102": {CRLSign: true}, "03020001": {EncipherOnly: true}, "0303070080": {DecipherOnly: true},
		"030205a0": {DigitalSignature: true, KeyEncipherment: true}, "03020186": {DigitalSignature: true, KeyCertSign: true, CRLSign: true},
		"030307ff80": {DigitalSignature: true, NonRepudiation: true, KeyEncipherment: true, DataEncipherment: true, KeyAgreement: true, KeyCertSign: true, CRLSign: true, EncipherOnly: true, DecipherOnly: true}, "": {},
	} {
		if got := hex.EncodeToString(encodeKeyUsage(&k)); got != want {
			t.Errorf("%+v: %s, want %s", k, got, want)
		}
	}
}

func TestGeneralNames(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what string
		name pca.GeneralName
		want string // hex; empty: InvalidArgsException
	}{
		{"OtherName", pca.GeneralName{OtherName: &pca.OtherName{TypeId: "1.3.6.1.4.1.311.20.2.3", Value: "u@é"}}, "a014 060a2b060104018237140203 a006 0c04 7540c3a9"},
		{"Rfc822Name", pca.GeneralName{Rfc822Name: "a@b"}, "8103614062"},
		{"DnsName", pca.GeneralName{DnsName: "*.b"}, "82032a2e62"},
		{"DirectoryName", pca.GeneralName{DirectoryName: &pca.ASN1Subject{CommonName: "x"}}, "a40e 300c 310a 3008 0603550403 0c01 78"},
		{"EdiPartyName", pca.GeneralName{EdiPartyName: &pca.EdiPartyName{PartyName: "p"}}, "a505 a103 0c01 70"},
		{"EdiPartyName with assigner", pca.GeneralName{EdiPartyName: &pca.EdiPartyName{PartyName: "p", NameAssigner: "n"}}, "a50a a003 0c01 6e a103 0c01 70"},
		{"URI", pca.GeneralName{UniformResourceIdentifier: "a:b"}, "8603613a62"},
		{"IPv4", pca.GeneralName{IpAddress: "10.0.0.1"}, "87040a000001"},
		{"IPv6", pca.GeneralName{IpAddress: "2001:db8::1"}, "871020010db8000000000000000000000001"},
		{"IPv6 mapped", pca.GeneralName{IpAddress: "::ffff:10.0.0.1"}, "871000000000000000000000ffff0a000001"},
		{"RegisteredId", pca.GeneralName{RegisteredId: "1.2.3.4"}, "88032a0304"},
		{"none", pca.GeneralName{}, ""},
		{"two", pca.GeneralName{DnsName: "a", IpAddress: "10.0.0.1"}, ""},
		{"non-ASCII mail", pca.GeneralName{Rfc822Name: "é@b"}, ""},
		{"non-ASCII DNS", pca.GeneralName{DnsName: "é"}, ""},
		{"non-ASCII URI", pca.GeneralName{UniformResourceIdentifier: "é"}, ""},
		{"CIDR", pca.GeneralName{IpAddress: "10.0.0.0/8"}, ""},
		{"zone", pca.GeneralName{IpAddress: "fe80::1%eth0"}, ""},
		{"no address", pca.GeneralName{IpAddress: "10.0.0"}, ""},
		{"OtherName OID", pca.GeneralName{OtherName: &pca.OtherName{TypeId: "3.1"}}, ""},
		{"empty directory name", pca.GeneralName{DirectoryName: &pca.ASN1Subject{}}, ""},
		{"mixed directory name", pca.GeneralName{DirectoryName: &pca.ASN1Subject{CommonName: "x", CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "1.2.3", Value: "x"}}}}, ""},
		{"no party", pca.GeneralName{EdiPartyName: &pca.EdiPartyName{NameAssigner: "n"}}, ""},
		{"RegisteredId OID", pca.GeneralName{RegisteredId: "1"}, ""},
	} {
		got, err := encodeGeneralName(&c.name, "SubjectAlternativeNames", false)
		if c.want == "" {
			wantCode(t, err, pca.InvalidArgsException)
			continue
		}
		if err != nil || hex.EncodeToString(got) != strings.ReplaceAll(c.want, " ", "") {
			t.Errorf("%s: %x, %v; want %s", c.what, got, err, c.want)
		}
	}
}

func TestExtendedKeyUsageEncoding(t *testing.T) {
	t.Parallel()
	want := map[pca.ExtendedKeyUsageType]string{
		pca.ExtendedKeyUsageType_SERVER_AUTH: "1.3.6.1.5.5.7.3.1", pca.ExtendedKeyUsageType_CLIENT_AUTH: "1.3.6.1.5.5.7.3.2", pca.ExtendedKeyUsageType_CODE_SIGNING: "1.3.6.1.5.5.7.3.3",
		pca.ExtendedKeyUsageType_EMAIL_PROTECTION: "1.3.6.1.5.5.7.3.4", pca.ExtendedKeyUsageType_TIME_STAMPING: "1.3.6.1.5.5.7.3.8", pca.ExtendedKeyUsageType_OCSP_SIGNING: "1.3.6.1.5.5.7.3.9",
		pca.ExtendedKeyUsageType_SMART_CARD_LOGIN: "1.3.6.1.4.1.311.20.2.2", pca.ExtendedKeyUsageType_DOCUMENT_SIGNING: "1.3.6.1.4.1.311.10.3.12", pca.ExtendedKeyUsageType_CERTIFICATE_TRANSPARENCY: "1.3.6.1.4.1.11129.2.4.4",
	}
	for purpose, id := range want {
		got, err := keyPurpose(&pca.ExtendedKeyUsage{ExtendedKeyUsageType: purpose})
		if err != nil || oidText(got) != id {
			t.Errorf("%s: %s, %v", purpose, oidText(got), err)
		}
	}
	list := &pca.Extensions{ExtendedKeyUsage: []pca.ExtendedKeyUsage{{ExtendedKeyUsageObjectIdentifier: "1.2.3"}, {ExtendedKeyUsageType: pca.ExtendedKeyUsageType_CLIENT_AUTH},
		{ExtendedKeyUsageObjectIdentifier: "1.2.3"}, {ExtendedKeyUsageObjectIdentifier: "1.3.6.1.5.5.7.3.2"}}}
	if got, err := encodeExtendedKeyUsage(list); err != nil || hex.EncodeToString(got) != "300e06022a0306082b06010505070302" {
		t.Errorf("duplicates: %x, %v", got, err)
	}
	for _, bad := range []pca.ExtendedKeyUsage{{}, {ExtendedKeyUsageType: pca.ExtendedKeyUsageType_CLIENT_AUTH, ExtendedKeyUsageObjectIdentifier: "1.2"}, {ExtendedKeyUsageObjectIdentifier: "1.2.x"}, {ExtendedKeyUsageType: "X"}} {
		_, err := keyPurpose(&bad)
		wantCode(t, err, pca.InvalidArgsException)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	cps := func(uri string) pca.PolicyQualifierInfo {
		return pca.PolicyQualifierInfo{PolicyQualifierId: pca.PolicyQualifierId_CPS, Qualifier: pca.Qualifier{CpsUri: uri}}
	}
	list := &pca.Extensions{CertificatePolicies: []pca.PolicyInformation{{CertPolicyId: "1.2.3"}, {CertPolicyId: "1.2.4", PolicyQualifiers: []pca.PolicyQualifierInfo{cps("a"), cps("b")}}}}
	cpsOID := "06082b06010505070201"
	want := sequenceOf(t, unhex(t, "300406022a03"),
		sequenceOf(t, unhex(t, "06022a04"), sequenceOf(t, sequenceOf(t, unhex(t, cpsOID+"160161")), sequenceOf(t, unhex(t, cpsOID+"160162")))))
	if got, err := encodePolicies(list); err != nil || hex.EncodeToString(got) != hex.EncodeToString(want) {
		t.Errorf("%x, %v; want %x", got, err, want)
	}
	for what, bad := range map[string][]pca.PolicyInformation{
		"duplicate": {{CertPolicyId: "1.2.3"}, {CertPolicyId: "1.2.3"}}, "OID": {{CertPolicyId: "9.2"}},
		"non-ASCII": {{CertPolicyId: "1.2.3", PolicyQualifiers: []pca.PolicyQualifierInfo{cps("é")}}}, "qualifier": {{CertPolicyId: "1.2.3", PolicyQualifiers: []pca.PolicyQualifierInfo{{}}}},
	} {
		_, err := encodePolicies(&pca.Extensions{CertificatePolicies: bad})
		if wantCode(t, err, pca.InvalidArgsException) == "" {
			t.Error(what)
		}
	}
}

func TestCustomExtensions(t *testing.T) {
	t.Parallel()
	tmpl := template(t, "BlankEndEntityCertificate_APIPassthrough")
	custom := func(list ...pca.CustomExtension) *pca.ApiPassthrough {
		return &pca.ApiPassthrough{Extensions: &pca.Extensions{CustomExtensions: list}}
	}
	value := func(hex string) string { return base64.StdEncoding.EncodeToString(unhex(t, hex)) }
	null := value("0500")
	p, err := encodePassthrough(tmpl, custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: null, Critical: true}, pca.CustomExtension{ObjectIdentifier: "1.2.2", Value: value("30030101ff")}), false)
	if err != nil || show(p.extensions) != "1.2.3 critical=true 0500\n1.2.2 critical=false 30030101ff\n" {
		t.Errorf("%s, %v", show(p.extensions), err)
	}
	for what, in := range map[string]*pca.ApiPassthrough{
		"bad OID":            custom(pca.CustomExtension{ObjectIdentifier: "1.50.1", Value: null}),
		"not base64":         custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: "***"}),
		"not strict":         custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: "BQB="}),
		"two values":         custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: value("05000500")}),
		"cut":                custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: value("0402aa")}),
		"long length":        custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: value("048101aa")}),
		"indefinite":         custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: value("30800000")}),
		"inside":             custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: value("30040403aaaa")}),
		"bad boolean":        custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: value("010101")}),
		"BER string":         custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: value("24020400")}),
		"primitive SEQUENCE": custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: value("1000")}),
		"wide integer":       custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: value("02020001")}),
		"too deep":           custom(pca.CustomExtension{ObjectIdentifier: "1.2.3", Value: base64.StdEncoding.EncodeToString(nested(t, 70))}),
	} {
		_, err := encodePassthrough(tmpl, in, false)
		if wantCode(t, err, pca.InvalidArgsException) == "" {
			t.Error(what)
		}
	}
	twice := custom(pca.CustomExtension{ObjectIdentifier: "2.5.29.15", Value: value("03020780")})
	twice.Extensions.KeyUsage = &pca.KeyUsage{CRLSign: true}
	for _, in := range []*pca.ApiPassthrough{twice, custom(pca.CustomExtension{ObjectIdentifier: "2.5.29.15", Value: null}, pca.CustomExtension{ObjectIdentifier: "2.5.29.15", Value: null})} {
		_, err := encodePassthrough(tmpl, in, false)
		if got := wantCode(t, err, pca.InvalidArgsException); got != "Duplicate extension 2.5.29.15." {
			t.Errorf("message %q", got)
		}
	}
	// T-51: a key usage without bits is none, so that the custom one stands alone.
	twice.Extensions.KeyUsage = &pca.KeyUsage{}
	if p, err := encodePassthrough(tmpl, twice, false); err != nil || len(p.extensions) != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	// T-11: a base template ignores all of it, whatever it says.
	if p, err := encodePassthrough(template(t, "EndEntityCertificate"), custom(pca.CustomExtension{ObjectIdentifier: "x"}), false); err != nil || p.extensions != nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func nested(t testing.TB, depth int) []byte {
	b := []byte{5, 0}
	for range depth {
		b = sequenceOf(t, b)
	}
	return b
}

func TestOIDs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0.0": "00", "0.39": "27", "1.0": "28", "1.39": "4f", "2.0": "50", "2.39": "77", "2.5.29.15": "551d0f", "2.999.3": "883703", "1.2.840.113549": "2a864886f70d",
		"1.2.18446744073709551616": "2a82808080808080808000", "2.340282366920938463463374607431768211455": "",
	} {
		got, ok := parseOID(text)
		if !ok || want != "" && hex.EncodeToString([]byte(got)) != want || oidText(got) != text || !validOID([]byte(got)) {
			t.Errorf("%s: %x, %t, back to %s", text, got, ok, oidText(got))
		}
	}
	for _, bad := range []string{"", "1", "3.1", "1.40", "0.40", "1.", ".1", "1..2", "1.02", "01.2", "1.2.-3", "1.2.3 ", "1.2.a", "10.1"} {
		if got, ok := parseOID(bad); ok {
			t.Errorf("%q is taken as %x", bad, got)
		}
	}
}

// The typed members and their sizes at the limits of the shapes make
// certificates that can be read.
func TestPassthroughAtItsLimits(t *testing.T) {
	t.Parallel()
	api := &pca.ApiPassthrough{Extensions: &pca.Extensions{}}
	e := api.Extensions
	for n := range 150 {
		e.SubjectAlternativeNames = append(e.SubjectAlternativeNames, pca.GeneralName{DnsName: fmt.Sprintf("%03d.%s", n, strings.Repeat("a", 249))})
		e.CustomExtensions = append(e.CustomExtensions, pca.CustomExtension{ObjectIdentifier: fmt.Sprintf("1.2.3.%d", n), Value: base64.StdEncoding.EncodeToString(append([]byte{4, 0x82, 0x0b, 0xfc}, make([]byte, 3068)...))})
	}
	for n := range 20 {
		e.ExtendedKeyUsage = append(e.ExtendedKeyUsage, pca.ExtendedKeyUsage{ExtendedKeyUsageObjectIdentifier: fmt.Sprintf("1.2.4.%d", n)})
		e.CertificatePolicies = append(e.CertificatePolicies, pca.PolicyInformation{CertPolicyId: fmt.Sprintf("1.2.5.%d", n)})
	}
	r := request(t, "BlankEndEntityCertificate_APIPassthrough", csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "x"})}.pem(t, rsaKey()))
	r.Passthrough = api
	out, err := p256Root().issuer(t).Issue(r)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseCertificate(out.DER)
	if err != nil || len(c.extensions) != 3+3+150 {
		t.Errorf("%d extensions, %v", len(c.extensions), err)
	}
}

// FuzzPassthrough: any document that has the shape either is refused with an
// InvalidArgsException or gives a certificate that is DER.
func FuzzPassthrough(f *testing.F) {
	var once fatal
	seed, err := json.Marshal(matrixAPI(once))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed), "API")
	f.Add(`{"Subject":{"CustomAttributes":[{"ObjectIdentifier":"2.5.4.6","Value":"DE"}]},"Extensions":{"SubjectAlternativeNames":[{"OtherName":{"TypeId":"1.2","Value":"x"}},{"EdiPartyName":{"PartyName":"a"}},{"DirectoryName":{"CommonName":"q"}},{"IpAddress":"::1"},{"RegisteredId":"1.2"}]}}`, "APICSR")
	csr := csrSpec{subject: name(once, pca.ASN1Subject{CommonName: "x"}), extensions: []Extension{{OID: oidSubjectAltName, Value: dnsNames(once, "a.example")}, {OID: "\x2a\x03", Value: []byte{5, 0}}}}.pem(once, ecKey(once, elliptic.P256()))
	f.Fuzz(func(t *testing.T, document, variety string) {
		var in pca.IssueCertificateRequest
		body := `{"CertificateAuthorityArn":"arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11111111-1111-1111-1111-111111111111","Csr":"eA==","SigningAlgorithm":"SHA256WITHECDSA","Validity":{"Type":"DAYS","Value":1},"ApiPassthrough":` + document + `}`
		if !utf8.ValidString(body) || in.Decode([]byte(body)) != nil {
			return
		}
		tmpl := "BlankEndEntityCertificate_APIPassthrough"
		if variety == "APICSR" {
			tmpl = "EndEntityCertificate_APICSRPassthrough"
		}
		r := request(t, tmpl, csr)
		r.Passthrough = in.ApiPassthrough
		out, err := p256Root().issuer(t).Issue(r)
		if err != nil {
			wantCode(t, err, pca.InvalidArgsException)
			return
		}
		c, err := parseCertificate(out.DER)
		if err != nil && !errors.Is(err, errCertificate) {
			t.Fatalf("%s: %v", document, err)
		}
		if err == nil && c.extensions[0].OID != oidBasicConstraints || !wellFormed(out.DER) {
			t.Errorf("%s: certificate %x", document, out.DER)
		}
		if _, err := AppendSubject(nil, out.RawSubject); err != nil {
			t.Errorf("%s: %v", document, err)
		}
	})
}

// T-43: where the switch lets them, custom attributes follow standard ones in
// every subject that the API takes.
func TestMixedSubjects(t *testing.T) {
	t.Parallel()
	mixed := pca.ASN1Subject{CommonName: "x", Country: "DE", CustomAttributes: []pca.CustomAttribute{{ObjectIdentifier: "1.3.6.1.4.1.37244.1.1", Value: "FFF1"}, {ObjectIdentifier: "2.5.4.11", Value: "u"}}}
	const want = "OU=u,1.3.6.1.4.1.37244.1.1=#0c0446464631,CN=x,C=DE"
	encoded, err := EncodeSubject(&mixed, true)
	if err != nil || subject(t, encoded) != want {
		t.Errorf("%x, %v", encoded, err)
	}
	directory := pca.GeneralName{DirectoryName: &mixed}
	ext := &pca.CsrExtensions{SubjectInformationAccess: []pca.AccessDescription{{AccessMethod: pca.AccessMethod{CustomObjectIdentifier: "1.2"}, AccessLocation: directory}}}
	config := &pca.CertificateAuthorityConfiguration{Subject: mixed, CsrExtensions: ext, SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA}
	root := *p256Root()
	r := request(t, "EndEntityCertificate_APIPassthrough", csrSpec{subject: encoded}.pem(t, ecKey(t, elliptic.P256())))
	for _, p := range []*pca.ApiPassthrough{{Subject: &mixed}, {Extensions: &pca.Extensions{SubjectAlternativeNames: []pca.GeneralName{directory}}}} {
		r.Passthrough = p
		for _, allowed := range []bool{false, true} {
			root.config.MixedSubjects = allowed
			out, err := root.issuer(t).Issue(r)
			_, csrErr := CreateCSR(root.key, config, allowed)
			for _, err := range []error{err, csrErr, CheckNames(pca.CertificateAuthorityType_ROOT, config, allowed)} {
				if allowed && err != nil {
					t.Error(err)
				} else if !allowed {
					if got := wantCode(t, err, pca.InvalidArgsException); got != "CustomAttributes cannot be used in combination with standard attributes." {
						t.Errorf("message %q", got)
					}
				}
			}
			if allowed && string(out.Subject) != want {
				t.Errorf("subject %s", out.Subject)
			}
		}
	}
}
