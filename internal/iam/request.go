package iam

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// SetRequestConditions sets the global condition keys that any request
// over HTTP gives: its time, where it came from and how. Called last, it lets
// nothing that a request says of itself stand in their place.
func SetRequestConditions(m map[string][]string, r *http.Request, now time.Time) {
	now = now.UTC()
	m["aws:SecureTransport"] = []string{strconv.FormatBool(r.TLS != nil)}
	m["aws:CurrentTime"] = []string{now.Format(time.RFC3339)}
	m["aws:EpochTime"] = []string{strconv.FormatInt(now.Unix(), 10)}
	if a, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		m["aws:SourceIp"] = []string{a.Addr().Unmap().WithZone("").String()}
	}
	if agent := r.UserAgent(); agent != "" {
		m["aws:UserAgent"] = []string{agent}
	}
}
