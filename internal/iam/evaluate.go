package iam

import (
	"slices"
	"strings"
)

// Reason says which policies led to a decision.
type Reason uint8

// The reasons.
const (
	Allowed          Reason = iota
	NoIdentityAllow         // no policy of the caller allows it
	NoResourceAllow         // no policy of the resource allows it
	IdentityDeny            // a policy of the caller forbids it
	ResourceDeny            // the policy of the resource forbids it
	NoBoundaryAllow         // the permissions boundary does not allow it
	NoSessionAllow          // no policy that the session was made with allows it
	BoundaryDeny            // the permissions boundary forbids it
	SessionDeny             // a policy that the session was made with forbids it
	AccountSuspended        // the caller's account is closed
)

// Explain is the end of an AccessDenied message, for example
// " because no identity-based policy allows the s3:GetObject action".
func (r Reason) Explain(action string) string {
	switch r {
	case NoIdentityAllow:
		return " because no identity-based policy allows the " + action + " action"
	case NoResourceAllow:
		return " because no resource-based policy allows the " + action + " action"
	case IdentityDeny:
		return " with an explicit deny in an identity-based policy"
	case ResourceDeny:
		return " with an explicit deny in a resource-based policy"
	case NoBoundaryAllow:
		return " because no permissions boundary allows the " + action + " action"
	case NoSessionAllow:
		return " because no session policy allows the " + action + " action"
	case BoundaryDeny:
		return " with an explicit deny in a permissions boundary"
	case SessionDeny:
		return " with an explicit deny in a session policy"
	case AccountSuspended:
		return " because the account of the caller is closed"
	}
	return ""
}

// Authorize decides r by the principal's identity policies and the policy of
// the resource, which may be nil. resourceAccount is the account that
// owns the resource; empty means the caller's own. Same account: one Allow is
// enough, except that a resource policy's grant to the account as a whole only
// delegates. Other account: both must allow. Service principals, anonymous
// callers (nil Principal) and those of a federation have the resource policy
// alone. A Deny wins.
//
// The boundary and the policies of a session must allow as well, unless the
// resource's policy names the user, or the session itself, in the same account.
// A grant to the role of a session, or to everybody, stays limited. (Of grants
// to everybody AWS documents both; this is the narrower.)
func Authorize(r *Request, resource *Policy, resourceAccount string) (Decision, Reason) {
	find, p := r.values, r.Principal
	if p != nil && p.Suspended {
		return ExplicitDeny, AccountSuspended
	}
	people := p != nil && p.Service == "" && (p.Federated == "" || p.ARN != "")
	byIdentity, byBoundary, bySession := ImplicitDeny, Allow, Allow
	if people {
		byIdentity = anyOf(p.Policies, r, find)
		if p.Boundary != nil {
			byBoundary, _ = p.Boundary.evaluate(r, find)
		}
		if len(p.Session) > 0 {
			bySession = anyOf(p.Session, r, find)
		}
	}
	byResource, named := resource.evaluate(r, find)
	same := people && (resourceAccount == "" || resourceAccount == p.Account)
	switch {
	case byIdentity == ExplicitDeny:
		return ExplicitDeny, IdentityDeny
	case byBoundary == ExplicitDeny:
		return ExplicitDeny, BoundaryDeny
	case bySession == ExplicitDeny:
		return ExplicitDeny, SessionDeny
	case byResource == ExplicitDeny:
		return ExplicitDeny, ResourceDeny
	case !people && byResource != Allow:
		return ImplicitDeny, NoResourceAllow
	case !people, same && byResource == Allow && named == itself:
		return Allow, Allowed
	case byIdentity != Allow && !(same && byResource == Allow && named == among):
		return ImplicitDeny, NoIdentityAllow
	case byBoundary != Allow:
		return ImplicitDeny, NoBoundaryAllow
	case bySession != Allow:
		return ImplicitDeny, NoSessionAllow
	case !same && byResource != Allow:
		return ImplicitDeny, NoResourceAllow
	}
	return Allow, Allowed
}

// anyOf is the decision of policies of which one Allow is enough.
func anyOf(policies []*Policy, r *Request, find lookup) (d Decision) {
	for _, p := range policies {
		one, _ := p.evaluate(r, find)
		d = max(d, one)
	}
	return d
}

// Evaluate decides r by this policy alone. A Principal element is honoured
// when the policy has one. A nil policy denies implicitly.
func (p *Policy) Evaluate(r *Request) Decision {
	d, _ := p.evaluate(r, r.values)
	return d
}

// evaluate also says how closely an Allow names the caller.
func (p *Policy) evaluate(r *Request, find lookup) (d Decision, named match) {
	if p == nil {
		return ImplicitDeny, nobody
	}
	action := strings.ToLower(r.Action)
	for _, s := range p.statements {
		who := s.concerns(r.Principal)
		if who == nobody || !s.covers(action, r.Resource, s.Effect, find) {
			continue
		}
		if s.Effect == ExplicitDeny {
			return ExplicitDeny, who
		}
		d, named = Allow, max(named, who)
	}
	return d, named
}

// covers says whether action, resource and conditions of the statement fit;
// action is in lower case.
func (s *statement) covers(action, resource string, effect Decision, find lookup) bool {
	match := func(t template) bool { return t.matches(action, find) }
	if slices.ContainsFunc(s.actions, match) == s.NotAction {
		return false
	}
	if slices.ContainsFunc(s.resources, func(p arnPattern) bool { return p.matches(resource, find) }) == s.NotResource {
		return false
	}
	// An exception whose variable has no value would except nothing: it must
	// not widen an Allow.
	if s.NotResource && effect == Allow && slices.ContainsFunc(s.resources, func(p arnPattern) bool { return !p.resolves(find) }) {
		return false
	}
	for i := range s.conditions {
		if !s.conditions[i].met(effect, find) {
			return false
		}
	}
	return true
}

