package gateway_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/internal/api"
	"rollcall/presence"
)

// The lines of the protocol's encoding rules, one test each.

func TestCmdIsWrittenAlsoWhenItIsZero(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.protobuf2.3")
	c.send(build(open("Tom", 1, nil)))
	if b := c.receive(); !bytes.HasPrefix(b, []byte{0x08, 0x00}) {
		t.Errorf("the answer begins with % x, want 08 00", b[:2])
	}
}

func TestAbsentAndZeroAreDifferent(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.protobuf2.3")
	for _, tt := range []struct {
		name string
		ask  message
		want bool
		i    int64
	}{
		{"i is absent", message{fCmd: 14}, false, 0},
		{"i is zero", message{fCmd: 14, fI: 0}, true, 0},
	} {
		a := c.ask(tt.ask)
		if a.has(fI) != tt.want || a.number(fI) != tt.i {
			t.Errorf("%s: the answer's is %v (%v)", tt.name, a[fI], a.has(fI))
		}
	}
	if a := c.ask(message{fCmd: 0, fOp: opOpen, fApp: appID, fPeer: "", fI: 1}); a.code() != 4103 {
		t.Errorf("an empty peer was answered by %v, want 4103: only an absent one is made up", a)
	}
	if a := c.ask(message{fCmd: 0, fOp: opOpen, fApp: appID, fI: 1, fSession: message{}}); !strings.HasPrefix(a.text(fPeer), "anon-") {
		t.Errorf("an absent peer was answered by %v, want one made up", a)
	}
}

func TestRequestNumbersAreSignedAndEchoed(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.protobuf2.3")
	for _, i := range []int{-65535, -1, 0, 1, 1<<31 - 1, -1 << 31} {
		if a := c.ask(message{fCmd: 14, fI: i}); a.number(fI) != int64(i) || !a.has(fI) {
			t.Errorf("number %d came back as %v", i, a[fI])
		}
	}
}

func TestErrorsHaveCodeAndReason(t *testing.T) {
	w := newWorld(t, settings{})
	a := w.dial("lc.protobuf2.3").ask(message{fCmd: 0, fOp: opQuery, fI: 3, fPeer: "Tom", fSession: message{sAsked: []string{"x"}}})
	if e := a.sub(fError); !e.has(1) || !e.has(2) || e.number(1) != 4105 || e.text(2) != "SESSION_REQUIRED" {
		t.Errorf("the error is %v", e)
	}
}

func TestUnknownFieldsAreSkippedInAnyOrder(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.protobuf2.3")
	b := protowire.AppendBytes(protowire.AppendTag(nil, 100, protowire.BytesType), build(message{1: message{}}))
	b = append(b, build(message{fSession: message{sUA: "x", 99: "y"}})...)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 500, protowire.Fixed64Type), 7)
	b = protowire.AppendFixed32(protowire.AppendTag(b, 501, protowire.Fixed32Type), 7)
	b = append(b, build(message{fPeer: "Tom", fI: 1, fApp: appID, fOp: opOpen})...)
	b = append(b, build(message{fCmd: 0})...)
	c.send(b)
	if a := parse(t, c.receive()); a.number(fOp) != opOpened {
		t.Errorf("the login was answered by %v", a)
	}
}

func TestWhatCannotBeDecodedIsClosedWith4114(t *testing.T) {
	group := protowire.AppendTag(nil, 3, protowire.StartGroupType)
	for _, tt := range []struct {
		name string
		wire []byte
	}{
		{"a tag that is cut short", []byte{0x80}},
		{"a length past the end", []byte{0x1a, 0x7f, 'x'}},
		{"no cmd", build(message{fOp: opOpen})},
		{"cmd of another type", protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "0")},
		{"groups nested ten thousand deep", bytes.Repeat(group, 10_000)},
		{"a peer that is not UTF-8", append(build(message{fCmd: 0}), 0x22, 1, 0xff)},
		{"field number zero", []byte{0x00, 0x00}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, settings{gateway: func(c *gateway.Config) { c.EarlyLimit = 64 << 10 }})
			c := w.dial("lc.protobuf2.3")
			c.raw(websocket.MessageBinary, tt.wire)
			if got := c.closeCode(); got != 4114 {
				t.Errorf("closed with %d", got)
			}
			if n := w.gw.Stats().Refused["message"]; n != 1 {
				t.Errorf("counted %d times", n)
			}
		})
	}
	w := newWorld(t, settings{})
	c := w.dial("lc.proto2base64.3")
	c.raw(websocket.MessageText, []byte("no base64!"))
	if got := c.closeCode(); got != 4114 {
		t.Errorf("no base64: closed with %d", got)
	}
}

