// Package awsjson speaks AWS JSON 1.1: it takes one POST, checks its
// signature, reads it into the shape of its operation, authorises it, calls
// the operation, and writes the result or the error. No other place turns
// errors into bytes (api.md 1).
//
// The order of checks is fixed, and so is what a caller can learn from it:
// operation, size, signature, rate, shape, kind of ARN, authorisation, and only then
// whether anything exists (audit-report.md 2.1).
package awsjson

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"os"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/shape"
	"chirograph.dev/internal/sigv4"
)

const (
	contentType = "application/x-amz-json-1.1"

	// maxBody is the largest request: a chain of 2 MiB is 2.8 MiB of base64.
	maxBody = 4 << 20
	// maxPooled keeps buffers that one large request grew out of the pool.
	// Bodies up to this size are small and need no leave.
	maxPooled = 64 << 10
	// largeBodies is how many bytes of larger bodies are held at a time,
	// largeWait how long a request waits for its turn.
	largeBodies = 64 << 20
	largeWait   = 10 * time.Second

	// unknownOperation stands for every operation that this server does not
	// have, in logs and metrics.
	unknownOperation = "unknown"
)

// Config is all that a Handler needs.
type Config struct {
	// Service is the service's name in signatures and actions, TargetPrefix
	// what X-Amz-Target begins with. Empty: those of AWS Private CA.
	Service, TargetPrefix string

	Partition string   // of ARNs; default aws
	Regions   []string // regions to accept in signatures; none: any
	// Credentials knows who signs.
	Credentials iam.Credentials
	// Authenticate tells who sends a request, from its header alone, for
	// callers that are known by something else than a signature; what it
	// refuses with, when it is meant for the caller, is a *pca.Error. Nil:
	// requests are signed, and Credentials knows by whom.
	Authenticate func(*http.Request) (*iam.Principal, error)
	// Authorize decides a request; account owns the resource, or is empty
	// when the resource is *. It runs before the operation and must not tell
	// whether the resource exists. Nil: the caller's identity policies decide.
	Authorize func(ctx context.Context, r *iam.Request, account string) (iam.Decision, iam.Reason, error)
	// Operations are those that this server has; the others of the API are unknown to it.
	Operations []Operation
	// Rates bound the calls of every account, by operation; those without one
	// are not bounded. Over it the answer is a ThrottlingException.
	Rates map[string]Rate
	// MaxInFlight bounds the authenticated calls that are served at a time,
	// of all accounts; 0: any number. Over it the answer is a ThrottlingException.
	MaxInFlight int
	// Limits are those of another Handler, in place of Rates and MaxInFlight;
	// nil: it has its own.
	Limits *Limits
	// Observe is told of every answer; code is OK or the error's code. May be nil.
	Observe func(operation, code string, d time.Duration)
	Log     *slog.Logger     // nil: slog.Default
	Now     func() time.Time // nil: time.Now
}

// Operation is one operation of the API.
type Operation struct {
	name   string
	decode func(body []byte) (in any, err error)
	call   func(ctx context.Context, in any) (out any, err error)
}

// request is what the generated shapes of requests can do.
type request[T any] interface {
	*T
	Decode(body []byte) error
}

// Op makes an Operation of a method. An operation without output has Out
// struct{}; its answer has an empty body.
func Op[In, Out any, P request[In]](name string, f func(context.Context, *In) (*Out, error)) Operation {
	_, empty := any((*Out)(nil)).(*struct{})
	return Operation{
		name: name,
		decode: func(body []byte) (any, error) {
			in := P(new(In))
			return in, in.Decode(body)
		},
		call: func(ctx context.Context, in any) (any, error) {
			out, err := f(ctx, (*In)(in.(P)))
			if err != nil || empty {
				return nil, err
			}
			if out == nil {
				return nil, errors.New("the operation has neither an output nor an error")
			}
			return out, nil
		},
	}
}

