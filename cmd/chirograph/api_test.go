package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"chirograph.dev/internal/bucket"
)

const rootTemplate = "arn:aws:acm-pca:::template/RootCACertificate/V1"

// wantCode fails unless err is an API error of that code.
func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok || e.ErrorCode() != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

func wantMessage(t *testing.T, err error, code, substring string) {
	t.Helper()
	wantCode(t, err, code)
	if err != nil && !strings.Contains(err.Error(), substring) {
		t.Errorf("the message %q does not say %q", err, substring)
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// authority is one CA under test.
type authority struct {
	*instance
	arn string
	in  *acmpca.CreateCertificateAuthorityInput
}

func (i *instance) create(t *testing.T, typ types.CertificateAuthorityType, key types.KeyAlgorithm, sig types.SigningAlgorithm) authority {
	t.Helper()
	return i.createNamed(t, typ, key, sig, &types.ASN1Subject{CommonName: aws.String(t.Name()[:min(len(t.Name()), 64)]), Organization: aws.String("Example"), Country: aws.String("US")})
}

func (i *instance) createNamed(t *testing.T, typ types.CertificateAuthorityType, key types.KeyAlgorithm, sig types.SigningAlgorithm, subject *types.ASN1Subject) authority {
	t.Helper()
	in := &acmpca.CreateCertificateAuthorityInput{
		CertificateAuthorityType: typ,
		CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
			KeyAlgorithm: key, SigningAlgorithm: sig, Subject: subject,
		},
	}
	out := must(i.pca.CreateCertificateAuthority(t.Context(), in))(t)
	return authority{i, *out.CertificateAuthorityArn, in}
}

func (a authority) describe(t *testing.T) *types.CertificateAuthority {
	t.Helper()
	return must(a.pca.DescribeCertificateAuthority(t.Context(), &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &a.arn}))(t).CertificateAuthority
}

func (a authority) csr(t *testing.T) []byte {
	t.Helper()
	w := acmpca.NewCertificateAuthorityCSRCreatedWaiter(a.pca, func(o *acmpca.CertificateAuthorityCSRCreatedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, time.Second
	})
	out := must(w.WaitForOutput(t.Context(), &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &a.arn}, 2*time.Minute))(t)
	return []byte(*out.Csr)
}

func (a authority) issue(ctx context.Context, csr []byte, change func(*acmpca.IssueCertificateInput)) (string, error) {
	in := &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: &a.arn, Csr: csr, SigningAlgorithm: a.in.CertificateAuthorityConfiguration.SigningAlgorithm,
		Validity: &types.Validity{Type: types.ValidityPeriodTypeDays, Value: aws.Int64(30)},
	}
	if change != nil {
		change(in)
	}
	out, err := a.pca.IssueCertificate(ctx, in)
	if err != nil {
		return "", err
	}
	return *out.CertificateArn, nil
}

func (a authority) get(t *testing.T, arn string) (cert, chain string) {
	t.Helper()
	out := must(a.pca.GetCertificate(t.Context(), &acmpca.GetCertificateInput{CertificateAuthorityArn: &a.arn, CertificateArn: &arn}))(t)
	return aws.ToString(out.Certificate), aws.ToString(out.CertificateChain)
}

// activate makes a pending root active and returns the ARN of its certificate.
func (a authority) activate(t *testing.T) string {
	t.Helper()
	arn := must(a.issue(t.Context(), a.csr(t), func(in *acmpca.IssueCertificateInput) {
		in.TemplateArn = aws.String(rootTemplate)
		in.Validity = &types.Validity{Type: types.ValidityPeriodTypeYears, Value: aws.Int64(10)}
	}))(t)
	cert, chain := a.get(t, arn)
	if chain != "" {
		t.Errorf("a root's certificate has the chain %q", chain)
	}
	must(a.pca.ImportCertificateAuthorityCertificate(t.Context(), &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &a.arn, Certificate: []byte(cert)}))(t)
	return arn
}

