package intake_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"rollcall/ask"
	"rollcall/intake"
	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/store/redisstore"
)

const (
	app  presence.AppID  = "a"
	dead presence.Source = presence.SourceLeanCloud
)

// A road is an intake over a store, with a clock that the test sets.
type road struct {
	*intake.Intake
	store presence.Store
	now   presence.Millis
}

// onEveryStore runs a test over the embedded store, and over Redis.
func onEveryStore(t *testing.T, test func(t *testing.T, r *road)) {
	t.Run("embedded", func(t *testing.T) {
		st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now)
		if err != nil {
			t.Fatal(err)
		}
		test(t, newRoad(t, st, now))
	})
	t.Run("redis", func(t *testing.T) {
		cfg := redisstore.DefaultConfig()
		cfg.Deadline = 10 * time.Second // a busy machine is no outage
		st, err := redisstore.Open(t.Context(), cfg, redisstore.Deps{URL: "redis://" + redistest.Run(t).Addr})
		if err != nil {
			t.Fatal(err)
		}
		test(t, newRoad(t, st, presence.MillisOf(time.Now())))
	})
}

func newRoad(t *testing.T, st presence.Store, start presence.Millis) *road {
	t.Cleanup(func() { _ = st.Close() })
	r := &road{store: st, now: start}
	service := presence.NewService(st, presence.DefaultConfig())
	r.Intake = intake.New(intake.DefaultConfig(), intake.Deps{Service: service, Now: func() presence.Millis { return r.now }})
	return r
}

func (r *road) take(t *testing.T, source presence.Source, e intake.Event) {
	t.Helper()
	if _, err := r.Take(context.Background(), &intake.Sender{App: app, Source: source}, &e); err != nil {
		t.Error(err)
	}
}

