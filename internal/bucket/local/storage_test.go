package local

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"
)

func TestCombine(t *testing.T) {
	t.Parallel()
	data := random(10_000, 3)
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		n := r.IntN(len(data) + 1)
		a, b := data[:n], data[n:]
		if got := combineCRC64(crc64nvme.Checksum(a), crc64nvme.Checksum(b), int64(len(b))); got != crc64nvme.Checksum(data) {
			t.Fatalf("CRC64NVME at %d", n)
		}
		if got := polyCRC32.combine(uint64(crc32.ChecksumIEEE(a)), uint64(crc32.ChecksumIEEE(b)), int64(len(b))); uint32(got) != crc32.ChecksumIEEE(data) {
			t.Fatalf("CRC32 at %d", n)
		}
		c := crc32.MakeTable(crc32.Castagnoli)
		if got := polyCRC32C.combine(uint64(crc32.Checksum(a, c)), uint64(crc32.Checksum(b, c)), int64(len(b))); uint32(got) != crc32.Checksum(data, c) {
			t.Fatalf("CRC32C at %d", n)
		}
	}
}

// multipart uploads data in parts of size bytes.
func multipart(t testing.TB, c *s3.Client, bucket, key string, data []byte, size int, in s3.CreateMultipartUploadInput) *s3.CompleteMultipartUploadOutput {
	t.Helper()
	in.Bucket, in.Key = &bucket, &key
	up, err := c.CreateMultipartUpload(t.Context(), &in)
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for n := int32(1); len(data) > 0; n++ {
		m := min(size, len(data))
		p, err := c.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: &n, Body: body(data[:m]), ChecksumAlgorithm: in.ChecksumAlgorithm})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: &n, ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32, ChecksumCRC32C: p.ChecksumCRC32C,
			ChecksumCRC64NVME: p.ChecksumCRC64NVME, ChecksumSHA1: p.ChecksumSHA1, ChecksumSHA256: p.ChecksumSHA256})
		data = data[m:]
	}
	complete := &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}, ChecksumType: in.ChecksumType}
	out, err := c.CompleteMultipartUpload(t.Context(), complete)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.CompleteMultipartUpload(t.Context(), complete)
	if err != nil || *again.ETag != *out.ETag {
		t.Fatalf("completing again: %v %v", again, err)
	}
	return out
}

// TestMultipartChecksums: every algorithm and type, by the network and inside.
func TestMultipartChecksums(t *testing.T) {
	t.Parallel()
	f := start(t)
	network := f.bucket(t, "sums")
	inside := f.inside(t, everybody(t)["AKADMIN"])
	data := random(5<<20+5, 4)
	full := func(h uint32) string { return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, h)) }
	for i, v := range []struct {
		algorithm types.ChecksumAlgorithm
		kind      types.ChecksumType
		want      string
	}{
		{"", "", ""},
		{types.ChecksumAlgorithmCrc64nvme, types.ChecksumTypeFullObject, encodeCRC64(crc64nvme.Checksum(data))},
		{types.ChecksumAlgorithmCrc32, types.ChecksumTypeFullObject, full(crc32.ChecksumIEEE(data))},
		{types.ChecksumAlgorithmCrc32c, types.ChecksumTypeFullObject, full(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))},
		{types.ChecksumAlgorithmCrc32, types.ChecksumTypeComposite, ""},
		{types.ChecksumAlgorithmSha1, "", ""},
		{types.ChecksumAlgorithmSha256, "", ""},
	} {
		for name, c := range map[string]*s3.Client{"network": network, "inside": inside} {
			key := fmt.Sprintf("%d-%s", i, name)
			out := multipart(t, c, "sums", key, data, 5<<20, s3.CreateMultipartUploadInput{ChecksumAlgorithm: v.algorithm, ChecksumType: v.kind})
			if !strings.HasSuffix(*out.ETag, `-2"`) {
				t.Fatal(*out.ETag)
			}
			got := map[types.ChecksumAlgorithm]*string{types.ChecksumAlgorithmCrc64nvme: out.ChecksumCRC64NVME, types.ChecksumAlgorithmCrc32: out.ChecksumCRC32,
				types.ChecksumAlgorithmCrc32c: out.ChecksumCRC32C, types.ChecksumAlgorithmSha1: out.ChecksumSHA1, types.ChecksumAlgorithmSha256: out.ChecksumSHA256}[v.algorithm]
			if v.want != "" && aws.ToString(got) != v.want {
				t.Fatalf("%s %s %s: %s, want %s", name, v.algorithm, v.kind, aws.ToString(got), v.want)
			}
			if v.algorithm != "" && v.want == "" && (got == nil || !strings.HasSuffix(*got, "-2")) {
				t.Fatalf("%s %s: %v", name, v.algorithm, got)
			}
			if !bytes.Equal(f.get(t, c, "sums", key), data) {
				t.Fatal("other bytes came back")
			}
		}
	}
	// Parts and ranges of parts.
	part, err := network.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("sums"), Key: aws.String("1-inside"), PartNumber: aws.Int32(2)})
	if err != nil {
		t.Fatal(err)
	}
	defer part.Body.Close()
	if b, err := io.ReadAll(part.Body); err != nil || !bytes.Equal(b, data[5<<20:]) || *part.PartsCount != 2 {
		t.Fatalf("%v %d", err, len(b))
	}
	for _, r := range [][2]int{{0, 0}, {5<<20 - 1, 5 << 20}, {1, 5<<20 + 3}, {5<<20 + 4, 5<<20 + 4}} {
		out, err := inside.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("sums"), Key: aws.String("1-inside"), Range: aws.String(fmt.Sprintf("bytes=%d-%d", r[0], r[1]))})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil || !bytes.Equal(b, data[r[0]:r[1]+1]) {
			t.Fatalf("%v: %v, %d bytes", r, err, len(b))
		}
	}
}

