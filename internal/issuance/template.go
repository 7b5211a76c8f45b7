package issuance

import "chirograph.dev/internal/pca"

// Template is a row of the template table as one ARN names it.
type Template struct {
	ARN            string // as the caller sent it, or the default in the CA's partition
	Name           string // such as EndEntityCertificate_APIPassthrough
	CA             bool   // basicConstraints CA:TRUE
	SelfSigned     bool   // issuer is the certificate's own subject (T-80)
	PathLen        int    // -1: no path length constraint
	APIPassthrough bool
	CSRPassthrough bool
	CrossAccount   bool // one of the six of the classic cross-account rule (T-85)
}

// LookupTemplate finds the template of an ARN (T-1 to T-4). An empty arn is
// EndEntityCertificate/V1 in the given partition, the CA's.
func LookupTemplate(arn, partition string) (*Template, error) {
	return nil, pca.Errorf(pca.InvalidArgsException, "The template ARN %s is not valid.", arn)
}
