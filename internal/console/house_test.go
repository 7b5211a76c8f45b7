package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"chirograph.dev/internal/auditlog"
	"chirograph.dev/internal/auditreport"
	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/bucket"
	"chirograph.dev/internal/bucket/local"
	"chirograph.dev/internal/ca"
	"chirograph.dev/internal/certlog"
	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/identity"
	"chirograph.dev/internal/inventory"
	"chirograph.dev/internal/keystore"
	"chirograph.dev/internal/pca"
	"chirograph.dev/internal/store/sqlite"
)

const (
	management = "123456789012"
	allowAll   = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
)

// house is a Console over real rooms, served over HTTP, with a clock that the
// test moves.
type house struct {
	t       testing.TB
	people  *identity.Service
	db      *sqlite.DB
	cas     *ca.Service
	buckets *local.Service
	cfg     Config
	console *Console
	*httptest.Server

	mu     sync.Mutex
	offset time.Duration
	log    bytes.Buffer
}

func (h *house) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

// logged is the log so far.
func (h *house) logged() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

func (h *house) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.offset)
}

func (h *house) pass(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.offset += d
}

// application is a small one in place of the real one, which tests of Go need not build.
var application = fstest.MapFS{
	"index.html":           {Data: []byte("<!doctype html><title>index</title>")},
	"icon.svg":             {Data: []byte("<svg/>")},
	"assets/main-1.js":     {Data: []byte("console.log(1)")},
	"assets/main-1.js.br":  {Data: []byte("in brotli")},
	"assets/main-1.js.gz":  {Data: []byte("in gzip")},
	"assets/licenses.md":   {Data: []byte("MIT")},
	".hidden":              {Data: []byte("hidden")},
	"assets/only.woff2":    {Data: []byte("font")},
	"index.html.gz":        {Data: []byte("index in gzip")},
	"assets/alone.css.map": {Data: []byte("{}")},
}

func newHouse(t testing.TB, change ...func(*house)) *house {
	t.Helper()
	h := &house{t: t}
	dir := t.TempDir()
	log := slog.New(slog.NewTextHandler(h, nil))
	var err error
	check := func() {
		if t.Helper(); err != nil {
			t.Fatal(err)
		}
	}
	h.db, err = sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(dir, "chirograph.db"), Log: log})
	check()
	t.Cleanup(func() { h.db.Close() })
	keys, err := keystore.Open(keystore.Config{Dir: filepath.Join(dir, "keys"), MasterKey: keystore.MasterKey{1}})
	check()
	h.people, err = identity.New(t.Context(), identity.Config{
		Region: "us-east-1", Account: management, Records: h.db, Sealer: keys, Key: [32]byte{2},
		Caller: awsjson.Caller, Conditions: awsjson.Conditions, Log: log, Now: h.now,
	})
	check()
	entries := certlog.New(certlog.Config{Store: h.db, Log: log})
	h.cas, err = ca.New(t.Context(), ca.Config{
		Partition: "aws", Region: "us-east-1", ServerName: "pca.example.com",
		Records: h.db, Overview: h.db, Certificates: h.db, Entries: entries, Keys: keys,
		Caller: func(ctx context.Context) ca.Caller {
			p := awsjson.Caller(ctx)
			return ca.Caller{Account: p.Account, ARN: p.ARN, Principal: p, Conditions: awsjson.Conditions(ctx)}
		},
		AuthorizeAlso: awsjson.Authorize, PageKey: [32]byte{3}, Log: log, Now: h.now,
	})
	check()
	t.Cleanup(h.cas.Close)
	h.buckets, err = local.Open(local.Config{Dir: filepath.Join(dir, "buckets"), Credentials: h.people.For("s3"), Log: log})
	check()
	t.Cleanup(func() { h.buckets.Close() })
	logs, err := auditlog.New(auditlog.Config{Entries: entries, Store: h.db, Records: h.db, Keys: keys, Log: log, Now: h.now})
	check()
	reports, err := auditreport.New(auditreport.Config{
		Log: entries, Entries: h.db, Reports: h.db, Parts: h.db, Checkpoints: logs, Packs: h.db, Settings: h.db, Authorities: h.cas,
		MinInterval: 30 * time.Minute, Logger: log, Now: h.now,
		Destination: func(_ context.Context, account, caARN string) (*bucket.Client, error) {
			return bucket.New(bucket.Config{Transport: h.buckets.Transport(bucket.Principal(account, caARN)), Owner: h.buckets.Transport(h.people.Operator(account))})
		},
	})
	check()
	index, err := inventory.Open(t.Context(), inventory.Config{Path: filepath.Join(dir, "inventory.db"), Logs: h.db, Certificates: h.db, Log: log, Now: h.now})
	check()
	t.Cleanup(func() { index.Close() })
	h.background(func(ctx context.Context) error { return index.Run(ctx) })
	h.background(reports.Run)
	h.cfg = Config{
		API: awsjson.Config{
			Partition: "aws", Regions: []string{"us-east-1"}, Credentials: h.people.For(pca.Service), Authorize: h.cas.Authorize, Log: log, Now: h.now,
			Operations: []awsjson.Operation{
				awsjson.Op("CreateCertificateAuthority", h.cas.CreateCertificateAuthority),
				awsjson.Op("DescribeCertificateAuthority", h.cas.DescribeCertificateAuthority),
				awsjson.Op("ListCertificateAuthorities", h.cas.ListCertificateAuthorities),
				awsjson.Op("GetCertificateAuthorityCsr", h.cas.GetCertificateAuthorityCsr),
				awsjson.Op("ImportCertificateAuthorityCertificate", h.cas.ImportCertificateAuthorityCertificate),
				awsjson.Op("IssueCertificate", h.cas.IssueCertificate),
				awsjson.Op("GetCertificate", h.cas.GetCertificate),
				awsjson.Op("RevokeCertificate", h.cas.RevokeCertificate),
				awsjson.Op("PutPolicy", h.cas.PutPolicy),
				awsjson.Op("CreateCertificateAuthorityAuditReport", reports.CreateCertificateAuthorityAuditReport),
			},
		},
		Authorities: h.cas, Records: h.db, Entries: h.db, Reports: reports, Inventory: index,
		Files: application, Version: "test", Region: "us-east-1", Destination: "the embedded bucket service", MinInterval: 30 * time.Minute,
		Buckets: func(_ context.Context, who *iam.Principal, account, caARN string) (*bucket.Client, bool, error) {
			c, err := bucket.New(bucket.Config{
				Transport: h.buckets.Transport(bucket.Principal(account, caARN)), Owner: h.buckets.Transport(h.people.Operator(account)), Caller: h.buckets.Transport(who),
			})
			return c, true, err
		},
	}
	h.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.console.ServeHTTP(w, r) }))
	t.Cleanup(h.Close)
	for _, f := range change {
		f(h)
	}
	if h.URL == "" {
		h.Start()
	}
	h.console, err = New(h.cfg)
	check()
	return h
}

