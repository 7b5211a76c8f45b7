package identity

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// issuerURL checks the URL of a provider, and gives what ARNs and condition
// keys have of it: without the scheme. Http is for this machine alone.
func issuerURL(text string) (short string, err error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", refuse(http.StatusBadRequest, "InvalidInput", "Invalid Open ID Connect Provider URL: give it as https://host/path, without a query.")
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return "", refuse(http.StatusBadRequest, "InvalidInput", "Invalid Open ID Connect Provider URL: the URL must begin with https:// (http:// is accepted for an issuer on this machine alone).")
	}
	return strings.TrimSuffix(u.Host+u.EscapedPath(), "/"), nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (s *Service) providerARN(account, short string) string {
	return s.iamARN(account, "oidc-provider/"+short)
}

func checkThumbprints(list []string) error {
	for _, t := range list {
		if len(t) != 40 || strings.Trim(strings.ToLower(t), "0123456789abcdef") != "" {
			return refuse(http.StatusBadRequest, "InvalidInput", "A thumbprint is the SHA-1 digest of a certificate, 40 hexadecimal digits.")
		}
	}
	return nil
}

// CreateOpenIDConnectProvider is iam:CreateOpenIDConnectProvider. The issuer's
// TLS certificate must be trusted by this machine, or lead to a certificate of
// ThumbprintList.
func (s *Service) CreateOpenIDConnectProvider(ctx context.Context, in *CreateOpenIDConnectProviderInput) (*CreateOpenIDConnectProviderOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	short, err := issuerURL(in.Url)
	if err != nil {
		return nil, err
	}
	if err := checkThumbprints(in.ThumbprintList); err != nil {
		return nil, err
	}
	p := &store.OIDCProvider{ARN: s.providerARN(caller.Account, short), Account: caller.Account, URL: in.Url, ClientIDs: in.ClientIDList, Thumbprints: in.ThumbprintList, CreatedAt: s.now()}
	if p.Tags, err = mergeTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if len(in.Tags) > 0 {
		if err := s.also(ctx, caller, "iam:TagOpenIDConnectProvider", p.ARN); err != nil {
			return nil, err
		}
	}
	if all, err := s.cfg.Records.Providers(ctx, caller.Account); err != nil {
		return nil, err
	} else if len(all) >= maxProviders {
		return nil, limitExceeded("Cannot exceed quota for OpenIdConnectProvidersPerAccount: %d", maxProviders)
	}
	if err := s.cfg.Records.CreateProvider(ctx, p); exists(err, store.KindProvider) {
		return nil, entityExists("Provider with url %s already exists.", in.Url)
	} else if err != nil {
		return nil, err
	}
	return &CreateOpenIDConnectProviderOutput{OpenIDConnectProviderArn: p.ARN, Tags: tagsOf(p.Tags)}, nil
}

func noProvider(arn string) error {
	return noSuchEntity("OpenIDConnect Provider not found for arn %s", arn)
}

func (s *Service) provider(ctx context.Context, caller *iam.Principal, arn string) (*store.OIDCProvider, error) {
	p, err := s.cfg.Records.Provider(ctx, arn)
	if errors.Is(err, store.ErrNotFound) || err == nil && p.Account != caller.Account {
		return nil, noProvider(arn)
	}
	return p, err
}

