package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/spf13/cobra"
)

func newOIDCProvider() *cobra.Command {
	return group("oidc-provider", "Manage OIDC providers, whose tokens can take roles on",
		newOIDCProviderCreate(), newOIDCProviderList(), newOIDCProviderDelete())
}

// providerInfo is an OIDC provider as the commands print it.
type providerInfo struct {
	URL         string    `json:"url"`
	ARN         string    `json:"arn"`
	Audiences   []string  `json:"audiences"`
	Thumbprints []string  `json:"thumbprints,omitempty"`
	Created     time.Time `json:"createdAt"`
}

func (p providerInfo) rows() [][]string {
	return [][]string{{"provider", p.URL}, {"arn", p.ARN}, {"audiences", strings.Join(p.Audiences, " ")}}
}

type providerList struct {
	Providers []providerInfo `json:"providers"`
}

func (l providerList) rows() [][]string {
	table := [][]string{{"URL", "AUDIENCES", "CREATED", "ARN"}}
	for _, p := range l.Providers {
		table = append(table, []string{p.URL, strings.Join(p.Audiences, " "), when(p.Created), p.ARN})
	}
	return table
}

func (a *access) provider(ctx context.Context, arn string) (providerInfo, error) {
	out, err := a.iam.GetOpenIDConnectProvider(ctx, &iam.GetOpenIDConnectProviderInput{OpenIDConnectProviderArn: &arn})
	if err != nil {
		return providerInfo{}, accessFailure("reading the provider", err)
	}
	url := aws.ToString(out.Url)
	if !strings.Contains(url, "://") { // as AWS answers
		url = "https://" + url
	}
	return providerInfo{URL: url, ARN: arn, Audiences: out.ClientIDList, Thumbprints: out.ThumbprintList, Created: aws.ToTime(out.CreateDate).UTC()}, nil
}

func newOIDCProviderCreate() *cobra.Command {
	var audiences, thumbprints []string
	cmd := accessCommand("create URL [--audience NAME]...", "Trust an OIDC provider's tokens", []string{"URL"}, func(ctx context.Context, a *access, args []string) error {
		out, err := a.iam.CreateOpenIDConnectProvider(ctx, &iam.CreateOpenIDConnectProviderInput{Url: &args[0], ClientIDList: audiences, ThumbprintList: thumbprints})
		if err != nil {
			return accessFailure("making the provider", err)
		}
		p, err := a.provider(ctx, aws.ToString(out.OpenIDConnectProviderArn))
		if err != nil {
			return err
		}
		return a.print(p)
	})
	cmd.Flags().StringArrayVar(&audiences, "audience", []string{"sts.amazonaws.com"}, "audience (aud) that tokens must name; may be repeated")
	cmd.Flags().StringArrayVar(&thumbprints, "thumbprint", nil, "SHA-1 of a certificate of the provider's TLS chain, in hex; without it the system's authorities decide")
	return cmd
}

func (a *access) providers(ctx context.Context) ([]string, error) {
	out, err := a.iam.ListOpenIDConnectProviders(ctx, &iam.ListOpenIDConnectProvidersInput{})
	if err != nil {
		return nil, accessFailure("listing the providers", err)
	}
	var arns []string
	for _, p := range out.OpenIDConnectProviderList {
		arns = append(arns, aws.ToString(p.Arn))
	}
	return arns, nil
}

// providerURLs completes OIDC providers.
func providerURLs(ctx context.Context, a *access) ([]string, error) {
	arns, err := a.providers(ctx)
	var urls []string
	for _, arn := range arns {
		if _, rest, ok := strings.Cut(arn, ":oidc-provider/"); ok {
			urls = append(urls, "https://"+rest)
		}
	}
	return urls, err
}

// providerARN finds a provider by URL; an ARN stays what it is.
func (a *access) providerARN(ctx context.Context, url string) (string, error) {
	if strings.HasPrefix(url, "arn:") {
		return url, nil
	}
	arns, err := a.providers(ctx)
	if err != nil {
		return "", err
	}
	issuer := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(url, "https://"), "http://"), "/")
	for _, arn := range arns {
		if _, rest, _ := strings.Cut(arn, ":oidc-provider/"); rest == issuer {
			return arn, nil
		}
	}
	return "", &exitError{code: exitFailure, hint: "make it: " + self() + " oidc-provider create " + shellQuote(url), err: fmt.Errorf("there is no OIDC provider %q", url)}
}

func newOIDCProviderList() *cobra.Command {
	return accessCommand("list", "List OIDC providers", nil, func(ctx context.Context, a *access, _ []string) error {
		arns, err := a.providers(ctx)
		if err != nil {
			return err
		}
		list := providerList{Providers: []providerInfo{}}
		for _, arn := range arns {
			p, err := a.provider(ctx, arn)
			if err != nil {
				return err
			}
			list.Providers = append(list.Providers, p)
		}
		return a.print(list)
	})
}

func newOIDCProviderDelete() *cobra.Command {
	cmd := accessCommand("delete URL", "Trust an OIDC provider no longer", []string{"URL"}, func(ctx context.Context, a *access, args []string) error {
		arn, err := a.providerARN(ctx, args[0])
		if err != nil {
			return err
		}
		if _, err := a.iam.DeleteOpenIDConnectProvider(ctx, &iam.DeleteOpenIDConnectProviderInput{OpenIDConnectProviderArn: &arn}); err != nil {
			return accessFailure("deleting the provider", err)
		}
		return a.print(outcome{Status: "deleted", Kind: "oidc-provider", Name: args[0]})
	})
	completeFirst(cmd, providerURLs)
	return cmd
}
