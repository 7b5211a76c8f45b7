// Package witness has a foreign witness, litewitness of filippo.io/torchwood,
// unmodified and in its own process, watch over the logs of the server.
package witness

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	_ "modernc.org/sqlite" // the driver of the witness's database

	"chirograph.dev/clients/served"
)

const (
	name   = "witness.example.com"
	bucket = "audit-reports"
)

// litewitness is a running witness.
type litewitness struct{ url, key, db string }

func start(t *testing.T) *litewitness {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "litewitness")
	if out, err := exec.Command("go", "build", "-o", program, "filippo.io/torchwood/cmd/litewitness").CombinedOutput(); err != nil {
		t.Fatalf("building litewitness: %v\n%s", err, out)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := torchwood.NewCosignatureSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	socket, fingerprint := serveAgent(t, key)
	w := &litewitness{url: "http://" + address, key: signer.Verifier().String(), db: filepath.Join(dir, "witness.db")}
	var log bytes.Buffer
	cmd := exec.Command(program, "-name", name, "-db", w.db, "-ssh-agent", socket, "-key", fingerprint, "-listen", address)
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait()); err != nil {
			t.Errorf("stopping litewitness: %v", err)
		}
		if t.Failed() {
			t.Logf("litewitness:\n%s", log.String())
		}
	})
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		resp, err := http.Get(w.url)
		if err != nil {
			continue
		}
		page, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && bytes.Contains(page, []byte(name)) {
			return w
		}
	}
	t.Fatal("litewitness does not come up")
	return nil
}

// serveAgent is the ssh-agent that litewitness has its key in.
func serveAgent(t *testing.T, key ed25519.PrivateKey) (socket, fingerprint string) {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "agent") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		os.RemoveAll(dir)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go agent.ServeAgent(ring, c)
		}
	}()
	return socket, ssh.FingerprintSHA256(public)
}

// watch adds a log to the witness, with the statements of its witnessctl
// add-log and add-key.
func (w *litewitness) watch(t *testing.T, origin, key string) {
	t.Helper()
	db, err := sql.Open("sqlite", w.db+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const empty = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" // the root of no entries
	for _, statement := range [][]any{
		{"INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", origin, empty},
		{"INSERT INTO key (origin, key) VALUES (?, ?)", origin, key},
	} {
		if _, err := db.Exec(statement[0].(string), statement[1:]...); err != nil {
			t.Fatal(err)
		}
	}
}

// house is a started server with clients for it.
type house struct {
	*served.Server
	pca *acmpca.Client
	s3  *s3.Client
}

func open(t *testing.T, binary, dir string, flags ...string) *house {
	t.Helper()
	server := served.Start(t, binary, dir, append([]string{"--server-name", "pca.example.com", "--audit-min-interval", "0"}, flags...)...)
	cfg, err := config.LoadDefaultConfig(t.Context(),
		config.WithSharedConfigFiles([]string{filepath.Join(dir, "aws", "config")}), config.WithSharedCredentialsFiles([]string{filepath.Join(dir, "aws", "credentials")}))
	if err != nil {
		t.Fatal(err)
	}
	return &house{server, acmpca.NewFromConfig(cfg), s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true })}
}

