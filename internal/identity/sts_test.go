package identity

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/shape"
)

func trusting(principal, condition string) string {
	return trustingTo("sts:AssumeRole", principal, condition)
}

func trustingTo(action, principal, condition string) string {
	if condition != "" {
		condition = `,"Condition":` + condition
	}
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":["` + strings.ReplaceAll(action, " ", `","`) + `"]` + condition + `}]}`
}

// role makes a role and gives its ARN.
func (h *house) newRole(t testing.TB, account, name, trust string, policies ...string) string {
	t.Helper()
	ctx := h.root(t, account)
	r := must(h.CreateRole(ctx, &CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: trust, MaxSessionDuration: 7200}))(t).Role
	for _, p := range policies {
		must(h.AttachRolePolicy(ctx, &AttachRolePolicyInput{RoleName: name, PolicyArn: p}))(t)
	}
	return r.Arn
}

func (h *house) assume(t testing.TB, p *iam.Principal, in *AssumeRoleInput) *AssumeRoleOutput {
	t.Helper()
	return must(h.AssumeRole(as(t, p), in))(t)
}

// TestTrust: who may assume a role.
func TestTrust(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const mayAssume = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:*","Resource":"*"}}`
	const denied = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"*"}]}`
	who := map[string]*iam.Principal{}
	for name, u := range map[string]struct{ account, policy string }{
		"poor": {management, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`}, "rich": {management, mayAssume}, "denied": {management, denied},
		"foreign": {stranger, mayAssume}, "foreign-poor": {stranger, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`},
	} {
		key := h.user(t, u.account, name, u.policy)
		who[name] = h.who(t, key.AccessKeyId, "")
	}
	user := func(account, name string) string { return `{"AWS":"arn:aws:iam::` + account + `:user/` + name + `"}` }
	org := `{"StringEquals":{"aws:PrincipalOrgID":"` + h.organization + `"}}`
	for i, row := range []struct {
		trust, caller string
		in            AssumeRoleInput
		conditions    map[string][]string
		want          bool
	}{
		{trusting(user(management, "poor"), ""), "poor", AssumeRoleInput{}, nil, true}, // named: the trust is enough
		{trusting(user(management, "rich"), ""), "poor", AssumeRoleInput{}, nil, false},
		{trusting(user(management, "denied"), ""), "denied", AssumeRoleInput{}, nil, false},
		{trusting(`{"AWS":"123456789012"}`, ""), "poor", AssumeRoleInput{}, nil, false}, // the account delegates
		{trusting(`{"AWS":"arn:aws:iam::123456789012:root"}`, ""), "rich", AssumeRoleInput{}, nil, true},
		{trusting(`{"AWS":"`+stranger+`"}`, ""), "rich", AssumeRoleInput{}, nil, false}, // without trust, no policy helps
		{trusting(`{"AWS":"`+stranger+`"}`, ""), "foreign", AssumeRoleInput{}, nil, true},
		{trusting(user(stranger, "foreign-poor"), ""), "foreign-poor", AssumeRoleInput{}, nil, false}, // another account needs both
		{trusting(user(stranger, "foreign"), ""), "foreign", AssumeRoleInput{}, nil, true},
		{trusting(`"*"`, org), "foreign", AssumeRoleInput{}, nil, true},
		{trusting(`"*"`, `{"StringEquals":{"aws:PrincipalOrgID":"o-other"}}`), "foreign", AssumeRoleInput{}, nil, false},
		{trusting(`{"Service":"acm.amazonaws.com"}`, ""), "rich", AssumeRoleInput{}, nil, false},
		{trusting(`{"Federated":"accounts.google.com"}`, ""), "rich", AssumeRoleInput{}, nil, false},

		{trusting(`{"AWS":"`+stranger+`"}`, `{"StringEquals":{"sts:ExternalId":"secret"}}`), "foreign", AssumeRoleInput{ExternalId: "secret"}, nil, true},
		{trusting(`{"AWS":"`+stranger+`"}`, `{"StringEquals":{"sts:ExternalId":"secret"}}`), "foreign", AssumeRoleInput{ExternalId: "other"}, nil, false},
		{trusting(`{"AWS":"`+stranger+`"}`, `{"StringEquals":{"sts:ExternalId":"secret"}}`), "foreign", AssumeRoleInput{}, nil, false},
		// The front's conditions cannot speak for the input.
		{trusting(`{"AWS":"`+stranger+`"}`, `{"StringEquals":{"sts:RoleSessionName":"boss"}}`), "foreign", AssumeRoleInput{}, map[string][]string{"sts:RoleSessionName": {"boss"}}, false},
		{trusting(`{"AWS":"123456789012"}`, `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), "rich", AssumeRoleInput{}, map[string][]string{"aws:SourceIp": {"10.1.1.1"}}, true},
		{trusting(`{"AWS":"123456789012"}`, `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), "rich", AssumeRoleInput{}, map[string][]string{"aws:SourceIp": {"11.1.1.1"}}, false},
		{trusting(`{"AWS":"123456789012"}`, `{"StringEquals":{"aws:username":"rich"}}`), "rich", AssumeRoleInput{}, nil, true},
		{trusting(`{"AWS":"123456789012"}`, `{"Bool":{"aws:MultiFactorAuthPresent":"true"}}`), "rich", AssumeRoleInput{}, nil, false},

		{trusting(`{"AWS":"123456789012"}`, ""), "rich", AssumeRoleInput{Tags: []Tag{{"team", "a"}}}, nil, false}, // tags need sts:TagSession
		{trustingTo("sts:AssumeRole sts:TagSession", `{"AWS":"123456789012"}`, ""), "rich", AssumeRoleInput{Tags: []Tag{{"team", "a"}}}, nil, true},
		{trustingTo("sts:AssumeRole sts:TagSession", `{"AWS":"123456789012"}`, `{"StringEquals":{"aws:RequestTag/team":"a"}}`), "rich", AssumeRoleInput{Tags: []Tag{{"team", "b"}}}, nil, false},
		{trusting(`{"AWS":"123456789012"}`, ""), "rich", AssumeRoleInput{SourceIdentity: "ann"}, nil, false},
		{trustingTo("sts:AssumeRole sts:SetSourceIdentity", `{"AWS":"123456789012"}`, ""), "rich", AssumeRoleInput{SourceIdentity: "ann"}, nil, true},
	} {
		name := "r" + strings.Repeat("i", i)
		row.in.RoleArn, row.in.RoleSessionName = h.newRole(t, management, name, row.trust), "session"
		ctx := context.WithValue(t.Context(), callKey{}, &callOf{p: who[row.caller], conditions: row.conditions})
		_, err := h.AssumeRole(ctx, &row.in)
		if row.want && err != nil {
			t.Errorf("%s, %s: %v", row.trust, row.caller, err)
		}
		if !row.want {
			wantCode(t, err, "AccessDenied")
		}
	}
	// A role that is not there looks the same, of whatever account.
	for _, arn := range []string{"arn:aws:iam::" + management + ":role/none", "arn:aws:iam::999999999999:role/none", "arn:aws:iam::" + management + ":role/path/r"} {
		_, err := h.AssumeRole(as(t, who["rich"]), &AssumeRoleInput{RoleArn: arn, RoleSessionName: "s-1"})
		wantCode(t, err, "AccessDenied")
	}
	_, err := h.AssumeRole(as(t, who["rich"]), &AssumeRoleInput{RoleArn: "arn:aws:iam::" + management + ":user/rich", RoleSessionName: "s-1"})
	wantCode(t, err, "ValidationError")
}

func TestSessions(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	key := h.user(t, management, "u", aws+"AdministratorAccess")
	u := h.who(t, key.AccessKeyId, "")
	role := h.newRole(t, management, "r", trustingTo("sts:AssumeRole sts:TagSession sts:SetSourceIdentity", `{"AWS":"123456789012"}`, ""), aws+"AWSPrivateCAFullAccess")
	must(h.TagRole(ctx, &TagRoleInput{RoleName: "r", Tags: []Tag{{"Team", "role"}, {"kind", "role"}}}))(t)
	out := h.assume(t, u, &AssumeRoleInput{RoleArn: role, RoleSessionName: "build-1", Tags: []Tag{{"team", "session"}}, SourceIdentity: "ann"})
	c := out.Credentials
	if !strings.HasPrefix(c.AccessKeyId, "ASIA") || len(c.AccessKeyId) != 20 || out.AssumedRoleUser.Arn != "arn:aws:sts::"+management+":assumed-role/r/build-1" || !strings.HasSuffix(out.AssumedRoleUser.AssumedRoleId, ":build-1") {
		t.Errorf("%+v", out.AssumedRoleUser)
	}
	if d := time.Until(c.Expiration); d < 59*time.Minute || d > time.Hour+time.Second {
		t.Errorf("it lasts %v", d)
	}
	if secret, ok, err := h.Secret(t.Context(), c.AccessKeyId); err != nil || !ok || secret != c.SecretAccessKey {
		t.Errorf("%v, %v", ok, err)
	}
	p := h.who(t, c.AccessKeyId, c.SessionToken)
	value := func(key string) string {
		for k, v := range p.Context {
			if strings.EqualFold(k, key) {
				return strings.Join(v, " ")
			}
		}
		return ""
	}
	if p.ARN != out.AssumedRoleUser.Arn || p.Role != role || p.ID != out.AssumedRoleUser.AssumedRoleId ||
		value("aws:PrincipalTag/team") != "session" || value("aws:PrincipalTag/kind") != "role" || value("aws:SourceIdentity") != "ann" ||
		value("aws:MultiFactorAuthPresent") != "false" || value("aws:TokenIssueTime") == "" || value("aws:PrincipalOrgID") != h.organization {
		t.Errorf("%+v", p)
	}
	if h.who(t, c.AccessKeyId, c.SessionToken) != p {
		t.Error("the token is opened at every request")
	}
	if got := must(h.GetCallerIdentity(as(t, p), &GetCallerIdentityInput{}))(t); got.Arn != p.ARN || got.UserId != p.ID || got.Account != management {
		t.Errorf("%+v", got)
	}
	if role := must(h.GetRole(ctx, &GetRoleInput{RoleName: "r"}))(t).Role; role.RoleLastUsed.LastUsedDate.IsZero() {
		t.Errorf("%+v", role.RoleLastUsed)
	}

	// Tokens that are not what they should be.
	other := h.assume(t, u, &AssumeRoleInput{RoleArn: role, RoleSessionName: "build-2"}).Credentials
	flipped := []byte(c.SessionToken)
	if flipped[40] ^= 1; flipped[40] == '=' {
		flipped[40] = 'A'
	}
	for what, bad := range map[string][2]string{
		"no token":       {c.AccessKeyId, ""},
		"tampered":       {c.AccessKeyId, string(flipped)},
		"another's":      {c.AccessKeyId, other.SessionToken},
		"cut":            {c.AccessKeyId, c.SessionToken[:20]},
		"not base64":     {c.AccessKeyId, "token"},
		"made up":        {"ASIA" + strings.Repeat("A", 16), c.SessionToken},
		"short":          {"ASIA", c.SessionToken},
		"a marker":       {c.AccessKeyId, h.seal("marker identities", []byte("x"))},
		"long-lived key": {key.AccessKeyId, c.SessionToken},
	} {
		if _, err := h.Principal(t.Context(), bad[0], bad[1]); !errors.Is(err, iam.ErrInvalidToken) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, ok, err := h.Secret(t.Context(), "ASIA"+strings.Repeat("A", 16)); ok || err != nil {
		t.Errorf("an id that nobody was given: %v, %v", ok, err)
	}
	foreign := newHouse(t) // has the same key, and not the role
	if _, err := foreign.Principal(t.Context(), c.AccessKeyId, c.SessionToken); !errors.Is(err, iam.ErrInvalidToken) {
		t.Errorf("a session of another server: %v", err)
	}

	// It survives a restart, follows its role, and ends.
	h.restart(t)
	p = h.who(t, c.AccessKeyId, c.SessionToken)
	if !can(p, "acm-pca:IssueCertificate", caARN) {
		t.Error("after a restart it may less")
	}
	must(h.DetachRolePolicy(ctx, &DetachRolePolicyInput{RoleName: "r", PolicyArn: aws + "AWSPrivateCAFullAccess"}))(t)
	if can(h.who(t, c.AccessKeyId, c.SessionToken), "acm-pca:IssueCertificate", caARN) {
		t.Error("it may what its role may no longer")
	}
	h.pass(time.Hour + time.Minute)
	if _, err := h.Principal(t.Context(), c.AccessKeyId, c.SessionToken); !errors.Is(err, iam.ErrExpiredToken) {
		t.Errorf("after its end, found: %v", err)
	}
	h.changed()
	if _, err := h.Principal(t.Context(), c.AccessKeyId, c.SessionToken); !errors.Is(err, iam.ErrExpiredToken) {
		t.Errorf("after its end, opened: %v", err)
	}
	c = h.assume(t, u, &AssumeRoleInput{RoleArn: role, RoleSessionName: "build-3"}).Credentials
	h.who(t, c.AccessKeyId, c.SessionToken)
	must(h.DeleteRole(ctx, &DeleteRoleInput{RoleName: "r"}))(t)
	if _, err := h.Principal(t.Context(), c.AccessKeyId, c.SessionToken); !errors.Is(err, iam.ErrInvalidToken) {
		t.Errorf("after its role: %v", err)
	}
	// A new role of the same name is another.
	h.newRole(t, management, "r", trusting(`{"AWS":"123456789012"}`, ""), aws+"AWSPrivateCAFullAccess")
	if _, err := h.Principal(t.Context(), c.AccessKeyId, c.SessionToken); !errors.Is(err, iam.ErrInvalidToken) {
		t.Errorf("a session of a role that was: %v", err)
	}
}

// TestSessionPolicies: what a session is made with narrows, and gives nothing.
func TestSessionPolicies(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.user(t, management, "u", aws+"AdministratorAccess")
	u := h.who(t, key.AccessKeyId, "")
	role := h.newRole(t, management, "r", trusting(`{"AWS":"123456789012"}`, ""), aws+"AWSPrivateCAAuditor")
	const issue = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["acm-pca:IssueCertificate","acm-pca:GetCertificate"],"Resource":"*"}}`
	for _, row := range []struct {
		in               AssumeRoleInput
		get, list, issue bool
	}{
		{AssumeRoleInput{}, true, true, false},
		{AssumeRoleInput{Policy: issue}, true, false, false},
		{AssumeRoleInput{PolicyArns: []PolicyDescriptorType{{aws + "AWSPrivateCAUser"}}}, true, true, false},
		{AssumeRoleInput{PolicyArns: []PolicyDescriptorType{{aws + "AmazonS3FullAccess"}}}, false, false, false},
		{AssumeRoleInput{Policy: issue, PolicyArns: []PolicyDescriptorType{{aws + "AWSPrivateCAReadOnly"}}}, true, true, false},
		{AssumeRoleInput{Policy: strings.Replace(allowAll, "Allow", "Deny", 1)}, false, false, false},
	} {
		row.in.RoleArn, row.in.RoleSessionName = role, "s-1"
		out := h.assume(t, u, &row.in)
		p := h.who(t, out.Credentials.AccessKeyId, out.Credentials.SessionToken)
		if can(p, "acm-pca:GetCertificate", caARN) != row.get || can(p, "acm-pca:ListCertificateAuthorities", "*") != row.list || can(p, "acm-pca:IssueCertificate", caARN) != row.issue {
			t.Errorf("%+v", row.in)
		}
		if (out.PackedPolicySize > 0) != (row.in.Policy != "" || len(row.in.PolicyArns) > 0) {
			t.Errorf("packed: %d", out.PackedPolicySize)
		}
	}
	refused := func(code string, in AssumeRoleInput) {
		t.Helper()
		if in.RoleArn, in.RoleSessionName = role, "s-1"; in.DurationSeconds == 0 {
			in.DurationSeconds = 900
		}
		_, err := h.AssumeRole(as(t, u), &in)
		wantCode(t, err, code)
	}
	refused("MalformedPolicyDocument", AssumeRoleInput{Policy: "{}"})
	refused("NoSuchEntity", AssumeRoleInput{PolicyArns: []PolicyDescriptorType{{aws + "None"}}})
	refused("PackedPolicyTooLarge", AssumeRoleInput{Policy: strings.Replace(allowAll, `"*"`, `["`+strings.Repeat(`s3:GetObject","`, 200)+`*"]`, 1)})
	refused("ValidationError", AssumeRoleInput{DurationSeconds: 7201})
	refused("ValidationError", AssumeRoleInput{DurationSeconds: 899})
	refused("AccessDenied", AssumeRoleInput{SerialNumber: "arn:aws:iam::123456789012:mfa/x", TokenCode: "123456"})
}

// TestChains: a session of a role assumes another.
func TestChains(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.user(t, management, "u", aws+"AdministratorAccess")
	first := h.newRole(t, management, "first", trustingTo("sts:AssumeRole sts:TagSession sts:SetSourceIdentity", `{"AWS":"123456789012"}`, ""), aws+"AdministratorAccess")
	second := h.newRole(t, stranger, "second", trustingTo("sts:AssumeRole sts:TagSession", `{"AWS":"`+first+`"}`, ""))
	c := h.assume(t, h.who(t, key.AccessKeyId, ""), &AssumeRoleInput{RoleArn: first, RoleSessionName: "one", Tags: []Tag{{"team", "a"}, {"own", "b"}}, TransitiveTagKeys: []string{"team"}, SourceIdentity: "ann"}).Credentials
	one := h.who(t, c.AccessKeyId, c.SessionToken)
	_, err := h.AssumeRole(as(t, one), &AssumeRoleInput{RoleArn: second, RoleSessionName: "two", DurationSeconds: 3601})
	wantCode(t, err, "ValidationError")
	_, err = h.AssumeRole(as(t, one), &AssumeRoleInput{RoleArn: second, RoleSessionName: "two", Tags: []Tag{{"team", "x"}}})
	wantCode(t, err, "InvalidParameterValue")
	_, err = h.AssumeRole(as(t, h.who(t, key.AccessKeyId, "")), &AssumeRoleInput{RoleArn: second, RoleSessionName: "two"})
	wantCode(t, err, "AccessDenied")
	c = h.assume(t, one, &AssumeRoleInput{RoleArn: second, RoleSessionName: "two"}).Credentials
	two := h.who(t, c.AccessKeyId, c.SessionToken)
	if two.Account != stranger || two.Context["aws:PrincipalTag/team"][0] != "a" || two.Context["aws:PrincipalTag/own"] != nil || two.Context["aws:SourceIdentity"][0] != "ann" || !maps.Equal(two.Transitive, map[string]string{"team": "a"}) {
		t.Errorf("%+v", two)
	}
	if can(two, "s3:GetObject", "*") {
		t.Error("the second role may what the first may")
	}
}

func TestGetSessionToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.user(t, management, "u", aws+"AdministratorAccess")
	u := h.who(t, key.AccessKeyId, "")
	c := must(h.GetSessionToken(as(t, u), &GetSessionTokenInput{DurationSeconds: 900}))(t).Credentials
	p := h.who(t, c.AccessKeyId, c.SessionToken)
	if p.ARN != u.ARN || p.ID != u.ID || p.Expires.IsZero() || p.Context["aws:MultiFactorAuthPresent"][0] != "false" {
		t.Errorf("%+v", p)
	}
	for action, want := range map[string]bool{
		"acm-pca:GetCertificate": true, "s3:GetObject": true, "sts:AssumeRole": true, "iam:ListUsers": false, "sts:GetSessionToken": false, "organizations:ListAccounts": true,
	} {
		if can(p, action, "*") != want {
			t.Errorf("%s: %v", action, !want)
		}
	}
	_, err := h.GetSessionToken(as(t, p), &GetSessionTokenInput{})
	wantCode(t, err, "AccessDenied")
	_, err = h.GetSessionToken(as(t, u), &GetSessionTokenInput{TokenCode: "123456"})
	wantCode(t, err, "AccessDenied")
	if got := must(h.GetAccessKeyInfo(as(t, u), &GetAccessKeyInfoInput{AccessKeyId: key.AccessKeyId}))(t); got.Account != management {
		t.Errorf("%+v", got)
	}
	_, err = h.GetAccessKeyInfo(h.root(t, stranger), &GetAccessKeyInfoInput{AccessKeyId: key.AccessKeyId})
	wantCode(t, err, "ValidationError")
}

