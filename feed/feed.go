package feed

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/wake"
	"rollcall/presence"
)

// The errors of [Feed.Read].
var (
	// ErrClosed: the feed was closed.
	ErrClosed = errors.New("feed closed")
	// ErrGone: the app is no more, see [Feed.Drop].
	ErrGone = errors.New("app is no more")
)

// Config are the settings of a [Feed]. Start from [DefaultConfig].
type Config struct {
	// Tick is the least time between two looks at what changed.
	Tick time.Duration `range:"10ms..10s"`
	// Peers is how many changed peers the register of an app remembers, at some 200 bytes each.
	// Readers that are further behind list again.
	Peers int `range:"1..1000000"`
	// Keep is how long the register of an app stays without a reader.
	Keep time.Duration `range:"10s..7d"`
	// Always has every app keep its register from the start of the server, so that a reader goes on
	// at a node that it never read at.
	Always bool
	// Lag is how far what a cursor says to other nodes stays behind, longer than a signal of the
	// store may take.
	Lag time.Duration `range:"1s..1m"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{
		Tick: 250 * time.Millisecond, Peers: 100_000, Keep: time.Hour, Lag: 5 * time.Second,
	}
}

// A Source is where changed peers are read, and which calls the feed when they may have changed. A
// presence.Store is one.
type Source interface {
	Summaries(ctx context.Context, keys []presence.Key, out []presence.Summary) (age time.Duration, err error)
	Listen(fn func(keys []presence.Key)) (stop func())
}

// Deps are what a [Feed] is given beside its settings.
type Deps struct {
	Service *presence.Service // the rules, the epoch and the horizon
	Source  Source
	Now     func() presence.Millis // the clock of leases and holds; nil is the wall clock
}

// A Feed keeps the registers of all apps that are read on this node, on one goroutine; no caller of
// the store waits for it. It is safe for many goroutines.
type Feed struct {
	cfg   Config
	deps  Deps
	stats counters

	mu        sync.Mutex // for changing the map
	registers atomic.Pointer[map[presence.AppID]*register]
	closed    bool
	missed    atomic.Bool // the store may have missed a signal
	epoch     atomic.Uint64
	horizon   atomic.Uint64 // every write up to it is in the registers, or is held

	wakeup   wake.Signal
	quit     chan struct{}
	done     chan struct{}
	unlisten func()

	// Of the feed's goroutine alone.
	horizons presence.Horizons
	next     time.Time // no round begins before
}

// New returns a running feed. End it with [Feed.Close].
func New(cfg Config, deps Deps) *Feed {
	if deps.Now == nil {
		deps.Now = func() presence.Millis { return presence.MillisOf(time.Now()) }
	}
	f := &Feed{cfg: cfg, deps: deps, wakeup: wake.NewSignal(), quit: make(chan struct{}), done: make(chan struct{})}
	f.registers.Store(&map[presence.AppID]*register{})
	f.epoch.Store(deps.Service.Epoch())
	f.unlisten = deps.Source.Listen(f.signal)
	go f.run()
	return f
}

// Close ends every read that waits, and waits for the feed's goroutine.
func (f *Feed) Close() {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		<-f.done
		return
	}
	f.closed = true
	f.mu.Unlock()
	f.unlisten()
	close(f.quit)
	<-f.done
}

// Config returns the settings of the feed.
func (f *Feed) Config() Config { return f.cfg }

// Keep has app keep a register from now on, whether or not it is read.
func (f *Feed) Keep(app presence.AppID) {
	if r, err := f.register(app); err == nil {
		r.kept.Store(true)
	}
}

// Drop ends the register of an app that is no more, and the reads that wait for it.
func (f *Feed) Drop(app presence.AppID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.of(app); r != nil {
		r.gone.Store(true)
		f.remove(r)
	}
}

// of returns the register of app, nil when there is none.
func (f *Feed) of(app presence.AppID) *register { return (*f.registers.Load())[app] }

// register returns the register of app, and begins it when there is none.
func (f *Feed) register(app presence.AppID) (*register, error) {
	if r := f.of(app); r != nil {
		return r, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.of(app); r != nil {
		return r, nil
	}
	if f.closed {
		return nil, ErrClosed
	}
	next := map[presence.AppID]*register{}
	for id, r := range *f.registers.Load() {
		next[id] = r
	}
	r := newRegister(app, f.cfg.Peers)
	r.floor = uint64(f.deps.Now()) + ahead // what was written before was not signalled to it
	next[app] = r
	f.registers.Store(&next)
	f.wakeup.Wake()
	return r, nil
}

// remove takes r out. The caller holds mu.
func (f *Feed) remove(r *register) {
	next := map[presence.AppID]*register{}
	for id, o := range *f.registers.Load() {
		if o != r {
			next[id] = o
		}
	}
	f.registers.Store(&next)
	r.end()
}

// signal takes a signal of the store. It must not block.
func (f *Feed) signal(keys []presence.Key) {
	registers := *f.registers.Load()
	if len(registers) == 0 {
		return
	}
	if keys == nil {
		f.missed.Store(true)
		f.wakeup.Wake()
		return
	}
	var r *register
	noted := false
	for i := range keys {
		if i == 0 || keys[i].App != keys[i-1].App {
			if r != nil {
				r.mu.Unlock()
			}
			if r = registers[keys[i].App]; r != nil {
				r.mu.Lock()
			}
		}
		if r != nil {
			r.note(keys[i].Peer)
			noted = true
		}
	}
	if r != nil {
		r.mu.Unlock()
	}
	if noted {
		f.wakeup.Wake()
	}
}

// A Page is what one read returns.
type Page struct {
	Changes []Change
	Cursor  Cursor // goes on after the changes
	// ListAgain says that changes after the cursor of the call are not all known: what is listed
	// after this call, and the changes after Cursor, are all.
	ListAgain bool
	More      bool          // there are more already
	Age       time.Duration // for how long a part of the store has been out of reach
}

// Read returns up to limit changes of app after from. When there are none it waits for one, as long
// as wait, and then returns an empty page whose cursor is the one to go on with.
//
// It returns errors matching [ErrClosed] or [ErrGone], or that of ctx.
func (f *Feed) Read(ctx context.Context, app presence.AppID, from Cursor, limit int, wait time.Duration) (Page, error) {
	f.stats.readers.Add(1)
	defer f.stats.readers.Add(-1)
	var timeout <-chan time.Time
	for {
		r, err := f.register(app)
		if err != nil {
			return Page{}, err
		}
		page, news := f.page(r, from, limit)
		if len(page.Changes) > 0 || page.ListAgain || wait <= 0 {
			f.stats.given(&page)
			return page, nil
		}
		if timeout == nil {
			t := time.NewTimer(wait)
			defer t.Stop()
			timeout = t.C
		}
		select {
		case <-news:
			if r.gone.Load() {
				return Page{}, ErrGone
			}
		case <-timeout:
			wait = 0
		case <-f.done:
			return Page{}, ErrClosed
		case <-ctx.Done():
			return Page{}, ctx.Err()
		}
	}
}

// page returns what r has after from, and what closes when there is more.
func (f *Feed) page(r *register, from Cursor, limit int) (p Page, news <-chan struct{}) {
	// Before the register: what it promises is there by now.
	horizon, epoch := f.horizon.Load(), f.epoch.Load()
	settled := !f.missed.Load() && f.deps.Service.Epoch() == epoch
	p.Age = f.deps.Service.Age()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read = time.Now()
	if p.Cursor = from; !settled || r.full {
		return p, r.news // the next round says what is known
	}
	now := f.deps.Now()
	place, ok := r.place(&from, now)
	if !ok || from.epoch != epoch {
		p.ListAgain = true
		p.Cursor.list(epoch, f.deps.Service.Horizon(now), position{register: r.id, seq: r.seq})
		return p, r.news
	}
	if place.turned == 0 && from.listed == 0 {
		p.Cursor.listed = uint64(now) + ahead
	}
	if p.Changes, p.More = r.after(&place, limit); !p.More {
		p.Cursor.horizon = max(from.horizon, horizon)
		if place.turned > 0 || horizon >= p.Cursor.listed && !r.holds(p.Cursor.listed) {
			place.turned = place.seq
		}
	}
	p.Cursor.put(place)
	return p, r.news
}
