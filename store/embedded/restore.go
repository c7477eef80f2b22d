package embedded

import (
	"context"
	"errors"
	"fmt"
	"io"

	"rollcall/presence"
)

// restoreBatch is how many peers are restored in one update.
const restoreBatch = 1000

// Restore makes a store in deps.Path, an empty directory or none, of the states that next returns
// until io.EOF, as they were at now. The store is durable, and closed, when Restore returns nil;
// after an error what is in the directory is of no use.
func Restore(ctx context.Context, cfg Config, deps Deps, now presence.Millis, next func() (presence.Key, presence.State, error)) (err error) {
	cfg.Sync = SyncInterval // the snapshot at the end is synced
	s, err := Open(cfg, deps, now)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if s.index.peers.Load() > 0 {
		return fmt.Errorf("%s holds a store", deps.Path)
	}
	var (
		keys   []presence.Key
		states []presence.State
	)
	for more := true; more; {
		key, st, err := next()
		switch {
		case errors.Is(err, io.EOF):
			more = false
		case err != nil:
			return err
		default:
			keys, states = append(keys, key), append(states, st)
		}
		if len(keys) == 0 || more && len(keys) < restoreBatch {
			continue
		}
		err = s.Update(ctx, keys, now, func(i int, st *presence.State) presence.Effect {
			*st = states[i]
			return presence.Shown
		})
		if err != nil {
			return err
		}
		keys, states = keys[:0], states[:0]
	}
	return s.Snapshot()
}
