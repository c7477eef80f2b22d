package watch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/ask"
	"rollcall/ask/token"
	"rollcall/internal/wake"
	"rollcall/presence"
)

// The errors of [Hub.Watch], [Watcher.Add] and [Watcher.Next], beside those of the store.
var (
	// ErrClosed: the watcher or the hub was closed; [Watcher.Reason] says why.
	ErrClosed = errors.New("watcher closed")
	// ErrLimit: more peers or watchers than one may have.
	ErrLimit = errors.New("limit reached")
)

// Config are the settings of a [Hub]. Start from [DefaultConfig].
type Config struct {
	// Tick is the least time between two frames to a watcher: what changes within it comes in one.
	Tick time.Duration `range:"10ms..10s"`
	// Mark is the longest silence on a stream. Keep it below what proxies take for dead.
	Mark time.Duration `range:"1s..1h"`
	// Lag is how far resume tokens stay behind, longer than a signal of the store may take.
	Lag time.Duration `range:"1s..1m"`
	// Buffer is how many bytes one frame may take.
	Buffer int `config:",bytes" range:"4KiB..16MiB"`
	// Peers is how many peers one watcher may follow.
	Peers int `range:"1..100000"`
	// Watchers is how many watchers there may be on this node. Of them and of the peers below, one
	// address without a secret key has at most half of what the others leave, and so has one app,
	// when there are several.
	Watchers int `range:"1.."`
	// Watched is how many peers all watchers of this node may follow altogether, at some 600 bytes
	// each. 0 takes an eighth of the memory that this process may use.
	Watched int `range:"0.."`
	// AddressWatchers and AddressPeers are how many watchers one address may have without a secret
	// key, and how many peers they may follow altogether. Behind a proxy name it in proxies,
	// or all clients are one address. 0 leaves it at the half.
	AddressWatchers, AddressPeers int `range:"0.."`
}

// Deps are what a [Hub] is given beside its settings.
type Deps struct {
	Service *presence.Service      // the rules, the counters and the epoch
	Source  Source                 // where watched peers are read
	Now     func() presence.Millis // the clock of leases and holds; nil is the wall clock
	Tokens  *token.Sealer          // seals the tokens; nil makes some that open in this hub only
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{
		Tick: 250 * time.Millisecond, Mark: 15 * time.Second, Lag: 5 * time.Second,
		Buffer: 64 << 10, Peers: 3000, Watchers: 50_000, AddressWatchers: 1000, AddressPeers: 50_000,
	}
}

// A Hub reads the watched peers on one goroutine and notifies their watchers; no caller of the
// store waits for it.
type Hub struct {
	cfg   Config
	deps  Deps
	stats counters

	mu       sync.RWMutex // guards peers, watchers, entry.links and slot.pos
	peers    map[presence.Key]*entry
	watchers map[*Watcher]struct{}
	sizes    map[presence.AppID]Size // of the apps that are watched
	closed   bool

	dirtyMu sync.Mutex // after mu
	dirty   []*entry
	all     atomic.Bool // every watched peer is dirty

	wakeup   wake.Signal
	quit     chan struct{}
	done     chan struct{}
	unlisten func() // stops the store's signals

	ticket    atomic.Uint64             // counts reads
	watermark atomic.Pointer[watermark] // what tokens may name now

	// Of the hub's goroutine alone.
	held     holds
	horizons presence.Horizons
	next     time.Time // no round begins before
	now      round
	woken    []*Watcher // room for those that are to be woken
}

// An entry is one watched peer.
type entry struct {
	key    presence.Key
	update atomic.Pointer[Update] // nil until it is first read
	need   atomic.Uint64          // a watcher that knows all up to this needs no update
	dirty  atomic.Bool
	links  []link

	// Of the hub's goroutine alone.
	held *held // nil: not held, as nearly all are
}

// A link is one watcher of a peer, and which of its slots that is.
type link struct {
	w    *Watcher
	slot int32
}

// A Source is where a hub reads peers, and which calls it when they may have changed. A
// presence.Store is one.
type Source interface {
	Statuses(ctx context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) (age time.Duration, err error)
	Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error)
	Listen(fn func(keys []presence.Key)) (stop func())
}

