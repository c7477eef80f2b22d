package redisstore

import (
	"context"
	"fmt"
	"time"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// A found is an index entry as it was read.
type found struct {
	member string
	claim  claim
}

// sift reads the states behind index entries, claims those that are wanted for the goroutine that
// settles them, and returns the rest, less what is a newer rollcall's.
func (x *indexes) sift(ctx context.Context, r *reading, list []found, wanted func(*presence.State) bool) (keys []presence.Key, idle []found, err error) {
	if list, err = x.peersOnly(ctx, list); err != nil || len(list) == 0 {
		return nil, nil, err
	}
	states := make([]string, len(list))
	peers := make([]presence.Key, len(list))
	for i, f := range list {
		key, _ := x.keys.memberPeer(f.member)
		peers[i] = key
		states[i] = x.keys.stateKey(string(x.keys.summaryKey(nil, key.App, []byte(key.Peer))))
	}
	values, err := x.reader.getAll(ctx, states)
	if err != nil {
		return nil, nil, conn.Unavailable(err)
	}
	var st presence.State
	for i, v := range values {
		st = presence.State{}
		damaged := len(v) > 0 && st.Unpack(v) != nil
		if damaged && x.newer(v) {
			x.sayNewer(peers[i].Peer, v)
			r.pass(list[i])
			continue
		}
		// the update that tidies also removes what is damaged
		if damaged || !wanted(&st) && !x.writer.doubts.holds(list[i].member, v) {
			idle = append(idle, list[i])
			continue
		}
		x.writer.claims.add(list[i].member, list[i].claim)
		keys = append(keys, peers[i])
	}
	return keys, idle, nil
}

// peersOnly removes from the indexes what names no peer, so that it does not delay those that are
// due.
func (x *indexes) peersOnly(ctx context.Context, list []found) ([]found, error) {
	var calls []conn.Call
	peers := list[:0]
	for _, f := range list {
		if _, ok := x.keys.memberPeer(f.member); ok {
			peers = append(peers, f)
			continue
		}
		x.stats.damaged.Add(1)
		x.log.Error("invalid member in index", "index", f.claim.index, "member", fmt.Sprintf("%.40q", f.member))
		calls = append(calls, conn.Call{Keys: []string{f.claim.index}, Args: []string{f.member, formatScore(f.claim.score), ""}})
	}
	if len(calls) == 0 {
		return peers, nil
	}
	begun := time.Now()
	results, err := x.conn.Exec(ctx, settleScript, calls)
	if err != nil {
		return nil, err
	}
	for i := range results {
		if err := results[i].Error(); err != nil {
			x.conn.FailedSince(begun, calls[i].Keys[0], err)
			return nil, conn.Unavailable(err)
		}
	}
	return peers, nil
}

// tidy settles entries that no state needs as they stand: an update that changes nothing removes or
// moves them.
func (x *indexes) tidy(ctx context.Context, idle []found) error {
	if len(idle) == 0 {
		return nil
	}
	keys := make([]presence.Key, len(idle))
	for i, f := range idle {
		x.writer.claims.add(f.member, f.claim)
		keys[i], _ = x.keys.memberPeer(f.member)
	}
	return x.writer.update(ctx, keys, 0, func(int, *presence.State) presence.Effect { return presence.Same })
}
