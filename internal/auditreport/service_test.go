package auditreport

import (
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/buckettest"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/certlog/rendering/renderingtest"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

func wantCode(t testing.TB, err error, code pca.Code, parts ...string) {
	t.Helper()
	var e *pca.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("%v, want a %s", err, code)
	}
	for _, p := range parts {
		if !strings.Contains(e.Message, p) {
			t.Errorf("message %q does not say %q", e.Message, p)
		}
	}
}

// clock is the time of a test.
type clock struct{ ms atomic.Int64 }

func newClock() *clock { c := &clock{}; c.ms.Store(1_800_000_000_000); return c }

func (c *clock) now() time.Time                { return time.UnixMilli(c.ms.Load()) }
func (c *clock) add(d time.Duration)           { c.ms.Add(d.Milliseconds()) }
func (c *clock) of(s *Service) *Service        { s.now = c.now; return s }
func call(caller, id string) func(*Config)     { return func(c *Config) { c.Call = always(caller, id) } }
func interval(d time.Duration) func(*Config)   { return func(c *Config) { c.MinInterval = d } }
func retryFor(d time.Duration) func(c *Config) { return func(c *Config) { c.RetryFor = d } }

func always(caller, id string) func(context.Context) (string, string) {
	return func(context.Context) (string, string) { return caller, id }
}

// TestReport goes the whole way in both formats and compares the object with a
// replay of the log and with each other.
func TestReport(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	a := h.issue("CN=a,O=x")
	h.issue(`CN=b\,\"`)
	c := h.issue("CN=c")
	h.revoke(a, 1)
	h.revoke(c, 0)

	s := h.service(interval(0))
	defer start(t, s)()
	lists := map[pca.AuditReportResponseFormat][]string{}
	for _, format := range bothFormats {
		out := h.mustCreate(s, format)
		h.issue("CN=after the report")
		if err := uuid.Validate(out.AuditReportId); err != nil || out.S3Key != "audit-report/"+testCA+"/"+out.AuditReportId+"."+strings.ToLower(string(format)) {
			t.Errorf("answer %+v", out)
		}
		r := h.wait(s, out.AuditReportId)
		if r.Status != pca.AuditReportStatus_SUCCESS || r.Revoked != 2 {
			t.Fatalf("record %+v", r)
		}
		body, object := h.get(out.S3Key)
		same(t, string(format), body, h.replay(r.TreeSize, format))
		sum := sha256.Sum256(body)
		if uint64(len(body)) != r.Bytes || string(sum[:]) != string(r.SHA256) || r.UploadID != "" || r.FinishedAt.IsZero() {
			t.Errorf("record %+v does not fit %d bytes", r, len(body))
		}
		wantType := "application/json"
		if format == pca.AuditReportResponseFormat_CSV {
			wantType = "text/csv; charset=utf-8"
			records, err := csv.NewReader(strings.NewReader(string(body))).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range records[1:] {
				lists[format] = append(lists[format], f[2])
			}
		} else {
			var rows []renderingtest.Members
			if err := json.Unmarshal(body, &rows); err != nil {
				t.Fatal(err)
			}
			for _, f := range rows {
				lists[format] = append(lists[format], f.ARN)
			}
		}
		if uint64(len(lists[format])) != r.Rows {
			t.Errorf("%d rows, the record says %d", len(lists[format]), r.Rows)
		}
		if aws.ToString(object.ContentType) != wantType || object.Metadata["report-id"] != out.AuditReportId || object.ContentEncoding != nil {
			t.Errorf("type %q, metadata %v", aws.ToString(object.ContentType), object.Metadata)
		}
		p, err := s.Progress(t.Context(), testCA, out.AuditReportId)
		if err != nil || p.Status != pca.AuditReportStatus_SUCCESS || p.Done != p.Total || p.Total != r.TreeSize || p.Rows != r.Rows {
			t.Errorf("progress %+v, %v", p, err)
		}
	}
	// The second report has one certificate more; without it the lists are the same.
	if j, c := lists["JSON"], lists["CSV"]; len(c) != len(j)+1 || !slices.Equal(j, c[:len(j)]) {
		t.Errorf("JSON lists %v, CSV %v", j, c)
	}
	if objects, uploads := h.reports(); len(objects) != 2 || uploads != 0 {
		t.Errorf("the bucket holds %q and %d uploads", objects, uploads)
	}
}

