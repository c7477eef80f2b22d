package hookout_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/hookout"
	"rollcall/presence"
	"rollcall/store/embedded"
)

// A fleet is some nodes on one store, in fake time, and an app that records their hooks. Each
// client has one device, so that its sessions follow one another.
type fleet struct {
	t      *testing.T
	rng    *rand.Rand // of the story
	net    *rand.Rand // of the network; under mu
	store  *embedded.Store
	shared bool
	dir    string
	nodes  []*node
	peers  []*client
	runs   int

	mu       sync.Mutex
	received []string // "<peer> on <session> by <node>", "<peer> off <session> by <node>"
	down     bool     // the app answers 503
	cut      bool     // some node was cut off
	begun    time.Time
}

type node struct {
	f       *fleet
	place   int // of its journal
	id      presence.NodeID
	svc     *presence.Service
	sender  *hookout.Sender
	stop    context.CancelFunc
	loops   sync.WaitGroup
	dead    bool
	frozen  atomic.Bool
	lock    sync.Mutex             // of its sessions, as the gateway has one
	clients map[*client][]*session // that have not ended
}

type session struct {
	id    presence.SessionID
	start presence.Millis
	over  bool
	said  bool // the event of its beginning was emitted
}

type client struct {
	name string
	on   *node
	ss   *session
	n    int
}

// RoundTrip is the app, with the network between it and the node.
func (n *node) RoundTrip(r *http.Request) (*http.Response, error) {
	f := n.f
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var b struct{ PeerID, Tag string }
	if err := json.Unmarshal(body, &b); err != nil {
		f.t.Error(err)
	}
	f.mu.Lock()
	slow, lost, down := time.Duration(f.net.IntN(40))*time.Millisecond, f.net.IntN(20) == 0, f.down
	f.mu.Unlock()
	time.Sleep(slow) // what is on its way when its process is killed arrives
	status := http.StatusOK
	if down {
		status = http.StatusServiceUnavailable
	} else {
		f.mu.Lock()
		f.received = append(f.received, fmt.Sprintf("%s %s %s by %s at %.3f", b.PeerID, map[bool]string{true: "on", false: "off"}[strings.HasSuffix(r.URL.Path, "Online")], b.Tag, n.id, time.Since(f.begun).Seconds()))
		f.mu.Unlock()
	}
	time.Sleep(slow)
	if lost || r.Context().Err() != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(bytes.NewReader(nil)), Request: r}, nil
}