// TestInheritedTagStays: a session does not get rid of the tag that the one
// before passed on by writing its key in another case.
func TestInheritedTagStays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.user(t, management, "u", aws+"AdministratorAccess")
	role := h.newRole(t, management, "r", trustingTo("sts:AssumeRole sts:TagSession", `{"AWS":"123456789012"}`, ""), aws+"AdministratorAccess")
	first := h.assume(t, h.who(t, key.AccessKeyId, ""), &AssumeRoleInput{RoleArn: role, RoleSessionName: "s-1", Tags: []Tag{{"team", "red"}}, TransitiveTagKeys: []string{"team"}})
	p := h.who(t, first.Credentials.AccessKeyId, first.Credentials.SessionToken)
	for _, k := range []string{"team", "Team", "TEAM"} {
		_, err := h.AssumeRole(as(t, p), &AssumeRoleInput{RoleArn: role, RoleSessionName: "s-2", Tags: []Tag{{k, "blue"}}})
		wantCode(t, err, "InvalidParameterValue")
	}
}

// TestRolesOfClosedAccount: only who is trusted learns that the account is closed.
func TestRolesOfClosedAccount(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	made := must(h.CreateAccount(h.root(t, management), &CreateAccountInput{AccountName: "a", Email: "a@example.com"}))(t).CreateAccountStatus.AccountId
	trusting := h.newRole(t, made, "trusting", trusting(`{"AWS":"`+stranger+`"}`, ""))
	other := h.newRole(t, made, "other", trustingTo("sts:AssumeRole", `{"AWS":"`+management+`"}`, ""))
	key := h.user(t, stranger, "u", aws+"AdministratorAccess")
	must(h.CloseAccount(h.root(t, management), &CloseAccountInput{AccountId: made}))(t)
	for role, closed := range map[string]bool{trusting: true, other: false, other + "-not": false} {
		_, err := h.AssumeRole(as(t, h.who(t, key.AccessKeyId, "")), &AssumeRoleInput{RoleArn: role, RoleSessionName: "s-1"})
		if wantCode(t, err, "AccessDenied"); strings.Contains(err.Error(), "closed") != closed {
			t.Error(err)
		}
	}
}

