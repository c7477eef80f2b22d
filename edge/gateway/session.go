package gateway

import (
	"context"
	"errors"
	"fmt"

	"rollcall/ask"
	"rollcall/presence"
)

// A Session is one peer logged in on one socket.
type Session struct {
	socket   *Socket
	key      presence.Key
	id       presence.SessionID
	start    presence.Millis // its incarnation
	platform string
	proven   bool
	until    presence.Millis
	// Incarnation of the latest akin session elsewhere that had it probed; of the goroutine that
	// looks.
	asked presence.Millis

	// Guarded by the shard of key.
	next *Session
	late *notice // an end that came before the client had the answer to its login
	// Replaced, kicked, lost or closed; the goroutine that sets it reports the end to the store.
	over     bool
	open     bool // on its socket; its end is an event
	answered bool // the client has the answer to its login
	auto     bool // an automatic login
	// Its event of the beginning waits until the probes of akin sessions here are decided.
	unsaid  bool
	probing probing
	// A session akin to it has been opened since its socket last answered a probe.
	followed bool
	cause    presence.Cause // of its end, when that is an event
}

// A notice is an end that the client is to be sent.
type notice struct {
	cause  presence.Cause
	reason string
}

// Key returns whose session it is.
func (ss *Session) Key() presence.Key { return ss.key }

// Peer returns the peer's id.
func (ss *Session) Peer() presence.PeerID { return ss.key.Peer }

// ID returns the session's id, for tokens that let its client come back.
func (ss *Session) ID() presence.SessionID { return ss.id }

// Start returns when it was opened; of two sessions of one device on one node the newer has the
// later start.
func (ss *Session) Start() presence.Millis { return ss.start }

// Socket returns the socket it lives on.
func (ss *Session) Socket() *Socket { return ss.socket }

// Proven reports whether its login proved which peer it is.
func (ss *Session) Proven() bool { return ss.proven }

// Until returns when the user token ends that its login was by; 0: it was by none.
func (ss *Session) Until() presence.Millis { return ss.until }

// Tag returns the device class it was opened with; "" and "default" are none.
func (ss *Session) Tag() string { return tagOf(ss.id) }

// An Activity is what the user does in a session. The zero Activity says nothing.
type Activity struct {
	Now  presence.Activity
	Used presence.Millis // when something was last done there; 0: not said
}

// Do reports what the user does in ss. The error matches presence.ErrUnavailable or
// presence.ErrFull.
func (ss *Session) Do(ctx context.Context, a Activity) error {
	g := ss.socket.g
	r := g.online(ss, max(g.Now(), ss.start))
	r.Kind, r.Activity, r.Used = presence.KindTouch, a.Now, a.Used
	if err := g.Service.Report(ctx, []presence.Report{r}, g.Now(), make([]presence.Outcome, 1)); err != nil {
		return fmt.Errorf("report the activity: %w", err)
	}
	return nil
}

// A Login asks for a session.
type Login struct {
	Key presence.Key
	Tag string
	// Device identifies the device. When the same device logs in again, its older sessions are
	// probed, and end if their sockets do not answer. Empty is unknown: every login is another
	// device, unless its token says which one.
	Device   string
	Platform string // for display
	Auto     bool   // not by hand: it yields to another device with its tag
	Activity Activity
	// Session is the id of the session that a token was made for: the login is of its device and
	// tag. Empty takes Tag and Device.
	Session presence.SessionID
	// Proven says that a token or a signature has proven the peer: it is held to the rates of
	// logins by itself, not by its address.
	Proven bool
	// Until is when the user token ends that the login is by; 0: it is by none.
	Until presence.Millis
	// Made is when the token or signature was made that lets the peer in: a kick since then voids
	// it. Zero: nothing that a kick could void.
	Made presence.Millis
}

// MaxTag is the longest tag, so that the session id stays a name.
const MaxTag = 200

