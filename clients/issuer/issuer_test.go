// Package issuer runs cert-manager's AWS Private CA issuer, unmodified, against
// the server: its controllers, with controller-runtime's in-memory API in the
// place of a cluster. What points them at the server is the environment of the
// process, as in its Deployment.
package issuer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	api "github.com/cert-manager/aws-privateca-issuer/pkg/api/v1beta1"
	"github.com/cert-manager/aws-privateca-issuer/pkg/controllers"
	cmutil "github.com/cert-manager/cert-manager/pkg/api/util"
	cmapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	"github.com/go-logr/logr/testr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ktypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"chirograph.dev/clients/served"
)

const annotation = "aws-privateca-issuer/certificate-arn"

// cluster holds the issuer's controllers over an in-memory Kubernetes API.
type cluster struct {
	client.Client
	issuers  *controllers.AWSPCAClusterIssuerReconciler
	requests *controllers.CertificateRequestReconciler
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := api.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if err := cmapi.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&api.AWSPCAClusterIssuer{}, &cmapi.CertificateRequest{}).Build()
	log, events := testr.New(t), record.NewFakeRecorder(1000)
	return &cluster{
		Client: c,
		// As in the issuer's main.
		issuers: &controllers.AWSPCAClusterIssuerReconciler{Client: c, Log: log, Scheme: scheme, GenericController: &controllers.GenericIssuerReconciler{
			Client: c, Log: log, Scheme: scheme, Recorder: events, GetCallerIdentity: true,
		}},
		requests: &controllers.CertificateRequestReconciler{Client: c, Log: log, Scheme: scheme, Recorder: events, Clock: clock.RealClock{}},
	}
}

// issuer makes a cluster issuer and has it verified, which calls STS.
func (c *cluster) issuer(t *testing.T, name string, spec api.AWSPCAIssuerSpec) {
	t.Helper()
	i := &api.AWSPCAClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	if err := c.Create(t.Context(), i); err != nil {
		t.Fatal(err)
	}
	if _, err := c.issuers.Reconcile(t.Context(), ctrl.Request{NamespacedName: ktypes.NamespacedName{Name: name}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(i), i); err != nil {
		t.Fatal(err)
	}
	if len(i.Status.Conditions) != 1 || i.Status.Conditions[0].Status != metav1.ConditionTrue {
		t.Fatalf("the issuer is %+v", i.Status)
	}
}

// request makes a CertificateRequest and reconciles it until it is decided.
func (c *cluster) request(t *testing.T, issuer, name string, spec cmapi.CertificateRequestSpec) *cmapi.CertificateRequest {
	t.Helper()
	spec.IssuerRef = cmmeta.IssuerReference{Group: api.GroupVersion.Group, Kind: "AWSPCAClusterIssuer", Name: issuer}
	r := &cmapi.CertificateRequest{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: name}, Spec: spec}
	if err := c.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return c.settle(t, r)
}

