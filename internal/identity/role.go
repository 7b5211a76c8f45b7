package identity

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"time"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

func (s *Service) roleOf(i *store.Identity) *Role {
	r := &Role{
		Path: i.Path, RoleName: i.Name, RoleId: i.ID, Arn: s.arnOf(i), CreateDate: i.CreatedAt, AssumeRolePolicyDocument: i.Trust,
		Description: i.Description, MaxSessionDuration: int(i.MaxSession / time.Second), PermissionsBoundary: boundaryOf(i), Tags: tagsOf(i.Tags),
		RoleLastUsed: &RoleLastUsed{LastUsedDate: i.LastUsedAt, Region: i.LastUsedRegion},
	}
	if at, _, ok := s.lastUse(i.ID); ok {
		r.RoleLastUsed = &RoleLastUsed{LastUsedDate: at, Region: s.cfg.Region}
	}
	return r
}

// principal is an AWS principal of a trust policy other than everybody. It may
// be gone or not there yet, unlike at AWS.
var principal = regexp.MustCompile(`^([0-9]{12}|A(ID|RO)A[A-Z0-9]+|arn:[a-z-]+:(iam::[0-9]{12}:(root|(user|role)/[^*?]+)|sts::[0-9]{12}:(assumed-role|federated-user)/[^*?]+))$`)

func checkTrust(document string) error {
	p, err := iam.ParseTrustPolicy([]byte(document))
	if err != nil {
		return malformedPolicy(err)
	}
	// As at AWS. Allowed to all but some, a role would trust strangers' tokens.
	if slices.ContainsFunc(p.Statements(), func(s iam.Statement) bool { return s.NotPrincipal }) {
		return malformedPolicy(errors.New("a trust policy has no NotPrincipal; name in Principal who may assume the role"))
	}
	for _, s := range p.Statements() {
		for _, who := range s.Principals {
			if who.Type == "AWS" && who.Value != "*" && !principal.MatchString(who.Value) {
				return refuse(http.StatusBadRequest, "MalformedPolicyDocument", "Invalid principal in policy: %q:%q. Give an account of 12 digits, the ARN of its root, a user, a role or a session, or the id of a user or role.", who.Type, who.Value)
			}
		}
	}
	if characters(document) > maxTrustText {
		return limitExceeded("Cannot exceed quota for ACLSizePerRole: %d", maxTrustText)
	}
	return nil
}

// CreateRole is iam:CreateRole.
func (s *Service) CreateRole(ctx context.Context, in *CreateRoleInput) (*CreateRoleOutput, error) {
	p, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkTrust(in.AssumeRolePolicyDocument); err != nil {
		return nil, err
	}
	i := &store.Identity{ID: newID("AROA"), Kind: store.KindRole, Account: p.Account, Name: in.RoleName, Path: in.Path, Trust: in.AssumeRolePolicyDocument,
		Description: in.Description, MaxSession: time.Duration(in.MaxSessionDuration) * time.Second, CreatedAt: s.now()}
	if i.MaxSession == 0 {
		i.MaxSession = time.Hour
	}
	if err := s.create(ctx, p, i, in.PermissionsBoundary, in.Tags, maxRoles); err != nil {
		return nil, err
	}
	return &CreateRoleOutput{Role: s.roleOf(i)}, nil
}

// GetRole is iam:GetRole.
func (s *Service) GetRole(ctx context.Context, in *GetRoleInput) (*GetRoleOutput, error) {
	i, err := s.own(ctx, store.KindRole, in.RoleName)
	if err != nil {
		return nil, err
	}
	return &GetRoleOutput{Role: s.roleOf(i)}, nil
}

// ListRoles is iam:ListRoles. As at AWS, tags, boundaries and times of use are
// left out.
func (s *Service) ListRoles(ctx context.Context, in *ListRolesInput) (*ListRolesOutput, error) {
	list, next, err := s.list(ctx, store.KindRole, in.PathPrefix, in.Page)
	if err != nil {
		return nil, err
	}
	out := &ListRolesOutput{NextPage: next}
	for _, i := range list {
		r := s.roleOf(i)
		r.Tags, r.PermissionsBoundary, r.RoleLastUsed = nil, nil, nil
		out.Roles = append(out.Roles, *r)
	}
	return out, nil
}

// UpdateRole is iam:UpdateRole.
func (s *Service) UpdateRole(ctx context.Context, in *UpdateRoleInput) (*UpdateRoleOutput, error) {
	return &UpdateRoleOutput{}, s.change(ctx, store.KindRole, in.RoleName, func(i *store.Identity) error {
		if in.Description != nil {
			i.Description = *in.Description
		}
		if in.MaxSessionDuration != 0 {
			i.MaxSession = time.Duration(in.MaxSessionDuration) * time.Second
		}
		return nil
	})
}

// UpdateRoleDescription is iam:UpdateRoleDescription.
func (s *Service) UpdateRoleDescription(ctx context.Context, in *UpdateRoleDescriptionInput) (*UpdateRoleDescriptionOutput, error) {
	out := &UpdateRoleDescriptionOutput{}
	err := s.change(ctx, store.KindRole, in.RoleName, func(i *store.Identity) error {
		i.Description = in.Description
		out.Role = s.roleOf(i)
		return nil
	})
	return out, err
}

