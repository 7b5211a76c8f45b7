// Package buckettest starts a foreign S3 service for tests: versitygw over a
// temporary folder. It holds no bucket policies for service principals, so it
// stands for the stores that are configured with authorization: credentials.
package buckettest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Foreign is a running S3 service that is not ours.
type Foreign struct {
	Endpoint    string
	Credentials aws.CredentialsProvider
	S3          *s3.Client // with the same credentials
}

// StartForeign starts versitygw on a free loopback port and stops it when the
// test ends. The program is the one that CHIROGRAPH_VERSITYGW names, or the
// one on PATH, or .tools/versitygw under the module's root, where make tools
// installs it; without any the test fails.
func StartForeign(t testing.TB) *Foreign {
	t.Helper()
	return start(t)
}

// StartVersioned is StartForeign with versions of objects and Object Lock.
func StartVersioned(t testing.TB) *Foreign {
	t.Helper()
	return start(t, "--versioning-dir", t.TempDir())
}

func start(t testing.TB, flags ...string) *Foreign {
	t.Helper()
	program := find(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()

	const id, secret = "AKIAFOREIGN", "a-secret-for-tests"
	var log logBuffer
	args := append([]string{"--quiet", "--access", id, "--secret", secret, "--port", address, "posix"}, flags...)
	cmd := exec.Command(program, append(args, t.TempDir())...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", program, err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("stopping versitygw: %v", err)
		}
		<-exited
	})

	f := &Foreign{Endpoint: "http://" + address, Credentials: credentials.NewStaticCredentialsProvider(id, secret, "")}
	f.S3 = s3.New(s3.Options{Region: "us-east-1", BaseEndpoint: &f.Endpoint, Credentials: f.Credentials, UsePathStyle: true})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.Endpoint, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			return f
		}
		select {
		case err := <-exited:
			exited <- err
			t.Fatalf("versitygw ended: %v\n%s", err, log.String())
		case <-ctx.Done():
			t.Fatalf("versitygw does not answer: %v\n%s", err, log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func find(t testing.TB) string {
	t.Helper()
	if p := os.Getenv("CHIROGRAPH_VERSITYGW"); p != "" {
		return p
	}
	if p, err := exec.LookPath("versitygw"); err == nil {
		return p
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			p := filepath.Join(dir, ".tools", "versitygw")
			if _, err := os.Stat(p); err == nil {
				return p
			}
			break
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatal("this test talks to a foreign S3 service and needs the program versitygw: run `make tools`, or name the program in CHIROGRAPH_VERSITYGW")
	return ""
}
