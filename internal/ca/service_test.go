package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store/sqlite"
)

const rootTemplate = "arn:aws:acm-pca:::template/RootCACertificate/V1"

// house is a Service over a real store, log and keystore, with a clock that
// the test moves and a log that it can make fail.
type house struct {
	*Service
	db  *sqlite.DB
	dir string
	log *faultyLog

	mu    sync.Mutex
	clock time.Time
}

// faultyLog passes on to a real log unless a fault is set. A fault before the
// commit stores nothing; one after it stores and loses the answer.
type faultyLog struct {
	Log
	mu            sync.Mutex
	before, after error
}

func (l *faultyLog) set(before, after error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before, l.after = before, after
}

func (l *faultyLog) Append(ctx context.Context, ca string, r certlog.Record) (uint64, error) {
	l.mu.Lock()
	before, after := l.before, l.after
	l.mu.Unlock()
	if before != nil {
		return 0, before
	}
	index, err := l.Log.Append(ctx, ca, r)
	return index, errors.Join(err, after)
}

func open(t *testing.T, dir string, change ...func(*Config)) *house {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "chirograph.db"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keystore.Open(keystore.Config{Dir: filepath.Join(dir, "keys"), MasterKey: keystore.MasterKey{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{db: db, dir: dir, clock: time.Now(), log: &faultyLog{Log: certlog.New(certlog.Config{Store: db})}}
	cfg := Config{
		Partition: "aws", Region: "us-east-1", ServerName: "pca.example.com",
		Records: db, Overview: db, Certificates: db, Entries: h.log, Keys: keys,
		Caller:        func(context.Context) Caller { return Caller{Account: "123456789012"} },
		AuthorizeAlso: func(context.Context, string, string) error { return nil },
		PageKey:       sha256.Sum256([]byte("test")),
		Log:           slog.New(slog.DiscardHandler),
		Now: func() time.Time {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.clock
		},
	}
	for _, f := range change {
		f(&cfg)
	}
	if h.Service, err = New(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.close)
	return h
}

func (h *house) close() {
	h.Close()
	h.db.Close()
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.clock = h.clock.Add(d)
}

func (h *house) create(t *testing.T, typ pca.CertificateAuthorityType) string {
	t.Helper()
	in := createRequest()
	in.CertificateAuthorityType = typ
	out, err := h.CreateCertificateAuthority(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	h.creations.Wait()
	return out.CertificateAuthorityArn
}

func createRequest() *pca.CreateCertificateAuthorityRequest {
	return &pca.CreateCertificateAuthorityRequest{
		CertificateAuthorityType: pca.CertificateAuthorityType_ROOT,
		CertificateAuthorityConfiguration: pca.CertificateAuthorityConfiguration{
			KeyAlgorithm: pca.KeyAlgorithm_EC_prime256v1, SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA,
			Subject: pca.ASN1Subject{CommonName: "Test"},
		},
	}
}

func (h *house) csr(t *testing.T, ca string) []byte {
	t.Helper()
	out, err := h.GetCertificateAuthorityCsr(t.Context(), &pca.GetCertificateAuthorityCsrRequest{CertificateAuthorityArn: ca})
	if err != nil {
		t.Fatal(err)
	}
	return []byte(out.Csr)
}

func (h *house) issue(t *testing.T, ca string, csr []byte, template string, seconds int64) (string, error) {
	t.Helper()
	h.mu.Lock()
	end := h.clock.Unix() + seconds
	h.mu.Unlock()
	out, err := h.IssueCertificate(t.Context(), &pca.IssueCertificateRequest{
		CertificateAuthorityArn: ca, Csr: csr, SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA, TemplateArn: template,
		Validity: pca.Validity{Type: pca.ValidityPeriodType_ABSOLUTE, Value: end},
	})
	if err != nil {
		return "", err
	}
	return out.CertificateArn, nil
}

func (h *house) get(ca, arn string) (*pca.GetCertificateResponse, error) {
	return h.GetCertificate(context.Background(), &pca.GetCertificateRequest{CertificateAuthorityArn: ca, CertificateArn: arn})
}

func (h *house) activate(t *testing.T, ca string, seconds int64) {
	t.Helper()
	arn, err := h.issue(t, ca, h.csr(t, ca), rootTemplate, seconds)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := h.get(ca, arn)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.ImportCertificateAuthorityCertificate(t.Context(), &pca.ImportCertificateAuthorityCertificateRequest{CertificateAuthorityArn: ca, Certificate: []byte(cert.Certificate)})
	if err != nil {
		t.Fatal(err)
	}
}

func (h *house) revoke(ca, arn string) error {
	_, err := h.RevokeCertificate(context.Background(), &pca.RevokeCertificateRequest{
		CertificateAuthorityArn: ca, CertificateSerial: arn[strings.LastIndexByte(arn, '/')+1:], RevocationReason: pca.RevocationReason_SUPERSEDED,
	})
	return err
}

func (h *house) status(t *testing.T, ca string) pca.CertificateAuthorityStatus {
	t.Helper()
	out, err := h.DescribeCertificateAuthority(t.Context(), &pca.DescribeCertificateAuthorityRequest{CertificateAuthorityArn: ca})
	if err != nil {
		t.Fatal(err)
	}
	return out.CertificateAuthority.Status
}

func wantCode(t *testing.T, err error, code pca.Code) {
	t.Helper()
	e, ok := errors.AsType[*pca.Error](err)
	if !ok || e.Code != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

func leafCSR(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// entries counts the entries of a CA's log by type.
func (h *house) entries(t *testing.T, ca string) map[certlog.EntryType]int {
	t.Helper()
	id := ca[strings.LastIndexByte(ca, '/')+1:]
	head, err := h.log.Head(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	count := map[certlog.EntryType]int{}
	err = h.db.LogEntries(t.Context(), id, 0, head.Size, func(_ uint64, b []byte) error {
		var e certlog.Entry
		if err := e.Decode(b); err != nil {
			return err
		}
		count[e.Type]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// TestNothingLeavesBeforeItsEntry is the one invariant at its root: when the
// log does not take the entry, nobody gets the certificate or the CSR.
func TestNothingLeavesBeforeItsEntry(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	root := h.create(t, pca.CertificateAuthorityType_ROOT)
	if n := h.entries(t, root); n[certlog.TypeGenesis] != 1 || n[certlog.TypeSign] != 2 {
		t.Errorf("a new CA's log has %v", n) // the audit key's endorsement and the CSR
	}
	h.activate(t, root, 3600)
	csr := leafCSR(t, "leaf.example.com")
	fault := errors.New("disk is full")

	for name, set := range map[string]func(){
		"before": func() { h.log.set(fault, nil) },
		"after":  func() { h.log.set(nil, fault) },
	} {
		set()
		arn, err := h.issue(t, root, csr, "", 60)
		if !errors.Is(err, fault) || arn != "" {
			t.Errorf("a fault %s the commit: %q, %v", name, arn, err)
		}
		if _, ok := errors.AsType[*pca.Error](err); ok {
			t.Errorf("the caller is told of the fault: %v", err)
		}
	}
	h.log.set(nil, nil)
	// Before the commit nothing was stored; after it the certificate exists
	// though nobody received it, and the log says so.
	if n := h.entries(t, root); n[certlog.TypeIssue] != 2 {
		t.Errorf("the log has %d certificates, want the root's and the one whose answer was lost", n[certlog.TypeIssue])
	}
	arn, err := h.issue(t, root, csr, "", 60)
	if err != nil {
		t.Fatal(err)
	}
	h.log.set(fault, nil)
	if err := h.revoke(root, arn); !errors.Is(err, fault) {
		t.Errorf("a revocation that was not stored answers %v", err)
	}
	h.log.set(nil, nil)
	if err := h.revoke(root, arn); err != nil {
		t.Errorf("after the fault: %v", err)
	}
	wantCode(t, h.revoke(root, arn), pca.RequestAlreadyProcessedException)

	h.log.set(fault, nil)
	h.CreateFor = 0 // give up at once
	failed := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.log.set(nil, nil)
	if s := h.status(t, failed); s != pca.CertificateAuthorityStatus_FAILED {
		t.Errorf("a CA whose CSR could not be logged is %s", s)
	}
	_, err = h.GetCertificateAuthorityCsr(t.Context(), &pca.GetCertificateAuthorityCsrRequest{CertificateAuthorityArn: failed})
	wantCode(t, err, pca.InvalidStateException)
	if n := h.entries(t, failed); len(n) != 0 {
		t.Errorf("the log of the failed CA has %v", n)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	root := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, root, 3600)
	csr := leafCSR(t, "leaf.example.com")
	arn, err := h.issue(t, root, csr, "", 3600) // ends with the CA: allowed
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.issue(t, root, csr, "", 3601)
	wantCode(t, err, pca.ValidationException)

	h.pass(time.Hour) // NotAfter itself is still valid
	if s := h.status(t, root); s != pca.CertificateAuthorityStatus_ACTIVE {
		t.Errorf("at NotAfter the status is %s", s)
	}
	h.pass(time.Second)
	if s := h.status(t, root); s != pca.CertificateAuthorityStatus_EXPIRED {
		t.Errorf("after NotAfter the status is %s", s)
	}
	_, err = h.issue(t, root, csr, "", 60)
	wantCode(t, err, pca.InvalidStateException)
	wantCode(t, h.revoke(root, arn), pca.InvalidStateException)
	if _, err := h.get(root, arn); err != nil {
		t.Errorf("a certificate of an expired CA: %v", err)
	}
	// A root renews itself.
	before, err := h.get(root, arn)
	if err != nil {
		t.Fatal(err)
	}
	h.activate(t, root, 7200)
	if s := h.status(t, root); s != pca.CertificateAuthorityStatus_ACTIVE {
		t.Errorf("after its renewal the status is %s", s)
	}
	after, err := h.get(root, arn)
	if err != nil || *after != *before {
		t.Errorf("a renewal changed what GetCertificate answers: %v", err)
	}
	again, err := h.issue(t, root, csr, "", 7200)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := h.get(root, again); err != nil || c.CertificateChain == before.CertificateChain {
		t.Errorf("a certificate issued after the renewal chains to the old certificate (%v)", err)
	}
	h.pass(2*time.Hour - time.Second)
	wantCode(t, h.revoke(root, arn), pca.InvalidRequestException) // the leaf has expired, the CA has not
}

// TestCreationResumes puts a CA into each state in which a crash may leave its birth.
func TestCreationResumes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	var arns []string
	for step := range 3 {
		arn := h.create(t, pca.CertificateAuthorityType_ROOT)
		rec, err := h.db.CA(t.Context(), arn[strings.LastIndexByte(arn, '/')+1:])
		if err != nil {
			t.Fatal(err)
		}
		// All that makeKey did remains but the last update, or, in a record
		// of another name, nothing or the key alone.
		rec.Status, rec.CSR, rec.AuditKey = pca.CertificateAuthorityStatus_CREATING, nil, ""
		if step == 0 {
			if err := h.db.UpdateCA(t.Context(), rec); err != nil {
				t.Fatal(err)
			}
			arns = append(arns, arn)
			continue
		}
		old := rec.ID
		rec.ID = fmt.Sprintf("00000000-0000-4000-8000-00000000000%d", step)
		rec.ARN = strings.Replace(rec.ARN, old, rec.ID, 1)
		rec.KeyID = rec.ID
		if step == 2 {
			if _, err := h.Keys.Generate(t.Context(), rec.KeyID, "EC_prime256v1"); err != nil {
				t.Fatal(err)
			}
		}
		rec.Version = 0
		if err := h.db.CreateCA(t.Context(), rec, nil); err != nil {
			t.Fatal(err)
		}
		arns = append(arns, rec.ARN)
	}
	h.close()
	h = open(t, dir)
	h.creations.Wait()
	for step, arn := range arns {
		if s := h.status(t, arn); s != pca.CertificateAuthorityStatus_PENDING_CERTIFICATE {
			t.Errorf("step %d: the status is %s", step, s)
		}
		if n := h.entries(t, arn); n[certlog.TypeGenesis] != 1 || n[certlog.TypeSign] < 2 {
			t.Errorf("step %d: the log has %v", step, n)
		}
		h.endorsed(t, arn)
		h.activate(t, arn, 3600)
	}
}

// endorsed checks that the CA key endorsed the one audit key of a log, and that
// the log says so.
func (h *house) endorsed(t *testing.T, arn string) {
	t.Helper()
	rec, err := h.db.CA(t.Context(), arn[strings.LastIndexByte(arn, '/')+1:])
	if err != nil {
		t.Fatal(err)
	}
	keys, err := h.db.AuditKeys(t.Context(), rec.ID)
	if err != nil || len(keys) != 1 || keys[0].Verifier != rec.AuditKey {
		t.Fatalf("%+v, %v; the record has %s", keys, err, rec.AuditKey)
	}
	spki, err := issuance.RequestKey(rec.CSR)
	if err != nil {
		t.Fatal(err)
	}
	text := certlog.EndorsementText(sha256.Sum256(spki), h.ServerName+"/audit/"+rec.ID, rec.AuditKey)
	if err := issuance.VerifyText(spki, keys[0].Algorithm, text, keys[0].Endorsement); err != nil {
		t.Error(err)
	}
	err = h.db.LogEntries(t.Context(), rec.ID, keys[0].Index, keys[0].Index+1, func(_ uint64, b []byte) error {
		var e certlog.Entry
		if err := e.Decode(b); err != nil {
			return err
		}
		if e.Digest != sha256.Sum256(text) || string(e.Label) != certlog.LabelEndorsement || string(e.Extra) != certlog.FormatEndorsement(string(keys[0].Algorithm), keys[0].Endorsement) {
			t.Errorf("the endorsement's entry is %+v", e)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCreationWithoutItsKey: a log that names a key never goes on with another.
func TestCreationWithoutItsKey(t *testing.T) {
	t.Parallel()
	for _, lost := range []string{"", "-audit"} {
		dir := t.TempDir()
		h := open(t, dir)
		arn := h.create(t, pca.CertificateAuthorityType_ROOT)
		rec, err := h.db.CA(t.Context(), arn[strings.LastIndexByte(arn, '/')+1:])
		if err != nil {
			t.Fatal(err)
		}
		rec.Status, rec.CSR, rec.AuditKey = pca.CertificateAuthorityStatus_CREATING, nil, ""
		if err := h.db.UpdateCA(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		if err := h.Keys.(*keystore.Store).Delete(t.Context(), rec.KeyID+lost); err != nil {
			t.Fatal(err)
		}
		before := h.entries(t, arn)
		h.close()
		h = open(t, dir)
		h.creations.Wait()
		if s := h.status(t, arn); s != pca.CertificateAuthorityStatus_FAILED {
			t.Errorf("without the key %q the status is %s", lost, s)
		}
		if after := h.entries(t, arn); !maps.Equal(after, before) {
			t.Errorf("without the key %q the log has %v, had %v", lost, after, before)
		}
	}
}

// TestActiveWithoutItsKey: a key that was lost or damaged stops the issuing,
// and nothing else, of that CA alone.
func TestActiveWithoutItsKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	damaged, sound := h.create(t, pca.CertificateAuthorityType_ROOT), h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, damaged, 3600)
	h.activate(t, sound, 3600)
	csr := leafCSR(t, "leaf.example.com")
	arn, err := h.issue(t, damaged, csr, "", 60)
	if err != nil {
		t.Fatal(err)
	}
	list := func() *pca.ListCertificateAuthoritiesResponse {
		out, err := h.ListCertificateAuthorities(t.Context(), &pca.ListCertificateAuthoritiesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	before := list()
	h.close()
	path := filepath.Join(dir, "keys", damaged[strings.LastIndexByte(damaged, '/')+1:]+".key")
	key, err := os.ReadFile(path)
	if err == nil {
		key[len(key)-1] ^= 1
		err = os.WriteFile(path, key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	h = open(t, dir)
	if after := list(); !reflect.DeepEqual(after, before) {
		t.Errorf("the list is %+v, was %+v", after, before)
	}
	if _, err := h.get(damaged, arn); err != nil {
		t.Error(err)
	}
	if err := h.revoke(damaged, arn); err != nil {
		t.Error(err)
	}
	if _, _, err := h.Record(t.Context(), mustARN(t, damaged)); err != nil {
		t.Errorf("for a report: %v", err)
	}
	if _, err := h.issue(t, damaged, csr, "", 60); !errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("issuing without the key: %v", err)
	}
	if _, err := h.issue(t, sound, csr, "", 60); err != nil {
		t.Error(err)
	}
}

func mustARN(t *testing.T, s string) pca.ARN {
	t.Helper()
	arn, err := pca.ParseCAARN(s, "aws")
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

// TestLongestSubject: a subject that no log entry has room for is refused
// before anything is signed; the longest that has room is issued, whoever asks.
func TestLongestSubject(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.Caller = func(context.Context) Caller {
		return Caller{Account: "123456789012", Service: strings.Repeat("s", 128)}
	}
	root := h.create(t, pca.CertificateAuthorityType_ROOT)
	h.activate(t, root, 3600)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr := func(n int) []byte { // each NUL takes three bytes in a report
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{Organization: []string{strings.Repeat("\x00", n)}}}, key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	before := h.entries(t, root)[certlog.TypeIssue]
	const longest = (62<<10 - len("O=")) / 3
	if _, err := h.issue(t, root, csr(longest), "", 60); err != nil {
		t.Error(err)
	}
	_, err = h.issue(t, root, csr(longest+1), "", 60)
	wantCode(t, err, pca.MalformedCSRException)
	if n := h.entries(t, root)[certlog.TypeIssue] - before; n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
}

// TestNameConstraints: as at AWS the call succeeds and the issuance fails.
func TestNameConstraints(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	sub := h.create(t, pca.CertificateAuthorityType_SUBORDINATE)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	parent := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Parent"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	parentDER, err := x509.CreateCertificate(rand.Reader, parent, parent, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(h.csr(t, sub))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	child := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Child"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(12 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, PermittedDNSDomainsCritical: true, PermittedDNSDomains: []string{"example.com"}}
	childDER, err := x509.CreateCertificate(rand.Reader, child, parent, request.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	_, err = h.ImportCertificateAuthorityCertificate(t.Context(), &pca.ImportCertificateAuthorityCertificateRequest{
		CertificateAuthorityArn: sub, Certificate: encode(childDER), CertificateChain: encode(parentDER),
	})
	if err != nil {
		t.Fatal(err)
	}
	inside, err := h.issue(t, sub, leafCSR(t, "www.example.com"), "", 3600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.get(sub, inside); err != nil {
		t.Error(err)
	}
	outside, err := h.issue(t, sub, leafCSR(t, "www.example.org"), "", 3600)
	if err != nil || outside == "" {
		t.Fatalf("a name outside of the constraints: %q, %v", outside, err)
	}
	_, err = h.get(sub, outside)
	wantCode(t, err, pca.RequestFailedException)
	// A token stands for a failed issuance as for any other.
	var arns [2]string
	for i := range arns {
		out, err := h.IssueCertificate(t.Context(), &pca.IssueCertificateRequest{
			CertificateAuthorityArn: sub, Csr: leafCSR(t, "www.example.org"), SigningAlgorithm: pca.SigningAlgorithm_SHA256WITHECDSA,
			Validity: pca.Validity{Type: pca.ValidityPeriodType_ABSOLUTE, Value: now.Unix() + 3600}, IdempotencyToken: "once",
		})
		if err != nil {
			t.Fatal(err)
		}
		arns[i] = out.CertificateArn
	}
	if arns[0] != arns[1] {
		t.Errorf("one token stands for %s and %s", arns[0], arns[1])
	}
	wantCode(t, h.revoke(sub, outside), pca.RequestFailedException)
	h.SyncValidation = true
	_, err = h.issue(t, sub, leafCSR(t, "www.example.org"), "", 3600)
	wantCode(t, err, pca.ValidationException)
	if n := h.entries(t, sub); n[certlog.TypeIssue] != 1 {
		t.Errorf("the log has %d certificates, want 1", n[certlog.TypeIssue])
	}
}

func TestListPages(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	want := map[string]bool{}
	for range 5 {
		want[h.create(t, pca.CertificateAuthorityType_ROOT)] = true
		h.pass(time.Second)
	}
	var token string
	for pages := 1; ; pages++ {
		out, err := h.ListCertificateAuthorities(t.Context(), &pca.ListCertificateAuthoritiesRequest{MaxResults: 2, NextToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range out.CertificateAuthorities {
			if !want[c.Arn] {
				t.Errorf("%s is listed twice or was never made", c.Arn)
			}
			delete(want, c.Arn)
		}
		if token = out.NextToken; token == "" {
			if pages != 3 {
				t.Errorf("%d pages, want 3", pages)
			}
			break
		}
		// A token is for its own call, and unforgeable.
		for _, bad := range []*pca.ListCertificateAuthoritiesRequest{
			{NextToken: token, ResourceOwner: pca.ResourceOwner_OTHER_ACCOUNTS}, {NextToken: token[:len(token)-1]}, {NextToken: "A" + token}, {NextToken: "x"},
		} {
			_, err := h.ListCertificateAuthorities(t.Context(), bad)
			wantCode(t, err, pca.InvalidNextTokenException)
		}
		// SELF is the default, so that naming it is the same call.
		if _, err := h.ListCertificateAuthorities(t.Context(), &pca.ListCertificateAuthoritiesRequest{NextToken: token, ResourceOwner: pca.ResourceOwner_SELF}); err != nil {
			t.Error(err)
		}
		// A CA that is made between two pages comes last.
		if pages == 1 {
			h.create(t, pca.CertificateAuthorityType_ROOT)
			h.pass(time.Second)
			out, err := h.ListCertificateAuthorities(t.Context(), &pca.ListCertificateAuthoritiesRequest{})
			if err != nil {
				t.Fatal(err)
			}
			want[out.CertificateAuthorities[5].Arn] = true
		}
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
	out, err := h.ListCertificateAuthorities(t.Context(), &pca.ListCertificateAuthoritiesRequest{ResourceOwner: pca.ResourceOwner_OTHER_ACCOUNTS})
	if err != nil || len(out.CertificateAuthorities) != 0 {
		t.Errorf("other accounts share %v, %v", out, err)
	}
}

func TestCreateRefusals(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	for name, c := range map[string]struct {
		change func(*pca.CreateCertificateAuthorityRequest)
		code   pca.Code
	}{
		"empty subject": {func(r *pca.CreateCertificateAuthorityRequest) {
			r.CertificateAuthorityConfiguration.Subject = pca.ASN1Subject{}
		}, pca.InvalidArgsException},
		"custom and standard attributes": {func(r *pca.CreateCertificateAuthorityRequest) {
			r.CertificateAuthorityConfiguration.Subject.CustomAttributes = []pca.CustomAttribute{{ObjectIdentifier: "2.5.4.3", Value: "x"}}
		}, pca.InvalidArgsException},
		"subject too long for a CSR": {func(r *pca.CreateCertificateAuthorityRequest) {
			long := pca.CustomAttribute{ObjectIdentifier: "2.5.4.10", Value: strings.Repeat("x", 256)}
			r.CertificateAuthorityConfiguration.Subject = pca.ASN1Subject{CustomAttributes: slices.Repeat([]pca.CustomAttribute{long}, 150)}
		}, pca.InvalidArgsException},
		"CRL": {func(r *pca.CreateCertificateAuthorityRequest) {
			r.RevocationConfiguration = &pca.RevocationConfiguration{CrlConfiguration: &pca.CrlConfiguration{Enabled: true, S3BucketName: "crls", ExpirationInDays: 7}}
		}, pca.InvalidArgsException},
		"OCSP": {func(r *pca.CreateCertificateAuthorityRequest) {
			r.RevocationConfiguration = &pca.RevocationConfiguration{OcspConfiguration: &pca.OcspConfiguration{Enabled: true}}
		}, pca.InvalidArgsException},
		"CRL settings while off": {func(r *pca.CreateCertificateAuthorityRequest) {
			r.RevocationConfiguration = &pca.RevocationConfiguration{CrlConfiguration: &pca.CrlConfiguration{ExpirationInDays: 7}}
		}, pca.InvalidArgsException},
		"reserved tag": {func(r *pca.CreateCertificateAuthorityRequest) { r.Tags = []pca.Tag{{Key: "AWS:x"}} }, pca.InvalidTagException},
		"tag twice":    {func(r *pca.CreateCertificateAuthorityRequest) { r.Tags = []pca.Tag{{Key: "x"}, {Key: "x"}} }, pca.InvalidTagException},
		"mixed algorithms": {func(r *pca.CreateCertificateAuthorityRequest) {
			r.CertificateAuthorityConfiguration.SigningAlgorithm = pca.SigningAlgorithm_SHA256WITHRSA
		}, pca.InvalidArgsException},
	} {
		in := createRequest()
		c.change(in)
		_, err := h.CreateCertificateAuthority(t.Context(), in)
		if e, ok := errors.AsType[*pca.Error](err); !ok || e.Code != c.code {
			t.Errorf("%s: error %v, want %s", name, err, c.code)
		}
	}
	cas, err := h.db.CAs(t.Context(), "", time.Time{}, "", 10)
	if err != nil || len(cas) != 0 {
		t.Errorf("refused requests left %d CAs, %v", len(cas), err)
	}
	// The same with both off is fine.
	in := createRequest()
	in.RevocationConfiguration = &pca.RevocationConfiguration{CrlConfiguration: &pca.CrlConfiguration{}, OcspConfiguration: &pca.OcspConfiguration{}}
	if _, err := h.CreateCertificateAuthority(t.Context(), in); err != nil {
		t.Error(err)
	}
}
