package watch

import (
	"context"
	"fmt"
	"time"

	"rollcall/presence"
)

// A Poll is one look at a list of peers by someone who asks again and again instead of holding a stream. The token of
// one answer makes the next tell only what may have changed; an expiry is a change whether or not it is written yet.
type Poll struct {
	Summaries []presence.Summary // as of now, for every key
	Changed   []bool             // nil: all are to be told
	Token     Token
	Age       time.Duration // how long a part of the store has been out of reach; 0: all of it answers
}

// Look reads keys of one app for a poller that has token, which may be empty or unusable: then everything is to be told.
func Look(ctx context.Context, s *presence.Service, app presence.AppID, keys []presence.Key, token string, now presence.Millis) (Poll, error) {
	// The epoch and the horizon come before the read: what is written in between is told now and told again.
	p := Poll{Token: Token{Epoch: s.Epoch(), Horizon: s.Horizon(now), List: appFingerprint(app)}}
	raw := make([]presence.Summary, len(keys))
	var err error
	if p.Age, err = s.Store().Summaries(ctx, keys, raw); err != nil {
		return Poll{}, fmt.Errorf("look at %d peers: %w", len(keys), err)
	}
	leases := s.Leases(now).Add(-p.Age) // leases stand still while the store is out of reach
	seen := make([]presence.Summary, len(keys))
	once := make(map[presence.PeerID]struct{}, len(keys))
	for i := range keys {
		seen[i] = raw[i].At(leases, s.Rules())
		if _, ok := once[keys[i].Peer]; ok {
			continue
		}
		once[keys[i].Peer] = struct{}{}
		f := Fingerprint(string(keys[i].Peer))
		p.Token.List ^= f
		if seen[i].Status == presence.Unknown {
			p.Token.Unknown ^= f
		}
	}
	p.Summaries = seen
	old, ok := ParseToken(token)
	ok = ok && old.Epoch == p.Token.Epoch && old.List == p.Token.List && old.Horizon <= p.Token.Horizon
	if p.Age > 0 {
		// Writes that this node has not seen may lie below the horizon.
		p.Token.Horizon = 0
		if ok {
			p.Token.Horizon = old.Horizon
		}
	}
	if !ok {
		return p, nil
	}
	p.Changed = make([]bool, len(keys))
	for i := range keys {
		switch {
		case seen[i].Status == presence.Unknown:
			p.Changed[i] = old.Unknown != p.Token.Unknown
		default:
			p.Changed[i] = raw[i].Rev > old.Horizon || unwritten(raw[i], seen[i])
		}
	}
	return p, nil
}
