package main

import (
	"context"

	"chirograph.dev/internal/awsquery"
	"chirograph.dev/internal/identity"
)

// queryServices are IAM and STS, as far as this server has them.
func (h *house) queryServices() []awsquery.Service {
	return []awsquery.Service{
		{
			Name: "sts", Version: "2011-06-15", Namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
			Operations: []awsquery.Operation{
				awsquery.Signed(func(ctx context.Context, _ *identity.GetCallerIdentityInput) (*identity.GetCallerIdentityOutput, error) {
					p := awsquery.Caller(ctx)
					return &identity.GetCallerIdentityOutput{UserId: p.ID, Account: p.Account, Arn: p.ARN}, nil
				}),
			},
		},
	}
}
