package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/store"
)

// The server is an organization; its first account is the management account.

const (
	statusActive    = "ACTIVE"
	statusSuspended = "SUSPENDED"

	// accessRole is what a new account has for its management account to come in.
	accessRole = "OrganizationAccountAccessRole"
)

// rootOf is the id of the organization's root, as aws:PrincipalOrgPaths has it.
func rootOf(organization string) string {
	return "r-" + strings.TrimPrefix(organization, "o-")[:4]
}

// openOrganization makes the organization of a new folder. A crash in between
// leaves what the next start completes.
func (s *Service) openOrganization(ctx context.Context) error {
	var err error
	if s.organization, err = s.setting(ctx, settingOrganization, func() (string, error) { return "o-" + strings.ToLower(rand.Text()[:10]), nil }); err != nil {
		return err
	}
	s.management, err = s.setting(ctx, settingManagement, func() (string, error) {
		accounts, err := s.cfg.Records.Accounts(ctx)
		if err != nil || len(accounts) > 0 {
			// A folder of the first format has accounts and no organization.
			if err == nil {
				return accounts[0].ID, nil
			}
			return "", err
		}
		return s.cfg.Account, nil
	})
	if err != nil {
		return err
	}
	a, err := s.account(ctx, s.management)
	if err != nil || a != nil {
		return err
	}
	return s.cfg.Records.CreateAccount(ctx, &store.Account{
		ID: s.management, Name: "management", Email: s.management + "@accounts.invalid", Status: statusActive, Joined: "INVITED", JoinedAt: s.now(),
	}, nil)
}

// setting reads a setting, or stores what first makes.
func (s *Service) setting(ctx context.Context, name string, first func() (string, error)) (string, error) {
	value, err := s.cfg.Records.Setting(ctx, name)
	if !errors.Is(err, store.ErrNotFound) {
		return value, err
	}
	if value, err = first(); err != nil {
		return "", err
	}
	return value, s.cfg.Records.PutSetting(ctx, name, value)
}

// ManagementAccount is the first account of the server.
func (s *Service) ManagementAccount() string { return s.management }

// account reads an account; nil when there is none. There are few.
func (s *Service) account(ctx context.Context, id string) (*store.Account, error) {
	accounts, err := s.cfg.Records.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	for _, a := range accounts {
		if a.ID == id {
			return a, nil
		}
	}
	return nil, nil
}

// manager is the caller, who must be of the management account.
func (s *Service) manager(ctx context.Context) (*iam.Principal, error) {
	p, err := s.caller(ctx)
	if err == nil && p.Account != s.management {
		err = refuse(http.StatusForbidden, "AccessDeniedException", "You don't have permissions to access this resource: only the management account %s manages accounts.", s.management)
	}
	return p, err
}

func (s *Service) organizationARN(resource string) string {
	return "arn:" + s.cfg.Partition + ":organizations::" + s.management + ":" + resource
}

func (s *Service) accountShape(a *store.Account) *Account {
	state := statusActive
	if a.Status == statusSuspended {
		state = "CLOSED"
	}
	return &Account{Id: a.ID, Arn: s.organizationARN("account/" + s.organization + "/" + a.ID), Email: a.Email, Name: a.Name, Status: a.Status, State: state, JoinedMethod: a.Joined, JoinedTimestamp: a.JoinedAt}
}

// DescribeOrganization is organizations:DescribeOrganization.
func (s *Service) DescribeOrganization(ctx context.Context, _ *DescribeOrganizationInput) (*DescribeOrganizationOutput, error) {
	if _, err := s.caller(ctx); err != nil {
		return nil, err
	}
	a, err := s.account(ctx, s.management)
	if err != nil {
		return nil, err
	}
	return &DescribeOrganizationOutput{Organization: &Organization{
		Id: s.organization, Arn: s.organizationARN("organization/" + s.organization), FeatureSet: "ALL",
		MasterAccountArn: s.organizationARN("account/" + s.organization + "/" + s.management), MasterAccountId: s.management, MasterAccountEmail: a.Email,
	}}, nil
}

