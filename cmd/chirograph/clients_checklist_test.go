package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/google/uuid"

	"chirograph.dev/internal/pca"
)

// TestClientChecklist has a row for each thing that unmodified clients need;
// docs/clients.md says who needs it.
func TestClientChecklist(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	for _, row := range []struct {
		name  string
		check func(*instance, *testing.T)
	}{
		{"0 the wire", (*instance).checkWire},
		{"1 all operations, and the texts that clients match", (*instance).checkTexts},
		{"2 a CA is PENDING_CERTIFICATE until the import", (*instance).checkPending},
		{"3 certificates are there at once, and Describe never says in progress", (*instance).checkAtOnce},
		{"4 serials in every form, shown with colons", (*instance).checkSerials},
		{"5 chains", (*instance).checkChains},
		{"6 a token stands for one ARN, whatever the validity", (*instance).checkTokens},
		{"7 END_DATE integers", (*instance).checkEndDates},
		{"8 the default RevocationConfiguration", (*instance).checkRevocationConfiguration},
		{"9 ListTags, and Untag with pairs", (*instance).checkTags},
		{"10 GetCallerIdentity, AssumeRole and AssumeRoleWithWebIdentity where the API is", (*instance).checkSTS},
		{"11 ThrottlingException for rate, LimitExceededException for quota", (*instance).checkLimits},
		{"12 aws acm-pca wait audit-report-created", (*instance).checkWait},
		{"13 Terraform applies and destroys, also a pending CA", (*instance).checkTerraform},
		{"14 a second revocation, and a revoked certificate", (*instance).checkRevoked},
		{"15 whose CAs, and forged tokens", (*instance).checkLists},
		{"16 names and dates of reports", (*instance).checkReports},
	} {
		t.Run(row.name, func(t *testing.T) { t.Parallel(); row.check(i, t) })
	}
}

// post signs and sends one request as botocore and the SDKs do.
func (i *instance) post(t *testing.T, operation, body string) (*http.Response, string) {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodPost, i.API+"/", strings.NewReader(body)))(t)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1; charset=utf-8")
	req.Header.Set("X-Amz-Target", "ACMPrivateCA."+operation)
	digest := sha256.Sum256([]byte(body))
	key := must(i.aws.Credentials.Retrieve(t.Context()))(t)
	if err := v4.NewSigner().SignHTTP(t.Context(), key, req, hex.EncodeToString(digest[:]), "acm-pca", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	resp := must(http.DefaultClient.Do(req))(t)
	defer resp.Body.Close()
	return resp, string(must(io.ReadAll(resp.Body))(t))
}

func (i *instance) checkWire(t *testing.T) {
	root := i.root(t)
	ca := `"CertificateAuthorityArn":"` + root.arn + `"`
	for _, c := range []struct {
		operation, body string
		status          int
		form            string // of the whole body
	}{
		// Times are numbers: milliseconds for what the server did, seconds for certificates.
		{"DescribeCertificateAuthority", `{` + ca + `}`, 200, `^\{"CertificateAuthority":\{.*"CreatedAt":\d{10}\.\d{1,3}[,}].*"NotAfter":\d{10}[,}].*\}\}$`},
		// PEM comes as text; what goes in is base64 of it.
		{"GetCertificateAuthorityCertificate", `{` + ca + `}`, 200, `^\{"Certificate":"-----BEGIN CERTIFICATE-----\\n.*-----END CERTIFICATE-----"\}$`},
		{"IssueCertificate", `{` + ca + `,"Csr":"` + base64.StdEncoding.EncodeToString(newCSR(t, newKey(t), "wire.example.com")) + `","SigningAlgorithm":"SHA256WITHECDSA","Validity":{"Type":"DAYS","Value":1}}`, 200,
			`^\{"CertificateArn":"` + root.arn + `/certificate/[0-9a-f]{32}"\}$`},
		// Members of a later model, and null for what is left out.
		{"ListTags", `{` + ca + `,"MaxResults":null,"NewMember":{"a":[1]}}`, 200, `^\{"Tags":\[\]\}$`},
		// Nothing to say is an empty body.
		{"TagCertificateAuthority", `{` + ca + `,"Tags":[{"Key":"a"}]}`, 200, `^$`},
		// An error's name is in the body, for botocore.
		{"DescribeCertificateAuthority", `{"CertificateAuthorityArn":"` + root.arn[:len(root.arn)-4] + `0000"}`, 400, `^\{"__type":"ResourceNotFoundException","message":".+"\}$`},
		{"IssueCertificate", `{` + ca + `,"Csr":"not base64!"}`, 400, `^\{"__type":"SerializationException","message":".+"\}$`},
		{"NoSuchOperation", `{}`, 404, `^\{"__type":"UnknownOperationException","message":".+"\}$`},
	} {
		resp, body := i.post(t, c.operation, c.body)
		if resp.StatusCode != c.status || !regexp.MustCompile(c.form).MatchString(body) {
			t.Errorf("%s %s answers %d %s", c.operation, c.body, resp.StatusCode, body)
		}
		if id := resp.Header.Get("X-Amzn-Requestid"); uuid.Validate(id) != nil || resp.Header.Get("Date") == "" {
			t.Errorf("%s: the headers are %v", c.operation, resp.Header)
		}
		if kind := resp.Header.Get("Content-Type"); body != "" && kind != "application/x-amz-json-1.1" {
			t.Errorf("%s answers %s", c.operation, kind)
		}
	}
}