// GetOpenIDConnectProvider is iam:GetOpenIDConnectProvider.
func (s *Service) GetOpenIDConnectProvider(ctx context.Context, in *GetOpenIDConnectProviderInput) (*GetOpenIDConnectProviderOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.provider(ctx, caller, in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	_, issuer, _ := strings.Cut(p.ARN, ":oidc-provider/")
	if strings.HasPrefix(p.URL, "http://") { // which AWS does not have
		issuer = p.URL
	}
	return &GetOpenIDConnectProviderOutput{Url: issuer, ClientIDList: p.ClientIDs, ThumbprintList: p.Thumbprints, CreateDate: p.CreatedAt, Tags: tagsOf(p.Tags)}, nil
}

// ListOpenIDConnectProviders is iam:ListOpenIDConnectProviders.
func (s *Service) ListOpenIDConnectProviders(ctx context.Context, _ *ListOpenIDConnectProvidersInput) (*ListOpenIDConnectProvidersOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	all, err := s.cfg.Records.Providers(ctx, caller.Account)
	if err != nil {
		return nil, err
	}
	out := &ListOpenIDConnectProvidersOutput{}
	for _, p := range all {
		out.OpenIDConnectProviderList = append(out.OpenIDConnectProviderList, OpenIDConnectProviderListEntry{Arn: p.ARN})
	}
	return out, nil
}

func (s *Service) changeProvider(ctx context.Context, arn string, f func(*store.OIDCProvider) error) error {
	caller, err := s.caller(ctx)
	if err != nil {
		return err
	}
	return again(func() error {
		p, err := s.provider(ctx, caller, arn)
		if err != nil {
			return err
		}
		if err := f(p); err != nil {
			return err
		}
		if err = s.cfg.Records.UpdateProvider(ctx, p); errors.Is(err, store.ErrNotFound) {
			return noProvider(arn)
		}
		return err
	})
}

// UpdateOpenIDConnectProviderThumbprint is iam:UpdateOpenIDConnectProviderThumbprint.
func (s *Service) UpdateOpenIDConnectProviderThumbprint(ctx context.Context, in *UpdateOpenIDConnectProviderThumbprintInput) (*UpdateOpenIDConnectProviderThumbprintOutput, error) {
	if err := checkThumbprints(in.ThumbprintList); err != nil {
		return nil, err
	}
	return &UpdateOpenIDConnectProviderThumbprintOutput{}, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *store.OIDCProvider) error {
		p.Thumbprints = in.ThumbprintList
		return nil
	})
}

// AddClientIDToOpenIDConnectProvider is iam:AddClientIDToOpenIDConnectProvider;
// one that is there is no error.
func (s *Service) AddClientIDToOpenIDConnectProvider(ctx context.Context, in *AddClientIDToOpenIDConnectProviderInput) (*AddClientIDToOpenIDConnectProviderOutput, error) {
	return &AddClientIDToOpenIDConnectProviderOutput{}, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *store.OIDCProvider) error {
		if slices.Contains(p.ClientIDs, in.ClientID) {
			return nil
		}
		if len(p.ClientIDs) >= maxClientIDs {
			return limitExceeded("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClientIDs)
		}
		p.ClientIDs = append(p.ClientIDs, in.ClientID)
		return nil
	})
}

const maxClientIDs = 100

// RemoveClientIDFromOpenIDConnectProvider is
// iam:RemoveClientIDFromOpenIDConnectProvider; one that is not there is no error.
func (s *Service) RemoveClientIDFromOpenIDConnectProvider(ctx context.Context, in *RemoveClientIDFromOpenIDConnectProviderInput) (*RemoveClientIDFromOpenIDConnectProviderOutput, error) {
	return &RemoveClientIDFromOpenIDConnectProviderOutput{}, s.changeProvider(ctx, in.OpenIDConnectProviderArn, func(p *store.OIDCProvider) error {
		p.ClientIDs = slices.DeleteFunc(p.ClientIDs, func(c string) bool { return c == in.ClientID })
		return nil
	})
}

// DeleteOpenIDConnectProvider is iam:DeleteOpenIDConnectProvider. Sessions that
// were made with it go on until they end, as at AWS.
func (s *Service) DeleteOpenIDConnectProvider(ctx context.Context, in *DeleteOpenIDConnectProviderInput) (*DeleteOpenIDConnectProviderOutput, error) {
	caller, err := s.caller(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.provider(ctx, caller, in.OpenIDConnectProviderArn)
	if err != nil {
		return nil, err
	}
	if err = s.cfg.Records.DeleteProvider(ctx, p.ARN); errors.Is(err, store.ErrNotFound) {
		return nil, noProvider(p.ARN)
	}
	return &DeleteOpenIDConnectProviderOutput{}, err
}
