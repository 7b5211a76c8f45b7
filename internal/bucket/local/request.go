package local

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/sigv4"
)

const (
	maxKeyLength    = 1024
	maxObjectUpload = 5 << 30 // of one PutObject, UploadPart or copy
	maxParts        = 10_000
	minPartSize     = 5 << 20
	maxPolicy       = 20 << 10
	maxMetadata     = 2 << 10
)

// request is one S3 request, however it came.
type request struct {
	http   *http.Request
	method string
	bucket string
	key    string
	query  url.Values
	header http.Header
	id     string // request id

	op        *operation
	principal *iam.Principal // nil: anonymous
	inProcess bool
	signed    *sigv4.Signed // nil: anonymous or in process

	owner *bucket       // the bucket, when the operation wants one
	state *parsedBucket // its policy
	begun *object       // the multipart upload, once it was looked for
}

// reply is the answer to a request. Body is closed by whoever sends it.
type reply struct {
	status int
	header http.Header
	body   io.ReadCloser // nil: none
	length int64
}

func newReply(status int) *reply { return &reply{status: status, header: http.Header{}} }

func xmlReply(status int, d *document, root string) *reply {
	d.close(root)
	r := newReply(status)
	r.header.Set("Content-Type", "application/xml")
	r.setBody(d.b)
	return r
}

func (r *reply) setBody(b []byte) {
	r.body, r.length = io.NopCloser(bytes.NewReader(b)), int64(len(b))
}

// ServeHTTP serves one request over the network.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Botocore asks before it sends a body, be it empty. An answer without the
	// one that it waits for makes its next request on the connection hang, and
	// net/http gives none where there is nothing to read.
	if r.ContentLength == 0 && r.ProtoAtLeast(1, 1) && strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
		w.WriteHeader(http.StatusContinue)
	}
	rep := s.serve(&request{http: r})
	h := w.Header()
	for name, values := range rep.header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			name = strings.ToLower(name) // as S3: the CLI and boto3 show the name as it comes
		}
		h[name] = values
	}
	if rep.body != nil || rep.status != http.StatusNoContent && rep.status != http.StatusNotModified {
		h.Set("Content-Length", strconv.FormatInt(rep.length, 10))
	}
	w.WriteHeader(rep.status)
	if rep.body == nil {
		return
	}
	defer rep.body.Close()
	if r.Method == http.MethodHead {
		return
	}
	if _, err := io.Copy(w, rep.body); err != nil {
		// Either the client went away or a part file cannot be read. The
		// answer is cut short, which Content-Length shows the client.
		level := slog.LevelDebug
		var damage *damageError
		if errors.As(err, &damage) {
			level = slog.LevelError
		}
		s.cfg.Log.Log(r.Context(), level, "sending an object", slog.String("resource", r.URL.Path), slog.Any("error", err))
		panic(http.ErrAbortHandler)
	}
}

// Transport returns a RoundTripper that serves requests in process on behalf
// of p, without signature checks. Everything else is as over the network: the
// bucket policy is enforced on every request, for a service principal such as
// acm-pca.amazonaws.com with the aws:SourceAccount and aws:SourceArn of
// p.Context. Bodies are not hashed for their signature; checksums in headers
// and trailers are verified. ETags of single uploads are not MD5s.
//
// A principal with a Service also reaches the internal buckets.
func (s *Service) Transport(p *iam.Principal) http.RoundTripper {
	return &transport{service: s, principal: p}
}

type transport struct {
	service   *Service
	principal *iam.Principal
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	rep := t.service.serve(&request{http: r, inProcess: true, principal: t.principal})
	resp := &http.Response{
		Status: strconv.Itoa(rep.status) + " " + http.StatusText(rep.status), StatusCode: rep.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: rep.header, Body: http.NoBody, ContentLength: rep.length, Request: r,
	}
	if rep.header.Get("Content-Length") == "" {
		rep.header.Set("Content-Length", strconv.FormatInt(rep.length, 10))
	}
	if rep.body != nil {
		if r.Method == http.MethodHead {
			rep.body.Close()
		} else {
			resp.Body = rep.body
		}
	}
	return resp, nil
}