// 4103 is what a malformed client id gets; nothing of such a login may stay behind to be reported.
func TestPeerIDsHaveNoControlCharacters(t *testing.T) {
	w := newWorld(t, settings{})
	for _, peer := range []string{"\x00", "a\x00b", "a\n", "\x1f", "tom\x7f"} {
		for _, proto := range []string{"lc.protobuf2.3", "lc.json.3"} {
			c := w.dial(proto)
			if proto == "lc.json.3" {
				c.raw(websocket.MessageText, fmt.Appendf(nil, `{"cmd":"session","op":"open","appId":%q,"peerId":%s,"i":1}`, appID, quoted(t, peer)))
				if b := c.receive(); !bytes.Contains(b, []byte(`"code":4103`)) {
					t.Errorf("%q in JSON was answered by %s", peer, b)
				}
				continue
			}
			if a := c.ask(open(peer, 1, nil)); a.code() != 4103 {
				t.Errorf("%q was answered by %v, want 4103", peer, a)
			}
		}
	}
	if st := w.gw.Stats(); st.Opened != 0 || st.ReportsFailed != 0 || st.Refused["login"] != 10 {
		t.Errorf("the counts are %+v", st)
	}
	if err := w.gw.Kick(t.Context(), appID, "a\x00b", ""); err != nil {
		t.Errorf("a kick of what nobody can be: %v", err)
	}
}

func quoted(t *testing.T, text string) []byte {
	t.Helper()
	b, err := json.Marshal(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPeerIDsOfAnyLanguageWork(t *testing.T) {
	w := newWorld(t, settings{})
	peer := strings.Repeat("名", 62) + "é🦊"
	c := w.dial("lc.protobuf2.3")
	c.login(peer, nil)
	if a := c.ask(query(2, peer)); !slices.Equal(a.sub(fSession).list(sOnline), []string{peer}) {
		t.Errorf("the query was answered by %v", a)
	}
}

func TestEverySubprotocolLogsInAndAsks(t *testing.T) {
	for _, proto := range []string{"lc.protobuf2.1", "lc.protobuf2.2", "lc.protobuf2.3", "lc.proto2base64.3", "lc.protobase64.3"} {
		t.Run(proto, func(t *testing.T) {
			w := newWorld(t, settings{})
			c := w.dial(proto)
			if got := c.conn.Subprotocol(); got != proto {
				t.Fatalf("chosen is %q", got)
			}
			c.login("Tom", nil)
			if a := c.ask(query(2, "Tom", "Jerry")); !slices.Equal(a.sub(fSession).list(sOnline), []string{"Tom"}) {
				t.Errorf("the query was answered by %v", a)
			}
		})
	}
}

func TestTheOldestClientsSpeakJSON(t *testing.T) {
	for _, how := range []string{"lc.json.1", "lc.json.3", "?subprotocol=lc.json.3"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, settings{})
			c := w.dialJSON(how)
			steps := []struct{ send, want string }{
				{`{}`, `{}`},
				{`{"cmd":"session","op":"query","peerId":"Tom","i":-65536,"sessionPeerIds":["Jerry"]}`, `{"cmd":"error","peerId":"Tom","i":-65536,"service":2,"code":4105,"reason":"SESSION_REQUIRED"}`},
				{`{"cmd":"session","op":"open","appId":"` + appID + `","peerId":"Tom","i":-65535,"ua":"net/1","deviceId":"d","r":0,"configBitmap":1}`, `{"cmd":"session","op":"opened","peerId":"Tom","i":-65535,"service":2,"serverTs":0,"st":"","stTtl":172800}`},
				{`{"cmd":"session","op":"query","appId":"x","peerId":"Tom","i":-65534,"sessionPeerIds":["Jerry","Tom"],"unknown":{"a":[1]}}`, `{"cmd":"session","op":"query_result","peerId":"Tom","i":-65534,"service":2,"onlineSessionPeerIds":["Tom"]}`},
				{`{"cmd":"session","op":"query","peerId":"Tom","i":-65533,"sessionPeerIds":["Jerry"]}`, `{"cmd":"session","op":"query_result","peerId":"Tom","i":-65533,"service":2,"onlineSessionPeerIds":[]}`},
				{`{"cmd":"conv","op":"start","peerId":"Tom","i":-65532}`, `{"cmd":"error","peerId":"Tom","i":-65532,"service":2,"code":4301,"reason":"CONVERSATION_API_FAILED","detail":"not served by this server"}`},
				{`{"cmd":"session","op":"close","peerId":"Tom","i":-65531}`, `{"cmd":"session","op":"closed","peerId":"Tom","i":-65531,"service":2}`},
			}
			for _, s := range steps {
				c.raw(websocket.MessageText, []byte(s.send))
				var got, want map[string]any
				if err := json.Unmarshal(c.receive(), &got); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal([]byte(s.want), &want); err != nil {
					t.Fatal(err)
				}
				for _, k := range []string{"serverTs", "st"} { // differ each time
					if _, ok := want[k]; ok && got[k] != nil {
						want[k] = got[k]
					}
				}
				if !equalJSON(got, want) {
					t.Errorf("%s\nwas answered by %v\nwant            %v", s.send, got, want)
				}
			}
		})
	}
}

