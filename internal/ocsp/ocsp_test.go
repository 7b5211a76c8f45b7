package ocsp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"

	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const day = 24 * time.Hour

func (h *house) p256(t *testing.T) *testCA {
	t.Helper()
	return h.create(t, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA256WITHECDSA)
}

// parse reads an answer as Go does, which checks its signature, that of the
// responder's certificate, and what that is for.
func (c *testCA) parse(t *testing.T, body []byte) *ocsp.Response {
	t.Helper()
	issuer, err := x509.ParseCertificate(c.der)
	if err != nil {
		t.Fatal(err)
	}
	r, err := ocsp.ParseResponse(body, issuer)
	if err != nil {
		t.Fatalf("%v: %x", err, body)
	}
	return r
}

func wantCode(t *testing.T, what string, body []byte, header http.Header, c code) {
	t.Helper()
	if !bytes.Equal(body, errorResponse(c)) {
		t.Errorf("%s: %x, want status %d", what, body, c)
	}
	if header.Get("Cache-Control") != "max-age=0, no-cache" || header.Get("ETag") != "" {
		t.Errorf("%s: headers %v", what, header)
	}
}

// TestStatuses asks about certificates of every kind, under every hash.
func TestStatuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	good, other := c.issue(t, 90), h.p256(t)
	stranger := other.issue(t, 90)
	for hash, want := range []crypto.Hash{crypto.SHA1, crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		for parameters := range 2 {
			der := c.ask(query{serials: [][]byte{good}, hash: hash, parameters: parameters})
			if n, err := ocsp.ParseRequest(der); err != nil || n.HashAlgorithm != want {
				t.Fatalf("the test's own request: %v, %+v", err, n)
			}
			body, _ := h.post(t, der)
			r := c.parse(t, body)
			if r.Status != ocsp.Good || r.IssuerHash != want || r.SerialNumber.Cmp(number(good)) != 0 || r.Certificate == nil {
				t.Errorf("%v: %+v", want, r)
			}
			if !bytes.Contains(body, c.content(good, hash, parameters)) {
				t.Errorf("%v: the CertID is not the one of the request", want)
			}
		}
	}
	reasons := map[pca.RevocationReason]int{
		pca.RevocationReason_UNSPECIFIED: ocsp.Unspecified, pca.RevocationReason_KEY_COMPROMISE: ocsp.KeyCompromise,
		pca.RevocationReason_CERTIFICATE_AUTHORITY_COMPROMISE: ocsp.CACompromise, pca.RevocationReason_AFFILIATION_CHANGED: ocsp.AffiliationChanged,
		pca.RevocationReason_SUPERSEDED: ocsp.Superseded, pca.RevocationReason_CESSATION_OF_OPERATION: ocsp.CessationOfOperation,
		pca.RevocationReason_PRIVILEGE_WITHDRAWN: ocsp.PrivilegeWithdrawn, pca.RevocationReason_A_A_COMPROMISE: ocsp.AACompromise,
	}
	for reason, want := range reasons {
		serial := c.issue(t, 90)
		c.revoke(t, serial, reason)
		body, _ := h.get(t, c.ask(query{serials: [][]byte{serial}}))
		r := c.parse(t, body)
		if r.Status != ocsp.Revoked || r.RevocationReason != want || r.RevokedAt.Unix() != h.clock().Unix() {
			t.Errorf("%s: %+v", reason, r)
		}
		if reason == pca.RevocationReason_UNSPECIFIED && bytes.Contains(body, []byte("\xa0\x03\x0a\x01\x00")) {
			t.Error("a reason of 0 is told")
		}
	}
	root := c.cert.Serial
	body, _ := h.post(t, c.ask(query{serials: [][]byte{root}}))
	if r := c.parse(t, body); r.Status != ocsp.Good {
		t.Errorf("the root: %+v", r)
	}
	for what, der := range map[string][]byte{
		"another CA's serial": c.ask(query{serials: [][]byte{stranger}}),
		"an unknown serial":   c.ask(query{serials: [][]byte{{1, 2, 3}}}),
		"a negative serial":   bytes.Replace(c.ask(query{serials: [][]byte{{0x7f}}}), []byte{2, 1, 0x7f}, []byte{2, 1, 0xff}, 1),
		"an unknown issuer":   bytes.Replace(c.ask(query{serials: [][]byte{good}}), sha1Of(c.cert.RawSubject), make([]byte, 20), 1),
		"an unknown hash":     bytes.Replace(c.ask(query{serials: [][]byte{good}}), []byte("\x2b\x0e\x03\x02\x1a"), []byte("\x2b\x0e\x03\x02\x1b"), 1),
	} {
		body, header := h.post(t, der)
		wantCode(t, what, body, header, unauthorized)
	}
	// 24 hours after its end nothing is said about a certificate that was not
	// revoked; what was cached before ends at half of its life.
	h.pass(91*day - time.Minute)
	body, _ = h.post(t, c.ask(query{serials: [][]byte{good}}))
	if r := c.parse(t, body); r.Status != ocsp.Good {
		t.Errorf("soon after the end: %+v", r)
	}
	h.pass(13 * time.Hour)
	for range 2 {
		body, header := h.post(t, c.ask(query{serials: [][]byte{good}}))
		wantCode(t, "long after the end", body, header, unauthorized)
	}
	if got, err := h.Status(t.Context(), c.id, good); err != nil || got.State != Expired {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestUnknownSerial has the three answers about what was never issued.
func TestUnknownSerial(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	known := c.issue(t, 90)
	never := query{serials: [][]byte{{1, 2, 3}}}
	body, header := h.post(t, c.ask(never))
	wantCode(t, "by default", body, header, unauthorized)
	if rows, err := h.db.Responders(t.Context(), c.id, time.Time{}); err != nil || len(rows) != 0 {
		t.Errorf("a responder was made for what is not signed: %v, %v", rows, err)
	}
	// Beside others it is unknown.
	body, _ = h.post(t, c.ask(query{serials: [][]byte{{1, 2, 3}, known}}))
	if got := states(t, body); got != "82 80" {
		t.Errorf("states %s", got)
	}
	h.cfg.UnknownSerial = Unknown
	h.open(t)
	body, _ = h.post(t, c.ask(never))
	if r := c.parse(t, body); r.Status != ocsp.Unknown {
		t.Errorf("%+v", r)
	}
	h.cfg.UnknownSerial = RevokedToo
	h.open(t)
	body, _ = h.post(t, c.ask(never))
	// RFC 6960 2.2: since 1970, on hold, and with the extension that says why.
	r := c.parse(t, body)
	if r.Status != ocsp.Revoked || r.RevokedAt.Unix() != 0 || r.RevocationReason != ocsp.CertificateHold || !bytes.Contains(body, []byte(oidExtendedRevoked)) {
		t.Errorf("%+v", r)
	}
	if len(h.cache.answers) != 0 {
		t.Error("an answer about a serial number that may be issued any moment is kept")
	}
}

// TestHTTP has methods, headers and the forms of paths.
func TestHTTP(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	registry := prometheus.NewPedanticRegistry()
	h.cfg.Registerer = registry
	h.open(t)
	c := h.p256(t)
	serial := c.issue(t, 90)
	// Some encodings have + and /, some of these twice in a row.
	var der []byte
	text := ""
	for n := byte(0); !strings.Contains(text, "//") || !strings.Contains(text, "+"); n++ {
		der = c.ask(query{serials: [][]byte{serial}, extension: []byte{0x30, 12, 6, 3, 0x2a, 3, n, 4, 5, 0xff, 0xff, 0xff, n, 0xfb}, hash: 1})
		if text = base64.StdEncoding.EncodeToString(der); n == 255 {
			t.Fatal("no request that is hard to read")
		}
	}
	want, header := h.get(t, der)
	c.parse(t, want)
	now := h.clock()
	etag := fmt.Sprintf(`"%x"`, sha1Of(want))
	for name, value := range map[string]string{
		"Cache-Control": "max-age=3600,public,no-transform,must-revalidate", "ETag": etag,
		"Last-Modified": now.UTC().Format(http.TimeFormat), "Expires": now.Add(time.Hour).UTC().Format(http.TimeFormat), "Content-Length": fmt.Sprint(len(want)),
	} {
		if header.Get(name) != value {
			t.Errorf("%s: %q, want %q", name, header.Get(name), value)
		}
	}
	merged := strings.ReplaceAll(text, "//", "/")
	for _, path := range []string{
		"/" + text, "//" + text, "/ocsp/" + text, "/My/place/" + text, "/" + strings.TrimRight(text, "="), "/" + merged, "/ocsp/" + merged,
		"/" + strings.NewReplacer("+", "%2B", "/", "%2F", "=", "%3D").Replace(text), "/" + strings.NewReplacer("+", "%252B", "/", "%252F", "=", "%253D").Replace(text),
		"/" + strings.ReplaceAll(text, "+", "%20"),
	} {
		resp, err := http.Get(h.http.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if body, _ := h.read(t, resp); !bytes.Equal(body, want) {
			t.Errorf("%s: %x", path, body)
		}
	}
	if body, header := h.post(t, der); !bytes.Equal(body, want) || header.Get("ETag") != etag {
		t.Errorf("by POST another answer than by GET")
	}
	send := func(method, path, name, value string, body []byte) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, h.http.URL+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set(name, value)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	for _, x := range []struct {
		method, path, name, value string
		status                    int
	}{
		{"GET", "/" + merged, "If-None-Match", etag, 304}, {"HEAD", "/" + merged, "If-None-Match", `"other", W/` + etag, 304},
		{"GET", "/" + merged, "If-None-Match", `"other"`, 200}, {"HEAD", "/" + merged, "X", "", 200},
		{"PUT", "/", "Content-Type", requestType, 405}, {"DELETE", "/", "X", "", 405},
		{"POST", "/", "Content-Type", "application/octet-stream", 415}, {"POST", "/any/where", "Content-Type", requestType + "; charset=utf-8", 200},
	} {
		resp := send(x.method, x.path, x.name, x.value, der)
		if resp.StatusCode != x.status || x.status == 405 && resp.Header.Get("Allow") != "GET, HEAD, POST" || x.status == 304 && resp.Header.Get("ETag") != etag ||
			x.method == "HEAD" && x.status == 200 && resp.ContentLength != int64(len(want)) {
			t.Errorf("%+v: %s %v", x, resp.Status, resp.Header)
		}
	}
	for what, body := range map[string][]byte{"nothing": nil, "too much": make([]byte, maxRequest+1), "rubbish": []byte("x")} {
		got, header := h.post(t, body)
		wantCode(t, what, got, header, malformedRequest)
	}
	// Slashes that were left out are not guessed in what no client sends by GET.
	long := ""
	for n := byte(0); !strings.Contains(long, "//"); n++ {
		value := append(make([]byte, 512+int(n)), 0xff, 0xff, 0xff)
		value = append([]byte{0x30, 0x82, 2, n + 12, 6, 3, 0x2a, 3, 5, 4, 0x82, 2, n + 3}, value...)
		long = base64.StdEncoding.EncodeToString(c.ask(query{serials: [][]byte{serial}, extension: value}))
	}
	long = "/" + strings.ReplaceAll(long, "//", "/")
	for _, path := range []string{"/", "/ocsp", "/MEow", "/" + strings.Repeat("M/", 2000), "/%2%", "/" + merged + merged, long} {
		resp, err := http.Get(h.http.URL + strings.ReplaceAll(path, "%2%", "%25"))
		if err != nil {
			t.Fatal(err)
		}
		body, header := h.read(t, resp)
		wantCode(t, path, body, header, malformedRequest)
	}
	// An hour before its end an answer is kept for no longer than that.
	h.pass(11 * time.Hour)
	if body, _ := h.get(t, der); !bytes.Equal(body, want) {
		t.Error("another answer before half of its life")
	}
	h.pass(time.Hour)
	next, _ := h.get(t, der)
	if bytes.Equal(next, want) {
		t.Error("the same answer after half of its life")
	}
	h.cfg.Validity = time.Hour
	h.cfg.Registerer = nil
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			counted += m.GetCounter().GetValue()
		}
	}
	if len(families) != 2 || counted < 20 {
		t.Errorf("%d metrics count %v answers", len(families), counted)
	}
	h.open(t)
	h.pass(20 * time.Minute)
	_, header = h.get(t, der)
	h.pass(10 * time.Minute)
	_, later := h.get(t, der)
	if a, b := maxAgeOf(t, header), maxAgeOf(t, later); a < 3500 || a > 3600 || b > 3600 {
		t.Errorf("max-age %d and %d", a, b)
	}
}

