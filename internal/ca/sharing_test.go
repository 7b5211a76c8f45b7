package ca

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

const (
	owner    = "123456789012"
	stranger = "111122223333"
)

// principal is a user with one identity policy.
func principal(t testing.TB, account, name, statements string) *iam.Principal {
	t.Helper()
	p, err := iam.ParsePolicy([]byte(`{"Version":"2012-10-17","Statement":[` + statements + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	return &iam.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: "AIDA" + name, Policies: []*iam.Policy{p}}
}

const allowAll = `{"Effect":"Allow","Action":"*","Resource":"*"}`

// as makes the calls of the house those of a principal.
func (h *house) as(p *iam.Principal) {
	h.Caller = func(context.Context) Caller {
		return Caller{Account: p.Account, ARN: p.ARN, Service: p.Service, Principal: p, Conditions: map[string][]string{"aws:SourceIp": {"192.0.2.1"}}}
	}
}

func (h *house) put(ca, policy string) error {
	_, err := h.PutPolicy(context.Background(), &pca.PutPolicyRequest{ResourceArn: ca, Policy: policy})
	return err
}

func (h *house) tag(t *testing.T, ca string, tags ...pca.Tag) {
	t.Helper()
	if _, err := h.TagCertificateAuthority(t.Context(), &pca.TagCertificateAuthorityRequest{CertificateAuthorityArn: ca, Tags: tags}); err != nil {
		t.Fatal(err)
	}
}

func pointer(s string) *string { return &s }

// statement is one statement of a CA's policy; what is empty is AWS's usual.
type statement struct{ effect, principal, action, resource, condition, more string }

func (s statement) policy(ca string) string {
	or := func(text, usual string) string {
		if text == "" {
			return usual
		}
		return text
	}
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"` + or(s.effect, "Allow") + `","Principal":` + or(s.principal, `{"AWS":"`+stranger+`"}`) +
		`,"Action":` + or(s.action, `"acm-pca:GetCertificate"`) + `,"Resource":` + or(s.resource, `"`+ca+`"`)
	if s.condition != "" {
		text += `,"Condition":` + s.condition
	}
	return text + s.more + `}]}`
}

// TestPolicyForm is the table of access.md 4.2.
func TestPolicyForm(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.as(principal(t, owner, "admin", allowAll))
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	root := func(name string) string {
		return `{"StringEquals":{"acm-pca:TemplateArn":"arn:aws:acm-pca:::template/` + name + `/V1"}}`
	}
	good := map[string]string{
		"as AWS writes it":   sharePolicy(ca, stranger),
		"old version":        strings.Replace(statement{}.policy(ca), "2012-10-17", "2008-10-17", 1),
		"all resources":      statement{resource: `"*"`}.policy(ca),
		"in any case":        statement{action: `"ACM-PCA:getcertificate"`}.policy(ca),
		"revocation":         statement{action: `["acm-pca:RevokeCertificate","acm-pca:IssueCertificate"]`}.policy(ca),
		"root of account":    statement{principal: `{"AWS":"arn:aws:iam::` + stranger + `:root"}`}.policy(ca),
		"user and role":      statement{principal: `{"AWS":["arn:aws:iam::` + stranger + `:user/a/b","arn:aws:iam::` + stranger + `:role/r"]}`}.policy(ca),
		"service":            statement{principal: `{"Service":"network-firewall.amazonaws.com"}`, condition: `{"ArnEquals":{"aws:SourceArn":"arn:aws:network-firewall:us-east-1:` + owner + `:tls/x"}}`}.policy(ca),
		"organization":       statement{principal: `"*"`, condition: `{"StringEquals":{"aws:PrincipalOrgID":"o-a1b2c3"},"StringNotEquals":{"aws:PrincipalAccount":"` + owner + `"}}`}.policy(ca),
		"part of one":        statement{principal: `{"AWS":"*"}`, condition: `{"ForAnyValue:StringLike":{"aws:PrincipalOrgPaths":"o-a1b2c3/r-x/ou-y/*"}}`}.policy(ca),
		"deny":               statement{effect: "Deny", principal: `"*"`, action: `["acm-pca:IssueCertificate"]`, condition: root("RootCACertificate")}.policy(ca),
		"all but one":        statement{action: `"acm-pca:IssueCertificate"`, condition: `{"StringNotEquals":{"acm-pca:TemplateArn":"arn:aws:acm-pca:::template/CodeSigningCertificate/V1"}}`}.policy(ca),
		"many conditions":    statement{condition: `{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"},"StringEquals":{"aws:PrincipalTag/team":"pki"},"Bool":{"aws:SecureTransport":"true"}}`}.policy(ca),
		"as long as it gets": statement{}.policy(ca)[:len(statement{}.policy(ca))-1] + strings.Repeat(" ", 81920-len(statement{}.policy(ca))) + "}",
	}
	for name, policy := range good {
		if err := h.put(ca, policy); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out, err := h.GetPolicy(t.Context(), &pca.GetPolicyRequest{ResourceArn: ca}); err != nil || out.Policy != policy {
			t.Errorf("%s: GetPolicy gives %v, %v", name, out, err)
		}
	}
	bad := map[string]string{
		"no JSON":               "policy",
		"no statement":          `{"Version":"2012-10-17","Statement":[]}`,
		"no version":            strings.Replace(statement{}.policy(ca), `"Version":"2012-10-17",`, "", 1),
		"other version":         strings.Replace(statement{}.policy(ca), "2012-10-17", "2020-01-01", 1),
		"unknown element":       statement{more: `,"Conditions":{}`}.policy(ca),
		"no principal":          strings.Replace(statement{}.policy(ca), `"Principal":{"AWS":"`+stranger+`"},`, "", 1),
		"report":                statement{action: `"acm-pca:CreateCertificateAuthorityAuditReport"`}.policy(ca),
		"report status":         statement{action: `["acm-pca:GetCertificate","acm-pca:DescribeCertificateAuthorityAuditReport"]`}.policy(ca),
		"CSR":                   statement{action: `"acm-pca:GetCertificateAuthorityCsr"`}.policy(ca),
		"wildcard":              statement{action: `"acm-pca:Get*"`}.policy(ca),
		"everything":            statement{action: `"*"`}.policy(ca),
		"not action":            strings.Replace(statement{}.policy(ca), `"Action"`, `"NotAction"`, 1),
		"other service":         statement{action: `"s3:GetObject"`}.policy(ca),
		"other CA":              statement{resource: `"` + ca[:len(ca)-1] + `x"`}.policy(ca),
		"certificate":           statement{resource: `"` + ca + `/certificate/01"`}.policy(ca),
		"two resources":         statement{resource: `["` + ca + `","arn:aws:s3:::b"]`}.policy(ca),
		"everybody":             statement{principal: `"*"`}.policy(ca),
		"every account":         statement{principal: `{"AWS":"*"}`}.policy(ca),
		"everybody but":         statement{principal: `"*"`, condition: `{"StringNotEquals":{"aws:PrincipalAccount":"` + owner + `"}}`}.policy(ca),
		"any organization":      statement{principal: `"*"`, condition: `{"StringLike":{"aws:PrincipalOrgID":"*"}}`}.policy(ca),
		"one's own account":     statement{principal: `"*"`, condition: `{"StringEquals":{"aws:PrincipalAccount":"${aws:PrincipalAccount}"}}`}.policy(ca),
		"if there is one":       statement{principal: `"*"`, condition: `{"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-a1b2c3"}}`}.policy(ca),
		"one or any":            statement{principal: `"*"`, condition: `{"StringEquals":{"aws:PrincipalAccount":["` + stranger + `","*"]}}`}.policy(ca),
		"address alone":         statement{principal: `"*"`, condition: `{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`}.policy(ca),
		"not principal":         strings.Replace(statement{effect: "Deny"}.policy(ca), `"Principal"`, `"NotPrincipal"`, 1),
		"other partition":       statement{principal: `{"AWS":"arn:aws-cn:iam::` + stranger + `:root"}`}.policy(ca),
		"session":               statement{principal: `{"AWS":"arn:aws:sts::` + stranger + `:assumed-role/r/s"}`}.policy(ca),
		"federation":            statement{principal: `{"Federated":"accounts.google.com"}`}.policy(ca),
		"root template":         statement{action: `"acm-pca:IssueCertificate"`, condition: root("RootCACertificate")}.policy(ca),
		"blank root template":   statement{action: `"acm-pca:IssueCertificate"`, condition: root("BlankRootCACertificate_PathLen1_APIPassthrough")}.policy(ca),
		"root templates":        statement{action: `"acm-pca:IssueCertificate"`, condition: `{"ArnLike":{"acm-pca:TemplateArn":["arn:aws:acm-pca:::template/EndEntityCertificate/V1","arn:aws:acm-pca:::template/Root*"]}}`}.policy(ca),
		"unknown key":           statement{condition: `{"StringEquals":{"aws:PrincipalColour":"red"}}`}.policy(ca),
		"key of another":        statement{condition: `{"StringEquals":{"s3:prefix":"x"}}`}.policy(ca),
		"unknown operator":      statement{condition: `{"StringResembles":{"aws:username":"x"}}`}.policy(ca),
		"value not of the type": statement{condition: `{"Bool":{"aws:SecureTransport":"perhaps"}}`}.policy(ca),
		"deny of more":          statement{effect: "Deny", action: `"acm-pca:DeleteCertificateAuthority"`}.policy(ca),
		"deny of another's":     statement{effect: "Deny", action: `"acm-pca:PutPolicy"`}.policy(ca),
	}
	if err := h.put(ca, good["as AWS writes it"]); err != nil {
		t.Fatal(err)
	}
	for name, policy := range bad {
		err := h.put(ca, policy)
		if e, ok := err.(*pca.Error); !ok || e.Code != pca.InvalidPolicyException {
			t.Errorf("%s: %v, want an InvalidPolicyException", name, err)
		}
	}
	for name, deny := range map[string]statement{
		"to the caller":  {effect: "Deny", principal: `{"AWS":"arn:aws:iam::` + owner + `:user/admin"}`, action: `"acm-pca:DeletePolicy"`},
		"to the account": {effect: "Deny", principal: `{"AWS":"` + owner + `"}`, action: `"acm-pca:*"`},
		"to everybody":   {effect: "Deny", principal: `"*"`, action: `["acm-pca:GetCertificate","acm-pca:GetPolicy"]`},
	} {
		err := h.put(ca, deny.policy(ca))
		if e, ok := err.(*pca.Error); !ok || e.Code != pca.LockoutPreventedException {
			t.Errorf("a lockout %s: %v", name, err)
		}
	}
	if out, err := h.GetPolicy(t.Context(), &pca.GetPolicyRequest{ResourceArn: ca}); err != nil || out.Policy != good["as AWS writes it"] {
		t.Errorf("after refused policies there is %v, %v", out, err)
	}
	for range 2 { // the second finds none
		if _, err := h.DeletePolicy(t.Context(), &pca.DeletePolicyRequest{ResourceArn: ca}); err != nil {
			t.Error(err)
		}
	}
	_, err := h.GetPolicy(t.Context(), &pca.GetPolicyRequest{ResourceArn: ca})
	wantCode(t, err, pca.ResourceNotFoundException)
	if err != nil && !strings.Contains(err.Error(), "Could not find policy for resource "+ca+".") {
		t.Error(err)
	}

	h.StrictAWS2023 = true
	for name, policy := range good {
		if err := h.put(ca, policy); (err == nil) != (name == "as AWS writes it") {
			t.Errorf("in the form of 2023, %s: %v", name, err)
		}
	}
}

