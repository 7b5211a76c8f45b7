package awsquery

import (
	"context"

	"chirograph.dev/internal/iam"
)

type call struct {
	requestID  string
	service    *Service
	name       string // of the operation
	operation  string // <service>:<name>
	caller     *iam.Principal
	conditions map[string][]string
	large      int64 // bytes of the handler's budget for large bodies
}

type contextKey struct{}

func from(ctx context.Context) *call {
	c, _ := ctx.Value(contextKey{}).(*call)
	return c
}

// Caller is the authenticated principal; nil outside of a call, and in an
// unsigned one.
func Caller(ctx context.Context) *iam.Principal {
	if c := from(ctx); c != nil {
		return c.caller
	}
	return nil
}

// Conditions are the condition keys that the request of the call gives, for
// operations that decide by themselves; nil outside of a call. Not to be changed.
func Conditions(ctx context.Context) map[string][]string {
	if c := from(ctx); c != nil {
		return c.conditions
	}
	return nil
}

// RequestID is the id of the call; empty outside of one.
func RequestID(ctx context.Context) string {
	if c := from(ctx); c != nil {
		return c.requestID
	}
	return ""
}
