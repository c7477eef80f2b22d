package feed_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"rollcall/feed"
	"rollcall/presence"
)

func TestChangesComeOnceEachTheLatest(t *testing.T) {
	bubble(t, feed.DefaultConfig(), func(t *testing.T, h *house) {
		c := h.client()
		h.report(on, "tom", "1")
		c.expect(time.Second, "tom=online")
		c.expect(time.Second, "")
		h.report(on, "ann", "1")
		h.report(off, "tom", "1", logout)
		h.report(on, "tom", "2")
		h.report(off, "tom", "2", logout)
		time.Sleep(time.Second)
		if got := c.read(1, 0); got != "ann=online more" && got != "tom=offline more" {
			t.Errorf("the first of two is %q", got)
		}
		if got := c.read(1, 0); got != "ann=online" && got != "tom=offline" {
			t.Errorf("the second of two is %q", got)
		}
		c.expect(time.Second, "")
		h.reportOf(other, on, "ann", "1")
		c.expect(time.Second, "")
	})
}

func TestReadWaitsForAChange(t *testing.T) {
	bubble(t, feed.DefaultConfig(), func(t *testing.T, h *house) {
		c := h.client()
		go func() {
			time.Sleep(20 * time.Second)
			h.report(on, "tom", "1")
		}()
		begun := time.Now()
		c.expect(time.Minute, "tom=online")
		if took := time.Since(begun); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("it came after %v", took)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := h.feed.Read(ctx, app, c.cursor, 1, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a read whose caller went away ends with %v", err)
		}
	})
}

func TestALossIsShownWhenItsHoldIsOver(t *testing.T) {
	bubble(t, feed.DefaultConfig(), func(t *testing.T, h *house) {
		c := h.client()
		h.report(on, "tom", "1")
		c.expect(time.Second, "tom=online")
		h.report(off, "tom", "1", lost(10*time.Second))
		c.expect(9*time.Second, "")
		c.expect(2*time.Second, "tom=offline")

		h.report(on, "tom", "2")
		c.expect(time.Second, "tom=online")
		h.report(off, "tom", "2", lost(time.Minute))
		c.expect(5*time.Second, "")
		// A reader that lists now sees it offline, and must be given the return.
		late := h.client()
		late.expect(40*time.Second, "")
		h.report(on, "tom", "3")
		late.expect(time.Second, "tom=online")
		late.expect(20*time.Second, "")
		c.expect(20*time.Second, "")
	})
}

func TestALeaseThatRunsOutIsAChange(t *testing.T) {
	bubble(t, feed.DefaultConfig(), func(t *testing.T, h *house) {
		c := h.client()
		h.report(on, "tom", "1", lease(10*time.Second))
		c.expect(time.Second, "tom=online")
		for range 20 {
			time.Sleep(time.Second)
			h.sweep()
		}
		c.expect(time.Second, "tom=offline")
		if err := h.Erase(context.Background(), []presence.Key{{App: app, Peer: "tom"}}, now()); err != nil {
			t.Fatal(err)
		}
		c.expect(time.Second, "tom=unknown")
	})
}

func TestBehindItsMemoryAReaderListsAgain(t *testing.T) {
	cfg := feed.DefaultConfig()
	cfg.Peers = 10
	bubble(t, cfg, func(t *testing.T, h *house) {
		c := h.client()
		for i := range 10 {
			h.report(on, fmt.Sprint("p", i), "1")
		}
		time.Sleep(time.Second)
		near := *c
		if got := near.read(1, 0); got[len(got)-len(" more"):] != " more" {
			t.Errorf("the first of ten is %q", got)
		}
		h.report(on, "q", "1") // forgets one that near was given
		time.Sleep(time.Second)
		if n := len(near.read(100, 0)); n < 9*len("p0=online ") {
			t.Errorf("ten changes are %d bytes", n)
		}
		c.expect(0, "list")
		c.expect(0, "")
		for i := range 11 { // at once more than it may hold
			h.report(off, fmt.Sprint("p", i), "1", lost(time.Minute))
			h.report(on, fmt.Sprint("r", i), "1")
		}
		c.expect(time.Second, "list")
		near.expect(0, "list")
	})
}