func (i *instance) root(t *testing.T) authority {
	t.Helper()
	a := i.create(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa)
	a.activate(t)
	return a
}

func (a authority) revoke(t *testing.T, serial string, reason types.RevocationReason) error {
	t.Helper()
	_, err := a.pca.RevokeCertificate(t.Context(), &acmpca.RevokeCertificateInput{CertificateAuthorityArn: &a.arn, CertificateSerial: &serial, RevocationReason: reason})
	return err
}

func grantPolicy(name string) string { return string(bucket.PolicyFor(name, "", "")) }

// bucket makes a bucket; with grant its policy lets CAs write reports.
func (i *instance) bucket(t *testing.T, name string, grant bool) string {
	t.Helper()
	must(i.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}))(t)
	if grant {
		must(i.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &name, Policy: aws.String(grantPolicy(name))}))(t)
	}
	return name
}

// report makes a report, waits for it with the SDK's waiter and reads it.
func (a authority) report(t *testing.T, bucket string, format types.AuditReportResponseFormat) (key string, file []byte) {
	t.Helper()
	out := must(a.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &a.arn, S3BucketName: &bucket, AuditReportResponseFormat: format,
	}))(t)
	w := acmpca.NewAuditReportCreatedWaiter(a.pca, func(o *acmpca.AuditReportCreatedWaiterOptions) {
		o.MinDelay, o.MaxDelay = 10*time.Millisecond, time.Second
	})
	done := must(w.WaitForOutput(t.Context(), &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &a.arn, AuditReportId: out.AuditReportId}, 2*time.Minute))(t)
	if *done.S3Key != *out.S3Key || *done.S3BucketName != bucket || time.Since(*done.CreatedAt) > time.Minute { // the clock of some servers is ahead
		t.Errorf("Describe answers %s %s %v", *done.S3BucketName, *done.S3Key, done.CreatedAt)
	}
	object := must(a.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: out.S3Key}))(t)
	defer object.Body.Close()
	return *out.S3Key, must(io.ReadAll(object.Body))(t)
}

// row is a row of a JSON report with every member that may stand in it.
type row struct {
	AwsAccountID   string  `json:"awsAccountId"`
	Service        string  `json:"requestedByServicePrincipal"`
	CertificateArn string  `json:"certificateArn"`
	Serial         string  `json:"serial"`
	Subject        string  `json:"subject"`
	NotBefore      string  `json:"notBefore"`
	NotAfter       string  `json:"notAfter"`
	IssuedAt       string  `json:"issuedAt"`
	RevokedAt      *string `json:"revokedAt"`
	Reason         *string `json:"revocationReason"`
	TemplateArn    string  `json:"templateArn"`
}

func parseRows(t *testing.T, file []byte) (rows []row) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	if err := d.Decode(&rows); err != nil {
		t.Fatalf("%v in %s", err, file)
	}
	return rows
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
}

func newCSR(t *testing.T, key crypto.Signer, name string) []byte {
	t.Helper()
	request := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	if strings.HasSuffix(name, ".example.com") {
		request.DNSNames = []string{name}
	}
	der := must(x509.CreateCertificateRequest(rand.Reader, request, key))(t)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func parseCert(t *testing.T, text string) *x509.Certificate {
	t.Helper()
	block, rest := pem.Decode([]byte(text))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		t.Fatalf("not one PEM block: %q", text)
	}
	return must(x509.ParseCertificate(block.Bytes))(t)
}