// TestCopiesShareFiles: copies add references, and files live exactly as long
// as something refers to them.
func TestCopiesShareFiles(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.inside(t, everybody(t)["AKADMIN"])
	f.bucket(t, "share")
	data := random(21<<20, 5)
	multipart(t, c, "share", "origin", data, 7<<20, s3.CreateMultipartUploadInput{ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme})
	if n := f.partFiles(t); n != 3 {
		t.Fatal(n)
	}
	key, bucket := "assembled", "share"
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for n, r := range []string{"", "bytes=3-8388610", fmt.Sprintf("bytes=%d-%d", 14<<20, 21<<20-1)} {
		in := &s3.UploadPartCopyInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(int32(n + 1)), CopySource: aws.String("share/origin")}
		if r != "" {
			in.CopySourceRange = &r
		}
		p, err := c.UploadPartCopy(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: in.PartNumber, ETag: p.CopyPartResult.ETag, ChecksumCRC64NVME: p.CopyPartResult.ChecksumCRC64NVME})
	}
	want := append(append(append([]byte(nil), data...), data[3:8388611]...), data[14<<20:]...)
	out, err := c.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}, ChecksumCRC64NVME: aws.String(encodeCRC64(crc64nvme.Checksum(want)))})
	if err != nil {
		t.Fatal(err)
	}
	if *out.ChecksumCRC64NVME != encodeCRC64(crc64nvme.Checksum(want)) {
		t.Fatal("another checksum")
	}
	if _, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: &bucket, Key: aws.String("copy"), CopySource: aws.String("share/assembled"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256}); err != nil {
		t.Fatal(err)
	}
	if n := f.partFiles(t); n != 3 {
		t.Fatalf("%d part files: bytes were copied", n)
	}
	_, err = c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: &bucket, Key: aws.String("copy"), CopySource: aws.String("share/copy")})
	wantCode(t, err, "InvalidRequest")

	// A reader keeps what it reads, though it is deleted meanwhile.
	reading, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: aws.String("copy"), ChecksumMode: "ENABLED"})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"origin", "assembled", "copy"} {
		if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &k}); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.partFiles(t); n != 3 {
		t.Fatalf("%d part files under a reader", n)
	}
	got, err := io.ReadAll(reading.Body)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v, %d bytes", err, len(got))
	}
	reading.Body.Close()
	if n := f.partFiles(t); n != 0 {
		t.Fatalf("%d part files are left", n)
	}
}

