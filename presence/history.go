package presence

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// A History is the last hooks of one slot, in order of receipt, and the slot as it was before them.
// A hook that a node delivers late, because it could not reach the store when the hook came, is
// counted at its time of receipt: the slot is counted anew from Base. docs/decisions/0025 says why,
// and what bounds it.
//
// It is kept only with [Rules].Replay, so where several nodes write.
type History struct {
	Source Source
	Tag    string
	Base   Slot // before Hooks; the zero count when the slot was not known
	// Of Base, if that is closed: since when the peer was offline then; zero for never.
	Ended ending
	Hooks []Hook // by time, and by arrival where that is the same
	// Assumed says that Base is what a foreign writer's word stood for: a login as the first hook
	// replaces it, see [Assume].
	Assumed bool
	// Touched is the end of the lease by the touches since Base; they are in no history, so that a
	// sender that touches often does not push hooks out.
	Touched Millis
}

// A Hook is what a slot counts of one report.
type Hook struct {
	Hash   uint64 // of the delivery, as in [Delivery]
	At     Millis // time of receipt
	Judged Millis // the time by which leases were judged; At unless they stood still

	Kind      Kind
	Cause     Cause
	Reconnect bool
	Policy    Policy
	Lease     time.Duration
	Hold      time.Duration
	Count     int // of a [KindCount], as Quiet
	Quiet     time.Duration
}

// maxHooks is how many hooks the histories of one peer hold together; the oldest go into the base.
const maxHooks = 128

func hookOf(r *Report, hash uint64, lease time.Duration, now Millis) Hook {
	h := Hook{
		Hash: hash, At: r.At, Judged: min(now, r.At), Kind: r.Kind, Reconnect: r.Reconnect, Policy: r.Policy, Lease: lease, Hold: r.Hold,
		Count: r.Count, Quiet: r.Quiet,
	}
	switch r.Kind {
	case KindOffline:
		h.Cause, h.Reconnect, h.Lease = r.Cause, false, 0
	case KindCount:
		h.Cause, h.Reconnect = CauseReconciled, false
	default:
		h.Hold = 0
	}
	return h
}

func (h *Hook) report() Report {
	return Report{Kind: h.Kind, Cause: h.Cause, Reconnect: h.Reconnect, Policy: h.Policy, Hold: h.Hold, At: h.At, Count: h.Count, Quiet: h.Quiet}
}

// count counts h in s.
func (h *Hook) count(s *Slot, rules *Rules) Verdict {
	r := h.report()
	return s.apply(&r, h.At, h.Lease, h.Judged, rules)
}

// clone returns a copy of s that shares nothing with it.
func (s *Slot) clone() Slot {
	c := *s
	c.Early, c.Extra = slices.Clone(s.Early), slices.Clone(s.Extra)
	return c
}

func (st *State) history(source Source, tag string) (i int, found bool) {
	return slices.BinarySearchFunc(st.Histories, source, func(h History, source Source) int {
		return cmp.Or(strings.Compare(string(h.Source), string(source)), strings.Compare(h.Tag, tag))
	})
}

// counts reports whether a history holds the delivery.
func (st *State) counts(hash uint64) bool {
	for i := range st.Histories {
		for k := range st.Histories[i].Hooks {
			if st.Histories[i].Hooks[k].Hash == hash {
				return true
			}
		}
	}
	return false
}

// touch notes a touch of s for when it is counted anew.
func (st *State) touch(s *Slot, until Millis) {
	if i, found := st.history(s.Source, s.Tag); found {
		st.Histories[i].Touched = max(st.Histories[i].Touched, until)
	}
}

// A recount is what counting a late hook at its time found out about its slot.
type recount struct {
	start Millis // of the slot before
	last  Report // the last hook that counts
}

// from returns the slot before hooks, which are not empty.
func (h *History) from(hooks []Hook) Slot {
	if h.Assumed && hooks[0].Kind == KindOnline {
		return Slot{Source: h.Source, Tag: h.Tag}
	}
	return h.Base.clone()
}

