package watch

import (
	"context"
	"fmt"
	"time"

	"rollcall/presence"
)

// A Question is what a poller asks: the status of a list of peers, or what has changed since its last answer.
type Question struct {
	App    presence.AppID
	Keys   []presence.Key // of App
	Since  string         // the token of the last answer; may be empty or unusable: then everything is answered
	Detail Detail         // how much the poller may see
	Now    presence.Millis
}

// A Poll is one look at a list of peers for a client that asks again and again instead of holding a stream. The token of
// one answer makes the next name only what may have changed; an expiry is a change whether or not it is written yet.
type Poll struct {
	Summaries []presence.Summary // as of now, for every key
	Changed   []bool             // nil: all are to be answered
	Token     Token
	Age       time.Duration // how long a part of the store has been out of reach; 0: all of it answers
}

// Look answers q. A poller that sees only statuses is answered the peers whose status differs from its last answer; one that sees all, the
// peers that were written since.
func (ts *Tokens) Look(ctx context.Context, s *presence.Service, q *Question) (Poll, error) {
	// The epoch and the horizon come before the read: what is written in between is answered now and answered again.
	p := Poll{Token: Token{Detail: q.Detail, List: appFingerprint(q.App), seal: ts.of(q.App)}}
	if q.Detail == Full {
		p.Token.Epoch, p.Token.Horizon = s.Epoch(), s.Horizon(q.Now)
	}
	raw := make([]presence.Summary, len(q.Keys))
	s.Counters().Asked(q.App, len(q.Keys))
	var err error
	if p.Age, err = s.Store().Summaries(ctx, q.Keys, raw); err != nil {
		return Poll{}, fmt.Errorf("look at %d peers: %w", len(q.Keys), err)
	}
	leases := s.Leases(q.Now).Add(-p.Age) // leases stand still while the store is out of reach
	p.Summaries = make([]presence.Summary, len(q.Keys))
	first := make(map[presence.PeerID]int, len(q.Keys))
	distinct := make([]int, 0, len(q.Keys))
	for i := range q.Keys {
		peer := q.Keys[i].Peer
		p.Summaries[i] = raw[i].At(leases, s.Rules())
		if _, ok := first[peer]; ok {
			continue
		}
		first[peer] = i
		distinct = append(distinct, i)
		f := Fingerprint(string(peer))
		p.Token.List ^= f
		if q.Detail == Full && p.Summaries[i].Status == presence.Unknown {
			p.Token.Unknown ^= f
		}
	}
	old, ok := ts.Open(q.App, q.Since)
	ok = ok && old.Detail == q.Detail && old.List == p.Token.List
	if q.Detail == Full {
		p.since(old, ok, raw)
		return p, nil
	}
	changed := p.differs(q, old, ok, distinct)
	if changed == nil {
		return p, nil
	}
	p.Changed = make([]bool, len(q.Keys))
	for i := range q.Keys {
		p.Changed[i] = changed[first[q.Keys[i].Peer]]
	}
	return p, nil
}

// since fills in which keys were written after old.
func (p *Poll) since(old Token, ok bool, raw []presence.Summary) {
	ok = ok && old.Epoch == p.Token.Epoch && old.Horizon <= p.Token.Horizon
	if p.Age > 0 {
		// Writes that this node has not seen may lie below the horizon.
		p.Token.Horizon = 0
		if ok {
			p.Token.Horizon = old.Horizon
		}
	}
	if !ok {
		return
	}
	p.Changed = make([]bool, len(raw))
	for i := range raw {
		switch seen := &p.Summaries[i]; {
		case seen.Status == presence.Unknown:
			p.Changed[i] = old.Unknown != p.Token.Unknown
		default:
			p.Changed[i] = raw[i].Rev > old.Horizon || unwritten(raw[i], *seen)
		}
	}
}

// differs puts the statuses of the distinct keys into the token, and returns by key which of them differ from old; nil when old cannot be used.
func (p *Poll) differs(q *Question, old Token, ok bool, distinct []int) map[int]bool {
	ranks(distinct, func(i int) string { return string(q.Keys[i].Peer) })
	now, was := newKnown(len(distinct)), known(old.Known)
	ok = ok && len(was) == len(now)
	var changed map[int]bool
	if ok {
		changed = make(map[int]bool, len(distinct))
	}
	for rank, i := range distinct {
		code := codeOf(p.Summaries[i].Status)
		now.set(rank, code)
		if ok && was.at(rank) != code {
			changed[i] = true
		}
	}
	p.Token.Known = string(now)
	return changed
}
