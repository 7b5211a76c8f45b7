package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/textproto"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// checkSignedHeaders wants host signed and every header that changes what the
// request does: for S3 all x-amz-*, elsewhere date, target and token.
func checkSignedHeaders(r *http.Request, c *claim) error {
	if !slices.Contains(c.signedHeaders, "host") {
		return refuse(UnsignedHeader, "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range r.Header {
		if len(name) < 6 || !strings.EqualFold(name[:6], "x-amz-") {
			continue
		}
		is := func(header string) bool { return strings.EqualFold(header, name) }
		if c.service != serviceS3 && !is("x-amz-date") && !is("x-amz-target") && !is("x-amz-security-token") {
			continue
		}
		if !slices.ContainsFunc(c.signedHeaders, is) {
			return refuse(UnsignedHeader, "'%s' must be a 'SignedHeader' in the AWS Authorization.", strings.ToLower(name))
		}
	}
	return nil
}

func appendCanonicalRequest(b []byte, r *http.Request, c *claim, payloadHash string) ([]byte, error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	b = append(append(b, method...), '\n')
	b = append(appendCanonicalPath(b, r.URL, c.service), '\n')
	b, err := appendCanonicalQuery(b, r.URL.RawQuery, c.presigned)
	if err != nil {
		return b, err
	}
	b = append(b, '\n')
	for _, name := range c.signedHeaders {
		b = append(append(b, name...), ':')
		b = append(appendHeader(b, r, name), '\n')
	}
	b = append(b, '\n')
	for i, name := range c.signedHeaders {
		if i > 0 {
			b = append(b, ';')
		}
		b = append(b, name...)
	}
	b = append(b, '\n')
	return append(b, payloadHash...), nil
}

// appendCanonicalPath encodes the path once for S3, where a path is a key's
// bytes; for all others it is normalised and encoded on top of the encoding
// that it travels in.
func appendCanonicalPath(b []byte, u *url.URL, service string) []byte {
	p := u.Path
	if service != serviceS3 {
		p = u.EscapedPath()
		if p != "/" && p != "" {
			slash := strings.HasSuffix(p, "/")
			p = path.Clean(p)
			if slash && p != "/" {
				p += "/"
			}
		}
	}
	if p == "" {
		return append(b, '/')
	}
	return appendEncoded(b, p, true)
}

// appendCanonicalQuery decodes, encodes and sorts the parameters.
func appendCanonicalQuery(b []byte, raw string, presigned bool) ([]byte, error) {
	if raw == "" {
		return b, nil
	}
	type parameter struct{ name, value string }
	var parameters []parameter
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return b, refuse(Malformed, "The query string is not well formed.")
		}
		if presigned && name == "X-Amz-Signature" {
			continue
		}
		parameters = append(parameters, parameter{string(appendEncoded(nil, name, false)), string(appendEncoded(nil, value, false))})
	}
	slices.SortFunc(parameters, func(x, y parameter) int {
		if n := strings.Compare(x.name, y.name); n != 0 {
			return n
		}
		return strings.Compare(x.value, y.value)
	})
	for i, p := range parameters {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(append(append(b, p.name...), '='), p.value...)
	}
	return b, nil
}

// appendEncoded is the UriEncode of the specification: everything but
// unreserved characters becomes %XX, a slash only where it is data.
func appendEncoded(b []byte, s string, keepSlash bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
			c == '-' || c == '_' || c == '.' || c == '~' || c == '/' && keepSlash {
			b = append(b, c)
		} else {
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

// appendHeader writes the values of a header, joined with commas, without
// outer spaces and with inner runs of spaces as one. net/http keeps some
// headers outside of Header.
func appendHeader(b []byte, r *http.Request, name string) []byte {
	values := r.Header[textproto.CanonicalMIMEHeaderKey(name)]
	switch {
	case name == "host":
		host := r.Host
		if host == "" {
			host = r.URL.Host
		}
		return append(b, host...)
	case values == nil && name == "content-length" && r.ContentLength >= 0:
		return strconv.AppendInt(b, r.ContentLength, 10)
	case values == nil && name == "transfer-encoding":
		values = r.TransferEncoding
	}
	for i, value := range values {
		if i > 0 {
			b = append(b, ',')
		}
		space := false
		for _, c := range []byte(strings.TrimSpace(value)) {
			if c == ' ' && space {
				continue
			}
			space = c == ' '
			b = append(b, c)
		}
	}
	return b
}

func sign(key [32]byte, c *claim, canonical []byte) string {
	sum := sha256.Sum256(canonical)
	b := make([]byte, 0, 256)
	b = append(b, algorithm+"\n"...)
	b = append(append(b, c.timestamp...), '\n')
	b = append(append(b, c.scope...), '\n')
	b = hex.AppendEncode(b, sum[:])
	mac := mac(key[:], b)
	return hex.EncodeToString(mac[:])
}

func signingKey(secret string, c *claim) [32]byte {
	k := mac([]byte("AWS4"+secret), []byte(c.date))
	k = mac(k[:], []byte(c.region))
	k = mac(k[:], []byte(c.service))
	return mac(k[:], []byte(terminator))
}

func mac(key, data []byte) (sum [32]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	h.Sum(sum[:0])
	return sum
}

// equal compares in constant time.
func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
