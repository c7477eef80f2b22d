package ask_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/ask"
	"rollcall/presence"
)

// Every question takes a view, and one without an app or a viewer is refused before the store is
// read. A method that takes none is a way around it.
func TestNoQuestionGoesWithoutAViewer(t *testing.T) {
	h := open(t)
	h.report("tom", presence.KindOnline, 0)
	r := reflect.ValueOf(h.Reader)
	asked := 0
	for i := range r.NumMethod() {
		m, name := r.Method(i).Type(), r.Type().Method(i).Name
		if m.NumIn() < 2 || m.In(1) != reflect.TypeFor[ask.View]() {
			t.Errorf("%s takes no view", name)
			continue
		}
		asked++
		for _, v := range []ask.View{{}, {App: app}, {Viewer: ask.Server}, {App: app, Viewer: ask.Named + 1}, {App: app, Viewer: ask.Named}, {App: app, Viewer: ask.Public, Who: "tom"}} {
			in := []reflect.Value{reflect.ValueOf(context.Background()), reflect.ValueOf(v)}
			for k := 2; k < m.NumIn(); k++ {
				if in = append(in, reflect.Zero(m.In(k))); m.In(k).Kind() == reflect.Pointer {
					in[k] = reflect.New(m.In(k).Elem())
				}
			}
			out := r.Method(i).Call(in)
			if err, _ := out[len(out)-1].Interface().(error); !errors.Is(err, ask.ErrView) {
				t.Errorf("%s with %+v: %v, want ErrView", name, v, err)
			}
		}
	}
	if n := h.store.calls.Load(); n != 0 || asked < 7 {
		t.Errorf("the store was read %d times; %d kinds of question were asked", n, asked)
	}
}

// What anybody sees is today the same for all.
func TestEveryViewerSeesTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		h.report("tom", presence.KindOnline, 0)
		h.report("ann", presence.KindOffline, 0)
		all := ask.Since | ask.LastSeen | ask.Cause | ask.Version | ask.Devices
		var first []ask.Peer
		for _, v := range []ask.View{ask.ViewOf("app", false, ""), ask.ViewOf("app", true, ""), ask.ViewOf("app", false, "tom")} {
			a, err := h.Summaries(t.Context(), v, []presence.PeerID{"tom", "ann", "zed"}, all)
			if err != nil {
				t.Fatal(err)
			}
			peers, _ := a.Read()
			if first == nil {
				first = peers
			}
			if !reflect.DeepEqual(peers, first) {
				t.Errorf("viewer %d sees %+v, another %+v", v.Viewer, peers, first)
			}
		}
		if first[0].Status != presence.Online || !slices.Equal(first[0].Devices, []string{"phone"}) || first[1].Cause != presence.CauseLogout {
			t.Errorf("the answer is %+v", first)
		}
	})
}

// Every question about statuses is answered in an outage, with the age: also one with a token,
// whose door once answered 503. Devices come from the store alone and are left out.
func TestAnswersOfAnOutageHaveAnAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		h.report("tom", presence.KindOnline, time.Hour)
		h.store.age = 4 * time.Second
		var statuses ask.Answer[presence.Status]
		if err := h.Statuses(t.Context(), view, [][]byte{[]byte("tom")}, &statuses); err != nil {
			t.Fatal(err)
		}
		if s, age := statuses.Read(); len(s) != 1 || s[0] != presence.Online || age != h.store.age {
			t.Errorf("statuses %v, %v old", s, age)
		}
		summaries, err := h.Summaries(t.Context(), view, []presence.PeerID{"tom"}, ask.Devices)
		if err != nil {
			t.Fatal(err)
		}
		if p, age := summaries.Read(); len(p) != 1 || p[0].Devices != nil || age != h.store.age {
			t.Errorf("summaries %+v, %v old", p, age)
		}
		poll, err := h.Poll(t.Context(), view, &ask.Question{Peers: []presence.PeerID{"tom"}, Detail: presence.DetailFull})
		if err != nil {
			t.Fatal(err)
		}
		if p, age := poll.Read(); len(p) != 1 || age != h.store.age {
			t.Errorf("poll %+v, %v old", p, age)
		}
		h.store.down = true
		if err := h.Statuses(t.Context(), view, [][]byte{[]byte("tom")}, &statuses); !errors.Is(err, presence.ErrUnavailable) {
			t.Errorf("cut off: %v", err)
		}
		if s, age := statuses.Read(); len(s) != 0 || age != 0 {
			t.Errorf("after an error the answer holds %v, %v old", s, age)
		}
	})
}

