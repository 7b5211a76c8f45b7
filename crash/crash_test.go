package crash

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"

	"chirograph.dev/internal/bench"
	"chirograph.dev/internal/proof"
)

const (
	quickRounds = 12
	bucketName  = "crash-reports"
)

// world is what the clients know: everything that the server ever acknowledged.
type world struct {
	mu      sync.Mutex
	issued  map[string]bool   // certificate ARN
	revoked map[string]string // certificate ARN -> reason
	reports map[string]string // S3 key -> report id, of accepted reports that may still run
	ended   int               // accepted reports that were seen to end
	proven  int               // reports that proved themselves
	known   []byte            // manifest of the newest of them, as an auditor keeps it
	order   []string          // issued, to choose what to revoke
}

func (w *world) acknowledgeIssue(arn string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.issued[arn] = true
	w.order = append(w.order, arn)
}

// pick chooses a certificate that nobody tried to revoke yet.
func (w *world) pick() (arn string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.order) == 0 {
		return "", false
	}
	i := mathrand.IntN(len(w.order))
	arn = w.order[i]
	w.order[i] = w.order[len(w.order)-1]
	w.order = w.order[:len(w.order)-1]
	return arn, true
}

// TestCrash starts the real server, loads it with concurrent issuing, revoking
// and reporting, kills it with SIGKILL, and starts it again; round after round
// on one data folder. After each restart a report must list every certificate
// and every revocation that was acknowledged, with unique serials; every report
// object in the bucket must be whole; every accepted report must end; and the
// CRLs that were published meanwhile must be readings of the log.
func TestCrash(t *testing.T) {
	rounds := roundsOr(t, quickRounds)
	dir := t.TempDir()
	binary, err := bench.Build(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{binary: binary, dir: filepath.Join(dir, "data")}
	w := &world{issued: map[string]bool{}, revoked: map[string]string{}, reports: map[string]string{}}

	s.start(t)
	if err := s.MakeBucket(t.Context(), bucketName); err != nil {
		t.Fatal(err)
	}
	caARN, err := s.MakeRoot(t.Context(), types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa, &types.RevocationConfiguration{
		CrlConfiguration: &types.CrlConfiguration{
			Enabled: aws.Bool(true), ExpirationInDays: aws.Int32(7), S3BucketName: aws.String(bucketName), S3ObjectAcl: types.S3ObjectAclBucketOwnerFullControl,
		},
		OcspConfiguration: &types.OcspConfiguration{Enabled: aws.Bool(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	csrs := makeCSRs(t, 16)
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for range 6 {
			load.Go(func() { issueUntil(ctx, s, w, caARN, csrs) })
		}
		for range 2 {
			load.Go(func() { revokeUntil(ctx, s, w, caARN) })
		}
		load.Go(func() { reportUntil(ctx, s, w, caARN) })
		time.Sleep(time.Duration(20+mathrand.IntN(400)) * time.Millisecond)
		s.kill(t)
		cancel()
		load.Wait()
		if round%3 == 2 {
			s.fsck(t)
		}

		s.start(t)
		check(t, s, w, caARN)
		if t.Failed() {
			t.Fatalf("round %d of %d", round+1, rounds)
		}
	}
	s.kill(t)
	s.fsck(t)
	t.Logf("%d rounds: %d certificates, %d revocations, %d reports acknowledged; none lost; %d reports proved themselves", rounds, len(w.issued), len(w.revoked), w.ended, w.proven)
}

// roundsOr is the number of rounds that the environment asks for.
func roundsOr(t *testing.T, quick int) int {
	t.Helper()
	s := os.Getenv("CHIROGRAPH_CRASH_ROUNDS")
	if s == "" {
		return quick
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// server is one data folder and the process that serves it.
type server struct {
	*bench.Server
	binary, dir string
}

func (s *server) start(t *testing.T) {
	t.Helper()
	var err error
	if s.Server, err = bench.Start(t.Context(), s.binary, s.dir, "--audit-min-interval", "0s"); err != nil {
		t.Fatal(err)
	}
	running := s.Server
	t.Cleanup(func() { running.Kill() })
	// A call is made once: what was not acknowledged does not count.
	s.PCA = acmpca.NewFromConfig(s.Config, func(o *acmpca.Options) { o.Retryer = aws.NopRetryer{} })
}

// kill ends the process without any warning, as a power switch would.
func (s *server) kill(t *testing.T) {
	t.Helper()
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
}

// fsck checks the folder as a kill left it: also that CRLs that were published,
// and what OCSP would answer, are what the log says.
func (s *server) fsck(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), s.binary, "fsck", "--data-dir", s.dir).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(" 1 CRLs")) {
		t.Errorf("fsck: %v\n%s", err, out)
	}
}

func makeCSRs(t *testing.T, n int) [][]byte {
	t.Helper()
	csrs := make([][]byte, n)
	for i := range csrs {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: fmt.Sprintf("crash-%d.example.com", i)}}, key)
		if err != nil {
			t.Fatal(err)
		}
		csrs[i] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	return csrs
}

// The loads run until the server is gone. Only what was acknowledged counts:
// a call whose answer never came may or may not have happened.

func issueUntil(ctx context.Context, s *server, w *world, ca string, csrs [][]byte) {
	for ctx.Err() == nil && issue(ctx, s, w, ca, csrs) {
	}
}

// issue is one certificate; false when the answer never came.
func issue(ctx context.Context, s *server, w *world, ca string, csrs [][]byte) bool {
	out, err := s.PCA.IssueCertificate(ctx, &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: &ca, Csr: csrs[mathrand.IntN(len(csrs))], SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
		Validity: &types.Validity{Type: types.ValidityPeriodTypeDays, Value: aws.Int64(30)},
	})
	if err != nil {
		return false
	}
	w.acknowledgeIssue(*out.CertificateArn)
	return true
}

