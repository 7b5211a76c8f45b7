package iam

import (
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"
)

// What a request says of itself does not stand in the place of what it is.
func TestSetRequestConditions(t *testing.T) {
	t.Parallel()
	r := &http.Request{RemoteAddr: "[::ffff:192.0.2.7]:443", Header: http.Header{"User-Agent": {"agent"}}}
	m := map[string][]string{"aws:SourceIp": {"203.0.113.1"}, "aws:SecureTransport": {"true"}, "aws:RequestTag/team": {"a"}}
	SetRequestConditions(m, r, time.Unix(1700000000, 0))
	want := map[string][]string{
		"aws:SourceIp": {"192.0.2.7"}, "aws:SecureTransport": {"false"}, "aws:RequestTag/team": {"a"}, "aws:UserAgent": {"agent"},
		"aws:CurrentTime": {"2023-11-14T22:13:20Z"}, "aws:EpochTime": {"1700000000"},
	}
	if !maps.EqualFunc(m, want, slices.Equal) {
		t.Errorf("%v, want %v", m, want)
	}
}
