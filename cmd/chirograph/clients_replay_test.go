package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// spireMint makes the calls of SPIRE's upstream authority plugin aws_pca when a
// SPIRE server asks for its CA certificate: the root is whatever stands last in
// the chain, unseen whether there is one.
func spireMint(ctx context.Context, pca *acmpca.Client, arn string, csr []byte, ttl time.Duration) (chain, roots []*x509.Certificate, err error) {
	described, err := pca.DescribeCertificateAuthority(ctx, &acmpca.DescribeCertificateAuthorityInput{CertificateAuthorityArn: &arn})
	if err != nil {
		return nil, nil, err
	}
	issued, err := pca.IssueCertificate(ctx, &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: &arn,
		SigningAlgorithm:        described.CertificateAuthority.CertificateAuthorityConfiguration.SigningAlgorithm,
		Csr:                     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}),
		TemplateArn:             aws.String("arn:aws:acm-pca:::template/SubordinateCACertificate_PathLen0/V1"),
		Validity:                &types.Validity{Type: types.ValidityPeriodTypeAbsolute, Value: aws.Int64(time.Now().Add(ttl).Unix())},
	})
	if err != nil {
		return nil, nil, err
	}
	in := &acmpca.GetCertificateInput{CertificateAuthorityArn: &arn, CertificateArn: issued.CertificateArn}
	if err := acmpca.NewCertificateIssuedWaiter(pca).Wait(ctx, in, 3*time.Minute); err != nil {
		return nil, nil, err
	}
	got, err := pca.GetCertificate(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	cert, err := parsePEM(aws.ToString(got.Certificate))
	if err != nil {
		return nil, nil, err
	}
	above, err := parsePEM(aws.ToString(got.CertificateChain))
	if err != nil {
		return nil, nil, err
	}
	last := len(above) - 1 // the plugin does not look whether it is -1
	return append(cert, above[:last]...), above[last:], nil
}

// parsePEM parses as strictly as the strictest client: only certificates, and
// nothing but one newline behind the last.
func parsePEM(text string) (certs []*x509.Certificate, err error) {
	for rest := []byte(text); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("no certificate in %q", text)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate")
	}
	return certs, nil
}

func TestSPIRE(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	root := i.root(t)
	sub := i.subordinate(t, root, "SubordinateCACertificate_PathLen1/V1")
	server := newKey(t)
	trustDomain := must(url.Parse("spiffe://example.org"))(t)
	csr := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{trustDomain}}, server))(t)

	for _, c := range []struct {
		name  string
		ca    authority
		ttl   time.Duration
		above int
	}{
		{"minutes under a root", root, 7 * time.Minute, 0},
		{"hours under a subordinate", sub, 24 * time.Hour, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := time.Now().Truncate(time.Second)
			chain, roots, err := spireMint(t.Context(), i.pca, c.ca.arn, csr, c.ttl)
			if err != nil {
				t.Fatal(err)
			}
			minted := chain[0]
			if lifetime := minted.NotAfter.Sub(before); lifetime < c.ttl || lifetime > c.ttl+time.Minute {
				t.Errorf("asked for %s, got %s", c.ttl, lifetime)
			}
			if !minted.IsCA || !minted.MaxPathLenZero || len(minted.URIs) != 1 || minted.URIs[0].String() != trustDomain.String() {
				t.Errorf("the CA certificate is of path length %d and for %v", minted.MaxPathLen, minted.URIs)
			}
			if len(chain) != 1+c.above || len(roots) != 1 || roots[0].CheckSignatureFrom(roots[0]) != nil {
				t.Fatalf("%d certificates in the chain, %d roots", len(chain), len(roots))
			}
			pool, middle := x509.NewCertPool(), x509.NewCertPool()
			pool.AddCert(roots[0])
			for _, c := range chain[1:] {
				middle.AddCert(c)
			}
			if _, err := minted.Verify(x509.VerifyOptions{Roots: pool, Intermediates: middle, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSPIREWithARole: assume_role_arn of the plugin's configuration.
func TestSPIREWithARole(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	root := i.root(t)
	cfg := i.aws.Copy()
	cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(i.sts, i.role(t, "spire", trustAccount, mayIssue(root.arn))))
	csr := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{must(url.Parse("spiffe://example.org"))(t)}}, newKey(t)))(t)
	if _, _, err := spireMint(t.Context(), acmpca.NewFromConfig(cfg), root.arn, csr, time.Hour); err != nil {
		t.Error(err)
	}
	_, _, err := spireMint(t.Context(), acmpca.NewFromConfig(cfg), i.root(t).arn, csr, time.Hour)
	wantCode(t, err, "AccessDeniedException") // another CA
}

