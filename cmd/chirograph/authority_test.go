package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

func (a authority) update(t *testing.T, status types.CertificateAuthorityStatus) error {
	t.Helper()
	_, err := a.pca.UpdateCertificateAuthority(t.Context(), &acmpca.UpdateCertificateAuthorityInput{CertificateAuthorityArn: &a.arn, Status: status})
	return err
}

func (a authority) delete(t *testing.T, days int32) error {
	t.Helper()
	_, err := a.pca.DeleteCertificateAuthority(t.Context(), &acmpca.DeleteCertificateAuthorityInput{CertificateAuthorityArn: &a.arn, PermanentDeletionTimeInDays: &days})
	return err
}

func (a authority) restore(t *testing.T) error {
	t.Helper()
	_, err := a.pca.RestoreCertificateAuthority(t.Context(), &acmpca.RestoreCertificateAuthorityInput{CertificateAuthorityArn: &a.arn})
	return err
}

// TestAuthorityLifecycle goes through the states of a CA with the SDK, to its
// end: the key is destroyed, what it issued is not.
func TestAuthorityLifecycle(t *testing.T) {
	t.Parallel()
	s := serveHouse(t, nil)
	root := s.root(t)
	leaf := must(root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
	wantMessage(t, root.delete(t, 7), "InvalidStateException", "The certificate authority is not in a valid state for deletion.")
	for _, status := range []types.CertificateAuthorityStatus{types.CertificateAuthorityStatusDisabled, types.CertificateAuthorityStatusDisabled, types.CertificateAuthorityStatusActive, types.CertificateAuthorityStatusDisabled} {
		if err := root.update(t, status); err != nil {
			t.Fatal(err)
		}
		if d := root.describe(t); d.Status != status {
			t.Errorf("the status is %s, want %s", d.Status, status)
		}
	}
	_, err := root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil)
	wantMessage(t, err, "InvalidStateException", "The certificate authority is not in a valid state for issuing certificates")
	if err := root.delete(t, 7); err != nil {
		t.Fatal(err)
	}
	d := root.describe(t)
	if d.Status != types.CertificateAuthorityStatusDeleted || d.RestorableUntil.Sub(*d.LastStateChangeAt) != 7*24*time.Hour {
		t.Errorf("%+v", d)
	}
	if err := root.restore(t); err != nil {
		t.Fatal(err)
	}
	wantMessage(t, root.restore(t), "InvalidStateException", "The certificate authority is not in a valid state for restoration.")
	if d := root.describe(t); d.Status != types.CertificateAuthorityStatusDisabled || d.RestorableUntil != nil {
		t.Errorf("%+v", d)
	}
	if cert, _ := root.get(t, leaf); cert == "" {
		t.Error("a restored CA has lost its certificates")
	}

	if err := root.delete(t, 7); err != nil {
		t.Fatal(err)
	}
	s.pass(7 * 24 * time.Hour)
	wantCode(t, root.restore(t), "ResourceNotFoundException")
	_, err = root.pca.DescribeCertificateAuthority(t.Context(), &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &root.arn})
	wantCode(t, err, "ResourceNotFoundException")
	id := root.arn[strings.LastIndexByte(root.arn, '/')+1:]
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		keys := must(filepath.Glob(filepath.Join(s.DataDir, "keys", id+".key")))(t)
		if len(keys) == 0 {
			break
		}
		if time.Since(start) > time.Minute {
			t.Fatalf("the key of a CA that is gone is still there: %v", keys)
		}
	}
	if n := must(s.house.db.CountCertificates(t.Context(), id))(t); n != 2 {
		t.Errorf("for offline audit there are %d certificates, want 2", n)
	}
}

