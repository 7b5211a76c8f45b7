package proof_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/csv"
	"fmt"
	mrand "math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/proof"
	"chirograph.dev/internal/proof/prooftest"
)

// world is a CA with a log of two reports, of the first 150 entries and of all
// 300, which other worlds are compared with.
type world struct {
	t              testing.TB
	ca             *prooftest.CA
	entries        []certlog.Entry
	first, second  *prooftest.Bundle
	witness, other *torchwood.CosignatureSigner
}

const (
	firstSize  = 150
	secondSize = 300
)

func newWitness(t testing.TB, name string) *torchwood.CosignatureSigner {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	w, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, ca: newCA(t, testCA), witness: newWitness(t, "witness.example"), other: newWitness(t, "other.example")}
	w.entries = w.ca.Typical(secondSize, reportID2, "JSON").Entries()
	w.entries[firstSize-1] = certlog.Entry{Type: certlog.TypeReport, Time: w.entries[firstSize-1].Time, Label: []byte(reportID), Extra: []byte("JSON")}
	w.first = w.build(w.entries[:firstSize], prooftest.Options{Report: reportID})
	w.second = w.build(w.entries, prooftest.Options{Previous: &proof.Previous{Report: reportID, Size: firstSize, Root: w.first.M.Root}})
	return w
}

// cosign has a witness sign a checkpoint.
func cosign(witness *torchwood.CosignatureSigner) func([]byte) ([]byte, error) {
	return func(checkpoint []byte) ([]byte, error) {
		n, err := note.Open(checkpoint, note.VerifierList())
		if u, ok := err.(*note.UnverifiedNoteError); ok {
			n = u.Note
		} else {
			return nil, err
		}
		return note.Sign(n, witness)
	}
}

