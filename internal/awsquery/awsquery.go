// Package awsquery speaks the AWS Query protocol, as IAM and STS do: it takes
// a form, checks its signature, reads it into the shape of its operation,
// authorises it, calls the operation, and answers with XML. It does for these
// services what awsjson does for the API, in the same order: operation, size,
// signature, shape, authorisation, and only then whether anything exists.
package awsquery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/semaphore"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/shape"
	"chirograph.dev/internal/sigv4"
)

const (
	// FormType is the content type of requests.
	FormType = "application/x-www-form-urlencoded"

	// maxSigned is the largest body of a request that names an access key
	// which exists: the largest policy document of a shape, URL-encoded.
	// maxUnsigned is that of others, whose bodies anybody could send.
	maxSigned   = 512 << 10
	maxUnsigned = 64 << 10
	// largeBodies is how many bytes of bodies above maxUnsigned are held at a
	// time, largeWait how long a request waits for its turn.
	largeBodies = 16 << 20
	largeWait   = 10 * time.Second

	// unknownOperation stands for every operation that there is not, in logs and metrics.
	unknownOperation = "unknown"
)

// Config is all that a Handler needs.
type Config struct {
	Partition   string // of ARNs; default aws
	Credentials iam.Credentials
	Services    []Service
	// Resource names the resource of an input more exactly than the input
	// can, for example with the path of a user, and gives the condition keys
	// of the resource, such as its tags. Nil: the input's own name, and none.
	Resource func(ctx context.Context, in Input, caller *iam.Principal) (arn string, conditions map[string][]string, err error)
	// Observe is told of every answer; operation is <service>:<operation>,
	// code OK or the error's code. May be nil.
	Observe func(operation, code string, d time.Duration)
	Log     *slog.Logger     // nil: slog.Default
	Now     func() time.Time // nil: time.Now
}

// Service is one service that speaks the Query protocol. A request belongs to
// it when it names one of its operations and its version.
type Service struct {
	Name       string // of signatures and actions: iam, sts
	Version    string // of the API, such as 2011-06-15
	Namespace  string // of answers
	Operations []Operation
	// Credentials knows who signs for this service. Nil: the Config's.
	Credentials iam.Credentials
}

// Input is what the shape of a request can say of itself.
type Input interface {
	// Resource is the ARN that the request is about, or *.
	Resource(partition string, caller *iam.Principal) string
}

// Operation is one operation of a service.
type Operation struct {
	name   string
	access access
	decode func(form url.Values) (in any, err error)
	call   func(ctx context.Context, in any) (out any, err error)
}

// access says what a request needs to be let through.
type access uint8

const (
	byPolicy access = iota // an Allow for the caller
	signed                 // a caller
	open                   // nothing; the operation finds out who asks
)

// Op makes an Operation of a method whose callers need an Allow. Its name is
// that of the input without "Input".
func Op[In, Out any, P interface {
	*In
	Input
}](f func(context.Context, *In) (*Out, error)) Operation {
	return operation(byPolicy, f)
}

// Signed makes an Operation of a method that any authenticated caller may
// call, or that decides by itself who may.
func Signed[In, Out any](f func(context.Context, *In) (*Out, error)) Operation {
	return operation(signed, f)
}

// Unsigned makes an Operation of a method for requests without a signature,
// which finds out by itself who asks. Caller is nil in it.
func Unsigned[In, Out any](f func(context.Context, *In) (*Out, error)) Operation {
	return operation(open, f)
}

func operation[In, Out any](a access, f func(context.Context, *In) (*Out, error)) Operation {
	return Operation{
		name:   strings.TrimSuffix(reflect.TypeFor[In]().Name(), "Input"),
		access: a,
		decode: func(form url.Values) (any, error) {
			in := new(In)
			return in, shape.Form(form, in)
		},
		call: func(ctx context.Context, in any) (any, error) {
			out, err := f(ctx, in.(*In))
			if err == nil && out == nil {
				err = errors.New("the operation has neither an output nor an error")
			}
			return out, err
		},
	}
}

// Error is an error that the caller is told of.
type Error struct {
	Code    string
	Message string
	Status  int   // of HTTP
	Err     error // the cause, for the log alone; may be nil
}

