package main

import (
	"bytes"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/crypto/ocsp"

	"chirograph.dev/internal/crl"
)

// makeCRLs has the CA's CRLs made and written now, as the command does but with
// the CA's own client.
func (a authority) makeCRLs(t *testing.T) {
	t.Helper()
	r := must(newRemote(a.aws, crl.PathPrefix, must(caID(a.arn))(t)))(t)
	must(r.do(t.Context(), http.MethodPost, "publish", nil))(t)
}

// fetched is what anybody gets at a URL.
func fetched(t *testing.T, method, url, contentType string, body []byte) (status int, answer []byte) {
	t.Helper()
	r := must(http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body)))(t)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	res := must(http.DefaultClient.Do(r))(t)
	defer res.Body.Close()
	return res.StatusCode, must(io.ReadAll(res.Body))(t)
}

// ocspStatus asks the responder that a certificate names.
func ocspStatus(t *testing.T, leaf, issuer *x509.Certificate) *ocsp.Response {
	t.Helper()
	status, body := fetched(t, "POST", leaf.OCSPServer[0], "application/ocsp-request", must(ocsp.CreateRequest(leaf, issuer, nil))(t))
	if status != http.StatusOK {
		t.Fatalf("%s answers %d %s", leaf.OCSPServer[0], status, body)
	}
	return must(ocsp.ParseResponseForCert(body, leaf, issuer))(t)
}

// crlOf is the CRL that a certificate names.
func crlOf(t *testing.T, leaf, issuer *x509.Certificate) *x509.RevocationList {
	t.Helper()
	status, body := fetched(t, "GET", leaf.CRLDistributionPoints[0], "", nil)
	if status != http.StatusOK {
		t.Fatalf("%s answers %d %s", leaf.CRLDistributionPoints[0], status, body)
	}
	list := must(x509.ParseRevocationList(body))(t)
	if err := list.CheckSignatureFrom(issuer); err != nil {
		t.Error(err)
	}
	return list
}

// TestURLsInCertificates: the URLs that certificates carry work as they are,
// whatever way the server is reached and the bucket is read.
func TestURLsInCertificates(t *testing.T) {
	t.Parallel()
	certFile, keyFile, trusting := tlsFiles(t)
	for name, c := range map[string]struct {
		change func(*serveConfig)
		acl    types.S3ObjectAcl
		crl    func(i *instance) string // what the CRL's URL begins with
		ocsp   func(i *instance) string
	}{
		"as they come": {nil, "", func(i *instance) string { return i.endpoints.S3 + "/crls/crl/" }, func(i *instance) string { return i.API + "/ocsp" }},
		"a bucket that nobody reads": {
			nil, types.S3ObjectAclBucketOwnerFullControl,
			func(i *instance) string { return i.API + "/crl/crls/crl/" }, func(i *instance) string { return i.API + "/ocsp" },
		},
		"TLS": {
			func(c *serveConfig) { c.TLSCert, c.TLSKey = certFile, keyFile }, types.S3ObjectAclPublicRead,
			func(i *instance) string { return plainURL(i.endpoints.S3) + "/crls/crl/" }, func(i *instance) string { return plainURL(i.API) + "/ocsp" },
		},
		"TLS, and an address of their own": {
			func(c *serveConfig) {
				c.TLSCert, c.TLSKey, c.RevocationListen = certFile, keyFile, "127.0.0.1:0"
			}, types.S3ObjectAclPublicRead,
			func(i *instance) string { return i.Relying + "/crl/crls/crl/" }, func(i *instance) string { return i.Relying + "/ocsp" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := start(t, c.change)
			if strings.HasPrefix(i.API, "https:") {
				i.aws.HTTPClient = trusting
				i.use(i.aws)
			}
			root := i.root(t)
			root.publish(t, types.CrlConfiguration{ExpirationInDays: aws.Int32(7), S3BucketName: aws.String(i.publicBucket(t, "crls")), S3ObjectAcl: c.acl})
			arn := must(root.issue(t.Context(), newCSR(t, newKey(t), "www.example.com"), nil))(t)
			cert, _ := root.get(t, arn)
			leaf := parseCert(t, cert)
			issuer := parseCert(t, *must(root.pca.GetCertificateAuthorityCertificate(t.Context(), &acmpca.GetCertificateAuthorityCertificateInput{CertificateAuthorityArn: &root.arn}))(t).Certificate)
			if len(leaf.CRLDistributionPoints) != 1 || !strings.HasPrefix(leaf.CRLDistributionPoints[0], c.crl(i)) || len(leaf.OCSPServer) != 1 || leaf.OCSPServer[0] != c.ocsp(i) {
				t.Fatalf("the certificate says %q and %q", leaf.CRLDistributionPoints, leaf.OCSPServer)
			}

			if got := ocspStatus(t, leaf, issuer); got.Status != ocsp.Good {
				t.Errorf("OCSP: %d before the revocation", got.Status)
			}
			root.makeCRLs(t)
			before := crlOf(t, leaf, issuer)
			if len(before.RevokedCertificateEntries) != 0 {
				t.Errorf("revoked already: %v", before.RevokedCertificateEntries)
			}
			if err := root.revoke(t, serialOf(arn), types.RevocationReasonKeyCompromise); err != nil {
				t.Fatal(err)
			}
			if got := ocspStatus(t, leaf, issuer); got.Status != ocsp.Revoked || got.RevocationReason != ocsp.KeyCompromise {
				t.Errorf("OCSP: %d, reason %d, after the revocation", got.Status, got.RevocationReason)
			}
			root.makeCRLs(t)
			after := crlOf(t, leaf, issuer)
			if len(after.RevokedCertificateEntries) != 1 || after.RevokedCertificateEntries[0].SerialNumber.Cmp(leaf.SerialNumber) != 0 || after.Number.Cmp(before.Number) <= 0 {
				t.Errorf("after the revocation: number %v, %v", after.Number, after.RevokedCertificateEntries)
			}

			for url, want := range map[string]int{
				plainURL(i.API) + "/healthz":   http.StatusBadRequest,
				plainURL(i.API) + "/":          http.StatusBadRequest,
				plainURL(i.endpoints.S3) + "/": http.StatusBadRequest,
				plainURL(i.endpoints.S3) + "/crls/crl/" + serialOf(root.arn) + ".crl?X-Amz-Date=": http.StatusBadRequest,
				i.Relying + "/healthz":  http.StatusNotFound,
				i.Relying + "/console/": http.StatusNotFound,
			} {
				if !strings.HasPrefix(url, "http:") || want == http.StatusBadRequest && i.aws.HTTPClient != trusting {
					continue
				}
				if got, body := fetched(t, "GET", url, "", nil); got != want {
					t.Errorf("%s without TLS: %d %s", url, got, body)
				}
			}
		})
	}
}

