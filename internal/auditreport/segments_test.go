package auditreport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/buckettest"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const testSegments = "chirograph-internal-segments"

// keeper is a house whose reports keep segments.
type keeper struct {
	*house
	own  *s3.Client // of the segments, as the server
	name string     // of their bucket
	in   *s3.Client // of the reports

	puts, copies, gets, parts atomic.Int32 // requests for segments, and parts whose bytes were sent
}

// count counts what goes over a wire.
func (k *keeper) count(wired http.RoundTripper) http.RoundTripper {
	if k.wire != nil {
		wired = k.wire(wired)
	}
	return roundTrip(func(r *http.Request) (*http.Response, error) {
		number := r.URL.Query().Has("partNumber")
		inside := strings.Contains(r.URL.Path, "/"+k.name+"/")
		switch {
		case number && r.Header.Get("X-Amz-Copy-Source") != "":
			k.copies.Add(1)
		case number:
			k.parts.Add(1)
		case inside && r.Method == http.MethodPut:
			k.puts.Add(1)
		case inside && r.Method == http.MethodGet && !r.URL.Query().Has("list-type"):
			k.gets.Add(1)
		}
		return wired.RoundTrip(r)
	})
}

// newKeeper has a log whose report takes 5 parts or so of some 5 MiB, in the
// embedded service.
func newKeeper(t *testing.T) *keeper {
	t.Helper()
	k := &keeper{house: emptyHouse(t), name: testSegments}
	k.bucket()
	k.grow(certlog.BlockSize)
	k.in = k.s3
	inside := k.buckets.Transport(&iam.Principal{Service: bucket.ServicePrincipal})
	k.own = s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("https://bucket.internal"), UsePathStyle: true,
		Credentials: aws.AnonymousCredentials{}, HTTPClient: &http.Client{Transport: inside},
	})
	k.house.client = func() (*bucket.Client, error) {
		return bucket.New(bucket.Config{Transport: k.count(k.buckets.Transport(bucket.Principal(testAccount, caARN(testCA)))), Owner: k.count(k.owner)})
	}
	k.house.segments = func() (*bucket.Client, string) {
		c, err := bucket.New(bucket.Config{Transport: k.count(inside)})
		if err != nil {
			t.Error(err)
		}
		return c, k.name
	}
	return k
}

// grow makes the log so long, with certificates of long subjects.
func (k *keeper) grow(size int) {
	k.chunk = bucket.MinPart/2 + 1
	subject := "CN=" + strings.Repeat("x", 1100)
	k.seed(size, rand.New(rand.NewPCG(uint64(size), 1)), 0.02, func() string { return subject })
}

// make makes a report and compares it with one that is rendered whole; changed
// is how many segments were written for it.
func (k *keeper) make(format pca.AuditReportResponseFormat) (key string, changed int) {
	k.t.Helper()
	k.puts.Store(0)
	k.copies.Store(0)
	k.gets.Store(0)
	k.parts.Store(0)
	s := k.service(interval(0))
	out := k.mustCreate(s, format)
	stop := start(k.t, s)
	r := k.wait(s, out.AuditReportId)
	for busy := true; busy; time.Sleep(5 * time.Millisecond) { // collecting
		s.mu.Lock()
		busy = len(s.jobs) > 0
		s.mu.Unlock()
	}
	stop()
	k.check(r)
	return out.S3Key, int(k.puts.Load())
}

func (k *keeper) check(r *store.AuditReport) {
	k.t.Helper()
	if r.Status != pca.AuditReportStatus_SUCCESS {
		k.t.Fatalf("status %s, reason %s", r.Status, r.Reason)
	}
	body, _ := readObject(k.t, k.in, r.Key)
	parts, rows, revoked := k.render(newLayout(r.TreeSize, false), r.Format, 2, nil)
	same(k.t, "report", body, join(parts))
	if r.Rows != rows || r.Revoked != revoked || r.Bytes != uint64(len(body)) {
		k.t.Errorf("record %+v; want %d rows, %d revoked, %d bytes", r, rows, revoked, len(body))
	}
}

