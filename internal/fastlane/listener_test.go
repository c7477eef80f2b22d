package fastlane_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/fastlane"
	"rollcall/internal/framing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A port is a listener in memory, so that its deadlines run on the fake clock of a bubble.
type port struct {
	conns chan net.Conn
	done  chan struct{}
	fails atomic.Int64
}

func newPort() *port { return &port{conns: make(chan net.Conn), done: make(chan struct{})} }

type passing struct{ error }

func (passing) Temporary() bool { return true }

func (p *port) Accept() (net.Conn, error) {
	if p.fails.Add(-1) >= 0 {
		return nil, passing{errors.New("too many open files")}
	}
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *port) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *port) Addr() net.Addr { return &net.TCPAddr{} }

func (p *port) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

const ask = "POST /hot HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"

// start runs a lane for "POST /hot" in front of a server that says "slow".
func start(t *testing.T, open bool, answer func(r *fastlane.Request, out []byte) ([]byte, bool, bool)) (*port, *fastlane.Listener) {
	t.Helper()
	p := newPort()
	lane := fastlane.Listen(p, fastlane.Config{
		HeaderTimeout: 5 * time.Second, BodyTimeout: 10 * time.Second, IdleTimeout: time.Minute, WriteTimeout: 10 * time.Second,
	})
	if answer == nil {
		answer = func(r *fastlane.Request, out []byte) ([]byte, bool, bool) {
			return fmt.Appendf(out, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(r.Body), r.Body), string(r.Body) == "by", true
		}
	}
	if open {
		lane.Open(fastlane.Routes{Targets: []string{"POST /hot"}, MaxBody: 1000, Answer: answer})
	}
	srv := &http.Server{
		ConnState: framing.ConnState, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.ReadAll(r.Body); err != nil {
				w.WriteHeader(http.StatusRequestTimeout)
				return
			}
			_, _ = io.WriteString(w, "slow")
		}),
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = srv.Serve(lane)
	}()
	t.Cleanup(func() {
		if err := lane.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		_ = srv.Close()
		<-served
	})
	return p, lane
}

func say(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func answered(t *testing.T, r *bufio.Reader, status int, want string) {
	t.Helper()
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || string(body) != want {
		t.Fatalf("got %d %q, %v; want %d %q", resp.StatusCode, body, err, status, want)
	}
}

// ends returns after how long the server closes c, which says nothing more.
func ends(t *testing.T, c net.Conn) time.Duration {
	t.Helper()
	start := time.Now()
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("got %q, %v", b, err)
	}
	return time.Since(start)
}

func TestConnectionsGoTheirWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lane := start(t, true, nil)
		c := p.dial()
		defer c.Close()
		r := bufio.NewReader(c)
		for range 3 {
			say(t, c, ask)
			answered(t, r, 200, "hi")
		}
		say(t, c, "GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
		answered(t, r, 200, "slow")
		say(t, c, ask) // the connection is net/http's now
		answered(t, r, 200, "slow")
		if answered, handed := lane.Stats(); answered != 3 || handed != 1 {
			t.Errorf("%d answered, %d handed over", answered, handed)
		}
		last := p.dial()
		defer last.Close()
		say(t, last, strings.Replace(ask, "hi", "by", 1))
		answered(t, bufio.NewReader(last), 200, "by")
		if after := ends(t, last); after != 0 {
			t.Errorf("the connection ended after %v", after)
		}
	})
}

func TestBeforeOpenEverythingIsNetHTTPs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lane := start(t, false, nil)
		c := p.dial()
		defer c.Close()
		say(t, c, ask)
		answered(t, bufio.NewReader(c), 200, "slow")
		if answered, handed := lane.Stats(); answered != 0 || handed != 1 {
			t.Errorf("%d answered, %d handed over", answered, handed)
		}
	})
}

