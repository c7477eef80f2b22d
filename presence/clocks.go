package presence

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Clock is one sender whose clock is off, as far as its reports show.
type Clock struct {
	App    AppID
	Source Source
	Node   NodeID // when its reports name one
	// Off is how far the clock was ahead of the last such report's receipt; less than zero when it
	// was behind. A report that is only late looks the same as one of a clock that is behind. At
	// most 250 years.
	Off time.Duration
	// That were further ahead than [Rules].Ahead, more than a minute late, stale, or expired on
	// arrival.
	Reports int64
	Last    Millis
}

type clockKey struct {
	app    AppID
	source Source
	node   NodeID
}

// lateness is how late a report may come before its sender's clock is suspected.
const lateness = time.Minute

// mostOff bounds how far off a clock is reported to be: more does not fit a duration.
const mostOff = Millis(250 * 365 * 24 * time.Hour / time.Millisecond)

// maxClocks is how many senders are kept apart; the others are not named.
const maxClocks = 256

// clocks are the senders whose clocks are off.
type clocks struct {
	mu  sync.Mutex
	all map[clockKey]*Clock
}

// note takes note of r, which came at now, if its time is off.
func (c *clocks) note(r *Report, v Verdict, now Millis) {
	if r.Ahead == 0 && v != Stale && v != Expired && (r.Received || r.At >= now.Add(-lateness)) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	key := clockKey{r.App, r.Source, r.Node}
	k := c.all[key]
	if k == nil {
		if len(c.all) >= maxClocks {
			return
		}
		if c.all == nil {
			c.all = map[clockKey]*Clock{}
		}
		k = &Clock{App: r.App, Source: r.Source, Node: r.Node}
		c.all[key] = k
	}
	k.Off, k.Last = max(min(r.At-now, mostOff), -mostOff).Sub(0), now
	k.Reports++
}

// Clocks returns the senders whose clocks are off, those furthest off first.
func (t *Counters) Clocks() []Clock {
	t.clocks.mu.Lock()
	all := make([]Clock, 0, len(t.clocks.all))
	for _, k := range t.clocks.all {
		all = append(all, *k)
	}
	t.clocks.mu.Unlock()
	slices.SortFunc(all, func(a, b Clock) int {
		return cmp.Or(cmp.Compare(b.Off.Abs(), a.Off.Abs()), strings.Compare(string(a.App), string(b.App)),
			strings.Compare(string(a.Source), string(b.Source)), strings.Compare(string(a.Node), string(b.Node)))
	})
	return all
}

// Ahead returns how many reports were further ahead than [Rules].Ahead.
func (t *Counters) Ahead() int64 { return t.ahead.Load() }