func serialOf(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func TestRootLifecycle(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	ctx := t.Context()
	a := i.create(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa)

	// Readable at once, with the defaults that clients compare.
	d := a.describe(t)
	if *d.Arn != a.arn || *d.OwnerAccount != "123456789012" || d.Type != types.CertificateAuthorityTypeRoot ||
		d.KeyStorageSecurityStandard != types.KeyStorageSecurityStandardFips1402Level3OrHigher ||
		d.UsageMode != types.CertificateAuthorityUsageModeGeneralPurpose ||
		d.RevocationConfiguration == nil || aws.ToBool(d.RevocationConfiguration.CrlConfiguration.Enabled) ||
		aws.ToBool(d.RevocationConfiguration.OcspConfiguration.Enabled) || d.Serial != nil || d.NotAfter != nil || d.FailureReason != "" {
		t.Errorf("a new CA is described as %+v", d)
	}
	csr := a.csr(t)
	if again := a.csr(t); !bytes.Equal(csr, again) {
		t.Error("the CSR differs between calls")
	}
	if d := a.describe(t); d.Status != types.CertificateAuthorityStatusPendingCertificate {
		t.Errorf("status %s, want PENDING_CERTIFICATE", d.Status)
	}
	leaf := newCSR(t, newKey(t), "leaf.example.com")
	_, err := a.issue(ctx, leaf, nil)
	wantMessage(t, err, "InvalidStateException", "The certificate authority is not in a valid state for issuing certificates")
	_, err = i.pca.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &a.arn})
	wantCode(t, err, "InvalidStateException")
	_, err = i.pca.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &a.arn, S3BucketName: aws.String("some-bucket"), AuditReportResponseFormat: types.AuditReportResponseFormatJson})
	wantCode(t, err, "InvalidStateException")
	wantCode(t, a.revoke(t, "01", types.RevocationReasonUnspecified), "InvalidStateException")
	// The root's template needs the CA's own key.
	_, err = a.issue(ctx, leaf, func(in *acmpca.IssueCertificateInput) { in.TemplateArn = aws.String(rootTemplate) })
	wantCode(t, err, "InvalidArgsException")

	rootARN := a.activate(t)
	d = a.describe(t)
	cert, _ := a.get(t, rootARN)
	c := parseCert(t, cert)
	if d.Status != types.CertificateAuthorityStatusActive || *d.Serial != c.SerialNumber.String() || !d.NotAfter.Equal(c.NotAfter) || !d.NotBefore.Equal(c.NotBefore) {
		t.Errorf("an active CA is described as %+v", d)
	}
	if want := fmt.Sprintf("%032x", c.SerialNumber); serialOf(rootARN) != want {
		t.Errorf("the ARN ends in %s, the serial is %s", serialOf(rootARN), want)
	}
	got := must(i.pca.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &a.arn}))(t)
	if *got.Certificate != cert || got.CertificateChain != nil {
		t.Error("the installed certificate is not what was imported")
	}
	wantMessage(t, a.revoke(t, serialOf(rootARN), types.RevocationReasonUnspecified), "InvalidRequestException", "Self-signed certificate can not be revoked")

	list := must(i.pca.ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{}))(t)
	if len(list.CertificateAuthorities) != 1 || *list.CertificateAuthorities[0].Arn != a.arn || list.NextToken != nil {
		t.Errorf("the list is %+v", list)
	}
}

