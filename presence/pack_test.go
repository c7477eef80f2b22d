package presence_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"rollcall/presence"
)

// same compares states but for slices that are nil in one and empty in the other.
func same(a, b *presence.State) bool { return fmt.Sprintf("%+v", *a) == fmt.Sprintf("%+v", *b) }

// checkState holds st to what every state promises at t.
func checkState(t tb, st *presence.State, at presence.Millis, rules *presence.Rules) {
	t.Helper()
	packed := st.Pack(nil)
	back := repack(t, st)
	if !same(&back, st) {
		t.Fatalf("packed and back:\n got %+v\nwant %+v", back, *st)
	}
	if rev := presence.Rev(packed); rev != st.Rev {
		t.Fatalf("the first bytes say revision %d, want %d", rev, st.Rev)
	}
	if got, want := presence.PeekSummary(packed), st.Summary(); got != want {
		t.Fatalf("summary of the packed state:\n got %+v\nwant %+v", got, want)
	}
	shown := st.Summary().At(at, rules)
	status, noded := presence.PeekStatus(packed, at, rules)
	if status != shown.Status || noded != (shown.Status == presence.Online && shown.Noded) {
		t.Fatalf("peek %v noded %v, summary %+v", status, noded, shown)
	}
	deadline, days := st.Deadline(rules), fmt.Sprint(st.OnlineTime(at, rules))
	o, _ := back.Expire(at, rules)
	if after := fmt.Sprint(back.OnlineTime(at, rules)); after != days {
		t.Fatalf("online time at %d: %s, after a sweep %s", at, days, after)
	}
	if due := deadline != 0 && at >= deadline; o.Turned != due {
		t.Fatalf("deadline %d, at %d: turned %v", deadline, at, o.Turned)
	}
	if shown.Noded = false; shown.Status != presence.Online {
		o.Summary.Noded = false
	} else {
		shown.Noded = o.Summary.Noded
	}
	if o.Summary != shown {
		t.Fatalf("the sweep and the summary disagree at %d:\nsweep %+v\n shown %+v", at, o.Summary, shown)
	}
	if _, e := back.Expire(at, rules); e != presence.Same {
		t.Fatal("a second sweep at the same time still had something to do")
	}
}

// scriptReports reads reports out of any bytes, eight for each, at times that go forward.
func scriptReports(script []byte) []presence.Report {
	var (
		reports []presence.Report
		at      = t0
	)
	for ; len(script) >= 8; script = script[8:] {
		b := script[:8]
		at += presence.Millis(b[0]) * presence.Millis(b[1]) * presence.Millis(b[1])
		r := presence.Report{
			App: "a", Peer: "tom", Kind: presence.KindOnline + presence.Kind(b[2]%3), At: at - presence.Millis(b[3])*100,
			Source: []presence.Source{"leancloud", "gateway", "api", "emqx"}[b[4]%4], Cause: presence.Cause(b[4] >> 4 % 8),
			Device: []string{"", "ios"}[b[4]>>2&1], Reconnect: b[4]>>3&1 == 1,
			Lease: []time.Duration{0, 45 * time.Second, time.Hour, 7 * 24 * time.Hour}[b[5]%4], Hold: time.Duration(b[5]>>4) * time.Second,
			Policy: presence.Policy(b[5] >> 2 & 1),
		}
		if b[6]%3 == 0 {
			r.Tag = []string{"", "default", "phone", "pad"}[b[6]>>2%4]
			if b[7] > 127 {
				r.ID = fmt.Sprint(b[7])
			}
		} else {
			r.Session = presence.SessionID(fmt.Sprint(b[6] >> 4))
			r.Incarnation = presence.Millis(b[7]%3) * t0
			r.Node = []presence.NodeID{"", "", "n1", "n2"}[b[7]>>2%4]
		}
		reports = append(reports, r)
	}
	return reports
}

