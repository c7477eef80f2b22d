package redisstore

import (
	"errors"
	"fmt"
	"time"

	"rollcall/presence"
)

// errNewer: the state is one that a newer rollcall has written; what this one does not know of it
// must not be lost.
var errNewer = fmt.Errorf("%w: a newer rollcall keeps this peer", presence.ErrUnavailable)

// newer reports whether bytes are a state in a later format. Junk may look like one but for its
// revision, which is a time.
func (s *shared) newer(b []byte) bool {
	if len(b) == 0 || presence.Rev(b) == 0 || presence.Rev(b) > uint64(s.conn.Now().Add(24*time.Hour)) {
		return false
	}
	var st presence.State
	return errors.Is(st.Unpack(b), presence.ErrNewer)
}

// sayNewer logs that a newer rollcall writes here.
func (s *shared) sayNewer(peer presence.PeerID, state []byte) {
	s.stats.newer.Add(1)
	if _, due := s.newerLine.Due(s.conn.Millis()); !due {
		return
	}
	s.log.Warn("peer state has a newer format; reports are queued until this node is upgraded", "peer", fmt.Sprintf("%.80q", peer),
		"format", state[8]>>4, "reads", presence.PackFormat())
}

// plainState stands for a state of a newer rollcall in answers: what its summary holds.
func (r *reader) plainState(state []byte, word string, left time.Duration, now presence.Millis) []byte {
	if now == 0 {
		now = r.conn.Now()
	}
	st := presence.State{Rev: presence.Rev(state)}
	// a revision is the time of a write, or soon after it
	since := min(now, presence.Millis(st.Rev))
	if word == "1" {
		st.Status, st.Since, st.Until, st.LastSeen = presence.Online, since, now.Add(r.rules.Lease), since
		st.Slots = []presence.Slot{{Source: presence.SourceLeanCloud, Open: 1, At: since, Start: since, Until: st.Until}}
	} else {
		st.Status, st.Since = presence.Offline, now.Add(left-r.rules.OfflineMemory)
		st.LastSeen = st.Since
	}
	return st.Pack(nil)
}
