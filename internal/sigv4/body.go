package sigv4

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxChunkHeader bounds the line before a chunk: 16 hex digits and a signature.
	maxChunkHeader = 16 + len(";chunk-signature=") + 64 + 2
	// maxTrailerBytes and maxTrailers bound what follows the last chunk.
	maxTrailerBytes = 8 << 10
	maxTrailers     = 16

	trailerSignature = "x-amz-trailer-signature"
)

// Body is the decoded body of a request. It needs constant memory.
type Body struct {
	r       io.Reader
	size    int64
	trailer http.Header
}

// Body gives the decoded body of a verified request. What it returns before
// io.EOF is not trusted yet: the hash and the signatures are known to be right
// only when Read has returned io.EOF, so store nothing for good before that.
// Errors of Read are *Error or the body's own.
func (v *Verifier) Body(r *http.Request, s *Signed) (*Body, error) {
	var body io.Reader = http.NoBody
	if r.Body != nil {
		body = r.Body
	}
	switch s.PayloadHash {
	case UnsignedPayload:
		return &Body{r: body, size: r.ContentLength}, nil
	case StreamingPayload, StreamingPayloadTrailer, StreamingUnsignedTrailer:
		return chunkedBody(r.Header, body, s)
	}
	return &Body{r: &hashedReader{r: body, hash: sha256.New(), want: s.PayloadHash}, size: r.ContentLength}, nil
}

// Read reads decoded bytes.
func (b *Body) Read(p []byte) (int, error) { return b.r.Read(p) }

// Size is the number of decoded bytes that the client announced; -1 when it did not.
func (b *Body) Size() int64 { return b.size }

// Trailer holds the trailing headers of an aws-chunked body, such as
// X-Amz-Checksum-Crc64nvme; nil for other bodies, complete after io.EOF.
func (b *Body) Trailer() http.Header { return b.trailer }

// hashedReader turns io.EOF into an error when the hash differs.
type hashedReader struct {
	r    io.Reader
	hash hash.Hash
	want string
	err  error
}