// serve answers one request; every error becomes S3's XML here and nowhere else.
func (s *Service) serve(q *request) *reply {
	q.id = newRequestID()
	rep, err := s.dispatch(q)
	if err != nil {
		rep = s.errorReply(q, err)
	}
	rep.header.Set("X-Amz-Request-Id", q.id)
	rep.header.Set("X-Amz-Id-2", base64.StdEncoding.EncodeToString([]byte(q.id)))
	rep.header.Set("Server", "chirograph")
	rep.header.Set("Date", s.cfg.Now().UTC().Format(http.TimeFormat))
	return rep
}

func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return strings.ToUpper(hex.EncodeToString(b[:]))
}

func (s *Service) errorReply(q *request, err error) *reply {
	e, internal := asAPIError(err)
	ctx := q.http.Context()
	if internal && ctx.Err() == nil {
		s.cfg.Log.ErrorContext(ctx, "serving a bucket request", slog.String("operation", q.name()), slog.String("request", q.id), slog.Any("error", err))
	}
	if e.code == "AccessDenied" {
		who := ""
		if q.principal != nil {
			who = cmp.Or(q.principal.ARN, q.principal.Service)
		}
		s.cfg.Log.InfoContext(ctx, "bucket request denied", slog.String("operation", "s3:"+q.name()), slog.String("principal", who),
			slog.String("resource", q.http.URL.Path), slog.String("request_id", q.id), slog.Any("error", err))
	}
	r := newReply(e.httpStatus())
	for name, values := range e.header {
		r.header[name] = values
	}
	if r.status == http.StatusNotModified {
		return r
	}
	d := &document{b: []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error>")}
	d.text("Code", e.code)
	d.text("Message", e.message)
	for _, f := range e.fields {
		d.text(f[0], f[1])
	}
	d.text("Resource", q.http.URL.Path)
	d.text("RequestId", q.id)
	d.text("HostId", base64.StdEncoding.EncodeToString([]byte(q.id)))
	d.close("Error")
	r.header.Set("Content-Type", "application/xml")
	r.setBody(d.b)
	return r
}

func (q *request) name() string {
	if q.op == nil {
		return ""
	}
	return q.op.name
}

// dispatch finds out what is asked, by whom, whether that may be, and does it.
func (s *Service) dispatch(q *request) (*reply, error) {
	r := q.http
	q.method, q.header = r.Method, r.Header
	var err error
	if q.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return nil, errorf("InvalidURI", "Couldn't parse the specified URI.")
	}
	s.address(q)
	if !utf8.ValidString(q.key) {
		return nil, errorf("InvalidURI", "The key is not valid UTF-8.")
	}
	if len(q.key) > maxKeyLength {
		return nil, errorf("KeyTooLongError", "Your key is too long").with("Size", strconv.Itoa(len(q.key))).with("MaxSizeAllowed", strconv.Itoa(maxKeyLength))
	}
	if q.op, err = s.route(q); err != nil {
		return nil, err
	}
	if err := s.authenticate(q); err != nil {
		return nil, err
	}
	if err := s.resolve(q); err != nil {
		return nil, err
	}
	for _, action := range q.op.actions {
		if err := s.authorize(q, action, q.resource()); err != nil {
			return nil, err
		}
	}
	return q.op.serve(s, q)
}

// address splits the request into bucket and key.
func (s *Service) address(q *request) {
	path := strings.TrimPrefix(q.http.URL.Path, "/")
	if s.cfg.Domain != "" {
		host := q.http.Host
		if host == "" {
			host = q.http.URL.Host
		}
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if name, ok := strings.CutSuffix(strings.ToLower(host), "."+strings.ToLower(s.cfg.Domain)); ok && name != "" {
			q.bucket, q.key = name, path
			return
		}
	}
	q.bucket, q.key, _ = strings.Cut(path, "/")
}