// subordinate makes an active subordinate under root.
func (i *instance) subordinate(t *testing.T, root authority, template string) authority {
	t.Helper()
	sub := i.create(t, types.CertificateAuthorityTypeSubordinate, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa)
	sub.installUnder(t, root, template)
	return sub
}

// installUnder makes a pending subordinate CA active: root signs for it.
func (sub authority) installUnder(t *testing.T, root authority, template string) {
	t.Helper()
	// Every level ends before the one above: the same number of years would not
	// when a second passes between the two.
	end := root.describe(t).NotAfter.AddDate(0, 0, -1)
	arn := must(root.issue(t.Context(), sub.csr(t), func(in *acmpca.IssueCertificateInput) {
		in.TemplateArn = aws.String("arn:aws:acm-pca:::template/" + template)
		in.Validity = &types.Validity{Type: types.ValidityPeriodTypeAbsolute, Value: aws.Int64(end.Unix())}
	}))(t)
	cert, chain := root.get(t, arn)
	must(sub.pca.ImportCertificateAuthorityCertificate(t.Context(), &acmpca.ImportCertificateAuthorityCertificateInput{
		CertificateAuthorityArn: &sub.arn, Certificate: []byte(cert), CertificateChain: []byte(chain),
	}))(t)
}

// ackOutcome is what the controller of AWS Controllers for Kubernetes makes of
// an error: it tries again, or gives the resource up until somebody edits it.
type ackOutcome string

const (
	ackSynced   ackOutcome = "synced"
	ackRequeue  ackOutcome = "requeued"
	ackTerminal ackOutcome = "terminal"
)

func ackJudge(err error) ackOutcome {
	if err == nil {
		return ackSynced
	}
	e, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return ackRequeue
	}
	switch e.ErrorCode() {
	case "ValidationException", "LimitExceededException", "InvalidTagException", "InvalidPolicyException", "InvalidArgsException", "InvalidArnException",
		"CertificateMismatchException", "InvalidRequestException", "MalformedCertificateException", "MalformedCSRException", "RequestFailedException":
		return ackTerminal
	}
	return ackRequeue
}

// TestACK reconciles a CertificateAuthority, a Certificate and a
// CertificateAuthorityActivation as acmpca-controller does.
func TestACK(t *testing.T) {
	t.Parallel()
	i := start(t, nil)
	ctx := t.Context()
	ca := i.create(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa)

	// The CSR lands in a Secret once it is there; until then the text of the
	// error begins with the exception's name.
	var csr string
	for csr == "" {
		out, err := i.pca.GetCertificateAuthorityCsr(ctx, &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &ca.arn})
		if err == nil {
			csr = *out.Csr
		} else if e, ok := errors.AsType[smithy.APIError](err); !ok || !strings.HasPrefix(e.Error(), "RequestInProgressException") && !strings.HasPrefix(e.ErrorCode(), "RequestInProgressException") {
			t.Fatal(err)
		}
	}
	issue := func(change func(*acmpca.IssueCertificateInput)) (string, error) {
		return ca.issue(ctx, []byte(csr), change)
	}
	_, err := issue(nil) // the CA is not active yet: that passes
	if got := ackJudge(err); got != ackRequeue {
		t.Errorf("issuing from a pending CA: %s, %v", got, err)
	}
	for name, change := range map[string]func(*acmpca.IssueCertificateInput){
		"a CSR that is none": func(in *acmpca.IssueCertificateInput) {
			in.Csr, in.TemplateArn = []byte("no"), aws.String(rootTemplate)
		},
		"another algorithm": func(in *acmpca.IssueCertificateInput) {
			in.SigningAlgorithm, in.TemplateArn = types.SigningAlgorithmSha256withrsa, aws.String(rootTemplate)
		},
	} {
		if _, err := issue(change); ackJudge(err) != ackTerminal {
			t.Errorf("%s: %s, %v", name, ackJudge(err), err)
		}
	}
	arn := must(issue(func(in *acmpca.IssueCertificateInput) {
		in.TemplateArn = aws.String(rootTemplate)
		in.Validity = &types.Validity{Type: types.ValidityPeriodTypeYears, Value: aws.Int64(10)}
	}))(t)
	cert, chain := ca.get(t, arn)

	// The activation: on any error of Import the CA's status decides.
	activate := func(cert string) ackOutcome {
		in := &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &ca.arn, Certificate: []byte(cert)}
		if chain != "" {
			in.CertificateChain = []byte(chain)
		}
		if _, err := i.pca.ImportCertificateAuthorityCertificate(ctx, in); err == nil {
			return ackSynced
		}
		switch ca.describe(t).Status {
		case types.CertificateAuthorityStatusFailed, types.CertificateAuthorityStatusDeleted, types.CertificateAuthorityStatusDisabled:
			return ackTerminal
		}
		return ackRequeue
	}
	if got := activate("not a certificate"); got != ackRequeue {
		t.Errorf("an activation with what is no certificate: %s", got)
	}
	if got := activate(cert); got != ackSynced {
		t.Errorf("the activation: %s", got)
	}
	if d := ca.describe(t); d.Status != types.CertificateAuthorityStatusActive {
		t.Errorf("the status is %s", d.Status)
	}
	// A second reconciliation finds nothing to do or to fail at.
	if got := activate(cert); got != ackSynced {
		t.Errorf("the activation again: %s", got)
	}

	// spec.tags changed, status.disabled set, and the resource deleted.
	must(i.pca.TagCertificateAuthority(ctx, &acmpca.TagCertificateAuthorityInput{CertificateAuthorityArn: &ca.arn, Tags: tfTags(map[string]string{"services.k8s.aws/namespace": "pki"})}))(t)
	must(i.pca.UntagCertificateAuthority(ctx, &acmpca.UntagCertificateAuthorityInput{CertificateAuthorityArn: &ca.arn, Tags: tfTags(map[string]string{"services.k8s.aws/namespace": "pki"})}))(t)
	_, err = i.pca.TagCertificateAuthority(ctx, &acmpca.TagCertificateAuthorityInput{CertificateAuthorityArn: &ca.arn, Tags: tfTags(map[string]string{"aws:reserved": "x"})})
	if got := ackJudge(err); got != ackTerminal {
		t.Errorf("a reserved tag: %s, %v", got, err)
	}
	_, err = i.pca.DeleteCertificateAuthority(ctx, &acmpca.DeleteCertificateAuthorityInput{CertificateAuthorityArn: &ca.arn})
	if got := ackJudge(err); got != ackRequeue {
		t.Errorf("deleting an active CA: %s, %v", got, err)
	}
	must(i.pca.UpdateCertificateAuthority(ctx, &acmpca.UpdateCertificateAuthorityInput{CertificateAuthorityArn: &ca.arn, Status: types.CertificateAuthorityStatusDisabled}))(t)
	if got := activate(cert); got != ackTerminal {
		t.Errorf("an activation of a disabled CA: %s", got)
	}
	must(i.pca.DeleteCertificateAuthority(ctx, &acmpca.DeleteCertificateAuthorityInput{CertificateAuthorityArn: &ca.arn, PermanentDeletionTimeInDays: aws.Int32(7)}))(t)
	if d := ca.describe(t); d.Status != types.CertificateAuthorityStatusDeleted || d.RestorableUntil == nil {
		t.Errorf("the CA is %+v", d)
	}
}

