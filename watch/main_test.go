package watch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"rollcall/ask"
	"rollcall/ask/token"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const app presence.AppID = "app"

var view = ask.View{App: app, Viewer: ask.Public}

// sealed is a token; tests call its text token.
type sealed = token.Token

// house is a store, a service and a hub; in a bubble its clock is the bubble's.
type house struct {
	testing.TB
	*presence.Service
	hub   *watch.Hub
	store *flaky
	// tokens opens what the hub sealed.
	tokens *token.Sealer
	reader *ask.Reader
	brief  bool // the watchers see only statuses
	// Of the last report: the next one is later, for at one time an online wins.
	at presence.Millis
}

// flaky is the embedded store with a plug that can be pulled, and with a link that can be cut: then
// it answers with an age, from what it knew.
type flaky struct {
	presence.Store
	down  atomic.Bool
	since atomic.Int64 // of the outage, in Unix nanoseconds; 0: none
	part  string       // the first letter of the peers that the outage is of; empty: all
}

func (f *flaky) AgeOf(key presence.Key) time.Duration {
	if strings.HasPrefix(string(key.Peer), f.part) {
		return f.Age()
	}
	return 0
}

// stale is how long the flaky store answers with an age.
const stale = 30 * time.Second

func (f *flaky) Age() time.Duration {
	if since := f.since.Load(); since != 0 {
		return max(time.Since(time.Unix(0, since)), time.Millisecond)
	}
	return 0
}

func (f *flaky) reach(keys []presence.Key) (age time.Duration, err error) {
	for _, k := range keys {
		age = max(age, f.AgeOf(k))
	}
	if f.down.Load() || age > stale {
		return 0, fmt.Errorf("%w: the plug is pulled", presence.ErrUnavailable)
	}
	return age, nil
}

func (f *flaky) Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (time.Duration, error) {
	age, err := f.reach(keys)
	if err != nil {
		return 0, err
	}
	_, err = f.Store.Summaries(ctx, keys, out)
	return age, err
}

func (f *flaky) Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (time.Duration, error) {
	keys := make([]presence.Key, len(peers))
	for i, p := range peers {
		keys[i] = presence.Key{App: app, Peer: presence.PeerID(p)}
	}
	age, err := f.reach(keys)
	if err != nil {
		return 0, err
	}
	_, err = f.Store.Statuses(ctx, app, peers, now, out)
	return age, err
}

func (f *flaky) Spool(context.Context, []presence.Report, presence.Millis, []presence.Outcome) error {
	return presence.ErrUnavailable
}

func (f *flaky) Acknowledged([]presence.Report, presence.Millis) {}

func (f *flaky) OnReturn(func(asOf, now presence.Millis) <-chan struct{}) (stop func()) {
	return func() {}
}

func open(t testing.TB, cfg watch.Config) *house {
	t.Helper()
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now())
	if err != nil {
		t.Fatal(err)
	}
	f := &flaky{Store: st}
	h := &house{TB: t, Service: presence.NewService(f, presence.DefaultConfig()), store: f, tokens: testTokens()}
	h.reader = ask.New(ask.Deps{Rules: h.Service, Store: f, Tokens: h.tokens})
	h.hub = watch.New(cfg, watch.Deps{Service: h.Service, Source: f, Tokens: h.tokens})
	t.Cleanup(func() {
		h.hub.Close(watch.ReasonShutdown)
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func now() presence.Millis { return presence.MillisOf(time.Now()) }

// report reports that session of peer is what kind says.
func (h *house) report(kind presence.Kind, peer, session string, more ...func(*presence.Report)) {
	h.Helper()
	h.at = max(h.at+1, now())
	r := presence.Report{
		App: app, Peer: presence.PeerID(peer), Source: presence.SourceAPI, Session: presence.SessionID(session), Kind: kind, At: h.at,
	}
	for _, f := range more {
		f(&r)
	}
	if err := h.Report(context.Background(), []presence.Report{r}, now(), make([]presence.Outcome, 1)); err != nil {
		h.Fatal(err)
	}
}

func lost(hold time.Duration) func(*presence.Report) {
	return func(r *presence.Report) { r.Cause, r.Hold = presence.CauseLost, hold }
}

func logout(r *presence.Report) { r.Cause = presence.CauseLogout }

func lease(d time.Duration) func(*presence.Report) { return func(r *presence.Report) { r.Lease = d } }

// testTokens are those of a process that knows the secret of every app.
func testTokens() *token.Sealer {
	return token.NewSealer(func(a presence.AppID) (string, string) { return "secret of " + string(a), "" })
}

func (h *house) detail() presence.Detail {
	if h.brief {
		return presence.DetailBrief
	}
	return presence.DetailFull
}

func (h *house) watch(token string, peers ...presence.PeerID) *watch.Watcher {
	h.Helper()
	w, err := h.hub.Watch(context.Background(), view, peers, h.detail(), token)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { w.Close(watch.ReasonGone) })
	return w
}

// next returns what w receives within d as "kind peer=status …", or "" when that is nothing.
func (h *house) next(w *watch.Watcher, d time.Duration) (string, sealed) {
	h.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	b, err := w.Next(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return "", sealed{}
	}
	if err != nil {
		h.Fatal(err)
	}
	s := b.Kind.String()
	for _, u := range b.Updates {
		s += fmt.Sprintf(" %s=%v", u.Peer, u.Status)
	}
	return s, b.Token
}

func (h *house) expect(w *watch.Watcher, d time.Duration, want string) sealed {
	h.Helper()
	got, token := h.next(w, d)
	if got != want {
		h.Errorf("received %q, want %q", got, want)
	}
	return token
}

func bubble(t *testing.T, f func(t *testing.T, h *house)) {
	synctest.Test(t, func(t *testing.T) { f(t, open(t, watch.DefaultConfig())) })
}

const (
	on  = presence.KindOnline
	off = presence.KindOffline
)
