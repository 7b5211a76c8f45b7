package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	orgtypes "github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

const firstAccount = "123456789012"

// with is the server as somebody with these keys sees it.
func (i *instance) with(id, secret, token string) aws.Config {
	cfg := i.aws.Copy()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(id, secret, token)
	cfg.RetryMaxAttempts = 1
	return cfg
}

func wantNo(t *testing.T, code string) func(any, error) {
	t.Helper()
	return func(_ any, err error) {
		t.Helper()
		if e := smithy.APIError(nil); !errors.As(err, &e) || e.ErrorCode() != code {
			t.Errorf("%v, want %s", err, code)
		}
	}
}

const allowEverything = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// TestUsersThroughTheSDK goes through all that a user can have.
func TestUsersThroughTheSDK(t *testing.T) {
	t.Parallel()
	i, ctx := start(t, nil), t.Context()
	c := iam.NewFromConfig(i.aws)
	name, p := aws.String("alice"), aws.String("arn:aws:iam::aws:policy/AWSPrivateCAAuditor")

	u := must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: name, Path: aws.String("/team/"), PermissionsBoundary: p, Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}}))(t).User
	if *u.Arn != "arn:aws:iam::"+firstAccount+":user/team/alice" || !strings.HasPrefix(*u.UserId, "AIDA") || time.Since(*u.CreateDate) > time.Minute || *u.Path != "/team/" {
		t.Errorf("%+v", u)
	}
	wantNo(t, "EntityAlreadyExists")(c.CreateUser(ctx, &iam.CreateUserInput{UserName: name}))
	wantNo(t, "ValidationError")(c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("a b")}))
	if err := iam.NewUserExistsWaiter(c).Wait(ctx, &iam.GetUserInput{UserName: name}, time.Second); err != nil {
		t.Error(err)
	}
	must(c.TagUser(ctx, &iam.TagUserInput{UserName: name, Tags: []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}}}))(t)
	must(c.UntagUser(ctx, &iam.UntagUserInput{UserName: name, TagKeys: []string{"a"}}))(t)
	if tags := must(c.ListUserTags(ctx, &iam.ListUserTagsInput{UserName: name}))(t).Tags; len(tags) != 1 || *tags[0].Key != "b" {
		t.Errorf("tags: %+v", tags)
	}
	if u = must(c.GetUser(ctx, &iam.GetUserInput{UserName: name}))(t).User; len(u.Tags) != 1 || *u.PermissionsBoundary.PermissionsBoundaryArn != *p || u.PermissionsBoundary.PermissionsBoundaryType != "Policy" && u.PermissionsBoundary.PermissionsBoundaryType != "PermissionsBoundaryPolicy" {
		t.Errorf("%+v %+v", u, u.PermissionsBoundary)
	}
	must(c.DeleteUserPermissionsBoundary(ctx, &iam.DeleteUserPermissionsBoundaryInput{UserName: name}))(t)
	must(c.PutUserPermissionsBoundary(ctx, &iam.PutUserPermissionsBoundaryInput{UserName: name, PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}))(t)

	// Policies, attached and inline.
	must(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: p}))(t)
	wantNo(t, "NoSuchEntity")(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/Nothing")}))
	if l := must(c.ListAttachedUserPolicies(ctx, &iam.ListAttachedUserPoliciesInput{UserName: name}))(t).AttachedPolicies; len(l) != 1 || *l[0].PolicyArn != *p || *l[0].PolicyName != "AWSPrivateCAAuditor" {
		t.Errorf("%+v", l)
	}
	document := `{"Version": "2012-10-17", "Statement": {"Sid": "A", "Effect": "Allow", "Action": "iam:GetUser", "Resource": "*"}}`
	must(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("own"), PolicyDocument: &document}))(t)
	wantNo(t, "MalformedPolicyDocument")(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: aws.String("own2"), PolicyDocument: aws.String(`{"Statement":[]}`)}))
	if l := must(c.ListUserPolicies(ctx, &iam.ListUserPoliciesInput{UserName: name}))(t).PolicyNames; !slices.Equal(l, []string{"own"}) {
		t.Errorf("%q", l)
	}
	got := must(c.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: name, PolicyName: aws.String("own")}))(t)
	if text, err := url.PathUnescape(*got.PolicyDocument); err != nil || text != document {
		t.Errorf("%s, %v", text, err)
	}

	// Keys.
	k := must(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name}))(t).AccessKey
	alice := i.with(*k.AccessKeyId, *k.SecretAccessKey, "")
	if me := must(iam.NewFromConfig(alice).GetUser(ctx, &iam.GetUserInput{}))(t).User; *me.UserName != "alice" {
		t.Errorf("%+v", me)
	}
	wantNo(t, "AccessDenied")(iam.NewFromConfig(alice).CreateAccessKey(ctx, &iam.CreateAccessKeyInput{}))
	wantNo(t, "AccessDenied")(iam.NewFromConfig(alice).ListAccessKeys(ctx, &iam.ListAccessKeysInput{}))
	must(acmpca.NewFromConfig(alice).ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{}))(t)
	must(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name}))(t)
	wantNo(t, "LimitExceeded")(c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name}))
	if used := must(c.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: k.AccessKeyId}))(t); *used.UserName != "alice" || used.AccessKeyLastUsed.LastUsedDate == nil {
		t.Errorf("%+v", used.AccessKeyLastUsed)
	}
	must(c.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: name, AccessKeyId: k.AccessKeyId, Status: types.StatusTypeInactive}))(t)
	wantNo(t, "InvalidClientTokenId")(sts.NewFromConfig(alice).GetCallerIdentity(ctx, nil))
	keys := must(c.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: name}))(t).AccessKeyMetadata
	if len(keys) != 2 {
		t.Errorf("%+v", keys)
	}

	// Deleting, as Terraform does with force_destroy.
	wantNo(t, "DeleteConflict")(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name}))
	must(c.ListGroupsForUser(ctx, &iam.ListGroupsForUserInput{UserName: name}))(t)
	must(c.ListSSHPublicKeys(ctx, &iam.ListSSHPublicKeysInput{UserName: name}))(t)
	must(c.ListVirtualMFADevices(ctx, &iam.ListVirtualMFADevicesInput{AssignmentStatus: types.AssignmentStatusTypeAssigned}))(t)
	must(c.ListMFADevices(ctx, &iam.ListMFADevicesInput{UserName: name}))(t)
	must(c.ListSigningCertificates(ctx, &iam.ListSigningCertificatesInput{UserName: name}))(t)
	must(c.ListServiceSpecificCredentials(ctx, &iam.ListServiceSpecificCredentialsInput{UserName: name}))(t)
	wantNo(t, "NoSuchEntity")(c.DeleteLoginProfile(ctx, &iam.DeleteLoginProfileInput{UserName: name}))
	for _, k := range keys {
		must(c.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: k.AccessKeyId}))(t)
	}
	must(c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: name, PolicyArn: p}))(t)
	wantNo(t, "NoSuchEntity")(c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: name, PolicyArn: p}))
	must(c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: name, PolicyName: aws.String("own")}))(t)
	must(c.UpdateUser(ctx, &iam.UpdateUserInput{UserName: name, NewUserName: aws.String("bob"), NewPath: aws.String("/")}))(t)
	wantNo(t, "NoSuchEntity")(c.GetUser(ctx, &iam.GetUserInput{UserName: name}))
	must(c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("bob")}))(t)

	// Pages.
	for n := range 5 {
		must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String(fmt.Sprintf("u%d", n))}))(t)
	}
	var names []string
	pages := iam.NewListUsersPaginator(c, &iam.ListUsersInput{MaxItems: aws.Int32(2)})
	for pages.HasMorePages() {
		page := must(pages.NextPage(ctx))(t)
		if len(page.Users) > 2 {
			t.Errorf("a page has %d users", len(page.Users))
		}
		for _, u := range page.Users {
			names = append(names, *u.UserName)
		}
	}
	if !slices.Equal(names, []string{"admin", "u0", "u1", "u2", "u3", "u4"}) {
		t.Errorf("%q", names)
	}
}

