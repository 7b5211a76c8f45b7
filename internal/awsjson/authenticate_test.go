package awsjson

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"chirograph.dev/internal/iam"
	"chirograph.dev/internal/pca"
)

// TestAuthenticate: who is known without a signature meets every other check,
// and the limits of the handler that signed requests go to.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	signed, err := New(func() Config {
		cfg := config(t)
		cfg.Rates = map[string]Rate{"RevokeCertificate": {PerSecond: 1e-9, Burst: 1}}
		cfg.Operations = []Operation{Op("RevokeCertificate", func(context.Context, *pca.RevokeCertificateRequest) (*struct{}, error) { return nil, nil })}
		return cfg
	}())
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	people := map[string]string{"admin": admin, "auditor": auditor}
	var read bool // of a body
	cfg.Authenticate = func(r *http.Request) (*iam.Principal, error) {
		switch who := r.Header.Get("X-Who"); who {
		case "":
			return nil, pca.Errorf(pca.SessionExpired, "Nobody.")
		case "broken":
			return nil, errors.New("the store is on fire")
		case "nobody":
			return nil, nil
		default:
			return cfg.Credentials.Principal(r.Context(), people[who], "")
		}
	}
	cfg.Limits = signed.Limits
	cfg.Operations = []Operation{
		Op("RevokeCertificate", func(context.Context, *pca.RevokeCertificateRequest) (*struct{}, error) { return nil, nil }),
		Op("DescribeCertificateAuthority", func(ctx context.Context, in *pca.DescribeCertificateAuthorityRequest) (*pca.DescribeCertificateAuthorityResponse, error) {
			return &pca.DescribeCertificateAuthorityResponse{CertificateAuthority: &pca.CertificateAuthority{Arn: Caller(ctx).ARN}}, nil
		}),
	}
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	const revoke = `{"CertificateAuthorityArn":"` + caARN + `","CertificateSerial":"1","RevocationReason":"UNSPECIFIED"}`
	for _, row := range []struct {
		what, who, operation, body string
		status                     int
		answer                     string
		read                       bool
	}{
		{"known", "auditor", "DescribeCertificateAuthority", describe, 200, ":user/auditor", true},
		{"nobody", "", "DescribeCertificateAuthority", describe, 401, "SessionExpired", false},
		{"nobody, by mistake", "nobody", "DescribeCertificateAuthority", describe, 500, "InternalFailure", false},
		{"broken", "broken", "DescribeCertificateAuthority", describe, 500, "InternalFailure", false},
		{"unknown operation", "admin", "PutPolicy", describe, 404, "UnknownOperationException", false},
		{"invalid", "admin", "DescribeCertificateAuthority", `{}`, 400, "ValidationException", true},
		{"too large", "admin", "DescribeCertificateAuthority", `{"a":"` + strings.Repeat("x", maxBody) + `"}`, 413, "RequestEntityTooLargeException", false},
		{"denied", "auditor", "RevokeCertificate", revoke, 403, "with an explicit deny", true},
	} {
		read = false
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", readTeller{strings.NewReader(row.body), &read})
		r.ContentLength = int64(len(row.body))
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("X-Amz-Target", "ACMPrivateCA."+row.operation)
		r.Header.Set("X-Who", row.who)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != row.status || !strings.Contains(w.Body.String(), row.answer) || read != row.read {
			t.Errorf("%s: %d %s, the body was read: %t", row.what, w.Code, w.Body, read)
		}
	}
	// The auditor's attempt took the account's one call.
	w := httptest.NewRecorder()
	r := newRequest(t, "http://example.com", admin, "RevokeCertificate", revoke, nil)
	signed.ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), "ThrottlingException") {
		t.Errorf("the limits are not shared: %d %s", w.Code, w.Body)
	}
}

// readTeller notes that somebody read.
type readTeller struct {
	io.Reader
	read *bool
}

func (r readTeller) Read(p []byte) (int, error) {
	*r.read = true
	return r.Reader.Read(p)
}

// TestPlainOwn: what callers may know of themselves needs no action; a route
// gives its answer the status and the headers that it needs.
func TestPlainOwn(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	cfg.Authenticate = func(*http.Request) (*iam.Principal, error) { return &iam.Principal{}, nil }
	p, err := NewPlain(cfg, func(r *http.Request) (Route, error) {
		return Route{Action: "console:X", Own: r.URL.Path == "/own", Status: 302, Serve: func(ctx context.Context, _ []byte) ([]byte, error) {
			AddHeader(ctx, "Set-Cookie", "a=b")
			AddHeader(ctx, "Set-Cookie", "c=d")
			SetCaller(ctx, &iam.Principal{ARN: "somebody"})
			if Caller(ctx).ARN != "somebody" {
				t.Error("the call is nobody's")
			}
			return nil, nil
		}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, status := range map[string]int{"/own": 302, "/other": 500} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", path, nil))
		if w.Code != status || len(w.Header().Values("Set-Cookie")) != 2 {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
}