// kept are the segments of a format; each is fresh and there, and nothing else is.
func (k *keeper) kept(format pca.AuditReportResponseFormat) []store.Segment {
	k.t.Helper()
	_, all, err := k.db.Segments(context.Background(), testCA, format)
	if err != nil {
		k.t.Fatal(err)
	}
	var named []string
	var end uint64
	for _, g := range all {
		if g.Stale || g.Lo != end || g.Bytes < bucket.MinPart {
			k.t.Errorf("segment %+v after %d", g, end)
		}
		end = g.Hi
		named = append(named, g.Key)
	}
	if there := k.objects(format); !slices.Equal(there, named) {
		k.t.Errorf("objects %q, records %q", there, named)
	}
	return all
}

func (k *keeper) objects(format pca.AuditReportResponseFormat) (keys []string) {
	k.t.Helper()
	out, err := k.own.ListObjectsV2(context.Background(), &s3.ListObjectsV2Input{Bucket: &k.name, Prefix: aws.String(testCA + "/" + string(format) + "/")})
	if err != nil {
		k.t.Fatal(err)
	}
	for _, o := range out.Contents {
		keys = append(keys, *o.Key)
	}
	return keys
}

// overwrite changes an object of a segment.
func (k *keeper) overwrite(key string, body []byte) {
	k.t.Helper()
	if _, err := k.own.PutObject(context.Background(), &s3.PutObjectInput{Bucket: &k.name, Key: &key, Body: strings.NewReader(string(body))}); err != nil {
		k.t.Fatal(err)
	}
}

// TestSegments: a report is what it would be without segments, and renders only
// those that changed. TestSegmentsRestart does so in both formats.
func TestSegments(t *testing.T) {
	t.Parallel()
	const format = pca.AuditReportResponseFormat_JSON
	k := newKeeper(t)
	first, n := k.make(format)
	all := k.kept(format)
	if n < 4 || n != len(all) || int(k.copies.Load()) != n || k.parts.Load() != 1 {
		t.Fatalf("%d segments written, %d recorded, %d copied; %d parts sent", n, len(all), k.copies.Load(), k.parts.Load())
	}
	manifest, _ := readObject(t, k.in, first+".manifest")

	// Nothing changed, and nothing is rendered but the end.
	second, changed := k.make(format)
	if changed != 0 || int(k.copies.Load()) != n || k.parts.Load() != 1 || k.gets.Load() != 0 {
		t.Errorf("%d segments written, %d copied, %d read; %d parts sent", changed, k.copies.Load(), k.gets.Load(), k.parts.Load())
	}
	k.prove(k.in, second, manifest)

	// The first and the last certificate of one, every one of another, one
	// of the end, which is no segment; one of these twice over two reports.
	var touched []uint64
	revoke := func(lo, hi uint64) {
		touched = append(touched, k.valid(lo, hi)...)
	}
	revoke(all[1].Lo, all[1].Lo+5)
	revoke(all[1].Hi-5, all[1].Hi)
	revoke(all[3].Lo, all[3].Hi)
	revoke(0, 3) // the very first
	revoke(all[n-1].Hi, all[n-1].Hi+3)
	k.revokeAll(touched)
	if _, changed = k.make(format); changed != 3 {
		t.Errorf("%d segments written, want those that were touched", changed)
	}
	touched = nil
	revoke(all[1].Lo+5, all[1].Lo+12)
	k.revoke(touched[0], 1)
	third, changed := k.make(format)
	if changed != 1 {
		t.Errorf("%d segments written, want the one that was touched", changed)
	}
	k.prove(k.in, third, manifest)

	// The log grows: what was the end becomes segments too.
	head, err := k.db.LogHead(t.Context(), testCA)
	if err != nil {
		t.Fatal(err)
	}
	k.grow(int(head.Size) + 7000)
	k.revokeIn(store.Segment{Lo: all[n-1].Hi, Hi: all[n-1].Hi + 100})
	if _, changed = k.make(format); changed < 1 || changed > 3 {
		t.Errorf("%d segments written", changed)
	}
	if again := k.kept(format); len(again) <= n {
		t.Errorf("%d segments, there were %d", len(again), n)
	}
}

