// Package tiles has Tessera's fsck, the engine of its command of that name,
// check a log that the server's own command exported. No code of ours has a
// part in the check.
package tiles

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"

	"chirograph.dev/clients/served"
)

// certificates make more than one tile.
const certificates = 300

type server struct {
	*served.Server
	key aws.Credentials
}

type object = map[string]any

// call calls an operation of the API; it gives one member of the answer.
func (s *server) call(t *testing.T, operation string, in object, member string) string {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	for {
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.API+"/", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-amz-json-1.1")
		r.Header.Set("X-Amz-Target", "ACMPrivateCA."+operation)
		sum := sha256.Sum256(body)
		if err := v4.NewSigner().SignHTTP(t.Context(), s.key, r, hex.EncodeToString(sum[:]), "acm-pca", served.Region, time.Now()); err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		out := object{}
		if len(answer) > 0 && json.Unmarshal(answer, &out) != nil || resp.StatusCode != http.StatusOK {
			if out["__type"] == "RequestInProgressException" {
				time.Sleep(10 * time.Millisecond)
				continue
			}
			t.Fatalf("%s: %d %s", operation, resp.StatusCode, answer)
		}
		text, _ := out[member].(string)
		return text
	}
}

var keyLines = regexp.MustCompile(`aws_access_key_id *= *(\S+)\s+aws_secret_access_key *= *(\S+)`)

// fill makes a CA whose log has more than one tile, and gives its ARN.
func (s *server) fill(t *testing.T) string {
	t.Helper()
	arn := s.call(t, "CreateCertificateAuthority", object{"CertificateAuthorityType": "ROOT", "CertificateAuthorityConfiguration": object{
		"KeyAlgorithm": "EC_prime256v1", "SigningAlgorithm": "SHA256WITHECDSA", "Subject": object{"CommonName": "tiles"}}}, "CertificateAuthorityArn")
	ca := object{"CertificateAuthorityArn": arn}
	issue := func(csr []byte, template string, days int) string {
		return s.call(t, "IssueCertificate", object{"CertificateAuthorityArn": arn, "Csr": csr, "SigningAlgorithm": "SHA256WITHECDSA",
			"TemplateArn": "arn:aws:acm-pca:::template/" + template + "/V1", "Validity": object{"Type": "DAYS", "Value": days}}, "CertificateArn")
	}
	root := issue([]byte(s.call(t, "GetCertificateAuthorityCsr", ca, "Csr")), "RootCACertificate", 30)
	certificate := s.call(t, "GetCertificate", object{"CertificateAuthorityArn": arn, "CertificateArn": root}, "Certificate")
	s.call(t, "ImportCertificateAuthorityCertificate", object{"CertificateAuthorityArn": arn, "Certificate": []byte(certificate)}, "")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "leaf.example.com"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	csr := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	for range certificates {
		issue(csr, "EndEntityCertificate", 7)
	}
	return arn
}

// check runs fsck over a folder.
func check(t *testing.T, dir, vkey string) error {
	t.Helper()
	v, err := fnote.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	// As Tessera's command does for logs of C2SP entry bundles.
	leaves := func(bundle []byte) (hashes [][]byte, err error) {
		b := &api.EntryBundle{}
		if err := b.UnmarshalText(bundle); err != nil {
			return nil, fmt.Errorf("reading an entry bundle: %w", err)
		}
		for _, e := range b.Entries {
			hashes = append(hashes, rfc6962.DefaultHasher.HashLeaf(e))
		}
		return hashes, nil
	}
	return fsck.New(v.Name(), v, &client.FileFetcher{Root: dir}, leaves, fsck.Opts{N: 2}).Check(t.Context())
}

func TestTesseraChecksAnExport(t *testing.T) {
	binary := served.Build(t)
	s := &server{Server: served.Start(t, binary, filepath.Join(t.TempDir(), "data"))}
	credentials, err := os.ReadFile(filepath.Join(s.Dir, "aws", "credentials"))
	if err != nil {
		t.Fatal(err)
	}
	m := keyLines.FindSubmatch(credentials)
	if m == nil {
		t.Fatalf("no key in %s", credentials)
	}
	s.key = aws.Credentials{AccessKeyID: string(m[1]), SecretAccessKey: string(m[2])}
	arn := s.fill(t)

	dir := filepath.Join(t.TempDir(), "log")
	var exported struct {
		Key  string
		Size int
	}
	cmd := exec.Command(binary, "log", "export", "--ca", arn, "--to", dir, "--data-dir", s.Dir, "--output", "json")
	cmd.Stderr = os.Stderr
	if out, err := cmd.Output(); err != nil || json.Unmarshal(out, &exported) != nil {
		t.Fatalf("exporting: %v\n%s", err, out)
	}
	if exported.Size <= certificates {
		t.Errorf("the log has %d entries", exported.Size)
	}
	if err := check(t, dir, exported.Key); err != nil {
		t.Fatalf("fsck does not take what was exported: %v", err)
	}
	// One bit, wherever it is.
	n := 0
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		at := len(b) / 2
		if filepath.Base(path) == "checkpoint" {
			at = strings.IndexByte(string(b), '\n') + 1 // the size
		}
		n++
		b[at] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
		if check(t, dir, exported.Key) == nil {
			t.Errorf("fsck takes %s with another bit", path)
		}
		b[at] ^= 1
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || n < 6 {
		t.Errorf("%d files: %v", n, err)
	}
	if err := check(t, dir, exported.Key); err != nil {
		t.Error(err)
	}
}
