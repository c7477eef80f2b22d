package presence_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rollcall/presence"
)

// timed returns rules that keep online time.
func timed() presence.Rules {
	rules := presence.DefaultRules()
	rules.OnlineTime = true
	return rules
}

// spell writes days as hours, with the days counted from that of t0.
func spell(days []presence.Day) string {
	first := int32(t0.Time().Unix() / 86400)
	var all []string
	for _, d := range days {
		all = append(all, fmt.Sprintf("%d:%g", d.Day-first, d.Online.Hours()))
	}
	return strings.Join(all, " ")
}

func hours(h float64) presence.Millis { return t0.Add(time.Duration(h * float64(time.Hour))) }

// Times are hours after t0, which is a midnight in UTC.
func TestOnlineTime(t *testing.T) {
	type step struct {
		word     string // on, off, touch, sweep, lost
		session  presence.SessionID
		at       float64 // hours after t0
		received float64 // 0: at once
		lease    float64 // 0: 30 days
		inc      float64
	}
	for _, c := range []struct {
		name   string
		offset time.Duration
		steps  []step
		now    float64
		want   string
	}{
		{name: "nobody knows it", now: 1},
		{name: "on and off", steps: []step{{word: "on", at: 1}, {word: "off", at: 3.5}}, now: 9, want: "0:2.5"},
		{name: "twice a day", steps: []step{{word: "on", at: 1}, {word: "off", at: 2}, {word: "on", at: 4}, {word: "off", at: 6}}, now: 9, want: "0:3"},
		{name: "over a midnight", steps: []step{{word: "on", at: 23}, {word: "off", at: 26}}, now: 30, want: "0:1 1:2"},
		{name: "until midnight", steps: []step{{word: "on", at: 23}, {word: "off", at: 24}}, now: 30, want: "0:1"},
		{name: "from midnight", steps: []step{{word: "on", at: 24}, {word: "off", at: 25}}, now: 30, want: "1:1"},
		{name: "over two midnights", steps: []step{{word: "on", at: 23}, {word: "off", at: 49}}, now: 50, want: "0:1 1:24 2:1"},
		{name: "midnight is local", offset: 8 * time.Hour, steps: []step{{word: "on", at: 15}, {word: "off", at: 18}}, now: 30, want: "0:1 1:2"},
		{name: "midnight west of UTC", offset: -5 * time.Hour, steps: []step{{word: "on", at: 23}, {word: "off", at: 30}}, now: 40, want: "0:6 1:1"},
		{name: "a day without is left out", steps: []step{{word: "on", at: 1}, {word: "off", at: 2}, {word: "on", at: 73}, {word: "off", at: 74}}, now: 80, want: "0:1 3:1"},
		{name: "still online", steps: []step{{word: "on", at: 22}}, now: 25, want: "0:2 1:1"},
		{name: "still online, after a day that is over", steps: []step{{word: "on", at: 1}, {word: "off", at: 2}, {word: "on", at: 23}}, now: 25, want: "0:2 1:1"},
		{name: "an end of what nobody saw begin", steps: []step{{word: "off", at: 1}}, now: 2},
		{name: "one of two devices leaves", steps: []step{{word: "on", at: 1}, {word: "on", session: "y", at: 2}, {word: "off", at: 3}, {word: "off", session: "y", at: 5}}, now: 6, want: "0:4"},
		{name: "the lease ran out, swept", steps: []step{{word: "on", at: 1, lease: 2}, {word: "sweep", at: 7}}, now: 9, want: "0:2"},
		{name: "the lease ran out, not swept", steps: []step{{word: "on", at: 1, lease: 2}}, now: 9, want: "0:2"},
		{name: "renewed", steps: []step{{word: "on", at: 1, lease: 2}, {word: "touch", at: 2, lease: 2}, {word: "sweep", at: 7}}, now: 9, want: "0:3"},
		{name: "the node was lost", steps: []step{{word: "noded", at: 1}, {word: "lost", at: 4, received: 5}}, now: 9, want: "0:3"},
		{name: "the node was lost, the session goes on", steps: []step{{word: "noded", at: 1}, {word: "lost", at: 4, received: 5}, {word: "touch", at: 6}, {word: "off", at: 8}}, now: 9, want: "0:7"},
		{name: "both reports are late", steps: []step{{word: "on", at: 1, received: 9}, {word: "off", at: 3, received: 9}}, now: 9, want: "0:2"},
		{name: "late and swapped: the start is unknown", steps: []step{{word: "off", at: 3, received: 9}, {word: "on", at: 1, received: 9}}, now: 9},
		{name: "late and swapped, the start named", steps: []step{{word: "off", at: 3, received: 9, inc: 1}, {word: "on", at: 1, received: 9, inc: 1}}, now: 9, want: "0:2"},
		{name: "a late end after the lease ran out", steps: []step{{word: "on", at: 1, lease: 2}, {word: "sweep", at: 4}, {word: "off", at: 5, received: 9}}, now: 9, want: "0:4"},
		{name: "a late session within what is counted", steps: []step{{word: "on", at: 1}, {word: "off", at: 6}, {word: "on", session: "y", at: 2, received: 7}, {word: "off", session: "y", at: 4, received: 7}}, now: 9, want: "0:5"},
		{name: "a late session over the end of what is counted", steps: []step{{word: "on", at: 1}, {word: "off", at: 6}, {word: "on", session: "y", at: 5, received: 7}, {word: "off", session: "y", at: 8}}, now: 9, want: "0:7"},
		{name: "the same reports twice", steps: []step{{word: "on", at: 1}, {word: "off", at: 3}, {word: "on", at: 1, received: 4}, {word: "off", at: 3, received: 4}}, now: 9, want: "0:2"},
		{name: "forgotten with the peer", steps: []step{{word: "on", at: 1}, {word: "off", at: 3}}, now: 3 + 7*24},
		{name: "remembered until then", steps: []step{{word: "on", at: 1}, {word: "off", at: 3}}, now: 2.9 + 7*24, want: "0:2"},
		{name: "back before it is forgotten", steps: []step{{word: "on", at: 1}, {word: "off", at: 3}, {word: "on", at: 145}}, now: 146, want: "0:2 6:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rules := timed()
			rules.DayOffset = c.offset
			var st presence.State
			for _, s := range c.steps {
				received := hours(max(s.at, s.received))
				switch s.word {
				case "sweep":
					st.Expire(received, &rules)
				case "lost":
					st.EndNode(presence.LostNode{Node: "n1", At: hours(s.at)}, received, &rules)
				default:
					r := presence.Report{App: "a", Peer: "tom", Source: "api", Session: s.session, At: hours(s.at), Kind: presence.KindOnline, Lease: presence.MaxLease}
					if s.session == "" {
						r.Session = "x"
					}
					if s.lease > 0 {
						r.Lease = time.Duration(s.lease * float64(time.Hour))
					}
					if s.inc > 0 {
						r.Incarnation = hours(s.inc)
					}
					switch s.word {
					case "off":
						r.Kind = presence.KindOffline
					case "touch":
						r.Kind = presence.KindTouch
					case "noded":
						r.Node = "n1"
					}
					if !rules.Admit(&r, received) {
						t.Fatalf("%+v is stale", s)
					}
					apply(t, &st, r, received, &rules)
				}
				st = repack(t, &st) // as after a restart
			}
			if got := spell(st.OnlineTime(hours(c.now), &rules)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			// The sweep changes what is kept, not what is answered.
			st.Expire(hours(c.now), &rules)
			if got := spell(st.OnlineTime(hours(c.now), &rules)); got != c.want {
				t.Errorf("after a sweep: got %q, want %q", got, c.want)
			}
		})
	}
}

