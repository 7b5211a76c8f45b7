package identity

import (
	"slices"
	"strings"
	"testing"

	"chirograph.dev/internal/iam"
)

// dutyOf is the request of a duty.
type dutyOf struct{ action, template string }

func (h *house) mayWith(t *testing.T, d dutyOf, policies ...string) bool {
	t.Helper()
	p := &iam.Principal{Account: management, ARN: "arn:aws:iam::" + management + ":user/u", ID: "AIDA"}
	for _, name := range policies {
		p.Policies = append(p.Policies, h.managed[aws+name].parsed)
	}
	resource := caARN
	if d.action == "acm-pca:ListCertificateAuthorities" || d.action == "acm-pca:CreateCertificateAuthority" {
		resource = "*"
	}
	if strings.HasPrefix(d.action, "s3:") {
		resource = "arn:aws:s3:::bucket/audit-report/x"
	}
	r := &iam.Request{Principal: p, Action: d.action, Resource: resource}
	if d.template != "" {
		r.Context = map[string][]string{"acm-pca:TemplateArn": {"arn:aws:acm-pca:::template/" + d.template + "/V1"}}
	}
	decision, _ := iam.Authorize(r, nil, management)
	return decision == iam.Allow
}

// TestSeparationOfDuties is access.md 6.1, with the rest of the API besides.
func TestSeparationOfDuties(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	const full, privileged, user, auditor, readOnly, kubernetes = "AWSPrivateCAFullAccess", "AWSPrivateCAPrivilegedUser", "AWSPrivateCAUser", "AWSPrivateCAAuditor", "AWSPrivateCAReadOnly", "AWSPrivateCAConnectorForKubernetesPolicy"
	all := []string{full, privileged, user, auditor, readOnly, kubernetes}
	issue := func(template string) dutyOf { return dutyOf{"acm-pca:IssueCertificate", template} }
	change := []string{full}
	for d, want := range map[dutyOf][]string{
		{"acm-pca:CreateCertificateAuthority", ""}:                        change,
		{"acm-pca:UpdateCertificateAuthority", ""}:                        change,
		{"acm-pca:DeleteCertificateAuthority", ""}:                        change,
		{"acm-pca:RestoreCertificateAuthority", ""}:                       change,
		{"acm-pca:ImportCertificateAuthorityCertificate", ""}:             change,
		{"acm-pca:PutPolicy", ""}:                                         change,
		{"acm-pca:DeletePolicy", ""}:                                      change,
		{"acm-pca:CreatePermission", ""}:                                  change,
		{"acm-pca:DeletePermission", ""}:                                  change,
		{"acm-pca:TagCertificateAuthority", ""}:                           change,
		{"acm-pca:UntagCertificateAuthority", ""}:                         change,
		issue("SubordinateCACertificate_PathLen0"):                        {full, privileged, kubernetes},
		issue("RootCACertificate"):                                        {full, privileged, kubernetes},
		issue("BlankRootCACertificate_APIPassthrough"):                    {full, privileged, kubernetes},
		issue("BlankSubordinateCACertificate_PathLen0_APICSRPassthrough"): {full, privileged, kubernetes},
		issue("EndEntityCertificate"):                                     {full, user, kubernetes},
		issue("EndEntityCertificate_APIPassthrough"):                      {full, kubernetes},
		issue("EndEntityClientAuthCertificate"):                           {full, kubernetes},
		issue("BlankEndEntityCertificate_APICSRPassthrough"):              {full, kubernetes},
		{"acm-pca:RevokeCertificate", ""}:                                 {full, privileged, user},
		{"acm-pca:CreateCertificateAuthorityAuditReport", ""}:             {full, auditor},
		{"acm-pca:DescribeCertificateAuthorityAuditReport", ""}:           {full, auditor, readOnly},
		{"acm-pca:GetCertificate", ""}:                                    all,
		{"acm-pca:ListCertificateAuthorities", ""}:                        {full, privileged, user, auditor, readOnly},
		{"acm-pca:ListPermissions", ""}:                                   {full, privileged, user, auditor, readOnly},
		{"acm-pca:ListTags", ""}:                                          {full, auditor, readOnly},
		{"acm-pca:GetPolicy", ""}:                                         {full, auditor, readOnly},
		{"acm-pca:GetCertificateAuthorityCsr", ""}:                        {full, auditor, readOnly},
		{"acm-pca:GetCertificateAuthorityCertificate", ""}:                {full, auditor, readOnly},
		{"acm-pca:DescribeCertificateAuthority", ""}:                      {full, auditor, readOnly, kubernetes},
		{"s3:GetObject", ""}:                                              nil,
		{"s3:PutObject", ""}:                                              nil,
		{"pcaaudit:GetReport", ""}:                                        nil, // acm-pca:* does not widen silently
		{"pcaaudit:GetProof", ""}:                                         nil,
	} {
		for _, policy := range all {
			if got := h.mayWith(t, d, policy); got != slices.Contains(want, policy) {
				t.Errorf("%s with %s: %v", policy, d, got)
			}
			old := strings.Replace(policy, "AWSPrivateCA", "AWSCertificateManagerPrivateCA", 1)
			if policy != kubernetes && h.mayWith(t, d, old) != slices.Contains(want, policy) {
				t.Errorf("%s with %s differs from %s", old, d, policy)
			}
		}
	}
}