// ShapeOp makes an Operation of a method whose input and output are structs as
// the room shape knows them, for services other than AWS Private CA. Its name
// is that of the input without "Input".
func ShapeOp[In, Out any](f func(context.Context, *In) (*Out, error)) Operation {
	empty := reflect.TypeFor[Out]().NumField() == 0
	return Operation{
		name: strings.TrimSuffix(reflect.TypeFor[In]().Name(), "Input"),
		decode: func(body []byte) (any, error) {
			in := new(In)
			return in, shapeError(shape.JSON(body, in))
		},
		call: func(ctx context.Context, in any) (any, error) {
			out, err := f(ctx, in.(*In))
			switch {
			case err != nil || empty:
				return nil, err
			case out == nil:
				return nil, errors.New("the operation has neither an output nor an error")
			}
			return json.RawMessage(shape.AppendJSON(nil, out)), nil
		},
	}
}

func shapeError(err error) error {
	var e *shape.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Malformed:
		return pca.Errorf(pca.SerializationException, "%s", e.Message)
	}
	return pca.Errorf(pca.ValidationException, "%s", e.Message)
}

// Handler answers the API. It is safe for concurrent use.
type Handler struct {
	cfg        Config
	operations map[string]*Operation // by X-Amz-Target
	verifier   *sigv4.Verifier       // nil: Authenticate tells who calls
	buffers    sync.Pool             // *bytes.Buffer
	*Limits                          // of this handler, for others to share
}

// New makes a Handler. An operation that the API does not have, or that is
// given twice, is an error.
func New(cfg Config) (*Handler, error) {
	if cfg.Service == "" {
		cfg.Service, cfg.TargetPrefix = pca.Service, pca.TargetPrefix
	}
	if cfg.Partition == "" {
		cfg.Partition = "aws"
	}
	if cfg.Authorize == nil {
		cfg.Authorize = func(_ context.Context, r *iam.Request, account string) (iam.Decision, iam.Reason, error) {
			d, why := iam.Authorize(r, nil, account)
			return d, why, nil
		}
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, string, time.Duration) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	h := &Handler{cfg: cfg, operations: map[string]*Operation{}, buffers: sync.Pool{New: func() any { return new(bytes.Buffer) }}, Limits: cfg.Limits}
	if h.Limits == nil {
		h.Limits = newLimits(cfg.Rates, cfg.MaxInFlight)
	}
	known := map[string]bool{}
	for _, op := range pca.Operations() {
		known[op.Name] = true
	}
	for _, op := range cfg.Operations {
		if cfg.Service != pca.Service {
			known[op.name] = true // there is no list to hold it against
		}
		target := cfg.TargetPrefix + "." + op.name
		if !known[op.name] || h.operations[target] != nil {
			return nil, fmt.Errorf("operation %q is not one of the API, or is given twice", op.name)
		}
		h.operations[target] = &op
	}
	for name, r := range cfg.Rates {
		if !known[name] || r.PerSecond <= 0 || r.Burst < 1 {
			return nil, fmt.Errorf("the rate %+v of %q is not one, or not of an operation", r, name)
		}
	}
	if cfg.Authenticate == nil {
		h.verifier = sigv4.New(sigv4.Config{
			Secret: cfg.Credentials.Secret, Services: []string{cfg.Service}, Regions: cfg.Regions, Now: cfg.Now,
		})
	}
	return h, nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.answer(w, r, pca.Code.HTTPStatus, func(c *call, buf *bytes.Buffer) error {
		w.Header().Set("Content-Type", contentType)
		return h.serve(w, r, c, buf)
	})
}

// answer runs serve, which leaves an output in the buffer or an error, and
// writes the answer, the log line and the metrics.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, statusOf func(pca.Code) int, serve func(*call, *bytes.Buffer) error) {
	start := h.cfg.Now()
	c := &call{Call: Call{Operation: unknownOperation, RequestID: uuid.NewString(), Invocation: r.Header.Get("Amz-Sdk-Invocation-Id")}, handler: h, header: w.Header()}
	buf := h.buffers.Get().(*bytes.Buffer)
	buf.Reset()
	defer func() {
		if buf.Cap() <= maxPooled {
			h.buffers.Put(buf)
		}
		h.large.Release(c.large)
	}()

	err := recovered(func() error { return serve(c, buf) })
	code, status := "OK", cmp.Or(c.status, http.StatusOK)
	header := w.Header()
	if err != nil {
		failure := answerOf(r.Context(), err, c)
		code, status = string(failure.Code), statusOf(failure.Code)
		appendError(buf, failure)
		header.Set("X-Amzn-Errortype", code)
		header.Set("Content-Type", contentType)
	}
	header.Set("X-Amzn-Requestid", c.RequestID)
	header.Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	// A client that has gone is no matter of the server's.
	_, _ = w.Write(buf.Bytes())

	d := h.cfg.Now().Sub(start)
	h.cfg.Observe(c.Operation, code, d)
	h.logRequest(r.Context(), c, code, status, d, err)
}

