package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/spf13/cobra"
)

func newPolicy() *cobra.Command {
	return group("policy", "Manage policies: what users and roles may do",
		newPolicyCreate(), newPolicyList(), newPolicyShow(), newPolicyUpdate(), newPolicyDelete(), newPolicyAttach())
}

// policyInfo is a managed policy as the commands print it.
type policyInfo struct {
	Name        string    `json:"name"`
	ARN         string    `json:"arn"`
	Version     string    `json:"defaultVersion"`
	Attachments int32     `json:"attachments"`
	Description string    `json:"description,omitempty"`
	Updated     time.Time `json:"updatedAt"`
	Document    any       `json:"document,omitempty"` // of show
	Users       []string  `json:"users,omitempty"`
	Roles       []string  `json:"roles,omitempty"`
}

func policyOf(p *types.Policy) policyInfo {
	return policyInfo{
		Name: aws.ToString(p.PolicyName), ARN: aws.ToString(p.Arn), Version: aws.ToString(p.DefaultVersionId),
		Attachments: aws.ToInt32(p.AttachmentCount), Description: aws.ToString(p.Description), Updated: aws.ToTime(p.UpdateDate).UTC(),
	}
}

func (p policyInfo) rows() [][]string {
	table := [][]string{
		{"policy", p.Name}, {"arn", p.ARN}, {"version", p.Version},
		{"attached", fmt.Sprint(p.Attachments)},
	}
	if who := append(prefixed("user ", p.Users), prefixed("role ", p.Roles)...); len(who) > 0 {
		table[3][1] = strings.Join(who, ", ")
	}
	if p.Description != "" {
		table = append(table, []string{"description", p.Description})
	}
	return table
}

func prefixed(prefix string, names []string) []string {
	var all []string
	for _, n := range names {
		all = append(all, prefix+n)
	}
	return all
}

type policyList struct {
	Policies []policyInfo `json:"policies"`
}

func (l policyList) rows() [][]string {
	table := [][]string{{"NAME", "VERSION", "ATTACHED", "ARN"}}
	for _, p := range l.Policies {
		table = append(table, []string{p.Name, p.Version, fmt.Sprint(p.Attachments), p.ARN})
	}
	return table
}

func newPolicyCreate() *cobra.Command {
	var document, description string
	cmd := accessCommand("create NAME --document FILE", "Make a policy of a JSON document", []string{"NAME"}, func(ctx context.Context, a *access, args []string) error {
		text, err := readDocument(a.cmd, "document", document)
		if err != nil {
			return err
		}
		in := &iam.CreatePolicyInput{PolicyName: &args[0], PolicyDocument: &text}
		if description != "" {
			in.Description = &description
		}
		out, err := a.iam.CreatePolicy(ctx, in)
		if err != nil {
			return accessFailure("making the policy", err)
		}
		return a.print(policyOf(out.Policy))
	})
	cmd.Flags().StringVar(&document, "document", "", "file with the policy in JSON; - reads the standard input")
	cmd.Flags().StringVar(&description, "description", "", "what the policy is for")
	return cmd
}

func newPolicyList() *cobra.Command {
	var scope string
	var attached bool
	cmd := accessCommand("list", "List policies", nil, func(ctx context.Context, a *access, _ []string) error {
		scopes := map[string]types.PolicyScopeType{"all": types.PolicyScopeTypeAll, "aws": types.PolicyScopeTypeAws, "local": types.PolicyScopeTypeLocal}
		s, ok := scopes[scope]
		if !ok {
			return usageError("use all, aws or local", "unknown --scope %q", scope)
		}
		policies, err := a.policies(ctx, &iam.ListPoliciesInput{Scope: s, OnlyAttached: attached})
		if err != nil {
			return err
		}
		list := policyList{Policies: []policyInfo{}}
		for _, p := range policies {
			list.Policies = append(list.Policies, policyOf(&p))
		}
		slices.SortStableFunc(list.Policies, func(a, b policyInfo) int { return cmp.Compare(a.Name, b.Name) })
		return a.print(list)
	})
	cmd.Flags().StringVar(&scope, "scope", "all", "all, aws (those that come with the server) or local (those of the account)")
	choices(cmd, "scope", "all", "aws", "local")
	cmd.Flags().BoolVar(&attached, "attached", false, "only those that a user or role has")
	return cmd
}

