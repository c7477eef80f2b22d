package presence_test

import (
	"testing"
	"time"

	"rollcall/presence"
)

// TestASendersOwnOrderStandsWhateverItsClock: the reports of a session count in the order of its
// source, in any order of arrival, if its clock is right, ahead, or on the edge of what is
// believed; the lease counts from the receipt.
func TestASendersOwnOrderStandsWhateverItsClock(t *testing.T) {
	rules := presence.DefaultRules()
	const gap = 900
	for _, clock := range []time.Duration{0, 9 * time.Second, 9900 * time.Millisecond, 10 * time.Second, 20 * time.Second, time.Hour, 30 * 24 * time.Hour, -90 * time.Second, -23 * time.Hour} {
		for _, order := range [][]presence.Kind{
			{presence.KindOnline, presence.KindOffline},
			{presence.KindOffline, presence.KindOnline},
			{presence.KindOnline, presence.KindOffline, presence.KindOnline},
			{presence.KindOnline, presence.KindTouch, presence.KindOffline},
		} {
			for _, arrival := range []string{"in order", "swapped", "at once", "swapped at once"} {
				reports := make([]presence.Report, len(order))
				last := t0 + gap*presence.Millis(len(order)-1)
				for i, kind := range order {
					reports[i] = sessionReport(t, "on@0")
					reports[i].Kind, reports[i].Lease = kind, 30*24*time.Hour
					reports[i].At = (t0 + gap*presence.Millis(i)).Add(clock)
				}
				var st presence.State
				for i := range reports {
					r, received := reports[i], t0+gap*presence.Millis(i)
					switch arrival {
					case "swapped":
						r = reports[len(reports)-1-i]
						received = last + presence.Millis(i)
					case "at once":
						received = last
					case "swapped at once":
						r, received = reports[len(reports)-1-i], last
					}
					if !rules.Admit(&r, received) {
						t.Fatalf("clock %v: not admitted", clock)
					}
					apply(t, &st, r, received, &rules)
				}
				want := presence.Online
				if order[len(order)-1] == presence.KindOffline {
					want = presence.Offline
				}
				if st.Status != want {
					t.Errorf("clock %v, %v %s: %v, want %v", clock, order, arrival, st.Status, want)
				}
				if clock > 10*time.Second && (st.Since > last+10 || st.LastSeen > last+10 || st.Status == presence.Online && st.Until > last.Add(30*24*time.Hour)+10) {
					t.Errorf("clock %v, %v %s: since %d, last seen %d, until %d of a source whose last report came at %d", clock, order, arrival, st.Since, st.LastSeen, st.Until, last)
				}
			}
		}
	}
}

// TestAReportReceivedTwiceLivesFromTheFirst: a sender whose clock is ahead and that repeats a
// report does not extend its lease.
func TestAReportReceivedTwiceLivesFromTheFirst(t *testing.T) {
	rules := presence.DefaultRules()
	for _, received := range [][]presence.Millis{{t0, t0 + 30_000}, {t0 + 30_000, t0}} {
		var st presence.State
		for _, at := range received {
			r := sessionReport(t, "on@60")
			r.Lease = time.Minute
			rules.Admit(&r, at)
			apply(t, &st, r, at, &rules)
		}
		if st.Until != t0+60_000 {
			t.Errorf("received %v: the lease ends at %d, want %d", received, st.Until, t0+60_000)
		}
	}
	var st presence.State
	r := sessionReport(t, "on@60")
	rules.Admit(&r, t0)
	apply(t, &st, r, t0, &rules)
	rules.Admit(&r, t0+60_000-300)
	if o := apply(t, &st, r, t0+59_700, &rules); o.Verdict != presence.Double {
		t.Errorf("received again: %v, want double", o.Verdict)
	}
}

// TestAClockThatWasPutRight: reports of the right clock count from the first on, though the wrong
// one was far ahead.
func TestAClockThatWasPutRight(t *testing.T) {
	rules := presence.DefaultRules()
	for _, ahead := range []time.Duration{2 * time.Minute, 8 * time.Hour, 400 * 24 * time.Hour} {
		for _, then := range []presence.Kind{presence.KindOffline, presence.KindOnline} {
			for _, inc := range []bool{false, true} {
				var st presence.State
				r := sessionReport(t, "on@0")
				r.Kind = presence.KindOnline + presence.KindOffline - then
				r.At = t0.Add(ahead)
				if inc {
					r.Incarnation = r.At
				}
				rules.Admit(&r, t0)
				apply(t, &st, r, t0, &rules)
				r.Kind, r.At = then, t0+500
				if inc {
					r.Incarnation = t0 + 400
				}
				rules.Admit(&r, t0+500)
				apply(t, &st, r, t0+500, &rules)
				if on := st.Status == presence.Online; on != (then == presence.KindOnline) {
					t.Errorf("%v ahead, then %v by the right clock, incarnations %v: %v", ahead, then, inc, st.Status)
				}
			}
		}
	}
}

