package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/store"
	"chirograph.dev/internal/store/sqlite"
)

// administratorPolicy allows everything.
const administratorPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`

// accessKeyContext is what the secret of an access key is sealed for.
func accessKeyContext(id string) string { return "access key " + id }

// keyOf is the access key of a user who has one policy and is named after it.
type keyOf struct{ ID, Account, Policy string }

// addKeys puts users with access keys into the folder of a server that has
// stopped. The secret of each is its id.
func addKeys(t *testing.T, dataDir string, keys ...keyOf) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dataDir, "chirograph.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	master, err := keystore.LoadMasterKey(filepath.Join(dataDir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := keystore.Open(keystore.Config{Dir: filepath.Join(dataDir, "keys"), MasterKey: master})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		k.add(t, db, sealer)
	}
}

func (k keyOf) add(t *testing.T, db *sqlite.DB, sealer *keystore.Store) {
	t.Helper()
	sealed, err := sealer.SealSecret([]byte(k.ID), accessKeyContext(k.ID))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	user := &store.Identity{ID: "AIDA" + k.ID, Kind: store.KindUser, Account: k.Account, Name: strings.ToLower(k.ID), Path: "/", CreatedAt: now,
		Inline: []store.InlinePolicy{{Name: "policy", Document: k.Policy}}}
	if err := db.CreateIdentity(t.Context(), user); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateAccessKey(t.Context(), &store.AccessKey{ID: k.ID, SealedSecret: sealed, Account: k.Account, User: user.ID, Active: true, CreatedAt: now}, 1); err != nil {
		t.Fatal(err)
	}
}

// as is the server as the owner of an access key sees it.
func (i *instance) as(key string) *instance {
	cfg := i.aws.Copy()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(key, key, "")
	cfg.RetryMaxAttempts = 1
	return &instance{endpoints: i.endpoints, aws: cfg, pca: acmpca.NewFromConfig(cfg), sts: sts.NewFromConfig(cfg),
		s3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })}
}

// TestNarrowPolicies: nobody does more than a policy allows, and what is
// refused tells nothing about what exists.
func TestNarrowPolicies(t *testing.T) {
	t.Parallel()
	first := start(t, nil)
	root := first.root(t)
	leaf := must(root.issue(t.Context(), newCSR(t, newKey(t), "leaf.example.com"), nil))(t)
	bucket := first.bucket(t, "narrow-policies", true)
	reportKey, _ := root.report(t, bucket, types.AuditReportResponseFormatJson)
	unknown := root.arn[:len(root.arn)-12] + "000000000000"
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	const account = "123456789012"
	allow := func(statements ...string) string {
		return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
	}
	addKeys(t, first.DataDir,
		keyOf{ID: "AKIANOTHING", Account: account, Policy: allow(`{"Effect":"Allow","Action":"iam:*","Resource":"*"}`)},
		keyOf{ID: "AKIAREADER", Account: account, Policy: allow(`{"Effect":"Allow","Action":["acm-pca:Describe*","acm-pca:GetCertificate"],"Resource":"` + root.arn + `"}`)},
		keyOf{ID: "AKIAISSUER", Account: account, Policy: allow(
			`{"Effect":"Allow","Action":"acm-pca:IssueCertificate","Resource":"*","Condition":{"ArnEquals":{"acm-pca:TemplateArn":"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}}`,
			`{"Effect":"Allow","Action":"acm-pca:CreateCertificateAuthority","Resource":"*"}`)},
		keyOf{ID: "AKIASTRANGER", Account: "210987654321", Policy: administratorPolicy},
		keyOf{ID: "AKIABROKEN", Account: account, Policy: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*"}]}`},
	)
	i := start(t, func(cfg *serveConfig) { cfg.DataDir = first.DataDir })

	// calls makes every call of the API about one CA and gives the errors by operation.
	calls := func(i *instance, ca string) map[string]error {
		ctx, errs := t.Context(), map[string]error{}
		note := func(operation string) func(any, error) { return func(_ any, err error) { errs[operation] = err } }
		note("Describe")(i.pca.DescribeCertificateAuthority(ctx, &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &ca}))
		note("Csr")(i.pca.GetCertificateAuthorityCsr(ctx, &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &ca}))
		note("CaCertificate")(i.pca.GetCertificateAuthorityCertificate(ctx, &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &ca}))
		note("Import")(i.pca.ImportCertificateAuthorityCertificate(ctx, &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &ca, Certificate: []byte("x")}))
		note("GetCertificate")(i.pca.GetCertificate(ctx, &acmpca.GetCertificateInput{CertificateAuthorityArn: &ca, CertificateArn: aws.String(ca + "/certificate/" + serialOf(leaf))}))
		note("Revoke")(i.pca.RevokeCertificate(ctx, &acmpca.RevokeCertificateInput{CertificateAuthorityArn: &ca, CertificateSerial: aws.String(serialOf(leaf)), RevocationReason: types.RevocationReasonSuperseded}))
		note("Report")(i.pca.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &ca, S3BucketName: &bucket, AuditReportResponseFormat: types.AuditReportResponseFormatCsv}))
		note("DescribeReport")(i.pca.DescribeCertificateAuthorityAuditReport(ctx, &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &ca, AuditReportId: aws.String("00000000-0000-4000-8000-000000000000")}))
		note("Issue")(authority{i, ca, root.in}.issue(ctx, newCSR(t, newKey(t), "x.example.com"), nil))
		note("List")(i.pca.ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{}))
		note("Create")(i.pca.CreateCertificateAuthority(ctx, &acmpca.CreateCertificateAuthorityInput{
			CertificateAuthorityType:          types.CertificateAuthorityTypeRoot,
			Tags:                              []types.Tag{{Key: aws.String("k")}},
			CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{KeyAlgorithm: types.KeyAlgorithmEcPrime256v1, SigningAlgorithm: types.SigningAlgorithmSha256withecdsa, Subject: &types.ASN1Subject{CommonName: aws.String("x")}},
		}))
		return errs
	}
	for key, allowed := range map[string]string{
		"AKIANOTHING":  "",
		"AKIAREADER":   "Describe GetCertificate DescribeReport",
		"AKIAISSUER":   "Issue", // Create has tags, which need an action of their own
		"AKIASTRANGER": "List Create",
	} {
		who := i.as(key)
		for _, ca := range []string{root.arn, unknown} {
			for operation, err := range calls(who, ca) {
				may := strings.Contains(" "+allowed+" ", " "+operation+" ")
				switch {
				case key == "AKIAREADER" && ca == unknown:
					wantCode(t, err, "AccessDeniedException")
				case !may:
					wantCode(t, err, "AccessDeniedException")
				case err == nil:
				case operation == "DescribeReport" || ca == unknown && operation != "List" && operation != "Create":
					wantCode(t, err, "ResourceNotFoundException")
				default:
					t.Errorf("%s may call %s and gets %v", key, operation, err)
				}
			}
		}
		if id := must(who.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))(t); *id.Arn != "arn:aws:iam::"+*id.Account+":user/"+strings.ToLower(key) {
			t.Errorf("%s is %s", key, *id.Arn)
		}
		if _, err := who.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &reportKey}); err == nil {
			t.Errorf("%s reads the report", key)
		} else {
			wantCode(t, err, "AccessDenied")
		}
		if _, err := who.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &bucket, Policy: aws.String(`{"Version":"2012-10-17","Statement":[]}`)}); err == nil {
			t.Errorf("%s changes the bucket policy", key)
		}
	}
	// The templates that the issuer's policy does not name.
	_, err := authority{i.as("AKIAISSUER"), root.arn, root.in}.issue(t.Context(), newCSR(t, newKey(t), "x.example.com"), func(in *acmpca.IssueCertificateInput) {
		in.TemplateArn = aws.String("arn:aws-cn:acm-pca:::template/SubordinateCACertificate_PathLen0/V1")
	})
	wantCode(t, err, "AccessDeniedException")
	// A policy that cannot be read allows nothing.
	for operation, err := range calls(i.as("AKIABROKEN"), root.arn) {
		if err == nil {
			t.Errorf("a broken policy allows %s", operation)
		}
	}
	out := must(i.pca.ListCertificateAuthorities(t.Context(), &acmpca.ListCertificateAuthoritiesInput{}))(t)
	if len(out.CertificateAuthorities) != 1 {
		t.Errorf("there are %d CAs of the account, want 1", len(out.CertificateAuthorities))
	}
}
