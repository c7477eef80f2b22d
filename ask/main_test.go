package ask_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/ask"
	"rollcall/presence"
	"rollcall/store/embedded"
)

const app presence.AppID = "app"

var view = ask.View{App: app, Viewer: ask.Public}

func now() presence.Millis { return presence.MillisOf(time.Now()) }

// A house is a reader over an embedded store that can be cut off.
type house struct {
	testing.TB
	*ask.Reader
	store *cut
	at    presence.Millis // of the last report; the next one is later
}

func open(t testing.TB) *house {
	t.Helper()
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	h := &house{TB: t, store: &cut{Store: st}}
	h.Reader = ask.New(ask.Deps{Rules: presence.NewService(st, presence.DefaultConfig()), Store: h.store})
	return h
}

func (h *house) report(peer presence.PeerID, kind presence.Kind, lease time.Duration) {
	h.Helper()
	h.at = max(h.at+1, now())
	r := presence.Report{
		App: app, Peer: peer, Source: presence.SourceAPI, Session: "1", Device: "phone", Kind: kind, At: h.at, Lease: lease,
		Cause: presence.CauseLogout,
	}
	if kind == presence.KindOnline {
		r.Cause = presence.CauseUnknown
	}
	if err := h.Rules.Report(context.Background(), []presence.Report{r}, now(), make([]presence.Outcome, 1)); err != nil {
		h.Fatal(err)
	}
}

// cut is a store that counts what is asked of it, and answers with an age or not at all.
type cut struct {
	presence.Store
	calls   atomic.Int64
	age     time.Duration
	down    bool
	damaged presence.PeerID // a peer whose state cannot be read whole
}

func (c *cut) reach() (time.Duration, error) {
	c.calls.Add(1)
	if c.down {
		return 0, fmt.Errorf("%w: cut off", presence.ErrUnavailable)
	}
	return c.age, nil
}

func (c *cut) Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (time.Duration, error) {
	age, err := c.reach()
	if err == nil {
		_, err = c.Store.Statuses(ctx, app, peers, now, out)
	}
	return age, err
}

func (c *cut) Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (time.Duration, error) {
	age, err := c.reach()
	if err == nil {
		_, err = c.Store.Summaries(ctx, keys, out)
	}
	return age, err
}

func (c *cut) Load(ctx context.Context, key presence.Key, st *presence.State) error {
	if _, err := c.reach(); err != nil {
		return err
	}
	return c.Store.Load(ctx, key, st)
}

func (c *cut) Loads(ctx context.Context, keys []presence.Key, out []presence.State) error {
	if _, err := c.reach(); err != nil {
		return err
	}
	err := c.Store.Loads(ctx, keys, out)
	if i := slices.IndexFunc(keys, func(k presence.Key) bool { return k.Peer == c.damaged }); i >= 0 {
		out[i] = presence.State{}
		return &presence.PartError{Failed: []int{i}, Err: presence.ErrUnavailable}
	}
	return err
}

func (c *cut) List(ctx context.Context, app presence.AppID, cursor string, limit int, now presence.Millis) ([]presence.PeerID, string, error) {
	if _, err := c.reach(); err != nil {
		return nil, "", err
	}
	return c.Store.List(ctx, app, cursor, limit, now)
}

func (c *cut) Counts(ctx context.Context, app presence.AppID, now presence.Millis) (presence.Counts, error) {
	if _, err := c.reach(); err != nil {
		return presence.Counts{}, err
	}
	return c.Store.Counts(ctx, app, now)
}