// TestSegmentsRestart stops the service at every request of an upload that is
// made of segments, fresh ones and stale ones.
func TestSegmentsRestart(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.make(pca.AuditReportResponseFormat_JSON)
	for _, g := range k.kept(pca.AuditReportResponseFormat_JSON)[:3] {
		k.revokeIn(g)
	}
	k.signer.taken.Store(0)
	k.restart(t, pca.AuditReportResponseFormat_JSON, false)
	k.restart(t, pca.AuditReportResponseFormat_CSV, false) // its first
	k.wire = nil
	for _, format := range bothFormats {
		if _, changed := k.make(format); changed != 0 {
			t.Errorf("%s: %d segments written after a restart", format, changed)
		}
		k.kept(format)
	}
}

// valid are the certificates of a range of the log that are not revoked.
func (k *keeper) valid(lo, hi uint64) (indexes []uint64) {
	k.t.Helper()
	revoked := map[uint64]bool{}
	err := k.db.Revocations(context.Background(), testCA, lo, hi, 1<<60, func(v store.Revocation) error {
		revoked[v.IssueIndex] = true
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
	k.entries(lo, hi, func(i uint64, e *certlog.Entry) {
		if e.Type == certlog.TypeIssue && !revoked[i] {
			indexes = append(indexes, i)
		}
	})
	return indexes
}

// revokeAll revokes certificates, all in one commit.
func (k *keeper) revokeAll(indexes []uint64) {
	k.t.Helper()
	serials := map[uint64][]byte{}
	k.entries(slices.Min(indexes), slices.Max(indexes)+1, func(i uint64, e *certlog.Entry) { serials[i] = slices.Clone(e.Serial) })
	var records []certlog.Record
	for i, index := range indexes {
		e := certlog.Entry{Type: certlog.TypeRevoke, Time: time.Now().UnixMilli(), Serial: serials[index], IssueIndex: index, Reason: []uint8{0, 1, 4, 5}[i%4]}
		b, err := e.Append(nil)
		if err != nil {
			k.t.Fatal(err)
		}
		records = append(records, certlog.Record{Entry: b, Rows: []certlog.Row{&store.Revocation{CA: testCA, IssueIndex: index, Time: e.Time, Reason: e.Reason, Serial: e.Serial}}})
	}
	if _, err := k.db.SeedBlock(k.t.Context(), testCA, records); err != nil {
		k.t.Fatal(err)
	}
}

// revokeIn revokes a certificate of a segment.
func (k *keeper) revokeIn(g store.Segment) {
	k.t.Helper()
	k.revoke(k.valid(g.Lo, g.Hi)[0], 1)
}

// TestSegmentsLost: what happens to segments costs their rendering, no report.
func TestSegmentsLost(t *testing.T) {
	t.Parallel()
	const format = pca.AuditReportResponseFormat_JSON
	k := newKeeper(t)
	k.make(format)
	n := len(k.kept(format))
	body := func(key string) []byte {
		b, err := readAll(k.own, k.name, key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	remove := func(keys ...string) {
		for _, key := range keys {
			if _, err := k.own.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &k.name, Key: &key}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name    string
		lose    func(all []store.Segment)
		changed int
	}{
		{"deleted, truncated, changed", func(all []store.Segment) {
			remove(all[0].Key)
			k.overwrite(all[1].Key, body(all[1].Key)[:bucket.MinPart])
			b := body(all[2].Key)
			b[len(b)/2] ^= 1
			k.overwrite(all[2].Key, b)
		}, 3},
		{"written again", func(all []store.Segment) { k.overwrite(all[2].Key, body(all[2].Key)) }, 0},
		{"bucket deleted", func(all []store.Segment) {
			remove(k.objects(format)...)
			if _, err := k.own.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: &k.name}); err != nil {
				t.Fatal(err)
			}
		}, n},
	} {
		tt.lose(k.kept(format))
		if _, changed := k.make(format); changed != tt.changed {
			t.Errorf("%s: %d segments written, want %d", tt.name, changed, tt.changed)
		}
		k.kept(format)
	}
	if _, changed := k.make(format); changed != 0 {
		t.Errorf("%d segments written at the end", changed)
	}

	// A bucket that cannot be written, then not even looked at.
	for _, method := range []string{http.MethodPut, ""} {
		k.revokeIn(k.kept(format)[0])
		k.wire = func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				if strings.Contains(r.URL.Path+"/", "/"+k.name+"/") && (method == "" || r.Method == method) {
					return answered(r, http.StatusForbidden, "AccessDenied"), nil
				}
				return next.RoundTrip(r)
			})
		}
		k.make(format)
		k.wire = nil
		if _, changed := k.make(format); changed != 1 {
			t.Errorf("%d segments written after the bucket was closed for %q, want the one that was touched", changed, method)
		}
	}
	k.kept(format)
	k.refusesOwn()
}

