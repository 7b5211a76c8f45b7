package proof

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
)

const manifestHeader = "chirograph.audit-report/v1"

// Limits of a manifest. Ten thousand parts and a checkpoint with a hundred
// cosignatures stay below half of MaxManifest.
const (
	MaxManifest = 4 << 20 // bytes, signed
	MaxParts    = 10000
	maxLine     = 1 << 20
	maxCreated  = 253402300799999 // the end of the year 9999: later times have no JSON
)

// ManifestSuffix is what a report's object key gets to name its manifest.
const ManifestSuffix = ".manifest"

// ErrManifest is wrapped by every error of text that is no manifest.
var ErrManifest = errors.New("malformed manifest")

// Manifest says what a report is a report of: the signed statement beside it.
// Part of the format, with its text (Manifest.Text).
type Manifest struct {
	Origin    string // of the log
	CA        string // the CA's ARN
	Report    string // UUID
	Format    string // JSON or CSV
	Rendering int    // version of certlog/rendering
	Created   int64  // of the report, milliseconds since the epoch

	Size    uint64    // entries of the log that the report covers
	Root    tlog.Hash // of these entries
	Issued  uint64    // rows of the report
	Revoked uint64    // rows that show a revocation
	Bytes   int64     // of the report

	// GatePolicy is the SHA-256 of the bucket's policy that let the report
	// pass, nil when the credentials of the destination were the gate.
	GatePolicy *[sha256.Size]byte

	Previous    *Previous      // nil in the first report of a CA
	Consistency tlog.TreeProof // from Previous to this tree
	Parts       []Part

	Key         string // verifier key that signed (C2SP signed-note)
	SPKI        []byte // DER SubjectPublicKeyInfo of the CA
	Endorsement Endorsement
	Checkpoint  []byte // signed and cosigned checkpoint of exactly Size entries
}

// Previous is the tree of the newest earlier report of the same CA.
type Previous struct {
	Report string
	Size   uint64
	Root   tlog.Hash
}

// Part is a run of whole rows of the report: those of the entries from the
// part before it up to Hi. The first part also has what stands before the
// first row, the last what stands after the last.
type Part struct {
	Hi     uint64
	Length int64
	Rows   uint64
	SHA256 [sha256.Size]byte
}

// Endorsement is the CA key's signature over a log and its verifier key
// (certlog.EndorsementText). The zero value is none: the CA's key was gone.
type Endorsement struct {
	Algorithm string // the API's name, such as SHA256WITHECDSA
	Signature []byte
}

var b64 = base64.StdEncoding.Strict()

// Text is the manifest's one and only text. The error wraps ErrManifest: what
// cannot be written, or read back as it was, is not written.
func (m *Manifest) Text() (string, error) {
	if err := m.check(); err != nil {
		return "", err
	}
	return m.text(), nil
}

func (m *Manifest) text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("%s", manifestHeader)
	line("log %s", m.Origin)
	line("ca %s", m.CA)
	line("report %s %s %d", m.Report, m.Format, m.Rendering)
	line("created %d", m.Created)
	line("tree %d %s", m.Size, m.Root)
	line("rows %d %d", m.Issued, m.Revoked)
	line("size %d", m.Bytes)
	if m.GatePolicy != nil {
		line("gate policy %s", b64.EncodeToString(m.GatePolicy[:]))
	} else {
		line("gate credentials")
	}
	if m.Previous != nil {
		line("prev %s %d %s", m.Previous.Report, m.Previous.Size, m.Previous.Root)
	}
	for _, h := range m.Consistency {
		line("consistency %s", h)
	}
	for _, p := range m.Parts {
		line("part %d %d %d %s", p.Hi, p.Length, p.Rows, b64.EncodeToString(p.SHA256[:]))
	}
	line("key %s", m.Key)
	line("spki %s", b64.EncodeToString(m.SPKI))
	if m.Endorsement.Algorithm != "" {
		line("endorsement %s", certlog.FormatEndorsement(m.Endorsement.Algorithm, m.Endorsement.Signature))
	}
	line("checkpoint %s", b64.EncodeToString(m.Checkpoint))
	return b.String()
}