// TestRolesThroughTheSDK goes through all that a role can have, its sessions too.
func TestRolesThroughTheSDK(t *testing.T) {
	t.Parallel()
	i, ctx := start(t, nil), t.Context()
	c := iam.NewFromConfig(i.aws)
	name := aws.String("deploy")
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + firstAccount + `:root"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x7"}}}]}`
	r := must(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: name, AssumeRolePolicyDocument: &trust, Description: aws.String("d"), MaxSessionDuration: aws.Int32(7200), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}}}))(t).Role
	if text, err := url.PathUnescape(*r.AssumeRolePolicyDocument); err != nil || text != trust || *r.MaxSessionDuration != 7200 || !strings.HasPrefix(*r.RoleId, "AROA") {
		t.Errorf("%+v %s", r, text)
	}
	wantNo(t, "MalformedPolicyDocument")(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("x"), AssumeRolePolicyDocument: aws.String(allowEverything)}))
	must(c.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AWSPrivateCAReadOnly")}))(t)
	must(c.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: name, PolicyName: aws.String("own"), PolicyDocument: aws.String(allowEverything)}))(t)
	must(c.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: name, PolicyName: aws.String("own")}))(t)
	if l := must(c.ListRolePolicies(ctx, &iam.ListRolePoliciesInput{RoleName: name}))(t).PolicyNames; !slices.Equal(l, []string{"own"}) {
		t.Errorf("%q", l)
	}
	must(c.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: name, PolicyName: aws.String("own")}))(t)
	if l := must(c.ListAttachedRolePolicies(ctx, &iam.ListAttachedRolePoliciesInput{RoleName: name}))(t).AttachedPolicies; len(l) != 1 {
		t.Errorf("%+v", l)
	}
	must(c.TagRole(ctx, &iam.TagRoleInput{RoleName: name, Tags: []types.Tag{{Key: aws.String("b"), Value: aws.String("")}}}))(t)
	must(c.UntagRole(ctx, &iam.UntagRoleInput{RoleName: name, TagKeys: []string{"a"}}))(t)
	if tags := must(c.ListRoleTags(ctx, &iam.ListRoleTagsInput{RoleName: name}))(t).Tags; len(tags) != 1 || *tags[0].Value != "" {
		t.Errorf("%+v", tags)
	}
	must(c.UpdateRole(ctx, &iam.UpdateRoleInput{RoleName: name, MaxSessionDuration: aws.Int32(3600)}))(t)
	must(c.UpdateRoleDescription(ctx, &iam.UpdateRoleDescriptionInput{RoleName: name, Description: aws.String("e")}))(t)
	must(c.PutRolePermissionsBoundary(ctx, &iam.PutRolePermissionsBoundaryInput{RoleName: name, PermissionsBoundary: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}))(t)
	if r = must(c.GetRole(ctx, &iam.GetRoleInput{RoleName: name}))(t).Role; *r.Description != "e" || *r.MaxSessionDuration != 3600 || r.PermissionsBoundary == nil || r.Description == nil {
		t.Errorf("%+v", r)
	}
	must(c.DeleteRolePermissionsBoundary(ctx, &iam.DeleteRolePermissionsBoundaryInput{RoleName: name}))(t)
	if l := must(c.ListRoles(ctx, &iam.ListRolesInput{}))(t).Roles; len(l) != 1 {
		t.Errorf("%+v", l)
	}

	// Sessions.
	assume := func(cfg aws.Config, externalID string, seconds int32) (*sts.AssumeRoleOutput, error) {
		return sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: r.Arn, RoleSessionName: aws.String("s1"), ExternalId: &externalID, DurationSeconds: &seconds})
	}
	wantNo(t, "AccessDenied")(assume(i.aws, "other", 900))
	wantNo(t, "ValidationError")(assume(i.aws, "x7", 3601))
	out := must(assume(i.aws, "x7", 900))(t)
	if *out.AssumedRoleUser.Arn != "arn:aws:sts::"+firstAccount+":assumed-role/deploy/s1" || time.Until(*out.Credentials.Expiration) > 15*time.Minute {
		t.Errorf("%+v", out)
	}
	session := i.with(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	if me := must(sts.NewFromConfig(session).GetCallerIdentity(ctx, nil))(t); *me.Arn != *out.AssumedRoleUser.Arn || *me.UserId != *r.RoleId+":s1" {
		t.Errorf("%+v", me)
	}
	must(acmpca.NewFromConfig(session).ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{}))(t)
	wantNo(t, "AccessDenied")(iam.NewFromConfig(session).ListUsers(ctx, nil))
	wantNo(t, "InvalidClientTokenId")(sts.NewFromConfig(i.with(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, "other")).GetCallerIdentity(ctx, nil))
	wantNo(t, "InvalidClientTokenId")(sts.NewFromConfig(i.with(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, "")).GetCallerIdentity(ctx, nil))

	// A user needs the trust of the account and a policy, or the trust itself.
	k := must(func() (*iam.CreateAccessKeyOutput, error) {
		must(c.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("carol")}))(t)
		return c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("carol")})
	}())(t).AccessKey
	carol := i.with(*k.AccessKeyId, *k.SecretAccessKey, "")
	wantNo(t, "AccessDenied")(assume(carol, "x7", 900))
	must(c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: aws.String("carol"), PolicyName: aws.String("p"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"` + *r.Arn + `"}}`)}))(t)
	must(assume(carol, "x7", 900))(t)
	must(c.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: aws.String("carol"), PolicyName: aws.String("p")}))(t)
	must(c.UpdateAssumeRolePolicy(ctx, &iam.UpdateAssumeRolePolicyInput{RoleName: name, PolicyDocument: aws.String(strings.Replace(trust, ":root", ":user/carol", 1))}))(t)
	must(assume(carol, "x7", 900))(t)
	must(sts.NewFromConfig(carol).GetSessionToken(ctx, &sts.GetSessionTokenInput{DurationSeconds: aws.Int32(900)}))(t)
	if info := must(sts.NewFromConfig(i.aws).GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: k.AccessKeyId}))(t); *info.Account != firstAccount {
		t.Errorf("%+v", info)
	}

	// Without the role its sessions are nobody's.
	must(c.ListInstanceProfilesForRole(ctx, &iam.ListInstanceProfilesForRoleInput{RoleName: name}))(t)
	wantNo(t, "DeleteConflict")(c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}))
	must(c.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/AWSPrivateCAReadOnly")}))(t)
	must(c.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: name}))(t)
	wantNo(t, "InvalidClientTokenId")(sts.NewFromConfig(session).GetCallerIdentity(ctx, nil))
}

// TestPoliciesThroughTheSDK goes through managed policies, their versions, and OIDC providers.
func TestPoliciesThroughTheSDK(t *testing.T) {
	t.Parallel()
	i, ctx := start(t, nil), t.Context()
	c := iam.NewFromConfig(i.aws)
	p := must(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("mine"), PolicyDocument: aws.String(allowEverything), Description: aws.String("d")}))(t).Policy
	if *p.Arn != "arn:aws:iam::"+firstAccount+":policy/mine" || *p.DefaultVersionId != "v1" || !p.IsAttachable || *p.AttachmentCount != 0 {
		t.Errorf("%+v", p)
	}
	wantNo(t, "MalformedPolicyDocument")(c.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("x"), PolicyDocument: aws.String("{")}))
	for range 4 {
		must(c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: aws.String(allowEverything)}))(t)
	}
	wantNo(t, "LimitExceeded")(c.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: p.Arn, PolicyDocument: aws.String(allowEverything)}))
	must(c.SetDefaultPolicyVersion(ctx, &iam.SetDefaultPolicyVersionInput{PolicyArn: p.Arn, VersionId: aws.String("v3")}))(t)
	wantNo(t, "DeleteConflict")(c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: aws.String("v3")}))
	v := must(c.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: p.Arn, VersionId: aws.String("v3")}))(t).PolicyVersion
	if text, err := url.PathUnescape(*v.Document); err != nil || text != allowEverything || !v.IsDefaultVersion {
		t.Errorf("%+v", v)
	}
	if l := must(c.ListPolicyVersions(ctx, &iam.ListPolicyVersionsInput{PolicyArn: p.Arn}))(t).Versions; len(l) != 5 {
		t.Errorf("%+v", l)
	}
	must(c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("admin"), PolicyArn: p.Arn}))(t)
	if e := must(c.ListEntitiesForPolicy(ctx, &iam.ListEntitiesForPolicyInput{PolicyArn: p.Arn}))(t); len(e.PolicyUsers) != 1 || *e.PolicyUsers[0].UserName != "admin" {
		t.Errorf("%+v", e)
	}
	wantNo(t, "DeleteConflict")(c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: p.Arn}))
	must(c.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: aws.String("admin"), PolicyArn: p.Arn}))(t)
	for _, v := range []string{"v1", "v2", "v4", "v5"} {
		must(c.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: p.Arn, VersionId: &v}))(t)
	}
	if l := must(c.ListPolicies(ctx, &iam.ListPoliciesInput{Scope: types.PolicyScopeTypeLocal}))(t).Policies; len(l) != 1 {
		t.Errorf("%+v", l)
	}
	tags := []types.Tag{{Key: aws.String("a"), Value: aws.String("1")}, {Key: aws.String("b"), Value: aws.String("2")}}
	must(c.TagPolicy(ctx, &iam.TagPolicyInput{PolicyArn: p.Arn, Tags: tags}))(t)
	must(c.UntagPolicy(ctx, &iam.UntagPolicyInput{PolicyArn: p.Arn, TagKeys: []string{"a"}}))(t)
	if l := must(c.ListPolicyTags(ctx, &iam.ListPolicyTagsInput{PolicyArn: p.Arn}))(t).Tags; len(l) != 1 || *l[0].Value != "2" {
		t.Errorf("%+v", l)
	}
	must(c.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: p.Arn}))(t)
	wantNo(t, "NoSuchEntity")(c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: p.Arn}))
	a := must(c.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String("arn:aws:iam::aws:policy/AWSPrivateCAUser")}))(t).Policy
	if *a.DefaultVersionId != "v4" {
		t.Errorf("%+v", a)
	}
	if e := must(c.SimulatePrincipalPolicy(ctx, &iam.SimulatePrincipalPolicyInput{PolicySourceArn: aws.String("arn:aws:iam::" + firstAccount + ":user/admin"), ActionNames: []string{"acm-pca:GetCertificate"}}))(t); len(e.EvaluationResults) != 1 || e.EvaluationResults[0].EvalDecision != types.PolicyEvaluationDecisionTypeAllowed {
		t.Errorf("%+v", e)
	}
	if s := must(c.GetAccountSummary(ctx, &iam.GetAccountSummaryInput{}))(t).SummaryMap; s["Users"] != 1 {
		t.Errorf("%+v", s)
	}
	must(c.ListAccountAliases(ctx, &iam.ListAccountAliasesInput{}))(t)

	o := must(c.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: aws.String("https://issuer.example.com/x"), ClientIDList: []string{"a"}}))(t).OpenIDConnectProviderArn
	if *o != "arn:aws:iam::"+firstAccount+":oidc-provider/issuer.example.com/x" {
		t.Error(*o)
	}
	must(c.AddClientIDToOpenIDConnectProvider(ctx, &iam.AddClientIDToOpenIDConnectProviderInput{OpenIDConnectProviderArn: o, ClientID: aws.String("b")}))(t)
	must(c.RemoveClientIDFromOpenIDConnectProvider(ctx, &iam.RemoveClientIDFromOpenIDConnectProviderInput{OpenIDConnectProviderArn: o, ClientID: aws.String("a")}))(t)
	must(c.UpdateOpenIDConnectProviderThumbprint(ctx, &iam.UpdateOpenIDConnectProviderThumbprintInput{OpenIDConnectProviderArn: o, ThumbprintList: []string{strings.Repeat("ab", 20)}}))(t)
	if g := must(c.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: o}))(t); *g.Url != "issuer.example.com/x" || !slices.Equal(g.ClientIDList, []string{"b"}) || len(g.ThumbprintList) != 1 {
		t.Errorf("%+v", g)
	}
	must(c.TagOpenIDConnectProvider(ctx, &iam.TagOpenIDConnectProviderInput{OpenIDConnectProviderArn: o, Tags: tags}))(t)
	must(c.UntagOpenIDConnectProvider(ctx, &iam.UntagOpenIDConnectProviderInput{OpenIDConnectProviderArn: o, TagKeys: []string{"b"}}))(t)
	if l := must(c.ListOpenIDConnectProviderTags(ctx, &iam.ListOpenIDConnectProviderTagsInput{OpenIDConnectProviderArn: o}))(t).Tags; len(l) != 1 || *l[0].Value != "1" {
		t.Errorf("%+v", l)
	}
	if l := must(c.ListOpenIDConnectProviders(ctx, &iam.ListOpenIDConnectProvidersInput{}))(t).OpenIDConnectProviderList; len(l) != 1 {
		t.Errorf("%+v", l)
	}
	must(c.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("r"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"` + *o + `"},"Action":"sts:AssumeRoleWithWebIdentity"}}`)}))(t)
	wantNo(t, "InvalidIdentityToken")(sts.NewFromConfig(i.aws).AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{RoleArn: aws.String("arn:aws:iam::" + firstAccount + ":role/r"), RoleSessionName: aws.String("s1"), WebIdentityToken: aws.String("nonsense")}))
	must(c.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: o}))(t)
}

