package console

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
)

func mustURL(t testing.TB, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

const absent = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/11223344-1234-1122-2233-112233445566"

// TestCall: operations by the console are the API's.
func TestCall(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("ana", policyOf("Allow", "acm-pca:List*", "acm-pca:Describe*"))
	for _, row := range []struct {
		what, method, path, body, contentType string
		status                                int
		code                                  string
	}{
		{"success", "POST", "call/ListCertificateAuthorities", `{}`, "application/json; charset=utf-8", 200, ""},
		{"AWS' own type", "POST", "call/ListCertificateAuthorities", `{}`, "application/x-amz-json-1.1", 200, ""},
		{"not found", "POST", "call/DescribeCertificateAuthority", `{"CertificateAuthorityArn":"` + absent + `"}`, "", 400, "ResourceNotFoundException"},
		{"denied", "POST", "call/RevokeCertificate", `{"CertificateAuthorityArn":"` + absent + `","CertificateSerial":"1","RevocationReason":"SUPERSEDED"}`, "", 403, "AccessDeniedException"},
		{"invalid", "POST", "call/ListCertificateAuthorities", `{"MaxResults":0}`, "", 400, "ValidationException"},
		{"no JSON", "POST", "call/ListCertificateAuthorities", `{`, "", 400, "SerializationException"},
		{"unknown operation", "POST", "call/MakeCoffee", `{}`, "", 404, "UnknownOperationException"},
		{"no operation", "POST", "call/", `{}`, "", 404, "UnknownOperationException"},
		{"below an operation", "POST", "call/ListCertificateAuthorities/x", `{}`, "", 404, "UnknownOperationException"},
		{"reading", "GET", "call/ListCertificateAuthorities", ``, "", 404, "UnknownOperationException"},
		{"too large", "POST", "call/ListCertificateAuthorities", `{"a":"` + strings.Repeat("x", 4<<20) + `"}`, "", 413, "RequestEntityTooLargeException"},
		{"unknown route", "GET", "nothing", ``, "", 404, "UnknownOperationException"},
		{"another method", "POST", "overview", `{}`, "", 404, "UnknownOperationException"},
		{"a door that is not there", "GET", "oidc/start", ``, "", 404, "UnknownOperationException"},
		{"a body that is none", "GET", "overview", `{}`, "", 413, "RequestEntityTooLargeException"},
		{"a query that is none", "GET", "authority?ca=%zz", ``, "", 400, "ValidationException"},
		{"no ARN", "GET", "authority", ``, "", 400, "InvalidArnException"},
		{"no such CA", "GET", "authority?ca=" + absent, ``, "", 400, "ResourceNotFoundException"},
		{"entries of a log", "GET", "events?ca=" + absent, ``, "", 403, "AccessDeniedException"},
	} {
		header := map[string]string{}
		if row.contentType != "" {
			header["Content-Type"] = row.contentType
		}
		a := b.do(row.method, "api/"+row.path, row.body, header)
		if a.code() != row.code || a.status != row.status && row.code != "ResourceNotFoundException" {
			t.Errorf("%s: %d %s", row.what, a.status, a.body)
		}
		if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "application/") {
			t.Errorf("%s: the answer is %s", row.what, kind)
		}
	}
	if log := h.logged(); !strings.Contains(log, `operation=ListCertificateAuthorities code=OK`) || !strings.Contains(log, "principal=arn:aws:iam::"+management+":user/ana") {
		t.Errorf("the log is %s", log)
	}
}

