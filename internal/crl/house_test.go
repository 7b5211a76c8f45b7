package crl

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/prometheus/client_golang/prometheus"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/local"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

const (
	testAccount = "123456789012"
	testBucket  = "crl-bucket"
	testCA      = "11111111-2222-3333-4444-555555555555"
	day         = 24 * time.Hour
)

var discard = slog.New(slog.DiscardHandler)

// house is the real store, log, keystore and embedded bucket service, with one
// CA, its real certificate, and a clock that tests turn.
type house struct {
	*Service
	t        *testing.T
	cfg      Config
	db       *sqlite.DB
	log      *certlog.Log
	keys     *keystore.Store
	buckets  *local.Service
	owner    http.RoundTripper
	s3       *s3.Client
	registry *prometheus.Registry
	serial   uint64

	mu     sync.Mutex
	now    time.Time
	ca     ca.Authority
	spki   []byte
	broken func(*http.Request) bool // the bucket service is not there for it
	cut    error                    // of UseKey, once the entry is committed
	puts   int
}

type nobody struct{}

func (nobody) Secret(context.Context, string) (string, bool, error) { return "", false, nil }

func (nobody) Principal(context.Context, string, string) (*iam.Principal, error) {
	return nil, iam.ErrInvalidToken
}

// newHouse is one whose CA has CRLs configured.
func newHouse(t *testing.T, crl pca.CrlConfiguration, change ...func(*house)) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{t: t, now: time.Date(2026, 11, 22, 10, 0, 0, 123e6, time.UTC)}
	var err error
	if h.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "store.db"), Log: discard}); err != nil {
		t.Fatal(err)
	}
	if h.keys, err = keystore.Open(keystore.Config{Dir: filepath.Join(dir, "keys"), MasterKey: keystore.MasterKey{1}}); err != nil {
		t.Fatal(err)
	}
	if h.buckets, err = local.Open(local.Config{Dir: filepath.Join(dir, "buckets"), Credentials: nobody{}, Log: discard}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(h.buckets.Close(), h.db.Close()); err != nil {
			t.Error(err)
		}
	})
	h.log = certlog.New(certlog.Config{Store: h.db, Log: discard})
	all, err := iam.ParsePolicy([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	h.owner = h.buckets.Transport(&iam.Principal{Account: testAccount, ARN: "arn:aws:iam::" + testAccount + ":root", ID: testAccount, Policies: []*iam.Policy{all}})
	h.s3 = s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("https://bucket.internal"), UsePathStyle: true,
		Credentials: aws.AnonymousCredentials{}, HTTPClient: &http.Client{Transport: h.owner},
	})
	h.bucket(testBucket)
	h.cfg = Config{
		Dir: filepath.Join(dir, "crl"), Records: h.db, Revocations: h.db, Authorities: h, Log: discard, Now: h.clock,
		URL:  func(bucket, key string, _ bool) string { return "http://127.0.0.1/" + bucket + "/" + key },
		Find: func(context.Context, string) (string, string, error) { return h.record().ARN, h.record().Account, nil },
		CAs: func(_ context.Context, _ string, _ time.Time, after string, _ int) (all []*store.CertificateAuthority, err error) {
			if rec := h.record(); after == "" && rec != nil {
				all = append(all, rec)
			}
			return all, nil
		},
		Destination: func(_ context.Context, account, arn string) (*bucket.Client, error) {
			return bucket.New(bucket.Config{Transport: h.wire(h.buckets.Transport(bucket.Principal(account, arn))), Owner: h.wire(h.owner)})
		},
	}
	h.ca = ca.Authority{Status: pca.CertificateAuthorityStatus_ACTIVE, Record: &store.CertificateAuthority{
		ID: testCA, ARN: "arn:aws:acm-pca:us-east-1:" + testAccount + ":certificate-authority/" + testCA, Account: testAccount,
		Type: pca.CertificateAuthorityType_ROOT, Status: pca.CertificateAuthorityStatus_ACTIVE, Version: 1,
		Configuration: pca.CertificateAuthorityConfiguration{
			KeyAlgorithm: pca.KeyAlgorithm_EC_prime256v1, SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA,
			Subject: pca.ASN1Subject{CommonName: "Test Root", Organization: "Example", Country: "DE"},
		},
		Revocation: pca.RevocationConfiguration{CrlConfiguration: configured(crl)},
	}}
	for _, f := range change {
		f(h)
	}
	h.install()
	h.append(certlog.Entry{Type: certlog.TypeGenesis, Time: 1, Label: []byte("test"), Extra: []byte("key")})
	h.open()
	return h
}