func requestShape(r *store.AccountRequest) *CreateAccountStatus {
	return &CreateAccountStatus{Id: r.ID, AccountName: r.Name, State: r.State, RequestedTimestamp: r.RequestedAt, CompletedTimestamp: r.RequestedAt, AccountId: r.Account, FailureReason: r.FailureReason}
}

// CreateAccount is organizations:CreateAccount. It is done when it answers: the
// account has a role that the management account's principals may assume, if
// their policies allow them to.
func (s *Service) CreateAccount(ctx context.Context, in *CreateAccountInput) (*CreateAccountOutput, error) {
	if _, err := s.manager(ctx); err != nil {
		return nil, err
	}
	if len(in.Tags) > 0 {
		return nil, refuse(http.StatusBadRequest, "InvalidInputException", "Accounts have no tags here; leave Tags out.")
	}
	now := s.now()
	request := &store.AccountRequest{ID: "car-" + strings.ToLower(rand.Text()), Name: in.AccountName, State: "SUCCEEDED", RequestedAt: now}
	accounts, err := s.cfg.Records.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	failed := func() (*CreateAccountOutput, error) {
		request.State, request.Account, request.FailureReason = "FAILED", "", "EMAIL_ALREADY_EXISTS"
		return &CreateAccountOutput{CreateAccountStatus: requestShape(request)}, s.cfg.Records.PutAccountRequest(ctx, request)
	}
	if slices.ContainsFunc(accounts, func(a *store.Account) bool { return strings.EqualFold(a.Email, in.Email) }) {
		return failed()
	}
	name := in.RoleName
	if name == "" {
		name = accessRole
	}
	defer s.changed()
	for {
		n, err := rand.Int(rand.Reader, big.NewInt(900_000_000_000))
		if err != nil {
			return nil, err
		}
		id := fmt.Sprint(n.Int64() + 100_000_000_000)
		if slices.ContainsFunc(accounts, func(a *store.Account) bool { return a.ID == id }) {
			continue
		}
		// The role first: a crash in between leaves a role of an account that
		// nobody was told of and that does not exist.
		role := &store.Identity{
			ID: newID("AROA"), Kind: store.KindRole, Account: id, Name: name, Path: "/", MaxSession: time.Hour, CreatedAt: now, Attached: []string{s.managedARN("AdministratorAccess")},
			Trust: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + s.iamARN(s.management, "root") + `"},"Action":"sts:AssumeRole"}]}`,
		}
		if err := s.cfg.Records.CreateIdentity(ctx, role); err != nil {
			return nil, err
		}
		request.Account = id
		err = s.cfg.Records.CreateAccount(ctx, &store.Account{ID: id, Name: in.AccountName, Email: in.Email, Status: statusActive, Joined: "CREATED", JoinedAt: now}, request)
		if exists(err, store.KindAccount) { // another call took the address
			return failed()
		}
		return &CreateAccountOutput{CreateAccountStatus: requestShape(request)}, err
	}
}

