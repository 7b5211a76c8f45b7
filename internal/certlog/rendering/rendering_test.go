package rendering_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/certlog/rendering"
	"chirograph.dev/internal/certlog/rendering/renderingtest"
)

func appendJSON(dst []byte, r *rendering.Row) []byte {
	var e rendering.Encoder
	return e.AppendJSON(dst, r)
}

func appendCSV(dst []byte, r *rendering.Row) []byte {
	var e rendering.Encoder
	return e.AppendCSV(dst, r)
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range renderingtest.Vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			row := v.Row(t)
			got := appendJSON(nil, row)
			var have, want map[string]string
			if err := json.Unmarshal(got, &have); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
			if err := json.Unmarshal([]byte(v.WantJSONRow), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(have, want) {
				t.Errorf("JSON\n got %s\nwant %s", got, v.WantJSONRow)
			}
			if want := v.WantCSVRecord + "\n"; string(appendCSV(nil, row)) != want {
				t.Errorf("CSV\n got %q\nwant %q", appendCSV(nil, row), want)
			}
		})
	}
}

func checkRow(t *testing.T, r *rendering.Row) {
	t.Helper()
	if got, want := string(appendJSON(nil, r)), renderingtest.JSON(t, r); got != want {
		t.Fatalf("JSON\n got %q\nwant %q", got, want)
	}
	got, want := appendCSV(nil, r), renderingtest.CSV(t, r)
	if string(got) != want {
		t.Fatalf("CSV\n got %q\nwant %q", got, want)
	}
	back, err := csv.NewReader(bytes.NewReader(got)).Read()
	if err != nil || len(back) != 11 {
		t.Fatalf("CSV %q does not read back: %d fields, %v", got, len(back), err)
	}
	// A reader of RFC 4180 in Go takes CR LF inside quotes for LF.
	if f := renderingtest.Fields(r); back[4] != strings.ReplaceAll(f.Subject, "\r\n", "\n") {
		t.Fatalf("subject reads back as %q, want %q", back[4], f.Subject)
	}
}

func TestAgainstStandardLibrary(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 7))
	text := func() []byte {
		var b []byte
		for range rnd.IntN(6) {
			b = append(b, renderingtest.Awkward[rnd.IntN(len(renderingtest.Awkward))]...)
		}
		return b
	}
	for _, s := range renderingtest.Awkward {
		checkRow(t, &rendering.Row{Account: []byte("1"), CAARN: []byte(renderingtest.CA), Serial: []byte{1}, Subject: []byte(s), Principal: []byte(s), Template: []byte(s)})
	}
	for range 3000 {
		serial := make([]byte, 1+rnd.IntN(20))
		for i := range serial {
			serial[i] = byte(rnd.Uint32())
		}
		checkRow(t, &rendering.Row{
			Account: []byte("123456789012"), CAARN: []byte(renderingtest.CA), Serial: serial,
			Principal: text(), Subject: text(), Template: text(),
			NotBefore: rnd.Int64N(253402300800), NotAfter: rnd.Int64N(253402300800), IssuedAt: rnd.Int64N(253402300800),
			Revoked: rnd.IntN(2) == 0, RevokedAt: rnd.Int64N(253402300800), Reason: uint8(rnd.IntN(12)),
		})
	}
}

func FuzzRow(f *testing.F) {
	for _, s := range renderingtest.Awkward {
		f.Add([]byte(s), []byte{1, 2}, int64(0))
	}
	f.Fuzz(func(t *testing.T, text, serial []byte, sec int64) {
		if len(serial) == 0 || sec < -62167219200 || sec > 253402300799 {
			return
		}
		checkRow(t, &rendering.Row{Account: []byte("123456789012"), CAARN: []byte(renderingtest.CA), Serial: serial, Subject: text, Template: text, NotBefore: sec, NotAfter: sec, IssuedAt: sec})
	})
}

func TestRowsAllocateNothing(t *testing.T) {
	row := renderingtest.Vectors(t)[0].Row(t)
	buf := make([]byte, 0, 4096)
	for name, encode := range map[string]func([]byte, *rendering.Row) []byte{"JSON": appendJSON, "CSV": appendCSV} {
		if n := testing.AllocsPerRun(100, func() { encode(buf, row) }); n != 0 {
			t.Errorf("%s: %v allocations a row", name, n)
		}
	}
}

func BenchmarkRow(b *testing.B) {
	var e rendering.Encoder
	row := renderingtest.Vectors(b)[1].Row(b)
	buf := make([]byte, 0, 4096)
	for _, bb := range []struct {
		name   string
		encode func([]byte, *rendering.Row) []byte
	}{{"JSON", e.AppendJSON}, {"CSV", e.AppendCSV}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.encode(nil, row))))
			for b.Loop() {
				buf = bb.encode(buf[:0], row)
			}
		})
	}
}

// TestIssued: only a service stands in requestedByServicePrincipal, and times
// are whole seconds.
func TestIssued(t *testing.T) {
	t.Parallel()
	for caller, want := range map[string]string{
		"": "", "acm.amazonaws.com": "acm.amazonaws.com", "arn:aws:iam::123456789012:user/admin": "", "arn:aws-cn:sts::1:assumed-role/x": "",
	} {
		if got := string(rendering.ServicePrincipal([]byte(caller))); got != want {
			t.Errorf("%q: %q, want %q", caller, got, want)
		}
	}
	var r rendering.Row
	r.Issued(&certlog.Entry{Time: 1999}, []byte("arn"))
	r.Revoke(2999, 1)
	if r.IssuedAt != 1 || !r.Revoked || r.RevokedAt != 2 || r.Reason != 1 {
		t.Errorf("%+v", r)
	}
}
