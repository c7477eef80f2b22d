package redisstore

import (
	"context"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

// Walk calls fn with every peer whose summary key is there, in the order of SCAN. A peer that only
// the recipe's own key names comes with the state that it stands for. A primary that cannot be
// reached is an error, after all the rest.
func (s *Store) Walk(ctx context.Context, fn func(key presence.Key, packed []byte) error) error {
	if s.conn.Closed() {
		return conn.ErrClosed
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed error
	err := s.audit.walk(ctx, nil, func(key presence.Key, state []byte, _ string) {
		if failed != nil {
			return
		}
		if sum := presence.PeekSummary(state); sum.Rev == 0 && sum.Status == presence.Offline {
			// A foreign word, as all that rollcall writes has a revision.
			st := presence.AssumeOffline(sum.Since)
			state = st.Pack(nil)
		}
		if failed = fn(key, state); failed != nil {
			cancel()
		}
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return conn.Unavailable(err)
	}
	return nil
}