func (i *instance) checkTexts(t *testing.T) {
	ctx := t.Context()
	operations := pca.Operations()
	if len(operations) != 23 {
		t.Errorf("%d operations", len(operations))
	}
	for _, op := range operations {
		// Without a signature what is there is refused, what is not there unknown.
		req := must(http.NewRequestWithContext(ctx, http.MethodPost, i.API, strings.NewReader("{}")))(t)
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
		req.Header.Set("X-Amz-Target", "ACMPrivateCA."+op.Name)
		resp := must(http.DefaultClient.Do(req))(t)
		body := must(io.ReadAll(resp.Body))(t)
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden || !bytes.Contains(body, []byte("MissingAuthenticationTokenException")) {
			t.Errorf("%s without a signature: %d %s", op.Name, resp.StatusCode, body)
		}
	}

	a := i.create(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa)
	a.csr(t)
	disable := &acmpca.UpdateCertificateAuthorityInput{CertificateAuthorityArn: &a.arn, Status: types.CertificateAuthorityStatusDisabled}
	_, err := i.pca.UpdateCertificateAuthority(ctx, disable)
	wantMessage(t, err, "InvalidStateException", "The certificate authority must be in the ACTIVE or DISABLED state to be updated")
	_, err = a.issue(ctx, newCSR(t, newKey(t), "leaf.example.com"), nil)
	wantMessage(t, err, "InvalidStateException", "The certificate authority is not in a valid state for issuing certificates")
	arn := a.activate(t)
	wantMessage(t, a.revoke(t, serialOf(arn), types.RevocationReasonUnspecified), "InvalidRequestException", "Self-signed certificate can not be revoked")
	_, err = i.pca.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &a.arn, S3BucketName: aws.String(i.bucket(t, "without-a-policy", false)), AuditReportResponseFormat: types.AuditReportResponseFormatJson,
	})
	wantMessage(t, err, "ValidationException", "Check your S3 bucket permissions and try again")
	remove := &acmpca.DeleteCertificateAuthorityInput{CertificateAuthorityArn: &a.arn}
	_, err = i.pca.DeleteCertificateAuthority(ctx, remove)
	wantMessage(t, err, "InvalidStateException", "The certificate authority is not in a valid state for deletion.")
	_, err = i.pca.RestoreCertificateAuthority(ctx, &acmpca.RestoreCertificateAuthorityInput{CertificateAuthorityArn: &a.arn})
	wantMessage(t, err, "InvalidStateException", "The certificate authority is not in a valid state for restoration.")
	_, err = i.pca.GetPolicy(ctx, &acmpca.GetPolicyInput{ResourceArn: &a.arn})
	wantMessage(t, err, "ResourceNotFoundException", "Could not find policy for resource "+a.arn+".")
	must(i.pca.UpdateCertificateAuthority(ctx, disable))(t)
	must(i.pca.DeleteCertificateAuthority(ctx, remove))(t)
	_, err = i.pca.ListPermissions(ctx, &acmpca.ListPermissionsInput{CertificateAuthorityArn: &a.arn})
	wantMessage(t, err, "InvalidStateException", "The certificate authority is in the DELETED state")
}

