package local

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"chirograph.dev/internal/iam"
)

const (
	accountA = "123456789012"
	accountB = "210987654321"
	caARN    = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11111111-2222-3333-4444-555555555555"
)

// people is an iam.Credentials of a few fixed keys.
type people map[string]*iam.Principal

func (p people) Secret(_ context.Context, id string) (string, bool, error) {
	return "secret-of-" + id, p[id] != nil, nil
}

func (p people) Principal(_ context.Context, id, token string) (*iam.Principal, error) {
	switch who := p[id]; {
	case token == "over":
		return nil, iam.ErrExpiredToken
	case who == nil || token != "":
		return nil, iam.ErrInvalidToken
	default:
		return who, nil
	}
}

func identity(t testing.TB, account, name, policy string) *iam.Principal {
	t.Helper()
	p := &iam.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, ID: "AIDA" + strings.ToUpper(name)}
	if policy != "" {
		parsed, err := iam.ParsePolicy([]byte(policy))
		if err != nil {
			t.Fatal(err)
		}
		p.Policies = []*iam.Policy{parsed}
	}
	return p
}

const administrator = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}`

// pca is the principal that writes reports.
func pca() *iam.Principal {
	return &iam.Principal{Service: "acm-pca.amazonaws.com", ARN: "acm-pca.amazonaws.com",
		Context: map[string][]string{"aws:SourceAccount": {accountA}, "aws:SourceArn": {caARN}}}
}

type fixture struct {
	*Service
	dir  string
	url  string
	host string
}

func everybody(t testing.TB) people {
	return people{
		"AKADMIN":    identity(t, accountA, "admin", administrator),
		"AKNOBODY":   identity(t, accountA, "nobody", ""),
		"AKSTRANGER": identity(t, accountB, "stranger", administrator),
	}
}

func start(t testing.TB) *fixture {
	t.Helper()
	return startIn(t, filepath.Join(t.TempDir(), "buckets"), nil)
}

func startIn(t testing.TB, dir string, change func(*Config)) *fixture {
	t.Helper()
	cfg := Config{Dir: dir, Credentials: everybody(t), Domain: "s3.test",
		Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	if change != nil {
		change(&cfg)
	}
	s, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: s}
	go srv.Serve(l)
	t.Cleanup(func() {
		srv.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fixture{Service: s, dir: dir, url: "http://" + l.Addr().String(), host: l.Addr().String()}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// client is the SDK with its defaults, over the network.
func (f *fixture) client(t testing.TB, key string, opts ...func(*s3.Options)) *s3.Client {
	t.Helper()
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithRegion("us-east-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(key, "secret-of-"+key, "")))
	if err != nil {
		t.Fatal(err)
	}
	return s3.NewFromConfig(cfg, append([]func(*s3.Options){func(o *s3.Options) {
		o.BaseEndpoint, o.UsePathStyle, o.RetryMaxAttempts = &f.url, true, 1
	}}, opts...)...)
}

// inside is the SDK in process.
func (f *fixture) inside(t testing.TB, p *iam.Principal) *s3.Client {
	t.Helper()
	return s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: aws.String("https://buckets.internal"), UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("in-process", "in-process", ""),
		HTTPClient:  &http.Client{Transport: f.Transport(p)}})
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func wantCode(t testing.TB, err error, want string) {
	t.Helper()
	if code(err) != want {
		t.Fatalf("got %v, want code %s", err, want)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("%v", err))
	}
	return v
}

func body(b []byte) io.ReadSeeker { return bytes.NewReader(b) }

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	var s [32]byte
	s[0], s[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(s).Read(b)
	return b
}

func (f *fixture) get(t testing.TB, c *s3.Client, bucket, key string) []byte {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: "ENABLED"})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *fixture) bucket(t testing.TB, name string) *s3.Client {
	t.Helper()
	c := f.client(t, "AKADMIN")
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	return c
}

// partFiles counts the part files, once the collector is idle.
func (f *fixture) partFiles(t testing.TB) int {
	t.Helper()
	if err := f.sweepAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.files.unlink(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i := range 256 {
		if err := f.files.each(byte(i), func(ids []fileID) error { n += len(ids); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// aws runs the aws CLI as the administrator.
func (f *fixture) aws(t testing.TB, args ...string) (string, error) {
	t.Helper()
	return f.command(t, "aws", args...)
}

func (f *fixture) command(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	home := t.TempDir()
	conf := filepath.Join(home, "config")
	if err := os.WriteFile(conf, []byte("[default]\nregion = us-east-1\ns3 =\n  signature_version = s3v4\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "HOME="+home, "AWS_CONFIG_FILE="+conf, "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "none"),
		"AWS_ACCESS_KEY_ID=AKADMIN", "AWS_SECRET_ACCESS_KEY=secret-of-AKADMIN", "AWS_ENDPOINT_URL_S3="+f.url, "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (f *fixture) mustAWS(t testing.TB, args ...string) string {
	t.Helper()
	out, err := f.aws(t, args...)
	if err != nil {
		t.Fatalf("aws %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func sha(b []byte) [32]byte { return sha256.Sum256(b) }
