package server

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/pca"
)

// TestRelying: what relying parties ask for needs no signature, and nothing else
// of the server is taken for it.
func TestRelying(t *testing.T) {
	t.Parallel()
	answer := func(name string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
	}
	cfg := config(t)
	cfg.OCSP, cfg.CRL = answer("ocsp"), answer("crl")
	cfg.Revocation = func(r *http.Request) (awsjson.Route, error) {
		return awsjson.Route{}, pca.Errorf(pca.UnknownOperationException, "lists of %s", r.URL.Path)
	}
	whole, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	alone := &Relying{OCSP: cfg.OCSP, CRL: cfg.CRL}
	const encoded = "/MFEwTzBNMEswSTAJBgUrDgMCGgUABBQ"
	for _, c := range []struct {
		request, contentType, target, authorization string
		want                                        string // empty: the rest of the server's
	}{
		{request: "GET /crl/crls/crl/x.crl", want: "crl"},
		{request: "HEAD /crl/crls/crl/x.crl", want: "crl"},
		{request: "POST /crl/crls/crl/x.crl"},
		{request: "PUT /crl/crls/crl/x.crl"},
		{request: "GET /crl"},
		{request: "POST /", contentType: "application/ocsp-request", want: "ocsp"},
		{request: "POST /", contentType: "Application/OCSP-Request; charset=binary", want: "ocsp"},
		{request: "POST /", contentType: "application/x-amz-json-1.1", target: "ACMPrivateCA.ListTags"},
		{request: "POST /", contentType: "application/x-www-form-urlencoded"},
		{request: "POST /ocsp", contentType: "application/ocsp-request", want: "ocsp"},
		{request: "POST /ocsp", want: "ocsp"},
		{request: "DELETE /ocsp/", want: "ocsp"}, // its own to refuse
		{request: "GET /ocsp" + encoded, want: "ocsp"},
		{request: "GET /ocspx"},
		{request: "GET " + encoded, want: "ocsp"},
		{request: "HEAD " + encoded + "%2B", want: "ocsp"},
		{request: "GET " + encoded, authorization: "AWS4-HMAC-SHA256 x"},
		{request: "GET " + encoded, target: "ACMPrivateCA.ListTags"},
		{request: "POST " + encoded, contentType: "application/ocsp-request"},
		{request: "GET /"},
		{request: "GET /healthz"},
		{request: "GET /revocation/11223344-1234-1122-2233-112233445566/crls"},
	} {
		method, path, _ := strings.Cut(c.request, " ")
		for name, h := range map[string]http.Handler{"the server": whole, "the address of its own": alone} {
			r := httptest.NewRequest(method, path, nil)
			for header, v := range map[string]string{"Content-Type": c.contentType, "X-Amz-Target": c.target, "Authorization": c.authorization} {
				if v != "" {
					r.Header.Set(header, v)
				}
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Body.String(); (got == "ocsp" || got == "crl") != (c.want != "") || c.want != "" && got != c.want {
				t.Errorf("%s, %+v: %s answers %d %q", c.request, c, name, w.Code, got)
			}
			if h == alone && c.want == "" && w.Code != http.StatusNotFound {
				t.Errorf("%s: %d from an address for CRLs and OCSP alone", c.request, w.Code)
			}
		}
	}
	w := httptest.NewRecorder()
	whole.ServeHTTP(w, httptest.NewRequest("GET", "/revocation/x/crls", nil))
	if !strings.Contains(w.Body.String(), "lists of /revocation/x/crls") {
		t.Errorf("below /revocation/: %d %s", w.Code, w.Body)
	}
}
