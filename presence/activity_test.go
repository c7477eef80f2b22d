package presence_test

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"rollcall/presence"
)

func active(id string, a presence.Activity, at, used presence.Millis) presence.Report {
	r := session(presence.KindTouch, id, at)
	r.Activity, r.Used = a, used
	return r
}

func reach(device string, reach presence.Reach, at presence.Millis) presence.Report {
	return presence.Report{App: "a", Peer: "tom", Source: "api", Device: device, Kind: presence.KindReach, Reach: reach, At: at}
}

// wordsOf returns the latest words about activity and reach among reports, as a model of them.
func wordsOf(reports []presence.Report) (activity map[string]string, reached map[string]string) {
	type word struct{ inc, at, value, used int64 }
	best, ways := map[string]word{}, map[string]word{}
	later := func(a, b word) bool {
		return cmp.Or(cmp.Compare(a.inc, b.inc), cmp.Compare(a.at, b.at), cmp.Compare(a.value, b.value), cmp.Compare(a.used, b.used)) > 0
	}
	for i := range reports {
		r := &reports[i]
		if r.Kind == presence.KindReach {
			if w := (word{0, int64(r.At), int64(r.Reach), 0}); later(w, ways[r.Device]) {
				ways[r.Device] = w
			}
			continue
		}
		w := word{inc: int64(r.Incarnation)}
		if r.Activity != presence.ActivityUnknown {
			w = word{int64(r.Incarnation), int64(r.At), int64(r.Activity), int64(min(r.Used, r.At))}
		}
		if later(w, best[string(r.Session)]) {
			best[string(r.Session)] = w
		}
	}
	activity, reached = map[string]string{}, map[string]string{}
	for id, w := range best {
		if w.at != 0 {
			activity[id] = fmt.Sprint(w.at, presence.Activity(w.value), w.used)
		}
	}
	for device, w := range ways {
		reached[device] = fmt.Sprint(w.at, presence.Reach(w.value))
	}
	return activity, reached
}

func wordsIn(st *presence.State) (activity map[string]string, reached map[string]string) {
	activity, reached = map[string]string{}, map[string]string{}
	for i := range st.Sessions {
		if a := &st.Sessions[i].Active; a.At != 0 {
			activity[string(st.Sessions[i].ID)] = fmt.Sprint(int64(a.At), a.Activity, int64(a.Used))
		}
	}
	for _, w := range st.Reached {
		reached[w.Device] = fmt.Sprint(int64(w.At), w.Reach)
	}
	return activity, reached
}

// TestActivityAndReach_order_repetition_and_split_leave_no_trace: 20,000 drawn histories, each in
// two orders, repeated, swept and packed in between, end in one state, that of the model.
func TestActivityAndReach_order_repetition_and_split_leave_no_trace(t *testing.T) {
	rules := presence.DefaultRules()
	said := 0
	for seed := range uint64(20_000) {
		r := rand.New(rand.NewPCG(seed, 2))
		now := t0 + 10_000
		var reports []presence.Report
		for range 1 + r.IntN(10) {
			one := session(presence.Kind(1+r.IntN(3)), []string{"ios", "web"}[r.IntN(2)], t0+presence.Millis(r.IntN(6))*1000)
			one.Incarnation = []presence.Millis{0, 0, 0, t0, t0 + 1000}[r.IntN(5)]
			switch {
			case r.IntN(3) == 0:
				one = reach([]string{"ios", "web", ""}[r.IntN(3)], presence.Reach(1+r.IntN(3)), one.At)
			case one.Kind != presence.KindOffline && r.IntN(3) > 0:
				one.Activity = presence.Activity(1 + r.IntN(3))
				one.Used = []presence.Millis{0, t0 - 5000, t0 + 1500}[r.IntN(3)]
			}
			reports = append(reports, one)
		}
		var one, other presence.State
		for _, report := range reports {
			apply(t, &one, report, now, &rules)
		}
		again := append(slices.Clone(reports), reports[:r.IntN(len(reports)+1)]...)
		r.Shuffle(len(again), func(i, k int) { again[i], again[k] = again[k], again[i] })
		for _, report := range again {
			apply(t, &other, report, now, &rules)
			if r.IntN(4) == 0 {
				other.Expire(now, &rules)
				other = *repacked(t, &other)
			}
		}
		activity, reached := wordsOf(reports)
		for _, st := range []*presence.State{&one, &other, repacked(t, &one)} {
			gotActivity, gotReached := wordsIn(st)
			if fmt.Sprint(gotActivity, gotReached) != fmt.Sprint(activity, reached) {
				t.Fatalf("seed %d: got %v %v, want %v %v\n%s", seed, gotActivity, gotReached, activity, reached, listing(reports))
			}
		}
		said += len(activity)
		if got, want := fmt.Sprintf("%+v", bare(other)), fmt.Sprintf("%+v", bare(one)); got != want {
			t.Fatalf("seed %d, in another order:\n got %s\nwant %s\n%s", seed, got, want, listing(reports))
		}
		joined := one
		joined.Join(&other, now, &rules)
		if got, want := fmt.Sprintf("%+v", bare(joined)), fmt.Sprintf("%+v", bare(one)); got != want {
			t.Fatalf("seed %d, joined with itself:\n got %s\nwant %s", seed, got, want)
		}
	}
	if said < 10_000 {
		t.Errorf("%d sessions have an activity: the histories are too tame", said)
	}
}

