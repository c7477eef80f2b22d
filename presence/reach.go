package presence

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Reach is whether a push notification gets to the user.
type Reach uint8

// The reaches. The zero value: nothing says.
const (
	ReachUnknown Reach = iota
	ReachNo            // none gets there: logged out, or the device takes none any more
	ReachQuiet         // it gets there, and is not to make a sound
	ReachYes
	reaches
)

var reachNames = [reaches]string{"unknown", "no", "quiet", "yes"}

func (r Reach) String() string {
	if r < reaches {
		return reachNames[r]
	}
	return "unknown"
}

// ParseReach returns the reach called name; ok is false for a name that is none.
func ParseReach(name string) (r Reach, ok bool) {
	for i, n := range reachNames {
		if n == name {
			return Reach(i), true
		}
	}
	return ReachUnknown, false
}

const (
	// maxReached is how many devices of a peer have a word about their reach; the oldest is dropped
	// beyond that.
	maxReached = 16
	// reachMemory is how long such a word is remembered, also of a peer that is unknown by then.
	reachMemory = 60 * 24 * time.Hour
)

// A Reached is the latest word about a device: whether pushes get to it.
type Reached struct {
	Device string // as sessions name it
	Reach  Reach
	At     Millis
}

// weigh orders words about one device, in full.
func (w *Reached) weigh(o *Reached) int {
	return cmp.Or(cmp.Compare(w.At, o.At), cmp.Compare(w.Reach, o.Reach))
}

// checkReach returns what is wrong with the reach of r.
func (r *Report) checkReach() error {
	switch {
	case r.Kind != KindReach && r.Reach != ReachUnknown:
		return fmt.Errorf("%w: a report of kind %v has no reach", ErrInvalid, r.Kind)
	case r.Kind == KindReach && (r.Reach == ReachUnknown || r.Reach >= reaches):
		return fmt.Errorf("%w: reach %d of the report is not known to this release", ErrInvalid, r.Reach)
	case r.Kind == KindReach && (r.Session != "" || r.Tag != "" || r.Node != ""):
		return fmt.Errorf("%w: a reach is about a device, not a session, tag or node", ErrInvalid)
	}
	return nil
}

// Reaches are the latest words about the devices of a peer, by device.
type Reaches []Reached

// take merges what r says about the device it names: the greatest word about each counts.
func (all *Reaches) take(r *Report) Verdict {
	n := Reached{r.Device, r.Reach, r.At}
	i, found := slices.BinarySearchFunc(*all, n, func(w, n Reached) int { return strings.Compare(w.Device, n.Device) })
	switch {
	case !found:
		*all = slices.Insert(*all, i, n)
		all.bound()
		return Taken
	case n.weigh(&(*all)[i]) > 0:
		(*all)[i] = n
		return Taken
	case n == (*all)[i]:
		return Double
	}
	return Late
}

// bound drops the oldest words beyond as many as are kept.
func (all *Reaches) bound() {
	for len(*all) > maxReached {
		oldest := 0
		for i := range *all {
			w, o := &(*all)[i], &(*all)[oldest]
			if cmp.Or(w.weigh(o), strings.Compare(w.Device, o.Device)) < 0 {
				oldest = i
			}
		}
		*all = slices.Delete(*all, oldest, oldest+1)
	}
}

// prune drops words that are too old to be believed.
func (all *Reaches) prune(now Millis) {
	*all = keep(*all, func(w *Reached) bool { return now < w.At.Add(reachMemory) })
}

// until returns when the last word is forgotten, or 0.
func (all Reaches) until() (until Millis) {
	for i := range all {
		until = max(until, all[i].At.Add(reachMemory))
	}
	return until
}

// join returns the greater word about each device.
func (all Reaches) join(o Reaches) Reaches {
	both := slices.Concat(all, o)
	slices.SortFunc(both, func(x, y Reached) int { return cmp.Or(strings.Compare(x.Device, y.Device), y.weigh(&x)) })
	both = slices.CompactFunc(both, func(x, y Reached) bool { return x.Device == y.Device })
	both.bound()
	return both
}

