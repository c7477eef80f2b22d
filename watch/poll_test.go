package watch_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/watch"
)

// A poller that asks again and again with its last token knows at every quiet moment exactly what a full question
// answers, whatever was being written, ended, erased or swept while it asked.
func TestPollMissesNothing(t *testing.T) {
	for _, writers := range []int{1, 8} {
		t.Run(fmt.Sprint(writers, " writers"), func(t *testing.T) { pollAgainstWriters(t, writers, watch.Full) })
		t.Run(fmt.Sprint(writers, " writers, statuses only"), func(t *testing.T) { pollAgainstWriters(t, writers, watch.Brief) })
	}
}

func pollAgainstWriters(t *testing.T, writers int, detail watch.Detail) {
	const peers, rounds = 12, 400
	st, err := embedded.Open(embedded.Config{}, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	cfg := presence.DefaultConfig()
	cfg.Rules.OfflineMemory = time.Second // forgetting is a change like any other
	s := presence.NewService(st, cfg)
	var clock atomic.Int64
	clock.Store(1_000_000)
	tick := func() presence.Millis { return presence.Millis(clock.Add(1 + rand.Int64N(3))) }
	keys := make([]presence.Key, peers)
	for i := range keys {
		keys[i] = presence.Key{App: app, Peer: presence.PeerID(fmt.Sprint("peer-", i))}
	}
	ctx := context.Background()
	var quiet sync.RWMutex // writers hold it for reading
	var done atomic.Bool
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for !done.Load() {
				quiet.RLock()
				now := tick() // the time of the write is taken long before it is done
				for range rand.IntN(4) {
					runtime.Gosched()
				}
				key := keys[rand.IntN(peers)]
				r := presence.Report{App: app, Peer: key.Peer, Source: presence.SourceAPI, Session: "1", At: now, Lease: 50 * time.Millisecond}
				var err error
				switch rand.IntN(12) {
				case 0:
					err = s.Erase(ctx, []presence.Key{key}, now)
				case 1:
					_, err = s.Sweep(ctx, now)
				case 2, 3:
					r.Kind = presence.KindOffline
					err = s.Report(ctx, []presence.Report{r}, now, make([]presence.Outcome, 1))
				default:
					r.Kind = presence.KindOnline
					err = s.Report(ctx, []presence.Report{r}, now, make([]presence.Outcome, 1))
				}
				quiet.RUnlock()
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	known := map[presence.PeerID]presence.Status{}
	token, told, asked := "", 0, 0
	tokens := testTokens()
	poll := func() {
		p, err := tokens.Look(ctx, s, &watch.Question{App: app, Keys: keys, Since: token, Detail: detail, Now: presence.Millis(clock.Load())})
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			asked++
			if p.Changed == nil || p.Changed[i] {
				told++
				known[keys[i].Peer] = p.Summaries[i].Status
			}
		}
		token = p.Token.String()
	}
	for round := range rounds {
		poll()
		runtime.Gosched()
		if round%3 != 0 {
			continue
		}
		quiet.Lock()
		poll()
		now := presence.Millis(clock.Load())
		sums := make([]presence.Summary, peers)
		if _, err := s.Summaries(ctx, keys, now, sums); err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			if got := known[keys[i].Peer]; got != sums[i].Status {
				t.Errorf("round %d: the poller believes %s %v, a full question says %v", round, keys[i].Peer, got, sums[i].Status)
			}
		}
		quiet.Unlock()
	}
	done.Store(true)
	wg.Wait()
	if told == asked {
		t.Errorf("all %d were told every time: the token did nothing", asked)
	}
}

func TestPollTellsOnlyWhatChanged(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		ctx := context.Background()
		keys := []presence.Key{{App: app, Peer: "tom"}, {App: app, Peer: "ann"}, {App: app, Peer: "zed"}}
		look := func(token string, keys []presence.Key) (string, string) {
			t.Helper()
			p, err := h.tokens.Look(ctx, h.Service, &watch.Question{App: app, Keys: keys, Since: token, Detail: watch.Full, Now: now()})
			if err != nil {
				t.Fatal(err)
			}
			s := ""
			for i := range keys {
				if p.Changed == nil || p.Changed[i] {
					s += fmt.Sprintf("%s=%v ", keys[i].Peer, p.Summaries[i].Status)
				}
			}
			return s, p.Token.String()
		}
		expect := func(token string, keys []presence.Key, want string) string {
			t.Helper()
			got, next := look(token, keys)
			if got != want {
				t.Errorf("told %q, want %q", got, want)
			}
			return next
		}
		h.tell(on, "tom", "1")
		h.tell(on, "ann", "1", lease(time.Minute))
		time.Sleep(time.Second)
		token := expect("", keys, "tom=online ann=online zed=unknown ")
		token = expect(token, keys, "")
		time.Sleep(time.Second)
		h.tell(off, "tom", "1", logout)
		time.Sleep(time.Second)
		token = expect(token, keys, "tom=offline ")
		time.Sleep(time.Minute) // nobody sweeps
		token = expect(token, keys, "ann=offline ")
		expect(token, keys[:2], "tom=offline ann=offline ") // another list
		h.tell(on, "zed", "1")
		time.Sleep(time.Second)
		token = expect(token, keys, "ann=offline zed=online ") // not written yet: told again rather than missed
		expect("garbage", keys, "tom=offline ann=offline zed=online ")
		if err := h.Erase(ctx, keys[2:], now()); err != nil {
			t.Fatal(err)
		}
		expect(token, keys, "ann=offline zed=unknown ")
	})
}