// TestReachAndActivity: what a peer does, and whether a push gets there, by stories.
func TestReachAndActivity(t *testing.T) {
	rules := presence.DefaultRules()
	on := func(id string, at presence.Millis) presence.Report {
		r := session(presence.KindOnline, id, at)
		r.Device = id
		return r
	}
	off := func(id string, cause presence.Cause, at presence.Millis) presence.Report {
		r := session(presence.KindOffline, id, at)
		r.Cause, r.Device = cause, id
		return r
	}
	hook := func(kind presence.Kind, cause presence.Cause, at presence.Millis) presence.Report {
		return presence.Report{App: "a", Peer: "tom", Source: presence.SourceLeanCloud, Kind: kind, Cause: cause, At: at}
	}
	const m, day = presence.Millis(60_000), presence.Millis(86_400_000)
	named := func(r presence.Report, id presence.SessionID) presence.Report { r.Session = id; return r }
	socket := func(r presence.Report, start presence.Millis) presence.Report {
		r.Source, r.Incarnation = presence.SourceGateway, start
		return r
	}
	for name, c := range map[string]struct {
		reports  []presence.Report
		after    time.Duration
		activity presence.Activity
		reach    presence.Reach
	}{
		"nothing known":                    {nil, 0, presence.ActivityUnknown, presence.ReachUnknown},
		"online, nothing said":             {[]presence.Report{on("ios", t0)}, 0, presence.ActivityUnknown, presence.ReachYes},
		"in the foreground":                {[]presence.Report{on("ios", t0), active("ios", presence.Foreground, t0+1, 0)}, 0, presence.Foreground, presence.ReachYes},
		"not used for six minutes":         {[]presence.Report{on("ios", t0), active("ios", presence.Foreground, t0+1, t0+1)}, 6 * time.Minute, presence.Idle, presence.ReachYes},
		"minimised phone, idle desktop":    {[]presence.Report{active("ios", presence.Background, t0, 0), active("mac", presence.Idle, t0, 0)}, 0, presence.Idle, presence.ReachYes},
		"the phone in use was lost":        {[]presence.Report{active("ios", presence.Foreground, t0, 0), active("mac", presence.Idle, t0, 0), off("ios", presence.CauseLost, t0+m)}, time.Minute, presence.Idle, presence.ReachYes},
		"killed app":                       {[]presence.Report{on("ios", t0), off("ios", presence.CauseLost, t0+m)}, time.Hour, presence.ActivityUnknown, presence.ReachYes},
		"killed app, days ago":             {[]presence.Report{on("ios", t0), off("ios", presence.CauseLost, t0+m)}, 5 * 24 * time.Hour, presence.ActivityUnknown, presence.ReachYes},
		"logged out":                       {[]presence.Report{on("ios", t0), off("ios", presence.CauseLogout, t0+m)}, time.Hour, presence.ActivityUnknown, presence.ReachNo},
		"logged out, days ago":             {[]presence.Report{on("ios", t0), off("ios", presence.CauseLogout, t0+m)}, 5 * 24 * time.Hour, presence.ActivityUnknown, presence.ReachUnknown},
		"logged out on one of two":         {[]presence.Report{on("ios", t0), on("mac", t0), off("mac", presence.CauseLogout, t0+m), off("ios", presence.CauseLost, t0+m-1)}, time.Hour, presence.ActivityUnknown, presence.ReachYes},
		"kicked on both":                   {[]presence.Report{on("ios", t0), on("mac", t0), off("mac", presence.CauseKicked, t0+m), off("ios", presence.CauseKicked, t0+m)}, time.Hour, presence.ActivityUnknown, presence.ReachNo},
		"killed, token said to be invalid": {[]presence.Report{on("ios", t0), off("ios", presence.CauseLost, t0+m), reach("ios", presence.ReachNo, t0+2*m)}, time.Hour, presence.ActivityUnknown, presence.ReachNo},
		"token invalid, another device":    {[]presence.Report{on("ios", t0), on("mac", t0), off("ios", presence.CauseLost, t0+m), reach("ios", presence.ReachNo, t0+2*m)}, time.Hour, presence.ActivityUnknown, presence.ReachYes},
		"token invalid, then it came back": {[]presence.Report{reach("ios", presence.ReachNo, t0), on("ios", t0+m), off("ios", presence.CauseLost, t0+2*m)}, time.Hour, presence.ActivityUnknown, presence.ReachYes},
		"logged out, said to be reachable": {[]presence.Report{on("ios", t0), off("ios", presence.CauseLogout, t0+m), reach("ios", presence.ReachYes, t0+2*m)}, time.Hour, presence.ActivityUnknown, presence.ReachYes},
		"lost and forgotten, then logged out elsewhere": {[]presence.Report{
			on("ios", t0), off("ios", presence.CauseLost, t0+m), on("web", t0+2*day), off("web", presence.CauseLogout, t0+2*day+m),
		}, time.Hour, presence.ActivityUnknown, presence.ReachUnknown},
		"the same device came back, then logged out": {[]presence.Report{
			on("ios", t0), off("ios", presence.CauseLost, t0+m), named(on("ios", t0+2*day), "2"), named(off("ios", presence.CauseLogout, t0+2*day+m), "2"),
		}, time.Hour, presence.ActivityUnknown, presence.ReachNo},
		"lost and forgotten, a word about another": {[]presence.Report{
			on("ios", t0), off("ios", presence.CauseLost, t0+m), reach("web", presence.ReachNo, t0+m),
		}, 20 * 24 * time.Hour, presence.ActivityUnknown, presence.ReachUnknown},
		"sockets: lost long before the logout elsewhere": {[]presence.Report{
			socket(on("ios", t0), t0), socket(off("ios", presence.CauseLost, t0+m), t0), socket(on("web", t0+40*m), t0+40*m),
			socket(off("web", presence.CauseLogout, t0+41*m), t0+40*m),
		}, time.Hour, presence.ActivityUnknown, presence.ReachUnknown},
		"quiet":                              {[]presence.Report{reach("ios", presence.ReachQuiet, t0)}, time.Hour, presence.ActivityUnknown, presence.ReachQuiet},
		"a word outlives the peer":           {[]presence.Report{on("ios", t0), off("ios", presence.CauseLost, t0+1), reach("ios", presence.ReachNo, t0+2)}, 30 * 24 * time.Hour, presence.ActivityUnknown, presence.ReachNo},
		"not for ever":                       {[]presence.Report{reach("ios", presence.ReachNo, t0)}, 61 * 24 * time.Hour, presence.ActivityUnknown, presence.ReachUnknown},
		"hooks: one device, logged out":      {[]presence.Report{hook(presence.KindOnline, 0, t0), hook(presence.KindOffline, presence.CauseLogout, t0+m)}, time.Hour, presence.ActivityUnknown, presence.ReachNo},
		"hooks: one device, lost":            {[]presence.Report{hook(presence.KindOnline, 0, t0), hook(presence.KindOffline, presence.CauseLost, t0+m)}, time.Hour, presence.ActivityUnknown, presence.ReachYes},
		"hooks: two devices, one logged out": {[]presence.Report{hook(presence.KindOnline, 0, t0), hook(presence.KindOnline, 0, t0), hook(presence.KindOffline, presence.CauseLogout, t0+m)}, time.Minute, presence.ActivityUnknown, presence.ReachYes},
	} {
		t.Run(name, func(t *testing.T) {
			var st presence.State
			last := t0
			for _, r := range c.reports {
				last = max(last, r.At)
				apply(t, &st, r, last, &rules)
			}
			now := last.Add(c.after)
			for _, step := range []presence.Millis{last.Add(c.after / 2), now} {
				st.Expire(step, &rules)
				st = *repacked(t, &st)
			}
			if a, _ := st.Activity(now, &rules); a != c.activity {
				t.Errorf("the activity is %v, want %v", a, c.activity)
			}
			if got := st.Reach(now, &rules); got != c.reach {
				t.Errorf("the reach is %v, want %v", got, c.reach)
			}
		})
	}
}

