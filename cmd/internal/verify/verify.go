// Package verify is the command that verifies an audit report, offline: as
// "chirograph verify", and as a program of its own, chirograph-verify, which has
// no server, no database and no AWS SDK in it.
package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/terminal"
)

// Exit codes. Auditors' scripts rely on them.
const (
	exitOK          = 0 // all that was asked for holds, and something earlier anchors it
	exitTampered    = 1 // something was changed, or does not hold
	exitCannotCheck = 2 // something is missing or cannot be read, or the command line is wrong
	exitNotAnchored = 3 // nothing is wrong, and nothing from earlier was known, or the log was recovered
)

// Error is how a run ends other than well. Err is nil when the output says it all.
type Error struct {
	Code int
	Hint string // what the person can do
	Err  error
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

func cannotCheck(hint, format string, args ...any) error {
	return &Error{exitCannotCheck, hint, fmt.Errorf(format, args...)}
}

// options are the flags.
type options struct {
	bundle, log    string
	cas, logKeys   []string
	known          []string
	witnessKeys    []string
	witnessQuorum  int
	policy         string
	state          string
	maxAge         string
	reportID       string
	quick, serials bool
	sample, nonce  string
	seen           string
	crls           []string
	workers        int
	output         string
	inclusion      string
	cert           string
}

// New makes the command. prepare, if there is one, fills the flags that were
// not given from elsewhere.
func New(prepare func(*cobra.Command) error) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "verify REPORT [flags]",
		Short: "Verify an audit report, offline: what it lists is what the CA signed",
		Long: `verify checks that an audit report lists exactly what the certificate authority
signed, and that nothing was removed, changed or back-dated since whatever you
knew of its log before. It needs no server and no network: only the report, its
manifest, and the log beside it, as they lie in the bucket:

  REPORT             audit-report/<CA id>/<report id>.json or .csv
  REPORT.manifest    beside it
  log/               beside it; log-2/ after a recovery, and so on

"chirograph audit-report download" or "aws s3 sync" of audit-report/<CA id>/
fetches them so.

Give the CA's certificate (--ca-certificate), got from somewhere else than the
report: without it nobody vouches for the log's key. What was accepted with it is
remembered (--state), so that the next report of the same CA is checked against it.

Exit codes:
  0  all that was asked for holds, and it agrees with something known before or
     cosigned by witnesses
  1  the report, the manifest or the log was tampered with, or does not hold what
     was asked for; the class is printed
  2  it could not be checked: a file is missing or unreadable, or the command line
     is wrong. This says nothing about the report
  3  nothing is wrong, but nothing from before was known, or nobody vouched for
     the log's key, or the log was recovered after a loss, which is described`,
		Example: `  chirograph verify 26d5ff59-….json --ca-certificate root.pem
  chirograph verify 26d5ff59-….json --ca-certificate root.pem --sample 25 --nonce "$(date +%s)-from-the-auditor"
  chirograph verify 26d5ff59-….json --ca-certificate root.pem --crl 5f1c….crl
  chirograph verify --inclusion www.tlog-proof --cert www.pem --ca-certificate root.pem`,
		Args:          one(&o),
		SilenceErrors: true,
		SilenceUsage:  true,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"json", "csv"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if prepare != nil {
				if err := prepare(cmd); err != nil {
					return err
				}
			}
			var empty error
			cmd.Flags().Visit(func(f *pflag.Flag) {
				if f.Value.Type() == "string" && f.Value.String() == "" {
					empty = cannotCheck("leave it out, or give it a value: a script's variable may be empty", "--%s is empty", f.Name)
				}
			})
			if empty != nil {
				return empty // and not silently a check less
			}
			if o.output != "text" && o.output != "json" {
				return cannotCheck("use text or json", "unknown output %q", o.output)
			}
			if o.inclusion != "" {
				return verifyInclusion(cmd.OutOrStdout(), &o)
			}
			return verifyReport(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args[0], &o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.bundle, "bundle", "", "the manifest, or a folder with the manifest and the log (default: REPORT.manifest)")
	f.StringVar(&o.log, "log", "", "folder of the log (default: log beside the manifest; log-2 after a recovery, ...)")
	f.StringArrayVar(&o.cas, "ca-certificate", nil, "the CA's certificate, PEM or DER; may be repeated")
	f.StringArrayVar(&o.logKeys, "log-key", nil, "verifier key that the log must have (as --state remembers it); may be repeated")
	f.StringArrayVar(&o.known, "known", nil, "something known before: a manifest or checkpoint of the same log, or a state file; may be repeated")
	f.StringArrayVar(&o.witnessKeys, "witness-key", nil, "verifier key of a witness that must have cosigned; may be repeated")
	f.IntVar(&o.witnessQuorum, "witness-quorum", 0, "how many of the --witness-key must have cosigned (default: all)")
	f.StringVar(&o.policy, "policy", "", "witness policy (C2SP tlog-policy), in place of --witness-key")
	f.StringVar(&o.state, "state", defaultState(), "file that remembers the logs that were accepted; off: none is read or written")
	f.StringVar(&o.maxAge, "max-age", "", "oldest report that is accepted, such as 36h or 30d (default: any)")
	f.StringVar(&o.reportID, "report-id", "", "id that the report must have (default: any)")
	f.BoolVar(&o.quick, "quick", false, "check the file against its manifest alone; the log is not replayed")
	f.BoolVar(&o.serials, "serials", false, "check too that no serial number was issued twice; needs 16 bytes of memory for each row")
	f.StringVar(&o.sample, "sample", "", "draw that many rows at random, or a share of them such as 3%")
	f.StringVar(&o.nonce, "nonce", "", "text that --sample draws by, chosen by you after the report was made")
	f.StringVar(&o.seen, "seen", "", "folder of certificates found in use, PEM or DER: each that the CA signed must be in the log")
	f.StringArrayVar(&o.crls, "crl", nil, "revocation list of the CA, DER or PEM: it must say what the log says; may be repeated")
	f.IntVar(&o.workers, "workers", 0, "how many goroutines work (default: one for each CPU)")
	f.StringVar(&o.output, "output", "text", "text or json")
	f.StringVar(&o.inclusion, "inclusion", "", "verify a proof of one certificate (chirograph log prove) in place of a report")
	f.StringVar(&o.cert, "cert", "", "the certificate that --inclusion is about, PEM or DER")
	for _, flag := range []string{"log", "seen"} {
		must(cmd.MarkFlagDirname(flag))
	}
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)))
	for _, flag := range []string{"log-key", "witness-key", "witness-quorum", "max-age", "report-id", "sample", "nonce", "workers"} {
		must(cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions))
	}
	return cmd
}

