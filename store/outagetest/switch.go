package outagetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"rollcall/presence"
	"rollcall/store/outage"
)

// ErrAway is why a [Switch] does not answer.
var ErrAway = fmt.Errorf("%w: switched off", presence.ErrUnavailable)

// A Switch is a store that a test puts out of reach, in whole or in part.
type Switch struct {
	presence.Store
	rules presence.Rules

	mu    sync.Mutex // guards what follows
	lost  func(presence.Key) bool
	since time.Time
	known map[presence.Key][]byte
}

var _ outage.Lower = (*Switch)(nil)

// NewSwitch returns store, which it can reach.
func NewSwitch(store presence.Store, rules presence.Rules) *Switch {
	return &Switch{Store: store, rules: rules}
}

// Leave puts the peers of which lost is true out of reach, all when it is nil. What is known of
// them meanwhile are the states of known as they are now. A store that is away stays as it is.
func (s *Switch) Leave(lost func(presence.Key) bool, known ...presence.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost != nil {
		return
	}
	if lost == nil {
		lost = func(presence.Key) bool { return true }
	}
	s.lost, s.since, s.known = lost, time.Now(), map[presence.Key][]byte{}
	for _, k := range known {
		if packed, err := s.packed(context.Background(), k); err == nil {
			s.known[k] = packed
		}
	}
}

// Return puts all peers in reach again; it returns for how long they were not.
func (s *Switch) Return() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil {
		return 0
	}
	s.lost = nil
	return time.Since(s.since)
}

// packed reads a state.
func (s *Switch) packed(ctx context.Context, k presence.Key) ([]byte, error) {
	var st presence.State
	if err := s.Store.Load(ctx, k, &st); err != nil || st.Rev == 0 {
		return nil, err
	}
	return st.Pack(nil), nil
}

// Age is part of [presence.Remote].
func (s *Switch) Age() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil {
		return 0
	}
	return max(time.Since(s.since), time.Millisecond)
}

// AgeOf is part of [presence.Remote].
func (s *Switch) AgeOf(key presence.Key) time.Duration {
	silent, up := s.Reach(key)
	if up {
		return 0
	}
	return silent
}

// Reach implements [outage.Lower].
func (s *Switch) Reach(key presence.Key) (silent time.Duration, up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == nil || !s.lost(key) {
		return time.Millisecond, true
	}
	return max(time.Since(s.since), time.Millisecond), false
}

// Peek implements [outage.Lower].
func (s *Switch) Peek(key presence.Key) (packed []byte, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	packed, known = s.known[key]
	return packed, known
}

// answer is the state of a peer, or what is known of it while it is out of reach, and its age.
func (s *Switch) answer(ctx context.Context, key presence.Key) (packed []byte, age time.Duration, err error) {
	silent, up := s.Reach(key)
	if up {
		packed, err = s.packed(ctx, key)
		return packed, 0, err
	}
	packed, known := s.Peek(key)
	if !known {
		return nil, 0, ErrAway
	}
	return packed, silent, nil
}

// Statuses implements [presence.Store].
func (s *Switch) Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (age time.Duration, err error) {
	if s.Age() == 0 {
		return s.Store.Statuses(ctx, app, peers, now, out)
	}
	for i, p := range peers {
		packed, old, err := s.answer(ctx, presence.Key{App: app, Peer: presence.PeerID(p)})
		if err != nil {
			return 0, err
		}
		out[i], age = s.Judge(packed, now.Add(-old)), max(age, old) // leases stand still
	}
	return age, nil
}

// Summaries implements [presence.Store].
func (s *Switch) Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error) {
	if s.Age() == 0 {
		return s.Store.Summaries(ctx, keys, out)
	}
	for i, k := range keys {
		packed, old, err := s.answer(ctx, k)
		if err != nil {
			return 0, err
		}
		out[i], age = presence.PeekSummary(packed), max(age, old)
	}
	return age, nil
}

// Read implements [outage.Lower].
func (s *Switch) Read(ctx context.Context, app presence.AppID, peers [][]byte, _ presence.Millis, see func(i int, packed []byte)) (time.Duration, error) {
	for i, p := range peers {
		key := presence.Key{App: app, Peer: presence.PeerID(p)}
		if _, up := s.Reach(key); !up {
			return 0, ErrAway
		}
		packed, err := s.packed(ctx, key)
		if err != nil {
			return 0, err
		}
		see(i, packed)
	}
	return 0, nil
}

// Judge implements [outage.Lower].
func (s *Switch) Judge(packed []byte, now presence.Millis) presence.Status {
	if len(packed) == 0 {
		return presence.Unknown
	}
	status, _ := presence.PeekStatus(packed, now, &s.rules)
	return status
}

// UpdateEach implements [outage.Lower].
func (s *Switch) UpdateEach(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) []error {
	return s.each(ctx, keys, now, merge, s.Store.Update)
}

// SettleEach implements [outage.Lower].
func (s *Switch) SettleEach(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) []error {
	if settler, ok := s.Store.(presence.Settler); ok {
		return s.each(ctx, keys, now, merge, settler.Settle)
	}
	return s.UpdateEach(ctx, keys, now, merge)
}

type update = func(context.Context, []presence.Key, presence.Millis, presence.Merge) error

func (s *Switch) each(ctx context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge, write update) []error {
	errs := make([]error, len(keys))
	var up []presence.Key
	var index []int
	for i, k := range keys {
		if _, ok := s.Reach(k); ok {
			up, index = append(up, k), append(index, i)
		} else {
			errs[i] = ErrAway
		}
	}
	if len(up) < len(keys) && len(up) == 0 {
		return errs
	}
	err := write(ctx, up, now, func(i int, st *presence.State) presence.Effect { return merge(index[i], st) })
	if part := (*presence.PartError)(nil); errors.As(err, &part) {
		for _, k := range part.Failed {
			errs[index[k]] = part.Err
		}
		return errs
	}
	for _, i := range index {
		errs[i] = err
	}
	return errs
}

// Waits implements [outage.Lower].
func (s *Switch) Waits(err error) (waits, held bool) { return errors.Is(err, ErrAway), false }

// A Wrapped store is a [Switch] under the wrapper: all of [presence.Remote].
type Wrapped struct {
	*outage.Store
	Switch *Switch
}

var _ presence.Remote = Wrapped{}

// Age is part of [presence.Remote].
func (w Wrapped) Age() time.Duration { return w.Switch.Age() }

// AgeOf is part of [presence.Remote].
func (w Wrapped) AgeOf(key presence.Key) time.Duration { return w.Switch.AgeOf(key) }
