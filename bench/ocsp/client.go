package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// client sends requests over connections that it keeps, with as little work of
// its own as that takes: the client runs on the processors of the server.
type client struct {
	address string
	free    chan *conn
}

const answerWithin = 30 * time.Second

// conn is a connection; r is nil while it is closed.
type conn struct {
	net.Conn
	r *bufio.Reader
}

func newClient(address string, connections int) *client {
	c := &client{address: address, free: make(chan *conn, connections)}
	for range connections {
		c.free <- &conn{}
	}
	return c
}

// do sends the bytes of a request and gives the body of the answer to check,
// during the call of which it is valid. Any status but 200 is an error.
func (c *client) do(ctx context.Context, request []byte, check func(body []byte) error) error {
	conn := <-c.free
	defer func() { c.free <- conn }()
	if conn.r == nil {
		dialed, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.address)
		if err != nil {
			return err
		}
		conn.Conn, conn.r = dialed, bufio.NewReaderSize(dialed, 16<<10)
	}
	kept, err := conn.exchange(request, check)
	if err != nil || !kept {
		conn.r = nil
		err = errors.Join(err, conn.Close())
	}
	return err
}

func (c *conn) exchange(request []byte, check func(body []byte) error) (kept bool, err error) {
	if err := c.SetDeadline(time.Now().Add(answerWithin)); err != nil {
		return false, err
	}
	if _, err := c.Write(request); err != nil {
		return false, err
	}
	status, err := c.r.ReadSlice('\n')
	if err != nil {
		return false, err
	}
	kept = bytes.HasPrefix(status, []byte("HTTP/1.1 "))
	if !bytes.HasPrefix(status[len("HTTP/1.x "):], []byte("200")) {
		return false, fmt.Errorf("the answer is %q", status)
	}
	length := 0
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return false, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return false, err
			}
		case bytes.EqualFold(name, []byte("Connection")):
			kept = bytes.EqualFold(value, []byte("keep-alive"))
		}
	}
	body, err := c.r.Peek(length)
	if err != nil {
		return false, fmt.Errorf("an answer of %d bytes: %w", length, err)
	}
	if err := check(body); err != nil {
		return false, err
	}
	_, err = c.r.Discard(length)
	return kept, err
}

// close closes the connections.
func (c *client) close() {
	for range cap(c.free) {
		if conn := <-c.free; conn.r != nil {
			_ = conn.Close() // all was read
		}
	}
}
