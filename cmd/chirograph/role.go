package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/spf13/cobra"
)

func newRole() *cobra.Command {
	cmd := group("role", "Manage roles: rights that somebody takes on for a while",
		newRoleCreate(), newRoleList(), newRoleShow(), newRoleDelete(), newRoleAssume())
	cmd.AddCommand(attachCommands(roleEntity, roleNames)...)
	return cmd
}

// roleInfo is a role as the commands print it.
type roleInfo struct {
	Name        string            `json:"name"`
	ARN         string            `json:"arn"`
	ID          string            `json:"id"`
	Created     time.Time         `json:"createdAt"`
	Description string            `json:"description,omitempty"`
	MaxSession  int32             `json:"maxSessionSeconds"`
	Tags        map[string]string `json:"tags,omitempty"`
	Boundary    string            `json:"permissionsBoundary,omitempty"`
	Policies    []string          `json:"policies,omitempty"`       // ARNs
	Inline      []string          `json:"inlinePolicies,omitempty"` // names
	Trust       any               `json:"trustPolicy,omitempty"`    // of show
}

func roleOf(r *types.Role) roleInfo {
	info := roleInfo{
		Name: aws.ToString(r.RoleName), ARN: aws.ToString(r.Arn), ID: aws.ToString(r.RoleId), Created: aws.ToTime(r.CreateDate).UTC(),
		Description: aws.ToString(r.Description), MaxSession: aws.ToInt32(r.MaxSessionDuration), Tags: tagMap(r.Tags),
	}
	if r.PermissionsBoundary != nil {
		info.Boundary = aws.ToString(r.PermissionsBoundary.PermissionsBoundaryArn)
	}
	return info
}

func (r roleInfo) rows() [][]string {
	table := [][]string{{"role", r.Name}, {"arn", r.ARN}, {"id", r.ID}, {"created", when(r.Created)}, {"longest session", (time.Duration(r.MaxSession) * time.Second).String()}}
	if r.Description != "" {
		table = append(table, []string{"description", r.Description})
	}
	for _, p := range r.Policies {
		table = append(table, []string{"policy", p})
	}
	for _, p := range r.Inline {
		table = append(table, []string{"inline policy", p})
	}
	if r.Boundary != "" {
		table = append(table, []string{"permissions boundary", r.Boundary})
	}
	if len(r.Tags) > 0 {
		table = append(table, []string{"tags", tagText(r.Tags)})
	}
	return table
}

type roleList struct {
	Roles []roleInfo `json:"roles"`
}

func (l roleList) rows() [][]string {
	table := [][]string{{"NAME", "CREATED", "ARN"}}
	for _, r := range l.Roles {
		table = append(table, []string{r.Name, when(r.Created), r.ARN})
	}
	return table
}

// trustFlags say who may take a role on.
type trustFlags struct {
	file, account, user, externalID string
	oidc, subject, audience         string
}

func (f *trustFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "trust-policy", "", "file with the trust policy in JSON; - reads the standard input")
	cmd.Flags().StringVar(&f.account, "trust-account", "", "account, by id or name, whose users may take the role on, if their own policies let them")
	cmd.Flags().StringVar(&f.externalID, "external-id", "", "with --trust-account: the external id that must be given")
	cmd.Flags().StringVar(&f.user, "trust-user", "", "user of this account who may take the role on")
	cmd.Flags().StringVar(&f.oidc, "trust-oidc", "", "OIDC provider, by URL or ARN, whose tokens may take the role on")
	cmd.Flags().StringVar(&f.subject, "oidc-subject", "", "with --trust-oidc: subject (sub) of the tokens; * stands for any text")
	cmd.Flags().StringVar(&f.audience, "oidc-audience", "sts.amazonaws.com", "with --trust-oidc: audience (aud) of the tokens")
	completeFlag(cmd, "trust-user", userNames)
	completeFlag(cmd, "trust-oidc", providerURLs)
}

type trustDocument struct {
	Version   string
	Statement []trustStatement
}

type trustStatement struct {
	Effect    string
	Principal map[string]string
	Action    string
	Condition map[string]map[string]string `json:",omitempty"`
}