func TestTrustNamesPrincipals(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const document = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","NotPrincipal":{"AWS":"210987654321"},"Action":"sts:*"}}`
	_, err := h.CreateRole(h.root(t, management), &CreateRoleInput{RoleName: "r", AssumeRolePolicyDocument: document})
	wantCode(t, err, "MalformedPolicyDocument")
	h.newRole(t, management, "r", trusting(`{"AWS":"123456789012"}`, ""))
	_, err = h.UpdateAssumeRolePolicy(h.root(t, management), &UpdateAssumeRolePolicyInput{RoleName: "r", PolicyDocument: document})
	wantCode(t, err, "MalformedPolicyDocument")
}

// TestSessionPoliciesOnTheWire: the one member of STS whose name begins small.
func TestSessionPoliciesOnTheWire(t *testing.T) {
	t.Parallel()
	in := &AssumeRoleInput{}
	form := url.Values{"RoleArn": {"arn:aws:iam::123456789012:role/r"}, "RoleSessionName": {"s-1"}, "PolicyArns.member.1.arn": {aws + "AWSPrivateCAUser"}}
	if err := shape.Form(form, in); err != nil || len(in.PolicyArns) != 1 || in.PolicyArns[0].Arn != aws+"AWSPrivateCAUser" {
		t.Errorf("%+v, %v", in, err)
	}
	// What is not read must not leave a session without its limit.
	form["PolicyArns.member.1.Arn"] = form["PolicyArns.member.1.arn"]
	delete(form, "PolicyArns.member.1.arn")
	if err := shape.Form(form, in); err == nil {
		t.Error("a policy without its ARN is accepted")
	}
}