// TestHostNames is what a client sees that reads no endpoint from anywhere: it
// calls AWS's host names, which lead to the server, and trusts a certificate
// that one of the server's own CAs issued for them.
func TestHostNames(t *testing.T) {
	t.Parallel()
	names := []string{"acm-pca.us-east-1.amazonaws.com", "sts.us-east-1.amazonaws.com", "iam.amazonaws.com", "s3.us-east-1.amazonaws.com"}
	first := start(t, nil)
	root := first.root(t)
	key := newKey(t)
	csr := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: names}, key))(t)
	cert, chain := root.get(t, must(root.issue(t.Context(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), nil))(t))
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, text := range map[string][]byte{
		certFile: []byte(cert + "\n" + chain), keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))(t)}),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	i := start(t, func(c *serveConfig) { c.DataDir, c.TLSCert, c.TLSKey = first.DataDir, certFile, keyFile })

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(chain))
	addresses := map[string]string{} // what /etc/hosts and port 443 would do
	for _, name := range names {
		addresses[name+":443"] = strings.TrimPrefix(i.API, "https://")
	}
	addresses["s3.us-east-1.amazonaws.com:443"] = strings.TrimPrefix(i.endpoints.S3, "https://")
	cfg := aws.Config{Region: "us-east-1", Credentials: i.aws.Credentials, HTTPClient: &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to, ok := addresses[address]
			if !ok {
				return nil, fmt.Errorf("%s does not lead anywhere", address)
			}
			return new(net.Dialer).DialContext(ctx, network, to)
		},
	}}}
	must(sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}))(t)
	must(iam.NewFromConfig(cfg).ListRoles(t.Context(), &iam.ListRolesInput{}))(t)
	list := must(acmpca.NewFromConfig(cfg).ListCertificateAuthorities(t.Context(), &acmpca.ListCertificateAuthoritiesInput{}))(t)
	if len(list.CertificateAuthorities) != 1 || *list.CertificateAuthorities[0].Arn != root.arn {
		t.Errorf("the list is %+v", list)
	}
	must(s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }).ListBuckets(t.Context(), &s3.ListBucketsInput{}))(t)
}