// TestTrapsOfManagedPolicies are those of access.md 6.
func TestTrapsOfManagedPolicies(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	// User and PrivilegedUser together issue nothing at all, each explicitly.
	for _, template := range []string{"EndEntityCertificate", "SubordinateCACertificate_PathLen0", "EndEntityCertificate_APIPassthrough"} {
		d := dutyOf{"acm-pca:IssueCertificate", template}
		if h.mayWith(t, d, "AWSPrivateCAUser", "AWSPrivateCAPrivilegedUser") {
			t.Errorf("both together issue %s", template)
		}
		// Their Deny holds against full access, too.
		if h.mayWith(t, d, "AWSPrivateCAUser", "AWSPrivateCAFullAccess") != (template == "EndEntityCertificate") {
			t.Errorf("full access and User: %s", template)
		}
	}
	// The partition is literal: in another one nothing matches, and the Deny hits.
	p := &iam.Principal{Account: management, ARN: "arn:aws-cn:iam::" + management + ":user/u", Policies: []*iam.Policy{h.managed[aws+"AWSPrivateCAUser"].parsed, h.managed[aws+"AdministratorAccess"].parsed}}
	r := &iam.Request{Principal: p, Action: "acm-pca:IssueCertificate", Resource: caARN, Context: map[string][]string{"acm-pca:TemplateArn": {"arn:aws-cn:acm-pca:::template/EndEntityCertificate/V1"}}}
	if d, why := iam.Authorize(r, nil, management); d != iam.ExplicitDeny || why != iam.IdentityDeny {
		t.Errorf("%d, %d", d, why)
	}
	// The star of region and account matches the empty ones of a template, and
	// does not cross the fields of an ARN.
	for template, want := range map[string]bool{
		"arn:aws:acm-pca:::template/EndEntityCertificate/V1":                     true,
		"arn:aws:acm-pca:us-east-1:1:template/EndEntityCertificate/V2":           true,
		"arn:aws:acm-pca::template/EndEntityCertificate/V1":                      false,
		"arn:aws:acm-pca::::template/EndEntityCertificate/V1":                    false,
		"arn:aws:acm-pca:::template/EndEntityCertificate_CSRPassthrough/V1":      false,
		"arn:aws:acm-pca:::template/x:template/EndEntityCertificate/V1":          false,
		"arn:aws:acm-pca:::template/BlankEndEntityCertificate_APIPassthrough/V1": false,
	} {
		p.Policies = p.Policies[:1]
		r.Context["acm-pca:TemplateArn"] = []string{template}
		if d, _ := iam.Authorize(r, nil, management); (d == iam.Allow) != want {
			t.Errorf("%s: %d", template, d)
		}
	}
	// Without the key the Deny, which is negated, hits (A-10 fills it always).
	if h.mayWith(t, dutyOf{"acm-pca:IssueCertificate", ""}, "AWSPrivateCAUser") {
		t.Error("issued without a template")
	}
	for _, d := range []string{"pcaaudit:GetProof", "pcaaudit:GetCheckpoint"} {
		if !h.mayWith(t, dutyOf{d, ""}, "chirograph/PCAWitness") {
			t.Errorf("a witness may not %s", d)
		}
	}
	for _, policy := range []string{"PCAAuditor", "PCAFullAccess"} {
		for _, action := range []string{"pcaaudit:GetProof", "pcaaudit:GetCheckpoint", "pcaaudit:GetReport", "pcaaudit:SearchCertificates", "acm-pca:CreateCertificateAuthorityAuditReport", "acm-pca:ListCertificateAuthorities"} {
			if !h.mayWith(t, dutyOf{action, ""}, "chirograph/"+policy) {
				t.Errorf("%s may not %s", policy, action)
			}
		}
		for _, action := range []string{"pcaaudit:RotateKey", "pcaaudit:Recover"} {
			if h.mayWith(t, dutyOf{action, ""}, "chirograph/"+policy) || !h.mayWith(t, dutyOf{action, ""}, "AdministratorAccess") {
				t.Errorf("%s is not for administrators alone", action)
			}
		}
		if h.mayWith(t, dutyOf{"acm-pca:RevokeCertificate", ""}, "chirograph/"+policy) != (policy == "PCAFullAccess") {
			t.Errorf("%s: revoking", policy)
		}
	}
	if h.mayWith(t, dutyOf{"pcaaudit:GetReport", ""}, "chirograph/PCAWitness") || h.mayWith(t, dutyOf{"acm-pca:GetCertificate", ""}, "chirograph/PCAWitness") {
		t.Error("a witness may do more than it should")
	}
}
