package watch

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

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

// Kind says what a batch is.
type Kind uint8

// The kinds of batch.
const (
	Stuck    Kind = iota // nothing is told: the watcher's teller has no room or is not done
	Snapshot             // words about peers that are newly watched
	Resume               // words that may be newer than the token
	Change               // words that differ from the last
	Mark                 // nothing happened
)

func (k Kind) String() string {
	return [...]string{"stuck", "snapshot", "resume", "change", "mark"}[min(k, Mark)]
}

// A Batch is what a watcher is told in one frame.
type Batch struct {
	Kind  Kind
	Words []*Word // valid until the next call of Next
	More  bool    // of a snapshot or a resume: it goes on in the next batch
	// Token is what the watcher knows once it has taken this batch; zero while more is queued.
	Token Token
	// Age is how long a part of the store had been out of reach when the watcher, or the peers of this snapshot, were added; of a
	// mark, how long it has been. 0: all of it answers.
	Age time.Duration

	press *press // what puts it into bytes; nil when it has one reader
}

// A Watcher follows some peers of one app. Next is for one goroutine at a time; the rest may be called by any.
type Watcher struct {
	// behind says that something was queued for a whole pass and nobody took it. Until it is taken nothing more is queued, and
	// nothing is locked: the watcher looks through its peers itself when it is back. It is set and cleared with mu.
	behind atomic.Bool
	closed bool
	greet  bool // the first batch is owed even when it is empty
	// resumed: the fresh ones continue a token.
	resumed bool

	// What the hub touches for every watcher that it tells stands together: among a thousand, a cache line costs as much as the work.
	mu      sync.Mutex // after the hub's
	slots   []slot
	queue   []int32       // to be told as change
	fresh   []int32       // to be told as snapshot or resume
	pass    uint64        // in which the queue began
	after   uint64        // when behind: words of a later ticket may not be queued
	list    uint64        // fingerprint of the peers
	detail  Detail        // how much the client may see
	unknown uint64        // fingerprint of those that were last told unknown
	age     time.Duration // of the fresh ones

	// turn is held by the goroutine that calls Next except while it waits there; meanwhile the hub may take it, to tell
	// what is queued without waking anybody. It comes before the hub's lock. The next four are of whoever holds it.
	turn   sync.Mutex
	teller Teller
	stuck  bool      // the teller has no room or is not done: Next must return
	told   time.Time // when the hub last told something itself
	words  []*Word

	hub    *Hub
	app    presence.AppID
	wake   chan struct{}
	timer  *time.Timer // of Next
	reason Reason      // as the rest, of mu
	free   []int32

	// What a client that sees only statuses was notified of; as the rest, of mu. Of at most exactPeers peers it is in known, by the
	// rank of their slots, of more it is digested.
	seal    *seal
	known   known
	digest  uint64
	ranked  uint64                    // fingerprint of the peers that known is of
	knownAs string                    // the text of known or digest; empty when it has changed
	index   map[presence.PeerID]int32 // nil while the list stays as it is
	count   int
}

type slot struct {
	e     *entry
	pos   int32 // of this watcher in e.links
	state uint8
	told  uint8  // what the client was last notified that the peer is, see codeOf
	rank  uint16 // in known, from 1; 0: none
}

const (
	isFresh  = 1 << iota // in fresh
	isQueued             // in queue
)

