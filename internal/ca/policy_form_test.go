package ca

import (
	"testing"

	"chirograph.dev/internal/iam"
)

// FuzzPolicyForm: what checkForm lets pass compiles, and grants nobody more
// than a policy can.
func FuzzPolicyForm(f *testing.F) {
	const ca = "arn:aws:acm-pca:us-east-1:" + owner + ":certificate-authority/0a1b2c3d-0000-4000-8000-000000000000"
	for _, s := range []string{
		sharePolicy(ca, stranger),
		statement{effect: "Deny", principal: `"*"`}.policy(ca),
		statement{principal: `"*"`, condition: `{"StringEquals":{"aws:PrincipalOrgID":"o-a1b2c3"}}`}.policy(ca),
		statement{principal: `"*"`, condition: `{"StringLike":{"aws:PrincipalAccount":"*"}}`}.policy(ca),
		statement{principal: `{"AWS":"arn:aws:iam::` + stranger + `:role/r"}`, action: `"acm-pca:IssueCertificate"`, resource: `"*"`}.policy(ca),
		statement{action: `"acm-pca:*"`}.policy(ca),
		`{}`,
	} {
		f.Add(s)
	}
	s := &Service{Config: Config{Partition: "aws"}, classic: []string{"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}
	nobody := &iam.Principal{Account: "000000000000", ARN: "arn:aws:iam::000000000000:user/nobody", ID: "AIDANOBODY"}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := iam.ParseResourcePolicy([]byte(text))
		if err != nil || s.checkForm(p, ca) != nil {
			return
		}
		effective, err := s.effectivePolicy(text)
		if err != nil {
			t.Fatalf("accepted, and does not compile: %v", err)
		}
		for _, who := range []*iam.Principal{nil, nobody, {Account: stranger, ARN: "arn:aws:iam::" + stranger + ":role/r"}} {
			for _, action := range []string{"acm-pca:CreateCertificateAuthorityAuditReport", "acm-pca:PutPolicy", "acm-pca:DeleteCertificateAuthority", "s3:GetObject"} {
				if effective.Evaluate(&iam.Request{Principal: who, Action: action, Resource: ca}) == iam.Allow {
					t.Errorf("grants %s to %v", action, who)
				}
			}
		}
		if effective.Evaluate(&iam.Request{Action: "acm-pca:GetCertificate", Resource: ca}) == iam.Allow {
			t.Error("grants something to a caller without a signature")
		}
	})
}