func revokeUntil(ctx context.Context, s *server, w *world, ca string) {
	for ctx.Err() == nil && revoke(ctx, s, w, ca) {
		time.Sleep(time.Millisecond)
	}
}

// revoke is one revocation, if there is anything to revoke; false when the
// answer never came.
func revoke(ctx context.Context, s *server, w *world, ca string) bool {
	arn, ok := w.pick()
	if !ok {
		return true
	}
	reasons := types.RevocationReason("").Values()
	serial := arn[strings.LastIndexByte(arn, '/')+1:]
	reason := reasons[mathrand.IntN(len(reasons))]
	_, err := s.PCA.RevokeCertificate(ctx, &acmpca.RevokeCertificateInput{CertificateAuthorityArn: &ca, CertificateSerial: &serial, RevocationReason: reason})
	if err != nil {
		return false
	}
	w.mu.Lock()
	w.revoked[arn] = string(reason)
	w.mu.Unlock()
	return true
}

func reportUntil(ctx context.Context, s *server, w *world, ca string) {
	for ctx.Err() == nil {
		out, err := createReport(ctx, s, ca)
		if _, busy := errors.AsType[*types.RequestInProgressException](err); busy {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if err != nil {
			return
		}
		w.mu.Lock()
		w.reports[*out.S3Key] = *out.AuditReportId
		w.mu.Unlock()
	}
}

func createReport(ctx context.Context, s *server, ca string) (*acmpca.CreateCertificateAuthorityAuditReportOutput, error) {
	format := types.AuditReportResponseFormatJson
	if mathrand.IntN(2) == 0 {
		format = types.AuditReportResponseFormatCsv
	}
	return s.PCA.CreateCertificateAuthorityAuditReport(ctx, &acmpca.CreateCertificateAuthorityAuditReportInput{
		CertificateAuthorityArn: &ca, S3BucketName: aws.String(bucketName), AuditReportResponseFormat: format,
	})
}

// check is what must hold after a restart.
func check(t *testing.T, s *server, w *world, ca string) {
	t.Helper()
	ctx := t.Context()
	// Reports that were accepted before the kill end by themselves.
	for key, id := range w.reports {
		status := waitReport(t, s, ca, id)
		_, err := s.S3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String(bucketName), Key: &key})
		_, absent := errors.AsType[*s3types.NotFound](err)
		switch {
		case status == types.AuditReportStatusSuccess && err != nil:
			t.Errorf("report %s is SUCCESS and its object %s cannot be seen: %v", id, key, err)
		case status == types.AuditReportStatusFailed && !absent:
			t.Errorf("report %s is FAILED and its object %s answers %v", id, key, err)
		}
		w.ended++
		delete(w.reports, key) // ended; its object is among those listed below
	}
	out, err := createReport(ctx, s, ca)
	// A report may run whose acceptance nobody was told of any more; it ends by itself.
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, busy := errors.AsType[*types.RequestInProgressException](err); !busy {
			break
		}
		out, err = createReport(ctx, s, ca)
	}
	if err != nil {
		t.Fatalf("creating a report after the restart: %v\n%s", err, s.Log())
	}
	if status := waitReport(t, s, ca, *out.AuditReportId); status != types.AuditReportStatusSuccess {
		t.Fatalf("the report after the restart is %s\n%s", status, s.Log())
	}
	rows := readReport(t, s, *out.S3Key)
	prefix := *out.S3Key
	prefix = prefix[:strings.LastIndexByte(prefix, '/')+1]
	log := readLog(t, s, prefix)
	w.prove(t, s, *out.S3Key, log)
	w.known = readObject(t, s, *out.S3Key+proof.ManifestSuffix)
	for arn := range w.issued {
		if _, ok := rows[arn]; !ok {
			t.Errorf("certificate %s was acknowledged and is not in the report", arn)
		}
	}
	for arn, reason := range w.revoked {
		if rows[arn] != reason {
			t.Errorf("revocation of %s (%s) was acknowledged; the report says %q", arn, reason, rows[arn])
		}
	}
	// Every object that a consumer would take for a report is a whole one, and
	// what lies beside it proves it.
	pages := s3.NewListObjectsV2Paginator(s.S3, &s3.ListObjectsV2Input{Bucket: aws.String(bucketName), Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			if ext := filepath.Ext(*o.Key); ext == ".json" || ext == ".csv" {
				if *o.Key != *out.S3Key { // looked at once is enough: it never changes
					readReport(t, s, *o.Key)
					w.prove(t, s, *o.Key, log)
					if _, err := s.S3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String(bucketName), Key: o.Key}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

func waitReport(t *testing.T, s *server, ca, id string) types.AuditReportStatus {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		out, err := s.PCA.DescribeCertificateAuthorityAuditReport(t.Context(), &acmpca.DescribeCertificateAuthorityAuditReportInput{CertificateAuthorityArn: &ca, AuditReportId: &id})
		if err != nil {
			t.Fatalf("report %s: %v\n%s", id, err, s.Log())
		}
		if out.AuditReportStatus != types.AuditReportStatusCreating {
			return out.AuditReportStatus
		}
		if time.Now().After(deadline) {
			t.Fatalf("report %s is CREATING for ever\n%s", id, s.Log())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// readReport parses a whole report and gives the revocation reason of each
// certificate ARN; a serial that is listed twice is an error.
func readReport(t *testing.T, s *server, key string) map[string]string {
	t.Helper()
	file := readObject(t, s, key)
	rows := map[string]string{}
	add := func(arn, reason string) {
		if _, twice := rows[arn]; twice {
			t.Errorf("%s lists %s twice", key, arn)
		}
		rows[arn] = reason
	}
	if strings.HasSuffix(key, ".csv") {
		records, err := csv.NewReader(bytes.NewReader(file)).ReadAll()
		if err != nil {
			t.Fatalf("%s is not whole: %v", key, err)
		}
		for _, r := range records[1:] {
			add(r[2], r[9])
		}
		return rows
	}
	var list []struct{ CertificateArn, RevocationReason string }
	if err := json.Unmarshal(file, &list); err != nil {
		t.Fatalf("%s is not whole: %v", key, err)
	}
	for _, r := range list {
		add(r.CertificateArn, r.RevocationReason)
	}
	return rows
}
