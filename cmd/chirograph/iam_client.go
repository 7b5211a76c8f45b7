package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"
)

// accessFlags are the flags of the commands for people and what they may do.
type accessFlags struct {
	clientFlags
	account string
}

// access is one run of such a command: the clients, and where its result goes.
type access struct {
	cmd   *cobra.Command
	flags *accessFlags
	cfg   aws.Config

	iam           *iam.Client
	sts           *sts.Client
	organizations *organizations.Client
}

// accountRole is the role that every account but the first has for the
// management account, as at AWS.
const accountRole = "OrganizationAccountAccessRole"

// accessCommand makes a command that does its work with the server's IAM, STS
// and Organizations. names are its arguments.
func accessCommand(use, short string, names []string, run func(ctx context.Context, a *access, args []string) error) *cobra.Command {
	f := &accessFlags{}
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != len(names) {
				return usageError(cmd.CommandPath()+" "+strings.Join(names, " "), "%s needs %s", cmd.CommandPath(), needs(names))
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			a, err := newAccess(cmd, f)
			if err != nil {
				return err
			}
			return run(cmd.Context(), a, args)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&f.account, "account", "", "account to work in, by id or name, through the role "+accountRole+" there; without it the account of the credentials")
	completeFlag(cmd, "account", accountIDs)
	return cmd
}

func needs(names []string) string {
	switch len(names) {
	case 0:
		return "no arguments, only flags"
	case 1:
		return "one argument, " + names[0]
	}
	return fmt.Sprintf("%d arguments, %s", len(names), strings.Join(names, " and "))
}

func newAccess(cmd *cobra.Command, f *accessFlags) (*access, error) {
	ctx := cmd.Context()
	cfg, err := f.aws(ctx)
	if err != nil {
		return nil, err
	}
	a := &access{cmd: cmd, flags: f, cfg: cfg, sts: sts.NewFromConfig(cfg)}
	a.organizations = organizations.NewFromConfig(cfg)
	if f.account != "" {
		account, err := a.accountID(ctx, f.account)
		if err != nil {
			return nil, err
		}
		me, err := a.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return nil, accessFailure("asking who calls", err)
		}
		if aws.ToString(me.Account) != account {
			role := "arn:" + partitionOf(aws.ToString(me.Arn)) + ":iam::" + account + ":role/" + accountRole
			provider := aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(a.sts, role, func(o *stscreds.AssumeRoleOptions) {
				o.RoleSessionName = "chirograph"
			}))
			if _, err := provider.Retrieve(ctx); err != nil {
				return nil, hinted(accessFailure("entering the account "+account, err), self()+" account list shows the accounts")
			}
			a.cfg.Credentials = provider
			a.sts, a.organizations = sts.NewFromConfig(a.cfg), organizations.NewFromConfig(a.cfg)
		}
	}
	a.iam = iam.NewFromConfig(a.cfg)
	return a, nil
}

func partitionOf(arn string) string {
	if parts := strings.SplitN(arn, ":", 3); len(parts) == 3 {
		return parts[1]
	}
	return "aws"
}

// group makes a command that only has sub-commands.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noArguments, RunE: showHelp}
	cmd.AddCommand(commands...)
	return cmd
}

// completeFirst completes the first argument with what list gives. A server
// that does not answer completes nothing.
func completeFirst(cmd *cobra.Command, list func(ctx context.Context, a *access) ([]string, error)) {
	complete := completion(list)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, "")
	}
}

