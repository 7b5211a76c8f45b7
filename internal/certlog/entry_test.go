package certlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func digest(b byte) (d [32]byte) {
	for i := range d {
		d[i] = b
	}
	return d
}

// golden are entries of every type with their encodings, written down by
// hand. They never change; a new version of the format adds its own.
var golden = []struct {
	name  string
	entry Entry
	hex   string
}{
	{"genesis", Entry{Type: TypeGenesis, Time: 1790003000000, Digest: digest(0xab), Label: []byte("o/audit/c"), Extra: []byte("vkey")},
		"0100" + "000001a0c47e32c0" + strings.Repeat("ab", 32) + "09" + "6f2f61756469742f63" + "0004" + "766b6579"},
	{"issue", Entry{Type: TypeIssue, Time: 1, Serial: []byte{0x7f, 0, 1}, CertSHA256: digest(0x11), NotBefore: -1, NotAfter: 253402300799,
		Account: []byte("123456789012"), Principal: []byte("arn"), TemplateARN: []byte("t"), Subject: []byte("CN=a")},
		"0101" + "0000000000000001" + "03" + "7f0001" + strings.Repeat("11", 32) + "ffffffffffffffff" + "0000003afff4417f" +
			"0c" + "313233343536373839303132" + "03" + "61726e" + "01" + "74" + "0004" + "434e3d61"},
	{"revoke", Entry{Type: TypeRevoke, Time: 2, Serial: []byte{1}, IssueIndex: 0x0102030405060708, Reason: 9},
		"0102" + "0000000000000002" + "01" + "01" + "0102030405060708" + "09"},
	{"crl", Entry{Type: TypeCRL, Time: 3, Digest: digest(0xcd), NextUpdate: 4, Covered: 5, Number: []byte{0}},
		"0103" + "0000000000000003" + strings.Repeat("cd", 32) + "0000000000000004" + "0000000000000005" + "01" + "00"},
	{"sign", Entry{Type: TypeSign, Time: 4, Digest: digest(0xef), Label: []byte("csr")},
		"0104" + "0000000000000004" + strings.Repeat("ef", 32) + "03" + "637372" + "0000"},
	{"report", Entry{Type: TypeReport, Time: 5, Label: []byte("id"), Extra: []byte("JSON")},
		"0105" + "0000000000000005" + "02" + "6964" + "0004" + "4a534f4e"},
	{"key", Entry{Type: TypeKey, Time: 6, Label: []byte("k"), Extra: []byte("e")},
		"0106" + "0000000000000006" + "01" + "6b" + "0001" + "65"},
	{"recovery", Entry{Type: TypeRecovery, Time: 7},
		"0107" + "0000000000000007" + "00" + "0000"},
}

