package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"
	"github.com/spf13/cobra"
)

func newAccount() *cobra.Command {
	return group("account", "Manage the accounts of the server",
		newAccountCreate(), newAccountList(), newAccountShow(), newAccountClose())
}

// accountInfo is an account as the commands print it.
type accountInfo struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	Email  string    `json:"email"`
	Status string    `json:"status"` // ACTIVE, SUSPENDED once it was closed
	Joined time.Time `json:"joinedAt"`
	ARN    string    `json:"arn"`
}

func accountOf(o *types.Account) accountInfo {
	return accountInfo{ID: aws.ToString(o.Id), Name: aws.ToString(o.Name), Email: aws.ToString(o.Email), Status: string(o.Status), Joined: aws.ToTime(o.JoinedTimestamp).UTC(), ARN: aws.ToString(o.Arn)}
}

func (o accountInfo) rows() [][]string {
	return [][]string{{"account", o.ID}, {"name", o.Name}, {"email", o.Email}, {"status", o.Status}, {"joined", when(o.Joined)}, {"arn", o.ARN}}
}

type accountList struct {
	Accounts []accountInfo `json:"accounts"`
}

func (l accountList) rows() [][]string {
	table := [][]string{{"ID", "NAME", "STATUS", "JOINED"}}
	for _, o := range l.Accounts {
		table = append(table, []string{o.ID, o.Name, o.Status, when(o.Joined)})
	}
	return table
}

func newAccountCreate() *cobra.Command {
	var email, role string
	cmd := accessCommand("create NAME [--email ADDRESS]", "Make an account", []string{"NAME"}, func(ctx context.Context, a *access, args []string) error {
		if email == "" {
			email = addressOf(args[0])
		}
		in := &organizations.CreateAccountInput{AccountName: &args[0], Email: &email}
		if role != "" {
			in.RoleName = &role
		}
		out, err := a.organizations.CreateAccount(ctx, in)
		if err != nil {
			return accessFailure("making the account", err)
		}
		status := out.CreateAccountStatus
		for status.State == types.CreateAccountStateInProgress { // another make of server may take its time
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
			}
			out, err := a.organizations.DescribeCreateAccountStatus(ctx, &organizations.DescribeCreateAccountStatusInput{CreateAccountRequestId: status.Id})
			if err != nil {
				return accessFailure("asking for the account", err)
			}
			status = out.CreateAccountStatus
		}
		if status.State == types.CreateAccountStateFailed {
			return fmt.Errorf("making the account: %s", status.FailureReason)
		}
		return a.showAccount(ctx, aws.ToString(status.AccountId))
	})
	cmd.Flags().StringVar(&email, "email", "", "address of whom the account belongs to; without it one is made of the name")
	cmd.Flags().StringVar(&role, "role-name", "", "name of the role by which this account manages the new one (default "+accountRole+")")
	return cmd
}

// addressOf makes an address of an account's name, for those who have none.
func addressOf(name string) string {
	local := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	return local[:min(len(local), 40)] + "@accounts.invalid"
}

func (a *access) showAccount(ctx context.Context, id string) error {
	out, err := a.organizations.DescribeAccount(ctx, &organizations.DescribeAccountInput{AccountId: &id})
	if err != nil {
		return accessFailure("reading the account", err)
	}
	return a.print(accountOf(out.Account))
}

func (a *access) accounts(ctx context.Context) ([]accountInfo, error) {
	accounts := []accountInfo{}
	pages := organizations.NewListAccountsPaginator(a.organizations, &organizations.ListAccountsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, accessFailure("listing accounts", err)
		}
		for _, o := range page.Accounts {
			accounts = append(accounts, accountOf(&o))
		}
	}
	return accounts, nil
}

// accountIDs completes accounts.
func accountIDs(ctx context.Context, a *access) ([]string, error) {
	accounts, err := a.accounts(ctx)
	var ids []string
	for _, o := range accounts {
		ids = append(ids, o.ID+"\t"+o.Name)
	}
	return ids, err
}

// accountID finds an account by name; an id stays what it is.
func (a *access) accountID(ctx context.Context, name string) (string, error) {
	if accountID.MatchString(name) {
		return name, nil
	}
	accounts, err := a.accounts(ctx)
	if err != nil {
		return "", err
	}
	found := ""
	for _, o := range accounts {
		switch {
		case o.Name == name && found != "":
			return "", &exitError{code: exitFailure, hint: "give the id", err: fmt.Errorf("two accounts have the name %q: %s and %s", name, found, o.ID)}
		case o.Name == name:
			found = o.ID
		}
	}
	if found == "" {
		return "", &exitError{code: exitFailure, hint: "list them with: " + self() + " account list", err: fmt.Errorf("there is no account %q", name)}
	}
	return found, nil
}

func newAccountList() *cobra.Command {
	return accessCommand("list", "List accounts", nil, func(ctx context.Context, a *access, _ []string) error {
		accounts, err := a.accounts(ctx)
		if err != nil {
			return err
		}
		return a.print(accountList{accounts})
	})
}

func newAccountShow() *cobra.Command {
	cmd := accessCommand("show ACCOUNT", "Show an account", []string{"ACCOUNT"}, func(ctx context.Context, a *access, args []string) error {
		id, err := a.accountID(ctx, args[0])
		if err != nil {
			return err
		}
		return a.showAccount(ctx, id)
	})
	completeFirst(cmd, accountIDs)
	return cmd
}

func newAccountClose() *cobra.Command {
	var yes bool
	cmd := accessCommand("close ACCOUNT --yes", "Close an account: its users, keys and sessions are refused", []string{"ACCOUNT"}, func(ctx context.Context, a *access, args []string) error {
		if !yes {
			return usageError("give --yes if you mean it", "closing an account shuts everybody in it out, and cannot be taken back")
		}
		id, err := a.accountID(ctx, args[0])
		if err != nil {
			return err
		}
		if _, err := a.organizations.CloseAccount(ctx, &organizations.CloseAccountInput{AccountId: &id}); err != nil {
			return accessFailure("closing the account", err)
		}
		return a.print(outcome{Status: "closed", Kind: "account", Name: id})
	})
	completeFirst(cmd, accountIDs)
	cmd.Flags().BoolVar(&yes, "yes", false, "yes, close it")
	return cmd
}
