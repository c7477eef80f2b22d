//go:build linux

package sse

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"

	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/watch"
)

// What the kernel does not take at once of a frame is written behind it, and nothing is sent in
// between.
func TestAFrameThatDoesNotFitIsFinished(t *testing.T) {
	for _, chunked := range []bool{true, false} {
		t.Run(fmt.Sprint("chunked ", chunked), func(t *testing.T) {
			ours, theirs := pair(t)
			raw, err := ours.SyscallConn()
			if err != nil {
				t.Fatal(err)
			}
			s := &stream{
				Door: &Door{cfg: DefaultConfig()}, caller: &api.Caller{}, chunked: chunked,
				form: formOf(presence.DetailBrief, chunked),
				rc:   http.NewResponseController(httptest.NewRecorder()), queue: queue{ours, raw, true},
			}
			peer := strings.Repeat("long", 4<<20) // more than two kernels hold
			batch := func(peer string) *watch.Batch {
				return &watch.Batch{Kind: watch.Change, Updates: []*watch.Update{{Peer: presence.PeerID(peer), Status: presence.Online}}}
			}
			want := ""
			for _, p := range []string{"tom", "ann"} {
				if push := (*pusher)(s); !push.Ready() || !push.Push(batch(p)) {
					t.Fatalf("%s was not told", p)
				}
				want += "event: change\ndata: {\"peers\":[{\"peer\":\"" + p + "\",\"status\":\"online\"}]}\n\n"
			}
			if (*pusher)(s).Push(batch(peer)) || (*pusher)(s).Ready() {
				t.Fatal("16 MiB fit into a socket")
			}
			want += "event: change\ndata: {\"peers\":[{\"peer\":\"" + peer + "\",\"status\":\"online\"}]}\n\n"
			finished := make(chan error, 1)
			go func() {
				err := s.finish()
				if err == nil {
					_, err = ours.Write([]byte("0\r\n\r\n"))
				}
				_ = ours.Close()
				finished <- err
			}()
			got, err := io.ReadAll(theirs)
			if err != nil {
				t.Fatal(err)
			}
			if err := <-finished; err != nil {
				t.Fatal(err)
			}
			if chunked {
				if got, err = io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(got))); err != nil {
					t.Fatal(err)
				}
			} else {
				want += "0\r\n\r\n"
			}
			if string(got) != want {
				t.Errorf("%d bytes came, %d were told", len(got), len(want))
			}
		})
	}
}

// A reader that is gone ends the stream with the next write.
func TestAReaderThatIsGone(t *testing.T) {
	ours, _ := pair(t)
	raw, err := ours.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = ours.CloseWrite()
	s := &stream{Door: &Door{cfg: DefaultConfig()}, caller: &api.Caller{}, form: formOf(presence.DetailBrief, false), queue: queue{ours, raw, true}}
	if (*pusher)(s).Push(&watch.Batch{Kind: watch.Mark}) || (*pusher)(s).Ready() {
		t.Error("a mark was told")
	}
	if err := s.finish(); err == nil || reasonOf(err) != watch.ReasonGone {
		t.Errorf("it ends with %v", err)
	}
}

// pair returns the two ends of a connection.
func pair(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialled, err := net.DialTimeout("tcp", l.Addr().String(), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = dialled.Close(), accepted.Close() })
	return accepted.(*net.TCPConn), dialled.(*net.TCPConn)
}
