package main

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/spf13/cobra"
)

func newUser() *cobra.Command {
	cmd := group("user", "Manage users: people and programs with keys of their own",
		newUserCreate(), newUserList(), newUserShow(), newUserDelete())
	cmd.AddCommand(attachCommands(userEntity, userNames)...)
	return cmd
}

// userInfo is a user as the commands print it.
type userInfo struct {
	Name     string            `json:"name"`
	ARN      string            `json:"arn"`
	ID       string            `json:"id"`
	Created  time.Time         `json:"createdAt"`
	Tags     map[string]string `json:"tags,omitempty"`
	Boundary string            `json:"permissionsBoundary,omitempty"`
	Policies []string          `json:"policies,omitempty"`       // ARNs
	Inline   []string          `json:"inlinePolicies,omitempty"` // names
	Keys     []keyInfo         `json:"keys,omitempty"`
	Key      *newKeyInfo       `json:"key,omitempty"` // of create --key
}

func userOf(u *types.User) userInfo {
	info := userInfo{Name: aws.ToString(u.UserName), ARN: aws.ToString(u.Arn), ID: aws.ToString(u.UserId), Created: aws.ToTime(u.CreateDate).UTC(), Tags: tagMap(u.Tags)}
	if u.PermissionsBoundary != nil {
		info.Boundary = aws.ToString(u.PermissionsBoundary.PermissionsBoundaryArn)
	}
	return info
}

func (u userInfo) rows() [][]string {
	table := [][]string{{"user", u.Name}, {"arn", u.ARN}, {"id", u.ID}, {"created", when(u.Created)}}
	for _, p := range u.Policies {
		table = append(table, []string{"policy", p})
	}
	for _, p := range u.Inline {
		table = append(table, []string{"inline policy", p})
	}
	if u.Boundary != "" {
		table = append(table, []string{"permissions boundary", u.Boundary})
	}
	if len(u.Tags) > 0 {
		table = append(table, []string{"tags", tagText(u.Tags)})
	}
	for _, k := range u.Keys {
		table = append(table, []string{"access key", strings.TrimSpace(k.ID + " " + k.Status)})
	}
	if u.Key != nil {
		table = append(table, u.Key.rows()...)
	}
	return table
}

type userList struct {
	Users []userInfo `json:"users"`
}

func (l userList) rows() [][]string {
	table := [][]string{{"NAME", "CREATED", "ARN"}}
	for _, u := range l.Users {
		table = append(table, []string{u.Name, when(u.Created), u.ARN})
	}
	return table
}

func newUserCreate() *cobra.Command {
	var (
		path, boundary, profile string
		policies, tags          []string
		key                     bool
	)
	cmd := accessCommand("create NAME [--policy POLICY]... [--key]", "Make a user, with policies and an access key if asked to", []string{"NAME"}, func(ctx context.Context, a *access, args []string) error {
		in := &iam.CreateUserInput{UserName: &args[0]}
		var err error
		if in.Tags, err = parseTags(tags); err != nil {
			return err
		}
		if profile != "" {
			key = true
		}
		if err := a.checkProfile(profile); err != nil {
			return err
		}
		// Nothing is made for the sake of a policy that there is not.
		arns, err := a.policyARNs(ctx, policies)
		if err != nil {
			return err
		}
		if boundary != "" {
			if boundary, err = a.policyARN(ctx, boundary); err != nil {
				return err
			}
			in.PermissionsBoundary = &boundary
		}
		if path != "" {
			in.Path = &path
		}
		out, err := a.iam.CreateUser(ctx, in)
		if err != nil {
			return accessFailure("making the user", err)
		}
		u := userOf(out.User)
		for _, arn := range arns {
			if err := a.attachARN(ctx, userEntity, u.Name, arn); err != nil {
				a.note("the user %s is there, without this policy", u.Name)
				return err
			}
			u.Policies = append(u.Policies, arn)
		}
		if key {
			if u.Key, err = a.createKey(ctx, u.Name, profile); err != nil {
				a.note("the user %s is there, without a key", u.Name)
				return err
			}
		}
		return a.print(u)
	})
	cmd.Example = `  chirograph user create auditor --policy AWSPrivateCAAuditor --profile auditor
  chirograph user create web --policy AWSPrivateCAUser --key --output json`
	cmd.Flags().StringArrayVar(&policies, "policy", nil, "policy to attach, by name or ARN; may be repeated")
	cmd.Flags().BoolVar(&key, "key", false, "make an access key, and print it")
	cmd.Flags().StringVar(&profile, "profile", "", "make an access key and write it into the data folder's client files as this profile, instead of printing its secret")
	cmd.Flags().StringVar(&path, "path", "", "path in the ARN, for example /auditors/")
	cmd.Flags().StringVar(&boundary, "permissions-boundary", "", "policy that bounds what other policies can give")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "tag KEY=VALUE; may be repeated")
	completeFlag(cmd, "policy", policyNames)
	completeFlag(cmd, "permissions-boundary", policyNames)
	return cmd
}

