package iam

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

const (
	owner  = "111122223333"
	other  = "444455556666"
	caARN  = "arn:aws:acm-pca:us-east-1:111122223333:certificate-authority/11223344-1234-1122-2233-112233445566"
	pcaSvc = "acm-pca.amazonaws.com"
)

func user(account, name string, policies ...string) *Principal {
	p := &Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: "AIDA" + strings.ToUpper(name), CanonicalUser: "canonical" + account}
	for _, text := range policies {
		policy, err := ParsePolicy([]byte(text))
		if err != nil {
			panic(err)
		}
		p.Policies = append(p.Policies, policy)
	}
	return p
}

// policy wraps statements into a document.
func policy(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

func resourcePolicy(t testing.TB, statements ...string) *Policy {
	t.Helper()
	p, err := ParseResourcePolicy([]byte(policy(statements...)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const (
	allowAll = `{"Effect":"Allow","Action":"acm-pca:*","Resource":"*"}`
	denyAll  = `{"Effect":"Deny","Action":"acm-pca:*","Resource":"*"}`
)

func grant(effect, principal string) string {
	return fmt.Sprintf(`{"Effect":%q,"Principal":%s,"Action":"acm-pca:*","Resource":"*"}`, effect, principal)
}

// TestAuthorize follows "Policy evaluation logic" of the IAM user guide: one
// account, two accounts, services, explicit denies.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	me := `{"AWS":"arn:aws:iam::` + owner + `:user/me"}`
	account := `{"AWS":"` + owner + `"}`
	root := `{"AWS":"arn:aws:iam::` + owner + `:root"}`
	them := `{"AWS":"arn:aws:iam::` + other + `:root"}`
	service := &Principal{Service: pcaSvc, Context: map[string][]string{"aws:SourceAccount": {owner}}}
	session := func(policies ...string) *Principal {
		p := user(owner, "x", policies...)
		p.ARN = "arn:aws:sts::" + owner + ":assumed-role/Issuer/build-1"
		return p
	}
	for _, row := range []struct {
		name      string
		principal *Principal
		resource  []string // statements; nil: no policy
		want      Decision
		reason    Reason
	}{
		{"nothing", user(owner, "me"), nil, ImplicitDeny, NoIdentityAllow},
		{"identity", user(owner, "me", policy(allowAll)), nil, Allow, Allowed},
		{"two identity policies", user(owner, "me", policy(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`), policy(allowAll)), nil, Allow, Allowed},
		{"identity deny wins", user(owner, "me", policy(allowAll), policy(denyAll)), []string{grant("Allow", me)}, ExplicitDeny, IdentityDeny},
		{"resource deny wins", user(owner, "me", policy(allowAll)), []string{grant("Allow", me), grant("Deny", me)}, ExplicitDeny, ResourceDeny},
		{"deny for everybody", user(owner, "me", policy(allowAll)), []string{grant("Deny", `"*"`)}, ExplicitDeny, ResourceDeny},
		{"resource names the user", user(owner, "me"), []string{grant("Allow", me)}, Allow, Allowed},
		{"resource names all", user(owner, "me"), []string{grant("Allow", `"*"`)}, Allow, Allowed},
		{"resource names all AWS", user(owner, "me"), []string{grant("Allow", `{"AWS":"*"}`)}, Allow, Allowed},
		{"resource names another user", user(owner, "you"), []string{grant("Allow", me)}, ImplicitDeny, NoIdentityAllow},
		{"account delegates only", user(owner, "me"), []string{grant("Allow", account)}, ImplicitDeny, NoIdentityAllow},
		{"root ARN delegates only", user(owner, "me"), []string{grant("Allow", root)}, ImplicitDeny, NoIdentityAllow},
		{"canonical user delegates only", user(owner, "me"), []string{grant("Allow", `{"CanonicalUser":"canonical`+owner+`"}`)}, ImplicitDeny, NoIdentityAllow},
		{"a deny for the account concerns its users", user(owner, "me", policy(allowAll)), []string{grant("Deny", account)}, ExplicitDeny, ResourceDeny},
		{"root itself", &Principal{Account: owner, ARN: "arn:aws:iam::" + owner + ":root"}, []string{grant("Allow", account)}, Allow, Allowed},
		{"user by unique id", user(owner, "me"), []string{grant("Allow", `{"AWS":"AIDAME"}`)}, Allow, Allowed},

		{"cross account, identity alone", user(other, "me", policy(allowAll)), nil, ImplicitDeny, NoResourceAllow},
		{"cross account, resource alone", user(other, "me"), []string{grant("Allow", them)}, ImplicitDeny, NoIdentityAllow},
		{"cross account, resource for all alone", user(other, "me"), []string{grant("Allow", `"*"`)}, ImplicitDeny, NoIdentityAllow},
		{"cross account, both", user(other, "me", policy(allowAll)), []string{grant("Allow", them)}, Allow, Allowed},
		{"cross account, user named", user(other, "me", policy(allowAll)), []string{grant("Allow", `{"AWS":"arn:aws:iam::`+other+`:user/me"}`)}, Allow, Allowed},
		{"cross account, canonical user", user(other, "me", policy(allowAll)), []string{grant("Allow", `{"CanonicalUser":"canonical`+other+`"}`)}, Allow, Allowed},
		{"cross account, denied", user(other, "me", policy(allowAll)), []string{grant("Allow", them), grant("Deny", them)}, ExplicitDeny, ResourceDeny},

		{"role names its sessions", session(), []string{grant("Allow", `{"AWS":"arn:aws:iam::`+owner+`:role/team/Issuer"}`)}, Allow, Allowed},
		{"session by ARN", session(), []string{grant("Allow", `{"AWS":"arn:aws:sts::`+owner+`:assumed-role/Issuer/build-1"}`)}, Allow, Allowed},
		{"another session", session(), []string{grant("Allow", `{"AWS":"arn:aws:sts::`+owner+`:assumed-role/Issuer/build-2"}`)}, ImplicitDeny, NoIdentityAllow},
		{"another role", session(), []string{grant("Allow", `{"AWS":"arn:aws:iam::`+owner+`:role/Issue"}`)}, ImplicitDeny, NoIdentityAllow},
		{"role of another account", session(), []string{grant("Allow", `{"AWS":"arn:aws:iam::`+other+`:role/Issuer"}`)}, ImplicitDeny, NoIdentityAllow},

		{"service", service, []string{grant("Allow", `{"Service":"`+pcaSvc+`"}`)}, Allow, Allowed},
		{"service in a list", service, []string{grant("Allow", `{"AWS":"`+other+`","Service":["s3.amazonaws.com","`+pcaSvc+`"]}`)}, Allow, Allowed},
		{"other service", service, []string{grant("Allow", `{"Service":"s3.amazonaws.com"}`)}, ImplicitDeny, NoResourceAllow},
		{"service without policy", service, nil, ImplicitDeny, NoResourceAllow},
		{"service is no account", service, []string{grant("Allow", account)}, ImplicitDeny, NoResourceAllow},
		{"service denied with all", service, []string{grant("Allow", `{"Service":"`+pcaSvc+`"}`), grant("Deny", `"*"`)}, ExplicitDeny, ResourceDeny},
		{"user is no service", user(owner, "me"), []string{grant("Allow", `{"Service":"`+pcaSvc+`"}`)}, ImplicitDeny, NoIdentityAllow},
		{"anonymous", nil, []string{grant("Allow", `"*"`)}, Allow, Allowed},
		{"anonymous, not public", nil, []string{grant("Allow", account)}, ImplicitDeny, NoResourceAllow},
		{"federated is nobody", user(owner, "me"), []string{grant("Allow", `{"Federated":"accounts.google.com"}`)}, ImplicitDeny, NoIdentityAllow},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var p *Policy
			if row.resource != nil {
				p = resourcePolicy(t, row.resource...)
			}
			d, why := Authorize(&Request{Principal: row.principal, Action: "acm-pca:IssueCertificate", Resource: caARN}, p, owner)
			if d != row.want || why != row.reason {
				t.Errorf("got %d for reason %d, want %d for reason %d", d, why, row.want, row.reason)
			}
		})
	}
	d, _ := Authorize(&Request{Principal: user(other, "me", policy(allowAll)), Action: "acm-pca:ListCertificateAuthorities", Resource: "*"}, nil, "")
	if d != Allow {
		t.Error("an action without a resource belongs to the caller's account")
	}
}

func TestNotPrincipal(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		effect, not string
		p           *Principal
		want        Decision
	}{
		{"Deny", `{"AWS":"arn:aws:iam::` + owner + `:user/me"}`, user(owner, "me"), ImplicitDeny},
		{"Deny", `{"AWS":"arn:aws:iam::` + owner + `:user/me"}`, user(owner, "you"), ExplicitDeny},
		{"Deny", `{"AWS":"` + owner + `"}`, user(owner, "me"), ExplicitDeny},
		{"Deny", `{"AWS":"` + owner + `"}`, &Principal{Account: owner, ARN: "arn:aws:iam::" + owner + ":root"}, ImplicitDeny},
		{"Deny", `{"Service":"` + pcaSvc + `"}`, &Principal{Service: pcaSvc}, ImplicitDeny},
		{"Deny", `{"AWS":"` + owner + `"}`, &Principal{Service: pcaSvc}, ExplicitDeny},
		{"Deny", `{"AWS":"` + owner + `"}`, nil, ExplicitDeny},
		{"Allow", `{"AWS":"` + owner + `"}`, user(owner, "me"), ImplicitDeny},
		{"Allow", `{"AWS":"` + owner + `"}`, user(other, "me"), Allow},
	} {
		p := resourcePolicy(t, fmt.Sprintf(`{"Effect":%q,"NotPrincipal":%s,"Action":"*","Resource":"*"}`, row.effect, row.not))
		if got := p.Evaluate(&Request{Principal: row.p, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k"}); got != row.want {
			t.Errorf("%s unless %s, for %+v: %d, want %d", row.effect, row.not, row.p, got, row.want)
		}
	}
}

func TestActionsAndResources(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		element          string
		action, resource string
		want             bool
	}{
		{`"Action":"acm-pca:IssueCertificate","Resource":"*"`, "acm-pca:IssueCertificate", caARN, true},
		{`"Action":"ACM-PCA:issuecertificate","Resource":"*"`, "acm-pca:IssueCertificate", caARN, true},
		{`"Action":"acm-pca:Issue*","Resource":"*"`, "acm-pca:IssueCertificate", caARN, true},
		{`"Action":"acm-pca:?ssueCertificate","Resource":"*"`, "acm-pca:IssueCertificate", caARN, true},
		{`"Action":"*","Resource":"*"`, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{`"Action":"*:*","Resource":"*"`, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{`"Action":["s3:PutObject","s3:Get*"],"Resource":"*"`, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{`"Action":"acm-pca:*","Resource":"*"`, "pcaaudit:GetReport", caARN, false},
		{`"Action":"acm-pca:Get","Resource":"*"`, "acm-pca:GetPolicy", caARN, false},
		{`"NotAction":"acm-pca:Get*","Resource":"*"`, "acm-pca:GetPolicy", caARN, false},
		{`"NotAction":"acm-pca:Get*","Resource":"*"`, "acm-pca:PutPolicy", caARN, true},
		{`"NotAction":["acm-pca:Get*","acm-pca:Put*"],"Resource":"*"`, "acm-pca:PutPolicy", caARN, false},

		{`"Action":"*","Resource":"arn:aws:acm-pca:*:*:certificate-authority/*"`, "acm-pca:GetPolicy", caARN, true},
		{`"Action":"*","Resource":"arn:aws:acm-pca:*:*:certificate-authority/*"`, "acm-pca:ListCertificateAuthorities", "*", false},
		{`"Action":"*","Resource":"*"`, "acm-pca:ListCertificateAuthorities", "*", true},
		{`"Action":"*","NotResource":"arn:aws:acm-pca:*:*:certificate-authority/*"`, "acm-pca:ListCertificateAuthorities", "*", true},
		{`"Action":"*","Resource":"arn:aws:acm-pca:us-east-?:111122223333:certificate-authority/11*66"`, "acm-pca:GetPolicy", caARN, true},
		{`"Action":"*","Resource":"arn:aws:acm-pca:*:certificate-authority/*"`, "acm-pca:GetPolicy", caARN, false}, // no wildcard crosses a colon
		{`"Action":"*","Resource":"arn:aws:acm-pca"`, "acm-pca:GetPolicy", caARN, true},                            // completed by IAM
		{`"Action":"*","Resource":"arn:aws:s3"`, "acm-pca:GetPolicy", caARN, false},
		{`"Action":"*","Resource":"arn:aws:s3:::bucket"`, "s3:ListBucket", "arn:aws:s3:::bucket", true},
		{`"Action":"*","Resource":"arn:aws:s3:::bucket"`, "s3:GetObject", "arn:aws:s3:::bucket/key", false},
		{`"Action":"*","Resource":"arn:aws:s3:::bucket/*"`, "s3:GetObject", "arn:aws:s3:::bucket/a/b:c/d", true},
		{`"Action":"*","Resource":"arn:aws:s3:::Bucket/*"`, "s3:GetObject", "arn:aws:s3:::bucket/a", false},
		{`"Action":"*","Resource":["arn:aws:s3:::a/*","arn:aws:s3:::b/*"]`, "s3:GetObject", "arn:aws:s3:::b/a", true},
		{`"Action":"*","NotResource":["arn:aws:s3:::a/*","arn:aws:s3:::b/*"]`, "s3:GetObject", "arn:aws:s3:::b/a", false},
		{`"Action":"*","NotResource":["arn:aws:s3:::a/*","arn:aws:s3:::b/*"]`, "s3:GetObject", "arn:aws:s3:::c/a", true},

		{`"Action":"*","Resource":"arn:aws:s3:::home/${aws:username}/*"`, "s3:GetObject", "arn:aws:s3:::home/me/a", true},
		{`"Action":"*","Resource":"arn:aws:s3:::home/${aws:username}/*"`, "s3:GetObject", "arn:aws:s3:::home/you/a", false},
		{`"Action":"*","Resource":"arn:aws:s3:::home/${aws:PrincipalTag/none}/*"`, "s3:GetObject", "arn:aws:s3:::home//a", false},
		{`"Action":"*","Resource":"arn:aws:s3:::home/${aws:PrincipalTag/none, 'all'}/*"`, "s3:GetObject", "arn:aws:s3:::home/all/a", true},
		{`"Action":"*","Resource":"arn:aws:s3:::home/${aws:PrincipalTag/stars}/*"`, "s3:GetObject", "arn:aws:s3:::home/you/a", false}, // a value holds no wildcard
		{`"Action":"*","Resource":"arn:aws:s3:::home/${*}/*"`, "s3:GetObject", "arn:aws:s3:::home/*/a", true},
		{`"Action":"*","Resource":"arn:aws:s3:::home/${*}/*"`, "s3:GetObject", "arn:aws:s3:::home/x/a", false},
		{`"Action":"*","Resource":"arn:aws:s3:::home/${?}${$}"`, "s3:GetObject", "arn:aws:s3:::home/?$", true},
	} {
		p, err := ParsePolicy([]byte(policy(`{"Effect":"Allow",` + row.element + `}`)))
		if err != nil {
			t.Fatalf("%s: %v", row.element, err)
		}
		me := user(owner, "team/me")
		me.Context = map[string][]string{"aws:PrincipalTag/stars": {"*"}}
		if got := p.Evaluate(&Request{Principal: me, Action: row.action, Resource: row.resource}); (got == Allow) != row.want {
			t.Errorf("%s for %s on %s: %d", row.element, row.action, row.resource, got)
		}
	}
}

func TestOldVersionHasNoVariables(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"", `"Version":"2008-10-17",`} {
		p, err := ParsePolicy([]byte(`{` + version + `"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}"}}`))
		if err != nil {
			t.Fatal(err)
		}
		r := &Request{Principal: user(owner, "me"), Action: "s3:GetObject", Resource: "arn:aws:s3:::b/me"}
		if p.Version() != "2008-10-17" || p.Evaluate(r) != ImplicitDeny {
			t.Error("variables were replaced in an old policy")
		}
		if r.Resource = "arn:aws:s3:::b/${aws:username}"; p.Evaluate(r) != Allow {
			t.Error("the text itself does not match")
		}
	}
}

func TestConditions(t *testing.T) {
	t.Parallel()
	const template = "arn:aws:acm-pca:::template/EndEntityCertificate/V1"
	context := map[string][]string{
		"acm-pca:TemplateArn": {template}, "aws:SourceIp": {"10.1.2.3"}, "aws:SecureTransport": {"true"},
		"aws:CurrentTime": {"2026-11-22T10:20:30Z"}, "aws:EpochTime": {"1795342830"}, "aws:TagKeys": {"env", "team"},
		"s3:max-keys": {"10"}, "s3:prefix": {"Home/me"}, "aws:RequestTag/env": {"prod"}, "aws:RequestTag/none": {},
		"s3:x-amz-acl": {"not a number"},
	}
	for _, row := range []struct {
		condition string
		want      bool
	}{
		{`"StringEquals":{"s3:prefix":"Home/me"}`, true},
		{`"StringEquals":{"S3:PREFIX":"Home/me"}`, true},
		{`"StringEquals":{"s3:prefix":"home/me"}`, false},
		{`"StringEquals":{"s3:prefix":["a","Home/me"]}`, true},
		{`"StringEquals":{"s3:prefix":"Home/*"}`, false},
		{`"StringEquals":{"s3:prefix":"Home/${aws:username}"}`, true},
		{`"StringEquals":{"s3:prefix":"Home/${aws:nothing}"}`, false},
		{`"StringNotEquals":{"s3:prefix":"a"}`, true},
		{`"StringNotEquals":{"s3:prefix":["a","Home/me"]}`, false},
		{`"StringEqualsIgnoreCase":{"s3:prefix":"hOME/ME"}`, true},
		{`"StringNotEqualsIgnoreCase":{"s3:prefix":"hOME/ME"}`, false},
		{`"StringLike":{"s3:prefix":"Home/*"}`, true},
		{`"StringLike":{"s3:prefix":"H?me/??"}`, true},
		{`"StringLike":{"s3:prefix":"*/${aws:username}"}`, true},
		{`"StringLike":{"s3:prefix":""}`, false},
		{`"StringNotLike":{"s3:prefix":"Home/*"}`, false},
		{`"stringlike":{"s3:prefix":"Home/*"}`, true},

		// Absent keys.
		{`"StringEquals":{"s3:delimiter":"/"}`, false},
		{`"StringLike":{"s3:delimiter":"*"}`, false},
		{`"StringNotEquals":{"s3:delimiter":"/"}`, true},
		{`"ArnNotLike":{"aws:SourceArn":"arn:*:*:*:*:*"}`, true},
		{`"StringEqualsIfExists":{"s3:delimiter":"/"}`, true},
		{`"StringNotEqualsIfExists":{"s3:delimiter":"/"}`, true},
		{`"StringEqualsIfExists":{"s3:prefix":"/"}`, false},
		{`"Bool":{"aws:MultiFactorAuthPresent":"false"}`, false},
		{`"BoolIfExists":{"aws:MultiFactorAuthPresent":"true"}`, true},
		{`"Null":{"s3:delimiter":"true"}`, true},
		{`"Null":{"s3:delimiter":"false"}`, false},
		{`"Null":{"s3:prefix":true}`, false},
		{`"Null":{"s3:prefix":false}`, true},
		{`"Null":{"aws:RequestTag/none":"true"}`, true},

		// Types.
		{`"Bool":{"aws:SecureTransport":"true"}`, true},
		{`"Bool":{"aws:SecureTransport":true}`, true},
		{`"Bool":{"aws:SecureTransport":"FALSE"}`, false},
		{`"NumericEquals":{"s3:max-keys":10}`, true},
		{`"NumericEquals":{"s3:max-keys":"1e1"}`, true},
		{`"NumericNotEquals":{"s3:max-keys":"10.0"}`, false},
		{`"NumericLessThan":{"s3:max-keys":"10"}`, false},
		{`"NumericLessThanEquals":{"s3:max-keys":"10"}`, true},
		{`"NumericGreaterThan":{"s3:max-keys":"9.5"}`, true},
		{`"NumericGreaterThanEquals":{"s3:max-keys":"11"}`, false},
		{`"NumericEquals":{"s3:x-amz-acl":"1"}`, false},
		{`"NumericNotEquals":{"s3:x-amz-acl":"1"}`, true},
		{`"DateGreaterThan":{"aws:CurrentTime":"2026-11-22T10:20:29Z"}`, true},
		{`"DateLessThan":{"aws:CurrentTime":"2026-11-22T11:20:31+01:00"}`, true},
		{`"DateLessThanEquals":{"aws:CurrentTime":"2026-11-22T10:20:30Z"}`, true},
		{`"DateGreaterThanEquals":{"aws:CurrentTime":"2026-11-23"}`, false},
		{`"DateEquals":{"aws:EpochTime":"1795342830"}`, true},
		{`"DateNotEquals":{"aws:CurrentTime":"2026-11-22T10:20Z"}`, true},
		{`"IpAddress":{"aws:SourceIp":"10.1.0.0/16"}`, true},
		{`"IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.1.2.3"]}`, true},
		{`"IpAddress":{"aws:SourceIp":"2001:db8::/32"}`, false},
		{`"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, false},
		{`"NotIpAddress":{"aws:SourceIp":"11.0.0.0/8"}`, true},
		{`"ArnEquals":{"acm-pca:TemplateArn":"` + template + `"}`, true},
		{`"ArnLike":{"acm-pca:TemplateArn":"arn:aws:acm-pca:*:*:template/EndEntityCertificate/V*"}`, true},
		{`"ArnLike":{"acm-pca:TemplateArn":"arn:aws:*:*:*:template/EndEntityCertificate/V1"}`, true},
		{`"ArnLike":{"acm-pca:TemplateArn":"arn:aws:acm-pca:*:EndEntityCertificate/V1:x"}`, false}, // no wildcard crosses a colon
		{`"ArnLike":{"acm-pca:TemplateArn":"arn:aws-cn:acm-pca:*:*:template/*"}`, false},
		{`"ArnLike":{"s3:prefix":"*"}`, false},
		{`"ArnNotLike":{"acm-pca:TemplateArn":"arn:aws:acm-pca:*:*:template/*CACertificate*/V*"}`, true},
		{`"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::` + owner + `:user/*"}`, true},

		// Sets.
		{`"ForAllValues:StringEquals":{"aws:TagKeys":["env","team","cost"]}`, true},
		{`"ForAllValues:StringEquals":{"aws:TagKeys":["env"]}`, false},
		{`"ForAllValues:StringLike":{"aws:TagKeys":["e*","t*"]}`, true},
		{`"ForAllValues:StringNotEquals":{"aws:TagKeys":["env"]}`, false},
		{`"ForAllValues:StringNotEquals":{"aws:TagKeys":["cost"]}`, true},
		{`"ForAllValues:StringEquals":{"s3:delimiter":"x"}`, true},
		{`"ForAllValues:StringEquals":{"aws:RequestTag/none":"x"}`, true},
		{`"ForAnyValue:StringEquals":{"aws:TagKeys":["team","cost"]}`, true},
		{`"ForAnyValue:StringEquals":{"aws:TagKeys":["cost"]}`, false},
		{`"ForAnyValue:StringNotEquals":{"aws:TagKeys":["env"]}`, true},
		{`"ForAnyValue:StringNotEquals":{"aws:TagKeys":["env","team"]}`, false},
		{`"ForAnyValue:StringEquals":{"s3:delimiter":"x"}`, false},
		{`"ForAnyValue:StringNotEquals":{"s3:delimiter":"x"}`, false},
		{`"ForAnyValue:StringEqualsIfExists":{"s3:delimiter":"x"}`, true},
		{`"StringEquals":{"aws:TagKeys":"env"}`, true},
		{`"StringNotEquals":{"aws:TagKeys":"env"}`, false},

		// What follows from the caller.
		{`"StringEquals":{"aws:PrincipalAccount":"` + owner + `","aws:userid":"AIDATEAM/ME","aws:username":"me","aws:PrincipalType":"User"}`, true},
		{`"StringEquals":{"aws:PrincipalTag/team":"pki"}`, true},
		{`"StringEquals":{"aws:PrincipalTag/team":"${aws:RequestTag/team,'pki'}"}`, true},
		{`"Bool":{"aws:PrincipalIsAWSService":"false"}`, true},

		// All must be met.
		{`"StringEquals":{"s3:prefix":"Home/me","s3:delimiter":"/"}`, false},
		{`"StringEquals":{"s3:prefix":"Home/me"},"Bool":{"aws:SecureTransport":"false"}`, false},
		{`"StringEquals":{"s3:prefix":"Home/me"},"Bool":{"aws:SecureTransport":"true"}`, true},
	} {
		me := user(owner, "team/me")
		me.Context = map[string][]string{"aws:PrincipalTag/team": {"pki"}}
		r := &Request{Principal: me, Action: "s3:ListBucket", Resource: "arn:aws:s3:::b", Context: context}
		for effect, want := range map[string]Decision{"Allow": Allow, "Deny": ExplicitDeny} {
			text := policy(`{"Effect":"` + effect + `","Principal":"*","Action":"*","Resource":"*","Condition":{` + row.condition + `}}`)
			p, err := ParseResourcePolicy([]byte(text))
			if err != nil {
				t.Fatalf("%s: %v", row.condition, err)
			}
			if !row.want {
				want = ImplicitDeny
			}
			if got := p.Evaluate(r); got != want {
				t.Errorf("%s of %s: %d, want %d", effect, row.condition, got, want)
			}
		}
	}
}

// TestUnknownConditions is D-12: what nobody understands denies in a Deny and
// does not match in an Allow; a stored identity policy is refused.
func TestUnknownConditions(t *testing.T) {
	t.Parallel()
	r := &Request{Principal: &Principal{Service: pcaSvc, Context: map[string][]string{"aws:SourceAccount": {owner}}}, Action: "s3:PutObject", Resource: "arn:aws:s3:::b/k"}
	for _, condition := range []string{
		`"StringMatches":{"aws:SourceAccount":"x"}`,
		`"BinaryEquals":{"aws:SourceAccount":"eA=="}`,
		`"ForSomeValues:StringEquals":{"aws:SourceAccount":"x"}`,
		`"NullIfExists":{"aws:SourceAccount":"true"}`,
		`"NumericEquals":{"aws:SourceAccount":"many"}`,
		`"DateLessThan":{"aws:CurrentTime":"soon"}`,
		`"IpAddress":{"aws:SourceIp":"10.0.0.0/99"}`,
		`"Bool":{"aws:SecureTransport":"maybe"}`,
		`"ArnLike":{"aws:SourceArn":"arn:aws"}`,
		`"StringEquals":{"aws:SourceAccount":[]}`,
		`"StringEquals":{"":"x"}`,
		`"StringEquals":{"aws:SourceAccount":"${open"}`,
	} {
		for effect, want := range map[string]Decision{"Allow": ImplicitDeny, "Deny": ExplicitDeny} {
			p := resourcePolicy(t, `{"Effect":"`+effect+`","Principal":"*","Action":"*","Resource":"*","Condition":{`+condition+`}}`)
			if got := p.Evaluate(r); got != want {
				t.Errorf("%s of %s: %d, want %d", effect, condition, got, want)
			}
		}
		if _, err := ParsePolicy([]byte(policy(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{` + condition + `}}`))); err == nil {
			t.Errorf("the identity policy with %s was accepted", condition)
		}
	}
	if _, err := ParsePolicy([]byte(policy(`{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:Nonsense":"x"}}}`))); err == nil {
		t.Error("the identity policy with an unknown key was accepted")
	}
	// A key that is unknown in a resource policy is a key that is absent.
	p := resourcePolicy(t, `{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringNotEquals":{"aws:Nonsense":"x"}}}`)
	if got := p.Evaluate(r); got != ExplicitDeny {
		t.Errorf("negated operator on an unknown key: %d", got)
	}
}

// TestServicePolicies are bucket policies that AWS documents for acm-pca.
func TestServicePolicies(t *testing.T) {
	t.Parallel()
	p := resourcePolicy(t, `{"Effect":"Allow","Principal":{"Service":"acm-pca.amazonaws.com"},
		"Action":["s3:PutObject","s3:PutObjectAcl","s3:GetBucketAcl","s3:GetBucketLocation"],
		"Resource":["arn:aws:s3:::bucket-name/*","arn:aws:s3:::bucket-name"],
		"Condition":{"StringEquals":{"aws:SourceAccount":"`+owner+`"},"ArnEquals":{"aws:SourceArn":"`+caARN+`"}}}`)
	service := &Principal{Service: pcaSvc, Context: map[string][]string{"aws:SourceAccount": {owner}, "aws:SourceArn": {caARN}}}
	for _, row := range []struct {
		principal        *Principal
		action, resource string
		want             Decision
	}{
		{service, "s3:PutObject", "arn:aws:s3:::bucket-name/audit-report/x/y.json", Allow},
		{service, "s3:GetBucketAcl", "arn:aws:s3:::bucket-name", Allow},
		{service, "s3:GetObject", "arn:aws:s3:::bucket-name/audit-report/x/y.json", ImplicitDeny},
		{service, "s3:PutObject", "arn:aws:s3:::bucket-name2/audit-report/x/y.json", ImplicitDeny},
		{&Principal{Service: pcaSvc, Context: map[string][]string{"aws:SourceAccount": {other}, "aws:SourceArn": {caARN}}}, "s3:PutObject", "arn:aws:s3:::bucket-name/k", ImplicitDeny},
		{&Principal{Service: pcaSvc}, "s3:PutObject", "arn:aws:s3:::bucket-name/k", ImplicitDeny},
	} {
		// What the request says never replaces what came with the service.
		r := &Request{Principal: row.principal, Action: row.action, Resource: row.resource}
		if got := p.Evaluate(r); got != row.want {
			t.Errorf("%s on %s for %+v: %d, want %d", row.action, row.resource, row.principal, got, row.want)
		}
	}
	forged := &Request{Principal: user(owner, "me"), Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Context: map[string][]string{"aws:PrincipalArn": {"arn:aws:iam::" + owner + ":root"}}}
	q := resourcePolicy(t, `{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalArn":"arn:aws:iam::`+owner+`:root"}}}`)
	if got := q.Evaluate(forged); got != ImplicitDeny {
		t.Errorf("a request overrode aws:PrincipalArn: %d", got)
	}
}

// TestManagedPolicies are the traps of access.md 6.
func TestManagedPolicies(t *testing.T) {
	t.Parallel()
	issuer := func(pattern string) string {
		return policy(`{"Effect":"Allow","Action":"acm-pca:IssueCertificate","Resource":"arn:aws:acm-pca:*:*:certificate-authority/*","Condition":{"ArnLike":{"acm-pca:TemplateArn":"`+pattern+`"}}}`,
			`{"Effect":"Deny","Action":"acm-pca:IssueCertificate","Resource":"arn:aws:acm-pca:*:*:certificate-authority/*","Condition":{"ArnNotLike":{"acm-pca:TemplateArn":"`+pattern+`"}}}`)
	}
	plain := issuer("arn:aws:acm-pca:*:*:template/EndEntityCertificate/V*")
	privileged := issuer("arn:aws:acm-pca:*:*:template/*CACertificate*/V*")
	for _, row := range []struct {
		policies []string
		template string
		want     Decision
	}{
		{[]string{plain}, "arn:aws:acm-pca:::template/EndEntityCertificate/V1", Allow},
		{[]string{plain}, "arn:aws:acm-pca:::template/EndEntityCertificate_APIPassthrough/V1", ExplicitDeny},
		{[]string{plain}, "arn:aws:acm-pca:::template/EndEntityClientAuthCertificate/V1", ExplicitDeny},
		{[]string{plain}, "arn:aws:acm-pca:::template/RootCACertificate/V1", ExplicitDeny},
		{[]string{plain}, "arn:aws-cn:acm-pca:::template/EndEntityCertificate/V1", ExplicitDeny},
		{[]string{privileged}, "arn:aws:acm-pca:::template/RootCACertificate/V1", Allow},
		{[]string{privileged}, "arn:aws:acm-pca:::template/BlankRootCACertificate_PathLen0_APIPassthrough/V1", Allow},
		{[]string{privileged}, "arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen3/V1", Allow},
		{[]string{privileged}, "arn:aws:acm-pca:::template/EndEntityCertificate/V1", ExplicitDeny},
		{[]string{plain, privileged}, "arn:aws:acm-pca:::template/EndEntityCertificate/V1", ExplicitDeny},
	} {
		d, why := Authorize(&Request{Principal: user(owner, "me", row.policies...), Action: "acm-pca:IssueCertificate", Resource: caARN,
			Context: map[string][]string{"acm-pca:TemplateArn": {row.template}}}, nil, owner)
		if d != row.want || (d == ExplicitDeny) != (why == IdentityDeny) {
			t.Errorf("%d policies, %s: %d for reason %d", len(row.policies), row.template, d, why)
		}
	}
}

func TestGrammar(t *testing.T) {
	t.Parallel()
	const rest = `"Effect":"Allow","Action":"s3:*","Resource":"*"`
	for _, text := range []string{
		policy(`{` + rest + `}`),
		`{"Version":"2012-10-17","Id":"x","Statement":{"Sid":"1",` + rest + `}}`,
		policy(`{"Sid":"1",`+rest+`}`, `{"Sid":"1",`+rest+`}`),
		policy(`{` + rest + `,"Condition":{}}`),
	} {
		p, err := ParsePolicy([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if p.Text() != text {
			t.Errorf("Text() = %s", p.Text())
		}
		if b, err := json.Marshal(p); err != nil || string(b) != text {
			t.Errorf("json.Marshal: %s, %v", b, err)
		}
	}
	for _, text := range []string{
		``, `{`, `null`, `[]`, `"x"`, `{}`, policy(), policy(`{`+rest+`}`) + `x`,
		`{"Version":"2020-01-01","Statement":[{` + rest + `}]}`,
		`{"Version":"2012-10-17","Version":"2012-10-17","Statement":[{` + rest + `}]}`,
		`{"Version":"2012-10-17","Statements":[{` + rest + `}]}`,
		`{"Version":"2012-10-17","Extra":1,"Statement":[{` + rest + `}]}`,
		policy(`{` + rest + `,"Extra":1}`),
		policy(`{` + rest + `,"Condition":null}`),
		policy(`{` + rest + `,"Condition":{"StringEquals":null}}`),
		policy(`{` + rest + `,"Action":"s3:*"}`),
		policy(`{` + rest + `,"NotAction":"s3:*"}`),
		policy(`{` + rest + `,"NotResource":"*"}`),
		policy(`{` + rest + `,"Principal":"*"}`),
		policy(`{"Action":"s3:*","Resource":"*"}`),
		policy(`{"Effect":"allow","Action":"s3:*","Resource":"*"}`),
		policy(`{"effect":"Allow","Action":"s3:*","Resource":"*"}`),
		policy(`{"Effect":"Allow","Resource":"*"}`),
		policy(`{"Effect":"Allow","Action":"s3:*"}`),
		policy(`{"Effect":"Allow","Action":[],"Resource":"*"}`),
		policy(`{"Effect":"Allow","Action":null,"Resource":"*"}`),
		policy(`{"Effect":"Allow","Action":"s3","Resource":"*"}`),
		policy(`{"Effect":"Allow","Action":"s3:","Resource":"*"}`),
		policy(`{"Effect":"Allow","Action":"s3:Get Object","Resource":"*"}`),
		policy(`{"Effect":"Allow","Action":1,"Resource":"*"}`),
		policy(`{"Effect":"Allow","Action":"s3:*","Resource":"bucket"}`),
		policy(`{"Effect":"Allow","Action":"s3:*","Resource":""}`),
		policy(`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username"}`),
		policy(`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${}"}`),
		policy(`{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::${aws:username, x}"}`),
		policy(`{` + rest + `,"Condition":[]}`),
		policy(`{` + rest + `,"Condition":{"StringEquals":"x"}}`),
		policy(`{` + rest + `,"Condition":{"StringEquals":{"aws:userid":null}}}`),
		policy(`{` + rest + `,"Condition":{"StringEquals":{"aws:userid":[{}]}}}`),
		policy(`{` + rest + `,"Condition":{"StringEquals":{"aws:userid":"a","aws:userid":"b"}}}`),
		policy(`{` + rest + `,"Condition":{"StringEquals":{"aws:PrincipalTag/":"a"}}}`),
		policy(`{"Sid":"` + strings.Repeat("x", maxPolicy) + `",` + rest + `}`),
		policy("{\"Sid\":\"\xff\"," + rest + "}"),
	} {
		if _, err := ParsePolicy([]byte(text)); err == nil {
			t.Errorf("accepted: %.200s", text)
		}
	}
	for principal, ok := range map[string]bool{
		`"*"`: true, `{"AWS":"*"}`: true, `{"AWS":["*","111122223333"]}`: true, `{"Service":"x.amazonaws.com"}`: true, `{"CanonicalUser":"abc"}`: true,
		`"x"`: false, `{}`: false, `{"AWS":[]}`: false, `{"AWS":""}`: false, `{"AWS":"arn:aws:iam::111122223333:user/*"}`: false,
		`{"Service":"*"}`: false, `{"Nobody":"x"}`: false, `null`: false, `["*"]`: false, `1`: false,
	} {
		_, err := ParseResourcePolicy([]byte(policy(`{"Principal":` + principal + `,` + rest + `}`)))
		if (err == nil) != ok {
			t.Errorf("principal %s: %v", principal, err)
		}
	}
	if _, err := ParseResourcePolicy([]byte(policy(`{` + rest + `}`))); err == nil {
		t.Error("a resource policy without a principal was accepted")
	}
}

func TestStatements(t *testing.T) {
	t.Parallel()
	p := resourcePolicy(t, `{"Sid":"a","Effect":"Deny","NotPrincipal":{"Service":"s","AWS":["1","2"]},"NotAction":"s3:Get*","NotResource":["arn:aws:s3:::b"],"Condition":{"StringLikeIfExists":{"k":["v",1,true]},"Bool":{"x":"true"}}}`)
	want := []Statement{{Sid: "a", Effect: ExplicitDeny, Principals: []PrincipalPattern{{"AWS", "1"}, {"AWS", "2"}, {"Service", "s"}}, NotPrincipal: true,
		Actions: []string{"s3:Get*"}, NotAction: true, Resources: []string{"arn:aws:s3:::b"}, NotResource: true,
		Conditions: []Condition{{"Bool", "x", []string{"true"}}, {"StringLikeIfExists", "k", []string{"v", "1", "true"}}}}}
	if got := p.Statements(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	for reason, want := range map[Reason]string{
		Allowed:         "",
		NoIdentityAllow: " because no identity-based policy allows the acm-pca:GetPolicy action",
		NoResourceAllow: " because no resource-based policy allows the acm-pca:GetPolicy action",
		IdentityDeny:    " with an explicit deny in an identity-based policy",
		ResourceDeny:    " with an explicit deny in a resource-based policy",
	} {
		if got := reason.Explain("acm-pca:GetPolicy"); got != want {
			t.Errorf("%d: %q", reason, got)
		}
	}
}

// TestGlobIsLinear: a pattern made to backtrack costs no more than the product
// of the lengths.
func TestGlobIsLinear(t *testing.T) {
	t.Parallel()
	tm, err := parseTemplate(strings.Repeat("*a", 2000)+"b", false)
	if err != nil {
		t.Fatal(err)
	}
	if tm.fixed.match(strings.Repeat("a", 4000)) {
		t.Error("matched")
	}
}

// FuzzGlob compares with a regular expression.
func FuzzGlob(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("*", "")
	f.Add("**?ü", "xyü")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 50 || len(s) > 200 || !validUTF8(pattern) || !validUTF8(s) {
			return
		}
		var re strings.Builder
		for _, r := range pattern {
			switch r {
			case '*':
				re.WriteString(`(?s:.)*`)
			case '?':
				re.WriteString(`(?s:.)`)
			default:
				re.WriteString(regexp.QuoteMeta(string(r)))
			}
		}
		tm, err := parseTemplate(pattern, false)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := tm.fixed.match(s), regexp.MustCompile(`^(?:`+re.String()+`)$`).MatchString(s); got != want {
			t.Fatalf("%q against %q: %v, want %v", pattern, s, got, want)
		}
	})
}

func validUTF8(s string) bool { return strings.ToValidUTF8(s, "") == s }

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(policy(allowAll, denyAll)), "s3:GetObject", "arn:aws:s3:::b/k", "v")
	f.Add([]byte(policy(`{"Effect":"Deny","NotPrincipal":{"AWS":"*"},"NotAction":["*"],"NotResource":"arn:aws:s3:::${aws:userid, 'x'}","Condition":{"ForAnyValue:NumericLessThanIfExists":{"k":[1,"2"]},"IpAddress":{"aws:SourceIp":"::/0"}}}`)), "a:b", "*", "1")
	f.Fuzz(func(t *testing.T, text []byte, action, resource, value string) {
		for _, parse := range []func([]byte) (*Policy, error){ParsePolicy, ParseResourcePolicy, ParseTrustPolicy} {
			p, err := parse(text)
			if err != nil {
				if p != nil || err.Error() == "" {
					t.Fatal("error with a policy, or without a text")
				}
				continue
			}
			for _, who := range []*Principal{nil, {Service: value}, user(owner, "me")} {
				r := &Request{Principal: who, Action: action, Resource: resource, Context: map[string][]string{"k": {value}, "aws:SourceIp": {value}}}
				d := p.Evaluate(r)
				if again := p.Evaluate(r); again != d {
					t.Fatal("two decisions")
				}
				if d == Allow {
					allows := false
					for _, s := range p.Statements() {
						allows = allows || s.Effect == Allow
					}
					if !allows {
						t.Fatal("allowed by a policy that allows nothing")
					}
				}
			}
		}
	})
}

func BenchmarkAuthorize(b *testing.B) {
	me := user(owner, "me", policy(`{"Effect":"Allow","Action":"acm-pca:IssueCertificate","Resource":"arn:aws:acm-pca:*:*:certificate-authority/*","Condition":{"ArnLike":{"acm-pca:TemplateArn":"arn:aws:acm-pca:*:*:template/EndEntityCertificate/V*"}}}`,
		`{"Effect":"Deny","Action":"acm-pca:IssueCertificate","Resource":"arn:aws:acm-pca:*:*:certificate-authority/*","Condition":{"ArnNotLike":{"acm-pca:TemplateArn":"arn:aws:acm-pca:*:*:template/EndEntityCertificate/V*"}}}`))
	r := &Request{Principal: me, Action: "acm-pca:IssueCertificate", Resource: caARN, Context: map[string][]string{"acm-pca:TemplateArn": {"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}}
	b.ReportAllocs()
	for b.Loop() {
		if d, _ := Authorize(r, nil, owner); d != Allow {
			b.Fatal(d)
		}
	}
}

// TestPolicyErrorsArePlain: the author of a policy is told of the policy, not
// of the types that read it.
func TestPolicyErrorsArePlain(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"Version":"2012-10-17"}`:     "the policy needs a Statement",
		`{"Version":1,"Statement":[]}`: "/Version: unexpected number",
		`{"Statement":[{"Effect":"Allow","Principal":"*","Action":5,"Resource":"*"}]}`: "/Action: expected a string or a list of strings",
		`{"Statement":[{"Efect":"Allow"}]}`:                                            "/Efect: unknown object member",
		`[]`:                                                                           "a policy is a JSON object",
	} {
		_, err := ParseResourcePolicy([]byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "Go ") || strings.Contains(err.Error(), "iam.") {
			t.Errorf("%s: error %v, want one that says %q", text, err, want)
		}
	}
}
