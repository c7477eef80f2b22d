package v1

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync"
	"time"

	"rollcall/ask"
	"rollcall/edge/gateway"
	"rollcall/edge/gateway/frame"
	"rollcall/internal/api"
	"rollcall/internal/plainjson"
	"rollcall/presence"
	"rollcall/watch"
)

// A wire speaks on one socket.
type wire struct {
	door   *Door
	caller *api.Caller // its app is nil until hello

	master bool // said hello with the master key itself

	mu      sync.Mutex
	session *gateway.Session
	watcher *watch.Watcher
	share   *api.Watching // of what the node may hold of watchers and their peers
	gone    bool
}

// A message is what a client says. Which fields count depends on the op.
type message struct {
	Op string `json:"op"`
	ID int64  `json:"id"`

	App    string `json:"app"` // hello
	Key    string `json:"key"`
	Ticket string `json:"ticket"`

	Peer     string `json:"peer"` // present
	Device   string `json:"device"`
	Tag      string `json:"tag"`
	Platform string `json:"platform"`
	Auto     bool   `json:"auto"`
	Time     int64  `json:"time"` // of the signature
	Nonce    string `json:"nonce"`
	Sign     string `json:"sign"`

	Peers []string `json:"peers"` // watch, unwatch
	Since string   `json:"since"` // watch
}

// patience is how long one message may wait for the store.
const patience = 5 * time.Second

// Message takes one message of the client.
func (w *wire) Message(s *gateway.Socket, data []byte) {
	var m message
	err := api.Decode(data, &m)
	if err == nil {
		ctx, cancel := context.WithTimeout(w.door.ctx, patience)
		defer cancel()
		err = w.obey(ctx, s, &m)
	}
	if err != nil {
		w.refuse(s, m.ID, err)
		if w.caller.App == nil {
			s.Gateway().Refuse(gateway.RefusedLogin)
			s.Close(frame.ClosePolicy, "hello was refused")
		}
		return
	}
	if m.ID != 0 {
		s.Send(append(strconv.AppendInt([]byte(`{"op":"ok","id":`), m.ID, 10), '}'))
	}
	if m.Op == "present" {
		w.answered()
	}
}

// answered lets an end of the session be sent from now on.
func (w *wire) answered() {
	w.mu.Lock()
	ss := w.session
	w.mu.Unlock()
	if ss != nil {
		ss.Answered()
	}
}

// obey does what m asks.
func (w *wire) obey(ctx context.Context, s *gateway.Socket, m *message) error {
	if w.caller.App == nil {
		if m.Op != "hello" {
			return api.Refuse("unauthorized", "say hello first, with an app and its key or a ticket")
		}
		return w.hello(s, m)
	}
	switch m.Op {
	case "present":
		return w.present(ctx, s, m)
	case "absent":
		return w.absent(ctx)
	case "watch":
		return w.watch(ctx, s, m)
	case "unwatch":
		return w.unwatch(m)
	case "ping":
		s.Send([]byte(`{"op":"pong"}`))
		return nil
	}
	return api.Refuse("invalid", "there is no op %.32q; there are present, absent, watch, unwatch and ping", m.Op)
}

func (w *wire) hello(s *gateway.Socket, m *message) error {
	if err := w.door.gate.Login(w.caller, m.App, m.Key, m.Ticket); err != nil {
		w.caller.App = nil
		return err
	}
	w.master = m.Ticket == "" && w.caller.Master()
	s.Stay()
	return nil
}

// admit judges whether peer may be present. It returns when the signature that lets it in was made, or 0 when nothing did that a kick
// voids.
func (w *wire) admit(ctx context.Context, s *gateway.Socket, m *message) (made presence.Millis, err error) {
	if !w.door.cfg.Signatures || w.master {
		return 0, nil
	}
	sig := api.LoginSignature{Time: m.Time, Nonce: m.Nonce, Sign: m.Sign}
	if !sig.Right(w.caller.App, m.Peer) {
		s.Gateway().Refuse(gateway.RefusedLogin)
		return 0, api.Refuse("unauthorized", "present needs time, nonce and sign, made for this peer with the master key")
	}
	kicked, err := s.Gateway().Kicked(ctx, presence.Key{App: presence.AppID(w.caller.App.ID), Peer: presence.PeerID(m.Peer)})
	if err != nil {
		s.Gateway().Refuse(gateway.RefusedUnavailable)
		return 0, unavailable()
	}
	made = presence.Millis(sig.Made())
	if !sig.Fresh(w.door.cfg.SignatureLife, int64(s.Gateway().Now())) || made <= kicked {
		s.Gateway().Refuse(gateway.RefusedLogin)
		return 0, stale()
	}
	return made, nil
}