func TestSubordinates(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	ctx := t.Context()
	root := i.root(t)
	rootCert := *must(i.pca.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &root.arn}))(t).Certificate

	sub := i.create(t, types.CertificateAuthorityTypeSubordinate, types.KeyAlgorithmEcSecp384r1, types.SigningAlgorithmSha384withecdsa)
	subARN := must(root.issue(ctx, sub.csr(t), func(in *acmpca.IssueCertificateInput) {
		in.TemplateArn = aws.String("arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen0/V1")
		in.Validity = &types.Validity{Type: types.ValidityPeriodTypeYears, Value: aws.Int64(3)}
	}))(t)
	subCert, subChain := root.get(t, subARN)
	if subChain != strings.TrimSuffix(rootCert, "\n") {
		t.Errorf("the chain of a subordinate is %q", subChain)
	}
	_, err := i.pca.ImportCertificateAuthorityCertificate(ctx, &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &sub.arn, Certificate: []byte(subCert)})
	wantCode(t, err, "InvalidRequestException") // no chain
	_, err = i.pca.ImportCertificateAuthorityCertificate(ctx, &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &sub.arn, Certificate: []byte(rootCert), CertificateChain: []byte(rootCert)})
	wantCode(t, err, "CertificateMismatchException") // another key
	must(i.pca.ImportCertificateAuthorityCertificate(ctx, &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &sub.arn, Certificate: []byte(subCert), CertificateChain: []byte(subChain)}))(t)
	got := must(i.pca.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &sub.arn}))(t)
	if *got.Certificate != subCert || aws.ToString(got.CertificateChain) != subChain {
		t.Error("the installed certificate is not what was imported")
	}

	// A leaf of the subordinate verifies up to the root, and the chain's last certificate is the root.
	leafARN := must(sub.issue(ctx, newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
	leafCert, leafChain := sub.get(t, leafARN)
	if strings.HasSuffix(leafCert, "\n") || strings.HasSuffix(leafChain, "\n") {
		t.Error("a certificate or chain ends with a newline")
	}
	if want := subCert + "\n" + strings.TrimSuffix(rootCert, "\n"); leafChain != want {
		t.Errorf("the chain is\n%s\nwant\n%s", leafChain, want)
	}
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(parseCert(t, rootCert))
	middle.AddCert(parseCert(t, subCert))
	if _, err := parseCert(t, leafCert).Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, DNSName: "leaf.example.com", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Error(err)
	}
	// Path length 0 signs no CA.
	third := i.create(t, types.CertificateAuthorityTypeSubordinate, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa)
	_, err = sub.issue(ctx, third.csr(t), func(in *acmpca.IssueCertificateInput) {
		in.TemplateArn = aws.String("arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen0/V1")
	})
	wantCode(t, err, "ValidationException")

	// An external parent signs with its own software, serial and subject.
	key := newKey(t)
	parent := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "Offline Root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	parentDER := must(x509.CreateCertificate(rand.Reader, parent, parent, key.Public(), key))(t)
	block, _ := pem.Decode(third.csr(t))
	request := must(x509.ParseCertificateRequest(block.Bytes))(t)
	child := &x509.Certificate{
		SerialNumber: big.NewInt(8), Subject: pkix.Name{CommonName: "Renamed by the parent"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, MaxPathLenZero: true,
	}
	childDER := must(x509.CreateCertificate(rand.Reader, child, must(x509.ParseCertificate(parentDER))(t), request.PublicKey, key))(t)
	encode := func(der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}) }
	must(i.pca.ImportCertificateAuthorityCertificate(ctx, &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &third.arn, Certificate: encode(childDER), CertificateChain: encode(parentDER)}))(t)
	d := third.describe(t)
	if d.Status != types.CertificateAuthorityStatusActive || *d.Serial != "8" {
		t.Errorf("a CA under an external parent is described as %+v", d)
	}
	leafARN = must(third.issue(ctx, newCSR(t, newKey(t), "two.example.com"), nil))(t)
	leafCert, _ = third.get(t, leafARN)
	if c := parseCert(t, leafCert); c.Issuer.CommonName != "Renamed by the parent" {
		t.Errorf("the issuer is %s", c.Issuer)
	}
	_, err = third.issue(ctx, newCSR(t, newKey(t), "three.example.com"), func(in *acmpca.IssueCertificateInput) {
		in.Validity = &types.Validity{Type: types.ValidityPeriodTypeYears, Value: aws.Int64(2)}
	})
	wantCode(t, err, "ValidationException") // beyond the CA's own end

	// Only what a CA's own key signed is in its report.
	bucket := i.bucket(t, "reports-of-subordinates", true)
	_, file := third.report(t, bucket, types.AuditReportResponseFormatJson)
	if rows := parseRows(t, file); len(rows) != 1 || rows[0].CertificateArn != leafARN {
		t.Errorf("the report of a CA with one leaf lists %+v", rows)
	}
	_, file = root.report(t, bucket, types.AuditReportResponseFormatJson)
	if rows := parseRows(t, file); len(rows) != 2 || rows[1].CertificateArn != subARN || !strings.HasSuffix(rows[1].TemplateArn, "SubordinateCACertificate_PathLen0/V1") {
		t.Errorf("the report of the root lists %+v", rows)
	}
}