// must is for what only a flag's missing name can make fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// one wants the report, or --inclusion.
func one(o *options) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
		switch {
		case o.inclusion != "" && len(args) > 0:
			return cannotCheck(hint, "--inclusion is about one certificate; leave %q out", args[0])
		case o.inclusion != "" && o.cert == "":
			return cannotCheck(hint, "--inclusion needs the certificate: --cert FILE")
		case o.inclusion == "" && o.cert != "":
			return cannotCheck(hint, "--cert goes with --inclusion; the CA's certificate is --ca-certificate")
		case o.inclusion == "" && len(args) != 1:
			return cannotCheck(hint, "give one report to verify, not %d", len(args))
		}
		for _, name := range []string{"bundle", "log", "max-age", "report-id", "quick", "serials", "sample", "nonce", "seen", "crl"} {
			if o.inclusion != "" && cmd.Flags().Changed(name) {
				return cannotCheck(hint, "--%s is about a report, --inclusion about one certificate", name)
			}
		}
		return nil
	}
}

func verifyReport(ctx context.Context, stdout, stderr io.Writer, path string, o *options) error {
	in, err := gather(path, o)
	if err != nil {
		return err
	}
	defer in.close()
	bar := terminal.NewBar(stderr, terminal.Options{Total: in.config.ReportSize, What: "verifying", Bytes: true})
	in.config.Progress = func(done, total int64) {
		bar.SetTotal(total)
		bar.Set(done)
	}
	result, err := proof.Verify(ctx, in.config)
	bar.Clear()
	if err != nil {
		hint := ""
		if errors.Is(err, fs.ErrNotExist) { // a file of the log went away
			hint = in.hint()
		}
		return cannotCheck(hint, "%w", err)
	}
	code := result.ExitCode()
	// Only what was replayed and found right is remembered, and of a key that
	// somebody vouches for: the next report is held against it.
	remembered := false
	vouched := result.Verdict(proof.Authenticity).Status == proof.Pass
	if (code == exitOK || code == exitNotAnchored) && vouched && !o.quick && o.state != "off" && result.Head != nil {
		if remembered, err = remember(o.state, result.Head); err != nil {
			return cannotCheck("name another file with --state, or --state off", "remembering the log: %w", err)
		}
	}
	if o.output == "json" {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		err = e.Encode(struct {
			*proof.Result
			ExitCode int `json:"exitCode"`
		}{result, code})
	} else {
		err = print(stdout, result, o, remembered)
	}
	if err != nil {
		return cannotCheck("", "writing the result: %w", err)
	}
	if code != exitOK {
		return &Error{Code: code}
	}
	return nil
}

// age reads a duration that may be given in days.
func age(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	var days float64
	var rest string
	if n, _ := fmt.Sscanf(text, "%g%s", &days, &rest); n == 2 && rest == "d" && days > 0 && days < 100_000 {
		text = time.Duration(days * 24 * float64(time.Hour)).String()
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, cannotCheck("use hours or days, such as 36h or 30d", "--max-age %q is no age", text)
	}
	return d, nil
}

// Main is the program that has this command alone; it returns the exit code.
func Main(ctx context.Context, args []string, version string, stdout, stderr io.Writer) int {
	cmd := New(nil)
	cmd.Use = "chirograph-verify REPORT [flags]"
	cmd.Example = strings.ReplaceAll(cmd.Example, "chirograph verify", "chirograph-verify")
	cmd.Version = version
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return cannotCheck(fmt.Sprintf("see %q", cmd.CommandPath()+" --help"), "%w", err)
	})
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "chirograph-verify: interrupted")
		return exitCannotCheck
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		e = &Error{Code: exitCannotCheck, Err: err}
	}
	if e.Err != nil {
		fmt.Fprintln(stderr, "chirograph-verify:", e.Err)
		if e.Hint != "" {
			fmt.Fprintln(stderr, "chirograph-verify: hint:", e.Hint)
		}
	}
	return e.Code
}

// readFile reads a file that is small by its nature.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(b) > maxSmall {
		err = fmt.Errorf("%s is larger than any such file", path)
	}
	return b, err
}

const maxSmall = proof.MaxManifest
