package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

// repeatEvery is how often the log repeats a warning that lasts until an operator acts.
const repeatEvery = 10 * time.Minute

// strangers are keys of another type where an index of ours belongs, put there by somebody else. They are never touched: what
// can do without the index does, and when one is gone an audit mends what is missing.
type strangers struct {
	mu   sync.Mutex
	said map[string]time.Time
}

// isStranger reports whether Redis refused a command because the key is of another type.
func isStranger(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(re.Error(), "WRONGTYPE")
}

// stranger notes that the key of an index is not ours, and tells the operator.
func (s *Store) stranger(key string) {
	x := &s.strangers
	x.mu.Lock()
	last, known := x.said[key]
	say := !known || time.Since(last) > repeatEvery
	if say {
		x.said[key] = time.Now()
	}
	x.mu.Unlock()
	if say {
		s.log.Error("a key of another type stands where rollcall keeps an index", "key", key,
			"hint", "rename or delete it, or give rollcall another prefix; rollcall does not touch it")
	}
}

// foreign returns the error of a call that cannot do without the index.
func (s *Store) foreign(key string) error {
	s.stranger(key)
	return fmt.Errorf("%w: the key %q is of another type and not ours", presence.ErrUnavailable, key)
}

// checkStrangers looks whether keys that stood in the way are gone, and has the indexes mended when one is.
func (s *Store) checkStrangers(ctx context.Context) {
	x := &s.strangers
	x.mu.Lock()
	keys := make([]string, 0, len(x.said))
	for k := range x.said {
		keys = append(keys, k)
	}
	x.mu.Unlock()
	gone := 0
	for _, k := range keys {
		if s.stands(ctx, k) {
			continue
		}
		x.mu.Lock()
		delete(x.said, k)
		x.mu.Unlock()
		s.log.Info("the key that stood in the way of an index is gone", "key", k)
		gone++
	}
	if gone > 0 {
		s.nodes.mu.Lock()
		clear(s.nodes.book) // who reports for a node makes it known again
		s.nodes.mu.Unlock()
		select {
		case s.auditNow <- struct{}{}:
		default:
		}
	}
}

// stands reports whether a key is still of another type, as far as can be told.
func (s *Store) stands(ctx context.Context, key string) bool {
	var err error
	switch key {
	case s.keys.nodes():
		err = s.do(ctx, s.client.B().Hget().Key(key).Field("").Build()).Error()
	case s.keys.epoch():
		err = s.do(ctx, s.client.B().Get().Key(key).Build()).Error()
	default:
		err = s.do(ctx, s.client.B().Zscore().Key(key).Member("").Build()).Error()
	}
	return err != nil && !rueidis.IsRedisNil(err)
}

func (s *Store) strange() int64 {
	x := &s.strangers
	x.mu.Lock()
	defer x.mu.Unlock()
	return int64(len(x.said))
}

// errNewer: the state is one that a newer rollcall has written; what this one does not know of it must not be lost.
var errNewer = fmt.Errorf("%w: a newer rollcall keeps this peer", presence.ErrUnavailable)

// newer reports whether bytes are a state in a later format. Junk may look like one but for its revision, which is a time.
func (s *Store) newer(b []byte) bool {
	if len(b) == 0 || presence.Rev(b) == 0 || presence.Rev(b) > uint64(s.Now().Add(24*time.Hour)) {
		return false
	}
	var st presence.State
	return errors.Is(st.Unpack(b), presence.ErrNewer)
}

// sayNewer tells the operator that a newer rollcall writes here.
func (s *Store) sayNewer(peer presence.PeerID, state []byte) {
	s.stats.newer.Add(1)
	now := s.millis()
	if last := s.newerSaid.Load(); last != 0 && now-last < repeatEvery.Milliseconds() || !s.newerSaid.CompareAndSwap(last, now) {
		return
	}
	s.log.Warn("a newer rollcall writes to this redis; reports on its peers wait until this one is replaced", "peer", fmt.Sprintf("%.80q", peer),
		"format", state[8]>>4, "reads", presence.PackFormat())
}

// plainState stands for a state of a newer rollcall in answers: what the summary says of it.
func (s *Store) plainState(state []byte, word string, left time.Duration, now presence.Millis) []byte {
	if now == 0 {
		now = s.Now()
	}
	st := presence.State{Rev: presence.Rev(state)}
	since := min(now, presence.Millis(st.Rev)) // a revision is the time of a write, or soon after it
	if word == "1" {
		st.Status, st.Since, st.Until, st.LastSeen = presence.Online, since, now.Add(s.rules.Lease), since
		st.Slots = []presence.Slot{{Source: presence.SourceLeanCloud, Open: 1, At: since, Start: since, Until: st.Until}}
	} else {
		st.Status, st.Since = presence.Offline, now.Add(left-s.rules.OfflineMemory)
		st.LastSeen = st.Since
	}
	return st.Pack(nil)
}
