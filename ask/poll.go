package ask

import (
	"context"

	"rollcall/ask/token"
	"rollcall/presence"
)

// A Question is what a poller asks: what has changed of a list of peers since its last answer.
type Question struct {
	Peers  []presence.PeerID
	Fields Fields
	Detail presence.Detail // how much the poller may see
	// The token of the last answer; may be empty or unusable: then everything is answered.
	Since string
}

// A Poll is the answer of a [Question], for a client that asks again and again instead of holding a
// stream. The token of one answer makes the next hold only what may have changed; an expiry is a
// change whether or not it is written yet.
type Poll struct {
	Answer[Peer]
	Complete bool // every peer of the question is in the answer, changed or not
	Token    token.Token
}

// Poll answers q. A poller that sees only statuses is answered the peers whose status differs from
// its last answer; one that sees all, the peers that were written since.
//
// It returns errors matching [ErrView] or presence.ErrUnavailable.
func (r *Reader) Poll(ctx context.Context, v View, q *Question) (p Poll, err error) {
	if err := v.Check(); err != nil {
		return p, err
	}
	now := r.Now()
	l := look{q: q, token: token.Token{Detail: q.Detail, List: v.List(), Seal: r.Tokens.Of(v.App)}}
	// The epoch and the horizon come before the read: what is written in between is answered now
	// and again.
	if q.Detail == presence.DetailFull {
		l.token.Epoch, l.token.Horizon = r.Rules.Epoch(), r.Rules.Horizon(now)
	}
	if l.summed, err = r.summaries(ctx, v, q.Peers, now); err != nil {
		return p, err
	}
	l.enter()
	old, ok := r.Tokens.Open(v.App, q.Since)
	ok = ok && old.Detail == q.Detail && old.List == l.token.List
	var changed func(i int) bool
	if q.Detail == presence.DetailFull {
		changed = l.since(old, ok)
	} else {
		changed = l.differs(old, ok)
	}
	p.Token, p.Complete, p.age = l.token, changed == nil, l.age
	for i, peer := range q.Peers {
		if changed == nil || changed(i) {
			p.values = append(p.values, peerOf(peer, &l.seen[i]))
		}
	}
	return p, r.whole(ctx, v, &p.Answer, q.Fields, now)
}

// A look is what one poll finds.
type look struct {
	q *Question
	summed
	token    token.Token
	first    map[presence.PeerID]int // where each peer is named first
	distinct []int                   // those places
}

// enter puts the list of the peers into the token; those that are named twice count once.
func (l *look) enter() {
	l.first, l.distinct = make(map[presence.PeerID]int, len(l.q.Peers)), make([]int, 0, len(l.q.Peers))
	for i, peer := range l.q.Peers {
		if _, twice := l.first[peer]; twice {
			continue
		}
		l.first[peer] = i
		l.distinct = append(l.distinct, i)
		f := token.Fingerprint(string(peer))
		l.token.List ^= f
		if l.q.Detail == presence.DetailFull && l.seen[i].Status == presence.Unknown {
			l.token.Unknown ^= f
		}
	}
}

// since returns which peers were written after old; nil when old cannot be used.
func (l *look) since(old token.Token, ok bool) (changed func(i int) bool) {
	ok = ok && old.Epoch == l.token.Epoch && old.Horizon <= l.token.Horizon
	if l.age > 0 {
		// Writes that this node has not seen may lie below the horizon.
		l.token.Horizon = 0
		if ok {
			l.token.Horizon = old.Horizon
		}
	}
	if !ok {
		return nil
	}
	return func(i int) bool {
		if l.seen[i].Status == presence.Unknown {
			return old.Unknown != l.token.Unknown
		}
		// The second is not written yet.
		return l.raw[i].Rev > old.Horizon || l.raw[i].Status != l.seen[i].Status
	}
}

// differs puts the statuses into the token and returns which of them differ from old; nil when old
// cannot be used.
func (l *look) differs(old token.Token, ok bool) (changed func(i int) bool) {
	token.Rank(l.distinct, func(i int) string { return string(l.q.Peers[i]) })
	now, was := token.NewKnown(len(l.distinct)), token.Known(old.Known)
	ok = ok && len(was) == len(now)
	turned := make(map[presence.PeerID]bool)
	for rank, i := range l.distinct {
		code := token.CodeOf(l.seen[i].Status)
		now.Set(rank, code)
		if ok && was.At(rank) != code {
			turned[l.q.Peers[i]] = true
		}
	}
	l.token.Known = string(now)
	if !ok {
		return nil
	}
	return func(i int) bool { return turned[l.q.Peers[i]] }
}