func newPolicyShow() *cobra.Command {
	var version string
	cmd := accessCommand("show POLICY", "Show a policy, its document, and who has it", []string{"POLICY"}, func(ctx context.Context, a *access, args []string) error {
		arn, err := a.policyARN(ctx, args[0])
		if err != nil {
			return err
		}
		out, err := a.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
		if err != nil {
			return accessFailure("reading the policy", err)
		}
		p := policyOf(out.Policy)
		if version != "" {
			p.Version = version
		}
		text, err := a.iam.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: &p.Version})
		if err != nil {
			return accessFailure("reading the policy's document", err)
		}
		p.Document = documentOf(text.PolicyVersion.Document)
		entities := iam.NewListEntitiesForPolicyPaginator(a.iam, &iam.ListEntitiesForPolicyInput{PolicyArn: &arn})
		for entities.HasMorePages() {
			page, err := entities.NextPage(ctx)
			if err != nil {
				return accessFailure("asking who has the policy", err)
			}
			for _, u := range page.PolicyUsers {
				p.Users = append(p.Users, aws.ToString(u.UserName))
			}
			for _, r := range page.PolicyRoles {
				p.Roles = append(p.Roles, aws.ToString(r.RoleName))
			}
		}
		if err := a.print(p); err != nil || a.flags.output == "json" {
			return err
		}
		fmt.Fprintln(a.cmd.OutOrStdout())
		return printJSON(a.cmd.OutOrStdout(), p.Document)
	})
	completeFirst(cmd, policyNames)
	cmd.Flags().StringVar(&version, "version", "", "another version than the one in force, for example v1")
	return cmd
}

// documentOf is a policy document as JSON; answers carry it URL-encoded.
func documentOf(encoded *string) any {
	text, err := url.PathUnescape(aws.ToString(encoded))
	if err != nil {
		text = aws.ToString(encoded)
	}
	if raw := json.RawMessage(text); json.Valid(raw) {
		return raw
	}
	return text
}

func newPolicyUpdate() *cobra.Command {
	var document string
	cmd := accessCommand("update POLICY --document FILE", "Put a new version of a policy in force", []string{"POLICY"}, func(ctx context.Context, a *access, args []string) error {
		text, err := readDocument(a.cmd, "document", document)
		if err != nil {
			return err
		}
		arn, err := a.policyARN(ctx, args[0])
		if err != nil {
			return err
		}
		// A policy keeps five versions; the oldest makes room.
		versions, err := a.policyVersions(ctx, arn)
		if err != nil {
			return err
		}
		if len(versions) >= 5 {
			if err := a.deleteVersions(ctx, arn, versions[:1]); err != nil {
				return err
			}
		}
		if _, err := a.iam.CreatePolicyVersion(ctx, &iam.CreatePolicyVersionInput{PolicyArn: &arn, PolicyDocument: &text, SetAsDefault: true}); err != nil {
			return accessFailure("putting the new version in force", err)
		}
		out, err := a.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
		if err != nil {
			return accessFailure("reading the policy", err)
		}
		return a.print(policyOf(out.Policy))
	})
	completeFirst(cmd, policyNames)
	cmd.Flags().StringVar(&document, "document", "", "file with the policy in JSON; - reads the standard input")
	return cmd
}

// policyVersions are the versions of a policy that are not in force, and the
// one that is, the oldest first and the one in force last.
func (a *access) policyVersions(ctx context.Context, arn string) ([]types.PolicyVersion, error) {
	var all []types.PolicyVersion
	pages := iam.NewListPolicyVersionsPaginator(a.iam, &iam.ListPolicyVersionsInput{PolicyArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, accessFailure("listing the policy's versions", err)
		}
		all = append(all, page.Versions...)
	}
	slices.SortFunc(all, func(a, b types.PolicyVersion) int {
		if a.IsDefaultVersion != b.IsDefaultVersion {
			return cmp.Compare(fmt.Sprint(a.IsDefaultVersion), fmt.Sprint(b.IsDefaultVersion))
		}
		return cmp.Or(cmp.Compare(len(aws.ToString(a.VersionId)), len(aws.ToString(b.VersionId))), cmp.Compare(aws.ToString(a.VersionId), aws.ToString(b.VersionId)))
	})
	return all, nil
}