// recovered is f, with a panic as an error.
func recovered(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			err = &panicked{value: v, stack: debug.Stack()}
		}
	}()
	return f()
}

// serve runs one call and leaves its output in buf.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, c *call, buf *bytes.Buffer) error {
	op, err := h.operation(r)
	if err != nil {
		return err
	}
	c.Operation = op.name
	if err := h.admit(w, r, c, buf, maxBody); err != nil {
		return err
	}
	defer h.inFlight.leave()
	in, err := op.decode(buf.Bytes())
	if err != nil {
		return err
	}
	if err := h.authorizeCall(r, c, in); err != nil {
		return err
	}
	out, err := op.call(context.WithValue(r.Context(), contextKey{}, c), in)
	// The request's bytes are in in by now, so that their buffer can take the answer.
	buf.Reset()
	if err != nil || out == nil {
		return err
	}
	e := json.NewEncoder(buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return fmt.Errorf("encoding the output of %s: %w", op.name, err)
	}
	buf.Truncate(buf.Len() - 1) // the encoder's newline
	return nil
}

// admit reads a body of at most limit bytes into buf, and makes the checks
// that come before a look at it: size, caller, rate. Whoever is admitted
// holds a place of inFlight.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, c *call, buf *bytes.Buffer, limit int64) error {
	if r.ContentLength > limit {
		return tooLarge(limit)
	}
	// Nobody's body is read: a stranger could make the server hold any number
	// of them. What does not depend on the body is checked first.
	if h.cfg.Authenticate != nil {
		if err := h.known(r, c); err != nil {
			return err
		}
		if err := h.readBody(w, r, c, buf, limit); err != nil {
			return err
		}
	} else if err := h.signed(w, r, c, buf, limit); err != nil {
		return err
	}
	// Before the body costs anything more, and after it is known whose it is.
	if !h.inFlight.enter() {
		return rateExceeded()
	}
	if !h.throttle.allow(c.Caller.Account, c.Operation, h.cfg.Now()) {
		h.inFlight.leave()
		return rateExceeded()
	}
	return nil
}

// known asks Authenticate who calls.
func (h *Handler) known(r *http.Request, c *call) (err error) {
	c.Caller, err = h.cfg.Authenticate(r)
	if err == nil && c.Caller == nil {
		err = errors.New("the caller was authenticated as nobody")
	}
	return err
}

// signed reads a signed request and finds out who signed it.
func (h *Handler) signed(w http.ResponseWriter, r *http.Request, c *call, buf *bytes.Buffer, limit int64) error {
	if sigv4.IsPresigned(r) {
		return pca.Errorf(pca.IncompleteSignatureException, "Presigned requests are not accepted; sign the request in its Authorization header.")
	}
	claim, err := h.verifier.Begin(r)
	if err != nil {
		return signatureError(err)
	}
	if err := h.readBody(w, r, c, buf, limit); err != nil {
		return err
	}
	return h.authenticate(r, c, claim, buf.Bytes())
}

func (h *Handler) operation(r *http.Request) (*Operation, error) {
	target := r.Header.Get("X-Amz-Target")
	op := h.operations[target]
	switch {
	case op == nil && target == "":
		return nil, pca.Errorf(pca.UnknownOperationException, "The request has no X-Amz-Target header such as %s.ListCertificateAuthorities.", pca.TargetPrefix)
	case op == nil:
		return nil, pca.Errorf(pca.UnknownOperationException, "The operation %.100q is not one that this server has.", target)
	case r.Method != http.MethodPost || r.URL.Path != "/":
		return nil, pca.Errorf(pca.UnknownOperationException, "Operations are called with POST /, not %.20s %.100q.", r.Method, r.URL.Path)
	}
	if t := r.Header.Get("Content-Type"); t != contentType {
		if t, _, err := mime.ParseMediaType(t); err != nil || t != contentType {
			return nil, pca.Errorf(pca.UnknownOperationException, "The Content-Type must be %s.", contentType)
		}
	}
	return op, nil
}

