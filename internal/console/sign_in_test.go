package console

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"chirograph.dev/internal/awsjson"
	"chirograph.dev/internal/identity"
)

func TestSignIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.user("ana", policyOf("Allow", "acm-pca:List*"))
	service, serviceSecret, err := h.people.ServiceKey(t.Context(), "acm.amazonaws.com")
	if err != nil {
		t.Fatal(err)
	}
	b := h.browser()
	want(t, "nobody", b.get("session"), 401, "SessionExpired")
	want(t, "nobody's call", b.post("call/ListCertificateAuthorities", "{}"), 401, "SessionExpired")
	for what, row := range map[string]struct {
		id, secret, token string
		status            int
		code              string
	}{
		"wrong secret":      {key.AccessKeyId, key.SecretAccessKey + "x", "", 403, "UnrecognizedClientException"},
		"unknown key":       {"AKIANOBODYNOBODY1234", key.SecretAccessKey, "", 403, "UnrecognizedClientException"},
		"unknown session":   {"ASIANOBODYNOBODY1234", "", "", 400, "ValidationException"},
		"no secret":         {key.AccessKeyId, "", "", 400, "ValidationException"},
		"token beside user": {key.AccessKeyId, key.SecretAccessKey, "token", 403, "UnrecognizedClientException"},
		"a service's key":   {service, serviceSecret, "", 403, "AccessDeniedException"},
	} {
		a := b.signIn(row.id, row.secret, row.token)
		want(t, what, a, row.status, row.code)
		if a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: a cookie", what)
		}
	}
	want(t, "no JSON", b.post("session", "accessKeyId=x"), 400, "SerializationException")
	want(t, "unknown member", b.post("session", `{"user":"x"}`), 400, "SerializationException")
	want(t, "large", b.post("session", `{"accessKeyId":"`+strings.Repeat("x", maxBody)+`"}`), 413, "RequestEntityTooLargeException")

	// What the browser brings along is not taken over.
	const foreign = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	a := b.do("POST", "api/session", fmt.Sprintf(`{"accessKeyId":%q,"secretAccessKey":%q}`, key.AccessKeyId, key.SecretAccessKey), map[string]string{"Cookie": cookieName + "=" + foreign})
	cookie := a.header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, cookieName+"=") || strings.Contains(cookie, foreign) || !strings.HasSuffix(cookie, "; Path=/console; HttpOnly; SameSite=Strict") {
		t.Errorf("the cookie is %s", cookie)
	}
	var s Session
	a.read(t, &s)
	if s.Account != management || s.ARN != "arn:aws:iam::"+management+":user/ana" || s.UserID == "" || s.CSRF == "" || s.Region != "us-east-1" || s.Partition != "aws" ||
		s.Expires.Sub(s.IdleExpires) != DefaultLongest-DefaultIdle || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%+v, %v", s, a.header)
	}
	b.csrf = s.CSRF
	var again Session
	b.get("session").read(t, &again)
	if again != s {
		t.Errorf("%+v, and then %+v", s, again)
	}
	token := strings.SplitN(strings.TrimPrefix(cookie, cookieName+"="), ";", 2)[0]
	log := h.logged()
	for _, secret := range []string{key.SecretAccessKey, token, s.CSRF} {
		if strings.Contains(log, secret) {
			t.Error("a secret is in the log")
		}
	}
	if !strings.Contains(log, "operation=console:SignIn code=OK") || !strings.Contains(log, "principal="+s.ARN) || !strings.Contains(log, "code=UnrecognizedClientException") {
		t.Errorf("the log is %s", log)
	}
	if secret := fmt.Sprintf("%+v", h.console.sessions.m); strings.Contains(secret, key.SecretAccessKey) || strings.Contains(secret, token) {
		t.Error("the memory of sessions has a secret")
	}

	// Signing in again ends the session that the browser had.
	old := h.browser()
	old.client.Jar.SetCookies(mustURL(t, h.URL+Home), []*http.Cookie{{Name: cookieName, Value: token, Path: Prefix}})
	if a := old.get("session"); a.status != 200 {
		t.Fatal(a.body)
	}
	if a := b.signIn(key.AccessKeyId, key.SecretAccessKey, ""); a.status != 200 {
		t.Fatal(a.body)
	}
	want(t, "the session before", old.get("session"), 401, "SessionExpired")
}

