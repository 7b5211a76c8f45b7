package main

import (
	"io"
	"net/http"
	"time"
)

const (
	// bodyIdle is how long a server waits for more of a body, bodyStart how
	// long a body may take in all, besides the time it has at bodyRate.
	bodyIdle  = 30 * time.Second
	bodyStart = time.Minute
	bodyRate  = 4 << 10 // bytes a second
)

// timedBodies gives every request's body its time: a client that sends
// nothing, or a byte now and then, does not keep a connection and what stands
// behind it. A fixed time would cut off large uploads. It also bounds what the
// server reads of a body that the handler did not want.
type timedBodies struct {
	next        http.Handler
	idle, start time.Duration
}

func (t timedBodies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		b := &timedBody{ReadCloser: r.Body, connection: http.NewResponseController(w), idle: t.idle, last: time.Now().Add(t.start)}
		b.allow()
		r.Body = b
	}
	t.next.ServeHTTP(w, r)
}

type timedBody struct {
	io.ReadCloser
	connection *http.ResponseController
	idle       time.Duration
	last       time.Time // when what has been read so far must have come
	ended      bool
}

func (b *timedBody) Read(p []byte) (int, error) {
	if !b.ended {
		b.allow()
	}
	n, err := b.ReadCloser.Read(p)
	b.last = b.last.Add(time.Duration(n) * time.Second / bodyRate)
	if err == io.EOF && !b.ended {
		// From here on the server watches the connection for the client's
		// going away, for as long as the handler works.
		b.ended = true
		_ = b.connection.SetReadDeadline(time.Time{})
	}
	return n, err
}

// allow gives the next read its time. A connection without deadlines, which
// only tests have, goes on without.
func (b *timedBody) allow() {
	at := time.Now().Add(b.idle)
	if b.last.Before(at) {
		at = b.last
	}
	_ = b.connection.SetReadDeadline(at)
}
