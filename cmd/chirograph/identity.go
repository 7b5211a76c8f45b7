package main

import (
	"context"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/awsquery"
	"chirograph.dev/internal/iam"
)

// queryServices are IAM and STS, as far as this server has them.
func (h *house) queryServices() []awsquery.Service {
	s := h.people
	return []awsquery.Service{
		{
			Name: "iam", Version: "2010-05-08", Namespace: "https://iam.amazonaws.com/doc/2010-05-08/",
			Credentials: s.For("iam"),
			Operations: []awsquery.Operation{
				awsquery.Op(s.CreateUser), awsquery.Op(s.GetUser), awsquery.Op(s.ListUsers), awsquery.Op(s.UpdateUser), awsquery.Op(s.DeleteUser),
				awsquery.Op(s.PutUserPermissionsBoundary), awsquery.Op(s.DeleteUserPermissionsBoundary),
				awsquery.Op(s.TagUser), awsquery.Op(s.UntagUser), awsquery.Op(s.ListUserTags), awsquery.Op(s.ListGroupsForUser),
				awsquery.Op(s.AttachUserPolicy), awsquery.Op(s.DetachUserPolicy), awsquery.Op(s.ListAttachedUserPolicies),
				awsquery.Op(s.PutUserPolicy), awsquery.Op(s.GetUserPolicy), awsquery.Op(s.DeleteUserPolicy), awsquery.Op(s.ListUserPolicies),

				awsquery.Op(s.CreateAccessKey), awsquery.Op(s.ListAccessKeys), awsquery.Op(s.UpdateAccessKey), awsquery.Op(s.DeleteAccessKey), awsquery.Op(s.GetAccessKeyLastUsed),

				awsquery.Op(s.CreateRole), awsquery.Op(s.GetRole), awsquery.Op(s.ListRoles), awsquery.Op(s.UpdateRole), awsquery.Op(s.UpdateRoleDescription),
				awsquery.Op(s.UpdateAssumeRolePolicy), awsquery.Op(s.DeleteRole),
				awsquery.Op(s.PutRolePermissionsBoundary), awsquery.Op(s.DeleteRolePermissionsBoundary),
				awsquery.Op(s.TagRole), awsquery.Op(s.UntagRole), awsquery.Op(s.ListRoleTags), awsquery.Op(s.ListInstanceProfilesForRole),
				awsquery.Op(s.AttachRolePolicy), awsquery.Op(s.DetachRolePolicy), awsquery.Op(s.ListAttachedRolePolicies),
				awsquery.Op(s.PutRolePolicy), awsquery.Op(s.GetRolePolicy), awsquery.Op(s.DeleteRolePolicy), awsquery.Op(s.ListRolePolicies),

				awsquery.Op(s.CreatePolicy), awsquery.Op(s.GetPolicy), awsquery.Op(s.ListPolicies), awsquery.Op(s.DeletePolicy),
				awsquery.Op(s.CreatePolicyVersion), awsquery.Op(s.GetPolicyVersion), awsquery.Op(s.ListPolicyVersions),
				awsquery.Op(s.SetDefaultPolicyVersion), awsquery.Op(s.DeletePolicyVersion), awsquery.Op(s.ListEntitiesForPolicy),
				awsquery.Op(s.TagPolicy), awsquery.Op(s.UntagPolicy), awsquery.Op(s.ListPolicyTags),

				awsquery.Op(s.CreateOpenIDConnectProvider), awsquery.Op(s.GetOpenIDConnectProvider), awsquery.Op(s.ListOpenIDConnectProviders),
				awsquery.Op(s.UpdateOpenIDConnectProviderThumbprint), awsquery.Op(s.AddClientIDToOpenIDConnectProvider),
				awsquery.Op(s.RemoveClientIDFromOpenIDConnectProvider), awsquery.Op(s.DeleteOpenIDConnectProvider),
				awsquery.Op(s.TagOpenIDConnectProvider), awsquery.Op(s.UntagOpenIDConnectProvider), awsquery.Op(s.ListOpenIDConnectProviderTags),

				awsquery.Op(s.ListSSHPublicKeys), awsquery.Op(s.ListMFADevices), awsquery.Op(s.ListVirtualMFADevices), awsquery.Op(s.ListSigningCertificates),
				awsquery.Op(s.ListServiceSpecificCredentials), awsquery.Op(s.GetLoginProfile), awsquery.Op(s.DeleteLoginProfile),

				awsquery.Op(s.GetAccountSummary), awsquery.Op(s.ListAccountAliases), awsquery.Op(s.SimulatePrincipalPolicy),
			},
		},
		{
			Name: "sts", Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
			Credentials: s.For("sts"),
			Operations: []awsquery.Operation{
				// These need no permission, as at AWS.
				awsquery.Signed(s.GetCallerIdentity), awsquery.Signed(s.GetSessionToken), awsquery.Signed(s.GetAccessKeyInfo),
				// The role's trust policy decides, with the caller's own or with the token's issuer.
				awsquery.Signed(s.AssumeRole), awsquery.Unsigned(s.AssumeRoleWithWebIdentity),
			},
		},
	}
}

// organizationsService is Organizations, as far as this server has it.
func (h *house) organizationsService() awsjson.Config {
	s := h.people
	return awsjson.Config{
		Service: "organizations", TargetPrefix: "AWSOrganizationsV20161128",
		Credentials: s.For("organizations"),
		Operations: []awsjson.Operation{
			awsjson.ShapeOp(s.DescribeOrganization),
			awsjson.ShapeOp(s.CreateAccount), awsjson.ShapeOp(s.DescribeCreateAccountStatus), awsjson.ShapeOp(s.ListCreateAccountStatus),
			awsjson.ShapeOp(s.ListAccounts), awsjson.ShapeOp(s.DescribeAccount), awsjson.ShapeOp(s.CloseAccount),
		},
	}
}

// resource names what an IAM request is about, with the path of users and roles,
// and gives its tags.
func (h *house) resource(ctx context.Context, in awsquery.Input, caller *iam.Principal) (string, map[string][]string, error) {
	return h.people.Resource(ctx, in, caller)
}

// whoCalls is the caller of a request, by whichever front it came.
func whoCalls(ctx context.Context) *iam.Principal {
	if p := awsquery.Caller(ctx); p != nil {
		return p
	}
	return awsjson.Caller(ctx)
}

// conditions are the condition keys of a request, by whichever front it came.
func conditions(ctx context.Context) map[string][]string {
	if m := awsquery.Conditions(ctx); m != nil {
		return m
	}
	return awsjson.Conditions(ctx)
}
