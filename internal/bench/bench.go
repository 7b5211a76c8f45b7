// Package bench is what the benchmark programs and the crash test share:
// starting the real server, reading its CPU time and memory, signing requests, and describing
// the machine.
package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bucket"
)

// Server is the real server in its own process.
type Server struct {
	Dir    string // data folder
	API    string // URL
	Config aws.Config
	PCA    *acmpca.Client
	S3     *s3.Client
	Began  time.Time     // when the process was started
	Up     time.Duration // from then until /healthz answered that it serves

	cmd *exec.Cmd
	log output
}

// output collects what a process writes; it may be read while the process runs.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Build builds the server's binary into dir.
func Build(dir string) (string, error) { return BuildCommand(dir, "chirograph") }

// BuildCommand builds the program of that name, without cgo as it is released,
// into dir.
func BuildCommand(dir, name string) (string, error) {
	binary := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", binary, "chirograph.dev/cmd/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return binary, nil
}

// Start runs the binary on free loopback ports over the data folder.
func Start(ctx context.Context, binary, dataDir string, flags ...string) (*Server, error) {
	api, err := FreePort()
	if err != nil {
		return nil, err
	}
	buckets, err := FreePort()
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dataDir, API: "http://" + api}
	s.cmd = exec.Command(binary, append([]string{"serve", "--data-dir", dataDir, "--listen", api, "--s3-listen", buckets, "--log-level", "error"}, flags...)...)
	s.cmd.Stderr = &s.log
	s.Began = time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the server: %w", err)
	}
	if err := s.wait(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	s.Up = time.Since(s.Began)
	s.Config, err = awsconfig.LoadDefaultConfig(ctx,
		awsconfig.WithSharedConfigFiles([]string{filepath.Join(dataDir, "aws", "config")}),
		awsconfig.WithSharedCredentialsFiles([]string{filepath.Join(dataDir, "aws", "credentials")}),
		awsconfig.WithSharedConfigProfile("default"))
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("reading the client files: %w", err)
	}
	s.PCA = acmpca.NewFromConfig(s.Config)
	s.S3 = s3.NewFromConfig(s.Config, func(o *s3.Options) { o.UsePathStyle = true })
	return s, nil
}

func (s *Server) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		resp, err := http.Get(s.API + "/healthz")
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the server does not come up:\n%s", s.log.String())
		case <-time.After(time.Millisecond):
		}
	}
}

// Kill ends the process without any warning.
func (s *Server) Kill() error {
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	_ = s.cmd.Wait() // says that it was killed
	return nil
}

// Log is what the process wrote to its standard error.
func (s *Server) Log() string { return s.log.String() }

// Stop ends the server gracefully.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// CPU is the time that the process has used, in its own code and in the
// kernel's, which copies what is written and read.
func (s *Server) CPU() (user, system time.Duration, err error) { return CPU(s.cmd.Process.Pid) }

