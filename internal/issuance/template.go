package issuance

import (
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/crypto/cryptobyte"

	"chirograph.dev/internal/pca"
)

// Template is a row of the template table as one ARN names it. What it does
// not fix or derive may come from the request, as its variety allows (T-10).
type Template struct {
	ARN            string // as the caller sent it, or the default in the CA's partition
	Name           string // such as EndEntityCertificate_APIPassthrough
	CA             bool   // basicConstraints CA:TRUE
	SelfSigned     bool   // issuer is the certificate's own subject (T-80)
	PathLen        int    // -1: no path length constraint
	APIPassthrough bool
	CSRPassthrough bool
	CrossAccount   bool // one of the six of the classic cross-account rule (T-85)

	fixed map[string][]byte // whole extensions by OID, encoded
}

//go:embed templates.json
var templatesJSON []byte

const (
	responderTemplate = "OCSPSigningCertificate"
	templateVersion   = "/V1"
)

// templateTable gives the 61 templates by name, without ARNs. The table is
// read from the embedded file once and never changes.
var templateTable = sync.OnceValue(func() map[string]*Template {
	table, err := readTemplates(templatesJSON)
	if err != nil {
		panic(fmt.Sprintf("embedded template table: %v", err)) // the file is part of the program
	}
	return table
})

func readTemplates(text []byte) (map[string]*Template, error) {
	var rows []struct {
		Name         string `json:"name"`
		CA           bool   `json:"ca"`
		SelfSigned   bool   `json:"selfSigned"`
		PathLen      *int   `json:"pathLen"`
		API          bool   `json:"api"`
		CSR          bool   `json:"csr"`
		CrossAccount bool   `json:"crossAccount"`
		Fixed        []struct {
			OID      string `json:"oid"`
			Critical bool   `json:"critical"`
			DER      string `json:"der"`
		} `json:"fixed"`
	}
	if err := json.Unmarshal(text, &rows); err != nil {
		return nil, err
	}
	table := make(map[string]*Template, len(rows))
	for _, r := range rows {
		t := &Template{
			Name: r.Name, CA: r.CA, SelfSigned: r.SelfSigned, PathLen: -1,
			APIPassthrough: r.API, CSRPassthrough: r.CSR, CrossAccount: r.CrossAccount,
			fixed: make(map[string][]byte, len(r.Fixed)),
		}
		if r.PathLen != nil {
			t.PathLen = *r.PathLen
		}
		for _, f := range r.Fixed {
			oid, ok := parseOID(f.OID)
			value, err := hex.DecodeString(f.DER)
			if !ok || err != nil || !wellFormed(value) {
				return nil, fmt.Errorf("template %s: extension %s: bad OID or value", r.Name, f.OID)
			}
			e := Extension{OID: oid, Critical: f.Critical, Value: value}
			if t.fixed[oid], err = asDER(func(b *cryptobyte.Builder) { e.add(b) }); err != nil {
				return nil, fmt.Errorf("template %s: extension %s: %w", r.Name, f.OID, err)
			}
		}
		table[r.Name] = t
	}
	return table, nil
}

// LookupTemplate finds the template of an ARN (T-1 to T-4). An empty arn is
// EndEntityCertificate/V1 in the given partition, the CA's. Templates of the
// partitions aws, aws-cn and aws-us-gov are accepted everywhere (T-3).
func LookupTemplate(arn, partition string) (*Template, error) {
	if arn == "" {
		arn = pca.TemplateARN(partition, pca.DefaultTemplate)
	}
	rest, ok := strings.CutPrefix(arn, "arn:")
	given, name, found := strings.Cut(rest, ":acm-pca:::template/")
	name, version := strings.CutSuffix(name, templateVersion)
	switch given {
	case "aws", "aws-cn", "aws-us-gov", partition:
	default:
		ok = false
	}
	row := templateTable()[name]
	if !ok || !found || !version || row == nil {
		return nil, pca.Errorf(pca.InvalidArgsException, "The template ARN %s is not valid.", arn)
	}
	t := *row // the fixed extensions are shared and never changed
	t.ARN = arn
	return &t, nil
}

// Templates lists the ARNs of all templates in a partition, in no particular order.
func Templates(partition string) []string {
	var arns []string
	for name := range templateTable() {
		arns = append(arns, pca.TemplateARN(partition, name))
	}
	return arns
}