// TestCRLCommands: list tells of what publish did, and both of what is wrong.
func TestCRLCommands(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	root := i.root(t)
	code, stdout, stderr := command(t, "crl", "list", "--data-dir", i.DataDir, "--ca", root.arn)
	if code != exitOK || !strings.Contains(stdout, "no CRLs") {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	code, _, stderr = command(t, "crl", "publish", "--data-dir", i.DataDir, "--ca", root.arn)
	if code != exitFailure || !strings.Contains(stderr, "has no CRLs") {
		t.Errorf("%d %s", code, stderr)
	}
	root.publish(t, types.CrlConfiguration{ExpirationInDays: aws.Int32(7), S3BucketName: aws.String(i.bucket(t, "crls", true)), S3ObjectAcl: types.S3ObjectAclBucketOwnerFullControl})
	code, stdout, stderr = command(t, "crl", "publish", "--data-dir", i.DataDir, "--ca", root.arn)
	if code != exitOK || !strings.Contains(stdout, i.API+"/crl/crls/crl/") {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = command(t, "crl", "list", "--data-dir", i.DataDir, "--ca", root.arn, "--output", "json")
	if code != exitOK || !strings.Contains(stdout, `"writtenAt"`) || !strings.Contains(stdout, `"entries": 0`) {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	must(i.s3.DeleteBucketPolicy(t.Context(), &s3.DeleteBucketPolicyInput{Bucket: aws.String("crls")}))(t)
	code, _, stderr = command(t, "crl", "publish", "--data-dir", i.DataDir, "--ca", root.arn)
	if code != exitFailure || !strings.Contains(stderr, "not written to S3 bucket crls") {
		t.Errorf("%d %s", code, stderr)
	}
	code, stdout, _ = command(t, "crl", "list", "--data-dir", i.DataDir, "--ca", root.arn)
	if code != exitOK || !strings.Contains(stdout, "it has no bucket policy") {
		t.Errorf("%d %s", code, stdout)
	}
	for _, arg := range [][]string{
		{"--crl-url", "https://crl.example.com/{key}"}, {"--crl-url", "http://crl.example.com/"}, {"--ocsp-url", "ocsp.example.com"}, {"--crl-delay", "31m"},
		{"--crl-partition-certificates", "20001"}, {"--ocsp-validity", "1m"}, {"--ocsp-unknown-serial", "good"}, {"--ocsp-cache", "0"}, {"--revocation-listen", "8080"},
	} {
		code, _, stderr := command(t, append([]string{"serve", "--data-dir", t.TempDir()}, arg...)...)
		if code != exitUsage || !strings.Contains(stderr, arg[0]) {
			t.Errorf("%v: %d %s", arg, code, stderr)
		}
	}
}

// TestCRLURL: what a certificate says when the CA has no name of its own.
func TestCRLURL(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]serveConfig{
		"http://127.0.0.1:8441/crls/crl/x.crl":                     {Destination: "embedded"},
		"http://crls.s3.eu-central-1.amazonaws.com/crl/x.crl":      {Destination: "aws"},
		"http://s3.example.com:9000/crls/crl/x.crl":                {Destination: "https://s3.example.com:9000/"},
		"http://crls.s3.cn-north-1.amazonaws.com.cn/crl/x.crl":     {Destination: "aws", DestinationRegion: "cn-north-1"},
		"http://crl.example.com/eu-central-1/crls?path=/crl/x.crl": {Destination: "aws", revocationConfig: revocationConfig{CRLURL: "http://crl.example.com/{region}/{bucket}?path=/{key}"}},
	} {
		c.Region = "eu-central-1"
		h := &house{cfg: c}
		h.where.Store(&endpoints{API: "https://127.0.0.1:8440", S3: "https://127.0.0.1:8441"})
		if got := h.crlURL("crls", "crl/x.crl", false); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	h := &house{cfg: serveConfig{Destination: "aws", Region: "us-east-1"}}
	h.where.Store(&endpoints{})
	if got := h.crlURL("my.crls", "x.crl", false); got != "http://s3.us-east-1.amazonaws.com/my.crls/x.crl" {
		t.Errorf("a bucket with a dot: %s", got)
	}
}
