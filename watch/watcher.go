package watch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/ask/token"
	"rollcall/internal/wake"
	"rollcall/presence"
)

// Reason says why a watcher was closed. It is on the wire and in metrics.
type Reason string

// The reasons.
const (
	ReasonGone        Reason = "gone"        // the client went away
	ReasonSlow        Reason = "slow"        // the client took nothing for too long
	ReasonShutdown    Reason = "shutdown"    // the server is going; connect again
	ReasonUnavailable Reason = "unavailable" // the store did not answer when the watch began
	ReasonExpired     Reason = "expired"     // the right to watch ran out
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{ReasonGone, ReasonSlow, ReasonShutdown, ReasonUnavailable, ReasonExpired}
}

// A Watcher follows some peers of one app. Next is for one goroutine at a time; the rest may be
// called by any.
type Watcher struct {
	// behind says that something was queued for a whole round and was not taken. Until it is taken
	// nothing more is queued, and nothing is locked: the watcher looks through its peers itself
	// when it is back. It is set and cleared with mu.
	behind atomic.Bool
	closed bool
	greet  bool // the first batch is owed even when it is empty
	// resumed: the fresh ones continue a token.
	resumed bool
	detail  presence.Detail // how much the client may see

	// What the hub touches for every watcher that it notifies stands together, in three cache lines
	// and a fourth for one that sees only statuses: among a thousand, a cache line costs as much as
	// the work.
	mu      sync.Mutex // after the hub's
	slots   []slot
	queue   []int32 // to be sent as change
	fresh   []int32 // to be sent as snapshot or resume
	round   uint64  // in which the queue began
	list    uint64  // fingerprint of the peers
	unknown uint64  // fingerprint of those that were last sent as unknown
	seal    *token.Seal
	hub     *Hub

	// turn is held by the goroutine that calls Next except while it waits there; meanwhile the hub
	// may take it, to push what is queued without waking a goroutine. It comes before the hub's
	// lock. The next three belong to its holder, and so does updates.
	turn   sync.Mutex
	pusher Pusher
	stuck  bool      // the pusher has no room or is not done: Next must return
	sent   time.Time // when the hub last pushed a batch itself

	// What a client that sees only statuses was notified of; as the rest, of mu. Of at most
	// [token.ExactPeers] peers it is in known, by the rank of their slots, of more it is digested.
	ranked  uint64 // fingerprint of the peers that known is of
	known   token.Known
	knownAs string // the text of known or digest; empty when it has changed
	digest  uint64

	after   uint64        // when behind: updates of a later ticket may not be queued
	age     time.Duration // of the fresh ones
	updates []*Update
	app     presence.AppID
	wakeup  wake.Signal
	timer   *time.Timer // of Next
	reason  Reason
	free    []int32
	index   map[presence.PeerID]int32 // nil while the list stays as it is
	count   int
}

type slot struct {
	e     *entry
	pos   int32 // of this watcher in e.links
	state uint8
	sent  token.Code // the status that the client was last notified of
	rank  uint16     // in known, from 1; 0: none
}

const (
	isFresh  = 1 << iota // in fresh
	isQueued             // in queue
)

// join links w to peers and reads those that are not read yet; it returns their slots, and how old
// what is known of them is.
func (w *Watcher) join(ctx context.Context, peers []presence.PeerID) (slots []int32, age time.Duration, err error) {
	h := w.hub
	slots = make([]int32, 0, len(peers))
	var unread, known []*entry
	h.mu.Lock()
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		h.mu.Unlock()
		return nil, 0, ErrClosed
	}
	w.makeIndex(len(peers))
	w.slots = slices.Grow(w.slots, max(0, min(len(peers), h.cfg.Peers-w.count)-len(w.free)))
	for _, p := range peers {
		if _, ok := w.index[p]; ok {
			continue
		}
		if w.count >= h.cfg.Peers {
			w.mu.Unlock()
			h.mu.Unlock()
			w.leaveSlots(slots)
			return nil, 0, fmt.Errorf("%w: one watcher may follow %d peers", ErrLimit, h.cfg.Peers)
		}
		s := w.newSlot()
		e, pos := h.subscribe(presence.Key{App: w.app, Peer: p}, w, s)
		w.slots[s] = slot{e: e, pos: pos}
		w.index[p] = s
		w.count++
		w.list ^= token.Fingerprint(string(p))
		slots = append(slots, s)
		if e.update.Load() == nil {
			unread = append(unread, e)
		} else {
			known = append(known, e)
		}
	}
	w.mu.Unlock()
	h.mu.Unlock()
	if age, err = h.load(ctx, unread); err == nil {
		var old time.Duration
		old, err = h.ageOf(ctx, w.app, known)
		age = max(age, old)
	}
	if err != nil {
		w.leaveSlots(slots)
		return nil, 0, err
	}
	return slots, age, nil
}

