package iam

import (
	"strings"
	"testing"
)

func parsedPolicy(t testing.TB, statements ...string) *Policy {
	t.Helper()
	p, err := ParsePolicy([]byte(policy(statements...)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestLimits is how boundaries and session policies meet the others, after
// AWS' documents on the evaluation within an account and across accounts.
func TestLimits(t *testing.T) {
	t.Parallel()
	const role = "arn:aws:iam::" + owner + ":role/team/Issuer"
	s3Only := `{"Effect":"Allow","Action":"s3:*","Resource":"*"}`
	pcaOnly := `{"Effect":"Allow","Action":"acm-pca:*","Resource":"*"}`
	grant := func(principal string) []string {
		return []string{`{"Effect":"Allow","Principal":` + principal + `,"Action":"acm-pca:IssueCertificate","Resource":"*"}`}
	}
	me := `{"AWS":"arn:aws:iam::` + owner + `:user/me"}`
	sessionARN := `{"AWS":"arn:aws:sts::` + owner + `:assumed-role/Issuer/build-1"}`
	roleGrant := `{"AWS":"` + role + `"}`
	person := func(identity, boundary string) *Principal {
		p := user(owner, "me")
		if identity != "" {
			p.Policies = []*Policy{parsedPolicy(t, identity)}
		}
		if boundary != "" {
			p.Boundary = parsedPolicy(t, boundary)
		}
		return p
	}
	session := func(account, identity, boundary string, policies ...string) *Principal {
		p := person(identity, boundary)
		p.Account, p.ARN, p.ID = account, "arn:aws:sts::"+account+":assumed-role/Issuer/build-1", "AROAISSUER:build-1"
		p.Role = "arn:aws:iam::" + account + ":role/team/Issuer"
		for _, s := range policies {
			p.Session = append(p.Session, parsedPolicy(t, s))
		}
		return p
	}
	suspended := person(allowAll, "")
	suspended.Suspended = true
	for _, row := range []struct {
		name      string
		principal *Principal
		resource  []string
		want      Decision
		reason    Reason
	}{
		// Users.
		{"identity within the boundary", person(allowAll, pcaOnly), nil, Allow, Allowed},
		{"identity beyond the boundary", person(allowAll, s3Only), nil, ImplicitDeny, NoBoundaryAllow},
		{"a boundary gives nothing", person("", pcaOnly), nil, ImplicitDeny, NoIdentityAllow},
		{"a boundary that denies", person(allowAll, denyAll), nil, ExplicitDeny, BoundaryDeny},
		{"the resource names the user: no implicit deny of a boundary", person("", s3Only), grant(me), Allow, Allowed},
		{"but an explicit one", person("", denyAll), grant(me), ExplicitDeny, BoundaryDeny},
		{"the resource names everybody", person("", s3Only), grant(`"*"`), ImplicitDeny, NoBoundaryAllow},
		{"the resource names the account", person("", pcaOnly), grant(`{"AWS":"` + owner + `"}`), ImplicitDeny, NoIdentityAllow},

		// Sessions of roles.
		{"role", session(owner, allowAll, ""), nil, Allow, Allowed},
		{"session policy that allows", session(owner, allowAll, "", pcaOnly), nil, Allow, Allowed},
		{"session policy that does not", session(owner, allowAll, "", s3Only), nil, ImplicitDeny, NoSessionAllow},
		{"one session policy of two", session(owner, allowAll, "", s3Only, pcaOnly), nil, Allow, Allowed},
		{"session policy that denies", session(owner, allowAll, "", pcaOnly, denyAll), nil, ExplicitDeny, SessionDeny},
		{"a session policy gives nothing", session(owner, s3Only, "", allowAll), nil, ImplicitDeny, NoIdentityAllow},
		{"boundary and session policy", session(owner, allowAll, pcaOnly, pcaOnly), nil, Allow, Allowed},
		{"boundary against session policy", session(owner, allowAll, s3Only, pcaOnly), nil, ImplicitDeny, NoBoundaryAllow},
		{"resource names the role", session(owner, "", ""), grant(roleGrant), Allow, Allowed},
		{"resource names the role, session policy does not", session(owner, "", "", s3Only), grant(roleGrant), ImplicitDeny, NoSessionAllow},
		{"resource names the role, boundary does not", session(owner, "", s3Only), grant(roleGrant), ImplicitDeny, NoBoundaryAllow},
		{"resource names the role by its id", session(owner, "", "", s3Only), grant(`{"AWS":"AROAISSUER"}`), ImplicitDeny, NoSessionAllow},
		{"resource names the session", session(owner, "", s3Only, s3Only), grant(sessionARN), Allow, Allowed},
		{"resource names the session, session policy denies", session(owner, "", "", denyAll), grant(sessionARN), ExplicitDeny, SessionDeny},
		{"resource names a role of another path", session(owner, "", ""), grant(`{"AWS":"arn:aws:iam::` + owner + `:role/Issuer"}`), ImplicitDeny, NoIdentityAllow},

		// Other accounts.
		{"foreign role, both allow", session(other, allowAll, ""), grant(`{"AWS":"` + other + `"}`), Allow, Allowed},
		{"foreign role, session policy does not", session(other, allowAll, "", s3Only), grant(`{"AWS":"` + other + `"}`), ImplicitDeny, NoSessionAllow},
		{"foreign session named, its role may not", session(other, "", ""), grant(`{"AWS":"arn:aws:sts::` + other + `:assumed-role/Issuer/build-1"}`), ImplicitDeny, NoIdentityAllow},
		{"foreign session named, its session policy does not", session(other, allowAll, "", s3Only), grant(`{"AWS":"arn:aws:sts::` + other + `:assumed-role/Issuer/build-1"}`), ImplicitDeny, NoSessionAllow},

		{"closed account", suspended, grant(me), ExplicitDeny, AccountSuspended},
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
			if (d == Allow) != (why.Explain("x:Y") == "") {
				t.Errorf("it explains itself with %q", why.Explain("x:Y"))
			}
		})
	}
}

func TestTrustPolicies(t *testing.T) {
	t.Parallel()
	const provider = "arn:aws:iam::" + owner + ":oidc-provider/issuer.example.com/a"
	trust := func(rest string) string { return policy(`{"Effect":"Allow",` + rest + `}`) }
	for text, want := range map[string]string{
		trust(`"Principal":{"AWS":"` + owner + `"},"Action":"sts:AssumeRole"`):                                                                                       "",
		trust(`"Principal":{"Federated":"` + provider + `"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"issuer.example.com/a:sub":"x"}}`): "",
		trust(`"Principal":{"Federated":"` + provider + `"},"Action":"sts:*","Condition":{"StringEquals":{"127.0.0.1:8080:aud":"x"}}`):                               "",
		trust(`"Principal":{"AWS":"` + owner + `"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x","aws:PrincipalOrgID":"o"}}`):          "",
		trust(`"Action":"sts:AssumeRole"`):                                                                                     "Principal",
		trust(`"Principal":{"AWS":"` + owner + `"},"Action":"sts:AssumeRole","Resource":"*"`):                                  "Resource",
		trust(`"Principal":{"AWS":"` + owner + `"},"Action":"s3:GetObject"`):                                                   "not one of sts",
		trust(`"Principal":{"AWS":"` + owner + `"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"issuer:x":"x"}}`):   "not known",
		trust(`"Principal":{"AWS":"` + owner + `"},"Action":"sts:AssumeRole","Condition":{"StringIs":{"sts:ExternalId":"x"}}`): "not known",
	} {
		_, err := ParseTrustPolicy([]byte(text))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	stranger := &Principal{Federated: provider}
	for principal, want := range map[string]Decision{
		`{"Federated":"` + provider + `"}`: Allow, `"*"`: Allow, `{"AWS":"*"}`: ImplicitDeny, `{"Federated":"` + provider + `x"}`: ImplicitDeny, `{"AWS":"` + owner + `"}`: ImplicitDeny,
	} {
		p, err := ParseTrustPolicy([]byte(trust(`"Principal":` + principal + `,"Action":"sts:AssumeRoleWithWebIdentity"`)))
		if err != nil {
			t.Fatal(err)
		}
		r := &Request{Principal: stranger, Action: "sts:AssumeRoleWithWebIdentity", Resource: "arn:aws:iam::" + owner + ":role/r"}
		if d := p.Evaluate(r); d != want {
			t.Errorf("%s: %d", principal, d)
		}
		if d, _ := Authorize(r, p, owner); d != want {
			t.Errorf("%s, authorised: %d", principal, d)
		}
	}
}

// FuzzLimits: without an Allow nobody is allowed, and boundaries, session
// policies and closed accounts only take away.
func FuzzLimits(f *testing.F) {
	f.Add([]byte(policy(allowAll)), []byte(policy(`{"Effect":"Allow","Action":"s3:*","Resource":"*"}`)), []byte(policy(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`)), "s3:GetObject", "*")
	f.Add([]byte(policy(denyAll)), []byte(policy(denyAll)), []byte(policy(`{"Effect":"Deny","NotPrincipal":{"AWS":"111122223333"},"Action":"*","Resource":"*"}`)), "a:b", "arn:aws:s3:::b/k")
	f.Fuzz(func(t *testing.T, identity, limit, resource []byte, action, on string) {
		p, err1 := ParsePolicy(identity)
		l, err2 := ParsePolicy(limit)
		rp, err3 := ParseResourcePolicy(resource)
		if err1 != nil || err2 != nil {
			return
		}
		if err3 != nil {
			rp = nil
		}
		for _, arn := range []string{"arn:aws:iam::" + owner + ":user/me", "arn:aws:sts::" + owner + ":assumed-role/r/s"} {
			for _, account := range []string{owner, other, ""} {
				free := &Principal{Account: owner, ARN: arn, ID: "AIDA:x", Policies: []*Policy{p}}
				base, _ := Authorize(&Request{Principal: free, Action: action, Resource: on}, rp, account)
				if base == Allow && !allows(p) && !allows(rp) {
					t.Fatal("allowed without an Allow")
				}
				bounded, sessioned, closed := *free, *free, *free
				bounded.Boundary, sessioned.Session, closed.Suspended = l, []*Policy{l}, true
				for _, who := range []*Principal{&bounded, &sessioned} {
					if d, _ := Authorize(&Request{Principal: who, Action: action, Resource: on}, rp, account); d == Allow && base != Allow {
						t.Fatal("a limit gave something")
					}
				}
				if d, _ := Authorize(&Request{Principal: &closed, Action: action, Resource: on}, rp, account); d == Allow {
					t.Fatal("a closed account was allowed something")
				}
			}
		}
	})
}

func allows(p *Policy) bool {
	if p == nil {
		return false
	}
	for _, s := range p.Statements() {
		if s.Effect == Allow {
			return true
		}
	}
	return false
}
