package redisstore

import (
	"testing"
	"time"

	"rollcall/presence"
)

// TestNodesOfTheReleaseBeforeAreRead: the release before kept no last heartbeat, and its nodes beat
// beside ours while an upgrade rolls.
func TestNodesOfTheReleaseBeforeAreRead(t *testing.T) {
	now := presence.Millis(1_800_000_000_000)
	for _, tt := range []struct {
		value string
		want  presence.LostNode
		ok    bool
	}{
		{"1800000015000 0", presence.LostNode{Node: "n", At: now + 15_000}, true},
		{"1800000030000 1", presence.LostNode{Node: "n", At: now + 30_000, Drained: true}, true},
		{nodeValue(now, 15*time.Second, false), presence.LostNode{Node: "n", At: now + 15_000, Seen: now}, true},
		{nodeValue(now, 30*time.Second, true), presence.LostNode{Node: "n", At: now + 30_000, Seen: now, Drained: true}, true},
		{"", presence.LostNode{}, false},
		{"1800000015000", presence.LostNode{}, false},
		{"soon 0", presence.LostNode{}, false},
		{"1800000015000 0 late", presence.LostNode{}, false},
	} {
		got, ok := parseNode("n", tt.value)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%q is %+v, %t; want %+v, %t", tt.value, got, ok, tt.want, tt.ok)
		}
	}
}