func equalJSON(a, b map[string]any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// dialJSON connects with a subprotocol, or with one in the address as some old clients do.
func (w *world) dialJSON(how string) *client {
	w.t.Helper()
	if !strings.HasPrefix(how, "?") {
		return w.dial(how)
	}
	conn, _, err := websocket.Dial(context.Background(), w.server.URL+how, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.CloseNow() })
	return &client{w.t, conn, "lc.json.3"}
}

// Read as U+FFFD, all broken ids would be one peer.
func TestAnIDWithHalfACharacterIsNoID(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.json.1")
	c.send([]byte(`{"cmd":"session","op":"open","appId":"` + appID + `","peerId":"\ud800","i":1}`))
	if got := c.closeCode(); got != 4114 {
		t.Errorf("closed with %d, want 4114", got)
	}
}

func TestJSONThatNestsWithoutEndIsClosed(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.json.3")
	c.raw(websocket.MessageText, []byte(`{"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`}`))
	if got := c.closeCode(); got != 4114 {
		t.Errorf("closed with %d", got)
	}
}

func TestAnUnknownSubprotocolIsRefused(t *testing.T) {
	w := newWorld(t, settings{})
	_, err := w.tryDial("lc.protobuf9.9", nil)
	if err == nil || !strings.Contains(err.Error(), "400") {
		t.Errorf("dialing gave %v, want 400", err)
	}
	if n := w.gw.Stats().Refused["handshake"]; n != 1 {
		t.Errorf("counted %d times", n)
	}
}

// The tag rule: which connections stay when the same id logs in again. All of them live.
func TestTagRule(t *testing.T) {
	const opened, refused, kicked = "opened", "refused", "kicked"
	tests := []struct {
		name          string
		first, second message
		token         bool // the second sends the first's token
		want          string
		firstReceives string // what the first gets; empty: nothing
		firstStays    bool
	}{
		{"by hand from another device", message{sTag: "Mobile", sDevice: "a"}, message{sTag: "Mobile", sDevice: "b"}, false, opened, kicked, false},
		{"by hand from the same device", message{sTag: "Mobile", sDevice: "a"}, message{sTag: "Mobile", sDevice: "a"}, false, opened, "", true},
		{"by hand with the first's token", message{sTag: "Mobile", sDevice: "a"}, message{}, true, opened, "", true},
		{"automatic from another device", message{sTag: "Mobile", sDevice: "a"}, message{sTag: "Mobile", sDevice: "b", sR: 1}, false, refused, "", true},
		{"automatic from the same device", message{sTag: "Mobile", sDevice: "a"}, message{sTag: "Mobile", sDevice: "a", sR: 1}, false, opened, "", true},
		{"automatic with the first's token", message{sTag: "Mobile", sDevice: "a"}, message{sR: 1}, true, opened, "", true},
		{"Apple's name for the same device", message{sTag: "Mobile", sDeviceToken: "a"}, message{sTag: "Mobile", sDeviceToken: "a", sR: 1}, false, opened, "", true},
		{"neither names a device, and it is automatic", message{sTag: "Mobile"}, message{sTag: "Mobile", sR: 1}, false, opened, "", true},
		{"neither names a device, and it is by hand", message{sTag: "Mobile"}, message{sTag: "Mobile"}, false, opened, kicked, false},
		{"without a device, with the first's token", message{sTag: "Mobile"}, message{sTag: "Mobile"}, true, opened, "", true},
		{"without a tag and a device, with the first's token", message{}, message{sR: 1}, true, opened, "", true},
		{"another tag", message{sTag: "Mobile", sDevice: "a"}, message{sTag: "Pad", sDevice: "b"}, false, opened, "", true},
		{"without a tag", message{sDevice: "a"}, message{sDevice: "b"}, false, opened, "", true},
		{"the default tag is none", message{sTag: "default", sDevice: "a"}, message{sTag: "default", sDevice: "b"}, false, opened, "", true},
		{"without a tag and without a device", message{}, message{}, false, opened, "", true},
		{"the same device without a tag", message{sDevice: "a"}, message{sDevice: "a"}, false, opened, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, settings{})
			a, b := w.dial("lc.protobuf2.3"), w.dial("lc.protobuf2.3")
			st := a.login("Tom", tt.first)
			if tt.token {
				tt.second[sSt] = st
			}
			got := b.ask(open("Tom", 7, tt.second))
			switch {
			case tt.want == opened && got.number(fOp) != opOpened,
				tt.want == refused && (got.number(fOp) != opClosed || got.sub(fSession).number(sCode) != 4111 || got.number(fI) != 7):
				t.Errorf("the second login was answered by %v, want %s", got, tt.want)
			}
			if tt.firstReceives == kicked {
				m := parse(t, a.receive())
				if m.number(fOp) != opClosed || m.has(fI) || m.sub(fSession).number(sCode) != 4111 || m.text(fPeer) != "Tom" || m.number(fService) != 2 {
					t.Errorf("the first hears %v", m)
				}
			}
			q := a.ask(query(9, "Tom"))
			if q.number(fOp) == opClosed {
				t.Errorf("the first also hears %v", q)
			}
			if stays := q.number(fOp) == opResult; stays != tt.firstStays {
				t.Errorf("the first stays: %v (%v), want %v", stays, q, tt.firstStays)
			}
			if w.status("Tom") != presence.Online {
				t.Error("Tom is not online")
			}
			want := int64(1)
			if tt.want == opened && tt.firstStays {
				want = 2
			}
			if n := w.gw.Stats().Sessions; n != want {
				t.Errorf("%d sessions, want %d", n, want)
			}
		})
	}
}

func TestATokenSurvivesARestart(t *testing.T) {
	store := newStore(t)
	first := newWorld(t, settings{store: store, rtm: func(c *rtm.Config) { c.Signatures = true }})
	now := first.clock.Load()
	st := first.dial("lc.protobuf2.3").login("Tom", message{
		sTag: "Mobile", sDevice: "a", sT: now, sN: "abc", sS: api.SignLogin(masterKey, appID, "Tom", now, "abc"),
	})
	first.close()
	second := newWorld(t, settings{store: store, node: "node-2", clock: presence.Millis(first.clock.Load()).Add(time.Second), rtm: func(c *rtm.Config) { c.Signatures = true }})
	c := second.dial("lc.protobuf2.3")
	c.login("Tom", message{sR: 1, sSt: st})
	// The tag and the device came back with the token: another device with the tag is refused.
	a := second.dial("lc.protobuf2.3")
	at := second.clock.Load()
	got := a.ask(open("Tom", 1, message{sR: 1, sTag: "Mobile", sDevice: "b", sT: at, sN: "x", sS: api.SignLogin(masterKey, appID, "Tom", at, "x")}))
	if got.sub(fSession).number(sCode) != 4111 {
		t.Errorf("another device with the tag was answered by %v", got)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	w := newWorld(t, settings{})
	st := w.dial("lc.protobuf2.3").login("Tom", nil)
	broken := []byte(st)
	broken[len(broken)/2] ^= 1
	for _, tt := range []struct {
		name, peer, st string
	}{
		{"of another peer", "Jerry", st},
		{"with a broken seal", "Tom", string(broken)},
		{"none at all", "Tom", "nonsense"},
		{"too long", "Tom", strings.Repeat("A", 4000)},
	} {
		if a := w.dial("lc.protobuf2.3").ask(open(tt.peer, 1, message{sR: 1, sSt: tt.st})); a.code() != 4112 {
			t.Errorf("a token %s was answered by %v", tt.name, a)
		}
	}
	if n := w.gw.Stats().Refused["login"]; n != 4 {
		t.Errorf("counted %d times, want 4", n)
	}
	w.advance(rtm.DefaultConfig().TokenLife)
	if a := w.dial("lc.protobuf2.3").ask(open("Tom", 1, message{sR: 1, sSt: st})); a.code() != 4112 {
		t.Errorf("a token that is too old was answered by %v", a)
	}
}

func TestAKickOutlivesTokensAndSignatures(t *testing.T) {
	store := newStore(t)
	required := func(c *rtm.Config) { c.Signatures = true }
	w := newWorld(t, settings{store: store, rtm: required})
	now := w.clock.Load()
	signed := message{sT: now, sN: "abc", sS: api.SignLogin(masterKey, appID, "Tom", now, "abc")}
	c := w.dial("lc.protobuf2.3")
	st := c.login("Tom", signed)
	if err := w.gw.Kick(context.Background(), appID, "Tom", "because"); err != nil {
		t.Fatal(err)
	}
	m := parse(t, c.receive())
	if s := m.sub(fSession); s.number(sCode) != 4115 || s.text(sReason) != "because" || m.has(fI) {
		t.Errorf("the client hears %v", m)
	}
	if w.status("Tom") != presence.Offline {
		t.Errorf("Tom is %v after the kick", w.status("Tom"))
	}
	w.close()
	again := newWorld(t, settings{store: store, node: "node-2", clock: presence.Millis(w.clock.Load()).Add(time.Second), rtm: required})
	if a := again.dial("lc.protobuf2.3").ask(open("Tom", 1, message{sR: 1, sSt: st})); a.code() != 4112 {
		t.Errorf("the token from before the kick was answered by %v", a)
	}
	if a := again.dial("lc.protobuf2.3").ask(open("Tom", 1, signed)); a.code() != 4102 {
		t.Errorf("the signature from before the kick was answered by %v", a)
	}
	later := again.clock.Load()
	again.dial("lc.protobuf2.3").login("Tom", message{sT: later, sN: "n", sS: api.SignLogin(masterKey, appID, "Tom", later, "n")})
	if err := again.gw.Kick(context.Background(), appID, presence.PeerID(strings.Repeat("k", presence.MaxPeer+1)), ""); err != nil {
		t.Errorf("a kick of an id that nobody can have: %v", err)
	}
	if err := again.gw.Kick(context.Background(), appID, "nobody", ""); err != nil {
		t.Errorf("kicking a peer that nobody knows: %v", err)
	}
}

func TestLoginSignatures(t *testing.T) {
	const ms, sec = 1700000000000, 1700000000
	if got := api.SignLogin(masterKey, appID, "Tom", ms, "abc"); got != "f33d7109d8a7f90a2f1561ab6b5341a93d69e2f3" {
		t.Errorf("in milliseconds: %s", got)
	}
	if got := api.SignLogin(masterKey, appID, "Tom", sec, "abc"); got != "49cec916ee537c705f49f4182629703e67cb9051" {
		t.Errorf("in seconds: %s", got)
	}
	good := api.SignLogin(masterKey, appID, "Tom", ms, "abc")
	tests := []struct {
		name    string
		peer    string
		session message
		code    int64
	}{
		{"right", "Tom", message{sT: ms, sN: "abc", sS: good}, 0},
		{"in seconds", "Tom", message{sT: sec, sN: "abc", sS: api.SignLogin(masterKey, appID, "Tom", sec, "abc")}, 0},
		{"in capitals", "Tom", message{sT: ms, sN: "abc", sS: strings.ToUpper(good)}, 0},
		{"missing", "Tom", message{}, 4102},
		{"of another client", "Jerry", message{sT: ms, sN: "abc", sS: good}, 4102},
		{"with another nonce", "Tom", message{sT: ms, sN: "abd", sS: good}, 4102},
		{"with another time", "Tom", message{sT: ms + 1, sN: "abc", sS: good}, 4102},
		{"by another key", "Tom", message{sT: ms, sN: "abc", sS: api.SignLogin("other", appID, "Tom", ms, "abc")}, 4102},
		{"of a client whose id reads like it", "Tom", message{sT: ms, sN: "x::1:n", sS: api.SignLogin(masterKey, appID, "Tom::1700000000000:x", 1, "n")}, 4102},
		{"too old", "Tom", message{sT: ms - 6*3600_000 - 5000, sN: "abc", sS: api.SignLogin(masterKey, appID, "Tom", ms-6*3600_000-5000, "abc")}, 4102},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, settings{clock: ms + 1000, rtm: func(c *rtm.Config) { c.Signatures = true }})
			if got := w.dial("lc.protobuf2.3").ask(open(tt.peer, 1, tt.session)); got.code() != tt.code {
				t.Errorf("answered by %v, want code %d", got, tt.code)
			}
		})
	}
}

func TestCommandsWithoutAPeerMeanTheFirstOpened(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.protobuf2.3")
	c.login("Tom", nil)
	c.login("Jerry", nil)
	c.login("Spike", nil)
	if a := c.ask(query(2, "Tom")); a.text(fPeer) != "Tom" {
		t.Errorf("with three open it means %v", a)
	}
	closeTom := message{fCmd: 0, fOp: opClose, fPeer: "Tom", fI: 3}
	if a := c.ask(closeTom); a.number(fOp) != opClosed || a.sub(fSession).has(sCode) {
		t.Errorf("the close was answered by %v", a)
	}
	if a := c.ask(query(4, "Tom")); a.code() != 4105 {
		t.Errorf("with two left and the first gone it means %v, want 4105", a)
	}
	if n := w.gw.Stats().Refused["no_session"]; n != 1 {
		t.Errorf("a command without a session is counted %d times, want once", n)
	}
	if a := c.ask(message{fCmd: 0, fOp: opClose, fPeer: "Jerry", fI: 5}); a.number(fOp) != opClosed {
		t.Errorf("the close was answered by %v", a)
	}
	if a := c.ask(query(6, "Tom")); a.text(fPeer) != "Spike" {
		t.Errorf("with one left it means %v", a)
	}
}

func TestQueriesLookAtTheFirstIDs(t *testing.T) {
	for limit, want := range map[int]int{20: 20, 100: 25} {
		w := newWorld(t, settings{rtm: func(c *rtm.Config) { c.QueryIDs = limit }})
		c := w.dial("lc.protobuf2.3")
		ids := make([]string, 25)
		for i := range ids {
			ids[i] = "u" + hex.EncodeToString([]byte{byte(i)})
			c.login(ids[i], nil)
		}
		a := c.ask(query(2, ids...))
		if n := len(a.sub(fSession).list(sOnline)); n != want {
			t.Errorf("limit %d: %d of 25 are answered, want %d", limit, n, want)
		}
	}
}

func TestWhatIsNotServedIsRefusedAndTheSessionGoesOn(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.protobuf2.3")
	c.login("Tom", nil)
	for cmd, code := range map[int]int64{1: 4301, 2: 4401, 6: 4301, 9: 4301, 10: 4301, 12: 4301, 18: 4401, 19: 4301, 20: 4301, 77: 4301} {
		a := c.ask(message{fCmd: cmd, fI: 5})
		if a.code() != code || a.number(fI) != 5 || a.text(fPeer) != "Tom" || a.sub(fError).text(4) != "not served by this server" {
			t.Errorf("command %d was answered by %v, want code %d", cmd, a, code)
		}
	}
	// Without a number nothing is answered: the next thing to come is the echo's answer.
	for _, cmd := range []int{1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 16, 18, 19, 20, 77} {
		c.send(build(message{fCmd: cmd}))
	}
	if a := c.ask(message{fCmd: 14, fI: 6}); a.number(fCmd) != 14 {
		t.Errorf("a command without a number was answered by %v", a)
	}
	if a := c.ask(message{fCmd: 16, fI: 7}); a.number(fCmd) != 17 || a.number(fI) != 7 {
		t.Errorf("a logout was answered by %v", a)
	}
	if a := c.ask(message{fCmd: 8, fI: 8, fService: 1, fInstallation: "inst"}); a.code() == 0 || a.number(fService) != 1 || a.text(fInstallation) != "inst" {
		t.Errorf("a live query was answered by %v", a)
	}
	for op, want := range map[int]int64{2: 10, 3: 11} {
		if a := c.ask(message{fCmd: 0, fOp: op, fI: 9}); a.number(fOp) != want {
			t.Errorf("session operation %d was answered by %v", op, a)
		}
	}
	if a := c.ask(query(10, "Tom")); len(a.sub(fSession).list(sOnline)) != 1 {
		t.Errorf("the session is gone: %v", a)
	}
}

func TestRefreshGivesATokenOrRefuses(t *testing.T) {
	w := newWorld(t, settings{})
	c := w.dial("lc.protobuf2.3")
	st := c.login("Tom", nil)
	w.advance(time.Hour)
	a := c.ask(message{fCmd: 0, fOp: opRefresh, fI: 2, fSession: message{sSt: st}})
	fresh := a.sub(fSession).text(sSt)
	if a.number(fOp) != opRefreshed || fresh == "" || fresh == st || a.sub(fSession).number(sTTL) == 0 {
		t.Errorf("the refresh was answered by %v", a)
	}
	if a := c.ask(message{fCmd: 0, fOp: opRefresh, fI: 3, fSession: message{sSt: "nonsense"}}); a.code() != 4112 {
		t.Errorf("nonsense was answered by %v", a)
	}
	w.advance(rtm.DefaultConfig().TokenLife - 30*time.Minute)
	w.dial("lc.protobuf2.3").login("Tom", message{sR: 1, sSt: fresh})
}

func TestAnonymityCanBeOff(t *testing.T) {
	w := newWorld(t, settings{rtm: func(c *rtm.Config) { c.Anonymous = false }})
	if a := w.dial("lc.protobuf2.3").ask(message{fCmd: 0, fOp: opOpen, fApp: appID, fI: 1}); a.code() != 4103 {
		t.Errorf("no id was answered by %v", a)
	}
}

// What a proxy says of how clients came counts only when it is named: anybody may write the
// headers.
func TestRouteBelievesNamedProxiesAlone(t *testing.T) {
	w := newWorld(t, settings{})
	w.rtm.Proxies = nil
	for _, head := range []http.Header{
		{"X-Forwarded-Proto": {"https"}},
		{"X-Forwarded-Host": {"evil.example"}},
		{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example:444"}, "Forwarded": {"host=evil.example;proto=https"}},
	} {
		req, err := http.NewRequest(http.MethodGet, w.server.URL+"/v1/route", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = head
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(b), `"server":"ws://`+req.URL.Host+`/rtm"`) {
			t.Errorf("with %v: %s, %v", head, b, err)
		}
	}
}

func TestRoute(t *testing.T) {
	tests := []struct {
		name   string
		public string
		query  string
		header http.Header
		want   string
	}{
		{"as the request came", "", "?appId=x&secure=true", nil, "ws://HOST/rtm"},
		{"behind a proxy that ends TLS", "", "?appId=x", http.Header{"X-Forwarded-Proto": {"https"}}, "wss://HOST/rtm"},
		{"an open connection is asked for", "", "?secure=false", http.Header{"X-Forwarded-Proto": {"https"}}, "ws://HOST/rtm"},
		{"a custom domain", "", "", http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"im.example.com"}}, "wss://im.example.com/rtm"},
		{"a custom domain with a port", "", "", http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"im.example.com:8443"}}, "wss://im.example.com:8443/rtm"},
		{"a host that is none", "", "", http.Header{"X-Forwarded-Host": {`x"/../?y`}}, "ws://HOST/rtm"},
		{"a setting", "wss://im.example.com/x", "?secure=false", nil, "wss://im.example.com/x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, settings{rtm: func(c *rtm.Config) { c.PublicURL = tt.public }})
			req, err := http.NewRequest(http.MethodGet, w.server.URL+"/v1/route"+tt.query, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = tt.header
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var body struct {
				Server, Secondary string
				TTL               int
			}
			if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			want := strings.ReplaceAll(tt.want, "HOST", req.URL.Host)
			if body.Server != want || body.Secondary != want || body.TTL != 3600 {
				t.Errorf("the route is %+v, want %s", body, want)
			}
			if resp.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Error("browsers of other origins may not read it")
			}
		})
	}
}