func maxAgeOf(t *testing.T, h http.Header) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(h.Get("Cache-Control"), "max-age=%d,public,no-transform,must-revalidate", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestRequests has what a request can be, and cannot.
func TestRequests(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c, other := h.p256(t), h.p256(t)
	a, b := c.issue(t, 90), c.issue(t, 90)
	c.revoke(t, b, pca.RevocationReason_SUPERSEDED)
	one := [][]byte{a}
	extension := func(oid string, critical bool) []byte {
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addBytes(b, asn1.OBJECT_IDENTIFIER, []byte(oid))
			if critical {
				b.AddASN1Boolean(true)
			}
			b.AddASN1OctetString([]byte{5, 0})
		})
		return b.BytesOrPanic()
	}
	many := make([][]byte, 17)
	for i := range many {
		many[i] = a
	}
	mixed := bytes.Replace(c.ask(query{serials: [][]byte{a, b}}), sha1Of(c.cert.SPKI[len(c.cert.SPKI)-65:]), sha1Of(other.cert.SPKI[len(other.cert.SPKI)-65:]), 1)
	valid := c.ask(query{serials: one})
	for what, x := range map[string]struct {
		der  []byte
		want string // states, or an error
	}{
		"two":                     {c.ask(query{serials: [][]byte{a, b}}), "80 a1"},
		"16":                      {c.ask(query{serials: many[:16]}), strings.TrimSpace(strings.Repeat("80 ", 16))},
		"17":                      {c.ask(query{serials: many}), "1"},
		"two CAs":                 {mixed, "1"},
		"no entry":                {c.ask(query{}), "1"},
		"version 1":               {c.ask(query{serials: one, version: []byte("\xa0\x03\x02\x01\x00")}), "80"},
		"version 2":               {c.ask(query{serials: one, version: []byte("\xa0\x03\x02\x01\x01")}), "1"},
		"a requestor":             {c.ask(query{serials: one, version: []byte("\xa1\x05\x82\x03a.b")}), "80"},
		"a signature":             {c.ask(query{serials: one, tail: []byte("\xa0\x02\x30\x00")}), "80"},
		"something behind":        {append(bytes.Clone(valid), 0), "1"},
		"something inside":        {c.ask(query{serials: one, tail: []byte("\x05\x00")}), "1"},
		"cut off":                 {valid[:len(valid)-1], "1"},
		"extension":               {c.ask(query{serials: one, extension: extension("\x2a\x03", false)}), "80"},
		"critical extension":      {c.ask(query{serials: one, extension: extension("\x2a\x03", true)}), "1"},
		"entry's extension":       {c.ask(query{serials: one, entry: extension("\x2a\x03", false)}), "80"},
		"entry's critical":        {c.ask(query{serials: one, entry: extension("\x2a\x03", true)}), "1"},
		"critical, known":         {c.ask(query{serials: one, extension: extension(oidAcceptable, true)}), "80"},
		"nonce that is no nonce":  {c.ask(query{serials: one, extension: extension(oidNonce, false)}), "1"},
		"two nonces":              {c.ask(query{serials: one, nonce: []byte("12345678"), extension: append(extension("\x2a\x03", false), nonceExtension("x")...)}), "1"},
		"nonce of 1 octet":        {c.ask(query{serials: one, nonce: []byte{7}}), "80"},
		"nonce of 128 octets":     {c.ask(query{serials: one, nonce: bytes.Repeat([]byte{7}, 128)}), "80"},
		"nonce of 129 octets":     {c.ask(query{serials: one, nonce: bytes.Repeat([]byte{7}, 129)}), "1"},
		"empty nonce":             {c.ask(query{serials: one, nonce: []byte{}}), "1"},
		"serial of two encodings": {bytes.Replace(c.ask(query{serials: [][]byte{{0x7f}}}), []byte{2, 1, 0x7f}, []byte{2, 1}, 1), "1"},
	} {
		body, header := h.post(t, x.der)
		if x.want == "1" {
			wantCode(t, what, body, header, malformedRequest)
			continue
		}
		if got := states(t, body); got != x.want {
			t.Errorf("%s: states %s, want %s", what, got, x.want)
		}
		if strings.HasPrefix(what, "nonce") {
			if header.Get("Cache-Control") != "max-age=0, no-cache" || !bytes.Contains(body, x.der[len(x.der)-4:]) || !bytes.Contains(body, []byte(oidNonce)) {
				t.Errorf("%s: %v", what, header)
			}
		}
	}
}

