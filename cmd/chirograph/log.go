package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func newLog() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Read a CA's log: checkpoints, proofs, entries, all of it",
		Long: `Each CA has an append-only log of everything its key signed. These commands read
it as an auditor does, from the server or from files, and believe nothing that
the log's signed checkpoint does not commit to. rotate-key and recover change the
log, and are an administrator's.`,
		Args: noArguments,
		RunE: showHelp,
	}
	cmd.AddCommand(newLogCheckpoint(), newLogProve(), newLogExport(), newLogShow(), newLogCompare(), newLogRotateKey(), newLogRecover())
	return cmd
}

// logFlags say which log of which server a command reads.
type logFlags struct {
	clientFlags
	ca, key string
}

func (f *logFlags) register(cmd *cobra.Command) {
	f.clientFlags.register(cmd)
	cmd.Flags().StringVar(&f.ca, "ca", "", "ARN of the certificate authority")
	cmd.Flags().StringVar(&f.key, "log-key", "", "verifier key that must have signed the checkpoint; without it the one that the server names, if the CA's key endorses it")
}

func newLogCheckpoint() *cobra.Command {
	var (
		f   logFlags
		out string
	)
	cmd := &cobra.Command{
		Use:   "checkpoint --ca ARN [--out FILE]",
		Short: "Print or keep the newest signed checkpoint of a CA's log",
		Long: `Print the newest checkpoint of a CA's log (C2SP tlog-checkpoint): how many
entries it has and the root of the Merkle tree over them, signed by the log's key
and by witnesses when the server has some.

An auditor who keeps one can prove later that nothing before it was changed:
give it to "chirograph verify --known".`,
		Example: `  chirograph log checkpoint --ca "$CA"
  chirograph log checkpoint --ca "$CA" --out 2026-11.checkpoint`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			log, err := f.open(cmd)
			if err != nil {
				return err
			}
			head, err := log.checkpoint(ctx)
			if err != nil {
				return err
			}
			f.warn(cmd, head)
			if out != "" {
				if err := writeFile(out, string(head.signed)); err != nil {
					return err
				}
			}
			return head.print(cmd.OutOrStdout(), f.output, out)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&out, "out", "", "file to keep the checkpoint in")
	return cmd
}

// open is the log that the flags name.
func (f *logFlags) open(cmd *cobra.Command) (*remoteLog, error) {
	if err := settings(cmd); err != nil {
		return nil, err
	}
	if f.ca == "" {
		return nil, usageError(cmd.CommandPath()+" --ca ARN", "--ca is needed")
	}
	return f.connect(cmd.Context())
}

func (f *logFlags) connect(ctx context.Context) (*remoteLog, error) {
	id, err := caID(f.ca)
	if err != nil {
		return nil, err
	}
	cfg, err := f.aws(ctx)
	if err != nil {
		return nil, err
	}
	return newRemoteLog(cfg, id, f.key)
}

// warn says when nobody vouches for the key that signed a head.
func (f *logFlags) warn(cmd *cobra.Command, h *signedHead) {
	if !h.endorsed && f.key == "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "chirograph: the CA's key does not endorse the log's key %s: compare it with one that you were given otherwise, and pin it with --log-key\n", h.key)
	}
}

// print shows a head; file is where it was kept, if it was.
func (h *signedHead) print(w io.Writer, output, file string) error {
	switch {
	case output == "json":
		return printJSON(w, struct {
			Origin       string   `json:"origin"`
			Size         uint64   `json:"size"`
			Root         string   `json:"root"`
			Key          string   `json:"key"`
			Endorsed     bool     `json:"endorsed"` // by the CA's key
			Cosignatures []string `json:"cosignatures"`
			Checkpoint   string   `json:"checkpoint"`
			File         string   `json:"file,omitempty"`
		}{h.origin, h.size, h.root.String(), h.key, h.endorsed, h.cosigners(), string(h.signed), file})
	case file == "":
		_, err := w.Write(h.signed)
		return err
	}
	_, err := fmt.Fprintf(w, "log      %s\nentries  %d\nroot     %s\nkey      %s\n%sfile     %s\n", h.origin, h.size, h.root, h.key, h.words(), file)
	return err
}

// words tells who stands behind a head.
func (h *signedHead) words() string {
	s := ""
	if h.endorsed {
		s = "         the CA's key endorses it\n"
	}
	if names := h.cosigners(); len(names) > 0 {
		s += "cosigned " + strings.Join(names, ", ") + "\n"
	}
	return s
}

// folders completes flags that name a folder.
func folders(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagDirname(f); err != nil {
			panic(err) // no such flag
		}
	}
}

// readFile reads a file that the person named.
func readFile(name, what string) ([]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, &exitError{code: exitUsage, hint: "check the name of the " + what, err: fmt.Errorf("reading the %s: %w", what, err)}
	}
	return b, nil
}
