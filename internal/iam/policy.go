package iam

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// maxPolicy bounds a document; the largest that AWS takes, a CA's policy, has 81,920 characters.
const maxPolicy = 256 << 10

// Versions of the policy language. Policy variables exist since the newer one.
const (
	version2012 = "2012-10-17"
	version2008 = "2008-10-17"
)

// Policy is a parsed policy document; it does not change and is safe for concurrent use.
type Policy struct {
	text, version string
	statements    []*statement
}

// Statement is one statement as written.
type Statement struct {
	Sid          string
	Effect       Decision // Allow or ExplicitDeny
	Principals   []PrincipalPattern
	NotPrincipal bool // Principals are those it does not apply to
	Actions      []string
	NotAction    bool // Actions are those it does not apply to
	Resources    []string
	NotResource  bool        // Resources are those it does not apply to
	Conditions   []Condition // sorted by operator and key
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

// ParsePolicy reads an identity policy. It is strict: unknown elements,
// operators and condition keys, a Principal, and values that an operator
// cannot read are errors. The error tells the author what to change.
func ParsePolicy(text []byte) (*Policy, error) { return parse(text, identity) }

// ParseResourcePolicy reads the policy of a bucket or of a CA. Every statement
// needs a Principal or NotPrincipal. Operators, and values that their operator
// cannot read, are kept when unknown: in a Deny they deny, in an Allow they do
// not match (D-12).
func ParseResourcePolicy(text []byte) (*Policy, error) { return parse(text, resource) }

// ParseTrustPolicy reads the policy that says who may assume a role. It is
// strict, as ParsePolicy; every statement needs a Principal and has no
// Resource, which is the role itself. Conditions may also name the claims of a
// web identity, such as "issuer.example.com:sub".
func ParseTrustPolicy(text []byte) (*Policy, error) { return parse(text, trust) }

// Text is the document as it was parsed.
func (p *Policy) Text() string { return p.text }

// Version is 2012-10-17 or 2008-10-17, which is also the default.
func (p *Policy) Version() string { return p.version }

// Statements gives the parts of the policy for checks of its form. The caller
// does not change them.
func (p *Policy) Statements() []Statement {
	s := make([]Statement, len(p.statements))
	for i := range p.statements {
		s[i] = p.statements[i].Statement
	}
	return s
}

// plain takes the Go type out of an error of the JSON reader: the author of a
// policy knows where it stands and what is wrong with it, not our types.
func plain(err error) error {
	e, ok := errors.AsType[*json.SemanticError](err)
	switch {
	case !ok:
		return err
	case e.Err != nil && e.JSONPointer != "":
		return fmt.Errorf("at %s: %w", e.JSONPointer, plain(e.Err))
	case e.Err != nil:
		return plain(e.Err)
	}
	return fmt.Errorf("at %s: unexpected %s", e.JSONPointer, e.JSONKind)
}

type kind uint8

const (
	identity kind = iota
	resource
	trust
)

// document and its parts are the grammar; unknown and repeated members are errors.
type document struct {
	Version   string
	ID        string `json:"Id"`
	Statement []rawStatement
}

type rawStatement struct {
	Sid          string
	Effect       string
	Principal    principals
	NotPrincipal principals
	Action       stringList
	NotAction    stringList
	Resource     stringList
	NotResource  stringList
	Condition    conditions
}

// conditions are the keys and values of operators. A null would be a condition
// that is always met, which nobody means.
type conditions map[string]map[string]valueList

func (c *conditions) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() != '{' {
		return errors.New("a Condition is an object of operators")
	}
	if err := json.UnmarshalDecode(in, (*map[string]map[string]valueList)(c)); err != nil {
		return err
	}
	for operator, keys := range *c {
		if keys == nil {
			return fmt.Errorf("the condition %s is null; give it keys, or leave it out", operator)
		}
	}
	return nil
}

// UnmarshalJSONFrom takes a lone statement for a list of one.
func (d *document) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement jsontext.Value
	}
	if in.PeekKind() != '{' {
		return errors.New("a policy is a JSON object")
	}
	if err := json.UnmarshalDecode(in, &raw); err != nil {
		return err
	}
	d.Version, d.ID = raw.Version, raw.ID
	switch raw.Statement.Kind() {
	case '{':
		d.Statement = make([]rawStatement, 1)
		return json.Unmarshal(raw.Statement, &d.Statement[0], json.RejectUnknownMembers(true))
	case '[':
		return json.Unmarshal(raw.Statement, &d.Statement, json.RejectUnknownMembers(true))
	}
	return errors.New("the policy needs a Statement")
}

