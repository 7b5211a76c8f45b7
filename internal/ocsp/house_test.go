package ocsp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

// house is a responder behind HTTP over a real store, log, keystore and CA
// service, with a clock that the test moves.
type house struct {
	*Service
	ca   *ca.Service
	db   *sqlite.DB
	keys *keystore.Store
	dir  string // of keys
	cfg  Config
	http *httptest.Server
	mu   sync.Mutex
	now  time.Time
	fail error // of IssueResponder
}

func newHouse(t *testing.T, partition string) *house {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "chirograph.db"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{db: db, dir: filepath.Join(dir, "keys"), now: time.Now()}
	keys := h.openKeys(t)
	h.cfg = Config{Records: db, Authorities: h, Keys: keys, Now: h.clock}
	h.ca, err = ca.New(t.Context(), ca.Config{
		Partition: partition, Region: "us-east-1", ServerName: "test",
		Records: db, Overview: db, Certificates: db, Entries: certlog.New(certlog.Config{Store: db}), Keys: keys,
		OCSPURL:       func() string { return "http://ocsp.example.com" },
		Changed:       func(rec *store.CertificateAuthority) { h.Changed(rec) },
		Revoked:       func(ca string, serial []byte) { h.Revoked(ca, serial) },
		Caller:        func(context.Context) ca.Caller { return ca.Caller{Account: "123456789012"} },
		AuthorizeAlso: func(context.Context, string, string) error { return nil },
		PageKey:       sha256.Sum256([]byte("test")),
		Log:           slog.New(slog.DiscardHandler), Now: h.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	h.open(t)
	h.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(func() {
		h.http.Close()
		h.ca.Close()
		db.Close()
	})
	return h
}

func (h *house) openKeys(t *testing.T) *keystore.Store {
	t.Helper()
	var err error
	if h.keys, err = keystore.Open(keystore.Config{Dir: h.dir, MasterKey: keystore.MasterKey{1}}); err != nil {
		t.Fatal(err)
	}
	return h.keys
}

// open makes the Service anew, as after a start of the server.
func (h *house) open(t *testing.T) {
	t.Helper()
	var err error
	if h.Service, err = New(t.Context(), h.cfg); err != nil {
		t.Fatal(err)
	}
}

// IssueResponder makes a house an Authorities that can fail.
func (h *house) IssueResponder(ctx context.Context, r *store.Responder) ([]byte, error) {
	if h.fail != nil {
		return nil, h.fail
	}
	return h.ca.IssueResponder(ctx, r)
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// testCA is a CA of a house as a test knows it.
type testCA struct {
	h                *house
	arn, id, signing string
	cert             *issuance.Certificate
	der              []byte
}

func (h *house) create(t *testing.T, key pca.KeyAlgorithm, signing pca.SigningAlgorithm) *testCA {
	t.Helper()
	out, err := h.ca.CreateCertificateAuthority(t.Context(), &pca.CreateCertificateAuthorityRequest{
		CertificateAuthorityType: pca.CertificateAuthorityType_ROOT,
		CertificateAuthorityConfiguration: pca.CertificateAuthorityConfiguration{
			KeyAlgorithm: key, SigningAlgorithm: signing, Subject: pca.ASN1Subject{CommonName: "Test Root", Organization: "Example"},
		},
		RevocationConfiguration: &pca.RevocationConfiguration{OcspConfiguration: &pca.OcspConfiguration{Enabled: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := out.CertificateAuthorityArn
	c := &testCA{h: h, arn: arn, id: arn[strings.LastIndexByte(arn, '/')+1:], signing: string(signing)}
	for {
		d, err := h.ca.DescribeCertificateAuthority(t.Context(), &pca.DescribeCertificateAuthorityRequest{CertificateAuthorityArn: arn})
		if err != nil {
			t.Fatal(err)
		}
		if d.CertificateAuthority.Status != pca.CertificateAuthorityStatus_CREATING {
			break
		}
		time.Sleep(time.Millisecond)
	}
	c.renew(t, "RootCACertificate", nil)
	return c
}

// renew signs and installs a root certificate of ten years.
func (c *testCA) renew(t *testing.T, template string, subject *pca.ASN1Subject) {
	t.Helper()
	csr, err := c.h.ca.GetCertificateAuthorityCsr(t.Context(), &pca.GetCertificateAuthorityCsrRequest{CertificateAuthorityArn: c.arn})
	if err != nil {
		t.Fatal(err)
	}
	root := c.issueWith(t, []byte(csr.Csr), template, 3650, subject)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
	if _, err := c.h.ca.ImportCertificateAuthorityCertificate(t.Context(), &pca.ImportCertificateAuthorityCertificateRequest{CertificateAuthorityArn: c.arn, Certificate: text}); err != nil {
		t.Fatal(err)
	}
	c.der = root
	if c.cert, err = issuance.ReadCertificate(root); err != nil {
		t.Fatal(err)
	}
}

func (c *testCA) issueWith(t *testing.T, csr []byte, template string, days int64, subject *pca.ASN1Subject) (der []byte) {
	t.Helper()
	var api *pca.ApiPassthrough
	if subject != nil {
		api = &pca.ApiPassthrough{Subject: subject}
	}
	out, err := c.h.ca.IssueCertificate(t.Context(), &pca.IssueCertificateRequest{
		CertificateAuthorityArn: c.arn, Csr: csr, SigningAlgorithm: pca.SigningAlgorithm(c.signing), ApiPassthrough: api,
		TemplateArn: "arn:aws:acm-pca:::template/" + template + "/V1", Validity: pca.Validity{Type: pca.ValidityPeriodType_DAYS, Value: days},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.h.ca.GetCertificate(t.Context(), &pca.GetCertificateRequest{CertificateAuthorityArn: c.arn, CertificateArn: out.CertificateArn})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(got.Certificate))
	return block.Bytes
}

// csrText is a request of one key, made once.
var csrText = sync.OnceValue(func() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.example.com"}}, key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
})

// issue issues a certificate and gives its serial number.
func (c *testCA) issue(t *testing.T, days int64) (serial []byte) {
	t.Helper()
	cert, err := issuance.ReadCertificate(c.issueWith(t, csrText(), "EndEntityCertificate", days, nil))
	if err != nil {
		t.Fatal(err)
	}
	return cert.Serial
}

func (c *testCA) revoke(t *testing.T, serial []byte, reason pca.RevocationReason) {
	t.Helper()
	if _, err := c.h.ca.RevokeCertificate(t.Context(), &pca.RevokeCertificateRequest{
		CertificateAuthorityArn: c.arn, CertificateSerial: new(big.Int).SetBytes(serial).Text(16), RevocationReason: reason,
	}); err != nil {
		t.Error(err)
	}
}

// query is what a test asks; the zero value of the rest asks as most clients do.
type query struct {
	serials    [][]byte
	hash       int    // index into the hashes of CertIDs
	parameters int    // 0: NULL, 1: absent
	nonce      []byte // content of its OCTET STRING
	extension  []byte // one more, DER
	entry      []byte // an extension of each entry, DER
	tail       []byte // more of the OCSPRequest, such as a signature
	version    []byte
}

// ask encodes a request about certificates of c.
func (c *testCA) ask(q query) []byte {
	bits, err := keyBits(c.cert.SPKI)
	if err != nil {
		panic(err)
	}
	id := issuerIDs(c.cert.RawSubject, bits)[2*q.hash+q.parameters]
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(q.version)
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, serial := range q.serials {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
							b.AddBytes(id)
							b.AddBytes([]byte(integer(serial)))
						})
						if q.entry != nil {
							b.AddASN1(contextTag(0), func(b *cryptobyte.Builder) {
								b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(q.entry) })
							})
						}
					})
				}
			})
			if q.nonce != nil || q.extension != nil {
				b.AddASN1(contextTag(2), func(b *cryptobyte.Builder) {
					b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
						if q.nonce != nil {
							b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
								addBytes(b, asn1.OBJECT_IDENTIFIER, []byte(oidNonce))
								b.AddASN1(asn1.OCTET_STRING, func(b *cryptobyte.Builder) { b.AddASN1OctetString(q.nonce) })
							})
						}
						b.AddBytes(q.extension)
					})
				})
			}
		})
		b.AddBytes(q.tail)
	})
	return b.BytesOrPanic()
}

