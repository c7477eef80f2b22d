package gateway_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/encoding/protowire"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/rtm"
	"rollcall/presence"
)

// A line is one thing that was recorded between an SDK and a server.
type line struct {
	Flow     string          `json:"flow"`
	Step     int             `json:"step"`
	Kind     string          `json:"kind"`
	Conn     int             `json:"conn"`
	Dir      string          `json:"dir"`
	Opcode   string          `json:"opcode"`
	Hex      string          `json:"hex"`
	Offered  string          `json:"offered"`
	Chosen   string          `json:"chosen"`
	Code     int             `json:"code"`
	URL      string          `json:"url"`
	Method   string          `json:"method"`
	Decoded  json.RawMessage `json:"decoded"`
	Response struct {
		Status int            `json:"status"`
		Body   map[string]any `json:"body"`
	} `json:"response"`
}

func readGolden(t *testing.T) (flows map[string][]line, order []string) {
	t.Helper()
	f, err := os.Open("testdata/golden-rtm.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flows = map[string][]line{}
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var l line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		if flows[l.Flow] == nil {
			order = append(order, l.Flow)
		}
		flows[l.Flow] = append(flows[l.Flow], l)
	}
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	if len(order) < 40 {
		t.Fatalf("the file holds %d flows; it is cut", len(order))
	}
	return flows, order
}

func TestRecordedFlowsPlayAndMatch(t *testing.T) {
	flows, order := readGolden(t)
	for _, name := range order {
		t.Run(name, func(t *testing.T) { play(t, name, flows[name]) })
	}
}

// A player plays the client's half of one flow and compares the server's.
type player struct {
	*world
	flow   string
	conns  map[int]*client
	tokens map[string]string // recorded token → the one that this server gave in its place
	anon   map[string]string // recorded made-up id → this server's
}

func play(t *testing.T, flow string, lines []line) {
	s := settings{clock: firstTime(t, lines), rtm: func(c *rtm.Config) {
		c.Signatures = strings.HasPrefix(flow, "signature-") || strings.HasSuffix(flow, "signature-required")
	}}
	p := &player{world: newWorld(t, s), flow: flow, conns: map[int]*client{}, tokens: map[string]string{}, anon: map[string]string{}}
	if flow == "ping-25-ids" { // the recording keeps the frames of the 26th connection only
		for i := range 25 {
			p.conns[i+1] = p.dial("lc.protobuf2.3")
			p.conns[i+1].login("u"+string(rune('0' + i/10))[:min(i/10, 1)]+string(rune('0'+i%10)), nil)
		}
	}
	for _, l := range lines {
		p.line(l)
	}
	for _, c := range p.conns {
		// Nothing more may be on its way: the next thing to come is the answer to this.
		if a := c.ask(message{fCmd: 14, fI: 9999}); a.number(fCmd) != 14 || a.number(fI) != 9999 {
			t.Errorf("after the flow came %v", a)
		}
	}
}

