package bucket

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"chirograph.dev/internal/pca"
)

// ErrNoUpload says that the multipart upload is not there: aborted by someone,
// completed, or without parts that it took. Nothing of it is visible; begin a
// new one.
var ErrNoUpload = errors.New("the multipart upload is gone")

// ErrForeignObject says that an object with the key exists and is not the one
// that was to be written. It was left alone.
var ErrForeignObject = errors.New("an object with this key exists already and holds something else")

// ErrAbsent says that the store accepted the object and then did not have it
// (D-4). It may be tried again.
var ErrAbsent = errors.New("the bucket service accepted the object but does not have it")

// Temporary tells whether an error of a Client may go away by itself: the
// store could not be reached, or said that it is busy or broken. A refusal is
// not temporary.
func Temporary(err error) bool {
	var refused *pca.Error
	var api smithy.APIError
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, ErrForeignObject):
		return false
	case errors.Is(err, ErrNoUpload), errors.Is(err, ErrAbsent):
		return true
	case errors.As(err, &refused):
		return refused.Code == pca.RequestFailedException
	case errors.As(err, &api):
		switch api.ErrorCode() {
		case "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted", "ConditionalRequestConflict",
			"RequestTimeTooSkewed", "ThrottlingException", "Throttling", "TooManyRequests", "ExpiredToken", "BadDigest", "IncompleteBody":
			return true
		}
		s := status(err)
		return s >= 500 && s != http.StatusNotImplemented || s == http.StatusTooManyRequests || s == http.StatusRequestTimeout
	}
	return true // the network, or an answer that could not be read
}

// Refused tells whether the bucket, or who decides about it, refused what was
// to be written: its owner can mend that, not this server.
func Refused(err error) bool {
	if refused, ok := errors.AsType[*pca.Error](err); ok {
		return refused.Code == pca.ValidationException || refused.Code == pca.ResourceNotFoundException
	}
	switch code(err) {
	case "AccessControlListNotSupported", "NoSuchBucket":
		return true
	}
	return status(err) == http.StatusForbidden && !Temporary(err) || errors.Is(err, ErrLocked)
}

// Explain says in words, for the owner of the bucket, why writing something
// failed, such as "report".
func Explain(err error, what string) string {
	var refused *pca.Error
	var api smithy.APIError
	switch {
	case errors.As(err, &refused):
		return refused.Message
	case errors.Is(err, ErrLocked):
		return "The bucket service did not take what belongs to the " + what + ": " + ErrLocked.Error() + "."
	case errors.Is(err, ErrForeignObject), errors.Is(err, ErrAbsent), errors.Is(err, ErrNoUpload):
		return "Writing the " + what + " failed: " + err.Error() + "."
	case errors.As(err, &api):
		if s := status(err); s == http.StatusForbidden {
			return fmt.Sprintf("The bucket service refused to take the %s: %s. %s", what, answer(api), checkPermissions)
		}
		return "The bucket service did not take the " + what + ": " + answer(api) + "."
	case errors.Is(err, context.DeadlineExceeded):
		return "The bucket service did not answer in time."
	}
	return "The bucket service could not be reached."
}

// checkPermissions is how AWS ends the message of a bucket that cannot be
// written; clients match it.
const checkPermissions = "Check your S3 bucket permissions and try again"

func answer(api smithy.APIError) string {
	if m := api.ErrorMessage(); m != "" {
		return api.ErrorCode() + ": " + m
	}
	return api.ErrorCode()
}

// status is the HTTP status that an error came with; 0 when there was no answer.
func status(err error) int {
	var re *awshttp.ResponseError
	if errors.As(err, &re) {
		return re.HTTPStatusCode()
	}
	return 0
}

// code is the store's name of an error; empty when there was no answer.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// unreachable is the answer when the store cannot be asked.
func (c *Client) unreachable(doing, bucket string, err error) error {
	why := "it did not answer"
	var api smithy.APIError
	switch {
	case errors.As(err, &api):
		why = "it answered " + answer(api)
	case status(err) != 0:
		why = fmt.Sprintf("it answered with HTTP status %d", status(err))
	case errors.Is(err, context.DeadlineExceeded):
		why = "it did not answer in time"
	}
	return &pca.Error{
		Code:    pca.RequestFailedException,
		Message: fmt.Sprintf("Could not reach bucket %s through %s: %s. Nothing was written; try again, and if it stays so check the bucket endpoint of this server.", bucket, c.name, why),
		Err:     fmt.Errorf("%s: %w", doing, err),
	}
}

func (c *Client) missing(bucket string, err error) error {
	return &pca.Error{
		Code:    pca.ResourceNotFoundException,
		Message: fmt.Sprintf("The S3 bucket %s does not exist in %s. Create it and attach the policy that lets acm-pca.amazonaws.com write, then try again.", bucket, c.name),
		Err:     err,
	}
}