// TestSharedAuthority: a CA of one account is used from another, within what
// its policy grants and what the other account's policies allow, and the report
// names who asked.
func TestSharedAuthority(t *testing.T) {
	t.Parallel()
	i, ctx := start(t, nil), t.Context()
	root := i.root(t)
	other := *must(organizations.NewFromConfig(i.aws).CreateAccount(ctx, &organizations.CreateAccountInput{AccountName: aws.String("tenant"), Email: aws.String("t@example.com")}))(t).CreateAccountStatus.AccountId
	session := must(sts.NewFromConfig(i.aws).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + other + ":role/OrganizationAccountAccessRole"), RoleSessionName: aws.String("admin")}))(t).Credentials
	administrator := i.with(*session.AccessKeyId, *session.SecretAccessKey, *session.SessionToken)
	people := iam.NewFromConfig(administrator)
	user := func(name, policy string) authority {
		t.Helper()
		must(people.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}))(t)
		must(people.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("p"), PolicyDocument: &policy}))(t)
		key := must(people.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name}))(t).AccessKey
		there := &instance{}
		there.use(i.with(*key.AccessKeyId, *key.SecretAccessKey, ""))
		return authority{there, root.arn, root.in}
	}
	tenant := user("tenant", allowEverything)
	forbidden := user("forbidden", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"acm-pca:IssueCertificate","Resource":"*"}]}`)
	csr := newCSR(t, newKey(t), "tenant.example.com")
	issue := func(a authority, template string) (string, error) {
		return a.issue(ctx, csr, func(in *acmpca.IssueCertificateInput) {
			if template != "" {
				in.TemplateArn = aws.String("arn:aws:acm-pca:::template/" + template + "/V1")
			}
		})
	}
	denied := func(_ any, err error) {
		t.Helper()
		wantCode(t, err, "AccessDeniedException")
	}
	_, err := issue(tenant, "")
	wantMessage(t, err, "AccessDeniedException", "because no resource-based policy allows the acm-pca:IssueCertificate action")

	reads := `"acm-pca:DescribeCertificateAuthority","acm-pca:GetCertificate","acm-pca:GetCertificateAuthorityCertificate","acm-pca:ListPermissions","acm-pca:ListTags"`
	policy := `{"Version":"2012-10-17","Statement":[
		{"Sid":"1","Effect":"Allow","Principal":{"AWS":"` + other + `"},"Action":[` + reads + `],"Resource":"` + root.arn + `"},
		{"Sid":"1","Effect":"Allow","Principal":{"AWS":"` + other + `"},"Action":"acm-pca:IssueCertificate","Resource":"` + root.arn + `","Condition":{"StringEquals":{"acm-pca:TemplateArn":"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}}]}`
	must(i.pca.PutPolicy(ctx, &acmpca.PutPolicyInput{ResourceArn: &root.arn, Policy: &policy}))(t)
	leaf := must(issue(tenant, ""))(t)
	if _, chain := tenant.get(t, leaf); chain == "" {
		t.Error("the certificate has no chain")
	}
	if d := tenant.describe(t); *d.OwnerAccount != firstAccount {
		t.Errorf("%+v", d)
	}
	list := must(tenant.pca.ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{ResourceOwner: types.ResourceOwnerOtherAccounts}))(t)
	if len(list.CertificateAuthorities) != 1 || *list.CertificateAuthorities[0].Arn != root.arn {
		t.Errorf("shared with the tenant: %+v", list.CertificateAuthorities)
	}
	denied(issue(tenant, "CodeSigningCertificate"))
	denied(issue(tenant, "RootCACertificate"))
	_, err = issue(forbidden, "")
	wantMessage(t, err, "AccessDeniedException", "with an explicit deny in an identity-based policy")
	denied(nil, tenant.revoke(t, leaf[strings.LastIndexByte(leaf, '/')+1:], types.RevocationReasonSuperseded))
	denied(tenant.pca.GetCertificateAuthorityCsr(ctx, &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &root.arn}))
	denied(tenant.pca.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &root.arn, S3BucketName: aws.String("b-1"), AuditReportResponseFormat: types.AuditReportResponseFormatJson}))
	denied(nil, tenant.update(t, types.CertificateAuthorityStatusDisabled))

	must(i.pca.DeletePolicy(ctx, &acmpca.DeletePolicyInput{ResourceArn: &root.arn}))(t)
	denied(issue(tenant, ""))
	_, file := root.report(t, i.bucket(t, "shared-reports", true), types.AuditReportResponseFormatJson)
	rows := parseRows(t, file)
	if len(rows) != 2 || rows[1].CertificateArn != leaf || rows[1].AwsAccountID != other || rows[0].AwsAccountID != firstAccount {
		t.Errorf("the report has %+v", rows)
	}
}

// TestTagsDecide: who may do what with a CA depends on its tags, and on those of the request.
func TestTagsDecide(t *testing.T) {
	t.Parallel()
	i, ctx := start(t, nil), t.Context()
	root := i.root(t)
	people := iam.NewFromConfig(i.aws)
	name, policy := "team", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":"acm-pca:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"pki"}}},
		{"Effect":"Allow","Action":"acm-pca:TagCertificateAuthority","Resource":"*","Condition":{"ForAllValues:StringEquals":{"aws:TagKeys":["team","env"]},"StringEquals":{"aws:RequestTag/team":"pki"}}}]}`
	must(people.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}))(t)
	must(people.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: &name, PolicyDocument: &policy}))(t)
	key := must(people.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name}))(t).AccessKey
	there := &instance{}
	there.use(i.with(*key.AccessKeyId, *key.SecretAccessKey, ""))
	team := authority{there, root.arn, root.in}
	tag := func(pairs ...string) error {
		in := &acmpca.TagCertificateAuthorityInput{CertificateAuthorityArn: &root.arn}
		for n := 0; n < len(pairs); n += 2 {
			in.Tags = append(in.Tags, types.Tag{Key: &pairs[n], Value: &pairs[n+1]})
		}
		_, err := team.pca.TagCertificateAuthority(ctx, in)
		return err
	}
	wantCode(t, team.update(t, types.CertificateAuthorityStatusDisabled), "AccessDeniedException")
	wantCode(t, tag("team", "web"), "AccessDeniedException")
	wantCode(t, tag("team", "pki", "owner", "me"), "AccessDeniedException")
	if err := tag("team", "pki", "env", "prod"); err != nil {
		t.Fatal(err)
	}
	if err := team.update(t, types.CertificateAuthorityStatusDisabled); err != nil {
		t.Error(err)
	}
	if _, err := team.pca.UntagCertificateAuthority(ctx, &acmpca.UntagCertificateAuthorityInput{CertificateAuthorityArn: &root.arn, Tags: []types.Tag{{Key: aws.String("team")}}}); err != nil {
		t.Error(err)
	}
	wantCode(t, team.update(t, types.CertificateAuthorityStatusActive), "AccessDeniedException")
}
