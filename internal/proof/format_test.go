package proof_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/proof/prooftest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file that must never change: bundles that exist are of
// its form.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update && got != nil {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != nil && !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
	return want
}

func fixed(b byte) [32]byte { return [32]byte(bytes.Repeat([]byte{b}, 32)) }

// sampleManifest has every line that a manifest can have.
func sampleManifest() *proof.Manifest {
	policy := fixed(1)
	return &proof.Manifest{
		Origin: "pca.example.com/audit/" + testCA, CA: "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/" + testCA,
		Report: reportID2, Format: "CSV", Rendering: 1, Created: 1790003000000,
		Size: 1000003, Root: tlog.Hash(fixed(2)), Issued: 950000, Revoked: 50000, Bytes: 521395174, GatePolicy: &policy,
		Previous:    &proof.Previous{Report: reportID, Size: 900001, Root: tlog.Hash(fixed(3))},
		Consistency: tlog.TreeProof{tlog.Hash(fixed(4)), tlog.Hash(fixed(5))},
		Parts:       []proof.Part{{Hi: 65536, Length: 34784188, Rows: 62258, SHA256: fixed(6)}, {Hi: 1000003, Length: 486610986, Rows: 887742, SHA256: fixed(7)}},
		Key:         "pca.example.com/audit/" + testCA + "+deadbeef+AQID", SPKI: []byte("spki"),
		Endorsement: proof.Endorsement{Algorithm: "SHA256WITHECDSA", Signature: []byte("signature")}, Checkpoint: []byte("checkpoint"),
	}
}

func TestManifest(t *testing.T) {
	t.Parallel()
	m := sampleManifest()
	text, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "manifest.txt", []byte(text))
	least := sampleManifest()
	least.GatePolicy, least.Previous, least.Consistency, least.Endorsement = nil, nil, nil, proof.Endorsement{}
	short, err := least.Text()
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "manifest-least.txt", []byte(short))
	for _, text := range []string{text, short} {
		back, err := proof.ParseManifest(text)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := back.Text(); err != nil || again != text {
			t.Errorf("%v\n%s", err, again)
		}
		lines := strings.SplitAfter(text, "\n")
		for i := range lines[:len(lines)-1] {
			for what, bad := range map[string][]string{
				"without": append(append([]string{}, lines[:i]...), lines[i+1:]...),
				"twice":   append(append(append([]string{}, lines[:i+1]...), lines[i]), lines[i+1:]...),
				"space":   append(append(append([]string{}, lines[:i]...), strings.Replace(lines[i], "\n", " \n", 1)), lines[i+1:]...),
			} {
				_, err := proof.ParseManifest(strings.Join(bad, ""))
				// Lines that may be absent or many, and whose number nothing else says.
				optional := what != "space" && (strings.HasPrefix(lines[i], "consistency") || what == "without" && (strings.HasPrefix(lines[i], "endorsement")))
				if err == nil != optional || err != nil && !errors.Is(err, proof.ErrManifest) {
					t.Errorf("%s line %q: %v", what, lines[i], err)
				}
			}
		}
		for _, r := range [][2]string{{"tree 1000003", "tree 01000003"}, {"tree 1000003", "tree +1000003"}, {"rows 950000", "rows 950001"}, {"size 52", "size 53"},
			{"part 65536", "part 1000003"}, {" CSV ", " XML "}, {"CSV 1", "CSV 0"}, {"AgICAgICAgI", "AgICAgICAg\tI"}, {"\nkey ", "\n\nkey "}, {"=\n", "\n"}} {
			if _, err := proof.ParseManifest(strings.Replace(text, r[0], r[1], 1)); !errors.Is(err, proof.ErrManifest) {
				t.Errorf("%q as %q: %v", r[0], r[1], err)
			}
		}
	}
	for what, change := range map[string]func(*proof.Manifest){
		"name with a space": func(m *proof.Manifest) { m.Report = "a b" },
		"no parts":          func(m *proof.Manifest) { m.Parts = nil },
		"parts too short":   func(m *proof.Manifest) { m.Parts = m.Parts[:1] },
		"rows > entries":    func(m *proof.Manifest) { m.Parts[0].Rows = 65537 },
		"rows > bytes": func(m *proof.Manifest) {
			m.Parts[0].Hi, m.Parts[1].Hi, m.Size = 1<<40, 1<<41, 1<<41
			m.Issued, m.Parts[0].Rows = m.Issued-m.Parts[0].Rows+1<<39, 1<<39
		},
		"year 10000":       func(m *proof.Manifest) { m.Created = 253402300800000 },
		"half endorsement": func(m *proof.Manifest) { m.Endorsement.Signature = nil },
		"previous longer":  func(m *proof.Manifest) { m.Previous.Size = m.Size + 1 },
		"proof of nothing": func(m *proof.Manifest) { m.Previous = nil },
	} {
		m := sampleManifest()
		change(m)
		if _, err := m.Text(); !errors.Is(err, proof.ErrManifest) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	for _, name := range []string{"manifest.txt", "manifest-least.txt"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := proof.ParseManifest(text)
		if err != nil {
			return
		}
		if again, err := m.Text(); err != nil || again != text {
			t.Errorf("%v: %q reads as %q", err, text, again)
		}
	})
}