func (f *fleet) start(place int) *node {
	f.runs++
	n := &node{f: f, place: place, id: presence.NodeID(fmt.Sprint("node-", f.runs)), clients: map[*client][]*session{}}
	store := storeOf{f.store, n.id}
	n.svc = presence.NewService(store, presence.DefaultConfig())
	cfg := hookout.DefaultConfig()
	cfg.URL = "http://app"
	var err error
	n.sender, err = hookout.Open(cfg, hookout.Deps{
		Keys: keys, Ledger: &hookout.Ledger{Store: store, Node: n.id, Shared: f.shared, Now: now, Akin: akin}, Log: slog.New(slog.DiscardHandler),
		Journal: filepath.Join(f.dir, fmt.Sprint("journal-", place)), Transport: n,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	n.svc.TakeOver(n.sender.Successor())
	ctx, cancel := context.WithCancel(context.Background())
	n.stop = cancel
	n.heartbeat()
	n.loops.Go(func() {
		for tick := 1; ; tick++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			if n.frozen.Load() {
				continue
			}
			if tick%5 == 0 {
				n.heartbeat()
			}
			if _, err := n.svc.Sweep(ctx, now()); err != nil && ctx.Err() == nil {
				f.t.Error(err)
			}
		}
	})
	f.nodes = append(f.nodes, n)
	return n
}

func (n *node) heartbeat() {
	if err := n.f.store.Heartbeat(context.Background(), n.id, 15*time.Second, false, now()); err != nil {
		n.f.t.Error(err)
	}
}

// kill ends a node without a goodbye.
func (n *node) kill() {
	n.lock.Lock()
	n.dead = true
	n.lock.Unlock()
	n.stop()
	n.loops.Wait()
	n.sender.Kill()
	n.f.nodes = slices.DeleteFunc(n.f.nodes, func(o *node) bool { return o == n })
}

// freeze has a node send no heartbeat for a while; then, if it was taken for dead, it reports its
// sessions again.
func (n *node) freeze(d time.Duration) {
	if n.frozen.Swap(true) {
		return
	}
	time.Sleep(d)
	n.frozen.Store(false)
	n.lock.Lock()
	defer n.lock.Unlock()
	if n.dead {
		return
	}
	n.heartbeat()
	for c, list := range n.clients {
		for _, ss := range list {
			n.report(c, ss, presence.KindTouch, 0)
		}
	}
	n.sender.Review()
}

func (n *node) report(c *client, ss *session, kind presence.Kind, cause presence.Cause) {
	r := presence.Report{
		App: "app", Peer: presence.PeerID(c.name), Source: presence.SourceGateway, Session: ss.id, Kind: kind, At: max(now(), ss.start),
		Incarnation: ss.start, Cause: cause,
	}
	switch kind {
	case presence.KindOnline:
		r.Node, r.At = n.id, ss.start
	case presence.KindTouch:
		r.Node = n.id
	}
	if err := n.svc.Report(context.Background(), []presence.Report{r}, now(), make([]presence.Outcome, 1)); err != nil {
		n.f.t.Error(err)
	}
}

func (n *node) emit(c *client, ss *session, online bool, cause presence.Cause) {
	n.sender.Add(hookout.Event{
		App: "app", Peer: presence.PeerID(c.name), Session: ss.id, Start: ss.start, Tag: string(ss.id), Online: online, Cause: cause, At: now(),
	})
}

// end ends a session on its node as the gateway does: the event, then the report.
func (n *node) end(c *client, ss *session, cause presence.Cause) {
	n.lock.Lock()
	over := ss.over || n.dead
	ss.over = true
	n.clients[c] = slices.DeleteFunc(n.clients[c], func(o *session) bool { return o == ss })
	if !over {
		if !ss.said {
			n.emit(c, ss, true, 0)
		}
		n.emit(c, ss, false, cause)
	}
	n.lock.Unlock()
	if !over {
		n.report(c, ss, presence.KindOffline, cause)
	}
}

// login opens a session on a node. The client's older ones are dead connections, which probes find;
// the gateway has a beginning wait for the probes on its own node.
func (f *fleet) login(c *client, n *node) {
	if c.ss != nil {
		time.Sleep(50 * time.Millisecond) // to connect again; a session is on record by then
	}
	c.n++
	ss := &session{id: presence.SessionID(fmt.Sprintf("%s-%03d~%s", c.name, c.n, c.name)), start: now()}
	c.ss, c.on = ss, n
	n.report(c, ss, presence.KindOnline, 0)
	defer func() {
		n.lock.Lock()
		if !n.dead && !ss.over {
			ss.said = true
			n.emit(c, ss, true, 0)
		}
		n.lock.Unlock()
		time.Sleep(time.Duration(f.rng.IntN(3)) * 10 * time.Millisecond)
	}()
	n.lock.Lock()
	n.clients[c] = append(n.clients[c], ss)
	n.lock.Unlock()
	probed := false
	for _, m := range f.nodes {
		m.lock.Lock()
		older := slices.DeleteFunc(slices.Clone(m.clients[c]), func(o *session) bool { return o == ss })
		m.lock.Unlock()
		for _, o := range older {
			go func() {
				time.Sleep(5 * time.Second)
				m.end(c, o, presence.CauseReplaced)
			}()
		}
		probed = probed || m == n && len(older) > 0
	}
	if probed {
		time.Sleep(5 * time.Second)
		synctest.Wait()
	}
}

// step does one thing at random.
func (f *fleet) step() string {
	f.mu.Lock()
	what, c := f.rng.IntN(20), f.peers[f.rng.IntN(len(f.peers))]
	n := f.nodes[f.rng.IntN(len(f.nodes))]
	pass := []time.Duration{time.Millisecond, 30 * time.Millisecond, 2 * time.Second, 7 * time.Second, 20 * time.Second}[f.rng.IntN(5)]
	f.mu.Unlock()
	switch {
	case what < 7:
		f.login(c, n)
		return fmt.Sprintf("%s logs in as %s on %s", c.name, c.ss.id, n.id)
	case what < 9 && c.ss != nil && !c.on.dead:
		c.on.end(c, c.ss, presence.CauseLogout)
		return fmt.Sprintf("%s logs out of %s", c.name, c.ss.id)
	case what < 11 && c.ss != nil && !c.on.dead:
		c.on.end(c, c.ss, presence.CauseLost)
		return fmt.Sprintf("%s is lost on %s", c.ss.id, c.on.id)
	case what == 11 || what == 12 && !f.shared:
		n.kill()
		again := time.Duration(1+f.rng.IntN(25)) * time.Second
		back := f.shared && f.rng.IntN(2) == 0
		if back || !f.shared {
			time.Sleep(again)
		} else { // its disk is lost
			_ = os.RemoveAll(filepath.Join(f.dir, fmt.Sprint("journal-", n.place)))
		}
		m := f.start(n.place)
		return fmt.Sprintf("%s is killed and is %s after %v; disk kept: %t", n.id, m.id, again, back || !f.shared)
	case what == 14 && f.shared:
		d := time.Duration(5+f.rng.IntN(30)) * time.Second
		f.cut = true
		go n.freeze(d)
		return fmt.Sprintf("%s is cut off for %v", n.id, d)
	case what == 13:
		f.mu.Lock()
		f.down = !f.down
		f.mu.Unlock()
		return fmt.Sprintf("the app is down: %t", f.down)
	default:
		time.Sleep(pass)
		return fmt.Sprint(pass, " pass")
	}
}

// check holds what the app was sent to the promise.
func (f *fleet) check() error {
	f.mu.Lock()
	received := slices.Clone(f.received)
	f.mu.Unlock()
	for _, c := range f.peers {
		var on string // the session that the app takes for open
		ended := map[string]bool{}
		for _, h := range received {
			var peer, what, ss string
			if _, err := fmt.Sscan(h, &peer, &what, &ss); err != nil {
				return err
			}
			if peer != c.name {
				continue
			}
			switch {
			case what == "on" && ended[ss] && !f.cut:
				// One that was cut off and taken for dead begins its sessions again.
				return fmt.Errorf("%s comes after the end of the session", h)
			case what == "on" && on != "" && on != ss:
				return fmt.Errorf("%s comes while the app takes %s for open", h, on)
			case what == "on":
				on = ss
			case on != "" && on != ss:
				return fmt.Errorf("%s comes behind the beginning of %s: a function that goes by the last hook takes the peer down", h, on)
			default:
				on, ended[ss] = "", true
			}
		}
		out := make([]presence.Status, 1)
		if _, err := f.store.Statuses(context.Background(), "app", [][]byte{[]byte(c.name)}, now(), out); err != nil {
			return err
		}
		if online := out[0] == presence.Online; online != (on != "") {
			return fmt.Errorf("%s is %v, and the app takes %q for open", c.name, out[0], on)
		}
	}
	return nil
}
