package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// terraform makes the calls that the aws provider of Terraform makes for its
// aws_acmpca_* resources and data sources, in its order, with its parameters,
// retries and waits, and tolerates only the errors that it tolerates. (The
// provider's plugin comes from a registry of its own, so it is not run here.)
type terraform struct{ *instance }

// refused reports whether err has the code and says the text by which the
// provider recognises it.
func refused(err error, code, text string) bool {
	e, ok := errors.AsType[smithy.APIError](err)
	return ok && e.ErrorCode() == code && strings.Contains(e.ErrorMessage(), text)
}

// retry repeats f for at most a minute while its error is one that passes.
func (terraform) retry(ctx context.Context, passes func(error) bool, f func() error) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		err := f()
		if err == nil || !passes(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still after a minute: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// tfAuthority is what a refresh reads into the state of an
// aws_acmpca_certificate_authority.
type tfAuthority struct {
	Arn, Certificate, Chain, CSR, Serial, NotBefore, NotAfter string
	Type, KeyStorage, UsageMode                               string
	Enabled, CRL                                              bool
	Tags                                                      map[string]string
}

func (p terraform) createAuthority(ctx context.Context, kind types.CertificateAuthorityType, tags map[string]string) (arn string, err error) {
	in := &acmpca.CreateCertificateAuthorityInput{
		CertificateAuthorityType: kind,
		CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
			KeyAlgorithm: types.KeyAlgorithmEcPrime256v1, SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
			Subject: &types.ASN1Subject{CommonName: aws.String("terraform.example.com")},
		},
		IdempotencyToken: aws.String(fmt.Sprintf("terraform-%026x", time.Now().UnixNano())),
		Tags:             tfTags(tags),
	}
	err = p.retry(ctx, func(err error) bool {
		return refused(err, "ValidationException", "Check your S3 bucket permissions and try again")
	}, func() error {
		out, err := p.pca.CreateCertificateAuthority(ctx, in)
		if err == nil {
			arn = *out.CertificateAuthorityArn
		}
		return err
	})
	if err != nil {
		return "", err
	}
	creating := errors.New("CREATING")
	return arn, p.retry(ctx, func(err error) bool { return errors.Is(err, creating) || refused(err, "ResourceNotFoundException", "") }, func() error {
		out, err := p.pca.DescribeCertificateAuthority(ctx, &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &arn})
		if err != nil {
			return err
		}
		switch ca := out.CertificateAuthority; ca.Status {
		case types.CertificateAuthorityStatusActive, types.CertificateAuthorityStatusPendingCertificate:
			return nil
		case types.CertificateAuthorityStatusCreating:
			return creating
		default:
			return fmt.Errorf("unexpected state %s: %s", ca.Status, ca.FailureReason)
		}
	})
}

// readAuthority refreshes; gone says that the resource leaves the state.
func (p terraform) readAuthority(ctx context.Context, arn string) (state tfAuthority, gone bool, err error) {
	out, err := p.pca.DescribeCertificateAuthority(ctx, &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &arn})
	if refused(err, "ResourceNotFoundException", "") {
		return state, true, nil
	}
	if err != nil {
		return state, false, err
	}
	ca := out.CertificateAuthority
	if ca.Status == types.CertificateAuthorityStatusDeleted || *ca.Arn != arn {
		return state, true, nil
	}
	state = tfAuthority{
		Arn: *ca.Arn, Serial: aws.ToString(ca.Serial), Type: string(ca.Type), KeyStorage: string(ca.KeyStorageSecurityStandard), UsageMode: string(ca.UsageMode),
		Enabled: ca.Status != types.CertificateAuthorityStatusDisabled, CRL: aws.ToBool(ca.RevocationConfiguration.CrlConfiguration.Enabled), Tags: map[string]string{},
	}
	if ca.NotBefore != nil {
		state.NotBefore, state.NotAfter = ca.NotBefore.Format(time.RFC3339), ca.NotAfter.Format(time.RFC3339)
	}
	cert, err := p.pca.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &arn})
	if err == nil {
		state.Certificate, state.Chain = aws.ToString(cert.Certificate), aws.ToString(cert.CertificateChain)
	} else if !refused(err, "InvalidStateException", "") {
		return state, false, err
	}
	csr, err := p.pca.GetCertificateAuthorityCsr(ctx, &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &arn})
	if err == nil {
		state.CSR = aws.ToString(csr.Csr)
	} else if !refused(err, "InvalidStateException", "") {
		return state, false, err
	}
	pages := acmpca.NewListTagsPaginator(p.pca, &acmpca.ListTagsInput{CertificateAuthorityArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return state, false, err
		}
		for _, tag := range page.Tags {
			state.Tags[*tag.Key] = aws.ToString(tag.Value)
		}
	}
	return state, false, nil
}