// Thirty days are kept and no more, of one long session as of many.
func TestOnlineTimeIsKeptThirtyDays(t *testing.T) {
	rules := timed()
	var long, many presence.State
	on, off := sessionReport(t, "on@0"), sessionReport(t, "off@0")
	on.Lease = presence.MaxLease
	for day := range 45 {
		on.At = hours(float64(day * 24))
		apply(t, &long, on, on.At, &rules)
		on, off := on, off
		on.At, off.At = hours(float64(day*24)+23), hours(float64(day*24)+24)
		apply(t, &many, on, on.At, &rules)
		apply(t, &many, off, off.At, &rules)
	}
	for _, c := range []struct {
		name string
		st   *presence.State
		each time.Duration
	}{{"long", &long, 24 * time.Hour}, {"many", &many, time.Hour}} {
		off := off
		off.At = hours(45 * 24)
		apply(t, c.st, off, off.At, &rules)
		days := c.st.OnlineTime(off.At-1, &rules)
		if len(days) != presence.OnlineDays || len(c.st.Days) != presence.OnlineDays {
			t.Fatalf("%s: %d days are shown, %d kept", c.name, len(days), len(c.st.Days))
		}
		for _, d := range days {
			if d.Online != c.each {
				t.Errorf("%s: %s has %v, want %v", c.name, d.Date(), d.Online, c.each)
			}
		}
		// What is too old at the time of the query is left out, even if nothing was written since.
		if n := len(c.st.OnlineTime(off.At.Add(3*24*time.Hour), &rules)); n != presence.OnlineDays-4 {
			t.Errorf("%s: %d days are shown three days and a bit later, want %d", c.name, n, presence.OnlineDays-4)
		}
	}
}

