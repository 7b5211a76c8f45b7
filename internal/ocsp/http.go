package ocsp

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	requestType  = "application/ocsp-request"
	responseType = "application/ocsp-response"

	// maxAge bounds how long caches keep an answer, and so when a revocation is
	// seen by all.
	maxAge = time.Hour
)

// label says in the metrics what was answered.
type label uint8

const (
	good label = iota
	revoked
	unknown
	several
	isUnauthorized
	isMalformed
	isInternalError
	isTryLater
	labels
)

func (l label) String() string {
	return [labels]string{"good", "revoked", "unknown", "several", "unauthorized", "malformed", "internal_error", "try_later"}[l]
}

func labelOf(s State, u UnknownSerial) label {
	switch {
	case s == Good:
		return good
	case s == Revoked || u == RevokedToo:
		return revoked
	}
	return unknown
}

func (c code) Error() string { return "OCSP status " + strconv.Itoa(int(c)) }

// fixed are values of headers that many answers share; nobody changes them.
type fixed struct {
	contentType, hour, never []string
	expires                  *atomic.Pointer[expiry]
	bodies                   *sync.Pool // of requests
}

// expiry is a date as Expires has it, of an hour after a second.
type expiry struct {
	second int64
	value  []string
}

func newFixed() fixed {
	return fixed{
		contentType: []string{responseType},
		hour:        []string{cacheControl(maxAge)},
		never:       []string{"max-age=0, no-cache"},
		expires:     new(atomic.Pointer[expiry]),
		bodies:      &sync.Pool{New: func() any { return new([maxRequest + 1]byte) }},
	}
}

func cacheControl(age time.Duration) string {
	return "max-age=" + strconv.FormatInt(int64(age/time.Second), 10) + ",public,no-transform,must-revalidate"
}

// ServeHTTP answers a request, whatever its path begins with. What goes
// wrong is an answer, too, with the status 200.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q request
	var ok bool
	method := 0
	switch r.Method {
	case http.MethodHead:
		method = 1
		fallthrough
	case http.MethodGet:
		ok = q.fromPath(r.URL.Path)
	case http.MethodPost:
		method = 2
		kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
		if !strings.EqualFold(strings.TrimSpace(kind), requestType) {
			http.Error(w, "the content type of an OCSP request is "+requestType, http.StatusUnsupportedMediaType)
			return
		}
		b := s.fixed.bodies.Get().(*[maxRequest + 1]byte)
		defer s.fixed.bodies.Put(b)
		n, err := io.ReadFull(r.Body, b[:])
		ok = (err == io.ErrUnexpectedEOF || err == io.EOF) && q.parse(b[:n])
	default:
		w.Header().Set("Allow", "GET, HEAD, POST")
		http.Error(w, "OCSP is asked by GET or POST", http.StatusMethodNotAllowed)
		return
	}
	if !ok {
		s.writeError(w, r, method, malformedRequest)
		return
	}
	a, err := s.find(r.Context(), &q)
	if err != nil {
		s.writeError(w, r, method, err)
		return
	}
	s.requests[method][a.label].Inc()
	s.write(w, r, a, q.nonce == nil)
}

// find gives an answer from the cache, or a new one.
func (s *Service) find(ctx context.Context, q *request) (*answer, error) {
	if q.many != nil || q.nonce != nil {
		return s.fresh(ctx, q)
	}
	a := s.cache.get(q.one[0].content)
	now := s.cfg.Now()
	if a == nil || now.Before(a.from) || !now.Before(a.until) || a.responder.revoked.Load() {
		return s.fresh(ctx, q)
	}
	// What became of the CA since it was signed counts.
	if !a.issuer.authority.answers(now) {
		return nil, unauthorized
	}
	// One makes it anew; it is good for the others, and for him when that fails.
	if now.Before(a.refresh) || !a.refreshing.CompareAndSwap(false, true) {
		return a, nil
	}
	next, err := s.fresh(ctx, q)
	if err == nil {
		return next, nil
	}
	if _, decided := errors.AsType[code](err); decided { // nothing is said any more
		s.cache.drop([]string{a.key})
		return nil, err
	}
	a.refreshing.Store(false)
	if !errors.Is(err, errLater) {
		s.cfg.Log.WarnContext(ctx, "an OCSP answer could not be made anew at half of its life; the old one is still good", "until", a.until, "error", err)
	}
	return a, nil
}

