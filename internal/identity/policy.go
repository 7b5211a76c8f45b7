package identity

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// findPolicy reads a managed policy that the account can use: AWS' or its own.
func (s *Service) findPolicy(ctx context.Context, account, arn string) (*store.ManagedPolicy, error) {
	if p := s.managed[arn]; p != nil {
		return &store.ManagedPolicy{
			ARN: arn, ID: p.id, Name: p.name, Path: p.path, Default: int64(p.version), Last: int64(p.version), CreatedAt: p.updated, UpdatedAt: p.updated,
			Versions: []store.PolicyVersion{{Number: int64(p.version), Document: p.document, CreatedAt: p.updated}},
		}, nil
	}
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" || f[2] != "iam" || !strings.HasPrefix(f[5], "policy/") {
		return nil, refuse(http.StatusBadRequest, "InvalidInput", "ARN %s is not valid.", arn)
	}
	if f[4] != account {
		return nil, noPolicy(arn)
	}
	p, err := s.cfg.Records.Policy(ctx, arn)
	if errors.Is(err, store.ErrNotFound) {
		return nil, noPolicy(arn)
	}
	return p, err
}

func noPolicy(arn string) error { return noSuchEntity("Policy %s was not found.", arn) }

// policyInForce is the default version of a policy, ready to evaluate.
func (s *Service) policyInForce(ctx context.Context, arn string) (*iam.Policy, error) {
	if p := s.managed[arn]; p != nil {
		return p.parsed, nil
	}
	p, err := s.cfg.Records.Policy(ctx, arn)
	if err != nil {
		return nil, err
	}
	for _, v := range p.Versions {
		if v.Number == p.Default {
			policy, err := s.policy(v.Document)
			if err != nil {
				return nil, fmt.Errorf("reading the policy %s: %w", arn, err)
			}
			return policy, nil
		}
	}
	return nil, fmt.Errorf("policy %s has no version in force", arn)
}

func versionName(n int64) string { return "v" + strconv.FormatInt(n, 10) }

func policyShape(p *store.ManagedPolicy) *Policy {
	return &Policy{
		PolicyName: p.Name, PolicyId: p.ID, Arn: p.ARN, Path: p.Path, DefaultVersionId: versionName(p.Default), AttachmentCount: p.Attachments,
		PermissionsBoundaryUsageCount: p.Boundaries, IsAttachable: true, Description: p.Description, CreateDate: p.CreatedAt, UpdateDate: p.UpdatedAt, Tags: tagsOf(p.Tags),
	}
}

func checkManaged(document string) error {
	if _, err := iam.ParsePolicy([]byte(document)); err != nil {
		return malformedPolicy(err)
	}
	if characters(document) > maxPolicyText {
		return limitExceeded("Cannot exceed quota for PolicySize: %d", maxPolicyText)
	}
	return nil
}

// CreatePolicy is iam:CreatePolicy.
func (s *Service) CreatePolicy(ctx context.Context, in *CreatePolicyInput) (*CreatePolicyOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	path, now := in.Path, s.now()
	if path == "" {
		path = "/"
	}
	if err := errors.Join(checkPath(path), checkManaged(in.PolicyDocument)); err != nil {
		return nil, err
	}
	p := &store.ManagedPolicy{
		ARN: s.iamARN(caller.Account, "policy"+path+in.PolicyName), ID: newID("ANPA"), Account: caller.Account, Name: in.PolicyName, Path: path, Description: in.Description,
		Default: 1, Last: 1, Versions: []store.PolicyVersion{{Number: 1, Document: in.PolicyDocument, CreatedAt: now}}, CreatedAt: now, UpdatedAt: now,
	}
	if p.Tags, err = mergeTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if len(in.Tags) > 0 {
		if err := s.also(ctx, caller, "iam:TagPolicy", p.ARN); err != nil {
			return nil, err
		}
	}
	if all, err := s.cfg.Records.Policies(ctx, caller.Account, "", maxPolicies); err != nil {
		return nil, err
	} else if len(all) >= maxPolicies {
		return nil, limitExceeded("Cannot exceed quota for PoliciesPerAccount: %d", maxPolicies)
	}
	if err := s.cfg.Records.CreatePolicy(ctx, p); exists(err, store.KindPolicy) {
		return nil, entityExists("A policy called %s already exists. Duplicate names are not allowed.", in.PolicyName)
	} else if err != nil {
		return nil, err
	}
	return &CreatePolicyOutput{Policy: policyShape(p)}, nil
}