// check finds what does not hold in a manifest by itself: parts tile the log
// and the file, counts add up.
func (m *Manifest) check() error {
	for _, word := range []string{m.Origin, m.CA, m.Report, m.Key} {
		if word == "" || len(word) > 1024 || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
			return malformed("%q is not a name", word)
		}
	}
	switch {
	case m.Format != "JSON" && m.Format != "CSV":
		return malformed("format %q", m.Format)
	case m.Rendering < 1:
		return malformed("rendering version %d", m.Rendering)
	case m.Created < 0, m.Created > maxCreated, m.Size == 0, m.Size > math.MaxInt64, m.Bytes < 1, m.Revoked > m.Issued, m.Issued > m.Size:
		return malformed("numbers that cannot be")
	case len(m.Parts) < 1 || len(m.Parts) > MaxParts:
		return malformed("%d parts, 1 to %d are possible", len(m.Parts), MaxParts)
	case len(m.SPKI) == 0, len(m.Checkpoint) == 0, (m.Endorsement.Algorithm == "") != (len(m.Endorsement.Signature) == 0):
		return malformed("an empty field")
	case strings.ContainsFunc(m.Endorsement.Algorithm, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		return malformed("algorithm %q", m.Endorsement.Algorithm)
	case m.Previous == nil && len(m.Consistency) > 0, len(m.Consistency) > 63:
		return malformed("a consistency proof of %d hashes", len(m.Consistency))
	}
	if p := m.Previous; p != nil && (p.Size == 0 || p.Size > m.Size || p.Report == "" || strings.ContainsFunc(p.Report, func(r rune) bool { return r <= ' ' || r >= 0x7f })) {
		return malformed("previous report %q of %d entries", p.Report, p.Size)
	}
	var last Part
	var rows uint64
	var size int64
	for i, p := range m.Parts {
		if p.Hi <= last.Hi || p.Length < 1 || p.Length > m.Bytes-size || p.Rows > p.Hi-last.Hi || p.Rows > uint64(p.Length) {
			return malformed("part %d ends at entry %d, after %d, with %d bytes and %d rows", i+1, p.Hi, last.Hi, p.Length, p.Rows)
		}
		last, rows, size = p, rows+p.Rows, size+p.Length
	}
	if last.Hi != m.Size || rows != m.Issued || size != m.Bytes {
		return malformed("parts of %d entries, %d rows, %d bytes make a report of %d, %d, %d", last.Hi, rows, size, m.Size, m.Issued, m.Bytes)
	}
	return nil
}

