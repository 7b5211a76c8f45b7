package issuance

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	casn1 "golang.org/x/crypto/cryptobyte/asn1"

	"chirograph.dev/internal/pca"
)

var update = flag.Bool("update", false, "rewrite the golden files in testdata (needs java and openssl)")

func subject(t testing.TB, raw []byte) string {
	t.Helper()
	text, err := AppendSubject([]byte("x"), raw)
	if err != nil || text[0] != 'x' {
		t.Fatalf("%x: %q, %v", raw, text, err)
	}
	return string(text[1:])
}

func TestSubjectVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("testdata/audit-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, SubjectDerHex, WantSubject string }
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) != 14 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		if got := subject(t, unhex(t, v.SubjectDerHex)); got != v.WantSubject {
			t.Errorf("%s:\n got %s\nwant %s", v.Name, got, v.WantSubject)
		}
	}
}

// testValue is an attribute value.
type testValue struct {
	tag   byte
	value []byte
}

// randomName makes a Name of any shape from OIDs with and without keywords.
func randomName(r *rand.Rand) []byte {
	oids := []string{
		oidCommonName, oidCountry, oidLocality, oidState, oidOrganization, oidOrganizationalUnit, oidStreet, oidDomainComponent, oidUserID,
		oidEmailAddress, oidSerialNumber, oidSurname, oidTitle, oidGivenName, oidDNQualifier, oidPseudonym, "\x55\x04\x61", "\x55\x04\x0f", "\x55\x04\x11",
		"\x2b\x06\x01\x04\x01\x82\xa2\x7c\x01\x05", "\x2a\x03\x04", "\x88\x37\x03", "\x2a\x8f\xff\xff\xff\xff\xff\xff\xff\x7f", "\x00", "\x27\x01",
	}
	return mustDER(func(b *cryptobyte.Builder) {
		b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for range r.IntN(6) {
				b.AddASN1(casn1.SET, func(b *cryptobyte.Builder) {
					for n := 0; n == 0 || n < 4 && r.IntN(4) == 0; n++ {
						b.AddASN1(casn1.SEQUENCE, func(b *cryptobyte.Builder) {
							id := oids[r.IntN(len(oids))]
							if r.IntN(2) == 0 {
								id = oids[r.IntN(9)]
							}
							addOID(b, id)
							v := randomValue(r)
							addString(b, casn1.Tag(v.tag), string(v.value))
						})
					}
				})
			}
		})
	})
}

func mustDER(build func(b *cryptobyte.Builder)) []byte {
	b, err := asDER(build)
	if err != nil {
		panic(err)
	}
	return b
}

func randomValue(r *rand.Rand) testValue {
	text := func() []byte {
		alphabet := []string{"a", "B", "7", " ", " ", ",", "=", "+", "<", ">", "#", ";", "\"", "\\", "\x00", "\r", "\n", "\t", "\x7f", "é", "ß", "日", "😀", "\u0301", "\u202e", "\u00a0", "'", "/", ".", "-", "%", "\ufeff"}
		var b []byte
		for range r.IntN(12) {
			b = append(b, alphabet[r.IntN(len(alphabet))]...)
		}
		return b
	}
	switch r.IntN(24) {
	case 0:
		return testValue{tag: 0x1e, value: []byte{0, 'M', 0, 0xfc}}
	case 1:
		return testValue{tag: 0x14, value: []byte("M\xfcller")}
	case 2:
		return testValue{tag: 0x0c, value: append(text(), 0xff, 0xc0)}
	case 3:
		return testValue{tag: 0x1c, value: []byte{0, 0, 0, 'a'}}
	case 4:
		return testValue{tag: 0x12, value: []byte("12345")}
	case 5:
		return testValue{tag: 0x03, value: []byte{0, 0xaa}}
	case 6:
		return testValue{tag: 0x02, value: []byte{byte(r.IntN(128))}}
	case 7:
		return testValue{tag: 0x1a, value: []byte("visible")}
	}
	tags := []byte{0x0c, 0x0c, 0x0c, 0x13, 0x16, 0x14, 0x1b}
	return testValue{tag: tags[r.IntN(len(tags))], value: text()}
}

