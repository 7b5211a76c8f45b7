package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/acmpca"
	"github.com/aws/aws-sdk-go-v2/service/acmpca/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"chirograph.dev/internal/bench"
)

// A Chromium drives the console of real servers through every flow: the flows are
// internal/console/ui/test, and one process of Node.js runs all of them. Here is
// what they find: servers with a history, and what a browser cannot do, such as
// turning the clock or signing for a CA of another company.

// consoleUI is where the console's source and its tests are.
var consoleUI = filepath.Join("..", "..", "internal", "console", "ui")

// consoleWorld is what the flows find; they get its JSON.
type consoleWorld struct {
	URL         string            `json:"url"`     // of the API
	S3          string            `json:"s3"`      // of the buckets
	Delayed     string            `json:"delayed"` // the API of a server whose uploads the flows hold
	Host        string            `json:"host"`    // what a browser cannot do
	Keys        map[string]key    `json:"keys"`    // by who has them
	Authorities map[string]string `json:"authorities"`
	Screenshots string            `json:"screenshots"`
	Chromium    string            `json:"chromium"`
}

type key struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// consoleHost is the flows' way to what a browser cannot do.
type consoleHost struct {
	*instance
	ahead *atomic.Int64 // how far the clock of the servers is ahead
	hold  sync.RWMutex  // held for writing: uploads wait
}

func TestConsoleInBrowser(t *testing.T) {
	t.Parallel()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs the program chromium: run `make tools`")
	}
	if _, err := os.Stat(filepath.Join(consoleUI, "node_modules", "playwright-core")); err != nil {
		t.Fatal("this test needs what the console is built with: run `make tools`")
	}
	world, stop := newConsoleWorld(t)
	defer stop()
	world.Chromium = chromium
	if to := os.Getenv("CHIROGRAPH_SCREENSHOTS"); to != "" {
		world.Screenshots = must(filepath.Abs(to))(t)
	}
	runFlows(t, world)
	for _, name := range []string{"authorities", "authority", "generate-report", "report", "verdicts", "certificates", "statistics"} {
		if _, err := os.Stat(filepath.Join("..", "..", "docs", "console", name+".png")); err != nil {
			t.Errorf("the picture %s.png of docs/console.md is missing; CHIROGRAPH_SCREENSHOTS=$PWD/docs/console makes them: go test -run TestConsoleInBrowser ./cmd/chirograph", name)
		}
	}
}

// runFlows runs all flows, each a subtest.
func runFlows(t *testing.T, world *consoleWorld) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	node, err := exec.LookPath(filepath.Join(tools(t), "node"))
	if err != nil {
		if node, err = exec.LookPath("node"); err != nil {
			t.Fatal("this test needs the program node: run `make tools`")
		}
	}
	cmd := exec.CommandContext(ctx, node, "test/run.mjs")
	cmd.Dir = consoleUI
	cmd.Env = append(cleanEnvironment(), "HOME="+t.TempDir(), "CONSOLE_WORLD="+string(must(json.Marshal(world))(t)), "CONSOLE_FLOWS="+os.Getenv("CHIROGRAPH_CONSOLE_FLOWS"), "CONSOLE_PATIENCE="+os.Getenv("CHIROGRAPH_CONSOLE_PATIENCE"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // which ends the browser, too
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out := must(cmd.StdoutPipe())(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var flow struct {
			Name, Error  string
			Milliseconds int
			Notes        []string
		}
		if err := json.Unmarshal(lines.Bytes(), &flow); err != nil {
			t.Logf("%s", lines.Bytes())
			continue
		}
		t.Run(flow.Name, func(t *testing.T) {
			t.Logf("%d ms", flow.Milliseconds)
			for _, n := range flow.Notes {
				t.Log(n)
			}
			if flow.Error != "" {
				t.Error(flow.Error)
			}
		})
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("the flows: %v\n%s", err, &stderr)
	}
}

// newConsoleWorld starts the servers.
func newConsoleWorld(t *testing.T) (_ *consoleWorld, stop func()) {
	t.Helper()
	w := &consoleWorld{Keys: map[string]key{}, Authorities: map[string]string{}}
	h := &consoleHost{ahead: &atomic.Int64{}}
	configure := func(c *serveConfig) {
		c.AuditMinInterval = 30 * time.Minute
		c.now = func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }
	}

	// A server with a past: sixty days, then a large CA that a stopped server gets.
	dir := filepath.Join(t.TempDir(), "data")
	past := func(c *serveConfig) { configure(c); c.DataDir = dir }
	h.ahead.Store(-int64(60 * 24 * time.Hour))
	h.instance = start(t, past)
	h.history(t, w)
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	if err := bench.Seed(t.Context(), dir, w.Authorities["fleet"], 20_000, 0.01); err != nil {
		t.Fatal(err)
	}
	h.instance = start(t, past)
	w.URL, w.S3 = h.API, h.endpoints.S3
	w.Keys["admin"] = h.administrator(t)

	// A server whose reports go to the buckets of the first, by a way that can be held.
	to := must(url.Parse(h.endpoints.S3))(t)
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }}
	proxy := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/audit-report/") {
			h.hold.RLock()
			defer h.hold.RUnlock()
		}
		forward.ServeHTTP(out, r)
	}))
	delayed := start(t, func(c *serveConfig) {
		configure(c)
		c.Destination, c.DestinationAuthorization = proxy.URL, "policy"
		c.DestinationAccessKeyID, c.DestinationSecretKey = w.Keys["admin"].ID, w.Keys["admin"].Secret
	})
	w.Delayed, w.Keys["delayed"] = delayed.API, delayed.administrator(t)
	w.Authorities["delayed"] = delayed.named(t, "Delayed Root CA", "Example Corp").arn

	control := httptest.NewServer(h.routes(t))
	w.Host = control.URL
	return w, func() { control.Close(); proxy.Close() }
}

