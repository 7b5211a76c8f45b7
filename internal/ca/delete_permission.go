package ca

import (
	"context"
	"slices"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// DeletePermission takes a permission away from a service.
func (s *Service) DeletePermission(ctx context.Context, in *pca.DeletePermissionRequest) (*struct{}, error) {
	arn, a, err := s.find(ctx, in.CertificateAuthorityArn)
	if err != nil {
		return nil, err
	}
	p := store.Permission{Principal: in.Principal, SourceAccount: in.SourceAccount}
	if p.SourceAccount == "" {
		p.SourceAccount = arn.Account
	}
	return nil, s.settle(ctx, a, func(next *store.CertificateAuthority) (bool, error) {
		if err := s.governable(next); err != nil {
			return false, err
		}
		if !slices.ContainsFunc(next.Permissions, same(p)) {
			return false, pca.Errorf(pca.ResourceNotFoundException, "The certificate authority %s has no permission for %s and the account %s.", next.ARN, p.Principal, p.SourceAccount)
		}
		next.Permissions = slices.DeleteFunc(slices.Clone(next.Permissions), same(p))
		return true, nil
	})
}
