package auditreport

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// largeHouse has a log whose report takes several parts.
func largeHouse(t testing.TB) *house {
	h := emptyHouse(t)
	h.bucket()
	h.seedLarge(0.03)
	return h
}

// TestLargeReport is a report in parts; what is in the bucket equals the
// concatenation of the rows, and nothing is visible before it is whole.
func TestLargeReport(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	h.bucket()
	h.seed(3*certlog.BlockSize+123, rand.New(rand.NewPCG(5, 5)), 0.03, longSubject) // parts as in the product
	var key atomic.Value
	var looked, early atomic.Int32
	h.wire = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			resp, err := next.RoundTrip(r)
			if k, ok := key.Load().(string); ok && r.URL.Query().Has("partNumber") {
				looked.Add(1)
				if _, err := h.s3.HeadObject(context.Background(), &s3.HeadObjectInput{Bucket: aws.String(testBucket), Key: &k}); err == nil {
					early.Add(1)
				}
			}
			return resp, err
		})
	}
	s := h.service(interval(0))
	for _, format := range bothFormats {
		out := h.mustCreate(s, format)
		key.Store(out.S3Key)
		stop := start(t, s)
		r := h.wait(s, out.AuditReportId)
		stop()
		body, _ := h.get(out.S3Key)
		if r.Status != pca.AuditReportStatus_SUCCESS || len(body) <= 16<<20 || r.Bytes != uint64(len(body)) {
			t.Fatalf("record %+v, %d bytes", r, len(body))
		}
		want := h.want(r.TreeSize, format)
		same(t, string(format), body, want)
		parts, rows, revoked := h.render(newLayout(r.TreeSize, false), format, 1, nil)
		whole := sha256.New()
		for _, p := range parts {
			sum := sha256.Sum256(p.buf)
			whole.Write(sum[:])
		}
		if string(whole.Sum(nil)) != string(r.SHA256) || rows != r.Rows || revoked != r.Revoked || revoked == 0 {
			t.Errorf("record %+v; %d rows, %d revoked", r, rows, revoked)
		}
		if left, err := h.db.UploadedParts(t.Context(), r.ID); err != nil || len(left) != 0 {
			t.Errorf("left: %d parts, %v", len(left), err)
		}
	}
	if looked.Load() < 4 || early.Load() > 0 {
		t.Errorf("the object was there at %d of %d looks", early.Load(), looked.Load())
	}
}

// TestRestart stops the service at every part, at the Complete and after it,
// and lets a new one over the same store go on.
func TestRestart(t *testing.T) {
	t.Parallel()
	h := largeHouse(t)
	h.restart(t, pca.AuditReportResponseFormat_JSON, false)
	h.restart(t, pca.AuditReportResponseFormat_CSV, true)
}

func (h *house) restart(t *testing.T, format pca.AuditReportResponseFormat, uniform bool) {
	t.Helper()
	h.uniformParts = uniform // the embedded service does not ask for that, but takes it
	var mu sync.Mutex
	var stopped bool
	var again = map[string]int{} // parts by number: how often they were written
	step := 0                    // requests of an upload that a process may still make; then it dies
	h.wire = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			q := r.URL.Query()
			mu.Lock()
			if stopped { // a dead process does not look at its object either
				mu.Unlock()
				return nil, errors.New("the process is dead")
			}
			if !q.Has("uploadId") && !q.Has("uploads") {
				mu.Unlock()
				return next.RoundTrip(r)
			}
			step--
			die := step < 0
			stopped = stopped || die
			if n := q.Get("partNumber"); n != "" {
				again[n]++
			}
			mu.Unlock()
			resp, err := next.RoundTrip(r) // the request arrives, its answer does not
			if die {
				if err == nil {
					resp.Body.Close()
				}
				return nil, errors.New("the process dies")
			}
			return resp, err
		})
	}
	var id, key string
	deaths := 0
	for steps := 0; ; steps++ {
		mu.Lock()
		stopped, step = false, 1+steps/2
		mu.Unlock()
		s := h.service(interval(0), retryFor(time.Hour))
		s.backoff = time.Hour // a dead process tries nothing again
		if id == "" {
			out := h.mustCreate(s, format)
			id, key = out.AuditReportId, out.S3Key
		}
		stop := start(t, s)
		for h.report(id).Status == pca.AuditReportStatus_CREATING {
			mu.Lock()
			dead := stopped
			mu.Unlock()
			if dead {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		mu.Lock()
		dead := stopped
		mu.Unlock()
		stop()
		r := h.report(id)
		if !dead {
			if r.Status != pca.AuditReportStatus_SUCCESS {
				t.Fatalf("record %+v", r)
			}
			break
		}
		deaths++
		if r.Status != pca.AuditReportStatus_CREATING {
			t.Fatalf("a dead process set %s: %s", r.Status, r.Reason)
		}
		if steps > 100 {
			t.Fatal("the report makes no progress")
		}
	}
	r := h.report(id)
	body, _ := h.get(key)
	same(t, "resumed report", body, h.want(r.TreeSize, format))
	_, rows, revoked := h.render(newLayout(r.TreeSize, uniform), format, 2, nil)
	if r.Rows != rows || r.Revoked != revoked || r.Bytes != uint64(len(body)) {
		t.Errorf("record %+v; want %d rows, %d revoked, %d bytes", r, rows, revoked, len(body))
	}
	if objects, uploads := h.keys(); uploads != 0 || objects == nil {
		t.Errorf("%s uniform=%v: %d uploads are left", format, uniform, uploads)
	}
	if deaths < 2 {
		t.Errorf("%d deaths only", deaths)
	}
	// However often it was begun, one head was signed.
	if n := h.signer.taken.Swap(0); n != 1 {
		t.Errorf("%d checkpoints were taken", n)
	}
	h.prove(h.s3, key)
	t.Logf("%s uniform=%v: %d deaths, parts written %v", format, uniform, deaths, again)
}

// answered is an error of the bucket service. The SDK tries again by itself, and
// waits, after some; not after OperationAborted.
func answered(r *http.Request, status int, code string) *http.Response {
	body := "<Error><Code>" + code + "</Code><Message>made by the test</Message></Error>"
	return &http.Response{StatusCode: status, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body))}
}

