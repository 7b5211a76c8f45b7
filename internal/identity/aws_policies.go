package identity

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"chirograph.dev/internal/iam"
)

// awsPolicy is a managed policy that is not an account's: AWS', or the product's.
type awsPolicy struct {
	path, name, id, document string
	version                  int
	updated                  time.Time
	parsed                   *iam.Policy
}

const anyCA = `"arn:aws:acm-pca:*:*:certificate-authority/*"`

// issuing is the policy of those who issue from some templates alone. Its Deny
// makes two of them exclude each other.
func issuing(template string) string {
	condition := func(operator string) string {
		return `"Condition":{"` + operator + `":{"acm-pca:TemplateArn":["arn:aws:acm-pca:*:*:template/` + template + `/V*"]}}`
	}
	return `{"Version":"2012-10-17","Statement":[` +
		`{"Effect":"Allow","Action":["acm-pca:IssueCertificate"],"Resource":` + anyCA + `,` + condition("ArnLike") + `},` +
		`{"Effect":"Deny","Action":["acm-pca:IssueCertificate"],"Resource":` + anyCA + `,` + condition("ArnNotLike") + `},` +
		`{"Effect":"Allow","Action":["acm-pca:RevokeCertificate","acm-pca:GetCertificate","acm-pca:ListPermissions"],"Resource":` + anyCA + `},` +
		`{"Effect":"Allow","Action":["acm-pca:ListCertificateAuthorities"],"Resource":"*"}]}`
}

func allowing(resource string, actions ...string) string {
	return `{"Effect":"Allow","Action":["` + strings.Join(actions, `","`) + `"],"Resource":` + resource + `}`
}

func policyOf(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// awsPolicies are the policies of access.md 6, in its order, the older names of
// the first five, and those of AWS that people need around them.
func awsPolicies() []*awsPolicy {
	audits := []string{
		allowing(anyCA, "acm-pca:CreateCertificateAuthorityAuditReport", "acm-pca:DescribeCertificateAuthority", "acm-pca:DescribeCertificateAuthorityAuditReport",
			"acm-pca:GetCertificateAuthorityCsr", "acm-pca:GetCertificateAuthorityCertificate", "acm-pca:GetCertificate", "acm-pca:GetPolicy", "acm-pca:ListPermissions", "acm-pca:ListTags"),
		allowing(`"*"`, "acm-pca:ListCertificateAuthorities"),
	}
	auditor := policyOf(audits...)
	full := policyOf(allowing(`"*"`, "acm-pca:*"))
	readOnly := policyOf(allowing(`"*"`, "acm-pca:DescribeCertificateAuthority", "acm-pca:DescribeCertificateAuthorityAuditReport", "acm-pca:ListCertificateAuthorities",
		"acm-pca:GetCertificateAuthorityCsr", "acm-pca:GetCertificateAuthorityCertificate", "acm-pca:GetCertificate", "acm-pca:GetPolicy", "acm-pca:ListPermissions", "acm-pca:ListTags"))
	user, privileged := issuing("EndEntityCertificate"), issuing("*CACertificate*")
	kubernetes := policyOf(allowing(anyCA, "acm-pca:DescribeCertificateAuthority", "acm-pca:GetCertificate", "acm-pca:IssueCertificate"))
	witness := policyOf(allowing(`"*"`, "pcaaudit:GetCheckpoint", "pcaaudit:GetProof"))
	evidence := allowing(anyCA, "pcaaudit:GetCheckpoint", "pcaaudit:GetProof", "pcaaudit:GetReport", "pcaaudit:SearchCertificates")
	current := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	list := []*awsPolicy{
		{path: "/", name: "AWSPrivateCAAuditor", document: auditor, version: 1},
		{path: "/", name: "AWSPrivateCAFullAccess", document: full, version: 1},
		{path: "/", name: "AWSPrivateCAReadOnly", document: readOnly, version: 1},
		{path: "/", name: "AWSPrivateCAUser", document: user, version: 4},
		{path: "/", name: "AWSPrivateCAPrivilegedUser", document: privileged, version: 4},
		{path: "/", name: "AWSPrivateCAConnectorForKubernetesPolicy", document: kubernetes, version: 3},
		{path: "/", name: "AWSCertificateManagerPrivateCAAuditor", document: auditor, version: 1},
		{path: "/", name: "AWSCertificateManagerPrivateCAFullAccess", document: full, version: 1},
		{path: "/", name: "AWSCertificateManagerPrivateCAReadOnly", document: readOnly, version: 1},
		{path: "/", name: "AWSCertificateManagerPrivateCAUser", document: user, version: 7},
		{path: "/", name: "AWSCertificateManagerPrivateCAPrivilegedUser", document: privileged, version: 1},
		{path: "/", name: "AdministratorAccess", document: policyOf(allowing(`"*"`, "*")), version: 1},
		{path: "/", name: "IAMFullAccess", document: policyOf(allowing(`"*"`, "iam:*", "organizations:DescribeAccount", "organizations:DescribeOrganization", "organizations:ListAccounts")), version: 2},
		{path: "/", name: "AmazonS3FullAccess", document: policyOf(allowing(`"*"`, "s3:*")), version: 2},
		{path: "/", name: "AmazonS3ReadOnlyAccess", document: policyOf(allowing(`"*"`, "s3:Get*", "s3:List*")), version: 3},
		// The product's own: of the log's checkpoints and proofs, nothing else
		// (access.md 5); and AWS' policies for auditors and for everything with
		// the proofs that AWS does not have, and to have CRLs made at once.
		// To change or recover a log's key is for administrators.
		{path: "/chirograph/", name: "PCAWitness", document: witness, version: 1},
		{path: "/chirograph/", name: "PCAAuditor", document: policyOf(append(audits, evidence)...), version: 1},
		{path: "/chirograph/", name: "PCAFullAccess", document: policyOf(allowing(`"*"`, "acm-pca:*"), evidence, allowing(anyCA, "pcaaudit:PublishCRL")), version: 1},
	}
	for i, p := range list {
		p.id, p.updated = fmt.Sprintf("ANPACHIROGRAPH%06d", i+1), current
	}
	return list
}

func (s *Service) managedARN(name string) string {
	return "arn:" + s.cfg.Partition + ":iam::aws:policy/" + name
}

func (p *awsPolicy) arn(s *Service) string { return s.managedARN(p.path[1:] + p.name) }

func (s *Service) loadManaged() (err error) {
	s.managed = map[string]*awsPolicy{}
	for _, p := range awsPolicies() {
		if p.parsed, err = iam.ParsePolicy([]byte(p.document)); err != nil {
			return fmt.Errorf("reading the policy %s: %w", p.name, err)
		}
		s.managed[p.arn(s)] = p
		s.managedNames = append(s.managedNames, p.arn(s))
	}
	slices.Sort(s.managedNames)
	s.restrictions, err = iam.ParsePolicy([]byte(sessionRestrictions))
	return err
}
