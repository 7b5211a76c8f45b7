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
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
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

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "chirograph",
		Short: "A private certificate authority you can audit, with AWS Private CA's API",
		Long: `chirograph is a private certificate authority that speaks AWS Private CA's API
(ACM PCA), so that the aws CLI, boto3, the AWS SDKs, Terraform, cert-manager's
issuer and SPIRE work against it by endpoint URL. One call writes a report of
every certificate a CA ever issued or revoked to an S3 bucket.

Every flag can also be set by an environment variable (CHIROGRAPH_ and the
flag's name in capitals, - as _) or in the file that --config names; a flag
wins over the environment, the environment over the file.`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(fmt.Sprintf("see %q", cmd.CommandPath()+" --help"), "%w", err)
	})
	root.PersistentFlags().String("config", "", "configuration file (YAML, TOML or JSON) whose keys are flag names")
	root.AddCommand(newServe(), newTour(), newEnv(), newAuditReport())
	return root
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
