package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"chirograph.dev/internal/keystore"
)

// everywhere calls each service once and gives the errors.
func everywhere(t *testing.T, cfg aws.Config) map[string]error {
	t.Helper()
	ctx, errs := t.Context(), map[string]error{}
	cfg.RetryMaxAttempts = 1
	_, errs["acm-pca"] = acmpca.NewFromConfig(cfg).ListCertificateAuthorities(ctx, &acmpca.ListCertificateAuthoritiesInput{})
	_, errs["sts"] = sts.NewFromConfig(cfg).GetCallerIdentity(ctx, nil)
	_, errs["iam"] = iam.NewFromConfig(cfg).ListRoles(ctx, nil)
	_, errs["s3"] = s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(ctx, nil)
	return errs
}

func (i *instance) inSession(c *sts.AssumeRoleOutput, token string) aws.Config {
	cfg := i.aws.Copy()
	cfg.Credentials = credentials.NewStaticCredentialsProvider(*c.Credentials.AccessKeyId, *c.Credentials.SecretAccessKey, token)
	return cfg
}

// TestSessionsEverywhere: a session is good for every service, and a bad one is
// refused by each with the code that its clients know.
func TestSessionsEverywhere(t *testing.T) {
	t.Parallel()
	s, other := serveHouse(t, nil), serveHouse(t, nil)
	session := func(s *served) *sts.AssumeRoleOutput {
		people := iam.NewFromConfig(s.aws)
		role := must(people.CreateRole(t.Context(), &iam.CreateRoleInput{RoleName: aws.String("everything"), AssumeRolePolicyDocument: aws.String(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}`)}))(t).Role
		must(people.AttachRolePolicy(t.Context(), &iam.AttachRolePolicyInput{RoleName: role.RoleName, PolicyArn: aws.String("arn:aws:iam::aws:policy/AdministratorAccess")}))(t)
		return must(s.sts.AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: role.Arn, RoleSessionName: aws.String("one")}))(t)
	}
	c, foreign := session(s), session(other)
	token := *c.Credentials.SessionToken
	for service, err := range everywhere(t, s.inSession(c, token)) {
		if err != nil {
			t.Errorf("%s: %v", service, err)
		}
	}
	tampered := token[:30] + string('A'+(token[30]-'A'+1)%26) + token[31:]
	invalid := map[string]string{"acm-pca": "UnrecognizedClientException", "sts": "InvalidClientTokenId", "iam": "InvalidClientTokenId", "s3": "InvalidToken"}
	unknown := map[string]string{"acm-pca": "UnrecognizedClientException", "sts": "InvalidClientTokenId", "iam": "InvalidClientTokenId", "s3": "InvalidAccessKeyId"}
	for what, row := range map[string]struct {
		cfg  aws.Config
		want map[string]string
	}{
		"tampered":          {s.inSession(c, tampered), invalid},
		"missing":           {s.inSession(c, ""), invalid},
		"another session's": {s.inSession(c, *foreign.Credentials.SessionToken), invalid},
		"another server's":  {s.inSession(foreign, *foreign.Credentials.SessionToken), unknown},
	} {
		for service, err := range everywhere(t, row.cfg) {
			if wantCode(t, err, row.want[service]); t.Failed() {
				t.Fatalf("%s at %s", what, service)
			}
		}
	}
	s.pass(time.Hour + time.Minute)
	for service, err := range everywhere(t, s.inSession(c, token)) {
		wantCode(t, err, map[string]string{"acm-pca": "ExpiredTokenException", "sts": "ExpiredToken", "iam": "ExpiredToken", "s3": "ExpiredToken"}[service])
	}
}

// TestResetAdministrator: an administrator who deletes the one key is out at
// the next request, and gets in again with --reset-administrator.
func TestResetAdministrator(t *testing.T) {
	t.Parallel()
	first := start(t, nil)
	key := must(first.aws.Credentials.Retrieve(t.Context()))(t)
	must(iam.NewFromConfig(first.aws).DeleteAccessKey(t.Context(), &iam.DeleteAccessKeyInput{AccessKeyId: &key.AccessKeyID}))(t)
	for service, err := range everywhere(t, first.aws) {
		wantCode(t, err, map[string]string{"acm-pca": "UnrecognizedClientException", "sts": "InvalidClientTokenId", "iam": "InvalidClientTokenId", "s3": "InvalidAccessKeyId"}[service])
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	again := func(reset bool) (i *instance, file string) {
		i = start(t, func(cfg *serveConfig) { cfg.DataDir, cfg.ResetAdministrator = first.DataDir, reset })
		return i, string(must(os.ReadFile(filepath.Join(first.DataDir, "aws", "credentials")))(t))
	}
	out, file := again(false)
	if err := out.close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(file, "aws_secret_access_key") || !strings.Contains(file, "--reset-administrator") || !strings.Contains(out.log.String(), "--reset-administrator") {
		t.Errorf("%s\n%s", file, out.log)
	}
	in, file := again(true)
	if !strings.Contains(file, "aws_secret_access_key") || strings.Contains(file, key.AccessKeyID) {
		t.Error(file)
	}
	for service, err := range everywhere(t, in.aws) {
		if err != nil {
			t.Errorf("%s: %v", service, err)
		}
	}
}

// TestServicePrincipal: what a CA's permission gives to a service is for who
// holds the key of that service here.
func TestServicePrincipal(t *testing.T) {
	t.Parallel()
	i := start(t, func(cfg *serveConfig) { cfg.ServicePrincipals = "acm.amazonaws.com" })
	root := i.root(t)
	service := i.aws.Copy()
	cfg := must(awsconfig.LoadDefaultConfig(t.Context(), awsconfig.WithSharedConfigProfile("acm.amazonaws.com"), awsconfig.WithRegion("us-east-1"),
		awsconfig.WithSharedCredentialsFiles([]string{filepath.Join(i.DataDir, "aws", "credentials")}), awsconfig.WithSharedConfigFiles([]string{filepath.Join(i.DataDir, "aws", "none")})))(t)
	service.Credentials, service.RetryMaxAttempts = cfg.Credentials, 1
	acm := &instance{endpoints: i.endpoints, aws: service, pca: acmpca.NewFromConfig(service)}
	issue := func() error {
		_, err := authority{acm, root.arn, root.in}.issue(t.Context(), newCSR(t, newKey(t), "x.example.com"), nil)
		return err
	}
	wantCode(t, issue(), "AccessDeniedException")
	must(i.pca.CreatePermission(t.Context(), &acmpca.CreatePermissionInput{CertificateAuthorityArn: &root.arn, Principal: aws.String("acm.amazonaws.com"),
		Actions: []types.ActionType{types.ActionTypeIssueCertificate, types.ActionTypeGetCertificate}}))(t)
	if err := issue(); err != nil {
		t.Error(err)
	}
	must(i.pca.DeletePermission(t.Context(), &acmpca.DeletePermissionInput{CertificateAuthorityArn: &root.arn, Principal: aws.String("acm.amazonaws.com")}))(t)
	wantCode(t, issue(), "AccessDeniedException")
	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	// A service that is not set up any more is nobody.
	without := start(t, func(cfg *serveConfig) { cfg.DataDir = i.DataDir })
	gone := without.aws.Copy()
	gone.Credentials, gone.RetryMaxAttempts = cfg.Credentials, 1
	acm.pca = acmpca.NewFromConfig(gone)
	wantCode(t, issue(), "UnrecognizedClientException")
}

// TestFolderOfFormat1: a folder that the first version wrote goes on working
// with its keys and their policies.
func TestFolderOfFormat1(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	master := must(keystore.CreateMasterKey(filepath.Join(dir, "master.key")))(t)
	sealer := must(keystore.Open(keystore.Config{Dir: filepath.Join(dir, "keys"), MasterKey: master}))(t)
	db := must(sql.Open("sqlite", filepath.Join(dir, "chirograph.db")))(t)
	run := func(text string, args ...any) { must(db.ExecContext(t.Context(), text, args...))(t) }
	run(string(must(os.ReadFile(filepath.Join("..", "..", "internal", "store", "sqlite", "testdata", "format1.sql")))(t)))
	run("PRAGMA application_id = 1667787122")
	run("INSERT INTO setting (name, value) VALUES ('format', '1'), ('server-name', 'old.example.com'), ('region', 'eu-north-1'), ('partition', 'aws')")
	for i, k := range []keyOf{{"AKIAOLDADMINISTRATOR", "111122223333", administratorPolicy}, {"AKIAOLDREADER", "111122223333", `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"acm-pca:List*","Resource":"*"}}`}} {
		run("INSERT INTO access_key VALUES (?, ?, ?, ?, ?, '', ?, ?)", k.ID, must(sealer.SealSecret([]byte(k.ID), accessKeyContext(k.ID)))(t), k.Account,
			"arn:aws:iam::"+k.Account+":user/"+[]string{"admin", "reader"}[i], "AIDA"+k.ID, k.Policy, 1000*(i+1))
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	i := start(t, func(cfg *serveConfig) { cfg.DataDir = dir })
	if key := must(i.aws.Credentials.Retrieve(t.Context()))(t); key.AccessKeyID != "AKIAOLDADMINISTRATOR" {
		t.Errorf("the client files hold %s", key.AccessKeyID)
	}
	if who := must(i.sts.GetCallerIdentity(t.Context(), nil))(t); *who.Arn != "arn:aws:iam::111122223333:user/admin" || *who.UserId != "AIDAAKIAOLDADMINISTRATOR" {
		t.Errorf("%s, %s", *who.Arn, *who.UserId)
	}
	for service, err := range everywhere(t, i.aws) {
		if err != nil {
			t.Errorf("%s: %v", service, err)
		}
	}
	reader := i.as("AKIAOLDREADER")
	must(reader.pca.ListCertificateAuthorities(t.Context(), &acmpca.ListCertificateAuthoritiesInput{}))(t)
	_, err := iam.NewFromConfig(reader.aws).ListUsers(t.Context(), nil)
	wantCode(t, err, "AccessDenied")
	if users := must(iam.NewFromConfig(i.aws).ListUsers(t.Context(), nil))(t); len(users.Users) != 2 {
		t.Errorf("%+v", users.Users)
	}
}
