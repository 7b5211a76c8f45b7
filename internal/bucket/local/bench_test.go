package local

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"
)

const (
	benchPart  = 8 << 20
	benchParts = 32
)

// BenchmarkMultipartInProcess uploads 256 MiB in parts of 8 MiB through
// Transport, and writes the same bytes to plain files, one fsync a file; it
// reports the ratio.
func BenchmarkMultipartInProcess(b *testing.B) {
	s := startIn(b, filepath.Join(b.TempDir(), "b"), nil)
	rt := s.Transport(pca())
	if status, _, _, err := roundTrip(rt, http.MethodPut, "chirograph-internal-bench", nil); err != nil || status != 200 {
		b.Fatal(status, err)
	}
	part := random(benchPart, 1)
	raw := b.TempDir()
	var ours, plain time.Duration
	// Each phase begins on a quiet folder: what the other one left is removed
	// and on the disk, or one would be timed while it pays for the other.
	quiet := func() {
		for i := range benchParts {
			if err := os.Remove(filepath.Join(raw, fmt.Sprint(i))); err != nil && !os.IsNotExist(err) {
				b.Fatal(err)
			}
		}
		if status, text, _, err := roundTrip(rt, http.MethodDelete, "chirograph-internal-bench/k", nil); err != nil || status != http.StatusNoContent {
			b.Fatal(status, string(text), err)
		}
		if n := s.partFiles(b); n != 0 {
			b.Fatalf("%d part files are left", n)
		}
		for _, dir := range []string{raw, s.dir} {
			if err := syncDir(dir); err != nil {
				b.Fatal(err)
			}
		}
	}
	plainFiles := func() {
		quiet()
		began := time.Now()
		for i := range benchParts {
			if err := writeFile(filepath.Join(raw, fmt.Sprint(i)), part); err != nil {
				b.Fatal(err)
			}
		}
		plain += time.Since(began)
	}
	upload := func() {
		b.StopTimer()
		quiet()
		b.StartTimer()
		began := time.Now()
		_, text, _, err := roundTrip(rt, http.MethodPost, "chirograph-internal-bench/k?uploads", nil)
		if err != nil {
			b.Fatal(err)
		}
		id := between(string(text), "<UploadId>", "</UploadId>")
		var xml strings.Builder
		xml.WriteString("<CompleteMultipartUpload>")
		for i := range benchParts {
			_, _, h, err := roundTrip(rt, http.MethodPut, fmt.Sprintf("chirograph-internal-bench/k?partNumber=%d&uploadId=%s", i+1, id), part)
			if err != nil {
				b.Fatal(err)
			}
			fmt.Fprintf(&xml, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, strings.Trim(h.Get("Etag"), `"`))
		}
		xml.WriteString("</CompleteMultipartUpload>")
		if status, text, _, err := roundTrip(rt, http.MethodPost, "chirograph-internal-bench/k?uploadId="+id, []byte(xml.String())); err != nil || status != 200 {
			b.Fatal(status, string(text), err)
		}
		ours += time.Since(began)
		b.StopTimer()
	}
	b.SetBytes(benchPart * benchParts)
	for round := 0; b.Loop(); round++ {
		b.StopTimer()
		if round%2 == 0 { // neither is always first
			plainFiles()
			upload()
		} else {
			upload()
			plainFiles()
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(plain.Milliseconds())/float64(b.N), "raw-ms")
	b.ReportMetric(float64(ours)/float64(plain), "x-raw-files")
}

func writeFile(path string, data []byte) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// BenchmarkRows uploads and reads parts of 8 MiB that are like a report's, with
// 4 requests in flight, plain and packed; it reports the CPU time of the whole
// process and the bytes on the disk by row of 540 bytes.
func BenchmarkRows(b *testing.B) {
	const bucket, row, inFlight = "chirograph-internal-bench", 540, 4
	part := reportRows(benchPart)[:benchPart]
	for _, plain := range []bool{true, false} {
		name := map[bool]string{true: "plain", false: "packed"}[plain]
		f := startIn(b, filepath.Join(b.TempDir(), "b"), func(c *Config) { c.Plain = plain })
		rt := f.Transport(pca())
		if status, _, _, err := roundTrip(rt, http.MethodPut, bucket, nil); err != nil || status != 200 {
			b.Fatal(status, err)
		}
		all := func(b *testing.B, do func(key string) error) {
			b.SetBytes(benchPart)
			began := cpuTime(b)
			var work errgroup.Group
			work.SetLimit(inFlight)
			for i := range b.N {
				work.Go(func() error { return do(fmt.Sprintf("%s/k%d", bucket, i%benchParts)) })
			}
			if err := work.Wait(); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(cpuTime(b)-began)/float64(b.N)/(benchPart/row), "cpu-ns/row")
		}
		b.Run("put/"+name, func(b *testing.B) {
			all(b, func(key string) error {
				status, text, _, err := roundTrip(rt, http.MethodPut, key, part)
				if err != nil || status != 200 {
					return fmt.Errorf("%d %s %w", status, text, err)
				}
				return nil
			})
			var files, size int64
			f.partFiles(b) // those that were replaced go
			eachFile(b, f.Service, func(path string) {
				st, err := os.Stat(path)
				if err != nil {
					b.Fatal(err)
				}
				files, size = files+1, size+st.Size()
			})
			b.ReportMetric(float64(size)/float64(files)/(benchPart/row), "disk-B/row")
		})
		b.Run("get/"+name, func(b *testing.B) {
			for i := range min(b.N, benchParts) {
				if status, _, _, err := roundTrip(rt, http.MethodPut, fmt.Sprintf("%s/k%d", bucket, i), part); err != nil || status != 200 {
					b.Fatal(status, err)
				}
			}
			b.ResetTimer()
			all(b, func(key string) error {
				r, err := http.NewRequest(http.MethodGet, "https://x/"+key, nil)
				if err != nil {
					return err
				}
				resp, err := rt.RoundTrip(r)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if n, err := io.Copy(io.Discard, resp.Body); n != benchPart {
					return fmt.Errorf("%d bytes: %w", n, err)
				}
				return nil
			})
		})
	}
}

