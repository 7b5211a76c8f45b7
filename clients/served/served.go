// Package served starts the real server for the tests of foreign clients. It
// knows nothing of the product but its command line, and its module needs
// nothing, so that each client keeps the very versions it was released with.
package served

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Region is the one that every server here is set up for.
const Region = "us-east-1"

// Server is a server in its own process.
type Server struct {
	API     string // URL of the API and of STS
	Address string // host and port of API
	Dir     string // data folder

	cmd *exec.Cmd
	log bytes.Buffer // complete once the process has ended
}

// Build builds the server's binary from the sources that this file is part of.
func Build(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "chirograph")
	cmd := exec.Command("go", "build", "-o", binary, "./cmd/chirograph")
	cmd.Dir = filepath.Join("..", "..")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the server: %v\n%s", err, out)
	}
	return binary
}

// Start runs the binary on free loopback ports over a data folder until the
// test ends, or Stop.
func Start(t *testing.T, binary, dir string, flags ...string) *Server {
	t.Helper()
	s := &Server{Address: freePort(t), Dir: dir}
	s.cmd = exec.Command(binary, append([]string{"serve", "--data-dir", dir, "--region", Region, "--listen", s.Address, "--s3-listen", freePort(t), "--log-level", "warn"}, flags...)...)
	s.cmd.Stderr = &s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatalf("starting the server: %v", err)
	}
	t.Cleanup(func() { s.Stop(t) })
	s.API = "http://" + s.Address
	// Whether it answers, whoever it says it is.
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	for _, f := range flags {
		if f == "--tls-cert" {
			s.API = "https://" + s.Address
		}
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		resp, err := client.Get(s.API + "/healthz")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return s
		}
	}
	t.Fatal("the server does not come up")
	return nil
}

// Stop ends the server; a second call does nothing. The log of a failed test's
// server is shown.
func (s *Server) Stop(t *testing.T) {
	t.Helper()
	err := s.cmd.Process.Signal(os.Interrupt)
	if errors.Is(err, os.ErrProcessDone) {
		return
	}
	if err == nil {
		err = s.cmd.Wait()
	}
	if err != nil {
		t.Errorf("stopping the server: %v", err)
	}
	if t.Failed() {
		t.Logf("the server's log:\n%s", s.log.String())
	}
}

// Run runs another command of the binary as the server's administrator and
// returns what it prints.
func (s *Server) Run(t *testing.T, args ...string) (stdout []byte) {
	t.Helper()
	cmd := exec.Command(s.cmd.Path, append(args, "--data-dir", s.Dir, "--endpoint-url", s.API, "--region", Region)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("chirograph %v: %v\n%s%s", args, err, stdout, stderr.String())
	}
	return stdout
}

// Binary is the server's own program.
func (s *Server) Binary() string { return s.cmd.Path }

// Log is what a stopped server wrote to its standard error.
func (s *Server) Log() string { return s.log.String() }

// SetClientEnvironment gives this process the server's access key, its region
// and, if addressed, the two variables in which the AWS SDKs look for endpoints;
// and nothing else of what they read.
func (s *Server) SetClientEnvironment(t *testing.T, addressed bool) {
	t.Helper()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE",
		"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_ACM_PCA", "AWS_ENDPOINT_URL_STS", "AWS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
		"http_proxy", "https_proxy", "no_proxy",
	} {
		t.Setenv(name, "") // so that it is restored
		os.Unsetenv(name)
	}
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(s.Dir, "aws", "credentials"))
	t.Setenv("AWS_REGION", Region)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	if addressed {
		t.Setenv("AWS_ENDPOINT_URL_ACM_PCA", s.API)
		t.Setenv("AWS_ENDPOINT_URL_STS", s.API)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
