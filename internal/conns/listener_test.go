package conns_test

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"rollcall/internal/conns"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// a port accepts what it is dialled for, one at a time.
type port struct {
	testing.TB
	*conns.Listener
}

func open(t *testing.T, most int, proxies ...netip.Prefix) *port {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &port{t, conns.Listen(l, conns.Config{Max: most, Proxies: proxies, Refusal: []byte("no room")})}
}

// from dials from source and returns both ends; the server's is nil when it was refused.
func (p *port) from(source string) (client net.Conn, server net.Conn) {
	p.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	client, err := d.Dial("tcp", p.Addr().String())
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { _ = client.Close() })
	refused := p.Stats().Refused
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := p.Accept(); err == nil {
			accepted <- c
		}
	}()
	for {
		select {
		case server = <-accepted:
			p.Cleanup(func() { _ = server.Close() })
			return client, server
		case <-time.After(time.Millisecond):
			if p.Stats().Refused > refused {
				// Accept waits for the next one: let it have it.
				if other, err := net.Dial("tcp", p.Addr().String()); err == nil {
					_ = other.Close()
				}
				return client, nil
			}
		}
	}
}

// ended reports whether the server has closed c, for which it waits when it should have.
func ended(t *testing.T, c net.Conn, should bool) bool {
	t.Helper()
	patience := 50 * time.Millisecond
	if should {
		patience = time.Minute
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	_, err := c.Read(make([]byte, 1))
	return err == io.EOF
}

func TestTheLongestIdleMakesRoom(t *testing.T) {
	p := open(t, 4, netip.MustParsePrefix("127.0.0.0/8")) // named: held to the total alone
	var clients, servers []net.Conn
	for range 4 {
		c, s := p.from("127.0.0.1")
		clients, servers = append(clients, c), append(servers, s)
	}
	conns.MarkOf(servers[0]).Busy() // the oldest has work
	conns.MarkOf(servers[1]).Busy()
	conns.MarkOf(servers[1]).Idle() // and this one had, a moment ago
	if _, s := p.from("127.0.0.1"); s == nil {
		t.Fatal("a new one is refused while others are idle")
	}
	for i, want := range []bool{false, false, true, false} {
		if got := ended(t, clients[i], want); got != want {
			t.Errorf("connection %d is ended: %v, want %v", i, got, want)
		}
	}
	if st := p.Stats(); st.Open != 4 || st.Evicted != 1 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
	if st := p.Stats(); st.Idle != 3 {
		t.Errorf("one of four has work: %+v", st)
	}
	_ = servers[0].Close()
	_ = servers[0].Close()
	if st := p.Stats(); st.Open != 3 || st.Idle != 3 {
		t.Errorf("after one was closed twice: %+v", st)
	}
}

func TestAnAddressHasHalfOfWhatOthersLeave(t *testing.T) {
	p := open(t, 8)
	busy := func(source string) bool {
		c, s := p.from(source)
		if s == nil {
			b, err := io.ReadAll(c)
			if string(b) != "no room" {
				t.Errorf("a refused connection reads %q, %v", b, err)
			}
			return false
		}
		conns.MarkOf(s).Busy()
		return true
	}
	for i, tt := range []struct {
		source string
		want   bool
	}{
		{"127.0.0.2", true},
		{"127.0.0.2", true},
		{"127.0.0.2", true},
		{"127.0.0.2", true},
		{"127.0.0.3", true},
		{"127.0.0.3", true},
	} {
		if got := busy(tt.source); got != tt.want {
			t.Errorf("%d from %s: %v", i, tt.source, got)
		}
	}
	if busy("127.0.0.2") {
		t.Error("an address has more than half")
	}
}

func TestAMarkIsFoundBelowWrappers(t *testing.T) {
	if conns.MarkOf(&net.TCPConn{}) != nil {
		t.Error("a connection that is not bounded has a mark")
	}
}

func TestAnAdmittedConnectionIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(conns.Conn{}); size > 32 {
		t.Errorf("a connection has %d bytes beside its own; each silent socket keeps them", size)
	}
}

// A crowd is a port at which so many connections wait, and no more.
type crowd struct {
	net.Listener
	left int
}

func (c *crowd) Accept() (net.Conn, error) {
	if c.left--; c.left < 0 {
		return nil, net.ErrClosed
	}
	return inert{}, nil
}

// inert is a connection on which nothing waits.
type inert struct{ net.Conn }

func (inert) RemoteAddr() net.Addr              { return &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1)} }
func (inert) SetWriteDeadline(time.Time) error  { return nil }
func (inert) Write(b []byte) (n int, err error) { return len(b), nil }
func (inert) Close() error                      { return nil }

// However many wait, admitted or refused, what is under way has a turn for each.
func TestAcceptYieldsToWhatIsUnderWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const waiting = 1000
	for name, most := range map[string]int{"admitted": 4 * waiting, "refused": 0} {
		l := conns.Listen(&crowd{left: waiting}, conns.Config{Max: most})
		var turns int
		stop, gone := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(gone)
			for {
				select {
				case <-stop:
					return
				default:
					turns++
					runtime.Gosched()
				}
			}
		}()
		for {
			if _, err := l.Accept(); err != nil {
				break
			}
		}
		close(stop)
		<-gone
		if turns < waiting/10 {
			t.Errorf("%s: %d turns while %d connections were accepted", name, turns, waiting)
		}
	}
}
