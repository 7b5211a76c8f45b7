package identity

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"crypto/rand"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

func (s *Service) userOf(i *store.Identity) *User {
	return &User{Path: i.Path, UserName: i.Name, UserId: i.ID, Arn: s.arnOf(i), CreateDate: i.CreatedAt, PermissionsBoundary: boundaryOf(i), Tags: tagsOf(i.Tags)}
}

// CreateUser is iam:CreateUser.
func (s *Service) CreateUser(ctx context.Context, in *CreateUserInput) (*CreateUserOutput, error) {
	p, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	i := &store.Identity{ID: newID("AIDA"), Kind: store.KindUser, Account: p.Account, Name: in.UserName, Path: in.Path, CreatedAt: s.now()}
	if err := s.create(ctx, p, i, in.PermissionsBoundary, in.Tags, maxUsers); err != nil {
		return nil, err
	}
	return &CreateUserOutput{User: s.userOf(i)}, nil
}

// user reads the named user, or the caller when none is named.
func (s *Service) user(ctx context.Context, name string) (*store.Identity, error) {
	p, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if name != "" {
		return s.find(ctx, p.Account, store.KindUser, name)
	}
	i, err := s.cfg.Records.IdentityByID(ctx, p.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && i.Kind != store.KindUser {
		return nil, invalid("Must specify userName when calling with non-User credentials")
	}
	return i, err
}

// GetUser is iam:GetUser.
func (s *Service) GetUser(ctx context.Context, in *GetUserInput) (*GetUserOutput, error) {
	i, err := s.user(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	return &GetUserOutput{User: s.userOf(i)}, nil
}

// ListUsers is iam:ListUsers. As at AWS, tags and boundaries are left out.
func (s *Service) ListUsers(ctx context.Context, in *ListUsersInput) (*ListUsersOutput, error) {
	list, next, err := s.list(ctx, store.KindUser, in.PathPrefix, in.Page)
	if err != nil {
		return nil, err
	}
	out := &ListUsersOutput{NextPage: next}
	for _, i := range list {
		u := s.userOf(i)
		u.Tags, u.PermissionsBoundary = nil, nil
		out.Users = append(out.Users, *u)
	}
	return out, nil
}

// UpdateUser is iam:UpdateUser.
func (s *Service) UpdateUser(ctx context.Context, in *UpdateUserInput) (*UpdateUserOutput, error) {
	p, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	return &UpdateUserOutput{}, s.change(ctx, store.KindUser, in.UserName, func(i *store.Identity) error {
		if in.NewPath != "" {
			if err := checkPath(in.NewPath); err != nil {
				return err
			}
			i.Path = in.NewPath
		}
		if in.NewUserName != "" {
			i.Name = in.NewUserName
		}
		// As at AWS: one who may not touch the new name may not give it.
		return s.also(ctx, p, "iam:UpdateUser", s.arnOf(i))
	})
}

// DeleteUser is iam:DeleteUser.
func (s *Service) DeleteUser(ctx context.Context, in *DeleteUserInput) (*DeleteUserOutput, error) {
	return &DeleteUserOutput{}, s.remove(ctx, store.KindUser, in.UserName)
}

// PutUserPermissionsBoundary is iam:PutUserPermissionsBoundary.
func (s *Service) PutUserPermissionsBoundary(ctx context.Context, in *PutUserPermissionsBoundaryInput) (*PutUserPermissionsBoundaryOutput, error) {
	return &PutUserPermissionsBoundaryOutput{}, s.putBoundary(ctx, store.KindUser, in.UserName, in.PermissionsBoundary)
}

// DeleteUserPermissionsBoundary is iam:DeleteUserPermissionsBoundary.
func (s *Service) DeleteUserPermissionsBoundary(ctx context.Context, in *DeleteUserPermissionsBoundaryInput) (*DeleteUserPermissionsBoundaryOutput, error) {
	return &DeleteUserPermissionsBoundaryOutput{}, s.deleteBoundary(ctx, store.KindUser, in.UserName)
}

// TagUser is iam:TagUser.
func (s *Service) TagUser(ctx context.Context, in *TagUserInput) (*TagUserOutput, error) {
	return &TagUserOutput{}, s.tag(ctx, store.KindUser, in.UserName, in.Tags)
}

// UntagUser is iam:UntagUser.
func (s *Service) UntagUser(ctx context.Context, in *UntagUserInput) (*UntagUserOutput, error) {
	return &UntagUserOutput{}, s.untag(ctx, store.KindUser, in.UserName, in.TagKeys)
}

// ListUserTags is iam:ListUserTags.
func (s *Service) ListUserTags(ctx context.Context, in *ListUserTagsInput) (*ListUserTagsOutput, error) {
	tags, next, err := s.listTags(ctx, store.KindUser, in.UserName, in.Page)
	return &ListUserTagsOutput{Tags: tags, NextPage: next}, err
}

// ListGroupsForUser is iam:ListGroupsForUser: there are none.
func (s *Service) ListGroupsForUser(ctx context.Context, in *ListGroupsForUserInput) (*ListGroupsForUserOutput, error) {
	_, err := s.own(ctx, store.KindUser, in.UserName)
	return &ListGroupsForUserOutput{}, err
}

// AttachUserPolicy is iam:AttachUserPolicy.
func (s *Service) AttachUserPolicy(ctx context.Context, in *AttachUserPolicyInput) (*AttachUserPolicyOutput, error) {
	return &AttachUserPolicyOutput{}, s.attach(ctx, store.KindUser, in.UserName, in.PolicyArn)
}

// DetachUserPolicy is iam:DetachUserPolicy.
func (s *Service) DetachUserPolicy(ctx context.Context, in *DetachUserPolicyInput) (*DetachUserPolicyOutput, error) {
	return &DetachUserPolicyOutput{}, s.detach(ctx, store.KindUser, in.UserName, in.PolicyArn)
}

// ListAttachedUserPolicies is iam:ListAttachedUserPolicies.
func (s *Service) ListAttachedUserPolicies(ctx context.Context, in *ListAttachedUserPoliciesInput) (*ListAttachedUserPoliciesOutput, error) {
	list, next, err := s.listAttached(ctx, store.KindUser, in.UserName, in.PathPrefix, in.Page)
	return &ListAttachedUserPoliciesOutput{AttachedPolicies: list, NextPage: next}, err
}

// PutUserPolicy is iam:PutUserPolicy.
func (s *Service) PutUserPolicy(ctx context.Context, in *PutUserPolicyInput) (*PutUserPolicyOutput, error) {
	return &PutUserPolicyOutput{}, s.putInline(ctx, store.KindUser, in.UserName, in.PolicyName, in.PolicyDocument)
}

// GetUserPolicy is iam:GetUserPolicy.
func (s *Service) GetUserPolicy(ctx context.Context, in *GetUserPolicyInput) (*GetUserPolicyOutput, error) {
	document, err := s.getInline(ctx, store.KindUser, in.UserName, in.PolicyName)
	return &GetUserPolicyOutput{UserName: in.UserName, PolicyName: in.PolicyName, PolicyDocument: document}, err
}

// DeleteUserPolicy is iam:DeleteUserPolicy.
func (s *Service) DeleteUserPolicy(ctx context.Context, in *DeleteUserPolicyInput) (*DeleteUserPolicyOutput, error) {
	return &DeleteUserPolicyOutput{}, s.deleteInline(ctx, store.KindUser, in.UserName, in.PolicyName)
}

// ListUserPolicies is iam:ListUserPolicies.
func (s *Service) ListUserPolicies(ctx context.Context, in *ListUserPoliciesInput) (*ListUserPoliciesOutput, error) {
	names, next, err := s.listInline(ctx, store.KindUser, in.UserName, in.Page)
	return &ListUserPoliciesOutput{PolicyNames: names, NextPage: next}, err
}

// Access keys.

const (
	active   = "Active"
	inactive = "Inactive"
)

func statusOf(k *store.AccessKey) string {
	if k.Active {
		return active
	}
	return inactive
}

// newKey makes an access key of a user or service; limit is how many a user
// may have.
func (s *Service) newKey(ctx context.Context, k *store.AccessKey, limit int) (secret string, err error) {
	var random [30]byte
	rand.Read(random[:])
	secret = base64.StdEncoding.EncodeToString(random[:])
	k.ID, k.Active, k.CreatedAt = newID("AKIA"), true, s.now()
	if k.SealedSecret, err = s.cfg.Sealer.SealSecret([]byte(secret), accessKeyContext(k.ID)); err != nil {
		return "", err
	}
	return secret, s.cfg.Records.CreateAccessKey(ctx, k, limit)
}

// CreateAccessKey is iam:CreateAccessKey. The secret is shown this once.
func (s *Service) CreateAccessKey(ctx context.Context, in *CreateAccessKeyInput) (*CreateAccessKeyOutput, error) {
	u, err := s.user(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	k := &store.AccessKey{Account: u.Account, User: u.ID}
	secret, err := s.newKey(ctx, k, maxKeys)
	switch {
	case exists(err, store.KindAccessKey):
		return nil, limitExceeded("Cannot exceed quota for AccessKeysPerUser: %d", maxKeys)
	case errors.Is(err, store.ErrNotFound):
		return nil, noSuchEntity("The user with name %s cannot be found.", u.Name)
	case err != nil:
		return nil, err
	}
	return &CreateAccessKeyOutput{AccessKey: &AccessKey{UserName: u.Name, AccessKeyId: k.ID, Status: active, SecretAccessKey: secret, CreateDate: k.CreatedAt}}, nil
}

// ListAccessKeys is iam:ListAccessKeys.
func (s *Service) ListAccessKeys(ctx context.Context, in *ListAccessKeysInput) (*ListAccessKeysOutput, error) {
	u, err := s.user(ctx, in.UserName)
	if err != nil {
		return nil, err
	}
	keys, err := s.cfg.Records.AccessKeys(ctx, u.ID)
	if err != nil {
		return nil, err
	}
	var list []AccessKeyMetadata
	for _, k := range keys {
		list = append(list, AccessKeyMetadata{UserName: u.Name, AccessKeyId: k.ID, Status: statusOf(k), CreateDate: k.CreatedAt})
	}
	order := func(k AccessKeyMetadata) string { return k.CreateDate.Format("20060102150405.000") + k.AccessKeyId }
	out := &ListAccessKeysOutput{}
	out.AccessKeyMetadata, out.NextPage, err = page(s, in.Page, list, order, "keys", u.ID)
	return out, err
}

// keyOf checks that the access key is the user's.
func (s *Service) keyOf(ctx context.Context, name, id string) error {
	u, err := s.user(ctx, name)
	if err != nil {
		return err
	}
	k, err := s.cfg.Records.AccessKey(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && k.User != u.ID {
		return noKey(id)
	}
	return err
}

func noKey(id string) error {
	return noSuchEntity("The Access Key with id %s cannot be found.", id)
}

func orNoKey(err error, id string) error {
	if errors.Is(err, store.ErrNotFound) {
		return noKey(id)
	}
	return err
}

// UpdateAccessKey is iam:UpdateAccessKey.
func (s *Service) UpdateAccessKey(ctx context.Context, in *UpdateAccessKeyInput) (*UpdateAccessKeyOutput, error) {
	if in.Status != active && in.Status != inactive {
		return nil, invalid("The status of an access key is %s or %s.", active, inactive)
	}
	if err := s.keyOf(ctx, in.UserName, in.AccessKeyId); err != nil {
		return nil, err
	}
	defer s.changed()
	return &UpdateAccessKeyOutput{}, orNoKey(s.cfg.Records.SetAccessKeyActive(ctx, in.AccessKeyId, in.Status == active), in.AccessKeyId)
}

// DeleteAccessKey is iam:DeleteAccessKey.
func (s *Service) DeleteAccessKey(ctx context.Context, in *DeleteAccessKeyInput) (*DeleteAccessKeyOutput, error) {
	if err := s.keyOf(ctx, in.UserName, in.AccessKeyId); err != nil {
		return nil, err
	}
	defer s.forgetUse(in.AccessKeyId)
	defer s.changed()
	return &DeleteAccessKeyOutput{}, orNoKey(s.cfg.Records.DeleteAccessKey(ctx, in.AccessKeyId), in.AccessKeyId)
}

// GetAccessKeyLastUsed is iam:GetAccessKeyLastUsed.
func (s *Service) GetAccessKeyLastUsed(ctx context.Context, in *GetAccessKeyLastUsedInput) (*GetAccessKeyLastUsedOutput, error) {
	p, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	k, err := s.cfg.Records.AccessKey(ctx, in.AccessKeyId)
	if errors.Is(err, store.ErrNotFound) || err == nil && (k.Account != p.Account || k.User == "") {
		return nil, noKey(in.AccessKeyId)
	}
	if err != nil {
		return nil, err
	}
	u, err := s.cfg.Records.IdentityByID(ctx, k.User)
	if err != nil {
		return nil, orNoKey(err, in.AccessKeyId)
	}
	last := &AccessKeyLastUsed{ServiceName: "N/A", Region: "N/A"}
	if !k.LastUsedAt.IsZero() {
		last = &AccessKeyLastUsed{LastUsedDate: k.LastUsedAt, ServiceName: k.LastUsedService, Region: k.LastUsedRegion}
	}
	if at, service, ok := s.lastUse(k.ID); ok {
		last = &AccessKeyLastUsed{LastUsedDate: at, ServiceName: service, Region: s.cfg.Region}
	}
	return &GetAccessKeyLastUsedOutput{UserName: u.Name, AccessKeyLastUsed: last}, nil
}

// userIn says whether a principal is a user, rather than a session or service.
func isUser(p *iam.Principal) bool { return strings.Contains(p.ARN, ":user/") }