// policy is the trust policy that the flags describe.
func (f *trustFlags) policy(ctx context.Context, a *access) (string, error) {
	given := 0
	for _, s := range []string{f.file, f.account, f.user, f.oidc} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return "", usageError("for example --trust-user alice", "exactly one of --trust-user, --trust-account, --trust-oidc and --trust-policy is needed")
	}
	if f.file != "" {
		return readDocument(a.cmd, "trust-policy", f.file)
	}
	me, err := a.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", accessFailure("asking who calls", err)
	}
	prefix := "arn:" + partitionOf(aws.ToString(me.Arn)) + ":iam::"
	s := trustStatement{Effect: "Allow", Action: "sts:AssumeRole"}
	switch {
	case f.account != "":
		id, err := a.accountID(ctx, f.account)
		if err != nil {
			return "", err
		}
		s.Principal = map[string]string{"AWS": prefix + id + ":root"}
		if f.externalID != "" {
			s.Condition = map[string]map[string]string{"StringEquals": {"sts:ExternalId": f.externalID}}
		}
	case f.user != "":
		out, err := a.iam.GetUser(ctx, &iam.GetUserInput{UserName: &f.user})
		if err != nil {
			return "", accessFailure("finding the user "+f.user, err)
		}
		s.Principal = map[string]string{"AWS": aws.ToString(out.User.Arn)}
	default:
		// Everybody whom the provider knows would be too many.
		if f.subject == "" {
			return "", usageError("for example --oidc-subject repo:example/app:ref:refs/heads/main", "--trust-oidc needs --oidc-subject")
		}
		arn, err := a.providerARN(ctx, f.oidc)
		if err != nil {
			return "", err
		}
		_, issuer, _ := strings.Cut(arn, ":oidc-provider/")
		s.Principal, s.Action = map[string]string{"Federated": arn}, "sts:AssumeRoleWithWebIdentity"
		s.Condition = map[string]map[string]string{"StringEquals": {issuer + ":aud": f.audience}, "StringLike": {issuer + ":sub": f.subject}}
	}
	text, err := json.Marshal(trustDocument{"2012-10-17", []trustStatement{s}})
	return string(text), err
}

func newRoleCreate() *cobra.Command {
	var (
		trust                       trustFlags
		path, boundary, description string
		policies, tags              []string
		longest                     time.Duration
	)
	cmd := accessCommand("create NAME --trust-user NAME|--trust-account ID|--trust-oidc URL|--trust-policy FILE [--policy POLICY]...", "Make a role, and say who may take it on", []string{"NAME"}, func(ctx context.Context, a *access, args []string) error {
		in := &iam.CreateRoleInput{RoleName: &args[0], MaxSessionDuration: aws.Int32(int32(longest / time.Second))}
		var err error
		if in.Tags, err = parseTags(tags); err != nil {
			return err
		}
		document, err := trust.policy(ctx, a)
		if err != nil {
			return err
		}
		in.AssumeRolePolicyDocument = &document
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
		if description != "" {
			in.Description = &description
		}
		out, err := a.iam.CreateRole(ctx, in)
		if err != nil {
			return accessFailure("making the role", err)
		}
		r := roleOf(out.Role)
		if r.MaxSession == 0 {
			r.MaxSession = *in.MaxSessionDuration
		}
		for _, arn := range arns {
			if err := a.attachARN(ctx, roleEntity, r.Name, arn); err != nil {
				a.note("the role %s is there, without this policy", r.Name)
				return err
			}
			r.Policies = append(r.Policies, arn)
		}
		return a.print(r)
	})
	cmd.Example = `  chirograph role create issuing --trust-user web --policy AWSPrivateCAUser
  chirograph role create deploy --trust-oidc https://token.actions.githubusercontent.com \
    --oidc-subject 'repo:example/app:ref:refs/heads/main' --policy AWSPrivateCAUser`
	trust.register(cmd)
	cmd.Flags().StringArrayVar(&policies, "policy", nil, "policy to attach, by name or ARN; may be repeated")
	cmd.Flags().DurationVar(&longest, "max-session", time.Hour, "longest session, from 1h to 12h")
	cmd.Flags().StringVar(&description, "description", "", "what the role is for")
	cmd.Flags().StringVar(&path, "path", "", "path in the ARN, for example /deploy/")
	cmd.Flags().StringVar(&boundary, "permissions-boundary", "", "policy that bounds what other policies can give")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "tag KEY=VALUE; may be repeated")
	completeFlag(cmd, "policy", policyNames)
	completeFlag(cmd, "permissions-boundary", policyNames)
	return cmd
}

