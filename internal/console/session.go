package console

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"sync"
	"time"
)

// Bounds of the sessions that are held at a time: of one principal, and in
// all. The one that was used longest ago makes room, where there are too many
// in all one of the account that has most: whoever may name sessions of a role
// is any number of principals.
const (
	maxOfPrincipal = 20
	maxSessions    = 10_000
)

// session is one person signed in with one browser. What it acts for is looked
// up at every request by the access key, so that nothing here goes out of date;
// the key's secret is not here.
type session struct {
	accessKeyID  string
	sessionToken string // of a session key; empty for a long-lived one
	account      string
	principal    string // its id; bounds are kept by both
	csrf         string
	expires      time.Time // whatever its use
	used         time.Time // guarded by the store's lock
}

// sessions are all that are signed in, by the hash of the cookie's token: who
// reads the memory of this process learns no cookie. They end with the process.
// Safe for concurrent use.
type sessions struct {
	idle time.Duration

	mu sync.Mutex
	m  map[[sha256.Size]byte]*session
}

func newSessions(idle time.Duration) *sessions {
	return &sessions{idle: idle, m: map[[sha256.Size]byte]*session{}}
}

// secretText is 32 random bytes as text.
func secretText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// begin adds a session and gives the token of its cookie. The token is always
// a new one: what a browser brought along is worth nothing.
func (s *sessions) begin(in *session, now time.Time) (token string) {
	token, in.csrf, in.used = secretText(), secretText(), now
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makeRoom(in, now)
	s.m[sha256.Sum256([]byte(token))] = in
	return token
}

// makeRoom drops what is over, and what was used longest ago where there are
// too many; s is locked.
func (s *sessions) makeRoom(coming *session, now time.Time) {
	accounts := map[string]int{}
	own := 0
	for key, have := range s.m {
		switch {
		case s.over(have, now):
			delete(s.m, key)
			continue
		case have.account == coming.account && have.principal == coming.principal:
			own++
		}
		accounts[have.account]++
	}
	switch {
	case own >= maxOfPrincipal:
		s.dropOldest(func(have *session) bool { return have.account == coming.account && have.principal == coming.principal })
	case len(s.m) >= maxSessions:
		most := coming.account
		for account, n := range accounts {
			if n > accounts[most] {
				most = account
			}
		}
		s.dropOldest(func(have *session) bool { return have.account == most })
	}
}

func (s *sessions) dropOldest(of func(*session) bool) {
	var oldest [sha256.Size]byte
	for key, have := range s.m {
		if of(have) && (s.m[oldest] == nil || have.used.Before(s.m[oldest].used)) {
			oldest = key
		}
	}
	delete(s.m, oldest)
}

func (s *sessions) over(in *session, now time.Time) bool {
	return !now.Before(in.expires) || !now.Before(in.used.Add(s.idle))
}

// find gives the session of a cookie's token and when it ends without further
// use; nil when there is none or it is over.
func (s *sessions) find(token string, now time.Time) (in *session, idleExpires time.Time) {
	key := sha256.Sum256([]byte(token))
	s.mu.Lock()
	defer s.mu.Unlock()
	in = s.m[key]
	if in == nil {
		return nil, time.Time{}
	}
	if s.over(in, now) {
		delete(s.m, key)
		return nil, time.Time{}
	}
	idleExpires = in.used.Add(s.idle)
	if idleExpires.After(in.expires) {
		idleExpires = in.expires
	}
	return in, idleExpires
}

// use keeps a session alive.
func (s *sessions) use(in *session, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.After(in.used) {
		in.used = now
	}
}

// end ends the session of a cookie's token, if there is one.
func (s *sessions) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, sha256.Sum256([]byte(token)))
}

// vouches says whether the token of a request's header is the session's.
func (in *session) vouches(csrf string) bool {
	return subtle.ConstantTimeCompare([]byte(in.csrf), []byte(csrf)) == 1
}