func (p terraform) updateAuthority(ctx context.Context, arn string, status types.CertificateAuthorityStatus, revocation *types.RevocationConfiguration) error {
	_, err := p.pca.UpdateCertificateAuthority(ctx, &acmpca.UpdateCertificateAuthorityInput{CertificateAuthorityArn: &arn, Status: status, RevocationConfiguration: revocation})
	return err
}

func (p terraform) deleteAuthority(ctx context.Context, arn string) error {
	err := p.updateAuthority(ctx, arn, types.CertificateAuthorityStatusDisabled, nil)
	if refused(err, "ResourceNotFoundException", "") {
		return nil
	}
	if err != nil && !refused(err, "InvalidStateException", "The certificate authority must be in the ACTIVE or DISABLED state to be updated") {
		return err
	}
	_, err = p.pca.DeleteCertificateAuthority(ctx, &acmpca.DeleteCertificateAuthorityInput{CertificateAuthorityArn: &arn, PermanentDeletionTimeInDays: aws.Int32(30)})
	if refused(err, "ResourceNotFoundException", "") {
		return nil
	}
	return err
}

func (p terraform) createCertificate(ctx context.Context, in *acmpca.IssueCertificateInput) (arn string, err error) {
	in.IdempotencyToken = aws.String(fmt.Sprintf("terraform-%026x", time.Now().UnixNano()))
	err = p.retry(ctx, func(err error) bool {
		return refused(err, "InvalidStateException", "The certificate authority is not in a valid state for issuing certificates")
	}, func() error {
		out, err := p.pca.IssueCertificate(ctx, in)
		if err == nil {
			arn = *out.CertificateArn
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return arn, acmpca.NewCertificateIssuedWaiter(p.pca).Wait(ctx, &acmpca.GetCertificateInput{CertificateAuthorityArn: in.CertificateAuthorityArn, CertificateArn: &arn}, 5*time.Minute)
}

// deleteCertificate revokes. The serial goes out as the big integer's
// hexadecimal digits: no colons, and no leading zero.
func (p terraform) deleteCertificate(ctx context.Context, t *testing.T, ca, arn string) error {
	out, err := p.pca.GetCertificate(ctx, &acmpca.GetCertificateInput{CertificateAuthorityArn: &ca, CertificateArn: &arn})
	if err != nil {
		return err
	}
	_, err = p.pca.RevokeCertificate(ctx, &acmpca.RevokeCertificateInput{
		CertificateAuthorityArn: &ca, CertificateSerial: aws.String(fmt.Sprintf("%x", parseCert(t, *out.Certificate).SerialNumber)), RevocationReason: types.RevocationReasonUnspecified,
	})
	if refused(err, "ResourceNotFoundException", "") || refused(err, "RequestAlreadyProcessedException", "") || refused(err, "RequestInProgressException", "") ||
		refused(err, "InvalidRequestException", "Self-signed certificate can not be revoked") {
		return nil
	}
	return err
}

// importCertificate is the aws_acmpca_certificate_authority_certificate; what it
// reads back must be what it sent, or every plan would replace it.
func (p terraform) importCertificate(ctx context.Context, arn, cert, chain string) error {
	in := &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &arn, Certificate: []byte(cert)}
	if chain != "" {
		in.CertificateChain = []byte(chain)
	}
	if _, err := p.pca.ImportCertificateAuthorityCertificate(ctx, in); err != nil {
		return err
	}
	out, err := p.pca.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &arn})
	if err != nil {
		return err
	}
	if *out.Certificate != cert || aws.ToString(out.CertificateChain) != chain {
		return fmt.Errorf("imported %q and %q, read %q and %q", cert, chain, *out.Certificate, aws.ToString(out.CertificateChain))
	}
	return nil
}