// DescribeCreateAccountStatus is organizations:DescribeCreateAccountStatus.
func (s *Service) DescribeCreateAccountStatus(ctx context.Context, in *DescribeCreateAccountStatusInput) (*DescribeCreateAccountStatusOutput, error) {
	if _, err := s.manager(ctx); err != nil {
		return nil, err
	}
	requests, err := s.cfg.Records.AccountRequests(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range requests {
		if r.ID == in.CreateAccountRequestId {
			return &DescribeCreateAccountStatusOutput{CreateAccountStatus: requestShape(r)}, nil
		}
	}
	return nil, refuse(http.StatusBadRequest, "CreateAccountStatusNotFoundException", "You specified a value that isn't valid. We can't find a create account request with the id %s.", in.CreateAccountRequestId)
}

// organizationPage cuts a page for Organizations, whose pages have other names.
func organizationPage[T any](s *Service, token string, limit int, list []T, key func(T) string, scope ...string) ([]T, string, error) {
	if limit == 0 {
		limit = 20
	}
	list, next, err := page(s, Page{Marker: token, MaxItems: limit}, list, key, scope...)
	if _, ok := errors.AsType[*Error](err); ok {
		err = refuse(http.StatusBadRequest, "InvalidInputException", "You provided a NextToken that isn't valid.")
	}
	return list, next.Marker, err
}

// ListCreateAccountStatus is organizations:ListCreateAccountStatus.
func (s *Service) ListCreateAccountStatus(ctx context.Context, in *ListCreateAccountStatusInput) (*ListCreateAccountStatusOutput, error) {
	if _, err := s.manager(ctx); err != nil {
		return nil, err
	}
	requests, err := s.cfg.Records.AccountRequests(ctx)
	if err != nil {
		return nil, err
	}
	out := &ListCreateAccountStatusOutput{}
	for _, r := range requests {
		if len(in.States) == 0 || slices.Contains(in.States, r.State) {
			out.CreateAccountStatuses = append(out.CreateAccountStatuses, *requestShape(r))
		}
	}
	slices.SortFunc(out.CreateAccountStatuses, func(a, b CreateAccountStatus) int { return strings.Compare(a.Id, b.Id) })
	out.CreateAccountStatuses, out.NextToken, err = organizationPage(s, in.NextToken, in.MaxResults, out.CreateAccountStatuses, func(r CreateAccountStatus) string { return r.Id }, append([]string{"requests"}, in.States...)...)
	return out, err
}

// ListAccounts is organizations:ListAccounts.
func (s *Service) ListAccounts(ctx context.Context, in *ListAccountsInput) (*ListAccountsOutput, error) {
	if _, err := s.manager(ctx); err != nil {
		return nil, err
	}
	accounts, err := s.cfg.Records.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(accounts, func(a, b *store.Account) int { return strings.Compare(a.ID, b.ID) })
	accounts, next, err := organizationPage(s, in.NextToken, in.MaxResults, accounts, func(a *store.Account) string { return a.ID }, "accounts")
	out := &ListAccountsOutput{NextToken: next}
	for _, a := range accounts {
		out.Accounts = append(out.Accounts, *s.accountShape(a))
	}
	return out, err
}

func noAccount(id string) error {
	return refuse(http.StatusBadRequest, "AccountNotFoundException", "You specified an account that doesn't exist: %s.", id)
}

// DescribeAccount is organizations:DescribeAccount.
func (s *Service) DescribeAccount(ctx context.Context, in *DescribeAccountInput) (*DescribeAccountOutput, error) {
	if _, err := s.manager(ctx); err != nil {
		return nil, err
	}
	a, err := s.account(ctx, in.AccountId)
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, noAccount(in.AccountId)
	}
	return &DescribeAccountOutput{Account: s.accountShape(a)}, nil
}

// CloseAccount is organizations:CloseAccount: from now on nothing is allowed to
// whoever is of the account. What the account has stays.
func (s *Service) CloseAccount(ctx context.Context, in *CloseAccountInput) (*CloseAccountOutput, error) {
	if _, err := s.manager(ctx); err != nil {
		return nil, err
	}
	if in.AccountId == s.management {
		return nil, refuse(http.StatusBadRequest, "ConstraintViolationException", "You cannot close the management account.")
	}
	defer s.changed()
	return &CloseAccountOutput{}, again(func() error {
		a, err := s.account(ctx, in.AccountId)
		switch {
		case err != nil:
			return err
		case a == nil:
			return noAccount(in.AccountId)
		case a.Status == statusSuspended:
			return refuse(http.StatusBadRequest, "AccountAlreadyClosedException", "You attempted to close an account that is already closed.")
		}
		a.Status = statusSuspended
		return s.cfg.Records.UpdateAccount(ctx, a)
	})
}
