package ask_test

import (
	"fmt"
	"testing"
	"time"

	"rollcall/ask"
	"rollcall/presence"
)

// TestAStateThatCannotBeReadCostsItsPeerOnly: others are answered whole, and a message to that peer
// is pushed.
func TestAStateThatCannotBeReadCostsItsPeerOnly(t *testing.T) {
	h := open(t)
	h.report("tom", presence.KindOnline, time.Hour)
	h.report("ann", presence.KindOnline, time.Hour)
	h.store.damaged = "ann"
	const fields = ask.Devices | ask.Reachable | ask.Sessions
	answer, err := h.Summaries(t.Context(), view, []presence.PeerID{"ann", "tom"}, fields)
	if err != nil {
		t.Fatal(err)
	}
	peers, _ := answer.Read()
	if got := string(ask.AppendPeer(nil, &peers[0], fields)); got != `{"peer":"ann","status":"online"}` {
		t.Errorf("the peer that cannot be read is answered as %s", got)
	}
	if tom := &peers[1]; len(tom.Devices) != 1 || tom.Reach != presence.ReachYes || len(tom.Sessions) != 1 {
		t.Errorf("another is answered as %+v", tom)
	}
	push, err := h.ShouldPush(t.Context(), view, []presence.PeerID{"tom", "ann"})
	if err != nil {
		t.Fatal(err)
	}
	pushes, _ := push.Read()
	want := fmt.Sprint([]ask.Push{{Peer: "tom", Push: true, Why: ask.PushOnline}, {Peer: "ann", Push: true, Why: ask.PushStale}})
	if got := fmt.Sprint(pushes); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