// readPermission finds a permission; without a source account any of the
// principal will do.
func (p terraform) readPermission(ctx context.Context, arn, principal, account string) (*types.Permission, error) {
	pages := acmpca.NewListPermissionsPaginator(p.pca, &acmpca.ListPermissionsInput{CertificateAuthorityArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if refused(err, "ResourceNotFoundException", "") || refused(err, "InvalidStateException", "The certificate authority is in the DELETED state") {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, permission := range page.Permissions {
			if *permission.Principal == principal && (account == "" || *permission.SourceAccount == account) {
				return &permission, nil
			}
		}
	}
	return nil, nil
}

func tfTags(tags map[string]string) (list []types.Tag) {
	for key, value := range tags {
		list = append(list, types.Tag{Key: &key, Value: &value})
	}
	return list
}

func tfDate(t time.Time) *types.Validity {
	n, _ := strconv.ParseInt(t.UTC().Format("20060102150405"), 10, 64)
	return &types.Validity{Type: types.ValidityPeriodTypeEndDate, Value: &n}
}

func TestTerraform(t *testing.T) {
	t.Parallel()
	p := terraform{start(t, nil)}
	// What the provider asks before anything else, for the account's number.
	if id := must(p.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))(t); *id.Account != "123456789012" || !strings.HasPrefix(*id.Arn, "arn:aws:iam::123456789012:") {
		t.Fatalf("GetCallerIdentity answers %s %s", *id.Account, *id.Arn)
	}
	t.Run("a root from its creation to its end", func(t *testing.T) { t.Parallel(); p.root(t) })
	t.Run("a subordinate under a file's chain", func(t *testing.T) { t.Parallel(); p.subordinate(t) })
	t.Run("a pending CA is destroyed", func(t *testing.T) { t.Parallel(); p.pending(t) })
	t.Run("certificates", func(t *testing.T) { t.Parallel(); p.certificates(t) })
	t.Run("permissions", func(t *testing.T) { t.Parallel(); p.permissions(t) })
	t.Run("a policy", func(t *testing.T) { t.Parallel(); p.policy(t) })
	t.Run("a shared CA as data", func(t *testing.T) { t.Parallel(); p.shared(t) })
}

func (p terraform) pending(t *testing.T) {
	arn := must(p.createAuthority(t.Context(), types.CertificateAuthorityTypeSubordinate, nil))(t)
	if err := p.deleteAuthority(t.Context(), arn); err != nil {
		t.Fatal(err)
	}
	if _, gone, err := p.readAuthority(t.Context(), arn); !gone || err != nil {
		t.Errorf("gone: %t, %v", gone, err)
	}
	if err := p.deleteAuthority(t.Context(), arn[:len(arn)-4]+"0000"); err != nil {
		t.Errorf("deleting what is not there: %v", err)
	}
}

func (p terraform) root(t *testing.T) {
	ctx := t.Context()
	tags := map[string]string{"Name": "root", "Team": "pki", "Empty": ""}
	arn := must(p.createAuthority(ctx, types.CertificateAuthorityTypeRoot, tags))(t)
	want := tfAuthority{Arn: arn, Type: "ROOT", KeyStorage: "FIPS_140_2_LEVEL_3_OR_HIGHER", UsageMode: "GENERAL_PURPOSE", Enabled: true, Tags: tags}
	// plan is empty when a refresh finds what was configured.
	plan := func(step string) tfAuthority {
		t.Helper()
		state, gone, err := p.readAuthority(ctx, arn)
		if gone || err != nil {
			t.Fatalf("%s: gone: %t, %v", step, gone, err)
		}
		got := state
		got.CSR = ""
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the plan has a difference:\n%+v, want\n%+v", step, got, want)
		}
		return state
	}
	state := plan("created")
	if !strings.HasPrefix(state.CSR, "-----BEGIN CERTIFICATE REQUEST-----\n") {
		t.Errorf("the CSR of a pending CA is %q", state.CSR)
	}

	// A leaf that does not depend on the activation waits for it.
	leaf := make(chan error, 1)
	go func() {
		_, err := p.createCertificate(ctx, &acmpca.IssueCertificateInput{
			CertificateAuthorityArn: &arn, Csr: newCSR(t, newKey(t), "early.example.com"), SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
			Validity: &types.Validity{Type: types.ValidityPeriodTypeDays, Value: aws.Int64(1)},
		})
		leaf <- err
	}()
	certArn := must(p.createCertificate(ctx, &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: &arn, Csr: []byte(state.CSR), SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
		TemplateArn: aws.String(rootTemplate), Validity: &types.Validity{Type: types.ValidityPeriodTypeYears, Value: aws.Int64(10)},
	}))(t)
	out := must(p.pca.GetCertificate(ctx, &acmpca.GetCertificateInput{CertificateAuthorityArn: &arn, CertificateArn: &certArn}))(t)
	if out.CertificateChain != nil {
		t.Errorf("the root's chain is %q", *out.CertificateChain)
	}
	if err := p.importCertificate(ctx, arn, *out.Certificate, ""); err != nil {
		t.Fatal(err)
	}
	if err := <-leaf; err != nil {
		t.Errorf("a leaf that waited for the CA: %v", err)
	}
	c := parseCert(t, *out.Certificate)
	want.Certificate, want.Serial = *out.Certificate, c.SerialNumber.String()
	want.NotBefore, want.NotAfter = c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339)
	if again := plan("activated"); again.CSR != state.CSR {
		t.Error("the CSR differs after the activation")
	}

	// enabled = false, and a revocation_configuration, each sent alone.
	if err := p.updateAuthority(ctx, arn, types.CertificateAuthorityStatusDisabled, nil); err != nil {
		t.Fatal(err)
	}
	want.Enabled = false
	plan("disabled")
	if err := p.updateAuthority(ctx, arn, "", &types.RevocationConfiguration{CrlConfiguration: &types.CrlConfiguration{Enabled: aws.Bool(false)}}); err != nil {
		t.Fatal(err)
	}
	plan("configured")
	wantMessage(t, p.updateAuthority(ctx, arn, "", &types.RevocationConfiguration{CrlConfiguration: &types.CrlConfiguration{
		Enabled: aws.Bool(true), ExpirationInDays: aws.Int32(7), S3BucketName: aws.String("crl"),
	}}), "ValidationException", "Check your S3 bucket permissions and try again") // which the provider tries again for a minute
	plan("refused")
	if err := p.updateAuthority(ctx, arn, types.CertificateAuthorityStatusActive, nil); err != nil {
		t.Fatal(err)
	}
	want.Enabled = true
	plan("enabled")

	// Tags: the removed ones first, as pairs, then the new ones.
	must(p.pca.UntagCertificateAuthority(ctx, &acmpca.UntagCertificateAuthorityInput{CertificateAuthorityArn: &arn, Tags: tfTags(map[string]string{"Team": "pki", "Empty": ""})}))(t)
	must(p.pca.TagCertificateAuthority(ctx, &acmpca.TagCertificateAuthorityInput{CertificateAuthorityArn: &arn, Tags: tfTags(map[string]string{"Name": "renamed", "Stage": "prod"})}))(t)
	want.Tags = map[string]string{"Name": "renamed", "Stage": "prod"}
	plan("tagged")

	// The data sources.
	found := false
	pages := acmpca.NewListCertificateAuthoritiesPaginator(p.pca, &acmpca.ListCertificateAuthoritiesInput{ResourceOwner: types.ResourceOwnerSelf})
	for pages.HasMorePages() {
		for _, ca := range must(pages.NextPage(ctx))(t).CertificateAuthorities {
			found = found || *ca.Arn == arn
		}
	}
	if !found {
		t.Errorf("the list does not have %s", arn)
	}

	// Destroy, in the order of the dependencies: the certificate of a root is
	// revoked in vain, the import has no opposite, then the CA.
	if err := p.deleteCertificate(ctx, t, arn, certArn); err != nil {
		t.Errorf("destroying the root's certificate: %v", err)
	}
	if err := p.deleteAuthority(ctx, arn); err != nil {
		t.Fatal(err)
	}
	if _, gone, err := p.readAuthority(ctx, arn); !gone || err != nil {
		t.Errorf("after the destruction: gone: %t, %v", gone, err)
	}
}

