// Package iam decides who may do what: principals, IAM JSON policies, and the
// one evaluator for identity, resource and bucket policies. It stores nothing.
package iam

import (
	"context"
	"errors"
	"time"
)

// Principal is an authenticated caller.
type Principal struct {
	Account string // 12 digits
	ARN     string // for example arn:aws:iam::123456789012:user/admin
	ID      string // aws:userid; of a session AROA...:session
	Service string // service principal such as acm-pca.amazonaws.com; empty for people and programs
	// Role is the ARN of the role of a session, with the role's path; empty
	// for users, whose own ARN says it all.
	Role string
	// Federated is the ARN of the OIDC provider that vouches for a caller who
	// is nobody else yet; trust policies name it.
	Federated string
	// CanonicalUser is the S3 canonical user id of the account; may be empty.
	CanonicalUser string
	// Policies are the identity policies; a principal without any may do nothing.
	Policies []*Policy
	// Boundary is the permissions boundary and Session the policies that the
	// session was made with: each that is there must allow as well, and gives
	// nothing by itself. Of Session one Allow is enough.
	Boundary *Policy
	Session  []*Policy
	// Context holds context keys that come with the principal and that a
	// request cannot set, such as aws:SourceAccount and aws:SourceArn of a
	// service, or aws:PrincipalTag/team of a user.
	Context map[string][]string
	// Expires is when a session ends; zero for long-lived keys.
	Expires time.Time
	// Transitive are the tags of a session that sessions made with it inherit.
	Transitive map[string]string
	// Suspended is set when the account is closed: nothing is allowed.
	Suspended bool
}

// Reasons why a request with a good signature has no principal.
var (
	// ErrInvalidToken says that nobody has the access key any more, or that
	// the session token does not belong to it: it was tampered with, comes
	// from elsewhere, is missing, or stands beside a long-lived key.
	ErrInvalidToken = errors.New("the security token is invalid")
	// ErrExpiredToken says that the session is over.
	ErrExpiredToken = errors.New("the security token is expired")
)

// Credentials knows who signs. It is asked at every request: it is fast, and
// safe for concurrent use.
type Credentials interface {
	// Secret gives the secret key that signatures of an access key are made
	// with, long-lived or of a session; ok is false when nobody has it.
	Secret(ctx context.Context, accessKeyID string) (secret string, ok bool, err error)
	// Principal tells who signs with the access key; sessionToken is what
	// came in X-Amz-Security-Token, or empty. The errors of a caller wrap
	// ErrInvalidToken or ErrExpiredToken. The caller does not change the principal.
	Principal(ctx context.Context, accessKeyID, sessionToken string) (*Principal, error)
}

// Decision is the outcome of a policy. It keeps "nothing allows it" apart from
// "something forbids it".
type Decision uint8

// The decisions. An explicit deny wins over everything.
const (
	ImplicitDeny Decision = iota
	Allow
	ExplicitDeny
)

// Request is one action on one resource.
type Request struct {
	Principal *Principal          // nil: anonymous
	Action    string              // such as acm-pca:IssueCertificate or s3:PutObject
	Resource  string              // ARN, or * when the action has none
	Context   map[string][]string // condition keys of the request; names are compared without case
}