// Reported in time, the days hold exactly what was answered, minute by minute.
func TestOnlineTimeIsWhatWasAnswered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rules := timed()
		rules.DayOffset = time.Duration(rapid.IntRange(-28, 28).Draw(t, "half hours of offset")) * 30 * time.Minute
		var (
			st    presence.State
			want  = map[int32]time.Duration{}
			now   = t0
			opens []presence.Report
		)
		for i := range rapid.IntRange(1, 25).Draw(t, "steps") {
			r := presence.Report{App: "a", Peer: "tom", Source: "api", Kind: presence.KindOnline, Session: presence.SessionID(fmt.Sprint(i)), At: now}
			r.Lease = time.Duration(rapid.IntRange(1, 3000).Draw(t, "lease")) * time.Minute
			if n := len(opens); n > 0 && rapid.Bool().Draw(t, "close") {
				r, opens = opens[n-1], opens[:n-1]
				r.Kind, r.At = presence.KindOffline, now
				for _, s := range st.Sessions {
					if s.ID == r.Session && !s.Live(now) {
						r.Kind = 0 // its lease ran out
					}
				}
			} else {
				opens = append(opens, r)
			}
			if r.Kind != 0 {
				apply(t, &st, r, now, &rules)
			}
			for range rapid.IntRange(0, 2000).Draw(t, "minutes") {
				if st.Summary().At(now, &rules).Status == presence.Online {
					want[int32(now.Add(rules.DayOffset)/86_400_000)] += time.Minute
				}
				now = now.Add(time.Minute)
			}
			st.Expire(now, &rules)
			st = repack(t, &st)
		}
		days := st.OnlineTime(now, &rules)
		if st.Status == presence.Unknown {
			want = map[int32]time.Duration{}
		}
		got := map[int32]time.Duration{}
		for _, d := range days {
			got[d.Day] = d.Online
		}
		for day := range want {
			if day <= int32(now.Add(rules.DayOffset)/86_400_000)-presence.OnlineDays {
				delete(want, day)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// Two sessions reported in any order that ends with both over: as long as the peer turned the same,
// the days are the same.
func TestOnlineTimeInAnyOrder(t *testing.T) {
	rules := timed()
	rapid.Check(t, func(t *rapid.T) {
		// Both start before either ends, so in either order of receipt it is one stretch.
		var starts, ends []presence.Report
		first, last := presence.Millis(0), presence.Millis(0)
		for _, id := range []presence.SessionID{"x", "y", "z"} {
			r := presence.Report{App: "a", Peer: "tom", Source: "api", Session: id, Kind: presence.KindOnline, Lease: presence.MaxLease}
			r.At = hours(float64(rapid.IntRange(0, 10).Draw(t, "start")))
			if first == 0 {
				first = r.At
			}
			r.At = max(r.At, first) // who is received first opens the stretch
			starts = append(starts, r)
			r.Kind, r.At = presence.KindOffline, hours(float64(rapid.IntRange(11, 40).Draw(t, "end")))
			last = max(last, r.At)
			ends = append(ends, r)
		}
		now := hours(24)
		reports := append([]presence.Report{starts[0]}, rapid.Permutation(starts[1:]).Draw(t, "starts")...)
		reports = append(reports, rapid.Permutation(ends).Draw(t, "ends")...)
		var st presence.State
		for _, r := range reports {
			apply(t, &st, r, max(now, r.At), &rules)
			apply(t, &st, r, max(now, r.At), &rules) // twice
		}
		var sum time.Duration
		for _, d := range st.OnlineTime(hours(41), &rules) {
			sum += d.Online
		}
		if want := last.Sub(first); sum != want {
			t.Fatalf("%v, want %v", sum, want)
		}
	})
}

// Off, nothing is kept or answered; what was kept goes with the next report.
func TestOnlineTimeSwitchedOff(t *testing.T) {
	on, off := timed(), presence.DefaultRules()
	var kept, bare presence.State
	for _, word := range []string{"on@0", "off@60"} {
		r := sessionReport(t, word)
		apply(t, &kept, r, r.At, &on)
		apply(t, &bare, r, r.At, &off)
	}
	if len(bare.Days) != 0 || bare.Counted != 0 {
		t.Errorf("off, but kept: %+v", bare)
	}
	if len(kept.Days) != 1 {
		t.Fatalf("on, but not kept: %+v", kept)
	}
	if days := kept.OnlineTime(t0.Add(time.Hour), &off); days != nil {
		t.Errorf("off, but shown: %v", days)
	}
	r := sessionReport(t, "on@100")
	apply(t, &kept, r, r.At, &off)
	apply(t, &bare, r, r.At, &off)
	if !same(&kept, &bare) {
		t.Errorf("switched off:\n got %+v\nwant %+v", kept, bare)
	}
}

// A state that was packed before days were kept is a state without any.
func TestUnpackStateWithoutDays(t *testing.T) {
	rules := timed()
	var st presence.State
	r := sessionReport(t, "on@0")
	apply(t, &st, r, r.At, &rules)
	if packed := st.Pack(nil); packed[8] != 1<<4|byte(presence.Online) {
		t.Errorf("the ninth byte of a state without days is %08b", packed[8])
	}
	r = sessionReport(t, "off@60")
	apply(t, &st, r, r.At, &rules)
	with := st.Pack(nil)
	st.Days, st.Counted = nil, 0
	without := st.Pack(nil)
	if with[8] != without[8]|1<<3 || string(with[9:len(without)]) != string(without[9:]) {
		t.Errorf("days changed more than a bit and what follows:\n%x\n%x", with, without)
	}
}

func TestUnpackRefusesBadDays(t *testing.T) {
	var st presence.State
	st.Status, st.Since, st.Day, st.Counted = presence.Offline, t0, 20_000, t0
	good := []presence.Day{{19_990, time.Hour}, {19_991, time.Minute}, {20_000, 24 * time.Hour}}
	for _, c := range []struct {
		name string
		days []presence.Day
		ok   bool
	}{
		{"good", good, true},
		{"no time", []presence.Day{{20_000, 0}}, false},
		{"more than a day", []presence.Day{{20_000, 24*time.Hour + time.Millisecond}}, false},
		{"more than thirty days apart", []presence.Day{{19_970, 1e9}, {20_000, 1e9}}, false},
		{"before 1970", []presence.Day{{-1, 1e9}}, false},
	} {
		st.Days = c.days
		var back presence.State
		if err := back.Unpack(st.Pack(nil)); (err == nil) != c.ok || err != nil && !errors.Is(err, presence.ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	st.Days = good
	refusesEveryOtherLength(t, st.Pack(nil))
}

// The cost that the setting's comment states.
func TestOnlineTimeIsSmall(t *testing.T) {
	rules := timed()
	size := func(every int, online time.Duration) int {
		var st presence.State
		for day := 0; day < 30; day += every {
			on, off := sessionReport(t, "on@0"), sessionReport(t, "off@0")
			on.At = hours(float64(day*24) + 5)
			off.At = on.At.Add(online)
			apply(t, &st, on, on.At, &rules)
			apply(t, &st, off, off.At, &rules)
		}
		st.Deliveries, st.Sessions = nil, nil
		with := len(st.Pack(nil))
		days := len(st.Days)
		st.Days, st.Counted = nil, 0
		all := with - len(st.Pack(nil))
		t.Logf("%d days: %d bytes", days, all)
		return all
	}
	for _, c := range []struct {
		every  int
		online time.Duration
		most   int
	}{{1, 13*time.Hour + 77, 128}, {1, 20 * time.Minute, 128}, {2, 13 * time.Hour, 15*5 + 8}, {29, time.Hour, 2*5 + 8}} {
		if all := size(c.every, c.online); all > c.most {
			t.Errorf("every %d days: %d bytes, want at most %d", c.every, all, c.most)
		}
	}
}