// ParseManifest reads the text of a manifest. It accepts exactly what Text
// writes. The error wraps ErrManifest.
func ParseManifest(text string) (*Manifest, error) {
	if len(text) > MaxManifest {
		return nil, malformed("%d bytes", len(text))
	}
	m := &Manifest{}
	r := lines{rest: text}
	if r.next() != manifestHeader {
		return nil, malformed("it does not begin with %q", manifestHeader)
	}
	m.Origin = r.field("log", 1)[0]
	m.CA = r.field("ca", 1)[0]
	f := r.field("report", 3)
	m.Report, m.Format, m.Rendering = f[0], f[1], int(min(r.number(f[2]), math.MaxInt32))
	m.Created = int64(r.number(r.field("created", 1)[0]))
	f = r.field("tree", 2)
	m.Size, m.Root = r.number(f[0]), r.hash(f[1])
	f = r.field("rows", 2)
	m.Issued, m.Revoked = r.number(f[0]), r.number(f[1])
	m.Bytes = int64(r.number(r.field("size", 1)[0]))
	if r.is("gate policy ") {
		h := [sha256.Size]byte(r.hash(r.field("gate", 2)[1]))
		m.GatePolicy = &h
	} else {
		r.field("gate", 1)
	}
	if r.is("prev ") {
		f = r.field("prev", 3)
		m.Previous = &Previous{Report: f[0], Size: r.number(f[1]), Root: r.hash(f[2])}
	}
	for r.is("consistency ") && len(m.Consistency) < 64 {
		m.Consistency = append(m.Consistency, r.hash(r.field("consistency", 1)[0]))
	}
	for r.is("part ") && len(m.Parts) <= MaxParts {
		f = r.field("part", 4)
		m.Parts = append(m.Parts, Part{Hi: r.number(f[0]), Length: int64(r.number(f[1])), Rows: r.number(f[2]), SHA256: [sha256.Size]byte(r.hash(f[3]))})
	}
	m.Key = r.field("key", 1)[0]
	m.SPKI = r.bytes(r.field("spki", 1)[0])
	if r.is("endorsement ") {
		f = r.field("endorsement", 2)
		m.Endorsement = Endorsement{f[0], r.bytes(f[1])}
	}
	m.Checkpoint = r.bytes(r.field("checkpoint", 1)[0])
	if r.err == nil && r.rest != "" {
		r.err = malformed("text after its end")
	}
	if r.err == nil {
		r.err = m.check()
	}
	if r.err == nil && m.text() != text { // signs, zeros in front, padding
		r.err = malformed("not the canonical text")
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// lines reads a text line by line; after the first error it gives zeros.
type lines struct {
	rest string
	err  error
}

func (r *lines) fail(format string, args ...any) {
	if r.err == nil {
		r.err = malformed(format, args...)
	}
}

func (r *lines) next() string {
	line, rest, ok := strings.Cut(r.rest, "\n")
	if !ok || len(line) > maxLine {
		r.fail("it ends early")
		return ""
	}
	r.rest = rest
	return line
}

func (r *lines) is(prefix string) bool { return r.err == nil && strings.HasPrefix(r.rest, prefix) }

// field reads the line of that name; it gives exactly n words.
func (r *lines) field(name string, n int) []string {
	if r.err == nil {
		words := strings.Split(r.next(), " ")
		if words[0] == name && len(words) == n+1 {
			return words[1:]
		}
		r.fail("no line %q with %d values where it must stand", name, n)
	}
	return make([]string, n)
}

func (r *lines) number(s string) uint64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		r.fail("%q is not a number", s)
		return 0
	}
	return uint64(n)
}

func (r *lines) hash(s string) tlog.Hash {
	b, err := b64.DecodeString(s)
	if err != nil || len(b) != tlog.HashSize {
		r.fail("%q is not a hash", s)
		return tlog.Hash{}
	}
	return tlog.Hash(b)
}

func (r *lines) bytes(s string) []byte {
	b, err := b64.DecodeString(s)
	if err != nil {
		r.fail("a value is not base64")
	}
	return b
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrManifest, fmt.Sprintf(format, args...))
}

// SignManifest signs a manifest as a note (C2SP signed-note). The signer's name
// is the log's origin.
func SignManifest(m *Manifest, signer note.Signer) ([]byte, error) {
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, fmt.Errorf("signing manifest of report %s: %w", m.Report, err)
	}
	return signed, nil
}

// ErrSignature says that a manifest or checkpoint is not signed by the key
// that it must be signed by.
var ErrSignature = errors.New("signature does not verify")

// OpenManifest reads a signed manifest and checks that the key it names signed
// it. Whose key that is remains to be seen: see Endorsement.Check.
// Errors wrap ErrManifest or ErrSignature.
func OpenManifest(signed []byte) (*Manifest, error) {
	end := bytes.LastIndex(signed, []byte("\n\n"))
	if end < 0 || len(signed) > MaxManifest {
		return nil, malformed("not a signed note")
	}
	m, err := ParseManifest(string(signed[:end+1]))
	if err != nil {
		return nil, err
	}
	if _, err := openNote(signed, m.Key, m.Origin); err != nil {
		return nil, err
	}
	return m, nil
}

// openNote gives the text of a note that the key signed; its name must be the
// origin. Errors wrap ErrSignature.
func openNote(signed []byte, vkey, origin string) (string, error) {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return "", fmt.Errorf("%w: verifier key %q: %w", ErrSignature, vkey, err)
	}
	if v.Name() != origin {
		return "", fmt.Errorf("%w: the key of %q signs for %q", ErrSignature, v.Name(), origin)
	}
	n, err := note.Open(signed, note.VerifierList(v))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return n.Text, nil
}
