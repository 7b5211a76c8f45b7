package ca

import (
	"context"

	"chirograph.dev/internal/pca"
)

// GetPolicy gives the policy of a CA exactly as it was put.
func (s *Service) GetPolicy(ctx context.Context, in *pca.GetPolicyRequest) (*pca.GetPolicyResponse, error) {
	arn, err := pca.ParseCAARN(in.ResourceArn, s.Partition)
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
	if rec.Policy == "" {
		return nil, pca.Errorf(pca.ResourceNotFoundException, "Could not find policy for resource %s.", rec.ARN)
	}
	return &pca.GetPolicyResponse{Policy: rec.Policy}, nil
}