func configured(crl pca.CrlConfiguration) *pca.CrlConfiguration {
	crl.Enabled = true
	if crl.S3BucketName == "" {
		crl.S3BucketName = testBucket
	}
	if crl.ExpirationInDays == 0 {
		crl.ExpirationInDays = 7
	}
	return &crl
}

// open makes the Service, as a start of the server does.
func (h *house) open() {
	h.t.Helper()
	h.registry = prometheus.NewRegistry()
	h.cfg.Registerer = h.registry
	var err error
	if h.Service, err = New(h.cfg); err != nil {
		h.t.Fatal(err)
	}
}

// install gives the CA its next certificate.
func (h *house) install() {
	h.t.Helper()
	rec := h.ca.Record
	key, err := h.keys.Signer(h.t.Context(), testCA)
	if rec.KeyID == "" {
		key, err = h.keys.Generate(h.t.Context(), testCA, string(rec.Configuration.KeyAlgorithm))
	}
	if err != nil {
		h.t.Fatal(err)
	}
	rec.KeyID = testCA
	partition := "aws"
	if rec.Configuration.KeyAlgorithm == pca.KeyAlgorithm_SM2 {
		partition = "aws-cn"
	}
	csr, err := issuance.CreateCSR(key, &rec.Configuration, false)
	if err != nil {
		h.t.Fatal(err)
	}
	template, err := issuance.LookupTemplate("arn:"+partition+":acm-pca:::template/RootCACertificate/V1", partition)
	if err != nil {
		h.t.Fatal(err)
	}
	issuer, err := issuance.NewIssuer(issuance.IssuerConfig{Type: rec.Type, Signer: key, Partition: partition})
	if err != nil {
		h.t.Fatal(err)
	}
	issued, err := issuer.Issue(issuance.Request{
		Template: template, CSR: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), SigningAlgorithm: rec.Configuration.SigningAlgorithm,
		Validity: pca.Validity{Type: pca.ValidityPeriodType_YEARS, Value: 10}, Now: h.clock(), Serial: [16]byte{1, byte(h.ca.Generation)},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	own, err := issuance.ReadCertificate(issued.DER)
	if err != nil {
		h.t.Fatal(err)
	}
	h.change(func(a *ca.Authority) {
		a.Certificate, a.Generation = issued.DER, a.Generation+1
		a.Record.Installed = a.Generation
		h.spki = own.SPKI
	})
}

// bucket makes a bucket that CAs may write into.
func (h *house) bucket(name string) {
	h.t.Helper()
	if _, err := h.s3.CreateBucket(h.t.Context(), &s3.CreateBucketInput{Bucket: &name, ObjectOwnership: types.ObjectOwnershipBucketOwnerPreferred}); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.s3.DeletePublicAccessBlock(h.t.Context(), &s3.DeletePublicAccessBlockInput{Bucket: &name}); err != nil {
		h.t.Fatal(err)
	}
	h.policy(name, string(bucket.PolicyFor(name, "", "")))
}

func (h *house) policy(name, text string) {
	h.t.Helper()
	if _, err := h.s3.PutBucketPolicy(h.t.Context(), &s3.PutBucketPolicyInput{Bucket: &name, Policy: &text}); err != nil {
		h.t.Fatal(err)
	}
}

// wire is what lies between a Service and the buckets.
func (h *house) wire(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		h.mu.Lock()
		broken := h.broken
		if r.Method == http.MethodPut {
			h.puts++
		}
		h.mu.Unlock()
		if broken != nil && broken(r) { // not an error that is tried again at once, for the test's sake
			return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
		}
		return next.RoundTrip(r)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

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

// change makes a new record of the CA, as its Service does, and tells of it when
// there is somebody to tell.
func (h *house) change(f func(*ca.Authority)) {
	h.mu.Lock()
	rec := *h.ca.Record
	rec.Version++
	h.ca.Record = &rec
	f(&h.ca)
	rec.Status = h.ca.Status
	h.mu.Unlock()
	if h.Service != nil {
		h.Changed(&rec)
	}
}

func (h *house) configure(crl pca.CrlConfiguration) {
	h.change(func(a *ca.Authority) {
		a.Record.Revocation.CrlConfiguration = configured(crl)
	})
}

func (h *house) record() *store.CertificateAuthority {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ca.Record
}

// Authority and UseKey make a house an Authorities.
func (h *house) Authority(_ context.Context, id string) (ca.Authority, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id != testCA || h.ca.Record == nil {
		return ca.Authority{}, pca.Errorf(pca.ResourceNotFoundException, "no such CA")
	}
	return h.ca, nil
}

func (h *house) UseKey(ctx context.Context, id string, sign func(a ca.Authority, key crypto.Signer) (certlog.Record, error)) (uint64, error) {
	a, err := h.Authority(ctx, id)
	if err != nil {
		return 0, err
	}
	key, err := h.keys.Signer(ctx, testCA)
	if err != nil {
		return 0, err
	}
	rec, err := sign(a, key)
	if err != nil {
		return 0, err
	}
	index, err := h.log.Append(ctx, id, rec)
	if err == nil {
		err = h.cut
	}
	return index, err
}

func (h *house) append(e certlog.Entry, rows ...certlog.Row) {
	h.t.Helper()
	b, err := e.Append(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.log.Append(h.t.Context(), testCA, certlog.Record{Entry: b, Rows: rows}); err != nil {
		h.t.Fatal(err)
	}
}

// issue issues a certificate that is valid for so long, as ca does.
func (h *house) issue(validity time.Duration) *store.Certificate {
	h.t.Helper()
	h.mu.Lock()
	h.serial++
	serial := binary.BigEndian.AppendUint64([]byte{0x81, 2, 3, 4, 5, 6, 7, 8}, h.serial)
	now := h.now
	h.mu.Unlock()
	c := &store.Certificate{CA: testCA, Serial: serial, Generation: 1, NotAfter: now.Add(validity).Truncate(time.Second), DER: serial}
	if rec := h.record(); rec.Revocation.CrlConfiguration.Enabled {
		var err error
		if c.CRL, _, err = h.Bind(h.t.Context(), rec); err != nil {
			h.t.Fatal(err)
		}
	}
	h.append(certlog.Entry{
		Type: certlog.TypeIssue, Time: now.UnixMilli(), Serial: serial, CertSHA256: sha256.Sum256(serial), NotBefore: now.Unix(), NotAfter: c.NotAfter.Unix(),
		Account: []byte(testAccount), TemplateARN: []byte("t"), Subject: []byte("CN=x"),
	}, c)
	return c
}

func (h *house) revoke(c *store.Certificate, reason uint8) {
	h.t.Helper()
	now := h.clock().UnixMilli()
	h.append(certlog.Entry{Type: certlog.TypeRevoke, Time: now, Serial: c.Serial, IssueIndex: c.Index, Reason: reason},
		&store.Revocation{CA: testCA, IssueIndex: c.Index, Time: now, Reason: reason, Serial: c.Serial, NotAfter: c.NotAfter, CRL: c.CRL})
}

// tick is what Run does at each look, to its end.
func (h *house) tick() {
	h.t.Helper()
	var lists sync.WaitGroup
	h.follow(h.t.Context(), &lists)
	lists.Wait()
}

// settle looks until nothing is due.
func (h *house) settle() {
	h.t.Helper()
	for range 20 {
		h.tick()
		due, err := h.db.DueCRLs(h.t.Context(), h.clock(), 1000)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(due) == 0 {
			return
		}
		h.pass(look)
	}
	h.t.Fatal("something is always due")
}

// metric is the value of a metric, of all with these labels.
func (h *house) metric(name string, labels ...string) (sum float64) {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var has []string
			for _, l := range m.GetLabel() {
				has = append(has, l.GetValue())
			}
			if f.GetName() == name && !slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(has, l) }) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func (h *house) all() []*store.CRL {
	h.t.Helper()
	lists, err := h.lists(h.t.Context(), testCA)
	if err != nil {
		h.t.Fatal(err)
	}
	return lists
}

// object reads what is in a bucket; nil when nothing is.
func (h *house) object(name, key string) ([]byte, *s3.GetObjectOutput) {
	h.t.Helper()
	out, err := h.s3.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &name, Key: &key})
	if err != nil {
		var re interface{ HTTPStatusCode() int }
		if errors.As(err, &re) && re.HTTPStatusCode() == http.StatusNotFound {
			return nil, nil
		}
		h.t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return b, out
}

// read reads a list of the bucket, with the house's reader and, where it can,
// Go's, and checks its signature, its entry in the log and its record.
func (h *house) read(c *store.CRL, delta bool) *issuance.CRL {
	h.t.Helper()
	der, _ := h.object(c.Bucket, Key(c, delta))
	if der == nil {
		h.t.Fatalf("no object %s", Key(c, delta))
	}
	list, err := issuance.ReadCRL(bytes.NewReader(der), int64(len(der)))
	if err != nil {
		h.t.Fatal(err)
	}
	if err := list.SignedBy(h.spki); err != nil {
		h.t.Fatal(err)
	}
	signed := signedOf(c, delta)
	sum := sha256.Sum256(der)
	if !bytes.Equal(sum[:], signed.SHA256) || int64(len(der)) != signed.Bytes || signed.WrittenAt.IsZero() {
		h.t.Fatalf("%s is not what was signed", Key(c, delta))
	}
	err = h.db.LogEntries(h.t.Context(), testCA, signed.Index, signed.Index+1, func(_ uint64, b []byte) error {
		var e certlog.Entry
		if err := e.Decode(b); err != nil {
			return err
		}
		if e.Type != certlog.TypeCRL || e.Digest != sum || e.Covered != signed.Covered || e.NextUpdate != uint64(list.NextUpdate.Unix()) || !bytes.Equal(e.Number, list.Number) {
			return fmt.Errorf("its entry is %+v", e)
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// goList reads a list of the bucket with Go's reader.
func (h *house) goList(c *store.CRL, delta bool) *x509.RevocationList {
	h.t.Helper()
	h.read(c, delta)
	der, _ := h.object(c.Bucket, Key(c, delta))
	list, err := x509.ParseRevocationList(der)
	if err != nil {
		h.t.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(h.ca.Certificate)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := list.CheckSignatureFrom(issuer); err != nil {
		h.t.Fatal(err)
	}
	return list
}

// serials are what a list lists, newest first.
func (h *house) serials(c *store.CRL, delta bool) (serials []string) {
	h.t.Helper()
	err := h.read(c, delta).Entries(func(e *issuance.CRLEntry) error {
		serials = append(serials, fmt.Sprintf("%x", e.Serial))
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return serials
}

// lists fails unless a list lists exactly these certificates, in this order.
func (h *house) has(c *store.CRL, delta bool, certs ...*store.Certificate) {
	h.t.Helper()
	var want []string
	for _, cert := range certs {
		want = append(want, fmt.Sprintf("%x", cert.Serial))
	}
	if got := h.serials(c, delta); !slices.Equal(got, want) {
		h.t.Errorf("%s lists %s, want %s", Key(c, delta), strings.Join(got, " "), strings.Join(want, " "))
	}
}
