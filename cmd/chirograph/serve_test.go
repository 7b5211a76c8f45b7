package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// instance is a server that runs in this process, with clients made as a user
// makes them: from the files that it wrote.
type instance struct {
	endpoints
	aws aws.Config
	pca *acmpca.Client
	s3  *s3.Client
	sts *sts.Client

	stop context.CancelFunc
	done chan error
	log  *bytes.Buffer // complete once the server has stopped
}

// start runs a server until the test ends. Settings are the defaults but for
// free ports, a folder of its own, no report interval, and what change does.
func start(t *testing.T, change func(*serveConfig)) *instance {
	t.Helper()
	cfg := defaultServeConfig()
	cfg.DataDir = filepath.Join(t.TempDir(), "data")
	cfg.Listen, cfg.S3Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.AuditMinInterval = 0
	if change != nil {
		change(&cfg)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	i := &instance{stop: stop, done: make(chan error, 1), log: &bytes.Buffer{}}
	started := make(chan endpoints, 1)
	go func() {
		i.done <- serve(ctx, cfg, slog.New(slog.NewTextHandler(i.log, nil)), func(e endpoints) { started <- e })
	}()
	select {
	case i.endpoints = <-started:
	case err := <-i.done:
		stop()
		t.Fatalf("the server did not start: %v\n%s", err, i.log)
	}
	t.Cleanup(func() {
		if err := i.close(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
		if t.Failed() {
			t.Logf("the server's log:\n%s", i.log)
		}
	})
	i.aws = clientConfig(t, i.DataDir)
	i.pca = acmpca.NewFromConfig(i.aws)
	i.s3 = s3.NewFromConfig(i.aws, func(o *s3.Options) { o.UsePathStyle = true })
	i.sts = sts.NewFromConfig(i.aws)
	return i
}

// close stops the server; a second call does nothing.
func (i *instance) close() error {
	i.stop()
	err, ok := <-i.done
	if ok {
		close(i.done)
	}
	return err
}

func clientConfig(t *testing.T, dataDir string) aws.Config {
	t.Helper()
	config, credentials, err := clientFiles(dataDir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := awsconfig.LoadDefaultConfig(t.Context(),
		awsconfig.WithSharedConfigFiles([]string{config}),
		awsconfig.WithSharedCredentialsFiles([]string{credentials}),
		awsconfig.WithSharedConfigProfile("default"))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// command runs one command line to its end.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	code = run(ctx, args, &out, &errs)
	return code, out.String(), errs.String()
}

func TestServeRefusesSettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	badFile := filepath.Join(dir, "bad.yaml")
	if err := os.WriteFile(badFile, []byte("lissten: 127.0.0.1:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--listen", "0.0.0.0:0"}, "--tls-cert"},
		{[]string{"--s3-listen", "0.0.0.0:0"}, "--insecure-http"},
		{[]string{"--listen", "nonsense"}, "is not an address"},
		{[]string{"--account", "123"}, "12 digits"},
		{[]string{"--region", "US East"}, "region name"},
		{[]string{"--partition", "asw"}, "partition of AWS"},
		{[]string{"--tls-cert", "x"}, "belong together"},
		{[]string{"--tls-cert", "/nonexistent", "--tls-key", "/nonexistent"}, "--tls-cert, --tls-key"},
		{[]string{"--audit-min-interval", "-1s"}, "must not be negative"},
		{[]string{"--audit-min-interval", "soon"}, "invalid"},
		{[]string{"--audit-preflight", "maybe"}, "off, head or write"},
		{[]string{"--destination", "ftp://x"}, "is not a destination"},
		{[]string{"--destination-authorization", "maybe"}, "policy or credentials"},
		{[]string{"--destination-access-key-id", "AKIA"}, "belong together"},
		{[]string{"--segments-bucket", "own-segments"}, "external --destination"},
		{[]string{"--destination", "aws", "--segments-bucket", "Own"}, "not the name of a bucket"},
		{[]string{"--destination", "aws", "--segments-bucket", "own-segments", "--segments=false"}, "contradict each other"},
		{[]string{"--console-idle", "1s"}, "at least 1m"},
		{[]string{"--console-session", "5m"}, "at least --console-idle"},
		{[]string{"--console-oidc-roles", "arn:aws:iam::123456789012:role/x"}, "no provider"},
		{[]string{"--console-oidc-issuer", "https://id.example.com"}, "--console-oidc-client-id"},
		{[]string{"--console-oidc-issuer", "https://id.example.com", "--console-oidc-client-id", "x", "--console-oidc-roles", "arn:aws:iam::123456789012:role/x"}, "--public-url"},
		{[]string{"--console-oidc-issuer", "http://id.example.com", "--console-oidc-client-id", "x", "--console-oidc-roles", "arn:aws:iam::123456789012:role/x", "--public-url", "https://x"}, "https://"},
		{[]string{"--console-oidc-issuer", "https://id.example.com", "--console-oidc-client-id", "x", "--console-oidc-roles", "x", "--public-url", "https://x"}, "not a role's ARN"},
		{[]string{"--log-level", "loud"}, "--log-level"},
		{[]string{"--log-format", "xml"}, "--log-format"},
		{[]string{"--config", badFile}, "lissten"},
		{[]string{"--config", filepath.Join(dir, "none.yaml")}, "configuration file"},
		{[]string{"--no-such-flag"}, "no-such-flag"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			t.Parallel()
			args := append([]string{"serve", "--data-dir", filepath.Join(t.TempDir(), "data")}, c.args...)
			code, _, stderr := command(t, args...)
			if code != exitUsage {
				t.Errorf("exit code %d, want %d", code, exitUsage)
			}
			if !strings.Contains(stderr, c.want) {
				t.Errorf("the message does not say %q:\n%s", c.want, stderr)
			}
			if _, err := os.Stat(args[2]); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a refused start left a data folder behind")
			}
		})
	}
}

