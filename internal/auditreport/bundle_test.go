package auditreport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/store"
)

// TestBundle: what lies beside a report proves it, is there before it, and a
// later report is proven to extend an earlier one.
func TestBundle(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	var mu sync.Mutex
	var written []string // keys in their order
	h.wire = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPut && !strings.HasSuffix(r.URL.Path, "/acm-pca-permission-test-key-private") {
				mu.Lock()
				written = append(written, strings.TrimPrefix(r.URL.Path, "/"+testBucket+"/audit-report/"+testCA+"/"))
				mu.Unlock()
			}
			return next.RoundTrip(r)
		})
	}
	s := h.service(interval(0))
	defer start(t, s)()
	var known [][]byte
	var last *proof.Manifest
	for i, format := range []pca.AuditReportResponseFormat{"JSON", "CSV", "JSON"} {
		written = nil
		if i < 2 {
			h.revoke(h.issue("CN=a"), 1)
			h.issue("CN=b")
		}
		out := h.mustCreate(s, format)
		r := h.wait(s, out.AuditReportId)
		if r.Status != pca.AuditReportStatus_SUCCESS {
			t.Fatalf("record %+v", r)
		}
		name := strings.TrimPrefix(out.S3Key, "audit-report/"+testCA+"/")
		want := []string{fmt.Sprintf("log/entries/000000000000-%012d.zst", r.TreeSize), name + ".manifest", "log/checkpoint", name}
		if !slices.Equal(written, want) {
			t.Errorf("written were %q, want %q", written, want)
		}
		h.prove(h.s3, out.S3Key, known...)
		signed, _ := h.get(out.S3Key + proof.ManifestSuffix)
		m, err := proof.OpenManifest(signed)
		if err != nil {
			t.Fatal(err)
		}
		checkpoint, _ := h.get("audit-report/" + testCA + "/log/checkpoint")
		if string(checkpoint) != string(m.Checkpoint) || string(checkpoint) != string(r.Checkpoint) {
			t.Errorf("three checkpoints:\n%s%s%s", checkpoint, m.Checkpoint, r.Checkpoint)
		}
		if m.Report != r.ID || m.CA != r.CAARN || m.Created != r.CreatedAt.UnixMilli() || m.Issued != r.Rows || m.Revoked != r.Revoked || m.Bytes != int64(r.Bytes) || m.GatePolicy == nil {
			t.Errorf("manifest %+v of record %+v", m, r)
		}
		if last == nil && m.Previous != nil || last != nil && (m.Previous == nil || *m.Previous != proof.Previous{Report: last.Report, Size: last.Size, Root: last.Root}) {
			t.Errorf("the report before is %+v, want %+v", m.Previous, last)
		}
		known, last = append(known, signed), m
	}
	if n := h.signer.taken.Load(); n != 3 {
		t.Errorf("%d checkpoints were taken of 3 reports", n)
	}
}

// TestProofFails: a report without its proof never appears.
func TestProofFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		err    error  // of the checkpoint
		object string // that cannot be written
		once   bool
		reason string // empty: the report succeeds
	}{
		{name: "no checkpoint for a while", err: errors.New("made by the test"), once: true},
		{name: "no checkpoint", err: errors.New("made by the test"), reason: "The proof that goes with the report could not be made"},
		{name: "the log was rolled back", err: certlog.ErrHead, reason: "not what it was known to be"},
		{name: "a pack is late", object: ".zst", once: true},
		{name: "the manifest is late", object: ".manifest", once: true},
		{name: "no packs", object: ".zst", reason: "OperationAborted"},
		{name: "no manifest", object: ".manifest", reason: "OperationAborted"},
		{name: "no newest checkpoint", object: "/checkpoint", reason: "OperationAborted"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			h.bucket()
			h.issue("CN=a")
			failed := make(chan struct{}, 1000)
			if tt.err != nil {
				h.signer.fail = func() error {
					if failed <- struct{}{}; tt.once && len(failed) > 1 {
						return nil
					}
					return tt.err
				}
			} else {
				h.wire = func(next http.RoundTripper) http.RoundTripper {
					return roundTrip(func(r *http.Request) (*http.Response, error) {
						if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, tt.object) {
							return next.RoundTrip(r)
						}
						if failed <- struct{}{}; tt.once && len(failed) > 3 {
							return next.RoundTrip(r)
						}
						return answered(r, http.StatusConflict, "OperationAborted"), nil
					})
				}
			}
			wait := time.Minute
			if tt.reason != "" {
				wait = 10 * time.Millisecond
			}
			s := h.service(retryFor(wait))
			out := h.mustCreate(s, pca.AuditReportResponseFormat_JSON)
			defer start(t, s)()
			r := h.wait(s, out.AuditReportId)
			if tt.reason == "" {
				if r.Status != pca.AuditReportStatus_SUCCESS || len(failed) < 2 {
					t.Fatalf("record %+v", r)
				}
				h.prove(h.s3, out.S3Key)
				return
			}
			if r.Status != pca.AuditReportStatus_FAILED || !strings.Contains(r.Reason, tt.reason) {
				t.Errorf("status %s, reason %q", r.Status, r.Reason)
			}
			if objects, _ := h.reports(); len(objects) != 0 {
				t.Errorf("left: %q", objects)
			}
		})
	}
}

