package verify

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/proof/prooftest"
)

const (
	caID      = "11111111-2222-3333-4444-555555555555"
	reportID  = "aaaaaaaa-0000-4000-8000-000000000001"
	reportID2 = "aaaaaaaa-0000-4000-8000-000000000002"
)

// run is the program with a command line.
func run(t *testing.T, args ...string) (code int, output string) {
	t.Helper()
	var out bytes.Buffer
	code = Main(t.Context(), args, "version", &out, &out)
	return code, out.String()
}

// files is a CA with a report in a folder, beside the CA's certificate.
func files(t *testing.T, change func([]certlog.Entry)) (ca *prooftest.CA, report, caFile string) {
	t.Helper()
	dir := t.TempDir()
	ca, err := prooftest.NewCA(caID)
	if err != nil {
		t.Fatal(err)
	}
	entries := ca.Typical(60, reportID, "CSV").Entries()
	change(entries)
	if report, err = ca.WriteFiles(dir, prooftest.Slice(entries), prooftest.Options{Report: reportID, Format: "CSV"}); err != nil {
		t.Fatal(err)
	}
	caFile = filepath.Join(dir, "ca.der")
	if err := os.WriteFile(caFile, ca.Certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	return ca, report, caFile
}

// TestReportUnderAnotherID: who can write the bucket puts an older report, with
// its manifest, where the newest is.
func TestReportUnderAnotherID(t *testing.T) {
	t.Parallel()
	_, report, caFile := files(t, func([]certlog.Entry) {})
	for _, suffix := range []string{"", proof.ManifestSuffix} {
		for _, name := range []string{reportID2 + ".csv", "mine.csv"} {
			if err := os.Link(report+suffix, filepath.Join(filepath.Dir(report), name+suffix)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, want := range map[string]int{reportID + ".csv": 3, reportID2 + ".csv": 1, "mine.csv": 3} {
		if code, out := run(t, filepath.Join(filepath.Dir(report), name), "--ca-certificate", caFile, "--state", "off"); code != want {
			t.Errorf("%s: exit code %d, want %d:\n%s", name, code, want, out)
		}
	}
}

// TestTerminal: what a requester writes into a subject does not reach the
// terminal as a command.
func TestTerminal(t *testing.T) {
	t.Parallel()
	_, report, caFile := files(t, func(e []certlog.Entry) { e[5].Subject = []byte("CN=\x1b[2K\u009b2K\u202ex\x7f") })
	code, out := run(t, report, "--ca-certificate", caFile, "--state", "off", "--sample", "100%", "--nonce", "n")
	if code != 3 || strings.ContainsAny(out, "\x1b\u009b\u202e\x7f") || !strings.Contains(out, `CN=\x1b[2K\u009b2K\u202ex\x7f`) {
		t.Errorf("exit code %d:\n%q", code, out)
	}
}

// TestSecondLog: a CA's key has another log than the one that was remembered,
// under another name or another id.
func TestSecondLog(t *testing.T) {
	t.Parallel()
	ca, report, caFile := files(t, func([]certlog.Entry) {})
	state := filepath.Join(filepath.Dir(report), "state")
	for _, origin := range []string{"elsewhere.example.com/audit/" + caID, ca.Origin + "/audit/" + caID, "pca.example.com/audit/another"} {
		head := proof.KnownHead{Origin: origin, Size: 10, Root: tlog.Hash{1}, Key: "k", SPKI: sha256.Sum256(ca.SPKI), Time: 1}
		if err := os.WriteFile(state, []byte(head.StateLine()), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := run(t, report, "--ca-certificate", caFile, "--state", state); code != 1 || !strings.Contains(out, "[split-view]") {
			t.Errorf("%s: exit code %d:\n%s", origin, code, out)
		}
	}
}

func TestQuickIsNotComplete(t *testing.T) {
	t.Parallel()
	_, report, caFile := files(t, func([]certlog.Entry) {})
	args := []string{report, "--ca-certificate", caFile, "--state", "off", "--known", report + proof.ManifestSuffix, "--quick"}
	if code, out := run(t, args...); code != 0 || strings.Contains(out, "Verified") || !strings.Contains(out, "Whether it is complete was not asked") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if code, out := run(t, append(args, "--serials")...); code != 2 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

// TestInclusionOfAnother: a log that is trusted holds a certificate that its CA
// did not issue.
func TestInclusionOfAnother(t *testing.T) {
	t.Parallel()
	other, err := prooftest.NewCA(caID)
	if err != nil {
		t.Fatal(err)
	}
	ca, report, caFile := files(t, func([]certlog.Entry) {})
	entries := ca.Typical(60, reportID, "CSV").Entries()
	entries[5].Serial, entries[5].CertSHA256 = []byte{1}, sha256.Sum256(other.Certificate)
	log := prooftest.Slice(entries)
	root, err := log.Root(60)
	if err != nil {
		t.Fatal(err)
	}
	checkpoint, err := proof.SignCheckpoint(ca.LogSigner, 60, root)
	if err != nil {
		t.Fatal(err)
	}
	path, entry, err := log.Inclusion(60, 5)
	if err != nil {
		t.Fatal(err)
	}
	head := proof.KnownHead{Origin: ca.Origin, Size: 60, Root: root, Key: ca.LogKey, SPKI: sha256.Sum256(ca.SPKI), Time: 1}
	dir := filepath.Dir(report)
	file := func(name string, content []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	cert, state := file("other.der", other.Certificate), file("state", []byte(head.StateLine()))
	inclusion := file("proof", proof.FormatInclusion(5, entry, path, checkpoint))
	for _, tt := range []struct {
		ca   string
		want int
	}{{caFile, 1}, {cert, 2}} {
		if code, out := run(t, "--inclusion", inclusion, "--cert", cert, "--ca-certificate", tt.ca, "--state", state); code != tt.want {
			t.Errorf("exit code %d, want %d:\n%s", code, tt.want, out)
		}
	}
}

// TestRemember: several verifications at a time lose nothing, and the smallest
// and the largest head of a log stay.
func TestRemember(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state", "known-logs")
	head := func(ca int, size uint64) *proof.KnownHead {
		return &proof.KnownHead{Origin: fmt.Sprintf("pca.example.com/audit/%d", ca), Size: size, Root: tlog.Hash{byte(ca)}, Key: "k", Time: 1}
	}
	var all sync.WaitGroup
	for ca := range 8 {
		all.Go(func() {
			for size := range uint64(4) {
				if added, err := remember(file, head(ca, 10-size)); !added || err != nil {
					t.Error(added, err)
				}
			}
		})
	}
	all.Wait()
	for size := range uint64(headsKept) {
		if _, err := remember(file, head(0, 9+size)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := remember(file, head(0, 8)); err != nil { // an older report
		t.Fatal(err)
	}
	s, err := readState(file)
	if err != nil {
		t.Fatal(err)
	}
	var of []uint64
	for _, k := range s {
		if k.Origin == head(0, 0).Origin {
			of = append(of, k.Size)
		}
	}
	if len(s) != headsKept+7*4 || len(of) != headsKept || slices.Min(of) != 7 || slices.Max(of) != 9+headsKept-1 {
		t.Errorf("%d heads, of one log %d", len(s), of)
	}
	// Another tree of the same size is not the same.
	fork := head(1, 10)
	fork.Root[1] = 1
	if added, err := remember(file, fork); !added || err != nil {
		t.Error(added, err)
	}
}
