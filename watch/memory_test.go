package watch_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"rollcall/presence"
	"rollcall/watch"
)

// What watchers take of memory is bounded: one may follow thousands of peers that do not exist.
func TestAWatchedPeerTakesLittleMemory(t *testing.T) {
	h := open(t, watch.DefaultConfig())
	const watchers, each = 200, 100
	peers := make([][]presence.PeerID, watchers)
	for i := range peers {
		for k := range each {
			peers[i] = append(peers[i], presence.PeerID(fmt.Sprintf("stranger-%d-%d", i, k)))
		}
	}
	before := live()
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	open := make([]*watch.Watcher, watchers)
	for i := range open {
		var err error
		if open[i], err = h.hub.Watch(context.Background(), view, peers[i], presence.DetailBrief, ""); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&end)
	kept := (live() - before) / (watchers * each)
	made := int64(end.TotalAlloc-start.TotalAlloc) / (watchers * each)
	t.Logf("a watched peer keeps %d bytes of the %d that were allocated for it", kept, made)
	if kept > 350 || made > 700 {
		t.Errorf("a watched peer keeps %d bytes of the %d that were allocated for it", kept, made)
	}
	for _, w := range open {
		w.Close(watch.ReasonGone)
	}
	if left := (live() - before) / (watchers * each); left > 100 {
		t.Errorf("%d bytes of each are kept when nothing is watched", left)
	}
	runtime.KeepAlive(peers)
}

// live returns the bytes that are in use.
func live() int64 {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