// loginRetry is when a login that was one too many may be tried again.
const loginRetry = 10 * time.Second

func unavailable() error {
	return api.Refuse("unavailable", "the store did not answer; trying again is safe")
}

func stale() error {
	return api.Refuse("signature_expired", "the signature is too old, or from before a kick; sign again")
}

// present makes a peer online for as long as the socket lives.
func (w *wire) present(ctx context.Context, s *gateway.Socket, m *message) error {
	peer := presence.PeerID(m.Peer)
	if err := presence.CheckPeer(peer); err != nil {
		return api.Refuse("invalid", "%v", err)
	}
	if len(m.Tag) > gateway.MaxTag || len(m.Device) > presence.MaxName || len(m.Platform) > presence.MaxName {
		return api.Refuse("invalid", "the tag, the device or the platform is too long")
	}
	w.mu.Lock()
	old := w.session
	w.mu.Unlock()
	if old != nil && old.Peer() != peer {
		return api.Refuse("invalid", "another peer is present on this socket; say absent first")
	}
	made, err := w.admit(ctx, s, m)
	if err != nil {
		return err
	}
	ss, err := s.Open(ctx, gateway.Login{
		Made: made,
		Key:  presence.Key{App: presence.AppID(w.caller.App.ID), Peer: peer}, Tag: m.Tag, Device: m.Device, Platform: m.Platform, Auto: m.Auto,
	})
	switch {
	case errors.Is(err, gateway.ErrConflict):
		return api.Refuse("conflict", "another device is present with this tag")
	case errors.Is(err, gateway.ErrRate):
		return api.Refuse("rate_limited", "%v", err).WithRetry(loginRetry)
	case errors.Is(err, gateway.ErrKicked):
		s.Gateway().Refuse(gateway.RefusedLogin)
		if made > 0 {
			return stale()
		}
		return api.Refuse("kicked", "the peer was kicked while it logged in")
	case errors.Is(err, gateway.ErrFull):
		return api.Refuse("full", "the peer or the socket has as many sessions as one may have")
	case errors.Is(err, gateway.ErrGone):
		return api.Refuse("shutting_down", "this node is going; connect again")
	case errors.Is(err, presence.ErrInvalid):
		return api.Refuse("invalid", "%v", err)
	case err != nil:
		return unavailable()
	}
	w.mu.Lock()
	w.session = ss
	w.mu.Unlock()
	return nil
}

// absent logs the peer out.
func (w *wire) absent(ctx context.Context) error {
	w.mu.Lock()
	ss := w.session
	w.session = nil
	w.mu.Unlock()
	if ss == nil {
		return nil
	}
	if err := ss.End(ctx); err != nil {
		return api.Refuse("unavailable", "the store did not answer; the peer is logged out as soon as it does")
	}
	return nil
}

// watch follows peers: the first time with the token of an earlier watch, later more of them.
func (w *wire) watch(ctx context.Context, s *gateway.Socket, m *message) error {
	limit := w.door.hub.Config().Peers
	if len(m.Peers) > limit {
		return api.Refuse("too_many_peers", "one watcher may follow %d peers", limit).WithLimit(limit)
	}
	peers, err := peersOf(m.Peers)
	if err != nil {
		return err
	}
	if err := w.caller.TakeIDs(len(peers)); err != nil {
		return err
	}
	w.mu.Lock()
	watcher := w.watcher
	w.mu.Unlock()
	if watcher != nil && w.caller.Pass != nil && w.caller.Pass.Bound {
		return api.Refuse("forbidden", "this ticket was bought for one list of peers, which is followed already")
	}
	if err := w.caller.MayWatch(m.Peers); err != nil {
		return err
	}
	if err := w.hold(len(peers)); err != nil {
		if watcher == nil {
			w.settle(nil)
		}
		return err
	}
	if watcher != nil {
		err := watcher.Add(ctx, peers)
		w.settle(watcher)
		return refusal(err)
	}
	watcher, err = w.door.hub.Watch(ctx, ask.ViewOf(w.caller.App.ID, w.caller.Master()), peers, w.detail(), m.Since)
	if err != nil {
		w.settle(nil)
	}
	if errors.Is(err, watch.ErrLimit) {
		return api.Refuse("too_many_watchers", "%v", err).WithRetry(5 * time.Second) // the peers are few enough
	}
	if err != nil {
		return refusal(err)
	}
	w.mu.Lock()
	if w.gone {
		w.mu.Unlock()
		watcher.Close(watch.ReasonGone)
		return nil
	}
	w.watcher = watcher
	w.mu.Unlock()
	w.settle(watcher) // peers named twice count once
	w.door.writers.Go(func() { w.write(s, watcher) })
	return nil
}

