package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// send opens a connection and writes text to it.
func send(t *testing.T, s *httptest.Server, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// A body that stops, or that drips, ends with an error; nobody waits for a
// body that the handler did not want.
func TestBodiesHaveTheirTime(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	s := httptest.NewServer(timedBodies{http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/unread" {
			return
		}
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	}), 50 * time.Millisecond, 300 * time.Millisecond})
	defer s.Close()

	_, answer := send(t, s, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{}")
	if err := <-ended; err == nil {
		t.Error("a body that stopped was read to its end")
	}
	if _, err := io.Copy(io.Discard, answer); err != nil { // the connection is closed
		t.Error(err)
	}

	dripping, _ := send(t, s, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
	go func() {
		for {
			if _, err := dripping.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	if err := <-ended; err == nil {
		t.Error("a body that drips was read to its end")
	}

	_, answer = send(t, s, "POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
	if _, err := io.Copy(io.Discard, answer); err != nil {
		t.Error(err)
	}
}

// A body that keeps coming may take longer than both times, the handler may
// work as long as it likes afterwards, and the connection serves again.
func TestSlowButSteadyBodies(t *testing.T) {
	t.Parallel()
	const idle = 300 * time.Millisecond
	s := httptest.NewServer(timedBodies{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil {
			time.Sleep(3 * idle)
			err = r.Context().Err()
		}
		fmt.Fprintf(w, "%d %v", len(b), err)
	}), idle, idle})
	defer s.Close()
	c, answers := send(t, s, "")
	for range 2 {
		const pieces = 30
		piece := bytes.Repeat([]byte("x"), 4096)
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", pieces*len(piece))
		for range pieces {
			if _, err := c.Write(piece); err != nil {
				t.Fatal(err)
			}
			time.Sleep(idle / 20)
		}
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if want := fmt.Sprintf("%d <nil>", pieces*len(piece)); err != nil || strings.TrimSpace(string(b)) != want {
			t.Errorf("answer %q, %v, want %q", b, err, want)
		}
	}
}

// An answer that nobody reads ends with an error, whether it comes in pieces
// or from a file; one that is read slowly but steadily arrives whole.
func TestAnswersHaveTheirTime(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	s := httptest.NewServer(timedBodies{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		var src io.Reader = io.LimitReader(zeros{}, size)
		if r.URL.Path == "/file" {
			f, err := os.Open(path)
			if err != nil {
				ended <- err
				return
			}
			defer f.Close()
			src = io.LimitReader(f, size)
		}
		_, err := io.Copy(w, src)
		ended <- err
	}), 200 * time.Millisecond, time.Minute})
	defer s.Close()
	for _, path := range []string{"/pieces", "/file"} {
		send(t, s, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		if err := <-ended; err == nil {
			t.Errorf("%s: an answer that nobody reads was written to its end", path)
		}
		_, answers := send(t, s, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got int64
		for err == nil {
			var n int64
			n, err = io.CopyN(io.Discard, res.Body, 4<<20)
			got += n
			time.Sleep(40 * time.Millisecond)
		}
		if got != size || err != io.EOF {
			t.Errorf("%s: a slow reader got %d bytes, %v", path, got, err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