// TestReopen: what was acknowledged is there after a restart, and files that
// nothing refers to are not.
func TestReopen(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.bucket(t, "again")
	data := random(6<<20, 6)
	multipart(t, c, "again", "k", data, 5<<20, s3.CreateMultipartUploadInput{})
	if _, err := Open(Config{Dir: f.dir}); err == nil {
		t.Fatal("two services opened one folder")
	}
	stray := f.files.path(newFileID(time.Now()))
	if err := os.WriteFile(stray, []byte("left by a crash"), 0o600); err != nil {
		t.Fatal(err)
	}
	copyDir := t.TempDir()
	if err := os.CopyFS(copyDir+"/x", os.DirFS(f.dir)); err != nil { // as after a kill: nothing was closed
		t.Fatal(err)
	}
	readOnly(t, copyDir+"/x", data)
	g := startIn(t, copyDir+"/x", nil)
	if got := g.get(t, g.client(t, "AKADMIN"), "again", "k"); !bytes.Equal(got, data) {
		t.Fatal("other bytes came back")
	}
	if err := g.scanFiles(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := g.partFiles(t); n != 2 {
		t.Fatalf("%d part files", n)
	}
}

// readOnly reads the object again/k of a folder that was left by a kill, and
// changes nothing there but the index of the WAL.
func readOnly(t *testing.T, dir string, want []byte) {
	t.Helper()
	files := func() map[string]string {
		all := map[string]string{}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(path, "-shm") {
				return err
			}
			b, err := os.ReadFile(path)
			all[path] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	before := files()
	r, err := OpenReader(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Config{Dir: dir}); err == nil {
		t.Error("a service opened a folder that is being read")
	}
	if _, err := r.Object(t.Context(), "again", "none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an object that is not there: %v", err)
	}
	if found, err := r.Bucket(t.Context(), "again"); !found || err != nil {
		t.Errorf("the bucket: %v, %v", found, err)
	}
	body, err := r.Object(t.Context(), "again", "k")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close(), r.Close()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if !maps.Equal(before, files()) {
		t.Error("reading changed the folder")
	}
}

// TestIndexLost: without its index a folder with objects is not opened, since
// a new index would make garbage of them all.
func TestIndexLost(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.bucket(t, "lost")
	data := random(1<<20, 6)
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lost"), Key: aws.String("k"), Body: bytes.NewReader(data)}); err != nil {
		t.Fatal(err)
	}
	copyDir := filepath.Join(t.TempDir(), "x")
	if err := os.CopyFS(copyDir, os.DirFS(f.dir)); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(t.TempDir(), "index.db")
	for _, end := range []string{"", "-wal"} {
		if err := os.Rename(filepath.Join(copyDir, "index.db"+end), index+end); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the first must not make the second succeed
		if s, err := Open(Config{Dir: copyDir}); !errors.Is(err, errIndexLost) {
			t.Errorf("opened without its index: %v", err)
			if err == nil {
				s.Close()
			}
		}
	}
	for _, end := range []string{"", "-wal"} {
		if err := os.Rename(index+end, filepath.Join(copyDir, "index.db"+end)); err != nil {
			t.Fatal(err)
		}
	}
	g := startIn(t, copyDir, nil)
	if got := g.get(t, g.client(t, "AKADMIN"), "lost", "k"); !bytes.Equal(got, data) {
		t.Error("other bytes came back")
	}
}

