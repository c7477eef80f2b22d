package feed

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/presence"
)

// A Change is the latest state of a peer that watchers may see.
type Change struct {
	Peer     presence.PeerID
	Status   presence.Status
	Cause    presence.Cause  // why it is offline
	Since    presence.Millis // when it turned; 0 when it is unknown
	LastSeen presence.Millis // of an offline peer
	Version  uint64
}

// same reports whether c and o look alike to a watcher.
func (c *Change) same(o *Change) bool {
	return c.Status == o.Status && c.Cause == o.Cause && c.Since == o.Since && c.LastSeen == o.LastSeen
}

// ahead is how far, in milliseconds, a revision may be ahead of the time at which it was given out:
// revisions rise with every write, also of several within a millisecond, and nodes' clocks differ.
const ahead = 2000

// A register has the changed peers of one app, each once, in the order of their last changes.
type register struct {
	app   presence.AppID
	id    uint64 // cursors name it
	limit int    // of peers
	kept  atomic.Bool
	gone  atomic.Bool // its app is no more

	mu      sync.Mutex
	news    chan struct{} // closed when there are new changes
	read    time.Time     // when it was last read
	pending map[presence.PeerID]struct{}
	full    bool // more were pending than may be

	seq   uint64 // of the last change
	least uint64 // cursors before it are not complete
	floor uint64 // every write of a greater revision is in the register
	last  uint64 // the time of the last change
	index map[presence.PeerID]int32
	slots []slot
	free  []int32
	order []place // of the slots by seq; some are void

	held   map[presence.PeerID]held
	oldest uint64 // the least revision of those that are held, or less
}

// A held says until when a peer that was lost is not shown as offline.
type held struct {
	until   time.Time
	guessed bool   // what time made of it is not written yet
	rev     uint64 // of what was read
}

// A slot is one changed peer. What has not turned for watchers moves to the end of the order as
// well: a reader that listed meanwhile may have seen what they did not.
type slot struct {
	Change
	seq    uint64 // its place in the order
	turned uint64 // its place when it last turned for watchers
}

// A place is void when its slot has another seq.
type place struct {
	seq  uint64
	at   uint64 // the time of the change, which never falls
	slot int32
}

func newRegister(app presence.AppID, limit int) *register {
	r := &register{app: app, id: rand.Uint64() | 1, limit: limit, news: make(chan struct{}), read: time.Now()}
	r.clear()
	return r
}

// clear forgets all changes. The caller holds mu, or is the only one that has r.
func (r *register) clear() {
	r.pending, r.held, r.full = map[presence.PeerID]struct{}{}, map[presence.PeerID]held{}, false
	r.index, r.slots, r.free, r.order = map[presence.PeerID]int32{}, nil, nil, nil
}

// reset forgets all changes, because some are missing: all readers list again.
func (r *register) reset(now presence.Millis) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clear()
	r.seq++
	r.least = r.seq
	r.floor = max(r.floor, uint64(now)+ahead)
	r.announce()
}

// end wakes the readers for the last time.
func (r *register) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.announce()
}

// announce wakes the readers. The caller holds mu.
func (r *register) announce() {
	close(r.news)
	r.news = make(chan struct{})
}

// note has a peer be read again. The caller holds mu.
func (r *register) note(peer presence.PeerID) {
	if r.full {
		return
	}
	r.pending[peer] = struct{}{}
	r.bound()
}

// hold has a peer be read again when its hold is over. The caller holds mu.
func (r *register) hold(peer presence.PeerID, h held) {
	if r.full {
		return
	}
	r.held[peer] = h
	r.oldest = min(r.oldest, h.rev)
	r.bound()
}

// holds reports whether a peer may be held that was written up to a revision. The caller holds mu.
func (r *register) holds(rev uint64) bool { return len(r.held) > 0 && r.oldest <= rev }

// bound notes that more is to be read than the register may hold. The caller holds mu.
func (r *register) bound() {
	if len(r.pending)+len(r.held) > r.limit {
		r.pending, r.held, r.full = map[presence.PeerID]struct{}{}, map[presence.PeerID]held{}, true
	}
}

