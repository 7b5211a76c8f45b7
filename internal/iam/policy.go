package iam

import "errors"

// Policy is a parsed policy document; it does not change and is safe for concurrent use.
type Policy struct{ text string }

// ParsePolicy reads an identity policy. It is strict: unknown elements,
// operators and condition keys, a Principal, and values that an operator
// cannot read are errors. The error tells the author what to change.
func ParsePolicy(text []byte) (*Policy, error) { return nil, errors.New("iam: not written yet") }

// ParseResourcePolicy reads the policy of a bucket or of a CA. Every statement
// needs a Principal or NotPrincipal. Operators, and values that their operator
// cannot read, are kept when unknown: in a Deny they deny, in an Allow they do
// not match (D-12).
func ParseResourcePolicy(text []byte) (*Policy, error) {
	return nil, errors.New("iam: not written yet")
}

// Text is the document as it was given to ParsePolicy.
func (p *Policy) Text() string { return p.text }

// Version is 2012-10-17 or 2008-10-17, which is also the default.
func (p *Policy) Version() string { return "" }

// Statements gives the parts of the policy for checks of its form.
func (p *Policy) Statements() []Statement { return nil }

// Statement is one statement as written.
type Statement struct {
	Sid          string
	Effect       Decision // Allow or ExplicitDeny
	Principals   []PrincipalPattern
	NotPrincipal bool // Principals are those it does not apply to
	Actions      []string
	NotAction    bool
	Resources    []string
	NotResource  bool
	Conditions   []Condition
}

// PrincipalPattern is one principal of a statement: Type is AWS, Service,
// CanonicalUser or Federated, or * with Value * when the element is the
// string *.
type PrincipalPattern struct{ Type, Value string }

// Condition is one operator on one key.
type Condition struct {
	Operator string // as written, such as ForAllValues:StringLikeIfExists
	Key      string
	Values   []string
}

// Evaluate decides r by this policy alone. A Principal element is honoured
// when the policy has one. A nil policy denies implicitly.
func (p *Policy) Evaluate(r *Request) Decision { return ImplicitDeny }

// Reason says which policies led to a decision.
type Reason uint8

// The reasons.
const (
	Allowed Reason = iota
	NoIdentityAllow
	NoResourceAllow
	IdentityDeny
	ResourceDeny
)

// Explain is the end of an AccessDenied message, for example
// " because no identity-based policy allows the s3:GetObject action".
func (r Reason) Explain(action string) string { return "" }

// Authorize decides r by the principal's identity policies and the policy of
// the resource, which may be nil. Same account: one Allow is enough,
// except that a resource policy's grant to the account as a whole only
// delegates. Other account: both must allow. Service principals and anonymous
// callers (nil Principal) have the resource policy alone. A Deny wins.
func Authorize(r *Request, resource *Policy, resourceAccount string) (Decision, Reason) {
	return ImplicitDeny, NoIdentityAllow
}
