//go:build unix

package auditreport

import (
	"context"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
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