// history makes what the flows find: a hierarchy that has issued for sixty days,
// CAs and certificates whose names are attempts to run a script, a CA that waits
// for its certificate, and people who may do less than an administrator.
func (h *consoleHost) history(t *testing.T, w *consoleWorld) {
	t.Helper()
	ctx := t.Context()
	root := h.named(t, "Example Corp Root CA", "Example Corp")
	issuing := h.createNamed(t, types.CertificateAuthorityTypeSubordinate, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa,
		&types.ASN1Subject{CommonName: aws.String("Example Corp Issuing CA"), Organization: aws.String("Example Corp"), Country: aws.String("US")})
	issuing.installUnder(t, root, "SubordinateCACertificate_PathLen0/V1")
	must(h.pca.TagCertificateAuthority(ctx, &acmpca.TagCertificateAuthorityInput{CertificateAuthorityArn: &issuing.arn, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("platform")}}}))(t)
	hostile := h.named(t, `<img src=x onerror=alert(1)>`, `<script>alert(2)</script>`)
	must(h.pca.TagCertificateAuthority(ctx, &acmpca.TagCertificateAuthorityInput{CertificateAuthorityArn: &hostile.arn, Tags: []types.Tag{{Key: aws.String("link"), Value: aws.String("javascript:alert")}}}))(t)
	for _, name := range []string{`<script>alert(3)</script>`, `"><svg onload=alert(4)>`, `javascript:alert(5)`} {
		must(hostile.issue(ctx, newCSR(t, newKey(t), name), nil))(t)
	}
	w.Authorities["root"], w.Authorities["issuing"], w.Authorities["hostile"] = root.arn, issuing.arn, hostile.arn
	w.Authorities["fleet"] = h.named(t, "Example Fleet CA", "Example Corp").arn
	w.Authorities["quiet"] = h.named(t, "Example Quiet CA", "Example Corp").arn

	keys := []crypto.Signer{newKey(t), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t), must(rsa.GenerateKey(rand.Reader, 2048))(t)}
	templates := []string{"EndEntityServerAuthCertificate/V1", "EndEntityCertificate/V1", "EndEntityServerAuthCertificate/V1", "EndEntityClientAuthCertificate/V1", "CodeSigningCertificate/V1"}
	for day := range 60 {
		for n := range 1 + day*7%4 {
			name := fmt.Sprintf("host-%02d-%d.example.com", day, n)
			arn := must(issuing.issue(ctx, newCSR(t, keys[(day+n)%len(keys)], name), func(in *acmpca.IssueCertificateInput) {
				in.TemplateArn = aws.String("arn:aws:acm-pca:::template/" + templates[(day+2*n)%len(templates)])
				in.Validity.Value = aws.Int64(int64(40 + day*11%100))
			}))(t)
			if day%9 == 4 && n == 0 {
				if err := issuing.revoke(t, serialOf(arn), types.RevocationReasonSuperseded); err != nil {
					t.Fatal(err)
				}
			}
		}
		h.ahead.Add(int64(24 * time.Hour))
	}

	people := iam.NewFromConfig(h.aws)
	for name, policy := range map[string]string{
		"reader": `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["acm-pca:Describe*","acm-pca:List*","acm-pca:Get*","pcaaudit:SearchCertificates"],"Resource":"*"}}`,
	} {
		must(people.CreateUser(ctx, &iam.CreateUserInput{UserName: &name}))(t)
		must(people.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: aws.String("only"), PolicyDocument: &policy}))(t)
		k := must(people.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name}))(t).AccessKey
		w.Keys[name] = key{*k.AccessKeyId, *k.SecretAccessKey}
	}
}