func TestACursorGoesOnAtAnotherNode(t *testing.T) {
	bubble(t, feed.DefaultConfig(), func(t *testing.T, h *house) {
		second := h.newFeed(feed.DefaultConfig())
		defer second.Close()
		second.Keep(app)
		time.Sleep(time.Minute)
		c := h.client()
		h.report(on, "tom", "1")
		c.expect(time.Second, "tom=online")
		time.Sleep(time.Minute)
		c.expect(0, "") // its horizon moves on
		h.report(on, "ann", "1")
		time.Sleep(time.Second)
		c.of = second
		c.expect(0, "ann=online")
		c.expect(0, "")
		c.of = h.feed // of the time before its last read there
		c.expect(0, "ann=online")
		for range 5 { // as behind a balancer
			c.of = second
			c.expect(0, "")
			c.of = h.feed
			c.expect(0, "")
		}

		third := h.newFeed(feed.DefaultConfig())
		defer third.Close()
		c.of = third
		c.expect(0, "list")
		h.report(on, "joe", "1")
		c.expect(time.Second, "joe=online")
	})
}

func TestAnOutageIsNoChange(t *testing.T) {
	bubble(t, feed.DefaultConfig(), func(t *testing.T, h *house) {
		c := h.client()
		h.report(on, "tom", "1")
		c.expect(time.Second, "tom=online")
		h.store.since.Store(time.Now().UnixNano())
		time.Sleep(10 * time.Second)
		p, err := h.feed.Read(context.Background(), app, c.cursor, 10, 10*time.Second)
		if err != nil || len(p.Changes) > 0 || p.ListAgain || p.Age < 10*time.Second {
			t.Errorf("in an outage a read returns %+v, %v", p, err)
		}
		h.report(off, "tom", "1", logout)
		c.expect(10*time.Second, "")
		h.store.mend()
		c.expect(time.Second, "list")
		c.expect(time.Second, "")
	})
}

func TestARegisterThatIsNotReadEnds(t *testing.T) {
	cfg := feed.DefaultConfig()
	cfg.Keep = time.Minute
	bubble(t, cfg, func(t *testing.T, h *house) {
		h.report(on, "tom", "1")
		if n := h.feed.Counts()["registers"]; n != 0 {
			t.Errorf("%d registers before anybody reads", n)
		}
		c := h.client()
		time.Sleep(30 * time.Second)
		c.expect(50*time.Second, "")
		time.Sleep(50 * time.Second)
		c.expect(0, "")
		time.Sleep(2 * time.Minute)
		if n := h.feed.Counts()["registers"]; n != 0 {
			t.Errorf("%d registers after nobody reads", n)
		}
		c.expect(0, "list")
		go func() {
			time.Sleep(time.Second)
			h.feed.Drop(app)
		}()
		if _, err := h.feed.Read(context.Background(), app, c.cursor, 1, time.Minute); !errors.Is(err, feed.ErrGone) {
			t.Errorf("a read of an app that is no more ends with %v", err)
		}
	})
}

func FuzzParseCursor(f *testing.F) {
	f.Add("")
	f.Add("AQAAAAAAAAABAAAAAAAAAAIAAAAAAAAAAwAAAAAAAAAEAAAAAAAAAAUAAAAAAAAABg")
	f.Fuzz(func(t *testing.T, s string) {
		c, err := feed.ParseCursor(s)
		if err == nil && c.String() != s && !c.IsZero() {
			t.Fatalf("%q is read and written as %q", s, c.String())
		}
		if err != nil && (!errors.Is(err, feed.ErrCursor) || !errors.Is(err, presence.ErrInvalid)) {
			t.Fatal(err)
		}
	})
}