func TestDeadlines(t *testing.T) {
	tests := []struct {
		name     string
		before   string // answered first
		text     string
		from, to time.Duration
	}{
		{"a new connection that says nothing", "", "", 5 * time.Second, 5 * time.Second},
		{"a new connection that stops in the head", "", "POST /hot HTT", 5 * time.Second, 5 * time.Second},
		{"an idle connection", ask, "", 55 * time.Second, time.Minute},
		{"a later head that stops", ask, "POST /hot HTTP/1.1\r\nHo", 5 * time.Second, 5 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := start(t, true, nil)
				c := p.dial()
				defer c.Close()
				if tt.before != "" {
					for range 20 { // the deadline moves with the requests
						say(t, c, tt.before)
						answered(t, bufio.NewReader(c), 200, "hi")
						time.Sleep(20 * time.Second)
					}
					say(t, c, tt.before)
					answered(t, bufio.NewReader(c), 200, "hi")
				}
				if tt.text != "" {
					say(t, c, tt.text)
				}
				if after := ends(t, c); after < tt.from || after > tt.to {
					t.Errorf("ended after %v, want %v to %v", after, tt.from, tt.to)
				}
			})
		})
	}
}

func TestSlowBodyIsNetHTTPsToRefuse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := start(t, true, nil)
		c := p.dial()
		defer c.Close()
		begin := time.Now()
		say(t, c, ask[:len(ask)-1])
		answered(t, bufio.NewReader(c), http.StatusRequestTimeout, "")
		if took := time.Since(begin); took != 10*time.Second {
			t.Errorf("refused after %v, want the time for a body once, not twice", took)
		}
	})
}

func TestAnAnswerThatIsNotReadEndsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lane := start(t, true, nil)
		c := p.dial()
		defer c.Close()
		say(t, c, ask)
		time.Sleep(30 * time.Second) // a pipe holds nothing, so the answer waits
		if _, err := io.WriteString(c, ask); err == nil {
			t.Error("the connection is still read")
		}
		if answered, _ := lane.Stats(); answered != 1 {
			t.Error(answered)
		}
	})
}

func TestShutdownLetsARequestUnderWayHaveItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lane := start(t, true, func(r *fastlane.Request, out []byte) ([]byte, bool, bool) {
			time.Sleep(3 * time.Second)
			return append(out, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"...), false, true
		})
		quiet, working := p.dial(), p.dial()
		defer quiet.Close()
		defer working.Close()
		say(t, working, ask)
		answered(t, bufio.NewReader(working), 200, "ok")
		say(t, quiet, ask)
		answered(t, bufio.NewReader(quiet), 200, "ok")
		synctest.Wait()
		say(t, working, ask)
		synctest.Wait()
		stopped := make(chan time.Duration)
		begin := time.Now()
		go func() {
			if err := lane.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			stopped <- time.Since(begin)
		}()
		if after := ends(t, quiet); after != 0 {
			t.Errorf("the idle connection ended after %v", after)
		}
		answered(t, bufio.NewReader(working), 200, "ok")
		if took := <-stopped; took != 3*time.Second {
			t.Errorf("stopped after %v", took)
		}
	})
}

func TestShutdownCutsWhatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, lane := start(t, true, nil)
		c := p.dial()
		defer c.Close()
		say(t, c, ask[:20])
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := lane.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestAcceptErrorsThatPassAreWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPort()
		p.fails.Store(8)
		lane := fastlane.Listen(p, fastlane.Config{})
		go func() {
			c := p.dial()
			_ = c.Close()
		}()
		begin := time.Now()
		c, err := lane.Accept()
		if err != nil || time.Since(begin) != 1275*time.Millisecond {
			t.Errorf("accepted after %v: %v", time.Since(begin), err)
		}
		_ = c.Close()
		if err := lane.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if _, err := lane.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// Each head has its own time, also when it begins in the same packet as the request before it.
func TestEachPipelinedHeadHasItsOwnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := start(t, true, nil)
		c := p.dial()
		defer c.Close()
		r := bufio.NewReader(c)
		const part = 20
		say(t, c, ask+ask[:part])
		for range 5 {
			answered(t, r, 200, "hi")
			time.Sleep(4 * time.Second) // of five
			say(t, c, ask[part:]+ask[:part])
		}
		answered(t, r, 200, "hi")
		if after := ends(t, c); after != 5*time.Second {
			t.Errorf("a head that does not end is cut after %v", after)
		}
	})
}