// detail returns how much the client may see of a peer.
func (w *wire) detail() presence.Detail {
	if w.caller.Detailed() {
		return presence.DetailFull
	}
	return presence.DetailBrief
}

func (w *wire) unwatch(m *message) error {
	peers, err := peersOf(m.Peers)
	if err != nil {
		return err
	}
	w.mu.Lock()
	watcher := w.watcher
	w.mu.Unlock()
	if watcher != nil {
		watcher.Remove(peers)
		w.settle(watcher)
	}
	return nil
}

// hold takes a share of what the node may watch for n peers more.
func (w *wire) hold(n int) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return refusal(watch.ErrClosed)
	}
	if w.share == nil {
		if w.share, err = w.caller.Watch(); err != nil {
			w.share = nil
			return err
		}
	}
	return w.share.Add(n)
}

// settle gives back what of the share watcher does not need; nil needs nothing.
func (w *wire) settle(watcher *watch.Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if watcher == nil {
		w.share.Release()
		w.share = nil
		return
	}
	if w.share != nil {
		w.share.Settle(watcher.Len())
	}
}

// peersOf returns the peers called ids, or why one of them is none.
func peersOf(ids []string) ([]presence.PeerID, error) {
	peers := make([]presence.PeerID, len(ids))
	for i, id := range ids {
		peers[i] = presence.PeerID(id)
		if err := presence.CheckPeer(peers[i]); err != nil {
			return nil, api.Refuse("invalid", "peer %d: %v", i, err)
		}
	}
	return peers, nil
}

func refusal(err error) error {
	switch {
	case errors.Is(err, watch.ErrLimit):
		return api.Refuse("too_many_peers", "%v", err)
	case errors.Is(err, watch.ErrClosed):
		return api.Refuse("shutting_down", "the server is going; connect again")
	case err != nil:
		return api.Refuse("unavailable", "the store did not answer; trying again is safe")
	}
	return nil
}

// write sends the client the batches of its watcher, one at a time: what is not taken yet is coalesced into the latest.
func (w *wire) write(s *gateway.Socket, watcher *watch.Watcher) {
	if p := w.caller.Pass; p != nil {
		left := time.Duration(p.Ends()-w.door.gate.Now()) * time.Millisecond
		defer time.AfterFunc(left, func() { watcher.Close(watch.ReasonExpired) }).Stop()
	}
	t := &pusher{socket: s, form: &forms[w.detail()]}
	watcher.Attach(t)
	for {
		if !w.taken(t, watcher) {
			return
		}
		b, err := watcher.Next(w.door.ctx)
		if err != nil {
			if reason := watcher.Reason(); reason == watch.ReasonShutdown || reason == watch.ReasonExpired {
				s.Send([]byte(`{"op":"bye","reason":"` + string(reason) + `"}`))
			}
			return
		}
		if b.Kind != watch.Stuck {
			t.Push(&b)
		}
	}
}

// A pusher is a socket as the hub writes to it; a push never waits.
type pusher struct {
	socket  *gateway.Socket
	form    *watch.Form
	unasked int // bytes that may be on their way: what was when the kernel was asked, and what was sent since
}

// backlog is how many bytes may be on their way to a client before nothing more is sent: what changes meanwhile merges, and there is room for a
// last message.
const backlog = 32 << 10

// Ready implements [watch.Pusher].
func (t *pusher) Ready() bool {
	if t.unasked > backlog {
		t.unasked = t.socket.Queued()
	}
	return t.unasked <= backlog && t.socket.Pending() == 0
}

// Push implements [watch.Pusher].
func (t *pusher) Push(b *watch.Batch) bool {
	out := b.In(t.form)
	t.unasked += len(out)
	t.socket.SendFrames(out)
	return true
}

// forms make whole frames of batches.
var forms = [...]watch.Form{
	presence.DetailBrief: {Append: func(out []byte, b *watch.Batch) []byte {
		return frame.Wrap(appendBatch(out, b, presence.DetailBrief), len(out), frame.Text)
	}},
	presence.DetailFull: {Append: func(out []byte, b *watch.Batch) []byte {
		return frame.Wrap(appendBatch(out, b, presence.DetailFull), len(out), frame.Text)
	}},
}