// cpuTime is what the process used, in user and system mode.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMultipartSDK is BenchmarkMultipartInProcess through aws-sdk-go-v2 with CRC64NVME.
func BenchmarkMultipartSDK(b *testing.B) {
	f := startIn(b, filepath.Join(b.TempDir(), "b"), nil)
	c := f.inside(b, pca())
	bucket, key := "chirograph-internal-bench", "k"
	if _, err := c.CreateBucket(b.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		b.Fatal(err)
	}
	part := random(benchPart, 1)
	b.SetBytes(benchPart * benchParts)
	for b.Loop() {
		up, err := c.CreateMultipartUpload(b.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme})
		if err != nil {
			b.Fatal(err)
		}
		var parts []types.CompletedPart
		for i := range int32(benchParts) {
			p, err := c.UploadPart(b.Context(), &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(i + 1), Body: bytes.NewReader(part), ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme})
			if err != nil {
				b.Fatal(err)
			}
			parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(i + 1), ETag: p.ETag})
		}
		if _, err := c.CompleteMultipartUpload(b.Context(), &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCopyParts assembles an object of 6,000 references with 16 requests
// in flight, as a report of 100 million rows is (destination.md D-24).
func BenchmarkCopyParts(b *testing.B) {
	const bucket, parts, inFlight = "chirograph-internal-bench", 6000, 16
	s := startIn(b, filepath.Join(b.TempDir(), "b"), nil)
	rt := s.Transport(pca())
	for _, path := range []string{bucket, bucket + "/segment"} {
		var content []byte
		if path != bucket {
			content = random(5<<20, 1)
		}
		if status, _, _, err := roundTrip(rt, http.MethodPut, path, content); err != nil || status != 200 {
			b.Fatal(status, err)
		}
	}
	var complete time.Duration
	for b.Loop() {
		_, text, _, err := roundTrip(rt, http.MethodPost, bucket+"/k?uploads", nil)
		if err != nil {
			b.Fatal(err)
		}
		id := between(string(text), "<UploadId>", "</UploadId>")
		etags := make([]string, parts)
		var work errgroup.Group
		work.SetLimit(inFlight)
		for i := range parts {
			work.Go(func() error {
				r, err := http.NewRequest(http.MethodPut, fmt.Sprintf("https://x/%s/k?partNumber=%d&uploadId=%s", bucket, i+1, id), nil)
				if err != nil {
					return err
				}
				r.Header.Set("X-Amz-Copy-Source", bucket+"/segment")
				resp, err := rt.RoundTrip(r)
				if err != nil {
					return err
				}
				var reply bytes.Buffer
				if _, err := reply.ReadFrom(resp.Body); err != nil || resp.StatusCode != 200 {
					return fmt.Errorf("%d %s %w", resp.StatusCode, &reply, err)
				}
				etags[i] = between(reply.String(), "<ETag>", "</ETag>")
				return nil
			})
		}
		if err := work.Wait(); err != nil {
			b.Fatal(err)
		}
		var xml strings.Builder
		xml.WriteString("<CompleteMultipartUpload>")
		for i, etag := range etags {
			fmt.Fprintf(&xml, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", i+1, etag)
		}
		xml.WriteString("</CompleteMultipartUpload>")
		began := time.Now()
		if status, text, _, err := roundTrip(rt, http.MethodPost, bucket+"/k?uploadId="+id, []byte(xml.String())); err != nil || status != 200 {
			b.Fatal(status, string(text), err)
		}
		complete += time.Since(began)
	}
	b.ReportMetric(float64(complete.Milliseconds())/float64(b.N), "complete-ms")
}
