package auditreport

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// vector is one worked example of audit-report.md 14.
type vector struct {
	Name             string
	SerialHex        string
	NotBefore        time.Time
	NotAfter         time.Time
	IssuedAt         time.Time
	RevokedAt        time.Time
	RevocationReason string
	Principal        string `json:"requestedByServicePrincipal"`
	TemplateArn      string
	WantSubject      string
	WantJSONRow      string `json:"wantJsonRow"`
	WantCSVRecord    string `json:"wantCsvRecord"`
}

const vectorCA = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/12345678-1234-1234-1234-123456789012"

func vectors(t testing.TB) []vector {
	text, err := os.ReadFile("testdata/audit-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	if err := json.Unmarshal(text, &vs); err != nil {
		t.Fatal(err)
	}
	if len(vs) != 14 {
		t.Fatalf("%d vectors, want 14", len(vs))
	}
	return vs
}

func (v *vector) row(t testing.TB) *Row {
	serial, err := hex.DecodeString(v.SerialHex)
	if err != nil {
		t.Fatal(err)
	}
	r := &Row{
		Account: []byte("123456789012"), Principal: []byte(v.Principal), CAARN: []byte(vectorCA),
		Serial: bytes.TrimLeft(serial, "\x00"), Subject: []byte(v.WantSubject), Template: []byte(v.TemplateArn),
		NotBefore: v.NotBefore.Unix(), NotAfter: v.NotAfter.Unix(), IssuedAt: v.IssuedAt.Unix(),
	}
	if v.RevocationReason != "" {
		r.Revoked, r.RevokedAt = true, v.RevokedAt.Unix()
		r.Reason = uint8(slices.Index(reasons[:], v.RevocationReason))
	}
	return r
}

func TestVectors(t *testing.T) {
	t.Parallel()
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			row := v.row(t)
			got := AppendJSONRow(nil, row)
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
			if want := v.WantCSVRecord + "\n"; string(AppendCSVRow(nil, row)) != want {
				t.Errorf("CSV\n got %q\nwant %q", AppendCSVRow(nil, row), want)
			}
		})
	}
}

// jsonRow is a row for encoding/json, the oracle.
type jsonRow struct {
	Account   string `json:"awsAccountId"`
	Principal string `json:"requestedByServicePrincipal,omitempty"`
	ARN       string `json:"certificateArn"`
	Serial    string `json:"serial"`
	Subject   string `json:"subject"`
	NotBefore string `json:"notBefore"`
	NotAfter  string `json:"notAfter"`
	IssuedAt  string `json:"issuedAt"`
	RevokedAt string `json:"revokedAt,omitempty"`
	Reason    string `json:"revocationReason,omitempty"`
	Template  string `json:"templateArn"`
}

func oracleFields(r *Row) jsonRow {
	stamp := func(sec int64) string { return time.Unix(sec, 0).UTC().Format(timeLayout) }
	serial := append(make([]byte, max(0, 16-len(r.Serial))), r.Serial...)
	colons := make([]string, len(serial))
	for i, c := range serial {
		colons[i] = hex.EncodeToString([]byte{c})
	}
	// The standard encoders replace each bad byte, so that is done first.
	j := jsonRow{
		Account: valid(r.Account), Principal: valid(r.Principal), ARN: valid(r.CAARN) + "/certificate/" + hex.EncodeToString(serial),
		Serial: strings.Join(colons, ":"), Subject: valid(r.Subject), Template: valid(r.Template),
		NotBefore: stamp(r.NotBefore), NotAfter: stamp(r.NotAfter), IssuedAt: stamp(r.IssuedAt),
	}
	if r.Revoked {
		j.RevokedAt, j.Reason = stamp(r.RevokedAt), reason(r.Reason)
	}
	return j
}

func valid(b []byte) string { return string([]rune(string(b))) }

// oracleJSON is the row by encoding/json without HTML escapes, with the two
// characters that it escapes for JavaScript put back: RFC 8259 does not ask
// for that.
func oracleJSON(t testing.TB, r *Row) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(oracleFields(r)); err != nil {
		t.Fatal(err)
	}
	in := strings.TrimSuffix(b.String(), "\n")
	var out strings.Builder
	for i := 0; i < len(in); i++ {
		switch {
		case strings.HasPrefix(in[i:], `\u2028`):
			out.WriteString("\u2028")
			i += 5
		case strings.HasPrefix(in[i:], `\u2029`):
			out.WriteString("\u2029")
			i += 5
		case in[i] == '\\':
			out.WriteString(in[i : i+2])
			i++
		default:
			out.WriteByte(in[i])
		}
	}
	return out.String()
}

// oracleCSV is the row by encoding/csv, which does not quote for a space at
// the end and quotes the field \. for a PostgreSQL of old.
func oracleCSV(t testing.TB, r *Row) string {
	f := oracleFields(r)
	fields := []string{f.Account, f.Principal, f.ARN, f.Serial, f.Subject, f.NotBefore, f.NotAfter, f.IssuedAt, f.RevokedAt, f.Reason, f.Template}
	odd := func(s string) bool {
		return strings.HasSuffix(s, " ") || s == `\.` || s != "" && (s[0] <= ' ' || s[0] >= utf8.RuneSelf)
	}
	if !slices.ContainsFunc(fields, odd) {
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		if err := w.Write(fields); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		return b.String()
	}
	var out []string
	for _, s := range fields {
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		if err := w.Write([]string{s, "x"}); err != nil {
			t.Fatal(err)
		}
		w.Flush()
		field := strings.TrimSuffix(b.String(), ",x\n")
		first, _ := utf8.DecodeRuneInString(s)
		switch {
		case s == `\.`, field[:min(1, len(field))] == `"` && first != ' ' && !strings.ContainsAny(s, ",\"\r\n") && !strings.HasSuffix(s, " "):
			field = s // quoted for a leading tab or wide space only
		case strings.HasSuffix(s, " ") && !strings.HasPrefix(field, `"`):
			field = `"` + field + `"`
		}
		out = append(out, field)
	}
	return strings.Join(out, ",") + "\n"
}

