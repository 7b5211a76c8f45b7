package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/terminal"
)

// logSource is a log to read all of: on a server or in a folder.
type logSource interface {
	checkpoint(ctx context.Context) (*signedHead, error)
	// entries yields the entries [lo, hi) of the first size; lo is a multiple
	// of 256. kept may have full bundles already. entry is valid during the
	// call only.
	entries(ctx context.Context, size, lo, hi uint64, kept func(tlog.Tile) []byte, yield func(index uint64, entry []byte) error) error
}

func newLogExport() *cobra.Command {
	var (
		f                logFlags
		from, to         string
		asTiles, asPacks bool
	)
	cmd := &cobra.Command{
		Use:   "export (--ca ARN | --log DIR) --to DIR [--tiles | --packs]",
		Short: "Write a whole log to files: C2SP tiles, or packs as they stand beside the reports",
		Long: `Write a whole log to a folder, from the server, or from the log's folder of a
downloaded bundle. As tiles (C2SP tlog-tiles) other people's programs check it;
as packs "chirograph verify" does.

A second export to the same folder adds what is new, and one that was interrupted
goes on. At the end the root over all entries is compared with the log's signed
checkpoint; the checkpoint is written last.`,
		Example: `  chirograph log export --ca "$CA" --to ./log-tiles
  chirograph log export --log ./log --to ./log-tiles --tiles`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			switch {
			case to == "" || (f.ca == "") == (from == ""):
				return usageError(cmd.CommandPath()+" --ca ARN --to DIR, or --log DIR --to DIR", "--to and one of --ca and --log are needed")
			case asTiles && asPacks:
				return usageError("give one of them; tiles is what happens without", "--tiles and --packs exclude each other")
			}
			ctx := cmd.Context()
			var source logSource
			var err error
			if from != "" {
				source, err = openFolder(from, f.key)
			} else {
				source, err = f.connect(ctx)
			}
			if err != nil {
				return err
			}
			head, err := source.checkpoint(ctx)
			if err != nil {
				return err
			}
			if from == "" {
				f.warn(cmd, head)
			}
			bar := terminal.NewBar(cmd.ErrOrStderr(), terminal.Options{Total: int64(head.size), What: "writing the log"})
			defer bar.Clear()
			x := &export{source: source, head: head, dir: to, bar: bar}
			if asPacks {
				err = x.packs(ctx)
			} else {
				err = x.tiles(ctx)
			}
			if err != nil {
				return err
			}
			bar.Clear()
			if f.output == "json" {
				return printJSON(cmd.OutOrStdout(), struct {
					Origin  string `json:"origin"`
					Size    uint64 `json:"size"`
					Root    string `json:"root"`
					Key     string `json:"key"`
					Folder  string `json:"folder"`
					Written uint64 `json:"entriesWritten"`
				}{head.origin, head.size, head.root.String(), head.key, to, x.written})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "log      %s\nentries  %d, %d of them new\nroot     %s, as the checkpoint says\nkey      %s\nfolder   %s\n", head.origin, head.size, x.written, head.root, head.key, to)
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&from, "log", "", "folder with the log's packs or tiles, in place of the server")
	cmd.Flags().StringVar(&to, "to", "", "folder to write to; made when there is none")
	cmd.Flags().BoolVar(&asTiles, "tiles", false, "write C2SP tiles (the default)")
	cmd.Flags().BoolVar(&asPacks, "packs", false, "write packs")
	folders(cmd, "log", "to")
	return cmd
}

// export is one run of the command.
type export struct {
	source  logSource
	head    *signedHead
	dir     string
	bar     terminal.Bar
	written uint64 // entries that were not there before
}