// named is an active root CA of that name.
func (i *instance) named(t *testing.T, name, organization string) authority {
	t.Helper()
	a := i.createNamed(t, types.CertificateAuthorityTypeRoot, types.KeyAlgorithmEcPrime256v1, types.SigningAlgorithmSha256withecdsa,
		&types.ASN1Subject{CommonName: &name, Organization: &organization, Country: aws.String("US")})
	a.activate(t)
	return a
}

func (i *instance) administrator(t *testing.T) key {
	t.Helper()
	c := must(i.aws.Credentials.Retrieve(t.Context()))(t)
	return key{c.AccessKeyID, c.SecretAccessKey}
}

// routes are what the flows ask for.
func (h *consoleHost) routes(t *testing.T) http.Handler {
	caKey := newKey(t)
	foreign := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Foreign Root CA"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(20, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	foreign = must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, foreign, foreign, caKey.Public(), caKey))(t)))(t)
	mux := http.NewServeMux()
	route := func(name string, do func(ctx context.Context, in map[string]string) (any, error)) {
		mux.HandleFunc("POST /"+name, func(w http.ResponseWriter, r *http.Request) {
			var in map[string]string
			err := json.NewDecoder(r.Body).Decode(&in)
			var out any
			if err == nil {
				out, err = do(r.Context(), in)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	// pass turns the clock of the servers on.
	route("pass", func(_ context.Context, in map[string]string) (any, error) {
		d, err := time.ParseDuration(in["time"])
		h.ahead.Add(int64(d))
		return nil, err
	})
	// hold lets uploads of reports wait, and release lets them go on.
	route("hold", func(context.Context, map[string]string) (any, error) { h.hold.Lock(); return nil, nil })
	route("release", func(context.Context, map[string]string) (any, error) { h.hold.Unlock(); return nil, nil })
	// bucket makes a bucket.
	route("bucket", func(ctx context.Context, in map[string]string) (any, error) {
		return h.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(in["bucket"])})
	})
	// issue has a CA sign a certificate now.
	route("issue", func(ctx context.Context, in map[string]string) (any, error) {
		ca := authority{h.instance, in["ca"], &acmpca.CreateCertificateAuthorityInput{CertificateAuthorityConfiguration: &types.CertificateAuthorityConfiguration{SigningAlgorithm: types.SigningAlgorithmSha256withecdsa}}}
		arn, err := ca.issue(ctx, newCSR(t, newKey(t), in["name"]), nil)
		return map[string]string{"serial": serialOf(arn)}, err
	})
	// policy reads the policy of a bucket, grant lets CAs write there, detach removes it.
	route("policy", func(ctx context.Context, in map[string]string) (any, error) {
		out, err := h.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: aws.String(in["bucket"])})
		if err != nil {
			return nil, err
		}
		return json.RawMessage(*out.Policy), nil
	})
	route("grant", func(ctx context.Context, in map[string]string) (any, error) {
		return h.s3.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String(in["bucket"]), Policy: aws.String(grantPolicy(in["bucket"]))})
	})
	route("detach", func(ctx context.Context, in map[string]string) (any, error) {
		return h.s3.DeleteBucketPolicy(ctx, &s3.DeleteBucketPolicyInput{Bucket: aws.String(in["bucket"])})
	})
	// object reads an object of a bucket.
	route("object", func(ctx context.Context, in map[string]string) (any, error) {
		out, err := h.s3.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(in["bucket"]), Key: aws.String(in["key"])})
		if err != nil {
			return nil, err
		}
		defer out.Body.Close()
		b, err := io.ReadAll(out.Body)
		return string(b), err
	})
	// sign is a CA of another company, which signs for a subordinate CA.
	route("sign", func(_ context.Context, in map[string]string) (any, error) {
		block, _ := pem.Decode([]byte(in["csr"]))
		if block == nil {
			return nil, errors.New("no CSR")
		}
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			return nil, err
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: request.Subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0),
			IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		}, foreign, request.PublicKey, caKey)
		return map[string]string{
			"certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
			"chain":       string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: foreign.Raw})),
		}, err
	})
	return mux
}