func checkRow(t *testing.T, r *Row) {
	t.Helper()
	if got, want := string(AppendJSONRow(nil, r)), oracleJSON(t, r); got != want {
		t.Fatalf("JSON\n got %q\nwant %q", got, want)
	}
	got, want := AppendCSVRow(nil, r), oracleCSV(t, r)
	if string(got) != want {
		t.Fatalf("CSV\n got %q\nwant %q", got, want)
	}
	back, err := csv.NewReader(bytes.NewReader(got)).Read()
	if err != nil || len(back) != 11 {
		t.Fatalf("CSV %q does not read back: %d fields, %v", got, len(back), err)
	}
	// A reader of RFC 4180 in Go takes CR LF inside quotes for LF.
	if f := oracleFields(r); back[4] != strings.ReplaceAll(f.Subject, "\r\n", "\n") {
		t.Fatalf("subject reads back as %q, want %q", back[4], f.Subject)
	}
}

var awkward = []string{
	"", " ", "a", ",", `"`, "\\", `\.`, "\n", "\r", "\r\n", "\t", "\b\f\v\x00\x1f\x7f", "<>&'", "\u2028\u2029", "\u00a0x", "é", "日本", "😀",
	"\xff", "\xc3", "a\xe2\x80", "=1", "CN=a\\ ", `CN=a\,b`, "\ufffd", "\\u2028", "12345678", "1234567\"", "123456789,",
}

func TestAgainstStandardLibrary(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(7, 7))
	text := func() []byte {
		var b []byte
		for range rnd.IntN(6) {
			b = append(b, awkward[rnd.IntN(len(awkward))]...)
		}
		return b
	}
	for _, s := range awkward {
		checkRow(t, &Row{Account: []byte("1"), CAARN: []byte(vectorCA), Serial: []byte{1}, Subject: []byte(s), Principal: []byte(s), Template: []byte(s)})
	}
	for range 3000 {
		serial := make([]byte, 1+rnd.IntN(20))
		for i := range serial {
			serial[i] = byte(rnd.Uint32())
		}
		checkRow(t, &Row{
			Account: []byte("123456789012"), CAARN: []byte(vectorCA), Serial: serial,
			Principal: text(), Subject: text(), Template: text(),
			NotBefore: rnd.Int64N(253402300800), NotAfter: rnd.Int64N(253402300800), IssuedAt: rnd.Int64N(253402300800),
			Revoked: rnd.IntN(2) == 0, RevokedAt: rnd.Int64N(253402300800), Reason: uint8(rnd.IntN(12)),
		})
	}
}

func FuzzRow(f *testing.F) {
	for _, s := range awkward {
		f.Add([]byte(s), []byte{1, 2}, int64(0))
	}
	f.Fuzz(func(t *testing.T, text, serial []byte, sec int64) {
		if len(serial) == 0 || sec < -62167219200 || sec > 253402300799 {
			return
		}
		checkRow(t, &Row{Account: []byte("123456789012"), CAARN: []byte(vectorCA), Serial: serial, Subject: text, Template: text, NotBefore: sec, NotAfter: sec, IssuedAt: sec})
	})
}

func TestAppendTime(t *testing.T) {
	t.Parallel()
	var d day
	check := func(sec int64) {
		t.Helper()
		if got, want := string(d.appendTime(nil, sec)), time.Unix(sec, 0).UTC().Format(timeLayout); got != want {
			t.Fatalf("%d: %s, want %s", sec, got, want)
		}
	}
	// Every day of 800 years and the ends of every year of the calendar.
	for day := time.Date(1600, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() < 2400; day = day.AddDate(0, 0, 1) {
		check(day.Unix() + 86399)
	}
	for year := range 10000 {
		for _, d := range []time.Time{
			time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 2, 28, 12, 34, 56, 0, time.UTC),
			time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC), time.Date(year, 12, 31, 23, 59, 59, 0, time.UTC),
		} {
			check(d.Unix())
			check(d.Unix() - 1)
		}
	}
	for _, sec := range []int64{-62167219201, 253402300800, 1 << 50, -1 << 50} {
		check(sec)
	}
}

func TestRowsAllocateNothing(t *testing.T) {
	row := vectors(t)[0].row(t)
	buf := make([]byte, 0, 4096)
	for name, encode := range map[string]func([]byte, *Row) []byte{"JSON": AppendJSONRow, "CSV": AppendCSVRow} {
		if n := testing.AllocsPerRun(100, func() { encode(buf, row) }); n != 0 {
			t.Errorf("%s: %v allocations a row", name, n)
		}
	}
}

func BenchmarkRow(b *testing.B) {
	var e encoder
	row := vectors(b)[1].row(b)
	buf := make([]byte, 0, 4096)
	for _, bb := range []struct {
		name   string
		encode func([]byte, *Row) []byte
	}{{"JSON", e.appendJSON}, {"CSV", e.appendCSV}} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.encode(nil, row))))
			for b.Loop() {
				buf = bb.encode(buf[:0], row)
			}
		})
	}
}