// join links w to peers and reads those that are not read yet; it returns their slots, and how old what is known of them is.
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
		e, pos := h.enter(presence.Key{App: w.app, Peer: p}, w, s)
		w.slots[s] = slot{e: e, pos: pos}
		w.index[p] = s
		w.count++
		w.list ^= Fingerprint(string(p))
		slots = append(slots, s)
		if e.word.Load() == nil {
			unread = append(unread, e)
		} else {
			known = append(known, e)
		}
	}
	w.mu.Unlock()
	h.mu.Unlock()
	if age, err = h.fill(ctx, unread); err == nil {
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
	w.hub.part(sl.e, sl.pos)
	f := Fingerprint(string(peer))
	w.list ^= f
	if sl.told == toldUnknown {
		w.unknown ^= f
	}
	w.digest ^= digestOf(peer, sl.told)
	// What is queued for the slot falls away: the slot may be taken by another peer before it is told.
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

// since prepares a watcher that knows token to be told only what may be newer; it reports false when it cannot. The
// caller holds mu.
func (w *Watcher) since(token string, slots []int32) bool {
	t, ok := w.hub.cfg.Tokens.Open(w.app, token)
	if ok && w.detail == Brief {
		return w.sinceKnown(t, slots)
	}
	now := w.hub.cfg.Now()
	if !ok || t.Detail != Full || t.Epoch != w.hub.service.Epoch() || t.List != w.list || t.Horizon > w.hub.service.Horizon(now) {
		return false
	}
	var unknown uint64
	for _, s := range slots {
		if word := w.slots[s].e.word.Load(); word.Status == presence.Unknown {
			unknown ^= Fingerprint(string(word.Peer))
		}
	}
	for _, s := range slots {
		sl := &w.slots[s]
		word := sl.e.word.Load()
		if word.Status == presence.Unknown && unknown == t.Unknown {
			w.notified(sl, toldUnknown)
			continue
		}
		if word.Status == presence.Unknown || sl.e.need.Load() > t.Horizon {
			sl.state |= isFresh
			w.fresh = append(w.fresh, s)
		}
	}
	w.resumed = true
	return true
}

// sinceKnown is since for a client that sees only statuses: it is notified of those that differ, however often they turned meanwhile.
func (w *Watcher) sinceKnown(t Token, slots []int32) bool {
	if t.Detail != Brief || t.List != w.list {
		return false
	}
	if w.known == nil {
		var digest uint64
		for _, s := range slots {
			word := w.slots[s].e.word.Load()
			digest ^= digestOf(word.Peer, codeOf(word.Status))
		}
		if t.Known != digestText(digest) {
			return false
		}
		for _, s := range slots {
			sl := &w.slots[s]
			w.notified(sl, codeOf(sl.e.word.Load().Status))
		}
		w.resumed = true
		return true
	}
	was := known(t.Known)
	if len(was) != len(w.known) {
		return false
	}
	for _, s := range slots {
		sl := &w.slots[s]
		if w.notified(sl, was.at(int(sl.rank)-1)); sl.told != codeOf(sl.e.word.Load().Status) {
			sl.state |= isFresh
			w.fresh = append(w.fresh, s)
		}
	}
	w.resumed = true
	return true
}

// arrange makes known, or digest, of what the slots say; it is due when the list has changed. The caller holds mu.
func (w *Watcher) arrange() {
	if w.detail != Brief {
		return
	}
	w.known, w.digest, w.ranked, w.knownAs = nil, 0, w.list, ""
	if w.count > exactPeers {
		for i := range w.slots {
			if sl := &w.slots[i]; sl.e != nil {
				sl.rank = 0
				w.digest ^= digestOf(sl.e.key.Peer, sl.told)
			}
		}
		return
	}
	places := make([]int, 0, w.count)
	for i := range w.slots {
		if w.slots[i].e != nil {
			places = append(places, i)
		}
	}
	ranks(places, func(i int) string { return string(w.slots[i].e.key.Peer) })
	w.known = newKnown(len(places))
	for rank, i := range places {
		w.slots[i].rank = uint16(rank + 1)
		w.known.set(rank, w.slots[i].told)
	}
}

// notified takes note that the client is notified that the peer of sl is what code says. The caller holds mu.
func (w *Watcher) notified(sl *slot, code uint8) {
	if sl.told == code {
		return
	}
	if sl.told == toldUnknown || code == toldUnknown {
		w.unknown ^= Fingerprint(string(sl.e.key.Peer))
	}
	if w.detail == Brief {
		w.knownAs = ""
		switch {
		case w.known == nil:
			w.digest ^= digestOf(sl.e.key.Peer, sl.told) ^ digestOf(sl.e.key.Peer, code)
		case sl.rank > 0: // else it has just been added, and will be arranged
			w.known.set(int(sl.rank)-1, code)
		}
	}
	sl.told = code
}

// Add follows more peers; they are told as a snapshot. Those that are followed already are left as they are.
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
	w.prod()
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
			w.hub.part(w.slots[s].e, w.slots[s].pos)
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
	w.prod()
}

// Reason returns why the watcher was closed; empty while it is open.
func (w *Watcher) Reason() Reason {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reason
}

// queueUp marks the word of slot s to be told and reports whether the watcher must be roused for it. The hub's lock is
// held for reading, so the slot is there.
func (w *Watcher) queueUp(s int32, p pass) bool {
	if w.behind.Load() {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	if len(w.fresh) > 0 || len(w.queue) > 0 && w.pass != p.number {
		// It was roused, or is not in Next, and takes what it is owed when it can.
		w.after = p.before
		w.behind.Store(true)
		w.hub.stats.behind.Add(1)
		return false
	}
	sl := &w.slots[s]
	if sl.state&isQueued != 0 || w.detail == Brief && sl.told == codeOf(sl.e.word.Load().Status) {
		return false
	}
	sl.state |= isQueued
	w.queue = append(w.queue, s)
	w.pass = p.number
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
		if word := sl.e.word.Load(); word != nil && word.ticket > w.after {
			sl.state |= isQueued
			w.queue = append(w.queue, int32(s))
		}
	}
}

