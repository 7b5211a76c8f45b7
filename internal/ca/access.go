package ca

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const (
	issueAction = "acm-pca:IssueCertificate"
	templateKey = "acm-pca:TemplateArn"
)

// shareable are the actions that a CA's policy can grant (access.md 4.2).
// Audit reports are not among them.
func shareable() []string {
	return []string{
		"acm-pca:DescribeCertificateAuthority", "acm-pca:GetCertificate", "acm-pca:GetCertificateAuthorityCertificate",
		"acm-pca:ListPermissions", "acm-pca:ListTags", issueAction, "acm-pca:RevokeCertificate",
	}
}

// access is what a CA itself says about who may do what. It does not change.
type access struct {
	rec         *store.CertificateAuthority
	policy      *iam.Policy         // in effect, which is narrower than as put (T-85); nil when none
	permissions *iam.Policy         // nil when none
	tags        map[string][]string // condition keys
}

func (s *Service) compileAccess(rec *store.CertificateAuthority) (*access, error) {
	v := &access{rec: rec}
	var err error
	if rec.Policy != "" {
		if v.policy, err = s.effectivePolicy(rec.Policy); err != nil {
			return nil, fmt.Errorf("compiling the policy: %w", err)
		}
	}
	if len(rec.Permissions) > 0 {
		var statements []string
		for i := range rec.Permissions {
			statements = append(statements, permissionStatement(rec, &rec.Permissions[i]))
		}
		if v.permissions, err = iam.ParseResourcePolicy([]byte(permissionPolicy(statements...))); err != nil {
			return nil, fmt.Errorf("compiling the permissions: %w", err)
		}
	}
	if len(rec.Tags) > 0 {
		v.tags = make(map[string][]string, len(rec.Tags))
		for _, t := range rec.Tags {
			v.tags["aws:ResourceTag/"+t.Key] = []string{tagValue(t)}
		}
	}
	return v, nil
}

// effectivePolicy is a stored policy as it is judged: a grant of
// IssueCertificate that names no template is one of the classic six (T-85).
func (s *Service) effectivePolicy(text string) (*iam.Policy, error) {
	p, err := iam.ParseResourcePolicy([]byte(text))
	if err != nil {
		return nil, err
	}
	unnamed := func(st *iam.Statement) bool {
		return slices.ContainsFunc(st.Actions, func(a string) bool { return strings.EqualFold(a, issueAction) }) &&
			!slices.ContainsFunc(st.Conditions, func(c iam.Condition) bool { return strings.EqualFold(c.Key, templateKey) })
	}
	// IfExists: the other actions of the statement have no template.
	return p.Restrict(unnamed, iam.Condition{Operator: "StringEqualsIfExists", Key: templateKey, Values: s.classic})
}

// permissionStatement is a permission as a statement of a policy: a service,
// limited to the account it works for.
func permissionStatement(rec *store.CertificateAuthority, p *store.Permission) string {
	actions := make([]string, len(p.Actions))
	for i, a := range p.Actions {
		actions[i] = pca.Service + ":" + string(a)
	}
	type object = map[string]any
	b, err := json.Marshal(struct {
		Effect, Resource string
		Principal        object
		Action           []string
		Condition        object
	}{
		Effect: "Allow", Resource: rec.ARN, Principal: object{"Service": p.Principal}, Action: actions,
		Condition: object{"StringEquals": object{"aws:SourceAccount": p.SourceAccount}},
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return string(b)
}

func permissionPolicy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// Authorize decides a request on a CA, or on * when account, which owns the
// CA, is empty: by the caller's identity policies, the CA's policy and tags,
// and for services its permissions (access.md 1 to 4). A CA that there is not is
// decided as one without any of these, so that the answer does not tell.
// Once a CA is loaded, this reads nothing from the store.
func (s *Service) Authorize(ctx context.Context, r *iam.Request, account string) (iam.Decision, iam.Reason, error) {
	if account == "" {
		d, why := iam.Authorize(r, nil, "")
		return d, why, nil
	}
	v := &access{}
	if arn, err := pca.ParseCAARN(r.Resource, s.Partition); err == nil {
		a, err := s.lookup(ctx, arn)
		if err != nil {
			return iam.ImplicitDeny, iam.NoIdentityAllow, err
		}
		if a != nil {
			if stored := a.access.Load(); !s.gone(stored.rec) {
				v = stored
			}
		}
	}
	d, why := s.decide(v, r, account)
	return d, why, nil
}

func (s *Service) decide(v *access, r *iam.Request, account string) (iam.Decision, iam.Reason) {
	service := r.Principal != nil && r.Principal.Service != ""
	q := *r
	if len(v.tags) > 0 || service {
		q.Context = maps.Clone(r.Context)
		if q.Context == nil {
			q.Context = map[string][]string{}
		}
		maps.Copy(q.Context, v.tags)
	}
	if service && r.Principal.Account != "" {
		// What the principal itself says of its source account comes first.
		q.Context["aws:SourceAccount"] = []string{r.Principal.Account}
	}
	d, why := iam.Authorize(&q, v.policy, account)
	if d == iam.ImplicitDeny && service {
		d, why = iam.Authorize(&q, v.permissions, account)
	}
	if d == iam.Allow && (service || r.Principal == nil || r.Principal.Account != account) && !s.crossAccountTemplate(&q) {
		return iam.ImplicitDeny, iam.NoResourceAllow
	}
	return d, why
}

// crossAccountTemplate says whether callers from elsewhere may use the
// template of the request: never one that makes a root (T-85).
func (s *Service) crossAccountTemplate(r *iam.Request) bool {
	arn := r.Context[templateKey]
	if !strings.EqualFold(r.Action, issueAction) || len(arn) != 1 {
		return true
	}
	t, err := issuance.LookupTemplate(arn[0], s.Partition)
	if err != nil {
		return !s.CrossAccountClassicSix
	}
	return !t.SelfSigned && (t.CrossAccount || !s.CrossAccountClassicSix)
}

// sharedWith says whether the CA's policy grants the caller anything.
func (s *Service) sharedWith(v *access, caller *Caller) bool {
	if v.policy == nil || caller.Principal == nil {
		return false
	}
	grants := func(action, template string) bool {
		r := &iam.Request{Principal: caller.Principal, Action: action, Resource: v.rec.ARN, Context: maps.Clone(caller.Conditions)}
		if r.Context == nil {
			r.Context = map[string][]string{}
		}
		maps.Copy(r.Context, v.tags)
		if template != "" {
			r.Context[templateKey] = []string{template}
		}
		return v.policy.Evaluate(r) == iam.Allow && s.crossAccountTemplate(r)
	}
	for _, action := range shareable() {
		if action != issueAction && grants(action, "") {
			return true
		}
	}
	return slices.ContainsFunc(issuance.Templates(s.Partition), func(t string) bool { return grants(issueAction, t) })
}