// end ends the sessions of the dead source before the moment, with everyone who is online.
func (r *road) end(t *testing.T, before presence.Millis, dry bool) intake.SourceEnded {
	t.Helper()
	reader := ask.New(ask.Deps{Rules: r.Service, Store: r.store, Now: func() presence.Millis { return r.now }})
	peers, _, err := reader.List(t.Context(), ask.View{App: app, Viewer: ask.Server}, "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	done, err := r.EndSource(t.Context(), &intake.SourceEnd{App: app, Source: dead, Before: before, Dry: dry}, peers)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func (r *road) statuses(t *testing.T, peers ...string) (all string) {
	t.Helper()
	for _, p := range peers {
		all += p + " " + status(t, r.Intake, app, p) + "; "
	}
	return all
}

func online(peer string) intake.Event {
	return intake.Event{Kind: presence.KindOnline, Peer: presence.PeerID(peer)}
}

// Everything that the source said before the moment ends, however it was counted, and nothing else;
// a second run finds nothing.
func TestASourceThatDiedIsEnded(t *testing.T) {
	onEveryStore(t, func(t *testing.T, r *road) {
		slot, tagged, twice := online("slot"), online("tagged"), online("slot")
		tagged.Tag = "Mobile"
		named, other := online("named"), online("both")
		named.Session, named.At = "c1", r.now-1000
		r.take(t, dead, slot)
		r.take(t, dead, twice)
		r.take(t, dead, tagged)
		r.take(t, dead, named)
		r.take(t, dead, online("both"))
		other.Session = "mine"
		r.take(t, presence.SourceAPI, other)
		burst := online("burst") // two logins with a tag in one burst
		burst.Tag = "Mobile"
		r.take(t, dead, burst)
		r.take(t, dead, burst)
		r.now += 1000
		moment := r.now
		r.now += 1000
		r.take(t, dead, online("late"))
		all := []string{"slot", "tagged", "named", "both", "burst", "late"}
		before := r.statuses(t, all...)
		dry := r.end(t, moment, true)
		if got := r.statuses(t, all...); got != before {
			t.Errorf("a dry run changed\n%s to\n%s", before, got)
		}
		done := r.end(t, moment, false)
		if dry.Sessions != 7 || dry.People != 5 || dry.Kept != 1 || dry.Others[presence.SourceAPI] != 1 || fmt.Sprint(dry) != fmt.Sprint(done) {
			t.Errorf("counted %+v, did %+v", dry, done)
		}
		want := "slot offline; tagged offline; named offline; both online; burst offline; late online; "
		if got := r.statuses(t, all...); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if again := r.end(t, moment, false); again.Sessions != 0 || again.Kept != 1 {
			t.Errorf("the second run did %+v", again)
		}
		r.now += 60_000
		r.take(t, dead, slot)
		r.take(t, dead, tagged)
		if got := r.statuses(t, "slot", "tagged"); got != "slot online; tagged online; " {
			t.Errorf("logins afterwards: %s", got)
		}
	})
}

// A moment long ago, further back than a report may be late, ends what is older and no more.
func TestASourceIsEndedBeforeAMomentLongAgo(t *testing.T) {
	onEveryStore(t, func(t *testing.T, r *road) {
		named := online("named")
		named.Session, named.At = "c1", r.now
		r.take(t, dead, online("old"))
		r.take(t, dead, named)
		moment := r.now + 1
		r.now += presence.Millis((72 * time.Hour).Milliseconds())
		r.take(t, dead, online("new"))
		if done := r.end(t, moment, false); done.Sessions != 2 || done.Kept != 1 {
			t.Errorf("did %+v", done)
		}
		if got, want := r.statuses(t, "old", "named", "new"), "old offline; named offline; new online; "; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// While sessions end, the source reports again: a login at the moment or later stays online.
func TestLoginsThatComeMeanwhileStay(t *testing.T) {
	onEveryStore(t, func(t *testing.T, r *road) {
		const peers = 300
		event := func(i int) intake.Event {
			e := online(fmt.Sprint("p", i))
			if i%3 == 1 {
				e.Tag = "Mobile"
			}
			if i%3 == 2 {
				e.Session, e.At = "c1", r.now
			}
			return e
		}
		for i := range peers {
			r.take(t, dead, event(i))
		}
		r.now += 60_000
		moment := r.now
		var back sync.WaitGroup
		r.now += 5 // read only from here on
		for w := range 4 {
			back.Go(func() {
				for i := w; i < peers/2; i += 4 {
					r.take(t, dead, event(i))
				}
			})
		}
		first := r.end(t, moment, false)
		back.Wait()
		for i := range peers {
			want := "offline"
			if i < peers/2 {
				want = "online"
			}
			if got := status(t, r.Intake, app, fmt.Sprint("p", i)); got != want {
				t.Errorf("p%d is %s, want %s; %+v", i, got, want, first)
			}
		}
	})
}

// What hangs on a node that sends heartbeats is alive, whenever it was reported.
func TestSessionsOfANodeThatLivesStay(t *testing.T) {
	onEveryStore(t, func(t *testing.T, r *road) {
		from := intake.Sender{App: app, Source: dead}
		node, err := from.Node("n")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Heartbeat(t.Context(), node, time.Hour); err != nil {
			t.Fatal(err)
		}
		e := online("tom")
		e.Session, e.Node = "c1", "n"
		batch := r.Batch(from, 1)
		batch.Add(&e)
		if _, err := batch.Send(t.Context()); err != nil {
			t.Fatal(err)
		}
		r.now += 1000
		if done := r.end(t, r.now, false); done.Sessions != 0 || done.Kept != 1 {
			t.Errorf("did %+v", done)
		}
	})
}

func TestSourcesThatCannotBeEnded(t *testing.T) {
	for _, e := range []intake.SourceEnd{
		{App: app, Before: now},
		{App: app, Source: presence.SourceGateway, Before: now},
		{App: app, Source: presence.SourceRecipe, Before: now},
		{App: app, Source: dead, Before: now + 1},
		{App: app, Source: dead},
	} {
		if _, err := open(t).EndSource(t.Context(), &e, nil); !errors.Is(err, presence.ErrInvalid) {
			t.Errorf("%+v: %v", e, err)
		}
	}
}