// firstTime returns a time at which the signatures of the flow are fresh.
func firstTime(t *testing.T, lines []line) presence.Millis {
	for _, l := range lines {
		if l.Kind == "frame" && l.Dir == "c2s" {
			if at := parse(t, unhex(t, l.Hex)).sub(fSession).number(sT); at > 0 {
				return presence.Millis(at).Add(time.Second)
			}
		}
	}
	return 0
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (p *player) line(l line) {
	p.t.Helper()
	switch l.Kind {
	case "info":
	case "http":
		p.http(l)
	case "connect":
		if l.Conn > 1 && strings.HasPrefix(p.flow, "reconnect-token-expired") {
			p.advance(p.tokenLife())
		}
		p.conns[l.Conn] = p.dial(l.Offered)
		if got := p.conns[l.Conn].conn.Subprotocol(); got != l.Chosen {
			p.t.Errorf("step %d: subprotocol %q, want %q", l.Step, got, l.Chosen)
		}
	case "frame":
		if l.Dir == "c2s" {
			p.conns[l.Conn].send(p.replaceTokens(unhex(p.t, l.Hex)))
			return
		}
		p.provoke(l)
		p.compare(l, parse(p.t, unhex(p.t, l.Hex)), parse(p.t, p.conns[l.Conn].receive()))
	case "socket-closed":
		p.closed(l)
	case "c2s-ping", "c2s-pong":
		p.pingpong(l)
	default:
		p.t.Fatalf("step %d: kind %q is not known", l.Step, l.Kind)
	}
}

func (p *player) tokenLife() time.Duration { return rtm.DefaultConfig().TokenLife }

// http plays the route; the other calls are another door's.
func (p *player) http(l line) {
	path, _, _ := strings.Cut(l.URL, "?")
	if path != "/v1/route" {
		return
	}
	resp, err := http.Get(p.server.URL + strings.ReplaceAll(l.URL, "<ms>", "1"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil || resp.StatusCode != l.Response.Status {
		p.t.Fatalf("step %d: status %d, %v", l.Step, resp.StatusCode, err)
	}
	for key, want := range l.Response.Body {
		got := body[key]
		if text, ok := want.(string); ok && strings.HasPrefix(text, "ws://") {
			if u, _ := got.(string); !strings.HasPrefix(u, "ws://"+strings.TrimPrefix(p.server.URL, "http://")+"/") {
				p.t.Errorf("step %d: %s is %v, not an address of this server", l.Step, key, got)
			}
		} else if got != want {
			p.t.Errorf("step %d: %s is %v, want %v", l.Step, key, got, want)
		}
	}
}

// provoke does what made the recorded server speak on its own.
func (p *player) provoke(l line) {
	want := parse(p.t, unhex(p.t, l.Hex))
	switch {
	case want.sub(fSession).number(sCode) == 4115:
		if err := p.gw.Kick(context.Background(), appID, presence.PeerID(want.text(fPeer)), want.sub(fSession).text(sReason)); err != nil {
			p.t.Fatal(err)
		}
	case want.number(fCmd) == 21:
		p.gw.MoveSockets()
	}
}

// replaceTokens puts this server's tokens in the place of the recorded ones.
func (p *player) replaceTokens(b []byte) []byte {
	m := parse(p.t, b)
	old := m.sub(fSession).text(sSt)
	if old == "" {
		return b
	}
	ours, ok := p.tokens[old]
	if !ok {
		p.t.Fatalf("the flow sends a token that no answer gave")
	}
	return slices.Concat(without(b, fSession), protowire.AppendBytes(
		protowire.AppendTag(nil, fSession, protowire.BytesType),
		protowire.AppendString(protowire.AppendTag(without(sessionOf(b), sSt), sSt, protowire.BytesType), ours)))
}

// without returns b without its field n.
func without(b []byte, n protowire.Number) []byte {
	var kept []byte
	for len(b) > 0 {
		num, _, size := protowire.ConsumeField(b)
		if num != n {
			kept = append(kept, b[:size]...)
		}
		b = b[size:]
	}
	return kept
}

// sessionOf returns the bytes of the session message in b.
func sessionOf(b []byte) []byte {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(num, kind, b[n:])
		if num == fSession {
			v, _ := protowire.ConsumeBytes(b[n:])
			return v
		}
		b = b[n+size:]
	}
	return nil
}

func (p *player) compare(l line, want, got message) {
	p.t.Helper()
	for _, n := range []protowire.Number{fCmd, fOp, fI} {
		if want.has(n) != got.has(n) || want.number(n) != got.number(n) {
			p.t.Errorf("step %d: field %d is %v (%v), want %v (%v)", l.Step, n, got[n], got.has(n), want[n], want.has(n))
		}
	}
	if want.number(fCmd) != 21 { // the recorded goaway was bare; ours names a peer, for Java
		p.comparePeer(l, want, got)
		if want.number(fService) != got.number(fService) {
			p.t.Errorf("step %d: service %v, want %v", l.Step, got[fService], want[fService])
		}
	}
	if want.has(fServerTs) != got.has(fServerTs) {
		p.t.Errorf("step %d: serverTs %v, want one: %v", l.Step, got[fServerTs], want.has(fServerTs))
	}
	if want.has(fSession) != got.has(fSession) || want.has(fError) != got.has(fError) {
		p.t.Fatalf("step %d: got %v, want %v", l.Step, got, want)
	}
	p.compareSession(l, want.sub(fSession), got.sub(fSession))
	p.compareError(l, want.sub(fError), got.sub(fError))
}

func (p *player) comparePeer(l line, want, got message) {
	w := want.text(fPeer)
	if strings.HasPrefix(w, "anon-") {
		if p.anon[w] == "" {
			p.anon[w] = got.text(fPeer)
		}
		w = p.anon[w]
		if !strings.HasPrefix(w, "anon-") {
			p.t.Errorf("step %d: the made-up id is %q", l.Step, w)
		}
	}
	if got.text(fPeer) != w {
		p.t.Errorf("step %d: peer %q, want %q", l.Step, got.text(fPeer), w)
	}
}

func (p *player) compareSession(l line, want, got message) {
	if want.has(sSt) != got.has(sSt) {
		p.t.Errorf("step %d: token %q, want one: %v", l.Step, got.text(sSt), want.has(sSt))
	}
	if want.has(sSt) {
		p.tokens[want.text(sSt)] = got.text(sSt)
	}
	ttl := want.number(sTTL)
	if p.flow == "no-session-token-given" || p.flow == "refresh-session-token" {
		ttl = got.number(sTTL) // the recorded server was made to give a short one
	}
	if got.number(sTTL) != ttl || got.number(sCode) != want.number(sCode) || got.has(sCode) != want.has(sCode) || got.text(sReason) != want.text(sReason) {
		p.t.Errorf("step %d: ttl, code, reason are %v, want %v", l.Step, got, want)
	}
	if !slices.Equal(want.list(sOnline), got.list(sOnline)) {
		p.t.Errorf("step %d: online are %v, want %v", l.Step, got.list(sOnline), want.list(sOnline))
	}
}

func (p *player) compareError(l line, want, got message) {
	code, reason, detail := want.number(1), want.text(2), want.text(4)
	// The recorded server had one code for all of these.
	if p.flow == "out-of-scope-conv-start" && want.has(1) {
		code, reason, detail = 4301, "CONVERSATION_API_FAILED", "not served by this server"
	}
	if got.number(1) != code || got.text(2) != reason || got.text(4) != detail {
		p.t.Errorf("step %d: error %v, want %d %s %s", l.Step, got, code, reason, detail)
	}
}

func (p *player) closed(l line) {
	c := p.conns[l.Conn]
	delete(p.conns, l.Conn)
	before := p.gw.Stats().Sockets
	switch l.Code {
	case 1006:
		_ = c.conn.CloseNow()
	case 1005:
		if err := c.conn.Close(websocket.StatusNoStatusRcvd, ""); err != nil {
			p.t.Errorf("step %d: the close was not answered: %v", l.Step, err)
		}
	default:
		p.gw.CloseSockets(l.Code, "test")
		if got := c.closeCode(); got != l.Code {
			p.t.Errorf("step %d: closed with %d, want %d", l.Step, got, l.Code)
		}
	}
	p.until("the server has noticed", func() bool { return p.gw.Stats().Sockets < before && p.gw.Idle() })
}

func (p *player) pingpong(l line) {
	c := p.conns[l.Conn]
	if l.Kind == "c2s-pong" {
		p.gw.PingSockets() // answered by the client's next read
		return
	}
	ctx, cancel := context.WithTimeout(c.conn.CloseRead(context.Background()), patience)
	defer cancel()
	if err := c.conn.Ping(ctx); err != nil {
		p.t.Errorf("step %d: %v", l.Step, err)
	}
}

var _ gateway.Service = (*presence.Service)(nil)
