package redisstore_test

import (
	"testing"
	"time"

	"rollcall/presence"
)

// What the recipe alone has written comes as the words of a foreign writer, with since when a peer
// is offline: an import of it must not count as reports.
func TestWalkTakesTheRecipesKeys(t *testing.T) {
	server, url := redisOf(t)
	s := open(t, config(url))
	server.Do(t, "SET", "onOffStatus:lu", "1")
	server.Do(t, "SET", "onOffStatus:li", "0", "EX", "500000")
	server.Do(t, "SET", "onOffStatus:la", "7")
	server.Do(t, "LPUSH", "onOffStatus:list", "1")
	now := s.Now()
	got := map[presence.PeerID]presence.State{}
	err := s.Walk(t.Context(), func(key presence.Key, packed []byte) error {
		var st presence.State
		err := st.Unpack(packed)
		got[key.Peer] = st
		return err
	})
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %+v", err, got)
	}
	if lu := got["lu"]; lu.Status != presence.Online || len(lu.Slots) != 1 || !lu.Slots[0].Assumed() {
		t.Errorf("online: %+v", lu)
	}
	since := now.Add(500_000*time.Second - presence.DefaultRules().OfflineMemory)
	if li := got["li"]; li.Status != presence.Offline || li.LastSeen != 0 || li.Since < since.Add(-time.Minute) || li.Since > since.Add(time.Minute) {
		t.Errorf("offline: %+v, want since about %v", li, since)
	}
}
