package outage

import (
	"slices"

	"rollcall/presence"
)

// A layer is a peer with reports in the spool.
type layer struct {
	st presence.State // what was last known, and the reports over it
	n  int            // how many reports are in the spool, or on their way there
	// reports are those of them that are counted in st, in order.
	reports []Record
	// blind when nothing was known of the peer: its reports can show that it is online, and not
	// that it is offline, for it may have other sessions.
	blind bool
	held  bool // a later release keeps the peer, and goes on writing
}

// enter adds a report, to come, to the layer of its peer. The caller holds the lock.
func (b *Box) enter(key presence.Key) *layer {
	l := b.overlay[key]
	if l == nil {
		l = &layer{}
		packed, known := b.below.Last(key)
		l.blind = !known
		if len(packed) > 0 && l.st.Unpack(packed) != nil {
			l.st, l.blind = presence.State{}, true
		}
		b.overlay[key] = l
		b.layers.Add(1)
	}
	l.n++
	return l
}

// leave takes a report out of its layer, which ends with the last. The caller holds the lock. l is
// not in the overlay when all that it holds has left meanwhile.
func (b *Box) leave(key presence.Key, l *layer) {
	if l.n--; l.n <= 0 && b.overlay[key] == l {
		delete(b.overlay, key)
		b.layers.Add(-1)
	}
}

// add is enter's second half for a record that is in the spool.
func (l *layer) add(r Record, rules *presence.Rules) { l.count(r, rules) }

// count merges r into the layer.
func (l *layer) count(r Record, rules *presence.Rules) presence.Outcome {
	l.reports = append(l.reports, r)
	report := r.Report
	before := l.st.Pack(nil)
	o, e := l.st.Apply(&report, r.Received, rules)
	if e == presence.Same {
		l.st = presence.State{}
		_ = l.st.Unpack(before) // it was packed just now
	}
	return o
}

// drop forgets a record that the store holds now.
func (l *layer) drop(r *Record) {
	for i := range l.reports {
		if l.reports[i] == *r {
			l.reports = slices.Delete(l.reports, i, i+1)
			return
		}
	}
}

// answers reports whether the layer alone decides the status.
func (l *layer) answers() bool {
	return !l.held && (l.st.Status == presence.Online || l.st.Status == presence.Offline && !l.blind)
}

// A Layer is what the overlay has of a peer.
type Layer struct {
	Known   bool // Summary is the status, if what was known before the reports was all
	Summary presence.Summary
	Records []Record // to apply over the state of the peer, if that can be read, see [Over]
}

// Overlaid reports whether some peer has reports in the spool.
func (b *Box) Overlaid() bool { return b.layers.Load() > 0 }

// Layer returns what the overlay has of a peer. ok is false when it has no reports in the spool, or
// when a later release keeps it.
func (b *Box) Layer(key presence.Key) (l Layer, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	of := b.overlay[key]
	if of == nil || of.held {
		return l, false
	}
	return Layer{Known: of.answers(), Summary: of.st.Summary(), Records: slices.Clone(of.reports)}, true
}

// Over returns packed, the state of a peer as the store has it, with records applied: what the
// store will hold when they are replayed. Those that it holds already count once.
func Over(packed []byte, records []Record, now presence.Millis, rules *presence.Rules) []byte {
	var st presence.State
	if len(packed) > 0 && st.Unpack(packed) != nil {
		return packed
	}
	rev := st.Rev
	for _, r := range records {
		if _, e := st.Replay(&r.Report, r.Received, now, rules); e != presence.Same {
			packed = st.Pack(nil)
			continue
		}
		st = presence.State{Rev: rev}
		if len(packed) > 0 {
			_ = st.Unpack(packed) // it could be unpacked before
		}
	}
	return packed
}