func (i *instance) checkPending(t *testing.T) {
	a := i.create(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa)
	csr := a.csr(t)
	arn := must(a.issue(t.Context(), csr, func(in *acmpca.IssueCertificateInput) { in.TemplateArn = aws.String(rootTemplate) }))(t)
	cert, _ := a.get(t, arn)
	// Its certificate exists, and yet it waits for the import.
	for range 3 {
		if d := a.describe(t); d.Status != types.CertificateAuthorityStatusPendingCertificate || d.Serial != nil {
			t.Errorf("before the import the CA is %s with the serial %s", d.Status, aws.ToString(d.Serial))
		}
	}
	must(i.pca.ImportCertificateAuthorityCertificate(t.Context(), &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &a.arn, Certificate: []byte(cert)}))(t)
	if d := a.describe(t); d.Status != types.CertificateAuthorityStatusActive || *d.Serial != parseCert(t, cert).SerialNumber.String() {
		t.Errorf("after the import the CA is %s with the serial %s", d.Status, aws.ToString(d.Serial))
	}
}

func (i *instance) checkAtOnce(t *testing.T) {
	// A key that takes its time to be made.
	in := &acmpca.CreateCertificateAuthorityInput{CertificateAuthorityType: types.CertificateAuthorityTypeRoot, CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
		KeyAlgorithm: types.KeyAlgorithmRsa2048, SigningAlgorithm: types.SigningAlgorithmSha256withrsa, Subject: &types.ASN1Subject{CommonName: aws.String("slow")},
	}}
	a := authority{i, *must(i.pca.CreateCertificateAuthority(t.Context(), in))(t).CertificateAuthorityArn, in}
	for status := types.CertificateAuthorityStatusCreating; status == types.CertificateAuthorityStatusCreating; {
		status = a.describe(t).Status // fails on any error
		if _, err := i.pca.GetCertificateAuthorityCsr(t.Context(), &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &a.arn}); err != nil {
			wantCode(t, err, "RequestInProgressException")
		}
	}
	a.activate(t)
	for range 5 {
		a.get(t, must(a.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)) // fails on any error
	}
}

// colons puts a colon between the bytes of a serial.
func colons(serial string) string {
	return strings.TrimSuffix(regexp.MustCompile("..").ReplaceAllString(serial, "$0:"), ":")
}

func (i *instance) checkSerials(t *testing.T) {
	root := i.root(t)
	csr := newCSR(t, newKey(t), "leaf.example.com")
	shown := map[string]string{}
	odd := false
	for _, form := range []func(string) string{
		func(s string) string { return s },
		colons,
		strings.ToUpper,
		func(s string) string { return strings.ToUpper(colons(s)) },
		func(s string) string { n, _ := new(big.Int).SetString(s, 16); return n.Text(16) }, // Terraform
	} {
		arn := must(root.issue(t.Context(), csr, nil))(t)
		serial := serialOf(arn)
		shown[arn] = colons(serial)
		odd = odd || len(form(serial))%2 == 1 && !strings.Contains(form(serial), ":")
		if err := root.revoke(t, form(serial), types.RevocationReasonUnspecified); err != nil {
			t.Errorf("%s: %v", form(serial), err)
		}
	}
	if !odd {
		t.Error("no serial was sent with an odd number of digits")
	}
	_, file := root.report(t, i.bucket(t, "serials", true), types.AuditReportResponseFormatJson)
	for _, r := range parseRows(t, file)[1:] {
		if r.Serial != shown[r.CertificateArn] || r.RevokedAt == nil {
			t.Errorf("%s is shown as %s, revoked: %t", r.CertificateArn, r.Serial, r.RevokedAt != nil)
		}
	}
}