func TestReportWithoutRows(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	s := h.service(interval(0))
	defer start(t, s)()
	for format, want := range map[pca.AuditReportResponseFormat]string{pca.AuditReportResponseFormat_JSON: "[\n]\n", pca.AuditReportResponseFormat_CSV: rendering.CSVHeader} {
		out := h.mustCreate(s, format)
		if r := h.wait(s, out.AuditReportId); r.Status != pca.AuditReportStatus_SUCCESS || r.Rows != 0 {
			t.Errorf("record %+v", r)
		}
		body, _ := h.get(out.S3Key)
		same(t, string(format), body, []byte(want))
	}
}

// TestInterval is audit-report.md 4.
func TestInterval(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	clock := newClock()
	s := clock.of(h.service())
	first := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)

	_, err := h.create(s, pca.AuditReportResponseFormat_CSV)
	wantCode(t, err, pca.RequestInProgressException, first.AuditReportId, "is being created")

	stop := start(t, s)
	h.wait(s, first.AuditReportId)
	clock.add(30*time.Minute - time.Millisecond)
	for _, format := range bothFormats {
		_, err = h.create(s, format)
		wantCode(t, err, pca.RequestInProgressException, first.AuditReportId, "every 30 minutes", clock.now().Add(time.Millisecond).UTC().Format(time.RFC3339))
	}
	clock.add(time.Millisecond)
	second := h.mustCreate(s, pca.AuditReportResponseFormat_CSV)
	h.wait(s, second.AuditReportId)

	// A failed report frees the slot at once.
	clock.add(30 * time.Minute)
	stop()
	third := h.mustCreate(s, pca.AuditReportResponseFormat_CSV)
	h.policy(strings.ReplaceAll(string(bucket.PolicyFor(testBucket, "", "")), "acm-pca", "acm"))
	defer start(t, s)()
	if r := h.wait(s, third.AuditReportId); r.Status != pca.AuditReportStatus_FAILED {
		t.Fatalf("record %+v", r)
	}
	h.policy(string(bucket.PolicyFor(testBucket, testAccount, caARN(testCA))))
	fourth := h.mustCreate(s, pca.AuditReportResponseFormat_CSV)
	if r := h.wait(s, fourth.AuditReportId); r.Status != pca.AuditReportStatus_SUCCESS {
		t.Fatalf("record %+v", r)
	}
	// The limit is per CA.
	h.cas.set(otherCA, pca.CertificateAuthorityStatus_ACTIVE)
	h.append(otherCA, certlog.Entry{Type: certlog.TypeGenesis, Time: 1, Label: []byte("o")})
	h.policy(string(bucket.PolicyFor(testBucket, testAccount, "")))
	if _, err := s.CreateCertificateAuthorityAuditReport(t.Context(), &pca.CreateCertificateAuthorityAuditReportRequest{
		CertificateAuthorityArn: caARN(otherCA), S3BucketName: testBucket, AuditReportResponseFormat: pca.AuditReportResponseFormat_JSON,
	}); err != nil {
		t.Errorf("another CA: %v", err)
	}
}

// TestRetriedCall is the first row of audit-report.md 4.
func TestRetriedCall(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	clock := newClock()
	service := func(caller, id string) *Service { return clock.of(h.service(call(caller, id))) }
	first := h.mustCreate(service("alice", "call-1"), pca.AuditReportResponseFormat_JSON)

	again := h.mustCreate(service("alice", "call-1"), pca.AuditReportResponseFormat_JSON)
	if *again != *first {
		t.Errorf("the retry got %+v, the call %+v", again, first)
	}
	clock.add(5*time.Minute - time.Millisecond)
	if again = h.mustCreate(service("alice", "call-1"), pca.AuditReportResponseFormat_JSON); *again != *first {
		t.Errorf("the retry got %+v, the call %+v", again, first)
	}
	for _, tt := range []struct {
		s      *Service
		format pca.AuditReportResponseFormat
	}{
		{service("alice", "call-2"), pca.AuditReportResponseFormat_JSON},
		{service("bob", "call-1"), pca.AuditReportResponseFormat_JSON},
		{service("alice", ""), pca.AuditReportResponseFormat_JSON},
		{service("alice", "call-1"), pca.AuditReportResponseFormat_CSV},
	} {
		_, err := h.create(tt.s, tt.format)
		wantCode(t, err, pca.RequestInProgressException)
	}
	clock.add(time.Millisecond)
	_, err := h.create(service("alice", "call-1"), pca.AuditReportResponseFormat_JSON)
	wantCode(t, err, pca.RequestInProgressException)

	// The id comes from the call's header when nothing else is configured.
	h3 := newHouse(t)
	h3.bucket()
	of := func(arn string) context.Context {
		return awsjson.NewContext(t.Context(), awsjson.Call{Caller: &iam.Principal{ARN: arn}, Invocation: "call-1"})
	}
	in := &pca.CreateCertificateAuthorityAuditReportRequest{CertificateAuthorityArn: caARN(testCA), S3BucketName: testBucket, AuditReportResponseFormat: pca.AuditReportResponseFormat_JSON}
	one, err := h3.service().CreateCertificateAuthorityAuditReport(of("arn:aws:iam::1:user/alice"), in)
	if err != nil {
		t.Fatal(err)
	}
	two, err := h3.service().CreateCertificateAuthorityAuditReport(of("arn:aws:iam::1:user/alice"), in)
	if err != nil || *one != *two {
		t.Errorf("the retry got %+v, %v; the call %+v", two, err, one)
	}
	_, err = h3.service().CreateCertificateAuthorityAuditReport(of("arn:aws:iam::1:user/bob"), in)
	wantCode(t, err, pca.RequestInProgressException)

	// Calls without an id are never taken for retries.
	h2 := newHouse(t)
	h2.bucket()
	s := h2.service(call("alice", ""))
	h2.mustCreate(s, pca.AuditReportResponseFormat_JSON)
	_, err = h2.create(s, pca.AuditReportResponseFormat_JSON)
	wantCode(t, err, pca.RequestInProgressException)
}