// TestKnownIsBounded: sessions share the policies of their role, and those
// with policies of their own push each other out before they fill the memory.
func TestKnownIsBounded(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.user(t, management, "u", aws+"AdministratorAccess")
	role := h.newRole(t, management, "r", trustingTo("sts:AssumeRole", `{"AWS":"123456789012"}`, ""))
	must(h.PutRolePolicy(h.root(t, management), &PutRolePolicyInput{RoleName: "r", PolicyName: "p", PolicyDocument: allowAll}))(t)
	u := h.who(t, key.AccessKeyId, "")
	session := func(policy string) *iam.Principal {
		c := h.assume(t, u, &AssumeRoleInput{RoleArn: role, RoleSessionName: "s-1", Policy: policy}).Credentials
		return h.who(t, c.AccessKeyId, c.SessionToken)
	}
	if a, b := session(""), session(""); a == b || a.Policies[0] != b.Policies[0] {
		t.Error("two sessions of a role do not share its policy")
	}
	bytes := func() (n int) {
		h.known.RLock()
		defer h.known.RUnlock()
		for document := range h.known.policies {
			n += len(document)
		}
		for _, p := range h.known.keys {
			n += len(p.token)
		}
		if n != h.known.bytes {
			t.Fatalf("%d bytes are known, %d are counted", n, h.known.bytes)
		}
		return n
	}
	pad := strings.Repeat(" ", 7500) // is not counted as part of the policy
	most := 0
	for i := range 700 {
		p := session(`{"Version":"2012-10-17","Statement":{` + pad + `"Sid":"` + strconv.Itoa(i) + `","Effect":"Allow","Action":"s3:*","Resource":"*"}}`)
		if !can(p, "s3:GetObject", "*") || can(p, "iam:ListUsers", "*") {
			t.Fatalf("session %d", i)
		}
		if i%50 == 0 {
			most = max(most, bytes())
		}
	}
	if most > maxKnownBytes || most < maxKnownBytes/2 {
		t.Errorf("up to %d bytes were known", most)
	}
	h.changed()
	bytes()
}

// TestUsesOfTheDeleted: who makes, uses and deletes keys and roles leaves nothing behind.
func TestUsesOfTheDeleted(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	ctx := h.root(t, management)
	key := h.user(t, management, "u", aws+"AdministratorAccess")
	role := h.newRole(t, management, "r", trusting(`{"AWS":"123456789012"}`, ""))
	u := h.who(t, key.AccessKeyId, "")
	c := h.assume(t, u, &AssumeRoleInput{RoleArn: role, RoleSessionName: "s-1"}).Credentials
	h.who(t, c.AccessKeyId, c.SessionToken)
	must(h.DeleteRole(ctx, &DeleteRoleInput{RoleName: "r"}))(t)
	must(h.DeleteAccessKey(ctx, &DeleteAccessKeyInput{UserName: "u", AccessKeyId: key.AccessKeyId}))(t)
	h.uses.Lock()
	defer h.uses.Unlock()
	if len(h.uses.m) != 0 {
		t.Errorf("%v", h.uses.m)
	}
}
