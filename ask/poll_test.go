package ask_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/ask"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// A poller that asks again and again with its last token knows at every quiet moment exactly what a
// full question answers, whatever was being written, ended, erased or swept while it asked.
func TestPollMissesNothing(t *testing.T) {
	for _, writers := range []int{1, 8} {
		t.Run(fmt.Sprint(writers, " writers"), func(t *testing.T) { pollAgainstWriters(t, writers, presence.DetailFull) })
		t.Run(fmt.Sprint(writers, " writers, statuses only"), func(t *testing.T) { pollAgainstWriters(t, writers, presence.DetailBrief) })
	}
}

func pollAgainstWriters(t *testing.T, writers int, detail presence.Detail) {
	const peers, rounds = 12, 400
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, 1_000_000)
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
	keys, ids := make([]presence.Key, peers), make([]presence.PeerID, peers)
	for i := range keys {
		ids[i] = presence.PeerID(fmt.Sprint("peer-", i))
		keys[i] = presence.Key{App: app, Peer: ids[i]}
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
	token, sent, asked := "", 0, 0
	reader := ask.New(ask.Deps{Rules: s, Store: st, Now: func() presence.Millis { return presence.Millis(clock.Load()) }})
	poll := func() {
		p, err := reader.Poll(ctx, view, &ask.Question{Peers: ids, Since: token, Detail: detail})
		if err != nil {
			t.Fatal(err)
		}
		named, _ := p.Read()
		for i := range named {
			known[named[i].ID] = named[i].Status
		}
		asked, sent = asked+len(ids), sent+len(named)
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
		answer, err := reader.Summaries(ctx, view, ids, 0)
		if err != nil {
			t.Fatal(err)
		}
		full, _ := answer.Read()
		for _, p := range full {
			if got := known[p.ID]; got != p.Status {
				t.Errorf("round %d: the poller knows %s %v, a full question says %v", round, p.ID, got, p.Status)
			}
		}
		quiet.Unlock()
	}
	done.Store(true)
	wg.Wait()
	if sent == asked {
		t.Errorf("all %d were sent every time: the token did nothing", asked)
	}
}

func TestAPollHoldsOnlyWhatChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		peers := []presence.PeerID{"tom", "ann", "zed"}
		expect := func(token string, peers []presence.PeerID, want string) string {
			t.Helper()
			p, err := h.Poll(t.Context(), view, &ask.Question{Peers: peers, Since: token, Detail: presence.DetailFull})
			if err != nil {
				t.Fatal(err)
			}
			named, _ := p.Read()
			got := ""
			for i := range named {
				got += fmt.Sprintf("%s=%v ", named[i].ID, named[i].Status)
			}
			if got != want {
				t.Errorf("the poll holds %q, want %q", got, want)
			}
			return p.Token.String()
		}
		h.report("tom", presence.KindOnline, 0)
		h.report("ann", presence.KindOnline, time.Minute)
		time.Sleep(time.Second)
		token := expect("", peers, "tom=online ann=online zed=unknown ")
		token = expect(token, peers, "")
		time.Sleep(time.Second)
		h.report("tom", presence.KindOffline, 0)
		time.Sleep(time.Second)
		token = expect(token, peers, "tom=offline ")
		time.Sleep(time.Minute) // there is no sweep
		token = expect(token, peers, "ann=offline ")
		expect(token, peers[:2], "tom=offline ann=offline ") // another list
		h.report("zed", presence.KindOnline, 0)
		time.Sleep(time.Second)
		// Not written yet: sent again rather than missed.
		token = expect(token, peers, "ann=offline zed=online ")
		expect("garbage", peers, "tom=offline ann=offline zed=online ")
		if err := h.Rules.Erase(t.Context(), []presence.Key{{App: app, Peer: "zed"}}, now()); err != nil {
			t.Fatal(err)
		}
		expect(token, peers, "ann=offline zed=unknown ")
	})
}
