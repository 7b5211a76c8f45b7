package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/proof"
)

// Verdicts of compare, and its exit codes.
const (
	sameHistory  = "same-history" // exitOK
	splitView    = "split-view"   // exitFailure
	cannotTell   = "cannot-tell"  // exitUsage
	compareUsage = "chirograph log compare A B, each a manifest, a checkpoint or a file that verify --state keeps"
)

func newLogCompare() *cobra.Command {
	var (
		f   logFlags
		dir string
	)
	cmd := &cobra.Command{
		Use:   "compare A B [--log DIR | --ca ARN]",
		Short: "Tell whether two people were shown one history of a log",
		Long: `Tell whether two tree heads of a log are of one history: manifests, checkpoints,
or what verify remembers. Heads of different sizes need more: a manifest whose
previous report is the other one, the log in a folder, or the server.

It exits with 0 when they are, 1 when there are two histories (a split view: the
operator's signature under both is the evidence), and 2 when it cannot tell.`,
		Example: `  chirograph log compare mine.manifest yours.manifest
  chirograph log compare 2026-10.checkpoint 2026-11.checkpoint --log ./log`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError(compareUsage, "%s takes two files", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if f.ca != "" && dir != "" {
				return usageError("give one of them", "--log and --ca exclude each other")
			}
			c := &comparison{key: f.key}
			ctx := cmd.Context()
			var err error
			switch {
			case dir != "":
				c.folder, err = openFolder(dir, "")
			case f.ca != "":
				if c.remote, err = f.connect(ctx); err == nil {
					c.remote.key = "" // it may have been changed since
				}
			}
			if err != nil {
				return err
			}
			if c.a, c.b, err = readHeads(args[0], args[1]); err != nil {
				return err
			}
			verdict, words, err := c.compare(ctx)
			if err != nil {
				return err
			}
			if f.output == "json" {
				err = printJSON(cmd.OutOrStdout(), struct {
					Verdict string        `json:"verdict"`
					Words   string        `json:"words"`
					Heads   []printedHead `json:"heads"`
				}{verdict, words, []printedHead{c.a.printed(), c.b.printed()}})
			}
			switch {
			case err != nil:
				return err
			case verdict == splitView:
				return &exitError{code: exitFailure, hint: "keep both files: together they are the evidence", err: errors.New(words)}
			case verdict == cannotTell:
				return &exitError{code: exitUsage, err: errors.New(words)}
			case f.output != "json":
				_, err = fmt.Fprintln(cmd.OutOrStdout(), words)
			}
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&dir, "log", "", "folder with the log's packs or tiles")
	folders(cmd, "log")
	return cmd
}

// comparedHead is one of two tree heads.
type comparedHead struct {
	proof.KnownHead
	checkpoint []byte          // signed; nil when the file is no checkpoint
	manifest   *proof.Manifest // nil when the file is none
}

type printedHead struct {
	File   string `json:"file"`
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`
}

func (h *comparedHead) printed() printedHead {
	return printedHead{h.Source, h.Origin, h.Size, h.Root.String()}
}

// readHeads reads two files; of a file with heads of many logs the one counts
// that the other is of.
func readHeads(nameA, nameB string) (a, b *comparedHead, err error) {
	read := func(name string) (heads []*comparedHead, err error) {
		data, err := readFile(name, "tree head")
		if err != nil {
			return nil, err
		}
		known, err := proof.ParseKnown(data, name)
		if err == nil && len(known) == 0 {
			err = fmt.Errorf("%s: %w", name, proof.ErrKnown)
		}
		if err != nil {
			return nil, &exitError{code: exitUsage, hint: compareUsage, err: err}
		}
		for _, k := range known {
			h := &comparedHead{KnownHead: k}
			if m, err := proof.OpenManifest(data); err == nil {
				h.manifest = m
			} else if bytes.Contains(data, []byte("\n\n")) {
				h.checkpoint = data
			}
			heads = append(heads, h)
		}
		return heads, nil
	}
	as, err := read(nameA)
	if err != nil {
		return nil, nil, err
	}
	bs, err := read(nameB)
	if err != nil {
		return nil, nil, err
	}
	for _, a := range as {
		for _, b := range bs {
			if a.Origin == b.Origin {
				return a, b, nil
			}
		}
	}
	return as[0], bs[0], nil
}

// comparison compares two heads, with what there is to do it.
type comparison struct {
	a, b   *comparedHead
	key    string      // pinned verifier key; may be empty
	folder *folderLog  // may be nil
	remote *remoteLog  // may be nil
	head   *signedHead // of remote or folder, once it was read
}

func (c *comparison) compare(ctx context.Context) (verdict, words string, err error) {
	if c.a.Size > c.b.Size {
		c.a, c.b = c.b, c.a
	}
	a, b := c.a, c.b
	if a.Origin != b.Origin {
		return cannotTell, fmt.Sprintf("%s is of the log %s, %s of %s: another CA, or another epoch of the same after a recovery, which chirograph verify follows", a.Source, a.Origin, b.Source, b.Origin), nil
	}
	if a.manifest != nil && b.manifest != nil && !bytes.Equal(a.manifest.SPKI, b.manifest.SPKI) {
		return cannotTell, "the two manifests name different keys of the CA: one of them is not the CA's", nil
	}
	for _, h := range []*comparedHead{a, b} {
		if words, err := c.authentic(ctx, h); words != "" || err != nil {
			return cannotTell, words, err
		}
	}
	if a.Size == b.Size {
		if a.Root == b.Root {
			return sameHistory, fmt.Sprintf("one history: both are of the same %d entries", a.Size), nil
		}
		return splitView, fmt.Sprintf("split view: two different trees of %d entries are signed by the log %s", a.Size, a.Origin), nil
	}
	if m := b.manifest; m != nil && m.Previous != nil && m.Previous.Size == a.Size {
		switch {
		case m.Previous.Root != a.Root:
			return splitView, fmt.Sprintf("split view: %s says that its log grew from another tree of %d entries than %s is of", b.Source, a.Size, a.Source), nil
		case tlog.CheckTree(m.Consistency, int64(b.Size), b.Root, int64(a.Size), a.Root) == nil:
			return sameHistory, fmt.Sprintf("one history: the %d entries of %s begin with the %d of %s", b.Size, b.Source, a.Size, a.Source), nil
		}
		return cannotTell, b.Source + ": its consistency proof does not hold", nil
	}
	return c.throughLog(ctx)
}

// authentic tells in words why the signature of a head cannot be relied on;
// nothing when it can.
func (c *comparison) authentic(ctx context.Context, h *comparedHead) (words string, err error) {
	if m := h.manifest; m != nil {
		switch {
		case c.key != "" && c.key != m.Key:
			return h.Source + ": it is signed by another key than --log-key names", nil
		case c.key == "" && m.Endorsement.Algorithm == "":
			return h.Source + ": no CA key endorses the key that signed it; give --log-key", nil
		case c.key == "":
			if err := m.Endorsement.Check(m.SPKI, m.Origin, m.Key); err != nil {
				return h.Source + ": " + err.Error(), nil
			}
		}
		return "", nil
	}
	if h.checkpoint == nil {
		return "", nil // what verify accepted and remembered
	}
	keys, err := c.keys(ctx, h.Size)
	if err != nil {
		return "", err
	}
	for _, key := range keys {
		if _, _, _, err = proof.OpenCheckpoint(h.checkpoint, key); err == nil {
			return "", nil
		}
	}
	if len(keys) == 0 {
		return h.Source + ": no key is at hand to check its signature with; give --log-key, or --log or --ca", nil
	}
	if c.remote != nil {
		return h.Source + ": the log's key of today did not sign it; if the key was changed since, give the one of then with --log-key, or the log with --log", nil
	}
	return h.Source + ": " + err.Error(), nil
}

// keys are the verifier keys that a checkpoint of that size may be signed by.
func (c *comparison) keys(ctx context.Context, size uint64) (keys []string, err error) {
	for _, key := range []string{c.key, c.a.Key, c.b.Key} {
		if key != "" {
			keys = append(keys, key)
		}
	}
	switch {
	case c.folder != nil && size > c.folder.end():
	case c.folder != nil:
		key, err := c.folder.keyAt(ctx, size)
		return append(keys, key), err
	case c.remote != nil:
		key, err := c.remote.logKey(ctx)
		return append(keys, key.text), err
	}
	return keys, nil
}

// throughLog compares both heads with a log that is longer than both.
func (c *comparison) throughLog(ctx context.Context) (verdict, words string, err error) {
	a, b := c.a, c.b
	var rootA, rootB tlog.Hash
	var where string
	switch {
	case c.remote != nil:
		where = "the server"
		if c.head, err = c.remote.checkpoint(ctx); err != nil {
			return "", "", err
		}
		if c.head.size < b.Size {
			return cannotTell, fmt.Sprintf("the server has %d entries, fewer than the %d of %s: the log was rolled back", c.head.size, b.Size, b.Source), nil
		}
		hashes := torchwood.TileHashReaderWithContext(ctx, c.head.tree(), c.remote)
		if rootA, err = tlog.TreeHash(int64(a.Size), hashes); err == nil {
			rootB, err = tlog.TreeHash(int64(b.Size), hashes)
		}
		if err != nil {
			return "", "", fmt.Errorf("asking the server for the tree: %w", err)
		}
	case c.folder != nil:
		where = c.folder.dir
		rootA, rootB, err = c.folder.rootsAt(ctx, a.Size, b.Size)
		if errors.Is(err, proof.ErrNoPack) {
			return cannotTell, fmt.Sprintf("%s has fewer entries than the %d of %s", where, b.Size, b.Source), nil
		}
		if err != nil {
			return "", "", err
		}
	default:
		return cannotTell, fmt.Sprintf("%s is of %d entries, %s of %d: give the log with --log DIR, or the server's with --ca ARN", a.Source, a.Size, b.Source, b.Size), nil
	}
	switch {
	case rootA == a.Root && rootB == b.Root:
		return sameHistory, fmt.Sprintf("one history: the %d entries of %s begin with the %d of %s", b.Size, b.Source, a.Size, a.Source), nil
	case rootB == b.Root:
		return splitView, fmt.Sprintf("split view: the first %d of the %d entries of %s are not those of %s", a.Size, b.Size, b.Source, a.Source), nil
	case c.head != nil:
		return splitView, fmt.Sprintf("split view: the first %d of the %d entries that %s has signed are not those of %s", b.Size, c.head.size, where, b.Source), nil
	}
	return cannotTell, fmt.Sprintf("the log in %s is not the one of %s", where, b.Source), nil
}

// rootsAt are the roots of the first small and of the first large entries.
func (l *folderLog) rootsAt(ctx context.Context, small, large uint64) (a, b tlog.Hash, err error) {
	var t treeWriter
	if small == 0 {
		a = t.treeHash()
	}
	err = l.entries(ctx, large, 0, large, nil, func(index uint64, entry []byte) error {
		err := t.add(entry)
		if index+1 == small {
			a = t.treeHash()
		}
		return err
	})
	return a, t.treeHash(), err
}