// subordinate imports a certificate and a chain as file() reads them, with
// the newline at the end of a file.
func (p terraform) subordinate(t *testing.T) {
	ctx := t.Context()
	root := p.instance.root(t)
	arn := must(p.createAuthority(ctx, types.CertificateAuthorityTypeSubordinate, nil))(t)
	state, _, err := p.readAuthority(ctx, arn)
	if err != nil {
		t.Fatal(err)
	}
	certArn := must(p.createCertificate(ctx, &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: &root.arn, Csr: []byte(state.CSR), SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
		TemplateArn: aws.String("arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen0/V1"), Validity: tfDate(time.Now().AddDate(3, 0, 0)),
	}))(t)
	cert, chain := root.get(t, certArn)
	if err := p.importCertificate(ctx, arn, cert+"\n", chain+"\n"); err != nil {
		t.Fatal(err)
	}
	if state, _, err = p.readAuthority(ctx, arn); err != nil || state.Certificate != cert+"\n" || state.Chain != chain+"\n" || state.Serial == "" {
		t.Errorf("%v: %+v", err, state)
	}
	// The newlines stay out of what other clients split.
	leaf := must(p.createCertificate(ctx, &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: &arn, Csr: newCSR(t, newKey(t), "leaf.example.com"), SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
		Validity: &types.Validity{Type: types.ValidityPeriodTypeMonths, Value: aws.Int64(1)},
	}))(t)
	out := must(p.pca.GetCertificate(ctx, &acmpca.GetCertificateInput{CertificateAuthorityArn: &arn, CertificateArn: &leaf}))(t)
	if strings.HasSuffix(*out.Certificate, "\n") || strings.HasSuffix(*out.CertificateChain, "\n\n") || strings.Contains(*out.CertificateChain, "\n\n") {
		t.Errorf("the certificate and its chain are %q and %q", *out.Certificate, *out.CertificateChain)
	}
	for _, c := range []string{leaf, certArn} {
		ca := arn
		if c == certArn {
			ca = root.arn
		}
		for range 2 { // a destroy that was interrupted comes again
			if err := p.deleteCertificate(ctx, t, ca, c); err != nil {
				t.Errorf("destroying %s: %v", c, err)
			}
		}
	}
}

