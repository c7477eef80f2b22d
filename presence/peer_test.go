package presence_test

import (
	"errors"
	"strings"
	"testing"

	"rollcall/presence"
)

// An id that the recipe would have stored must not be refused by the dialect's hooks; every other
// source keeps to 256.
func TestHooksMayNameLongPeers(t *testing.T) {
	tests := []struct {
		source presence.Source
		length int
		valid  bool
	}{
		{presence.SourceLeanCloud, 257, true},
		{presence.SourceLeanCloud, presence.MaxHookPeer, true},
		{presence.SourceLeanCloud, presence.MaxHookPeer + 1, false},
		{presence.SourceLeanCloud, 0, false},
		{presence.SourceAPI, 256, true},
		{presence.SourceAPI, 257, false},
	}
	for _, tt := range tests {
		r := presence.Report{
			App: "a", Peer: presence.PeerID(strings.Repeat("p", tt.length)),
			Source: tt.source, Kind: presence.KindOnline, At: 1,
		}
		if err := r.Validate(); (err == nil) != tt.valid || err != nil && !errors.Is(err, presence.ErrInvalid) {
			t.Errorf("%s with %d bytes: %v", tt.source, tt.length, err)
		}
	}
}

// A control character is none of an id's characters, but the recipe would have stored it too.
func TestPeersHaveNoControlCharacters(t *testing.T) {
	for c := range rune(0x100) {
		id := presence.PeerID("a" + string(c) + "b")
		control := c < 0x20 || c == 0x7f
		if err := presence.CheckPeer(id); (err != nil) != control || err != nil && !errors.Is(err, presence.ErrInvalid) {
			t.Errorf("%U: %v", c, err)
		}
		for source, valid := range map[presence.Source]bool{presence.SourceAPI: !control, presence.SourceGateway: !control, presence.SourceLeanCloud: true} {
			r := presence.Report{App: "a", Peer: id, Source: source, Kind: presence.KindOnline, At: 1}
			if err := r.Validate(); (err == nil) != valid {
				t.Errorf("%U from %s: %v", c, source, err)
			}
		}
	}
}