// TestRace: of many callers at two nodes one is accepted; one call that was
// sent twice is accepted once and answered twice.
func TestRace(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{false, true} {
		h := newHouse(t)
		h.bucket()
		var accepted, refused atomic.Int32
		var ids sync.Map
		var wg sync.WaitGroup
		for i := range 12 {
			id := "one call"
			if !same {
				id = uuid.NewString()
			}
			s := h.service(call("alice", id))
			wg.Go(func() {
				out, err := h.create(s, bothFormats[i%2*btoi(!same)])
				var e *pca.Error
				switch {
				case err == nil:
					accepted.Add(1)
					ids.Store(out.AuditReportId, true)
				case errors.As(err, &e) && e.Code == pca.RequestInProgressException:
					refused.Add(1)
				default:
					t.Errorf("%v", err)
				}
			})
		}
		wg.Wait()
		n := 0
		ids.Range(func(any, any) bool { n++; return true })
		reports, err := h.db.Reports(t.Context(), testCA, math.MaxInt64, 100)
		if err != nil || len(reports) != 1 || n != 1 {
			t.Fatalf("same=%v: %d reports, %d ids, %v; want one", same, len(reports), n, err)
		}
		if !same && (accepted.Load() != 1 || refused.Load() != 11) || same && accepted.Load() != 12 {
			t.Errorf("same=%v: %d accepted, %d refused", same, accepted.Load(), refused.Load())
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestStatus is audit-report.md 5.
func TestStatus(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	s := h.service(interval(0))
	defer start(t, s)()
	strict := h.service(interval(0), func(c *Config) { c.RefuseExpired = true })
	allowed := map[pca.CertificateAuthorityStatus]bool{
		pca.CertificateAuthorityStatus_CREATING: false, pca.CertificateAuthorityStatus_PENDING_CERTIFICATE: false,
		pca.CertificateAuthorityStatus_ACTIVE: true, pca.CertificateAuthorityStatus_DISABLED: true, pca.CertificateAuthorityStatus_EXPIRED: true,
		pca.CertificateAuthorityStatus_FAILED: false, pca.CertificateAuthorityStatus_DELETED: false,
	}
	var last string
	for status, ok := range allowed {
		h.cas.set(testCA, status)
		out, err := h.create(s, pca.AuditReportResponseFormat_JSON)
		if !ok {
			wantCode(t, err, pca.InvalidStateException, string(status))
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", status, err)
		}
		last = out.AuditReportId
		h.wait(s, last)
	}
	h.cas.set(testCA, pca.CertificateAuthorityStatus_EXPIRED)
	_, err := h.create(strict, pca.AuditReportResponseFormat_JSON)
	wantCode(t, err, pca.InvalidStateException, "EXPIRED")

	// Describe works in every status; the report belongs to its CA alone.
	h.cas.set(testCA, pca.CertificateAuthorityStatus_DELETED)
	h.cas.set(otherCA, pca.CertificateAuthorityStatus_ACTIVE)
	describe := func(arn, id string) (*pca.DescribeCertificateAuthorityAuditReportResponse, error) {
		return s.DescribeCertificateAuthorityAuditReport(t.Context(), &pca.DescribeCertificateAuthorityAuditReportRequest{CertificateAuthorityArn: arn, AuditReportId: id})
	}
	d, err := describe(caARN(testCA), last)
	if err != nil || d.AuditReportStatus != pca.AuditReportStatus_SUCCESS || d.S3BucketName != testBucket || !strings.HasSuffix(d.S3Key, last+".json") ||
		!time.Time(*d.CreatedAt).Equal(h.report(last).CreatedAt) {
		t.Errorf("%+v, %v", d, err)
	}
	_, err = describe(caARN(otherCA), last)
	wantCode(t, err, pca.ResourceNotFoundException, last)
	_, err = describe(caARN(testCA), uuid.NewString())
	wantCode(t, err, pca.ResourceNotFoundException)
	_, err = describe(caARN("33333333-2222-3333-4444-555555555555"), last)
	wantCode(t, err, pca.ResourceNotFoundException)
	_, err = describe("arn:aws:acm-pca:us-east-1:"+testAccount+":something/else", last)
	wantCode(t, err, pca.InvalidArnException)
	if _, err := s.Progress(t.Context(), otherCA, last); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("progress of another CA's report: %v", err)
	}
}

// TestRefusals checks that a refused call leaves no trace, and the order of
// the checks.
func TestRefusals(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s := h.service()
	_, err := h.create(s, pca.AuditReportResponseFormat_JSON)
	wantCode(t, err, pca.ResourceNotFoundException, testBucket)
	h.bucket()
	if _, err := h.s3.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(testBucket)}); err != nil {
		t.Fatal(err)
	}
	_, err = h.create(s, pca.AuditReportResponseFormat_JSON)
	wantCode(t, err, pca.ValidationException, "no bucket policy")
	for _, name := range []string{"Upper", "a..b", "-abc"} {
		_, err = s.CreateCertificateAuthorityAuditReport(t.Context(), &pca.CreateCertificateAuthorityAuditReportRequest{
			CertificateAuthorityArn: caARN(testCA), S3BucketName: name, AuditReportResponseFormat: pca.AuditReportResponseFormat_JSON,
		})
		wantCode(t, err, pca.InvalidArgsException, name)
	}
	h.cas.set(testCA, pca.CertificateAuthorityStatus_DELETED)
	_, err = s.CreateCertificateAuthorityAuditReport(t.Context(), &pca.CreateCertificateAuthorityAuditReportRequest{
		CertificateAuthorityArn: caARN(testCA), S3BucketName: "Upper", AuditReportResponseFormat: pca.AuditReportResponseFormat_JSON,
	})
	wantCode(t, err, pca.InvalidStateException)
	h.cas.set(testCA, pca.CertificateAuthorityStatus_ACTIVE)
	for _, arn := range []string{"arn:aws:acm-pca:us-east-1:1:certificate-authority/x", caARN(testCA) + "/certificate/00112233445566778899aabbccddeeff", strings.Replace(caARN(testCA), "arn:aws:", "arn:aws-cn:", 1)} {
		_, err = s.CreateCertificateAuthorityAuditReport(t.Context(), &pca.CreateCertificateAuthorityAuditReportRequest{
			CertificateAuthorityArn: arn, S3BucketName: testBucket, AuditReportResponseFormat: pca.AuditReportResponseFormat_JSON,
		})
		wantCode(t, err, pca.InvalidArnException)
	}
	head, err := h.log.Head(t.Context(), testCA)
	if err != nil || head.Size != 1 {
		t.Errorf("the log has %d entries, %v; a refused call adds none", head.Size, err)
	}
	h.policy(string(bucket.PolicyFor(testBucket, "", "")))
	h.mustCreate(s, pca.AuditReportResponseFormat_JSON) // and none counts for the interval
}