// match is how a statement's principals meet a caller.
type match uint8

const (
	nobody    match = iota
	byAccount       // the account as a whole is named
	among           // everybody is named, or the role of the caller's session
	itself          // the caller is named
)

func (s *statement) concerns(p *Principal) match {
	if len(s.Principals) == 0 {
		return itself // an identity policy concerns whom it is attached to
	}
	found := nobody
	for _, pattern := range s.Principals {
		found = max(found, pattern.match(p))
	}
	if !s.NotPrincipal {
		return found
	}
	// To be exempt from a Deny the caller itself must be named: naming its
	// account exempts the account's root alone. From an Allow both exclude.
	if found >= among || found == byAccount && s.Effect == Allow {
		return nobody
	}
	return among
}

func (pp PrincipalPattern) match(p *Principal) match {
	yes := func(ok bool, m match) match {
		if ok {
			return m
		}
		return nobody
	}
	switch {
	case p != nil && p.Federated != "" && p.ARN == "":
		return yes(pp.Type == "*" || pp.Type == "Federated" && pp.Value == p.Federated, itself)
	case pp.Value == "*":
		return among
	case p == nil:
		return nobody
	case pp.Type == "Service":
		return yes(p.Service == pp.Value, itself)
	case p.Service != "":
		return nobody
	case pp.Type == "CanonicalUser":
		return yes(p.CanonicalUser == pp.Value, byAccount)
	case pp.Type != "AWS":
		return nobody
	case pp.Value == p.ARN || pp.Value == p.ID:
		return itself
	case p.Role != "" && pp.Value == p.Role:
		return among
	}
	if role, _, ok := strings.Cut(p.ID, ":"); ok && role == pp.Value {
		return among // the role by its id
	}
	account := pp.Value
	if f := strings.Split(pp.Value, ":"); len(f) == 6 && f[0] == "arn" {
		if role, ok := strings.CutPrefix(f[5], "role/"); ok {
			return yes(f[2] == "iam" && p.Role == "" && sessionOf(p.ARN, f[1], f[4], role), among)
		}
		if f[2] != "iam" || f[5] != "root" {
			return nobody
		}
		account = f[4]
	}
	if strings.HasSuffix(p.ARN, ":root") {
		return yes(account == p.Account, itself)
	}
	return yes(account == p.Account, byAccount)
}

// sessionOf says whether arn is a session of the role: the session's ARN has
// the role's name without its path.
func sessionOf(arn, partition, account, role string) bool {
	name := role[strings.LastIndexByte(role, '/')+1:]
	session, ok := strings.CutPrefix(arn, "arn:"+partition+":sts::"+account+":assumed-role/"+name+"/")
	return ok && session != ""
}

// values gives the values of a condition key by its lower-case name: what
// follows from the principal, what came with the principal, what the request
// says. In that order, so that a request cannot forge the first two.
func (r *Request) values(key string) []string {
	if strings.HasPrefix(key, "aws:") {
		if v := r.Principal.value(key); v != "" {
			return []string{v}
		}
	}
	if r.Principal != nil {
		if v := find(r.Principal.Context, key); len(v) > 0 {
			return v
		}
	}
	return find(r.Context, key)
}

// find merges the values of keys that differ in case, as tags of a CA may.
func find(m map[string][]string, key string) (found []string) {
	if v, ok := m[key]; ok {
		return v
	}
	for name, v := range m {
		if strings.EqualFold(name, key) {
			found = append(found[:len(found):len(found)], v...)
		}
	}
	return found
}

// value is a condition key that follows from who the caller is; empty when the
// caller has none.
func (p *Principal) value(key string) string {
	switch {
	case p == nil:
		switch key {
		case "aws:principaltype":
			return "Anonymous"
		case "aws:principalaccount", "aws:userid":
			return "anonymous"
		case "aws:principalisawsservice":
			return "false"
		}
		return ""
	case key == "aws:federatedprovider":
		return p.Federated
	case p.Federated != "" && p.ARN == "":
		return ""
	case p.Service != "":
		switch key {
		case "aws:principalisawsservice":
			return "true"
		case "aws:principalservicename":
			return p.Service
		}
		return ""
	}
	switch key {
	case "aws:principalisawsservice":
		return "false"
	case "aws:principalaccount":
		return p.Account
	case "aws:userid":
		return p.ID
	case "aws:principalarn":
		if p.Role != "" {
			return p.Role
		}
		// Of a session: the ARN of its role.
		if head, rest, ok := strings.Cut(p.ARN, ":assumed-role/"); ok {
			role, _, _ := strings.Cut(rest, "/")
			return strings.Replace(head, ":sts:", ":iam:", 1) + ":role/" + role
		}
		return p.ARN
	case "aws:username":
		if _, rest, ok := strings.Cut(p.ARN, ":user/"); ok {
			return rest[strings.LastIndexByte(rest, '/')+1:]
		}
	case "aws:principaltype":
		switch {
		case strings.HasSuffix(p.ARN, ":root"):
			return "Account"
		case strings.Contains(p.ARN, ":user/"):
			return "User"
		case strings.Contains(p.ARN, ":assumed-role/"), strings.Contains(p.ARN, ":role/"):
			return "AssumedRole"
		}
	}
	return ""
}