// collect takes what is to be read: what is noted, and what is held no more. full says that this is
// more than the register may hold.
func (r *register) collect(start time.Time) (keys []presence.Key, full bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for peer, h := range r.held {
		if !h.until.After(start) {
			r.pending[peer] = struct{}{}
		}
	}
	if r.full || len(r.pending) == 0 {
		return nil, r.full
	}
	keys = make([]presence.Key, 0, len(r.pending))
	for peer := range r.pending {
		keys = append(keys, presence.Key{App: r.app, Peer: peer})
	}
	clear(r.pending)
	return keys, false
}

// due returns when the first hold is over; zero when none runs. It looks through all that are held.
func (r *register) due() (first time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.oldest = math.MaxUint64
	for _, h := range r.held {
		r.oldest = min(r.oldest, h.rev)
		if first.IsZero() || h.until.Before(first) {
			first = h.until
		}
	}
	return first
}

// again has keys be read again.
func (r *register) again(keys []presence.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		r.note(k.Peer)
	}
}

// show puts c at the end of the order. turned says that watchers are notified of it. The caller
// holds mu.
func (r *register) show(c Change, turned bool, now presence.Millis) {
	i, known := r.index[c.Peer]
	if !known {
		if len(r.index) >= r.limit {
			r.evict()
		}
		if n := len(r.free); n > 0 {
			i = r.free[n-1]
			r.free = r.free[:n-1]
		} else {
			r.slots = append(r.slots, slot{})
			i = int32(len(r.slots) - 1)
		}
		r.index[c.Peer] = i
	}
	s := &r.slots[i]
	r.seq++
	r.last = max(r.last, uint64(now))
	if s.seq = r.seq; turned {
		c.Version = max(c.Version, s.Version+1)
		s.Change, s.turned = c, r.seq
	}
	if len(r.order) >= 2*len(r.index)+1024 {
		r.order = slices.DeleteFunc(r.order, func(p place) bool { return r.slots[p.slot].seq != p.seq })
	}
	r.order = append(r.order, place{r.seq, r.last, i})
}

// evict forgets the oldest change. The caller holds mu.
func (r *register) evict() {
	for len(r.order) > 0 {
		p := r.order[0]
		r.order = r.order[1:]
		s := &r.slots[p.slot]
		if s.seq != p.seq {
			continue
		}
		r.least, r.floor = p.seq, max(r.floor, p.at+ahead)
		delete(r.index, s.Peer)
		*s = slot{}
		r.free = append(r.free, p.slot)
		return
	}
}

// place returns where a reader with the cursor c goes on at now; ok is false when the changes from
// there on are not all known. The caller holds mu and has compared the epoch.
func (r *register) place(c *Cursor, now presence.Millis) (p position, ok bool) {
	p, ok = c.in(r.id)
	switch {
	case c.IsZero():
		return p, false
	case ok && p.seq >= r.least && p.seq <= r.seq:
		return p, true
	case c.horizon < r.floor, c.horizon > uint64(now)+ahead: // the latter: the clock was set back
		return p, false
	}
	// It was given every write up to the horizon, by other registers.
	p.seq, p.turned = r.seq, 0
	i := sort.Search(len(r.order), func(i int) bool { return r.order[i].at+ahead > c.horizon })
	if i < len(r.order) {
		p.seq = r.order[i].seq - 1
	}
	if c.places[0].turned > 0 {
		p.turned = p.seq
	}
	return p, true
}

// after returns up to limit changes after p, and moves p behind them. The caller holds mu.
func (r *register) after(p *position, limit int) (changes []Change, more bool) {
	i := sort.Search(len(r.order), func(i int) bool { return r.order[i].seq > p.seq })
	for _, o := range r.order[i:] {
		s := &r.slots[o.slot]
		if s.seq != o.seq || s.turned <= p.turned {
			continue
		}
		if len(changes) == limit {
			return changes, true
		}
		changes = append(changes, s.Change)
		p.seq = o.seq
	}
	p.seq = r.seq
	return changes, false
}
