package outage

import (
	"context"
	"time"

	"rollcall/presence"
)

// A question is what the overlay has of the peers of one call.
type question struct {
	plain  []int         // no reports in the spool: the store below answers
	read   []int         // to be read, with the records of their layers applied
	layers []Layer       // of read
	age    time.Duration // of the answers that layers gave
}

// ask parts n peers by what the overlay has of them. Those of a part out of reach are answered by
// their layers: leases stand still, so what was online when the spool took it over is online.
func (s *Store) ask(n int, key func(i int) presence.Key, answer func(i int, sum presence.Summary)) (q question) {
	for i := range n {
		l, ok := s.Layer(key(i))
		if !ok {
			q.plain = append(q.plain, i)
			continue
		}
		silent, up := s.Reach(key(i))
		switch {
		case up:
			q.read, q.layers = append(q.read, i), append(q.layers, l)
		case silent > s.cfg.Stale || !l.Known:
			q.plain = append(q.plain, i) // others may have reported since
		default:
			answer(i, l.Summary)
			q.age = max(q.age, silent)
		}
	}
	return q
}

// last answers for peers that could not be read over what was last known. ok is false when nothing
// was, or it is too old.
func (s *Store) last(q *question, key func(i int) presence.Key, answer func(i int, sum presence.Summary)) (ok bool) {
	for k, i := range q.read {
		silent, _ := s.Reach(key(i))
		if !q.layers[k].Known || silent > s.cfg.Stale {
			return false
		}
		answer(i, q.layers[k].Summary)
		q.age = max(q.age, silent, time.Millisecond)
	}
	return true
}

// over reads the states of the peers to be read with the records of their layers applied.
func (s *Store) over(ctx context.Context, app presence.AppID, ids [][]byte, now presence.Millis, layers []Layer, see func(k int, packed []byte)) (time.Duration, error) {
	return s.Read(ctx, app, ids, now, func(k int, packed []byte) {
		see(k, Over(packed, layers[k].Records, s.cfg.Now(), &s.cfg.Rules))
	})
}

// Statuses implements [presence.Store].
func (s *Store) Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (age time.Duration, err error) {
	if s.Overlaid() {
		age, err = s.statuses(ctx, app, peers, now, out)
	} else {
		age, err = s.Lower.Statuses(ctx, app, peers, now, out)
	}
	if age > 0 && err == nil {
		s.aged.Add(1)
	}
	return age, err
}

func (s *Store) statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (time.Duration, error) {
	key := func(i int) presence.Key { return presence.Key{App: app, Peer: presence.PeerID(peers[i])} }
	answer := func(i int, sum presence.Summary) { out[i] = sum.Status }
	q := s.ask(len(peers), key, answer)
	if len(q.plain) > 0 {
		some := make([]presence.Status, len(q.plain))
		age, err := s.Lower.Statuses(ctx, app, at(peers, q.plain), now, some)
		if err != nil {
			return 0, err
		}
		for k, i := range q.plain {
			out[i] = some[k]
		}
		q.age = max(q.age, age)
	}
	if len(q.read) == 0 {
		return q.age, nil
	}
	age, err := s.over(ctx, app, at(peers, q.read), now, q.layers, func(k int, packed []byte) { out[q.read[k]] = s.Judge(packed, now) })
	if err != nil && !s.last(&q, key, answer) {
		return 0, err
	}
	return max(age, q.age), nil
}

// Summaries implements [presence.Store].
func (s *Store) Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error) {
	if s.Overlaid() {
		age, err = s.summaries(ctx, keys, out)
	} else {
		age, err = s.Lower.Summaries(ctx, keys, out)
	}
	if age > 0 && err == nil {
		s.aged.Add(1)
	}
	return age, err
}

func (s *Store) summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (time.Duration, error) {
	key := func(i int) presence.Key { return keys[i] }
	answer := func(i int, sum presence.Summary) { out[i] = sum }
	q := s.ask(len(keys), key, answer)
	if len(q.plain) > 0 {
		some := make([]presence.Summary, len(q.plain))
		age, err := s.Lower.Summaries(ctx, at(keys, q.plain), some)
		if err != nil {
			return 0, err
		}
		for k, i := range q.plain {
			out[i] = some[k]
		}
		q.age = max(q.age, age)
	}
	for app, of := range q.byApp(key) {
		ids := make([][]byte, len(of.read))
		for k, i := range of.read {
			ids[k] = []byte(keys[i].Peer)
		}
		age, err := s.over(ctx, app, ids, 0, of.layers, func(k int, packed []byte) { out[of.read[k]] = presence.PeekSummary(packed) })
		if err != nil && !s.last(of, key, answer) {
			return 0, err
		}
		q.age = max(q.age, age, of.age)
	}
	return q.age, nil
}

// byApp parts what is to be read by app.
func (q *question) byApp(key func(i int) presence.Key) map[presence.AppID]*question {
	parts := map[presence.AppID]*question{}
	for k, i := range q.read {
		app := key(i).App
		if parts[app] == nil {
			parts[app] = &question{}
		}
		parts[app].read, parts[app].layers = append(parts[app].read, i), append(parts[app].layers, q.layers[k])
	}
	return parts
}

// at returns the elements of list at index.
func at[T any](list []T, index []int) []T {
	some := make([]T, len(index))
	for k, i := range index {
		some[k] = list[i]
	}
	return some
}