func readAll(c *s3.Client, bucket, key string) ([]byte, error) {
	out, err := c.GetObject(context.Background(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer out.Body.Close()
	return io.ReadAll(out.Body)
}

// TestSegmentsAborted: the upload vanishes while segments are copied into it.
func TestSegmentsAborted(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	k.make(pca.AuditReportResponseFormat_CSV)
	var once atomic.Bool
	k.wire = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if r.Header.Get("X-Amz-Copy-Source") != "" && once.CompareAndSwap(false, true) {
				key := strings.TrimPrefix(r.URL.Path, "/"+testBucket+"/")
				if _, err := k.s3.AbortMultipartUpload(context.Background(), &s3.AbortMultipartUploadInput{Bucket: aws.String(testBucket), Key: &key, UploadId: aws.String(r.URL.Query().Get("uploadId"))}); err != nil {
					t.Error(err)
				}
			}
			return resp, err
		})
	}
	if _, changed := k.make(pca.AuditReportResponseFormat_CSV); changed != 0 || !once.Load() {
		t.Errorf("%d segments written", changed)
	}
	k.kept(pca.AuditReportResponseFormat_CSV)
}

// TestPartsLost: the bucket service lacks a part that it took, as one does whose
// index was restored; the report is uploaded anew.
func TestPartsLost(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	var once atomic.Bool
	k.wire = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost && r.URL.Query().Has("uploadId") && once.CompareAndSwap(false, true) {
				return answered(r, http.StatusBadRequest, "InvalidPart"), nil
			}
			return next.RoundTrip(r)
		})
	}
	k.make(pca.AuditReportResponseFormat_CSV)
	if _, uploads := k.keys(); uploads != 0 || !once.Load() {
		t.Errorf("%d uploads are left", uploads)
	}
}

// TestSegmentsMerged: a report has no more parts than it should, and each report
// joins what is needed for that alone.
func TestSegmentsMerged(t *testing.T) {
	t.Parallel()
	const format = pca.AuditReportResponseFormat_JSON
	k := newKeeper(t)
	k.make(format)
	n := len(k.kept(format))
	k.house.parts = n
	if _, changed := k.make(format); changed != 1 || len(k.kept(format)) != n-1 {
		t.Errorf("%d segments written, %d kept of %d", changed, len(k.kept(format)), n)
	}
	k.house.parts = 3
	key, _ := k.make(format)
	if all := k.kept(format); len(all) != 2 {
		t.Errorf("%d segments", len(all))
	}
	k.prove(k.in, key)
	if _, changed := k.make(format); changed != 0 {
		t.Errorf("%d segments written again", changed)
	}
}

// refusesOwn asks for a report in the bucket of segments.
func (k *keeper) refusesOwn() {
	k.t.Helper()
	_, err := k.service(interval(0)).CreateCertificateAuthorityAuditReport(k.t.Context(), &pca.CreateCertificateAuthorityAuditReportRequest{
		CertificateAuthorityArn: caARN(testCA), S3BucketName: k.name, AuditReportResponseFormat: pca.AuditReportResponseFormat_JSON,
	})
	wantCode(k.t, err, pca.ValidationException, "own use")
}

type segmentRecords interface{ Segments }

// moved is a store in which someone else takes the set over once.
type moved struct {
	segmentRecords
	left atomic.Int32
}

func (m *moved) PutSegments(ctx context.Context, set store.SegmentSet, segments []store.Segment) error {
	if m.left.Add(-1) >= 0 {
		return store.ErrConflict
	}
	return m.segmentRecords.PutSegments(ctx, set, segments)
}

