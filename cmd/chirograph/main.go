// Command chirograph is a private certificate authority that speaks AWS
// Private CA's API and that can be audited: server, tour and client in one
// binary.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"chirograph.dev/cmd/internal/verify"
)

// Exit codes. Scripts rely on them.
const (
	exitOK       = 0
	exitFailure  = 1 // the work was tried and did not succeed
	exitUsage    = 2 // the command line or a setting is wrong
	exitInUse    = 3 // another process holds the data folder
	exitTimedOut = 4 // --wait ran out; the work may go on
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the process at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run executes one command line. It is main without the process, so that tests call it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if v, ok := errors.AsType[*verify.Error](err); ok {
		if v.Err == nil { // the output says it all
			return v.Code
		}
		err = &exitError{code: v.Code, hint: v.Hint, err: v.Err}
	}
	if errors.Is(err, context.Canceled) && errors.Is(ctx.Err(), context.Canceled) {
		// The person who stopped it need not read which call it was in.
		e, ok := errors.AsType[*exitError](err)
		if !ok {
			e = &exitError{code: exitFailure}
		}
		if e.code != exitTimedOut {
			err = &exitError{code: e.code, err: errors.New("interrupted")}
		}
	}
	fmt.Fprintln(stderr, "chirograph:", err)
	if e, ok := errors.AsType[*exitError](err); ok {
		if e.hint != "" {
			fmt.Fprintln(stderr, "chirograph: hint:", e.hint)
		}
		return e.code
	}
	return exitFailure
}

// exitError is an error that knows its exit code and what the person can do about it.
type exitError struct {
	code int
	hint string
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usageError(hint string, format string, args ...any) error {
	return &exitError{code: exitUsage, hint: hint, err: fmt.Errorf(format, args...)}
}

// noArguments refuses arguments; a command that only has sub-commands says which.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
	if !cmd.HasSubCommands() {
		return usageError(hint, "%s takes flags only, not %q", cmd.CommandPath(), args[0])
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", cmd.CommandPath()+" "+near[0])
	}
	return usageError(hint, "%s has no command %q", cmd.CommandPath(), args[0])
}

// showHelp is what a command that only has sub-commands does.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// choices completes a flag that takes one of a few words.
func choices(cmd *cobra.Command, flag string, words ...string) {
	if err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // no such flag
	}
}

// self is this program as the person typed it, for the commands that messages advise.
func self() string {
	switch name := os.Args[0]; {
	case strings.Contains(name, "go-build"): // go run puts the program there for one run
		return "go run ./cmd/chirograph"
	case strings.ContainsRune(name, filepath.Separator):
		return shellQuote(name)
	}
	return "chirograph"
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "chirograph",
		Short: "A private certificate authority you can audit, with AWS Private CA's API",
		Long: `chirograph is a private certificate authority that speaks AWS Private CA's API
(ACM PCA), so that the aws CLI, boto3 and the AWS SDKs work against it by
endpoint URL. One call writes a report of every certificate a CA ever issued or
revoked to an S3 bucket.

Begin with "chirograph tour", which shows all of it in a few seconds and leaves
nothing behind; "chirograph serve" runs a server. An auditor needs "chirograph
verify" alone: it checks a report offline.

Every flag can also be set by an environment variable (CHIROGRAPH_ and the
flag's name in capitals, - as _) or in the file that --config names; a flag
wins over the environment, the environment over the file.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArguments,
		RunE:          showHelp,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(fmt.Sprintf("see %q", cmd.CommandPath()+" --help"), "%w", err)
	})
	root.SetHelpFunc(help)
	root.PersistentFlags().String("config", "", "configuration file (YAML, TOML or JSON) whose keys are flag names")
	root.AddCommand(newServe(), newTour(), newEnv(), newAuditReport(), verify.New(settings), newLog(), newCRL(), newFsck(),
		newAccount(), newUser(), newRole(), newAccessKey(), newPolicy(), newOIDCProvider())
	return root
}

// help prints what cobra does, with --wait for --wait[=true|false].
func help(cmd *cobra.Command, _ []string) {
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	const values = "[=true|false]" // as wide as the column that it stands in
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", strings.TrimSpace(text), strings.ReplaceAll(cmd.UsageString(), values, strings.Repeat(" ", len(values))))
}

// version is the module's version, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			return "commit " + s.Value
		}
	}
	if v == "" {
		return "(devel)"
	}
	return v
}
