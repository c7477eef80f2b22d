package conns

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/wake"
)

func newPace() *pace { return &pace{round: 1, settled: wake.NewSignal()} }

func TestFreshConnectionsWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		start := time.Now()
		rounds := make([]uint32, maxFresh)
		for i := range rounds {
			p.wait()
			rounds[i] = p.begin()
		}
		go func() {
			time.Sleep(patience / 2)
			p.end(rounds[0])
		}()
		p.wait()
		if d := time.Since(start); d != patience/2 {
			t.Errorf("one more came after %v, and room after %v", d, patience/2)
		}
		p.begin()
		p.wait() // none settles
		if d := time.Since(start); d != patience/2+patience {
			t.Errorf("beside connections that stay fresh one more came after %v", d)
		}
		for _, round := range rounds[1:] {
			p.end(round) // of the earlier round
		}
		if p.fresh != 0 {
			t.Errorf("%d connections are fresh in a new round", p.fresh)
		}
	})
}

func TestRoundsAreNeitherSettledNorClosed(t *testing.T) {
	p := newPace()
	p.round = closed - 1
	for range 3 {
		p.renew()
		if p.round == settled || p.round == closed {
			t.Fatalf("round %d", p.round)
		}
	}
}

// A connection is fresh until it waits for its client, is idle, or ends; and again when it is
// handed over.
func TestAConnectionIsFreshUntilItWaits(t *testing.T) {
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := Listen(n, Config{Max: 10})
	defer l.Close()
	open := func() (net.Conn, *Conn) {
		client, err := net.Dial("tcp", n.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = client.Close() })
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return client, c.(*Conn)
	}
	fresh := func(want int, when string) {
		t.Helper()
		l.pace.mu.Lock()
		defer l.pace.mu.Unlock()
		if l.pace.fresh != want {
			t.Errorf("%s: %d connections are fresh, want %d", when, l.pace.fresh, want)
		}
	}
	client, c := open()
	fresh(1, "after Accept")
	read := make(chan error)
	go func() {
		_, err := c.Read(make([]byte, 10))
		read <- err
	}()
	for deadline := time.Now().Add(time.Minute); c.state.Load() != settled && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	fresh(0, "while it waits for its client")
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err != nil {
		t.Fatal(err)
	}
	c.Enter()
	fresh(1, "handed over")
	c.Enter()
	fresh(1, "handed over twice")
	c.Idle()
	fresh(0, "after its answer")
	_, c = open()
	fresh(1, "another")
	_ = c.Close()
	_ = c.Close()
	fresh(0, "closed twice")
	c.Enter()
	fresh(0, "handed over when closed")
}
