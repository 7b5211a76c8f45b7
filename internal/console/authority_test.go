package console

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/emmansun/gmsm/sm2"
	"github.com/emmansun/gmsm/smx509"

	"chirograph.dev/internal/identity"
	"chirograph.dev/internal/pca"
)

// TestAuthorities: what pages show of CAs of two accounts, one of which shares.
func TestAuthorities(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("ana", allowAll)
	const script = `<script>alert("1")</script>`
	const printed = `CN=\<script\>alert(\"1\")\</script\>` // as reports have it
	root := b.makeCA(script, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA, "")
	sub := b.makeCA("Sub", pca.KeyAlgorithm_RSA_2048, pca.SigningAlgorithm_SHA256WITHRSA, root)
	quantum := b.makeCA("Quantum", pca.KeyAlgorithm_ML_DSA_44, pca.SigningAlgorithm_ML_DSA_44, "")

	// The answer is JSON with the text in it, and no page.
	a := b.get("authority?ca=" + url.QueryEscape(sub))
	var shown Authority
	a.read(t, &shown)
	if a.header.Get("Content-Type") != "application/json" || strings.Contains(a.body, "<script>") {
		t.Errorf("%v %s", a.header, a.body)
	}
	if a := b.post("call/ListCertificateAuthorities", "{}"); a.header.Get("Content-Type") != "application/x-amz-json-1.1" || !strings.Contains(a.body, `<script>alert(\"1\")`) {
		t.Errorf("%v %s", a.header, a.body)
	}
	tree := func(n *Node) string {
		var walk func(n *Node) string
		walk = func(n *Node) string {
			text := n.Subject
			if n.Current {
				text += "*"
			}
			if n.ARN == "" {
				text += "?"
			}
			for _, c := range n.Children {
				text += "(" + walk(c) + ")"
			}
			return text
		}
		return walk(n)
	}
	if got := tree(shown.Hierarchy); got != printed+"(CN=Sub*)" {
		t.Errorf("the picture is %s", got)
	}
	if n := shown.Hierarchy.Children[0]; n.Status != "ACTIVE" || n.Type != "SUBORDINATE" || n.ARN != sub {
		t.Errorf("%+v", n)
	}
	if c := shown.Certificate; c.Subject != "CN=Sub" || c.Issuer != printed || c.KeyAlgorithm != "RSA_2048" || c.SignatureAlgorithm != "SHA256WITHECDSA" ||
		c.AuthorityKeyID != shown.Chain[0].SubjectKeyID || !strings.HasPrefix(c.PEM, "-----BEGIN CERTIFICATE-----") || len(c.SHA256) != 32*3-1 || len(shown.Chain) != 1 {
		t.Errorf("%+v", c)
	}
	words := map[string]string{}
	for _, e := range shown.Certificate.Extensions {
		words[e.Name] = e.Value
	}
	if words["Basic constraints"] != "CA, path length 0" || words["Key usage"] != "Digital signature\nCertificate signing\nCRL signing" {
		t.Errorf("%v", words)
	}
	if !shown.ReportAllowed.Allowed || shown.LastReport != nil || *shown.LogSize < 3 {
		t.Errorf("%+v", shown)
	}
	b.get("authority?ca="+url.QueryEscape(root)).read(t, &shown)
	if got := tree(shown.Hierarchy); got != printed+"*(CN=Sub)" {
		t.Errorf("the picture is %s", got)
	}
	b.get("authority?ca="+url.QueryEscape(quantum)).read(t, &shown)
	if c := shown.Certificate; c.KeyAlgorithm != "ML_DSA_44" || c.SignatureAlgorithm != "ML_DSA_44" || tree(shown.Hierarchy) != "CN=Quantum*" {
		t.Errorf("%+v", c)
	}
	pending := call[pca.CreateCertificateAuthorityResponse](b, "CreateCertificateAuthority", map[string]any{
		"CertificateAuthorityType":          "ROOT",
		"CertificateAuthorityConfiguration": map[string]any{"KeyAlgorithm": "EC_prime256v1", "SigningAlgorithm": "SHA256WITHECDSA", "Subject": map[string]string{"CommonName": "New"}},
	}).CertificateAuthorityArn
	shown = Authority{}
	b.get("authority?ca="+url.QueryEscape(pending)).read(t, &shown)
	if shown.Certificate != nil || tree(shown.Hierarchy) != "CN=New*" || shown.ReportAllowed.Allowed || shown.ReportAllowed.Reason == "" || shown.ReportAllowed.At != nil {
		t.Errorf("%+v", shown)
	}

	// The table of all; the counts follow the log.
	overview := func(b *browser) map[string]OverviewRow {
		t.Helper()
		var out struct{ Authorities []OverviewRow }
		b.get("overview").read(t, &out)
		rows := map[string]OverviewRow{}
		for _, r := range out.Authorities {
			rows[r.Authority.Arn] = r
		}
		return rows
	}
	for {
		if r := overview(b)[root]; r.Issued != nil && *r.Issued == 2 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if rows := overview(b); len(rows) != 4 || rows[sub].Shared || *rows[sub].Revoked != 0 || !rows[sub].ReportAllowed.Allowed || rows[pending].ReportAllowed.Allowed {
		t.Errorf("%+v", rows)
	}

	// Another account sees what is shared with it, as far as that goes.
	ctx := h.root(management)
	created, err := h.people.CreateAccount(ctx, &identity.CreateAccountInput{AccountName: "Other", Email: "other@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	other := created.CreateAccountStatus.AccountId
	k := h.userOf(other, "bob", allowAll)
	bob := h.browser()
	bob.signIn(k.AccessKeyId, k.SecretAccessKey, "")
	if rows := overview(bob); len(rows) != 0 {
		t.Errorf("%+v", rows)
	}
	want(t, "not shared", bob.get("authority?ca="+url.QueryEscape(sub)), 403, "AccessDeniedException")
	policy, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": map[string]any{
		"Effect": "Allow", "Principal": map[string]string{"AWS": other}, "Resource": sub,
		"Action": []string{"acm-pca:DescribeCertificateAuthority", "acm-pca:GetCertificate", "acm-pca:GetCertificateAuthorityCertificate", "acm-pca:ListPermissions", "acm-pca:ListTags"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	call[struct{}](b, "PutPolicy", map[string]string{"ResourceArn": sub, "Policy": string(policy)})
	rows := overview(bob)
	if r := rows[sub]; len(rows) != 1 || !r.Shared || r.Issued != nil || r.LastReport != nil || r.ReportAllowed.Allowed {
		t.Errorf("%+v", rows)
	}
	shown = Authority{}
	bob.get("authority?ca="+url.QueryEscape(sub)).read(t, &shown)
	if got := tree(shown.Hierarchy); got != printed+"?(CN=Sub*)" || shown.LogSize != nil || shown.Issued != nil {
		t.Errorf("the picture is %s, %+v", got, shown)
	}
	want(t, "another account's log", bob.get("events?ca="+url.QueryEscape(sub)), 403, "AccessDeniedException")
}

func TestEvents(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("ana", allowAll)
	root := b.makeCA("Root", pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA, "")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "leaf"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	for range eventPage {
		b.issue(root, csr, "EndEntityCertificate", pca.SigningAlgorithm_SHA256WITHECDSA, 1)
	}
	type page struct {
		Events []Event
		Cursor string
	}
	read := func(query string) (p page) {
		t.Helper()
		b.get("events?ca="+url.QueryEscape(root)+query).read(t, &p)
		return p
	}
	first := read("")
	if len(first.Events) != eventPage || first.Events[0].Type != "ISSUE" || first.Events[0].Detail != "CN=leaf" || len(first.Events[0].Serial) != 47 {
		t.Fatalf("%+v", first)
	}
	second := read("&cursor=" + first.Cursor)
	if n := len(second.Events); n == 0 || second.Cursor != "" || second.Events[0].Index+1 != first.Events[eventPage-1].Index || second.Events[n-1].Type != "GENESIS" {
		t.Errorf("%+v", second)
	}
	var types []string
	for _, e := range read("&kind=administrative").Events {
		types = append(types, e.Type+" "+e.Label)
	}
	if got := fmt.Sprint(types); got != "[SIGN Certificate signing request made SIGN The log's signing key endorsed GENESIS The log begins]" {
		t.Error(got)
	}
	want(t, "a cursor beyond the log", b.get("events?ca="+url.QueryEscape(root)+"&cursor=99999"), 400, "ValidationException")
	want(t, "no cursor", b.get("events?ca="+url.QueryEscape(root)+"&cursor=x"), 400, "ValidationException")
}

// TestDecode: extensions in words, keys by the API's names.
func TestDecode(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, network, err := net.ParseCIDR("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(0x1234), Subject: pkix.Name{CommonName: "leaf", Organization: []string{"A, Inc"}}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageDecipherOnly, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageAny}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 2, 3}},
		BasicConstraintsValid: true, DNSNames: []string{"a.example.com"}, EmailAddresses: []string{"a@example.com"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1), net.ParseIP("2001:db8::1")},
		URIs: []*url.URL{mustURL(t, "spiffe://x/y")}, CRLDistributionPoints: []string{"http://crl.example.com/1.crl"}, OCSPServer: []string{"http://ocsp.example.com"}, IssuingCertificateURL: []string{"http://ca.example.com"},
		PermittedDNSDomains: []string{"example.com"}, ExcludedIPRanges: []*net.IPNet{network}, SubjectKeyId: []byte{1, 2}, AuthorityKeyId: []byte{3},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: []byte{5, 0}}, {Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Decode(der)
	if err != nil {
		t.Fatal(err)
	}
	if d.Subject != `CN=leaf,O=A\, Inc` || d.Serial != "12:34" || d.KeyAlgorithm != "EC_secp384r1" || d.SignatureAlgorithm != "SHA384WITHECDSA" || d.SubjectKeyID != "01:02" || d.NotAfter.Unix() != 1e9 {
		t.Errorf("%+v", d)
	}
	got := map[string]string{}
	for _, e := range d.Extensions {
		got[e.Name] = fmt.Sprint(e.Critical, " ", e.Value)
	}
	for name, value := range map[string]string{
		"Key usage":                    "true Digital signature\nDecipher only",
		"Extended key usage":           "false TLS server\nAny\n1.2.3",
		"Basic constraints":            "true Not a CA",
		"Subject key identifier":       "false 01:02",
		"Subject alternative name":     "false DNS: a.example.com\nE-mail: a@example.com\nIP: 192.0.2.1\nIP: 2001:db8::1\nURI: spiffe://x/y",
		"CRL distribution points":      "false http://crl.example.com/1.crl",
		"Authority information access": "false OCSP: http://ocsp.example.com\nCA issuers: http://ca.example.com",
		"Name constraints":             "false Permitted DNS: example.com\nExcluded IP: 10.0.0.0/8",
		"Extension 1.2.3.4":            "false 0500",
		"OCSP no check":                "false 0500",
	} {
		if got[name] != value {
			t.Errorf("%s: %q, want %q", name, got[name], value)
		}
	}

	chinese, err := sm2.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	plain := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "sm"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e9, 0), DNSNames: []string{"sm.example.com"}}
	if der, err = smx509.CreateCertificate(rand.Reader, plain, plain, chinese.Public(), chinese); err != nil {
		t.Fatal(err)
	}
	if d, err = Decode(der); err != nil || d.KeyAlgorithm != "SM2" || d.SignatureAlgorithm != "SM3WITHSM2" || d.Subject != "CN=sm" || len(d.Extensions) != 1 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := Decode([]byte("x")); err == nil {
		t.Error("no certificate was decoded")
	}
	if lines := generalNames([]byte("\x30\x10\x88\x03\x2a\x03\x04\xa0\x03\x02\x01\x05\x87\x01\x00\x86\x01%")); fmt.Sprint(lines) != "[Registered ID: 1.2.3.4 Other name: 020105 IP: 00 URI: 25]" {
		t.Errorf("%q", lines)
	}
}