// CPU is (*Server).CPU of any process.
func CPU(pid int) (user, system time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const tick = time.Second / 100 // USER_HZ of every Linux that Go runs on
	var times [2]time.Duration
	for i := range times {
		n, err := strconv.ParseInt(f[11+i], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		times[i] = time.Duration(n) * tick
	}
	return times[0], times[1], nil
}

// Memory is the process's resident set in bytes, now and at its peak.
func (s *Server) Memory() (now, peak int64, err error) { return Memory(s.cmd.Process.Pid) }

// Memory is the resident set of a process that runs, in bytes, now and at its
// peak. (The peak that the kernel tells at its end includes that of whoever
// started it.)
func Memory(pid int) (now, peak int64, err error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	for l := bufio.NewScanner(f); l.Scan(); {
		name, value, _ := strings.Cut(l.Text(), ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		if name == "VmRSS" {
			now = kb << 10
		} else {
			peak = kb << 10
		}
	}
	return now, peak, nil
}

// MakeCA makes an active P-256 root and returns its ARN.
func (s *Server) MakeCA(ctx context.Context) (string, error) {
	return s.MakeRoot(ctx, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa, nil)
}

// MakeRoot makes an active root with a key and a revocation configuration, which
// may be nil, and returns its ARN.
func (s *Server) MakeRoot(ctx context.Context, key types.KeyAlgorithm, signing types.SigningAlgorithm, revocation *types.RevocationConfiguration) (string, error) {
	ca, err := s.PCA.CreateCertificateAuthority(ctx, &acmpca.CreateCertificateAuthorityInput{
		CertificateAuthorityType: types.CertificateAuthorityTypeRoot,
		CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
			KeyAlgorithm: key, SigningAlgorithm: signing,
			Subject: &types.ASN1Subject{CommonName: aws.String("Bench Root"), Organization: aws.String("Example"), Country: aws.String("US")},
		},
		RevocationConfiguration: revocation,
	})
	if err != nil {
		return "", err
	}
	arn := ca.CertificateAuthorityArn
	csr, err := acmpca.NewCertificateAuthorityCSRCreatedWaiter(s.PCA).WaitForOutput(ctx, &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: arn}, time.Minute)
	if err != nil {
		return "", err
	}
	root, err := s.PCA.IssueCertificate(ctx, &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: arn, Csr: []byte(*csr.Csr), SigningAlgorithm: signing,
		TemplateArn: aws.String("arn:aws:acm-pca:::template/RootCACertificate/V1"),
		Validity:    &types.Validity{Type: types.ValidityPeriodTypeYears, Value: aws.Int64(10)},
	})
	if err != nil {
		return "", err
	}
	cert, err := s.PCA.GetCertificate(ctx, &acmpca.GetCertificateInput{CertificateAuthorityArn: arn, CertificateArn: root.CertificateArn})
	if err != nil {
		return "", err
	}
	_, err = s.PCA.ImportCertificateAuthorityCertificate(ctx, &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: arn, Certificate: []byte(*cert.Certificate)})
	return *arn, err
}

// MakeBucket makes a bucket whose policy lets CAs write reports.
func (s *Server) MakeBucket(ctx context.Context, name string) error {
	if _, err := s.S3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
		return err
	}
	_, err := s.S3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &name, Policy: aws.String(string(bucket.PolicyFor(name, "", "")))})
	return err
}

// Machine describes the machine in one line.
func Machine() string {
	model := "unknown processor"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%s, %d CPUs, %s %s/%s, %s", model, runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, time.Now().UTC().Format(time.DateOnly))
}

// FreePort finds a loopback address that nobody listens on.
func FreePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Report is an audit report that the server has written.
type Report struct {
	ID, Key string
	Took    time.Duration // from the order to SUCCESS
}

// Report has a report written to a bucket.
func (s *Server) Report(ctx context.Context, ca, bucketName string, format types.AuditReportResponseFormat) (*Report, error) {
	start := time.Now()
	out, err := s.PCA.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &ca, S3BucketName: &bucketName, AuditReportResponseFormat: format,
	})
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, s.Log())
	}
	for {
		d, err := s.PCA.DescribeCertificateAuthorityAuditReport(ctx, &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &ca, AuditReportId: out.AuditReportId})
		switch {
		case err != nil:
			return nil, err
		case d.AuditReportStatus == types.AuditReportStatusFailed:
			return nil, fmt.Errorf("the report failed\n%s", s.Log())
		case d.AuditReportStatus == types.AuditReportStatusSuccess:
			return &Report{ID: *out.AuditReportId, Key: *out.S3Key, Took: time.Since(start)}, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// MakeStore makes a CA, and a bucket for its reports if that has a name, through
// a server over the data folder, and stops it again. It returns the CA's ARN.
func MakeStore(ctx context.Context, binary, dataDir, bucketName string) (ca string, err error) {
	s, err := Start(ctx, binary, dataDir)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if ca, err = s.MakeCA(ctx); err != nil || bucketName == "" {
		return ca, err
	}
	return ca, s.MakeBucket(ctx, bucketName)
}