// makeIndex makes the index with room for more peers. The caller holds mu.
func (w *Watcher) makeIndex(more int) {
	if w.index != nil {
		return
	}
	w.index = make(map[presence.PeerID]int32, w.count+more)
	for i := range w.slots {
		if e := w.slots[i].e; e != nil {
			w.index[e.key.Peer] = int32(i)
		}
	}
}

func (w *Watcher) newSlot() int32 {
	if n := len(w.free); n > 0 {
		s := w.free[n-1]
		w.free = w.free[:n-1]
		return s
	}
	w.slots = append(w.slots, slot{})
	return int32(len(w.slots) - 1)
}

// leaveSlots unlinks the peers at slots.
func (w *Watcher) leaveSlots(slots []int32) {
	w.hub.mu.Lock()
	w.mu.Lock()
	if !w.closed {
		for _, s := range slots {
			w.drop(s)
		}
	}
	w.mu.Unlock()
	w.hub.mu.Unlock()
}

// drop unlinks slot s. The caller holds both locks.
func (w *Watcher) drop(s int32) {
	sl := &w.slots[s]
	if sl.e == nil {
		return
	}
	peer := sl.e.key.Peer
	w.hub.unsubscribe(sl.e, sl.pos)
	f := token.Fingerprint(string(peer))
	w.list ^= f
	if sl.sent == token.SentUnknown {
		w.unknown ^= f
	}
	w.digest ^= token.Digest(peer, sl.sent)
	// What is queued for the slot falls away: the slot may be taken by another peer before it is
	// sent.
	if sl.state&isFresh != 0 {
		w.fresh = without(w.fresh, s)
	}
	if sl.state&isQueued != 0 {
		w.queue = without(w.queue, s)
	}
	delete(w.index, peer)
	*sl = slot{}
	w.free = append(w.free, s)
	w.count--
}

func without(list []int32, s int32) []int32 {
	for i, v := range list {
		if v == s {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// Add follows more peers; they are sent as a snapshot. Peers that are followed already are left as
// they are. The errors are those of [Hub.Watch].
func (w *Watcher) Add(ctx context.Context, peers []presence.PeerID) error {
	slots, age, err := w.join(ctx, peers)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ErrClosed
	}
	w.age = age
	w.arrange()
	for _, s := range slots {
		w.slots[s].state |= isFresh
		w.fresh = append(w.fresh, s)
	}
	w.greet, w.resumed = true, w.resumed && len(w.fresh) > len(slots)
	w.wakeup.Wake()
	return nil
}

// Remove follows peers no more.
func (w *Watcher) Remove(peers []presence.PeerID) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.makeIndex(0)
	for _, p := range peers {
		if s, ok := w.index[p]; ok {
			w.drop(s)
		}
	}
	w.arrange()
}

// Len returns how many peers are followed.
func (w *Watcher) Len() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// Close ends the watcher; the first reason counts. Next returns ErrClosed from then on.
func (w *Watcher) Close(reason Reason) {
	w.hub.mu.Lock()
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		w.hub.mu.Unlock()
		return
	}
	for s := range w.slots {
		if w.slots[s].e != nil {
			w.hub.unsubscribe(w.slots[s].e, w.slots[s].pos)
			w.slots[s].e = nil
		}
	}
	w.closed, w.reason = true, reason
	w.slots, w.free, w.index, w.fresh, w.queue, w.count = nil, nil, nil, nil, nil, 0
	delete(w.hub.watchers, w)
	w.hub.resize(w.app, -1, 0)
	w.mu.Unlock()
	w.hub.mu.Unlock()
	w.hub.stats.close(reason)
	w.wakeup.Wake()
}

// Reason returns why the watcher was closed; empty while it is open.
func (w *Watcher) Reason() Reason {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason
}

// queueUp marks the update of slot s to be sent and reports whether the watcher must be woken for
// it. The hub's lock is held for reading, so the slot is there.
func (w *Watcher) queueUp(s int32, r round) bool {
	if w.behind.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if len(w.fresh) > 0 || len(w.queue) > 0 && w.round != r.number {
		// It was woken, or is not in Next, and takes what is queued when it can.
		w.after = r.before
		w.behind.Store(true)
		w.hub.stats.behind.Add(1)
		return false
	}
	sl := &w.slots[s]
	if sl.state&isQueued != 0 || w.detail == presence.DetailBrief && sl.sent == token.CodeOf(sl.e.update.Load().Status) {
		return false
	}
	sl.state |= isQueued
	w.queue = append(w.queue, s)
	w.round = r.number
	return len(w.queue) == 1
}

// catchUp queues what was not queued while the watcher was behind. The caller holds mu.
func (w *Watcher) catchUp() {
	// First this: whatever the hub did not queue because of it was there to be read before.
	w.behind.Store(false)
	for s := range w.slots {
		sl := &w.slots[s]
		if sl.e == nil || sl.state&(isFresh|isQueued) != 0 {
			continue
		}
		if u := sl.e.update.Load(); u != nil && u.ticket > w.after {
			sl.state |= isQueued
			w.queue = append(w.queue, int32(s))
		}
	}
}