func tooLarge(limit int64) error {
	return pca.Errorf(pca.RequestEntityTooLargeException, "The request body is larger than %d bytes.", limit)
}

func (h *Handler) readBody(w http.ResponseWriter, r *http.Request, c *call, buf *bytes.Buffer, limit int64) error {
	size := r.ContentLength
	if size < 0 {
		size = limit
	}
	if size > maxPooled {
		ctx, cancel := context.WithTimeout(r.Context(), largeWait)
		defer cancel()
		if err := h.large.Acquire(ctx, size); err != nil {
			return &pca.Error{Code: pca.ServiceUnavailable, Message: "Too many large requests are under way. Try again in a few seconds.", Err: err}
		}
		c.large = size // given back when the request is answered
	}
	if r.ContentLength > 0 {
		buf.Grow(int(r.ContentLength) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &over):
		return tooLarge(limit)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrDeadlineExceeded), r.Context().Err() != nil:
		return &pca.Error{Code: pca.RequestTimeoutException, Message: "The request body did not arrive in full.", Err: err}
	}
	return &pca.Error{Code: pca.SerializationException, Message: "The request body could not be read.", Err: err}
}

// authenticate finds out who calls, or refuses.
func (h *Handler) authenticate(r *http.Request, c *call, claim *sigv4.Claim, body []byte) error {
	sum := sha256.Sum256(body)
	signed, err := claim.Verify(hex.EncodeToString(sum[:]))
	if err != nil {
		return signatureError(err)
	}
	c.Caller, err = h.cfg.Credentials.Principal(r.Context(), signed.AccessKeyID, signed.SessionToken)
	switch {
	case errors.Is(err, iam.ErrExpiredToken):
		return pca.Errorf(pca.ExpiredTokenException, "The security token included in the request is expired")
	case errors.Is(err, iam.ErrInvalidToken):
		return pca.Errorf(pca.UnrecognizedClientException, "The security token included in the request is invalid.")
	case err != nil:
		return fmt.Errorf("looking up the principal of %s: %w", signed.AccessKeyID, err)
	}
	return nil
}

// signatureError gives a refused signature the code that AWS gives it (api.md 1.2).
func signatureError(err error) error {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return err
	}
	code := pca.InvalidSignatureException
	switch e.Kind {
	case sigv4.MissingAuthentication:
		code = pca.MissingAuthenticationTokenException
	case sigv4.Malformed:
		code = pca.IncompleteSignatureException
	case sigv4.UnknownKey:
		code = pca.UnrecognizedClientException
	}
	return &pca.Error{Code: code, Message: e.Message}
}

// authorizeCall checks the kind of the ARN, and then whether the caller may.
func (h *Handler) authorizeCall(r *http.Request, c *call, in any) error {
	resource, account := "*", ""
	if about, ok := in.(interface {
		Resource(partition string, caller *iam.Principal) string
	}); ok {
		resource = about.Resource(h.cfg.Partition, c.Caller)
	}
	if about, ok := in.(interface{ Resource() string }); ok {
		arn, err := pca.ParseCAARN(about.Resource(), h.cfg.Partition)
		if err != nil {
			return err
		}
		resource, account = arn.CAARN(), arn.Account
		if get, ok := in.(*pca.GetCertificateRequest); ok {
			if err := h.checkCertificateARN(get.CertificateArn, arn); err != nil {
				return err
			}
		}
	}
	c.conditions = h.conditions(r, in)
	return h.authorize(r.Context(), c, h.cfg.Service+":"+c.Operation, resource, account)
}

func (h *Handler) checkCertificateARN(s string, ca pca.ARN) error {
	arn, err := pca.ParseARN(s, h.cfg.Partition)
	if err != nil {
		return err
	}
	if arn.Certificate == "" || arn.CAARN() != ca.CAARN() {
		return pca.Errorf(pca.InvalidArnException, "The ARN %s is not the ARN of a certificate of the certificate authority %s.", s, ca)
	}
	return nil
}

func (h *Handler) authorize(ctx context.Context, c *call, action, resource, account string) error {
	d, why, err := h.cfg.Authorize(ctx, &iam.Request{Principal: c.Caller, Action: action, Resource: resource, Context: c.conditions}, account)
	if err != nil {
		return fmt.Errorf("authorising %s: %w", action, err)
	}
	if d == iam.Allow {
		c.allowed = true
		return nil
	}
	who := c.Caller.ARN
	if who == "" {
		who = c.Caller.Service
	}
	return pca.Errorf(pca.AccessDeniedException, "User: %s is not authorized to perform: %s on resource: %s%s", who, action, resource, why.Explain(action))
}