func (i *instance) checkChains(t *testing.T) {
	root := i.root(t)
	sub := i.subordinate(t, root, "SubordinateCACertificate_PathLen1/V1")
	third := i.subordinate(t, sub, "SubordinateCACertificate_PathLen0/V1")
	installed := must(i.pca.GetCertificateAuthorityCertificate(t.Context(), &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &root.arn}))(t)
	if installed.CertificateChain != nil {
		t.Errorf("a self-signed root has the chain %q", *installed.CertificateChain)
	}
	rootCert := parseCert(t, *installed.Certificate)
	for n, ca := range []authority{root, sub, third} {
		cert, chain := ca.get(t, must(ca.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t))
		certs, err := parsePEM(chain)
		if err != nil || len(certs) != n+1 {
			t.Fatalf("%d certificates in the chain, %v:\n%s", len(certs), err, chain)
		}
		if strings.HasSuffix(cert, "\n") || strings.HasSuffix(chain, "\n\n") || strings.Contains(chain, "\n\n") {
			t.Errorf("blank lines in or after %q, %q", cert, chain)
		}
		if !certs[n].Equal(rootCert) {
			t.Errorf("the chain ends with %s", certs[n].Subject)
		}
		child := parseCert(t, cert)
		for _, parent := range certs {
			if err := child.CheckSignatureFrom(parent); err != nil {
				t.Errorf("%s in the place of the issuer of %s: %v", parent.Subject, child.Subject, err)
			}
			child = parent
		}
		if n > 0 { // what Consul dereferences
			own := must(i.pca.GetCertificateAuthorityCertificate(t.Context(), &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &ca.arn}))(t)
			if own.CertificateChain == nil {
				t.Error("a subordinate without a chain")
			}
		}
	}
}

func (i *instance) checkTokens(t *testing.T) {
	root := i.root(t)
	csr := newCSR(t, newKey(t), "leaf.example.com")
	arns := map[string]bool{}
	for n := range 3 { // cert-manager's issuer: now + duration, ever later
		arns[must(root.issue(t.Context(), csr, func(in *acmpca.IssueCertificateInput) {
			in.IdempotencyToken = aws.String("2cf24dba5fb0a30e26e83b2ac5b9e29e1b16") // 36 characters
			in.Validity = &types.Validity{Type: types.ValidityPeriodTypeAbsolute, Value: aws.Int64(time.Now().Unix() + 3600 + int64(n))}
		}))(t)] = true
	}
	if len(arns) != 1 {
		t.Errorf("one token stands for %v", arns)
	}
}

func (i *instance) checkEndDates(t *testing.T) {
	root := i.root(t)
	for value, want := range map[int64]string{
		20301231235959: "2030-12-31T23:59:59Z",
		20280229000000: "2028-02-29T00:00:00Z",
		301231235959:   "2030-12-31T23:59:59Z",
	} {
		validity := func(in *acmpca.IssueCertificateInput) {
			in.Validity = &types.Validity{Type: types.ValidityPeriodTypeEndDate, Value: &value}
		}
		cert, _ := root.get(t, must(root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), validity))(t))
		if got := parseCert(t, cert).NotAfter.Format(time.RFC3339); got != want {
			t.Errorf("%d is %s", value, got)
		}
	}
	for _, value := range []int64{20300231000000, 20291331000000, 2030123123595, 202912312359590} {
		_, err := root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), func(in *acmpca.IssueCertificateInput) {
			in.Validity = &types.Validity{Type: types.ValidityPeriodTypeEndDate, Value: &value}
		})
		wantCode(t, err, "ValidationException")
	}
}