// GetPolicy is iam:GetPolicy.
func (s *Service) GetPolicy(ctx context.Context, in *GetPolicyInput) (*GetPolicyOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.findPolicy(ctx, caller.Account, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	if err := s.countUses(ctx, caller.Account, p); err != nil {
		return nil, err
	}
	return &GetPolicyOutput{Policy: policyShape(p)}, nil
}

// countUses fills how often the account uses a policy of AWS; for its own the
// store knows.
func (s *Service) countUses(ctx context.Context, account string, p *store.ManagedPolicy) error {
	if p.Account != "" {
		return nil
	}
	list, err := s.cfg.Records.IdentitiesWith(ctx, account, p.ARN)
	for _, i := range list {
		if slices.Contains(i.Attached, p.ARN) {
			p.Attachments++
		}
		if i.Boundary == p.ARN {
			p.Boundaries++
		}
	}
	return err
}

// ListPolicies is iam:ListPolicies: AWS' policies by their ARNs, then the
// account's by their names. As at AWS, descriptions and tags are left out.
func (s *Service) ListPolicies(ctx context.Context, in *ListPoliciesInput) (*ListPoliciesOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	const own = "~" // after every ARN
	read := func(after string, limit int) (list []*store.ManagedPolicy, err error) {
		name, mine := strings.CutPrefix(after, own)
		if !mine && in.Scope != "Local" {
			for _, arn := range s.managedNames {
				if arn > after && len(list) < limit {
					p, err := s.findPolicy(ctx, caller.Account, arn)
					if err == nil {
						err = s.countUses(ctx, caller.Account, p)
					}
					if err != nil {
						return nil, err
					}
					list = append(list, p)
				}
			}
		}
		if len(list) < limit && in.Scope != "AWS" {
			if !mine {
				name = ""
			}
			local, err := s.cfg.Records.Policies(ctx, caller.Account, name, limit-len(list))
			if err != nil {
				return nil, err
			}
			list = append(list, local...)
		}
		return list, nil
	}
	key := func(p *store.ManagedPolicy) string {
		if p.Account == "" {
			return p.ARN
		}
		return own + p.Name
	}
	keep := func(p *store.ManagedPolicy) bool {
		used := p.Attachments+p.Boundaries > 0
		switch in.PolicyUsageFilter {
		case "PermissionsPolicy":
			used = p.Attachments > 0
		case "PermissionsBoundary":
			used = p.Boundaries > 0
		}
		return strings.HasPrefix(p.Path, in.PathPrefix) && (used || !in.OnlyAttached && in.PolicyUsageFilter == "")
	}
	list, next, err := pages(s, in.Page, read, key, keep, "policies", caller.Account, in.Scope, in.PathPrefix, in.PolicyUsageFilter, strconv.FormatBool(in.OnlyAttached))
	if err != nil {
		return nil, err
	}
	out := &ListPoliciesOutput{NextPage: next}
	for _, p := range list {
		shape := policyShape(p)
		shape.Tags, shape.Description = nil, ""
		out.Policies = append(out.Policies, *shape)
	}
	return out, nil
}

// changePolicy reads a policy of the caller's account, lets f change it, and
// stores it.
func (s *Service) changePolicy(ctx context.Context, arn string, f func(*store.ManagedPolicy) error) error {
	caller, err := s.caller(ctx)
	if err != nil {
		return err
	}
	defer s.changed()
	return again(func() error {
		p, err := s.ownPolicy(ctx, caller, arn)
		if err != nil {
			return err
		}
		if err := f(p); err != nil {
			return err
		}
		if err = s.cfg.Records.UpdatePolicy(ctx, p); errors.Is(err, store.ErrNotFound) {
			return noPolicy(arn)
		}
		return err
	})
}

// ownPolicy reads a policy that the caller's account may change.
func (s *Service) ownPolicy(ctx context.Context, caller *iam.Principal, arn string) (*store.ManagedPolicy, error) {
	p, err := s.findPolicy(ctx, caller.Account, arn)
	if err == nil && p.Account == "" {
		err = denied("Policy %s is not one of this account's and cannot be changed.", arn)
	}
	return p, err
}

// DeletePolicy is iam:DeletePolicy.
func (s *Service) DeletePolicy(ctx context.Context, in *DeletePolicyInput) (*DeletePolicyOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	defer s.changed()
	return &DeletePolicyOutput{}, again(func() error {
		p, err := s.ownPolicy(ctx, caller, in.PolicyArn)
		switch {
		case err != nil:
			return err
		case len(p.Versions) > 1:
			return deleteConflict("This policy has more than one version. Before you delete a policy, you must delete the policy's versions. The default version is deleted with the policy.")
		}
		err = s.cfg.Records.DeletePolicy(ctx, p)
		switch {
		case exists(err, store.KindAttachment):
			return deleteConflict("Cannot delete a policy attached to entities.")
		case errors.Is(err, store.ErrNotFound):
			return noPolicy(in.PolicyArn)
		}
		return err
	})
}

func versionShape(p *store.ManagedPolicy, v store.PolicyVersion, document string) *PolicyVersion {
	return &PolicyVersion{Document: document, VersionId: versionName(v.Number), IsDefaultVersion: v.Number == p.Default, CreateDate: v.CreatedAt}
}

func noVersion(arn, version string) error {
	return noSuchEntity("Policy %s version %s does not exist or is not attachable.", arn, version)
}

func indexOf(p *store.ManagedPolicy, version string) int {
	return slices.IndexFunc(p.Versions, func(v store.PolicyVersion) bool { return versionName(v.Number) == version })
}

// CreatePolicyVersion is iam:CreatePolicyVersion.
func (s *Service) CreatePolicyVersion(ctx context.Context, in *CreatePolicyVersionInput) (*CreatePolicyVersionOutput, error) {
	if err := checkManaged(in.PolicyDocument); err != nil {
		return nil, err
	}
	out := &CreatePolicyVersionOutput{}
	return out, s.changePolicy(ctx, in.PolicyArn, func(p *store.ManagedPolicy) error {
		if len(p.Versions) >= maxVersions {
			return limitExceeded("A managed policy can have up to %d versions. Before you create a new version, you must delete an existing version.", maxVersions)
		}
		p.Last++
		v := store.PolicyVersion{Number: p.Last, Document: in.PolicyDocument, CreatedAt: s.now()}
		p.Versions = append(p.Versions, v)
		if p.UpdatedAt = v.CreatedAt; in.SetAsDefault {
			p.Default = v.Number
		}
		out.PolicyVersion = versionShape(p, v, "")
		return nil
	})
}

// GetPolicyVersion is iam:GetPolicyVersion.
func (s *Service) GetPolicyVersion(ctx context.Context, in *GetPolicyVersionInput) (*GetPolicyVersionOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.findPolicy(ctx, caller.Account, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	i := indexOf(p, in.VersionId)
	if i < 0 {
		return nil, noVersion(in.PolicyArn, in.VersionId)
	}
	return &GetPolicyVersionOutput{PolicyVersion: versionShape(p, p.Versions[i], p.Versions[i].Document)}, nil
}

// ListPolicyVersions is iam:ListPolicyVersions, newest first.
func (s *Service) ListPolicyVersions(ctx context.Context, in *ListPolicyVersionsInput) (*ListPolicyVersionsOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.findPolicy(ctx, caller.Account, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	out := &ListPolicyVersionsOutput{}
	for _, v := range slices.Backward(p.Versions) {
		out.Versions = append(out.Versions, *versionShape(p, v, ""))
	}
	// A marker of one page must not depend on versions that come or go.
	order := func(v PolicyVersion) string {
		n, _ := strconv.ParseInt(v.VersionId[1:], 10, 64) // it was made of a number
		return fmt.Sprintf("%019d", int64(1)<<62-n)
	}
	out.Versions, out.NextPage, err = page(s, in.Page, out.Versions, order, "versions", p.ARN)
	return out, err
}

// SetDefaultPolicyVersion is iam:SetDefaultPolicyVersion.
func (s *Service) SetDefaultPolicyVersion(ctx context.Context, in *SetDefaultPolicyVersionInput) (*SetDefaultPolicyVersionOutput, error) {
	return &SetDefaultPolicyVersionOutput{}, s.changePolicy(ctx, in.PolicyArn, func(p *store.ManagedPolicy) error {
		i := indexOf(p, in.VersionId)
		if i < 0 {
			return noVersion(in.PolicyArn, in.VersionId)
		}
		p.Default, p.UpdatedAt = p.Versions[i].Number, s.now()
		return nil
	})
}

// DeletePolicyVersion is iam:DeletePolicyVersion.
func (s *Service) DeletePolicyVersion(ctx context.Context, in *DeletePolicyVersionInput) (*DeletePolicyVersionOutput, error) {
	return &DeletePolicyVersionOutput{}, s.changePolicy(ctx, in.PolicyArn, func(p *store.ManagedPolicy) error {
		i := indexOf(p, in.VersionId)
		switch {
		case i < 0:
			return noVersion(in.PolicyArn, in.VersionId)
		case p.Versions[i].Number == p.Default:
			return deleteConflict("Cannot delete the default version of a policy.")
		}
		p.Versions = slices.Delete(p.Versions, i, i+1)
		return nil
	})
}

// ListEntitiesForPolicy is iam:ListEntitiesForPolicy.
func (s *Service) ListEntitiesForPolicy(ctx context.Context, in *ListEntitiesForPolicyInput) (*ListEntitiesForPolicyOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := s.findPolicy(ctx, caller.Account, in.PolicyArn); err != nil {
		return nil, err
	}
	all, err := s.cfg.Records.IdentitiesWith(ctx, caller.Account, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(i *store.Identity) bool {
		switch in.PolicyUsageFilter {
		case "PermissionsPolicy":
			if !slices.Contains(i.Attached, in.PolicyArn) {
				return true
			}
		case "PermissionsBoundary":
			if i.Boundary != in.PolicyArn {
				return true
			}
		}
		other := in.EntityFilter != "" && !strings.EqualFold(in.EntityFilter, i.Kind)
		return other || !strings.HasPrefix(i.Path, in.PathPrefix)
	})
	out := &ListEntitiesForPolicyOutput{}
	order := func(i *store.Identity) string { return i.Kind + "/" + strings.ToLower(i.Name) }
	all, out.NextPage, err = page(s, in.Page, all, order, "entities", caller.Account, in.PolicyArn, in.EntityFilter, in.PathPrefix, in.PolicyUsageFilter)
	for _, i := range all {
		if i.Kind == store.KindUser {
			out.PolicyUsers = append(out.PolicyUsers, PolicyUser{UserName: i.Name, UserId: i.ID})
		} else {
			out.PolicyRoles = append(out.PolicyRoles, PolicyRole{RoleName: i.Name, RoleId: i.ID})
		}
	}
	return out, err
}
