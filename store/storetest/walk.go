package storetest

import (
	"errors"

	"rollcall/presence"
)

// walk returns how often each peer of app comes, and its state as it came last.
func (b *bench) walk(fn func()) (times map[presence.PeerID]int, states map[presence.PeerID]presence.State) {
	b.Helper()
	times, states = map[presence.PeerID]int{}, map[presence.PeerID]presence.State{}
	b.must(b.Store.Walk(b.ctx, func(key presence.Key, packed []byte) error {
		if fn != nil {
			fn()
			fn = nil
		}
		if key.App != app {
			return nil
		}
		var st presence.State
		b.must(st.Unpack(packed))
		times[key.Peer]++
		states[key.Peer] = st
		return nil
	}))
	return times, states
}

func walkAll(b *bench) {
	peers := names("p", 1500)
	b.onlineAll(peers)
	b.report(b.on("gone", "1"))
	b.now++
	b.report(b.off("gone", "1"))
	other := b.on("elsewhere", "1")
	other.App = "other"
	b.report(other)
	times, states := b.walk(nil)
	if len(times) != len(peers)+1 {
		b.Errorf("%d peers come, want %d", len(times), len(peers)+1)
	}
	for _, p := range peers {
		if st := states[presence.PeerID(p)]; times[presence.PeerID(p)] == 0 || st.Status != presence.Online || len(st.Sessions) != 1 {
			b.Fatalf("%s comes %d times, as %+v", p, times[presence.PeerID(p)], st)
		}
	}
	if st := states["gone"]; st.Status != presence.Offline {
		b.Errorf("a peer that is offline comes as %+v", st)
	}
}

func walkUnderChange(b *bench) {
	stay := names("stay", 600)
	b.onlineAll(stay)
	times, _ := b.walk(func() { b.onlineAll(names("come", 2000)) })
	for _, p := range stay {
		if times[presence.PeerID(p)] == 0 {
			b.Fatalf("%s was known before the walk, and does not come", p)
		}
	}
	enough := errors.New("enough")
	calls := 0
	err := b.Store.Walk(b.ctx, func(presence.Key, []byte) error {
		calls++
		return enough
	})
	if !errors.Is(err, enough) || calls != 1 {
		b.Errorf("a walk that is ended returns %v after %d calls", err, calls)
	}
}
