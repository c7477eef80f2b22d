package tlsport

import (
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

// A listener encrypts what it accepts.
type listener struct {
	net.Listener
	cfg *tls.Config
}

// Listen returns a listener of the connections of l, encrypted. The handshake is part of the first
// read of a connection and has its deadline.
func Listen(l net.Listener, cfg *tls.Config) net.Listener { return &listener{l, cfg} }

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	b := &below{Conn: c}
	return &Conn{tls.Server(b, l.cfg), b}, nil
}

// A Conn is an encrypted connection.
type Conn struct {
	*tls.Conn
	below *below
}

// Unwrap returns the connection that carries c.
func (c *Conn) Unwrap() net.Conn { return c.below }

// SetWriteBuffer bounds what the kernel holds for the client.
func (c *Conn) SetWriteBuffer(n int) error {
	for below := c.below.Conn; ; {
		switch t := below.(type) {
		case interface{ SetWriteBuffer(int) error }:
			return t.SetWriteBuffer(n)
		case interface{ Unwrap() net.Conn }:
			below = t.Unwrap()
		default:
			return nil
		}
	}
}

// Close says goodbye when the kernel has room for it, and closes the connection.
func (c *Conn) Close() error {
	c.below.closing.Store(true)
	return c.Conn.Close()
}

// goodbye is how long the last record may wait for the kernel. [tls.Conn] waits 5 s, and one that
// closes thousands of stalled connections in a row cannot.
const goodbye = 5 * time.Millisecond

// below is what carries an encrypted connection.
type below struct {
	net.Conn
	closing atomic.Bool
}

// Unwrap returns the connection that was accepted.
func (b *below) Unwrap() net.Conn { return b.Conn }

// SetWriteDeadline implements net.Conn.
func (b *below) SetWriteDeadline(t time.Time) error {
	if soon := time.Now().Add(goodbye); b.closing.Load() && t.After(soon) {
		t = soon
	}
	return b.Conn.SetWriteDeadline(t)
}