func nonceExtension(nonce string) []byte {
	inner := append([]byte{4, byte(len(nonce))}, nonce...)
	e := append([]byte("\x06\x09"+oidNonce+"\x04"), byte(len(inner)))
	e = append(e, inner...)
	return append([]byte{0x30, byte(len(e))}, e...)
}

// states gives the tags of the certStatus of each SingleResponse.
func states(t *testing.T, body []byte) string {
	t.Helper()
	tbs, _, _ := split(t, body)
	s := cryptobyte.String(tbs)
	var data, list cryptobyte.String
	if !s.ReadASN1(&data, asn1.SEQUENCE) || !data.SkipASN1(contextTag(2)) || !data.SkipASN1(asn1.GeneralizedTime) || !data.ReadASN1(&list, asn1.SEQUENCE) {
		t.Fatalf("%x", body)
	}
	var tags []string
	for !list.Empty() {
		var x, status cryptobyte.String
		var tag asn1.Tag
		if !list.ReadASN1(&x, asn1.SEQUENCE) || !x.SkipASN1(asn1.SEQUENCE) || !x.ReadAnyASN1(&status, &tag) {
			t.Fatalf("%x", body)
		}
		tags = append(tags, fmt.Sprintf("%x", uint8(tag)))
	}
	return strings.Join(tags, " ")
}

