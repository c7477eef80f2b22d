package presence

import (
	"context"
	"fmt"
)

// Walk calls fn with every peer of the store, see [Store]. The error is that of fn, or matches
// [ErrUnavailable].
func (s *Service) Walk(ctx context.Context, fn func(key Key, packed []byte) error) error {
	return s.store.Walk(ctx, fn)
}

// Join merges states of peers that another store has kept, see [State.Join], and returns how many
// of them that changed. After an error, which matches [ErrUnavailable] or [ErrFull], some may be
// merged; the caller may join all of them again.
func (s *Service) Join(ctx context.Context, keys []Key, states []State, now Millis) (changed int, err error) {
	leases := s.Leases(now)
	effects := make([]Effect, len(keys))
	err = s.update(ctx, keys, now, func(i int, st *State) Effect {
		effects[i] = st.Join(&states[i], leases, &s.cfg.Rules)
		return effects[i]
	})
	if err != nil {
		return 0, fmt.Errorf("join %d peers: %w", len(keys), err)
	}
	for _, e := range effects {
		if e != Same {
			changed++
		}
	}
	return changed, nil
}