func (p terraform) certificates(t *testing.T) {
	ctx := t.Context()
	root := p.instance.root(t)
	now := time.Now().UTC().Truncate(time.Second)
	for _, c := range []struct {
		validity *types.Validity
		notAfter time.Time // zero: not exact
		template string
	}{
		{tfDate(now.AddDate(1, 2, 3)), now.AddDate(1, 2, 3), "EndEntityCertificate/V1"},
		{&types.Validity{Type: types.ValidityPeriodTypeAbsolute, Value: aws.Int64(now.Add(time.Hour).Unix())}, now.Add(time.Hour), "EndEntityServerAuthCertificate/V1"},
		{&types.Validity{Type: types.ValidityPeriodTypeDays, Value: aws.Int64(7)}, time.Time{}, "EndEntityClientAuthCertificate/V1"},
		{&types.Validity{Type: types.ValidityPeriodTypeMonths, Value: aws.Int64(2)}, time.Time{}, "CodeSigningCertificate/V1"},
		{&types.Validity{Type: types.ValidityPeriodTypeYears, Value: aws.Int64(1)}, time.Time{}, "BlankEndEntityCertificate_APIPassthrough/V1"},
	} {
		in := &acmpca.IssueCertificateInput{
			CertificateAuthorityArn: &root.arn, Csr: newCSR(t, newKey(t), "www.example.com"), SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
			TemplateArn: aws.String("arn:aws:acm-pca:::template/" + c.template), Validity: c.validity,
		}
		if strings.Contains(c.template, "APIPassthrough") {
			in.ApiPassthrough = &types.ApiPassthrough{Extensions: &types.Extensions{
				ExtendedKeyUsage:        []types.ExtendedKeyUsage{{ExtendedKeyUsageType: types.ExtendedKeyUsageTypeServerAuth}},
				SubjectAlternativeNames: []types.GeneralName{{DnsName: aws.String("passed.example.com")}},
			}}
		}
		arn := must(p.createCertificate(ctx, in))(t)
		text, chain := root.get(t, arn)
		cert := parseCert(t, text)
		if !c.notAfter.IsZero() && !cert.NotAfter.Equal(c.notAfter) {
			t.Errorf("%s %d ends at %s", c.validity.Type, *c.validity.Value, cert.NotAfter)
		}
		if in.ApiPassthrough != nil && (len(cert.DNSNames) != 1 || cert.DNSNames[0] != "passed.example.com") {
			t.Errorf("the names are %v", cert.DNSNames)
		}
		if chain == "" {
			t.Error("no chain")
		}
		if err := p.deleteCertificate(ctx, t, root.arn, arn); err != nil {
			t.Errorf("%s: %v", c.template, err)
		}
		// GetCertificate still has it, so the next refresh finds it.
		if again, _ := root.get(t, arn); again != text {
			t.Error("the revoked certificate is another")
		}
	}
}