// TestConditionalRace: of many writers with If-None-Match: * one wins.
func TestConditionalRace(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.bucket(t, "race")
	var mu sync.Mutex
	var wg sync.WaitGroup
	won := 0
	for i := range 8 {
		wg.Go(func() {
			_, err := c.PutObject(context.WithoutCancel(t.Context()), &s3.PutObjectInput{Bucket: aws.String("race"), Key: aws.String("k"), Body: body(random(100_000, uint64(i))), IfNoneMatch: aws.String("*")})
			mu.Lock()
			defer mu.Unlock()
			switch code(err) {
			case "":
				won++
			case "PreconditionFailed":
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := f.partFiles(t); won != 1 || n != 1 {
		t.Fatalf("%d won, %d files", won, n)
	}
}

// TestCutBodies: a body that ends early or differs leaves nothing.
func TestCutBodies(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.bucket(t, "cut")
	admin := f.Transport(everybody(t)["AKADMIN"])
	do := func(key string, length int64, b io.Reader, headers ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodPut, "https://x/cut/"+key, b)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = length
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		resp, err := admin.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for _, c := range []struct {
		name, code string
		length     int64
		body       string
		headers    []string
	}{
		{"short", "IncompleteBody", 10, "123", nil},
		{"long", "IncompleteBody", 3, "12345", nil},
		{"unknown", "MissingContentLength", -1, "12345", nil},
		{"huge", "EntityTooLarge", 6 << 30, "12345", nil},
		{"crc", "BadDigest", 3, "123", []string{"X-Amz-Checksum-Crc32", "AAAAAA=="}},
		{"notcrc", "InvalidRequest", 3, "123", []string{"X-Amz-Checksum-Crc32", "AAAA"}},
		{"two", "InvalidRequest", 3, "123", []string{"X-Amz-Checksum-Crc32", "AAAAAA==", "X-Amz-Checksum-Crc32c", "AAAAAA=="}},
		{"md5", "InvalidDigest", 3, "123", []string{"Content-Md5", "AAAA"}},
		{"sse", "NotImplemented", 3, "123", []string{"X-Amz-Server-Side-Encryption", "AES256"}},
		{"tags", "NotImplemented", 3, "123", []string{"X-Amz-Tagging", "a=b"}},
		{"class", "InvalidStorageClass", 3, "123", []string{"X-Amz-Storage-Class", "GLACIER"}},
		{"meta", "MetadataTooLarge", 3, "123", []string{"X-Amz-Meta-A", strings.Repeat("x", 2100)}},
		{strings.Repeat("k", 1025), "KeyTooLongError", 3, "123", nil},
		{"%ff%fe", "InvalidURI", 3, "123", nil},
		{"k?lifecycle", "NotImplemented", 3, "123", nil},
		{"k?brand-new", "NotImplemented", 3, "123", nil},
		{"k?partNumber=0&uploadId=x", "InvalidArgument", 3, "123", nil},
		{"k?partNumber=1&uploadId=x", "NoSuchUpload", 3, "123", nil},
	} {
		if status, text := do(c.name, c.length, strings.NewReader(c.body), c.headers...); status < 400 || !strings.Contains(text, "<Code>"+c.code+"</Code>") {
			t.Errorf("%.20s: %d %s", c.name, status, text)
		}
	}
	if n := f.partFiles(t); n != 0 {
		t.Fatalf("%d part files", n)
	}
	left, err := os.ReadDir(f.files.tmp())
	if err != nil || len(left) != 0 {
		t.Fatalf("%v %v", left, err)
	}
	// An aws-chunked body with a trailer is decoded without signatures.
	chunked := "5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
	headers := []string{"X-Amz-Content-Sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "X-Amz-Decoded-Content-Length", "5", "X-Amz-Trailer", "x-amz-checksum-crc32", "Content-Encoding", "aws-chunked"}
	if status, text := do("chunked", int64(len(chunked)), strings.NewReader(chunked), headers...); status != http.StatusOK {
		t.Fatal(text)
	}
	if status, text := do("chunked", int64(len(chunked)), strings.NewReader(strings.Replace(chunked, "hello", "hellO", 1)), headers...); status != http.StatusBadRequest || !strings.Contains(text, "BadDigest") {
		t.Fatal(text)
	}
	if got := f.get(t, f.client(t, "AKADMIN"), "cut", "chunked"); string(got) != "hello" {
		t.Fatalf("%q", got)
	}
}

// TestFullDisk: a disk that takes no file refuses the request and keeps the old object.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.bucket(t, "full")
	put := func(text string) error {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("full"), Key: aws.String("k"), Body: body([]byte(text))})
		return err
	}
	if err := put("old"); err != nil {
		t.Fatal(err)
	}
	// Without its folder no part file can be made, whoever runs the test.
	if err := os.Rename(f.files.tmp(), f.files.tmp()+"-away"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, put("new"), "InternalError")
	if got := f.get(t, c, "full", "k"); string(got) != "old" {
		t.Fatalf("%q", got)
	}
	if err := os.Rename(f.files.tmp()+"-away", f.files.tmp()); err != nil {
		t.Fatal(err)
	}
	if err := put("new"); err != nil {
		t.Fatal(err)
	}
}

// TestListing compares pages of every size with a plain model.
func TestListing(t *testing.T) {
	t.Parallel()
	f := start(t)
	c := f.bucket(t, "list")
	inside := f.inside(t, everybody(t)["AKADMIN"])
	keys := []string{"a", "a/", "a/b", "a/b/c", "a/c", "a0", "b//c", "b/x", "c", "z", "é/1", "é/2"}
	for _, k := range keys {
		if _, err := inside.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("list"), Key: &k, Body: body(nil)}); err != nil {
			t.Fatal(err)
		}
		if _, err := inside.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("list"), Key: &k}); err != nil {
			t.Fatal(err)
		}
	}
	model := func(prefix, delimiter string) (want []string) {
		for _, k := range keys {
			if !strings.HasPrefix(k, prefix) {
				continue
			}
			if cp, ok := commonPrefix(k, prefix, delimiter); ok {
				k = cp + " (prefix)"
			}
			if len(want) == 0 || want[len(want)-1] != k {
				want = append(want, k)
			}
		}
		return want
	}
	for _, prefix := range []string{"", "a", "a/", "b/", "é", "none"} {
		for _, delimiter := range []string{"", "/", "/c"} {
			for size := int32(1); size < 14; size += 3 {
				var objects, prefixes, uploads []string
				for token := (*string)(nil); ; {
					out, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String("list"), Prefix: &prefix, Delimiter: &delimiter, MaxKeys: &size, ContinuationToken: token})
					if err != nil {
						t.Fatal(err)
					}
					for _, o := range out.Contents {
						objects = append(objects, *o.Key)
					}
					for _, p := range out.CommonPrefixes {
						prefixes = append(prefixes, *p.Prefix+" (prefix)")
					}
					if token = out.NextContinuationToken; token == nil {
						break
					}
				}
				for key, id := (*string)(nil), (*string)(nil); ; {
					out, err := c.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("list"), Prefix: &prefix, Delimiter: &delimiter, MaxUploads: &size, KeyMarker: key, UploadIdMarker: id})
					if err != nil {
						t.Fatal(err)
					}
					for _, o := range out.Uploads {
						uploads = append(uploads, *o.Key)
					}
					if key, id = out.NextKeyMarker, out.NextUploadIdMarker; !*out.IsTruncated {
						break
					}
				}
				var wantObjects, wantPrefixes []string
				for _, w := range model(prefix, delimiter) {
					if strings.HasSuffix(w, " (prefix)") {
						wantPrefixes = append(wantPrefixes, w)
					} else {
						wantObjects = append(wantObjects, w)
					}
				}
				if fmt.Sprint(objects) != fmt.Sprint(wantObjects) || fmt.Sprint(prefixes) != fmt.Sprint(wantPrefixes) || fmt.Sprint(uploads) != fmt.Sprint(wantObjects) {
					t.Fatalf("%q %q by %d: %v %v %v, want %v %v", prefix, delimiter, size, objects, prefixes, uploads, wantObjects, wantPrefixes)
				}
			}
		}
	}
}

// TestVirtualHost: with a domain, the bucket may be in the host's name.
func TestVirtualHost(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.bucket(t, "hosted")
	c := f.client(t, "AKADMIN", func(o *s3.Options) {
		o.UsePathStyle, o.BaseEndpoint = false, aws.String("http://s3.test")
		o.HTTPClient = &http.Client{Transport: &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(f.url) }}}
	})
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("hosted"), Key: aws.String("a/b"), Body: body([]byte("x"))}); err != nil {
		t.Fatal(err)
	}
	if got := f.get(t, f.client(t, "AKADMIN"), "hosted", "a/b"); string(got) != "x" {
		t.Fatalf("%q", got)
	}
}
