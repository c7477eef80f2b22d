package presence_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"rollcall/presence"
)

// TestWhatALaterReleaseReportsChangesNothing: a kind, cause or policy that this release does not
// know never changes a peer, whatever is known of it, and is not valid.
func TestWhatALaterReleaseReportsChangesNothing(t *testing.T) {
	rules := presence.DefaultRules()
	session := func() *presence.State {
		r := sessionReport(t, "on@3/1")
		var st presence.State
		st.Apply(&r, r.At, &rules)
		return &st
	}
	states := map[string]func() *presence.State{
		"nothing known": func() *presence.State { return &presence.State{} },
		"session":       session,
	}
	for _, hooks := range []string{"+@0", "+@0 -@5", "-@0", "+phone@0", "+phone@0 -phone@1", "+@0 +@1"} {
		states["hooks "+hooks] = func() *presence.State {
			_, st := play(t, hooks, presence.PolicySum)
			return &st
		}
	}
	own := sessionReport(t, "on@3/1")
	for name, state := range states {
		for _, r := range []presence.Report{
			{Session: own.Session, Source: own.Source, Incarnation: own.Incarnation},
			{Session: "another", Source: own.Source},
			{Source: presence.SourceLeanCloud},
			{Source: presence.SourceLeanCloud, Tag: "phone"},
			{Source: presence.SourceLeanCloud, Policy: presence.PolicyLast},
		} {
			r.App, r.Peer, r.At = own.App, own.Peer, t0.Add(time.Minute)
			later := []presence.Report{}
			for _, kind := range []presence.Kind{0, presence.KindReach + 1, presence.KindReach + 2, 200, 255} {
				l := r
				l.Kind = kind
				later = append(later, l)
			}
			for kind := presence.KindOnline; kind.Known(); kind++ {
				l := r
				l.Kind, l.Cause = kind, 9
				later = append(later, l)
				l.Cause, l.Policy = 0, 2
				later = append(later, l)
			}
			for _, l := range later {
				if err := l.Validate(); !errors.Is(err, presence.ErrInvalid) {
					t.Errorf("kind %d, cause %d, policy %d: valid", l.Kind, l.Cause, l.Policy)
				}
				st := state()
				want := fmt.Sprintf("%+v", *st)
				o, e := st.Apply(&l, l.At, &rules)
				if got := fmt.Sprintf("%+v", *st); e != presence.Same || o.Turned || o.Verdict != presence.Ignored || got != want {
					t.Errorf("%s, kind %d, cause %d, policy %d, session %q: %+v, effect %d\n got %s\nwant %s", name, l.Kind, l.Cause, l.Policy, l.Session, o, e, got, want)
				}
			}
		}
	}
}

// TestWhatALaterReleasePackedIsNewer: a state with a cause, source, flag or section of a later
// release is not taken for a damaged one, so that it is left alone; its first bytes still answer,
// and the same at every question.
func TestWhatALaterReleasePackedIsNewer(t *testing.T) {
	rules := presence.DefaultRules()
	r := sessionReport(t, "on@3/1")
	r.Source = presence.SourceGateway // one byte
	var st presence.State
	st.Apply(&r, r.At, &rules)
	st.Rev = uint64(r.At)
	plain := st.Pack(nil)
	// The hold and the day follow the head, then last seen and the number of sessions; the session
	// begins with its source.
	source := 22
	for ; source < len(plain) && !(plain[source] == 2 && int(plain[source+1]) == len(r.Session)); source++ {
	}
	flags := source + 2 + len(r.Session)
	_, slot := play(t, "+@0", presence.PolicySum)
	slot.Rev = uint64(t0)
	slotted := slot.Pack(nil)
	for _, c := range []struct {
		name string
		b    []byte
		at   int
		to   byte
	}{
		{"a later format", plain, 8, plain[8] + 2<<4},
		{"a cause of the peer", plain, 9, 9},
		{"a source of a session", plain, source, 4},
		{"a flag of a session", plain, flags, plain[flags] | 1<<5},
		{"a cause of a session", plain, flags + 1, 9},
		{"a section behind", append(slotted[:len(slotted):len(slotted)], 3), len(slotted), 3},
	} {
		b := append([]byte(nil), c.b...)
		b[c.at] = c.to
		var back presence.State
		if err := back.Unpack(b); !errors.Is(err, presence.ErrNewer) {
			t.Errorf("%s: %v, want ErrNewer", c.name, err)
		}
		status, noded := presence.PeekStatus(b, t0.Add(5*time.Second), &rules)
		sum := presence.PeekSummary(b).At(t0.Add(5*time.Second), &rules)
		if sum.Status != status || sum.Status == presence.Online && sum.Noded != noded {
			t.Errorf("%s: the status is %v, noded %v; the summary says %+v", c.name, status, noded, sum)
		}
		if format := b[8] >> 4; (format <= 2) != (status == presence.Online) {
			t.Errorf("%s: the peer is %v", c.name, status)
		}
	}
	for n := range plain {
		var back presence.State
		if err := back.Unpack(plain[:n]); errors.Is(err, presence.ErrNewer) {
			t.Errorf("cut to %d bytes: %v, want damage", n, err)
		}
	}
}

// TestSectionsOfALaterRelease: in format 2 a section that is not known is carried over every write
// as it is, and one that is critical has the state left alone.
func TestSectionsOfALaterRelease(t *testing.T) {
	rules := presence.DefaultRules()
	r := sessionReport(t, "on@3")
	r.Seq = 7
	var st presence.State
	st.Apply(&r, r.At, &rules)
	st.Rev = uint64(r.At)
	packed := st.Pack(nil)
	if format := packed[8] >> 4; format != 2 {
		t.Fatalf("a session with a number is packed in format %d, want 2", format)
	}
	section := []byte{20 << 1, 3, 'a', 'b', 'c'}
	beside := func() []byte {
		b := bytes.Clone(packed)
		// The length of all sections stands before the first.
		b[bytes.LastIndexByte(b, 9<<1|1)-1] += byte(len(section))
		return append(b, section...)
	}
	var back presence.State
	if err := back.Unpack(beside()); err != nil {
		t.Fatal(err)
	}
	again := r
	again.At += 1000
	apply(t, &back, again, again.At, &rules)
	if string(back.Rest) != string(section) || back.Sessions[0].Seq != 7 {
		t.Errorf("after a write the section is %q, want %q, beside %+v", back.Rest, section, back.Sessions)
	}
	back.Sessions[0].Seq = 0
	if got := back.Pack(nil); got[8]>>4 != 2 {
		t.Error("a section is dropped with the last number")
	}
	section[0] |= 1
	if err := back.Unpack(beside()); !errors.Is(err, presence.ErrNewer) {
		t.Errorf("a critical section: %v, want ErrNewer", err)
	}
	refusesEveryOtherLength(t, packed)

	// What uses nothing new is packed as ever.
	plain := sessionReport(t, "on@3")
	var old presence.State
	old.Apply(&plain, plain.At, &rules)
	if got := old.Pack(nil); got[8]>>4 != 1 {
		t.Errorf("a plain session is packed in format %d, want 1", got[8]>>4)
	}
	if with, without := len(packed), len(old.Pack(nil)); with > without+6 {
		t.Errorf("a number costs %d bytes, want at most 6", with-without)
	}
}
