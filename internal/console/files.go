package console

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
)

// dist is the built application; ui is its source.
//
//go:embed all:dist
var dist embed.FS

// Files are the application's, built or not yet: dist as it was embedded.
func Files() (fs.FS, error) { return fs.Sub(dist, "dist") }

const indexFile = "index.html"

// file is one file of the application. What it holds stays where it is embedded.
type file struct {
	name      string
	immutable bool     // its name changes with what it holds
	etag      string   // of the plain form, without its quotes; empty: immutable
	encodings []string // that there are besides, best first
}

// encodings are the forms of a file that the build writes beside it, best first.
var encodings = [...]struct{ name, suffix string }{{"br", ".br"}, {"gzip", ".gz"}}

func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".ico":
		return "image/x-icon"
	case ".woff2":
		return "font/woff2"
	case ".md", ".txt":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// readFiles reads the files of an application by name. What is not in it is
// served to nobody, whatever a path looks like.
func readFiles(from fs.FS) (map[string]*file, error) {
	files := map[string]*file{}
	err := fs.WalkDir(from, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") {
			return err
		}
		for _, e := range encodings {
			if base, ok := strings.CutSuffix(name, e.suffix); ok {
				if _, err := fs.Stat(from, base); err == nil {
					return nil // a form of another file
				}
			}
		}
		f := &file{name: name, immutable: strings.HasPrefix(name, "assets/")}
		if !f.immutable {
			b, err := fs.ReadFile(from, name)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(b)
			f.etag = base64.RawURLEncoding.EncodeToString(sum[:12])
		}
		for _, e := range encodings {
			if _, err := fs.Stat(from, name+e.suffix); err == nil {
				f.encodings = append(f.encodings, e.name)
			}
		}
		files[name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading the files of the console: %w", err)
	}
	return files, nil
}

// serveFile answers with a file, or with the application itself where a path is
// one of its pages.
func (c *Console) serveFile(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "The console's pages are read with GET.")
		return
	}
	name := strings.TrimPrefix(r.URL.Path, Home)
	f := c.files[name]
	switch {
	case f == nil && strings.HasPrefix(name, "assets/"):
		refuse(w, http.StatusNotFound, "There is no such file. Load the page again: the server may have been updated.")
		return
	case f == nil:
		f = c.files[indexFile]
	}
	if f == nil {
		refuse(w, http.StatusNotFound, "This program was built without the console. Build it with make, or use the API.")
		return
	}
	c.send(w, r, f)
}

func (c *Console) send(w http.ResponseWriter, r *http.Request, f *file) {
	h := w.Header()
	if len(f.encodings) > 0 {
		h.Set("Vary", "Accept-Encoding")
	}
	name, etag := f.name, f.etag
	accepted := strings.Join(r.Header.Values("Accept-Encoding"), ",")
	for _, e := range encodings {
		if slices.Contains(f.encodings, e.name) && accepts(accepted, e.name) {
			name, etag = name+e.suffix, etag+"-"+e.name
			h.Set("Content-Encoding", e.name)
			break
		}
	}
	h.Set("Content-Type", contentType(f.name))
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		etag = `"` + etag + `"`
		h.Set("Etag", etag)
		h.Set("Cache-Control", "no-cache")
		if strings.Contains(r.Header.Get("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	b, err := c.cfg.Files.Open(name)
	if err != nil {
		h.Del("Content-Encoding")
		refuse(w, http.StatusInternalServerError, "The file cannot be read.")
		return
	}
	defer b.Close()
	if info, err := b.Stat(); err == nil {
		h.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	}
	if r.Method == http.MethodGet {
		_, _ = io.Copy(w, b) // a browser that has gone needs no answer
	}
}

// accepts says whether an Accept-Encoding header names a coding and does not
// give it the weight 0.
func accepts(header, coding string) bool {
	for one := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(one, ";")
		if !strings.EqualFold(strings.TrimSpace(name), coding) {
			continue
		}
		q, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(weight), " ", ""), "q=")
		n, err := strconv.ParseFloat(q, 64)
		return !ok || err == nil && n > 0
	}
	return false
}

// refuse answers in words what is no request of the API.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}
