package ask

import (
	"context"
	"fmt"
	"time"

	"rollcall/ask/token"
	"rollcall/presence"
)

// A Store is what a [Reader] reads; a presence.Store is one.
type Store interface {
	Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (age time.Duration, err error)
	Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error)
	Load(ctx context.Context, key presence.Key, st *presence.State) error
	Loads(ctx context.Context, keys []presence.Key, out []presence.State) error
	List(ctx context.Context, app presence.AppID, cursor string, limit int, now presence.Millis) (peers []presence.PeerID, next string, err error)
	Counts(ctx context.Context, app presence.AppID, now presence.Millis) (presence.Counts, error)
}

// Deps are what a [Reader] stands on.
type Deps struct {
	Rules *presence.Service // leases, counters and the last reports
	Store Store
	Now   func() presence.Millis // the clock by which leases are judged; nil is the wall clock
	// Tokens seals tokens and cursors; nil makes some that open in this reader only.
	Tokens *token.Sealer
}

// A Reader answers questions. It may be used by many goroutines at once.
type Reader struct{ Deps }

// New returns a reader.
func New(deps Deps) *Reader {
	if deps.Now == nil {
		deps.Now = func() presence.Millis { return presence.MillisOf(time.Now()) }
	}
	if deps.Tokens == nil {
		deps.Tokens = token.NewSealer(nil)
	}
	return &Reader{deps}
}

// Statuses answers into a what the peers called ids are: one call of the store, whatever their
// number. Ids may be any bytes; they are not kept.
//
// It returns errors matching [ErrView] or presence.ErrUnavailable; then a holds nothing.
func (r *Reader) Statuses(ctx context.Context, v View, ids [][]byte, a *Answer[presence.Status]) error {
	a.drop()
	if err := v.Check(); err != nil {
		return err
	}
	r.Rules.Counters().Asked(v.App, len(ids))
	out := a.grow(len(ids))
	if len(ids) == 0 {
		return nil
	}
	age, err := r.Store.Statuses(ctx, v.App, ids, r.Rules.Leases(r.Now()), out)
	if err != nil {
		a.drop()
		return fmt.Errorf("ask for %d statuses: %w", len(ids), err)
	}
	a.age = age
	return nil
}

// Summaries answers what is known of peers. With some of [Whole] among fields it reads peers whole,
// and those fields are in the answer, unless that has an age.
//
// It returns errors matching [ErrView] or presence.ErrUnavailable.
func (r *Reader) Summaries(ctx context.Context, v View, peers []presence.PeerID, fields Fields) (a Answer[Peer], err error) {
	if err := v.Check(); err != nil {
		return a, err
	}
	now := r.Now()
	s, err := r.summaries(ctx, v, peers, now)
	if err != nil {
		return a, err
	}
	a.age = s.age
	out := a.grow(len(peers))
	a.age = s.age
	for i, p := range peers {
		out[i] = peerOf(p, &s.seen[i])
	}
	return a, r.whole(ctx, v, &a, fields, now)
}

// summed is what the store keeps of a list of peers, and what that has become.
type summed struct {
	raw, seen []presence.Summary
	age       time.Duration
}

// summaries reads peers and judges them at now.
func (r *Reader) summaries(ctx context.Context, v View, peers []presence.PeerID, now presence.Millis) (s summed, err error) {
	keys := make([]presence.Key, len(peers))
	for i, p := range peers {
		keys[i] = v.key(p)
	}
	r.Rules.Counters().Asked(v.App, len(peers))
	s.raw, s.seen = make([]presence.Summary, len(keys)), make([]presence.Summary, len(keys))
	if len(keys) == 0 {
		return s, nil
	}
	if s.age, err = r.Store.Summaries(ctx, keys, s.raw); err != nil {
		return summed{}, fmt.Errorf("ask for %d summaries: %w", len(keys), err)
	}
	leases := r.Rules.Leases(now).Add(-s.age) // leases stand still while the store is unreachable
	for i := range s.raw {
		s.seen[i] = s.raw[i].At(leases, r.Rules.Rules())
	}
	return s, nil
}

// List answers up to limit of the peers that are online, after cursor, and the cursor with which
// the list goes on: both sealed, and "" at either end. A peer that is online throughout is listed
// exactly once.
//
// It returns errors matching [ErrView], [ErrCursor], presence.ErrInvalid for a cursor of a process
// that is no more, or presence.ErrUnavailable.
func (r *Reader) List(ctx context.Context, v View, cursor string, limit int) (peers []presence.PeerID, next string, err error) {
	if err := v.Check(); err != nil {
		return nil, "", err
	}
	from, ok := r.Tokens.OpenCursor(v.App, cursor)
	if !ok {
		return nil, "", ErrCursor
	}
	peers, next, err = r.Store.List(ctx, v.App, from, limit, r.Rules.Leases(r.Now()))
	if err != nil {
		return nil, "", fmt.Errorf("list %d peers: %w", limit, err)
	}
	return peers, r.Tokens.SealCursor(v.App, next), nil
}

// ErrCursor: a cursor that this server did not give out.
var ErrCursor = fmt.Errorf("%w: cursor is not one that this server gave out; start again without it", presence.ErrInvalid)

// Counts answers how many peers of the app there are, as they were last written.
//
// It returns errors matching [ErrView] or presence.ErrUnavailable.
func (r *Reader) Counts(ctx context.Context, v View) (presence.Counts, error) {
	if err := v.Check(); err != nil {
		return presence.Counts{}, err
	}
	c, err := r.Store.Counts(ctx, v.App, r.Rules.Leases(r.Now()))
	if err != nil {
		return presence.Counts{}, fmt.Errorf("count the peers of app %q: %w", v.App, err)
	}
	return c, nil
}

// OnlineTime answers how long peer was online on each of the last local days, see
// [presence.State.OnlineTime]. It has no days while the setting is off.
//
// It returns errors matching [ErrView] or presence.ErrUnavailable.
func (r *Reader) OnlineTime(ctx context.Context, v View, peer presence.PeerID) ([]presence.Day, error) {
	if err := v.Check(); err != nil {
		return nil, err
	}
	var st presence.State
	if err := r.Store.Load(ctx, v.key(peer), &st); err != nil {
		return nil, fmt.Errorf("read peer %q: %w", peer, err)
	}
	return st.OnlineTime(r.Rules.Leases(r.Now()), r.Rules.Rules()), nil
}
