package main

import (
	"net"
	"sync"
	"syscall"
)

// otherDescriptors is what the process needs besides connections: the
// database, keys, objects of buckets, and the standard streams.
const otherDescriptors = 256

// fitConnections lowers the number of connections of each address to what the
// process may open.
func fitConnections(max, addresses int) int {
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) != nil {
		return max
	}
	room := files.Cur / uint64(addresses)
	if room <= otherDescriptors { // a tiny limit: half of it
		return min(max, int(room/2)+1)
	}
	return int(min(uint64(max), room-otherDescriptors/uint64(addresses)))
}

// boundedListener has at most so many connections open. The next one waits in
// the kernel until one of them closes, and takes no file descriptor of this
// process meanwhile; connections that do nothing are closed by the server's
// time-outs.
type boundedListener struct {
	net.Listener
	places chan struct{} // one element for every open connection
	closed chan struct{}
	once   sync.Once
}

func newBoundedListener(l net.Listener, max int) net.Listener {
	return &boundedListener{Listener: l, places: make(chan struct{}, max), closed: make(chan struct{})}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	return &boundedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close also ends an Accept that waits for a place.
func (l *boundedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

type boundedConn struct {
	net.Conn
	leave func()
}

// Close gives the place back; a second call changes nothing.
func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
