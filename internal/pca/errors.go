package pca

import "fmt"

// Code is the name of an error of the API, as it stands in __type.
type Code string

// Errors that AWS answers without naming them in the model (api.md 1.2).
const (
	MissingAuthenticationTokenException Code = "MissingAuthenticationTokenException"
	IncompleteSignatureException        Code = "IncompleteSignatureException"
	UnrecognizedClientException         Code = "UnrecognizedClientException"
	InvalidSignatureException           Code = "InvalidSignatureException"
	ExpiredTokenException               Code = "ExpiredTokenException"
	AccessDeniedException               Code = "AccessDeniedException"
	ThrottlingException                 Code = "ThrottlingException"
	ValidationException                 Code = "ValidationException"
	SerializationException              Code = "SerializationException"
	UnknownOperationException           Code = "UnknownOperationException"
	RequestEntityTooLargeException      Code = "RequestEntityTooLargeException"
	RequestTimeoutException             Code = "RequestTimeoutException"
	InternalFailure                     Code = "InternalFailure"
	ServiceUnavailable                  Code = "ServiceUnavailable"
)

// SessionExpired is the console's own: there is no session, or it is over.
const SessionExpired Code = "SessionExpired"

// HTTPStatus is the status that goes with the code: 400 for all that the model names.
func (c Code) HTTPStatus() int {
	switch c {
	case MissingAuthenticationTokenException, IncompleteSignatureException, UnrecognizedClientException,
		InvalidSignatureException, ExpiredTokenException, AccessDeniedException:
		return 403
	case SessionExpired:
		return 401
	case UnknownOperationException:
		return 404
	case RequestTimeoutException:
		return 408
	case RequestEntityTooLargeException:
		return 413
	case InternalFailure:
		return 500
	case ServiceUnavailable:
		return 503
	}
	return 400
}

// Error is the only error that a caller of the API sees: a code, a message
// that tells the person what to do, and the cause, which is for the log alone.
type Error struct {
	Code    Code
	Message string
	Err     error
}

// Error includes the cause; only Code and Message go over the wire.
func (e *Error) Error() string {
	if e.Err != nil {
		return string(e.Code) + ": " + e.Message + ": " + e.Err.Error()
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error without a cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}
