package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func newBufio(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

// chunkSigner writes aws-chunked bodies the way the specification words it.
type chunkSigner struct {
	s        *Signed
	previous string
	out      strings.Builder
}

func (c *chunkSigner) chunk(data string) {
	if c.s.PayloadHash == StreamingUnsignedTrailer {
		fmt.Fprintf(&c.out, "%x\r\n", len(data))
	} else {
		sum := mac(c.s.key[:], []byte("AWS4-HMAC-SHA256-PAYLOAD\n"+c.s.timestamp+"\n"+c.s.scope+"\n"+c.previous+"\n"+emptySHA256+"\n"+hexHash(data)))
		c.previous = hex.EncodeToString(sum[:])
		fmt.Fprintf(&c.out, "%x;chunk-signature=%s\r\n", len(data), c.previous)
	}
	if data != "" {
		c.out.WriteString(data + "\r\n")
	}
}

func (c *chunkSigner) trailer(line string) {
	c.out.WriteString(line + "\r\n")
	if c.s.PayloadHash == StreamingPayloadTrailer {
		sum := mac(c.s.key[:], []byte("AWS4-HMAC-SHA256-TRAILER\n"+c.s.timestamp+"\n"+c.s.scope+"\n"+c.previous+"\n"+hexHash(line+"\n")))
		c.previous = hex.EncodeToString(sum[:])
		c.out.WriteString("x-amz-trailer-signature:" + c.previous + "\r\n")
	}
}

// exampleSigned is the seed of the example in AWS's documentation of chunked
// uploads.
func exampleSigned(kind, seed string) *Signed {
	c := &claim{date: "20130524", region: "us-east-1", service: "s3"}
	return &Signed{PayloadHash: kind, timestamp: "20130524T000000Z", scope: "20130524/us-east-1/s3/aws4_request",
		signature: seed, key: signingKey("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", c)}
}

func streamRequest(body, length, trailer string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), "PUT", "/b/k", strings.NewReader(body))
	if length != "" {
		r.Header.Set("X-Amz-Decoded-Content-Length", length)
	}
	if trailer != "" {
		r.Header.Set("X-Amz-Trailer", trailer)
	}
	return r
}