// taken waits until the client has taken most of what it was sent; it reports false when the socket is gone. One that takes nothing for the
// stall is closed, with the reason behind what is on its way.
func (w *wire) taken(t *pusher, watcher *watch.Watcher) bool {
	const soon, rare = 20 * time.Millisecond, 320 * time.Millisecond
	moved, least := time.Now(), math.MaxInt
	for wait := soon; !t.Ready(); wait = min(wait*2, rare) {
		if n := t.socket.Pending() + t.socket.Queued(); n < least {
			moved, least = time.Now(), n
		}
		if time.Since(moved) >= w.door.gw.Config().Stall {
			t.socket.Send([]byte(`{"op":"bye","reason":"slow"}`))
			watcher.Close(watch.ReasonSlow)
			t.socket.Slow()
			return false
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-w.door.ctx.Done():
			timer.Stop()
			return false
		}
		w.mu.Lock()
		gone := w.gone
		w.mu.Unlock()
		if gone {
			return false
		}
	}
	return true
}

// appendBatch appends b as a message.
func appendBatch(out []byte, b *watch.Batch, d presence.Detail) []byte {
	out = append(out, `{"op":"`...)
	out = append(out, b.Kind.String()...)
	out = append(out, '"')
	if b.Kind == watch.Mark {
		out = append(out, `,"at":`...)
		out = strconv.AppendInt(out, time.Now().UnixMilli(), 10)
	} else {
		out = append(out, `,"peers":[`...)
		for i, u := range b.Updates {
			if i > 0 {
				out = append(out, ',')
			}
			if b.Kind == watch.Change {
				out = append(out, u.JSON(d)...)
			} else {
				out = u.AppendJSON(out, d)
			}
		}
		out = append(out, ']')
		if b.More {
			out = append(out, `,"more":true`...)
		}
	}
	if b.Age > 0 {
		out = append(append(out, `,"stale":`...), api.Age(b.Age)...)
	}
	if !b.Token.IsZero() {
		out = append(out, `,"token":"`...)
		out, _ = b.Token.AppendText(out)
		out = append(out, '"')
	}
	return append(out, '}')
}

func (w *wire) refuse(s *gateway.Socket, id int64, err error) {
	var e *api.Error
	if !errors.As(err, &e) {
		e = api.Refuse("internal", "internal error")
	}
	w.door.gate.Count(e.Code)
	out := []byte(`{"op":"error"`)
	if id != 0 {
		out = strconv.AppendInt(append(out, `,"id":`...), id, 10)
	}
	out = plainjson.AppendString(append(out, `,"code":`...), e.Code)
	out = plainjson.AppendString(append(out, `,"error":`...), e.Text)
	if e.Retry > 0 {
		out = strconv.AppendInt(append(out, `,"retry_after":`...), int64((e.Retry+time.Second-1)/time.Second), 10)
	}
	s.Send(append(out, '}'))
}

// RateLimited refuses a message beyond the rate. Its id is read so that the caller that waits for the answer gets it.
func (w *wire) RateLimited(s *gateway.Socket, data []byte) {
	var m struct {
		ID int64 `json:"id"`
	}
	if api.Decode(data, &m) != nil {
		m.ID = 0
	}
	w.refuse(s, m.ID, api.Refuse("rate_limited", "too many messages on this socket"))
}

// Ended notifies the client that its peer is no longer present here.
func (w *wire) Ended(ss *gateway.Session, cause presence.Cause, reason string) {
	w.mu.Lock()
	if w.session == ss {
		w.session = nil
	}
	w.mu.Unlock()
	out := plainjson.AppendString([]byte(`{"op":"ended","cause":`), cause.String())
	out = plainjson.AppendString(append(out, `,"reason":`...), reason)
	ss.Socket().Send(append(out, '}'))
}

// GoAway asks the client to connect elsewhere.
func (w *wire) GoAway(s *gateway.Socket) bool {
	s.Send([]byte(`{"op":"bye","reason":"shutdown"}`))
	return true
}

// Closed ends what the socket watched.
func (w *wire) Closed(*gateway.Socket) {
	w.mu.Lock()
	w.gone = true
	watcher := w.watcher
	w.share.Release()
	w.share = nil
	w.mu.Unlock()
	w.caller.Release()
	if watcher != nil {
		watcher.Close(watch.ReasonGone)
	}
}
