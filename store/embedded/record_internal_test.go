package embedded

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"

	"rollcall/presence"
)

// What the index keeps comes back as it was, whatever it is, and answers as the packed form does.
func FuzzSqueeze(f *testing.F) {
	st := presence.State{Rev: 1_772_600_767_001, Status: presence.Online, Since: 1_772_600_767_000, Until: 1_772_600_767_000 + week, Day: 20516}
	f.Add(st.Pack(nil), int64(1_772_600_767_000))
	st = presence.State{Rev: 7, Status: presence.Offline, Cause: presence.CauseExpired, Since: 1_772_600_767_000, LastSeen: 1_772_600_700_000, Hold: time.Second}
	f.Add(st.Pack(nil), int64(1_772_600_767_000))
	st.Days, st.Counted = []presence.Day{{Day: 20515, Online: time.Hour}}, 1_772_600_767_000
	f.Add(st.Pack(nil), int64(1_772_600_767_000))
	st.Days, st.Counted, st.Reached = nil, 0, presence.Reaches{{Device: "ios", Reach: presence.ReachNo, At: 1_772_600_700_000}}
	if s, _ := squeeze(nil, st.Pack(nil)); !s.squeezed {
		f.Error("a usual state in format 2 is not squeezed")
	}
	f.Add(st.Pack(nil), int64(1_772_600_767_000))
	f.Add(make([]byte, 30), int64(0))
	f.Add([]byte{}, int64(0))
	f.Fuzz(func(t *testing.T, packed []byte, now int64) {
		rules := presence.DefaultRules()
		s, _ := squeeze(nil, packed)
		if got := s.expand(nil); !bytes.Equal(got, packed) {
			t.Fatalf("%x comes back as %x", packed, got)
		}
		now %= 1 << 47
		got, gotNoded := s.peek(presence.Millis(now), &rules)
		want, wantNoded := presence.PeekStatus(packed, presence.Millis(now), &rules)
		if got != want || gotNoded != wantNoded {
			t.Fatalf("%x at %d is %v (%t), want %v (%t)", packed, now, got, gotNoded, want, wantNoded)
		}
		b := make([]byte, recordSize(3, "peer", s))
		putRecord(b, 3, "peer", s)
		app, peer, back, size := split(b)
		if app != 3 || string(peer) != "peer" || size != len(b) || !bytes.Equal(back.expand(nil), packed) {
			t.Fatalf("the record of %x comes back as %d %q %x", packed, app, peer, back.b)
		}
		j := newJudge(presence.Millis(now), &rules)
		if got, ok := j.usual(b, 3, []byte("peer")); ok && got != want {
			t.Fatalf("the judge takes %x at %d for %v, want %v", packed, now, got, want)
		}
		for _, other := range []string{"pear", "pee", "peers", ""} {
			if _, ok := j.usual(b, 3, []byte(other)); ok {
				t.Fatalf("the judge takes the record of peer for that of %q", other)
			}
		}
		if _, ok := j.usual(b, 4, []byte("peer")); ok {
			t.Fatal("the judge takes the record of one app for that of another")
		}
	})
}

// A state with online time is kept as it is, at the cost that docs/api.md states.
func TestDaysAreNotSqueezed(t *testing.T) {
	rules := presence.DefaultRules()
	var st presence.State
	at := presence.Millis(1_772_600_767_000)
	for i := range 3 {
		r := presence.Report{App: "a", Peer: "p", Source: presence.SourceLeanCloud, Kind: presence.Kind(1 + i%2), At: at}
		st.Apply(&r, at, &rules)
		st.Rev = presence.NextRev(st.Rev, at)
		usual, _ := squeeze(nil, st.Pack(nil))
		timed := st
		timed.Days, timed.Counted = []presence.Day{{Day: 20515, Online: time.Hour}}, at
		packed := timed.Pack(nil)
		s, _ := squeeze(nil, packed)
		if s.squeezed || !bytes.Equal(s.expand(nil), packed) {
			t.Errorf("%x comes back as %x", packed, s.expand(nil))
		}
		if got := len(st.Pack(nil)) - len(usual.b); got > 17 {
			t.Errorf("not squeezed it takes %d bytes more, want at most 17", got)
		}
		if status, _ := s.peek(at, &rules); status != st.Status {
			t.Errorf("it is %v, want %v", status, st.Status)
		}
		at += 3_600_000
	}
}

// The states that hooks leave take about half, and the judge needs no second look at them while
// they are true.
func TestUsualStatesAreSqueezed(t *testing.T) {
	rules := presence.DefaultRules()
	rng := rand.New(rand.NewPCG(1, 1))
	var packed, squeezed int
	for range 1000 {
		var st presence.State
		now := presence.Millis(1_772_600_767_000 + rng.Int64N(1e10))
		for i := range 1 + rng.IntN(4) {
			r := presence.Report{App: "a", Peer: "p", Source: presence.SourceLeanCloud, Kind: presence.Kind(1 + i%2), At: now}
			st.Apply(&r, now, &rules)
			st.Rev = presence.NextRev(st.Rev, now)
			now += presence.Millis(rng.IntN(1e8))
		}
		b := st.Pack(nil)
		s, _ := squeeze(nil, b)
		if !s.squeezed {
			t.Fatalf("%+v is kept as it is", st)
		}
		packed += len(b)
		squeezed += len(s.b)
		rec := make([]byte, recordSize(1, "tom", s))
		putRecord(rec, 1, "tom", s)
		for _, after := range []presence.Millis{0, week - 1, week} {
			j := newJudge(st.Since+after, &rules)
			want, _ := s.peek(j.now, &rules)
			if got, ok := j.usual(rec, 1, []byte("tom")); ok != (after < week) || ok && got != want {
				t.Fatalf("%v after %+v the judge says %v (%t), want %v", after, st, got, ok, want)
			}
		}
	}
	if squeezed > packed*2/3 {
		t.Errorf("%d bytes take %d, want a third less", packed, squeezed)
	}
}
