package local

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func FuzzXML(f *testing.F) {
	f.Add([]byte(`<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Part><PartNumber>1</PartNumber><ETag>"a"</ETag></Part></CompleteMultipartUpload>`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><CompleteMultipartUpload><Part>&a;</Part></CompleteMultipartUpload>`))
	f.Add([]byte(strings.Repeat("<a>", 100)))
	f.Add([]byte(`<CompleteMultipartUpload></CompleteMultipartUpload><x/>`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var in struct{ Part []completedPart }
		if err := decodeXML(b, "CompleteMultipartUpload", &in); err == nil && !bytes.Contains(b, []byte("CompleteMultipartUpload")) {
			t.Fatal("accepted a document without its root")
		}
	})
}

func TestXMLBounds(t *testing.T) {
	t.Parallel()
	var v struct{ A string }
	for _, bad := range []string{"", "x", "<B/>", "<R>", "<R></R><R/>", "<R/>x", `<!DOCTYPE R><R/>`, `<R xmlns="http://other/"/>`,
		"<R>" + strings.Repeat("<a>", 50) + strings.Repeat("</a>", 50) + "</R>", "<R>&a;</R>", "<R>\x01</R>"} {
		if err := decodeXML([]byte(bad), "R", &v); err == nil {
			t.Errorf("accepted %.60q", bad)
		}
	}
	if err := decodeXML([]byte(`<?xml version="1.0"?><R xmlns="`+namespace+`"><A>b</A><New/></R>`+"\n"), "R", &v); err != nil || v.A != "b" {
		t.Fatal(err, v)
	}
}

// FuzzRequest sends any method, path, query and header: the service must
// answer, never with InternalError, and leave the fuzzed key in its bucket.
func FuzzRequest(f *testing.F) {
	s := startIn(f, f.TempDir()+"/b", nil)
	rt := s.Transport(everybody(f)["AKADMIN"])
	if status, _, _, err := roundTrip(rt, http.MethodPut, "fuzzed", nil); err != nil || status != http.StatusOK {
		f.Fatal(status, err)
	}
	f.Add("PUT", "/fuzzed/../../etc/passwd", "", "", "")
	f.Add("GET", "/fuzzed", "list-type=2&prefix=a&delimiter=%2F&max-keys=-1", "", "")
	f.Add("GET", "/fuzzed/k", "partNumber=1", "Range", "bytes=0-18446744073709551615")
	f.Add("PUT", "/fuzzed/%00", "", "X-Amz-Copy-Source", "/fuzzed/%zz")
	f.Add("POST", "/fuzzed", "delete", "Content-Md5", "x")
	f.Add("GET", "//fuzzed//", "uploads&key-marker=%ff", "", "")
	f.Fuzz(func(t *testing.T, method, path, query, header, value string) {
		switch method {
		case "GET", "HEAD", "PUT", "POST", "DELETE":
		default:
			return
		}
		u, err := url.Parse("https://x" + "/" + strings.TrimLeft(path, "/"))
		if err != nil {
			return
		}
		u.RawQuery = query
		r := &http.Request{Method: method, URL: u, Header: http.Header{}, Body: http.NoBody}
		if header != "" && !strings.ContainsAny(header+value, "\r\n") {
			r.Header.Set(header, value)
		}
		resp, err := rt.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusInternalServerError {
			t.Fatalf("%s %s?%s", method, path, query)
		}
	})
}

func FuzzRange(f *testing.F) {
	f.Add("bytes=0-", int64(10))
	f.Add("bytes=-1", int64(0))
	f.Add("bytes=9223372036854775807-9223372036854775807", int64(1))
	f.Fuzz(func(t *testing.T, v string, size int64) {
		if size < 0 {
			return
		}
		r, err := parseRange(v, size)
		if err == nil && (r.from < 0 || r.to > size || r.from > r.to || r.partial && r.from == r.to) {
			t.Fatalf("%q of %d: %+v", v, size, r)
		}
		c, err := copyRange(v, size)
		if err == nil && (c.from < 0 || c.to > size || c.from > c.to) {
			t.Fatalf("%q of %d: %+v", v, size, c)
		}
	})
}

func TestBucketNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"abc": true, "a.b-c": true, "ab": false, "a..b": false, "-ab": false, "ab-": false, "Abc": false, "a_b": false,
		"192.168.0.1": false, "xn--abc": false, "abc-s3alias": false, strings.Repeat("a", 63): true, strings.Repeat("a", 64): false, "a/b": false, "..": false} {
		if validBucketName(name) != want {
			t.Errorf("%q", name)
		}
	}
}
