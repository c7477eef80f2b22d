package gateway

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strings"
	"sync/atomic"

	"rollcall/presence"
)

// A Session is one peer logged in on one socket.
type Session struct {
	socket   *Socket
	key      presence.Key
	id       presence.SessionID
	start    atomic.Int64 // its incarnation, in presence.Millis
	platform string

	// guarded by the shard of key
	next *Session
	over bool // replaced, kicked, lost or closed; whoever sets it says so to the store
	open bool // Open has returned it; whoever sets over then tells the events
}

// Key returns whose session it is.
func (ss *Session) Key() presence.Key { return ss.key }

// Peer returns the peer's id.
func (ss *Session) Peer() presence.PeerID { return ss.key.Peer }

// ID returns the session's id, for tokens that let it come back.
func (ss *Session) ID() presence.SessionID { return ss.id }

// Start returns when it was opened; it rises from one opening of an id to the next.
func (ss *Session) Start() presence.Millis { return presence.Millis(ss.start.Load()) }

// Socket returns the socket it lives on.
func (ss *Session) Socket() *Socket { return ss.socket }

// Tag returns the device class it was opened with; "" and "default" are none.
func (ss *Session) Tag() string { return tagOf(ss.id) }

// A Login asks for a session.
type Login struct {
	Key presence.Key
	Tag string
	// Device tells devices apart: the same device takes its own place. Empty is unknown: beside a real tag one unknown device
	// is like another; without a tag every login is another device.
	Device   string
	Platform string // for display
	Auto     bool   // not by hand: it yields to another device with its tag
	// Session is the id that a token remembers; empty makes it from Tag and Device.
	Session presence.SessionID
	// Made is when the token or signature was made that lets the peer in: a kick since then voids it. Zero: nothing that a
	// kick could void.
	Made presence.Millis
}

// SessionID names a session by tag and device. The tag is part of it, after a dot, so that every node finds in the state
// of a peer who has which tag.
func (l *Login) sessionID() presence.SessionID {
	if l.Session != "" {
		return l.Session
	}
	tag := l.Tag
	if tag == "default" {
		tag = ""
	}
	var sum [8]byte
	if tag == "" && l.Device == "" {
		binary.BigEndian.PutUint64(sum[:], rand.Uint64())
	} else {
		h := fnv.New64a()
		_, _ = h.Write([]byte(tag + "\x00" + l.Device)) // never fails
		binary.BigEndian.PutUint64(sum[:], h.Sum64())
	}
	id := base64.RawURLEncoding.EncodeToString(sum[:])
	if tag != "" {
		id += "." + tag
	}
	return presence.SessionID(id)
}

// tagOf returns the real tag in a session id, or "".
func tagOf(id presence.SessionID) string {
	_, tag, _ := strings.Cut(string(id), ".")
	return tag
}

// conflicts reports whether sessions of the two ids cannot coexist: one tag, two devices.
func conflicts(a, b presence.SessionID) bool {
	return a != b && tagOf(a) != "" && tagOf(a) == tagOf(b)
}

// MaxTag is the longest tag, so that the session id stays a name.
const MaxTag = 200

// Open opens a session on s. Only the handler's Message may call it. When it returns nil the store has taken the session.
//
// The same device, or the same peer on the same socket, takes its older session's place without a word. A login by hand
// pushes another device with the same tag out; an automatic one fails with [ErrConflict] instead, and so does one by hand
// that was itself pushed out while it opened. One by a token or signature from before a kick fails with [ErrKicked].
func (s *Socket) Open(ctx context.Context, l Login) (*Session, error) {
	ss, err := s.open(ctx, l)
	switch {
	case err == nil, errors.Is(err, ErrConflict), errors.Is(err, ErrFull), errors.Is(err, ErrGone), errors.Is(err, presence.ErrInvalid):
	default:
		s.g.Refuse(RefusedUnavailable)
	}
	return ss, err
}

