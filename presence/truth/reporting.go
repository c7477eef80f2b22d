package main

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"rollcall/presence"
)

// A reporting is one way of reporting lives.
type reporting struct {
	name    string
	tags    bool // each device has a tag of its own
	named   bool // each connection has a name, its reports a time
	policy  presence.Policy
	lost    float64 // share of hooks that never come
	doubled float64 // share that come twice
	asked   asking
}

// source returns who reports.
func (t *reporting) source() presence.Source {
	if t.named {
		return presence.SourceAPI
	}
	return presence.SourceLeanCloud
}

// quiet returns how old an answer is taken to be at first.
func (t *reporting) quiet() time.Duration {
	if t.named {
		return presence.DefaultLag
	}
	return presence.DefaultQuiet
}

// lease returns that of the reports; 0 is the default.
func (t *reporting) lease() time.Duration {
	if t.named {
		return lease
	}
	return 0
}

const (
	late = 3 * time.Second // the most that a hook is late
	// A source that names sessions says this often that they are still there.
	repeat = 20 * time.Minute
	lease  = time.Hour
)

// A hook is a report on its way.
type hook struct {
	comes  presence.Millis
	report presence.Report
}

// hooks returns the hooks about connections in the order in which they come.
func (t *reporting) hooks(rnd *rand.Rand, connections []connection) []hook {
	var hooks []hook
	send := func(at presence.Millis, r presence.Report) {
		copies := 1
		switch chance := rnd.Float64(); {
		case chance < t.lost:
			copies = 0
		case chance < t.lost+t.doubled:
			copies = 2
		}
		for range copies {
			comes := at.Add(between(rnd, 0, late))
			r.At = comes
			if t.named {
				r.At = at
			}
			hooks = append(hooks, hook{comes, r})
		}
	}
	for i, c := range connections {
		r := presence.Report{
			App: "app", Peer: "peer", Source: t.source(), Policy: t.policy,
			Kind: presence.KindOnline, Reconnect: c.again, Lease: t.lease(),
		}
		if t.tags {
			r.Tag = "device" + strconv.Itoa(c.device)
		}
		if t.named {
			r.Session = presence.SessionID(strconv.Itoa(i))
		}
		send(c.start, r)
		if r.Kind = presence.KindTouch; t.named {
			for at := c.start.Add(repeat); at < c.end; at = at.Add(repeat) {
				send(at, r)
			}
		}
		r.Kind, r.Cause, r.Reconnect = presence.KindOffline, c.cause, false
		send(c.end, r)
	}
	slices.SortStableFunc(hooks, func(a, b hook) int { return int(a.comes - b.comes) })
	return hooks
}