func TestKeyAlgorithms(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	for _, c := range []struct {
		key types.KeyAlgorithm
		sig types.SigningAlgorithm
		got x509.SignatureAlgorithm
	}{
		{types.KeyAlgorithmRsa2048, types.SigningAlgorithmSha256withrsa, x509.SHA256WithRSA},
		{types.KeyAlgorithmRsa3072, types.SigningAlgorithmSha384withrsa, x509.SHA384WithRSA},
		{types.KeyAlgorithmRsa4096, types.SigningAlgorithmSha512withrsa, x509.SHA512WithRSA},
		{types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa, x509.ECDSAWithSHA256},
		{types.KeyAlgorithmEcSecp384r1, types.SigningAlgorithmSha384withecdsa, x509.ECDSAWithSHA384},
		{types.KeyAlgorithmEcSecp521r1, types.SigningAlgorithmSha512withecdsa, x509.ECDSAWithSHA512},
		{types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha512withecdsa, x509.ECDSAWithSHA512},
	} {
		t.Run(string(c.key)+" "+string(c.sig), func(t *testing.T) {
			t.Parallel()
			a := i.create(t, types.CertificateAuthorityTypeRoot, c.key, c.sig)
			a.activate(t)
			arn := must(a.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
			cert, chain := a.get(t, arn)
			leaf, root := parseCert(t, cert), parseCert(t, chain)
			if leaf.SignatureAlgorithm != c.got {
				t.Errorf("signed with %s", leaf.SignatureAlgorithm)
			}
			if err := leaf.CheckSignatureFrom(root); err != nil {
				t.Error(err)
			}
		})
	}
	for _, c := range []struct {
		key types.KeyAlgorithm
		sig types.SigningAlgorithm
	}{
		{types.KeyAlgorithmRsa2048, types.SigningAlgorithmSha256withecdsa},
		{types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withrsa},
		{types.KeyAlgorithmSm2, types.SigningAlgorithmSm3withsm2},
		{types.KeyAlgorithmMlDsa65, types.SigningAlgorithmMlDsa44},
	} {
		_, err := i.pca.CreateCertificateAuthority(t.Context(), &acmpca.CreateCertificateAuthorityInput{
			CertificateAuthorityType:          types.CertificateAuthorityTypeRoot,
			CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{KeyAlgorithm: c.key, SigningAlgorithm: c.sig, Subject: &types.ASN1Subject{CommonName: aws.String("x")}},
		})
		wantCode(t, err, "InvalidArgsException")
	}
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	ctx := t.Context()
	root := i.root(t)
	csr := newCSR(t, newKey(t), "leaf.example.com")
	token := func(in *acmpca.IssueCertificateInput) { in.IdempotencyToken = aws.String("cert-manager-token") }
	first := must(root.issue(ctx, csr, token))(t)
	// cert-manager's retries carry another validity.
	again := must(root.issue(ctx, csr, func(in *acmpca.IssueCertificateInput) {
		token(in)
		in.Validity = &types.Validity{Type: types.ValidityPeriodTypeAbsolute, Value: aws.Int64(time.Now().Add(time.Hour).Unix())}
	}))(t)
	other := must(root.issue(ctx, csr, nil))(t)
	if again != first || other == first {
		t.Errorf("with one token %s and %s, without %s", first, again, other)
	}
	// Concurrent calls with one token make one certificate.
	var mu sync.Mutex
	arns := map[string]bool{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			arn, err := root.issue(ctx, csr, func(in *acmpca.IssueCertificateInput) { in.IdempotencyToken = aws.String("at once") })
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			arns[arn] = true
		})
	}
	wg.Wait()
	if len(arns) != 1 {
		t.Errorf("one token made %d certificates", len(arns))
	}
	_, file := root.report(t, i.bucket(t, "reports-of-tokens", true), types.AuditReportResponseFormatJson)
	if rows := parseRows(t, file); len(rows) != 4 {
		t.Errorf("the report has %d rows, want the root and three leaves", len(rows))
	}
	in := *root.in
	in.IdempotencyToken = aws.String("one CA")
	one := must(i.pca.CreateCertificateAuthority(ctx, &in))(t)
	two := must(i.pca.CreateCertificateAuthority(ctx, &in))(t)
	if *one.CertificateAuthorityArn != *two.CertificateAuthorityArn {
		t.Error("one token made two CAs")
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	ctx := t.Context()
	root := i.root(t)
	csr := newCSR(t, newKey(t), "leaf.example.com")
	// Every way in which clients write a serial, with every reason.
	colons := func(s string) string {
		var parts []string
		for ; s != ""; s = s[2:] {
			parts = append(parts, s[:2])
		}
		return strings.Join(parts, ":")
	}
	terraform := func(s string) string { n, _ := new(big.Int).SetString(s, 16); return fmt.Sprintf("%x", n) }
	forms := []func(string) string{
		func(s string) string { return s }, strings.ToUpper, colons, func(s string) string { return strings.ToUpper(colons(s)) },
		terraform, func(s string) string { return "00" + s }, func(s string) string { return "0" + s }, func(s string) string { return "00:" + colons(s) },
	}
	reasons := types.RevocationReason("").Values()
	if len(reasons) != len(forms) {
		t.Fatalf("%d reasons, %d forms", len(reasons), len(forms))
	}
	want := map[string]string{}
	for n, reason := range reasons {
		arn := must(root.issue(ctx, csr, nil))(t)
		serial := forms[n](serialOf(arn))
		if err := root.revoke(t, serial, reason); err != nil {
			t.Errorf("%s: %v", serial, err)
		}
		wantCode(t, root.revoke(t, serialOf(arn), types.RevocationReasonUnspecified), "RequestAlreadyProcessedException")
		root.get(t, arn) // a revoked certificate can still be had
		want[arn] = string(reason)
	}
	for serial, code := range map[string]string{
		"0123456789abcdef0123456789abcdef": "ResourceNotFoundException",
		"not hex":                          "InvalidRequestException",
		":":                                "InvalidRequestException",
		strings.Repeat("ab", 21):           "InvalidRequestException",
		strings.Repeat("a", 129):           "ValidationException",
		strings.Repeat("0", 60) + strings.Repeat("1", 32): "ResourceNotFoundException",
	} {
		wantCode(t, root.revoke(t, serial, types.RevocationReasonUnspecified), code)
	}
	arn := must(root.issue(ctx, csr, nil))(t)
	wantCode(t, root.revoke(t, serialOf(arn), "BORED"), "ValidationException")
	// Of racing calls exactly one succeeds.
	var wg sync.WaitGroup
	results := make(chan error, 8)
	for range cap(results) {
		wg.Go(func() { results <- root.revoke(t, serialOf(arn), types.RevocationReasonSuperseded) })
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		if err == nil {
			won++
		} else {
			wantCode(t, err, "RequestAlreadyProcessedException")
		}
	}
	if won != 1 {
		t.Errorf("%d of racing revocations succeeded", won)
	}
	want[arn] = "SUPERSEDED"
	expiring := must(root.issue(ctx, csr, func(in *acmpca.IssueCertificateInput) {
		in.Validity = &types.Validity{Type: types.ValidityPeriodTypeAbsolute, Value: aws.Int64(time.Now().Unix() + 2)}
	}))(t)
	cert, _ := root.get(t, expiring)
	for end := parseCert(t, cert).NotAfter; time.Now().Unix() <= end.Unix(); {
		time.Sleep(50 * time.Millisecond)
	}
	wantCode(t, root.revoke(t, serialOf(expiring), types.RevocationReasonUnspecified), "InvalidRequestException")

	_, file := root.report(t, i.bucket(t, "reports-of-revocations", true), types.AuditReportResponseFormatJson)
	for _, r := range parseRows(t, file) {
		if (r.Reason == nil) != (r.RevokedAt == nil) || aws.ToString(r.Reason) != want[r.CertificateArn] {
			t.Errorf("%s is listed with %v, want %q", r.CertificateArn, aws.ToString(r.Reason), want[r.CertificateArn])
		}
		delete(want, r.CertificateArn)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
}

func TestReport(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	ctx := t.Context()
	root := i.root(t)
	bucket := i.bucket(t, "reports", true)
	arns := map[string]bool{}
	for _, name := range []string{"a.example.com", "b, \"quoted\" <&> c", "Müller 日本 😀", "#lead", " spaces "} {
		arns[must(root.issue(ctx, newCSR(t, newKey(t), name), nil))(t)] = true
	}
	keyJSON, fileJSON := root.report(t, bucket, types.AuditReportResponseFormatJson)
	keyCSV, fileCSV := root.report(t, bucket, types.AuditReportResponseFormatCsv)
	id := root.arn[strings.LastIndexByte(root.arn, '/')+1:]
	if !strings.HasPrefix(keyJSON, "audit-report/"+id+"/") || !strings.HasSuffix(keyJSON, ".json") || !strings.HasSuffix(keyCSV, ".csv") {
		t.Errorf("the keys are %s and %s", keyJSON, keyCSV)
	}
	rows := parseRows(t, fileJSON)
	if len(rows) != 6 {
		t.Fatalf("%d rows, want 6", len(rows))
	}
	records := must(csv.NewReader(bytes.NewReader(fileCSV)).ReadAll())(t)
	if got, want := strings.Join(records[0], ","), "awsAccountId,requestedByServicePrincipal,certificateArn,serial,subject,notBefore,notAfter,issuedAt,revokedAt,revocationReason,templateArn"; got != want {
		t.Errorf("the header is %s", got)
	}
	for n, r := range rows {
		cert, _ := root.get(t, r.CertificateArn)
		c := parseCert(t, cert)
		serial := hex.EncodeToString(c.SerialNumber.FillBytes(make([]byte, 16)))
		const layout = "2006-01-02T15:04:05+0000"
		if r.CertificateArn != root.arn+"/certificate/"+serial || strings.ReplaceAll(r.Serial, ":", "") != serial ||
			r.NotBefore != c.NotBefore.UTC().Format(layout) || r.NotAfter != c.NotAfter.UTC().Format(layout) || r.AwsAccountID != "123456789012" {
			t.Errorf("the row %+v is not of the certificate %s %s", r, c.NotBefore, serial)
		}
		if issued := must(time.Parse(layout, r.IssuedAt))(t); issued.Before(c.NotBefore.Add(time.Hour)) || time.Since(issued) > time.Minute {
			t.Errorf("issuedAt is %s, notBefore %s", r.IssuedAt, r.NotBefore)
		}
		want := []string{r.AwsAccountID, "", r.CertificateArn, r.Serial, r.Subject, r.NotBefore, r.NotAfter, r.IssuedAt, "", "", r.TemplateArn}
		if got := records[n+1]; strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Errorf("the CSV record is %q, the JSON row says %q", got, want)
		}
	}

	// Refusals leave no report and no object behind.
	create := func(ca, bucket string) error {
		_, err := i.pca.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &ca, S3BucketName: &bucket, AuditReportResponseFormat: types.AuditReportResponseFormatJson})
		return err
	}
	i.bucket(t, "no-policy", false)
	i.bucket(t, "denied", true)
	deny := strings.Replace(grantPolicy("denied"), `"Statement": [`, `"Statement": [{"Effect":"Deny","Principal":"*","Action":"s3:PutObject","Resource":"arn:aws:s3:::denied/audit-report/*"},`, 1)
	must(i.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String("denied"), Policy: &deny}))(t)
	wantMessage(t, create(root.arn, "no-policy"), "ValidationException", "Check your S3 bucket permissions and try again")
	wantMessage(t, create(root.arn, "denied"), "ValidationException", "Check your S3 bucket permissions and try again")
	wantCode(t, create(root.arn, "missing-bucket"), "ResourceNotFoundException")
	wantCode(t, create(root.arn, "Upper"), "InvalidArgsException")
	wantCode(t, create(root.arn, "ab"), "ValidationException")
	wantCode(t, create(strings.Replace(root.arn, id, "00000000-0000-4000-8000-000000000000", 1), bucket), "ResourceNotFoundException")
	wantCode(t, create(root.arn+"/certificate/"+strings.Repeat("0", 32), bucket), "InvalidArnException")
	for _, b := range []string{"no-policy", "denied"} {
		if out := must(i.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &b}))(t); len(out.Contents) > 0 {
			t.Errorf("the bucket %s holds %s", b, *out.Contents[0].Key)
		}
	}
	_, err := i.pca.DescribeCertificateAuthorityAuditReport(ctx, &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &root.arn, AuditReportId: aws.String("00000000-0000-4000-8000-000000000000")})
	wantCode(t, err, "ResourceNotFoundException")
	// A report belongs to its CA.
	other := i.root(t)
	reportID := strings.TrimSuffix(keyJSON[strings.LastIndexByte(keyJSON, '/')+1:], ".json")
	_, err = i.pca.DescribeCertificateAuthorityAuditReport(ctx, &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &other.arn, AuditReportId: &reportID})
	wantCode(t, err, "ResourceNotFoundException")
}