// TestAccountsThroughTheSDK: accounts are apart, the first manages the others,
// and a closed one is refused.
func TestAccountsThroughTheSDK(t *testing.T) {
	t.Parallel()
	i, ctx := start(t, nil), t.Context()
	c := organizations.NewFromConfig(i.aws)
	org := must(c.DescribeOrganization(ctx, nil))(t).Organization
	if !strings.HasPrefix(*org.Id, "o-") || *org.MasterAccountId != firstAccount || org.FeatureSet != orgtypes.OrganizationFeatureSetAll {
		t.Errorf("%+v", org)
	}
	status := must(c.CreateAccount(ctx, &organizations.CreateAccountInput{AccountName: aws.String("payments"), Email: aws.String("p@example.com")}))(t).CreateAccountStatus
	if status.State != orgtypes.CreateAccountStateSucceeded || status.CompletedTimestamp == nil {
		t.Fatalf("%+v", status)
	}
	again := must(c.DescribeCreateAccountStatus(ctx, &organizations.DescribeCreateAccountStatusInput{CreateAccountRequestId: status.Id}))(t).CreateAccountStatus
	if *again.AccountId != *status.AccountId {
		t.Errorf("%+v", again)
	}
	if l := must(c.ListCreateAccountStatus(ctx, &organizations.ListCreateAccountStatusInput{}))(t).CreateAccountStatuses; len(l) != 1 {
		t.Errorf("%+v", l)
	}
	if l := must(c.ListAccounts(ctx, nil))(t).Accounts; len(l) != 2 {
		t.Errorf("%+v", l)
	}
	if a := must(c.DescribeAccount(ctx, &organizations.DescribeAccountInput{AccountId: status.AccountId}))(t).Account; *a.Name != "payments" || a.Status != orgtypes.AccountStatusActive || time.Since(*a.JoinedTimestamp) > time.Minute {
		t.Errorf("%+v", a)
	}
	wantNo(t, "AccountNotFoundException")(c.DescribeAccount(ctx, &organizations.DescribeAccountInput{AccountId: aws.String("999999999999")}))

	out := must(sts.NewFromConfig(i.aws).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + *status.AccountId + ":role/OrganizationAccountAccessRole"), RoleSessionName: aws.String("s1")}))(t)
	there := i.with(*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken)
	if users := must(iam.NewFromConfig(there).ListUsers(ctx, nil))(t).Users; len(users) != 0 {
		t.Errorf("%+v", users)
	}
	wantNo(t, "NoSuchEntity")(iam.NewFromConfig(there).GetUser(ctx, &iam.GetUserInput{UserName: aws.String("admin")}))
	wantNo(t, "AccessDeniedException")(organizations.NewFromConfig(there).ListAccounts(ctx, nil))
	must(organizations.NewFromConfig(there).DescribeOrganization(ctx, nil))(t)

	must(c.CloseAccount(ctx, &organizations.CloseAccountInput{AccountId: status.AccountId}))(t)
	_, err := sts.NewFromConfig(there).GetCallerIdentity(ctx, nil)
	if err == nil || !strings.Contains(err.Error(), "closed") && !strings.Contains(err.Error(), "suspended") {
		t.Errorf("an account that was closed: %v", err)
	}
	if _, err := acmpca.NewFromConfig(there).ListCertificateAuthorities(ctx, nil); err == nil {
		t.Error("an account that was closed lists CAs")
	}
	if a := must(c.DescribeAccount(ctx, &organizations.DescribeAccountInput{AccountId: status.AccountId}))(t).Account; a.Status != orgtypes.AccountStatusSuspended {
		t.Errorf("%+v", a)
	}
	if _, err := c.CloseAccount(ctx, &organizations.CloseAccountInput{AccountId: aws.String(firstAccount)}); err == nil {
		t.Error("the management account was closed")
	}
}

