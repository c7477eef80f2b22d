package rest

import (
	"bytes"
	"math"
	"testing"

	"rollcall/internal/plainjson"
	"rollcall/internal/strictjson"
	"rollcall/presence"
)

// What the scanner takes, the strict decoder reads alike.
func FuzzScanPeers(f *testing.F) {
	for _, s := range []string{
		`{"peers":["a","b"]}`, ` { "peers" : [ "a" , "b" ] } `, `{"peers":[]}`, `{"peers":["é😀"]}`, `{"peers":["a"],"since":""}`,
		`{"peers":["\u0061"]}`, `{"peers":["a",]}`, `{"peers":["a"]}x`, `{"Peers":["a"]}`, "{\"peers\":[\"\xff\"]}", `{"peers":["a"`, `{"peers": ["a" "b"]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		ids, ok := plainjson.List(bytes.Clone(body), "peers", nil, math.MaxInt)
		if !ok {
			return
		}
		if err := strictjson.Check(body, 16); err != nil {
			t.Fatalf("%q is taken and is %v", body, err)
		}
		q, err := parseQuestion(body)
		if err != nil || len(q.peers) != len(ids) || q.since != nil || q.fields != 0 {
			t.Fatalf("%q: the scanner reads %q, the decoder %q, %v", body, ids, q.peers, err)
		}
		for i := range ids {
			if presence.PeerID(ids[i]) != q.peers[i] {
				t.Fatalf("%q: at %d the scanner reads %q, the decoder %q", body, i, ids[i], q.peers[i])
			}
		}
	})
}
