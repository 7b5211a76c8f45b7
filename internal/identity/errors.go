package identity

import (
	"errors"
	"fmt"
	"net/http"

	"chirograph.dev/internal/store"
)

func refuse(status int, code, format string, args ...any) error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Status: status}
}

func invalid(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "ValidationError", format, args...)
}

func malformedPolicy(err error) error {
	return refuse(http.StatusBadRequest, "MalformedPolicyDocument", "%s", err.Error())
}

func noSuchEntity(format string, args ...any) error {
	return refuse(http.StatusNotFound, "NoSuchEntity", format, args...)
}

func entityExists(format string, args ...any) error {
	return refuse(http.StatusConflict, "EntityAlreadyExists", format, args...)
}

func deleteConflict(format string, args ...any) error {
	return refuse(http.StatusConflict, "DeleteConflict", format, args...)
}

func limitExceeded(format string, args ...any) error {
	return refuse(http.StatusConflict, "LimitExceeded", format, args...)
}

func denied(format string, args ...any) error {
	return refuse(http.StatusForbidden, "AccessDenied", format, args...)
}

// exists tells whether err says that a record of the kind is there.
func exists(err error, kind string) bool {
	e, ok := errors.AsType[*store.ExistsError](err)
	return ok && e.Kind == kind
}

// again runs f until it is not based on an old version of a record.
func again(f func() error) error {
	const attempts = 10
	for i := 1; ; i++ {
		err := f()
		switch {
		case !errors.Is(err, store.ErrConflict):
			return err
		case i == attempts:
			return refuse(http.StatusConflict, "ConcurrentModification", "The request was rejected because multiple requests to change this object were submitted simultaneously. Wait a few seconds and submit your request again.")
		}
	}
}
