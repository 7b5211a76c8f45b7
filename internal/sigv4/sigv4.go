// Package sigv4 verifies AWS Signature Version 4: requests signed in the
// Authorization header, presigned URLs, and the bodies of both, including
// aws-chunked streams with signed chunks and trailers. It stores nothing; who
// an access key belongs to is the caller's business.
package sigv4

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
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

const (
	algorithm   = "AWS4-HMAC-SHA256"
	terminator  = "aws4_request"
	timeFormat  = "20060102T150405Z"
	emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	serviceS3   = "s3"

	// maxExpires is the longest life of a presigned URL.
	maxExpires = 7 * 24 * time.Hour
	// maxAuthorization bounds the header, maxCachedKeys the signing keys that
	// are remembered: one a key, day, region and service.
	maxAuthorization = 8 << 10
	maxCachedKeys    = 1024
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
	DecodedLength                         // x-amz-decoded-content-length missing or not a length
	Chunk                                 // the aws-chunked body is malformed or not as long as announced
)

// Error is a refused signature. Message is meant for the caller of the API and
// holds nothing secret.
type Error struct {
	Kind    Kind
	Message string
}

func (e *Error) Error() string { return e.Message }

func refuse(k Kind, format string, args ...any) error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

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
type Verifier struct {
	cfg     Config
	keys    keyCache
	scratch sync.Pool // *[]byte, for canonical requests
}

// New makes a Verifier.
func New(cfg Config) *Verifier {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxSkew == 0 {
		cfg.MaxSkew = MaxSkew
	}
	cfg.Services, cfg.Regions = slices.Clone(cfg.Services), slices.Clone(cfg.Regions)
	return &Verifier{cfg: cfg, scratch: sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}}
}

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

	// What the signatures of chunks continue from.
	timestamp, scope, signature string
	key                         [32]byte
}

// Verify checks a request signed in its Authorization header. payloadSHA256 is
// the lower-case hex SHA-256 of the body; empty means that the client's own
// x-amz-content-sha256 header stands for it (S3), and then the body must be
// read through Body. r is the request as received: a path or host that was
// rewritten no longer matches. Errors are *Error, or what Secret gave.
func (v *Verifier) Verify(r *http.Request, payloadSHA256 string) (*Signed, error) {
	c, err := headerClaim(r)
	if err != nil {
		return nil, err
	}
	return v.verifyHeader(r, c, payloadSHA256)
}

// Claim is a signature in an Authorization header of which everything has been
// checked but the signature itself.
type Claim struct {
	verifier *Verifier
	request  *http.Request
	claim    *claim
}

// Begin makes the checks of Verify that need no body: form, scope, signed
// headers, time, and that somebody has the access key. A server whose
// signatures cover the body calls it before it reads one, so that strangers
// cannot make it hold their bodies. Errors are as with Verify.
func (v *Verifier) Begin(r *http.Request) (*Claim, error) {
	c, err := headerClaim(r)
	if err != nil {
		return nil, err
	}
	if _, err := v.secret(r, c); err != nil {
		return nil, err
	}
	return &Claim{v, r, c}, nil
}

// Verify is the rest of Verifier.Verify, and has its result; time and access
// key are checked once more, since bodies may take their time.
func (c *Claim) Verify(payloadSHA256 string) (*Signed, error) {
	return c.verifier.verifyHeader(c.request, c.claim, payloadSHA256)
}

func (v *Verifier) verifyHeader(r *http.Request, c *claim, payloadSHA256 string) (_ *Signed, err error) {
	if payloadSHA256 == "" {
		if payloadSHA256, err = announcedHash(r.Header.Values("X-Amz-Content-Sha256")); err != nil {
			return nil, err
		}
	}
	return v.verify(r, c, payloadSHA256)
}

// VerifyPresigned checks a request signed in its query string. For S3 the body
// must be read through Body; for other services the signature covers an empty
// body and whatever is sent must be ignored. Errors are as with Verify.
func (v *Verifier) VerifyPresigned(r *http.Request) (*Signed, error) {
	c, query, err := queryClaim(r)
	if err != nil {
		return nil, err
	}
	hash := emptySHA256
	if c.service == serviceS3 {
		values := slices.Concat(r.Header.Values("X-Amz-Content-Sha256"), query["X-Amz-Content-Sha256"])
		if len(values) == 0 {
			values = []string{UnsignedPayload}
		}
		if hash, err = announcedHash(values); err != nil {
			return nil, err
		}
	}
	return v.verify(r, c, hash)
}

