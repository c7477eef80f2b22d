package embedded_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"rollcall/presence"
	"rollcall/store/embedded"
)

// TestDamagedHeartbeatsKeepNothingFromOpening: the file of heartbeats is a hint. Whatever its bytes
// are, the store opens with all its states, and a heartbeat that is read is one that was written.
func TestDamagedHeartbeatsKeepNothingFromOpening(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	cfg := embedded.Setup{Config: embedded.Config{SegmentSize: 4 << 10}, Deps: embedded.Deps{Path: dir, Log: discard, Grace: 30 * time.Second}}
	s, err := cfg.Open(start)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if err := s.Heartbeat(t.Context(), "n1", 15*time.Second, false, start.Add(time.Duration(i)*5*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
	r := presence.Report{App: "app", Peer: "tom", Source: presence.SourceGateway, Session: "s", Node: "n1", Kind: presence.KindOnline, At: start}
	rules := presence.DefaultRules()
	if err := s.Update(t.Context(), []presence.Key{r.Key()}, start, func(_ int, st *presence.State) presence.Effect {
		_, e := st.Apply(&r, start, &rules)
		return e
	}); err != nil {
		t.Fatal(err)
	}
	im := imageOf(t, dir)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	delete(im, "lock")
	whole := im["heartbeats"]
	if len(whole) == 0 {
		t.Fatal("no heartbeats are kept")
	}
	var cases [][]byte
	for at := range whole {
		bad := bytes.Clone(whole)
		bad[at] ^= 0x10
		cases = append(cases, bad, whole[:at])
	}
	for i, bad := range cases {
		im["heartbeats"] = bad
		dir := filepath.Join(t.TempDir(), "store")
		im.put(t, dir)
		s, err := embedded.Setup{Config: embedded.Config{SegmentSize: 4 << 10}, Deps: embedded.Deps{Path: dir, Log: discard, Grace: 30 * time.Second}}.Open(start.Add(time.Minute))
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		lost, err := s.LostNodes(t.Context(), start.Add(time.Hour))
		if err != nil || len(lost) != 1 {
			t.Errorf("case %d: lost are %v, %v, want n1", i, lost, err)
		} else if seen := lost[0].Seen; seen != 0 && (seen < start || seen > start.Add(15*time.Second) || (seen-start)%5000 != 0) {
			t.Errorf("case %d: the last heartbeat is %d, which was never written", i, seen)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