// Open opens a session on s. Only the handler's Message may call it. When it returns nil the store
// has taken the session.
//
// The same peer on the same socket replaces its older session. Older sessions of the same device on
// other sockets are probed, here and on other nodes, and end as replaced if nothing comes within
// five seconds; the session stays beside those that answer. A login by hand ends sessions of other
// devices with its tag, and their clients are sent [Handler.Ended]; an automatic one fails with
// [ErrConflict] instead, and so does one by hand that was itself pushed out while it opened. One by
// a token or signature from before a kick, or that is kicked while it opens, fails with
// [ErrKicked], one beyond the rates with [ErrRate].
//
// After the answer is sent the handler calls [Session.Answered].
func (s *Socket) Open(ctx context.Context, l Login) (*Session, error) {
	ss, err := s.open(ctx, l)
	switch {
	case err == nil, errors.Is(err, ErrConflict), errors.Is(err, ErrFull), errors.Is(err, ErrGone), errors.Is(err, ErrKicked), errors.Is(err, ErrRate),
		errors.Is(err, presence.ErrInvalid):
	default:
		s.g.Refuse(RefusedUnavailable)
	}
	return ss, err
}

func (s *Socket) open(ctx context.Context, l Login) (*Session, error) {
	g := s.g
	if g.draining.Load() {
		return nil, ErrGone
	}
	at := l.place()
	ss := &Session{socket: s, key: l.Key, id: at.id(), platform: l.Platform, proven: l.Proven, until: l.Until}
	s.mu.Lock()
	held := len(s.sessions)
	s.mu.Unlock()
	if held >= g.cfg.MaxSessions {
		g.Refuse(RefusedSessions)
		return nil, fmt.Errorf("%w: %d on this socket", ErrFull, held)
	}
	if err := g.admit(ctx, ss); err != nil {
		return nil, err
	}
	tagged := g.Shared && at.tag != ""
	var latest presence.Millis
	if tagged {
		var err error
		if latest, err = g.rivals(ctx, ss, l.Auto); err != nil {
			return nil, err
		}
	}
	out, akin, err := g.claim(ss, latest+1, l.Auto)
	if err != nil {
		return nil, err
	}
	if err := g.report(ctx, ss, out, l.Activity); err != nil {
		g.drop(ss)
		return nil, err
	}
	if l.Made > 0 {
		if err := g.standsAfterKicks(ctx, ss, l.Made); err != nil {
			return nil, err
		}
	}
	if tagged {
		if err := g.contend(ctx, ss, l.Auto); err != nil {
			return nil, err
		}
	}
	for _, o := range akin {
		g.probe(o, probedHere)
	}
	g.succeed(ctx, ss)
	if err := s.attach(ss, l.Auto); err != nil {
		return nil, err
	}
	return ss, nil
}

// admit fails with [ErrRate] when there are too many logins like this one. Whether a peer is known
// is only asked while there are too many that are not.
func (g *Gateway) admit(ctx context.Context, ss *Session) error {
	now, key, from := g.mono(), ss.key, ss.holder()
	if !g.limits.login(key.App, from, now) {
		g.Refuse(RefusedLogins)
		return ErrRate
	}
	if g.limits.freshLeft(key.App, from, now) {
		return nil
	}
	var answer ask.Answer[presence.Status]
	view := ask.View{App: key.App, Viewer: ask.Server}
	if err := g.Ask.Statuses(ctx, view, [][]byte{[]byte(key.Peer)}, &answer); err != nil {
		return fmt.Errorf("ask whether the peer is known: %w", err)
	}
	if statuses, _ := answer.Read(); statuses[0] == presence.Unknown {
		g.Refuse(RefusedNewPeers)
		return fmt.Errorf("%w of unknown peers", ErrRate)
	}
	return nil
}

