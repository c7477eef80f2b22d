package redistest_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"rollcall/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServerKeepsItsAddressOverAKill(t *testing.T) {
	s := redistest.Run(t)
	s.Do(t, "SET", "a", "1")
	before := s.Info(t, "server", "run_id")
	s.Kill()
	if _, err := s.Try("PING"); err == nil {
		t.Fatal("a killed server answers")
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	if got := s.Do(t, "GET", "a"); got != nil {
		t.Errorf("a server without persistence came back with %v", got)
	}
	if after := s.Info(t, "server", "run_id"); after == before {
		t.Errorf("the run id is still %s", after)
	}
}

func TestClusterComesTogether(t *testing.T) {
	c := redistest.RunCluster(t, 3, true)
	if n := len(c.Primaries()); n != 3 {
		t.Errorf("%d of 6 servers are primaries, want 3", n)
	}
}

func TestSentinelsKnowTheirPrimary(t *testing.T) {
	s := redistest.RunSentinels(t, 2)
	p, err := s.Primary()
	if err != nil {
		t.Fatal(err)
	}
	if p != s.Servers[0] {
		t.Errorf("the primary is %s, want %s", p.Addr, s.Servers[0].Addr)
	}
}

func TestProxy(t *testing.T) {
	s := redistest.Run(t)
	p := redistest.RunProxy(t, s.Addr)
	p.Slice(1)
	c, err := redistest.Dial(p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v, err := c.Do("PING"); v != "PONG" {
		t.Fatalf("through one-byte slices: %v, %v", v, err)
	}
	if got := p.Sliced(); got < int64(len("+PONG\r\n")) {
		t.Errorf("%d slices were cut", got)
	}
	p.Slice(0)
	p.Delay(20 * time.Millisecond)
	begun := time.Now()
	if v, err := c.Do("PING"); v != "PONG" {
		t.Fatalf("with a delay: %v, %v", v, err)
	}
	if took, n := time.Since(begun), p.Delayed(); took < 40*time.Millisecond || n != 2 {
		t.Errorf("there and back took %v, and %d chunks waited", took, n)
	}
	p.Delay(0)
	p.Freeze()
	answered := make(chan any, 1)
	go func() {
		v, _ := c.Do("PING")
		answered <- v
	}()
	select {
	case v := <-answered:
		t.Fatalf("a frozen proxy passed %v", v)
	case <-time.After(50 * time.Millisecond):
	}
	p.Thaw()
	if v := <-answered; v != "PONG" {
		t.Fatalf("after the thaw: %v", v)
	}
	if n := p.Cut(); n != 1 {
		t.Errorf("cut %d connections, want 1", n)
	}
	if _, err := c.Do("PING"); err == nil {
		t.Error("a cut connection answers")
	}
}

func TestOverTLS(t *testing.T) {
	k, err := redistest.RunCA(t).TLS()
	if err != nil {
		t.Fatal(err)
	}
	k.Clients = true
	t.Run("a cluster", func(t *testing.T) {
		c, err := k.NewCluster(3, false)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if n := len(c.Primaries()); n != 3 {
			t.Errorf("%d of 3 servers are primaries", n)
		}
		plain, err := redistest.Dial(c.Servers[0].Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		if v, err := plain.Do("PING"); err == nil {
			t.Errorf("without TLS it answers %v", v)
		}
	})
	t.Run("sentinels", func(t *testing.T) {
		s, err := k.NewSentinels(1)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if p, err := s.Primary(); err != nil || p != s.Servers[0] {
			t.Errorf("the primary is %v, %v", p, err)
		}
	})
}