func (e *Error) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Message + ": " + e.Err.Error()
	}
	return e.Code + ": " + e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrorCode, ErrorMessage and HTTPStatus are what answers need of an error;
// operations may return errors of their own that have them.
func (e *Error) ErrorCode() string    { return e.Code }
func (e *Error) ErrorMessage() string { return e.Message }
func (e *Error) HTTPStatus() int      { return e.Status }

// told is an error that is meant for the caller.
type told interface {
	error
	ErrorCode() string
	ErrorMessage() string
	HTTPStatus() int
}

func refuse(status int, code, format string, args ...any) error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Handler answers the services. It is safe for concurrent use.
type Handler struct {
	cfg       Config
	endpoints map[string]*endpoint // by version and operation
	verifiers map[string]*sigv4.Verifier
	claims    *sigv4.Verifier // of all services, before the form tells which
	large     *semaphore.Weighted
}

type endpoint struct {
	*Service
	Operation
}

// New makes a Handler. An operation that is given twice is an error.
func New(cfg Config) (*Handler, error) {
	if cfg.Partition == "" {
		cfg.Partition = "aws"
	}
	if cfg.Resource == nil {
		cfg.Resource = func(_ context.Context, in Input, caller *iam.Principal) (string, map[string][]string, error) {
			return in.Resource(cfg.Partition, caller), nil, nil
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
	cfg.Services = slices.Clone(cfg.Services)
	h := &Handler{cfg: cfg, endpoints: map[string]*endpoint{}, verifiers: map[string]*sigv4.Verifier{}, large: semaphore.NewWeighted(largeBodies)}
	// Any region: clients sign for the global endpoints, too.
	verifier := func(c iam.Credentials, services ...string) *sigv4.Verifier {
		return sigv4.New(sigv4.Config{Secret: c.Secret, Services: services, Now: cfg.Now})
	}
	var names []string
	for i := range cfg.Services {
		s := &cfg.Services[i]
		if s.Credentials == nil {
			s.Credentials = cfg.Credentials
		}
		names = append(names, s.Name)
		h.verifiers[s.Name] = verifier(s.Credentials, s.Name)
		for _, op := range s.Operations {
			key := s.Version + "/" + op.name
			if h.endpoints[key] != nil {
				return nil, fmt.Errorf("operation %s:%s is given twice", s.Name, op.name)
			}
			h.endpoints[key] = &endpoint{s, op}
		}
	}
	h.claims = verifier(cfg.Credentials, names...)
	return h, nil
}

// IsRequest tells requests of the Query protocol from others, which name their
// target in a header.
func IsRequest(r *http.Request) bool {
	if r.Header.Get("X-Amz-Target") != "" {
		return false
	}
	switch r.Method {
	case http.MethodPost:
		t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		return err == nil && t == FormType
	case http.MethodGet:
		return r.URL.Query().Has("Action")
	}
	return false
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.cfg.Now()
	c := &call{requestID: uuid.NewString(), operation: unknownOperation}
	defer func() { h.large.Release(c.large) }()
	out, err := h.serve(w, r, c)
	code, status := "OK", http.StatusOK
	var body bytes.Buffer
	if err == nil {
		writeResult(&body, c, out)
	} else {
		e := h.answerOf(r.Context(), err, c)
		code, status = e.ErrorCode(), e.HTTPStatus()
		writeError(&body, c, e)
	}
	header := w.Header()
	header.Set("Content-Type", "text/xml")
	header.Set("X-Amzn-Requestid", c.requestID)
	header.Set("Cache-Control", "no-store") // answers hold secrets
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a client that has gone is no matter of the server's
	d := h.cfg.Now().Sub(start)
	h.cfg.Observe(c.operation, code, d)
	h.logRequest(r.Context(), c, code, status, d, err)
}

// serve runs one call. A panic becomes an error.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, c *call) (out any, err error) {
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			err = &panicked{value: v, stack: debug.Stack()}
		}
	}()
	form, body, err := h.readForm(w, r, c)
	if err != nil {
		return nil, err
	}
	action, version := form.Get("Action"), form.Get("Version")
	op := h.endpoints[version+"/"+action]
	switch {
	case action == "":
		return nil, refuse(http.StatusBadRequest, "MissingAction", "The request is missing an action or a required parameter.")
	case op == nil:
		return nil, refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation %.100s for version %.20s", action, version)
	}
	c.service, c.name, c.operation = op.Service, op.name, op.Service.Name+":"+op.name
	if op.access != open {
		if c.caller, err = h.authenticate(r, op, body); err != nil {
			return nil, err
		}
	}
	in, err := op.decode(form)
	if err != nil {
		return nil, shapeError(err)
	}
	c.conditions = h.conditions(r, in)
	if op.access == byPolicy {
		if err := h.authorize(r.Context(), c, in.(Input)); err != nil {
			return nil, err
		}
	}
	return op.call(context.WithValue(r.Context(), contextKey{}, c), in)
}

