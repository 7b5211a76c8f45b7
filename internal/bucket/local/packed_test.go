package local

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/klauspost/compress/s2"
	"github.com/minio/crc64nvme"
)

// reportRows makes about n bytes that are like a report's.
func reportRows(n int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	b := []byte("[ ")
	for len(b) < n {
		serial := make([]byte, 16)
		for i := range serial {
			serial[i] = byte(r.Uint32())
		}
		b = fmt.Appendf(b, `{
   "awsAccountId":"123456789012",
   "requestedByServicePrincipal":null,
   "certificateArn":"%s/certificate/%x",
   "serial":"%s",
   "subject":"CN=host-%d.example.com,OU=Machines,O=Example Company,C=DE",
   "notBefore":"2026-03-%02dT%02d:%02d:%02d+0000",
   "notAfter":"2027-03-%02dT00:00:00+0000",
   "issuedAt":"2026-03-01T00:00:%02d+0000",
   "templateArn":"arn:aws:acm-pca:::template/EndEntityCertificate/V1"
}, `, caARN, serial, strings.ReplaceAll(fmt.Sprintf("% x", serial), " ", ":"), r.IntN(1e8), r.IntN(28)+1, r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(28)+1, r.IntN(60))
	}
	return b
}

// eachFile calls fn for the part files.
func eachFile(t testing.TB, s *Service, fn func(path string)) {
	t.Helper()
	for i := range 256 {
		if err := s.files.each(byte(i), func(ids []fileID) error {
			for _, id := range ids {
				fn(s.files.path(id))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// onDisk finds the only part file.
func onDisk(t testing.TB, s *Service) (path string, size int64) {
	t.Helper()
	eachFile(t, s, func(p string) {
		if path != "" {
			t.Fatal("more than one part file")
		}
		path = p
	})
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, st.Size()
}

// touchFiles makes the part files as old as something written now.
func touchFiles(t testing.TB, s *Service) {
	t.Helper()
	eachFile(t, s, func(path string) {
		if err := os.Chtimes(path, time.Time{}, time.Now()); err != nil {
			t.Fatal(err)
		}
	})
}

// TestPacked: what shrinks is packed on the disk and the same for everybody.
func TestPacked(t *testing.T) {
	t.Parallel()
	f := start(t)
	network := f.bucket(t, "packed")
	inside := f.inside(t, everybody(t)["AKADMIN"])
	bucket := aws.String("packed")
	rows := reportRows(packedBlock*5 + 77)
	for _, tt := range []struct {
		name   string
		body   []byte
		packed bool
	}{
		{"rows", rows, true},
		{"whole blocks", rows[:bufferSize], true},
		{"small", rows[:minPacked-1], false},
		{"random", random(len(rows), 1), false},
		{"random at the end", append(rows[:packedBlock/2:packedBlock/2], random(packedBlock*2, 2)...), true},
	} {
		in := &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: body(tt.body), ChecksumAlgorithm: types.ChecksumAlgorithmSha256}
		for i, c := range []*s3.Client{network, inside} {
			in.Body = body(tt.body)
			if _, err := c.PutObject(t.Context(), in); err != nil {
				t.Fatal(err)
			}
			if n := f.partFiles(t); n != 1 {
				t.Fatalf("%d part files", n)
			}
			path, size := onDisk(t, f.Service)
			if tt.packed != (size < int64(len(tt.body))) {
				t.Errorf("%s: %d bytes take %d", tt.name, len(tt.body), size)
			}
			if tt.packed {
				file, err := os.Open(path)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(s2.NewReader(file))
				file.Close()
				if err != nil || !bytes.Equal(got, tt.body) {
					t.Errorf("%s: as a stream of S2: %d bytes, %v", tt.name, len(got), err)
				}
			}
			for _, c := range []*s3.Client{network, inside} {
				if got := f.get(t, c, "packed", "k"); !bytes.Equal(got, tt.body) {
					t.Errorf("%s: other bytes came back", tt.name)
				}
			}
			n := len(tt.body)
			for _, r := range [][2]int{{0, 0}, {n - 1, n - 1}, {packedBlock - 1, packedBlock}, {packedBlock, n - 2}, {1, n / 2}} {
				if r[0] > r[1] || r[1] >= n {
					continue
				}
				header := fmt.Sprintf("bytes=%d-%d", r[0], r[1])
				out, err := []*s3.Client{network, inside}[i].GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: in.Key, Range: &header})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(out.Body)
				out.Body.Close()
				if err != nil || !bytes.Equal(got, tt.body[r[0]:r[1]+1]) {
					t.Errorf("%s %s: %d bytes, %v", tt.name, header, len(got), err)
				}
			}
		}
	}

	// A part of a range, and of another algorithm, is of the plain bytes.
	if _, err := inside.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: body(rows)}); err != nil {
		t.Fatal(err)
	}
	up, err := inside.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("cut"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	from, to := packedBlock-5, 3*packedBlock+9
	p, err := inside.UploadPartCopy(t.Context(), &s3.UploadPartCopyInput{Bucket: bucket, Key: aws.String("cut"), UploadId: up.UploadId, PartNumber: aws.Int32(1),
		CopySource: aws.String("packed/k"), CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", from, to-1))})
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(rows[from:to]); aws.ToString(p.CopyPartResult.ChecksumSHA256) != encodeChecksum(sum[:]) {
		t.Error("another checksum of a copied range")
	}
	if _, err := inside.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: bucket, Key: aws.String("cut"), UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: p.CopyPartResult.ETag, ChecksumSHA256: p.CopyPartResult.ChecksumSHA256}}}}); err != nil {
		t.Fatal(err)
	}
	if got := f.get(t, network, "packed", "cut"); !bytes.Equal(got, rows[from:to]) {
		t.Error("other bytes of a copied range came back")
	}
}

