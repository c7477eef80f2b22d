package intake

import (
	"fmt"
	"testing"

	"rollcall/presence"
)

// However many words about a session come in one millisecond, each is newer than the one before.
func TestReceiptsKeepTheOrderOfArrival(t *testing.T) {
	var s receipts
	rules := presence.DefaultRules()
	var st presence.State
	now := presence.Millis(1_700_000_000_000)
	node := presence.NodeID("")
	report := func(kind presence.Kind, want presence.Status) {
		t.Helper()
		r := presence.Report{App: "a", Peer: "tom", Source: "api", Session: "1", Node: node, Kind: kind, Received: true}
		s.stamp(&r, now)
		out, _ := st.Apply(&r, now, &rules)
		if out.Summary.Status != want || out.Verdict == presence.Late || kind != presence.KindOffline && !st.On(node) && node != "" {
			t.Fatalf("%v at %d: got %v, %v", kind, r.At-1_700_000_000_000, out.Verdict, out.Summary.Status)
		}
	}
	for range 20 {
		report(presence.KindOnline, presence.Online)
		node = "gw" + node
		report(presence.KindTouch, presence.Online)
		report(presence.KindOffline, presence.Offline)
		report(presence.KindOffline, presence.Offline)
		now += 3 // the stamps run ahead of the clock by then, and it comes nearer
		report(presence.KindOnline, presence.Online)
		report(presence.KindOffline, presence.Offline)
	}
}

// What is remembered is what came just now, also when one session keeps the stamps ahead of the
// clock for ever.
func TestReceiptsForget(t *testing.T) {
	var s receipts
	now := presence.Millis(1_700_000_000_000)
	for i := range 40 * leastReceipts {
		r := presence.Report{Received: true, Peer: "hot", Session: "1", Kind: presence.KindOnline + presence.Kind(i%2)}
		s.stamp(&r, now)
		r = presence.Report{Received: true, Peer: presence.PeerID(fmt.Sprint(i)), Session: "1", Kind: presence.KindOnline}
		s.stamp(&r, now)
		if r.At != now {
			t.Fatalf("the only word of %s was stamped %d ms ahead", r.Peer, r.At-now)
		}
		if i%100 == 0 {
			now++
		}
	}
	if len(s.last) > 2*leastReceipts {
		t.Errorf("%d are remembered", len(s.last))
	}
	r := presence.Report{Received: true, Peer: "tom", Session: "1", Kind: presence.KindOnline}
	if s.stamp(&r, s.top+1); len(s.last) != 1 {
		t.Errorf("%d are remembered when all are over", len(s.last))
	}
}