// claim enters ss in the registry, with a start of now or start, the later. It returns the sessions
// that lost their place to it, and older ones here that may be its client's connections of before.
func (g *Gateway) claim(ss *Session, start presence.Millis, auto bool) (out, akin []*Session, err error) {
	start = max(start, g.Now())
	at := placeOf(ss.id)
	sh := g.registry.shard(ss.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for other := sh.peers[ss.key]; auto && other != nil; other = other.next {
		if other.socket != ss.socket && at.rivals(placeOf(other.id), auto) {
			g.Refuse(RefusedConflict)
			return nil, nil, ErrConflict
		}
	}
	for other := sh.peers[ss.key]; other != nil; other = other.next {
		switch was := placeOf(other.id); {
		case other.socket == ss.socket || at.rivals(was, auto):
			out = append(out, other)
		case at.akin(was):
			akin = append(akin, other)
		default:
			continue
		}
		// Who loses its place here must not outrank ss in the store, where it may look for rivals
		// at this moment.
		start = max(start, other.start+1)
	}
	for _, o := range out {
		g.finish(sh, o, &Event{
			Key: o.key, Session: o.id, Start: o.start, Tag: o.Tag(), Cause: presence.CauseReplaced, Reason: "SESSION_CONFLICT", Address: ss.socket.remote,
			At: g.Now(),
		})
	}
	ss.start = start
	sh.add(ss)
	return out, akin, nil
}

// report reports ss as online and out as offline, and sends the clients of out their end.
func (g *Gateway) report(ctx context.Context, ss *Session, out []*Session, a Activity) error {
	reports := make([]presence.Report, 1, 1+len(out))
	reports[0] = g.online(ss, ss.start)
	reports[0].Activity, reports[0].Used = a.Now, a.Used
	for _, o := range out {
		reports = append(reports, g.offline(o, presence.CauseReplaced, g.Now()))
		g.detach(o)
		g.count.replaced.Add(1)
		if o.socket != ss.socket {
			o.notify(presence.CauseReplaced, "")
		}
	}
	outs := make([]presence.Outcome, len(reports))
	if err := g.Service.Report(ctx, reports, g.Now(), outs); err != nil {
		for _, r := range reports[1:] {
			g.offlineQueue.Add(r)
		}
		return fmt.Errorf("report the login: %w", err)
	}
	if outs[0].Fresh {
		g.limits.fresh(ss.key.App, ss.holder(), g.mono())
	}
	switch outs[0].Verdict {
	case presence.Full:
		g.Refuse(RefusedSessions)
		return fmt.Errorf("%w: of this peer", ErrFull)
	case presence.Late, presence.Double: // it was ended before it was reported
		sh := g.registry.shard(ss.key)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		return g.overtaken(ss.cause)
	}
	return nil
}

// overtaken returns why a login fails whose session is over before it is open.
func (g *Gateway) overtaken(cause presence.Cause) error {
	if cause == presence.CauseKicked {
		return ErrKicked
	}
	g.Refuse(RefusedConflict)
	return ErrConflict
}

// attach puts ss on its socket, unless either is over by now.
func (s *Socket) attach(ss *Session, auto bool) error {
	g := s.g
	sh := g.registry.shard(ss.key)
	sh.mu.Lock()
	if ss.over {
		cause := ss.cause
		sh.mu.Unlock()
		return g.overtaken(cause)
	}
	s.mu.Lock()
	if s.state != socketOpen {
		ss.over = true
		sh.remove(ss)
		s.mu.Unlock()
		sh.mu.Unlock()
		if !g.draining.Load() { // otherwise the node's last heartbeat speaks for it
			g.offlineQueue.Add(g.offline(ss, presence.CauseLost, g.Now()))
		}
		return ErrGone
	}
	ss.open, ss.auto, ss.unsaid = true, auto, true
	s.sessions = append(s.sessions, ss)
	s.mu.Unlock()
	g.say(sh, ss.key)
	sh.mu.Unlock()
	s.settle()
	s.in.Limit = g.cfg.MessageLimit
	g.count.sessions.Add(1)
	g.count.opened.Add(1)
	return nil
}

func (g *Gateway) online(ss *Session, at presence.Millis) presence.Report {
	return presence.Report{
		App: ss.key.App, Peer: ss.key.Peer, Source: presence.SourceGateway, Session: ss.id, Node: g.Node,
		Device: ss.platform, Kind: presence.KindOnline, At: at, Incarnation: ss.start, Hold: g.cfg.Hold,
	}
}

func (g *Gateway) offline(ss *Session, cause presence.Cause, at presence.Millis) presence.Report {
	r := presence.Report{
		App: ss.key.App, Peer: ss.key.Peer, Source: presence.SourceGateway, Session: ss.id,
		Kind: presence.KindOffline, At: max(at, ss.start), Incarnation: ss.start, Cause: cause,
	}
	if cause == presence.CauseLost || cause == presence.CauseExpired {
		r.Hold = g.cfg.Hold
	}
	return r
}
