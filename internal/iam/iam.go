// Package iam decides who may do what: principals, IAM JSON policies, and the
// one evaluator for identity, resource and bucket policies. It stores nothing.
package iam

// Principal is an authenticated caller.
type Principal struct {
	Account string // 12 digits
	ARN     string // for example arn:aws:iam::123456789012:user/admin
	ID      string // aws:userid
	Service string // service principal such as acm-pca.amazonaws.com; empty for people and programs
	// CanonicalUser is the S3 canonical user id of the account; may be empty.
	CanonicalUser string
	// Policies are the identity policies; a principal without any may do nothing.
	Policies []*Policy
	// Context holds context keys that come with the principal and that a
	// request cannot set, such as aws:SourceAccount and aws:SourceArn of a
	// service.
	Context map[string][]string
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