// readForm reads the form of a request, from its body or its query. Nobody may
// send a large one; a large one needs a key that exists.
func (h *Handler) readForm(w http.ResponseWriter, r *http.Request, c *call) (url.Values, []byte, error) {
	if r.Method != http.MethodPost {
		form, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return nil, nil, malformedForm(err)
		}
		return form, nil, nil
	}
	limit := int64(maxUnsigned)
	if r.Header.Get("Authorization") != "" && (r.ContentLength > limit || r.ContentLength < 0) {
		if _, err := h.claims.Begin(r); err != nil {
			return nil, nil, signatureError(err)
		}
		ctx, cancel := context.WithTimeout(r.Context(), largeWait)
		defer cancel()
		if err := h.large.Acquire(ctx, maxSigned); err != nil {
			return nil, nil, &Error{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: "Too many large requests are under way. Try again in a few seconds.", Err: err}
		}
		c.large, limit = maxSigned, maxSigned
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, nil, refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is larger than %d bytes.", limit)
	case err != nil && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) || r.Context().Err() != nil):
		return nil, nil, &Error{Status: http.StatusRequestTimeout, Code: "RequestTimeout", Message: "The request body did not arrive in full.", Err: err}
	case err != nil:
		return nil, nil, malformedForm(err)
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, nil, malformedForm(err)
	}
	return form, body, nil
}

func malformedForm(err error) error {
	return &Error{Status: http.StatusBadRequest, Code: "MalformedInput", Message: "The form of the request could not be read.", Err: err}
}

func shapeError(err error) error {
	var e *shape.Error
	switch {
	case !errors.As(err, &e):
		return err
	case e.Malformed:
		return refuse(http.StatusBadRequest, "MalformedInput", "%s", e.Message)
	}
	return refuse(http.StatusBadRequest, "ValidationError", "%s", e.Message)
}

// authenticate finds out who calls, or refuses.
func (h *Handler) authenticate(r *http.Request, op *endpoint, body []byte) (*iam.Principal, error) {
	verifier := h.verifiers[op.Service.Name]
	var signed *sigv4.Signed
	var err error
	// A presigned URL vouches for its query alone, so the form must stand there.
	if r.Method == http.MethodGet && sigv4.IsPresigned(r) {
		signed, err = verifier.VerifyPresigned(r)
	} else {
		sum := sha256.Sum256(body)
		signed, err = verifier.Verify(r, hex.EncodeToString(sum[:]))
	}
	if err != nil {
		return nil, signatureError(err)
	}
	p, err := op.Credentials.Principal(r.Context(), signed.AccessKeyID, signed.SessionToken)
	var t told
	switch {
	case err == nil:
		return p, nil
	case errors.As(err, &t):
		return nil, err // such as a closed account
	case errors.Is(err, iam.ErrExpiredToken):
		return nil, refuse(http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired")
	case errors.Is(err, iam.ErrInvalidToken):
		return nil, refuse(http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid.")
	}
	return nil, fmt.Errorf("looking up the principal of %s: %w", signed.AccessKeyID, err)
}

func signatureError(err error) error {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return err
	}
	code := "SignatureDoesNotMatch"
	switch e.Kind {
	case sigv4.MissingAuthentication:
		return refuse(http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token")
	case sigv4.Malformed:
		code = "IncompleteSignature"
	case sigv4.UnknownKey:
		code = "InvalidClientTokenId"
	case sigv4.Expired:
		code = "RequestExpired"
	}
	return refuse(http.StatusForbidden, code, "%s", e.Message)
}

// authorize asks the caller's identity policies. Resources of other accounts
// are nobody's here, whatever a policy says: IAM has no resource policies but
// those of roles, which their operations judge.
func (h *Handler) authorize(ctx context.Context, c *call, in Input) error {
	resource, conditions, err := h.cfg.Resource(ctx, in, c.caller)
	if err != nil {
		return fmt.Errorf("naming the resource of %s: %w", c.operation, err)
	}
	maps.Copy(c.conditions, conditions)
	d, why := iam.Authorize(&iam.Request{Principal: c.caller, Action: c.operation, Resource: resource, Context: c.conditions}, nil, "")
	if account := accountOf(resource); account != "" && account != "aws" && account != c.caller.Account && d == iam.Allow {
		d, why = iam.ImplicitDeny, iam.NoResourceAllow
	}
	if d == iam.Allow {
		return nil
	}
	who := c.caller.ARN
	if who == "" {
		who = c.caller.Service
	}
	return refuse(http.StatusForbidden, "AccessDenied", "User: %s is not authorized to perform: %s on resource: %s%s", who, c.operation, resource, why.Explain(c.operation))
}

// accountOf is the account in an ARN; empty for * and what is no ARN.
func accountOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		return parts[4]
	}
	return ""
}

