package server

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/sigv4"
)

const (
	formType     = "application/x-www-form-urlencoded"
	stsVersion   = "2011-06-15"
	stsNamespace = "https://sts.amazonaws.com/doc/2011-06-15/"

	maxForm = 64 << 10
)

// sts is the one operation of STS that clients ask for at their start:
// GetCallerIdentity, in the Query protocol with XML answers. It needs no
// permission, as at AWS.
type sts struct {
	cfg      awsjson.Config
	verifier *sigv4.Verifier
}

func newSTS(cfg awsjson.Config) *sts {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	// Any region: clients sign for the global endpoint too.
	return &sts{cfg: cfg, verifier: sigv4.New(sigv4.Config{
		Secret: cfg.Credentials.Secret, Services: []string{"sts"}, Now: cfg.Now,
	})}
}

// stsError is an error of the Query protocol.
type stsError struct {
	status        int
	code, message string
}

func (e *stsError) Error() string { return e.code + ": " + e.message }

type callerIdentityResponse struct {
	XMLName   xml.Name `xml:"GetCallerIdentityResponse"`
	Namespace string   `xml:"xmlns,attr"`
	ARN       string   `xml:"GetCallerIdentityResult>Arn"`
	UserID    string   `xml:"GetCallerIdentityResult>UserId"`
	Account   string   `xml:"GetCallerIdentityResult>Account"`
	RequestID string   `xml:"ResponseMetadata>RequestId"`
}

type errorResponse struct {
	XMLName   xml.Name `xml:"ErrorResponse"`
	Namespace string   `xml:"xmlns,attr"`
	Type      string   `xml:"Error>Type"`
	Code      string   `xml:"Error>Code"`
	Message   string   `xml:"Error>Message"`
	RequestID string   `xml:"RequestId"`
}

// ServeHTTP answers one request.
func (s *sts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start, id := s.cfg.Now(), uuid.NewString()
	operation, p, err := s.serve(w, r)
	code, status := "OK", http.StatusOK
	var body any
	if err == nil {
		body = &callerIdentityResponse{Namespace: stsNamespace, ARN: p.ARN, UserID: p.ID, Account: p.Account, RequestID: id}
	} else {
		var e *stsError
		if !errors.As(err, &e) {
			e = &stsError{http.StatusInternalServerError, "InternalFailure", "The request processing has failed because of an unknown error, exception or failure. The server's log has it under the request id " + id + "."}
		}
		code, status = e.code, e.status
		who := "Sender"
		if status >= 500 {
			who = "Receiver"
		}
		body = &errorResponse{Namespace: stsNamespace, Type: who, Code: e.code, Message: e.message, RequestID: id}
	}
	text, marshalErr := xml.Marshal(body)
	if marshalErr != nil { // strings alone always encode
		err, code, status = marshalErr, "InternalFailure", http.StatusInternalServerError
	}
	header := w.Header()
	header.Set("Content-Type", "text/xml")
	header.Set("X-Amzn-Requestid", id)
	header.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a client that has gone is no matter of the server's

	d := s.cfg.Now().Sub(start)
	s.cfg.Observe(operation, code, d)
	attrs := []slog.Attr{slog.String("operation", "sts:"+operation), slog.String("code", code), slog.Duration("duration", d), slog.String("request_id", id)}
	if p != nil {
		attrs = append(attrs, slog.String("principal", p.ARN))
	}
	level := slog.LevelInfo
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
		if status >= 500 {
			level = slog.LevelError
		}
	}
	s.cfg.Log.LogAttrs(r.Context(), level, "request", attrs...)
}

func (s *sts) serve(w http.ResponseWriter, r *http.Request) (operation string, p *iam.Principal, err error) {
	const unknown = "unknown"
	var body []byte
	form := r.URL.Query()
	if r.Method == http.MethodPost {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
		if err == nil {
			form, err = url.ParseQuery(string(body))
		}
		if err != nil {
			return unknown, nil, &stsError{http.StatusBadRequest, "MalformedInput", "The form in the request body could not be read."}
		}
	}
	action, version := form.Get("Action"), form.Get("Version")
	switch {
	case action == "":
		return unknown, nil, &stsError{http.StatusBadRequest, "MissingAction", "The request is missing an action or a required parameter."}
	case action != "GetCallerIdentity" || version != stsVersion:
		return unknown, nil, &stsError{http.StatusBadRequest, "InvalidAction", fmt.Sprintf("Could not find operation %.100s for version %.20s", action, version)}
	}
	p, err = s.authenticate(r, body)
	return action, p, err
}

func (s *sts) authenticate(r *http.Request, body []byte) (*iam.Principal, error) {
	var signed *sigv4.Signed
	var err error
	// A presigned URL vouches for its query alone, so the form must stand there.
	if r.Method == http.MethodGet && sigv4.IsPresigned(r) {
		signed, err = s.verifier.VerifyPresigned(r)
	} else {
		sum := sha256.Sum256(body)
		signed, err = s.verifier.Verify(r, hex.EncodeToString(sum[:]))
	}
	if err != nil {
		return nil, stsSignatureError(err)
	}
	p, err := s.cfg.Credentials.Principal(r.Context(), signed.AccessKeyID, signed.SessionToken)
	switch {
	case errors.Is(err, iam.ErrExpiredToken):
		return nil, &stsError{http.StatusForbidden, "ExpiredToken", "The security token included in the request is expired"}
	case errors.Is(err, iam.ErrInvalidToken):
		return nil, &stsError{http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid."}
	case err != nil:
		return nil, fmt.Errorf("looking up the principal of %s: %w", signed.AccessKeyID, err)
	}
	return p, nil
}

func stsSignatureError(err error) error {
	var e *sigv4.Error
	if !errors.As(err, &e) {
		return err
	}
	code := "SignatureDoesNotMatch"
	switch e.Kind {
	case sigv4.MissingAuthentication:
		return &stsError{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token"}
	case sigv4.Malformed:
		code = "IncompleteSignature"
	case sigv4.UnknownKey:
		code = "InvalidClientTokenId"
	case sigv4.Expired:
		code = "RequestExpired"
	}
	return &stsError{http.StatusForbidden, code, e.Message}
}