// TestReachIsBounded: sixteen devices, sixty days; then nothing of it is left.
func TestReachIsBounded(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	for i := range 40 {
		apply(t, &st, reach(fmt.Sprint("d", i), presence.ReachYes, t0+presence.Millis(i)), t0+100, &rules)
	}
	if len(st.Reached) != 16 || st.Forgotten() || st.Status != presence.Unknown {
		t.Fatalf("%d devices, %v", len(st.Reached), st.Status)
	}
	due := st.Deadline(&rules)
	if want := presence.Millis(t0 + 39).Add(60 * 24 * time.Hour); due != want {
		t.Fatalf("due at %d, want %d", due, want)
	}
	if _, e := st.Expire(due-1, &rules); e != presence.Quiet || len(st.Reached) != 1 {
		t.Errorf("effect %v, %d left", e, len(st.Reached))
	}
	if _, e := st.Expire(due, &rules); e == presence.Same || !st.Forgotten() {
		t.Errorf("effect %v, %+v", e, st)
	}
}

// TestActivityCarriedByAnOlderRelease: it touches the session and keeps the bytes about its
// activity, which must say the same then.
func TestActivityCarriedByAnOlderRelease(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	apply(t, &st, active("1", presence.Foreground, t0+5000, t0+2000), t0+5000, &rules)
	before := presence.PackActivity(st.Sessions)
	apply(t, &st, session(presence.KindTouch, "1", t0+200_000), t0+200_000, &rules)
	if after := presence.PackActivity(st.Sessions); len(before) == 0 || !bytes.Equal(after, before) {
		t.Errorf("a touch without an activity turns %x into %x", before, after)
	}
}