// New returns a running hub. End it with [Hub.Close].
func New(cfg Config, deps Deps) *Hub {
	if deps.Now == nil {
		deps.Now = func() presence.Millis { return presence.MillisOf(time.Now()) }
	}
	if deps.Tokens == nil {
		deps.Tokens = token.NewSealer(nil)
	}
	h := &Hub{
		cfg: cfg, deps: deps,
		peers: map[presence.Key]*entry{}, watchers: map[*Watcher]struct{}{}, sizes: map[presence.AppID]Size{},
		wakeup: wake.NewSignal(), quit: make(chan struct{}), done: make(chan struct{}),
	}
	h.watermark.Store(&watermark{epoch: deps.Service.Epoch()})
	h.unlisten = deps.Source.Listen(h.signal)
	go h.run()
	return h
}

// Close ends every watcher with reason and the hub's goroutine, and waits for it.
func (h *Hub) Close(reason Reason) {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		<-h.done
		return
	}
	h.closed = true
	all := make([]*Watcher, 0, len(h.watchers))
	for w := range h.watchers {
		all = append(all, w)
	}
	h.mu.Unlock()
	for _, w := range all {
		w.Close(reason)
	}
	h.unlisten()
	close(h.quit)
	<-h.done
}

// EndApp closes every watcher of app as one whose right to watch has ended.
func (h *Hub) EndApp(app presence.AppID) {
	var all []*Watcher
	h.mu.RLock()
	for w := range h.watchers {
		if w.app == app {
			all = append(all, w)
		}
	}
	h.mu.RUnlock()
	for _, w := range all {
		w.Close(ReasonExpired)
	}
}

// Config returns the settings of the hub.
func (h *Hub) Config() Config { return h.cfg }

// signal takes a signal of the store. It must not block.
func (h *Hub) signal(keys []presence.Key) {
	if keys == nil {
		h.stats.signals.Add(1)
		h.all.Store(true)
		h.wakeup.Wake()
		return
	}
	h.stats.signals.Add(int64(len(keys)))
	h.mu.RLock()
	if len(h.peers) > 0 {
		for i := range keys {
			if e := h.peers[keys[i]]; e != nil {
				h.markDirty(e)
			}
		}
	}
	h.mu.RUnlock()
}

// markDirty marks e to be read again.
func (h *Hub) markDirty(e *entry) {
	if !e.dirty.CompareAndSwap(false, true) {
		return
	}
	h.dirtyMu.Lock()
	h.dirty = append(h.dirty, e)
	h.dirtyMu.Unlock()
	h.wakeup.Wake()
}

// Watch follows peers from now on, for a client that has view of them and may see detail. With the
// token of an earlier watch of the same peers as since, the watcher first receives what may have
// changed since; with none, or one that cannot be used, a snapshot. Peers named twice count once.
// The caller must close the watcher.
//
// It returns errors matching [ErrLimit], [ErrClosed], ask.ErrView or presence.ErrUnavailable.
func (h *Hub) Watch(ctx context.Context, view ask.View, peers []presence.PeerID, detail presence.Detail, since string) (*Watcher, error) {
	if err := view.Check(); err != nil {
		return nil, err
	}
	app := view.App
	w := &Watcher{hub: h, app: app, detail: detail, wakeup: wake.NewSignal(), list: view.List(), seal: h.deps.Tokens.Of(app)}
	w.turn.Lock()
	h.mu.Lock()
	switch {
	case h.closed:
		h.mu.Unlock()
		return nil, ErrClosed
	case len(h.watchers) >= h.cfg.Watchers:
		h.mu.Unlock()
		h.stats.refused.Add(1)
		return nil, fmt.Errorf("%w: %d watchers are open", ErrLimit, h.cfg.Watchers)
	}
	h.watchers[w] = struct{}{}
	h.resize(app, 1, 0)
	h.mu.Unlock()

	slots, age, err := w.join(ctx, peers)
	if err != nil {
		w.Close(ReasonUnavailable)
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, ErrClosed
	}
	w.age = age
	w.index = nil // most lists never change
	w.arrange()
	if w.since(since, slots) {
		h.stats.resumes.Add(1)
	} else {
		if since != "" {
			h.stats.resyncs.Add(1)
		}
		for _, s := range slots {
			w.slots[s].state |= isFresh
			w.fresh = append(w.fresh, s)
		}
	}
	w.greet = true
	return w, nil
}