func (c *cluster) settle(t *testing.T, r *cmapi.CertificateRequest) *cmapi.CertificateRequest {
	t.Helper()
	key := client.ObjectKeyFromObject(r)
	for again := true; again; {
		result, err := c.requests.Reconcile(t.Context(), ctrl.Request{NamespacedName: key})
		if err != nil {
			t.Fatal(err)
		}
		again = result.Requeue || result.RequeueAfter > 0
	}
	if err := c.Get(t.Context(), key, r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestIssuer(t *testing.T) {
	server := served.Start(t, served.Build(t), filepath.Join(t.TempDir(), "data"))
	server.SetClientEnvironment(t, true)
	cfg, err := config.LoadDefaultConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	root, sub := hierarchy(t, acmpca.NewFromConfig(cfg))
	c := newCluster(t)
	c.issuer(t, "root", api.AWSPCAIssuerSpec{Arn: root.arn, Region: served.Region})
	c.issuer(t, "sub", api.AWSPCAIssuerSpec{Arn: sub.arn, Region: served.Region})

	for _, usage := range []struct {
		name  string
		spec  cmapi.CertificateRequestSpec
		check func(*x509.Certificate) bool
	}{
		{"default", cmapi.CertificateRequestSpec{}, func(c *x509.Certificate) bool { return len(c.ExtKeyUsage) == 0 }},
		{"client", cmapi.CertificateRequestSpec{Usages: []cmapi.KeyUsage{cmapi.UsageClientAuth}}, only(x509.ExtKeyUsageClientAuth)},
		{"server", cmapi.CertificateRequestSpec{Usages: []cmapi.KeyUsage{cmapi.UsageServerAuth}}, only(x509.ExtKeyUsageServerAuth)},
		{"both", cmapi.CertificateRequestSpec{Usages: []cmapi.KeyUsage{cmapi.UsageServerAuth, cmapi.UsageClientAuth}}, only(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)},
		{"code", cmapi.CertificateRequestSpec{Usages: []cmapi.KeyUsage{cmapi.UsageCodeSigning}}, only(x509.ExtKeyUsageCodeSigning)},
		{"ocsp", cmapi.CertificateRequestSpec{Usages: []cmapi.KeyUsage{cmapi.UsageOCSPSigning}}, only(x509.ExtKeyUsageOCSPSigning)},
		{"minutes", cmapi.CertificateRequestSpec{Duration: &metav1.Duration{Duration: 5 * time.Minute}}, func(c *x509.Certificate) bool {
			return c.NotAfter.Sub(c.NotBefore) == 20*time.Minute // the issuer sets notBefore to 15 minutes ago
		}},
	} {
		t.Run(usage.name, func(t *testing.T) {
			usage.spec.Request = csr(t, "www.example.com")
			for _, issuer := range []string{"root", "sub"} {
				r := c.request(t, issuer, issuer+"-"+usage.name, usage.spec)
				leaf := checkIssued(t, r, root, sub, issuer)
				if !usage.check(leaf) || leaf.DNSNames[0] != "www.example.com" {
					t.Errorf("usages %v, from %s to %s, names %v", leaf.ExtKeyUsage, leaf.NotBefore, leaf.NotAfter, leaf.DNSNames)
				}
			}
		})
	}

	t.Run("a CA", func(t *testing.T) {
		r := c.request(t, "root", "ca", cmapi.CertificateRequestSpec{IsCA: true, Request: csr(t, "Mesh CA")})
		if ca := checkIssued(t, r, root, sub, "root"); !ca.IsCA || !ca.MaxPathLenZero {
			t.Errorf("not a CA of path length 0: %+v", ca)
		}
	})

	// The controller lost its update after Sign, so it signs again, with the
	// same token and a later end.
	t.Run("again", func(t *testing.T) {
		r := c.request(t, "sub", "again", cmapi.CertificateRequestSpec{Request: csr(t, "www.example.com"), Duration: &metav1.Duration{Duration: time.Hour}})
		arn, certificate := r.Annotations[annotation], r.Status.Certificate
		delete(r.Annotations, annotation)
		r.Spec.Duration.Duration += time.Minute
		if err := c.Update(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		r.Status = cmapi.CertificateRequestStatus{}
		if err := c.Status().Update(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		c.settle(t, r)
		if r.Annotations[annotation] != arn || !bytes.Equal(r.Status.Certificate, certificate) {
			t.Errorf("a second certificate %s was made beside %s", r.Annotations[annotation], arn)
		}
	})

	// spec.role, which the controller assumes.
	t.Run("a role", func(t *testing.T) {
		server.Run(t, "role", "create", "issuer", "--trust-account", "123456789012", "--policy", "AWSPrivateCAConnectorForKubernetesPolicy")
		c.issuer(t, "role", api.AWSPCAIssuerSpec{Arn: sub.arn, Region: served.Region, Role: "arn:aws:iam::123456789012:role/issuer"})
		r := c.request(t, "role", "by-role", cmapi.CertificateRequestSpec{Request: csr(t, "www.example.com")})
		checkIssued(t, r, root, sub, "sub")
	})

	// What is refused is refused for good, with the reason.
	t.Run("beyond the CA's end", func(t *testing.T) {
		r := c.request(t, "sub", "long", cmapi.CertificateRequestSpec{Request: csr(t, "www.example.com"), Duration: &metav1.Duration{Duration: 20 * 365 * 24 * time.Hour}})
		reason := cmutil.GetCertificateRequestCondition(r, cmapi.CertificateRequestConditionReady)
		if reason == nil || reason.Reason != cmapi.CertificateRequestReasonFailed || !strings.Contains(reason.Message, "ValidationException") {
			t.Errorf("the request is %+v", r.Status)
		}
	})
}

// authority is a CA and its certificate in PEM.
type authority struct{ arn, cert string }

// checkIssued verifies what the controller put into a request's status, leaf,
// intermediates, and root apart, and returns the leaf.
func checkIssued(t *testing.T, r *cmapi.CertificateRequest, root, sub authority, issuer string) *x509.Certificate {
	t.Helper()
	if !cmutil.CertificateRequestHasCondition(r, cmapi.CertificateRequestCondition{Type: cmapi.CertificateRequestConditionReady, Status: cmmeta.ConditionTrue}) {
		t.Fatalf("the request is %+v", r.Status)
	}
	if strings.TrimSpace(string(r.Status.CA)) != root.cert {
		t.Errorf("the root is\n%s", r.Status.CA)
	}
	block, rest := pem.Decode(r.Status.Certificate)
	if block == nil {
		t.Fatalf("no certificate in\n%s", r.Status.Certificate)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	between := ""
	if issuer == "sub" {
		between = sub.cert
	}
	if strings.TrimSpace(string(rest)) != between {
		t.Errorf("between leaf and root is\n%s", rest)
	}
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(r.Status.CA)
	middle.AppendCertsFromPEM(rest)
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Error(err)
	}
	return leaf
}

func only(usages ...x509.ExtKeyUsage) func(*x509.Certificate) bool {
	return func(c *x509.Certificate) bool {
		got := slices.Clone(c.ExtKeyUsage)
		slices.Sort(got)
		slices.Sort(usages)
		return slices.Equal(got, usages)
	}
}

func csr(t *testing.T, name string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request := &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}
	if strings.HasSuffix(name, ".example.com") {
		request.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, request, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// hierarchy makes an active root and an active subordinate of path length 1.
func hierarchy(t *testing.T, pca *acmpca.Client) (root, sub authority) {
	t.Helper()
	ctx := t.Context()
	root.arn = create(ctx, t, pca, types.CertificateAuthorityTypeRoot)
	root.cert, _ = sign(ctx, t, pca, root.arn, root.arn, "RootCACertificate/V1", 3650)
	sub.arn = create(ctx, t, pca, types.CertificateAuthorityTypeSubordinate)
	sub.cert, _ = sign(ctx, t, pca, root.arn, sub.arn, "SubordinateCACertificate_PathLen1/V1", 1825)
	return root, sub
}

func create(ctx context.Context, t *testing.T, pca *acmpca.Client, kind types.CertificateAuthorityType) string {
	t.Helper()
	out, err := pca.CreateCertificateAuthority(ctx, &acmpca.CreateCertificateAuthorityInput{
		CertificateAuthorityType: kind,
		CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{
			KeyAlgorithm: types.KeyAlgorithmEcPrime256v1, SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
			Subject: &types.ASN1Subject{CommonName: aws.String(string(kind))},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return *out.CertificateAuthorityArn
}

// sign has a parent sign a CA's CSR, and imports the certificate.
func sign(ctx context.Context, t *testing.T, pca *acmpca.Client, parent, arn, template string, days int64) (cert, chain string) {
	t.Helper()
	csr, err := acmpca.NewCertificateAuthorityCSRCreatedWaiter(pca).WaitForOutput(ctx, &acmpca.GetCertificateAuthorityCsrInput{CertificateAuthorityArn: &arn}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	issued, err := pca.IssueCertificate(ctx, &acmpca.IssueCertificateInput{
		CertificateAuthorityArn: &parent, Csr: []byte(*csr.Csr), SigningAlgorithm: types.SigningAlgorithmSha256withecdsa,
		TemplateArn: aws.String("arn:aws:acm-pca:::template/" + template), Validity: &types.Validity{Type: types.ValidityPeriodTypeDays, Value: &days},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := acmpca.NewCertificateIssuedWaiter(pca).WaitForOutput(ctx, &acmpca.GetCertificateInput{CertificateAuthorityArn: &parent, CertificateArn: issued.CertificateArn}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	in := &acmpca.ImportCertificateAuthorityCertificateInput{CertificateAuthorityArn: &arn, Certificate: []byte(*got.Certificate)}
	if got.CertificateChain != nil {
		in.CertificateChain = []byte(*got.CertificateChain)
	}
	if _, err := pca.ImportCertificateAuthorityCertificate(ctx, in); err != nil {
		t.Fatal(err)
	}
	return *got.Certificate, aws.ToString(got.CertificateChain)
}
