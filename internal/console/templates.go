package console

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"chirograph.dev/internal/issuance"
)

// Template is a certificate template, and what it makes in words.
type Template struct {
	ARN            string `json:"arn"`
	Name           string `json:"name"`
	Description    string `json:"description"`
	CA             bool   `json:"ca"`
	SelfSigned     bool   `json:"selfSigned"`
	PathLen        *int   `json:"pathLen"` // null: no limit
	APIPassthrough bool   `json:"apiPassthrough"`
	CSRPassthrough bool   `json:"csrPassthrough"`
	CrossAccount   bool   `json:"crossAccount"`
}

// templates is GET templates.
func (c *Console) templates(context.Context, *request) (any, error) {
	partition := c.cfg.API.Partition
	list := []Template{}
	for _, arn := range issuance.Templates(partition) {
		t, err := issuance.LookupTemplate(arn, partition)
		if err != nil {
			return nil, err
		}
		one := Template{
			ARN: arn, Name: t.Name, Description: describeTemplate(t), CA: t.CA, SelfSigned: t.SelfSigned,
			APIPassthrough: t.APIPassthrough, CSRPassthrough: t.CSRPassthrough, CrossAccount: t.CrossAccount,
		}
		if t.PathLen >= 0 {
			one.PathLen = &t.PathLen
		}
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b Template) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// describeTemplate says in a sentence what certificates of a template are.
func describeTemplate(t *issuance.Template) string {
	kind, _, _ := strings.Cut(t.Name, "_")
	blank := strings.HasPrefix(kind, "Blank")
	var b strings.Builder
	switch {
	case t.SelfSigned:
		b.WriteString("A root CA's own certificate")
	case t.CA:
		b.WriteString("A subordinate CA's certificate")
	default:
		use := map[string]string{
			"EndEntityClientAuthCertificate": " for the client side of TLS", "EndEntityServerAuthCertificate": " for the server side of TLS",
			"CodeSigningCertificate": " for signing code", "OCSPSigningCertificate": " for signing OCSP answers",
			"EndEntityCertificate": " for both sides of TLS",
		}[strings.TrimPrefix(kind, "Blank")]
		if blank {
			use = ""
		}
		b.WriteString("An end-entity certificate" + use)
	}
	switch {
	case t.CA && t.PathLen == 0:
		b.WriteString(" that may sign no further CA certificates")
	case t.CA && t.PathLen > 0:
		b.WriteString(" with a path length of " + strconv.Itoa(t.PathLen))
	}
	if blank {
		b.WriteString(", without key usages of the template's own")
	}
	var from []string
	if t.APIPassthrough {
		from = append(from, "the call")
	}
	if t.CSRPassthrough {
		from = append(from, "the CSR")
	}
	if len(from) > 0 {
		b.WriteString("; takes extensions from " + strings.Join(from, " and "))
	}
	return b.String() + "."
}
