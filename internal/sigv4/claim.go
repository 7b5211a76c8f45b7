package sigv4

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// claim is what a request says about its signature, before anything is checked.
type claim struct {
	accessKeyID, date, region, service string
	scope                              string // date/region/service/terminator
	signedHeaders                      []string
	signature                          string // 64 lower-case hex digits
	timestamp                          string // X-Amz-Date
	time                               time.Time
	token                              string
	presigned                          bool
	expires                            time.Duration // presigned: life of the URL; 0 when it names none
}

// IsPresigned says whether the signature of r is in its query string.
func IsPresigned(r *http.Request) bool {
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if strings.HasPrefix(part, "X-Amz-Signature=") || strings.HasPrefix(part, "X-Amz-Algorithm=") {
			return true
		}
	}
	return false
}

func headerClaim(r *http.Request) (*claim, error) {
	h := r.Header.Values("Authorization")
	switch {
	case len(h) == 0 || len(h) == 1 && h[0] == "":
		return nil, refuse(MissingAuthentication, "Missing Authentication Token")
	case len(h) > 1:
		return nil, refuse(Malformed, "The request has more than one Authorization header.")
	case IsPresigned(r):
		return nil, refuse(Malformed, "Only one authentication mechanism is allowed: the Authorization header or the X-Amz-Signature query parameter.")
	}
	c, err := parseAuthorization(h[0])
	if err != nil {
		return nil, err
	}
	date := r.Header.Values("X-Amz-Date")
	if len(date) != 1 {
		return nil, refuse(Malformed, "Authorization header requires existence of one 'X-Amz-Date' header.")
	}
	c.token = r.Header.Get("X-Amz-Security-Token")
	return c, c.setTime(date[0])
}

// parseAuthorization reads
//
//	AWS4-HMAC-SHA256 Credential=.../..., SignedHeaders=a;b, Signature=...
func parseAuthorization(h string) (*claim, error) {
	if len(h) > maxAuthorization {
		return nil, refuse(Malformed, "The Authorization header is longer than %d bytes.", maxAuthorization)
	}
	scheme, rest, _ := strings.Cut(strings.TrimLeft(h, " "), " ")
	if scheme != algorithm {
		return nil, refuse(Malformed, "Unsupported AWS 'algorithm': %.64q. Please use %s.", scheme, algorithm)
	}
	var values [3]string
	names := [3]string{"Credential", "SignedHeaders", "Signature"}
	for part := range strings.SplitSeq(rest, ",") {
		part = strings.Trim(part, " ")
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		i := slices.Index(names[:], name)
		if !ok || i < 0 {
			return nil, refuse(Malformed, "Authorization header has a part that is not one of Credential, SignedHeaders and Signature.")
		}
		if values[i] != "" {
			return nil, refuse(Malformed, "Authorization header has the '%s' parameter twice.", name)
		}
		values[i] = value
	}
	missing := ""
	for i, name := range names {
		if values[i] == "" {
			missing += "Authorization header requires '" + name + "' parameter. "
		}
	}
	if missing != "" {
		return nil, refuse(Malformed, "%s", strings.TrimSuffix(missing, " "))
	}
	c := &claim{}
	if err := c.setCredential(values[0]); err != nil {
		return nil, err
	}
	if err := c.setSignedHeaders(values[1]); err != nil {
		return nil, err
	}
	return c, c.setSignature(values[2])
}

