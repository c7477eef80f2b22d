package embedded

import (
	"context"

	"rollcall/presence"
)

// Walk calls fn with every peer. An update is in the index before it is acknowledged, so a walk
// sees all that was acknowledged before it began.
func (s *Store) Walk(ctx context.Context, fn func(key presence.Key, packed []byte) error) error {
	var (
		buf  []byte
		ends []int // of the packed states in buf
		keys []presence.Key
	)
	for shard := range shards {
		for tag, more := uint32(0), true; more; {
			if s.closed.Load() {
				return errClosed
			}
			if err := ctx.Err(); err != nil {
				return unavailable(err)
			}
			buf, ends, keys = buf[:0], ends[:0], keys[:0]
			// The scan only copies: fn may take its time.
			tag, more = s.index.scan(shard, tag, scanStep, func(_, app uint32, peer, packed []byte) {
				keys = append(keys, s.key(app, peer))
				buf = append(buf, packed...)
				ends = append(ends, len(buf))
			})
			from := 0
			for i, end := range ends {
				if err := fn(keys[i], buf[from:end]); err != nil {
					return err
				}
				from = end
			}
		}
	}
	return nil
}