// TestSeqDecidesATie: of two reports of one time the one with the greater number is later, in both
// orders of arrival; without numbers online wins.
func TestSeqDecidesATie(t *testing.T) {
	rules := presence.DefaultRules()
	for _, c := range []struct {
		name    string
		on, off uint64
		want    presence.Status
	}{
		{"no numbers", 0, 0, presence.Online},
		{"login, then logout", 1, 2, presence.Offline},
		{"logout, then login", 7, 3, presence.Online},
		{"one number for both", 5, 5, presence.Online},
		{"a number for the logout alone", 0, 1, presence.Offline},
		{"great numbers", 1<<64 - 2, 1<<64 - 1, presence.Offline},
	} {
		on, off := sessionReport(t, "on@3"), sessionReport(t, "off@3")
		on.Seq, off.Seq = c.on, c.off
		for _, order := range [][]presence.Report{{on, off}, {off, on}, {on, off, on}, {off, on, off}} {
			var st presence.State
			for _, r := range order {
				apply(t, &st, r, r.At, &rules)
			}
			if st.Status != c.want {
				t.Errorf("%s: %v, want %v", c.name, st.Status, c.want)
			}
		}
	}
	// A later time is later whatever the number, and a named incarnation ends once.
	var st presence.State
	late, early := sessionReport(t, "on@4"), sessionReport(t, "off@3")
	early.Seq = 9
	apply(t, &st, late, late.At, &rules)
	if apply(t, &st, early, late.At, &rules); st.Status != presence.Online {
		t.Error("the number counts more than the time")
	}
}

// TestAnEndIsNeverTooLateForAnOpenSession: the end of a session that is still open counts however
// old it is; of one that is not known or over it is stale.
func TestAnEndIsNeverTooLateForAnOpenSession(t *testing.T) {
	rules := presence.DefaultRules()
	now := t0.Add(25 * time.Hour)
	on, off := sessionReport(t, "on@0"), sessionReport(t, "off@1")
	on.Lease = 7 * 24 * time.Hour
	var st presence.State
	if !rules.Admit(&off, now) {
		t.Fatal("the end is not admitted")
	}
	if o := apply(t, &st, off, now, &rules); o.Verdict != presence.Stale || !st.Forgotten() {
		t.Errorf("the end of nothing: %v, %+v", o.Verdict, st)
	}
	apply(t, &st, on, t0, &rules)
	if o := apply(t, &st, off, now, &rules); o.Verdict != presence.Taken || st.Status != presence.Offline {
		t.Errorf("the end of an open session: %v, %v", o.Verdict, st.Status)
	}
	again := sessionReport(t, "on@2")
	if rules.Admit(&again, now) {
		t.Error("an online a day old is admitted")
	}
}

// TestExpiredOnArrival: an online whose lease is over when it arrives makes no peer online, and
// says so.
func TestExpiredOnArrival(t *testing.T) {
	rules := presence.DefaultRules()
	for _, kind := range []presence.Kind{presence.KindOnline, presence.KindTouch} {
		for _, c := range []struct {
			late presence.Millis
			want presence.Verdict
		}{{59_999, presence.Taken}, {60_000, presence.Expired}, {90_000, presence.Expired}} {
			var st presence.State
			r := sessionReport(t, "on@0")
			r.Kind, r.Lease = kind, time.Minute
			o := apply(t, &st, r, t0+c.late, &rules)
			if o.Verdict != c.want || (st.Status == presence.Online) != (c.want == presence.Taken) {
				t.Errorf("%v, %d ms old: %v, %v", kind, c.late, o.Verdict, st.Status)
			}
		}
	}
	if presence.Expired.String() != "expired_on_arrival" || presence.Verdict(99).String() != "none" {
		t.Error("the names of verdicts")
	}
}
