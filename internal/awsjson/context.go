package awsjson

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

// Call identifies the call that a context belongs to.
type Call struct {
	Caller     *iam.Principal
	Operation  string
	RequestID  string // a UUID, also in x-amzn-RequestId
	Invocation string // amz-sdk-invocation-id: the same over an SDK's retries; may be empty
}

type call struct {
	Call
	handler    *Handler
	conditions map[string][]string
	header     http.Header // of the answer
	large      int64       // bytes of the handler's budget for large bodies
	allowed    bool        // an action was allowed
	status     int         // of a success; 0: 200
}

type contextKey struct{}

// NewContext gives the context of a call that did not come through a Handler.
func NewContext(ctx context.Context, c Call) context.Context {
	return context.WithValue(ctx, contextKey{}, &call{Call: c})
}

func from(ctx context.Context) *call {
	c, _ := ctx.Value(contextKey{}).(*call)
	return c
}

// Caller is the authenticated principal; nil outside of a call.
func Caller(ctx context.Context) *iam.Principal {
	if c := from(ctx); c != nil {
		return c.Caller
	}
	return nil
}

// SetCaller says who a call turned out to be of, for its log line: a sign-in
// begins as nobody's.
func SetCaller(ctx context.Context, p *iam.Principal) {
	if c := from(ctx); c != nil {
		c.Caller = p
	}
}

// RequestID is the id of the call; empty outside of one.
func RequestID(ctx context.Context) string {
	if c := from(ctx); c != nil {
		return c.RequestID
	}
	return ""
}

// Invocation is the SDK's amz-sdk-invocation-id, which stays the same over the
// retries of one call; empty when the client sent none.
func Invocation(ctx context.Context) string {
	if c := from(ctx); c != nil {
		return c.Invocation
	}
	return ""
}

// Conditions are the condition keys that the call was authorised under, but
// for those of the caller and the resource. They must not be changed.
func Conditions(ctx context.Context) map[string][]string {
	if c := from(ctx); c != nil {
		return c.conditions
	}
	return nil
}

// SetHeader sets a header of the answer to the call, for what the API has no
// member for; outside of a call it does nothing.
func SetHeader(ctx context.Context, name, value string) {
	if c := from(ctx); c != nil && c.header != nil {
		c.header.Set(name, value)
	}
}

// AddHeader is SetHeader for a header that may stand there more than once.
func AddHeader(ctx context.Context, name, value string) {
	if c := from(ctx); c != nil && c.header != nil {
		c.header.Add(name, value)
	}
}

// Authorize checks one more action for the caller of ctx, under the same
// conditions as the call itself; an operation asks it when it does something
// that has an action of its own. resource is a CA's ARN or *; about what
// belongs to another service, such as a bucket, the caller's own policies decide.
// A refusal is an AccessDeniedException.
func Authorize(ctx context.Context, action, resource string) error {
	c := from(ctx)
	if c == nil || c.handler == nil {
		return errors.New("awsjson: authorising outside of a call")
	}
	account := ""
	if service, _, _ := strings.Cut(action, ":"); resource != "*" && service != "s3" {
		arn, err := pca.ParseCAARN(resource, c.handler.cfg.Partition)
		if err != nil {
			return err
		}
		account = arn.Account
	}
	return c.handler.authorize(ctx, c, action, resource, account)
}

// AuthorizeID decides an action on a CA that a path names by its id alone, the
// one of own, which is what its ARN would be as the caller's. find gives the ARN
// and the owner of the CA that has the id, a ResourceNotFoundException when none
// does. A CA of another account that does not let the caller in is answered as one
// that there is not.
func AuthorizeID(ctx context.Context, action string, own pca.ARN, find func(ctx context.Context, id string) (arn, account string, err error)) error {
	arn, owner, err := find(ctx, own.CA)
	if refused, _ := errors.AsType[*pca.Error](err); err != nil && (refused == nil || refused.Code != pca.ResourceNotFoundException) {
		return fmt.Errorf("looking for CA %s: %w", own.CA, err)
	}
	own.Account = Caller(ctx).Account
	if err == nil {
		err := Authorize(ctx, action, arn)
		if owner == own.Account || err == nil {
			return err
		}
		if e, ok := errors.AsType[*pca.Error](err); !ok || e.Code != pca.AccessDeniedException {
			return err
		}
	}
	if err := Authorize(ctx, action, own.CAARN()); err != nil {
		return err
	}
	return pca.Errorf(pca.ResourceNotFoundException, "Could not find the certificate authority %s.", own)
}
