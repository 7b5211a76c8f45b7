// Package sigv4 verifies AWS Signature Version 4: requests signed in the
// Authorization header, presigned URLs, and the bodies of both, including
// aws-chunked streams with signed chunks and trailers. It stores nothing; who
// an access key belongs to is the caller's business.
package sigv4

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// MaxSkew is how far a client's clock may be off by default (api.md 1.1).
const MaxSkew = 15 * time.Minute

// Values of x-amz-content-sha256 that are not a hash.
const (
	UnsignedPayload          = "UNSIGNED-PAYLOAD"
	StreamingPayload         = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	StreamingPayloadTrailer  = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	StreamingUnsignedTrailer = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
)

// Kind says what is wrong with a signature. Callers branch on it to find their
// own error code.
type Kind uint8

// The kinds of Error.
const (
	MissingAuthentication Kind = iota + 1 // no signature at all
	Malformed                             // a part of the signature is missing or not well formed
	UnknownKey                            // nobody has that access key
	WrongScope                            // scope of another day, region or service
	Skewed                                // signed too long ago or in the future
	Expired                               // a presigned URL after its time
	UnsignedHeader                        // a header that must be signed is not
	Mismatch                              // the signature differs: wrong secret or changed request
	PayloadHash                           // x-amz-content-sha256 missing or not a value that S3 knows
	PayloadMismatch                       // the body differs from its hash
	Chunk                                 // the aws-chunked body is malformed or too long
)

// Error is a refused signature. Message is meant for the caller of the API and
// holds nothing secret.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return e.Message }

// Config is all that a Verifier needs.
type Config struct {
	// Secret gives the secret of an access key; ok is false when nobody has
	// that key. It is asked at every request, so that a withdrawn key stops
	// at once. Safe for concurrent use.
	Secret func(ctx context.Context, accessKeyID string) (secret string, ok bool, err error)
	// Services and Regions are the scopes to accept; no Regions: any region.
	Services []string
	Regions  []string
	Now      func() time.Time // nil: time.Now
	MaxSkew  time.Duration    // 0: the constant MaxSkew
}

// Verifier checks signatures. It is safe for concurrent use.
type Verifier struct{ cfg Config }

// New makes a Verifier.
func New(cfg Config) *Verifier { return &Verifier{cfg: cfg} }

// Signed is what a valid signature vouches for.
type Signed struct {
	AccessKeyID   string
	Region        string
	Service       string
	Time          time.Time // of signing
	SignedHeaders []string  // lower case
	SessionToken  string    // X-Amz-Security-Token, not checked here; empty when absent
	PayloadHash   string    // lower-case hex SHA-256 of the body or one of the constants above
	Presigned     bool
}

// Verify checks a request signed in its Authorization header. payloadSHA256 is
// the lower-case hex SHA-256 of the body; empty means that the client's own
// x-amz-content-sha256 header stands for it (S3), and then the body must be
// read through Body. Errors are *Error, or what Secret gave.
func (v *Verifier) Verify(r *http.Request, payloadSHA256 string) (*Signed, error) {
	return nil, errors.New("sigv4: not written yet")
}

// VerifyPresigned checks a request signed in its query string. The body must
// be read through Body. Errors are as with Verify.
func (v *Verifier) VerifyPresigned(r *http.Request) (*Signed, error) {
	return nil, errors.New("sigv4: not written yet")
}

// IsPresigned says whether the signature of r is in its query string.
func IsPresigned(r *http.Request) bool { return false }

// Body gives the decoded body of a verified request. What it returns before
// io.EOF is not trusted yet: the hash and the signatures are known to be right
// only when Read has returned io.EOF, so store nothing for good before that.
// Errors of Read are *Error or the body's own.
func (v *Verifier) Body(r *http.Request, s *Signed) (*Body, error) {
	return nil, errors.New("sigv4: not written yet")
}

// Body is the decoded body of a request. It needs constant memory.
type Body struct{ r io.Reader }

// Read reads decoded bytes.
func (b *Body) Read(p []byte) (int, error) { return b.r.Read(p) }

// Size is the number of decoded bytes that the client announced; -1 when it did not.
func (b *Body) Size() int64 { return -1 }

// Trailer holds the trailing headers of an aws-chunked body, such as
// X-Amz-Checksum-Crc64nvme; complete after io.EOF.
func (b *Body) Trailer() http.Header { return nil }
