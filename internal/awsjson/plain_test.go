package awsjson

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/pca"
)

// TestPlain: what is no operation meets the same checks, and nothing leaves
// without an Allow.
func TestPlain(t *testing.T) {
	t.Parallel()
	served := 0
	p, err := NewPlain(config(t), func(r *http.Request) (Route, error) {
		name := strings.TrimPrefix(r.URL.Path, "/")
		if name == "" {
			return Route{}, pca.Errorf(pca.UnknownOperationException, "There is nothing.")
		}
		return Route{Action: "acm-pca:" + name, MaxBody: 8, Serve: func(ctx context.Context, body []byte) ([]byte, error) {
			served++
			if name == "Forgotten" {
				return []byte("secret"), nil
			}
			SetHeader(ctx, "Content-Type", "text/plain")
			return append([]byte("> "), body...), Authorize(ctx, "acm-pca:"+name, caARN)
		}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(p)
	defer s.Close()
	for _, c := range []struct {
		path, key, body string
		status          int
		answer          string
		served          int
	}{
		{"/DescribeThis", admin, "12345678", 200, "> 12345678", 1},
		{"/DescribeThis", admin, "123456789", 413, `"RequestEntityTooLargeException"`, 0},
		{"/DescribeThis", "", "", 403, `"MissingAuthenticationTokenException"`, 0},
		{"/RevokeCertificate", auditor, "", 403, "with an explicit deny", 1},
		{"/Forgotten", admin, "", 500, `"InternalFailure"`, 1},
		{"/", admin, "", 404, `"UnknownOperationException"`, 0},
	} {
		before := served
		r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.key != "" {
			sign(t, r, c.key, c.body, "us-east-1", pca.Service, time.Now())
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != c.status || !strings.Contains(string(b), c.answer) || served-before != c.served {
			t.Errorf("%s as %q: %d %s, served %d times: %v", c.path, c.key, res.StatusCode, b, served-before, err)
		}
	}
}
