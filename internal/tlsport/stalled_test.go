package tlsport

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/fastlane"
)

// pipes is a listener of connections within the process.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// A mute connection loses what is written after the first times.
type mute struct {
	net.Conn
	writes int
}

func (m *mute) Write(b []byte) (int, error) {
	if m.writes--; m.writes < 0 {
		return len(b), nil
	}
	return m.Conn.Write(b)
}

// A handshake that stalls ends with the time for a head, wherever it stalls.
func TestAHandshakeThatStallsEnds(t *testing.T) {
	const patience = 5 * time.Second
	cert, key := write(t, t.TempDir(), 4e9)
	pair, err := Load(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	shake := func(writes int, most uint16) func(net.Conn) {
		return func(c net.Conn) {
			client := tls.Client(&mute{Conn: c, writes: writes}, &tls.Config{InsecureSkipVerify: true, MaxVersion: most})
			_ = client.Handshake()
			_, _ = io.Copy(io.Discard, client)
		}
	}
	drip := func(c net.Conn) {
		for _, b := range []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03") {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	}
	for name, stall := range map[string]func(net.Conn){
		"silence":                       func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"a byte a second":               drip,
		"before the hello":              shake(0, tls.VersionTLS13),
		"after the hello":               shake(1, tls.VersionTLS13),
		"after the hello of TLS 1.2":    shake(1, tls.VersionTLS12),
		"after the handshake, no head":  shake(100, tls.VersionTLS13),
		"after the handshake of TLS 12": shake(100, tls.VersionTLS12),
	} {
		synctest.Test(t, func(t *testing.T) {
			port := make(pipes)
			lane := fastlane.Listen(make(pipes), fastlane.Config{HeaderTimeout: patience}, Listen(port, pair.Config()))
			lane.Open(fastlane.Routes{})
			ours, theirs := net.Pipe()
			begin := time.Now()
			port <- theirs
			stall(ours)
			if took := time.Since(begin); took > patience+time.Second {
				t.Errorf("%s: ended after %v", name, took)
			}
			_ = lane.Close()
			_ = lane.Shutdown(t.Context())
		})
	}
}