// post sends a request and gives the answer.
func (h *house) post(t *testing.T, der []byte) (body []byte, header http.Header) {
	t.Helper()
	resp, err := http.Post(h.http.URL, requestType, bytes.NewReader(der))
	if err != nil {
		t.Fatal(err)
	}
	return h.read(t, resp)
}

// get is post by GET, with the headers.
func (h *house) get(t *testing.T, der []byte) (body []byte, header http.Header) {
	t.Helper()
	resp, err := http.Get(h.http.URL + "/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(der)))
	if err != nil {
		t.Fatal(err)
	}
	return h.read(t, resp)
}

func (h *house) read(t *testing.T, resp *http.Response) ([]byte, http.Header) {
	t.Helper()
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != responseType {
		t.Fatalf("%s, %s, %v", resp.Status, resp.Header.Get("Content-Type"), err)
	}
	return body, resp.Header
}

var errFault = errors.New("a fault that a test asked for")

func number(magnitude []byte) *big.Int { return new(big.Int).SetBytes(magnitude) }

func sha1Of(b []byte) []byte {
	sum := sha1.Sum(b)
	return sum[:]
}

// content is a CertID as an answer repeats it.
func (c *testCA) content(serial []byte, hash, parameters int) []byte {
	var q request
	if !q.parse(c.ask(query{serials: [][]byte{serial}, hash: hash, parameters: parameters})) {
		panic("the test's own request")
	}
	return q.one[0].content
}

func (c *testCA) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.der})
}
