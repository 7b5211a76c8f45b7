package iam

import (
	"slices"
	"strings"
)

// Reason says which policies led to a decision.
type Reason uint8

// The reasons.
const (
	Allowed         Reason = iota
	NoIdentityAllow        // no policy of the caller allows it
	NoResourceAllow        // no policy of the resource allows it
	IdentityDeny           // a policy of the caller forbids it
	ResourceDeny           // the policy of the resource forbids it
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
	}
	return ""
}

// Authorize decides r by the principal's identity policies and the policy of
// the resource, which may be nil. resourceAccount is the account that
// owns the resource; empty means the caller's own. Same account: one Allow is
// enough, except that a resource policy's grant to the account as a whole only
// delegates. Other account: both must allow. Service principals and anonymous
// callers (nil Principal) have the resource policy alone. A Deny wins.
func Authorize(r *Request, resource *Policy, resourceAccount string) (Decision, Reason) {
	find := r.values
	byIdentity, people := ImplicitDeny, r.Principal != nil && r.Principal.Service == ""
	if people {
		for _, p := range r.Principal.Policies {
			d, _ := p.evaluate(r, find)
			byIdentity = max(byIdentity, d)
		}
	}
	byResource, direct := resource.evaluate(r, find)
	switch {
	case byIdentity == ExplicitDeny:
		return ExplicitDeny, IdentityDeny
	case byResource == ExplicitDeny:
		return ExplicitDeny, ResourceDeny
	case !people:
		if byResource == Allow {
			return Allow, Allowed
		}
		return ImplicitDeny, NoResourceAllow
	case resourceAccount == "" || resourceAccount == r.Principal.Account:
		if byIdentity == Allow || byResource == Allow && direct {
			return Allow, Allowed
		}
		return ImplicitDeny, NoIdentityAllow
	case byIdentity != Allow:
		return ImplicitDeny, NoIdentityAllow
	case byResource != Allow:
		return ImplicitDeny, NoResourceAllow
	}
	return Allow, Allowed
}

// Evaluate decides r by this policy alone. A Principal element is honoured
// when the policy has one. A nil policy denies implicitly.
func (p *Policy) Evaluate(r *Request) Decision {
	d, _ := p.evaluate(r, r.values)
	return d
}

// evaluate also says whether an Allow names the caller rather than the
// caller's account.
func (p *Policy) evaluate(r *Request, find lookup) (d Decision, direct bool) {
	if p == nil {
		return ImplicitDeny, false
	}
	action := strings.ToLower(r.Action)
	for _, s := range p.statements {
		who := s.concerns(r.Principal)
		if who == nobody || !s.covers(action, r.Resource, s.Effect, find) {
			continue
		}
		if s.Effect == ExplicitDeny {
			return ExplicitDeny, false
		}
		d, direct = Allow, direct || who == itself
	}
	return d, direct
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
	itself          // the caller is named, or everybody
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
	if found == itself || found == byAccount && s.Effect == Allow {
		return nobody
	}
	return itself
}

func (pp PrincipalPattern) match(p *Principal) match {
	yes := func(ok bool, m match) match {
		if ok {
			return m
		}
		return nobody
	}
	switch {
	case pp.Value == "*":
		return itself
	case p == nil:
		return nobody
	case pp.Type == "Service":
		return yes(p.Service == pp.Value, itself)
	case p.Service != "":
		return nobody
	case pp.Type == "CanonicalUser":
		return yes(p.CanonicalUser == pp.Value, byAccount)
	case pp.Type != "AWS":
		return nobody // nobody here comes from a federation
	case pp.Value == p.ARN || pp.Value == p.ID:
		return itself
	}
	account := pp.Value
	if f := strings.Split(pp.Value, ":"); len(f) == 6 && f[0] == "arn" {
		if role, ok := strings.CutPrefix(f[5], "role/"); ok {
			return yes(f[2] == "iam" && sessionOf(p.ARN, f[1], f[4], role), itself)
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

func find(m map[string][]string, key string) []string {
	if v, ok := m[key]; ok {
		return v
	}
	for name, v := range m {
		if strings.EqualFold(name, key) {
			return v
		}
	}
	return nil
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
