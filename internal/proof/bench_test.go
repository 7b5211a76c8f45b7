//go:build unix

package proof_test

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/proof/prooftest"
)

// BenchmarkVerify verifies a report of 2^20 entries; the files are in the page
// cache.
func BenchmarkVerify(b *testing.B) {
	const size = 1 << 20
	ca, err := prooftest.NewCA(testCA)
	if err != nil {
		b.Fatal(err)
	}
	for _, format := range []string{"JSON", "CSV"} {
		dir := b.TempDir()
		path, err := ca.WriteFiles(dir, ca.Typical(size, reportID, format), prooftest.Options{Report: reportID, Format: format})
		if err != nil {
			b.Fatal(err)
		}
		for _, mode := range []string{"full", "quick"} {
			for _, workers := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%s/workers=%d", format, mode, workers), func(b *testing.B) {
					report, err := os.Open(path)
					if err != nil {
						b.Fatal(err)
					}
					defer report.Close()
					info, err := report.Stat()
					if err != nil {
						b.Fatal(err)
					}
					manifest, err := os.ReadFile(path + proof.ManifestSuffix)
					if err != nil {
						b.Fatal(err)
					}
					b.SetBytes(info.Size())
					before := cpu(b)
					var rows uint64
					for b.Loop() {
						r, err := proof.Verify(context.Background(), proof.VerifyConfig{
							Report: report, ReportSize: info.Size(), Manifest: manifest, Log: os.DirFS(dir + "/log"),
							CACertificates: [][]byte{ca.Certificate}, Quick: mode == "quick", Workers: workers,
						})
						if err != nil || r.ExitCode() != 3 {
							b.Fatal(r, err)
						}
						rows += r.Rows
					}
					b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
					b.ReportMetric(float64(cpu(b)-before)/float64(rows), "cpu-ns/row")
				})
			}
		}
	}
}

// cpu is the processor time of this process so far, of all threads.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
