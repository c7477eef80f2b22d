package presence_test

import (
	"errors"
	"strings"
	"testing"

	"rollcall/presence"
)

// An id that the recipe would have stored must not be refused by the dialect's hooks; every other source keeps to 256.
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
