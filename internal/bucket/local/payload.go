package local

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/minio/crc64nvme"

	"chirograph.dev/internal/sigv4"
)

// payload is the decoded body of a request. What it gives may be kept for good
// only after Read returned io.EOF and verify returned nil.
type payload struct {
	r       io.Reader
	size    int64       // announced; -1: not
	trailer http.Header // complete after io.EOF

	md5       []byte // Content-MD5; nil: none
	algorithm string // of the declared checksum; empty: none
	checksum  string // declared value; empty: in the trailer
}

// openPayload starts to read the body of a request.
func (s *Service) openPayload(q *request) (*payload, error) {
	p := &payload{size: q.http.ContentLength}
	var err error
	var trailing bool
	if p.md5, err = declaredMD5(q.header); err != nil {
		return nil, err
	}
	if q.op.name != "CompleteMultipartUpload" { // where these headers speak of the object
		if p.algorithm, p.checksum, trailing, err = declaredChecksum(q.header); err != nil {
			return nil, err
		}
	}
	signed := q.signed
	switch {
	case signed != nil:
	case q.inProcess && strings.HasPrefix(q.header.Get("X-Amz-Content-Sha256"), "STREAMING-"):
		// Nobody signs in process; only a body without chunk signatures can be read.
		if q.header.Get("X-Amz-Content-Sha256") != sigv4.StreamingUnsignedTrailer {
			return nil, errNotImplemented("signed chunks in process")
		}
		signed = &sigv4.Signed{PayloadHash: sigv4.StreamingUnsignedTrailer}
	default:
		signed = &sigv4.Signed{PayloadHash: sigv4.UnsignedPayload}
	}
	if signed.PayloadHash == sigv4.UnsignedPayload {
		// No decoding: the shortest way from the body to the disk.
		if trailing {
			return nil, errorf("InvalidRequest", "The x-amz-trailer header needs an aws-chunked body")
		}
		p.r = q.http.Body
		if p.r == nil {
			p.r = http.NoBody
		}
		if q.http.Body == nil || q.http.Body == http.NoBody {
			p.size = 0
		}
		return p, nil
	}
	body, err := s.verifier.Body(q.http, signed)
	if err != nil {
		return nil, signatureError(err, "InvalidRequest")
	}
	p.r, p.size, p.trailer = body, body.Size(), body.Trailer()
	return p, nil
}

// verify compares what was read with what the request declared. sum is the
// hash by p.algorithm, md5sum the MD5; either may be nil when not declared.
func (p *payload) verify(read int64, md5sum, sum []byte) error {
	if p.size >= 0 && read != p.size {
		return errIncomplete()
	}
	if p.md5 != nil && !bytes.Equal(p.md5, md5sum) {
		return errorf("BadDigest", "The Content-MD5 you specified did not match what we received.").
			with("ExpectedDigest", base64.StdEncoding.EncodeToString(p.md5)).with("CalculatedDigest", base64.StdEncoding.EncodeToString(md5sum))
	}
	if p.algorithm == "" {
		return nil
	}
	want := p.checksum
	if want == "" {
		want = p.trailer.Get(checksumHeader(p.algorithm))
		if !validChecksum(p.algorithm, want) {
			return errorf("InvalidRequest", "Value for %s trailing header is invalid.", strings.ToLower(checksumHeader(p.algorithm)))
		}
	}
	if want != encodeChecksum(sum) {
		return errBadDigest(p.algorithm)
	}
	return nil
}

func errBadDigest(algorithm string) *apiError {
	return errorf("BadDigest", "The %s you specified did not match the calculated checksum.", algorithm)
}

func errIncomplete() *apiError {
	return errorf("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header")
}

// bodyError gives an error of reading a body S3's code.
func bodyError(ctx context.Context, err error) error {
	var sig *sigv4.Error
	if errors.As(err, &sig) {
		return signatureError(err, "InvalidRequest")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return errorf("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size")
	}
	// The client went away or sent less than it announced.
	return errIncomplete()
}

// readAll reads a small body whole and verifies it.
func (s *Service) readAll(q *request, limit int64) ([]byte, error) {
	p, err := s.openPayload(q)
	if err != nil {
		return nil, err
	}
	if p.size > limit {
		return nil, errorf("MaxMessageLengthExceeded", "Your request was too big.")
	}
	b, err := io.ReadAll(io.LimitReader(p.r, limit+1))
	if err != nil {
		return nil, bodyError(q.http.Context(), err)
	}
	if int64(len(b)) > limit {
		return nil, errorf("MaxMessageLengthExceeded", "Your request was too big.")
	}
	var md5sum, sum []byte
	if p.md5 != nil {
		h := md5.Sum(b)
		md5sum = h[:]
	}
	if p.algorithm != "" {
		h := newHash(p.algorithm)
		h.Write(b)
		sum = h.Sum(nil)
	}
	return b, p.verify(int64(len(b)), md5sum, sum)
}

// readXML reads and decodes a body; an empty one is malformed.
func (s *Service) readXML(q *request, root string, v any) error {
	b, err := s.readAll(q, maxXMLBody)
	if err != nil {
		return err
	}
	return decodeXML(b, root, v)
}

// received is a body on the disk: durable, but not in the index yet.
type received struct {
	part
	algorithm string // of part.checksum; empty: none was asked for or given
	digest    []byte // MD5; nil in process
}

