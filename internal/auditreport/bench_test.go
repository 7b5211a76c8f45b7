//go:build unix

package auditreport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// benchBlocks whole blocks are rendered in a benchmark: 16 are 262,144 entries.
const benchBlocks = 16

func benchHouse(b *testing.B) *house {
	h := emptyHouse(b)
	h.bucket()
	rnd := rand.New(rand.NewPCG(1, 1))
	h.seed(benchBlocks*certlog.BlockSize, rnd, 0.02, func() string {
		return fmt.Sprintf("CN=host-%d.example.com,OU=Engineering,O=Example Company,L=Seattle,ST=Washington,C=US", rnd.IntN(1e6))
	})
	return h
}

// BenchmarkRender goes from packs to memory, BenchmarkReport from packs to the
// embedded bucket through the whole service.
func BenchmarkRenderJSON(b *testing.B) { benchmarkRender(b, pca.AuditReportResponseFormat_JSON) }
func BenchmarkRenderCSV(b *testing.B)  { benchmarkRender(b, pca.AuditReportResponseFormat_CSV) }
func BenchmarkReportJSON(b *testing.B) { benchmarkReport(b, pca.AuditReportResponseFormat_JSON) }
func BenchmarkReportCSV(b *testing.B)  { benchmarkReport(b, pca.AuditReportResponseFormat_CSV) }

func benchmarkRender(b *testing.B, format pca.AuditReportResponseFormat) {
	h := benchHouse(b)
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			var pool buffers
			var rows, bytes uint64
			before := cpu(b)
			for b.Loop() {
				r := &renderer{entries: h.db, ca: testCA, caARN: []byte(caARN(testCA)), format: format, layout: newLayout(benchBlocks*certlog.BlockSize, false), workers: workers, buffers: &pool}
				err := r.run(context.Background(), 0, func(c chunk) error {
					rows += c.rows
					bytes += uint64(len(c.buf))
					pool.put(c.buf)
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			b.SetBytes(int64(bytes) / int64(b.N))
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(float64(cpu(b)-before)/float64(rows), "cpu-ns/row")
		})
	}
}

func benchmarkReport(b *testing.B, format pca.AuditReportResponseFormat) {
	h := benchHouse(b)
	s := h.service(interval(0))
	defer start(b, s)()
	var rows uint64
	before := cpu(b)
	for b.Loop() {
		out := h.mustCreate(s, format)
		r := h.wait(s, out.AuditReportId)
		if r.Status != pca.AuditReportStatus_SUCCESS {
			b.Fatalf("record %+v", r)
		}
		rows += r.Rows
		b.SetBytes(int64(r.Bytes))
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(cpu(b)-before)/float64(rows), "cpu-ns/row")
}

// BenchmarkSecondReport is a report after one that left segments: nothing, a few
// certificates of the last blocks, or one in every block was revoked since.
func BenchmarkSecondReport(b *testing.B) {
	h := benchHouse(b)
	h.segments = func() (*bucket.Client, string) {
		c, err := bucket.New(bucket.Config{Transport: h.buckets.Transport(&iam.Principal{Service: bucket.ServicePrincipal})})
		if err != nil {
			b.Error(err)
		}
		return c, testSegments
	}
	s := h.service(interval(0))
	defer start(b, s)()
	report := func() {
		if r := h.wait(s, h.mustCreate(s, pca.AuditReportResponseFormat_JSON).AuditReportId); r.Status != pca.AuditReportStatus_SUCCESS {
			b.Fatalf("record %+v", r)
		}
	}
	report()
	next := uint64(1)
	for _, tt := range []struct {
		name   string
		blocks uint64 // in which a certificate is revoked
	}{{"nothing", 0}, {"recent", 2}, {"scattered", benchBlocks}} {
		b.Run(tt.name, func(b *testing.B) {
			var used time.Duration
			for b.Loop() {
				b.StopTimer()
				for block := benchBlocks - tt.blocks; block < benchBlocks; block++ {
					for !h.live(block*certlog.BlockSize + next) {
						next++
					}
					h.revoke(block*certlog.BlockSize+next, 1)
				}
				next++
				before := cpu(b)
				b.StartTimer()
				report()
				used += cpu(b) - before
			}
			b.ReportMetric(float64(used.Milliseconds())/float64(b.N), "cpu-ms/op")
		})
	}
}

// live tells whether an entry is of a certificate that is not revoked.
func (h *house) live(index uint64) (live bool) {
	h.t.Helper()
	h.entries(index, index+1, func(_ uint64, e *certlog.Entry) { live = e.Type == certlog.TypeIssue })
	err := h.db.Revocations(context.Background(), testCA, index, index+1, 1<<60, func(store.Revocation) error {
		live = false
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return live
}

// cpu is the processor time of this process so far, of all threads. Other
// programs on the machine do not count.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