func (a *access) roles(ctx context.Context) ([]roleInfo, error) {
	roles := []roleInfo{}
	pages := iam.NewListRolesPaginator(a.iam, &iam.ListRolesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, accessFailure("listing roles", err)
		}
		for _, r := range page.Roles {
			roles = append(roles, roleOf(&r))
		}
	}
	return roles, nil
}

// roleNames completes roles.
func roleNames(ctx context.Context, a *access) ([]string, error) {
	roles, err := a.roles(ctx)
	var names []string
	for _, r := range roles {
		names = append(names, r.Name)
	}
	return names, err
}

func newRoleList() *cobra.Command {
	return accessCommand("list", "List roles", nil, func(ctx context.Context, a *access, _ []string) error {
		roles, err := a.roles(ctx)
		if err != nil {
			return err
		}
		return a.print(roleList{roles})
	})
}

func newRoleShow() *cobra.Command {
	cmd := accessCommand("show NAME", "Show a role with its policies and its trust policy", []string{"NAME"}, func(ctx context.Context, a *access, args []string) error {
		out, err := a.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &args[0]})
		if err != nil {
			return accessFailure("reading the role", err)
		}
		r := roleOf(out.Role)
		r.Trust = documentOf(out.Role.AssumeRolePolicyDocument)
		if r.Policies, r.Inline, err = a.rolePolicies(ctx, r.Name); err != nil {
			return err
		}
		if err := a.print(r); err != nil || a.flags.output == "json" {
			return err
		}
		fmt.Fprintln(a.cmd.OutOrStdout(), "\ntrust policy")
		return printJSON(a.cmd.OutOrStdout(), r.Trust)
	})
	completeFirst(cmd, roleNames)
	return cmd
}

func (a *access) rolePolicies(ctx context.Context, name string) (arns, inline []string, err error) {
	attached := iam.NewListAttachedRolePoliciesPaginator(a.iam, &iam.ListAttachedRolePoliciesInput{RoleName: &name})
	for attached.HasMorePages() {
		page, err := attached.NextPage(ctx)
		if err != nil {
			return nil, nil, accessFailure("listing the role's policies", err)
		}
		for _, p := range page.AttachedPolicies {
			arns = append(arns, aws.ToString(p.PolicyArn))
		}
	}
	own := iam.NewListRolePoliciesPaginator(a.iam, &iam.ListRolePoliciesInput{RoleName: &name})
	for own.HasMorePages() {
		page, err := own.NextPage(ctx)
		if err != nil {
			return nil, nil, accessFailure("listing the role's inline policies", err)
		}
		inline = append(inline, page.PolicyNames...)
	}
	return arns, inline, nil
}

func newRoleDelete() *cobra.Command {
	var force bool
	cmd := accessCommand("delete NAME", "Delete a role; its sessions end at once", []string{"NAME"}, func(ctx context.Context, a *access, args []string) error {
		name := args[0]
		if force {
			arns, inline, err := a.rolePolicies(ctx, name)
			if err != nil {
				return err
			}
			for _, arn := range arns {
				if err := a.detachARN(ctx, roleEntity, name, arn); err != nil {
					return err
				}
			}
			for _, p := range inline {
				if _, err := a.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &name, PolicyName: &p}); err != nil {
					return accessFailure("deleting the inline policy "+p, err)
				}
			}
		}
		if _, err := a.iam.DeleteRole(ctx, &iam.DeleteRoleInput{RoleName: &name}); err != nil {
			return accessFailure("deleting the role", err)
		}
		return a.print(outcome{Status: "deleted", Kind: "role", Name: name})
	})
	completeFirst(cmd, roleNames)
	cmd.Flags().BoolVar(&force, "force", false, "take its policies first")
	return cmd
}