// deviations gives, for each value that the product prints on purpose
// differently from Java, what it must print.
func deviations(t testing.TB, raw []byte) (want []string) {
	t.Helper()
	rdns, err := appendRDNs(nil, raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, rdn := range rdns {
		for s := cryptobyte.String(rdn); !s.Empty(); {
			a, err := readAttribute(&s)
			if err != nil {
				t.Fatal(err)
			}
			keyword := strings.Contains("\x55\x04\x03 \x55\x04\x06 \x55\x04\x07 \x55\x04\x08 \x55\x04\x0a \x55\x04\x0b \x55\x04\x09 "+oidDomainComponent+" "+oidUserID, string(a.oid)) && len(a.oid) > 2
			if keyword && (a.tag == 0x1e || bytes.IndexByte([]byte{0x0c, 0x13, 0x16, 0x14, 0x1b}, a.tag) >= 0 && !utf8.Valid(a.value)) {
				want = append(want, "=#"+hex.EncodeToString(a.raw))
			}
		}
	}
	return want
}

// compareWithJava checks one name against what Java says of it.
func compareWithJava(t testing.TB, raw []byte, java string) {
	t.Helper()
	got := subject(t, raw)
	want := deviations(t, raw)
	if len(want) == 0 && got != java {
		t.Errorf("%x:\n  got %q\n Java %q", raw, got, java)
	}
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%x: got %q, want %q in it", raw, got, w)
		}
	}
}

func askJava(t testing.TB, java string, names [][]byte) []string {
	t.Helper()
	var in bytes.Buffer
	for _, n := range names {
		fmt.Fprintf(&in, "%x\n", n)
	}
	cmd := exec.CommandContext(t.Context(), java, "-XX:TieredStopAtLevel=1", "testdata/X500Names.java")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("java: %v\n%s", err, out)
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(lines) != len(names) {
		t.Fatalf("java gave %d lines for %d names", len(lines), len(names))
	}
	for i, line := range lines {
		lines[i] = string(unhex(t, line))
	}
	return lines
}

const javaGolden = "testdata/x500principal.txt"

// TestSubjectAsJava holds AppendSubject against Java's X500Principal: always
// against the answers in the golden file; where there is a java, these are
// asked for again, and those for names that are new in every run.
func TestSubjectAsJava(t *testing.T) {
	t.Parallel()
	java, javaErr := exec.LookPath("java")
	if *update {
		if javaErr != nil {
			t.Fatal(javaErr)
		}
		var names [][]byte
		for r := rand.New(rand.NewPCG(1, 2)); len(names) < 400; {
			names = append(names, randomName(r))
		}
		var text bytes.Buffer
		for i, answer := range askJava(t, java, names) {
			fmt.Fprintf(&text, "%x %s\n", names[i], strconv.QuoteToASCII(answer))
		}
		if err := os.WriteFile(javaGolden, text.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(javaGolden)
	if err != nil {
		t.Fatal(err)
	}
	var names [][]byte
	var answers []string
	compared := 0
	for line := range strings.Lines(string(text)) {
		raw, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		answer, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		names, answers = append(names, unhex(t, raw)), append(answers, answer)
		compareWithJava(t, names[len(names)-1], answer)
		if len(deviations(t, names[len(names)-1])) == 0 {
			compared++
		}
	}
	if compared < 300 {
		t.Errorf("%d golden names are compared with Java, want 300 or more", compared)
	}
	if javaErr != nil {
		t.Logf("no java here: %d answers of the golden file were checked", len(answers))
		return
	}
	seed := rand.Uint64()
	t.Logf("seed of the new names: %d", seed)
	for r := rand.New(rand.NewPCG(seed, 0)); len(names) < len(answers)+2000; {
		names = append(names, randomName(r))
	}
	for i, answer := range askJava(t, java, names) {
		if i < len(answers) && answer != answers[i] {
			t.Errorf("%x: this java says %q, the golden file %q", names[i], answer, answers[i])
		}
		compareWithJava(t, names[i], answer)
	}
}

func TestSubjectRefusals(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "30", "3001", "300000", "3180", "310b", "30 02 3100", "30 04 3102 3000", "300b 3109 3007 0600 0c03616263", "300c 310a 3008 060155 81 0c016101",
		"300d310b300906035504030c02616200", "300b 3109 3007 0603550483 0c00", "300b 3109 3007 0603558003 0c00",
	} {
		if text, err := AppendSubject(nil, unhex(t, bad)); err == nil {
			t.Errorf("%s: %q", bad, text)
		}
	}
	if got := subject(t, emptyName); got != "" {
		t.Errorf("empty name: %q", got)
	}
}

// T-41: a subject from the API prints in reverse of its encoding.
func TestSubjectFromAPI(t *testing.T) {
	t.Parallel()
	raw := name(t, pca.ASN1Subject{CommonName: "www.example.com", State: "WA", Country: "US", Organization: "Example Corp", OrganizationalUnit: "Sales", Locality: "Seattle"})
	if got, want := subject(t, raw), "L=Seattle,CN=www.example.com,ST=WA,OU=Sales,O=Example Corp,C=US"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzAppendSubject(f *testing.F) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		f.Add(randomName(r))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		text, err := AppendSubject(nil, raw)
		if _, nameErr := checkName(raw); nameErr == nil && err != nil {
			t.Errorf("%x passes checkName and cannot be printed: %v", raw, err)
		}
		if err == nil && !utf8.Valid(text) {
			t.Errorf("%x prints as invalid UTF-8 %q", raw, text)
		}
	})
}