// split gives what is signed of an answer, the signature, and the responder's certificate.
func split(t *testing.T, body []byte) (tbs, signature, cert []byte) {
	t.Helper()
	s := cryptobyte.String(body)
	var outer, field, bytesOf, basic, response, element, certs cryptobyte.String
	var status int
	if !s.ReadASN1(&outer, asn1.SEQUENCE) || !outer.ReadASN1Enum(&status) || status != 0 || !outer.ReadASN1(&field, contextTag(0)) || !field.ReadASN1(&bytesOf, asn1.SEQUENCE) ||
		!bytesOf.SkipASN1(asn1.OBJECT_IDENTIFIER) || !bytesOf.ReadASN1(&basic, asn1.OCTET_STRING) || !basic.ReadASN1(&response, asn1.SEQUENCE) ||
		!response.ReadASN1Element(&element, asn1.SEQUENCE) || !response.SkipASN1(asn1.SEQUENCE) || !response.ReadASN1BitStringAsBytes(&signature) ||
		!response.ReadASN1(&certs, contextTag(0)) || !certs.ReadASN1(&certs, asn1.SEQUENCE) {
		t.Fatalf("not a signed answer: %x", body)
	}
	return element, signature, certs
}

// TestKeys has an answer of every kind of key: signed by a certificate of the
// CA, with the CA's algorithm, and found sound by zlint where it reads the key.
func TestKeys(t *testing.T) {
	t.Parallel()
	h, cn := newHouse(t, "aws"), newHouse(t, "aws-cn")
	for _, x := range []struct {
		h       *house
		key     pca.KeyAlgorithm
		signing pca.SigningAlgorithm
	}{
		{h, pca.KeyAlgorithm_RSA_2048, pca.SigningAlgorithm_SHA384WITHRSA},
		{h, pca.KeyAlgorithm_EC_prime256v1, pca.SigningAlgorithm_SHA512WITHECDSA}, {h, pca.KeyAlgorithm_EC_secp384r1, pca.SigningAlgorithm_SHA384WITHECDSA},
		{h, pca.KeyAlgorithm_EC_secp521r1, pca.SigningAlgorithm_SHA512WITHECDSA}, {h, pca.KeyAlgorithm_ML_DSA_44, pca.SigningAlgorithm_ML_DSA_44},
		{h, pca.KeyAlgorithm_ML_DSA_65, pca.SigningAlgorithm_ML_DSA_65}, {h, pca.KeyAlgorithm_ML_DSA_87, pca.SigningAlgorithm_ML_DSA_87},
		{cn, pca.KeyAlgorithm_SM2, pca.SigningAlgorithm_SM3WITHSM2},
	} {
		c := x.h.create(t, x.key, x.signing)
		serial := c.issue(t, 90)
		body, _ := x.h.post(t, c.ask(query{serials: [][]byte{serial}, nonce: []byte("nonce")}))
		tbs, signature, der := split(t, body)
		cert, err := issuance.ReadCertificate(der)
		if err != nil {
			t.Errorf("%s: %v", x.key, err)
			continue
		}
		if err := errors.Join(cert.SignedBy(c.cert.SPKI), issuance.VerifyText(cert.SPKI, x.signing, tbs, signature)); err != nil {
			t.Errorf("%s: %v", x.key, err)
		}
		if !bytes.Contains(der, []byte("\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x05\x04\x02\x05\x00")) {
			t.Errorf("%s: no id-pkix-ocsp-nocheck in %x", x.key, der)
		}
		if strings.HasPrefix(string(x.key), "ML_DSA") || x.key == pca.KeyAlgorithm_SM2 {
			continue
		}
		r := c.parse(t, body)
		if !r.NextUpdate.Equal(r.ThisUpdate.Add(day)) || r.ThisUpdate.Second() != 0 || r.ProducedAt.Before(r.ThisUpdate) {
			t.Errorf("%s: %+v", x.key, r)
		}
		for name, result := range zlint.LintOcspResponse(r).Results {
			if result.Status >= lint.Warn {
				t.Errorf("%s: %s %s", x.key, name, result.Details)
			}
		}
	}
}