// subscribe returns the entry of key with w linked to it. The caller holds mu.
func (h *Hub) subscribe(key presence.Key, w *Watcher, slot int32) (e *entry, pos int32) {
	e = h.peers[key]
	if e == nil {
		e = &entry{key: key}
		h.peers[key] = e
		h.resize(key.App, 0, 1)
	}
	e.links = append(e.links, link{w, slot})
	return e, int32(len(e.links) - 1)
}

// unsubscribe unlinks the watcher at pos of e. The caller holds mu.
func (h *Hub) unsubscribe(e *entry, pos int32) {
	last := len(e.links) - 1
	if int(pos) != last {
		moved := e.links[last]
		e.links[pos] = moved
		moved.w.slots[moved.slot].pos = pos
	}
	e.links[last] = link{}
	e.links = e.links[:last]
	if last == 0 {
		delete(h.peers, e.key)
		h.resize(e.key.App, 0, -1)
	} else if cap(e.links) > 64 && last < cap(e.links)/4 {
		e.links = append(make([]link, 0, last*2), e.links...)
	}
}

// load reads the entries that are not read yet, and returns how old the answer is.
func (h *Hub) load(ctx context.Context, entries []*entry) (age time.Duration, err error) {
	if len(entries) == 0 {
		return 0, nil
	}
	ticket := h.ticket.Add(1)
	now := h.deps.Now()
	raw, age, err := h.read(ctx, entries)
	if err != nil {
		return 0, err
	}
	// Leases stand still while the store is out of reach.
	leases := h.deps.Service.Leases(now).Add(-age)
	for i, e := range entries {
		seen := raw[i].At(leases, h.deps.Service.Rules())
		w := h.updateOf(e.key.Peer, raw[i], seen, ticket)
		need := h.resumeFloor(w.Version, raw[i], seen)
		if age > 0 {
			need = always // the store's return signals every peer, and the next round judges it
		}
		// The hub's own read is as new, or newer; a second reader's is the same thing.
		if e.update.CompareAndSwap(nil, w) {
			e.need.CompareAndSwap(0, need)
		}
	}
	return age, nil
}

// ageOf returns how old a query's answer about entries is, or the error of such a query: while a
// part of the store is out of reach, what was last notified of a peer is as old as what a query
// says, and refused with it.
func (h *Hub) ageOf(ctx context.Context, app presence.AppID, entries []*entry) (time.Duration, error) {
	if len(entries) == 0 || h.deps.Service.Age() == 0 {
		return 0, nil
	}
	ids := make([][]byte, len(entries))
	for i, e := range entries {
		ids[i] = []byte(e.key.Peer)
	}
	age, err := h.deps.Source.Statuses(ctx, app, ids, h.deps.Service.Leases(h.deps.Now()), make([]presence.Status, len(ids)))
	if err != nil {
		return 0, fmt.Errorf("ask for the age of %d watched peers: %w", len(ids), err)
	}
	return age, nil
}

const always = ^uint64(0)

func (h *Hub) read(ctx context.Context, entries []*entry) (raw []presence.Summary, age time.Duration, err error) {
	keys := make([]presence.Key, len(entries))
	for i, e := range entries {
		keys[i] = e.key
	}
	raw = make([]presence.Summary, len(keys))
	if age, err = h.deps.Source.Summaries(ctx, keys, raw); err != nil {
		h.stats.failures.Add(1)
		return nil, 0, fmt.Errorf("read %d watched peers: %w", len(keys), err)
	}
	return raw, age, nil
}

// updateOf makes an update of seen; the version is that of the state it was read from, or of the
// moment time turned it.
func (h *Hub) updateOf(peer presence.PeerID, raw, seen presence.Summary, ticket uint64) *Update {
	w := &Update{Peer: peer, Status: seen.Status, Version: raw.Rev, ticket: ticket, size: updateOverhead + encodedLen(string(peer))}
	switch seen.Status {
	case presence.Online:
		w.Since = seen.Since
	case presence.Offline:
		w.Since, w.LastSeen, w.Cause = seen.Since, seen.LastSeen, seen.Cause
		if raw.Status == presence.Online {
			w.Version = max(raw.Rev+1, uint64(seen.Since))
		}
	case presence.Unknown:
		if raw.Status == presence.Offline {
			w.Version = max(raw.Rev+1, uint64(raw.Since.Add(h.deps.Service.Rules().OfflineMemory)))
		}
	}
	return w
}