// FuzzReports plays any reports: no state may break a promise, at any time after.
func FuzzReports(f *testing.F) {
	f.Add(bytes.Repeat([]byte{1, 200, 0, 0, 0, 0, 0, 0, 1, 250, 1, 9, 16, 0, 0, 200}, 4), uint64(1000))
	f.Add(bytes.Repeat([]byte{9, 90, 0, 3, 2, 1, 17, 4, 3, 250, 1, 9, 33, 0, 17, 4, 1, 1, 2, 0, 65, 34, 34, 9}, 3), uint64(700_000_000))
	rules := timed()
	f.Fuzz(func(t *testing.T, script []byte, later uint64) {
		var (
			st  presence.State
			now = t0
		)
		for i, r := range scriptReports(script[:min(len(script), 8*200)]) {
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
			now = max(now, r.At)
			if r.Session != "" { // of a source with numbers, and with a clock that may be off
				r.Seq, r.At = uint64(i%7/5), r.At.Add([]time.Duration{0, 0, 20 * time.Second, -time.Hour, 48 * time.Hour}[i%13%5])
			}
			if !rules.Admit(&r, now) {
				continue
			}
			if i%5 == 4 {
				st.Expire(now, &rules)
			}
			if i%11 == 10 {
				st.EndNode(presence.LostNode{Node: "n1", At: now - 1}, now, &rules)
			}
			apply(t, &st, r, now, &rules)
			st.Rev = presence.NextRev(st.Rev, now)
			// A sweep now makes the state one that a summary at a later time can be held to.
			st.Expire(now, &rules)
		}
		checkState(t, &st, now.Add(time.Duration(later%(30*24*3600*1000))*time.Millisecond), &rules)
	})
}

// FuzzUnpack reads any bytes: no panic, and what is read can be used, kept and read again.
func FuzzUnpack(f *testing.F) {
	rules := timed()
	for _, hooks := range []string{"+@0", "+@0 -@5", "-@0", "+@0 +@100 -@1000 -@1001", "+phone@0 +phone/again@1 -phone/replaced@2", "+@0 +@1 +@2"} {
		_, st := play(f, hooks, presence.PolicySum)
		f.Add(st.Pack(nil))
	}
	rules.Replay = presence.ReplayWithin
	var late presence.State
	for _, word := range []string{"+@0", "+phone/again@3", "-phone/lost@5", "-@2", "+@1"} {
		r := hook(f, word, presence.PolicySum)
		r.ID, r.Lease, r.Hold = word, time.Hour, time.Second
		late.Replay(&r, r.At, t0.Add(time.Minute), &rules)
		f.Add(late.Pack(nil))
	}
	r := sessionReport(f, "on@3/1")
	r.Node, r.Device, r.Hold = "n1", "ios", time.Second
	var st presence.State
	st.Apply(&r, r.At, &rules)
	f.Add(st.Pack(nil))
	st.EndNode(presence.LostNode{Node: "n1", At: t0.Add(40 * time.Hour)}, t0.Add(41*time.Hour), &rules)
	f.Add(st.Pack(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var st presence.State
		if err := st.Unpack(b); err != nil {
			if !errors.Is(err, presence.ErrCorrupt) {
				t.Fatalf("%v is no ErrCorrupt", err)
			}
			presence.PeekStatus(b, t0, &rules)
			presence.PeekSummary(b)
			return
		}
		again := repack(t, &st)
		if !same(&again, &repackTwice(t, &again)[0]) {
			t.Fatal("packing is not stable")
		}
		st.Deadline(&rules)
		for _, word := range []string{"+@0", "-phone@5", "-@6", "+@20000"} {
			r := hook(t, word, presence.PolicySum)
			r.ID = word
			st.Apply(&r, r.At, &rules)
		}
		st.Expire(t0.Add(365*24*time.Hour), &rules)
	})
}

func repackTwice(t tb, st *presence.State) []presence.State {
	one := repack(t, st)
	return []presence.State{one, repack(t, &one)}
}

// refusesEveryOtherLength tries packed cut to every length, and a byte longer.
func refusesEveryOtherLength(t *testing.T, packed []byte) {
	t.Helper()
	var back presence.State
	for n := range packed {
		if err := back.Unpack(packed[:n]); !errors.Is(err, presence.ErrCorrupt) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(packed), err)
		}
	}
	if err := back.Unpack(append(packed, 0)); !errors.Is(err, presence.ErrCorrupt) {
		t.Errorf("one byte more: %v", err)
	}
}