// receive writes the body of a request to a part file. algorithm is the one
// that the caller wants a checksum by besides CRC-64/NVME, which is always
// there; empty: the one that the request declares. When it returns nil the
// bytes are verified and durable; the caller enters them in the index, and
// calls settle, or hands them to suspect.
func (s *Service) receive(q *request, algorithm string) (*received, error) {
	p, err := s.openPayload(q)
	if err != nil {
		return nil, err
	}
	if p.size < 0 {
		return nil, errorf("MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	if p.size > maxObjectUpload {
		return nil, errorf("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size").
			with("ProposedSize", strconv.FormatInt(p.size, 10)).with("MaxSizeAllowed", strconv.FormatInt(maxObjectUpload, 10))
	}
	if algorithm == "" {
		algorithm = p.algorithm
	}
	out := &received{algorithm: algorithm}
	out.modified = s.cfg.Now()
	var sums []hash.Hash
	add := func(h hash.Hash) hash.Hash {
		sums = append(sums, h)
		return h
	}
	crc := crc64nvme.New()
	var md5sum, declared, wanted hash.Hash
	if !q.inProcess || p.md5 != nil {
		md5sum = add(md5.New())
	}
	switch p.algorithm {
	case "":
	case algCRC64NVME:
		declared = crc
	default:
		declared = add(newHash(p.algorithm))
	}
	switch algorithm {
	case "":
	case algCRC64NVME:
		wanted = crc
	case p.algorithm:
		wanted = declared
	default:
		wanted = add(newHash(algorithm))
	}
	add(crc)

	file, n, err := s.store(q.http.Context(), p, sums)
	if err != nil {
		return nil, err
	}
	out.size, out.crc64 = n, crc.Sum64()
	var digest, sum []byte
	if md5sum != nil {
		digest = md5sum.Sum(nil)
	}
	if declared != nil {
		sum = declared.Sum(nil)
	}
	err = p.verify(n, digest, sum)
	if err == nil && file != nil {
		err = file.commit()
	} else if file != nil {
		file.abort()
	}
	if err != nil {
		return nil, err
	}
	if file != nil {
		out.extents = []extent{{file: file.id, size: n, crc64: out.crc64, stored: file.stored}}
	}
	if wanted != nil {
		out.checksum = encodeChecksum(wanted.Sum(nil))
	}
	if q.inProcess {
		out.etag = opaqueETag(out.crc64, n)
	} else {
		out.digest, out.etag = digest, hex.EncodeToString(digest)
	}
	return out, nil
}

// store takes the body into a new part file, not yet durable. An empty body
// has no file.
func (s *Service) store(ctx context.Context, p *payload, sums []hash.Hash) (file *partFile, n int64, err error) {
	buffer := s.buffers.Get().(*[]byte)
	defer s.buffers.Put(buffer)
	in := &intake{ctx: ctx, s: s, size: p.size, sums: sums, buffer: *buffer}
	_, err = io.Copy(in, p.r)
	switch {
	case in.err != nil:
		err = in.err
	case err != nil:
		err = bodyError(ctx, err)
	default:
		err = in.flush()
	}
	if err != nil && in.file != nil {
		in.file.abort()
		in.file = nil
	}
	return in.file, in.n, err
}

// intake is a body on its way into a part file. What the server itself sends
// comes in one Write and is not copied; what comes over the network is read
// into the buffer.
type intake struct {
	ctx    context.Context
	s      *Service
	size   int64 // announced
	sums   []hash.Hash
	buffer []byte
	held   int // of the buffer
	n      int64
	file   *partFile
	err    error // of anything but reading
}

func (in *intake) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		piece := rest[:min(len(rest), len(in.buffer)-in.held)]
		rest = rest[len(piece):]
		if len(piece) == len(in.buffer) {
			if err := in.take(piece); err != nil {
				return 0, err
			}
			continue
		}
		if in.held += copy(in.buffer[in.held:], piece); in.held == len(in.buffer) {
			if err := in.flush(); err != nil {
				return 0, err
			}
		}
	}
	return len(b), nil
}

func (in *intake) ReadFrom(r io.Reader) (int64, error) {
	var total int64
	for {
		m, err := io.ReadFull(r, in.buffer[in.held:])
		in.held += m
		total += int64(m)
		switch {
		case err == nil:
			if err := in.flush(); err != nil {
				return total, err
			}
		case err == io.EOF, errors.Is(err, io.ErrUnexpectedEOF) && in.n+int64(in.held) == in.size:
			return total, nil
		default:
			return total, err
		}
	}
}

// flush takes what the buffer holds.
func (in *intake) flush() error {
	b := in.buffer[:in.held]
	in.held = 0
	if len(b) == 0 {
		return nil
	}
	return in.take(b)
}

// take appends b to the file; it is as long as the buffer but for the last.
func (in *intake) take(b []byte) error {
	in.err = in.append(b)
	return in.err
}

func (in *intake) append(b []byte) (err error) {
	if in.n += int64(len(b)); in.n > in.size {
		return errIncomplete()
	}
	if err := in.ctx.Err(); err != nil {
		return err
	}
	for _, h := range in.sums {
		h.Write(b)
	}
	if in.file == nil {
		if in.file, err = in.s.files.create(!in.s.cfg.Plain && shrinks(b)); err != nil {
			return err
		}
	}
	return in.file.write(b)
}

// opaqueETag names content that was not hashed with MD5. The suffix keeps
// clients from taking it for an MD5.
func opaqueETag(crc uint64, size int64) string {
	return fmt.Sprintf("%016x%016x-1", crc, size)
}

// release tells the files layer what became of a received part: err is the
// result of entering it in the index.
func (s *Service) release(p *part, err error) {
	for i := range p.extents {
		if err != nil {
			s.suspect(p.extents[i].file)
		} else {
			s.files.settle(p.extents[i].file)
		}
	}
}