// TestAuthorize goes through who may do what with a shared CA.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.as(principal(t, owner, "admin", allowAll))
	shared, private := h.create(t, pca.CertificateAuthorityType_ROOT), h.create(t, pca.CertificateAuthorityType_ROOT)
	missing := private[:len(private)-12] + "0123456789ab"
	h.tag(t, shared, pca.Tag{Key: "env", Value: pointer("prod")})
	policy := `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"` + stranger + `"},"Action":["acm-pca:GetCertificate","acm-pca:DescribeCertificateAuthority","acm-pca:RevokeCertificate","acm-pca:IssueCertificate"],"Resource":"` + shared + `"},
		{"Effect":"Allow","Principal":{"AWS":"` + stranger + `"},"Action":"acm-pca:IssueCertificate","Resource":"*","Condition":{"StringLike":{"acm-pca:TemplateArn":"*/*C*/V1"}}},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + owner + `:user/guest"},"Action":"acm-pca:ListTags","Resource":"` + shared + `"},
		{"Effect":"Deny","Principal":"*","Action":"acm-pca:RevokeCertificate","Resource":"` + shared + `","Condition":{"StringNotEquals":{"aws:PrincipalAccount":"` + owner + `"}}}]}`
	if err := h.put(shared, policy); err != nil {
		t.Fatal(err)
	}
	if _, err := h.CreatePermission(t.Context(), &pca.CreatePermissionRequest{CertificateAuthorityArn: shared, Principal: acmPrincipal, Actions: []pca.ActionType{"IssueCertificate", "GetCertificate"}}); err != nil {
		t.Fatal(err)
	}
	admin, foreign := principal(t, owner, "admin", allowAll), principal(t, stranger, "admin", allowAll)
	guest, nobody := principal(t, owner, "guest", `{"Effect":"Allow","Action":"sts:*","Resource":"*"}`), principal(t, stranger, "nobody", `{"Effect":"Allow","Action":"sts:*","Resource":"*"}`)
	byTag := principal(t, owner, "tagged", `{"Effect":"Allow","Action":"acm-pca:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/env":"prod"}}}`)
	denied := principal(t, owner, "denied", allowAll+`,{"Effect":"Deny","Action":"acm-pca:GetCertificate","Resource":"*"}`)
	acm := &iam.Principal{Service: acmPrincipal, ARN: acmPrincipal, Account: owner}
	acmElsewhere := &iam.Principal{Service: acmPrincipal, ARN: acmPrincipal, Account: stranger}
	acmFor := &iam.Principal{Service: acmPrincipal, ARN: acmPrincipal, Account: owner, Context: map[string][]string{"aws:SourceAccount": {stranger}}}
	other := &iam.Principal{Service: "other.amazonaws.com", ARN: "other.amazonaws.com", Account: owner}
	const leaf = "EndEntityCertificate"
	for _, c := range []struct {
		who               *iam.Principal
		action, ca, templ string
		want              iam.Decision
		why               iam.Reason
	}{
		{admin, "DeleteCertificateAuthority", shared, "", iam.Allow, iam.Allowed},
		{admin, "DeleteCertificateAuthority", missing, "", iam.Allow, iam.Allowed}, // and then it is not found
		{admin, "IssueCertificate", shared, "RootCACertificate", iam.Allow, iam.Allowed},
		{guest, "ListTags", shared, "", iam.Allow, iam.Allowed}, // the policy adds
		{guest, "GetCertificate", shared, "", iam.ImplicitDeny, iam.NoIdentityAllow},
		{denied, "GetCertificate", shared, "", iam.ExplicitDeny, iam.IdentityDeny},
		{denied, "RevokeCertificate", shared, "", iam.Allow, iam.Allowed},
		{byTag, "PutPolicy", shared, "", iam.Allow, iam.Allowed},
		{byTag, "PutPolicy", private, "", iam.ImplicitDeny, iam.NoIdentityAllow},
		{byTag, "PutPolicy", missing, "", iam.ImplicitDeny, iam.NoIdentityAllow},

		{foreign, "GetCertificate", shared, "", iam.Allow, iam.Allowed},
		{nobody, "GetCertificate", shared, "", iam.ImplicitDeny, iam.NoIdentityAllow}, // both must allow
		{foreign, "GetCertificate", private, "", iam.ImplicitDeny, iam.NoResourceAllow},
		{foreign, "GetCertificate", missing, "", iam.ImplicitDeny, iam.NoResourceAllow}, // the same as of one that is there
		{foreign, "RevokeCertificate", shared, "", iam.ExplicitDeny, iam.ResourceDeny},
		{foreign, "GetCertificateAuthorityCsr", shared, "", iam.ImplicitDeny, iam.NoResourceAllow},
		{foreign, "CreateCertificateAuthorityAuditReport", shared, "", iam.ImplicitDeny, iam.NoResourceAllow},
		{foreign, "DescribeCertificateAuthorityAuditReport", shared, "", iam.ImplicitDeny, iam.NoResourceAllow},
		// Without a template in the statement the classic six; others where a
		// statement names them; roots never (T-85).
		{foreign, "IssueCertificate", shared, leaf, iam.Allow, iam.Allowed},
		{foreign, "IssueCertificate", shared, "SubordinateCACertificate_PathLen0", iam.Allow, iam.Allowed},
		{foreign, "IssueCertificate", shared, "OCSPSigningCertificate", iam.Allow, iam.Allowed},
		{foreign, "IssueCertificate", shared, "RootCACertificate", iam.ImplicitDeny, iam.NoResourceAllow},
		{foreign, "IssueCertificate", private, leaf, iam.ImplicitDeny, iam.NoResourceAllow},

		{acm, "IssueCertificate", shared, leaf, iam.Allow, iam.Allowed},
		{acm, "GetCertificate", shared, "", iam.Allow, iam.Allowed},
		{acm, "ListPermissions", shared, "", iam.ImplicitDeny, iam.NoResourceAllow},
		{acm, "GetCertificate", private, "", iam.ImplicitDeny, iam.NoResourceAllow},
		{acm, "IssueCertificate", shared, "RootCACertificate", iam.ImplicitDeny, iam.NoResourceAllow},
		{acmElsewhere, "GetCertificate", shared, "", iam.ImplicitDeny, iam.NoResourceAllow},
		{acmFor, "GetCertificate", shared, "", iam.ImplicitDeny, iam.NoResourceAllow},
		{other, "GetCertificate", shared, "", iam.ImplicitDeny, iam.NoResourceAllow},
	} {
		r := &iam.Request{Principal: c.who, Action: "acm-pca:" + c.action, Resource: c.ca, Context: map[string][]string{}}
		if c.templ != "" {
			r.Context[templateKey] = []string{"arn:aws:acm-pca:::template/" + c.templ + "/V1"}
		}
		before := maps.Clone(r.Context)
		d, why, err := h.Authorize(t.Context(), r, owner)
		if err != nil || d != c.want || why != c.why {
			t.Errorf("%s %s of %s on %s: %v, %v (%v), want %v, %v", c.who.ARN, c.action, c.templ, c.ca, d, why, err, c.want, c.why)
		}
		if len(before) != len(r.Context) {
			t.Errorf("the request's conditions were changed: %v", r.Context)
		}
	}

	issue := func(template string) iam.Decision {
		t.Helper()
		d, _, err := h.Authorize(t.Context(), &iam.Request{Principal: foreign, Action: issueAction, Resource: shared,
			Context: map[string][]string{templateKey: {"arn:aws:acm-pca:::template/" + template + "/V1"}}}, owner)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	h.CrossAccountClassicSix = true
	if issue("OCSPSigningCertificate") == iam.Allow || issue(leaf) != iam.Allow {
		t.Error("the setting of the classic six does not count")
	}
	h.CrossAccountClassicSix = false
	if err := h.put(shared, statement{action: `["acm-pca:GetCertificate","acm-pca:IssueCertificate"]`}.policy(shared)); err != nil {
		t.Fatal(err)
	}
	classic := 0
	for _, name := range []string{"EndEntityCertificate", "EndEntityClientAuthCertificate", "EndEntityServerAuthCertificate", "BlankEndEntityCertificate_APIPassthrough", "BlankEndEntityCertificate_APICSRPassthrough", "SubordinateCACertificate_PathLen0"} {
		if issue(name) == iam.Allow {
			classic++
		}
	}
	if classic != 6 || issue("OCSPSigningCertificate") == iam.Allow || issue("SubordinateCACertificate_PathLen1") == iam.Allow {
		t.Errorf("without a template in the policy %d of the classic six can be used, and others", classic)
	}
	// It ends with the policy, and with the CA.
	if err := h.remove(shared, 7); err != nil {
		t.Fatal(err)
	}
	if issue(leaf) != iam.Allow {
		t.Error("the operation should refuse a deleted CA, not the policy")
	}
	h.pass(7 * day)
	if issue(leaf) == iam.Allow {
		t.Error("the policy of a CA that is gone still counts")
	}
}

// TestListShared: OTHER_ACCOUNTS are the CAs whose policy grants the caller anything.
func TestListShared(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	admin := principal(t, owner, "admin", allowAll)
	h.as(admin)
	var want []string
	for i, policy := range []func(ca string) string{
		func(ca string) string { return sharePolicy(ca, stranger) },
		nil,
		func(ca string) string { return sharePolicy(ca, "999988887777") },
		func(ca string) string {
			return statement{action: `"acm-pca:IssueCertificate"`, condition: `{"StringEquals":{"acm-pca:TemplateArn":"arn:aws:acm-pca:::template/OCSPSigningCertificate/V1"}}`}.policy(ca)
		},
		func(ca string) string {
			return statement{principal: `{"AWS":"arn:aws:iam::` + stranger + `:user/other"}`}.policy(ca)
		},
		func(ca string) string { return statement{effect: "Deny"}.policy(ca) },
		func(ca string) string {
			return statement{principal: `{"AWS":"arn:aws:iam::` + stranger + `:user/admin"}`}.policy(ca)
		},
		func(ca string) string {
			return statement{condition: `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`}.policy(ca)
		},
		func(ca string) string { return sharePolicy(ca, stranger) }, // deleted below, and gone
	} {
		ca := h.create(t, pca.CertificateAuthorityType_ROOT)
		h.pass(time.Second)
		if policy != nil {
			if err := h.put(ca, policy(ca)); err != nil {
				t.Fatal(err)
			}
		}
		switch i {
		case 0, 3, 6:
			want = append(want, ca)
		case 8:
			if err := h.remove(ca, 7); err != nil {
				t.Fatal(err)
			}
		}
	}
	h.pass(8 * day)
	list := func(owner pca.ResourceOwner, max int32) (arns []string) {
		t.Helper()
		in := &pca.ListCertificateAuthoritiesRequest{ResourceOwner: owner, MaxResults: max}
		for {
			out, err := h.ListCertificateAuthorities(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range out.CertificateAuthorities {
				arns = append(arns, c.Arn)
			}
			if in.NextToken = out.NextToken; in.NextToken == "" {
				return arns
			}
		}
	}
	if got := list(pca.ResourceOwner_OTHER_ACCOUNTS, 0); len(got) != 0 {
		t.Errorf("the owner is shown %v as of others", got)
	}
	h.as(principal(t, stranger, "admin", allowAll))
	for _, max := range []int32{0, 1, 2, 1000} {
		if got := list(pca.ResourceOwner_OTHER_ACCOUNTS, max); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d a page, others share %v, want %v", max, got, want)
		}
	}
	if got := list("", 0); len(got) != 0 {
		t.Errorf("the stranger owns %v", got)
	}
}

// TestPermissions are.
func TestPermissions(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.PermissionPrincipals = append(h.PermissionPrincipals, "mesh.example.com")
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	before := h.describe(t, ca)
	h.pass(time.Second)
	create := func(principal, account string, actions ...pca.ActionType) error {
		_, err := h.CreatePermission(t.Context(), &pca.CreatePermissionRequest{CertificateAuthorityArn: ca, Principal: principal, SourceAccount: account, Actions: actions})
		return err
	}
	remove := func(principal, account string) error {
		_, err := h.DeletePermission(t.Context(), &pca.DeletePermissionRequest{CertificateAuthorityArn: ca, Principal: principal, SourceAccount: account})
		return err
	}
	for _, err := range []error{
		create("mesh.example.com", "", "ListPermissions"),
		create(acmPrincipal, "", "IssueCertificate", "GetCertificate", "IssueCertificate"),
		create(acmPrincipal, stranger, "GetCertificate"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, create(acmPrincipal, owner, "ListPermissions"), pca.PermissionAlreadyExistsException)
	wantCode(t, create("ec2.amazonaws.com", "", "GetCertificate"), pca.ValidationException)
	list := func(in *pca.ListPermissionsRequest) *pca.ListPermissionsResponse {
		t.Helper()
		in.CertificateAuthorityArn = ca
		out, err := h.ListPermissions(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := list(&pca.ListPermissionsRequest{})
	if len(all.Permissions) != 3 || all.NextToken != "" {
		t.Fatalf("the permissions are %+v", all)
	}
	p := all.Permissions[1]
	if p.Principal != acmPrincipal || p.SourceAccount != owner || fmt.Sprint(p.Actions) != "[IssueCertificate GetCertificate]" || p.CertificateAuthorityArn != ca || p.CreatedAt == nil ||
		p.Policy != `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Resource":"`+ca+`","Principal":{"Service":"acm.amazonaws.com"},"Action":["acm-pca:IssueCertificate","acm-pca:GetCertificate"],"Condition":{"StringEquals":{"aws:SourceAccount":"`+owner+`"}}}]}` {
		t.Errorf("a permission reads %+v", p)
	}
	// Pages go on behind what was shown, whatever comes or goes meanwhile.
	first := list(&pca.ListPermissionsRequest{MaxResults: 1})
	if len(first.Permissions) != 1 || first.Permissions[0].SourceAccount != stranger {
		t.Fatalf("the first page is %+v", first)
	}
	if err := remove(acmPrincipal, stranger); err != nil {
		t.Fatal(err)
	}
	if rest := list(&pca.ListPermissionsRequest{NextToken: first.NextToken}); len(rest.Permissions) != 2 || rest.NextToken != "" {
		t.Errorf("the rest is %+v", rest)
	}
	_, err := h.ListTags(t.Context(), &pca.ListTagsRequest{CertificateAuthorityArn: ca, NextToken: first.NextToken})
	wantCode(t, err, pca.InvalidNextTokenException)
	wantCode(t, remove(acmPrincipal, stranger), pca.ResourceNotFoundException)
	if err := remove(acmPrincipal, ""); err != nil {
		t.Error(err)
	}
	if after := h.describe(t, ca); *after.LastStateChangeAt != *before.LastStateChangeAt {
		t.Error("a permission counts as a change of the CA")
	}
}