// TestSegmentsMoved: an attempt that is not alone leaves the report to the
// other, and it is found again when there is none.
func TestSegmentsMoved(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	m := &moved{segmentRecords: k.db}
	m.left.Store(1)
	s := k.service(interval(0), func(c *Config) { c.SegmentRecords = m })
	out := k.mustCreate(s, pca.AuditReportResponseFormat_JSON)
	defer start(t, s)()
	k.check(k.wait(s, out.AuditReportId))
	if m.left.Load() >= 0 {
		t.Error("nobody took the set over")
	}
	k.kept(pca.AuditReportResponseFormat_JSON)

	// Segments of a later report are left alone, those of another rendering dropped.
	set, _, err := k.db.Segments(t.Context(), testCA, pca.AuditReportResponseFormat_JSON)
	if err != nil {
		t.Fatal(err)
	}
	later := set
	later.Size += 1000
	if err := k.db.MoveSegments(t.Context(), set, later, nil); err != nil {
		t.Fatal(err)
	}
	if _, changed := k.make(pca.AuditReportResponseFormat_JSON); changed != 0 || k.copies.Load() != 0 {
		t.Errorf("%d segments written, %d copied", changed, k.copies.Load())
	}
	old := set
	old.Rendering = rendering.Version + 1
	if err := k.db.MoveSegments(t.Context(), later, old, nil); err != nil {
		t.Fatal(err)
	}
	if _, changed := k.make(pca.AuditReportResponseFormat_JSON); changed < 4 {
		t.Errorf("%d segments written", changed)
	}
}

// TestTendSegments: a damaged segment is found by reading, and those of a CA
// that is gone are deleted.
func TestTendSegments(t *testing.T) {
	t.Parallel()
	const format = pca.AuditReportResponseFormat_JSON
	k := newKeeper(t)
	k.make(format)
	all := k.kept(format)
	s := k.service()
	pass := func() {
		t.Helper()
		for share := range int64(tendShares) {
			if err := s.tendOnce(t.Context(), share); err != nil {
				t.Fatal(err)
			}
		}
	}
	k.gets.Store(0)
	pass()
	if n := int(k.gets.Load()); n != len(all) {
		t.Errorf("%d segments read of %d", n, len(all))
	}
	b, err := readAll(k.own, k.name, all[1].Key)
	if err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	k.overwrite(all[1].Key, b)
	pass()
	if _, now, err := k.db.Segments(t.Context(), testCA, format); err != nil || !now[1].Stale || now[0].Stale {
		t.Errorf("%+v, %v", now, err)
	}
	if _, changed := k.make(format); changed != 1 {
		t.Errorf("%d segments written", changed)
	}
	k.kept(format)

	// One that a report replaced in the meantime is no damage.
	var logged bytes.Buffer
	s.log = slog.New(slog.NewTextHandler(&logged, nil))
	set, all, err := k.db.Segments(t.Context(), testCA, format)
	if err != nil {
		t.Fatal(err)
	}
	set.Size--
	all[0].Key += "0"
	client, name := k.segments()
	if err := s.check(t.Context(), set, &all[0], client, name); err != nil || logged.Len() > 0 {
		t.Errorf("%v, logged %s", err, &logged)
	}

	k.cas.mu.Lock()
	delete(k.cas.m, testCA)
	k.cas.mu.Unlock()
	pass()
	if sets, err := k.db.SegmentSets(t.Context()); err != nil || len(sets) != 0 || len(k.objects(format)) != 0 {
		t.Errorf("%+v and %d objects are left of a CA that is gone, %v", sets, len(k.objects(format)), err)
	}
	pass()

	// What no setting uses any more is deleted whole.
	k.overwrite("other", b)
	if err := k.db.MoveSegments(t.Context(), store.SegmentSet{CA: set.CA, Format: set.Format}, set, nil); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := DropSegments(t.Context(), k.db, client, name); err != nil {
			t.Fatal(err)
		}
	}
	if sets, err := k.db.SegmentSets(t.Context()); err != nil || len(sets) != 0 {
		t.Errorf("%+v are left, %v", sets, err)
	}
	if _, err := readAll(k.own, k.name, "other"); err == nil {
		t.Error("an object is left")
	}
}