// TestDocumentedExample checks the signatures printed in "Signature
// Calculations for the Authorization Header: Transferring Payload in Multiple
// Chunks", with and without a trailer.
func TestDocumentedExample(t *testing.T) {
	t.Parallel()
	first, second := strings.Repeat("a", 65536), strings.Repeat("a", 1024)
	plain := "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + first +
		"\r\n400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + second +
		"\r\n0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
	r := streamRequest(plain, "66560", "")
	body, err := New(testConfig()).Body(r, exampleSigned(StreamingPayload, "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"))
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(body, []byte(first+second)); err != nil {
		t.Error(err)
	}

	trailing := "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + first +
		"\r\n400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + second +
		"\r\n0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
		"x-amz-checksum-crc32c:sOO8/Q==\n\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
	r = streamRequest(trailing, "66560", "x-amz-checksum-crc32c")
	body, err = New(testConfig()).Body(r, exampleSigned(StreamingPayloadTrailer, "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(body); err != nil || string(b) != first+second {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if got := body.Trailer().Get("X-Amz-Checksum-Crc32c"); got != "sOO8/Q==" {
		t.Errorf("trailer %q", got)
	}
}

func TestChunkedBody(t *testing.T) {
	t.Parallel()
	seed := strings.Repeat("0", 64)
	build := func(kind, trailer string, chunks ...string) string {
		s := exampleSigned(kind, seed)
		c := &chunkSigner{s: s, previous: seed}
		for _, data := range chunks {
			c.chunk(data)
		}
		c.chunk("")
		if trailer != "" {
			c.trailer(trailer)
		}
		return c.out.String() + "\r\n"
	}
	const crc = "x-amz-checksum-crc32:AAAAAA=="
	signed := build(StreamingPayload, "", "hello ", "world")
	signedTrailer := build(StreamingPayloadTrailer, crc, "hello ", "world")
	unsigned := build(StreamingUnsignedTrailer, crc, "hello ", "world")
	replace := func(s, from, to string) string {
		if !strings.Contains(s, from) {
			t.Fatalf("%q is not in %q", from, s)
		}
		return strings.Replace(s, from, to, 1)
	}
	for _, row := range []struct {
		name, kind, body, length, trailer string
		want                              Kind
	}{
		{"signed", StreamingPayload, signed, "11", "", 0},
		{"signed trailer", StreamingPayloadTrailer, signedTrailer, "11", "x-amz-checksum-crc32", 0},
		{"unsigned trailer", StreamingUnsignedTrailer, unsigned, "11", "X-Amz-Checksum-Crc32", 0},
		{"empty", StreamingPayload, build(StreamingPayload, ""), "0", "", 0},
		{"no trailer declared", StreamingUnsignedTrailer, build(StreamingUnsignedTrailer, "", "hello ", "world"), "11", "", 0},
		{"data changed", StreamingPayload, replace(signed, "world", "World"), "11", "", Mismatch},
		{"first chunk changed", StreamingPayload, replace(signed, "hello", "Hello"), "11", "", Mismatch},
		{"chunks cut off", StreamingPayload, signed[:strings.Index(signed, "5;")], "11", "", Chunk},
		{"last chunk cut off", StreamingPayload, signed[:strings.Index(signed, "0;chunk")], "11", "", Chunk},
		{"chunk left out", StreamingPayload, signed[strings.Index(signed, "5;chunk"):], "5", "", Mismatch},
		{"cut in data", StreamingPayload, signed[:len(signed)/2], "11", "", Chunk},
		{"nothing", StreamingPayload, "", "0", "", Chunk},
		{"too long", StreamingPayload, signed, "10", "", Chunk},
		{"too short", StreamingPayload, signed, "12", "", Chunk},
		{"no length", StreamingPayload, signed, "", "", DecodedLength},
		{"negative length", StreamingPayload, signed, "-1", "", DecodedLength},
		{"signature missing", StreamingPayload, unsigned, "11", "", Chunk},
		{"signature where none belongs", StreamingUnsignedTrailer, signed, "11", "", Chunk},
		{"data after the end", StreamingPayload, signed + "0", "11", "", Chunk},
		{"many blank lines", StreamingPayload, signed + "\r\n\r\n", "11", "", Chunk},
		{"trailer where none belongs", StreamingPayload, signedTrailer, "11", "", Chunk},
		{"trailer not declared", StreamingUnsignedTrailer, unsigned, "11", "", Chunk},
		{"trailer missing", StreamingUnsignedTrailer, build(StreamingUnsignedTrailer, "", "hello ", "world"), "11", "x-amz-checksum-crc32", Chunk},
		{"trailer twice", StreamingUnsignedTrailer, replace(unsigned, crc, crc+"\r\n"+crc), "11", "x-amz-checksum-crc32", Chunk},
		{"trailer changed", StreamingPayloadTrailer, replace(signedTrailer, "AAAAAA==", "BAAAAA=="), "11", "x-amz-checksum-crc32", Mismatch},
		{"trailer signature missing", StreamingPayloadTrailer, signedTrailer[:strings.Index(signedTrailer, trailerSignature)], "11", "x-amz-checksum-crc32", Chunk},
		{"trailer signature malformed", StreamingPayloadTrailer, replace(signedTrailer, trailerSignature+":", trailerSignature+":x"), "11", "x-amz-checksum-crc32", Chunk},
		{"trailer signature without signing", StreamingUnsignedTrailer, replace(unsigned, crc, crc+"\r\nx-amz-trailer-signature:"+seed), "11", "x-amz-checksum-crc32", Chunk},
		{"trailer too long", StreamingUnsignedTrailer, replace(unsigned, "AAAAAA==", strings.Repeat("A", maxTrailerBytes)), "11", "x-amz-checksum-crc32", Chunk},
		{"size not hexadecimal", StreamingUnsignedTrailer, replace(unsigned, "6\r\n", "+6\r\n"), "11", "x-amz-checksum-crc32", Chunk},
		{"size too large", StreamingUnsignedTrailer, replace(unsigned, "6\r\n", "ffffffffffffffff\r\n"), "11", "x-amz-checksum-crc32", Chunk},
		{"endless header", StreamingUnsignedTrailer, strings.Repeat("0", 1<<20), "11", "x-amz-checksum-crc32", Chunk},
		{"size does not fit", StreamingUnsignedTrailer, replace(unsigned, "6\r\n", "5\r\n"), "11", "x-amz-checksum-crc32", Chunk},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var out []byte
			body, err := New(testConfig()).Body(streamRequest(row.body, row.length, row.trailer), exampleSigned(row.kind, seed))
			if err == nil {
				if body.Size() < 0 {
					t.Error("size unknown")
				}
				out, err = io.ReadAll(iotest.OneByteReader(body))
				if _, again := body.Read(make([]byte, 1)); err != nil && !errors.Is(again, err) {
					t.Errorf("error is not sticky: %v, then %v", err, again)
				}
			}
			if kindOf(err) != row.want || (err == nil) != (row.want == 0) {
				t.Fatalf("%v, want kind %d", err, row.want)
			}
			if err == nil && row.length == "11" && string(out) != "hello world" {
				t.Errorf("decoded %q", out)
			}
		})
	}
}