func TestMay(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.as("ana", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Action":["acm-pca:Describe*","acm-pca:IssueCertificate","s3:CreateBucket","pcaaudit:GetReport"],"Resource":"*"},
		{"Effect":"Deny","Action":"acm-pca:IssueCertificate","Resource":"*","Condition":{"ArnNotLike":{"acm-pca:TemplateArn":"arn:aws:acm-pca:::template/EndEntityCertificate/V1"}}},
		{"Effect":"Allow","Action":"acm-pca:DeletePolicy","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}},
		{"Effect":"Allow","Action":"acm-pca:GetPolicy","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.1/32"}}}]}`)
	ask := func(resource, template string, actions ...string) map[string]Decision {
		t.Helper()
		body, err := json.Marshal(map[string]any{"resource": resource, "actions": actions, "template": template})
		if err != nil {
			t.Fatal(err)
		}
		var out struct {
			Decisions map[string]Decision `json:"decisions"`
		}
		b.post("may", string(body)).read(t, &out)
		return out.Decisions
	}
	// The conditions of the request itself count.
	for action, reason := range map[string]string{
		"acm-pca:DescribeCertificateAuthority": "", "acm-pca:IssueCertificate": "", "acm-pca:GetPolicy": "", "pcaaudit:GetReport": "",
		"acm-pca:DeletePolicy":      "No identity-based policy allows the acm-pca:DeletePolicy action.",
		"acm-pca:RevokeCertificate": "No identity-based policy allows the acm-pca:RevokeCertificate action.",
	} {
		if d := ask(absent, "", action)[action]; d.Allowed != (reason == "") || d.Reason != reason {
			t.Errorf("%s: %+v", action, d)
		}
	}
	const root = "arn:aws:acm-pca:::template/RootCACertificate/V1"
	if d := ask(absent, root, "acm-pca:IssueCertificate")["acm-pca:IssueCertificate"]; d.Allowed || d.Reason != "There is an explicit deny in an identity-based policy, which forbids the acm-pca:IssueCertificate action." {
		t.Errorf("another template: %+v", d)
	}
	foreign := strings.Replace(absent, management, "210987654321", 1)
	if d := ask(foreign, "", "acm-pca:DescribeCertificateAuthority")["acm-pca:DescribeCertificateAuthority"]; d.Allowed || d.Reason != "No resource-based policy allows the acm-pca:DescribeCertificateAuthority action." {
		t.Errorf("another account's: %+v", d)
	}
	if d := ask("*", "", "s3:CreateBucket", "s3:ListAllMyBuckets"); !d["s3:CreateBucket"].Allowed || d["s3:ListAllMyBuckets"].Allowed {
		t.Errorf("%+v", d)
	}
	many := strings.TrimSuffix(strings.Repeat(`"acm-pca:X",`, maxActions+1), ",")
	for what, body := range map[string]string{
		"no action": `{"resource":"*","actions":[]}`, "many": `{"resource":"*","actions":[` + many + `]}`, "no resource": `{"actions":["a:B"]}`,
		"no name": `{"resource":"*","actions":["<script>"]}`,
	} {
		want(t, what, b.post("may", body), 400, "ValidationException")
	}
	want(t, "a certificate", b.post("may", `{"resource":"arn:aws:acm-pca:x","actions":["a:B"]}`), 400, "InvalidArnException")
	want(t, "nobody", h.browser().post("may", `{}`), 401, "SessionExpired")
}

func TestSettings(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	var s Settings
	b.get("settings").read(t, &s)
	if s != (Settings{Version: "test", Region: "us-east-1", Partition: "aws", IdleSeconds: 1800, Destination: "the embedded bucket service", MinIntervalSeconds: 1800}) {
		t.Errorf("%+v", s)
	}
	want(t, "nobody's templates", b.get("templates"), 401, "SessionExpired")
	b = h.as("ana", policyOf("Deny", "*"))
	var list []Template
	b.get("templates").read(t, &list)
	if len(list) != 61 || list[len(list)-1].Name != "SubordinateCACertificate_PathLen3_CSRPassthrough" {
		t.Errorf("%d templates", len(list))
	}
	for _, one := range list {
		if words := map[string]string{
			"EndEntityCertificate":                             "An end-entity certificate for both sides of TLS.",
			"BlankEndEntityCertificate_CSRPassthrough":         "An end-entity certificate, without key usages of the template's own; takes extensions from the CSR.",
			"SubordinateCACertificate_PathLen0":                "A subordinate CA's certificate that may sign no further CA certificates.",
			"SubordinateCACertificate_PathLen2_APIPassthrough": "A subordinate CA's certificate with a path length of 2; takes extensions from the call.",
			"RootCACertificate":                                "A root CA's own certificate.",
		}[one.Name]; words != "" && one.Description != words {
			t.Errorf("%s: %s", one.Name, one.Description)
		}
	}
}

// TestFiles: the application, in the form that the browser takes, and nothing else.
func TestFiles(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b := h.browser()
	b.client.Transport = &http.Transport{DisableCompression: true}
	const immutable = "public, max-age=31536000, immutable"
	for _, row := range []struct {
		path, accept, body, encoding, contentType, cache string
		status                                           int
	}{
		{"", "", "<!doctype html><title>index</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		{"", "gzip", "index in gzip", "gzip", "text/html; charset=utf-8", "no-cache", 200},
		{"index.html", "", "<!doctype html><title>index</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		{"authorities/1/2", "", "<!doctype html><title>index</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		{"icon.svg", "br", "<svg/>", "", "image/svg+xml", "no-cache", 200},
		{"assets/main-1.js", "", "console.log(1)", "", "text/javascript; charset=utf-8", immutable, 200},
		{"assets/main-1.js", "gzip, deflate, br, zstd", "in brotli", "br", "text/javascript; charset=utf-8", immutable, 200},
		{"assets/main-1.js", "gzip, br;q=0", "in gzip", "gzip", "text/javascript; charset=utf-8", immutable, 200},
		{"assets/main-1.js", "br; q=0.0, gzip ;q=0", "console.log(1)", "", "text/javascript; charset=utf-8", immutable, 200},
		{"assets/only.woff2", "br", "font", "", "font/woff2", immutable, 200},
		{"assets/licenses.md", "", "MIT", "", "text/plain; charset=utf-8", immutable, 200},
		{"assets/main-2.js", "", "There is no such file. Load the page again: the server may have been updated.\n", "", "text/plain; charset=utf-8", "no-store", 404},
		{"assets/main-1.js.br", "", "There is no such file. Load the page again: the server may have been updated.\n", "", "text/plain; charset=utf-8", "no-store", 404},
		{"assets/", "", "There is no such file. Load the page again: the server may have been updated.\n", "", "text/plain; charset=utf-8", "no-store", 404},
		{".hidden", "", "<!doctype html><title>index</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		{"../master.key", "", "<!doctype html><title>index</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		{"assets/../../console.go", "", "There is no such file. Load the page again: the server may have been updated.\n", "", "text/plain; charset=utf-8", "no-store", 404},
		{"..%2f..%2fgo.mod", "", "<!doctype html><title>index</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		{"%2e%2e/%2e%2e/etc/passwd", "", "<!doctype html><title>index</title>", "", "text/html; charset=utf-8", "no-cache", 200},
		{"assets%5c..%5cx", "", "<!doctype html><title>index</title>", "", "text/html; charset=utf-8", "no-cache", 200},
	} {
		for _, method := range []string{"GET", "HEAD"} {
			a := b.do(method, row.path, "", map[string]string{"Accept-Encoding": row.accept})
			body := row.body
			if method == "HEAD" {
				body = ""
			}
			if a.status != row.status || a.body != body || a.header.Get("Content-Encoding") != row.encoding || a.header.Get("Content-Type") != row.contentType || a.header.Get("Cache-Control") != row.cache {
				t.Errorf("%s %s for %q: %d %q, %v", method, row.path, row.accept, a.status, a.body, a.header)
			}
		}
	}
	a := b.do("GET", "", "", nil)
	tag := a.header.Get("Etag")
	if a = b.do("GET", "", "", map[string]string{"If-None-Match": "W/" + tag}); a.status != 304 || a.body != "" || tag == "" {
		t.Errorf("%s: %d %q", tag, a.status, a.body)
	}
	if a = b.do("GET", "", "", map[string]string{"If-None-Match": tag, "Accept-Encoding": "gzip"}); a.status != 200 || a.header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("another form: %d %v", a.status, a.header)
	}
	if a = b.do("POST", "authorities", "{}", nil); a.status != 405 || a.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%d %v", a.status, a.header)
	}
	resp, err := b.client.Get(h.URL + Prefix)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 301 || resp.Header.Get("Location") != Home {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}

	bare := newHouse(t, func(h *house) { h.cfg.Files = fstest.MapFS{} })
	if a := bare.browser().do("GET", "", "", nil); a.status != 404 || !strings.Contains(a.body, "built without the console") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if files, err := Files(); err != nil {
		t.Error(err)
	} else if _, err := readFiles(files); err != nil {
		t.Error(err)
	}
}
