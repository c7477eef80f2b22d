package presence

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// What a process asks that holds sessions, or speaks for a node that does, beside reporting them.

// Heartbeat renews the lease of a node of this process from now; its sessions depend on it from the
// beginning. With drained it is the last heartbeat. For an external node see
// [Service.ExternalHeartbeat]. The error matches [ErrUnavailable].
func (s *Service) Heartbeat(ctx context.Context, node NodeID, lease time.Duration, drained bool, now Millis) error {
	return s.store.Heartbeat(ctx, node, lease, drained, now)
}

// Load reads the whole state of key. The error matches [ErrUnavailable].
func (s *Service) Load(ctx context.Context, key Key, st *State) error {
	return s.store.Load(ctx, key, st)
}

// Loads sets out[i] to the whole state of keys[i]. A peer whose state cannot be read is a
// [PartError]; any other error matches [ErrUnavailable] and leaves out undefined.
func (s *Service) Loads(ctx context.Context, keys []Key, out []State) error {
	return s.store.Loads(ctx, keys, out)
}

// PeersOn returns the peers that have a session on node. While a part of the store is unreachable
// it returns those of the rest, and an error matching [ErrUnavailable].
func (s *Service) PeersOn(ctx context.Context, node NodeID) ([]Key, error) {
	return s.store.OnNode(ctx, node, allOfNode)
}

// Inspect calls fn for every key with its state, as an update would see it. fn must not change it,
// and may be called again for the same key with a newer state; only the last call counts.
// The error matches [ErrUnavailable].
func (s *Service) Inspect(ctx context.Context, keys []Key, now Millis, fn func(i int, st *State)) error {
	return s.store.Update(ctx, keys, now, func(i int, st *State) Effect {
		fn(i, st)
		return Same
	})
}

// statesAtOnce bounds how many whole states are held in memory at a time.
const statesAtOnce = 4096

// SessionsOn calls fn for every session that is kept of node, open or not. The errors are those of
// PeersOn and Loads; fn may have been called for some sessions.
func (s *Service) SessionsOn(ctx context.Context, node NodeID, fn func(Key, *Session)) error {
	keys, err := s.PeersOn(ctx, node)
	if err != nil {
		return fmt.Errorf("ask for the peers of a node: %w", err)
	}
	states := make([]State, min(len(keys), statesAtOnce))
	for some := range slices.Chunk(keys, statesAtOnce) {
		if err := s.store.Loads(ctx, some, states[:len(some)]); err != nil {
			return fmt.Errorf("read the peers of a node: %w", err)
		}
		for i, key := range some {
			for k := range states[i].Sessions {
				if ss := &states[i].Sessions[k]; ss.Node == node {
					fn(key, ss)
				}
			}
		}
	}
	return nil
}

// Listen calls fn with peers whose answers have changed, see [Store].Listen. It returns how to
// stop.
func (s *Service) Listen(fn func(keys []Key)) (stop func()) { return s.store.Listen(fn) }

// A Drainer is a store that knows which nodes have drained and wait out their grace.
type Drainer interface {
	// Drained returns them; it is asked at every login and must be cheap.
	Drained() []NodeID
}

// Drained returns the nodes that have drained and wait out their grace, as far as the store knows
// them.
func (s *Service) Drained() []NodeID {
	if d, ok := s.store.(Drainer); ok {
		return d.Drained()
	}
	return nil
}
