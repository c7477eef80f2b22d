//go:build linux

package gateway

import (
	"net"
	"testing"
)

// A socket whose first frames came with its handshake may have a session, and be ended, before the
// poller has it.
func TestASocketMayEndBeforeThePollerHasIt(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p, err := newPoller(&Gateway{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.release(); err != nil {
			t.Error(err)
		}
	}()
	raw, ok := p.rawOf(conn)
	if !ok {
		t.Fatal("a TCP connection without a descriptor")
	}
	s := &Socket{conn: conn, raw: raw, fd: -1}
	p.remove(s)
	s.state = socketGone
	if err := p.add(s); err != nil {
		t.Fatal(err)
	}
	for fd, held := range p.sockets {
		if held != nil {
			t.Errorf("the poller holds a socket that is gone, at %d", fd)
		}
	}
}