// A peer that is named twice is answered twice, and read once.
func TestAPeerNamedTwiceIsAnsweredTwice(t *testing.T) {
	h := open(t)
	h.report("tom", presence.KindOnline, 0)
	for name, question := range map[string]func() ([]ask.Peer, error){
		"summaries": func() ([]ask.Peer, error) {
			a, err := h.Summaries(t.Context(), view, []presence.PeerID{"tom", "ann", "tom"}, ask.Devices)
			p, _ := a.Read()
			return p, err
		},
		"poll": func() ([]ask.Peer, error) {
			a, err := h.Poll(t.Context(), view, &ask.Question{Peers: []presence.PeerID{"tom", "ann", "tom"}, Fields: ask.Devices})
			p, _ := a.Read()
			return p, err
		},
	} {
		p, err := question()
		if err != nil || len(p) != 3 || p[0].ID != "tom" || p[2].ID != "tom" || len(p[2].Devices) != 1 || p[1].Devices == nil {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestAListGoesOnWhereItStopped(t *testing.T) {
	h := open(t)
	want := []presence.PeerID{"ann", "bob", "tom"}
	for _, p := range want {
		h.report(p, presence.KindOnline, 0)
	}
	var got []presence.PeerID
	cursor := ""
	for range len(want) + 1 {
		peers, next, err := h.List(t.Context(), view, cursor, 1)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, peers...)
		if cursor = next; cursor == "" {
			break
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	if _, _, err := h.List(t.Context(), view, "made up", 1); !errors.Is(err, ask.ErrCursor) || !errors.Is(err, presence.ErrInvalid) {
		t.Errorf("a cursor that is none: %v", err)
	}
}

func TestWhyIsOneJSONForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		h.report("tom", presence.KindOnline, time.Minute)
		why, err := h.Why(t.Context(), view, "tom")
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(why)
		if err != nil {
			t.Fatal(err)
		}
		var in map[string]any
		if err := json.Unmarshal(b, &in); err != nil {
			t.Fatal(err)
		}
		sessions, _ := in["sessions"].([]any)
		reports, _ := in["reports"].([]any)
		if in["peer"] != "tom" || in["status"] != "online" || in["why"] == "" || len(sessions) != 1 || len(reports) != 1 {
			t.Errorf("%s", b)
		}
		if slots, ok := in["slots"].([]any); !ok || len(slots) != 0 {
			t.Errorf("no slot is an empty list, not %v", in["slots"])
		}
	})
}

// Why says what a product that was asked said, when, and what came of it.
func TestWhySaysWhatAProductAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t)
		report := func(reports ...presence.Report) {
			for i := range reports {
				reports[i].App, reports[i].Peer, reports[i].Source = app, "tom", "im"
			}
			if err := h.Rules.Report(t.Context(), reports, now(), make([]presence.Outcome, len(reports))); err != nil {
				t.Fatal(err)
			}
		}
		answer := func(n int) presence.Report {
			return presence.Report{Kind: presence.KindCount, Cause: presence.CauseReconciled, At: now(), Count: n, Quiet: 30 * time.Second}
		}
		report(presence.Report{Kind: presence.KindOnline, At: now()})
		report(answer(0))
		time.Sleep(time.Hour)
		asked := now()
		report(answer(0))
		why, err := h.Why(t.Context(), view, "tom")
		if err != nil {
			t.Fatal(err)
		}
		since := "offline since " + asked.Time().Format("2006-01-02 15:04:05Z") + " because its source was asked then, and did not hold it"
		if why.Why != since || why.Cause != "reconciled" {
			t.Errorf("%s, %q; want %s", why.Cause, why.Why, since)
		}
		last, first := why.Reports[0], why.Reports[1]
		if last.Kind != "count" || *last.Count != 0 || last.Verdict != "taken" || !last.Turned || last.At != asked || first.Verdict != "unsure" {
			t.Errorf("%+v and %+v", last, first)
		}
		time.Sleep(time.Hour)
		report(presence.Report{Kind: presence.KindTouch, Session: "s", Cause: presence.CauseReconciled, At: now()})
		if why, _ = h.Why(t.Context(), view, "tom"); why.Reports[0].Cause != "reconciled" || why.Status != "online" {
			t.Errorf("%+v", why.Reports[0])
		}
	})
}
