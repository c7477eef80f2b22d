package rtm

import (
	"testing"
	"unicode/utf8"
)

// FuzzDecode reads foreign bytes as a command of each format: what is accepted is within its
// bounds.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{0x08, 0x00, 0x10, 0x01, 0x22, 0x03, 'T', 'o', 'm', 0x28, 0x01}, uint8(0))
	f.Add([]byte("CAAQASIDVG9tKAE="), uint8(1))
	f.Add([]byte(`{"cmd":"session","op":"query","peerId":"Tom","i":-1,"sessionPeerIds":["a","b"],"r":1}`), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, which uint8) {
		const ids = 20
		q, err := format(which%3).decode(b, ids)
		if err != nil {
			return
		}
		if len(q.asked) > ids {
			t.Errorf("%d ids are kept", len(q.asked))
		}
		for _, s := range []string{q.appID, string(q.peerID), q.tag, q.ua, q.st, q.deviceID} {
			if !utf8.ValidString(s) {
				t.Errorf("%q is not UTF-8", s)
			}
		}
		if !q.peer && q.peerID != "" {
			t.Errorf("an absent peer is %q", q.peerID)
		}
	})
}
