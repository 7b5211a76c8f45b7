package auditreport

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/local"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/certlog/rendering/renderingtest"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

const (
	testAccount = "123456789012"
	testBucket  = "audit-reports"
	testCA      = "11111111-2222-3333-4444-555555555555"
	otherCA     = "22222222-2222-3333-4444-555555555555"
	origin      = "test/audit/" + testCA
)

var discard = slog.New(slog.DiscardHandler)

func caARN(id string) string {
	return "arn:aws:acm-pca:us-east-1:" + testAccount + ":certificate-authority/" + id
}

// authorities are the CAs of a test.
type authorities struct {
	mu sync.Mutex
	m  map[string]pca.CertificateAuthorityStatus
}

func (a *authorities) set(id string, status pca.CertificateAuthorityStatus) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.m[id] = status
}

func (a *authorities) Record(_ context.Context, arn pca.ARN) (*store.CertificateAuthority, pca.CertificateAuthorityStatus, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	status, ok := a.m[arn.CA]
	if !ok {
		return nil, "", pca.Errorf(pca.ResourceNotFoundException, "no such CA")
	}
	return &store.CertificateAuthority{ID: arn.CA, ARN: arn.String(), Account: arn.Account, Status: status}, status, nil
}

// signer signs the heads of the test CA's log with a real audit key, which a
// real CA key endorses.
type signer struct {
	db          *sqlite.DB
	key         note.Signer
	vkey        string
	spki        []byte
	certificate []byte // of the CA, DER
	endorsement proof.Endorsement
	taken       atomic.Int32 // checkpoints, not looked up again
	fail        func() error // of a checkpoint; nil: none
}

func newSigner(t testing.TB, db *sqlite.DB) *signer {
	t.Helper()
	s := &signer{db: db}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if s.spki, err = issuance.MarshalPublicKey(caKey.Public()); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	if s.certificate, err = x509.CreateCertificate(cryptorand.Reader, template, template, caKey.Public(), caKey); err != nil {
		t.Fatal(err)
	}
	skey, vkey, err := note.GenerateKey(cryptorand.Reader, origin)
	if err != nil {
		t.Fatal(err)
	}
	if s.key, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	s.vkey = vkey
	s.endorsement.Algorithm = string(pca.SigningAlgorithm_SHA256WITHECDSA)
	if s.endorsement.Signature, err = issuance.SignText(caKey, pca.SigningAlgorithm_SHA256WITHECDSA, certlog.EndorsementText(sha256.Sum256(s.spki), origin, vkey)); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *signer) Checkpoint(ctx context.Context, ca string, size uint64) (*proof.Head, error) {
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return nil, err
		}
	}
	h, err := s.Head(ctx, ca, size, nil)
	if err != nil {
		return nil, err
	}
	h.Signed, err = proof.SignCheckpoint(s.key, size, h.Root)
	s.taken.Add(1)
	return h, err
}

func (s *signer) Head(ctx context.Context, ca string, size uint64, signed []byte) (*proof.Head, error) {
	root, err := tlog.TreeHash(int64(size), certlog.NewHashReader(ctx, s.db, ca, size))
	return &proof.Head{Origin: origin, Size: size, Root: root, Signed: signed, Key: s.vkey, SPKI: s.spki, Endorsement: s.endorsement}, err
}

func (s *signer) Consistency(ctx context.Context, ca string, from, to uint64) (tlog.TreeProof, error) {
	return tlog.ProveTree(int64(to), int64(from), certlog.NewHashReader(ctx, s.db, ca, to))
}

func (s *signer) Sign(_ context.Context, _ string, m *proof.Manifest) ([]byte, error) {
	return proof.SignManifest(m, s.key)
}