// TestSegmentsUnverified: where neither a checksum nor the ETag says that a copy
// is of the segment's bytes, parts pass through here.
func TestSegmentsUnverified(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `<CopyPartResult><ETag>"%s"</ETag></CopyPartResult>`, r.URL.Query().Get("partNumber"))
	}))
	t.Cleanup(other.Close)
	client, err := bucket.New(bucket.Config{Endpoint: other.URL, Credentials: aws.AnonymousCredentials{}})
	if err != nil {
		t.Fatal(err)
	}
	s := &segments{job: &job{log: discard}, bucket: testSegments}
	s.copies.Store(true)
	w := &writer{client: client, upload: bucket.Upload{Object: bucket.Object{Bucket: testBucket, Key: "report"}, ID: "upload"}}
	for _, number := range []int32{1, 2, 1} {
		before := s.copies.Load()
		_, ok, err := s.copyPart(t.Context(), w, number, &store.Segment{Key: "segment", ETag: `"1"`, Bytes: 5})
		if err != nil || ok != (number == 1 && before) {
			t.Errorf("part %d: %t, %v", number, ok, err)
		}
	}
	if s.copies.Load() {
		t.Error("the endpoint is still trusted")
	}
}

// TestForeignSegments: reports go to a service that is not ours, made of
// segments in a bucket beside them, or streamed from the embedded one.
func TestForeignSegments(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			t.Parallel()
			f := buckettest.StartForeign(t)
			if _, err := f.S3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(testBucket)}); err != nil {
				t.Fatal(err)
			}
			k := newKeeper(t)
			k.in = f.S3
			foreign := bucket.Config{Endpoint: f.Endpoint, Credentials: f.Credentials, Authorization: bucket.AuthorizeCredentials}
			k.house.client = func() (*bucket.Client, error) { return bucket.New(foreign) }
			if shared {
				k.own, k.name = f.S3, "own-segments"
				k.house.segments = func() (*bucket.Client, string) {
					c, err := bucket.New(foreign)
					if err != nil {
						t.Error(err)
					}
					return c, k.name
				}
			}
			format := bothFormats[btoi(shared)]
			k.make(format)
			all := k.kept(format)
			if len(all) < 4 {
				t.Fatalf("%d segments", len(all))
			}
			k.revokeIn(all[1])
			before := k.objects(format)
			b, err := readAll(k.own, k.name, all[2].Key)
			if err != nil {
				t.Fatal(err)
			}
			b[100] ^= 1
			k.overwrite(all[2].Key, b)
			if _, err := k.own.DeleteObjects(t.Context(), &s3.DeleteObjectsInput{Bucket: &k.name, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: &all[3].Key}}}}); err != nil {
				t.Fatal(err)
			}
			key, _ := k.make(format)
			k.prove(f.S3, key)
			k.kept(format)
			if shared {
				k.refusesOwn()
			}
			after := k.objects(format)
			var changed int
			for i := range before {
				if before[i] != after[i] {
					changed++
				}
			}
			if changed != 1 {
				t.Errorf("%d segments have another content", changed)
			}
			if b, err = readAll(k.own, k.name, all[2].Key); err != nil || intact(&all[2], b) != nil {
				t.Errorf("the changed segment was not written again: %v", err)
			}
		})
	}
}

// TestOldestFirst: runs are joined shortest first, and never beyond what one
// request takes.
func TestOldestFirst(t *testing.T) {
	t.Parallel()
	l := layout{size: 100 * certlog.BlockSize, blocks: 1, parts: 93}
	s := &segments{}
	for lo := uint64(0); lo < 90; lo++ {
		s.runs = append(s.runs, run{lo: lo * certlog.BlockSize, hi: (lo + 1) * certlog.BlockSize, bytes: 8 << 20})
	}
	s.runs[2].bytes = maxSegment
	s.merge(l) // 90 and 10
	var widths []uint64
	for _, r := range s.runs[:12] {
		widths = append(widths, (r.hi-r.lo)/certlog.BlockSize)
	}
	if len(s.runs) != 83 || !slices.Equal(widths, []uint64{2, 1, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1}) {
		t.Errorf("%d runs, widths %d", len(s.runs), widths)
	}
	l.parts = 20
	s.merge(l)
	if len(s.runs) > 12 || s.end() != 90*certlog.BlockSize {
		t.Errorf("%d runs to %d", len(s.runs), s.end())
	}
}
