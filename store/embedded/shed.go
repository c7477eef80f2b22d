package embedded

import "rollcall/presence"

// Shed returns up to limit peers that may be forgotten at now, while nine tenths of
// [Config].MaxMemory are in use; see [presence.Shedder]. A call looks at one round of the shards at
// the most.
func (s *Store) Shed(now presence.Millis, limit int) []presence.Key {
	if s.bound == 0 || s.index.used.Load() < s.bound/10*9 || s.closed.Load() {
		return nil
	}
	s.shed.Lock()
	defer s.shed.Unlock()
	var (
		keys []presence.Key
		st   presence.State
	)
	for range shards {
		for tag, more := uint32(0), true; more; {
			tag, more = s.index.scan(s.shed.shard, tag, scanStep, func(_, app uint32, peer, packed []byte) {
				if len(keys) < limit && st.Unpack(packed) == nil && st.ShortLived(now) {
					keys = append(keys, s.key(app, peer))
				}
			})
			if len(keys) >= limit {
				return keys // the rest of the shard is looked at next
			}
		}
		s.shed.shard = (s.shed.shard + 1) % shards
	}
	return keys
}
