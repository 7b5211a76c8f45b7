package issuance

import (
	"bufio"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"

	"chirograph.dev/internal/pca"
)

// templateRow is a row of testdata/templates.tsv: the documented table, from
// which the expectations are made independently of templates.json.
type templateRow struct {
	name             string
	ca, selfSigned   bool
	bc, ku, eku      *Extension // nil: not defined by the template
	api, csr         bool
	configuredCDP, x bool
}

func templateRows(t testing.TB) (rows []templateRow) {
	t.Helper()
	f, err := os.Open("testdata/templates.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		c := strings.Split(lines.Text(), "\t")
		r := templateRow{
			name: c[0], ca: strings.HasPrefix(c[1], "ca"), selfSigned: strings.HasSuffix(c[1], "self-signed"),
			api: strings.Contains(c[5], "API"), csr: strings.Contains(c[5], "CSR"), configuredCDP: strings.HasPrefix(c[6], "cfg"), x: c[7] == "X",
		}
		fixed := func(id, text string, values map[string]string) *Extension {
			text, critical := strings.CutPrefix(text, "!")
			if text == "–" {
				return nil
			}
			value, err := hex.DecodeString(values[text])
			if err != nil || len(value) == 0 {
				t.Fatalf("%s: no value for %q", r.name, text)
			}
			return &Extension{OID: oid(t, id), Critical: critical || id == "2.5.29.15", Value: value}
		}
		// T-24 and T-25 give these bytes.
		r.bc = fixed("2.5.29.19", c[2], map[string]string{"F": "3000", "T": "30030101ff", "T0": "30060101ff020100", "T1": "30060101ff020101", "T2": "30060101ff020102", "T3": "30060101ff020103"})
		r.ku = fixed("2.5.29.15", c[3], map[string]string{"D": "03020780", "A": "030205a0", "S": "03020186"})
		const purpose = "06082b060105050703"
		r.eku = fixed("2.5.29.37", c[4], map[string]string{
			"s c": "3014" + purpose + "01" + purpose + "02", "s": "300a" + purpose + "01", "c": "300a" + purpose + "02",
			"code": "300a" + purpose + "03", "ocsp": "300a" + purpose + "09",
		})
		rows = append(rows, r)
	}
	if len(rows) != 61 {
		t.Fatalf("%d rows in testdata/templates.tsv, want 61", len(rows))
	}
	return rows
}

func TestTemplateTable(t *testing.T) {
	t.Parallel()
	rows := templateRows(t)
	if got := len(templateTable()); got != 61 {
		t.Errorf("%d templates, want 61", got)
	}
	for _, r := range rows {
		tmpl := template(t, r.name)
		if tmpl.Name != r.name || tmpl.CA != r.ca || tmpl.SelfSigned != r.selfSigned || tmpl.APIPassthrough != r.api ||
			tmpl.CSRPassthrough != r.csr || tmpl.CrossAccount != r.x || r.configuredCDP == r.selfSigned {
			t.Errorf("%s: %+v does not match %+v", r.name, tmpl, r)
		}
		want := -1
		if n := len(r.name); r.ca && r.bc.Value[1] == 6 {
			want = int(r.bc.Value[7])
			if !strings.Contains(r.name, "PathLen"+string('0'+r.bc.Value[7])) {
				t.Errorf("%s (%d): path length %d", r.name, n, want)
			}
		}
		if tmpl.PathLen != want {
			t.Errorf("%s: path length %d, want %d", r.name, tmpl.PathLen, want)
		}
		fixed := 0
		for _, e := range []*Extension{r.bc, r.ku, r.eku} {
			if e == nil {
				continue
			}
			fixed++
			if got := tmpl.fixed[e.OID]; string(got) != string(der(t, func(b *cryptobyte.Builder) { e.add(b) })) {
				t.Errorf("%s: extension %s is %x", r.name, oidText(e.OID), got)
			}
		}
		if len(tmpl.fixed) != fixed {
			t.Errorf("%s fixes %d extensions, want %d", r.name, len(tmpl.fixed), fixed)
		}
	}
}

func TestLookupTemplate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ arn, partition, name, want string }{
		{"", "aws", "EndEntityCertificate", "arn:aws:acm-pca:::template/EndEntityCertificate/V1"},
		{"", "aws-cn", "EndEntityCertificate", "arn:aws-cn:acm-pca:::template/EndEntityCertificate/V1"},
		{"", "here", "EndEntityCertificate", "arn:here:acm-pca:::template/EndEntityCertificate/V1"},
		{"arn:here:acm-pca:::template/RootCACertificate/V1", "here", "RootCACertificate", ""},
		{"arn:aws:acm-pca:::template/RootCACertificate/V1", "aws-cn", "RootCACertificate", ""},
		{"arn:aws-cn:acm-pca:::template/RootCACertificate/V1", "aws", "RootCACertificate", ""},
		{"arn:aws-us-gov:acm-pca:::template/SubordinateCACertificate_PathLen3/V1", "aws", "SubordinateCACertificate_PathLen3", ""},
	} {
		got, err := LookupTemplate(c.arn, c.partition)
		if err != nil {
			t.Errorf("%q: %v", c.arn, err)
			continue
		}
		want := c.arn
		if want == "" {
			want = c.want
		}
		if got.Name != c.name || got.ARN != want {
			t.Errorf("%q in %s: %s, %s", c.arn, c.partition, got.Name, got.ARN)
		}
	}
	for _, arn := range []string{
		"arn:aws:acm-pca:::template/RootCACertificate/V2", "arn:aws:acm-pca:::template/RootCACertificate", "arn:aws:acm-pca:::template/rootcacertificate/V1",
		"arn:aws:acm-pca:us-east-1::template/RootCACertificate/V1", "arn:aws:acm-pca::123456789012:template/RootCACertificate/V1",
		"arn:mine:acm-pca:::template/RootCACertificate/V1", "arn:aws:acm-pca:::template/Nothing/V1", "arn:aws:acm-pca:::template//V1",
		"arn:aws:acm-pca:::template/V1", "arn:aws:iam:::template/RootCACertificate/V1", "RootCACertificate/V1", "arn:aws:acm-pca:::template/RootCACertificate/V1/V1",
		"arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11111111-1111-1111-1111-111111111111",
	} {
		_, err := LookupTemplate(arn, "aws")
		if got, want := wantCode(t, err, pca.InvalidArgsException), "The template ARN "+arn+" is not valid."; got != want {
			t.Errorf("message %q, want %q", got, want)
		}
	}
}