// TestReachOfWordsDroppedIsInDoubt: where a yes may be among the words dropped, those that are kept
// do not say no.
func TestReachOfWordsDroppedIsInDoubt(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	apply(t, &st, reach("the phone", presence.ReachYes, t0), t0, &rules)
	for i := range 16 {
		if i == 15 && st.Reach(t0+100, &rules) != presence.ReachYes {
			t.Errorf("with %d words the reach is %v", len(st.Reached), st.Reach(t0+100, &rules))
		}
		apply(t, &st, reach(fmt.Sprint("d", i), presence.ReachNo, t0+presence.Millis(i+1)), t0+100, &rules)
	}
	if got := st.Reach(t0+100, &rules); got != presence.ReachUnknown {
		t.Errorf("%d words of no, one of yes dropped: the reach is %v", len(st.Reached), got)
	}
	apply(t, &st, reach("d3", presence.ReachQuiet, t0+90), t0+100, &rules)
	if got := st.Reach(t0+100, &rules); got != presence.ReachQuiet {
		t.Errorf("of as many as are kept, one quiet: the reach is %v", got)
	}
}

// TestActivityAndReachAreSmall: at most 24 bytes for a peer with both.
func TestActivityAndReachAreSmall(t *testing.T) {
	rules := presence.DefaultRules()
	var plain, both presence.State
	online := session(presence.KindOnline, "0123456789abcdef", t0)
	online.Device = "ios"
	for _, st := range []*presence.State{&plain, &both} {
		apply(t, st, online, t0, &rules)
	}
	before := both.Pack(nil)
	apply(t, &both, active("0123456789abcdef", presence.Foreground, t0+90_000, t0+88_000), t0+90_000, &rules)
	apply(t, &both, reach("ios", presence.ReachYes, t0+2000), t0+90_000, &rules)
	apply(t, &plain, session(presence.KindTouch, "0123456789abcdef", t0+90_000), t0+90_000, &rules)
	if more := len(both.Pack(nil)) - len(plain.Pack(nil)); more > 24 || before[8]>>4 != 1 {
		t.Errorf("%d bytes more, format %d before", more, before[8]>>4)
	} else {
		t.Logf("%d bytes more", more)
	}
}

// TestActivity_of_a_session_that_an_older_release_has_removed_is_dropped: the section is carried by
// releases that do not know it.
func TestActivity_of_a_session_that_an_older_release_has_removed_is_dropped(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	for _, id := range []string{"a", "b", "c"} {
		apply(t, &st, active(id, presence.Background, t0, 0), t0, &rules)
	}
	apply(t, &st, active("c", presence.Foreground, t0+1, 0), t0+1, &rules)
	packed := st.Pack(nil)
	var old presence.State
	if err := old.Unpack(packed); err != nil {
		t.Fatal(err)
	}
	section := packed[len(packed)-presence.ActivitySection(&st):]
	for i := range old.Sessions {
		old.Sessions[i].Active = presence.Active{}
	}
	old.Sessions = slices.Delete(old.Sessions, 1, 2)
	old.Rest = section
	got := repacked(t, &old)
	if len(got.Rest) != 0 {
		t.Fatalf("%d bytes are not read", len(got.Rest))
	}
	activity, _ := wordsIn(got)
	if want := fmt.Sprint(map[string]string{"a": fmt.Sprint(int64(t0), presence.Background, 0), "c": fmt.Sprint(int64(t0+1), presence.Foreground, 0)}); fmt.Sprint(activity) != want {
		t.Errorf("got %v, want %v", activity, want)
	}
}