// TestFailures: what goes wrong after the report was accepted ends in FAILED,
// with a reason, no object, no upload, and an event.
func TestFailures(t *testing.T) {
	t.Parallel()
	deny := func(action string) string {
		p := string(bucket.PolicyFor(testBucket, "", ""))
		return strings.Replace(p, `"Statement": [`, `"Statement": [{"Effect":"Deny","Principal":"*","Action":"`+action+`","Resource":"arn:aws:s3:::`+testBucket+`/*"},`, 1)
	}
	for _, tt := range []struct {
		name   string
		large  bool
		break_ func(h *house)
		reason string
	}{
		{"policy withdrawn", false, func(h *house) {
			if _, err := h.s3.DeleteBucketPolicy(context.Background(), &s3.DeleteBucketPolicyInput{Bucket: aws.String(testBucket)}); err != nil {
				h.t.Error(err)
			}
		}, "no bucket policy"},
		{"policy denies", false, func(h *house) { h.policy(deny("s3:PutObject")) }, "denies"},
		{"policy denies a large report", true, func(h *house) { h.policy(deny("s3:PutObject")) }, "s3:PutObject"},
		{"policy denies the ACL", true, func(h *house) { h.policy(deny("s3:PutObjectAcl")) }, "PutObjectAcl"},
		{"bucket deleted", false, func(h *house) {
			ctx := context.Background()
			if _, err := h.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(testBucket), Key: aws.String("acm-pca-permission-test-key-private")}); err != nil {
				h.t.Error(err)
			}
			if _, err := h.s3.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: aws.String(testBucket)}); err != nil {
				h.t.Error(err)
			}
		}, "does not exist"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := emptyHouse(t)
			h.bucket()
			if tt.large {
				h.seedLarge(0)
			} else {
				h.append(testCA, h.genesis())
			}
			events := make(chan Event, 10)
			s := h.service(func(c *Config) { c.Events = func(e Event) { events <- e } })
			out := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
			tt.break_(h)
			defer start(t, s)()
			r := h.wait(s, out.AuditReportId)
			if r.Status != pca.AuditReportStatus_FAILED || !strings.Contains(r.Reason, tt.reason) || r.UploadID != "" || r.FinishedAt.IsZero() {
				t.Errorf("status %s, reason %q, upload %q", r.Status, r.Reason, r.UploadID)
			}
			if e := <-events; e.ReportID != r.ID || e.CAARN != r.CAARN || e.Failure != r.Reason || !e.Time.Equal(r.FinishedAt) {
				t.Errorf("event %+v", e)
			}
			if tt.name == "bucket deleted" {
				return
			}
			if objects, uploads := h.keys(); len(objects) != 0 || uploads != 0 {
				t.Errorf("left: %q and %d uploads", objects, uploads)
			}
			if parts, err := h.db.UploadedParts(t.Context(), r.ID); err != nil || len(parts) != 0 {
				t.Errorf("left: %d parts, %v", len(parts), err)
			}
			p, err := s.Progress(t.Context(), testCA, r.ID)
			if err != nil || p.Reason != r.Reason {
				t.Errorf("progress %+v, %v", p, err)
			}
		})
	}
}