// stringList is a string or a list of strings.
type stringList []string

func (l *stringList) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() == '[' {
		return json.UnmarshalDecode(in, (*[]string)(l))
	}
	var s string
	if in.PeekKind() != '"' {
		return errors.New("expected a string or a list of strings")
	}
	err := json.UnmarshalDecode(in, &s)
	*l = stringList{s}
	return err
}

// valueList is what stands behind a condition key: strings, numbers and
// booleans, alone or in a list.
type valueList []string

func (l *valueList) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	list := in.PeekKind() == '['
	if list {
		if _, err := in.ReadToken(); err != nil {
			return err
		}
	}
	*l = valueList{}
	for !list || in.PeekKind() != ']' {
		t, err := in.ReadToken()
		if err != nil {
			return err
		}
		switch t.Kind() {
		case '"', '0', 't', 'f':
			*l = append(*l, t.String())
		default:
			return errors.New("the value of a condition must be a string, a number or a boolean")
		}
		if !list {
			return nil
		}
	}
	_, err := in.ReadToken()
	return err
}

type principals []PrincipalPattern

func (p *principals) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() == '"' {
		t, err := in.ReadToken()
		if err == nil && t.String() != "*" {
			err = errors.New(`a Principal is "*" or an object such as {"AWS": "123456789012"}`)
		}
		*p = principals{{"*", "*"}}
		return err
	}
	var m map[string]stringList
	if err := json.UnmarshalDecode(in, &m); err != nil {
		return err
	}
	for _, typ := range []string{"AWS", "Service", "CanonicalUser", "Federated"} {
		for _, v := range m[typ] {
			if v == "" || strings.ContainsAny(v, "*?") && (typ != "AWS" || v != "*") {
				return fmt.Errorf("invalid principal %q of type %s: wildcards cannot stand for part of a principal", v, typ)
			}
			*p = append(*p, PrincipalPattern{typ, v})
		}
		delete(m, typ)
	}
	for typ := range m {
		return fmt.Errorf("unknown type of principal %q", typ)
	}
	if len(*p) == 0 {
		return errors.New("the Principal names nobody")
	}
	return nil
}

func parse(text []byte, k kind) (*Policy, error) {
	if len(text) > maxPolicy {
		return nil, fmt.Errorf("the policy is longer than %d bytes", maxPolicy)
	}
	var d document
	if err := json.Unmarshal(text, &d, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reading the policy: %w", plain(err))
	}
	p := &Policy{text: string(text), version: d.Version}
	switch d.Version {
	case version2012, version2008:
	case "":
		p.version = version2008
	default:
		return nil, fmt.Errorf("the Version %q is neither %s nor %s", d.Version, version2012, version2008)
	}
	if len(d.Statement) == 0 {
		return nil, errors.New("the policy has no statement")
	}
	for i := range d.Statement {
		s, err := compile(&d.Statement[i], k, p.version == version2012)
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		p.statements = append(p.statements, s)
	}
	return p, nil
}

// statement is a Statement ready to evaluate.
type statement struct {
	Statement
	actions    []template // lower case
	resources  []arnPattern
	conditions []condition
}

