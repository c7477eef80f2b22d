package transfer

import (
	"context"
	"errors"
	"io"
	"time"

	"rollcall/presence"
)

// A Source is what is exported: a store, or the service before it.
type Source interface {
	Walk(ctx context.Context, fn func(key presence.Key, packed []byte) error) error
}

// Export writes the peers of the apps that h names to w, as another store may take them, or, for a
// backup, as they are kept. It holds one peer in memory.
func Export(ctx context.Context, from Source, w io.Writer, h Header) (peers int64, err error) {
	wanted := map[presence.AppID]bool{}
	for _, a := range h.Apps {
		wanted[a.ID] = true
	}
	out := NewWriter(w, h)
	// The header goes out at once, so that the caller knows that the export has begun.
	if err := out.Flush(); err != nil {
		return 0, err
	}
	var st presence.State
	var packed []byte
	err = from.Walk(ctx, func(key presence.Key, kept []byte) error {
		switch {
		case !wanted[key.App]:
			return nil
		case st.Unpack(kept) != nil || presence.CheckKnown(key.Peer) != nil:
			out.Unread++
			return nil
		case h.Kind == KindBackup:
			return out.Peer(key, kept)
		}
		st.Moved(h.Time)
		packed = st.Pack(packed[:0])
		return out.Peer(key, packed)
	})
	if err != nil {
		out.Fail(err)
		return 0, err
	}
	return out.Close()
}

// A Destination takes what is imported.
type Destination interface {
	Join(ctx context.Context, keys []presence.Key, states []presence.State, now presence.Millis) (changed int, err error)
}

// Import says how a file is merged.
type Import struct {
	To         Destination
	Has        func(presence.AppID) bool // the apps that may be imported
	Now        func() presence.Millis
	Tombstones time.Duration // see [presence.Rules]
}

// A Result is what an import did.
type Result struct {
	Peers   int64 `json:"peers"`   // merged
	Changed int64 `json:"changed"` // of them, those that the store did not have so
	// Of them, those with open sessions that were left out, since the export is old.
	Ended int64 `json:"ended"`
}

// batch is how many peers are merged in one update of the store.
const batch = 500

// Run merges the file in r. After an error the result says what was merged before it; the import
// may be repeated.
func (im *Import) Run(ctx context.Context, r *Reader) (done Result, err error) {
	var (
		keys   []presence.Key
		states []presence.State
	)
	made := min(r.Header.Time, im.Now())
	old := im.Now() > made.Add(im.Tombstones)
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		changed, err := im.To.Join(ctx, keys, states, im.Now())
		if err != nil {
			return err
		}
		done.Peers, done.Changed = done.Peers+int64(len(keys)), done.Changed+int64(changed)
		keys, states = keys[:0], states[:0]
		return nil
	}
	for {
		key, st, err := im.next(r)
		if errors.Is(err, io.EOF) {
			return done, flush()
		}
		if err != nil {
			return done, errors.Join(flush(), err)
		}
		st.Moved(made)
		if old && st.DropOpen(im.Now()) {
			done.Ended++
		}
		keys, states = append(keys, key), append(states, st)
		if len(keys) == batch {
			if err := flush(); err != nil {
				return done, err
			}
		}
	}
}

// next returns the next peer.
func (im *Import) next(r *Reader) (presence.Key, presence.State, error) {
	for {
		l, _, err := r.Next()
		if err != nil {
			return presence.Key{}, presence.State{}, err
		}
		if l.Peer == "" {
			continue
		}
		key, st, err := r.Peer(l)
		if err == nil && !im.Has(key.App) {
			err = r.errorf(CodeApp, "this server does not have the app %q; give it the app in its settings, by the same id", key.App)
		}
		return key, st, err
	}
}