func (a *access) deleteVersions(ctx context.Context, arn string, versions []types.PolicyVersion) error {
	for _, v := range versions {
		if v.IsDefaultVersion {
			continue
		}
		if _, err := a.iam.DeletePolicyVersion(ctx, &iam.DeletePolicyVersionInput{PolicyArn: &arn, VersionId: v.VersionId}); err != nil {
			return accessFailure("deleting version "+aws.ToString(v.VersionId), err)
		}
	}
	return nil
}

func newPolicyDelete() *cobra.Command {
	var force bool
	cmd := accessCommand("delete POLICY", "Delete a policy of the account", []string{"POLICY"}, func(ctx context.Context, a *access, args []string) error {
		arn, err := a.policyARN(ctx, args[0])
		if err != nil {
			return err
		}
		// The versions are the policy's own, so they need no --force.
		if force {
			if err := a.detachEverywhere(ctx, arn); err != nil {
				return err
			}
		}
		_, err = a.iam.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: &arn})
		if isCode(err, "DeleteConflict") {
			if out, e := a.iam.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn}); e == nil && aws.ToInt32(out.Policy.AttachmentCount) == 0 {
				versions, e := a.policyVersions(ctx, arn)
				if e == nil {
					e = a.deleteVersions(ctx, arn, versions)
				}
				if e != nil {
					return e
				}
				_, err = a.iam.DeletePolicy(ctx, &iam.DeletePolicyInput{PolicyArn: &arn})
			}
		}
		if err != nil {
			return accessFailure("deleting the policy", err)
		}
		return a.print(outcome{Status: "deleted", Kind: "policy", Name: args[0]})
	})
	completeFirst(cmd, policyNames)
	cmd.Flags().BoolVar(&force, "force", false, "take the policy from every user and role first")
	return cmd
}

func (a *access) detachEverywhere(ctx context.Context, arn string) error {
	entities := iam.NewListEntitiesForPolicyPaginator(a.iam, &iam.ListEntitiesForPolicyInput{PolicyArn: &arn})
	for entities.HasMorePages() {
		page, err := entities.NextPage(ctx)
		if err != nil {
			return accessFailure("asking who has the policy", err)
		}
		for _, u := range page.PolicyUsers {
			if _, err := a.iam.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: u.UserName, PolicyArn: &arn}); err != nil {
				return accessFailure("taking the policy from user "+aws.ToString(u.UserName), err)
			}
		}
		for _, r := range page.PolicyRoles {
			if _, err := a.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: r.RoleName, PolicyArn: &arn}); err != nil {
				return accessFailure("taking the policy from role "+aws.ToString(r.RoleName), err)
			}
		}
	}
	return nil
}

func newPolicyAttach() *cobra.Command {
	var user, role string
	cmd := accessCommand("attach POLICY --user NAME|--role NAME", "Give a policy to a user or role", []string{"POLICY"}, func(ctx context.Context, a *access, args []string) error {
		switch {
		case (user == "") == (role == ""):
			return usageError("chirograph policy attach POLICY --user NAME", "one of --user and --role is needed")
		case user != "":
			return a.attach(ctx, userEntity, user, args[0])
		}
		return a.attach(ctx, roleEntity, role, args[0])
	})
	completeFirst(cmd, policyNames)
	cmd.Flags().StringVar(&user, "user", "", "user that receives the policy")
	cmd.Flags().StringVar(&role, "role", "", "role that receives the policy")
	completeFlag(cmd, "user", userNames)
	completeFlag(cmd, "role", roleNames)
	return cmd
}

// entity is what has policies: a user or a role.
type entity string

const (
	userEntity entity = "user"
	roleEntity entity = "role"
)