// build makes a bundle; unless told otherwise of the second report as JSON.
func (w *world) build(entries []certlog.Entry, o prooftest.Options) *prooftest.Bundle {
	w.t.Helper()
	if o.Report == "" {
		o.Report = reportID2
	}
	if o.Format == "" {
		o.Format = "JSON"
	}
	b, err := w.ca.Bundle(prooftest.Slice(entries), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// copied gives the entries anew, to be changed.
func (w *world) copied() []certlog.Entry { return prooftest.Slice(w.entries).Entries() }

// resign has the audit key sign a changed manifest of the second report.
func (w *world) resign(change func(*proof.Manifest)) *prooftest.Bundle {
	w.t.Helper()
	b := *w.second
	m := *b.M
	change(&m)
	var err error
	if b.Manifest, err = proof.SignManifest(&m, w.ca.LogSigner); err != nil {
		w.t.Fatal(err)
	}
	b.M = &m
	return &b
}

// known is the head of a bundle's manifest.
func known(t testing.TB, b *prooftest.Bundle) []proof.KnownHead {
	t.Helper()
	k, err := proof.ParseKnown(b.Manifest, "the manifest kept")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (w *world) policy(k int, witnesses ...*torchwood.CosignatureSigner) *proof.Policy {
	w.t.Helper()
	var keys []string
	for _, s := range witnesses {
		keys = append(keys, s.Verifier().String())
	}
	p, err := proof.WitnessPolicy(keys, k)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

var csvColumns = []string{"awsAccountId", "requestedByServicePrincipal", "certificateArn", "serial", "subject", "notBefore", "notAfter", "issuedAt", "revokedAt", "revocationReason", "templateArn"}

// reportEdits are changes of a report, which is given as its rows.
func reportEdits(format string) map[string]func(rows []string) []string {
	edits := map[string]func([]string) []string{
		"row deleted":        func(r []string) []string { return slices.Delete(r, 7, 8) },
		"last row deleted":   func(r []string) []string { return r[:len(r)-1] },
		"row added":          func(r []string) []string { return slices.Insert(r, 7, strings.ReplaceAll(r[7], "host-", "hust-")) },
		"row doubled":        func(r []string) []string { return slices.Insert(r, 7, r[7]) },
		"rows reordered":     func(r []string) []string { r[7], r[8] = r[8], r[7]; return r },
		"all rows deleted":   func(r []string) []string { return nil },
		"truncated at a row": func(r []string) []string { return r[:20] },
		"extended":           func(r []string) []string { return append(r, r[0]) },
	}
	// Row 0 is of entry 2, which entry 19 revokes; row 1 is not revoked.
	change := func(row string, column int) string {
		if format == "JSON" {
			name := csvColumns[column]
			re := regexp.MustCompile(`"` + name + `":"([^"]*)"`)
			if !re.MatchString(row) { // the principal
				return strings.Replace(row, `"certificateArn"`, `"`+name+`":"acm.amazonaws.com","certificateArn"`, 1)
			}
			return re.ReplaceAllString(row, `"`+name+`":"${1}0"`)
		}
		return csvField(row, column, func(s string) string { return s + "0" })
	}
	for i, name := range csvColumns {
		edits[name+" changed"] = func(r []string) []string { r[0] = change(r[0], i); return r }
	}
	revoked := regexp.MustCompile(`,"revokedAt":"[^"]*","revocationReason":"[^"]*"`)
	edits["revocation removed"] = func(r []string) []string {
		if format == "JSON" {
			r[0] = revoked.ReplaceAllString(r[0], "")
		} else {
			r[0] = csvField(csvField(r[0], 8, func(string) string { return "" }), 9, func(string) string { return "" })
		}
		return r
	}
	edits["revocation moved"] = func(r []string) []string {
		if format == "JSON" {
			v := revoked.FindString(r[0])
			r[0] = revoked.ReplaceAllString(r[0], "")
			r[1] = strings.Replace(r[1], `,"templateArn"`, v+`,"templateArn"`, 1)
			return r
		}
		for _, column := range []int{8, 9} {
			var v string
			r[0] = csvField(r[0], column, func(s string) string { v = s; return "" })
			r[1] = csvField(r[1], column, func(string) string { return v })
		}
		return r
	}
	edits["another reason"] = func(r []string) []string { r[0] = strings.Replace(r[0], "UNSPECIFIED", "SUPERSEDED", 1); return r }
	return edits
}

func csvField(row string, column int, change func(string) string) string {
	record, err := csv.NewReader(strings.NewReader(row)).Read()
	if err != nil {
		panic(err)
	}
	record[column] = change(record[column])
	var b strings.Builder
	w := csv.NewWriter(&b)
	w.Write(record)
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// edit applies an edit of rows to a report.
func edit(t testing.TB, report []byte, format string, f func([]string) []string) []byte {
	t.Helper()
	text := string(report)
	header, separator, end := "[\n", ",\n", "\n]\n"
	if format == "CSV" {
		header, separator, end = text[:strings.IndexByte(text, '\n')+1], "\n", "\n"
	}
	rows := strings.Split(strings.TrimSuffix(strings.TrimPrefix(text, header), end), separator)
	rows = f(rows)
	if len(rows) == 0 && format == "CSV" {
		return []byte(header)
	}
	out := []byte(header + strings.Join(rows, separator) + end)
	if bytes.Equal(out, report) {
		t.Fatal("the edit changed nothing")
	}
	return out
}

// TestTamperedReport changes the file in every way: alone, which the manifest
// shows, and signed anew by the operator, which the log shows.
func TestTamperedReport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, format := range []string{"JSON", "CSV"} {
		entries := w.copied()
		entries[secondSize-1].Extra = []byte(format)
		good := w.build(entries, prooftest.Options{Format: format})
		edits := reportEdits(format)
		for name, f := range edits {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				bad := *good
				bad.Report = edit(t, good.Report, format, f)
				for _, quick := range []bool{false, true} {
					c := config(w.ca, &bad)
					c.Quick = quick
					r := verify(t, c)
					if got := class(r); got != proof.ClassReportBytes || r.Verdict(proof.Completeness).Status == proof.Pass {
						t.Errorf("quick=%v: %q: %+v", quick, got, r.Verdicts)
					}
				}
				// The operator signs what he wrote; counts as he likes.
				m := *good.M
				m.Bytes, m.Issued = int64(len(bad.Report)), uint64(max(0, bytes.Count(bad.Report, []byte("\n"))-1-map[string]int{"JSON": 1}[format]))
				if m.Issued > m.Size {
					t.Fatal(m.Issued)
				}
				m.Revoked = min(m.Revoked, m.Issued)
				m.Parts = []proof.Part{{Hi: m.Size, Length: m.Bytes, Rows: m.Issued, SHA256: sha256.Sum256(bad.Report)}}
				var err error
				if bad.Manifest, err = proof.SignManifest(&m, w.ca.LogSigner); err != nil {
					t.Fatal(err)
				}
				r := verify(t, config(w.ca, &bad))
				if got := class(r); got != proof.ClassReportDiffers || r.Verdict(proof.Integrity).Status != proof.Pass {
					t.Errorf("signed: %q: %+v", got, r.Verdicts)
				}
			})
		}
		for name, report := range map[string][]byte{
			"cut in a row": good.Report[:len(good.Report)/2], "empty": nil, "a byte more": append(bytes.Clone(good.Report), '\n'), "a byte less": good.Report[:len(good.Report)-1],
		} {
			t.Run(format+"/"+name, func(t *testing.T) {
				t.Parallel()
				bad := *good
				bad.Report = report
				for _, quick := range []bool{false, true} {
					c := config(w.ca, &bad)
					c.Quick = quick
					r := verify(t, c)
					if got := class(r); got != proof.ClassReportBytes || r.Verdict(proof.Completeness).Status == proof.Pass {
						t.Errorf("quick=%v: %q: %+v", quick, got, r.Verdicts)
					}
				}
			})
		}
	}
}

// tampering is one row of the matrix of proof.md 7. With the head of the first
// report known the class is want; with nothing known it is alone, where "-"
// says the same and "" that it is NOT caught.
type tampering struct {
	name        string
	change      func(w *world) *prooftest.Bundle
	want, alone string
	known       func(w *world) *prooftest.Bundle // nil: the first report's
	config      func(w *world, c *proof.VerifyConfig)
}

// entriesChanged makes everything anew from changed entries: the store and its
// tree were changed, and the server signs again.
func entriesChanged(f func(e []certlog.Entry) []certlog.Entry) func(*world) *prooftest.Bundle {
	return func(w *world) *prooftest.Bundle { return w.build(f(w.copied()), prooftest.Options{}) }
}

// rowsChanged has changed entries under the old tree: rows of the store were
// changed, and the server reports what it reads.
func rowsChanged(f func(e []certlog.Entry) []certlog.Entry) func(*world) *prooftest.Bundle {
	return func(w *world) *prooftest.Bundle {
		return w.build(f(w.copied()), prooftest.Options{Change: func(m *proof.Manifest) {
			m.Root, m.Checkpoint = w.second.M.Root, w.second.M.Checkpoint
		}})
	}
}

// without removes an entry; careful also mends all indexes that follow.
func without(e []certlog.Entry, index uint64, careful bool) []certlog.Entry {
	e = slices.Delete(e, int(index), int(index)+1)
	if careful {
		e = slices.DeleteFunc(e, func(e certlog.Entry) bool { return e.Type == certlog.TypeRevoke && e.IssueIndex == index })
		for i := range e {
			if e[i].Type == certlog.TypeRevoke && e[i].IssueIndex > index {
				e[i].IssueIndex--
			}
		}
	}
	// The report's time is that of its place.
	e[len(e)-1].Time = prooftest.Start + int64(len(e)-1)*prooftest.Step
	return e
}

const day = 24 * 3600 * 1000

// Entry 4 issued and is revoked by entry 39; 24 issued and is not revoked.
var entryChanges = map[string]func(e []certlog.Entry) []certlog.Entry{
	"subject":         func(e []certlog.Entry) []certlog.Entry { e[24].Subject = []byte("CN=x"); return e },
	"digest":          func(e []certlog.Entry) []certlog.Entry { e[24].CertSHA256[0] ^= 1; return e },
	"revocation time": func(e []certlog.Entry) []certlog.Entry { e[39].Time += 1000; return e },
	"reason":          func(e []certlog.Entry) []certlog.Entry { e[39].Reason = 4; return e },
	"swap":            func(e []certlog.Entry) []certlog.Entry { e[25], e[26] = e[26], e[25]; return e },
}

func matrix() []tampering {
	all := []tampering{
		{name: "nothing", change: func(w *world) *prooftest.Bundle { return w.second }},

		// Who can write the bucket.
		{name: "manifest missing", want: proof.ClassManifestMissing, alone: "-", change: func(w *world) *prooftest.Bundle { b := *w.second; b.Manifest = nil; return &b }},
		{name: "manifest edited", want: proof.ClassManifestSignature, alone: "-", change: func(w *world) *prooftest.Bundle {
			b := *w.second
			b.Manifest = bytes.Replace(b.Manifest, []byte("created 1"), []byte("created 2"), 1)
			return &b
		}},
		{name: "manifest not signed", want: proof.ClassManifestSignature, alone: "-", change: func(w *world) *prooftest.Bundle {
			b := *w.second
			b.Manifest = b.Manifest[:bytes.LastIndex(b.Manifest, []byte("\n\n"))+1]
			return &b
		}},
		{name: "manifest of another report", want: proof.ClassReportBytes, alone: "-", change: func(w *world) *prooftest.Bundle {
			b := *w.second
			b.Manifest = w.first.Manifest
			return &b
		}},
		{name: "older report under the new name", want: proof.ClassReportBytes, alone: "-", change: func(w *world) *prooftest.Bundle {
			b := *w.second
			b.Report = w.first.Report
			return &b
		}},
		{name: "older report with its manifest", want: proof.ClassRollback, alone: "",
			change: func(w *world) *prooftest.Bundle { return w.first }, known: func(w *world) *prooftest.Bundle { return w.second }},
		{name: "older report with its manifest, by name", want: proof.ClassManifest, alone: "-",
			change: func(w *world) *prooftest.Bundle { return w.first }, config: func(w *world, c *proof.VerifyConfig) { c.ReportID = reportID2 }},
		{name: "other CA's report", want: proof.ClassAuditKey, alone: "-", change: func(w *world) *prooftest.Bundle {
			other := newCA(w.t, otherCA)
			b, err := other.Bundle(other.Typical(40, reportID2, "JSON"), prooftest.Options{Report: reportID2, Format: "JSON"})
			if err != nil {
				w.t.Fatal(err)
			}
			return b
		}},
		{name: "pack missing", want: proof.ClassLogMissing, alone: "-", change: func(w *world) *prooftest.Bundle { b := *w.second; b.Packs = nil; return &b }},
		{name: "pack of the report before", want: proof.ClassLogMissing, alone: "-", change: func(w *world) *prooftest.Bundle {
			b := *w.second
			b.Packs = w.first.Packs
			return &b
		}},
		{name: "pack truncated", want: proof.ClassLogEntries, alone: "-", change: packChanged(func(pack []byte) []byte { return pack[:len(pack)-20] })},
		{name: "pack of something else", want: proof.ClassLogEntries, alone: "-", change: packChanged(func([]byte) []byte { return []byte("hello, world") })},
		{name: "pack swapped", want: proof.ClassLogDiffers, alone: "-", change: func(w *world) *prooftest.Bundle {
			b := *w.second
			b.Packs = entriesChanged(entryChanges["subject"])(w).Packs
			return &b
		}},
		{name: "entry dropped and another doubled", want: proof.ClassLogDiffers, alone: "-", change: func(w *world) *prooftest.Bundle {
			b := *w.second
			b.Packs = entriesChanged(func(e []certlog.Entry) []certlog.Entry { e[24] = e[25]; return e })(w).Packs
			return &b
		}},

		// Who can write the store with its tree: the server signs what it reads.
		{name: "delete issue, careless", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { return without(e, 24, false) })},
		{name: "delete revocation, careless", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { return without(e, 39, false) })},
		{name: "delete issue, careful", want: proof.ClassSplitView, alone: "",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { return without(e, 24, true) })},
		{name: "delete revocation, careful", want: proof.ClassSplitView, alone: "",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { return without(e, 39, true) })},
		{name: "back-date", want: proof.ClassBackDated, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { e[24].Time -= day; return e })},
		{name: "drop the newest", want: proof.ClassRollback, alone: "", known: func(w *world) *prooftest.Bundle { return w.second },
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry {
				return without(append(e[:201:201], e[secondSize-1]), 200, false)
			})},

		// Who has the log's key: what cannot be is shown by the log itself.
		{name: "hidden rows and wrong counts", want: proof.ClassManifest, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.resign(func(m *proof.Manifest) { m.Revoked++ })
		}},
		{name: "older prefix sold as new", want: proof.ClassLogRules, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.build(w.entries[:firstSize], prooftest.Options{})
		}},
		{name: "report of another format", want: proof.ClassLogRules, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.build(w.entries, prooftest.Options{Format: "CSV"})
		}},
		{name: "report of another time", want: proof.ClassLogRules, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.resign(func(m *proof.Manifest) { m.Created += 1000 })
		}},
		{name: "post-dated", want: proof.ClassBackDated, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { e[290].Time += day; return e })},
		{name: "back-dated revocation", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { e[39].Time = e[4].Time - 6*60*1000; return e })},
		{name: "back-dated in a quiet CA", want: proof.ClassBackDated, alone: "",
			change: func(w *world) *prooftest.Bundle { return w.second },
			config: func(w *world, c *proof.VerifyConfig) {
				for i := range c.Known {
					k := &c.Known[i]
					// The auditor saw the first 150 entries a day later.
					line := (&proof.KnownHead{Origin: k.Origin, Size: k.Size, Root: k.Root, Key: k.Key, Time: k.Time + day}).StateLine()
					state, err := proof.ParseKnown([]byte(line), "the state file")
					if err != nil {
						w.t.Fatal(err)
					}
					*k = state[0]
				}
			}},
		{name: "revoked twice", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { e[200] = e[39]; e[200].Time = e[201].Time; return e })},
		{name: "revoked what is no certificate", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { e[219].IssueIndex = 39; return e })},
		{name: "revoked what comes later", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry {
				e[219].IssueIndex, e[219].Serial = 222, e[222].Serial
				return e
			})},
		{name: "wrong serial", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { e[219].Serial = e[222].Serial; return e })},
		{name: "unknown reason", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { e[219].Reason = 7; return e })},
		{name: "serial twice", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { e[222].Serial = e[224].Serial; return e }),
			config: func(w *world, c *proof.VerifyConfig) { c.Serials = true }},
		{name: "second genesis", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry { at := e[222].Time; e[222] = e[0]; e[222].Time = at; return e })},
		{name: "unknown entry", want: proof.ClassLogEntries, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.build(w.entries, prooftest.Options{Raw: func(i uint64, raw []byte) []byte {
				if i == 224 {
					raw[1] = 99
				}
				return raw
			}})
		}},

		// Keys.
		{name: "another key signs", want: proof.ClassAuditKey, alone: "-", change: func(w *world) *prooftest.Bundle {
			signer, key := w.logKey(w.ca.Origin)
			return w.build(w.entries, prooftest.Options{Signer: signer, LogKey: key})
		}},
		{name: "another key, not endorsed", want: proof.ClassAuditKey, alone: "-", change: func(w *world) *prooftest.Bundle {
			signer, key := w.logKey(w.ca.Origin)
			return w.build(w.entries, prooftest.Options{Signer: signer, LogKey: key, Endorsement: &proof.Endorsement{}})
		}},
		{name: "another key, endorsed by another CA", want: proof.ClassAuditKey, alone: "-", change: func(w *world) *prooftest.Bundle {
			signer, key := w.logKey(w.ca.Origin)
			e, err := newCA(w.t, testCA).Endorse(w.ca.Origin, key)
			if err != nil {
				w.t.Fatal(err)
			}
			return w.build(w.entries, prooftest.Options{Signer: signer, LogKey: key, Endorsement: &e})
		}},
		{name: "endorsed for another log", want: proof.ClassAuditKey, alone: "-", change: func(w *world) *prooftest.Bundle {
			e, err := w.ca.Endorse("pca.example.com/audit/"+otherCA, w.ca.LogKey)
			if err != nil {
				w.t.Fatal(err)
			}
			return w.build(w.entries, prooftest.Options{Endorsement: &e})
		}},
		{name: "a second log under another name", want: proof.ClassSplitView, alone: "", change: func(w *world) *prooftest.Bundle {
			return w.secondLog("elsewhere.example.com", testCA)
		}},
		{name: "a second log under another id", want: proof.ClassSplitView, alone: "", change: func(w *world) *prooftest.Bundle {
			return w.secondLog("pca.example.com", otherCA)
		}},
		{name: "the CA under another ARN", want: proof.ClassSplitView, alone: "", change: func(w *world) *prooftest.Bundle {
			ca := *w.ca
			ca.ARN = strings.Replace(ca.ARN, "us-east-1", "eu-west-1", 1)
			b, err := ca.Bundle(prooftest.Slice(w.entries), prooftest.Options{Report: reportID2, Format: "JSON"})
			if err != nil {
				w.t.Fatal(err)
			}
			return b
		}},
		{name: "a certificate's signature as endorsement", want: proof.ClassAuditKey, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.build(w.entries, prooftest.Options{Endorsement: &proof.Endorsement{Algorithm: "SHA256WITHECDSA", Signature: w.ca.Certificate[len(w.ca.Certificate)-71:]}})
		}},
		{name: "a second endorsed key signs", want: proof.ClassAuditKey, alone: "-", change: func(w *world) *prooftest.Bundle {
			signer, key := w.logKey(w.ca.Origin)
			e, err := w.ca.Endorse(w.ca.Origin, key)
			if err != nil {
				w.t.Fatal(err)
			}
			return w.build(w.entries, prooftest.Options{Signer: signer, LogKey: key, Endorsement: &e})
		}},
		{name: "a second key is endorsed", want: proof.ClassLogRules, alone: "-",
			change: entriesChanged(func(e []certlog.Entry) []certlog.Entry {
				e[224] = certlog.Entry{Type: certlog.TypeSign, Time: e[224].Time, Digest: sha256.Sum256([]byte("another key")), Label: []byte(certlog.LabelEndorsement)}
				return e
			})},
		{name: "checkpoint signed by a foreign key", want: proof.ClassCheckpoint, alone: "-", change: func(w *world) *prooftest.Bundle {
			signer, _ := w.logKey(w.ca.Origin)
			return w.resign(func(m *proof.Manifest) {
				var err error
				if m.Checkpoint, err = proof.SignCheckpoint(signer, m.Size, m.Root); err != nil {
					w.t.Fatal(err)
				}
			})
		}},
		{name: "checkpoint of another tree", want: proof.ClassCheckpoint, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.resign(func(m *proof.Manifest) { m.Checkpoint = w.first.M.Checkpoint })
		}},
		{name: "log of another CA", want: proof.ClassManifest, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.resign(func(m *proof.Manifest) { m.CA = strings.Replace(m.CA, testCA, otherCA, 1) })
		}},
		{name: "consistency proof of something else", want: proof.ClassManifest, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.resign(func(m *proof.Manifest) { m.Consistency = slices.Clone(m.Consistency); m.Consistency[0][0] ^= 1 })
		}},
		{name: "report before rewritten", want: proof.ClassSplitView, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.resign(func(m *proof.Manifest) { p := *m.Previous; p.Root[0] ^= 1; m.Previous = &p })
		}},

		// Two histories.
		{name: "two histories", want: proof.ClassSplitView, alone: "", change: entriesChanged(entryChanges["subject"]),
			known: func(w *world) *prooftest.Bundle { return w.second }},
		{name: "two histories, a longer one known", want: proof.ClassRollback, alone: "", change: func(w *world) *prooftest.Bundle {
			return w.build(without(w.copied(), 280, true), prooftest.Options{})
		}, known: func(w *world) *prooftest.Bundle { return w.second }},

		// Witnesses.
		{name: "witness cosigned", change: func(w *world) *prooftest.Bundle {
			return w.build(w.entries, prooftest.Options{Cosign: cosign(w.witness)})
		}, config: func(w *world, c *proof.VerifyConfig) { c.Policy = w.policy(1, w.witness, w.other) }},
		{name: "witness dropped", want: proof.ClassWitnessQuorum, alone: "-", change: func(w *world) *prooftest.Bundle { return w.second },
			config: func(w *world, c *proof.VerifyConfig) { c.Policy = w.policy(1, w.witness) }},
		{name: "one of two witnesses", want: proof.ClassWitnessQuorum, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.build(w.entries, prooftest.Options{Cosign: cosign(w.witness)})
		}, config: func(w *world, c *proof.VerifyConfig) { c.Policy = w.policy(2, w.witness, w.other) }},
		{name: "witness forged", want: proof.ClassWitnessQuorum, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.build(w.entries, prooftest.Options{Cosign: func(checkpoint []byte) ([]byte, error) {
				return append(checkpoint, forged(w.witness)...), nil
			}})
		}, config: func(w *world, c *proof.VerifyConfig) { c.Policy = w.policy(1, w.witness) }},
		{name: "cosignature of another tree", want: proof.ClassWitnessQuorum, alone: "-", change: func(w *world) *prooftest.Bundle {
			return w.build(w.entries, prooftest.Options{Cosign: func(checkpoint []byte) ([]byte, error) {
				old, err := cosign(w.witness)(w.first.M.Checkpoint)
				lines := bytes.SplitAfter(bytes.TrimSuffix(old, []byte("\n")), []byte("\n"))
				return append(append(checkpoint, lines[len(lines)-1]...), '\n'), err
			}})
		}, config: func(w *world, c *proof.VerifyConfig) { c.Policy = w.policy(1, w.witness) }},

		{name: "too old", want: proof.ClassStale, alone: "-", change: func(w *world) *prooftest.Bundle { return w.second },
			config: func(w *world, c *proof.VerifyConfig) {
				c.MaxAge, c.Now = time.Hour, time.UnixMilli(w.second.M.Created+day)
			}},
		{name: "from the future", want: proof.ClassStale, alone: "-", change: func(w *world) *prooftest.Bundle { return w.second },
			config: func(w *world, c *proof.VerifyConfig) {
				c.MaxAge, c.Now = time.Hour, time.UnixMilli(w.second.M.Created-day)
			}},
	}
	for name, f := range entryChanges {
		all = append(all,
			tampering{name: "rows of the store: " + name, want: proof.ClassLogDiffers, alone: "-", change: rowsChanged(f)},
			tampering{name: "store and tree: " + name, want: proof.ClassSplitView, alone: "", change: entriesChanged(f)})
	}
	return append(all, tampering{name: "rows of the store: back-date", want: proof.ClassLogDiffers, alone: "-",
		change: rowsChanged(func(e []certlog.Entry) []certlog.Entry { e[24].Time -= day; return e })})
}