func TestServeRefusesFolders(t *testing.T) {
	t.Parallel()
	serveArgs := func(dir string, more ...string) []string {
		return append([]string{"serve", "--data-dir", dir, "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"}, more...)
	}
	t.Run("in use", func(t *testing.T) {
		t.Parallel()
		i := start(t, nil)
		code, _, stderr := command(t, serveArgs(i.DataDir)...)
		if code != exitInUse || !strings.Contains(stderr, fmt.Sprint(os.Getpid())) || !strings.Contains(stderr, "--data-dir") {
			t.Errorf("exit code %d, want %d and a message that names process %d:\n%s", code, exitInUse, os.Getpid(), stderr)
		}
	})
	t.Run("a file", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := command(t, serveArgs(path)...)
		if code != exitFailure || !strings.Contains(stderr, "--data-dir") {
			t.Errorf("exit code %d, message:\n%s", code, stderr)
		}
	})
	t.Run("newer format", func(t *testing.T) {
		t.Parallel()
		i := start(t, nil)
		if err := i.close(); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", filepath.Join(i.DataDir, "chirograph.db"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "UPDATE setting SET value = '9999' WHERE name = 'format'"); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := command(t, serveArgs(i.DataDir)...)
		if code != exitFailure || !strings.Contains(stderr, "newer version") {
			t.Errorf("exit code %d, message:\n%s", code, stderr)
		}
	})
	t.Run("master key missing", func(t *testing.T) {
		t.Parallel()
		i := start(t, nil)
		if err := i.close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(i.DataDir, "master.key")); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := command(t, serveArgs(i.DataDir)...)
		if code != exitFailure || !strings.Contains(stderr, "--master-key-file") {
			t.Errorf("exit code %d, message:\n%s", code, stderr)
		}
	})
	t.Run("master key of another folder", func(t *testing.T) {
		t.Parallel()
		one, other := start(t, nil), start(t, nil)
		if err := one.close(); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := command(t, serveArgs(one.DataDir, "--master-key-file", other.MasterKey)...)
		if code == exitOK || !strings.Contains(stderr, "master key") {
			t.Errorf("exit code %d, message:\n%s", code, stderr)
		}
	})
	t.Run("database lost", func(t *testing.T) {
		t.Parallel()
		i := start(t, nil)
		i.root(t)
		if err := i.close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(i.DataDir, "chirograph.db")); err != nil {
			t.Fatal(err)
		}
		credentials, err := os.ReadFile(i.Credentials)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the first must not make the second succeed
			code, _, stderr := command(t, serveArgs(i.DataDir)...)
			if code != exitFailure || !strings.Contains(stderr, "restore chirograph.db") {
				t.Errorf("exit code %d, message:\n%s", code, stderr)
			}
		}
		if after, err := os.ReadFile(i.Credentials); err != nil || !bytes.Equal(after, credentials) {
			t.Errorf("the credentials changed (%v)", err)
		}
	})
	t.Run("address taken", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		dir := filepath.Join(t.TempDir(), "data")
		code, _, stderr := command(t, "serve", "--data-dir", dir, "--listen", l.Addr().String(), "--s3-listen", "127.0.0.1:0")
		if code != exitFailure || !strings.Contains(stderr, "--listen") {
			t.Errorf("exit code %d, message:\n%s", code, stderr)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Error("the data folder was touched")
		}
	})
}