func (w *Watcher) prod() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Next waits for something to tell and returns it: as many words as fit the buffer once encoded, the latest of each
// peer. After a silence of the mark it returns a mark. What a teller was told meanwhile it does not return.
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
	if w.timer == nil {
		w.timer = time.NewTimer(w.hub.cfg.Mark)
	} else {
		w.timer.Reset(w.hub.cfg.Mark)
	}
	defer w.timer.Stop()
	for {
		if w.stuck {
			w.stuck = false
			return Batch{}, nil
		}
		b, ok, err := w.take(w.words[:0])
		if ok {
			w.words = b.Words
			w.hub.stats.told.Add(int64(len(b.Words)))
			w.hub.stats.batches.Add(1)
		}
		if ok || err != nil {
			return b, err
		}
		w.turn.Unlock()
		silent := false
		select {
		case <-w.wake:
		case <-ctx.Done():
			err = ctx.Err()
		case <-w.timer.C:
			silent = true
		}
		w.turn.Lock()
		switch {
		case err != nil:
			return Batch{}, err
		case !silent || w.stuck:
		case time.Since(w.told) < w.hub.cfg.Mark:
			w.timer.Reset(w.hub.cfg.Mark - time.Since(w.told))
		default:
			return w.mark()
		}
	}
}

// take returns what is queued, if anything is, with its words in place of words.
func (w *Watcher) take(words []*Word) (b Batch, ok bool, err error) {
	// The shoreline comes before the queue: what it promises is queued by now.
	shore := w.hub.shore.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	b.Words = words[:0]
	if !w.closed && w.behind.Load() {
		w.catchUp()
	}
	switch {
	case w.closed:
		return Batch{}, false, ErrClosed
	case len(w.fresh) > 0 || w.greet:
		b.Kind = Snapshot
		if w.resumed {
			b.Kind = Resume
		}
		w.fresh = w.pour(&b, w.fresh, isFresh)
		b.More = len(w.fresh) > 0
		b.Age, w.greet = w.age, b.More
		if !b.More {
			w.resumed = false
		}
	case len(w.queue) > 0:
		b.Kind = Change
		if w.queue = w.pour(&b, w.queue, isQueued); len(b.Words) == 0 {
			return Batch{}, false, nil // all that turned has turned back
		}
	default:
		return Batch{}, false, nil
	}
	if len(w.fresh) == 0 && len(w.queue) == 0 {
		b.Token = w.token(shore)
	}
	return b, true, nil
}

// pour moves words of list into b until the buffer is full and returns what is left of it.
func (w *Watcher) pour(b *Batch, list []int32, flag uint8) []int32 {
	room := w.hub.cfg.Buffer
	for i, s := range list {
		sl := &w.slots[s]
		word := sl.e.word.Load()
		code := codeOf(word.Status)
		if flag == isQueued && w.detail == Brief && sl.told == code {
			sl.state &^= flag
			continue
		}
		room -= word.size
		if room < 0 && len(b.Words) > 0 {
			return list[:copy(list, list[i:])]
		}
		sl.state &^= flag
		w.notified(sl, code)
		b.Words = append(b.Words, word)
	}
	if cap(list) > 256 {
		return nil // a long list is rare; do not keep its memory
	}
	return list[:0]
}

func (w *Watcher) mark() (Batch, error) {
	shore, age := w.hub.shore.Load(), w.hub.service.Age()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return Batch{}, ErrClosed
	}
	b := Batch{Kind: Mark, Age: age}
	if len(w.fresh) == 0 && len(w.queue) == 0 && !w.behind.Load() {
		b.Token = w.token(shore)
	}
	w.hub.stats.marks.Add(1)
	return b, nil
}

func (w *Watcher) token(shore *shoreline) Token {
	if w.detail == Brief {
		if w.knownAs == "" {
			if w.knownAs = string(w.known); w.known == nil {
				w.knownAs = digestText(w.digest)
			}
		}
		return Token{Detail: Brief, List: w.ranked, Known: w.knownAs, seal: w.seal}
	}
	return Token{Detail: Full, seal: w.seal, Epoch: shore.epoch, Horizon: shore.horizon, List: w.list, Unknown: w.unknown}
}
