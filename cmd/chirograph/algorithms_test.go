package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
)

// openssl35 runs an openssl that has ML-DSA; make tools fetches it.
func openssl35(t *testing.T, args ...string) []byte {
	t.Helper()
	program, err := exec.LookPath("openssl35")
	if err != nil {
		program = filepath.Join("..", "..", ".tools", "openssl35")
		if _, err := os.Stat(program); err != nil {
			t.Fatal("this test needs OpenSSL 3.5 or later as openssl35: run `make tools`")
		}
	}
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// subordinate makes an active CA below a.
func (a authority) subordinate(t *testing.T, key types.KeyAlgorithm, sig types.SigningAlgorithm, template string) authority {
	t.Helper()
	sub := a.create(t, types.CertificateAuthorityTypeSubordinate, key, sig)
	arn := must(a.issue(t.Context(), sub.csr(t), func(in *acmpca.IssueCertificateInput) {
		in.TemplateArn = &template
		// As long as its issuer: relative to now it would end after one that is as young.
		in.Validity = &types.Validity{Type: types.ValidityPeriodTypeAbsolute, Value: aws.Int64(a.describe(t).NotAfter.Unix())}
	}))(t)
	cert, chain := a.get(t, arn)
	must(a.pca.ImportCertificateAuthorityCertificate(t.Context(), &acmpca.ImportCertificateAuthorityCertificateInput{
		CertificateAuthorityArn: &sub.arn, Certificate: []byte(cert), CertificateChain: []byte(chain),
	}))(t)
	return sub
}

// A hierarchy of three ML-DSA keys with EC between, through the API, before
// and after a restart; OpenSSL verifies what comes out.
func TestPostQuantumHierarchy(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	root := i.create(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmMlDsa87, types.SigningAlgorithmMlDsa87)
	root.activate(t)
	const template = "arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen%d/V1"
	middle := root.subordinate(t, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa, fmt.Sprintf(template, 2))
	low := middle.subordinate(t, types.KeyAlgorithmMlDsa65, types.SigningAlgorithmMlDsa65, fmt.Sprintf(template, 1))
	last := low.subordinate(t, types.KeyAlgorithmMlDsa44, types.SigningAlgorithmMlDsa44, fmt.Sprintf(template, 0))
	for _, a := range []authority{root, middle, low, last} {
		if d := a.describe(t); d.Status != types.CertificateAuthorityStatusActive || aws.ToString(d.Serial) == "" {
			t.Errorf("%s CA is %s", d.CertificateAuthorityConfiguration.KeyAlgorithm, d.Status)
		}
	}
	dir := t.TempDir()
	keyFile := filepath.Join(dir, "key")
	openssl35(t, "genpkey", "-algorithm", "ML-DSA-44", "-out", keyFile)
	csr := openssl35(t, "req", "-new", "-key", keyFile, "-subj", "/CN=leaf.example.com")
	check := func() {
		t.Helper()
		cert, chain := last.get(t, must(last.issue(t.Context(), csr, nil))(t))
		blocks := strings.SplitAfter(chain, "-----END CERTIFICATE-----")
		if len(blocks) != 5 { // and what follows the last
			t.Fatalf("the chain has %d certificates, want 4", len(blocks)-1)
		}
		for name, text := range map[string]string{"leaf": cert, "between": strings.Join(blocks[:3], ""), "root": blocks[3]} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		openssl35(t, "verify", "-x509_strict", "-check_ss_sig", "-CAfile", filepath.Join(dir, "root"), "-untrusted", filepath.Join(dir, "between"), filepath.Join(dir, "leaf"))
	}
	check()
	_, err := last.issue(t.Context(), csr, func(in *acmpca.IssueCertificateInput) { in.SigningAlgorithm = types.SigningAlgorithmMlDsa65 })
	wantMessage(t, err, "InvalidArgsException", "Use ML_DSA_44.")

	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	last.instance = start(t, func(c *serveConfig) { c.DataDir = i.DataDir })
	check()
	_, file := last.report(t, last.bucket(t, "post-quantum", true), types.AuditReportResponseFormatJson)
	if rows := parseRows(t, file); len(rows) != 2 || rows[0].Subject != "CN=leaf.example.com" {
		t.Errorf("%d rows: %s", len(rows), file)
	}
}

// SM2 is there in the partition aws-cn and nowhere else.
func TestSM2IsOptIn(t *testing.T) {
	t.Parallel()
	abroad := start(t, nil)
	in := &acmpca.CreateCertificateAuthorityInput{
		CertificateAuthorityType: types.CertificateAuthorityTypeRoot, KeyStorageSecurityStandard: types.KeyStorageSecurityStandardCcpcLevel1OrHigher,
		CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
			KeyAlgorithm: types.KeyAlgorithmSm2, SigningAlgorithm: types.SigningAlgorithmSm3withsm2, Subject: &types.ASN1Subject{CommonName: aws.String("x")},
		},
	}
	_, err := abroad.pca.CreateCertificateAuthority(t.Context(), in)
	wantMessage(t, err, "InvalidArgsException", "aws-cn")

	china := start(t, func(c *serveConfig) { c.Partition, c.Region = "aws-cn", "cn-north-1" })
	out := must(china.pca.CreateCertificateAuthority(t.Context(), in))(t)
	root := authority{china, *out.CertificateAuthorityArn, in}
	if !strings.HasPrefix(root.arn, "arn:aws-cn:acm-pca:cn-north-1:") {
		t.Errorf("ARN %s", root.arn)
	}
	root.activate(t)
	if d := root.describe(t); d.Status != types.CertificateAuthorityStatusActive || d.KeyStorageSecurityStandard != in.KeyStorageSecurityStandard {
		t.Errorf("%s, %s", d.Status, d.KeyStorageSecurityStandard)
	}
	sub := root.subordinate(t, types.KeyAlgorithmSm2, types.SigningAlgorithmSm3withsm2, "arn:aws-cn:acm-pca:::template/SubordinateCACertificate_PathLen0/V1")

	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	const id = "distid:1234567812345678"
	openssl35(t, "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2", "-out", path("key"))
	csr := openssl35(t, "req", "-new", "-key", path("key"), "-subj", "/CN=leaf", "-sm3", "-sigopt", id)
	arn := must(sub.issue(t.Context(), csr, func(in *acmpca.IssueCertificateInput) {
		in.TemplateArn = aws.String("arn:aws-cn:acm-pca:::template/EndEntityCertificate/V1")
	}))(t)
	if !strings.HasPrefix(arn, sub.arn+"/certificate/") {
		t.Errorf("ARN %s", arn)
	}
	cert, chain := sub.get(t, arn)
	block, rest := pem.Decode([]byte(chain))
	for name, text := range map[string][]byte{"leaf": []byte(cert), "sub": pem.EncodeToMemory(block), "root": bytes.TrimSpace(rest)} {
		if err := os.WriteFile(path(name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	openssl35(t, "verify", "-partial_chain", "-vfyopt", id, "-trusted", path("sub"), path("leaf"))
	openssl35(t, "verify", "-vfyopt", id, "-CAfile", path("root"), path("sub"))

	elsewhere := abroad.root(t)
	_, err = elsewhere.issue(t.Context(), csr, nil)
	wantMessage(t, err, "MalformedCSRException", "aws-cn")
}

// T-43: --subject-allow-mixed reaches every place that takes a subject.
func TestMixedSubjectsSetting(t *testing.T) {
	t.Parallel()
	mixed := types.ASN1Subject{CommonName: aws.String("x"), CustomAttributes: []types.CustomAttribute{{ObjectIdentifier: aws.String("2.5.4.11"), Value: aws.String("u")}}}
	in := &acmpca.CreateCertificateAuthorityInput{
		CertificateAuthorityType: types.CertificateAuthorityTypeRoot,
		CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
			KeyAlgorithm: types.KeyAlgorithmEcPrime256v1, SigningAlgorithm: types.SigningAlgorithmSha256withecdsa, Subject: &mixed,
		},
	}
	change := func(in *acmpca.IssueCertificateInput) {
		in.TemplateArn = aws.String("arn:aws:acm-pca:::template/EndEntityCertificate_APIPassthrough/V1")
		in.ApiPassthrough = &types.ApiPassthrough{Subject: &mixed}
	}
	const refusal = "CustomAttributes cannot be used in combination with standard attributes."
	strict := start(t, nil)
	_, err := strict.pca.CreateCertificateAuthority(t.Context(), in)
	wantMessage(t, err, "InvalidArgsException", refusal)
	_, err = strict.root(t).issue(t.Context(), newCSR(t, newKey(t), "leaf"), change)
	wantMessage(t, err, "InvalidArgsException", refusal)

	lax := start(t, func(c *serveConfig) { c.MixedSubjects = true })
	root := authority{lax, *must(lax.pca.CreateCertificateAuthority(t.Context(), in))(t).CertificateAuthorityArn, in}
	root.activate(t)
	cert, _ := root.get(t, must(root.issue(t.Context(), newCSR(t, newKey(t), "leaf"), change))(t))
	if c := parseCert(t, cert); c.Subject.String() != "OU=u,CN=x" && c.Subject.String() != "CN=x,OU=u" || c.Issuer.String() != c.Subject.String() {
		t.Errorf("%s under %s", c.Subject, c.Issuer)
	}
}
