package redisstore

import (
	"fmt"
	"strings"
	"testing"

	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

var nastyIDs = []string{
	"alice", "", "{", "}", "{}", "{a}", "a{b}c", "{a}{b}", "}{", "{{}}", "a{", "a}", " ", "\r\n", "a\r\nSET b 1\r\n", "\x00", "rc:nodes", "rc:{a}:s",
	"c:x", ":", "%", "%3A", "é", "\xff\xfe", strings.Repeat("x", 64<<10), strings.Repeat("{", 300), "on:app:bob",
}

func layouts() map[string]layout {
	return map[string]layout{
		"the recipe's prefix":      {own: "rc:", recipe: "app", summary: "onOffStatus:"},
		"an empty prefix":          {own: "rc:", recipe: "app", summary: ""},
		"a prefix with a hash tag": {own: "rc:", recipe: "app", summary: "{im}:"},
		"a prefix like ours":       {own: "rc:", recipe: "app", summary: "rc:x:"},
		"half a prefix of ours":    {own: "rc:", recipe: "app", summary: "r"},
		"no app of the recipe":     {own: "rc:", summary: "onOffStatus:"},
	}
}

func TestEveryKeyOfAPeerIsInOneSlot(t *testing.T) {
	c, err := redistest.New("--cluster-enabled", "yes")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	wire, err := redistest.Dial(c.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	slot := func(key string) int64 {
		n, err := wire.Do("CLUSTER", "KEYSLOT", key)
		if err != nil {
			t.Fatal(err)
		}
		return n.(int64)
	}
	for name, l := range layouts() {
		for _, app := range []presence.AppID{"app", "other", "", "a:b", "{x}"} {
			for _, id := range nastyIDs {
				summary := string(l.summaryKey(nil, app, []byte(id)))
				state := l.stateKey(summary)
				want := slot(summary)
				if got := slot(state); got != want {
					t.Errorf("%s: %q of %q: the state is in slot %d, the summary in %d", name, cutID(id), app, got, want)
				}
				if got := conn.SlotOf(summary); int64(got) != want {
					t.Errorf("%s: we compute slot %d for %q, redis %d", name, got, cutID(summary), want)
				}
			}
		}
	}
	for s := range uint16(conn.Slots) {
		tag := conn.TagOf(s)
		if tag == "" || len(tag) > 4 {
			t.Fatalf("slot %d has the tag %q", s, tag)
		}
		if s%97 == 0 && slot("rc:{"+tag+"}:s:x") != int64(s) {
			t.Errorf("the tag %q is not in slot %d", tag, s)
		}
	}
}

func TestNoTwoPeersShareAKey(t *testing.T) {
	for name, l := range layouts() {
		seen := map[string]string{}
		own := map[string]bool{l.nodes(): true, l.epoch(): true, l.leaseIndex(3): true, l.nodeIndex("n", 3): true, l.reap("n", 3): true, l.owner(): true, l.claim("n"): true}
		for _, app := range []presence.AppID{"app", "other", "", "a:b", "{x}", "%", "on", "lease"} {
			for _, id := range nastyIDs {
				who := fmt.Sprintf("%q of %q", cutID(id), app)
				summary := string(l.summaryKey(nil, app, []byte(id)))
				for _, key := range []string{summary, l.stateKey(summary)} {
					if other, twice := seen[key]; twice {
						t.Errorf("%s: %s and %s share %q", name, who, other, cutID(key))
					}
					if own[key] {
						t.Errorf("%s: %s has the key %q, which is ours", name, who, key)
					}
					seen[key] = who
				}
				if got, ok := l.peerOf(summary); !ok || got != (presence.Key{App: app, Peer: presence.PeerID(id)}) {
					t.Errorf("%s: the key of %s is read as %v, %t", name, who, got, ok)
				}
				if got, ok := l.peerOf(l.stateKey(summary)); ok && l.summary != "{im}:" && strings.HasPrefix(l.stateKey(summary), l.own) {
					t.Errorf("%s: a state key is read as the summary of %v", name, got)
				}
				member := l.member(presence.Key{App: app, Peer: presence.PeerID(id)})
				if got, ok := l.memberPeer(member); !ok || got.App != app || got.Peer != presence.PeerID(id) {
					t.Errorf("%s: the member of %s is read as %v, %t", name, who, got, ok)
				}
			}
		}
	}
}

func cutID(s string) string { return s[:min(len(s), 40)] }

func TestPrefixesDoNotCoverOneAnother(t *testing.T) {
	tests := []struct {
		summary string
		want    string
	}{
		{"onOffStatus:", "[onOffStatus: rc:on: rc:probe:]"},
		{"", "[]"}, // everything
		{"rc:", "[rc:]"},
		{"r", "[r]"},
		{"rc:on:", "[rc:on: rc:probe:]"},
		{"rc:on:x", "[rc:on: rc:probe:]"},
	}
	for _, tt := range tests {
		l := layout{own: "rc:", summary: tt.summary}
		if got := fmt.Sprint(l.prefixes()); got != tt.want {
			t.Errorf("summary prefix %q: %s, want %s", tt.summary, got, tt.want)
		}
	}
}

func TestPeerKeysAreTheKeys(t *testing.T) {
	ids := make([][]byte, len(nastyIDs))
	chosen := make([]int, len(nastyIDs))
	for i, id := range nastyIDs {
		ids[i], chosen[i] = []byte(id), len(nastyIDs)-1-i
	}
	for name, l := range layouts() {
		for _, app := range []presence.AppID{"app", "other", ""} {
			summaries, states := l.peerKeys(app, ids, chosen)
			for k, i := range chosen {
				want := string(l.summaryKey(nil, app, ids[i]))
				if summaries[k] != want || states[k] != l.stateKey(want) {
					t.Errorf("%s: the keys of %q are %q and %q", name, cutID(nastyIDs[i]), cutID(summaries[k]), cutID(states[k]))
				}
			}
		}
	}
}