// checkpoint is what `chirograph log checkpoint` tells.
func (h *house) checkpoint(t *testing.T, ca string) (c struct {
	Origin, Key  string
	Size         uint64
	Cosignatures []string
}) {
	t.Helper()
	if err := json.Unmarshal(h.Run(t, "log", "checkpoint", "--ca", ca, "--output", "json"), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// root makes a CA and lets add do what comes before it signs its certificate.
func (h *house) root(t *testing.T, add func(arn string)) (arn, certificate string) {
	t.Helper()
	ctx := t.Context()
	out, err := h.pca.CreateCertificateAuthority(ctx, &acmpca.CreateCertificateAuthorityInput{
		CertificateAuthorityType: types.CertificateAuthorityTypeRoot,
		CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
			KeyAlgorithm: types.KeyAlgorithmEcPrime256v1, SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
			Subject: &types.ASN1Subject{CommonName: aws.String("Root")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn = *out.CertificateAuthorityArn
	csr, err := acmpca.NewCertificateAuthorityCSRCreatedWaiter(h.pca).WaitForOutput(ctx, &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &arn}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	add(arn)
	issued, err := h.issue(ctx, arn, *csr.Csr, "RootCACertificate/V1", 3650)
	if err != nil {
		t.Fatal(err)
	}
	got, err := acmpca.NewCertificateIssuedWaiter(h.pca).WaitForOutput(ctx, &acmpca.GetCertificateInput{CertificateAuthorityArn: &arn, CertificateArn: &issued}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.pca.ImportCertificateAuthorityCertificate(ctx, &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &arn, Certificate: []byte(*got.Certificate)}); err != nil {
		t.Fatal(err)
	}
	return arn, *got.Certificate
}

func (h *house) issue(ctx context.Context, ca, csr, template string, days int64) (arn string, err error) {
	out, err := h.pca.IssueCertificate(ctx, &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: &ca, Csr: []byte(csr), SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
		TemplateArn: aws.String("arn:aws:acm-pca:::template/" + template), Validity: &types.Validity{Type: types.ValidityPeriodTypeDays, Value: &days},
	})
	if err != nil {
		return "", err
	}
	return *out.CertificateArn, nil
}

// leaf issues a certificate for the CA's own request, which is one as any other.
func (h *house) leaf(t *testing.T, ca string) error {
	t.Helper()
	csr, err := h.pca.GetCertificateAuthorityCsr(t.Context(), &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &ca})
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.issue(t.Context(), ca, *csr.Csr, "EndEntityCertificate/V1", 30)
	return err
}

// report makes a report and fetches it with its proof; verify is run on it.
func (h *house) report(t *testing.T, ca, certificate, witnessKey string) (output string, code int) {
	t.Helper()
	var made struct {
		Key string `json:"s3Key"`
	}
	if err := json.Unmarshal(h.Run(t, "audit-report", "create", "--ca", ca, "--bucket", bucket, "--wait", "--output", "json"), &made); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	list, err := h.s3.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: aws.String(bucket), Prefix: aws.String("audit-report/")})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Contents {
		out, err := h.s3.GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: o.Key})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(out.Body)
		out.Body.Close()
		path := filepath.Join(dir, filepath.FromSlash(*o.Key))
		if err = errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700)); err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root := filepath.Join(dir, "root.pem")
	if err := os.WriteFile(root, []byte(certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(h.Binary(), "verify", filepath.Join(dir, filepath.FromSlash(made.Key)), "--ca-certificate", root, "--state", "off", "--witness-key", witnessKey)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestLitewitness(t *testing.T) {
	w := start(t)
	binary := served.Build(t)
	base := t.TempDir()
	folder := func(name string) string { return filepath.Join(base, name) }
	snapshot := func(from, to string) {
		t.Helper()
		if out, err := exec.Command("cp", "-a", folder(from), folder(to)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	flag := "--witness=" + w.url + "=" + w.key

	h := open(t, binary, folder("data"), flag)
	ca, certificate := h.root(t, func(arn string) {
		head := h.checkpoint(t, arn)
		if len(head.Cosignatures) != 0 {
			t.Errorf("a log that the witness does not know is cosigned by %q", head.Cosignatures)
		}
		w.watch(t, head.Origin, head.Key)
	})
	if _, err := h.s3.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Fatal(err)
	}
	policy := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"acm-pca.amazonaws.com"},
		"Action":["s3:PutObject","s3:PutObjectAcl","s3:GetBucketAcl","s3:GetBucketLocation"],"Resource":["arn:aws:s3:::` + bucket + `/*","arn:aws:s3:::` + bucket + `"]}]}`
	if _, err := h.s3.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(bucket), Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	if out, code := h.report(t, ca, certificate, w.key); code != 0 {
		t.Errorf("verify: exit %d\n%s", code, out)
	}
	stranger, err := torchwood.NewCosignatureSigner(name, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	if out, code := h.report(t, ca, certificate, stranger.Verifier().String()); code != 1 || !strings.Contains(out, "witness-quorum") {
		t.Errorf("verify with another witness's key: exit %d\n%s", code, out)
	}
	h.Stop(t)
	snapshot("data", "before")
	snapshot("data", "rewritten")

	// The history goes on, and the witness has seen it.
	h = open(t, binary, folder("data"), flag)
	if err := h.leaf(t, ca); err != nil {
		t.Fatal(err)
	}
	if head := h.checkpoint(t, ca); len(head.Cosignatures) != 1 || head.Cosignatures[0] != name {
		t.Errorf("cosigned by %q", head.Cosignatures)
	}
	if out, code := h.report(t, ca, certificate, w.key); code != 0 {
		t.Errorf("verify: exit %d\n%s", code, out)
	}
	h.Stop(t)

	// The whole data folder is what it was. Nothing in it knows better.
	refuses := func(data, words string) {
		t.Helper()
		h := open(t, binary, folder(data), flag)
		if err := h.leaf(t, ca); err == nil {
			t.Errorf("%s: a log that the witness contradicts takes a certificate", data)
		}
		h.Stop(t)
		if log := h.Log(); !strings.Contains(log, words) || !strings.Contains(log, name) || !strings.Contains(log, "log recover") {
			t.Errorf("%s: the log of the server does not say %q:\n%s", data, words, log)
		}
	}
	refuses("before", "rolled back")

	// And then goes on otherwise, unwitnessed, past where it had been.
	h = open(t, binary, folder("rewritten"))
	for range 12 {
		if err := h.leaf(t, ca); err != nil {
			t.Fatal(err)
		}
	}
	h.Stop(t)
	refuses("rewritten", "rewritten")
}