// sessionInfo is a session as credential_process programs print it, so that
// the JSON serves as one.
type sessionInfo struct {
	Version    int       `json:"Version"`
	ID         string    `json:"AccessKeyId"`
	Secret     string    `json:"SecretAccessKey"`
	Token      string    `json:"SessionToken"`
	Expiration time.Time `json:"Expiration"`
}

// writeExports writes the session as shell commands, for eval.
func (s sessionInfo) writeExports(w io.Writer) error {
	_, err := fmt.Fprintf(w, "export AWS_ACCESS_KEY_ID=%s\nexport AWS_SECRET_ACCESS_KEY=%s\nexport AWS_SESSION_TOKEN=%s\n", shellQuote(s.ID), shellQuote(s.Secret), shellQuote(s.Token))
	return err
}

// profileInfo says what was written where.
type profileInfo struct {
	Profile    string    `json:"profile"`
	ARN        string    `json:"arn"`
	Expiration time.Time `json:"expiration"`
}

func (p profileInfo) rows() [][]string {
	return [][]string{{"profile", p.Profile}, {"session", p.ARN}, {"until", when(p.Expiration)}}
}

func newRoleAssume() *cobra.Command {
	var name, externalID, profile string
	var length time.Duration
	cmd := accessCommand("assume ROLE [--profile PROFILE]", "Take a role on, and print the session's credentials as shell commands", []string{"ROLE"}, func(ctx context.Context, a *access, args []string) error {
		if err := a.checkProfile(profile); err != nil {
			return err
		}
		arn := args[0]
		if !strings.HasPrefix(arn, "arn:") {
			me, err := a.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
			if err != nil {
				return accessFailure("asking who calls", err)
			}
			arn = "arn:" + partitionOf(aws.ToString(me.Arn)) + ":iam::" + aws.ToString(me.Account) + ":role/" + strings.TrimPrefix(arn, "/")
		}
		in := &sts.AssumeRoleInput{RoleArn: &arn, RoleSessionName: &name, DurationSeconds: aws.Int32(int32(length / time.Second))}
		if externalID != "" {
			in.ExternalId = &externalID
		}
		out, err := a.sts.AssumeRole(ctx, in)
		if err != nil {
			failure := accessFailure("taking on the role", err)
			if isCode(err, "AccessDenied") {
				return hinted(failure, "the role must be there, and its trust policy must name you: "+self()+" role show "+shellQuote(args[0]))
			}
			return failure
		}
		c := out.Credentials
		s := sessionInfo{Version: 1, ID: aws.ToString(c.AccessKeyId), Secret: aws.ToString(c.SecretAccessKey), Token: aws.ToString(c.SessionToken), Expiration: aws.ToTime(c.Expiration).UTC()}
		switch {
		case profile != "":
			if err := a.writeProfile(profile, profileKeys{s.ID, s.Secret, s.Token}); err != nil {
				return err
			}
			return a.print(profileInfo{profile, aws.ToString(out.AssumedRoleUser.Arn), s.Expiration})
		case a.flags.output == "json":
			return printJSON(a.cmd.OutOrStdout(), s)
		}
		return s.writeExports(a.cmd.OutOrStdout())
	})
	completeFirst(cmd, roleNames)
	cmd.Example = `  eval "$(chirograph role assume issuing)"
  chirograph role assume issuing --duration 4h --profile issuing`
	cmd.Flags().StringVar(&name, "session-name", "chirograph", "name of the session, which logs and ARNs show")
	cmd.Flags().StringVar(&externalID, "external-id", "", "external id that the role's trust policy asks for")
	cmd.Flags().DurationVar(&length, "duration", time.Hour, "how long the session lasts, from 15m to the role's longest")
	cmd.Flags().StringVar(&profile, "profile", "", "write the session into the data folder's client files as this profile, instead of printing it")
	return cmd
}
