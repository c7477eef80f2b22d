package feed_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rollcall/feed"
	"rollcall/presence"
	"rollcall/store/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	app   presence.AppID = "app"
	other presence.AppID = "other"
	on                   = presence.KindOnline
	off                  = presence.KindOffline
)

func now() presence.Millis { return presence.MillisOf(time.Now()) }

// cut is a store whose link can be cut: then it answers from what it knew, with an age.
type cut struct {
	presence.Store
	since atomic.Int64 // of the outage, in Unix nanoseconds; 0: none
	ears  map[int]func([]presence.Key)
	seq   int
}

func (c *cut) Age() time.Duration {
	if since := c.since.Load(); since != 0 {
		return max(time.Since(time.Unix(0, since)), time.Millisecond)
	}
	return 0
}

func (c *cut) AgeOf(presence.Key) time.Duration { return c.Age() }

func (c *cut) Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (time.Duration, error) {
	if age := c.Age(); age > 5*time.Second {
		return 0, fmt.Errorf("%w: cut", presence.ErrUnavailable)
	}
	_, err := c.Store.Summaries(ctx, keys, out)
	return c.Age(), err
}

// Listen passes no signal on while the link is cut.
func (c *cut) Listen(fn func([]presence.Key)) (stop func()) {
	n := c.seq
	c.seq++
	c.ears[n] = fn
	stopLower := c.Store.Listen(func(keys []presence.Key) {
		if c.Age() == 0 {
			fn(keys)
		}
	})
	return func() {
		delete(c.ears, n)
		stopLower()
	}
}

// mend ends the outage, and has the listeners look at everything.
func (c *cut) mend() {
	c.since.Store(0)
	for _, fn := range c.ears {
		fn(nil)
	}
}

func (c *cut) Spool(context.Context, []presence.Report, presence.Millis, []presence.Outcome) error {
	return presence.ErrUnavailable
}

func (c *cut) Acknowledged([]presence.Report, presence.Millis) {}

func (c *cut) OnReturn(func(asOf, now presence.Millis) <-chan struct{}) (stop func()) {
	return func() {}
}

// house is a store, a service and a feed; in a bubble its clock is the bubble's.
type house struct {
	testing.TB
	*presence.Service
	feed  *feed.Feed
	store *cut
	at    presence.Millis // of the last report: the next one is later
}

func open(t testing.TB, cfg feed.Config) *house {
	t.Helper()
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now())
	if err != nil {
		t.Fatal(err)
	}
	c := &cut{Store: st, ears: map[int]func([]presence.Key){}}
	h := &house{TB: t, Service: presence.NewService(c, presence.DefaultConfig()), store: c}
	h.feed = h.newFeed(cfg)
	t.Cleanup(func() {
		h.feed.Close()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) newFeed(cfg feed.Config) *feed.Feed {
	return feed.New(cfg, feed.Deps{Service: h.Service, Source: h.store})
}

func bubble(t *testing.T, cfg feed.Config, f func(t *testing.T, h *house)) {
	synctest.Test(t, func(t *testing.T) { f(t, open(t, cfg)) })
}

func (h *house) reportOf(id presence.AppID, kind presence.Kind, peer, session string, more ...func(*presence.Report)) {
	h.Helper()
	h.at = max(h.at+1, now())
	r := presence.Report{
		App: id, Peer: presence.PeerID(peer), Source: presence.SourceAPI, Session: presence.SessionID(session), Kind: kind, At: h.at,
	}
	for _, f := range more {
		f(&r)
	}
	if err := h.Report(context.Background(), []presence.Report{r}, now(), make([]presence.Outcome, 1)); err != nil {
		h.Fatal(err)
	}
}

func (h *house) report(kind presence.Kind, peer, session string, more ...func(*presence.Report)) {
	h.Helper()
	h.reportOf(app, kind, peer, session, more...)
}

func (h *house) sweep() {
	if _, err := h.Sweep(context.Background(), now()); err != nil {
		h.Fatal(err)
	}
}

func lost(hold time.Duration) func(*presence.Report) {
	return func(r *presence.Report) { r.Cause, r.Hold = presence.CauseLost, hold }
}

func logout(r *presence.Report) { r.Cause = presence.CauseLogout }

func lease(d time.Duration) func(*presence.Report) { return func(r *presence.Report) { r.Lease = d } }

// A client reads the changes of the app.
type client struct {
	*house
	of     *feed.Feed
	cursor feed.Cursor
}

// client returns a reader that has listed.
func (h *house) client() *client {
	h.Helper()
	c := &client{house: h, of: h.feed}
	c.expect(time.Second, "list")
	return c
}

// read reads up to limit changes and returns them as "peer=status …", "list" to list again, and
// "more" when there are more.
func (c *client) read(limit int, wait time.Duration) string {
	c.Helper()
	p, err := c.of.Read(context.Background(), app, c.cursor, limit, wait)
	if err != nil {
		c.Fatal(err)
	}
	if c.cursor, err = feed.ParseCursor(p.Cursor.String()); err != nil || c.cursor != p.Cursor {
		c.Fatalf("the cursor %v is read as %v, %v", p.Cursor, c.cursor, err)
	}
	s := ""
	for _, ch := range p.Changes {
		s += fmt.Sprintf("%s=%v ", ch.Peer, ch.Status)
	}
	if p.ListAgain {
		s += "list "
	}
	if p.More {
		s += "more "
	}
	if s == "" {
		return ""
	}
	return s[:len(s)-1]
}

func (c *client) expect(wait time.Duration, want string) {
	c.Helper()
	if got := c.read(100, wait); got != want {
		c.Errorf("read %q, want %q", got, want)
	}
}