// Cut short or made longer, a packed state is refused, and a count that cannot be true allocates
// nothing.
func TestUnpackRefuses(t *testing.T) {
	_, st := play(t, "+phone@0 +@1 -pad@2 +phone/again@3", presence.PolicySum)
	r := sessionReport(t, "on@3/1")
	r.Node, r.Device = "n1", "ios"
	rules := presence.DefaultRules()
	st.Apply(&r, r.At, &rules)
	refusesEveryOtherLength(t, st.Pack(nil))
	var back presence.State
	for _, c := range []struct {
		name string
		at   int
		to   byte
	}{{"another format", 8, 2 << 4}, {"no status", 8, 1<<4 | 3}, {"no cause", 9, 99}} {
		bad := st.Pack(nil)
		bad[c.at] = c.to
		if err := back.Unpack(bad); !errors.Is(err, presence.ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	huge := append((&presence.State{}).Pack(nil)[:24], 0xff, 0xff, 0xff, 0xff, 0x7f)
	if n := testing.AllocsPerRun(10, func() { _ = back.Unpack(huge) }); n > 10 {
		t.Errorf("a count of 30 billion sessions: %v allocations", n)
	}
}

// The usual state of a hook-fed peer is small: millions of them are kept.
func TestPackIsSmall(t *testing.T) {
	empty := presence.State{Status: presence.Offline, Since: t0, LastSeen: t0, Day: 20000}
	for _, c := range []struct {
		name, hooks string
		slots, most int
	}{
		{"online, one device", "+@0", 1, 10},
		{"offline again", "+@0 -@5", 0, 0},
		{"online again", "+@0 -@5 +@100", 1, 10},
		{"online with a tag", "+phone@0", 1, 18},
	} {
		_, st := play(t, c.hooks, presence.PolicySum)
		if len(st.Slots) != c.slots {
			t.Errorf("%s: %d slots, want %d", c.name, len(st.Slots), c.slots)
			continue
		}
		with := len(st.Pack(nil))
		st.Slots = nil
		if got := with - len(st.Pack(nil)); got > c.most {
			t.Errorf("%s: the slot takes %d bytes, want at most %d", c.name, got, c.most)
		}
	}
	if n := len(empty.Pack(nil)); n > 32 {
		t.Errorf("an offline peer takes %d bytes, want at most 32", n)
	}
}

func TestPeekStatusAllocatesNothing(t *testing.T) {
	rules := presence.DefaultRules()
	_, st := play(t, "+@0", presence.PolicySum)
	packed := st.Pack(nil)
	if n := testing.AllocsPerRun(100, func() { presence.PeekStatus(packed, t0, &rules) }); n != 0 {
		t.Errorf("PeekStatus: %v allocations, want none", n)
	}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() { buf = st.Pack(buf[:0]) }); n != 0 {
		t.Errorf("Pack into a buffer: %v allocations, want none", n)
	}
}

func BenchmarkApply(b *testing.B) {
	rules := presence.DefaultRules()
	on, off := hook(b, "+@0", presence.PolicySum), hook(b, "-@0", presence.PolicySum)
	var st presence.State
	at := t0
	b.ReportAllocs()
	for b.Loop() {
		at += 1000
		on.At, off.At = at, at+500
		st.Apply(&on, on.At, &rules)
		st.Apply(&off, off.At, &rules)
	}
}

func BenchmarkPack(b *testing.B) {
	_, st := play(b, "+@0", presence.PolicySum)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = st.Pack(buf[:0])
	}
}

func BenchmarkUnpack(b *testing.B) {
	_, st := play(b, "+@0", presence.PolicySum)
	packed := st.Pack(nil)
	var back presence.State
	b.ReportAllocs()
	for b.Loop() {
		if err := back.Unpack(packed); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPeekStatus(b *testing.B) {
	rules := presence.DefaultRules()
	_, st := play(b, "+@0", presence.PolicySum)
	packed := st.Pack(nil)
	b.ReportAllocs()
	for b.Loop() {
		if s, _ := presence.PeekStatus(packed, t0, &rules); s != presence.Online {
			b.Fatal(s)
		}
	}
}
