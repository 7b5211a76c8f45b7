package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/pca"
)

func newLogProve() *cobra.Command {
	var (
		f                 logFlags
		serial, cert, out string
		index             int64
	)
	cmd := &cobra.Command{
		Use:   "prove --ca ARN (--serial HEX | --cert FILE | --index N) [--out FILE]",
		Short: "Prove that a certificate is in the CA's log",
		Long: `Fetch the proof that one entry is in a CA's log, check it, and print or keep it: a
C2SP tlog-proof with the entry as its extra data. Whoever has the log's verifier
key checks it offline, with "chirograph verify --inclusion" or any other program.

With --cert the entry must be that of the very certificate, byte for byte.`,
		Example: `  chirograph log prove --ca "$CA" --serial 5b1f0c... --out leaf.tlog-proof
  chirograph log prove --ca "$CA" --cert leaf.pem --out leaf.tlog-proof --output json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			log, err := f.open(cmd)
			if err != nil {
				return err
			}
			want := wanted{index: index}
			if flags := cmd.Flags(); len(slices.DeleteFunc([]string{"serial", "cert", "index"}, func(name string) bool { return !flags.Changed(name) })) != 1 {
				return usageError("give --serial, --cert or --index", "one of --serial, --cert and --index is needed")
			}
			switch {
			case serial != "":
				if want.serial, err = parseSerial(serial); err != nil {
					return err
				}
			case cert != "":
				if err := want.readCertificate(cert); err != nil {
					return err
				}
			}
			p, err := log.prove(ctx, want)
			if err != nil {
				return err
			}
			f.warn(cmd, p.head)
			if out != "" {
				if err := writeFile(out, string(p.text)); err != nil {
					return err
				}
			}
			w := cmd.OutOrStdout()
			switch {
			case f.output == "json":
				return printJSON(w, struct {
					Origin   string      `json:"origin"`
					Size     uint64      `json:"size"`
					Key      string      `json:"key"`
					Endorsed bool        `json:"endorsed"`
					Entry    *shownEntry `json:"entry"`
					Proof    string      `json:"proof"`
					File     string      `json:"file,omitempty"`
				}{p.head.origin, p.head.size, p.head.key, p.head.endorsed, p.entry, string(p.text), out})
			case out == "":
				_, err = w.Write(p.text)
				return err
			}
			_, err = fmt.Fprintf(w, "entry    %d of %d in %s: %s of %s\nkey      %s\n%sfile     %s\n", p.entry.Index, p.head.size, p.head.origin, p.entry.Type, p.entry.Time, p.head.key, p.head.words(), out)
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&serial, "serial", "", "serial number of the certificate, hexadecimal")
	cmd.Flags().StringVar(&cert, "cert", "", "file with the certificate, PEM or DER")
	cmd.Flags().Int64Var(&index, "index", -1, "index of the entry, of any type")
	cmd.Flags().StringVar(&out, "out", "", "file to keep the proof in")
	return cmd
}

// wanted is the entry that somebody asks for.
type wanted struct {
	serial []byte    // nil: by index
	sha256 *[32]byte // of the certificate; nil: any with the serial
	index  int64
}

func parseSerial(s string) ([]byte, error) {
	b, err := pca.ParseSerial(s)
	if err != nil || len(b) == 0 {
		return nil, usageError("such as 5b1f0c77a1d04c0e8f2a6f1a0f2b3c4d; colons may stand between the digits", "--serial: %q is not a serial number in hexadecimal digits", s)
	}
	return b, nil
}

// readCertificate takes serial and hash from a certificate, of whatever
// algorithm.
func (w *wanted) readCertificate(name string) error {
	der, err := readFile(name, "certificate")
	if err != nil {
		return err
	}
	if block, _ := pem.Decode(der); block != nil {
		der = block.Bytes
	}
	var certificate, tbs cryptobyte.String
	in := cryptobyte.String(der)
	ok := in.ReadASN1(&certificate, asn1.SEQUENCE) && in.Empty() && certificate.ReadASN1(&tbs, asn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed())
	var serial []byte
	if !ok || !tbs.ReadASN1Integer(&serial) {
		return usageError("it holds one certificate, PEM or DER", "%s is not a certificate", name)
	}
	sum := sha256.Sum256(der)
	w.serial, w.sha256 = bytes.TrimLeft(serial, "\x00"), &sum
	return nil
}

// entryProof is a proof that was checked.
type entryProof struct {
	head  *signedHead
	entry *shownEntry
	text  []byte
}

// logPolicy is what a tlog-proof of the log with that verifier key must meet.
func logPolicy(key string) (torchwood.Policy, error) {
	v, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("reading the log's key: %w", err)
	}
	return torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(v.Name()), torchwood.SingleVerifierPolicy(v)), nil
}

// prove fetches the proof of an entry and checks all of it.
func (l *remoteLog) prove(ctx context.Context, want wanted) (*entryProof, error) {
	query := url.Values{"index": {strconv.FormatInt(want.index, 10)}}
	if want.serial != nil {
		query = url.Values{"serial": {hex.EncodeToString(want.serial)}}
	}
	text, err := l.get(ctx, "proof?"+query.Encode())
	if err != nil {
		return nil, err
	}
	key, err := l.logKey(ctx)
	if err != nil {
		return nil, err
	}
	p := &entryProof{text: text}
	if err := p.check(key, want); err != nil {
		return nil, &exitError{code: exitFailure, hint: "keep the answer, and ask the operator what it is", err: fmt.Errorf("checking the proof: %w", err)}
	}
	return p, nil
}

func (p *entryProof) check(key logKey, want wanted) error {
	b, err := torchwood.ProofExtraData(p.text)
	if err != nil {
		return err
	}
	policy, err := logPolicy(key.text)
	if err != nil {
		return err
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(b), p.text); err != nil {
		return err
	}
	// What it proves must be what was asked for.
	_, signed, _ := bytes.Cut(p.text, []byte("\n\n"))
	if p.head, err = openHead(signed, key.text); err != nil {
		return err
	}
	p.head.endorsed = key.endorsed
	index, err := proofIndex(p.text)
	if err != nil {
		return err
	}
	if p.entry, err = showEntry(index, b); err != nil {
		return err
	}
	var e certlog.Entry
	if err := e.Decode(b); err != nil {
		return err
	}
	switch {
	case want.serial == nil && index != uint64(want.index):
		return fmt.Errorf("it is of entry %d, not of %d", index, want.index)
	case want.serial != nil && (e.Type != certlog.TypeIssue || !bytes.Equal(e.Serial, want.serial)):
		return fmt.Errorf("it is of another entry than that of the certificate %x", want.serial)
	case want.sha256 != nil && e.CertSHA256 != *want.sha256:
		return fmt.Errorf("the log has another certificate with the serial number %x: its SHA-256 is %x, that of the file %x", want.serial, e.CertSHA256, *want.sha256)
	}
	return nil
}

// proofIndex is the index of the entry that a tlog-proof is about.
func proofIndex(text []byte) (uint64, error) {
	for line := range strings.Lines(string(text)) {
		if n, ok := strings.CutPrefix(line, "index "); ok {
			return strconv.ParseUint(strings.TrimSuffix(n, "\n"), 10, 63)
		}
	}
	return 0, errors.New("it names no index")
}