// TestOpenSSL has OpenSSL ask, and read what others asked.
func TestOpenSSL(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Fatal("hack/tools.sh installs openssl, which this test needs")
	}
	h := newHouse(t, "aws")
	c := h.p256(t)
	good, revoked := c.issue(t, 90), c.issue(t, 90)
	c.revoke(t, revoked, pca.RevocationReason_KEY_COMPROMISE)
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, c.pem(), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "openssl", append([]string{"ocsp", "-CAfile", ca, "-issuer", ca}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	g, r := "0x"+number(good).Text(16), "0x"+number(revoked).Text(16)
	out := run("-url", h.http.URL+"/ocsp", "-serial", g, "-sha256", "-serial", r)
	if !strings.Contains(out, "Response verify OK") || !strings.Contains(out, g+": good") || !strings.Contains(out, r+": revoked") || !strings.Contains(out, "Reason: keyCompromise") || strings.Contains(out, "WARNING") {
		t.Errorf("by POST with a nonce: %s", out)
	}
	request, answer := filepath.Join(dir, "request"), filepath.Join(dir, "answer")
	run("-no_nonce", "-serial", g, "-reqout", request)
	der, err := os.ReadFile(request)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := h.get(t, der)
	if err := os.WriteFile(answer, body, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run("-no_nonce", "-serial", g, "-respin", answer); !strings.Contains(out, "Response verify OK") || !strings.Contains(out, g+": good") {
		t.Errorf("by GET: %s", out)
	}
}

// TestCA has what becomes of a CA while its answers are kept.
func TestCA(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	serial := c.issue(t, 90)
	der := c.ask(query{serials: [][]byte{serial}})
	check := func(what string, answers bool) {
		t.Helper()
		body, header := h.post(t, der)
		if !answers {
			wantCode(t, what, body, header, unauthorized)
		} else if r := c.parse(t, body); r.Status != ocsp.Good {
			t.Errorf("%s: %+v", what, r)
		}
	}
	update := func(in *pca.UpdateCertificateAuthorityRequest) {
		t.Helper()
		in.CertificateAuthorityArn = c.arn
		if _, err := h.ca.UpdateCertificateAuthority(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	ocspIs := func(on bool) *pca.UpdateCertificateAuthorityRequest {
		return &pca.UpdateCertificateAuthorityRequest{RevocationConfiguration: &pca.RevocationConfiguration{OcspConfiguration: &pca.OcspConfiguration{Enabled: on}}}
	}
	check("active", true)
	update(ocspIs(false))
	check("off", false)
	h.open(t)
	check("off from the start", false)
	update(ocspIs(true))
	check("on", true)
	update(&pca.UpdateCertificateAuthorityRequest{Status: pca.CertificateAuthorityStatus_DISABLED})
	check("disabled", true)
	h.open(t)
	check("disabled from the start", true)
	if _, err := h.ca.DeleteCertificateAuthority(t.Context(), &pca.DeleteCertificateAuthorityRequest{CertificateAuthorityArn: c.arn}); err != nil {
		t.Fatal(err)
	}
	check("deleted", false)
	if _, err := h.ca.RestoreCertificateAuthority(t.Context(), &pca.RestoreCertificateAuthorityRequest{CertificateAuthorityArn: c.arn}); err != nil {
		t.Fatal(err)
	}
	check("restored", true)
	h.pass(3651 * day)
	check("expired", false)
	if rows, err := h.db.Responders(t.Context(), c.id, time.Time{}); err != nil || len(rows) != 1 {
		t.Errorf("responders %v, %v", rows, err)
	}
}

// TestResponders has a responder renewed, its key destroyed, and what goes wrong
// meanwhile.
func TestResponders(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	serial := c.cert.Serial // lives as long as the CA
	der := c.ask(query{serials: [][]byte{serial}, nonce: []byte("n")})
	ask := func() *ocsp.Response {
		t.Helper()
		body, _ := h.post(t, der)
		return c.parse(t, body)
	}
	rows := func(want int) []*store.Responder {
		t.Helper()
		rows, err := h.db.Responders(t.Context(), c.id, time.Time{})
		if err != nil || len(rows) != want {
			t.Fatalf("%d responders, want %d: %v", len(rows), want, err)
		}
		return rows
	}
	tend := func() {
		t.Helper()
		for _, a := range h.known() {
			if err := h.tend(t.Context(), a); err != nil {
				t.Error(err)
			}
		}
	}
	exists := func(row *store.Responder) bool {
		t.Helper()
		_, err := h.keys.Signer(t.Context(), row.KeyID)
		if err != nil && !errors.Is(err, keystore.ErrNotFound) {
			t.Error(err)
		}
		return err == nil
	}

	// A failure leaves a key, which the next one uses.
	h.fail = errFault
	body, header := h.post(t, der)
	wantCode(t, "no responder", body, header, internalError)
	body, header = h.post(t, der)
	wantCode(t, "no responder, again", body, header, tryLater)
	h.fail = nil
	h.pass(retryAfter)
	first := ask()
	if first.Certificate == nil || !first.NextUpdate.Equal(first.ThisUpdate.Add(day)) {
		t.Errorf("%+v", first)
	}
	one := rows(1)[0]
	if one.KeyID != c.id+"-ocsp-0" || !exists(one) || one.NotAfter.Sub(h.clock()).Round(time.Hour) != responderLife {
		t.Errorf("%+v", one)
	}
	// Another start finds it.
	h.open(t)
	ask()
	rows(1)
	tend()
	rows(1)
	h.pass(16 * day)
	ask()
	rows(1)
	tend()
	two := rows(2)
	if second := ask(); bytes.Equal(second.Certificate.Raw, first.Certificate.Raw) || !exists(two[1]) || !exists(two[0]) || two[1].Serial[0] != one.Serial[0] {
		t.Errorf("%+v", second)
	}
	// The first one expires, and its key with it.
	h.pass(14*day + 12*time.Hour)
	tend()
	if exists(two[1]) || !exists(two[0]) {
		t.Error("the key of the first is there, or that of the second is not")
	}
	h.open(t)
	tend()
	ask()
	// Nobody asked until all were expired.
	h.pass(60 * day)
	h.open(t)
	tend()
	ask()
	three := rows(3)
	if exists(three[1]) || !exists(three[0]) {
		t.Error("the key of the second is there, or that of the third is not")
	}
	// A responder whose certificate is revoked signs no more, and what it signed is not given.
	kept := c.ask(query{serials: [][]byte{serial}})
	before, _ := h.post(t, kept)
	c.revoke(t, three[0].Serial, pca.RevocationReason_KEY_COMPROMISE)
	after, _ := h.post(t, kept)
	if a, b := c.parse(t, before), c.parse(t, after); bytes.Equal(a.Certificate.Raw, b.Certificate.Raw) {
		t.Error("the revoked responder goes on")
	}
	rows(4)
	h.open(t)
	ask()
	rows(4)
	// Its last one ends with the CA, and no other follows.
	h.pass(3651*day - h.clock().Sub(c.cert.NotBefore) - 3*day)
	r := ask()
	if last := rows(5)[0]; !last.NotAfter.Equal(c.cert.NotAfter) {
		t.Errorf("%v, the CA ends %v", last.NotAfter, c.cert.NotAfter)
	}
	h.pass(r.Certificate.NotAfter.Sub(h.clock()) - 2*time.Hour)
	tend()
	rows(5)
	if r := ask(); !r.NextUpdate.Equal(c.cert.NotAfter) {
		t.Errorf("nextUpdate %v, the CA ends %v", r.NextUpdate, c.cert.NotAfter)
	}
}

// TestTurnedClock: a clock that was weeks ahead for a while spoils nothing.
func TestTurnedClock(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	ask := func(nonce []byte) {
		t.Helper()
		body, _ := h.post(t, c.ask(query{serials: [][]byte{c.cert.Serial}, nonce: nonce}))
		if r := c.parse(t, body); r.ThisUpdate.After(h.clock()) || r.ProducedAt.After(h.clock()) || r.Certificate.NotBefore.After(h.clock()) {
			t.Errorf("at %v: %+v", h.clock(), r)
		}
	}
	ask([]byte("n"))
	h.pass(10 * day)
	ask(nil)
	h.pass(-10 * day)
	ask(nil)
	h.pass(40 * day)
	for _, a := range h.known() { // destroys the key of the first responder
		if err := h.tend(t.Context(), a); err != nil {
			t.Error(err)
		}
	}
	h.pass(-40 * day)
	ask(nil)
	ask([]byte("n"))
}

// TestDamagedKey: a responder whose key is lost or damaged has a successor.
func TestDamagedKey(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	for n, spoil := range []func(file string) error{
		func(file string) error { return os.Truncate(file, 20) },
		os.Remove,
		func(string) error { return nil },
	} {
		body, _ := h.post(t, c.ask(query{serials: [][]byte{c.cert.Serial}}))
		c.parse(t, body)
		rows, err := h.db.Responders(t.Context(), c.id, time.Time{})
		if err != nil || len(rows) != n+1 {
			t.Fatalf("%d responders: %v", len(rows), err)
		}
		if err := spoil(filepath.Join(h.dir, rows[0].KeyID+".key")); err != nil {
			t.Fatal(err)
		}
		h.cfg.Keys = h.openKeys(t)
		h.open(t)
	}
}

// TestGenerations has a CA whose certificate is renewed, with the same name and
// with another one.
func TestGenerations(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	serial := c.issue(t, 90)
	der := c.ask(query{serials: [][]byte{serial}})
	h.post(t, der)
	old := *c
	c.renew(t, "RootCACertificate", nil)
	body, _ := h.post(t, c.ask(query{serials: [][]byte{serial}, nonce: []byte("n")}))
	c.parse(t, body)
	if len(h.issuers) != 8 {
		t.Errorf("%d issuers of one name and key", len(h.issuers))
	}
	c.renew(t, "RootCACertificate_APIPassthrough", &pca.ASN1Subject{CommonName: "Another Name"})
	for _, x := range []*testCA{c, &old} {
		body, _ := h.post(t, x.ask(query{serials: [][]byte{serial}, nonce: []byte("n")}))
		if r := x.parse(t, body); r.Status != ocsp.Good || !bytes.Equal(r.Certificate.RawIssuer, x.cert.RawSubject) {
			t.Errorf("%+v", r)
		}
	}
	// The old name needs a responder later, too.
	h.pass(40 * day)
	h.open(t)
	body, _ = h.post(t, der)
	if r := old.parse(t, body); !bytes.Equal(r.Certificate.RawIssuer, old.cert.RawSubject) {
		t.Errorf("%+v", r)
	}
	c.revoke(t, serial, pca.RevocationReason_SUPERSEDED)
	body, _ = h.post(t, der)
	if r := old.parse(t, body); r.Status != ocsp.Revoked {
		t.Errorf("%+v", r)
	}
}

// TestRevocationIsSeen revokes while many ask: who asks after the call returned
// is never told that the certificate is good.
func TestRevocationIsSeen(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	const n = 40
	var serials [n][]byte
	var revoked [n]atomic.Bool
	for i := range serials {
		serials[i] = c.issue(t, 90)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	for w := range 4 {
		wg.Go(func() {
			for k := w; !stop.Load(); k++ {
				i := k % n
				q := request{}
				x := query{serials: serials[i : i+1], hash: k % 4}
				if k%3 == 0 {
					x.nonce = []byte{byte(k)}
				}
				if !q.parse(c.ask(x)) {
					t.Error("not parsed")
					return
				}
				must := revoked[i].Load()
				a, err := h.find(t.Context(), &q)
				if err != nil || must && a.label != label(1) {
					t.Errorf("%v, %v", a, err)
					return
				}
			}
		})
	}
	for i := range serials {
		c.revoke(t, serials[i], pca.RevocationReason_SUPERSEDED)
		revoked[i].Store(true)
		body, _ := h.post(t, c.ask(query{serials: serials[i : i+1]}))
		if got := states(t, body); got != "a1" {
			t.Errorf("%d: %s", i, got)
		}
	}
	stop.Store(true)
	wg.Wait()
}

// TestTurn: what is revoked while an answer waits for its turn is in it, and no
// signature was for nothing.
func TestTurn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	registry := prometheus.NewRegistry()
	h.cfg.Registerer = registry
	h.open(t)
	serial := c.issue(t, 90)
	h.post(t, c.ask(query{serials: [][]byte{c.cert.Serial}}))
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	var body []byte
	var wg sync.WaitGroup
	wg.Go(func() { body, _ = h.post(t, c.ask(query{serials: [][]byte{serial}})) })
	for h.waiting.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	c.revoke(t, serial, pca.RevocationReason_SUPERSEDED)
	for range cap(h.slots) {
		<-h.slots
	}
	wg.Wait()
	if got := states(t, body); got != "a1" {
		t.Errorf("states %s", got)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if n := f.GetMetric()[0].GetHistogram().GetSampleCount(); f.GetName() == "pca_ocsp_sign_duration_seconds" && n != 2 {
			t.Errorf("%d signatures for two answers", n)
		}
	}
}

// TestOverload answers tryLater when too much waits, but not what is cached. What
// only one client can use is refused first.
func TestOverload(t *testing.T) {
	t.Parallel()
	h := newHouse(t, "aws")
	c := h.p256(t)
	a, b := c.issue(t, 90), c.issue(t, 90)
	h.waiting.Store(maxWaiting / 2)
	h.post(t, c.ask(query{serials: [][]byte{a}}))
	for what, q := range map[string]query{"a nonce": {serials: [][]byte{a}, nonce: []byte("n")}, "two": {serials: [][]byte{a, b}}} {
		body, header := h.post(t, c.ask(q))
		wantCode(t, what, body, header, tryLater)
	}
	h.waiting.Store(maxWaiting)
	body, _ := h.post(t, c.ask(query{serials: [][]byte{a}}))
	c.parse(t, body)
	body, header := h.post(t, c.ask(query{serials: [][]byte{b}}))
	wantCode(t, "too many", body, header, tryLater)
}

// TestCache keeps what was used last, within its bound.
func TestCache(t *testing.T) {
	t.Parallel()
	c := newCache(4 * (512 + 1000 + 2))
	yes := func() bool { return true }
	for _, key := range []string{"a", "b", "c", "d"} {
		c.put(&answer{body: make([]byte, 1000), key: key}, yes)
	}
	c.get([]byte("a"))
	c.put(&answer{body: make([]byte, 1000), key: "e"}, yes)
	c.put(&answer{body: make([]byte, 1000), key: "e"}, yes)
	if c.get([]byte("b")) != nil || c.get([]byte("a")) == nil || len(c.answers) != 4 {
		t.Errorf("%d kept", len(c.answers))
	}
	if c.put(&answer{key: "a"}, func() bool { return false }) || c.get([]byte("a")) == nil {
		t.Error("what is not current was put")
	}
	c.put(&answer{body: make([]byte, 1<<20), key: "large"}, yes)
	c.drop([]string{"a", "x"})
	if len(c.answers) != 0 || c.bytes != 0 || c.ring.newer != &c.ring || c.ring.older != &c.ring {
		t.Errorf("%d kept, %d bytes", len(c.answers), c.bytes)
	}
}

// FuzzRequest holds the parser against Go's, which reads one entry.
func FuzzRequest(f *testing.F) {
	id := issuerIDs([]byte("name"), []byte("key"))[0]
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for range 2 {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(id); b.AddBytes([]byte(integer([]byte{0x80}))) })
					})
				}
			})
			b.AddASN1(contextTag(2), func(b *cryptobyte.Builder) {
				b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(nonceExtension("nonce")) })
			})
		})
	})
	f.Add(b.BytesOrPanic())
	f.Add([]byte("0\x00"))
	f.Fuzz(func(t *testing.T, der []byte) {
		var q request
		q.fromPath("/" + string(der))
		q = request{}
		if !q.parse(der) {
			return
		}
		for _, id := range q.certIDs() {
			if n := id.magnitude(); n != nil && string(id.issuer)+integer(n) != string(id.content) {
				t.Errorf("%x is not %x with %x", id.content, id.issuer, n)
			}
		}
		if len(q.nonce) > maxNonce || q.nonce != nil && len(q.nonce) == 0 {
			t.Errorf("nonce %x", q.nonce)
		}
		one, err := ocsp.ParseRequest(der)
		if n := q.one[0].magnitude(); err == nil && n != nil && one.SerialNumber.Cmp(number(n)) != 0 {
			t.Errorf("serial %x, Go reads %x", n, one.SerialNumber)
		}
		var again request
		if !again.fromPath("/ocsp/"+base64.StdEncoding.EncodeToString(der)) || !bytes.Equal(again.one[0].content, q.one[0].content) {
			t.Errorf("by GET something else than by POST: %x", der)
		}
	})
}
