package awsjson

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chirograph.dev/internal/pca"
)

// The calls of one account and operation: a burst, then the rate, whatever the
// others do.
func TestRate(t *testing.T) {
	t.Parallel()
	var later atomic.Int64 // seconds
	begin := time.Now()
	f := start(t, func(c *Config) {
		c.Now = func() time.Time { return begin.Add(time.Duration(later.Load()) * time.Second) }
		c.Rates = map[string]Rate{"IssueCertificate": {25, 50}, "GetCertificate": {1, 1}}
	})
	issue := `{"CertificateAuthorityArn":"` + caARN + `","Csr":"YQ==","SigningAlgorithm":"SHA256WITHRSA","Validity":{"Value":1,"Type":"DAYS"}}`
	call := func(operation, body string) answer {
		t.Helper()
		return send(t, newRequest(t, f.URL, admin, operation, body, nil))
	}
	for _, second := range []struct{ at, allowed int64 }{{0, 50}, {1, 25}, {2, 25}, {100, 50}} {
		later.Store(second.at)
		for range second.allowed {
			if a := call("IssueCertificate", issue); a.status != 200 {
				t.Fatalf("second %d: %d %s", second.at, a.status, a.body)
			}
		}
		for _, body := range []string{issue, `{`} { // the body is not looked at
			if a := call("IssueCertificate", body); a.status != 400 || a.Type != string(pca.ThrottlingException) || a.Text != "Rate exceeded" {
				t.Errorf("second %d: %d %s", second.at, a.status, a.body)
			}
		}
		if a := call("DescribeCertificateAuthority", describe); a.status != 200 {
			t.Errorf("another operation: %d %s", a.status, a.body)
		}
		// A call that is not its own costs an account nothing.
		if a := send(t, newRequest(t, f.URL, "AKIDNOBODY", "IssueCertificate", issue, nil)); a.status != 403 {
			t.Errorf("a stranger: %d %s", a.status, a.body)
		}
	}
	if got := strings.Count(fmt.Sprint(f.lines(t, 1)), "ThrottlingException"); got == 0 {
		t.Error("nothing of it in the log")
	}
}

// What was not used long enough is forgotten; what is in use is not.
func TestRatesKeepLittle(t *testing.T) {
	t.Parallel()
	now := time.Now()
	th := newThrottle(map[string]Rate{"ListTags": {1, 2}})
	if !th.allow("busy", "ListTags", now) || !th.allow("busy", "ListTags", now) || th.allow("busy", "ListTags", now) {
		t.Fatal("the bucket does not hold two")
	}
	for n := range 100 * manyBuckets {
		if !th.allow(strconv.Itoa(n), "ListTags", now) {
			t.Fatal("a new account is throttled")
		}
		now = now.Add(time.Millisecond)
		if n%100 == 0 {
			th.allow("busy", "ListTags", now)
		}
		if len(th.buckets) > 3*manyBuckets {
			t.Fatalf("%d buckets after %d accounts", len(th.buckets), n)
		}
	}
	if th.allow("busy", "ListTags", now) && th.allow("busy", "ListTags", now) && th.allow("busy", "ListTags", now) {
		t.Error("the bucket of a busy account was forgotten")
	}
}

// Calls above the bound are turned away at once, and each one that ends, ends
// also badly, makes room.
func TestInFlight(t *testing.T) {
	t.Parallel()
	const bound = 4
	reached, release := make(chan struct{}), make(chan struct{})
	var n atomic.Int64
	f := start(t, func(c *Config) {
		c.MaxInFlight = bound
		c.Operations = append(c.Operations, Op("GetPolicy", func(context.Context, *pca.GetPolicyRequest) (*pca.GetPolicyResponse, error) {
			reached <- struct{}{}
			<-release
			if n.Add(1)%2 == 0 {
				panic("half of them")
			}
			return &pca.GetPolicyResponse{}, nil
		}))
	})
	for range 3 {
		var wg sync.WaitGroup
		for range bound {
			wg.Go(func() { send(t, newRequest(t, f.URL, admin, "GetPolicy", `{"ResourceArn":"`+caARN+`"}`, nil)) })
			<-reached
		}
		for range 3 {
			if a := send(t, newRequest(t, f.URL, admin, "ListCertificateAuthorities", "{}", nil)); a.status != 400 || a.Type != string(pca.ThrottlingException) {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		for range bound {
			release <- struct{}{}
		}
		wg.Wait()
		if a := send(t, newRequest(t, f.URL, admin, "ListCertificateAuthorities", "{}", nil)); a.status != 200 {
			t.Errorf("afterwards: %d %s", a.status, a.body)
		}
	}
}

func TestNewRefusesRates(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]Rate{"ListTag": {1, 1}, "ListTags": {0, 1}, "GetPolicy": {1, 0}} {
		cfg := config(t)
		cfg.Rates = map[string]Rate{name: r}
		if _, err := New(cfg); err == nil {
			t.Errorf("%s %+v is accepted", name, r)
		}
	}
}