// background runs f until the test ends.
func (h *house) background(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("in the background: %v", err)
		}
	})
}

// root is the context of a call by who may do everything in an account.
func (h *house) root(account string) context.Context {
	return awsjson.NewContext(h.t.Context(), awsjson.Call{Caller: h.people.Operator(account)})
}

// user makes a user of the management account with a key.
func (h *house) user(name, policy string) *identity.AccessKey {
	h.t.Helper()
	return h.userOf(management, name, policy)
}

func (h *house) userOf(account, name, policy string) *identity.AccessKey {
	h.t.Helper()
	ctx := h.root(account)
	_, err := h.people.CreateUser(ctx, &identity.CreateUserInput{UserName: name})
	if err == nil {
		_, err = h.people.PutUserPolicy(ctx, &identity.PutUserPolicyInput{UserName: name, PolicyName: "p", PolicyDocument: policy})
	}
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := h.people.CreateAccessKey(ctx, &identity.CreateAccessKeyInput{UserName: name})
	if err != nil {
		h.t.Fatal(err)
	}
	return out.AccessKey
}

// browser is one that keeps cookies, with a page that keeps the CSRF token.
type browser struct {
	h      *house
	client *http.Client
	csrf   string
}

func (h *house) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		h.t.Fatal(err)
	}
	client := *h.Client()
	client.Jar = jar
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &browser{h: h, client: &client}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// code is the error's; empty for a success.
func (a answer) code() string {
	var e struct {
		Type string `json:"__type"`
	}
	_ = json.Unmarshal([]byte(a.body), &e) // of a success it is not there
	return e.Type
}

// read decodes a success.
func (a answer) read(t testing.TB, into any) {
	t.Helper()
	if a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

// do sends a request to a path below /console/, with the header's fields besides
// what a page sends; an empty one takes away.
func (b *browser) do(method, path, body string, header map[string]string) answer {
	b.h.t.Helper()
	r, err := http.NewRequestWithContext(b.h.t.Context(), method, b.h.URL+Home+path, strings.NewReader(body))
	if err != nil {
		b.h.t.Fatal(err)
	}
	all := map[string]string{"Content-Type": "application/json", "X-CSRF-Token": b.csrf, "Sec-Fetch-Site": "same-origin"}
	maps.Copy(all, header)
	for name, value := range all {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.h.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.h.t.Fatal(err)
	}
	a := answer{resp.StatusCode, resp.Header, string(text)}
	b.guarded(method+" "+path, a)
	return a
}

// guarded checks what every answer must have.
func (b *browser) guarded(what string, a answer) {
	b.h.t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": contentSecurity, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "X-Frame-Options": "DENY",
	} {
		if got := a.header.Get(name); got != want {
			b.h.t.Errorf("%s: %s is %q", what, name, got)
		}
	}
	if strings.Contains(what, " api/") && a.header.Get("Cache-Control") != "no-store" {
		b.h.t.Errorf("%s: Cache-Control is %q", what, a.header.Get("Cache-Control"))
	}
}