// completeUserOrRoleAndPolicy completes the first argument with what first
// gives, and the second with the names of policies.
func completeUserOrRoleAndPolicy(cmd *cobra.Command, first func(ctx context.Context, a *access) ([]string, error)) {
	names, policies := completion(first), completion(policyNames)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch len(args) {
		case 0:
			return names(cmd, args, "")
		case 1:
			return policies(cmd, args, "")
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes a flag with what list gives.
func completeFlag(cmd *cobra.Command, flag string, list func(ctx context.Context, a *access) ([]string, error)) {
	if err := cmd.RegisterFlagCompletionFunc(flag, completion(list)); err != nil {
		panic(err) // no such flag
	}
}

func completion(list func(ctx context.Context, a *access) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		cmd.SetContext(ctx)
		f := &accessFlags{}
		f.folder = cmd.Flags().Lookup("data-dir")
		f.dataDir, _ = cmd.Flags().GetString("data-dir")
		f.endpoint, _ = cmd.Flags().GetString("endpoint-url")
		f.region, _ = cmd.Flags().GetString("region")
		f.account, _ = cmd.Flags().GetString("account")
		f.output = "text"
		if a, err := newAccess(cmd, f); err == nil {
			if names, err := list(ctx, a); err == nil {
				return names, cobra.ShellCompDirectiveNoFileComp
			}
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// rows is a result that is shown as an aligned table.
type rows interface{ rows() [][]string }

// print writes a result: as JSON, or as a table.
func (a *access) print(v rows) error {
	if a.flags.output == "json" {
		return printJSON(a.cmd.OutOrStdout(), v)
	}
	return printTable(a.cmd.OutOrStdout(), v.rows())
}

func printTable(w io.Writer, table [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range table {
		for i, cell := range row {
			if row[i] = strings.ReplaceAll(printable(cell), "\n", " "); cell == "" && i < len(row)-1 {
				row[i] = "-"
			}
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return t.Flush()
}

// printable keeps what somebody wrote into a name, a tag or a message from
// moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// note tells the person something beside the result.
func (a *access) note(format string, args ...any) {
	fmt.Fprintf(a.cmd.ErrOrStderr(), "chirograph: "+format+"\n", args...)
}

// outcome is what a command without another result prints.
type outcome struct {
	Status string `json:"status"` // such as deleted, attached
	Kind   string `json:"kind"`   // such as user
	Name   string `json:"name"`
	Policy string `json:"policyArn,omitempty"`
}

func (o outcome) rows() [][]string {
	if o.Policy != "" {
		return [][]string{{o.Status + " " + o.Policy + ", " + o.Kind + " " + o.Name}}
	}
	return [][]string{{o.Status + " " + o.Kind + " " + o.Name}}
}

// when is a time as tables show it.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// accessFailure is apiFailure with the advice for errors of IAM, STS and Organizations.
func accessFailure(doing string, err error) error {
	failure := apiFailure(doing, err)
	e, ok := errors.AsType[*exitError](failure)
	if !ok || e.hint != "" {
		return failure
	}
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return failure
	}
	switch api.ErrorCode() {
	case "InvalidClientTokenId", "UnrecognizedClientException":
		e.hint = lockedOutHint()
	case "SignatureDoesNotMatch":
		e.hint = "the secret is not that of the access key"
	case "ExpiredToken", "ExpiredTokenException":
		e.hint = "assume the role again: " + self() + " role assume"
	case "DeleteConflict":
		e.hint = "--force removes what stands in the way as well"
	}
	return failure
}

// hinted gives an error its advice, unless it has some.
func hinted(err error, hint string) error {
	if e, ok := errors.AsType[*exitError](err); ok && e.hint == "" {
		e.hint = hint
	}
	return err
}

// isCode says whether err is an error of the API with this code.
func isCode(err error, code string) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && e.ErrorCode() == code
}

// Tags on the command line.

func parseTags(words []string) ([]types.Tag, error) {
	var tags []types.Tag
	for _, w := range words {
		key, value, ok := strings.Cut(w, "=")
		if !ok || key == "" {
			return nil, usageError("for example --tag team=payments", "--tag %q is not KEY=VALUE", w)
		}
		tags = append(tags, types.Tag{Key: &key, Value: &value})
	}
	return tags, nil
}

func tagMap(tags []types.Tag) map[string]string {
	if len(tags) == 0 {
		return nil
	}
	m := map[string]string{}
	for _, t := range tags {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

func tagText(m map[string]string) string {
	var all []string
	for k, v := range m {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// readDocument reads a policy document: from a file, or from stdin for -.
func readDocument(cmd *cobra.Command, flag, path string) (string, error) {
	if path == "" {
		return "", usageError(fmt.Sprintf("--%s FILE, or - for the standard input", flag), "--%s is needed", flag)
	}
	var text []byte
	var err error
	if path == "-" {
		text, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), 1<<20))
	} else {
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return "", usageError("", "reading the policy document: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// Profiles in the client files of a local server.

// profileKeys is what a profile signs with.
type profileKeys struct {
	id, secret, token string
}

// profileFiles are the client files that profiles are written to: those of
// --data-dir, or else those that the environment names, as "chirograph env" does,
// or else those of the default data folder.
func (a *access) profileFiles() (config, credentials string, err error) {
	if a.flags.folder.Changed {
		return clientFiles(a.flags.dataDir)
	}
	config, credentials = os.Getenv("AWS_CONFIG_FILE"), os.Getenv("AWS_SHARED_CREDENTIALS_FILE")
	if config != "" && credentials != "" {
		return config, credentials, nil
	}
	if !a.flags.local() {
		return "", "", errors.New("the environment names other credentials")
	}
	return clientFiles(a.flags.dataDir)
}

// writeProfile makes or replaces a profile, so that AWS_PROFILE=name, or
// --profile of the aws CLI, uses it.
func (a *access) writeProfile(name string, keys profileKeys) error {
	config, credentials, err := a.profileFiles()
	if err != nil {
		return err
	}
	files, err := readSections(credentials)
	if err != nil {
		return err
	}
	text := "aws_access_key_id = " + keys.id + "\naws_secret_access_key = " + keys.secret + "\n"
	if keys.token != "" {
		text += "aws_session_token = " + keys.token + "\n"
	}
	if err := writeFile(credentials, files.with(name, text).String()); err != nil {
		return err
	}
	if name == defaultProfile {
		return nil
	}
	if files, err = readSections(config); err != nil {
		return err
	}
	return writeFile(config, files.with("profile "+name, profileText(a.cfg.Region)).String())
}

// checkProfile refuses a name before anything is made that would be written under it.
func (a *access) checkProfile(name string) error {
	if name == "" {
		return nil
	}
	if strings.ContainsAny(name, "[]#;\"'\\ \t\r\n") || !isPrintableASCII(name) {
		return usageError("use letters, digits, - and _", "%q cannot be the name of a profile", name)
	}
	if name == defaultProfile {
		return usageError("choose another name", "the profile %s is the administrator's", name)
	}
	config, _, err := a.profileFiles()
	if err == nil {
		var files sections
		if files, err = readSections(config); err == nil && !slices.ContainsFunc(files, func(s section) bool { return s.name == servicesSection }) {
			err = fmt.Errorf("%s is not one of a server's", config)
		}
	}
	if err != nil {
		return usageError("leave --profile out, or name the server's folder with --data-dir", "--profile writes to the client files of a local server: %w", err)
	}
	return nil
}

func isPrintableASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// replaceKey puts a new key wherever the client files have the old one.
func (a *access) replaceKey(old string, keys profileKeys) error {
	_, credentials, err := a.profileFiles()
	if err != nil {
		return nil // the keys are kept somewhere else
	}
	files, err := readSections(credentials)
	if err != nil {
		return err
	}
	for _, s := range files {
		if files.accessKey(s.name) != old {
			continue
		}
		if err := a.writeProfile(s.name, keys); err != nil {
			return err
		}
		a.note("the profile %s of %s has the new key", s.name, filepath.Dir(credentials))
	}
	return nil
}