// TestGateAsksForTheProof: a policy that lets reports be written and their
// proofs not is refused before anything is written.
func TestGateAsksForTheProof(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.bucket()
	h.policy(strings.ReplaceAll(string(bucket.PolicyFor(testBucket, "", "")), testBucket+"/*", testBucket+"/*.json"))
	_, err := h.create(h.service(), pca.AuditReportResponseFormat_JSON)
	wantCode(t, err, pca.ValidationException, ".json.manifest")
	if objects, _ := h.keys(); len(objects) != 0 {
		t.Errorf("left: %q", objects)
	}
}

// TestPacks: only what the bucket lacks is written, whole blocks as the store
// has them, and the entries read back are those of the log; whether the bucket
// is listed to the server or not.
func TestPacks(t *testing.T) {
	t.Parallel()
	h := emptyHouse(t)
	h.bucket()
	const full = proof.PackSize
	h.seed(full+certlog.BlockSize+50, rand.New(rand.NewPCG(7, 7)), 0, func() string { return "CN=a" })
	var written []string
	listed := true
	h.wire = func(next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			q := r.URL.Query()
			if r.Method == http.MethodPut {
				written = append(written, r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
			}
			if q.Has("list-type") && !listed {
				return answered(r, http.StatusForbidden, "AccessDenied"), nil
			}
			return next.RoundTrip(r)
		})
	}
	name := func(lo, hi uint64) string { return strings.TrimPrefix(proof.PackName(lo, hi), proof.EntriesFolder+"/") }
	// packs writes what a report of the first size entries needs.
	packs := func(size uint64, want ...string) {
		t.Helper()
		written = nil
		s := h.service()
		j := &job{service: s, report: &store.AuditReport{CA: testCA, Account: testAccount, CAARN: caARN(testCA), Bucket: testBucket, TreeSize: size}, log: discard}
		client, err := s.cfg.Destination(t.Context(), testAccount, caARN(testCA))
		if err != nil {
			t.Fatal(err)
		}
		if err := j.bundle(client, &proof.Head{Origin: origin, Size: size}).packs(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(written, want) {
			t.Errorf("for %d entries %q were written, want %q", size, written, want)
		}
	}
	packs(300, name(0, 300))
	packs(300)
	packs(200) // an earlier report
	packs(full+certlog.BlockSize+9, name(0, full), name(full, full+certlog.BlockSize+9))
	packs(full + 100) // there as the beginning of a longer one
	packs(full+certlog.BlockSize+50, name(full, full+certlog.BlockSize+50))
	h.readPacks(t, full+certlog.BlockSize+50)

	// The bucket is not listed any more: what is remembered counts, and of what
	// was written before nothing is, so it is sent again and found there.
	listed = false
	packs(full, name(0, full))
	packs(full+100, name(full, full+100))
	packs(full + 100)
	packs(full+certlog.BlockSize, name(full, full+certlog.BlockSize))
	if _, err := h.s3.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String(testBucket), Key: aws.String(proof.LogFolder(testCA, 1) + "/" + proof.PackName(0, full))}); err != nil {
		t.Fatal(err)
	}
	listed = true // what somebody removed comes back with the next report
	packs(full+1, name(0, full))
	h.readPacks(t, full+certlog.BlockSize+50)

	// A recovered log has a folder of its own.
	s := h.service()
	j := &job{service: s, report: &store.AuditReport{CA: testCA}}
	if b := j.bundle(nil, &proof.Head{Origin: origin + "/2"}); b.folder != proof.LogFolder(testCA, 2) {
		t.Errorf("the second epoch goes to %s", b.folder)
	}
}

// readPacks compares the packs in the bucket with the log.
func (h *house) readPacks(t *testing.T, size uint64) {
	t.Helper()
	p, err := proof.OpenPacks(h.logFolder(h.s3))
	if err != nil {
		t.Fatal(err)
	}
	if p.End() != size {
		t.Errorf("the packs reach to entry %d, want %d", p.End(), size)
	}
	r, err := p.Reader()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for lo := uint64(0); lo < size; lo += certlog.BlockSize {
		got, err := r.Block(nil, lo/certlog.BlockSize)
		if err != nil {
			t.Fatal(err)
		}
		want, err := h.db.AppendLogBundle(t.Context(), nil, testCA, lo, min(lo+certlog.BlockSize, size))
		if err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("block at %d", lo), got, want)
	}
}