func (i *instance) checkRevocationConfiguration(t *testing.T) {
	off := &types.RevocationConfiguration{CrlConfiguration: &types.CrlConfiguration{Enabled: aws.Bool(false)}}
	for name, configured := range map[string]*types.RevocationConfiguration{"none": nil, "as Terraform and Consul send it": off} {
		out := must(i.pca.CreateCertificateAuthority(t.Context(), &acmpca.CreateCertificateAuthorityInput{
			CertificateAuthorityType: types.CertificateAuthorityTypeRoot, RevocationConfiguration: configured,
			CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
				KeyAlgorithm: types.KeyAlgorithmEcPrime256v1, SigningAlgorithm: types.SigningAlgorithmSha256withecdsa, Subject: &types.ASN1Subject{CommonName: aws.String("x")},
			},
		}))(t)
		got := authority{i, *out.CertificateAuthorityArn, nil}.describe(t).RevocationConfiguration
		if got == nil || got.CrlConfiguration == nil || got.CrlConfiguration.Enabled == nil || *got.CrlConfiguration.Enabled ||
			got.OcspConfiguration == nil || got.OcspConfiguration.Enabled == nil || *got.OcspConfiguration.Enabled {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func (i *instance) checkTags(t *testing.T) {
	a := i.create(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa)
	list := func() string {
		var all []string
		pages := acmpca.NewListTagsPaginator(i.pca, &acmpca.ListTagsInput{CertificateAuthorityArn: &a.arn, MaxResults: aws.Int32(2)})
		for pages.HasMorePages() {
			for _, tag := range must(pages.NextPage(t.Context()))(t).Tags {
				all = append(all, *tag.Key+"="+aws.ToString(tag.Value))
			}
		}
		return strings.Join(all, " ")
	}
	if got := list(); got != "" {
		t.Errorf("a new CA has the tags %q", got)
	}
	must(i.pca.TagCertificateAuthority(t.Context(), &acmpca.TagCertificateAuthorityInput{CertificateAuthorityArn: &a.arn,
		Tags: tfTags(map[string]string{"a": "1", "b": "2", "c": "3", "d": "", "e": "5"})}))(t)
	if got := list(); got != "a=1 b=2 c=3 d= e=5" {
		t.Errorf("the tags are %q", got)
	}
	must(i.pca.UntagCertificateAuthority(t.Context(), &acmpca.UntagCertificateAuthorityInput{CertificateAuthorityArn: &a.arn,
		Tags: append(tfTags(map[string]string{"a": "1", "b": "another", "d": "", "unknown": "x"}), types.Tag{Key: aws.String("e")})}))(t)
	if got := list(); got != "b=2 c=3" {
		t.Errorf("the tags are %q", got)
	}
}

// checkLimits has servers of its own; the codes decide whether SDKs try again.
func (*instance) checkLimits(t *testing.T) {
	i := start(t, func(c *serveConfig) {
		c.Throttle, c.Quota = "DescribeCertificateAuthority=2:10", "certificate-authorities=1,certificates-per-ca=2"
	})
	once := acmpca.NewFromConfig(i.aws, func(o *acmpca.Options) { o.Retryer = aws.NopRetryer{} })
	a := i.root(t) // which issues the first certificate, its own
	csr := newCSR(t, newKey(t), "leaf.example.com")
	must(a.issue(t.Context(), csr, nil))(t)
	a.pca = once
	_, err := a.issue(t.Context(), csr, nil)
	wantCode(t, err, "LimitExceededException")
	_, err = once.CreateCertificateAuthority(t.Context(), a.in)
	wantCode(t, err, "LimitExceededException")
	for err = nil; err == nil; {
		_, err = once.DescribeCertificateAuthority(t.Context(), &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &a.arn})
	}
	wantMessage(t, err, "ThrottlingException", "Rate exceeded")
	a.pca = acmpca.NewFromConfig(i.aws, func(o *acmpca.Options) { o.RetryMaxAttempts = 10 })
	a.describe(t) // the SDK waits and tries again
}

func (i *instance) checkWait(t *testing.T) {
	root := i.root(t)
	out := must(i.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &root.arn, S3BucketName: aws.String(i.bucket(t, "waited-for", true)), AuditReportResponseFormat: types.AuditReportResponseFormatCsv,
	}))(t)
	i.program(t, "aws", []string{"acm-pca", "wait", "audit-report-created", "--certificate-authority-arn", root.arn, "--audit-report-id", *out.AuditReportId}, nil)
}

func (i *instance) checkTerraform(t *testing.T) {
	p := terraform{i}
	p.root(t)
	p.pending(t)
}