func packChanged(f func([]byte) []byte) func(*world) *prooftest.Bundle {
	return func(w *world) *prooftest.Bundle {
		b := *w.second
		b.Packs = map[string][]byte{}
		for name, content := range w.second.Packs {
			b.Packs[name] = f(content)
		}
		return &b
	}
}

// secondLog is a report of a second log that the CA's key endorsed.
func (w *world) secondLog(server, id string) *prooftest.Bundle {
	w.t.Helper()
	ca := *w.ca
	ca.ARN, ca.Origin = strings.ReplaceAll(ca.ARN, testCA, id), server+"/audit/"+id
	ca.LogSigner, ca.LogKey = w.logKey(ca.Origin)
	var err error
	if ca.Endorsement, err = ca.Endorse(ca.Origin, ca.LogKey); err != nil {
		w.t.Fatal(err)
	}
	b, err := ca.Bundle(ca.Typical(secondSize, reportID2, "JSON"), prooftest.Options{Report: reportID2, Format: "JSON"})
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) logKey(origin string) (note.Signer, string) {
	w.t.Helper()
	signer, key, err := prooftest.NewLogKey(origin)
	if err != nil {
		w.t.Fatal(err)
	}
	return signer, key
}

// forged is a line that looks like the witness's.
func forged(w *torchwood.CosignatureSigner) string {
	h := w.KeyHash()
	sig := append([]byte{byte(h >> 24), byte(h >> 16), byte(h >> 8), byte(h)}, make([]byte, 72)...)
	return fmt.Sprintf("— %s %s\n", w.Name(), base64.StdEncoding.EncodeToString(sig))
}