// TestTexts pins the texts that are signed.
func TestTexts(t *testing.T) {
	t.Parallel()
	b64 := base64.StdEncoding.EncodeToString
	two := fixed(2)
	if got, want := proof.CheckpointText("log.example/audit/x", 17, tlog.Hash(two)), "log.example/audit/x\n17\n"+b64(two[:])+"\n"; got != want {
		t.Errorf("checkpoint %q, want %q", got, want)
	}
	if got, want := string(certlog.EndorsementText(two, "log.example/audit/x", "key")), "chirograph.audit-key/v1\nca "+b64(two[:])+"\nlog log.example/audit/x\nkey key\n"; got != want {
		t.Errorf("endorsement %q, want %q", got, want)
	}
	if got := proof.PackName(65536, 70000); got != "entries/000000065536-000000070000.zst" {
		t.Error(got)
	}
	if a, b := proof.LogFolder("x", 1), proof.LogFolder("x", 2); a != "audit-report/x/log" || b != "audit-report/x/log-2" {
		t.Error(a, b)
	}
}

func TestPackNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"000000000000-000000000001.zst", "000000065536-000000131072.zst", "1000000061440-1000000061441.zst"} {
		if lo, hi, ok := proof.ParsePackName(name); !ok || proof.PackName(lo, hi) != "entries/"+name {
			t.Errorf("%s: %d, %d, %v", name, lo, hi, ok)
		}
	}
	for _, name := range []string{"", "000000000000-000000000000.zst", "000000000001-000000000002.zst", "000000000000-000000065537.zst", "0-1.zst", "000000000000-000000000001.gz",
		"0000000000000-0000000000001.zst", "000000000000-000000000001.zst.json", "9999999999999999999-9999999999999999999.zst"} {
		if _, _, ok := proof.ParsePackName(name); ok {
			t.Errorf("%q was accepted", name)
		}
	}
}