func (i *instance) checkRevoked(t *testing.T) {
	root := i.root(t)
	arn := must(root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
	cert, chain := root.get(t, arn)
	if err := root.revoke(t, serialOf(arn), types.RevocationReasonKeyCompromise); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []types.RevocationReason{types.RevocationReasonKeyCompromise, types.RevocationReasonSuperseded} {
		wantCode(t, root.revoke(t, serialOf(arn), reason), "RequestAlreadyProcessedException")
	}
	if c, ch := root.get(t, arn); c != cert || ch != chain {
		t.Error("the revoked certificate is another")
	}
}

func (i *instance) checkLists(t *testing.T) {
	ctx := t.Context()
	var a authority
	for range 3 {
		a = i.create(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa)
	}
	all := func(owner types.ResourceOwner) (arns []string) {
		pages := acmpca.NewListCertificateAuthoritiesPaginator(i.pca, &acmpca.ListCertificateAuthoritiesInput{ResourceOwner: owner, MaxResults: aws.Int32(1)})
		for pages.HasMorePages() {
			for _, ca := range must(pages.NextPage(ctx))(t).CertificateAuthorities {
				arns = append(arns, *ca.Arn)
			}
		}
		return arns
	}
	self := all(types.ResourceOwnerSelf)
	if len(self) < 3 || len(slices.Compact(slices.Sorted(slices.Values(self)))) != len(self) {
		t.Errorf("the list has %v", self)
	}
	if got := all(types.ResourceOwnerOtherAccounts); len(got) != 0 {
		t.Errorf("nobody shares, and yet the list has %v", got)
	}
	page := must(i.pca.ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{MaxResults: aws.Int32(1)}))(t)
	token := aws.ToString(page.NextToken)
	for name, in := range map[string]*acmpca.ListCertificateAuthoritiesInput{
		"forged":            {NextToken: aws.String("forged")},
		"changed":           {NextToken: aws.String(token[:len(token)-2] + "AA")},
		"of another call":   {NextToken: &token, ResourceOwner: types.ResourceOwnerOtherAccounts},
		"another operation": nil,
	} {
		var err error
		if in != nil {
			_, err = i.pca.ListCertificateAuthorities(ctx, in)
		} else {
			_, err = i.pca.ListTags(ctx, &acmpca.ListTagsInput{CertificateAuthorityArn: &a.arn, NextToken: &token})
		}
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		wantCode(t, err, "InvalidNextTokenException")
	}
	_, err := i.pca.ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{ResourceOwner: "EVERYBODY"})
	wantCode(t, err, "ValidationException")
}

// awsReport is the sample of a report in AWS's documentation, with a CA's own
// ARN in the place of region, account and id.
const awsReport = `[{
  "awsAccountId": "123456789012",
  "certificateArn": "arn:aws:acm-pca:region:account:certificate-authority/CA_ID/certificate/e8cbd2bedb122329f97706bcfec990f8",
  "serial": "e8:cb:d2:be:db:12:23:29:f9:77:06:bc:fe:c9:90:f8",
  "subject": "1.2.840.113549.1.9.1=#161173616c6573406578616d706c652e636f6d,CN=www.example1.com,OU=Sales,O=Example Company,L=Seattle,ST=Washington,C=US",
  "notBefore": "2018-02-26T18:39:57+0000",
  "notAfter": "2019-02-26T19:39:57+0000",
  "issuedAt": "2018-02-26T19:39:58+0000",
  "revokedAt": "2018-02-26T20:00:36+0000",
  "revocationReason": "KEY_COMPROMISE"
},
{
  "awsAccountId": "123456789012",
  "certificateArn": "arn:aws:acm-pca:region:account:certificate-authority/CA_ID/certificate/2bae9a75d71b42b4e41e36f8b4b488fc",
  "serial": "2b:ae:9a:75:d7:1b:42:b4:e4:1e:36:f8:b4:b4:88:fc",
  "subject": "1.2.840.113549.1.9.1=#161970726f64407777772e70616c6f75736573616c65732e636f6d,CN=www.example3.com.com,OU=Sales,O=Example Company,L=Seattle,ST=Washington,C=US",
  "notBefore": "2018-01-22T20:10:49+0000",
  "notAfter": "2019-01-17T21:10:49+0000",
  "issuedAt": "2018-01-22T21:10:49+0000"
}]`

