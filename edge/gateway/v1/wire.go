package v1

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/frame"
	"rollcall/internal/api"
	"rollcall/internal/limit"
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
	app     presence.AppID // that hello named
	session *gateway.Session
	said    limit.Meter // words about the activity of the session
	watcher *watch.Watcher
	share   *api.Watching // of what the node may hold of watchers and their peers
	gone    bool
}

// A message is what a client says. Which fields count depends on the op.
type message struct {
	Op string `json:"op"`
	ID int64  `json:"id"`

	App    presence.AppID `json:"app"` // hello
	Key    string         `json:"key"`
	Ticket string         `json:"ticket"`
	Token  string         `json:"user_token"` // hello, user_token

	Peer     presence.PeerID `json:"peer"` // present
	Device   string          `json:"device"`
	Tag      string          `json:"tag"`
	Platform string          `json:"platform"`
	Auto     bool            `json:"auto"`
	Time     int64           `json:"time"` // of the signature
	Nonce    string          `json:"nonce"`
	Sign     string          `json:"sign"`

	Activity string          `json:"activity"` // present, activity
	ActiveAt presence.Millis `json:"active_at"`

	Peers []presence.PeerID `json:"peers"` // watch, unwatch
	Since string            `json:"since"` // watch
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
			return api.Errorf("unauthorized", "say hello first, with an app and its key, a user token or a ticket")
		}
		return w.hello(ctx, s, m)
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
	case "user_token":
		return w.renew(ctx, s, m)
	case "activity":
		return w.activity(ctx, s, m)
	case "ping":
		s.Send([]byte(`{"op":"pong"}`))
		return nil
	}
	return api.Errorf("invalid", "there is no op %.32q; there are present, absent, activity, watch, unwatch, user_token and ping", m.Op)
}

func (w *wire) hello(ctx context.Context, s *gateway.Socket, m *message) error {
	hello := api.Hello{App: m.App, Key: m.Key, UserToken: m.Token, Ticket: m.Ticket}
	if err := w.door.deps.Gate.Login(ctx, w.caller, hello); err != nil {
		w.caller.App = nil
		return err
	}
	w.bound(s)
	w.master = m.Ticket == "" && w.caller.Master()
	w.mu.Lock()
	w.app = w.caller.App.ID
	w.mu.Unlock()
	s.Stay()
	return nil
}

// renew takes the next user token of the client, before the one that it has ends.
func (w *wire) renew(ctx context.Context, s *gateway.Socket, m *message) error {
	if err := w.door.deps.Gate.Renew(ctx, w.caller, m.Token); err != nil {
		return err
	}
	w.bound(s)
	return nil
}

// bound has s close when the user token of its client has ended.
func (w *wire) bound(s *gateway.Socket) {
	if w.caller.User != nil {
		s.Until(time.Duration(w.caller.Ends()-w.door.deps.Gate.Now()) * time.Millisecond)
	}
}

// App returns the app that the client said hello to.
func (w *wire) App() presence.AppID {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.app
}

// admit judges whether peer may be present. It returns when the user token or the signature that
// lets it in was made, or 0 when nothing did that a kick voids.
func (w *wire) admit(ctx context.Context, s *gateway.Socket, m *message) (made presence.Millis, err error) {
	if who := w.caller.Peer(); who != "" && who != m.Peer {
		s.Gateway().Refuse(gateway.RefusedLogin)
		return 0, api.Errorf("forbidden", "with this user token only its own peer may be present")
	}
	switch {
	case w.caller.User != nil:
		return w.caller.User.Issued, w.notKicked(ctx, s, m.Peer, w.caller.User.Issued)
	case !w.door.cfg.Proof || w.master:
		return 0, nil
	}
	sig := api.LoginSignature{Time: m.Time, Nonce: m.Nonce, Sign: m.Sign}
	if !sig.Right(w.door.deps.Gate.Current(w.caller), m.Peer) {
		s.Gateway().Refuse(gateway.RefusedLogin)
		return 0, api.Errorf("unauthorized", "present needs a user token in hello, or time, nonce and sign, made for this peer with the master key")
	}
	made = presence.Millis(sig.Made())
	if !sig.Fresh(w.door.cfg.SignatureLife, int64(s.Gateway().Now())) {
		s.Gateway().Refuse(gateway.RefusedLogin)
		return 0, w.stale()
	}
	return made, w.notKicked(ctx, s, m.Peer, made)
}