func (a *access) policyARNs(ctx context.Context, names []string) ([]string, error) {
	var arns []string
	for _, name := range names {
		arn, err := a.policyARN(ctx, name)
		if err != nil {
			return nil, err
		}
		arns = append(arns, arn)
	}
	return arns, nil
}

func (a *access) users(ctx context.Context) ([]userInfo, error) {
	users := []userInfo{}
	pages := iam.NewListUsersPaginator(a.iam, &iam.ListUsersInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, accessFailure("listing users", err)
		}
		for _, u := range page.Users {
			users = append(users, userOf(&u))
		}
	}
	return users, nil
}

// userNames completes users.
func userNames(ctx context.Context, a *access) ([]string, error) {
	users, err := a.users(ctx)
	var names []string
	for _, u := range users {
		names = append(names, u.Name)
	}
	return names, err
}

func newUserList() *cobra.Command {
	return accessCommand("list", "List users", nil, func(ctx context.Context, a *access, _ []string) error {
		users, err := a.users(ctx)
		if err != nil {
			return err
		}
		return a.print(userList{users})
	})
}

func newUserShow() *cobra.Command {
	cmd := accessCommand("show NAME", "Show a user with its policies and keys", []string{"NAME"}, func(ctx context.Context, a *access, args []string) error {
		out, err := a.iam.GetUser(ctx, &iam.GetUserInput{UserName: &args[0]})
		if err != nil {
			return accessFailure("reading the user", err)
		}
		u := userOf(out.User)
		if u.Policies, u.Inline, err = a.userPolicies(ctx, u.Name); err != nil {
			return err
		}
		if u.Keys, err = a.keys(ctx, u.Name); err != nil {
			return err
		}
		return a.print(u)
	})
	completeFirst(cmd, userNames)
	return cmd
}

func (a *access) userPolicies(ctx context.Context, name string) (arns, inline []string, err error) {
	attached := iam.NewListAttachedUserPoliciesPaginator(a.iam, &iam.ListAttachedUserPoliciesInput{UserName: &name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return nil, nil, accessFailure("listing the user's policies", err)
		}
		for _, p := range page.AttachedPolicies {
			arns = append(arns, aws.ToString(p.PolicyArn))
		}
	}
	own := iam.NewListUserPoliciesPaginator(a.iam, &iam.ListUserPoliciesInput{UserName: &name})
	for own.HasMorePages() {
		page, err := own.NextPage(ctx)
		if err != nil {
			return nil, nil, accessFailure("listing the user's inline policies", err)
		}
		inline = append(inline, page.PolicyNames...)
	}
	return arns, inline, nil
}

func newUserDelete() *cobra.Command {
	var force bool
	cmd := accessCommand("delete NAME", "Delete a user", []string{"NAME"}, func(ctx context.Context, a *access, args []string) error {
		name := args[0]
		if force {
			if err := a.emptyUser(ctx, name); err != nil {
				return err
			}
		}
		if _, err := a.iam.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &name}); err != nil {
			return accessFailure("deleting the user", err)
		}
		return a.print(outcome{Status: "deleted", Kind: "user", Name: name})
	})
	completeFirst(cmd, userNames)
	cmd.Flags().BoolVar(&force, "force", false, "delete its keys and take its policies first")
	return cmd
}

// emptyUser takes everything from a user, the keys first.
func (a *access) emptyUser(ctx context.Context, name string) error {
	keys, err := a.keys(ctx, name)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if _, err := a.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: &name, AccessKeyId: &k.ID}); err != nil {
			return accessFailure("deleting the key "+k.ID, err)
		}
	}
	arns, inline, err := a.userPolicies(ctx, name)
	if err != nil {
		return err
	}
	for _, arn := range arns {
		if err := a.detachARN(ctx, userEntity, name, arn); err != nil {
			return err
		}
	}
	for _, p := range inline {
		if _, err := a.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &name, PolicyName: &p}); err != nil {
			return accessFailure("deleting the inline policy "+p, err)
		}
	}
	return nil
}
