package proof_test

import (
	"bytes"
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/proof/prooftest"
)

const (
	testCA    = "11111111-2222-3333-4444-555555555555"
	otherCA   = "22222222-2222-3333-4444-555555555555"
	reportID  = "aaaaaaaa-0000-4000-8000-000000000001"
	reportID2 = "aaaaaaaa-0000-4000-8000-000000000002"
)

func newCA(t testing.TB, id string) *prooftest.CA {
	t.Helper()
	ca, err := prooftest.NewCA(id)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func folder(packs map[string][]byte) fs.FS {
	m := fstest.MapFS{}
	for name, content := range packs {
		m[name] = &fstest.MapFile{Data: content}
	}
	return m
}

// config verifies a bundle with the CA's certificate.
func config(ca *prooftest.CA, b *prooftest.Bundle) proof.VerifyConfig {
	return proof.VerifyConfig{
		Report: bytes.NewReader(b.Report), ReportSize: int64(len(b.Report)), Manifest: b.Manifest, Log: folder(b.Packs),
		CACertificates: [][]byte{ca.Certificate}, Workers: 2,
	}
}

func verify(t testing.TB, c proof.VerifyConfig) *proof.Result {
	t.Helper()
	r, err := proof.Verify(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// class is the class of the first verdict that failed; empty for none.
func class(r *proof.Result) string {
	for _, v := range r.Verdicts {
		if v.Status == proof.Fail {
			return v.Class
		}
	}
	return ""
}

// TestVerifyBlocks: parts of one block, of several, the file as one part, and
// parts that end inside of blocks.
func TestVerifyBlocks(t *testing.T) {
	t.Parallel()
	ca := newCA(t, testCA)
	const size = 2*certlog.BlockSize + 1234
	for _, tt := range []struct {
		format string
		part   int
		every  uint64
	}{{"JSON", 1, 0}, {"JSON", 10 << 20, 0}, {"CSV", 1 << 30, 0}, {"CSV", 0, 5000}} {
		b, err := ca.Bundle(ca.Typical(size, reportID, tt.format), prooftest.Options{Report: reportID, Format: tt.format, PartBytes: tt.part, PartEntries: tt.every})
		if err != nil {
			t.Fatal(err)
		}
		for _, quick := range []bool{false, true} {
			c := config(ca, b)
			c.Quick, c.Serials = quick, !quick
			r := verify(t, c)
			if r.ExitCode() != 3 || class(r) != "" || !quick && r.Verdict(proof.Completeness).Status != proof.Pass {
				t.Errorf("%+v, quick=%v: %+v", tt, quick, r.Verdicts)
			}
		}
	}
}

// TestVerifyMaxBlock: what this process does not want to hold is no failure of
// the report, whether the pack says how much it is or not.
func TestVerifyMaxBlock(t *testing.T) {
	t.Parallel()
	ca := newCA(t, testCA)
	b, err := ca.Bundle(ca.Typical(5000, reportID, "CSV"), prooftest.Options{Report: reportID, Format: "CSV"})
	if err != nil {
		t.Fatal(err)
	}
	c := config(ca, b)
	// 128 KiB of zeros in each of 16 blocks of one repeated byte.
	silent := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, 0x50}
	for i := range 16 {
		silent = append(silent, byte(2|i/15), 0, 16, 0)
	}
	for _, log := range []fs.FS{c.Log, fstest.MapFS{proof.PackName(0, 5000): {Data: silent}}} {
		c.Log, c.MaxBlock = log, 1<<16
		if _, err := proof.Verify(t.Context(), c); !errors.Is(err, proof.ErrMaxBlock) || !errors.Is(err, proof.ErrCannotCheck) {
			t.Error(err)
		}
	}
}