// house is the real store, the real log and the real embedded bucket service.
type house struct {
	t       testing.TB
	db      *sqlite.DB
	log     *certlog.Log
	signer  *signer
	cas     *authorities
	buckets *local.Service
	owner   http.RoundTripper
	s3      *s3.Client // as the owner of the buckets
	serial  uint64

	// wire, when set, sits between every service made from now on and the
	// buckets.
	wire func(next http.RoundTripper) http.RoundTripper
	// uniformParts makes the services ask for parts of equal length.
	uniformParts bool
	// chunk, when set, makes the parts of a report end inside of blocks.
	chunk int
	// segments, when set, is where segments are kept; parts is how many parts a
	// report should have at most.
	segments func() (*bucket.Client, string)
	parts    int
	// client, when set, replaces the embedded service.
	client func() (*bucket.Client, error)
}

type noKeys struct{}

func (noKeys) Secret(context.Context, string) (string, bool, error) { return "", false, nil }

func (noKeys) Principal(context.Context, string, string) (*iam.Principal, error) {
	return nil, iam.ErrInvalidToken
}

// newHouse is one whose CA was born; emptyHouse has no log yet.
func newHouse(t testing.TB) *house {
	t.Helper()
	h := emptyHouse(t)
	h.append(testCA, h.genesis())
	return h
}

func (h *house) genesis() certlog.Entry {
	return certlog.Entry{Type: certlog.TypeGenesis, Time: 1, Digest: sha256.Sum256(h.signer.spki), Label: []byte(origin), Extra: []byte(h.signer.vkey)}
}

func emptyHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, cas: &authorities{m: map[string]pca.CertificateAuthorityStatus{testCA: pca.CertificateAuthorityStatus_ACTIVE}}}
	dir := t.TempDir()
	var err error
	if h.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "store.db"), Log: discard}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.db.Close(); err != nil {
			t.Error(err)
		}
	})
	h.signer = newSigner(t, h.db)
	h.log = certlog.New(certlog.Config{Store: h.db, Log: discard})
	if h.buckets, err = local.Open(local.Config{Dir: filepath.Join(dir, "buckets"), Credentials: noKeys{}, Log: discard}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.buckets.Close(); err != nil {
			t.Error(err)
		}
	})
	all, err := iam.ParsePolicy([]byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	h.owner = h.buckets.Transport(&iam.Principal{Account: testAccount, ARN: "arn:aws:iam::" + testAccount + ":root", ID: testAccount, Policies: []*iam.Policy{all}})
	h.s3 = s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("https://bucket.internal"), UsePathStyle: true,
		Credentials: aws.AnonymousCredentials{}, HTTPClient: &http.Client{Transport: h.owner},
	})
	return h
}

// bucket makes the bucket, with the founding document's policy.
func (h *house) bucket() {
	h.t.Helper()
	if _, err := h.s3.CreateBucket(h.t.Context(), &s3.CreateBucketInput{Bucket: aws.String(testBucket)}); err != nil {
		h.t.Fatal(err)
	}
	h.policy(string(bucket.PolicyFor(testBucket, "", "")))
}