func TestReportInterval(t *testing.T) {
	t.Parallel()
	i := start(t, func(c *serveConfig) { c.AuditMinInterval = 30 * time.Minute })
	root := i.root(t)
	bucket := i.bucket(t, "reports", true)
	key, _ := root.report(t, bucket, types.AuditReportResponseFormatJson)
	_, err := i.pca.CreateCertificateAuthorityAuditReport(t.Context(), &acmpca.CreateCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &root.arn, S3BucketName: &bucket, AuditReportResponseFormat: types.AuditReportResponseFormatCsv})
	id := strings.TrimSuffix(key[strings.LastIndexByte(key, '/')+1:], ".json")
	wantMessage(t, err, "RequestInProgressException", id)
	// Another CA has an interval of its own.
	i.root(t).report(t, bucket, types.AuditReportResponseFormatCsv)
}

func TestReportSurvivesRestart(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	root := i.root(t)
	bucket := i.bucket(t, "reports", true)
	for range 5 {
		must(root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
	}
	_, before := root.report(t, bucket, types.AuditReportResponseFormatJson)
	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	root.instance = start(t, func(c *serveConfig) { c.DataDir = i.DataDir })
	_, after := root.report(t, bucket, types.AuditReportResponseFormatJson)
	if !bytes.Equal(before, after) {
		t.Errorf("after a restart the report reads\n%s\nbefore\n%s", after, before)
	}
	must(root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
}

func TestAuditReportCommands(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	root := i.root(t)
	bucket := i.bucket(t, "reports", true)
	code, stdout, stderr := command(t, "audit-report", "create", "--data-dir", i.DataDir, "--ca", root.arn, "--bucket", bucket, "--format", "csv", "--wait", "--output", "json")
	var r report
	if code != exitOK || json.Unmarshal([]byte(stdout), &r) != nil || r.Status != "SUCCESS" || !strings.HasSuffix(r.Key, ".csv") {
		t.Fatalf("exit code %d:\n%s%s", code, stdout, stderr)
	}
	code, stdout, stderr = command(t, "audit-report", "describe", "--data-dir", i.DataDir, "--ca", root.arn, "--id", r.ID)
	if code != exitOK || !strings.Contains(stdout, "SUCCESS") || !strings.Contains(stdout, "s3://reports/"+r.Key) {
		t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
	}
	code, _, stderr = command(t, "audit-report", "create", "--data-dir", i.DataDir, "--ca", root.arn, "--bucket", "missing-bucket")
	if code != exitFailure || !strings.Contains(stderr, "ResourceNotFoundException") {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
	code, _, stderr = command(t, "audit-report", "create", "--data-dir", i.DataDir)
	if code != exitUsage || !strings.Contains(stderr, "--ca") {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
}