// TestIdentityPrograms runs the aws CLI's and boto3's way through a user's
// life, with every AWS variable of this process out of the way.
func TestIdentityPrograms(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	config, credentials, err := clientFiles(i.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range [][]string{
		{"python3", filepath.Join("testdata", "identity.py")},
		{"bash", filepath.Join("testdata", "identity.sh")},
	} {
		t.Run(program[0], func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			cmd := exec.CommandContext(ctx, program[0], program[1:]...)
			cmd.Env = append(cleanEnvironment(), "HOME="+t.TempDir(), "AWS_CONFIG_FILE="+config, "AWS_SHARED_CREDENTIALS_FILE="+credentials)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	if res, err := http.Get(i.API + "/?Action=GetCallerIdentity&Version=2011-06-15"); err != nil || res.StatusCode != 403 {
		t.Errorf("%v %v", res, err)
	}
}

// TestPrivilegeEdges: policies hold to the ARN, the path and the condition that
// they name, and to nothing beside it.
func TestPrivilegeEdges(t *testing.T) {
	t.Parallel()
	i, ctx := start(t, nil), t.Context()
	admin, org := iam.NewFromConfig(i.aws), organizations.NewFromConfig(i.aws)
	as := func(name, statements string) aws.Config {
		must(admin.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}))(t)
		must(admin.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)}))(t)
		k := must(admin.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name}))(t).AccessKey
		return i.with(*k.AccessKeyId, *k.SecretAccessKey, "")
	}
	no := wantNo(t, "AccessDenied")

	// One's own keys, by a policy variable.
	own := iam.NewFromConfig(as("own", `{"Effect":"Allow","Action":"iam:*AccessKey*","Resource":"arn:aws:iam::*:user/${aws:username}"}`))
	keys := must(own.ListAccessKeys(ctx, &iam.ListAccessKeysInput{}))(t).AccessKeyMetadata
	must(own.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: keys[0].AccessKeyId}))(t)
	no(own.ListAccessKeys(ctx, &iam.ListAccessKeysInput{UserName: aws.String("admin")}))
	no(own.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("admin")}))
	theirs := must(admin.ListAccessKeys(ctx, &iam.ListAccessKeysInput{}))(t).AccessKeyMetadata[0].AccessKeyId
	no(own.GetAccessKeyLastUsed(ctx, &iam.GetAccessKeyLastUsedInput{AccessKeyId: theirs}))
	no(own.UpdateAccessKey(ctx, &iam.UpdateAccessKeyInput{UserName: aws.String("admin"), AccessKeyId: theirs, Status: types.StatusTypeInactive}))
	if _, err := own.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{AccessKeyId: theirs}); err == nil {
		t.Error("somebody else's key was deleted")
	}

	// A path, and the policies that may be given.
	team := iam.NewFromConfig(as("team", `{"Effect":"Allow","Action":["iam:CreateUser","iam:DeleteUser","iam:GetUser"],"Resource":"arn:aws:iam::*:user/team/*"},
		{"Effect":"Allow","Action":"iam:AttachUserPolicy","Resource":"arn:aws:iam::*:user/team/*","Condition":{"ArnEquals":{"iam:PolicyARN":"arn:aws:iam::aws:policy/AWSPrivateCAUser"}}}`))
	no(team.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("x")}))
	no(team.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("x"), Path: aws.String("/other/team/")}))
	must(team.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("x"), Path: aws.String("/team/")}))(t)
	must(team.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("x")}))(t)
	no(team.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("admin")}))
	no(team.DeleteUser(ctx, &iam.DeleteUserInput{UserName: aws.String("admin")}))
	no(team.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("x"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}))
	no(team.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("team"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AWSPrivateCAUser")}))
	must(team.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("x"), PolicyArn: aws.String("arn:aws:iam::aws:policy/AWSPrivateCAUser")}))(t)

	// Tags of what a request is about: users, roles and policies, by either key.
	tag := []types.Tag{{Key: aws.String("protected"), Value: aws.String("yes")}}
	must(admin.CreateUser(ctx, &iam.CreateUserInput{UserName: aws.String("guarded"), Tags: tag}))(t)
	guarded := must(admin.CreatePolicy(ctx, &iam.CreatePolicyInput{PolicyName: aws.String("guarded"), Tags: tag, PolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}`)}))(t).Policy.Arn
	trust := aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}`)
	role := must(admin.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("guarded"), Tags: tag, AssumeRolePolicyDocument: trust}))(t).Role.Arn
	open := must(admin.CreateRole(ctx, &iam.CreateRoleInput{RoleName: aws.String("open"), AssumeRolePolicyDocument: trust}))(t).Role.Arn
	helpdesk := as("helpdesk", `{"Effect":"Allow","Action":["iam:*","sts:*"],"Resource":"*","Condition":{"StringNotEquals":{"aws:ResourceTag/protected":"yes","iam:ResourceTag/protected":"yes"}}}`)
	desk, sessions := iam.NewFromConfig(helpdesk), sts.NewFromConfig(helpdesk)
	must(desk.GetUser(ctx, &iam.GetUserInput{UserName: aws.String("x")}))(t)
	no(desk.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: aws.String("guarded")}))
	no(desk.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: guarded}))
	no(sessions.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: role, RoleSessionName: aws.String("desk")}))
	must(sessions.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: open, RoleSessionName: aws.String("desk")}))(t)

	// Another account's things are nobody's, whatever a policy says.
	account := must(org.CreateAccount(ctx, &organizations.CreateAccountInput{AccountName: aws.String("other"), Email: aws.String("o@example.com")}))(t).CreateAccountStatus.AccountId
	no(admin.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: aws.String("arn:aws:iam::" + *account + ":policy/p")}))
	wantNo(t, "NoSuchEntity")(admin.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: aws.String("x"), PolicyArn: aws.String("arn:aws:iam::" + *account + ":policy/p")}))

	// A Deny that names one account hits it.
	arn := must(org.DescribeAccount(ctx, &organizations.DescribeAccountInput{AccountId: account}))(t).Account.Arn
	deputy := organizations.NewFromConfig(as("deputy", `{"Effect":"Allow","Action":"organizations:*","Resource":"*"},{"Effect":"Deny","Action":"organizations:CloseAccount","Resource":"`+*arn+`"}`))
	wantNo(t, "AccessDeniedException")(deputy.CloseAccount(ctx, &organizations.CloseAccountInput{AccountId: account}))
	must(deputy.ListAccounts(ctx, nil))(t)
}