// countHook counts r, a hook of s, in s and in its history; fresh says that s was not there, and
// assumed what stood in its place. late is not nil when r came before hooks that are counted
// already.
func (st *State) countHook(s *Slot, fresh bool, assumed *Slot, r *Report, hash uint64, lease time.Duration, now Millis, rules *Rules) (v Verdict, late *recount) {
	i, found := st.history(s.Source, s.Tag)
	if !found {
		h := History{Source: s.Source, Tag: s.Tag, Base: s.clone(), Assumed: fresh && assumed != nil}
		if h.Assumed {
			h.Base.take(assumed, r)
		}
		if st.Status == Offline {
			h.Ended = ending{st.Since, st.Cause, st.Hold}
		}
		st.Histories = slices.Insert(st.Histories, i, h)
	}
	h := &st.Histories[i]
	hook := hookOf(r, hash, lease, now)
	at := len(h.Hooks)
	for at > 0 && h.Hooks[at-1].At > r.At { // what has one time stays in the order in which it came
		at--
	}
	// A slot that was dropped as blank, at a later time, may count.
	if at == len(h.Hooks) && !(fresh && at > 0) {
		if v = s.apply(r, r.At, lease, now, rules); v == Taken || v == Swallowed {
			h.Hooks = append(h.Hooks, hook)
		}
		return v, nil
	}
	hooks := slices.Insert(slices.Clone(h.Hooks), at, hook)
	next, late := h.from(hooks), &recount{start: s.Start}
	for k := range hooks {
		verdict := hooks[k].count(&next, rules)
		if verdict == Taken || verdict == Swallowed {
			late.last = hooks[k].report()
		}
		if k == at {
			v = verdict
		}
	}
	if v != Taken && v != Swallowed {
		return v, nil
	}
	if next.open() {
		next.Until = max(next.Until, h.Touched)
	}
	next.At = max(next.At, s.At)
	h.Hooks, *s = hooks, next
	return v, late
}

// amend puts right what [State.conclude] cannot know after a late hook: since when the peer is what
// it is.
func (st *State) amend(l *recount, turned bool, now Millis, rules *Rules) {
	switch st.Status {
	case Online:
		if start := st.earliest(now); !turned && start > 0 && (start < st.Since || st.Since == l.start) {
			st.Since = start
		}
	case Offline:
		// The cause of an end before the history is not in it.
		if last := st.lastEnd(rules); last.at > 0 && last.at != st.Since {
			st.Since, st.Cause, st.Hold = last.at, last.cause, last.hold
		}
	}
}

// lastEnd returns the latest end of a session or slot of a peer that is offline.
func (st *State) lastEnd(rules *Rules) (last ending) {
	note := func(e ending) {
		if e.later(last) {
			last = e
		}
	}
	for i := range st.Sessions {
		note(st.Sessions[i].ending())
	}
	for i := range st.Histories {
		note(st.Histories[i].closing(rules))
	}
	for i := range st.Slots {
		s := &st.Slots[i]
		if _, found := st.history(s.Source, s.Tag); !found {
			note(s.ending(nil))
		}
	}
	return last
}

// closing returns the turn of the slot to closed, if it is closed.
func (h *History) closing(rules *Rules) (last ending) {
	b := *h
	b.Base = h.Base.clone()
	for len(b.Hooks) > 0 {
		b.shorten(rules)
	}
	if b.Base.open() {
		return b.Base.ending(nil) // its lease has run out
	}
	return b.Ended
}

// earliest returns the start of the earliest session or slot that is live.
func (st *State) earliest(now Millis) (start Millis) {
	note := func(at Millis) {
		if start == 0 || at < start {
			start = at
		}
	}
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Live(now) {
			note(s.Start)
		}
	}
	for i := range st.Slots {
		if s := &st.Slots[i]; s.Live(now) {
			note(s.Start)
		}
	}
	return start
}

// Replay merges r as [State.Apply] does, as of received, the time of its receipt: r comes late, at
// now. For a while after now the histories of st stay whole: other nodes may deliver what they
// received meanwhile.
func (st *State) Replay(r *Report, received, now Millis, rules *Rules) (Outcome, Effect) {
	was := st.Replayed
	if rules.Replay > 0 {
		st.Replayed = max(was, now)
	}
	return st.Apply(r, received, rules)
}

// pruneHistories takes hooks that are too old, or too many, into the bases.
func (st *State) pruneHistories(now Millis, rules *Rules) {
	if len(st.Histories) == 0 {
		st.Replayed = 0
		return
	}
	old := now.Add(-rules.Replay)
	if st.Replayed > old {
		old = 0
	} else {
		st.Replayed = 0
	}
	n := 0
	for i := range st.Histories {
		h := &st.Histories[i]
		for len(h.Hooks) > 0 && (h.Hooks[0].At <= old || rules.Replay == 0) {
			h.shorten(rules)
		}
		n += len(h.Hooks)
	}
	for ; n > maxHooks; n-- {
		st.oldest().shorten(rules)
	}
	st.Histories = keep(st.Histories, func(h *History) bool { return len(h.Hooks) > 0 })
}

// shorten takes the oldest hook into the base.
func (h *History) shorten(rules *Rules) {
	k := &h.Hooks[0]
	h.Base, h.Assumed = h.from(h.Hooks), false
	was := h.Base.open()
	k.count(&h.Base, rules)
	switch {
	case h.Base.open():
		h.Ended = ending{}
	case was || h.Ended.at == 0:
		h.Ended = ending{k.At, k.Cause, k.Hold}
	}
	h.Hooks = h.Hooks[1:]
}

// oldest returns the history with the oldest hook.
func (st *State) oldest() *History {
	var oldest *History
	for i := range st.Histories {
		if h := &st.Histories[i]; len(h.Hooks) > 0 && (oldest == nil || h.Hooks[0].At < oldest.Hooks[0].At) {
			oldest = h
		}
	}
	return oldest
}