func TestAPageMayAskForTheRoute(t *testing.T) {
	w := newWorld(t, settings{})
	for method, want := range map[string]int{http.MethodGet: 200, http.MethodOptions: 200, http.MethodPost: 405} {
		req, err := http.NewRequest(method, w.server.URL+"/v1/route", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "https://app.example")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		h := resp.Header
		if resp.StatusCode != want || h.Get("Access-Control-Allow-Origin") != "https://app.example" || h.Get("Vary") != "Origin" {
			t.Errorf("%s: %d, allow-origin %q, vary %q", method, resp.StatusCode, h.Get("Access-Control-Allow-Origin"), h.Get("Vary"))
		}
		if method == http.MethodOptions && (!strings.Contains(h.Get("Access-Control-Allow-Methods"), "GET") || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "X-LC-Id")) {
			t.Errorf("the preflight allows %q with %q", h.Get("Access-Control-Allow-Methods"), h.Get("Access-Control-Allow-Headers"))
		}
	}
}

func TestANodeThatStopsAsksItsClientsToMove(t *testing.T) {
	w := newWorld(t, settings{gateway: func(c *gateway.Config) { c.GoAway = true }})
	c := w.dial("lc.protobuf2.3")
	c.login("Tom", nil)
	idle := w.dial("lc.protobuf2.3") // no session on it: there is no id to name
	drained := make(chan error, 1)
	go func() { drained <- w.gw.Drain(context.Background()) }()
	if m := parse(t, c.receive()); m.number(fCmd) != 21 || m.text(fPeer) != "Tom" || m.has(fI) {
		t.Errorf("the client hears %v, want goaway with its id", m)
	}
	_ = c.conn.CloseNow()
	if got := idle.closeCode(); got != 1001 {
		t.Errorf("the other is closed with %d, want 1001", got)
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	w.closeDoors()
	if w.status("Tom") != presence.Online {
		t.Error("Tom is offline though his grace runs")
	}
	if _, err := w.tryDial("lc.protobuf2.3", nil); err == nil {
		t.Error("a node that is gone lets somebody in")
	}
}

// A blind service takes no report.
type blind struct {
	gateway.Service
	away *atomic.Bool
}

// A blindStore answers no question.
type blindStore struct {
	presence.Store
	away *atomic.Bool
}

func (b blindStore) Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (time.Duration, error) {
	if b.away.Load() {
		return 0, presence.ErrUnavailable
	}
	return b.Store.Statuses(ctx, app, peers, now, out)
}

func (b blind) Report(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	if b.away.Load() {
		return presence.ErrUnavailable
	}
	return b.Service.Report(ctx, reports, now, out)
}

func TestWhatTheStoreDoesNotAnswerIsCounted(t *testing.T) {
	var away atomic.Bool
	w := newWorld(t, settings{store: blindStore{newStore(t), &away}, service: func(s gateway.Service) gateway.Service { return blind{s, &away} }})
	c := w.dial("lc.protobuf2.3")
	c.login("Tom", nil)
	away.Store(true)
	if a := c.ask(query(2, "Tom")); a.code() != 4200 {
		t.Errorf("a question is answered by %v, want 4200", a)
	}
	if a := c.ask(open("Jerry", 3, nil)); a.code() != 4200 {
		t.Errorf("a login is answered by %v, want 4200", a)
	}
	away.Store(false)
	if a := c.ask(query(4, "Tom")); a.code() != 0 {
		t.Errorf("afterwards a question is answered by %v", a)
	}
	if n := w.gw.Stats().Refused["unavailable"]; n != 2 {
		t.Errorf("counted %d times, want 2", n)
	}
}
