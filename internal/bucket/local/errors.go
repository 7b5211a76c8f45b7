package local

import (
	"errors"
	"fmt"
	"net/http"
)

// apiError is an error as S3 answers it.
type apiError struct {
	code    string
	message string
	status  int         // 0: by code
	fields  [][2]string // further elements, such as BucketName
	header  http.Header // further response headers
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func errorf(code, format string, args ...any) *apiError {
	return &apiError{code: code, message: fmt.Sprintf(format, args...)}
}

func (e *apiError) with(name, value string) *apiError {
	e.fields = append(e.fields, [2]string{name, value})
	return e
}

// httpStatus is S3's status of an error code.
func (e *apiError) httpStatus() int {
	if e.status != 0 {
		return e.status
	}
	switch e.code {
	case "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "AccountProblem", "InvalidObjectState":
		return http.StatusForbidden
	case "NoSuchBucket", "NoSuchKey", "NoSuchUpload", "NoSuchVersion", "NoSuchBucketPolicy", "NoSuchPublicAccessBlockConfiguration",
		"OwnershipControlsNotFoundError", "ServerSideEncryptionConfigurationNotFoundError", "ObjectLockConfigurationNotFoundError",
		"NoSuchObjectLockConfiguration":
		return http.StatusNotFound
	case "MethodNotAllowed":
		return http.StatusMethodNotAllowed
	case "BucketAlreadyExists", "BucketAlreadyOwnedByYou", "BucketNotEmpty", "OperationAborted", "ConditionalRequestConflict", "InvalidBucketState":
		return http.StatusConflict
	case "MissingContentLength":
		return http.StatusLengthRequired
	case "PreconditionFailed":
		return http.StatusPreconditionFailed
	case "InvalidRange", "InvalidPartNumber":
		return http.StatusRequestedRangeNotSatisfiable
	case "InternalError":
		return http.StatusInternalServerError
	case "NotImplemented":
		return http.StatusNotImplemented
	case "NotModified":
		return http.StatusNotModified
	}
	return http.StatusBadRequest
}

func errNoSuchBucket(name string) *apiError {
	return errorf("NoSuchBucket", "The specified bucket does not exist").with("BucketName", name)
}

func errNoSuchKey(key string) *apiError {
	return errorf("NoSuchKey", "The specified key does not exist.").with("Key", key)
}

func errNoSuchUpload(id string) *apiError {
	return errorf("NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.").with("UploadId", id)
}

func errAccessDenied() *apiError { return errorf("AccessDenied", "Access Denied") }

func errPrecondition(header string) *apiError {
	return errorf("PreconditionFailed", "At least one of the pre-conditions you specified did not hold").with("Condition", header)
}

func errNotImplemented(what string) *apiError {
	return errorf("NotImplemented", "A header or parameter you provided implies functionality that is not implemented: %s", what)
}

func errMalformedXML() *apiError {
	return errorf("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
}

func errInvalidArgument(name, value, format string, args ...any) *apiError {
	return errorf("InvalidArgument", format, args...).with("ArgumentName", name).with("ArgumentValue", value)
}

// storageError marks an error of the disk: nothing of the request is visible.
type storageError struct{ err error }

func (e *storageError) Error() string { return "writing to the bucket folder: " + e.err.Error() }
func (e *storageError) Unwrap() error { return e.err }

// asAPIError turns any error into S3's. internal is true when the cause must
// be logged because the caller does not see it.
//
// A full disk and a failing one are InternalError, 500: what S3 itself answers
// when it could not store, and what SDKs retry; S3 has no code for "full".
func asAPIError(err error) (e *apiError, internal bool) {
	if errors.As(err, &e) {
		return e, false
	}
	var disk *storageError
	if errors.As(err, &disk) {
		return errorf("InternalError", "The bucket service could not write to its disk. Nothing was changed; free space or mend the disk, and try again."), true
	}
	var damage *damageError
	if errors.As(err, &damage) {
		return errorf("InternalError", "The stored bytes of the object are missing or damaged. Write the object again, or restore the part file that the log of the bucket service names from a backup."), true
	}
	return errorf("InternalError", "We encountered an internal error. Please try again."), true
}