func (b *browser) get(path string) answer { b.h.t.Helper(); return b.do("GET", "api/"+path, "", nil) }

func (b *browser) post(path, body string) answer {
	b.h.t.Helper()
	return b.do("POST", "api/"+path, body, nil)
}

// signIn sends a key; the page keeps the CSRF token of a success.
func (b *browser) signIn(id, secret, token string) answer {
	b.h.t.Helper()
	body, err := json.Marshal(map[string]string{"accessKeyId": id, "secretAccessKey": secret, "sessionToken": token})
	if err != nil {
		b.h.t.Fatal(err)
	}
	a := b.post("session", string(body))
	if a.status == 200 {
		var s Session
		a.read(b.h.t, &s)
		b.csrf = s.CSRF
	}
	return a
}

// as is a browser that a user with a policy is signed in with.
func (h *house) as(name, policy string) *browser {
	h.t.Helper()
	k := h.user(name, policy)
	b := h.browser()
	if a := b.signIn(k.AccessKeyId, k.SecretAccessKey, ""); a.status != 200 {
		h.t.Fatal(a.body)
	}
	return b
}

// call calls an operation and reads its output.
func call[Out any](b *browser, operation string, in any) *Out {
	b.h.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		b.h.t.Fatal(err)
	}
	a := b.post("call/"+operation, string(body))
	out := new(Out)
	if a.status == 200 && a.body == "" {
		return out
	}
	a.read(b.h.t, out)
	return out
}

// makeCA makes a CA and activates it: a root signs itself, a subordinate is
// signed by the parent.
func (b *browser) makeCA(name string, algorithm pca.KeyAlgorithm, signing pca.SigningAlgorithm, parent string) string {
	b.h.t.Helper()
	typ, template, days := "ROOT", "RootCACertificate", 30
	if parent != "" {
		typ, template, days = "SUBORDINATE", "SubordinateCACertificate_PathLen0", 20
	}
	arn := call[pca.CreateCertificateAuthorityResponse](b, "CreateCertificateAuthority", map[string]any{
		"CertificateAuthorityType":          typ,
		"CertificateAuthorityConfiguration": map[string]any{"KeyAlgorithm": algorithm, "SigningAlgorithm": signing, "Subject": map[string]string{"CommonName": name}},
	}).CertificateAuthorityArn
	for {
		d := call[pca.DescribeCertificateAuthorityResponse](b, "DescribeCertificateAuthority", map[string]string{"CertificateAuthorityArn": arn})
		if d.CertificateAuthority.Status == pca.CertificateAuthorityStatus_PENDING_CERTIFICATE {
			break
		}
		time.Sleep(time.Millisecond)
	}
	csr := call[pca.GetCertificateAuthorityCsrResponse](b, "GetCertificateAuthorityCsr", map[string]string{"CertificateAuthorityArn": arn}).Csr
	issuer := arn
	if parent != "" { // an EC key's
		issuer, signing = parent, pca.SigningAlgorithm_SHA256WITHECDSA
	}
	c := b.issue(issuer, csr, template, signing, days)
	in := map[string]any{"CertificateAuthorityArn": arn, "Certificate": []byte(c.Certificate)}
	if parent != "" {
		in["CertificateChain"] = []byte(c.CertificateChain)
	}
	call[struct{}](b, "ImportCertificateAuthorityCertificate", in)
	return arn
}

func (b *browser) issue(issuer, csr, template string, signing pca.SigningAlgorithm, days int) *pca.GetCertificateResponse {
	b.h.t.Helper()
	out := call[pca.IssueCertificateResponse](b, "IssueCertificate", map[string]any{
		"CertificateAuthorityArn": issuer, "Csr": []byte(csr), "SigningAlgorithm": signing,
		"TemplateArn": "arn:aws:acm-pca:::template/" + template + "/V1", "Validity": map[string]any{"Type": "DAYS", "Value": days},
	})
	return call[pca.GetCertificateResponse](b, "GetCertificate", map[string]string{"CertificateAuthorityArn": issuer, "CertificateArn": out.CertificateArn})
}

func want(t testing.TB, what string, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.code() != code {
		t.Errorf("%s: %d %s, want %d %s", what, a.status, a.body, status, code)
	}
}

func policyOf(effect string, actions ...string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Action":["%s"],"Resource":"*"}]}`, effect, strings.Join(actions, `","`))
}
