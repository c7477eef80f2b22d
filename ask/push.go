package ask

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// A Push says whether a message is to be pushed to a peer. In doubt it is.
type Push struct {
	Peer  presence.PeerID
	Push  bool
	Quiet bool // without a sound
	Why   PushReason
}

// A PushReason is why a message is to be pushed, or not.
type PushReason uint8

// The reasons. All but PushForeground and PushUnreachable are for pushing.
const (
	PushUnknown     PushReason = iota // nothing is known of the peer
	PushForeground                    // the app is on the screen and in use
	PushUnreachable                   // no device of the user takes pushes
	PushIdle                          // online, and not in use
	PushBackground                    // online, and not on the screen
	PushOnline                        // online, and no source says what the user does
	PushOffline
	PushStale // the store is out of reach
)

var pushReasons = [...]string{"unknown", "foreground", "unreachable", "idle", "background", "online", "offline", "stale"}

func (r PushReason) String() string { return pushReasons[r] }

// pushesAtOnce bounds how many peers are held in memory whole.
const pushesAtOnce = 256

// wholes are states whose memory is used again.
var wholes = sync.Pool{New: func() any { return new([pushesAtOnce]presence.State) }}

// ShouldPush answers whether a message to each of peers is to be pushed. While the store is out of
// reach the answer is to push to all, and has an age.
//
// It returns errors matching [ErrView], presence.ErrInvalid or presence.ErrUnavailable.
func (r *Reader) ShouldPush(ctx context.Context, v View, peers []presence.PeerID) (a Answer[Push], err error) {
	if err := v.Check(); err != nil {
		return a, err
	}
	r.Rules.Counters().Asked(v.App, len(peers))
	leases := r.Rules.Leases(r.Now())
	out := a.grow(len(peers))
	keys := make([]presence.Key, 0, min(len(peers), pushesAtOnce))
	states := wholes.Get().(*[pushesAtOnce]presence.State)
	defer wholes.Put(states)
	for from := 0; from < len(peers); from += pushesAtOnce {
		some := peers[from:min(from+pushesAtOnce, len(peers))]
		keys = keys[:0]
		for _, p := range some {
			keys = append(keys, v.key(p))
		}
		err := r.Store.Loads(ctx, keys, states[:len(keys)])
		part := (*presence.PartError)(nil)
		if err != nil && !errors.As(err, &part) {
			if age := r.Rules.Age(); age > 0 {
				for i, p := range peers {
					out[i] = Push{Peer: p, Push: true, Why: PushStale}
				}
				a.age = age
				return a, nil
			}
			a.drop()
			return a, fmt.Errorf("read %d peers: %w", len(peers), err)
		}
		for i, p := range some {
			out[from+i] = pushOf(p, &states[i], leases, r.Rules.Rules())
		}
		if part != nil {
			a.age = max(a.age, r.Rules.Age())
			for _, i := range part.Failed {
				out[from+i] = Push{Peer: some[i], Push: true, Why: PushStale}
			}
		}
	}
	return a, nil
}

// pushOf decides by what is known of a peer at now.
func pushOf(peer presence.PeerID, st *presence.State, now presence.Millis, rules *presence.Rules) Push {
	p := Push{Peer: peer, Push: true}
	activity, _ := st.Activity(now, rules)
	if activity == presence.Foreground {
		p.Push, p.Why = false, PushForeground
		return p
	}
	reach := st.Reach(now, rules)
	switch {
	case reach == presence.ReachNo:
		p.Push, p.Why = false, PushUnreachable
		return p
	case activity == presence.Idle:
		p.Why = PushIdle
	case activity == presence.Background:
		p.Why = PushBackground
	default:
		switch st.Summary().At(now, rules).Status {
		case presence.Online:
			p.Why = PushOnline
		case presence.Offline:
			p.Why = PushOffline
		}
	}
	p.Quiet = reach == presence.ReachQuiet
	return p
}

// AppendPush appends p as a JSON object to b.
func AppendPush(b []byte, p *Push) []byte {
	b = append(b, `{"peer":`...)
	b = plainjson.AppendString(b, string(p.Peer))
	b = append(b, `,"push":`...)
	if p.Push {
		b = append(b, `true,"quiet":`...)
	} else {
		b = append(b, `false,"quiet":`...)
	}
	if p.Quiet {
		b = append(b, `true,"why":"`...)
	} else {
		b = append(b, `false,"why":"`...)
	}
	b = append(b, p.Why.String()...)
	return append(b, `"}`...)
}
