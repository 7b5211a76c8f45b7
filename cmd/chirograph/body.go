package main

import (
	"io"
	"math"
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

// timedBodies gives every request's body its time, and every answer's: a
// client that sends or reads nothing, or a byte now and then, does not keep a
// connection and what stands behind it. A fixed time would cut off large
// uploads and downloads. It also bounds what the server reads of a body that
// the handler did not want.
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
	a := &timedAnswer{ResponseWriter: w, connection: http.NewResponseController(w), idle: t.idle}
	// What an earlier request on the connection left behind is not this one's.
	_ = a.connection.SetWriteDeadline(time.Time{})
	t.next.ServeHTTP(a, r)
}

// timedAnswer gives every piece of an answer the same time.
type timedAnswer struct {
	http.ResponseWriter
	connection *http.ResponseController
	idle       time.Duration
}

// Unwrap lets http.ResponseController reach the connection.
func (a *timedAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *timedAnswer) allow() { _ = a.connection.SetWriteDeadline(time.Now().Add(a.idle)) }

// WriteHeader is for answers without a body, which are written after the handler.
func (a *timedAnswer) WriteHeader(status int) {
	a.allow()
	a.ResponseWriter.WriteHeader(status)
}

func (a *timedAnswer) Write(p []byte) (int, error) {
	a.allow()
	return a.ResponseWriter.Write(p)
}

// answerPiece is what a client must have taken within the time, so that a file
// goes out piece by piece, each still without a copy in this process.
const answerPiece = 4 << 20

// ReadFrom is how io.Copy hands over a file.
func (a *timedAnswer) ReadFrom(src io.Reader) (total int64, err error) {
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	for limited.N > 0 {
		a.allow()
		// One LimitedReader around the file is as much as the fast path of
		// net/http looks through.
		n, err := io.Copy(a.ResponseWriter, &io.LimitedReader{R: limited.R, N: min(limited.N, answerPiece)})
		total += n
		limited.N -= n
		if err != nil || n == 0 {
			return total, err
		}
	}
	return total, nil
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
