package issuance

import (
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"chirograph.dev/internal/pca"
)

// Every member of ApiPassthrough that has a limit, at it and one beyond: what
// is within gets into a certificate that can be read, what is beyond is refused
// by its shape (templates 8, item 4).
func TestMembersAtTheirLimits(t *testing.T) {
	t.Parallel()
	type row struct {
		what  string
		limit int
		build func(n int) *pca.ApiPassthrough
	}
	var rows []row
	subject := func(s pca.ASN1Subject) *pca.ApiPassthrough { return &pca.ApiPassthrough{Subject: &s} }
	ext := func(e pca.Extensions) *pca.ApiPassthrough { return &pca.ApiPassthrough{Extensions: &e} }
	san := func(g pca.GeneralName) *pca.ApiPassthrough {
		return ext(pca.Extensions{SubjectAlternativeNames: []pca.GeneralName{g}})
	}
	// An object identifier of n characters.
	oid := func(n int) string { return "1.2." + strings.Repeat("9", n-4) }

	members := map[string]int{
		"Organization": 64, "OrganizationalUnit": 64, "DistinguishedNameQualifier": 64, "State": 128, "CommonName": 64, "SerialNumber": 64, "Locality": 128,
		"Title": 64, "Surname": 40, "GivenName": 16, "Initials": 5, "Pseudonym": 128, "GenerationQualifier": 3, "Country": 2,
	}
	if n := reflect.TypeFor[pca.ASN1Subject]().NumField() - 1; n != len(members) {
		t.Errorf("ASN1Subject has %d members beside CustomAttributes, want %d", n, len(members))
	}
	for member, limit := range members {
		character := "ü"
		switch member {
		case "Country", "SerialNumber", "DistinguishedNameQualifier":
			character = "a"
		}
		fill := func(n int) (s pca.ASN1Subject) {
			reflect.ValueOf(&s).Elem().FieldByName(member).SetString(strings.Repeat(character, n))
			return s
		}
		rows = append(rows,
			row{"Subject." + member, limit, func(n int) *pca.ApiPassthrough { return subject(fill(n)) }},
			row{"DirectoryName." + member, limit, func(n int) *pca.ApiPassthrough {
				s := fill(n)
				return san(pca.GeneralName{DirectoryName: &s})
			}})
	}
	custom := func(list ...pca.CustomAttribute) *pca.ApiPassthrough {
		return subject(pca.ASN1Subject{CustomAttributes: list})
	}
	text := func(n int) string { return strings.Repeat("a", n) }
	rows = append(rows,
		row{"CustomAttribute.Value", 256, func(n int) *pca.ApiPassthrough {
			return custom(pca.CustomAttribute{ObjectIdentifier: "1.2.3", Value: strings.Repeat("ü", n)})
		}},
		row{"CustomAttribute.ObjectIdentifier", 64, func(n int) *pca.ApiPassthrough {
			return custom(pca.CustomAttribute{ObjectIdentifier: oid(n), Value: "x"})
		}},
		row{"CustomAttributes", 150, func(n int) *pca.ApiPassthrough {
			var list []pca.CustomAttribute
			for i := range n {
				list = append(list, pca.CustomAttribute{ObjectIdentifier: "2.5.4.11", Value: fmt.Sprint(i)})
			}
			return custom(list...)
		}},
		row{"OtherName.Value", 256, func(n int) *pca.ApiPassthrough {
			return san(pca.GeneralName{OtherName: &pca.OtherName{TypeId: "1.2.3", Value: strings.Repeat("ü", n)}})
		}},
		row{"OtherName.TypeId", 64, func(n int) *pca.ApiPassthrough {
			return san(pca.GeneralName{OtherName: &pca.OtherName{TypeId: oid(n), Value: "x"}})
		}},
		row{"Rfc822Name", 256, func(n int) *pca.ApiPassthrough { return san(pca.GeneralName{Rfc822Name: "a@" + text(n-2)}) }},
		row{"DnsName", 253, func(n int) *pca.ApiPassthrough { return san(pca.GeneralName{DnsName: text(n)}) }},
		row{"EdiPartyName.PartyName", 256, func(n int) *pca.ApiPassthrough {
			return san(pca.GeneralName{EdiPartyName: &pca.EdiPartyName{PartyName: strings.Repeat("ü", n)}})
		}},
		row{"EdiPartyName.NameAssigner", 256, func(n int) *pca.ApiPassthrough {
			return san(pca.GeneralName{EdiPartyName: &pca.EdiPartyName{PartyName: "p", NameAssigner: strings.Repeat("ü", n)}})
		}},
		row{"UniformResourceIdentifier", 253, func(n int) *pca.ApiPassthrough {
			return san(pca.GeneralName{UniformResourceIdentifier: "a:" + text(n-2)})
		}},
		row{"IpAddress", 39, func(n int) *pca.ApiPassthrough {
			return san(pca.GeneralName{IpAddress: "2001:0db8:0000:0000:0000:0000:0000:0001" + strings.Repeat("0", n-39)})
		}},
		row{"RegisteredId", 64, func(n int) *pca.ApiPassthrough { return san(pca.GeneralName{RegisteredId: oid(n)}) }},
		row{"SubjectAlternativeNames", 150, func(n int) *pca.ApiPassthrough {
			return ext(pca.Extensions{SubjectAlternativeNames: repeat(n, func(i int) pca.GeneralName { return pca.GeneralName{DnsName: fmt.Sprint(i)} })})
		}},
		row{"ExtendedKeyUsage", 20, func(n int) *pca.ApiPassthrough {
			return ext(pca.Extensions{ExtendedKeyUsage: repeat(n, func(i int) pca.ExtendedKeyUsage {
				return pca.ExtendedKeyUsage{ExtendedKeyUsageObjectIdentifier: fmt.Sprintf("1.2.%d", i)}
			})})
		}},
		row{"ExtendedKeyUsageObjectIdentifier", 64, func(n int) *pca.ApiPassthrough {
			return ext(pca.Extensions{ExtendedKeyUsage: []pca.ExtendedKeyUsage{{ExtendedKeyUsageObjectIdentifier: oid(n)}}})
		}},
		row{"CertificatePolicies", 20, func(n int) *pca.ApiPassthrough {
			return ext(pca.Extensions{CertificatePolicies: repeat(n, func(i int) pca.PolicyInformation {
				return pca.PolicyInformation{CertPolicyId: fmt.Sprintf("1.2.%d", i)}
			})})
		}},
		row{"CertPolicyId", 64, func(n int) *pca.ApiPassthrough {
			return ext(pca.Extensions{CertificatePolicies: []pca.PolicyInformation{{CertPolicyId: oid(n)}}})
		}},
		row{"PolicyQualifiers", 20, func(n int) *pca.ApiPassthrough {
			return ext(pca.Extensions{CertificatePolicies: []pca.PolicyInformation{{CertPolicyId: "1.2.3", PolicyQualifiers: repeat(n, func(int) pca.PolicyQualifierInfo {
				return pca.PolicyQualifierInfo{PolicyQualifierId: pca.PolicyQualifierId_CPS, Qualifier: pca.Qualifier{CpsUri: "a"}}
			})}}})
		}},
		row{"CpsUri", 256, func(n int) *pca.ApiPassthrough {
			return ext(pca.Extensions{CertificatePolicies: []pca.PolicyInformation{{CertPolicyId: "1.2.3", PolicyQualifiers: []pca.PolicyQualifierInfo{
				{PolicyQualifierId: pca.PolicyQualifierId_CPS, Qualifier: pca.Qualifier{CpsUri: text(n)}}}}}})
		}},
		row{"CustomExtensions", 150, func(n int) *pca.ApiPassthrough {
			return ext(pca.Extensions{CustomExtensions: repeat(n, func(i int) pca.CustomExtension {
				return pca.CustomExtension{ObjectIdentifier: fmt.Sprintf("1.2.%d", i), Value: "BQA="}
			})})
		}},
		row{"CustomExtension.ObjectIdentifier", 64, func(n int) *pca.ApiPassthrough {
			return ext(pca.Extensions{CustomExtensions: []pca.CustomExtension{{ObjectIdentifier: oid(n), Value: "BQA="}}})
		}},
		row{"CustomExtension.Value", 4096, func(n int) *pca.ApiPassthrough { // n characters of base64; one more is no base64 either
			value := base64.StdEncoding.EncodeToString(append([]byte{4, 0x82, 0x0b, 0xfc}, make([]byte, 3068)...))
			return ext(pca.Extensions{CustomExtensions: []pca.CustomExtension{{ObjectIdentifier: "1.2.3", Value: value + strings.Repeat("AAAA", n-4096)}}})
		}},
	)
	csr := csrSpec{subject: name(t, pca.ASN1Subject{CommonName: "x"})}.pem(t, ecKey(t, elliptic.P256()))
	decode := func(p *pca.ApiPassthrough) (*pca.ApiPassthrough, error) {
		document, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var in pca.IssueCertificateRequest
		err = in.Decode([]byte(`{"CertificateAuthorityArn":"arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11111111-1111-1111-1111-111111111111","Csr":"eA==",` +
			`"SigningAlgorithm":"SHA256WITHECDSA","Validity":{"Type":"DAYS","Value":1},"ApiPassthrough":` + string(document) + `}`))
		return in.ApiPassthrough, err
	}
	for _, r := range rows {
		p, err := decode(r.build(r.limit))
		if err != nil {
			t.Errorf("%s at %d: %v", r.what, r.limit, err)
			continue
		}
		in := request(t, "BlankEndEntityCertificate_APIPassthrough", csr)
		in.Passthrough = p
		out, err := p256Root().issuer(t).Issue(in)
		if err != nil {
			t.Errorf("%s at %d: %v", r.what, r.limit, err)
			continue
		}
		if _, err := parseCertificate(out.DER); err != nil {
			t.Errorf("%s at %d: %v", r.what, r.limit, err)
		}
		_, err = decode(r.build(r.limit + 1))
		if err == nil {
			t.Errorf("%s at %d was accepted", r.what, r.limit+1)
			continue
		}
		wantCode(t, err, pca.ValidationException)
	}
	if _, err := decode(subject(pca.ASN1Subject{Country: "D"})); err == nil {
		t.Error("a country of one letter was accepted")
	}
}

func repeat[T any](n int, build func(i int) T) (list []T) {
	for i := range n {
		list = append(list, build(i))
	}
	return list
}