func TestEntryGolden(t *testing.T) {
	t.Parallel()
	for _, g := range golden {
		t.Run(g.name, func(t *testing.T) {
			got, err := g.entry.Append([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			if want := "before" + string(unhex(t, g.hex)); string(got) != want {
				t.Fatalf("encoded %x, want %s", got[6:], g.hex)
			}
			var e Entry
			if err := e.Decode(got[6:]); err != nil {
				t.Fatal(err)
			}
			if !sameEntry(&e, &g.entry) {
				t.Fatalf("decoded %+v, want %+v", e, g.entry)
			}
		})
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sameEntry compares without telling nil from empty.
func sameEntry(a, b *Entry) bool {
	x, y := *a, *b
	for _, e := range []*Entry{&x, &y} {
		for _, f := range []*[]byte{&e.Serial, &e.Account, &e.Principal, &e.TemplateARN, &e.Subject, &e.Number, &e.Label, &e.Extra} {
			if len(*f) == 0 {
				*f = nil
			}
		}
	}
	return reflect.DeepEqual(x, y)
}

func TestEntryRefusals(t *testing.T) {
	t.Parallel()
	issue := golden[1].entry
	for name, change := range map[string]func(*Entry){
		"no serial":           func(e *Entry) { e.Serial = nil },
		"leading zero":        func(e *Entry) { e.Serial = []byte{0, 1} },
		"serial of 21 bytes":  func(e *Entry) { e.Serial = bytes.Repeat([]byte{1}, 21) },
		"negative time":       func(e *Entry) { e.Time = -1 },
		"long account":        func(e *Entry) { e.Account = make([]byte, 256) },
		"long principal":      func(e *Entry) { e.Principal = make([]byte, 256) },
		"long template":       func(e *Entry) { e.TemplateARN = make([]byte, 256) },
		"subject over u16":    func(e *Entry) { e.Subject = make([]byte, 65536) },
		"entry over the size": func(e *Entry) { e.Subject = make([]byte, 65535) },
		"unknown type":        func(e *Entry) { e.Type = 8 },
		"empty CRL number":    func(e *Entry) { e.Type = TypeCRL },
		"long CRL number":     func(e *Entry) { e.Type, e.Number = TypeCRL, []byte{0, 0} },
		"long label":          func(e *Entry) { e.Type, e.Label = TypeSign, make([]byte, 256) },
		"long extra":          func(e *Entry) { e.Type, e.Extra = TypeReport, make([]byte, 65536) },
		"revoke, no serial":   func(e *Entry) { e.Type, e.Serial = TypeRevoke, nil },
	} {
		e := issue
		change(&e)
		got, err := e.Append([]byte("dst"))
		if !errors.Is(err, ErrMalformedEntry) || string(got) != "dst" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	// The largest possible one is accepted, by both sides.
	e := issue
	e.Subject = nil
	b, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	e.Subject = make([]byte, MaxEntrySize-len(b))
	if b, err = e.Append(nil); err != nil || len(b) != MaxEntrySize {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if err := new(Entry).Decode(b); err != nil {
		t.Fatal(err)
	}
}

func TestEntryDecodeRefusals(t *testing.T) {
	t.Parallel()
	for _, g := range golden {
		b := unhex(t, g.hex)
		for n := range b {
			if err := new(Entry).Decode(b[:n]); !errors.Is(err, ErrMalformedEntry) {
				t.Errorf("%s: first %d bytes: %v", g.name, n, err)
			}
		}
		for name, bad := range map[string][]byte{
			"longer":        append(bytes.Clone(b), 0),
			"version 2":     append([]byte{2}, b[1:]...),
			"type 8":        append([]byte{1, 8}, b[2:]...),
			"negative time": append([]byte{1, b[1], 0x80}, b[3:]...),
			"too long":      make([]byte, MaxEntrySize+1),
		} {
			if err := new(Entry).Decode(bad); !errors.Is(err, ErrMalformedEntry) {
				t.Errorf("%s, %s: %v", g.name, name, err)
			}
		}
	}
	for name, s := range map[string]string{
		"zero serial":      "0102" + "0000000000000002" + "01" + "00" + "0102030405060708" + "09",
		"long serial":      "0102" + "0000000000000002" + "02" + "0001" + "0102030405060708" + "09",
		"no serial":        "0102" + "0000000000000002" + "00" + "0102030405060708" + "09",
		"empty CRL number": "0103" + "0000000000000003" + strings.Repeat("cd", 32) + "0000000000000004" + "0000000000000005" + "00",
	} {
		if err := new(Entry).Decode(unhex(t, s)); !errors.Is(err, ErrMalformedEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEntryAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 512)
	for _, g := range golden {
		b, err := g.entry.Append(dst)
		if err != nil {
			t.Fatal(err)
		}
		var e Entry
		if n := testing.AllocsPerRun(100, func() {
			_, err1 := g.entry.Append(dst)
			err2 := e.Decode(b)
			if err1 != nil || err2 != nil {
				t.Error(err1, err2)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", g.name, n)
		}
		if len(e.Label) > 0 && &e.Label[0] == &g.entry.Label[0] {
			t.Errorf("%s: label is not part of the encoding", g.name)
		}
	}
}

// FuzzEntry checks that there is one encoding: what Decode accepts, Append
// writes again byte for byte.
func FuzzEntry(f *testing.F) {
	for _, g := range golden {
		b, err := g.entry.Append(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var e Entry
		if err := e.Decode(b); err != nil {
			if !errors.Is(err, ErrMalformedEntry) {
				t.Fatalf("error of another kind: %v", err)
			}
			return
		}
		again, err := e.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%x decodes to %+v, which encodes to %x (%v)", b, e, again, err)
		}
	})
}

func TestBundle(t *testing.T) {
	t.Parallel()
	var b []byte
	for _, s := range []string{"one", "", "three"} {
		b = AppendBundled(b, []byte(s))
	}
	if want := "\x00\x03one\x00\x00\x00\x05three"; string(b) != want {
		t.Fatalf("%q, want %q", b, want)
	}
	for _, s := range []string{"one", "", "three"} {
		entry, rest, ok := CutBundled(b)
		if !ok || string(entry) != s {
			t.Fatalf("%q, %v, want %q", entry, ok, s)
		}
		b = rest
	}
	for _, bad := range []string{"", "\x00", "\x00\x01"} {
		if _, _, ok := CutBundled([]byte(bad)); ok {
			t.Errorf("%q has an entry", bad)
		}
	}
}

func BenchmarkEntryAppend(b *testing.B) {
	e := golden[1].entry
	dst := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Append(dst); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEntryDecode(b *testing.B) {
	enc, err := golden[1].entry.Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	var e Entry
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Decode(enc); err != nil {
			b.Fatal(err)
		}
	}
}
