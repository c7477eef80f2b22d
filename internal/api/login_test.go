package api_test

import (
	"strings"
	"testing"

	"rollcall/internal/api"
	"rollcall/presence"
)

// What is signed is one text. However it is cut into a peer, a time and a nonce, it lets in the
// peer that it was made for alone.
func TestASignatureIsForOnePeer(t *testing.T) {
	app := &api.App{ID: "one", MasterKey: masterKey}
	const at = 1_764_250_000_000
	for _, peer := range []string{"tom::1764250000000:x", "tom::1764250000000", "tom::1764250000000:", "tom::1764250000000:x::1764250000001:y", "::1764250000000:x", "tom"} {
		for _, nonce := range []string{"n", "n:m", "", "1764250000000:n"} {
			sign := api.SignLogin(masterKey, app.ID, presence.PeerID(peer), at, nonce)
			text := peer + "::1764250000000:" + nonce
			for i := range text {
				rest, ok := strings.CutPrefix(text[i:], "::1764250000000:")
				if !ok {
					continue
				}
				s := api.LoginSignature{Time: at, Nonce: rest, Sign: sign}
				if got, want := s.Right(app, presence.PeerID(text[:i])), text[:i] == peer; got != want {
					t.Errorf("the signature of %q with nonce %q lets in %q with nonce %q: %v", peer, nonce, text[:i], rest, got)
				}
			}
		}
	}
}
