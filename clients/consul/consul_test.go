// Package consul runs Consul's AWS CA provider, unmodified, against the server.
// The provider stands on version 1 of the AWS SDK for Go, which reads no
// endpoint from the environment: it always calls acm-pca.REGION.amazonaws.com.
package consul

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go/aws"
	"github.com/aws/aws-sdk-go/aws/awserr"
	"github.com/aws/aws-sdk-go/aws/endpoints"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/aws/aws-sdk-go/service/acmpca"
	_ "github.com/hashicorp/consul/agent/connect/ca" // whose own tests are run

	"chirograph.dev/clients/served"
)

const host = "acm-pca." + served.Region + ".amazonaws.com"

// TestProvider runs Consul's own acceptance tests of its AWS provider: primary
// and secondary datacenters, a leader that comes back with its state, existing
// CAs, AWS under Consul's built-in CA and the reverse, and the deletion of CAs.
// All that differs from AWS is where the host name leads and who vouches for it,
// a CA of the server itself: "AWS host name mode".
func TestProvider(t *testing.T) {
	// Whatever is fetched and built is so before the environment changes.
	binary, dir := served.Build(t), filepath.Join(t.TempDir(), "data")
	acceptance := filepath.Join(t.TempDir(), "ca.test")
	if out, err := exec.Command("go", "test", "-c", "-o", acceptance, "github.com/hashicorp/consul/agent/connect/ca").CombinedOutput(); err != nil {
		t.Fatalf("building Consul's tests: %v\n%s", err, out)
	}
	first := served.Start(t, binary, dir)
	first.SetClientEnvironment(t, false)
	root, cert, key := hostCertificate(t, first.API)
	first.Stop(t)
	server := served.Start(t, binary, dir, "--tls-cert", cert, "--tls-key", key)

	// Stands for a line in /etc/hosts and port 443.
	proxy := httptest.NewServer(tunnel(t, host+":443", server.Address))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("AWS_CA_BUNDLE", root)
	t.Setenv("ENABLE_AWS_PCA_TESTS", "true")
	out, err := exec.Command(acceptance, "-test.v", "-test.run", "^TestAWS").CombinedOutput()
	if err != nil || strings.Contains(string(out), "--- SKIP") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"TestAWSBootstrapAndSignPrimary", "TestAWSBootstrapAndSignSecondary", "TestAWSBootstrapAndSignSecondaryConsul", "TestAWSProvider_Cleanup"} {
		if !strings.Contains(string(out), "--- PASS: "+name+" (") {
			t.Errorf("%s was not run:\n%s", name, out)
		}
	}
}

// hostCertificate makes a CA through the SDK's version 1 with an endpoint
// resolver, and has it issue a certificate for AWS's host name. It returns the
// paths of the root, of the certificate and of its key.
func hostCertificate(t *testing.T, api string) (root, cert, key string) {
	t.Helper()
	s, err := session.NewSession(&aws.Config{EndpointResolver: endpoints.ResolverFunc(func(string, string, ...func(*endpoints.Options)) (endpoints.ResolvedEndpoint, error) {
		return endpoints.ResolvedEndpoint{URL: api, SigningRegion: served.Region}, nil
	})})
	if err != nil {
		t.Fatal(err)
	}
	pca := acmpca.New(s)
	created, err := pca.CreateCertificateAuthority(&acmpca.CreateCertificateAuthorityInput{
		CertificateAuthorityType: aws.String("ROOT"),
		CertificateAuthorityConfiguration: &acmpca.CertificateAuthorityConfiguration{
			KeyAlgorithm: aws.String("EC_prime256v1"), SigningAlgorithm: aws.String("SHA256WITHECDSA"),
			Subject: &acmpca.ASN1Subject{CommonName: aws.String("Host names")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := created.CertificateAuthorityArn
	// Describe answers at once, and never with the RequestInProgressException
	// after which Consul would dereference nil.
	for status := ""; status != acmpca.CertificateAuthorityStatusPendingCertificate; {
		d, err := pca.DescribeCertificateAuthority(&acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: arn})
		if err != nil {
			t.Fatal(err)
		}
		status = *d.CertificateAuthority.Status
	}
	csr, err := pca.GetCertificateAuthorityCsr(&acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: arn})
	if err != nil {
		t.Fatal(err)
	}
	// A new CA never activates itself; until then it has no certificate, which
	// version 1 tells by the error's code.
	_, err = pca.GetCertificateAuthorityCertificate(&acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: arn})
	if e, ok := err.(awserr.Error); !ok || e.Code() != acmpca.ErrCodeInvalidStateException {
		t.Fatalf("the certificate of a pending CA: %v", err)
	}
	issue := func(csr []byte, template string, days int64) *acmpca.GetCertificateOutput {
		t.Helper()
		issued, err := pca.IssueCertificate(&acmpca.IssueCertificateInput{
			CertificateAuthorityArn: arn, Csr: csr, SigningAlgorithm: aws.String("SHA256WITHECDSA"),
			TemplateArn: aws.String("arn:aws:acm-pca:::template/" + template + "/V1"), Validity: &acmpca.Validity{Type: aws.String("DAYS"), Value: &days},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := &acmpca.GetCertificateInput{CertificateAuthorityArn: arn, CertificateArn: issued.CertificateArn}
		if err := pca.WaitUntilCertificateIssued(got); err != nil {
			t.Fatal(err)
		}
		out, err := pca.GetCertificate(got)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	self := issue([]byte(*csr.Csr), "RootCACertificate", 3650)
	if _, err := pca.ImportCertificateAuthorityCertificate(&acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: arn, Certificate: []byte(*self.Certificate)}); err != nil {
		t.Fatal(err)
	}

	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}}, private)
	if err != nil {
		t.Fatal(err)
	}
	leaf := issue(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}), "EndEntityServerAuthCertificate", 30)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	root, cert, key = filepath.Join(dir, "root.pem"), filepath.Join(dir, "host.pem"), filepath.Join(dir, "host.key")
	for path, text := range map[string]string{
		root: *self.Certificate, cert: *leaf.Certificate, key: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root, cert, key
}

// tunnel is an HTTP proxy that lets through to one address, and leads it elsewhere.
func tunnel(t *testing.T, only, to string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != only {
			t.Errorf("the client also calls %s %s", r.Method, r.Host)
			http.Error(w, "not let through", http.StatusForbidden)
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			t.Error(err)
			http.Error(w, "no server", http.StatusBadGateway)
			return
		}
		defer server.Close()
		w.WriteHeader(http.StatusOK)
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		go func() {
			_, _ = io.Copy(server, client) // until either side is done
			server.Close()
		}()
		_, _ = io.Copy(client, server)
	})
}