// UpdateAssumeRolePolicy is iam:UpdateAssumeRolePolicy.
func (s *Service) UpdateAssumeRolePolicy(ctx context.Context, in *UpdateAssumeRolePolicyInput) (*UpdateAssumeRolePolicyOutput, error) {
	if err := checkTrust(in.PolicyDocument); err != nil {
		return nil, err
	}
	return &UpdateAssumeRolePolicyOutput{}, s.change(ctx, store.KindRole, in.RoleName, func(i *store.Identity) error {
		i.Trust = in.PolicyDocument
		return nil
	})
}

// DeleteRole is iam:DeleteRole. The role's sessions end with it.
func (s *Service) DeleteRole(ctx context.Context, in *DeleteRoleInput) (*DeleteRoleOutput, error) {
	return &DeleteRoleOutput{}, s.remove(ctx, store.KindRole, in.RoleName)
}

// PutRolePermissionsBoundary is iam:PutRolePermissionsBoundary.
func (s *Service) PutRolePermissionsBoundary(ctx context.Context, in *PutRolePermissionsBoundaryInput) (*PutRolePermissionsBoundaryOutput, error) {
	return &PutRolePermissionsBoundaryOutput{}, s.putBoundary(ctx, store.KindRole, in.RoleName, in.PermissionsBoundary)
}

// DeleteRolePermissionsBoundary is iam:DeleteRolePermissionsBoundary.
func (s *Service) DeleteRolePermissionsBoundary(ctx context.Context, in *DeleteRolePermissionsBoundaryInput) (*DeleteRolePermissionsBoundaryOutput, error) {
	return &DeleteRolePermissionsBoundaryOutput{}, s.deleteBoundary(ctx, store.KindRole, in.RoleName)
}

// TagRole is iam:TagRole.
func (s *Service) TagRole(ctx context.Context, in *TagRoleInput) (*TagRoleOutput, error) {
	return &TagRoleOutput{}, s.tag(ctx, store.KindRole, in.RoleName, in.Tags)
}

// UntagRole is iam:UntagRole.
func (s *Service) UntagRole(ctx context.Context, in *UntagRoleInput) (*UntagRoleOutput, error) {
	return &UntagRoleOutput{}, s.untag(ctx, store.KindRole, in.RoleName, in.TagKeys)
}

// ListRoleTags is iam:ListRoleTags.
func (s *Service) ListRoleTags(ctx context.Context, in *ListRoleTagsInput) (*ListRoleTagsOutput, error) {
	tags, next, err := s.listTags(ctx, store.KindRole, in.RoleName, in.Page)
	return &ListRoleTagsOutput{Tags: tags, NextPage: next}, err
}

// ListInstanceProfilesForRole is iam:ListInstanceProfilesForRole: there are none.
func (s *Service) ListInstanceProfilesForRole(ctx context.Context, in *ListInstanceProfilesForRoleInput) (*ListInstanceProfilesForRoleOutput, error) {
	_, err := s.own(ctx, store.KindRole, in.RoleName)
	return &ListInstanceProfilesForRoleOutput{}, err
}

// AttachRolePolicy is iam:AttachRolePolicy.
func (s *Service) AttachRolePolicy(ctx context.Context, in *AttachRolePolicyInput) (*AttachRolePolicyOutput, error) {
	return &AttachRolePolicyOutput{}, s.attach(ctx, store.KindRole, in.RoleName, in.PolicyArn)
}

// DetachRolePolicy is iam:DetachRolePolicy.
func (s *Service) DetachRolePolicy(ctx context.Context, in *DetachRolePolicyInput) (*DetachRolePolicyOutput, error) {
	return &DetachRolePolicyOutput{}, s.detach(ctx, store.KindRole, in.RoleName, in.PolicyArn)
}

// ListAttachedRolePolicies is iam:ListAttachedRolePolicies.
func (s *Service) ListAttachedRolePolicies(ctx context.Context, in *ListAttachedRolePoliciesInput) (*ListAttachedRolePoliciesOutput, error) {
	list, next, err := s.listAttached(ctx, store.KindRole, in.RoleName, in.PathPrefix, in.Page)
	return &ListAttachedRolePoliciesOutput{AttachedPolicies: list, NextPage: next}, err
}

// PutRolePolicy is iam:PutRolePolicy.
func (s *Service) PutRolePolicy(ctx context.Context, in *PutRolePolicyInput) (*PutRolePolicyOutput, error) {
	return &PutRolePolicyOutput{}, s.putInline(ctx, store.KindRole, in.RoleName, in.PolicyName, in.PolicyDocument)
}

// GetRolePolicy is iam:GetRolePolicy.
func (s *Service) GetRolePolicy(ctx context.Context, in *GetRolePolicyInput) (*GetRolePolicyOutput, error) {
	document, err := s.getInline(ctx, store.KindRole, in.RoleName, in.PolicyName)
	return &GetRolePolicyOutput{RoleName: in.RoleName, PolicyName: in.PolicyName, PolicyDocument: document}, err
}

// DeleteRolePolicy is iam:DeleteRolePolicy.
func (s *Service) DeleteRolePolicy(ctx context.Context, in *DeleteRolePolicyInput) (*DeleteRolePolicyOutput, error) {
	return &DeleteRolePolicyOutput{}, s.deleteInline(ctx, store.KindRole, in.RoleName, in.PolicyName)
}

// ListRolePolicies is iam:ListRolePolicies.
func (s *Service) ListRolePolicies(ctx context.Context, in *ListRolePoliciesInput) (*ListRolePoliciesOutput, error) {
	names, next, err := s.listInline(ctx, store.KindRole, in.RoleName, in.Page)
	return &ListRolePoliciesOutput{PolicyNames: names, NextPage: next}, err
}