// checkReports makes the certificates of AWS's sample and has them reported.
// What a CA decides itself, serial and times, must have the sample's form; all
// else must be the sample's own text.
func (i *instance) checkReports(t *testing.T) {
	root := i.root(t)
	var samples []map[string]string
	if err := json.Unmarshal([]byte(awsReport), &samples); err != nil {
		t.Fatal(err)
	}
	order := func(object string) (names []string) {
		for _, m := range regexp.MustCompile(`"(\w+)": ?"`).FindAllStringSubmatch(object, -1) {
			names = append(names, m[1])
		}
		return names
	}
	sampleRows := strings.SplitAfter(awsReport, "},")
	key := newKey(t)
	for n, hexName := range []string{
		"30819b310b30090603550406130255533113301106035504080c0a57617368696e67746f6e3110300e06035504070c0753656174746c6531183016060355040a0c0f4578616d706c6520436f6d70616e79310e300c060355040b0c0553616c65733119301706035504030c107777772e6578616d706c65312e636f6d3120301e06092a864886f70d010901161173616c6573406578616d706c652e636f6d",
		"3081a7310b30090603550406130255533113301106035504080c0a57617368696e67746f6e3110300e06035504070c0753656174746c6531183016060355040a0c0f4578616d706c6520436f6d70616e79310e300c060355040b0c0553616c6573311d301b06035504030c147777772e6578616d706c65332e636f6d2e636f6d3128302606092a864886f70d010901161970726f64407777772e70616c6f75736573616c65732e636f6d",
	} {
		der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{RawSubject: must(hex.DecodeString(hexName))(t)}, key))(t)
		arn := must(root.issue(t.Context(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil))(t)
		if reason := samples[n]["revocationReason"]; reason != "" {
			if err := root.revoke(t, serialOf(arn), types.RevocationReason(reason)); err != nil {
				t.Fatal(err)
			}
		}
	}
	bucket := i.bucket(t, "samples", true)
	_, fileJSON := root.report(t, bucket, types.AuditReportResponseFormatJson)
	_, fileCSV := root.report(t, bucket, types.AuditReportResponseFormatCsv)
	var rows []map[string]string
	if err := json.Unmarshal(fileJSON, &rows); err != nil {
		t.Fatal(err)
	}
	records := must(csv.NewReader(bytes.NewReader(fileCSV)).ReadAll())(t)
	lines := strings.Split(string(fileJSON), "\n")
	for n, sample := range samples {
		row := rows[n+1] // the first is the root's own
		names := order(lines[n+2])
		if want := append(order(sampleRows[n]), "templateArn"); !slices.Equal(names, want) {
			t.Errorf("row %d has %v, want %v", n, names, want)
		}
		for name, text := range sample {
			got := row[name]
			form := "^" + regexp.QuoteMeta(text) + "$"
			switch name {
			case "certificateArn":
				form = "^" + regexp.QuoteMeta(root.arn) + "/certificate/[0-9a-f]{32}$"
			case "serial", "notBefore", "notAfter", "issuedAt", "revokedAt":
				form = "^" + regexp.MustCompile(`[0-9a-f]`).ReplaceAllStringFunc(regexp.QuoteMeta(text), func(d string) string {
					if name == "serial" {
						return "[0-9a-f]"
					}
					return `\d`
				}) + "$"
				if name != "serial" {
					form = strings.Replace(form, `\+\d\d\d\d`, `\+0000`, 1)
				}
			}
			if !regexp.MustCompile(form).MatchString(got) {
				t.Errorf("%s is %q, AWS writes %q", name, got, text)
			}
			if column := slices.Index(records[0], name); records[n+2][column] != got {
				t.Errorf("the CSV's %s is %q, the JSON's %q", name, records[n+2][column], got)
			}
		}
		if strings.ReplaceAll(row["serial"], ":", "") != serialOf(row["certificateArn"]) {
			t.Errorf("the serial %s of %s", row["serial"], row["certificateArn"])
		}
		if before, issued := parseDate(t, row["notBefore"]), parseDate(t, row["issuedAt"]); issued.Sub(before) < time.Hour || issued.Sub(before) > time.Hour+time.Minute {
			t.Errorf("valid since %s, issued at %s", row["notBefore"], row["issuedAt"])
		}
	}
	if len(rows) != 1+len(samples) || len(records) != 1+len(rows) {
		t.Errorf("%d rows, %d lines", len(rows), len(records))
	}
}

func parseDate(t *testing.T, s string) time.Time {
	t.Helper()
	return must(time.Parse("2006-01-02T15:04:05-0700", s))(t)
}