// TestTransient: errors that go away are waited for; those that stay end in
// FAILED with a reason after RetryFor.
func TestTransient(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		matches func(*http.Request) bool
		times   int32
		ok      bool
	}{
		{"parts", func(r *http.Request) bool { return r.URL.Query().Has("partNumber") }, 4, true},
		{"create", func(r *http.Request) bool { return r.URL.Query().Has("uploads") }, 4, true},
		{"complete", func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }, 4, true},
		{"parts for ever", func(r *http.Request) bool { return r.URL.Query().Has("partNumber") }, 1 << 30, false},
		{"complete for ever", func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }, 1 << 30, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := emptyHouse(t)
			h.bucket()
			h.seedLarge(0)
			var n atomic.Int32
			h.wire = func(next http.RoundTripper) http.RoundTripper {
				return roundTrip(func(r *http.Request) (*http.Response, error) {
					if tt.matches(r) && n.Add(1) <= tt.times {
						return answered(r, http.StatusConflict, "OperationAborted"), nil
					}
					return next.RoundTrip(r)
				})
			}
			wait := time.Minute
			if !tt.ok {
				wait = 10 * time.Millisecond
			}
			s := h.service(retryFor(wait))
			out := h.mustCreate(s, pca.AuditReportResponseFormat_CSV)
			defer start(t, s)()
			r := h.wait(s, out.AuditReportId)
			body, _ := h.get(out.S3Key)
			if tt.ok {
				if r.Status != pca.AuditReportStatus_SUCCESS {
					t.Fatalf("record %+v", r)
				}
				same(t, "report", body, h.want(r.TreeSize, r.Format))
				return
			}
			if r.Status != pca.AuditReportStatus_FAILED || !strings.Contains(r.Reason, "OperationAborted") || body != nil {
				t.Errorf("status %s, reason %q, %d bytes", r.Status, r.Reason, len(body))
			}
			if objects, uploads := h.reports(); len(objects) != 0 || uploads != 0 {
				t.Errorf("left: %q and %d uploads", objects, uploads)
			}
		})
	}
}

// TestUploadAborted: someone aborts the upload under way; the report begins anew.
func TestUploadAborted(t *testing.T) {
	t.Parallel()
	h := largeHouse(t)
	for _, at := range []string{"2", "complete"} {
		var once sync.Once
		h.wire = func(next http.RoundTripper) http.RoundTripper {
			return roundTrip(func(r *http.Request) (*http.Response, error) {
				q := r.URL.Query()
				if q.Get("partNumber") == at || at == "complete" && r.Method == http.MethodPost && q.Has("uploadId") {
					once.Do(func() {
						key := strings.TrimPrefix(r.URL.Path, "/"+testBucket+"/")
						if _, err := h.s3.AbortMultipartUpload(context.Background(), &s3.AbortMultipartUploadInput{Bucket: aws.String(testBucket), Key: &key, UploadId: aws.String(q.Get("uploadId"))}); err != nil {
							t.Error(err)
						}
					})
				}
				return next.RoundTrip(r)
			})
		}
		s := h.service(interval(0))
		out := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
		stop := start(t, s)
		r := h.wait(s, out.AuditReportId)
		stop()
		if r.Status != pca.AuditReportStatus_SUCCESS {
			t.Fatalf("record %+v", r)
		}
		body, _ := h.get(out.S3Key)
		same(t, "report", body, h.want(r.TreeSize, r.Format))
	}
}