func TestHashedBody(t *testing.T) {
	t.Parallel()
	v := New(testConfig())
	for body, want := range map[string]Kind{"hello": 0, "hullo": PayloadMismatch, "": PayloadMismatch, "hello!": PayloadMismatch} {
		r := httptest.NewRequestWithContext(t.Context(), "PUT", "/b/k", strings.NewReader(body))
		b, err := v.Body(r, &Signed{PayloadHash: hexHash("hello")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(b); kindOf(err) != want || (err == nil) != (want == 0) {
			t.Errorf("%q: %v", body, err)
		}
	}
	broken := httptest.NewRequestWithContext(t.Context(), "PUT", "/b/k", iotest.ErrReader(io.ErrNoProgress))
	for _, kind := range []string{UnsignedPayload, hexHash("hello"), StreamingPayload} {
		broken.Header.Set("X-Amz-Decoded-Content-Length", "5")
		b, err := v.Body(broken, exampleSigned(kind, ""))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(b); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestUploadsBySDK lets the real S3 client choose how it signs its bodies.
func TestUploadsBySDK(t *testing.T) {
	t.Parallel()
	cfg := testConfig()
	cfg.Now = time.Now
	v := New(cfg)
	type upload struct {
		hash, body, trailer string
		err                 error
	}
	got := make(chan upload, 1)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var u upload
		s, err := v.Verify(r, "")
		if err == nil {
			u.hash = s.PayloadHash
			var b *Body
			if b, err = v.Body(r, s); err == nil {
				var text []byte
				text, err = io.ReadAll(b)
				u.body, u.trailer = string(text), b.Trailer().Get("X-Amz-Checksum-Crc32")
			}
		}
		u.err = err
		got <- u
	})
	plain, secure := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	text := strings.Repeat("0123456789", 20000)
	for _, row := range []struct {
		server *httptest.Server
		body   io.Reader
		want   string
	}{
		{plain, strings.NewReader(text), ""},
		{secure, strings.NewReader(text), StreamingUnsignedTrailer},
		{secure, io.MultiReader(strings.NewReader(text)), StreamingUnsignedTrailer},
	} {
		client := s3.New(s3.Options{Region: "eu-west-3", UsePathStyle: true, BaseEndpoint: aws.String(row.server.URL), HTTPClient: row.server.Client(),
			Credentials: credentials.NewStaticCredentialsProvider(testKey, testSecret, ""), RetryMaxAttempts: 1})
		in := &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a b/c"), Body: row.body, ContentLength: aws.Int64(int64(len(text))), ChecksumAlgorithm: types.ChecksumAlgorithmCrc32}
		if _, err := client.PutObject(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		u := <-got
		if u.err != nil || u.body != text || row.want != "" && u.hash != row.want {
			t.Errorf("hash %s, %d bytes, %v", u.hash, len(u.body), u.err)
		}
		sum := crc32.ChecksumIEEE([]byte(text))
		if row.want != "" && u.trailer != base64CRC(sum) {
			t.Errorf("trailer %q, want %q", u.trailer, base64CRC(sum))
		}
	}
}

// TestChunkMemory reads 64 MiB and looks at what stays allocated.
func TestChunkMemory(t *testing.T) {
	chunk := strings.Repeat("x", 1<<20)
	parts := make([]io.Reader, 0, 65)
	for range 64 {
		parts = append(parts, strings.NewReader("100000\r\n"+chunk+"\r\n"))
	}
	parts = append(parts, strings.NewReader("0\r\n\r\n"))
	r := streamRequest("", "67108864", "")
	r.Body = io.NopCloser(io.MultiReader(parts...))
	body, err := New(testConfig()).Body(r, exampleSigned(StreamingUnsignedTrailer, ""))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 32<<10)
	allocs := testing.AllocsPerRun(1, func() {
		for err == nil {
			_, err = body.Read(buf)
		}
	})
	if err != io.EOF {
		t.Fatal(err)
	}
	if allocs > 1000 {
		t.Errorf("%v allocations for 64 chunks", allocs)
	}
}

func BenchmarkChunkReader(b *testing.B) {
	s := exampleSigned(StreamingPayload, "")
	c := &chunkSigner{s: s}
	chunk := strings.Repeat("x", 64<<10)
	for range 64 {
		c.chunk(chunk)
	}
	c.chunk("")
	text := c.out.String() + "\r\n"
	v := New(testConfig())
	buf := make([]byte, 64<<10)
	b.SetBytes(64 * 64 << 10)
	for b.Loop() {
		body, err := v.Body(streamRequest(text, "4194304", ""), s)
		for err == nil {
			_, err = body.Read(buf)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
}

func FuzzChunkReader(f *testing.F) {
	c := &chunkSigner{s: exampleSigned(StreamingPayloadTrailer, "s"), previous: "s"}
	c.chunk("hello")
	c.chunk("")
	c.trailer("x-amz-checksum-crc32:AAAAAA==")
	f.Add([]byte(c.out.String()+"\r\n"), uint8(1), uint16(5))
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n"), uint8(2), uint16(5))
	f.Add([]byte("0;chunk-signature=\r\n\r\n"), uint8(0), uint16(0))
	f.Fuzz(func(t *testing.T, wire []byte, kind uint8, length uint16) {
		kinds := []string{StreamingPayload, StreamingPayloadTrailer, StreamingUnsignedTrailer}
		r := streamRequest("", fmt.Sprint(length), "x-amz-checksum-crc32")
		r.Body = io.NopCloser(bytes.NewReader(wire))
		s := exampleSigned(kinds[int(kind)%3], "s")
		body, err := New(testConfig()).Body(r, s)
		if err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(body)
		if len(out) > int(length) || len(out) > len(wire) {
			t.Fatalf("%d bytes out of %d announced", len(out), length)
		}
		if err != nil {
			if kindOf(err) == 0 {
				t.Fatalf("error without a kind: %v", err)
			}
			return
		}
		if len(out) != int(length) {
			t.Fatalf("accepted %d bytes where %d were announced", len(out), length)
		}
	})
}

func base64CRC(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}