// TestWithdrawnBeforeComplete withdraws the policy when all parts are in the
// bucket: the second gate stops the report (D-10).
func TestWithdrawnBeforeComplete(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	h.bucket()
	h.seedLarge(0)
	var parts atomic.Int32
	h.wire = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if r.URL.Query().Get("partNumber") == "3" {
				parts.Add(1)
				h.policy(strings.ReplaceAll(string(bucket.PolicyFor(testBucket, "", "")), testBucket+"/*", testBucket+"/other/*"))
			}
			return resp, err
		})
	}
	s := h.service()
	out := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
	defer start(t, s)()
	r := h.wait(s, out.AuditReportId)
	if r.Status != pca.AuditReportStatus_FAILED || !strings.Contains(r.Reason, "does not allow acm-pca.amazonaws.com s3:PutObject") || parts.Load() == 0 {
		t.Errorf("status %s, reason %q, %d parts", r.Status, r.Reason, parts.Load())
	}
	if objects, uploads := h.keys(); len(objects) != 0 || uploads != 0 {
		t.Errorf("left: %q and %d uploads", objects, uploads)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestForeignStore writes a large report into a store that is not ours.
func TestForeignStore(t *testing.T) {
	t.Parallel()
	f := buckettest.StartForeign(t)
	h := emptyHouse(t)
	if _, err := f.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(testBucket)}); err != nil {
		t.Fatal(err)
	}
	h.seedLarge(0.05)
	for _, uniform := range []bool{false, true} {
		h.client = func() (*bucket.Client, error) {
			return bucket.New(bucket.Config{Endpoint: f.Endpoint, Credentials: f.Credentials, Authorization: bucket.AuthorizeCredentials, UniformParts: uniform})
		}
		s := h.service(interval(0))
		stop := start(t, s)
		out := h.mustCreate(s, bothFormats[btoi(uniform)])
		r := h.wait(s, out.AuditReportId)
		stop()
		if r.Status != pca.AuditReportStatus_SUCCESS {
			t.Fatalf("record %+v", r)
		}
		body, object := readObject(t, f.S3, out.S3Key)
		same(t, "report", body, h.want(r.TreeSize, r.Format))
		if object.Metadata["report-id"] != r.ID {
			t.Errorf("metadata %v", object.Metadata)
		}
		h.prove(f.S3, out.S3Key)
	}
}