func compile(raw *rawStatement, k kind, variables bool) (*statement, error) {
	s := &statement{Statement: Statement{Sid: raw.Sid}}
	switch raw.Effect {
	case "Allow":
		s.Effect = Allow
	case "Deny":
		s.Effect = ExplicitDeny
	default:
		return nil, fmt.Errorf("the Effect must be Allow or Deny, not %q", raw.Effect)
	}
	var err error
	if s.Actions, s.NotAction, err = either("Action", raw.Action, raw.NotAction); err != nil {
		return nil, err
	}
	if k == trust {
		if raw.Resource != nil || raw.NotResource != nil {
			return nil, errors.New("a trust policy has no Resource: it is the role that the policy belongs to")
		}
		raw.Resource = stringList{"*"}
	}
	if s.Resources, s.NotResource, err = either("Resource", raw.Resource, raw.NotResource); err != nil {
		return nil, err
	}
	switch {
	case k == identity && (raw.Principal != nil || raw.NotPrincipal != nil):
		return nil, errors.New("an identity policy has no Principal: it applies to whom it is attached to")
	case k != identity:
		if s.Principals, s.NotPrincipal, err = either("Principal", raw.Principal, raw.NotPrincipal); err != nil {
			return nil, err
		}
	}
	for _, a := range s.Actions {
		if !validAction(a) {
			return nil, fmt.Errorf("the action %q is not of the form service:Operation", a)
		}
		// Actions have no variables, and compare without case.
		t, err := parseTemplate(strings.ToLower(a), false)
		if err != nil {
			return nil, err
		}
		if k == trust && a != "*" && !strings.HasPrefix(strings.ToLower(a), "sts:") {
			return nil, fmt.Errorf("the action %q is not one of sts, which alone stand in a trust policy", a)
		}
		s.actions = append(s.actions, t)
	}
	for _, r := range s.Resources {
		p, err := parseARNPattern(r, variables)
		if err != nil {
			return nil, fmt.Errorf("the resource %q: %w", r, err)
		}
		s.resources = append(s.resources, p.completed())
	}
	for operator, keys := range raw.Condition {
		for key, values := range keys {
			s.Conditions = append(s.Conditions, Condition{operator, key, values})
		}
	}
	slices.SortFunc(s.Conditions, func(a, b Condition) int {
		if n := strings.Compare(a.Operator, b.Operator); n != 0 {
			return n
		}
		return strings.Compare(a.Key, b.Key)
	})
	for _, c := range s.Conditions {
		compiled, err := compileCondition(c, variables)
		if k != resource {
			if err == nil && !knownKey(c.Key) && !(k == trust && claimKey(c.Key)) {
				err = fmt.Errorf("the condition key %q is not known here and would never match", c.Key)
			}
			if err != nil {
				return nil, err
			}
		}
		compiled.unknown = err != nil
		s.conditions = append(s.conditions, compiled)
	}
	return s, nil
}

// either picks the one of two elements that stands in the statement.
func either[T any](name string, yes, no []T) ([]T, bool, error) {
	if (yes != nil) == (no != nil) {
		return nil, false, fmt.Errorf("a statement needs either %s or Not%s", name, name)
	}
	list := yes
	if no != nil {
		list = no
	}
	if len(list) == 0 {
		return nil, false, fmt.Errorf("the list in %s is empty", name)
	}
	return list, no != nil, nil
}

func validAction(a string) bool {
	if a == "*" {
		return true
	}
	service, operation, ok := strings.Cut(a, ":")
	letters := func(s string) bool {
		return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '*' && r != '?'
		})
	}
	return ok && letters(service) && letters(operation)
}

// claimKey says whether a condition key is a claim of a web identity's token:
// the issuer without its scheme, a colon, the claim.
func claimKey(key string) bool {
	i := strings.LastIndexByte(key, ':')
	return i > 0 && (key[:i] == "localhost" || strings.ContainsAny(key[:i], ".:")) && slices.Contains([]string{"aud", "sub", "amr"}, strings.ToLower(key[i+1:]))
}

// knownKey says whether something in the house fills the condition key
// (A-12, and the keys of the bucket service). Names compare without case.
func knownKey(key string) bool {
	key = strings.ToLower(key)
	if name, tag, ok := strings.Cut(key, "/"); ok {
		return tag != "" && slices.Contains([]string{"aws:principaltag", "aws:resourcetag", "aws:requesttag", "iam:resourcetag"}, name)
	}
	switch key {
	case "aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principaltype", "aws:principalisawsservice",
		"aws:principalservicename", "aws:sourceip", "aws:currenttime", "aws:epochtime", "aws:securetransport", "aws:sourceaccount",
		"aws:sourcearn", "aws:tagkeys", "aws:multifactorauthpresent", "aws:userid", "aws:username", "aws:useragent", "aws:referer",
		"aws:principalorgpaths", "aws:tokenissuetime", "aws:federatedprovider", "aws:sourceidentity",
		"sts:externalid", "sts:rolesessionname", "sts:sourceidentity", "sts:transitivetagkeys",
		"iam:policyarn", "iam:permissionsboundary",
		"acm-pca:templatearn",
		"s3:x-amz-acl", "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id", "s3:x-amz-copy-source",
		"s3:x-amz-metadata-directive", "s3:x-amz-storage-class", "s3:x-amz-content-sha256", "s3:object-lock-mode",
		"s3:object-lock-retain-until-date", "s3:if-match", "s3:if-none-match", "s3:prefix", "s3:delimiter", "s3:max-keys",
		"s3:authtype", "s3:signatureversion", "s3:signatureage":
		return true
	}
	return false
}

// MarshalJSON gives the document back.
func (p *Policy) MarshalJSON() ([]byte, error) { return bytes.Clone([]byte(p.text)), nil }
