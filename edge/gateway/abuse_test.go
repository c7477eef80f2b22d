package gateway_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"rollcall/edge/gateway"
	"rollcall/presence"
)

// A raw is a TCP connection past the handshake, for frames that no library sends.
type raw struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	head http.Header
}

func (w *world) raw(t *testing.T, extra string) *raw {
	t.Helper()
	r, err := dialRaw(t, strings.TrimPrefix(w.server.URL, "http://"), extra, patience)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// dialRaw does the handshake by hand, within limit.
func dialRaw(t *testing.T, addr, extra string, limit time.Duration) (*raw, error) {
	conn, err := net.DialTimeout("tcp", addr, limit)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	var key [16]byte
	_, _ = rand.Read(key[:])
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: lc.protobuf2.3\r\n%s\r\n",
		base64.StdEncoding.EncodeToString(key[:]), extra)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("the handshake was answered %s", resp.Status)
	}
	return &raw{t, conn, r, resp.Header}, nil
}

// masked is a client's frame with a mask of zeros.
func masked(head byte, payload []byte) []byte {
	b := []byte{head}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xFFFF:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

func (r *raw) write(b []byte) error {
	_, err := r.conn.Write(b)
	return err
}

// frame reads the server's next frame.
func (r *raw) frame() (op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	if n == 126 {
		var l [2]byte
		if _, err := io.ReadFull(r.r, l[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(l[:]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r.r, payload)
	return head[0] & 0x0f, payload, err
}

// closeCode reads on to the server's close frame.
func (r *raw) closeCode() int {
	r.t.Helper()
	for {
		op, payload, err := r.frame()
		if err != nil {
			r.t.Fatalf("no close frame: %v", err)
		}
		if op == 8 && len(payload) >= 2 {
			return int(binary.BigEndian.Uint16(payload))
		}
	}
}

// Each abuse has its answer and its counter.
func TestAbuseHasItsAnswerAndItsCounter(t *testing.T) {
	flood := func(frame []byte, n int) []byte { return bytes.Repeat(frame, n) }
	tests := []struct {
		name    string
		login   bool
		send    []byte
		code    int
		counter string
	}{
		{"a text frame on a binary protocol", false, masked(0x81, []byte("{}")), 1003, "type"},
		{"a frame without a mask", false, []byte{0x82, 1, 'x'}, 1002, "frame"},
		{"reserved bits, as compression sets them", false, masked(0xC2, []byte("x")), 1002, "frame"},
		{"fragments of one byte for ever", true, append(masked(0x02, []byte("x")), flood(masked(0x00, []byte("x")), 5000)...), 1008, "frame"},
		{"empty fragments for ever", false, append(masked(0x02, nil), flood(masked(0x00, nil), 5000)...), 1008, "frame"},
		{"a control frame of 126 bytes", false, masked(0x89, make([]byte, 126)), 1002, "frame"},
		{"a close with a code that may not be sent", false, masked(0x88, []byte{0x03, 0xED}), 1002, "frame"},
		{"8 KiB and a byte before the login", false, masked(0x82, make([]byte, 8<<10+1)), 4109, "size"},
		{"64 KiB and a byte after it", true, masked(0x82, make([]byte, 64<<10+1)), 4109, "size"},
		{"the beginning of a frame of an exabyte", true, []byte{0x82, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 4109, "size"},
		{"a flood of pings", false, flood(masked(0x89, nil), 100), 1008, "controls"},
		{"a flood of pongs", true, flood(masked(0x8A, nil), 100), 1008, "controls"},
		{"a flood of heartbeats", true, flood(masked(0x82, build(message{fCmd: 14})), 1000), 1008, "messages"},
		{"bytes that are no command", false, masked(0x82, []byte{0xff, 0xff, 0xff}), 4114, "message"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, settings{})
			r := w.raw(t, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
			if r.head.Get("Sec-WebSocket-Extensions") != "" {
				t.Error("compression is negotiated")
			}
			if tt.login {
				if err := r.write(masked(0x82, build(open("Tom", 1, nil)))); err != nil {
					t.Fatal(err)
				}
				if _, _, err := r.frame(); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.write(tt.send); err != nil {
				t.Fatal(err)
			}
			if got := r.closeCode(); got != tt.code {
				t.Errorf("closed with %d, want %d", got, tt.code)
			}
			if n := w.gw.Stats().Refused[tt.counter]; n == 0 {
				t.Errorf("%q is not counted: %v", tt.counter, w.gw.Stats().Refused)
			}
			if tt.login {
				w.until("Tom is offline", func() bool { return w.status("Tom") == presence.Offline })
			}
			_ = r.conn.Close()
			w.until("the socket is gone", func() bool { return w.gw.Stats().Sockets == 0 })
		})
	}
}

func TestCommandsBeyondTheRateAreRefusedByNumber(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.protobuf2.3")
	c.login("Tom", nil)
	for i := range 200 {
		c.send(build(message{fCmd: 14, fI: i}))
	}
	served, refused := 0, 0
	for range 200 {
		switch a := parse(t, c.receive()); {
		case a.number(fCmd) == 14:
			served++
		case a.code() == 4116:
			refused++
		}
	}
	if served < 99 || refused < 50 || served+refused != 200 {
		t.Errorf("%d served and %d refused with 4116, of 200 at once", served, refused)
	}
	if n := w.gw.Stats().Refused["messages"]; n != int64(refused) {
		t.Errorf("%d counted, %d refused", n, refused)
	}
	if w.status("Tom") != presence.Online {
		t.Error("Tom lost his session for it")
	}
}

func TestAClientThatNeverReadsIsEnded(t *testing.T) {
	w := newWorld(t, settings{gateway: func(c *gateway.Config) { c.MessageRate = 1e6 }})
	r := w.raw(t, "")
	if err := r.write(masked(0x82, build(open("Tom", 1, nil)))); err != nil {
		t.Fatal(err)
	}
	ask := masked(0x82, build(message{fCmd: 1, fI: 7, fSession: message{}}))
	for range 1_000_000 {
		if r.write(ask) != nil {
			break // ended
		}
		if w.gw.Stats().Refused["slow"] > 0 {
			break
		}
	}
	w.until("the client is ended as slow", func() bool { return w.gw.Stats().Refused["slow"] == 1 })
	w.until("Tom is offline", func() bool { return w.status("Tom") == presence.Offline })
	w.until("the socket is gone", func() bool { return w.gw.Stats().Sockets == 0 })
}

func TestALoginFloodOnOneSocketIsRefused(t *testing.T) {
	w := newWorld(t, settings{gateway: func(c *gateway.Config) { c.MaxSessions = 3 }})
	c := w.dial("lc.protobuf2.3")
	for i := range 3 {
		c.login(fmt.Sprintf("u%d", i), nil)
	}
	for i := range 5 {
		if a := c.ask(open(fmt.Sprintf("v%d", i), 9, nil)); a.code() != 4113 {
			t.Errorf("login %d was answered by %v, want 4113", i, a)
		}
	}
	if n := w.gw.Stats().Refused["sessions"]; n != 5 {
		t.Errorf("counted %d times, want 5", n)
	}
}

func TestAWrongOriginIsRefused(t *testing.T) {
	w := newWorld(t, settings{gateway: func(c *gateway.Config) { c.Origins = []string{"https://app.example.com"} }})
	for _, tt := range []struct {
		origin string
		code   int64
	}{{"https://app.example.com", 0}, {"", 0}, {"https://evil.example.com", 4110}, {"null", 4110}} {
		header := http.Header{}
		if tt.origin != "" {
			header.Set("Origin", tt.origin)
		}
		c, err := w.tryDial("lc.protobuf2.3", header)
		if err != nil {
			t.Fatal(err)
		}
		if a := c.ask(open("Tom", 1, nil)); a.code() != tt.code {
			t.Errorf("origin %q was answered by %v, want code %d", tt.origin, a, tt.code)
		}
	}
	if n := w.gw.Stats().Refused["origin"]; n != 2 {
		t.Errorf("counted %d times, want 2", n)
	}
}

func TestTooManyConnectsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		set     func(*gateway.Config)
		status  string
		counter string
		open    int
	}{
		{"from one address", func(c *gateway.Config) { c.ConnectRate = 20 }, "429", "rate", 10},
		{"in all", func(c *gateway.Config) { c.MaxSockets = 10 }, "503", "full", 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, settings{gateway: tt.set})
			var open, refused int
			for range 30 {
				if _, err := w.tryDial("lc.protobuf2.3", nil); err == nil {
					open++
				} else if strings.Contains(err.Error(), tt.status) {
					refused++
				}
			}
			if open != tt.open || refused != 30-tt.open {
				t.Errorf("%d open and %d refused with %s, want %d and %d", open, refused, tt.status, tt.open, 30-tt.open)
			}
			if n := w.gw.Stats().Refused[tt.counter]; n != int64(refused) {
				t.Errorf("%d counted", n)
			}
		})
	}
}

func TestASocketCostsLittleBeforeItsLogin(t *testing.T) {
	const sockets = 400
	w := newWorld(t, settings{})
	// A message that is not finished, and a ping between its fragments: the pong says that it was
	// read.
	partial := append(masked(0x02, make([]byte, 8<<10-1)), masked(0x89, nil)...)
	before := memory()
	raws := make([]*raw, sockets)
	for i := range raws {
		raws[i] = w.raw(t, "")
		if err := raws[i].write(partial); err != nil {
			t.Fatal(err)
		}
		if op, _, err := raws[i].frame(); err != nil || op != 10 {
			t.Fatalf("frame %d, %v; want a pong", op, err)
		}
	}
	// The clients' halves, with their 4 KiB readers, are in it too.
	if each := (memory() - before) / sockets; each > 32<<10 {
		t.Errorf("%d bytes a socket that has sent all but one byte of the largest first message, want at most 32 KiB", each)
	} else if each < 8<<10 {
		t.Errorf("%d bytes a socket is less than it must hold: nothing was measured", each)
	}
	runtime.KeepAlive(raws)
}

func memory() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
