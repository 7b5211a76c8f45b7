package server

import (
	"mime"
	"net/http"
	"strings"
)

// Relying serves what everybody may read who has to know what is revoked, and
// nothing else: no request for it is signed. It is part of what New makes, and
// all of an address that is for relying parties alone.
type Relying struct {
	OCSP, CRL http.Handler // as those of Config
	Others    http.Handler // what is for neither of them; nil: 404
}

func (s *Relying) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := s.handler(r)
	switch {
	case h != nil:
		h.ServeHTTP(w, r)
	case s.Others != nil:
		s.Others.ServeHTTP(w, r)
	default:
		http.Error(w, "Here are CRLs, below /crl/, and OCSP, alone.", http.StatusNotFound)
	}
}

// handler is who answers a request; nil when it is for none of them.
func (s *Relying) handler(r *http.Request) http.Handler {
	path, read := r.URL.Path, r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case s.CRL != nil && read && strings.HasPrefix(path, "/crl/"):
		return s.CRL
	case s.OCSP != nil && (path == "/ocsp" || strings.HasPrefix(path, "/ocsp/")),
		s.OCSP != nil && isOCSP(r, path, read):
		return s.OCSP
	}
	return nil
}

// isOCSP tells a request for OCSP at / from those for others. The base64 of a
// DER sequence begins with M; nobody else has such a path, and those who know
// what they want of a server of AWS say so in headers.
func isOCSP(r *http.Request, path string, read bool) bool {
	if r.Method == http.MethodPost && path == "/" {
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		return err == nil && kind == "application/ocsp-request"
	}
	return read && strings.HasPrefix(strings.TrimLeft(path, "/"), "M") && r.Header.Get("X-Amz-Target") == "" && r.Header.Get("Authorization") == ""
}
