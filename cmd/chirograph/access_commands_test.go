package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// commands runs command lines against a server.
type commands struct {
	t       *testing.T
	dataDir string
}

// ok runs one that succeeds and gives what it printed.
func (c commands) ok(args ...string) string {
	c.t.Helper()
	code, stdout, stderr := command(c.t, append(args, "--data-dir", c.dataDir)...)
	if code != exitOK {
		c.t.Fatalf("chirograph %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// json runs one that succeeds and reads the JSON it printed.
func (c commands) json(v any, args ...string) {
	c.t.Helper()
	if out := c.ok(append(args, "--output", "json")...); json.Unmarshal([]byte(out), v) != nil {
		c.t.Fatalf("chirograph %s prints\n%s", strings.Join(args, " "), out)
	}
}

// fails runs one that fails with code, and says want.
func (c commands) fails(code int, want string, args ...string) {
	c.t.Helper()
	got, stdout, stderr := command(c.t, append(args, "--data-dir", c.dataDir)...)
	if got != code || stdout != "" || !strings.Contains(stderr, want) {
		c.t.Errorf("chirograph %s: exit code %d, want %d and %q\n%s%s", strings.Join(args, " "), got, code, want, stdout, stderr)
	}
}

// whoIs asks the server who a profile of the client files is.
func (c commands) whoIs(profile string) (string, error) {
	c.t.Helper()
	config, credentials, err := clientFiles(c.dataDir)
	if err != nil {
		c.t.Fatal(err)
	}
	cfg, err := awsconfig.LoadDefaultConfig(c.t.Context(), awsconfig.WithSharedConfigFiles([]string{config}), awsconfig.WithSharedCredentialsFiles([]string{credentials}), awsconfig.WithSharedConfigProfile(profile))
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(c.t.Context(), nil)
	if err != nil {
		return "", err
	}
	return *out.Arn, nil
}

func (c commands) wantProfile(profile, suffix string) {
	c.t.Helper()
	if arn, err := c.whoIs(profile); err != nil || !strings.HasSuffix(arn, suffix) {
		c.t.Errorf("the profile %s is %s, want %s; %v", profile, arn, suffix, err)
	}
}

func TestUserCommands(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	c := commands{t, i.DataDir}

	// The one line that an operator wants.
	var auditor struct {
		Name, ARN string
		Policies  []string
		Key       struct{ AccessKeyID, SecretAccessKey, User string }
	}
	c.json(&auditor, "user", "create", "auditor", "--policy", "AWSPrivateCAAuditor", "--key")
	if auditor.ARN != "arn:aws:iam::123456789012:user/auditor" || len(auditor.Policies) != 1 || auditor.Key.AccessKeyID == "" || auditor.Key.SecretAccessKey == "" {
		t.Errorf("%+v", auditor)
	}
	out := c.ok("user", "create", "carol", "--policy", "AWSPrivateCAUser", "--policy", "AmazonS3ReadOnlyAccess", "--tag", "team=a b", "--path", "/x/", "--permissions-boundary", "AdministratorAccess")
	if !regexp.MustCompile(`(?m)^arn +arn:aws:iam::123456789012:user/x/carol$`).MatchString(out) || strings.Contains(out, "secret") {
		t.Error(out)
	}
	list := c.ok("user", "list")
	if lines := strings.Split(strings.TrimSpace(list), "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "NAME ") || strings.Index(lines[1], "arn:") != strings.Index(lines[0], "ARN") {
		t.Error(list)
	}
	out = c.ok("user", "show", "carol")
	for _, want := range []string{"AWSPrivateCAUser", "AmazonS3ReadOnlyAccess", "permissions boundary", "team=a"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}

	// Keys.
	c.ok("key", "create", "--user", "carol", "--profile", "carol")
	c.wantProfile("carol", ":user/x/carol")
	var keys struct {
		Keys []struct{ AccessKeyID, User, Status, LastUsedAt string }
	}
	c.json(&keys, "key", "list", "--user", "carol")
	if len(keys.Keys) != 1 || keys.Keys[0].Status != "Active" || keys.Keys[0].LastUsedAt == "" {
		t.Fatalf("%+v", keys)
	}
	old := keys.Keys[0].AccessKeyID
	c.ok("key", "deactivate", old)
	if arn, err := c.whoIs("carol"); err == nil {
		t.Errorf("an inactive key is %s", arn)
	}
	c.fails(exitFailure, "has no active key", "key", "rotate", "--user", "carol")
	c.ok("key", "activate", old)
	out = c.ok("key", "rotate", "--user", "carol")
	if !strings.Contains(out, old) || !strings.Contains(out, "secret") {
		t.Error(out)
	}
	c.wantProfile("carol", ":user/x/carol") // the file follows
	c.fails(exitFailure, "has two keys already", "key", "rotate", "--user", "carol")
	c.fails(exitFailure, "key delete KEY", "key", "create", "--user", "carol")
	c.ok("key", "delete", old)
	var rotated struct{ AccessKeyID, SecretAccessKey, Profile, Replaced string }
	c.json(&rotated, "key", "rotate", "--user", "carol", "--delete-old", "--profile", "carol2")
	if rotated.SecretAccessKey != "" || rotated.Profile != "carol2" || rotated.Replaced == "" {
		t.Errorf("%+v", rotated)
	}
	c.wantProfile("carol2", ":user/x/carol")
	if out := c.ok("key", "list"); strings.Count(out, "\n") != 4 {
		t.Error(out)
	}
	// The administrator's own key, which the commands themselves sign with.
	c.ok("key", "rotate", "--user", "admin", "--delete-old")
	c.ok("key", "list", "--user", "admin")

	// Mistakes.
	c.fails(exitFailure, "EntityAlreadyExists", "user", "create", "carol")
	c.fails(exitFailure, `did you mean "AWSPrivateCAAuditor"?`, "user", "create", "dave", "--policy", "awsprivatecaauditor")
	c.fails(exitFailure, "NoSuchEntity", "user", "show", "dave") // nothing was made of it
	c.fails(exitFailure, "--force", "user", "delete", "carol")
	c.fails(exitFailure, "NoSuchEntity", "key", "delete", "AKIAAAAAAAAAAAAAAAAA")
	c.fails(exitUsage, "chirograph user create needs one argument, NAME", "user", "create")
	c.fails(exitUsage, "user list needs no arguments", "user", "list", "x")
	c.fails(exitUsage, "KEY=VALUE", "user", "create", "x", "--tag", "x")
	c.fails(exitUsage, "cannot be the name of a profile", "key", "create", "--user", "carol", "--profile", "a]b")
	c.fails(exitUsage, "is the administrator's", "key", "create", "--user", "carol", "--profile", "default")
	c.fails(exitUsage, "--user is needed", "key", "create")
	c.fails(exitUsage, "use text or json", "user", "list", "--output", "yaml")
	c.fails(exitFailure, "ValidationError: 1 validation error detected: Value 'a", "user", "create", "a\x1b[31m")

	c.ok("user", "attach-policy", "carol", "AWSPrivateCAReadOnly")
	c.ok("user", "detach-policy", "carol", "AWSPrivateCAReadOnly")
	if out := c.ok("user", "delete", "carol", "--force"); out != "deleted user carol\n" {
		t.Error(out)
	}
	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	if log := i.log.String(); strings.Contains(log, auditor.Key.SecretAccessKey) || !strings.Contains(log, "iam:CreateAccessKey") {
		t.Error("the log has the secret, or no line of the call")
	}
	// The next start keeps the profiles.
	start(t, func(cfg *serveConfig) { cfg.DataDir = i.DataDir })
	config, credentials, err := clientFiles(i.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{config, credentials} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "carol2]") || strings.Count(string(text), "[default]") != 1 {
			t.Errorf("%s: %v\n%s", path, err, text)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", path, info, err)
		}
	}
	c.wantProfile("default", ":user/admin")
}

func TestRoleCommands(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	c := commands{t, i.DataDir}
	c.ok("user", "create", "carol", "--profile", "carol")
	c.ok("role", "create", "issuing", "--trust-user", "carol", "--policy", "AWSPrivateCAUser", "--max-session", "2h", "--description", "d")
	if out := c.ok("role", "show", "issuing"); !strings.Contains(out, "2h0m0s") || !strings.Contains(out, `"Action": "sts:AssumeRole"`) || !strings.Contains(out, ":user/carol") {
		t.Error(out)
	}
	c.fails(exitFailure, "its trust policy must name you", "role", "assume", "issuing") // the administrator may everything but is not whom the role trusts
	c.ok("role", "create", "wide", "--trust-account", "123456789012", "--external-id", "x7")
	c.fails(exitFailure, "AccessDenied", "role", "assume", "wide")
	out := c.ok("role", "assume", "wide", "--external-id", "x7", "--session-name", "s1", "--duration", "20m")
	if !regexp.MustCompile(`^export AWS_ACCESS_KEY_ID=ASIA\w+\nexport AWS_SECRET_ACCESS_KEY=\S+\nexport AWS_SESSION_TOKEN=\S+\n$`).MatchString(out) {
		t.Error(out)
	}
	var session struct {
		Version                                                int
		AccessKeyID, SecretAccessKey, SessionToken, Expiration string
	}
	c.json(&session, "role", "assume", "arn:aws:iam::123456789012:role/wide", "--external-id", "x7")
	if session.Version != 1 || session.SessionToken == "" || session.Expiration == "" {
		t.Errorf("%+v", session)
	}
	c.ok("role", "assume", "wide", "--external-id", "x7", "--profile", "wide")
	c.wantProfile("wide", ":assumed-role/wide/chirograph")
	c.fails(exitFailure, "DurationSeconds", "role", "assume", "wide", "--external-id", "x7", "--duration", "3h")

	c.ok("oidc-provider", "create", "https://issuer.example.com", "--audience", "a")
	c.ok("role", "create", "deploy", "--trust-oidc", "https://issuer.example.com", "--oidc-subject", "repo:example/*", "--oidc-audience", "a")
	if out := c.ok("role", "show", "deploy"); !strings.Contains(out, `"issuer.example.com:sub": "repo:example/*"`) || !strings.Contains(out, `"issuer.example.com:aud": "a"`) {
		t.Error(out)
	}
	trust := filepath.Join(t.TempDir(), "trust.json")
	if err := os.WriteFile(trust, []byte(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"123456789012"},"Action":"sts:AssumeRole"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	c.ok("role", "create", "file", "--trust-policy", trust)
	if out := c.ok("role", "list"); strings.Count(out, "\n") != 5 {
		t.Error(out)
	}
	c.fails(exitUsage, "is needed", "role", "create", "x")
	c.fails(exitUsage, "is needed", "role", "create", "x", "--trust-account", "123456789012", "--trust-user", "carol")
	c.fails(exitUsage, "--oidc-subject", "role", "create", "x", "--trust-oidc", "https://issuer.example.com")
	c.fails(exitFailure, "oidc-provider create", "role", "create", "x", "--trust-oidc", "https://other.example.com", "--oidc-subject", "s")
	c.fails(exitUsage, "no such file", "role", "create", "x", "--trust-policy", trust+"x")
	c.fails(exitFailure, "--force", "role", "delete", "issuing")
	c.ok("role", "attach-policy", "wide", "AWSPrivateCAReadOnly")
	c.ok("role", "detach-policy", "wide", "AWSPrivateCAReadOnly")
	c.ok("role", "delete", "issuing", "--force")
	if out := c.ok("oidc-provider", "list"); !strings.Contains(out, "https://issuer.example.com") {
		t.Error(out)
	}
	c.ok("oidc-provider", "delete", "https://issuer.example.com")
	if out := c.ok("oidc-provider", "create", "http://localhost:1234"); !strings.Contains(out, "http://localhost:1234") {
		t.Error(out)
	}
	c.ok("oidc-provider", "delete", "http://localhost:1234")
	c.fails(exitFailure, "there is no OIDC provider", "oidc-provider", "delete", "https://issuer.example.com")
}

func TestPolicyCommands(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	c := commands{t, i.DataDir}
	file := filepath.Join(t.TempDir(), "policy.json")
	write := func(action string) {
		if err := os.WriteFile(file, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"`+action+`","Resource":"*"}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("acm-pca:Get*")
	c.ok("policy", "create", "mine", "--document", file, "--description", "d")
	for range 6 { // more than a policy has versions
		write("acm-pca:List*")
		c.ok("policy", "update", "mine", "--document", file)
	}
	var p struct {
		Name, ARN, DefaultVersion string
		Attachments               int
		Users, Roles              []string
		Document                  struct{ Statement []struct{ Action string } }
	}
	c.ok("policy", "attach", "mine", "--user", "admin")
	c.json(&p, "policy", "show", "mine")
	if p.DefaultVersion != "v7" || p.Document.Statement[0].Action != "acm-pca:List*" || len(p.Users) != 1 || p.Users[0] != "admin" {
		t.Errorf("%+v", p)
	}
	if out := c.ok("policy", "show", "AWSPrivateCAAuditor"); !strings.Contains(out, "acm-pca:CreateCertificateAuthorityAuditReport") {
		t.Error(out)
	}
	if out := c.ok("policy", "list", "--scope", "local"); strings.Count(out, "\n") != 2 {
		t.Error(out)
	}
	if out := c.ok("policy", "list", "--attached"); !strings.Contains(out, "AdministratorAccess") || strings.Contains(out, "AWSPrivateCAUser") {
		t.Error(out)
	}
	c.fails(exitUsage, "--document is needed", "policy", "create", "x")
	c.fails(exitUsage, "use all, aws or local", "policy", "list", "--scope", "x")
	c.fails(exitUsage, "one of --user and --role", "policy", "attach", "mine")
	write("nonsense")
	c.fails(exitFailure, "MalformedPolicyDocument", "policy", "update", "mine", "--document", file)
	c.fails(exitFailure, "--force", "policy", "delete", "mine")
	c.fails(exitFailure, "AccessDenied", "policy", "delete", "AWSPrivateCAUser")
	c.ok("policy", "delete", "mine", "--force")
	c.fails(exitFailure, `there is no policy "mine"`, "policy", "show", "mine")
	write("*")
	c.ok("policy", "create", "AWSPrivateCAUser", "--document", file)
	c.fails(exitFailure, "two policies have the name", "user", "create", "dave", "--policy", "AWSPrivateCAUser")
	c.ok("user", "create", "dave", "--policy", "arn:aws:iam::aws:policy/AWSPrivateCAUser")

	// Completion asks the server.
	_, out, _ := command(t, "__complete", "user", "create", "x", "--data-dir", i.DataDir, "--policy", "AWSPrivateCAA")
	if !strings.Contains(out, "AWSPrivateCAAuditor\n") {
		t.Error(out)
	}
	for args, want := range map[string]string{"user show": "admin", "user attach-policy admin": "IAMFullAccess", "account show": "123456789012", "key delete": "AKIA"} {
		_, out, _ := command(t, append(append([]string{"__complete"}, strings.Fields(args)...), "--data-dir", i.DataDir, "")...)
		if !strings.Contains(out, want) {
			t.Errorf("%s completes\n%s", args, out)
		}
	}
}

func TestAccountCommands(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	c := commands{t, i.DataDir}
	var account struct{ ID, Name, Email, Status string }
	c.json(&account, "account", "create", "Payments Team")
	if len(account.ID) != 12 || account.Email != "payments-team@accounts.invalid" || account.Status != "ACTIVE" {
		t.Errorf("%+v", account)
	}
	c.ok("user", "create", "boss", "--account", account.ID, "--policy", "AdministratorAccess", "--profile", "boss")
	c.wantProfile("boss", account.ID+":user/boss")
	if out := c.ok("user", "list", "--account", account.ID); strings.Contains(out, "admin") || !strings.Contains(out, "boss") {
		t.Error(out)
	}
	if out := c.ok("user", "list", "--account", "123456789012"); !strings.Contains(out, "admin") { // one's own
		t.Error(out)
	}
	if out := c.ok("user", "list", "--account", "Payments Team"); strings.Contains(out, "admin") || !strings.Contains(out, "boss") {
		t.Error(out)
	}
	if out := c.ok("account", "show", "Payments Team"); !strings.Contains(out, account.ID) {
		t.Error(out)
	}
	c.ok("role", "create", "trusting", "--trust-account", "Payments Team")
	if out := c.ok("role", "show", "trusting"); !strings.Contains(out, account.ID+":root") {
		t.Error(out)
	}
	c.fails(exitFailure, "entering the account 999999999999", "user", "list", "--account", "999999999999")
	c.fails(exitFailure, "account list", "user", "list", "--account", "999999999999")
	c.fails(exitFailure, `there is no account "payments"`, "user", "list", "--account", "payments")
	c.fails(exitFailure, `there is no account "12"`, "role", "create", "x", "--trust-account", "12")
	if out := c.ok("account", "list"); strings.Count(out, "\n") != 3 {
		t.Error(out)
	}
	c.fails(exitUsage, "--yes", "account", "close", account.ID)
	c.ok("account", "close", account.ID, "--yes")
	if _, err := c.whoIs("boss"); err == nil {
		t.Error("a closed account's key is accepted")
	}
	if out := c.ok("account", "show", account.ID); !strings.Contains(out, "SUSPENDED") {
		t.Error(out)
	}
	c.fails(exitFailure, "start it with", "account", "list", "--endpoint-url", "http://127.0.0.1:1")
	c.json(&account, "account", "create", "Payments Team", "--email", "second@accounts.invalid")
	c.fails(exitFailure, "two accounts have the name", "account", "show", "Payments Team")
}

// Whoever names a server's folder means that server, wherever the shell points.
func TestDataFolderBeforeEnvironment(t *testing.T) {
	one, other := start(t, nil), start(t, nil)
	commands{t, one.DataDir}.ok("user", "create", "of-one")
	config, credentials, err := clientFiles(one.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", config)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", credentials)
	if _, out, _ := command(t, "user", "list"); !strings.Contains(out, "of-one") {
		t.Errorf("the environment's server has the users\n%s", out)
	}
	c := commands{t, other.DataDir}
	if out := c.ok("user", "list"); strings.Contains(out, "of-one") {
		t.Errorf("the named folder's server has the users\n%s", out)
	}
	c.ok("user", "create", "carol", "--profile", "carol")
	c.wantProfile("carol", ":user/carol")
	commands{t, filepath.Join(t.TempDir(), "none")}.fails(exitFailure, "no server has written", "user", "list")
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAAAAAAAAAAAAAAAAA")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "x")
	c.fails(exitFailure, "--reset-administrator", "user", "list")
}