func (h *house) policy(text string) {
	h.t.Helper()
	if _, err := h.s3.PutBucketPolicy(context.Background(), &s3.PutBucketPolicyInput{Bucket: aws.String(testBucket), Policy: &text}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) append(ca string, e certlog.Entry, rows ...certlog.Row) uint64 {
	h.t.Helper()
	b, err := e.Append(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	index, err := h.log.Append(h.t.Context(), ca, certlog.Record{Entry: b, Rows: rows})
	if err != nil {
		h.t.Fatal(err)
	}
	return index
}

// issueEntry makes the entry of a certificate with a fresh serial.
func (h *house) issueEntry(subject string, at int64) (certlog.Entry, *store.Certificate) {
	h.serial++
	serial := binary.BigEndian.AppendUint64([]byte{1, 2, 3, 4, 5, 6, 7, 8}, h.serial)
	return certlog.Entry{
			Type: certlog.TypeIssue, Time: at * 1000, Serial: serial, CertSHA256: sha256.Sum256(serial),
			NotBefore: at - 3600, NotAfter: at + 365*86400, Account: []byte(testAccount), Subject: []byte(subject),
			TemplateARN: []byte("arn:aws:acm-pca:::template/EndEntityCertificate/V1"),
		}, &store.Certificate{
			CA: testCA, Serial: serial, NotAfter: time.Unix(at+365*86400, 0), DER: serial,
		}
}

func (h *house) issue(subject string) (index uint64) {
	h.t.Helper()
	e, c := h.issueEntry(subject, time.Now().Unix())
	return h.append(testCA, e, c)
}

func (h *house) revoke(index uint64, reason uint8) {
	h.t.Helper()
	var serial []byte
	h.entries(index, index+1, func(_ uint64, e *certlog.Entry) { serial = bytes.Clone(e.Serial) })
	at := time.Now().UnixMilli()
	h.append(testCA, certlog.Entry{Type: certlog.TypeRevoke, Time: at, Serial: serial, IssueIndex: index, Reason: reason},
		&store.Revocation{CA: testCA, IssueIndex: index, Time: at, Reason: reason, Serial: serial})
}

func (h *house) entries(lo, hi uint64, f func(uint64, *certlog.Entry)) {
	h.t.Helper()
	err := h.db.LogEntries(h.t.Context(), testCA, lo, hi, func(index uint64, b []byte) error {
		var e certlog.Entry
		if err := e.Decode(b); err != nil {
			return err
		}
		f(index, &e)
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

// seed appends entries until the log has size of them, certificates with the
// subjects given, without their DERs, and revocations of earlier ones: fast
// when it begins with an empty log, whose whole blocks become packs at once.
func (h *house) seed(size int, rnd *rand.Rand, revoked float64, subject func() string) {
	h.t.Helper()
	head, err := h.db.LogHead(h.t.Context(), testCA)
	if err != nil {
		h.t.Fatal(err)
	}
	type issued struct {
		index  uint64
		serial []byte
	}
	var alive []issued
	at := int64(1700000000)
	for next := head.Size; next < uint64(size); {
		end := min(uint64(size), (next/certlog.BlockSize+1)*certlog.BlockSize)
		var records []certlog.Record
		for ; next < end; next++ {
			at += rnd.Int64N(3)
			var e certlog.Entry
			var rows []certlog.Row
			if next == 0 {
				e = h.genesis()
			} else if len(alive) > 0 && rnd.Float64() < revoked {
				i := rnd.IntN(len(alive))
				v := alive[i]
				alive[i] = alive[len(alive)-1]
				alive = alive[:len(alive)-1]
				reason := []uint8{0, 1, 2, 3, 4, 5, 9, 10}[rnd.IntN(8)]
				e = certlog.Entry{Type: certlog.TypeRevoke, Time: at * 1000, Serial: v.serial, IssueIndex: v.index, Reason: reason}
				rows = []certlog.Row{&store.Revocation{CA: testCA, IssueIndex: v.index, Time: at * 1000, Reason: reason, Serial: v.serial}}
			} else {
				e, _ = h.issueEntry(subject(), at)
				alive = append(alive, issued{next, e.Serial})
			}
			b, err := e.Append(nil)
			if err != nil {
				h.t.Fatal(err)
			}
			records = append(records, certlog.Record{Entry: b, Rows: rows})
		}
		if _, err := h.db.SeedBlock(h.t.Context(), testCA, records); err != nil {
			h.t.Fatal(err)
		}
	}
}

// service makes a Service over the house; each is like a new process.
func (h *house) service(change ...func(*Config)) *Service {
	h.t.Helper()
	wire := h.wire
	cfg := Config{
		Log: h.log, Entries: h.db, Reports: h.db, Parts: h.db, Packs: h.db, Settings: h.db, Authorities: h.cas, Checkpoints: h.signer, Logger: discard, MinInterval: 30 * time.Minute,
		Destination: func(_ context.Context, account, caARN string) (*bucket.Client, error) {
			if h.client != nil {
				return h.client()
			}
			c := bucket.Config{Transport: h.buckets.Transport(bucket.Principal(account, caARN)), Owner: h.owner, UniformParts: h.uniformParts}
			if wire != nil { // all that a process sends
				c.Transport, c.Owner = wire(c.Transport), wire(c.Owner)
			}
			return bucket.New(c)
		},
	}
	if h.segments != nil {
		cfg.SegmentRecords = h.db
		cfg.Segments = func(context.Context, string, string) (*bucket.Client, string, error) {
			c, name := h.segments()
			return c, name, nil
		}
	}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	s.backoff, s.again, s.chunk, s.parts = time.Millisecond, 100*time.Millisecond, h.chunk, h.parts
	return s
}

// start runs a service until the returned function is called.
func start(t testing.TB, s *Service) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func (h *house) create(s *Service, format pca.AuditReportResponseFormat) (*pca.CreateCertificateAuthorityAuditReportResponse, error) {
	return s.CreateCertificateAuthorityAuditReport(context.Background(), &pca.CreateCertificateAuthorityAuditReportRequest{
		CertificateAuthorityArn: caARN(testCA), S3BucketName: testBucket, AuditReportResponseFormat: format,
	})
}

func (h *house) mustCreate(s *Service, format pca.AuditReportResponseFormat) *pca.CreateCertificateAuthorityAuditReportResponse {
	h.t.Helper()
	out, err := h.create(s, format)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// wait waits until the report has ended and returns its record.
func (h *house) wait(s *Service, id string) *store.AuditReport {
	h.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for {
		out, err := s.DescribeCertificateAuthorityAuditReport(context.Background(), &pca.DescribeCertificateAuthorityAuditReportRequest{
			CertificateAuthorityArn: caARN(testCA), AuditReportId: id,
		})
		if err != nil {
			h.t.Fatal(err)
		}
		if out.AuditReportStatus != pca.AuditReportStatus_CREATING {
			return h.report(id)
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("report %s is still CREATING", id)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (h *house) report(id string) *store.AuditReport {
	h.t.Helper()
	r, err := h.db.Report(context.Background(), testCA, id)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// get reads an object; nil when it is not there.
func (h *house) get(key string) ([]byte, *s3.GetObjectOutput) {
	h.t.Helper()
	return readObject(h.t, h.s3, key)
}

func readObject(t testing.TB, c *s3.Client, key string) ([]byte, *s3.GetObjectOutput) {
	t.Helper()
	out, err := c.GetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String(testBucket), Key: &key})
	if err != nil {
		var re interface{ HTTPStatusCode() int }
		if errors.As(err, &re) && re.HTTPStatusCode() == http.StatusNotFound {
			return nil, nil
		}
		t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b, out
}

// keys lists what is in the bucket, the test object aside, and what is being uploaded.
func (h *house) keys() (objects []string, uploads int) {
	h.t.Helper()
	out, err := h.s3.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: aws.String(testBucket), Prefix: aws.String("audit-report/")})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, o := range out.Contents {
		objects = append(objects, *o.Key)
	}
	up, err := h.s3.ListMultipartUploads(context.Background(), &s3.ListMultipartUploadsInput{Bucket: aws.String(testBucket)})
	if err != nil {
		h.t.Fatal(err)
	}
	return objects, len(up.Uploads)
}

// reports lists what a consumer would take for a report, whatever lies beside it.
func (h *house) reports() (objects []string, uploads int) {
	h.t.Helper()
	all, uploads := h.keys()
	for _, key := range all {
		if strings.HasSuffix(key, ".json") || strings.HasSuffix(key, ".csv") {
			objects = append(objects, key)
		}
	}
	return objects, uploads
}

// prove verifies a report by what lies beside it in the bucket of a client.
func (h *house) prove(c *s3.Client, key string, known ...[]byte) *proof.Result {
	h.t.Helper()
	read := func(key string) []byte {
		b, _ := readObject(h.t, c, key)
		if b == nil {
			h.t.Fatalf("%s is not there", key)
		}
		return b
	}
	report := read(key)
	cfg := proof.VerifyConfig{
		Report: bytes.NewReader(report), ReportSize: int64(len(report)), Manifest: read(key + proof.ManifestSuffix), Log: h.logFolder(c),
		CAKeys: [][32]byte{sha256.Sum256(h.signer.spki)},
	}
	for _, manifest := range known {
		heads, err := proof.ParseKnown(manifest, "an earlier report")
		if err != nil {
			h.t.Fatal(err)
		}
		cfg.Known = append(cfg.Known, heads...)
	}
	r, err := proof.Verify(context.Background(), cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	want := 3
	if len(known) > 0 {
		want = 0
	}
	if r.ExitCode() != want {
		h.t.Errorf("%s: exit %d, want %d", key, r.ExitCode(), want)
		for _, v := range r.Verdicts {
			h.t.Logf("%s %s %s %s", v.Name, v.Status, v.Class, v.Words)
		}
	}
	return r
}

// logFolder is the log beside the reports, as a client would copy it.
func (h *house) logFolder(c *s3.Client) fs.FS {
	h.t.Helper()
	folder := fstest.MapFS{}
	prefix := proof.LogFolder(testCA, 1) + "/"
	out, err := c.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: aws.String(testBucket), Prefix: &prefix})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, o := range out.Contents {
		b, _ := readObject(h.t, c, *o.Key)
		folder[strings.TrimPrefix(*o.Key, prefix)] = &fstest.MapFile{Data: b}
	}
	return folder
}

// replay is the report by the simplest program: it reads the whole log, folds
// its revocations, and writes with the standard library.
func (h *house) replay(size uint64, format pca.AuditReportResponseFormat) []byte {
	h.t.Helper()
	revocations := map[uint64]certlog.Entry{}
	h.entries(0, size, func(_ uint64, e *certlog.Entry) {
		if e.Type == certlog.TypeRevoke {
			revocations[e.IssueIndex] = *e
		}
	})
	var rows []string
	h.entries(0, size, func(index uint64, e *certlog.Entry) {
		if e.Type != certlog.TypeIssue {
			return
		}
		row := &rendering.Row{
			Account: e.Account, Principal: e.Principal, CAARN: []byte(caARN(testCA)), Serial: e.Serial, Subject: e.Subject,
			NotBefore: e.NotBefore, NotAfter: e.NotAfter, IssuedAt: e.Time / 1000, Template: e.TemplateARN,
		}
		if v, ok := revocations[index]; ok {
			row.Revoked, row.RevokedAt, row.Reason = true, v.Time/1000, v.Reason
		}
		if format == pca.AuditReportResponseFormat_CSV {
			rows = append(rows, renderingtest.CSV(h.t, row))
		} else {
			rows = append(rows, renderingtest.JSON(h.t, row))
		}
	})
	var b bytes.Buffer
	if format == pca.AuditReportResponseFormat_CSV {
		b.WriteString(rendering.CSVHeader)
		for _, r := range rows {
			b.WriteString(r)
		}
		return b.Bytes()
	}
	b.WriteString("[")
	for i, r := range rows {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n" + r)
	}
	b.WriteString("\n]\n")
	return b.Bytes()
}

// want is the report by the renderer at one go, which TestRender compares with replay.
func (h *house) want(size uint64, format pca.AuditReportResponseFormat) []byte {
	h.t.Helper()
	parts, _, _ := h.render(newLayout(size, false), format, 1, nil)
	return join(parts)
}

// seedLarge seeds few entries whose rows are so long that a report of them takes
// several parts.
func (h *house) seedLarge(revoked float64) {
	h.t.Helper()
	h.chunk = bucket.MinPart/2 + 1
	subject := "CN=" + strings.Repeat("x", 400)
	h.seed(certlog.BlockSize, rand.New(rand.NewPCG(1, 1)), revoked, func() string { return subject })
}

// longSubject makes rows long enough for three blocks to be a large report.
func longSubject() string {
	return "CN=host.example.com,OU=Engineering,O=Example Company,L=Seattle,ST=Washington,C=US"
}

func same(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < min(len(got), len(want)) && got[at] == want[at] {
		at++
	}
	around := func(b []byte) string { return fmt.Sprintf("%q", b[max(0, min(at-80, len(b))):min(len(b), at+80)]) }
	t.Fatalf("%s: %d bytes, want %d; they differ at %d:\n got %s\nwant %s", what, len(got), len(want), at, around(got), around(want))
}

var bothFormats = []pca.AuditReportResponseFormat{pca.AuditReportResponseFormat_JSON, pca.AuditReportResponseFormat_CSV}
