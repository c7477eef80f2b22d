package intake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/intake"
	"rollcall/presence"
	"rollcall/store/embedded"
)

const now = presence.Millis(1_750_000_000_000)

// open returns an intake over a store in memory, at now.
func open(t testing.TB) *intake.Intake {
	t.Helper()
	st, err := embedded.Open(embedded.Config{}, embedded.Deps{}, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	service := presence.NewService(st, presence.DefaultConfig())
	return intake.New(intake.DefaultConfig(), intake.Deps{Service: service, Now: func() presence.Millis { return now }})
}

func status(t testing.TB, in *intake.Intake, app presence.AppID, peer string) string {
	t.Helper()
	var st presence.State
	if err := in.Service.Load(t.Context(), presence.Key{App: app, Peer: presence.PeerID(peer)}, &st); err != nil {
		t.Fatal(err)
	}
	return st.Status.String()
}

// A source with a format of its own is one function. This one sends lines of "login" or "logout", a
// peer and a connection.
func Example() {
	decode := func(_ http.Header, body []byte) ([]intake.Event, error) {
		var events []intake.Event
		for line := range strings.Lines(string(body)) {
			f := strings.Fields(line)
			if len(f) != 3 {
				return nil, errors.New("a line has three fields")
			}
			e := intake.Event{Kind: presence.KindOnline, Peer: presence.PeerID(f[1]), Session: presence.SessionID(f[2])}
			if f[0] == "logout" {
				e.Kind, e.Cause = presence.KindOffline, presence.CauseLogout
			}
			events = append(events, e)
		}
		return events, nil
	}

	st, _ := embedded.Open(embedded.Config{}, embedded.Deps{}, now)
	defer func() { _ = st.Close() }()
	service := presence.NewService(st, presence.DefaultConfig())
	in := intake.New(intake.DefaultConfig(), intake.Deps{Service: service, Now: func() presence.Millis { return now }})

	events, _ := decode(nil, []byte("login tom c1\nlogin bob c2\nlogout bob c2\n"))
	batch := in.Batch(intake.Sender{App: "chat", Source: "lines", Lease: time.Hour}, len(events))
	for i := range events {
		batch.Add(&events[i])
	}
	tally, err := batch.Send(context.Background())
	fmt.Println(tally.Accepted, err)

	for _, peer := range []presence.PeerID{"tom", "bob"} {
		var st presence.State
		_ = service.Load(context.Background(), presence.Key{App: "chat", Peer: peer}, &st)
		fmt.Println(peer, st.Status)
	}
	// Output:
	// 3 <nil>
	// tom online
	// bob offline
}

// What is wrong with one event is in the tally, by its place, and the others count.
func TestBatchNamesWhatIsWrong(t *testing.T) {
	in := open(t)
	batch := in.Batch(intake.Sender{App: "a", Source: "s"}, 4)
	batch.AddJSON([]byte(`{"user":"tom","state":"online","session":"1"}`))
	batch.AddJSON([]byte(`{"user":"tom","state":"away"}`))
	batch.Add(&intake.Event{Kind: presence.KindOnline, Session: "1"})
	batch.Ignore(errors.New("no such event"))
	batch.Add(&intake.Event{Kind: presence.KindOnline, Peer: "bob", Session: "1"})
	tally, err := batch.Send(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(tally)
	want := `{"accepted":2,"double":0,"late":0,"stale":0,"ignored":3,"full":0,"errors":[` +
		`{"index":1,"code":"invalid","error":"invalid: the state \"away\" is none of online, offline, touch, end_all and reach","field":"state"},` +
		`{"index":2,"code":"invalid","error":"invalid: the peer id is empty","field":"user"},` +
		`{"index":3,"code":"invalid","error":"no such event"}]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Two senders that use the same session, node and peer ids do not meet.
func TestSendersAreApart(t *testing.T) {
	in := open(t)
	one, two := intake.Sender{App: "a", Source: "s"}, intake.Sender{App: "b", Source: "s"}
	for _, from := range []intake.Sender{one, two} {
		if out, err := in.Take(t.Context(), &from, &intake.Event{Kind: presence.KindOnline, Peer: "tom", Session: "1", Node: "n"}); err != nil || out.Verdict != presence.Taken {
			t.Fatalf("%v, %v", out.Verdict, err)
		}
	}
	node, err := one.Node("n")
	if err != nil {
		t.Fatal(err)
	}
	if other, _ := two.Node("n"); other == node {
		t.Errorf("both nodes are %q", node)
	}
	tally, ended, err := in.Resync(one, node, now+1, 0).Send(t.Context())
	if err != nil || ended != 1 || tally.Accepted != 1 {
		t.Errorf("%+v, %d ended, %v", tally, ended, err)
	}
	if a, b := status(t, in, "a", "tom"), status(t, in, "b", "tom"); a != "offline" || b != "online" {
		t.Errorf("tom is %s in a and %s in b", a, b)
	}
}

// A list that does not say which session an entry is about must not be sent; one that does keeps
// that session.
func TestResyncKeepsWhatItNames(t *testing.T) {
	in := open(t)
	from := intake.Sender{App: "a", Source: "s"}
	node, _ := from.Node("n")
	if _, err := in.Take(t.Context(), &from, &intake.Event{Kind: presence.KindOnline, Peer: "tom", Session: "1", Node: "n"}); err != nil {
		t.Fatal(err)
	}
	list := in.Resync(from, node, now+1, 1)
	var field *intake.FieldError
	if err := list.AddJSON([]byte(`{"user":"tom"}`)); !errors.As(err, &field) || field.Field != "session" || !errors.Is(err, presence.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	if err := list.AddJSON([]byte(`{"user":"tom","session":"1","ttl":-1}`)); err != nil {
		t.Fatal(err)
	}
	if tally, ended, err := list.Send(t.Context()); err != nil || ended != 0 || tally.Ignored != 1 {
		t.Errorf("%+v, %d ended, %v", tally, ended, err)
	}
}

// A heartbeat keeps the lease that the node asked for before, until it drains.
func TestHeartbeatKeepsTheLease(t *testing.T) {
	in := open(t)
	from := intake.Sender{App: "a", Source: "s"}
	node, _ := from.Node("n")
	for _, step := range []struct{ asked, want time.Duration }{{0, 30 * time.Second}, {time.Minute, time.Minute}, {0, time.Minute}} {
		if got, err := in.Heartbeat(t.Context(), node, step.asked); err != nil || got != step.want {
			t.Errorf("asked for %v: got %v, %v", step.asked, got, err)
		}
	}
	if _, err := in.Heartbeat(t.Context(), node, intake.MaxNodeLease+1); !errors.Is(err, presence.ErrInvalid) {
		t.Errorf("a lease beyond the greatest: %v", err)
	}
	if grace, err := in.Drain(t.Context(), node); err != nil || grace != 30*time.Second {
		t.Errorf("drain: %v, %v", grace, err)
	}
	if got, err := in.Heartbeat(t.Context(), node, 0); err != nil || got != 30*time.Second {
		t.Errorf("after the drain: %v, %v", got, err)
	}
	if _, err := from.Node(""); !errors.Is(err, presence.ErrInvalid) {
		t.Errorf("an empty name: %v", err)
	}
}

// A queue delivers everything once the store is back, and only what is invalid is dropped.
func TestQueueRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		delivered := map[presence.PeerID]int{}
		q := intake.NewQueue(intake.QueueDeps{
			Now: func() presence.Millis { return now }, Log: slog.New(slog.DiscardHandler),
			Report: func(_ context.Context, reports []presence.Report, _ presence.Millis, _ []presence.Outcome) error {
				if down.Load() {
					return presence.ErrUnavailable
				}
				for i := range reports {
					if reports[i].Peer == "" {
						return presence.ErrInvalid
					}
				}
				for i := range reports {
					delivered[reports[i].Peer]++
				}
				return nil
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { q.Run(ctx); close(done) }()
		const peers = 2*intake.QueueBatch + 7
		for i := range peers {
			q.Add(presence.Report{Peer: presence.PeerID(fmt.Sprint(i))})
		}
		q.Add(presence.Report{})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if failed, _ := q.Counts(); failed == 0 || q.Idle() || len(delivered) != 0 {
			t.Errorf("while down: %d failed, idle %v, %d delivered", failed, q.Idle(), len(delivered))
		}
		down.Store(false)
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if _, dropped := q.Counts(); dropped != 1 || !q.Idle() || len(delivered) != peers {
			t.Errorf("%d dropped, idle %v, %d of %d delivered", dropped, q.Idle(), len(delivered), peers)
		}
		stop()
		<-done
	})
}