// conditions are the condition keys of access.md 2 that the request itself
// gives; those of the caller come with it, those of the CA with Authorize.
func (h *Handler) conditions(r *http.Request, in any) map[string][]string {
	m := map[string][]string{}
	switch in := in.(type) {
	case interface{ Conditions() map[string][]string }:
		maps.Copy(m, in.Conditions())
	case *pca.IssueCertificateRequest:
		m["acm-pca:TemplateArn"] = []string{h.template(in.TemplateArn)}
	case *pca.CreateCertificateAuthorityRequest:
		tagConditions(m, in.Tags)
	case *pca.TagCertificateAuthorityRequest:
		tagConditions(m, in.Tags)
	case *pca.UntagCertificateAuthorityRequest:
		tagConditions(m, in.Tags)
	}
	iam.SetRequestConditions(m, r, h.cfg.Now())
	return m
}

// template is the template of an issuance as policies know it: the default
// written out, and in this server's partition, since templates of other
// partitions are the same ones (T-3) and must not get around a Deny.
func (h *Handler) template(arn string) string {
	if arn == "" {
		return pca.TemplateARN(h.cfg.Partition, pca.DefaultTemplate)
	}
	if rest, ok := strings.CutPrefix(arn, "arn:"); ok {
		if _, name, ok := strings.Cut(rest, ":"); ok {
			return "arn:" + h.cfg.Partition + ":" + name
		}
	}
	return arn
}

func tagConditions(m map[string][]string, tags []pca.Tag) {
	for _, t := range tags {
		value := ""
		if t.Value != nil {
			value = *t.Value
		}
		m["aws:RequestTag/"+t.Key] = []string{value}
		m["aws:TagKeys"] = append(m["aws:TagKeys"], t.Key)
	}
}

type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// answerOf is what the caller is told of err. Errors of other rooms that are
// meant for the caller name their code and message.
func answerOf(ctx context.Context, err error, c *call) *pca.Error {
	var e *pca.Error
	var told interface {
		error
		ErrorCode() string
		ErrorMessage() string
	}
	switch {
	case errors.As(err, &e):
		return e
	case errors.As(err, &told):
		return &pca.Error{Code: pca.Code(told.ErrorCode()), Message: told.ErrorMessage(), Err: err}
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return pca.Errorf(pca.RequestTimeoutException, "The request was given up before it was answered.")
	}
	return pca.Errorf(pca.InternalFailure, "The request processing has failed because of an unknown error, exception or failure. The server's log has it under the request id %s.", c.RequestID)
}

// appendError replaces what is in buf with the error envelope.
func appendError(buf *bytes.Buffer, e *pca.Error) {
	buf.Reset()
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false)
	// Two strings always encode.
	_ = enc.Encode(struct {
		Type    pca.Code `json:"__type"`
		Message string   `json:"message"`
	}{e.Code, strings.ToValidUTF8(e.Message, "\uFFFD")})
	buf.Truncate(buf.Len() - 1)
}

// logRequest writes the one line of a request. The cause of an error stands
// here and nowhere else.
func (h *Handler) logRequest(ctx context.Context, c *call, code string, status int, d time.Duration, err error) {
	level := slog.LevelInfo
	if status >= 500 {
		level = slog.LevelError
	}
	if !h.cfg.Log.Enabled(ctx, level) {
		return
	}
	principal := ""
	if c.Caller != nil {
		if principal = c.Caller.ARN; principal == "" {
			principal = c.Caller.Service
		}
	}
	operation := c.Operation
	if h.cfg.Service != pca.Service {
		operation = h.cfg.Service + ":" + operation // as policies name it
	}
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs,
		slog.String("operation", operation), slog.String("code", code), slog.Duration("duration", d),
		slog.String("principal", principal), slog.String("request_id", c.RequestID))
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
		var p *panicked
		if errors.As(err, &p) {
			attrs = append(attrs, slog.String("stack", string(p.stack)))
		}
	}
	h.cfg.Log.LogAttrs(ctx, level, "request", attrs...)
}
