package proof

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/issuance"
	"chirograph.dev/internal/pca"
)

// Head is a signed tree head of a log with what a manifest needs beside it.
type Head struct {
	Origin      string
	Size        uint64
	Root        tlog.Hash
	Signed      []byte // checkpoint, signed and cosigned
	Key         string // verifier key of the log at this size
	SPKI        []byte // DER SubjectPublicKeyInfo of the CA
	Endorsement Endorsement
}

// ErrCheckpoint is wrapped by errors of text that is no checkpoint.
var ErrCheckpoint = errors.New("malformed checkpoint")

// CheckpointText is the text of a checkpoint (C2SP tlog-checkpoint), to be
// signed as a note.
func CheckpointText(origin string, size uint64, root tlog.Hash) string {
	return torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: int64(size), Hash: root}}.String()
}

// SignCheckpoint signs the tree head of a log. The signer's name is the log's
// origin.
func SignCheckpoint(signer note.Signer, size uint64, root tlog.Hash) ([]byte, error) {
	if size > math.MaxInt64 {
		return nil, fmt.Errorf("%w: %d entries", ErrCheckpoint, size)
	}
	signed, err := note.Sign(&note.Note{Text: CheckpointText(signer.Name(), size, root)}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing checkpoint of %s: %w", signer.Name(), err)
	}
	return signed, nil
}

// OpenCheckpoint reads a signed checkpoint that the key signed for its own
// name. Errors wrap ErrSignature or ErrCheckpoint.
func OpenCheckpoint(signed []byte, vkey string) (origin string, size uint64, root tlog.Hash, err error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return "", 0, tlog.Hash{}, fmt.Errorf("%w: verifier key %q: %w", ErrSignature, vkey, err)
	}
	text, err := openNote(signed, vkey, v.Name())
	if err != nil {
		return "", 0, tlog.Hash{}, err
	}
	c, err := torchwood.ParseCheckpoint(text)
	switch {
	case err != nil:
		return "", 0, tlog.Hash{}, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	case c.Origin != v.Name():
		return "", 0, tlog.Hash{}, fmt.Errorf("%w: it is of %q and signed by %q", ErrCheckpoint, c.Origin, v.Name())
	}
	return c.Origin, uint64(c.N), c.Hash, nil
}

// Check tells whether the CA's key signed that the log has that verifier key.
// spki is the DER SubjectPublicKeyInfo of the CA.
func (e *Endorsement) Check(spki []byte, origin, vkey string) error {
	text := certlog.EndorsementText(sha256.Sum256(spki), origin, vkey)
	if err := issuance.VerifyText(spki, pca.SigningAlgorithm(e.Algorithm), text, e.Signature); err != nil {
		return fmt.Errorf("endorsement of %s: %w", vkey, err)
	}
	return nil
}

// KnownHead is a tree head that an auditor holds from earlier, or from
// somebody else: whatever is verified later must have grown from it.
type KnownHead struct {
	Origin string
	Size   uint64
	Root   tlog.Hash
	Key    string            // verifier key that was accepted with it; empty when unknown
	SPKI   [sha256.Size]byte // SHA-256 of the CA's SubjectPublicKeyInfo; zero when unknown
	Time   int64             // when the log is known to have had Size entries, milliseconds since the epoch; 0 is unknown
	Source string            // for messages: the file it came from

	signed   []byte    // a checkpoint: its signature is still to be checked
	manifest *Manifest // a manifest that is signed by its own key: its endorsement is still to be checked
}

// OfCA tells whether the head is one of a log of the manifest's CA, by its name
// or by its key: there should be one log, with its epochs.
func (k *KnownHead) OfCA(m *Manifest) bool {
	base, _ := SplitOrigin(k.Origin, m.CA)
	return base != "" || k.SPKI == sha256.Sum256(m.SPKI)
}

// StateLine is the head as a line of a state file: what an auditor remembers
// of each log whose report was accepted.
func (k *KnownHead) StateLine() string {
	return fmt.Sprintf("%s %d %s %d %s %s\n", k.Origin, k.Size, k.Root, k.Time, k.Key, tlog.Hash(k.SPKI))
}

// ErrKnown is wrapped by errors of what is none of the forms that ParseKnown
// reads.
var ErrKnown = errors.New("neither a manifest nor a checkpoint nor a state file")

// ParseKnown reads known heads: a signed manifest, a signed checkpoint, or a
// state file of StateLine lines. source names it in messages. Signatures of
// checkpoints are checked by Verify, which learns the log's keys.
func ParseKnown(data []byte, source string) ([]KnownHead, error) {
	switch {
	case len(data) > MaxManifest:
		return nil, fmt.Errorf("%s: %w: %d bytes", source, ErrKnown, len(data))
	case bytes.HasPrefix(data, []byte(manifestHeader+"\n")):
		m, err := OpenManifest(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, err)
		}
		return []KnownHead{{Origin: m.Origin, Size: m.Size, Root: m.Root, Key: m.Key, SPKI: sha256.Sum256(m.SPKI), Time: m.Created, Source: source, manifest: m}}, nil
	}
	if text, _, ok := bytes.Cut(data, []byte("\n\n")); ok {
		c, err := torchwood.ParseCheckpoint(string(text) + "\n")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", source, ErrKnown)
		}
		return []KnownHead{{Origin: c.Origin, Size: uint64(c.N), Root: c.Hash, Source: source, signed: data}}, nil
	}
	var known []KnownHead
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		if len(f) != 6 {
			return nil, fmt.Errorf("%s: %w", source, ErrKnown)
		}
		r := lines{}
		k := KnownHead{Origin: f[0], Size: r.number(f[1]), Root: r.hash(f[2]), Key: f[4], SPKI: r.hash(f[5]), Source: source}
		t, err := strconv.ParseInt(f[3], 10, 64)
		if r.err != nil || err != nil || t < 0 {
			return nil, fmt.Errorf("%s: %w", source, ErrKnown)
		}
		k.Time = t
		known = append(known, k)
	}
	return known, nil
}