// drops gives its bytes to a writer in pieces of any size.
type drops struct{ *bytes.Reader }

func (d drops) WriteTo(w io.Writer) (n int64, err error) {
	for step := 1; d.Len() > 0; step = step*3 + 1 {
		m, err := io.CopyN(w, d.Reader, int64(min(step, d.Len())))
		if n += m; err != nil {
			return n, err
		}
	}
	return n, nil
}

// TestIntake: the blocks of a packed file do not depend on how a body comes.
func TestIntake(t *testing.T) {
	t.Parallel()
	f := start(t)
	f.bucket(t, "intake")
	rows := reportRows(bufferSize*3 + 100)
	for i, b := range []io.Reader{drops{bytes.NewReader(rows)}, bytes.NewReader(rows), bytes.NewBuffer(rows), io.MultiReader(bytes.NewReader(rows))} {
		r, err := http.NewRequest(http.MethodPut, "https://x/intake/k", b)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = int64(len(rows))
		r.Header.Set(checksumHeader(algCRC64NVME), encodeCRC64(crc64nvme.Checksum(rows)))
		resp, err := f.Transport(everybody(t)["AKADMIN"]).RoundTrip(r)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatal(i, resp, err)
		}
		out, err := f.client(t, "AKADMIN").GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("intake"), Key: aws.String("k"), Range: aws.String(fmt.Sprintf("bytes=%d-", 2*bufferSize-3))})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(out.Body)
		out.Body.Close()
		if err != nil || !bytes.Equal(got, rows[2*bufferSize-3:]) {
			t.Errorf("body %d: %d bytes, %v", i, len(got), err)
		}
	}
}