// write sends an answer. kept says that caches may keep it; one with a
// nonce is of no use to anybody else.
func (s *Service) write(w http.ResponseWriter, r *http.Request, a *answer, kept bool) {
	h := w.Header()
	h["Content-Type"] = s.fixed.contentType
	if !kept {
		h["Cache-Control"] = s.fixed.never
		h["Content-Length"] = a.length
		s.send(w, r, a.body)
		return
	}
	now := s.cfg.Now()
	if left := a.until.Sub(now); left >= maxAge {
		h["Cache-Control"] = s.fixed.hour
		h["Expires"] = s.fixed.expiresAt(now)
	} else {
		left = max(left, 0)
		h["Cache-Control"] = []string{cacheControl(left)}
		h["Expires"] = []string{now.Add(left).UTC().Format(http.TimeFormat)}
	}
	h["Last-Modified"] = a.modified
	h["Etag"] = a.etag
	if r.Method != http.MethodPost && matches(r.Header["If-None-Match"], a.etag[0]) {
		delete(h, "Content-Type")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h["Content-Length"] = a.length
	s.send(w, r, a.body)
}

// expiresAt is Expires of what is kept for an hour from now on.
func (f *fixed) expiresAt(now time.Time) []string {
	e := f.expires.Load()
	if e == nil || e.second != now.Unix() {
		e = &expiry{now.Unix(), []string{now.Add(maxAge).UTC().Format(http.TimeFormat)}}
		f.expires.Store(e)
	}
	return e.value
}

// matches tells whether an If-None-Match names an ETag (RFC 9110 13.1.2).
func matches(header []string, etag string) bool {
	for _, value := range header {
		for tag := range strings.SplitSeq(value, ",") {
			if tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/"); tag == etag || tag == "*" {
				return true
			}
		}
	}
	return false
}

// writeError sends the answer that says what is wrong, unsigned, and kept by
// nobody.
func (s *Service) writeError(w http.ResponseWriter, r *http.Request, method int, err error) {
	c, decided := errors.AsType[code](err)
	switch {
	case decided:
	case errors.Is(err, errLater), r.Context().Err() != nil:
		c = tryLater
	default:
		c = internalError
		s.cfg.Log.ErrorContext(r.Context(), "an OCSP request could not be answered", "error", err)
	}
	l := map[code]label{malformedRequest: isMalformed, internalError: isInternalError, tryLater: isTryLater, unauthorized: isUnauthorized}[c]
	s.requests[method][l].Inc()
	h := w.Header()
	h["Content-Type"] = s.fixed.contentType
	h["Cache-Control"] = s.fixed.never
	s.send(w, r, errorResponse(c))
}

func (s *Service) send(w http.ResponseWriter, r *http.Request, body []byte) {
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // who has gone needs no answer
	}
}

// fromPath reads the request that a GET has in its path (RFC 6960 A.1): in
// base64, behind anything. Characters that should be escaped may not be, and of
// several slashes one may be left, as some proxies do it. The base64 of a
// SEQUENCE begins with M.
func (q *request) fromPath(path string) bool {
	if strings.Contains(path, "%") { // escaped twice
		if p, err := url.PathUnescape(path); err == nil {
			path = p
		}
	}
	path = strings.TrimRight(strings.ReplaceAll(path, " ", "+"), "=")
	const places = 8
	for range places {
		_, after, found := strings.Cut(path, "/M")
		if !found {
			return false
		}
		path = path[len(path)-len(after)-1:]
		if n := missing(path); n == 0 && q.fromBase64(path) || n > 0 && q.fromShortened(path, 0, n) {
			return true
		}
	}
	return false
}

// missing tells how many characters a text lacks to be the base64 of a SEQUENCE
// of the length that it begins with; negative when it cannot be that of a request.
func missing(text string) int {
	var head [6]byte
	if _, err := base64.RawStdEncoding.Decode(head[:], []byte(text[:min(len(text), 8)])); err != nil || len(text) < 8 {
		return -1
	}
	size := 2 + int(head[1])
	switch head[1] {
	case 0x81:
		size = 3 + int(head[2])
	case 0x82:
		size = 4 + int(head[2])<<8 + int(head[3])
	}
	if size > maxRequest {
		return -1
	}
	return base64.RawStdEncoding.EncodedLen(size) - len(text)
}

func (q *request) fromBase64(text string) bool {
	der, err := base64.RawStdEncoding.DecodeString(text)
	*q = request{}
	return err == nil && q.parse(der)
}

// fromShortened reads a request whose text lacks n slashes beside others that
// stand at the index from or behind it. All the guesses at a long one would cost
// more than a signature.
func (q *request) fromShortened(text string, from, n int) bool {
	const atMost, among, longest = 2, 12, 512
	switch {
	case n == 0:
		return q.fromBase64(text)
	case n > atMost || len(text) > longest || strings.Count(text, "/") > among:
		return false
	}
	for at := from; at < len(text); at++ {
		if text[at] == '/' && q.fromShortened(text[:at]+text[at:at+1]+text[at:], at, n-1) {
			return true
		}
	}
	return false
}