func (p terraform) permissions(t *testing.T) {
	ctx := t.Context()
	// Beside the CA, before it is activated.
	arn := must(p.createAuthority(ctx, types.CertificateAuthorityTypeRoot, nil))(t)
	const acm = "acm.amazonaws.com"
	for _, account := range []string{"", "123456789012"} {
		in := &acmpca.CreatePermissionInput{CertificateAuthorityArn: &arn, Principal: aws.String(acm),
			Actions: []types.ActionType{types.ActionTypeIssueCertificate, types.ActionTypeGetCertificate, types.ActionTypeListPermissions}}
		if account != "" {
			in.SourceAccount = &account
		}
		must(p.pca.CreatePermission(ctx, in))(t)
		got := must(p.readPermission(ctx, arn, acm, account))(t)
		if got == nil || len(got.Actions) != 3 || got.Policy == nil || *got.SourceAccount != "123456789012" {
			t.Fatalf("the permission is %+v", got)
		}
		out := &acmpca.DeletePermissionInput{CertificateAuthorityArn: &arn, Principal: aws.String(acm), SourceAccount: in.SourceAccount}
		must(p.pca.DeletePermission(ctx, out))(t)
		if got := must(p.readPermission(ctx, arn, acm, account))(t); got != nil {
			t.Errorf("after its destruction the permission is %+v", got)
		}
		_, err := p.pca.DeletePermission(ctx, out)
		wantCode(t, err, "ResourceNotFoundException")
	}
	if err := p.deleteAuthority(ctx, arn); err != nil {
		t.Fatal(err)
	}
	if got, err := p.readPermission(ctx, arn, acm, ""); got != nil || err != nil {
		t.Errorf("of a deleted CA: %+v, %v", got, err)
	}
}

