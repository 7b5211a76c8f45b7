package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
)

// shownEntry is an entry of a log in words. What an entry of its type does not
// have stays out.
type shownEntry struct {
	Index       uint64  `json:"index"`
	Type        string  `json:"type"`
	Time        string  `json:"time"`
	Serial      string  `json:"serial,omitempty"`
	Certificate string  `json:"certificateSha256,omitempty"`
	NotBefore   string  `json:"notBefore,omitempty"`
	NotAfter    string  `json:"notAfter,omitempty"`
	Account     string  `json:"account,omitempty"`
	Principal   string  `json:"principal,omitempty"`
	Template    string  `json:"templateArn,omitempty"`
	Subject     string  `json:"subject,omitempty"`
	Issued      *uint64 `json:"issueIndex,omitempty"`
	Reason      string  `json:"reason,omitempty"`
	NextUpdate  string  `json:"nextUpdate,omitempty"`
	Covered     *uint64 `json:"entriesCovered,omitempty"`
	Number      string  `json:"crlNumber,omitempty"`
	Digest      string  `json:"sha256,omitempty"`
	Label       string  `json:"label,omitempty"`
	Extra       string  `json:"extra,omitempty"`
	ExtraBytes  string  `json:"extraBase64,omitempty"` // what is no text
}

var entryTypes = map[certlog.EntryType]string{
	certlog.TypeGenesis: "genesis", certlog.TypeIssue: "issue", certlog.TypeRevoke: "revoke", certlog.TypeCRL: "crl",
	certlog.TypeSign: "sign", certlog.TypeReport: "report", certlog.TypeKey: "key", certlog.TypeRecovery: "recovery",
}

func showEntry(index uint64, b []byte) (*shownEntry, error) {
	var e certlog.Entry
	if err := e.Decode(b); err != nil {
		return nil, fmt.Errorf("entry %d: %w", index, err)
	}
	second := func(s int64) string { return time.Unix(s, 0).UTC().Format(time.RFC3339) }
	s := &shownEntry{
		Index: index, Type: entryTypes[e.Type], Time: time.UnixMilli(e.Time).UTC().Format("2006-01-02T15:04:05.000Z"),
		Serial: hex.EncodeToString(e.Serial), Label: string(e.Label),
	}
	switch e.Type {
	case certlog.TypeIssue:
		s.Certificate = hex.EncodeToString(e.CertSHA256[:])
		s.NotBefore, s.NotAfter = second(e.NotBefore), second(e.NotAfter)
		s.Account, s.Principal, s.Template, s.Subject = string(e.Account), string(e.Principal), string(e.TemplateARN), string(e.Subject)
	case certlog.TypeRevoke:
		s.Issued, s.Reason = &e.IssueIndex, rendering.Reason(e.Reason)
	case certlog.TypeCRL:
		s.NextUpdate, s.Covered, s.Number = second(int64(e.NextUpdate)), &e.Covered, new(big.Int).SetBytes(e.Number).String()
	}
	switch e.Type {
	case certlog.TypeGenesis, certlog.TypeSign, certlog.TypeCRL:
		s.Digest = hex.EncodeToString(e.Digest[:])
	}
	if text := string(e.Extra); utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' && r != '\n' }) {
		s.Extra = text
	} else {
		s.ExtraBytes = base64.StdEncoding.EncodeToString(e.Extra)
	}
	return s, nil
}

func newLogShow() *cobra.Command {
	var (
		f        logFlags
		dir      string
		from, to int64
	)
	cmd := &cobra.Command{
		Use:   "show (--ca ARN | --log DIR) [--from N] [--to M]",
		Short: "Print the entries of a log as JSON lines",
		Long: `Print the entries [N, M) of a log, decoded, one JSON object a line: from the
server, where each is checked against the newest signed checkpoint, or from a
folder. Tiles in a folder are checked against its checkpoint; packs are printed as
they are, since "chirograph verify" is what checks them.`,
		Example: `  chirograph log show --ca "$CA" --from 10 --to 20
  chirograph log show --log ./log | jq 'select(.type == "revoke")'`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := settings(cmd); err != nil {
				return err
			}
			if (f.ca == "") == (dir == "") {
				return usageError(cmd.CommandPath()+" --ca ARN, or --log DIR", "one of --ca and --log is needed")
			}
			if from < 0 || to >= 0 && to < from {
				return usageError("entries count from 0", "there are no entries from %d to %d", from, to)
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			encoder := json.NewEncoder(out)
			encoder.SetEscapeHTML(false)
			show := func(index uint64, b []byte) error {
				e, err := showEntry(index, b)
				if err == nil {
					err = encoder.Encode(e)
				}
				return err
			}
			var err error
			if dir != "" {
				err = showFolder(cmd.Context(), dir, f.key, uint64(from), to, show)
			} else {
				err = f.show(cmd.Context(), uint64(from), to, show)
			}
			if flushed := out.Flush(); err == nil {
				err = flushed
			}
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&dir, "log", "", "folder with the log's packs or tiles, in place of the server")
	cmd.Flags().Int64Var(&from, "from", 0, "first entry")
	cmd.Flags().Int64Var(&to, "to", -1, "entry to stop before; without it the end of the log")
	folders(cmd, "log")
	return cmd
}

// upTo is where to stop in a log of that size.
func upTo(to int64, size uint64) uint64 {
	if to < 0 {
		return size
	}
	return min(uint64(to), size)
}

func (f *logFlags) show(ctx context.Context, from uint64, to int64, show func(uint64, []byte) error) error {
	log, err := f.connect(ctx)
	if err != nil {
		return err
	}
	head, err := log.checkpoint(ctx)
	if err != nil {
		return err
	}
	return showTiles(ctx, log, head, from, to, show)
}

// showTiles shows entries that the head commits to.
func showTiles(ctx context.Context, tiles torchwood.TileReader, head *signedHead, from uint64, to int64, show func(uint64, []byte) error) error {
	end := upTo(to, head.size)
	if from >= end {
		return nil
	}
	client, err := torchwood.NewClient(tiles)
	if err != nil {
		return err
	}
	for index, entry := range client.AllEntries(ctx, head.tree(), int64(from)) {
		if uint64(index) >= end {
			return nil
		}
		if err := show(uint64(index), entry); err != nil {
			return err
		}
	}
	if err := client.Err(); err != nil {
		return fmt.Errorf("reading entries: %w", err)
	}
	return nil
}

func showFolder(ctx context.Context, dir, key string, from uint64, to int64, show func(uint64, []byte) error) error {
	log, err := openFolder(dir, key)
	if err != nil {
		return err
	}
	if log.packs == nil {
		head, err := log.checkpoint(ctx)
		if err != nil {
			return err
		}
		return showTiles(ctx, log.tiles, head, from, to, show)
	}
	return log.packed(ctx, from, upTo(to, log.packs.End()), show)
}