func TestServeFiles(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	for path, mode := range map[string]os.FileMode{
		i.DataDir: 0o700, i.Credentials: 0o600, i.MasterKey: 0o600, filepath.Join(i.DataDir, "keys"): 0o700,
	} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), mode)
		}
	}
	credentials, err := os.ReadFile(i.Credentials)
	if err != nil {
		t.Fatal(err)
	}
	// The next start keeps the access key, and the files follow the new ports.
	if err := i.close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, func(c *serveConfig) { c.DataDir = i.DataDir })
	after, err := os.ReadFile(again.Credentials)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(credentials, after) {
		t.Error("a restart changed the credentials")
	}
	if err := again.close(); err != nil {
		t.Fatal(err)
	}
	// Region and partition stay those of the first start.
	for _, flag := range []string{"--region=eu-west-1", "--partition=aws-cn"} {
		code, _, stderr := command(t, "serve", "--data-dir", i.DataDir, "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", flag)
		if code != exitUsage || !strings.Contains(stderr, "belongs to the") {
			t.Errorf("%s on a used folder: exit code %d:\n%s", flag, code, stderr)
		}
	}
	again = start(t, func(c *serveConfig) { c.DataDir = i.DataDir })
	if again.MasterKeyMade {
		t.Error("a restart made a master key")
	}
	if _, err := again.sts.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}
}

// tlsFiles makes a certificate for this machine; trusting is a client that knows it.
func tlsFiles(t *testing.T) (certFile, keyFile string, trusting *http.Client) {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return certFile, keyFile, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
}

func TestServeTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile, trusting := tlsFiles(t)
	i := start(t, func(c *serveConfig) { c.TLSCert, c.TLSKey, c.Listen = certFile, keyFile, "0.0.0.0:0" })
	if !strings.HasPrefix(i.API, "https://") || !strings.HasPrefix(i.endpoints.S3, "https://") {
		t.Fatalf("the client files point at %s and %s", i.API, i.endpoints.S3)
	}
	i.aws.HTTPClient = trusting
	if _, err := sts.NewFromConfig(i.aws).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}
	if _, err := s3.NewFromConfig(i.aws, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(t.Context(), &s3.ListBucketsInput{}); err != nil {
		t.Error(err)
	}
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	for path, want := range map[string]string{"/healthz": "ok", "/metrics": "pca_api_requests_total"} {
		if path == "/metrics" {
			if _, err := i.pca.ListCertificateAuthorities(t.Context(), &acmpca.ListCertificateAuthoritiesInput{}); err != nil {
				t.Fatal(err)
			}
		}
		resp, err := http.Get(i.API + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("GET %s: status %d, error %v, body does not say %q:\n%s", path, resp.StatusCode, err, want, body)
		}
	}
}

func TestEnv(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "it's here")
	code, _, stderr := command(t, "env", "--data-dir", dir)
	if code != exitFailure || !strings.Contains(stderr, "chirograph serve") {
		t.Errorf("without a server: exit code %d:\n%s", code, stderr)
	}
	i := start(t, func(c *serveConfig) { c.DataDir = dir })
	code, stdout, stderr := command(t, "env", "--data-dir", dir)
	if code != exitOK || !strings.Contains(stdout, `export AWS_CONFIG_FILE='`) || !strings.Contains(stdout, `it'\''s here`) {
		t.Errorf("exit code %d:\n%s%s", code, stdout, stderr)
	}
	code, stdout, _ = command(t, "env", "--data-dir", dir, "--output", "json")
	if code != exitOK || !strings.Contains(stdout, i.Credentials) {
		t.Errorf("exit code %d:\n%s", code, stdout)
	}
	if code, _, _ = command(t, "env", "--data-dir", dir, "--output", "xml"); code != exitUsage {
		t.Errorf("exit code %d, want %d", code, exitUsage)
	}
}

// TestTour runs the README's first command. It checks its own reports, so it
// fails when one is wrong.
func TestHelp(t *testing.T) {
	t.Parallel()
	code, out, _ := command(t, "user", "create", "--help")
	if code != exitOK || !strings.HasPrefix(out, "Make a user") || !strings.Contains(out, "Examples:\n  chirograph user create") || strings.Contains(out, "true|false") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

func TestTour(t *testing.T) {
	before, err := filepath.Glob(filepath.Join(os.TempDir(), "chirograph-tour-*"))
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := command(t, "tour", "--certificates", "40")
	if code != exitOK {
		t.Fatalf("exit code %d:\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{"Audit report (JSON)", "Audit report (CSV)", "41 rows, 4 revoked", `"revocationReason":"`} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the tour does not say %q:\n%s", want, stdout)
		}
	}
	after, err := filepath.Glob(filepath.Join(os.TempDir(), "chirograph-tour-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(after) > len(before) {
		t.Errorf("the tour left %v behind", after)
	}
}