func (p terraform) policy(t *testing.T) {
	ctx := t.Context()
	root := p.instance.root(t)
	read := func() (string, error) {
		out, err := p.pca.GetPolicy(ctx, &acmpca.GetPolicyInput{ResourceArn: &root.arn})
		if err != nil {
			return "", err
		}
		return *out.Policy, nil
	}
	_, err := read()
	wantMessage(t, err, "ResourceNotFoundException", "Could not find policy for resource "+root.arn)
	configured := `{
  "Version": "2012-10-17",
  "Statement": [
    {"Sid": "1", "Effect": "Allow", "Principal": {"AWS": "210987654321"}, "Resource": "` + root.arn + `",
     "Action": ["acm-pca:DescribeCertificateAuthority", "acm-pca:GetCertificate", "acm-pca:GetCertificateAuthorityCertificate", "acm-pca:ListPermissions", "acm-pca:ListTags"]},
    {"Sid": "1", "Effect": "Allow", "Principal": {"AWS": "210987654321"}, "Resource": "` + root.arn + `", "Action": ["acm-pca:IssueCertificate"],
     "Condition": {"StringEquals": {"acm-pca:TemplateArn": "arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}}
  ]
}`
	// The provider sends the document in its normal form, and compares what it
	// reads with what is configured as documents, not as text.
	var normal bytes.Buffer
	if err := json.Compact(&normal, []byte(configured)); err != nil {
		t.Fatal(err)
	}
	must(p.pca.PutPolicy(ctx, &acmpca.PutPolicyInput{ResourceArn: &root.arn, Policy: aws.String(normal.String())}))(t)
	var want, got any
	if err := json.Unmarshal([]byte(configured), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(must(read())(t)), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the policy is\n%v, want\n%v", got, want)
	}
	must(p.pca.DeletePolicy(ctx, &acmpca.DeletePolicyInput{ResourceArn: &root.arn}))(t)
	_, err = read()
	wantCode(t, err, "ResourceNotFoundException")
	must(p.pca.DeletePolicy(ctx, &acmpca.DeletePolicyInput{ResourceArn: &root.arn}))(t)
}

// shared reads another account's CA as a data source. No policy can share its
// CSR, and the provider goes on when that is what is denied.
func (p terraform) shared(t *testing.T) {
	ctx := t.Context()
	root := p.instance.root(t)
	account, there := p.account(t, "consumer")
	must(p.pca.PutPolicy(ctx, &acmpca.PutPolicyInput{ResourceArn: &root.arn, Policy: aws.String(`{"Version":"2012-10-17","Statement":[{
		"Effect":"Allow","Principal":{"AWS":"` + account + `"},"Resource":"` + root.arn + `",
		"Action":["acm-pca:DescribeCertificateAuthority","acm-pca:GetCertificate","acm-pca:GetCertificateAuthorityCertificate","acm-pca:ListPermissions","acm-pca:ListTags"]}]}`)}))(t)

	described := must(there.pca.DescribeCertificateAuthority(ctx, &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &root.arn}))(t)
	if ca := described.CertificateAuthority; *ca.Arn != root.arn || *ca.OwnerAccount != "123456789012" {
		t.Errorf("the shared CA is %+v", ca)
	}
	must(there.pca.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &root.arn}))(t)
	_, err := there.pca.GetCertificateAuthorityCsr(ctx, &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &root.arn})
	wantCode(t, err, "AccessDeniedException")
	must(there.pca.ListTags(ctx, &acmpca.ListTagsInput{CertificateAuthorityArn: &root.arn}))(t)
	for owner, want := range map[types.ResourceOwner]int{types.ResourceOwnerSelf: 0, types.ResourceOwnerOtherAccounts: 1} {
		if got := must(there.pca.ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{ResourceOwner: owner}))(t).CertificateAuthorities; len(got) != want {
			t.Errorf("%s: %d CAs, want %d", owner, len(got), want)
		}
	}
}