// conditions are the condition keys that the request itself gives.
func (h *Handler) conditions(r *http.Request, in any) map[string][]string {
	m := map[string][]string{}
	if own, ok := in.(interface{ Conditions() map[string][]string }); ok {
		m = own.Conditions()
	}
	iam.SetRequestConditions(m, r, h.cfg.Now())
	return m
}

type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// answerOf is what the caller is told of err.
func (h *Handler) answerOf(ctx context.Context, err error, c *call) told {
	var e told
	switch {
	case errors.As(err, &e):
		return e
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)):
		return &Error{Status: http.StatusRequestTimeout, Code: "RequestTimeout", Message: "The request was given up before it was answered."}
	}
	return &Error{Status: http.StatusInternalServerError, Code: "InternalFailure", Message: "The request processing has failed because of an unknown error, exception or failure. The server's log has it under the request id " + c.requestID + "."}
}

// namespace is the service's, or STS' for requests that name none.
func namespace(c *call) string {
	if c.service != nil {
		return c.service.Namespace
	}
	return "https://sts.amazonaws.com/doc/2011-06-15/"
}

func writeResult(b *bytes.Buffer, c *call, out any) {
	fmt.Fprintf(b, `<%sResponse xmlns="%s">`, c.name, namespace(c))
	if reflect.TypeOf(out).Elem().NumField() > 0 {
		fmt.Fprintf(b, "<%sResult>", c.name)
		shape.XML(b, out)
		fmt.Fprintf(b, "</%sResult>", c.name)
	}
	fmt.Fprintf(b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>", c.requestID, c.name)
}

func writeError(b *bytes.Buffer, c *call, e told) {
	who := "Sender"
	if e.HTTPStatus() >= 500 {
		who = "Receiver"
	}
	fmt.Fprintf(b, `<ErrorResponse xmlns="%s"><Error><Type>%s</Type><Code>%s</Code><Message>`, namespace(c), who, e.ErrorCode())
	_ = xml.EscapeText(b, []byte(e.ErrorMessage())) // a buffer takes everything
	fmt.Fprintf(b, "</Message></Error><RequestId>%s</RequestId></ErrorResponse>", c.requestID)
}

// logRequest writes the one line of a request. The cause of an error stands
// here and nowhere else; secrets never do.
func (h *Handler) logRequest(ctx context.Context, c *call, code string, status int, d time.Duration, err error) {
	level := slog.LevelInfo
	if status >= 500 {
		level = slog.LevelError
	}
	principal := ""
	if c.caller != nil {
		if principal = c.caller.ARN; principal == "" {
			principal = c.caller.Service
		}
	}
	attrs := []slog.Attr{
		slog.String("operation", c.operation), slog.String("code", code), slog.Duration("duration", d),
		slog.String("principal", principal), slog.String("request_id", c.requestID),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
		var p *panicked
		if errors.As(err, &p) {
			attrs = append(attrs, slog.String("stack", string(p.stack)))
		}
	}
	h.cfg.Log.LogAttrs(ctx, level, "request", attrs...)
}