func (a *access) attach(ctx context.Context, e entity, name, policy string) error {
	arn, err := a.policyARN(ctx, policy)
	if err != nil {
		return err
	}
	if err := a.attachARN(ctx, e, name, arn); err != nil {
		return err
	}
	return a.print(outcome{Status: "attached", Kind: string(e), Name: name, Policy: arn})
}

func (a *access) attachARN(ctx context.Context, e entity, name, arn string) (err error) {
	if e == userEntity {
		_, err = a.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: &name, PolicyArn: &arn})
	} else {
		_, err = a.iam.AttachRolePolicy(ctx, &iam.AttachRolePolicyInput{RoleName: &name, PolicyArn: &arn})
	}
	if err != nil {
		return accessFailure(fmt.Sprintf("attaching %s to %s %s", arn, e, name), err)
	}
	return nil
}

func (a *access) detach(ctx context.Context, e entity, name, policy string) error {
	arn, err := a.policyARN(ctx, policy)
	if err != nil {
		return err
	}
	if err := a.detachARN(ctx, e, name, arn); err != nil {
		return err
	}
	return a.print(outcome{Status: "detached", Kind: string(e), Name: name, Policy: arn})
}

func (a *access) detachARN(ctx context.Context, e entity, name, arn string) (err error) {
	if e == userEntity {
		_, err = a.iam.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: &name, PolicyArn: &arn})
	} else {
		_, err = a.iam.DetachRolePolicy(ctx, &iam.DetachRolePolicyInput{RoleName: &name, PolicyArn: &arn})
	}
	if err != nil {
		return accessFailure(fmt.Sprintf("detaching %s from %s %s", arn, e, name), err)
	}
	return nil
}

// attachCommands are the two commands that users and roles share.
func attachCommands(e entity, names func(context.Context, *access) ([]string, error)) []*cobra.Command {
	attach := accessCommand("attach-policy NAME POLICY", "Give a policy to a "+string(e), []string{"NAME", "POLICY"}, func(ctx context.Context, a *access, args []string) error {
		return a.attach(ctx, e, args[0], args[1])
	})
	detach := accessCommand("detach-policy NAME POLICY", "Take a policy from a "+string(e), []string{"NAME", "POLICY"}, func(ctx context.Context, a *access, args []string) error {
		return a.detach(ctx, e, args[0], args[1])
	})
	completeUserOrRoleAndPolicy(attach, names)
	completeUserOrRoleAndPolicy(detach, names)
	return []*cobra.Command{attach, detach}
}

func (a *access) policies(ctx context.Context, in *iam.ListPoliciesInput) ([]types.Policy, error) {
	var all []types.Policy
	pages := iam.NewListPoliciesPaginator(a.iam, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, accessFailure("listing policies", err)
		}
		all = append(all, page.Policies...)
	}
	return all, nil
}

// policyNames completes policies.
func policyNames(ctx context.Context, a *access) ([]string, error) {
	policies, err := a.policies(ctx, &iam.ListPoliciesInput{})
	var names []string
	for _, p := range policies {
		names = append(names, aws.ToString(p.PolicyName))
	}
	return names, err
}

// policyARN finds a policy by name; an ARN stays what it is. A name that two
// policies have is refused: nobody is given another policy than was meant.
func (a *access) policyARN(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "arn:") {
		return name, nil
	}
	policies, err := a.policies(ctx, &iam.ListPoliciesInput{})
	if err != nil {
		return "", err
	}
	found, hint := "", "list them with: "+self()+" policy list"
	for _, p := range policies {
		switch n := aws.ToString(p.PolicyName); {
		case n == name && found != "":
			return "", &exitError{code: exitFailure, hint: "give its ARN", err: fmt.Errorf("two policies have the name %q: %s and %s", name, found, aws.ToString(p.Arn))}
		case n == name:
			found = aws.ToString(p.Arn)
		case strings.EqualFold(n, name):
			hint = fmt.Sprintf("did you mean %q?", n)
		}
	}
	if found == "" {
		return "", &exitError{code: exitFailure, hint: hint, err: fmt.Errorf("there is no policy %q", name)}
	}
	return found, nil
}