// notKicked returns why peer may not be present with what was made then; nil when it was not kicked
// since.
func (w *wire) notKicked(ctx context.Context, s *gateway.Socket, peer presence.PeerID, made presence.Millis) error {
	kicked, err := s.Gateway().Kicked(ctx, presence.Key{App: w.caller.App.ID, Peer: peer})
	switch {
	case err != nil:
		s.Gateway().Refuse(gateway.RefusedUnavailable)
		return unavailable()
	case made <= kicked:
		s.Gateway().Refuse(gateway.RefusedLogin)
		return w.stale()
	}
	return nil
}

// loginRetry is when a login that was one too many may be tried again.
const loginRetry = 10 * time.Second

func unavailable() error {
	return api.Errorf("unavailable", "the store did not answer; trying again is safe")
}

func (w *wire) stale() error {
	if w.caller.User != nil {
		return api.Errorf("token_expired", "the user token is from before a kick; get another")
	}
	return api.Errorf("signature_expired", "the signature is too old, or from before a kick; sign again")
}

// present makes a peer online for as long as the socket lives.
func (w *wire) present(ctx context.Context, s *gateway.Socket, m *message) error {
	if m.Peer == "" {
		m.Peer = w.caller.Peer()
	}
	peer := m.Peer
	if err := presence.CheckPeer(peer); err != nil {
		return api.Errorf("invalid", "%v", err)
	}
	if len(m.Tag) > gateway.MaxTag || len(m.Device) > presence.MaxName || len(m.Platform) > presence.MaxName {
		return api.Errorf("invalid", "the tag, the device or the platform is too long")
	}
	w.mu.Lock()
	old := w.session
	w.mu.Unlock()
	if old != nil && old.Peer() != peer {
		return api.Errorf("invalid", "another peer is present on this socket; say absent first")
	}
	made, err := w.admit(ctx, s, m)
	if err != nil {
		return err
	}
	activity, err := m.activity(s)
	if err != nil {
		return err
	}
	ss, err := s.Open(ctx, gateway.Login{
		Made: made, Proven: made > 0, Activity: activity,
		Key: presence.Key{App: w.caller.App.ID, Peer: peer}, Tag: m.Tag, Device: m.Device, Platform: m.Platform, Auto: m.Auto,
	})
	switch {
	case errors.Is(err, gateway.ErrConflict):
		return api.Errorf("conflict", "another device is present with this tag")
	case errors.Is(err, gateway.ErrRate):
		return api.Errorf("rate_limited", "%v", err).WithRetry(loginRetry)
	case errors.Is(err, gateway.ErrKicked):
		s.Gateway().Refuse(gateway.RefusedLogin)
		if made > 0 {
			return w.stale()
		}
		return api.Errorf("kicked", "the peer was kicked while it logged in")
	case errors.Is(err, gateway.ErrFull):
		return api.Errorf("full", "the peer or the socket has as many sessions as one may have")
	case errors.Is(err, gateway.ErrGone):
		return api.Errorf("shutting_down", "this node is going; connect again")
	case errors.Is(err, presence.ErrInvalid):
		return api.Errorf("invalid", "%v", err)
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
		return api.Errorf("unavailable", "the store did not answer; the peer is logged out as soon as it does")
	}
	return nil
}

func (w *wire) refuse(s *gateway.Socket, id int64, err error) {
	var e *api.Error
	if !errors.As(err, &e) {
		e = api.Errorf("internal", "internal error")
	}
	w.door.deps.Gate.Count(e.Code)
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

// RateLimited refuses a message beyond the rate. Its id is read so that the caller that waits for
// the answer gets it.
func (w *wire) RateLimited(s *gateway.Socket, data []byte) {
	var m struct {
		ID int64 `json:"id"`
	}
	if api.Decode(data, &m) != nil {
		m.ID = 0
	}
	w.refuse(s, m.ID, api.Errorf("rate_limited", "too many messages on this socket"))
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