// TestTamper is the matrix of proof.md 7: what is caught, as what, and what is
// not caught as long as nothing is known from earlier.
func TestTamper(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tt := range matrix() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := tt.change(w)
			before := w.first
			if tt.known != nil {
				before = tt.known(w)
			}
			for _, k := range [][]proof.KnownHead{known(t, before), nil} {
				want := tt.want
				if k == nil && tt.alone != "-" {
					want = tt.alone
				}
				c := config(w.ca, b)
				c.Known = k
				if tt.config != nil {
					tt.config(w, &c)
				}
				r := verify(t, c)
				if got := class(r); got != want {
					t.Errorf("with %d heads known: %q, want %q: %+v", len(k), got, want, r.Verdicts)
				}
				if code := r.ExitCode(); (want != "") != (code == 1) || want == "" && len(k) > 0 && code != 0 {
					t.Errorf("with %d heads known: exit code %d", len(k), code)
				}
			}
		})
	}
}

// TestBitFlips flips single bits. In a pack some bits of the compression's
// headers carry no data: then the entries are the same, and so is the answer.
func TestBitFlips(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rnd := mrand.New(mrand.NewPCG(1, 2))
	var pack string
	for pack = range w.second.Packs {
	}
	missed := 0
	for i := range 120 {
		b := *w.second
		b.Packs = map[string][]byte{pack: bytes.Clone(b.Packs[pack])}
		b.Report, b.Manifest = bytes.Clone(b.Report), bytes.Clone(b.Manifest)
		target := [][]byte{b.Report, b.Manifest, b.Packs[pack]}[i%3]
		at := rnd.IntN(len(target))
		target[at] ^= 1 << rnd.IntN(8)
		c := config(w.ca, &b)
		if class(verify(t, c)) != "" {
			continue
		}
		if i%3 != 2 {
			t.Errorf("flip at byte %d of file %d was missed", at, i%3)
		}
		missed++
	}
	if missed > 1 {
		t.Errorf("%d flips were missed", missed)
	}
}