func (s *Socket) open(ctx context.Context, l Login) (*Session, error) {
	if s.g.draining.Load() {
		return nil, ErrGone
	}
	ss := &Session{socket: s, key: l.Key, id: l.sessionID(), platform: l.Platform}
	s.mu.Lock()
	held := len(s.sessions)
	s.mu.Unlock()
	if held >= s.g.cfg.MaxSessions {
		s.g.Refuse(RefusedSessions)
		return nil, fmt.Errorf("%w: %d on this socket", ErrFull, held)
	}
	tagged := s.g.Shared && tagOf(ss.id) != ""
	if tagged && l.Auto {
		if err := s.g.yield(ctx, ss); err != nil {
			return nil, err
		}
	}
	out, err := s.g.claim(ss, l.Auto)
	if err != nil {
		return nil, err
	}
	if err := s.g.report(ctx, ss, out); err != nil {
		s.g.drop(ss)
		return nil, err
	}
	if l.Made > 0 {
		if err := s.g.standsAfterKicks(ctx, ss, l.Made); err != nil {
			return nil, err
		}
	}
	if tagged {
		if err := s.g.contend(ctx, ss); err != nil {
			return nil, err
		}
	}
	return ss, s.attach(ss, l.Auto)
}

// claim takes the place of ss in the registry and returns the sessions that lost theirs.
func (g *Gateway) claim(ss *Session, auto bool) (out []*Session, err error) {
	start := g.Now()
	sh := g.registry.shard(ss.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for other := sh.peers[ss.key]; other != nil; other = other.next {
		if auto && other.socket != ss.socket && conflicts(other.id, ss.id) {
			g.Refuse(RefusedConflict)
			return nil, ErrConflict
		}
	}
	for other := sh.peers[ss.key]; other != nil; {
		next := other.next
		if other.id == ss.id || other.socket == ss.socket || conflicts(other.id, ss.id) {
			sh.remove(other)
			other.over = true
			out = append(out, other)
			if other.id == ss.id {
				start = max(start, other.Start()+1)
			}
		}
		other = next
	}
	ss.start.Store(int64(start))
	sh.add(ss)
	return out, nil
}

// report tells the store that ss is open and that out are not, and the clients of out why.
func (g *Gateway) report(ctx context.Context, ss *Session, out []*Session) error {
	reports := make([]presence.Report, 1, 1+len(out))
	for _, o := range out {
		if o.id != ss.id {
			reports = append(reports, g.offline(o, presence.CauseReplaced, g.Now()))
		}
		g.putOut(o, ss)
	}
	outs := make([]presence.Outcome, len(reports))
	for range 3 {
		reports[0] = g.online(ss, ss.Start())
		if err := g.Service.Report(ctx, reports, g.Now(), outs); err != nil {
			for _, r := range reports[1:] {
				g.endings.add(r)
			}
			return fmt.Errorf("report the login: %w", err)
		}
		switch outs[0].Verdict {
		case presence.Full:
			g.Refuse(RefusedSessions)
			return fmt.Errorf("%w: of this peer", ErrFull)
		case presence.Late, presence.Double:
			// Another node's clock is ahead, and the session's last run bears its time.
			if err := g.overtake(ctx, ss); err != nil {
				return err
			}
		default:
			return nil
		}
	}
	return fmt.Errorf("report the login: %w: another node keeps opening the session", presence.ErrUnavailable)
}

// putOut takes o, which has lost its place to ss, off its socket and tells its client unless it is the same device.
func (g *Gateway) putOut(o, ss *Session) {
	g.count.replaced.Add(1)
	g.detach(o)
	if !o.open {
		return // its Open finds out
	}
	g.tell(Event{Key: o.key, Session: o.id, Tag: o.Tag(), Cause: presence.CauseReplaced, Reason: "SESSION_CONFLICT", Code: 0, Address: ss.socket.remote, At: g.Now()})
	if o.socket != ss.socket && conflicts(o.id, ss.id) {
		o.socket.handler.Ended(o, presence.CauseReplaced, "")
	}
}

// overtake moves the incarnation of ss past the one that the store has. It fails with [ErrConflict] when ss has lost its
// place by now.
func (g *Gateway) overtake(ctx context.Context, ss *Session) error {
	var st presence.State
	if err := g.store.Load(ctx, ss.key, &st); err != nil {
		return fmt.Errorf("read the session: %w", err)
	}
	sh := g.registry.shard(ss.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if ss.over {
		// Whoever ended it has told, or will tell, the store so of the incarnation it had. Under a later one it would be
		// online again, and nobody would end it.
		g.Refuse(RefusedConflict)
		return ErrConflict
	}
	for i := range st.Sessions {
		if o := &st.Sessions[i]; o.Source == presence.SourceGateway && o.ID == ss.id {
			ss.start.Store(int64(max(ss.Start(), o.Incarnation+1, o.At+1)))
		}
	}
	return nil
}

// attach puts ss on its socket, unless either is over by now.
func (s *Socket) attach(ss *Session, auto bool) error {
	g := s.g
	sh := g.registry.shard(ss.key)
	sh.mu.Lock()
	if ss.over {
		sh.mu.Unlock()
		g.Refuse(RefusedConflict)
		return ErrConflict
	}
	s.mu.Lock()
	if s.state != socketOpen {
		ss.over = true
		sh.remove(ss)
		s.mu.Unlock()
		sh.mu.Unlock()
		g.endings.add(g.offline(ss, presence.CauseLost, g.Now()))
		return ErrGone
	}
	ss.open = true
	s.sessions = append(s.sessions, ss)
	s.mu.Unlock()
	// Told inside the lock, so that no end of this session can be told before.
	g.tell(Event{Online: true, Key: ss.key, Session: ss.id, Tag: ss.Tag(), Auto: auto, Address: s.remote, At: ss.Start()})
	sh.mu.Unlock()
	s.in.Limit = g.cfg.MessageLimit
	g.count.sessions.Add(1)
	g.count.opened.Add(1)
	return nil
}

// detach takes ss off s and reports whether it was there.
func (s *Socket) detach(ss *Session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range s.sessions {
		if o == ss {
			s.sessions = append(s.sessions[:i], s.sessions[i+1:]...)
			if len(s.sessions) == 0 {
				s.idle = s.g.mono()
			}
			return true
		}
	}
	return false
}

// detach takes ss off its socket, unless the end of the socket did so first, which counts it then.
func (g *Gateway) detach(ss *Session) {
	if ss.socket.detach(ss) {
		g.count.sessions.Add(-1)
	}
}

// End ends ss because its user logged out. When it returns nil everybody sees it.
func (ss *Session) End(ctx context.Context) error {
	g := ss.socket.g
	if !g.takeOver(ss) {
		return nil // it has ended otherwise
	}
	g.detach(ss)
	now := g.Now()
	g.tell(Event{Key: ss.key, Session: ss.id, Tag: ss.Tag(), Cause: presence.CauseLogout, Address: ss.socket.remote, At: now})
	r := g.offline(ss, presence.CauseLogout, now)
	if err := g.Service.Report(ctx, []presence.Report{r}, now, make([]presence.Outcome, 1)); err != nil {
		g.endings.add(r)
		return fmt.Errorf("report the logout: %w", err)
	}
	return nil
}

// takeOver marks ss as over and reports whether this caller did.
func (g *Gateway) takeOver(ss *Session) bool {
	sh := g.registry.shard(ss.key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if ss.over {
		return false
	}
	ss.over = true
	sh.remove(ss)
	return true
}

// lose ends ss, which is off its socket, because the socket is gone.
func (g *Gateway) lose(ss *Session, cause presence.Cause, at presence.Millis) {
	g.count.sessions.Add(-1)
	if !g.takeOver(ss) {
		return
	}
	ss.socket.mu.Lock()
	code := int(ss.socket.lost)
	ss.socket.mu.Unlock()
	g.tell(Event{Key: ss.key, Session: ss.id, Tag: ss.Tag(), Cause: presence.CauseLost, Code: code, At: g.Now()})
	if g.draining.Load() {
		return // the node's last beat speaks for it
	}
	g.endings.add(g.offline(ss, cause, at))
}

// drop forgets ss, whose login failed; the store may have taken it.
func (g *Gateway) drop(ss *Session) {
	if g.takeOver(ss) {
		g.endings.add(g.offline(ss, presence.CauseLost, g.Now()))
	}
}

func (g *Gateway) online(ss *Session, at presence.Millis) presence.Report {
	return presence.Report{
		App: ss.key.App, Peer: ss.key.Peer, Source: presence.SourceGateway, Session: ss.id, Node: g.Node,
		Device: ss.platform, Kind: presence.KindOnline, At: at, Incarnation: ss.Start(), Hold: g.cfg.Hold,
	}
}

func (g *Gateway) offline(ss *Session, cause presence.Cause, at presence.Millis) presence.Report {
	r := presence.Report{
		App: ss.key.App, Peer: ss.key.Peer, Source: presence.SourceGateway, Session: ss.id,
		Kind: presence.KindOffline, At: max(at, ss.Start()), Incarnation: ss.Start(), Cause: cause,
	}
	if cause == presence.CauseLost || cause == presence.CauseExpired {
		r.Hold = g.cfg.Hold
	}
	return r
}
