package ca

import (
	"context"
	"slices"
	"strings"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// CreatePermission lets a service issue and read certificates of a CA, such as
// ACM for its renewals (access.md 3).
func (s *Service) CreatePermission(ctx context.Context, in *pca.CreatePermissionRequest) (*struct{}, error) {
	arn, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	p := store.Permission{Principal: in.Principal, SourceAccount: in.SourceAccount, CreatedAt: s.stamp()}
	if p.SourceAccount == "" {
		p.SourceAccount = arn.Account
	}
	for _, action := range in.Actions {
		if !slices.Contains(p.Actions, action) {
			p.Actions = append(p.Actions, action)
		}
	}
	return nil, s.settle(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
		if err := s.governable(next); err != nil {
			return false, err
		}
		if !slices.Contains(s.PermissionPrincipals, p.Principal) {
			return false, pca.Errorf(pca.ValidationException, "1 validation error detected: Value '%s' at 'principal' failed to satisfy constraint: Member must satisfy enum value set: [%s]", p.Principal, strings.Join(s.PermissionPrincipals, ", "))
		}
		if slices.ContainsFunc(next.Permissions, same(p)) {
			return false, pca.Errorf(pca.PermissionAlreadyExistsException, "The certificate authority %s has a permission for %s and the account %s already. Delete it first to change it.", next.ARN, p.Principal, p.SourceAccount)
		}
		next.Permissions = append(slices.Clip(next.Permissions), p)
		return true, nil
	})
}

// same finds the permission for a principal and source account, of which a CA has one at most.
func same(p store.Permission) func(store.Permission) bool {
	return func(other store.Permission) bool {
		return other.Principal == p.Principal && other.SourceAccount == p.SourceAccount
	}
}
