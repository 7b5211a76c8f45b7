package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"chirograph.dev/internal/auditlog"
)

// registerChange adds the flags of commands that change a log: they believe the
// server, whose key is about to change.
func (f *logFlags) registerChange(cmd *cobra.Command) {
	f.clientFlags.register(cmd)
	cmd.Flags().StringVar(&f.ca, "ca", "", "ARN of the certificate authority")
}

func newLogRotateKey() *cobra.Command {
	var f logFlags
	cmd := &cobra.Command{
		Use:   "rotate-key --ca ARN",
		Short: "Sign the heads of a CA's log with a new audit key from now on",
		Long: `Make a new audit key for a CA's log, have the CA's key endorse it, and sign the
log's heads with it from now on. The change is an entry of the log. Earlier
checkpoints and reports keep the key they have.

Auditors who pinned the old key with --log-key need the new one, which this
prints. It needs pcaaudit:RotateKey.`,
		Example: `  chirograph log rotate-key --ca "$CA"`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := f.open(cmd)
			if err != nil {
				return err
			}
			b, err := log.do(cmd.Context(), http.MethodPost, "rotate-key", nil)
			if err != nil {
				return err
			}
			key := strings.TrimSpace(string(b))
			if f.output == "json" {
				return printJSON(cmd.OutOrStdout(), struct {
					Key string `json:"key"`
				}{key})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), printable(key))
			return err
		},
	}
	f.registerChange(cmd)
	return cmd
}

func newLogRecover() *cobra.Command {
	var (
		f     logFlags
		known []string
		force bool
	)
	cmd := &cobra.Command{
		Use:   "recover --ca ARN [--known FILE]...",
		Short: "Let a log that lost entries take entries again, for everybody to see",
		Long: `A server whose data folder was restored from a backup has logs that are behind
what witnesses, anchors and auditors know of them. It stops issuing from their
CAs, since going on would give two histories to one log.

If a newer copy of the folder exists, stop the server and put that back. If what
came after the backup is lost for good, this command says so in the log and goes
on: a new epoch begins, with a name and an audit key of its own, and every
verifier reports the break and how many entries were lost. It cannot be undone.

--known gives heads that somebody holds of what was lost, so that the log names
the newest: manifests, or checkpoints of "chirograph log checkpoint". It needs
pcaaudit:Recover.`,
		Example: `  chirograph log recover --ca "$CA"
  chirograph log recover --ca "$CA" --known yesterday.json.manifest`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := f.open(cmd)
			if err != nil {
				return err
			}
			in := auditlog.RecoverRequest{Force: force}
			for _, name := range known {
				b, err := readFile(name, "known head")
				if err != nil {
					return err
				}
				in.Known = append(in.Known, string(b))
			}
			body, err := json.Marshal(in)
			if err != nil {
				return err
			}
			b, err := log.do(cmd.Context(), http.MethodPost, "recover", body)
			if err != nil {
				return err
			}
			var out auditlog.Recovered
			if err := json.Unmarshal(b, &out); err != nil {
				return fmt.Errorf("reading the server's answer: %w", err)
			}
			if f.output == "json" {
				return printJSON(cmd.OutOrStdout(), out)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "log        %s\nkey        %s\nsurviving  %d entries\nlost       %d entries that are known of\n",
				printable(out.Origin), printable(out.Key), out.Surviving, out.Known-min(out.Known, out.Surviving))
			return err
		},
	}
	f.registerChange(cmd)
	cmd.Flags().StringArrayVar(&known, "known", nil, "file with a manifest or checkpoint of this log that somebody holds; repeated")
	cmd.Flags().BoolVar(&force, "force", false, "begin a new epoch though nothing that the server can reach says that entries were lost")
	return cmd
}