// FuzzEncodeSubject: any subject of the API either is refused with an
// InvalidArgsException or is a DER Name with one RDN for each value, in order,
// that holds the values as they were given.
func FuzzEncodeSubject(f *testing.F) {
	f.Add("DE", "Example", "x", "A-1", "2.5.4.11", "Sales", true)
	f.Add("", "", "", "", "1.2.840.113549.1.9.1", "a@example.com", false)
	f.Add("D1", "\xff", "\x00,+=", "é", "2.5.4.6", "deu", true)
	f.Add("", "", "", "", "2.999.18446744073709551616", "日本", false)
	f.Fuzz(func(t *testing.T, country, organization, commonName, serial, id, value string, mixed bool) {
		s := pca.ASN1Subject{Country: country, Organization: organization, CommonName: commonName, SerialNumber: serial}
		if id != "" || value != "" {
			s.CustomAttributes = []pca.CustomAttribute{{ObjectIdentifier: id, Value: value}, {ObjectIdentifier: id, Value: value}}
		}
		raw, err := EncodeSubject(&s, mixed)
		if err != nil {
			wantCode(t, err, pca.InvalidArgsException)
			return
		}
		if !wellFormed(raw) {
			t.Fatalf("%+v: %x is not DER", s, raw)
		}
		if _, err := checkName(raw); err != nil {
			t.Fatalf("%+v: %x: %v", s, raw, err)
		}
		rdns, err := appendRDNs(nil, raw)
		if err != nil {
			t.Fatal(err)
		}
		var want []typedValue
		for _, v := range []typedValue{{oidCountry, country}, {oidOrganization, organization}, {oidCommonName, commonName}, {oidSerialNumber, serial}} {
			if v.value != "" {
				want = append(want, v)
			}
		}
		if len(want) > 0 && s.CustomAttributes != nil && !mixed {
			t.Fatalf("%+v was encoded", s)
		}
		for range s.CustomAttributes {
			own, ok := parseOID(id)
			if !ok || oidText(own) != id {
				t.Fatalf("%q was taken as an OID and is %q", id, oidText(own))
			}
			want = append(want, typedValue{own, value})
		}
		if len(rdns) != len(want) {
			t.Fatalf("%+v: %d RDNs, want %d", s, len(rdns), len(want))
		}
		for i, w := range want {
			rdn := cryptobyte.String(rdns[i])
			a, err := readAttribute(&rdn)
			if err != nil || !rdn.Empty() || string(a.oid) != w.oid || string(a.value) != w.value || casn1.Tag(a.tag) != stringType(w.oid) {
				t.Errorf("%+v: RDN %d is %x, %v", s, i, rdns[i], err)
			}
		}
		text, err := AppendSubject(nil, raw)
		if err != nil || !utf8.Valid(text) {
			t.Errorf("%+v prints as %q, %v", s, text, err)
		}
	})
}

func BenchmarkAppendSubject(b *testing.B) {
	raw := name(b, pca.ASN1Subject{CommonName: "www.example.com", State: "WA", Country: "US", Organization: "Example Corp", OrganizationalUnit: "Sales", Locality: "Seattle"})
	buf := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if buf, err = AppendSubject(buf[:0], raw); err != nil {
			b.Fatal(err)
		}
	}
}
