package ca

import (
	"context"
	"slices"
	"strings"

	"chirograph.dev/internal/pca"
)

// ListTags lists the tags of a CA by key.
func (s *Service) ListTags(ctx context.Context, in *pca.ListTagsRequest) (*pca.ListTagsResponse, error) {
	arn, err := pca.ParseCAARN(in.CertificateAuthorityArn, s.Partition)
	if err != nil {
		return nil, err
	}
	rec, _, err := s.Record(ctx, arn)
	if err != nil {
		return nil, err
	}
	if err := s.taggable(rec); err != nil {
		return nil, err
	}
	key := func(t pca.Tag) string { return t.Key }
	sorted := slices.SortedFunc(slices.Values(rec.Tags), func(a, b pca.Tag) int { return strings.Compare(a.Key, b.Key) })
	scope := s.scope(ctx, "ListTags", arn.CA)
	shown, token, err := pageOf(s, scope, sorted, key, in.MaxResults, in.NextToken)
	if err != nil {
		return nil, err
	}
	return &pca.ListTagsResponse{Tags: append([]pca.Tag{}, shown...), NextToken: token}, nil
}