// TestGoldenBundle: what was once written is verified for ever. Update makes it
// anew, with new keys; never after a release.
func TestGoldenBundle(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("testdata", "v1")
	if *update {
		ca := newCA(t, testCA)
		if _, err := ca.WriteFiles(dir, ca.Typical(60, reportID, "JSON"), prooftest.Options{Report: reportID, Format: "JSON"}); err != nil {
			t.Fatal(err)
		}
		golden(t, "v1/ca.der", ca.Certificate)
	}
	report, manifest := golden(t, "v1/"+reportID+".json", nil), golden(t, "v1/"+reportID+".json"+proof.ManifestSuffix, nil)
	r := verify(t, proof.VerifyConfig{
		Report: bytes.NewReader(report), ReportSize: int64(len(report)), Manifest: manifest, Log: os.DirFS(filepath.Join(dir, "log")),
		CACertificates: [][]byte{golden(t, "v1/ca.der", nil)},
	})
	if r.ExitCode() != 3 || class(r) != "" || r.Verdict(proof.Completeness).Status != proof.Pass || r.Verdict(proof.Authenticity).Status != proof.Pass {
		t.Errorf("%+v", r.Verdicts)
	}
	known, err := proof.ParseKnown(golden(t, "v1/log/"+proof.CheckpointName, nil), "checkpoint")
	if err != nil || len(known) != 1 || known[0].Size != 60 || known[0].Root != r.Head.Root {
		t.Errorf("%+v, %v", known, err)
	}
}

// TestReplay compares with an implementation in another language, written from
// the documents.
func TestReplay(t *testing.T) {
	t.Parallel()
	ca := newCA(t, testCA)
	for _, format := range []string{"JSON", "CSV"} {
		entries := ca.Typical(777, reportID, format).Entries()
		entries[2].Principal = []byte("acm.amazonaws.com")
		entries[3].Subject = []byte("CN=comma\\, \"quote\",O=Ünï")
		entries[5].Serial = []byte{7}
		b, err := ca.Bundle(prooftest.Slice(entries), prooftest.Options{Report: reportID, Format: format})
		if err != nil {
			t.Fatal(err)
		}
		packs, err := proof.OpenPacks(folder(b.Packs))
		if err != nil {
			t.Fatal(err)
		}
		reader, err := packs.Reader()
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		block, err := reader.Block(nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "entries")
		if err := os.WriteFile(file, block, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command("python3", "testdata/replay.py", file, ca.ARN, format).Output()
		if err != nil {
			t.Fatal(err)
		}
		root, report, _ := bytes.Cut(out, []byte("\n"))
		if string(root) != b.M.Root.String() {
			t.Errorf("%s: root %s, want %s", format, root, b.M.Root)
		}
		if !bytes.Equal(report, b.Report) {
			t.Errorf("%s: the reports differ", format)
		}
	}
}

func TestBadPacks(t *testing.T) {
	t.Parallel()
	encoder, err := proof.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	frame := encoder.AppendFrame(nil, certlog.AppendBundled(nil, []byte("entry")))
	// One block without content, in a frame that says it holds a terabyte.
	bomb := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0}
	// A frame of empty blocks alone, and one that does not say how much it holds.
	idle := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x50}, make([]byte, 3*300_000)...)
	idle[len(idle)-3]++
	read := func(name string, content []byte) error {
		p, err := proof.OpenPacks(fstest.MapFS{name: {Data: content}})
		if err != nil {
			return err
		}
		r, err := p.Reader()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		_, err = r.Block(nil, 0)
		return err
	}
	if err := read(proof.PackName(0, 1), frame); err != nil {
		t.Error(err)
	}
	for what, content := range map[string][]byte{
		"empty": nil, "text": []byte("hello, world"), "two frames": append(bytes.Clone(frame), frame...), "a byte more": append(bytes.Clone(frame), 0),
		"cut": frame[:len(frame)-1], "bomb": bomb, "idle": idle, "skippable": append([]byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, frame...),
	} {
		if err := read(proof.PackName(0, 1), content); !errors.Is(err, proof.ErrPack) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := read(proof.PackName(65536, 65537), frame); !errors.Is(err, proof.ErrNoPack) {
		t.Errorf("a gap: %v", err)
	}
}

func TestParseKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := known(t, w.first)[0]
	if m.Size != firstSize || m.Root != w.first.M.Root || m.Time != w.first.M.Created {
		t.Errorf("%+v", m)
	}
	c, err := proof.ParseKnown(w.first.M.Checkpoint, "c")
	if err != nil || len(c) != 1 || c[0].Size != firstSize || c[0].Root != m.Root || c[0].Origin != w.ca.Origin {
		t.Errorf("%+v, %v", c, err)
	}
	s, err := proof.ParseKnown([]byte(m.StateLine()+m.StateLine()), "s")
	if err != nil || len(s) != 2 || s[1].Size != firstSize || s[1].Root != m.Root || s[1].Key != w.ca.LogKey || s[1].Time != m.Time {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"hello\n", "a 1\n", "a 1 x 0 k\n", "a\nb\nc\n\nd\n", strings.Replace(m.StateLine(), " ", "  ", 1), strings.Replace(string(w.first.Manifest), "created 1", "created 2", 1)} {
		if _, err := proof.ParseKnown([]byte(bad), "bad"); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	b := w.build(w.entries, prooftest.Options{Cosign: cosign(w.witness)})
	one, two := w.witness.Verifier().String(), w.other.Verifier().String()
	for text, want := range map[string]string{
		"witness a " + one + "\nwitness b " + two + "\ngroup g any a b\nquorum g\n":                            proof.Pass,
		"witness a " + one + "\nwitness b " + two + "\ngroup g all a b\nquorum g\n":                            proof.Fail,
		"log " + w.ca.LogKey + "\nwitness a " + one + "\nquorum a\n":                                           proof.Pass,
		"log " + newCA(t, otherCA).LogKey + "\nwitness a " + one + "\nquorum a\n":                              proof.Fail,
		"log " + w.ca.LogKey + "\nquorum none\n":                                                               proof.Unknown,
		"# nobody\nwitness a " + one + "\nwitness b " + two + "\ngroup g 1 a b\ngroup h 1 g\nquorum h # all\n": proof.Pass,
	} {
		p, err := proof.ParsePolicy([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c := config(w.ca, b)
		c.Policy = p
		if got := verify(t, c).Verdict(proof.Witnesses); got.Status != want {
			t.Errorf("%s\n%+v, want %s", text, got, want)
		}
	}
	// One witness under two names is one witness.
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range []string{"a.example", "b.example"} {
		s, err := torchwood.NewCosignatureSigner(name, key)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, s.Verifier().String())
	}
	twice := "witness a " + names[0] + "\nwitness b " + names[1] + "\ngroup g all a b\nquorum g\n"
	for _, bad := range []string{"", "quorum a\n", "witness a b\nquorum a\n", twice} {
		if _, err := proof.ParsePolicy([]byte(bad)); !errors.Is(err, proof.ErrPolicy) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []struct {
		keys []string
		k    int
	}{{nil, 1}, {[]string{one}, 0}, {[]string{one}, 2}, {[]string{one, one}, 1}, {names, 2}, {[]string{w.ca.LogKey}, 1}} {
		if _, err := proof.WitnessPolicy(bad.keys, bad.k); !errors.Is(err, proof.ErrPolicy) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestInclusion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path, entry, err := prooftest.Slice(w.entries).Inclusion(secondSize, 24)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := cosign(w.witness)(w.second.M.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	file := proof.FormatInclusion(24, entry, path, signed)
	in := proof.Inclusion{LogKey: w.ca.LogKey, Serial: w.entries[24].Serial, Policy: w.policy(1, w.witness)}
	e, size, err := proof.VerifyInclusion(file, in)
	if err != nil || size != secondSize || e.CertSHA256 != w.entries[24].CertSHA256 {
		t.Errorf("%+v, %d, %v", e, size, err)
	}
	withLog, err := proof.ParsePolicy([]byte("log " + w.ca.LogKey + "\nwitness a " + w.witness.Verifier().String() + "\nquorum a\n"))
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*proof.Inclusion, *[]byte){
		"another serial":  func(in *proof.Inclusion, _ *[]byte) { in.Serial = w.entries[25].Serial },
		"another log":     func(in *proof.Inclusion, _ *[]byte) { in.LogKey = newCA(t, otherCA).LogKey },
		"another witness": func(in *proof.Inclusion, _ *[]byte) { in.Policy = w.policy(1, w.other) },
		"another entry": func(_ *proof.Inclusion, f *[]byte) {
			e := w.entries[24]
			e.Subject = []byte("CN=x")
			raw, err := e.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			*f = proof.FormatInclusion(24, raw, path, signed)
		},
		"another place":     func(_ *proof.Inclusion, f *[]byte) { *f = proof.FormatInclusion(25, entry, path, signed) },
		"no extra data":     func(_ *proof.Inclusion, f *[]byte) { *f = []byte("c2sp.org/tlog-proof@v1\nindex 1\n\n") },
		"a certificate":     func(in *proof.Inclusion, _ *[]byte) { in.Certificate = w.ca.Certificate },
		"not a certificate": func(in *proof.Inclusion, _ *[]byte) { in.Certificate = []byte("x") },
	} {
		in, file := in, file
		change(&in, &file)
		if _, _, err := proof.VerifyInclusion(file, in); !errors.Is(err, proof.ErrInclusion) {
			t.Errorf("%s: %v", what, err)
		}
	}
	in.Policy = withLog
	if _, _, err := proof.VerifyInclusion(file, in); err != nil {
		t.Error(err)
	}
	in.Policy = nil
	if _, _, err := proof.VerifyInclusion(file, in); err != nil {
		t.Error(err)
	}
	// With the certificate itself.
	e = new(certlog.Entry)
	*e = w.entries[24]
	e.Serial, e.CertSHA256 = []byte{1}, sha256.Sum256(w.ca.Certificate)
	entries := w.copied()
	entries[24] = *e
	log := prooftest.Slice(entries)
	b := w.build(entries, prooftest.Options{})
	if path, entry, err = log.Inclusion(secondSize, 24); err != nil {
		t.Fatal(err)
	}
	if _, _, err := proof.VerifyInclusion(proof.FormatInclusion(24, entry, path, b.M.Checkpoint), proof.Inclusion{LogKey: w.ca.LogKey, Certificate: w.ca.Certificate}); err != nil {
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := proof.OpenManifest([]byte("x")); !errors.Is(err, proof.ErrManifest) {
		t.Error(err)
	}
	signer, _ := w.logKey("another/log")
	m := *w.second.M
	if signed, err := proof.SignManifest(&m, signer); err != nil {
		t.Error(err)
	} else if _, err := proof.OpenManifest(signed); !errors.Is(err, proof.ErrSignature) {
		t.Error(err)
	}
	text, err := note.Sign(&note.Note{Text: "pca.example.com\nx\ny\n"}, w.ca.LogSigner)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := proof.OpenCheckpoint(text, w.ca.LogKey); !errors.Is(err, proof.ErrCheckpoint) {
		t.Error(err)
	}
	if _, _, _, err := proof.OpenCheckpoint(text, "x"); !errors.Is(err, proof.ErrSignature) {
		t.Error(err)
	}
}

func FuzzPack(f *testing.F) {
	encoder, err := proof.NewEncoder()
	if err != nil {
		f.Fatal(err)
	}
	one := certlog.AppendBundled(nil, []byte("entry"))
	f.Add(encoder.AppendFrame(nil, one))
	f.Add(encoder.AppendFrame(nil, bytes.Repeat(one, 100)))
	f.Add([]byte{0x28, 0xb5, 0x2f, 0xfd, 0x20, 0x05, 0x2b, 0, 0, 'a'})
	f.Fuzz(func(t *testing.T, content []byte) {
		p, err := proof.OpenPacks(fstest.MapFS{proof.PackName(0, 1): {Data: content}})
		if err != nil {
			return
		}
		r, err := p.Reader()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := r.Block(nil, 0); err != nil && !errors.Is(err, proof.ErrPack) {
			t.Error(err)
		}
	})
}
