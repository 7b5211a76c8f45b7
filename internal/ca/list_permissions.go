package ca

import (
	"context"
	"slices"
	"strings"

	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store"
)

// ListPermissions lists the permissions of a CA by principal and source account.
func (s *Service) ListPermissions(ctx context.Context, in *pca.ListPermissionsRequest) (*pca.ListPermissionsResponse, error) {
	arn, err := pca.ParseCAARN(in.CertificateAuthorityArn, s.Partition)
	if err != nil {
		return nil, err
	}
	rec, _, err := s.Record(ctx, arn)
	if err != nil {
		return nil, err
	}
	if err := s.governable(rec); err != nil {
		return nil, err
	}
	key := func(p store.Permission) string { return p.Principal + " " + p.SourceAccount }
	sorted := slices.SortedFunc(slices.Values(rec.Permissions), func(a, b store.Permission) int { return strings.Compare(key(a), key(b)) })
	scope := s.scope(ctx, "ListPermissions", arn.CA)
	shown, token, err := pageOf(s, scope, sorted, key, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &pca.ListPermissionsResponse{Permissions: []pca.Permission{}, NextToken: token}
	for _, p := range shown {
		out.Permissions = append(out.Permissions, pca.Permission{
			CertificateAuthorityArn: rec.ARN, CreatedAt: pca.NewTimestamp(p.CreatedAt), Principal: p.Principal, SourceAccount: p.SourceAccount,
			Actions: p.Actions, Policy: permissionPolicy(permissionStatement(rec, &p)),
		})
	}
	return out, nil
}