// authenticate finds the principal of a request over the network.
func (s *Service) authenticate(q *request) error {
	if q.inProcess {
		return nil
	}
	// Only the server itself speaks for a source account or ARN (D-32).
	for _, name := range []string{"X-Amz-Source-Account", "X-Amz-Source-Arn"} {
		if len(q.header.Values(name)) > 0 {
			return errorf("AccessDenied", "Access Denied: the header %s is not taken from callers.", strings.ToLower(name))
		}
	}
	var err error
	malformed := "AuthorizationHeaderMalformed"
	switch {
	case sigv4.IsPresigned(q.http):
		malformed = "AuthorizationQueryParametersError"
		q.signed, err = s.verifier.VerifyPresigned(q.http)
	case q.query.Has("Signature") || q.query.Has("AWSAccessKeyId") || strings.HasPrefix(q.header.Get("Authorization"), "AWS "):
		// Signature version 2, which `aws s3 presign` of CLI v1 still makes.
		return errorf("InvalidRequest", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256. For aws s3 presign of CLI version 1: aws configure set default.s3.signature_version s3v4")
	case q.header.Get("Authorization") != "":
		q.signed, err = s.verifier.Verify(q.http, "")
	default:
		return nil // anonymous
	}
	if err != nil {
		return signatureError(err, malformed)
	}
	q.principal, err = s.cfg.Credentials.Principal(q.http.Context(), q.signed.AccessKeyID, q.signed.SessionToken)
	switch {
	case errors.Is(err, iam.ErrExpiredToken):
		return errorf("ExpiredToken", "The provided token has expired.")
	case errors.Is(err, iam.ErrInvalidToken):
		return errorf("InvalidToken", "The provided token is malformed or otherwise invalid.")
	}
	return err
}

// signatureError gives a refused signature S3's code.
func signatureError(err error, malformed string) error {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Kind {
	case sigv4.MissingAuthentication:
		return errAccessDenied()
	case sigv4.UnknownKey:
		return errorf("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.")
	case sigv4.Skewed:
		return errorf("RequestTimeTooSkewed", "The difference between the request time and the current time is too large.")
	case sigv4.Expired:
		return errorf("AccessDenied", "Request has expired")
	case sigv4.UnsignedHeader:
		return errorf("AccessDenied", "There were headers present in the request which were not signed")
	case sigv4.Mismatch:
		return errorf("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	case sigv4.PayloadHash:
		return errorf("InvalidRequest", "%s", e.Message)
	case sigv4.PayloadMismatch:
		return errorf("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	case sigv4.DecodedLength:
		return errorf("MissingContentLength", "%s", e.Message)
	case sigv4.Chunk:
		return errorf("IncompleteBody", "The request body is not a well-formed aws-chunked stream, or its chunk signatures do not match.")
	}
	return errorf(malformed, "%s", e.Message)
}

// resolve loads the bucket that the operation works on.
func (s *Service) resolve(q *request) error {
	if q.bucket == "" {
		return nil
	}
	if !validBucketName(q.bucket) {
		return errorf("InvalidBucketName", "The specified bucket is not valid.").with("BucketName", q.bucket)
	}
	if s.hidden(q.bucket, q) {
		if q.op.name == "CreateBucket" {
			return errorf("InvalidBucketName", "The specified bucket is not valid.").with("BucketName", q.bucket)
		}
		return errNoSuchBucket(q.bucket)
	}
	if q.op.name == "CreateBucket" {
		return nil
	}
	b, err := s.bucketState(q.http.Context(), q.bucket)
	if err != nil {
		return err
	}
	if b == nil {
		return errNoSuchBucket(q.bucket)
	}
	q.state, q.owner = b, b.bucket
	if want := q.header.Get("X-Amz-Expected-Bucket-Owner"); want != "" && want != b.account {
		return errAccessDenied()
	}
	return nil
}

// hidden says whether a bucket does not exist for this caller.
func (s *Service) hidden(bucket string, q *request) bool {
	return s.internal(bucket) && !(q.inProcess && q.principal != nil && q.principal.Service != "")
}

func (s *Service) internal(bucket string) bool {
	return strings.HasPrefix(bucket, s.cfg.InternalBuckets)
}

func (q *request) resource() string {
	switch {
	case q.bucket == "":
		return "*"
	case q.key == "":
		return "arn:aws:s3:::" + q.bucket
	}
	return "arn:aws:s3:::" + q.bucket + "/" + q.key
}

func (q *request) account() string {
	if q.principal == nil {
		return ""
	}
	return q.principal.Account
}

// callerID is who began a multipart upload.
func (q *request) callerID() string {
	if q.principal == nil {
		return "anonymous"
	}
	if q.principal.Service != "" {
		id := q.principal.Service
		for _, name := range []string{"aws:SourceAccount", "aws:SourceArn"} {
			for _, v := range q.principal.Context[name] {
				id += " " + v
			}
		}
		return id
	}
	return q.principal.ARN
}

// authorize decides one action on one resource of the request's bucket.
func (s *Service) authorize(q *request, action, resource string) error {
	return s.authorizeIn(q, action, resource, q.state)
}

// authorizeIn decides one action on a resource of any bucket; b is nil when
// the resource is not in a bucket that exists.
func (s *Service) authorizeIn(q *request, action, resource string, b *parsedBucket) error {
	decision, reason := s.decide(q, action, resource, b)
	if decision == iam.Allow {
		return nil
	}
	if decision == iam.ImplicitDeny && b != nil && strings.HasPrefix(action, "ListBucket") && q.granted(b.acl, b, reason) {
		return nil
	}
	return s.denied(q, action, resource, reason)
}

// decide asks the policies alone, not the ACLs.
func (s *Service) decide(q *request, action, resource string, b *parsedBucket) (iam.Decision, iam.Reason) {
	service := q.principal != nil && q.principal.Service != ""
	if s.internal(q.bucket) && b == nil || b != nil && s.internal(b.name) {
		if q.inProcess && service {
			return iam.Allow, iam.Allowed
		}
		return iam.ExplicitDeny, iam.ResourceDeny
	}
	r := &iam.Request{Principal: q.principal, Action: "s3:" + action, Resource: resource, Context: s.conditions(q)}
	if b == nil {
		return iam.Authorize(r, nil, q.account())
	}
	policy := b.policy
	switch {
	case policyAction(action) && q.owns(b):
		// The account itself can always mend its bucket's policy.
		policy = nil
	case b.restricted() && q.account() != b.account && !service:
		// RestrictPublicBuckets: a public policy grants nothing outside the account.
		if policy.Evaluate(r) != iam.ExplicitDeny {
			return iam.ImplicitDeny, iam.NoResourceAllow
		}
	}
	return iam.Authorize(r, policy, b.account)
}

// denied is S3's AccessDenied, with the reason for callers who are known.
func (s *Service) denied(q *request, action, resource string, reason iam.Reason) error {
	if q.principal == nil {
		return errAccessDenied()
	}
	who := q.principal.ARN
	if who == "" {
		who = q.principal.Service
	}
	return errorf("AccessDenied", "User: %s is not authorized to perform: s3:%s on resource: %q%s", who, action, resource, reason.Explain("s3:"+action))
}

// owns says whether the caller is the bucket's account itself.
func (q *request) owns(b *parsedBucket) bool {
	return q.principal != nil && q.principal.Account == b.account && strings.HasSuffix(q.principal.ARN, ":root")
}

func policyAction(action string) bool {
	return action == "GetBucketPolicy" || action == "PutBucketPolicy" || action == "DeleteBucketPolicy"
}

// conditions are the keys that a policy may test, besides those that come with
// the principal. For a service of the server they are those of D-12 and
// nothing else, so that the gate and the service decide alike.
func (s *Service) conditions(q *request) map[string][]string {
	c := map[string][]string{"aws:SecureTransport": {strconv.FormatBool(q.inProcess || q.http.TLS != nil)}}
	set := func(key, value string) {
		if value != "" {
			c[key] = []string{value}
		}
	}
	acl := q.header.Get("X-Amz-Acl")
	if acl == "" && q.key != "" && q.query.Has("uploadId") {
		// Only the request that began the upload carried the header; a policy
		// that asks for it means the object.
		if o, err := s.upload(q); err == nil && o.acl != "private" {
			acl = o.acl
		}
	}
	set("s3:x-amz-acl", acl)
	set("s3:x-amz-server-side-encryption", q.header.Get("X-Amz-Server-Side-Encryption"))
	set("s3:x-amz-server-side-encryption-aws-kms-key-id", q.header.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"))
	if q.principal != nil && q.principal.Service != "" {
		return c
	}
	now, secure := s.cfg.Now(), c["aws:SecureTransport"]
	iam.SetRequestConditions(c, q.http, now)
	c["aws:SecureTransport"] = secure
	set("aws:UserAgent", q.header.Get("User-Agent"))
	set("aws:Referer", q.header.Get("Referer"))
	if bucket, key, err := splitCopySource(q.header.Get("X-Amz-Copy-Source")); err == nil {
		set("s3:x-amz-copy-source", bucket+"/"+key) // what is copied, however it is written
	}
	set("s3:x-amz-metadata-directive", q.header.Get("X-Amz-Metadata-Directive"))
	set("s3:x-amz-storage-class", q.header.Get("X-Amz-Storage-Class"))
	set("s3:object-lock-mode", q.header.Get("X-Amz-Object-Lock-Mode"))
	set("s3:object-lock-retain-until-date", q.header.Get("X-Amz-Object-Lock-Retain-Until-Date"))
	if until, err := time.Parse(time.RFC3339Nano, q.header.Get("X-Amz-Object-Lock-Retain-Until-Date")); err == nil {
		set("s3:object-lock-remaining-retention-days", strconv.FormatInt(int64(until.Sub(now).Hours()/24), 10))
	}
	set("s3:object-lock-legal-hold", q.header.Get("X-Amz-Object-Lock-Legal-Hold"))
	set("s3:if-match", q.header.Get("If-Match"))
	set("s3:if-none-match", q.header.Get("If-None-Match"))
	if strings.HasPrefix(q.name(), "List") {
		if q.query.Has("prefix") {
			c["s3:prefix"] = []string{q.query.Get("prefix")}
		}
		set("s3:delimiter", q.query.Get("delimiter"))
		set("s3:max-keys", q.query.Get("max-keys"))
	}
	if q.signed != nil {
		c["s3:signatureversion"] = []string{"AWS4-HMAC-SHA256"}
		kind := "REST-HEADER"
		if q.signed.Presigned {
			kind = "REST-QUERY-STRING"
		}
		c["s3:authType"] = []string{kind}
		set("s3:signatureAge", strconv.FormatInt(now.Sub(q.signed.Time).Milliseconds(), 10))
		set("s3:x-amz-content-sha256", q.signed.PayloadHash)
	}
	return c
}

// validBucketName is S3's rule for new buckets.
func validBucketName(name string) bool {
	if len(name) < 3 || len(name) > 63 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (c != '-' && c != '.' || i == 0 || i == len(name)-1) {
			return false
		}
		if c == '.' && name[i-1] == '.' {
			return false
		}
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() {
		return false
	}
	for _, p := range []string{"xn--", "sthree-"} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	for _, p := range []string{"-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"} {
		if strings.HasSuffix(name, p) {
			return false
		}
	}
	return true
}
