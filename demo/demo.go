// Package demo is a crowd of fifty that lives a day in minutes on a real server, by the real wire:
// sockets, hooks, deaths without a word. Its page shows what a list that polls says of it, what a
// list that watches says, and why.
//
// It holds the keys of a made app in memory, is meant for one machine, and knows the server only by
// its address.
package demo

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"sync"
	"time"

	rollcall "rollcall/client/go"
)

// Config says where the server is and how to act on it.
type Config struct {
	URL                          string
	App, Key, MasterKey, HookKey string
	Day                          time.Duration // how long a day of the crowd lasts
	// A process that runs [Hold]; it holds jerry's socket.
	Child  func() *exec.Cmd
	Failed func(doing string, err error)
}

// A Demo is the crowd and its page.
type Demo struct {
	cfg   Config
	api   *rollcall.Client
	began time.Time

	mu    sync.Mutex
	jerry *process
	tom   *device
	phone int       // of tom: how many there were
	tabs  []*device // of spike
	life  context.Context
	group sync.WaitGroup

	why whys
}

// New returns a demo that does not run yet.
func New(cfg Config) (*Demo, error) {
	api, err := rollcall.New(rollcall.Config{URL: cfg.URL, App: cfg.App, MasterKey: cfg.MasterKey, HookKey: cfg.HookKey})
	if err != nil {
		return nil, err
	}
	return &Demo{cfg: cfg, api: api}, nil
}

// Run has the crowd live until ctx ends. When it returns, no process and no connection of the demo
// is left.
func (d *Demo) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	d.mu.Lock()
	d.life, d.began = ctx, time.Now()
	d.mu.Unlock()
	for _, name := range []string{"jerry-start", "tom-phone", "spike-open", "spike-open"} {
		if err := d.do(ctx, name); err != nil && ctx.Err() == nil {
			d.cfg.Failed(name, err)
		}
	}
	for i, name := range crowd {
		p := person{demo: d, id: name, byHook: i%8 == 0, rnd: rand.New(rand.NewPCG(uint64(i), 50))}
		p.wakes, p.sleeps = 6+3*p.rnd.Float64(), 21+4*p.rnd.Float64()
		d.group.Go(func() { p.live(ctx) })
	}
	<-ctx.Done()
	cancel()
	d.group.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.life = nil // no action begins anew
	d.jerry.kill()
	d.tom.die()
	for _, tab := range d.tabs {
		tab.die()
	}
	d.api.Close()
}

// hour returns the time of day in the crowd, 0 to 24. It begins in the morning.
func (d *Demo) hour() float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.began.IsZero() {
		return 8
	}
	h := 8 + 24*time.Since(d.began).Seconds()/d.cfg.Day.Seconds()
	return h - 24*float64(int(h/24))
}
