package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"chirograph.dev/internal/server"
)

// firstByte is how long a connection may take to send its first byte.
const firstByte = 20 * time.Second

// byFirstByte parts the connections of a listener: those that begin as TLS does,
// and others, which speak HTTP without it. The first of the two closes l, too.
func byFirstByte(l net.Listener) (secure, plain net.Listener) {
	s, p := newPart(l.Addr(), l.Close), newPart(l.Addr(), func() error { return nil })
	go func() {
		for {
			c, err := l.Accept()
			if err == nil {
				go part(c, s, p)
				continue
			}
			// Who serves waits before it comes for the next, as it does with l.
			select {
			case s.errs <- err:
			case <-s.closed:
				return
			}
		}
	}()
	return s, p
}

// part gives a connection to its listener.
func part(c net.Conn, secure, plain *partListener) {
	const handshake = 22 // the type of the record that a TLS client begins with (RFC 8446 5.1)
	first := make([]byte, 1)
	err := c.SetReadDeadline(time.Now().Add(firstByte))
	if err == nil {
		_, err = io.ReadFull(c, first)
	}
	if err == nil {
		err = c.SetReadDeadline(time.Time{})
	}
	to := plain
	if first[0] == handshake {
		to = secure
	}
	if err == nil {
		select {
		case to.conns <- &begunConn{Conn: c, first: first}:
			return
		case <-to.closed:
		}
	}
	_ = c.Close() // nobody listens, or the client went away
}

// partListener accepts some of the connections of another listener.
type partListener struct {
	addr   net.Addr
	conns  chan net.Conn
	errs   chan error
	closed chan struct{}
	end    func() error
}

func newPart(addr net.Addr, end func() error) *partListener {
	l := &partListener{addr: addr, conns: make(chan net.Conn), errs: make(chan error), closed: make(chan struct{})}
	l.end = sync.OnceValue(func() error {
		close(l.closed)
		return end()
	})
	return l
}

func (l *partListener) Addr() net.Addr { return l.addr }
func (l *partListener) Close() error   { return l.end() }

func (l *partListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.errs:
		return nil, err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// begunConn is a connection some bytes of which were read.
type begunConn struct {
	net.Conn
	first []byte
}

// Read is for one goroutine at a time, as HTTP and TLS read.
func (c *begunConn) Read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}

// plainAPI is what the API's address answers without TLS where it has TLS: what
// relying parties read, whose URLs begin with http://.
func plainAPI(relying server.Relying) http.Handler {
	relying.Others = http.HandlerFunc(refusePlain)
	return &relying
}

// plainBuckets is what the buckets' address answers without TLS where it has
// TLS: CRLs that everybody may read.
func plainBuckets(buckets http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read := r.Method == http.MethodGet || r.Method == http.MethodHead
		if read && strings.HasSuffix(r.URL.Path, ".crl") && r.URL.RawQuery == "" && r.Header.Get("Authorization") == "" {
			buckets.ServeHTTP(w, r)
			return
		}
		refusePlain(w, r)
	})
}

// refusePlain answers as net/http does when somebody speaks HTTP to TLS.
func refusePlain(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Connection", "close")
	http.Error(w, "Client sent an HTTP request to an HTTPS server.", http.StatusBadRequest)
}