// A way is a device that a push may get to.
type way struct {
	device string
	reach  Reach
	at     Millis // since when
}

// ways appends to all what is known of each device at now: the latest of its sessions and of the
// words about it. A session that did not log out can be pushed to, also when its app was killed.
func (st *State) ways(all []way, now Millis) []way {
	put := func(w way) {
		for i := range all {
			if o := &all[i]; o.device == w.device {
				if w.at > o.at || w.at == o.at && w.reach > o.reach {
					*o = w
				}
				return
			}
		}
		all = append(all, w)
	}
	for i := range st.Sessions {
		s := &st.Sessions[i]
		if w := (way{s.Device, ReachYes, s.Start}); s.Live(now) {
			put(w)
		} else if e := s.ending(); e.cause == CauseLogout || e.cause == CauseKicked {
			put(way{s.Device, ReachNo, e.at})
		} else {
			put(way{s.Device, ReachYes, min(s.Start, e.at)})
		}
	}
	for i := range st.Slots {
		if s := &st.Slots[i]; s.Live(now) {
			put(way{s.Tag, ReachYes, s.Start})
		}
	}
	for i := range st.Reached {
		put(way{st.Reached[i].Device, st.Reached[i].Reach, st.Reached[i].At})
	}
	return all
}

// gone adds to all what s, which has ended and is forgotten, ran on, when it can be pushed to.
func (s *Session) gone(all []string) []string {
	if c := s.EndCause(); c == CauseLogout || c == CauseKicked {
		return all
	}
	return append(all, s.Device)
}

// missDevices notes that sessions on devices are forgotten which were not logged out: a device of
// which nothing else is known may still be pushed to.
func missDevices(st *State, devices []string) {
	for _, d := range devices {
		known := slices.ContainsFunc(st.Sessions, func(s Session) bool { return s.Device == d }) ||
			slices.ContainsFunc(st.Reached, func(w Reached) bool { return w.Device == d })
		st.Missed = st.Missed || !known
	}
}

// Reach returns whether a push gets to the user at now: yes when it gets to some device, no only
// when every device that is known is known to take none. Beyond the memory of ended sessions only
// words about devices say no, for a session that was lost may be among those forgotten. As many
// words as are kept do not say no: a yes may be among those dropped. Nor does anything once a
// device is forgotten that was not logged out.
func (st *State) Reach(now Millis, rules *Rules) Reach {
	if len(st.Reached) == 0 && st.open(now) > 0 {
		return ReachYes
	}
	best := ReachUnknown
	var room [8]way // on the stack
	for _, w := range st.ways(room[:0], now) {
		best = max(best, w.reach)
	}
	if best == ReachNo && (st.Missed || len(st.Reached) == maxReached) {
		return ReachUnknown
	}
	if best != ReachUnknown || st.Status != Offline {
		return best
	}
	switch st.Cause {
	case CauseLogout, CauseKicked:
		// An end of which no session is left, though it would be remembered, was that of hooks that
		// count a single device.
		if now < st.Since.Add(rules.Tombstones) && len(st.Slots) == 0 {
			return ReachNo
		}
		return ReachUnknown
	}
	return ReachYes
}

// sectionReach holds words about devices: length and bytes of the name, 1 byte reach, time.
// Not critical: an older release carries it along.
const sectionReach = 5 << 1

// sectionMissed is empty, and says [State].Missed. Not critical.
const sectionMissed = 10 << 1

func (all Reaches) pack(base Millis) []byte {
	var b []byte
	for i := range all {
		w := &all[i]
		b = append(appendString(b, w.Device), byte(w.Reach))
		b = appendMillis(b, w.At, base)
	}
	return b
}

func (r *unpacker) reached(st *State) {
	for r.left() > 0 && !r.bad {
		w := Reached{Device: r.string(), Reach: Reach(r.byte()), At: r.millis()}
		if w.Reach == ReachUnknown || w.Reach >= reaches || w.At <= 0 || w.At > maxMillis {
			r.fail()
			return
		}
		st.Reached = append(st.Reached, w)
	}
}