// secret checks all of a claim that needs no body, and gives the secret that
// the signature must have been made with.
func (v *Verifier) secret(r *http.Request, c *claim) (string, error) {
	if err := v.checkScope(c); err != nil {
		return "", err
	}
	if err := checkSignedHeaders(r, c); err != nil {
		return "", err
	}
	if err := v.checkTime(c); err != nil {
		return "", err
	}
	secret, ok, err := v.cfg.Secret(r.Context(), c.accessKeyID)
	if err != nil {
		return "", fmt.Errorf("looking up access key %s: %w", c.accessKeyID, err)
	}
	if !ok {
		return "", refuse(UnknownKey, "The security token included in the request is invalid.")
	}
	return secret, nil
}

func (v *Verifier) verify(r *http.Request, c *claim, payloadHash string) (*Signed, error) {
	secret, err := v.secret(r, c)
	if err != nil {
		return nil, err
	}
	key, cached := v.keys.get(c, secret)
	if !cached {
		key = signingKey(secret, c)
	}

	scratch := v.scratch.Get().(*[]byte)
	defer v.scratch.Put(scratch)
	canonical, err := appendCanonicalRequest((*scratch)[:0], r, c, payloadHash)
	*scratch = canonical
	if err != nil {
		return nil, err
	}
	if !equal(sign(key, c, canonical), c.signature) {
		return nil, refuse(Mismatch, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	// Only valid signatures enter the cache: strangers can not churn it.
	if !cached {
		v.keys.put(c, secret, key)
	}
	return &Signed{
		AccessKeyID: c.accessKeyID, Region: c.region, Service: c.service, Time: c.time,
		SignedHeaders: c.signedHeaders, SessionToken: c.token, PayloadHash: payloadHash, Presigned: c.presigned,
		timestamp: c.timestamp, scope: c.scope, signature: c.signature, key: key,
	}, nil
}

func (v *Verifier) checkScope(c *claim) error {
	if end := c.scope[len(c.date)+len(c.region)+len(c.service)+3:]; end != terminator {
		return refuse(WrongScope, "Credential should be scoped with a valid terminator: '%s', not '%s'.", terminator, end)
	}
	if !slices.Contains(v.cfg.Services, c.service) {
		service := ""
		if len(v.cfg.Services) > 0 {
			service = v.cfg.Services[0]
		}
		return refuse(WrongScope, "Credential should be scoped to correct service: '%s'.", service)
	}
	if c.region == "" || len(v.cfg.Regions) > 0 && !slices.Contains(v.cfg.Regions, c.region) {
		hint := ""
		if len(v.cfg.Regions) > 0 {
			hint = " This server's region is " + strings.Join(v.cfg.Regions, " or ") + "."
		}
		return refuse(WrongScope, "Credential should be scoped to a valid region, not '%s'.%s", c.region, hint)
	}
	if c.date != c.timestamp[:8] {
		return refuse(WrongScope, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", c.date, c.timestamp[:8], c.timestamp)
	}
	return nil
}

func (v *Verifier) checkTime(c *claim) error {
	now := v.cfg.Now().UTC()
	if c.time.After(now.Add(v.cfg.MaxSkew)) {
		return refuse(Skewed, "Signature not yet current: %s is still later than %s (%s + %d min.)",
			c.timestamp, now.Add(v.cfg.MaxSkew).Format(timeFormat), now.Format(timeFormat), int(v.cfg.MaxSkew.Minutes()))
	}
	if c.expires > 0 {
		if now.After(c.time.Add(c.expires)) {
			return refuse(Expired, "Request has expired: it was valid until %s.", c.time.Add(c.expires).Format(timeFormat))
		}
		return nil
	}
	if oldest := now.Add(-v.cfg.MaxSkew); c.time.Before(oldest.Truncate(time.Second)) {
		return refuse(Skewed, "Signature expired: %s is now earlier than %s (%s - %d min.)",
			c.timestamp, oldest.Format(timeFormat), now.Format(timeFormat), int(v.cfg.MaxSkew.Minutes()))
	}
	return nil
}

// keyCache remembers derived signing keys, since deriving one costs four HMACs.
type keyCache struct {
	mu   sync.RWMutex
	keys map[cacheKey]cachedKey
}

type cacheKey struct{ accessKeyID, date, region, service string }

type cachedKey struct {
	secret string // the key serves only while the access key has this secret
	key    [32]byte
}

func (k *keyCache) get(c *claim, secret string) ([32]byte, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	e, ok := k.keys[cacheKey{c.accessKeyID, c.date, c.region, c.service}]
	if !ok || !equal(e.secret, secret) {
		return [32]byte{}, false
	}
	return e.key, true
}

func (k *keyCache) put(c *claim, secret string, key [32]byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	// Yesterday's keys go when the map is full; rebuilding costs microseconds.
	if k.keys == nil || len(k.keys) >= maxCachedKeys {
		k.keys = map[cacheKey]cachedKey{}
	}
	k.keys[cacheKey{c.accessKeyID, c.date, c.region, c.service}] = cachedKey{secret, key}
}
