package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"rollcall/presence"
)

// provisional keeps states in a plain map until the embedded store is there.
type provisional struct {
	mu     sync.Mutex
	states map[presence.Key]*presence.State
	rules  *presence.Rules
	listen []func([]presence.Key)
}

func (p *provisional) Statuses(_ context.Context, app presence.AppID, peers [][]byte, now presence.Millis, out []presence.Status) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, id := range peers {
		out[i] = presence.Unknown
		if st := p.states[presence.Key{App: app, Peer: presence.PeerID(id)}]; st != nil {
			out[i] = st.Summary().At(now, p.rules).Status
		}
	}
	return nil
}

func (p *provisional) Summaries(_ context.Context, keys []presence.Key, out []presence.Summary) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, k := range keys {
		out[i] = presence.Summary{}
		if st := p.states[k]; st != nil {
			out[i] = st.Summary()
		}
	}
	return nil
}

func (p *provisional) Load(_ context.Context, key presence.Key, st *presence.State) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	*st = presence.State{}
	if have := p.states[key]; have != nil {
		*st = *have
		st.Sessions, st.Slots, st.Seen = slices.Clone(have.Sessions), slices.Clone(have.Slots), slices.Clone(have.Seen)
	}
	return nil
}

func (p *provisional) Update(_ context.Context, keys []presence.Key, now presence.Millis, merge presence.Merge) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, k := range keys {
		st := p.states[k]
		if st == nil {
			st = &presence.State{}
		}
		if e := merge(i, st); e == presence.Same {
			continue
		}
		st.Rev = presence.NextRev(st.Rev, now)
		p.states[k] = st
		if st.Forgotten() {
			delete(p.states, k)
		}
	}
	for _, fn := range p.listen {
		if fn != nil {
			fn(keys)
		}
	}
	return nil
}

func (p *provisional) Due(_ context.Context, now presence.Millis, limit int) ([]presence.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var due []presence.Key
	for k, st := range p.states {
		if d := st.Deadline(p.rules); d != 0 && d <= now && len(due) < limit {
			due = append(due, k)
		}
	}
	return due, nil
}

func (p *provisional) List(context.Context, presence.AppID, string, int, presence.Millis) ([]presence.PeerID, string, error) {
	return nil, "", nil
}

func (p *provisional) Counts(_ context.Context, app presence.AppID, now presence.Millis) (c presence.Counts, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, st := range p.states {
		if k.App != app {
			continue
		}
		c.Known++
		if st.Summary().At(now, p.rules).Status == presence.Online {
			c.Online++
		}
	}
	return c, nil
}

func (p *provisional) Beat(context.Context, presence.NodeID, time.Duration, bool, presence.Millis) error {
	return nil
}

func (p *provisional) LostNodes(context.Context, presence.Millis) ([]presence.LostNode, error) {
	return nil, nil
}

func (p *provisional) OnNode(context.Context, presence.NodeID, int) ([]presence.Key, error) {
	return nil, nil
}
func (p *provisional) DropNode(context.Context, presence.NodeID) error { return nil }
func (p *provisional) Listen(fn func([]presence.Key)) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listen = append(p.listen, fn)
	i := len(p.listen) - 1
	return func() { p.mu.Lock(); p.listen[i] = nil; p.mu.Unlock() }
}
func (p *provisional) Close() error { return nil }

func (s *Server) openStore(context.Context) error {
	s.store = &openedStore{
		Store: &provisional{states: map[presence.Key]*presence.State{}, rules: &s.cfg.Presence.Rules}, name: "memory (provisional)",
		lastAlive: s.clock.Now(), counts: func() map[string]int64 { return nil }, trouble: func() string { return "" },
	}
	return nil
}