// TestDanglingUpload: the id of an upload was lost in a crash; the CA's next
// report aborts it.
func TestDanglingUpload(t *testing.T) {
	t.Parallel()
	h := largeHouse(t)
	for _, prefix := range []string{"audit-report/" + testCA + "/", "audit-report/" + otherCA + "/"} {
		if _, err := h.s3.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String(testBucket), Key: aws.String(prefix + "lost.json")}); err != nil {
			t.Fatal(err)
		}
	}
	s := h.service()
	out := h.mustCreate(s, pca.AuditReportResponseFormat_CSV)
	defer start(t, s)()
	if r := h.wait(s, out.AuditReportId); r.Status != pca.AuditReportStatus_SUCCESS {
		t.Fatalf("record %+v", r)
	}
	if _, uploads := h.keys(); uploads != 1 {
		t.Errorf("%d uploads are left, want the other CA's alone", uploads)
	}
}

// forgetful loses commits' answers, or the update to SUCCESS, of the store.
type forgetful struct {
	*house
	appends, updates atomic.Int32
}

func (f *forgetful) Append(ctx context.Context, ca string, r certlog.Record) (uint64, error) {
	index, err := f.log.Append(ctx, ca, r)
	if err == nil && f.appends.Add(-1) >= 0 {
		return 0, errors.New("the answer was lost")
	}
	return index, err
}

// reportRecords are Reports under a name that is not also a method's.
type reportRecords = Reports

type lostUpdates struct {
	reportRecords
	f     *forgetful
	after bool // the update is stored, its answer lost
}

func (l lostUpdates) UpdateReport(ctx context.Context, r *store.AuditReport) error {
	if r.Status == pca.AuditReportStatus_SUCCESS && l.f.updates.Add(-1) >= 0 {
		if l.after {
			stored := *r
			if err := l.reportRecords.UpdateReport(ctx, &stored); err != nil {
				return err
			}
		}
		return errors.New("the answer was lost")
	}
	return l.reportRecords.UpdateReport(ctx, r)
}

// TestLostCommit: the record was stored and the call failed; the report is
// made all the same, at the next start at the latest.
func TestLostCommit(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	f := &forgetful{house: h}
	f.appends.Store(1)
	s := h.service(func(c *Config) { c.Log = f })
	if _, err := h.create(s, pca.AuditReportResponseFormat_JSON); err == nil {
		t.Fatal("the lost answer was made up")
	}
	reports, err := h.db.UnfinishedReports(t.Context())
	if err != nil || len(reports) != 1 {
		t.Fatalf("%d unfinished reports, %v", len(reports), err)
	}
	defer start(t, s)()
	if r := h.wait(s, reports[0].ID); r.Status != pca.AuditReportStatus_SUCCESS {
		t.Errorf("record %+v", r)
	}
}

// TestLostSuccess: the object is in the bucket and SUCCESS did not get into
// the store, or did and nobody heard of it.
func TestLostSuccess(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%v", after), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.bucket()
			f := &forgetful{house: h}
			f.updates.Store(1)
			s := h.service(func(c *Config) { c.Reports = lostUpdates{h.db, f, after} })
			out := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
			defer start(t, s)()
			r := h.wait(s, out.AuditReportId)
			body, _ := h.get(out.S3Key)
			if r.Status != pca.AuditReportStatus_SUCCESS || uint64(len(body)) != r.Bytes {
				t.Errorf("record %+v, %d bytes", r, len(body))
			}
		})
	}
}

// TestStoppedBeforeItsTurn: a report that waits for a longer one is made after
// a restart.
func TestStoppedBeforeItsTurn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	s := h.service()
	out := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
	for range smallReports {
		s.small <- struct{}{}
	}
	stop := start(t, s)
	// Its head is signed meanwhile: witnesses may be slow, and take no lane.
	for deadline := time.Now().Add(time.Minute); h.report(out.AuditReportId).Checkpoint == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no head was signed for a report that waits")
		}
	}
	if p, err := s.Progress(t.Context(), testCA, out.AuditReportId); err != nil || p.Status != pca.AuditReportStatus_CREATING || p.Done != 0 || p.Total != 2 {
		t.Errorf("progress %+v, %v", p, err)
	}
	stop()
	s = h.service()
	defer start(t, s)()
	if r := h.wait(s, out.AuditReportId); r.Status != pca.AuditReportStatus_SUCCESS {
		t.Errorf("record %+v", r)
	}
}