// before is the checkpoint of an earlier run, nil when there was none: all that
// it commits to is in the folder.
func (x *export) before() (*signedHead, error) {
	signed, err := os.ReadFile(filepath.Join(x.dir, proof.CheckpointName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at what was exported before: %w", err)
	}
	known, err := oneHead(signed, x.dir)
	if err != nil {
		return nil, fmt.Errorf("looking at what was exported before: %w", err)
	}
	// Nobody's word is needed: what grows from it is checked against the new head.
	h := &signedHead{origin: known.Origin, size: known.Size, root: known.Root, signed: signed}
	if h.size > x.head.size {
		return nil, &exitError{code: exitFailure, hint: "keep the folder: it holds entries that the log has lost; compare the two with chirograph log compare",
			err: fmt.Errorf("the log has %d entries, and %s has %d of it", x.head.size, x.dir, h.size)}
	}
	return h, nil
}

// errOtherLog is the end of an export whose entries are not those of the head.
func (x *export) errOtherLog(root tlog.Hash) error {
	return &exitError{code: exitFailure, hint: "if the folder had an earlier export, the log is not the one it was: keep it and export to another folder; if not, the log's files are damaged or not of this log",
		err: fmt.Errorf("the entries hash to %s, the signed root of %d entries is %s", root, x.head.size, x.head.root)}
}

// seal writes the checkpoint, which makes the export count.
func (x *export) seal() error {
	if err := writeFile(filepath.Join(x.dir, proof.CheckpointName), string(x.head.signed)); err != nil {
		return err
	}
	return os.Chmod(filepath.Join(x.dir, proof.CheckpointName), 0o644)
}

// tiles exports to C2SP tiles. A crash leaves full tiles, which the next run
// uses, under the checkpoint of the run before.
func (x *export) tiles(ctx context.Context) error {
	before, err := x.before()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(x.dir, 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	t := &treeWriter{dir: x.dir}
	if before != nil {
		err := t.resume(before)
		if errors.Is(err, fs.ErrNotExist) {
			return usageError("export to a folder of its own, or an empty one; with --packs if it holds packs", "%s holds an earlier export, but not its tiles", x.dir)
		}
		if err != nil {
			return fmt.Errorf("going on with an earlier export, which takes its own folder or an empty one: %w", err)
		}
	}
	kept := func(tile tlog.Tile) []byte {
		if tile.W != 1<<tile.H {
			return nil
		}
		b, err := os.ReadFile(t.path(tile))
		if err != nil || cutBundle(b, tile.W, func([]byte) error { return nil }) != nil {
			return nil
		}
		return b
	}
	begin := t.size
	// Bundles are whole, so the first of them may hold entries that are there.
	err = x.source.entries(ctx, x.head.size, begin&^(1<<8-1), x.head.size, kept, func(index uint64, entry []byte) error {
		if index < begin {
			return nil
		}
		x.bar.Set(int64(index))
		x.written++
		return t.add(entry)
	})
	if err != nil {
		return fmt.Errorf("exporting the log: %w", err)
	}
	if root := t.treeHash(); root != x.head.root {
		return x.errOtherLog(root)
	}
	if err := t.finish(); err != nil {
		return fmt.Errorf("exporting the log: %w", err)
	}
	if err := x.seal(); err != nil || before == nil {
		return err
	}
	return t.dropPartials(before.size)
}

// packs exports to packs. The root needs every entry, so those that are there
// are read again.
func (x *export) packs(ctx context.Context) error {
	if _, err := x.before(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(x.dir, proof.EntriesFolder), 0o755); err != nil {
		return fmt.Errorf("making the folder: %w", err)
	}
	there, err := proof.OpenPacks(os.DirFS(x.dir))
	if err != nil {
		return fmt.Errorf("looking at what was exported before: %w", err)
	}
	encoder, err := proof.NewEncoder()
	if err != nil {
		return err
	}
	var (
		t     treeWriter
		have  = there.End()
		block []byte
		pack  []byte
	)
	flush := func(hi uint64) error {
		if len(block) > 0 {
			pack, block = encoder.AppendFrame(pack, block), block[:0]
		}
		if len(pack) == 0 || hi%proof.PackSize != 0 && hi != x.head.size {
			return nil
		}
		lo := (hi - 1) / proof.PackSize * proof.PackSize
		name := filepath.Join(x.dir, filepath.FromSlash(proof.PackName(lo, hi)))
		if err := os.WriteFile(name+"~", pack, 0o644); err != nil {
			return err
		}
		pack = pack[:0]
		return os.Rename(name+"~", name)
	}
	// What is there in full packs is read there; the last one is written anew
	// when the log grew beyond it.
	old := min(have, x.head.size)
	if old < x.head.size {
		old = old / proof.PackSize * proof.PackSize
	}
	hash := func(index uint64, entry []byte) error {
		x.bar.Set(int64(index))
		return t.add(entry)
	}
	local := folderLog{dir: x.dir, packs: there}
	if err := local.packed(ctx, 0, old, hash); err != nil {
		return err
	}
	err = x.source.entries(ctx, x.head.size, old, x.head.size, nil, func(index uint64, entry []byte) error {
		if err := hash(index, entry); err != nil {
			return err
		}
		if index >= have {
			x.written++
		}
		block = certlog.AppendBundled(block, entry)
		if (index+1)%certlog.BlockSize == 0 {
			return flush(index + 1)
		}
		return nil
	})
	if err == nil {
		err = flush(x.head.size)
	}
	if err != nil {
		return fmt.Errorf("exporting the log: %w", err)
	}
	if root := t.treeHash(); root != x.head.root {
		return x.errOtherLog(root)
	}
	return x.seal()
}
