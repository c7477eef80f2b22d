package embedded

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/presence"
)

// apps number the tenants and count their peers.
type apps struct {
	byID atomic.Pointer[map[presence.AppID]*app] // replaced, never changed

	mu   sync.Mutex
	list []*app // by number
}

type app struct {
	id  presence.AppID
	num uint32

	mu            sync.Mutex
	online, known int64
	days          map[int32]int64 // peers by their last day online
}

func newApps() *apps {
	a := &apps{}
	a.byID.Store(&map[presence.AppID]*app{})
	return a
}

// lookup returns nil for an app that no report has named.
func (a *apps) lookup(id presence.AppID) *app { return (*a.byID.Load())[id] }

func (a *apps) intern(id presence.AppID) *app {
	if p := a.lookup(id); p != nil {
		return p
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.lookup(id); p != nil {
		return p
	}
	p := &app{id: id, num: uint32(len(a.list)), days: map[int32]int64{}}
	a.list = append(a.list, p)
	next := maps.Clone(*a.byID.Load())
	next[id] = p
	a.byID.Store(&next)
	return p
}

func (a *apps) id(num uint32) presence.AppID {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.list[num].id
}

// A standing is what the counts know of one peer.
type standing struct {
	status presence.Status
	day    int32
}

// count moves one peer from one standing to another; the zero standing is that of a peer that is
// not known.
func (p *app) count(from, to standing) {
	if from == to {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(from, -1)
	p.add(to, 1)
}

func (p *app) add(s standing, n int64) {
	if s.status == presence.Online {
		p.online += n
	}
	if s.status != presence.Unknown {
		p.known += n
	}
	if s.day != 0 {
		if p.days[s.day] += n; p.days[s.day] == 0 {
			delete(p.days, s.day)
		}
	}
}

func (p *app) counts(now presence.Millis, rules *presence.Rules) presence.Counts {
	day := int32(now.Add(rules.DayOffset) / presence.Millis(24*time.Hour/time.Millisecond))
	p.mu.Lock()
	defer p.mu.Unlock()
	return presence.Counts{Online: p.online, Known: p.known, Today: p.days[day]}
}

func (a *apps) at(num uint32) *app {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.list[num]
}