// TestPlain: with the setting nothing is packed, and what was packed before is read.
func TestPlain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() + "/b"
	rows := reportRows(packedBlock)
	for _, plain := range []bool{false, true} {
		s, err := Open(Config{Dir: dir, Plain: plain})
		if err != nil {
			t.Fatal(err)
		}
		f := &fixture{Service: s}
		c := f.inside(t, pca())
		bucket, key := aws.String("chirograph-internal-plain"), aws.String(fmt.Sprint(plain))
		if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket}); err != nil {
			wantCode(t, err, "BucketAlreadyOwnedByYou")
		}
		if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: body(rows)}); err != nil {
			t.Fatal(err)
		}
		if got := f.get(t, c, *bucket, "false"); !bytes.Equal(got, rows) {
			t.Error("other bytes came back")
		}
		if plain {
			if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("false")}); err != nil {
				t.Fatal(err)
			}
			if n := f.partFiles(t); n != 1 {
				t.Fatalf("%d part files", n)
			}
			if _, size := onDisk(t, s); size != int64(len(rows)) {
				t.Errorf("%d bytes take %d", len(rows), size)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamage changes part files by hand. A reader never gets a byte that was
// not written from a packed one; a copy is refused from either.
func TestDamage(t *testing.T) {
	t.Parallel()
	for _, packed := range []bool{false, true} {
		t.Run(fmt.Sprintf("packed=%v", packed), func(t *testing.T) {
			t.Parallel()
			f := startIn(t, t.TempDir()+"/b", func(c *Config) { c.Plain = !packed })
			c := f.inside(t, everybody(t)["AKADMIN"])
			bucket, key := aws.String("damaged"), aws.String("k")
			f.bucket(t, *bucket)
			rows := reportRows(packedBlock*2 + 500)
			if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: body(rows)}); err != nil {
				t.Fatal(err)
			}
			path, size := onDisk(t, f.Service)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			made := st.ModTime()
			copying := func(span string) error {
				up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: bucket, Key: aws.String("copy")})
				if err != nil {
					t.Fatal(err)
				}
				in := &s3.UploadPartCopyInput{Bucket: bucket, Key: aws.String("copy"), UploadId: up.UploadId, PartNumber: aws.Int32(1), CopySource: aws.String("damaged/k")}
				if span != "" {
					in.CopySourceRange = &span
				}
				_, err = c.UploadPartCopy(t.Context(), in)
				return err
			}
			flipped := bytes.Clone(good)
			flipped[len(flipped)/2] ^= 4
			for _, tt := range []struct {
				name  string
				bytes []byte    // nil: no file
				made  time.Time // of the file
				fine  bool
			}{
				{"as it was", good, made, true},
				{"missing", nil, made, false},
				{"shorter", good[:size-1], made, false},
				{"empty", []byte{}, made, false},
				{"another bit", flipped, time.Now(), false},
				{"touched", good, time.Now(), true},
				{"as it was again", good, made, true},
			} {
				if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
					t.Fatal(err)
				}
				if tt.bytes != nil {
					if err := os.WriteFile(path, tt.bytes, 0o600); err != nil {
						t.Fatal(err)
					}
					if err := os.Chtimes(path, time.Time{}, tt.made); err != nil {
						t.Fatal(err)
					}
				}
				want := "InternalError"
				if tt.fine {
					want = ""
				}
				for _, span := range []string{"bytes=10-19", ""} {
					if err := copying(span); code(err) != want {
						t.Errorf("%s: copying %q: %v", tt.name, span, err)
					}
				}
				if st, err := os.Stat(path); tt.fine && (err != nil || !st.ModTime().Equal(made)) {
					t.Errorf("%s: a file found whole is as old as it was made: %v, %v", tt.name, st.ModTime(), err)
				}
				out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: bucket, Key: key})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(out.Body)
				out.Body.Close()
				if packed || tt.name != "another bit" {
					if (err == nil) != tt.fine || !bytes.HasPrefix(rows, got) {
						t.Errorf("%s: reading gave %d bytes, %v", tt.name, len(got), err)
					}
				}
			}
		})
	}
}

// TestUnpackDamaged flips every bit of the heads of chunks, and many others.
func TestUnpackDamaged(t *testing.T) {
	t.Parallel()
	f := start(t)
	plain := append(reportRows(packedBlock), random(packedBlock, 3)...)[:packedBlock*3/2+1000] // the second block does not shrink
	file, err := f.files.create(true)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.write(plain); err != nil {
		t.Fatal(err)
	}
	if err := file.commit(); err != nil {
		t.Fatal(err)
	}
	path := f.files.path(file.id)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read := func(from, size int) ([]byte, error) {
		r := &extentReader{s: f.Service, ticket: f.files.enter(), extents: []extent{{file: file.id, start: int64(from), size: int64(size), stored: file.stored, crc64: crc64nvme.Checksum(plain)}}}
		defer r.Close()
		return io.ReadAll(r)
	}
	spans := [][2]int{{0, len(plain)}, {packedBlock + 100, 50}, {packedBlock - 10, 20}, {7, 9}}
	second := len(packedHead) + 4 + int(good[11]) + int(good[12])<<8 + int(good[13])<<16
	var places []int
	for i := range 24 {
		places = append(places, i*8, (second+i)*8)
	}
	r := rand.New(rand.NewPCG(4, 5))
	for i := range places {
		places[i] += r.IntN(8)
	}
	for range 100 {
		places = append(places, r.IntN(8*len(good)))
	}
	out, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for _, at := range places {
		if _, err := out.WriteAt([]byte{good[at/8] ^ 1<<(at%8)}, int64(at/8)); err != nil {
			t.Fatal(err)
		}
		for i, s := range spans {
			got, err := read(s[0], s[1])
			if !bytes.HasPrefix(plain[s[0]:s[0]+s[1]], got) || err == nil && (len(got) != s[1] || i == 0) {
				t.Errorf("bit %d, bytes %v: %d bytes, %v", at, s, len(got), err)
			}
		}
		if _, err := out.WriteAt(good[at/8:at/8+1], int64(at/8)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := read(0, len(plain)); err != nil || !bytes.Equal(got, plain) {
		t.Fatal(err)
	}
	f.suspect(file.id)
}
