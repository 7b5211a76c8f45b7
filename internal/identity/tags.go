package identity

import (
	"context"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// Tags of managed policies and OIDC providers. Those of users and roles stand
// beside what else can be done with them.

type TagPolicyInput struct {
	PolicyArn string `aws:"required" min:"20" max:"2048"`
	Tags      []Tag  `aws:"required" count:"1,50"`
}
type TagPolicyOutput struct{}

func (in *TagPolicyInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

// Conditions are the condition keys that the request gives.
func (in *TagPolicyInput) Conditions() map[string][]string { return tagConditions(in.Tags) }

// TagPolicy is iam:TagPolicy.
func (s *Service) TagPolicy(ctx context.Context, in *TagPolicyInput) (*TagPolicyOutput, error) {
	return &TagPolicyOutput{}, s.changePolicy(ctx, in.PolicyArn, func(p *store.ManagedPolicy) (err error) {
		p.Tags, err = mergeTags(p.Tags, in.Tags)
		return err
	})
}

type UntagPolicyInput struct {
	PolicyArn string   `aws:"required" min:"20" max:"2048"`
	TagKeys   []string `aws:"required" count:"1,50" min:"1" max:"128"`
}
type UntagPolicyOutput struct{}

func (in *UntagPolicyInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

// Conditions are the condition keys that the request gives.
func (in *UntagPolicyInput) Conditions() map[string][]string { return tagKeyConditions(in.TagKeys) }

// UntagPolicy is iam:UntagPolicy.
func (s *Service) UntagPolicy(ctx context.Context, in *UntagPolicyInput) (*UntagPolicyOutput, error) {
	return &UntagPolicyOutput{}, s.changePolicy(ctx, in.PolicyArn, func(p *store.ManagedPolicy) error {
		p.Tags = dropTags(p.Tags, in.TagKeys)
		return nil
	})
}

type ListPolicyTagsInput struct {
	PolicyArn string `aws:"required" min:"20" max:"2048"`
	Page
}
type ListPolicyTagsOutput struct {
	Tags []Tag
	NextPage
}

func (in *ListPolicyTagsInput) Resource(string, *iam.Principal) string { return in.PolicyArn }

// ListPolicyTags is iam:ListPolicyTags.
func (s *Service) ListPolicyTags(ctx context.Context, in *ListPolicyTagsInput) (*ListPolicyTagsOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.findPolicy(ctx, caller.Account, in.PolicyArn)
	if err != nil {
		return nil, err
	}
	tags, next, err := page(s, in.Page, tagsOf(p.Tags), func(t Tag) string { return t.Key }, "tags", p.ARN)
	return &ListPolicyTagsOutput{Tags: tags, NextPage: next}, err
}

type TagOpenIDConnectProviderInput struct {
	OpenIDConnectProviderArn string `aws:"required" min:"20" max:"2048"`
	Tags                     []Tag  `aws:"required" count:"1,50"`
}
type TagOpenIDConnectProviderOutput struct{}

func (in *TagOpenIDConnectProviderInput) Resource(string, *iam.Principal) string {
	return in.OpenIDConnectProviderArn
}

// Conditions are the condition keys that the request gives.
func (in *TagOpenIDConnectProviderInput) Conditions() map[string][]string {
	return tagConditions(in.Tags)
}

// TagOpenIDConnectProvider is iam:TagOpenIDConnectProvider.
func (s *Service) TagOpenIDConnectProvider(ctx context.Context, in *TagOpenIDConnectProviderInput) (*TagOpenIDConnectProviderOutput, error) {
	return &TagOpenIDConnectProviderOutput{}, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *store.OIDCProvider) (err error) {
		p.Tags, err = mergeTags(p.Tags, in.Tags)
		return err
	})
}

type UntagOpenIDConnectProviderInput struct {
	OpenIDConnectProviderArn string   `aws:"required" min:"20" max:"2048"`
	TagKeys                  []string `aws:"required" count:"1,50" min:"1" max:"128"`
}
type UntagOpenIDConnectProviderOutput struct{}

func (in *UntagOpenIDConnectProviderInput) Resource(string, *iam.Principal) string {
	return in.OpenIDConnectProviderArn
}

// Conditions are the condition keys that the request gives.
func (in *UntagOpenIDConnectProviderInput) Conditions() map[string][]string {
	return tagKeyConditions(in.TagKeys)
}

// UntagOpenIDConnectProvider is iam:UntagOpenIDConnectProvider.
func (s *Service) UntagOpenIDConnectProvider(ctx context.Context, in *UntagOpenIDConnectProviderInput) (*UntagOpenIDConnectProviderOutput, error) {
	return &UntagOpenIDConnectProviderOutput{}, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *store.OIDCProvider) error {
		p.Tags = dropTags(p.Tags, in.TagKeys)
		return nil
	})
}

type ListOpenIDConnectProviderTagsInput struct {
	OpenIDConnectProviderArn string `aws:"required" min:"20" max:"2048"`
	Page
}
type ListOpenIDConnectProviderTagsOutput struct {
	Tags []Tag
	NextPage
}

func (in *ListOpenIDConnectProviderTagsInput) Resource(string, *iam.Principal) string {
	return in.OpenIDConnectProviderArn
}

// ListOpenIDConnectProviderTags is iam:ListOpenIDConnectProviderTags.
func (s *Service) ListOpenIDConnectProviderTags(ctx context.Context, in *ListOpenIDConnectProviderTagsInput) (*ListOpenIDConnectProviderTagsOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.provider(ctx, caller, in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	tags, next, err := page(s, in.Page, tagsOf(p.Tags), func(t Tag) string { return t.Key }, "tags", p.ARN)
	return &ListOpenIDConnectProviderTagsOutput{Tags: tags, NextPage: next}, err
}