func TestCookieOfHTTPS(t *testing.T) {
	t.Parallel()
	key := func(h *house) *identity.AccessKey { return h.user("ana", allowAll) }
	h := newHouse(t, func(h *house) { h.StartTLS() })
	k := key(h)
	if a := h.browser().signIn(k.AccessKeyId, k.SecretAccessKey, ""); !strings.Contains(a.header.Get("Set-Cookie"), "; Secure") {
		t.Error(a.header)
	}
	h = newHouse(t, func(h *house) { h.cfg.Secure = true })
	k = key(h)
	if a := h.browser().signIn(k.AccessKeyId, k.SecretAccessKey, ""); !strings.Contains(a.header.Get("Set-Cookie"), "; Secure") {
		t.Error(a.header)
	}
}

// TestSessionsEnd: by rest, by age, by signing out, and with what they act for.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	over := func(what string, b *browser) {
		t.Helper()
		want(t, what, b.get("overview"), 401, "SessionExpired")
		want(t, what, b.get("session"), 401, "SessionExpired")
	}
	fresh := func(name string) (*browser, *identity.AccessKey) {
		k := h.user(name, allowAll)
		b := h.browser()
		if a := b.signIn(k.AccessKeyId, k.SecretAccessKey, ""); a.status != 200 {
			t.Fatal(a.body)
		}
		return b, k
	}
	ctx := h.root(management)

	idle, _ := fresh("idle")
	h.pass(DefaultIdle - time.Minute)
	// Neither of these is a use.
	if a := idle.get("session"); a.status != 200 {
		t.Error(a.body)
	}
	if a := idle.do("GET", "api/overview", "", map[string]string{"X-Background": "1"}); a.status != 200 {
		t.Error(a.body)
	}
	h.pass(time.Minute)
	over("idle", idle)

	used, _ := fresh("used")
	for range int(DefaultLongest/DefaultIdle) + 1 {
		h.pass(DefaultIdle - time.Minute)
		if a := used.post("call/ListCertificateAuthorities", "{}"); a.status != 200 {
			want(t, "old", a, 401, "SessionExpired")
		}
	}
	over("old", used)

	out, _ := fresh("out")
	want(t, "signing out by a forged request", out.do("DELETE", "api/session", "", map[string]string{"X-CSRF-Token": ""}), 403, "AccessDeniedException")
	a := out.do("DELETE", "api/session", "", nil)
	if a.status != 204 || a.body != "" || !strings.Contains(a.header.Get("Set-Cookie"), cookieName+"=; Path=/console; Max-Age=0") {
		t.Errorf("%d %s %v", a.status, a.body, a.header)
	}
	over("signed out", out)

	off, key := fresh("off")
	if _, err := h.people.UpdateAccessKey(ctx, &identity.UpdateAccessKeyInput{UserName: "off", AccessKeyId: key.AccessKeyId, Status: "Inactive"}); err != nil {
		t.Fatal(err)
	}
	over("a key that was switched off", off)

	gone, key := fresh("gone")
	if _, err := h.people.DeleteAccessKey(ctx, &identity.DeleteAccessKeyInput{UserName: "gone", AccessKeyId: key.AccessKeyId}); err != nil {
		t.Fatal(err)
	}
	over("a key that was deleted", gone)

	less, _ := fresh("less")
	if _, err := h.people.PutUserPolicy(ctx, &identity.PutUserPolicyInput{UserName: "less", PolicyName: "p", PolicyDocument: policyOf("Allow", "acm-pca:Get*")}); err != nil {
		t.Fatal(err)
	}
	want(t, "a policy that changed", less.get("overview"), 403, "AccessDeniedException")

	created, err := h.people.CreateAccount(ctx, &identity.CreateAccountInput{AccountName: "Other", Email: "other@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	other := created.CreateAccountStatus.AccountId
	key = h.userOf(other, "closed", allowAll)
	closed := h.browser()
	if a := closed.signIn(key.AccessKeyId, key.SecretAccessKey, ""); a.status != 200 {
		t.Fatal(a.body)
	}
	if _, err := h.people.CloseAccount(ctx, &identity.CloseAccountInput{AccountId: other}); err != nil {
		t.Fatal(err)
	}
	over("an account that was closed", closed)
	want(t, "a closed account", closed.signIn(key.AccessKeyId, key.SecretAccessKey, ""), 403, "AccessDeniedException")

	// A session of AWS' kind ends when it does, and not later.
	_, key = fresh("short")
	p, err := h.people.Principal(t.Context(), key.AccessKeyId, "")
	if err != nil {
		t.Fatal(err)
	}
	sts, err := h.people.GetSessionToken(awsjson.NewContext(t.Context(), awsjson.Call{Caller: p}), &identity.GetSessionTokenInput{DurationSeconds: 900})
	if err != nil {
		t.Fatal(err)
	}
	short := h.browser()
	var s Session
	short.signIn(sts.Credentials.AccessKeyId, sts.Credentials.SecretAccessKey, sts.Credentials.SessionToken).read(t, &s)
	if !s.Expires.Equal(sts.Credentials.Expiration) || s.IdleExpires.After(s.Expires) {
		t.Errorf("%+v", s)
	}
	h.pass(15 * time.Minute)
	over("temporary credentials", short)
	want(t, "over already", h.browser().signIn(sts.Credentials.AccessKeyId, sts.Credentials.SecretAccessKey, sts.Credentials.SessionToken), 403, "ExpiredTokenException")
}

// TestForgery: another page's requests do nothing, whatever cookies they carry.
func TestForgery(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	b, other := h.as("ana", allowAll), h.as("bob", allowAll)
	send := func(header map[string]string) answer {
		return b.do("POST", "api/call/ListCertificateAuthorities", "{}", header)
	}
	want(t, "own page", send(nil), 200, "")
	want(t, "no token", send(map[string]string{"X-CSRF-Token": ""}), 403, "AccessDeniedException")
	want(t, "another's token", send(map[string]string{"X-CSRF-Token": other.csrf}), 403, "AccessDeniedException")
	for what, header := range map[string]map[string]string{
		"cross-site":   {"Sec-Fetch-Site": "cross-site"},
		"same-site":    {"Sec-Fetch-Site": "same-site"},
		"other origin": {"Sec-Fetch-Site": "", "Origin": "https://evil.example"},
		"no origin":    {"Sec-Fetch-Site": "", "Origin": "null"},
		"another port": {"Sec-Fetch-Site": "", "Origin": "http://127.0.0.1:1"},
	} {
		want(t, what, send(header), 403, "AccessDeniedException")
		want(t, what+", signing in", b.do("POST", "api/session", "{}", header), 403, "AccessDeniedException")
	}
	want(t, "own origin", send(map[string]string{"Sec-Fetch-Site": "", "Origin": h.URL}), 200, "")
	want(t, "signing in by a form", b.do("POST", "api/session", "{}", map[string]string{"Content-Type": "text/plain"}), 404, "UnknownOperationException")
	want(t, "two cookies", send(map[string]string{"Cookie": cookieName + "=x"}), 401, "SessionExpired")
	want(t, "a form's content type", send(map[string]string{"Content-Type": "text/plain"}), 404, "UnknownOperationException")
	if a := b.get("session"); a.status != 200 {
		t.Errorf("the session is over: %s", a.body)
	}
}

func TestTries(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	key := h.user("ana", allowAll)
	b := h.browser()
	for range 3 { // successes cost nothing
		for i := range keyTries - 1 {
			want(t, fmt.Sprint("attempt ", i), b.signIn(key.AccessKeyId, "x", ""), 403, "UnrecognizedClientException")
		}
		if a := b.signIn(key.AccessKeyId, key.SecretAccessKey, ""); a.status != 200 {
			t.Fatal(a.body)
		}
		h.pass(time.Minute)
	}
	for range keyTries {
		b.signIn(key.AccessKeyId, "x", "")
	}
	a := b.signIn(key.AccessKeyId, key.SecretAccessKey, "")
	want(t, "too many of a key", a, 429, "ThrottlingException")
	if seconds := a.header.Get("Retry-After"); seconds != "12" && seconds != "11" {
		t.Errorf("Retry-After is %q", seconds)
	}
	// Its holder is elsewhere than who tried: the id of a key is no secret.
	there := httptest.NewRequest(http.MethodPost, api+"session", strings.NewReader(`{"accessKeyId":"`+key.AccessKeyId+`","secretAccessKey":"`+key.SecretAccessKey+`"}`))
	there.RemoteAddr = "192.0.2.9:1"
	there.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	if h.console.ServeHTTP(w, there); w.Code != 200 {
		t.Errorf("from another address: %d %s", w.Code, w.Body)
	}
	h.pass(time.Hour)
	for i := range addressTries {
		b.signIn(fmt.Sprint("AKIANOBODY", i), "x", "")
	}
	want(t, "too many of an address", b.signIn(key.AccessKeyId, key.SecretAccessKey, ""), 429, "ThrottlingException")
	h.pass(addressPause)
	if a := b.signIn(key.AccessKeyId, key.SecretAccessKey, ""); a.status != 200 {
		t.Error(a.body)
	}
}

// TestBounds: strangers fill no memory.
func TestBounds(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tr := newTries(2, time.Minute)
	for i := range maxTriers + 100 {
		tr.take(fmt.Sprint(i), now)
	}
	if len(tr.m) > maxTriers+1 {
		t.Errorf("%d names", len(tr.m))
	}
	if _, wait := tr.take("another", now); wait == 0 {
		t.Error("who is told apart no more has attempts of his own")
	}
	if _, wait := tr.take("another", now.Add(time.Hour)); wait != 0 || len(tr.m) > 2 {
		t.Errorf("%d names, %v to wait", len(tr.m), wait)
	}
	for _, one := range [][2]string{{"192.0.2.1:99", "192.0.2.1"}, {"[2001:db8:1:2:3::4]:1", "2001:db8:1:2::/64"}, {"[::ffff:192.0.2.1]:1", "192.0.2.1"}, {"pipe", "pipe"}} {
		if got := addressOf(one[0]); got != one[1] {
			t.Errorf("%s is %s", one[0], got)
		}
	}

	s := newSessions(time.Hour)
	begin := func(principal string, at time.Time) string {
		return s.begin(&session{principal: principal, expires: now.Add(24 * time.Hour)}, at)
	}
	first := begin("ana", now)
	for i := range maxOfPrincipal {
		begin("ana", now.Add(time.Duration(i+1)*time.Second))
	}
	if in, _ := s.find(first, now); in != nil || len(s.m) != maxOfPrincipal {
		t.Errorf("%d sessions of one principal", len(s.m))
	}
	for i := range maxSessions {
		s.m[[32]byte{byte(i), byte(i >> 8), 1}] = &session{principal: "x", used: now.Add(time.Minute), expires: now.Add(time.Hour)}
	}
	s.mu.Lock()
	s.m[sha256.Sum256([]byte("alone"))] = &session{account: "other", principal: "carol", used: now.Add(-time.Minute), expires: now.Add(time.Hour)}
	s.mu.Unlock()
	last := begin("bob", now.Add(2*time.Minute))
	if in, _ := s.find(last, now); in == nil || len(s.m) > maxSessions+maxOfPrincipal+1 {
		t.Errorf("%d sessions", len(s.m))
	}
	if in, _ := s.find("alone", now); in == nil {
		t.Error("an account that has many sessions ended the one of another")
	}
	begin("bob", now.Add(3*time.Hour))
	if len(s.m) != 1 {
		t.Errorf("%d sessions, of which all but one are over", len(s.m))
	}
}