// queryClaim reads the X-Amz-... parameters of a presigned URL.
func queryClaim(r *http.Request) (*claim, url.Values, error) {
	if r.Header.Get("Authorization") != "" {
		return nil, nil, refuse(Malformed, "Only one authentication mechanism is allowed: the Authorization header or the X-Amz-Signature query parameter.")
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, refuse(Malformed, "The query string is not well formed.")
	}
	for name, values := range query {
		if len(values) > 1 && strings.HasPrefix(name, "X-Amz-") {
			return nil, nil, refuse(Malformed, "The query parameter %s stands more than once.", strconv.Quote(name))
		}
	}
	for _, name := range []string{"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-SignedHeaders", "X-Amz-Signature"} {
		if query.Get(name) == "" {
			return nil, nil, refuse(Malformed, "AWS query-string parameters must include '%s'.", name)
		}
	}
	if query.Get("X-Amz-Algorithm") != algorithm {
		return nil, nil, refuse(Malformed, "X-Amz-Algorithm only supports %q.", algorithm)
	}
	c := &claim{presigned: true, token: query.Get("X-Amz-Security-Token")}
	if err := c.setCredential(query.Get("X-Amz-Credential")); err != nil {
		return nil, nil, err
	}
	if err := c.setSignedHeaders(query.Get("X-Amz-SignedHeaders")); err != nil {
		return nil, nil, err
	}
	if err := c.setSignature(query.Get("X-Amz-Signature")); err != nil {
		return nil, nil, err
	}
	if err := c.setTime(query.Get("X-Amz-Date")); err != nil {
		return nil, nil, err
	}
	// Services other than S3 let a URL live as long as a header's signature
	// when it names no time.
	if e := query.Get("X-Amz-Expires"); e != "" || c.service == serviceS3 {
		seconds, err := strconv.ParseUint(e, 10, 32)
		if err != nil || seconds == 0 || time.Duration(seconds)*time.Second > maxExpires {
			return nil, nil, refuse(Malformed, "X-Amz-Expires must be a number of seconds from 1 to %d.", int(maxExpires.Seconds()))
		}
		c.expires = time.Duration(seconds) * time.Second
	}
	return c, query, nil
}

func (c *claim) setCredential(s string) error {
	f := strings.Split(s, "/")
	if len(f) != 5 || f[0] == "" || len(f[0]) > 128 || len(s) > 512 {
		return refuse(Malformed, "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return refuse(Malformed, "Credential must not have spaces or characters other than ASCII.")
		}
	}
	c.accessKeyID, c.date, c.region, c.service = f[0], f[1], f[2], f[3]
	c.scope = s[len(f[0])+1:]
	return nil
}

func (c *claim) setSignedHeaders(s string) error {
	c.signedHeaders = strings.Split(s, ";")
	for i, name := range c.signedHeaders {
		if !isLowerToken(name) || slices.Contains(c.signedHeaders[:i], name) {
			return refuse(Malformed, "SignedHeaders must list lower-case header names, each once, separated by ';'.")
		}
		if i == 100 {
			return refuse(Malformed, "SignedHeaders lists more than 100 headers.")
		}
	}
	return nil
}

func (c *claim) setSignature(s string) error {
	if !isHexSHA256(s) {
		return refuse(Malformed, "Signature must be 64 lower-case hexadecimal digits.")
	}
	c.signature = s
	return nil
}

func (c *claim) setTime(s string) error {
	t, err := time.Parse(timeFormat, s)
	if err != nil || len(s) != len(timeFormat) {
		return refuse(Malformed, "X-Amz-Date must be in the ISO-8601 'basic format', such as %s.", timeFormat)
	}
	c.timestamp, c.time = s, t
	return nil
}

// announcedHash checks the form of x-amz-content-sha256.
func announcedHash(values []string) (string, error) {
	if len(values) == 0 {
		return "", refuse(PayloadHash, "Missing required header for this request: x-amz-content-sha256")
	}
	switch h := values[0]; {
	case len(values) > 1:
		return "", refuse(PayloadHash, "x-amz-content-sha256 stands more than once.")
	case h == UnsignedPayload, h == StreamingPayload, h == StreamingPayloadTrailer, h == StreamingUnsignedTrailer, isHexSHA256(h):
		return h, nil
	}
	return "", refuse(PayloadHash, "x-amz-content-sha256 must be %s, %s, %s, %s, or a valid sha256 value.",
		UnsignedPayload, StreamingUnsignedTrailer, StreamingPayload, StreamingPayloadTrailer)
}

func isHexSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if (s[i] < '0' || s[i] > '9') && (s[i] < 'a' || s[i] > 'f') {
			return false
		}
	}
	return true
}

func isLowerToken(s string) bool {
	for i := range len(s) {
		b := s[i]
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(b)) {
			return false
		}
	}
	return s != ""
}