func (h *hashedReader) Read(p []byte) (int, error) {
	if h.err != nil {
		return 0, h.err
	}
	n, err := h.r.Read(p)
	h.hash.Write(p[:n])
	if err == io.EOF && !equal(hex.EncodeToString(h.hash.Sum(nil)), h.want) {
		err = refuse(PayloadMismatch, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	h.err = err
	return n, err
}

// chunkReader decodes aws-chunked: <hex size>[;chunk-signature=<hex>] CRLF
// <data> CRLF ..., a chunk of size 0, trailers, CRLF. Data is handed out
// before its chunk's signature is checked; that keeps memory constant.
type chunkReader struct {
	r        *bufio.Reader
	signed   *Signed // nil when chunks are not signed
	mac      hash.Hash
	hash     hash.Hash // of the current chunk
	previous string    // signature that the next one continues
	want     string    // signature of the current chunk

	trailing bool     // trailers are announced
	declared []string // names of them
	trailer  http.Header

	left      uint64 // of the current chunk
	remaining uint64 // of the whole body
	err       error  // sticky
}

func chunkedBody(h http.Header, body io.Reader, s *Signed) (*Body, error) {
	lengths := h.Values("X-Amz-Decoded-Content-Length")
	if len(lengths) != 1 {
		return nil, refuse(DecodedLength, "You must provide the x-amz-decoded-content-length HTTP header.")
	}
	size, err := strconv.ParseUint(lengths[0], 10, 63)
	if err != nil {
		return nil, refuse(DecodedLength, "The x-amz-decoded-content-length HTTP header must be a number of bytes.")
	}
	c := &chunkReader{r: bufio.NewReader(body), remaining: size, trailer: http.Header{}}
	if s.PayloadHash != StreamingUnsignedTrailer {
		c.signed, c.previous = s, s.signature
		c.hash, c.mac = sha256.New(), hmac.New(sha256.New, s.key[:])
	}
	if s.PayloadHash != StreamingPayload {
		c.trailing = true
		for _, value := range h.Values("X-Amz-Trailer") {
			for name := range strings.SplitSeq(value, ",") {
				if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
					c.declared = append(c.declared, name)
				}
			}
		}
		if len(c.declared) > maxTrailers {
			return nil, refuse(Chunk, "The x-amz-trailer header names more than %d trailers.", maxTrailers)
		}
	}
	return &Body{r: c, size: int64(size), trailer: c.trailer}, nil
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.left == 0 {
		if c.err = c.next(); c.err != nil {
			return 0, c.err
		}
	}
	if uint64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.r.Read(p)
	c.left -= uint64(n)
	c.remaining -= uint64(n)
	if c.signed != nil {
		c.hash.Write(p[:n])
	}
	switch {
	case err != nil:
		c.err = truncated(err)
	case c.left == 0:
		if c.err = c.endLine(); c.err == nil {
			c.err = c.checkChunk()
		}
	}
	return n, c.err
}

// next reads the header of a chunk; after the last chunk and the trailers it
// returns io.EOF.
func (c *chunkReader) next() error {
	line, err := c.line(maxChunkHeader)
	if err != nil {
		return truncated(err) // io.EOF here is not the end of a whole body
	}
	size, signature, hasSignature := strings.Cut(line, ";chunk-signature=")
	if hasSignature != (c.signed != nil) || hasSignature && !isHexSHA256(signature) {
		return refuse(Chunk, "A chunk of the aws-chunked body must have a chunk-signature exactly when x-amz-content-sha256 says so.")
	}
	c.want = signature
	if len(size) == 0 || len(size) > 16 || strings.Trim(size, "0123456789abcdefABCDEF") != "" {
		return refuse(Chunk, "The size of a chunk of the aws-chunked body is not a hexadecimal number.")
	}
	c.left, err = strconv.ParseUint(size, 16, 64)
	if err != nil || c.left > c.remaining {
		c.left = 0
		return refuse(Chunk, "The aws-chunked body is longer than x-amz-decoded-content-length says.")
	}
	if c.left > 0 {
		return nil
	}
	if c.remaining > 0 {
		return refuse(Chunk, "The aws-chunked body is shorter than x-amz-decoded-content-length says.")
	}
	if err := c.checkChunk(); err != nil {
		return err
	}
	if err := c.readTrailer(); err != nil {
		return err
	}
	return io.EOF
}

// checkChunk compares the signature of the chunk that was just read.
func (c *chunkReader) checkChunk() error {
	if c.signed == nil {
		return nil
	}
	b := make([]byte, 0, 384)
	b = append(b, "AWS4-HMAC-SHA256-PAYLOAD\n"...)
	b = c.appendChain(b)
	b = append(b, emptySHA256+"\n"...)
	b = hex.AppendEncode(b, c.hash.Sum(nil))
	c.hash.Reset()
	return c.checkSignature(b, c.want)
}

func (c *chunkReader) appendChain(b []byte) []byte {
	b = append(append(b, c.signed.timestamp...), '\n')
	b = append(append(b, c.signed.scope...), '\n')
	return append(append(b, c.previous...), '\n')
}

func (c *chunkReader) checkSignature(stringToSign []byte, want string) error {
	c.mac.Reset()
	c.mac.Write(stringToSign)
	if !equal(hex.EncodeToString(c.mac.Sum(nil)), want) {
		return refuse(Mismatch, "The chunk signature we calculated does not match the signature you provided.")
	}
	c.previous = want
	return nil
}

// readTrailer reads to the end of the body. The documentation's own examples
// end trailers with LF as well as CRLF and put a blank line before the
// signature, so blank lines are skipped.
func (c *chunkReader) readTrailer() error {
	var text []byte // name:value LF, as signed
	want, blank, left := "", 0, maxTrailerBytes
	for {
		line, err := c.line(left)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		left -= len(line) + 2
		if line == "" {
			if blank++; blank > 2 {
				return refuse(Chunk, "There is data after the last chunk of the aws-chunked body.")
			}
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		switch {
		case !ok || !c.trailing || want != "" || left <= 0:
			return refuse(Chunk, "There is data after the last chunk of the aws-chunked body.")
		case name == trailerSignature && c.signed != nil:
			if !isHexSHA256(value) {
				return refuse(Chunk, "The %s must be 64 lower-case hexadecimal digits.", trailerSignature)
			}
			want = value
			continue
		case !slices.Contains(c.declared, name) || c.trailer.Get(name) != "" || value == "":
			return refuse(Chunk, "The trailer of the aws-chunked body has a header that x-amz-trailer does not name, twice, or empty.")
		}
		c.trailer.Set(name, value)
		text = append(append(append(append(text, name...), ':'), value...), '\n')
	}
	for _, name := range c.declared {
		if c.trailer.Get(name) == "" {
			return refuse(Chunk, "The aws-chunked body lacks the trailer %s that x-amz-trailer names.", strconv.Quote(name))
		}
	}
	if c.signed == nil || !c.trailing {
		return nil
	}
	if want == "" {
		return refuse(Chunk, "The aws-chunked body lacks the %s.", trailerSignature)
	}
	sum := sha256.Sum256(text)
	b := make([]byte, 0, 384)
	b = append(b, "AWS4-HMAC-SHA256-TRAILER\n"...)
	b = c.appendChain(b)
	return c.checkSignature(hex.AppendEncode(b, sum[:]), want)
}

// line reads up to LF and drops the line's end. io.EOF means that the body
// ended before the line began.
func (c *chunkReader) line(limit int) (string, error) {
	var b []byte
	for {
		x, err := c.r.ReadByte()
		if err != nil {
			if err == io.EOF && len(b) == 0 {
				return "", io.EOF
			}
			return "", truncated(err)
		}
		if x == '\n' {
			return strings.TrimSuffix(string(b), "\r"), nil
		}
		if b = append(b, x); len(b) >= limit {
			return "", refuse(Chunk, "A line of the aws-chunked body is too long.")
		}
	}
}

func (c *chunkReader) endLine() error {
	var end [2]byte
	if _, err := io.ReadFull(c.r, end[:]); err != nil {
		return truncated(err)
	}
	if end != [2]byte{'\r', '\n'} {
		return refuse(Chunk, "A chunk of the aws-chunked body does not end where its size says.")
	}
	return nil
}

// truncated tells a body that ends too early from a body that could not be read.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return refuse(Chunk, "The aws-chunked body ends before its last chunk.")
	}
	return err
}
