package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"chirograph.dev/internal/bucket/local"
	"chirograph.dev/internal/fsck"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
	"chirograph.dev/internal/terminal"
)

// exitCannotCheck says that a check could not be made, which says nothing
// about what was to be checked.
const exitCannotCheck = 2

func newFsck() *cobra.Command {
	var (
		dataDir, masterKeyFile, ca, output string
		quick                              bool
		workers                            int
	)
	cmd := &cobra.Command{
		Use:   "fsck [--data-dir DIR] [--ca ARN] [--quick]",
		Short: "Check a data folder: the store against the log and its hashes",
		Long: `fsck checks the data folder of a server that is not running. It changes nothing.

Every entry of every log is decoded, hashed, and compared with the stored tree
and its head; every certificate, revocation, report, CA record and key with the
entry that it came with, in both directions; every list of revocations (CRL), its
file, its object in an embedded bucket, and what OCSP would answer, with the log;
and SQLite checks its own file.
Each thing that is wrong is named, with the certificate authority, the log entry,
and what to do.

--quick checks what the server checks at each start: heads, packs, and the end of
each log.

Exit codes: 0 clean, 1 something is wrong, 2 it could not be checked.`,
		Example: `  chirograph fsck --data-dir demo
  chirograph fsck --data-dir demo --output json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if output != "text" && output != "json" {
				return usageError("use text or json", "unknown output %q", output)
			}
			if masterKeyFile == "" {
				masterKeyFile = filepath.Join(dataDir, "master.key")
			}
			bar := terminal.NewBar(cmd.ErrOrStderr(), terminal.Options{Total: -1, What: "checking entries"})
			result, err := checkFolder(cmd.Context(), dataDir, masterKeyFile, fsck.Config{
				CA: ca[strings.LastIndexByte(ca, '/')+1:], Quick: quick, Workers: workers,
				Progress: func(done, total uint64) { bar.SetTotal(int64(total)); bar.Set(int64(done)) },
			})
			bar.Clear()
			if err != nil {
				return err
			}
			return printFindings(cmd.OutOrStdout(), output, dataDir, quick, result)
		},
	}
	f := cmd.Flags()
	f.StringVar(&dataDir, "data-dir", defaultDataDir(), "data folder to check")
	f.StringVar(&masterKeyFile, "master-key-file", "", "file of the master key (default: master.key in the data folder)")
	f.StringVar(&ca, "ca", "", "ARN of the only certificate authority to check (default: all)")
	f.BoolVar(&quick, "quick", false, "check what the server checks at each start")
	f.IntVar(&workers, "workers", 0, "how many to check at a time (default: one for each CPU)")
	f.StringVar(&output, "output", "text", "text or json")
	choices(cmd, "output", "text", "json")
	return cmd
}

// The folders of CRLs and of the embedded buckets in a data folder.
const (
	crlFolder    = "crl"
	bucketFolder = "buckets"
)

// checkFolder opens a data folder to read alone, and checks it.
func checkFolder(ctx context.Context, dir, masterKeyFile string, cfg fsck.Config) (*fsck.Result, error) {
	db, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(dir, "chirograph.db"), ReadOnly: true})
	if err != nil {
		hint := "a file that SQLite cannot open is restored from a backup"
		switch {
		case errors.Is(err, sqlite.ErrInUse):
			hint = "stop the server first; it checks itself at each start"
		case errors.Is(err, fs.ErrNotExist):
			hint = "name the folder of a server with --data-dir"
		case errors.Is(err, sqlite.ErrOlderFormat), errors.Is(err, sqlite.ErrNewerFormat):
			hint = "check it with the version of chirograph that the server runs"
		}
		return nil, &exitError{code: exitCannotCheck, hint: hint, err: err}
	}
	defer db.Close()
	master, err := keystore.LoadMasterKey(masterKeyFile)
	if err == nil {
		var keys *keystore.Store
		if keys, err = keystore.Open(keystore.Config{Dir: filepath.Join(dir, "keys"), MasterKey: master, ReadOnly: true}); err == nil {
			cfg.Keys = keys
		}
	}
	if err != nil {
		return nil, &exitError{code: exitCannotCheck, hint: "name the file of the master key with --master-key-file", err: fmt.Errorf("opening the keys: %w", err)}
	}
	cfg.Log, cfg.Rows, cfg.Records, cfg.Lists, cfg.Files = db, db, db, db, os.DirFS(filepath.Join(dir, crlFolder))
	buckets, err := local.OpenReader(ctx, filepath.Join(dir, bucketFolder))
	switch {
	case err == nil:
		defer buckets.Close()
		cfg.Objects = buckets
	case !errors.Is(err, fs.ErrNotExist): // else nothing was ever put into one
		return nil, &exitError{code: exitCannotCheck, hint: "check it with the version of chirograph that the server runs", err: fmt.Errorf("opening the buckets: %w", err)}
	}
	result, err := fsck.Run(ctx, cfg)
	if err != nil {
		hint := ""
		if errors.Is(err, store.ErrNotFound) {
			hint = "leave --ca out to check all"
		}
		return nil, &exitError{code: exitCannotCheck, hint: hint, err: err}
	}
	return result, nil
}

func printFindings(w io.Writer, output, dir string, quick bool, r *fsck.Result) error {
	if output == "json" {
		if err := printJSON(w, r); err != nil {
			return err
		}
	} else {
		last := ""
		for i := range r.Findings {
			f := &r.Findings[i]
			if key := f.CA + f.Class; key != last {
				fmt.Fprintf(w, "To do: %s.\n", f.Advice)
				last = key
			}
			fmt.Fprintf(w, "  %s\n", f)
		}
		fmt.Fprintf(w, "%d certificate authorities, %d log entries", r.CAs, r.Entries)
		if !quick {
			fmt.Fprintf(w, ": %d certificates, %d revocations, %d reports, %d CRLs", r.Certificates, r.Revocations, r.Reports, r.CRLs)
		}
		fmt.Fprintln(w)
		switch {
		case len(r.Findings) > 0:
		case quick:
			fmt.Fprintln(w, "clean, as far as --quick looks: the logs' heads, packs and ends; not certificates and revocations")
		default:
			fmt.Fprintln(w, "clean: the store is what its logs say")
		}
	}
	if n := len(r.Findings); n > 0 {
		return &exitError{code: exitFailure, err: fmt.Errorf("%d findings in %s", n, dir)}
	}
	return nil
}

// startBudget bounds the entries that a start reads of all logs together: a few
// tenths of a second, however many CAs there are, and however much was waiting to
// be sealed when the server was killed. Sealing reads the rest.
const startBudget = 1 << 16

// checkStore does fsck's quick check at the start. A CA whose log does not
// agree with itself is served to read, and gets no further entries.
func (h *house) checkStore(ctx context.Context) error {
	result, err := fsck.Run(ctx, fsck.Config{Log: h.db, Rows: h.db, Records: h.db, Quick: true, Budget: startBudget})
	if err != nil {
		return fmt.Errorf("checking the store: %w", err)
	}
	for ca, why := range result.Refusals() {
		h.entries.Refuse(ca, why)
		h.log.ErrorContext(ctx, "the log of this certificate authority is damaged and takes no entries: it issues and revokes nothing; stop the server, see what chirograph fsck says, and restore the data folder from a backup",
			slog.String("ca", ca), slog.Any("error", why))
	}
	return nil
}
