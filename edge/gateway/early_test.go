//go:build unix

package gateway_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client need not wait for the answer to its handshake before it sends its first frames: what
// reads ahead, the guard of requests, net/http or its buffer, must hand all of it on. The bytes are
// cut at every place around the border.
func TestFramesRightBehindTheHandshakeAreNotLost(t *testing.T) {
	const head = "GET /rtm HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: lc.protobuf2.3\r\n\r\n"
	login := masked(0x82, build(open("Tom", 1, nil)))
	ask := masked(0x82, build(query(2, "Tom")))
	// Big enough that no buffer of a few KiB takes all at once.
	filler := masked(0x82, build(message{fCmd: 14, fI: 3, 100: strings.Repeat("x", 7000)}))
	all := append(append(append([]byte(head), login...), ask...), filler...)
	w := newWorld(t, settings{})
	p := startProcess(t, "ROLLCALL_GATEWAY_CONNECT_RATE=0")
	for name, addr := range map[string]string{"net/http alone": strings.TrimPrefix(w.server.URL, "http://"), "the binary": p.addr} {
		t.Run(name, func(t *testing.T) {
			for _, cut := range []int{len(head) - 4, len(head) - 1, len(head), len(head) + 1, len(head) + 6, len(head) + len(login), len(all)} {
				playEarly(t, addr, all, cut)
			}
		})
	}
}

func playEarly(t *testing.T, addr string, all []byte, cut int) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(all[:cut]); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(all[cut:]); err != nil {
		t.Fatal(err)
	}
	r := &raw{t: t, conn: conn, r: bufio.NewReader(conn)}
	resp, err := http.ReadResponse(r.r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("cut at %d: the handshake was answered %v, %v", cut, resp, err)
	}
	for i, want := range []int64{opOpened, opResult, 0} {
		_, payload, err := r.frame()
		if err != nil {
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				t.Fatalf("cut at %d: closed instead of answer %d", cut, i)
			}
			t.Fatalf("cut at %d: answer %d: %v", cut, i, err)
		}
		if m := parse(t, payload); m.number(fOp) != want {
			t.Errorf("cut at %d: answer %d is %v", cut, i, m)
		}
	}
}