// TestTags are.
func TestTags(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ca := h.create(t, pca.CertificateAuthorityType_ROOT)
	before := h.describe(t, ca)
	h.pass(time.Second)
	tag := func(tags ...pca.Tag) error {
		_, err := h.TagCertificateAuthority(t.Context(), &pca.TagCertificateAuthorityRequest{CertificateAuthorityArn: ca, Tags: tags})
		return err
	}
	untag := func(tags ...pca.Tag) error {
		_, err := h.UntagCertificateAuthority(t.Context(), &pca.UntagCertificateAuthorityRequest{CertificateAuthorityArn: ca, Tags: tags})
		return err
	}
	want := func(want string) {
		t.Helper()
		out, err := h.ListTags(t.Context(), &pca.ListTagsRequest{CertificateAuthorityArn: ca})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, tag := range out.Tags {
			got = append(got, tag.Key+"="+tagValue(tag))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("the tags are %q, want %q", s, want)
		}
	}
	want("")
	h.tag(t, ca, pca.Tag{Key: "b", Value: pointer("1")}, pca.Tag{Key: "B"}, pca.Tag{Key: "a", Value: pointer("")})
	want("B= a= b=1") // keys have their case
	h.tag(t, ca, pca.Tag{Key: "b", Value: pointer("2")})
	want("B= a= b=2")
	for _, bad := range []pca.Tag{{Key: "aws:x"}, {Key: "AWS:x"}, {Key: "rds:x"}} {
		wantCode(t, tag(pca.Tag{Key: "good"}, bad), pca.InvalidTagException)
		wantCode(t, untag(bad), pca.InvalidTagException)
	}
	wantCode(t, tag(pca.Tag{Key: "x"}, pca.Tag{Key: "x", Value: pointer("1")}), pca.InvalidTagException)
	for _, err := range []error{
		untag(pca.Tag{Key: "none"}), untag(pca.Tag{Key: "b", Value: pointer("1")}), // not this value
		untag(pca.Tag{Key: "B", Value: pointer("")}), untag(pca.Tag{Key: "a"}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want("b=2")
	var many []pca.Tag
	for i := range 50 {
		many = append(many, pca.Tag{Key: fmt.Sprintf("k%02d", i)})
	}
	wantCode(t, tag(many...), pca.TooManyTagsException)
	want("b=2") // nothing applied
	h.tag(t, ca, many[:49]...)
	h.tag(t, ca, append(many[:48:48], pca.Tag{Key: "b", Value: pointer("3")})...) // all of them are there
	wantCode(t, tag(pca.Tag{Key: "one more"}), pca.TooManyTagsException)
	first, err := h.ListTags(t.Context(), &pca.ListTagsRequest{CertificateAuthorityArn: ca, MaxResults: 20})
	if err != nil || len(first.Tags) != 20 {
		t.Fatalf("a page of 20 tags has %v, %v", first, err)
	}
	rest, err := h.ListTags(t.Context(), &pca.ListTagsRequest{CertificateAuthorityArn: ca, NextToken: first.NextToken})
	if err != nil || len(rest.Tags) != 30 || rest.Tags[0].Key != "k19" || rest.NextToken != "" {
		t.Errorf("the rest is %+v, %v", rest, err)
	}
	other := h.create(t, pca.CertificateAuthorityType_ROOT)
	for _, in := range []*pca.ListTagsRequest{
		{CertificateAuthorityArn: other, NextToken: first.NextToken},
		{CertificateAuthorityArn: ca, NextToken: first.NextToken[1:]},
	} {
		_, err := h.ListTags(t.Context(), in)
		wantCode(t, err, pca.InvalidNextTokenException)
	}
	h.as(principal(t, stranger, "admin", allowAll))
	_, err = h.ListTags(t.Context(), &pca.ListTagsRequest{CertificateAuthorityArn: ca, NextToken: first.NextToken})
	wantCode(t, err, pca.InvalidNextTokenException)
	if after := h.describe(t, ca); *after.LastStateChangeAt != *before.LastStateChangeAt {
		t.Error("a tag counts as a change of the CA")
	}
}

// BenchmarkAuthorize is the usual call: a user of the same account.
func BenchmarkAuthorize(b *testing.B) {
	s := &Service{Config: Config{Partition: "aws", Region: "us-east-1", Now: time.Now}, authorities: map[string]*authority{}}
	ca := "arn:aws:acm-pca:us-east-1:" + owner + ":certificate-authority/0a1b2c3d-0000-4000-8000-000000000000"
	a := &authority{}
	rec := &store.CertificateAuthority{ID: ca[strings.LastIndexByte(ca, '/')+1:], ARN: ca, Account: owner, Status: pca.CertificateAuthorityStatus_ACTIVE}
	view, err := s.compileAccess(rec)
	if err != nil {
		b.Fatal(err)
	}
	a.access.Store(view)
	s.authorities[rec.ID] = a
	r := &iam.Request{Principal: principal(b, owner, "admin", allowAll), Action: issueAction, Resource: ca, Context: map[string][]string{templateKey: {"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}}
	b.ReportAllocs()
	for b.Loop() {
		if d, _, err := s.Authorize(b.Context(), r, owner); d != iam.Allow || err != nil {
			b.Fatal(d, err)
		}
	}
}
