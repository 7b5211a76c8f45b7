// Package renderingtest has the worked examples of audit-report.md 14 and rows
// by the standard library's encoders, to compare the rendering with.
package renderingtest

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"chirograph.dev/internal/certlog/rendering"
)

var reasons = []string{
	"UNSPECIFIED", "KEY_COMPROMISE", "CERTIFICATE_AUTHORITY_COMPROMISE", "AFFILIATION_CHANGED", "SUPERSEDED", "CESSATION_OF_OPERATION",
	"", "", "", "PRIVILEGE_WITHDRAWN", "A_A_COMPROMISE",
}

// Vector is one worked example of audit-report.md 14.
type Vector struct {
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

// CA is the ARN of the CA in the vectors.
const CA = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/12345678-1234-1234-1234-123456789012"

//go:embed audit-vectors.json
var vectors []byte

// Vectors are the worked examples.
func Vectors(t testing.TB) []Vector {
	var vs []Vector
	if err := json.Unmarshal(vectors, &vs); err != nil {
		t.Fatal(err)
	}
	if len(vs) != 14 {
		t.Fatalf("%d vectors, want 14", len(vs))
	}
	return vs
}

// Row is the example as a row.
func (v *Vector) Row(t testing.TB) *rendering.Row {
	serial, err := hex.DecodeString(v.SerialHex)
	if err != nil {
		t.Fatal(err)
	}
	r := &rendering.Row{
		Account: []byte("123456789012"), Principal: []byte(v.Principal), CAARN: []byte(CA),
		Serial: bytes.TrimLeft(serial, "\x00"), Subject: []byte(v.WantSubject), Template: []byte(v.TemplateArn),
		NotBefore: v.NotBefore.Unix(), NotAfter: v.NotAfter.Unix(), IssuedAt: v.IssuedAt.Unix(),
	}
	if v.RevocationReason != "" {
		r.Revoked, r.RevokedAt = true, v.RevokedAt.Unix()
		r.Reason = uint8(slices.Index(reasons, v.RevocationReason))
	}
	return r
}

// Members is a row for encoding/json, the oracle.
type Members struct {
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

// Fields are what the members of a row hold.
func Fields(r *rendering.Row) Members {
	stamp := func(sec int64) string { return time.Unix(sec, 0).UTC().Format("2006-01-02T15:04:05-0700") }
	serial := append(make([]byte, max(0, 16-len(r.Serial))), r.Serial...)
	colons := make([]string, len(serial))
	for i, c := range serial {
		colons[i] = hex.EncodeToString([]byte{c})
	}
	// The standard encoders replace each bad byte, so that is done first.
	j := Members{
		Account: valid(r.Account), Principal: valid(r.Principal), ARN: valid(r.CAARN) + "/certificate/" + hex.EncodeToString(serial),
		Serial: strings.Join(colons, ":"), Subject: valid(r.Subject), Template: valid(r.Template),
		NotBefore: stamp(r.NotBefore), NotAfter: stamp(r.NotAfter), IssuedAt: stamp(r.IssuedAt),
	}
	if r.Revoked {
		j.RevokedAt, j.Reason = stamp(r.RevokedAt), name(r.Reason)
	}
	return j
}

func valid(b []byte) string { return string([]rune(string(b))) }

func name(reason uint8) string {
	if int(reason) >= len(reasons) || reasons[reason] == "" {
		return reasons[0]
	}
	return reasons[reason]
}

// JSON is the row by encoding/json without HTML escapes, with the two
// characters that it escapes for JavaScript put back: RFC 8259 does not ask
// for that.
func JSON(t testing.TB, r *rendering.Row) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(Fields(r)); err != nil {
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

// CSV is the row by encoding/csv, which does not quote for a space at
// the end and quotes the field \. for a PostgreSQL of old.
func CSV(t testing.TB, r *rendering.Row) string {
	f := Fields(r)
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

// Awkward are texts that are easy to encode wrongly.
var Awkward = []string{
	"", " ", "a", ",", `"`, "\\", `\.`, "\n", "\r", "\r\n", "\t", "\b\f\v\x00\x1f\x7f", "<>&'", "\u2028\u2029", "\u00a0x", "é", "日本", "😀",
	"\xff", "\xc3", "a\xe2\x80", "=1", "CN=a\\ ", `CN=a\,b`, "\ufffd", "\\u2028", "12345678", "1234567\"", "123456789,",
}
