package presence_test

import (
	"slices"

	"rollcall/presence"
)

// model is the reference for reports that name sessions: it keeps every report and judges them all
// at once, so no order can matter to it.
type model []presence.Report

// word is what the reports about one session come to.
type word struct {
	source      presence.Source
	session     presence.SessionID
	incarnation presence.Millis
	at, until   presence.Millis
	ended       bool
	seq         uint64
	noded       bool
}

// words returns what is so of every session, by source and id.
func (m model) words(rules *presence.Rules) []word {
	best := map[[2]string]word{}
	for i := range m {
		w := wordOf(&m[i], rules)
		key := [2]string{string(w.source), string(w.session)}
		if old, ok := best[key]; !ok || greater(w, old) {
			best[key] = w
		}
	}
	var all []word
	for _, w := range best {
		all = append(all, w)
	}
	slices.SortFunc(all, func(a, b word) int {
		if a.source != b.source || a.session != b.session {
			if a.source < b.source || a.source == b.source && a.session < b.session {
				return -1
			}
			return 1
		}
		return 0
	})
	return all
}

func wordOf(r *presence.Report, rules *presence.Rules) word {
	seen := r.At - r.Ahead
	w := word{r.Source, r.Session, r.Incarnation, r.At, seen, r.Kind == presence.KindOffline, r.Seq, r.Node != "" && r.Kind != presence.KindOffline}
	switch {
	case w.ended:
	case r.Node != "" && r.Lease == 0:
		w.until = 1<<47 - 1
	case r.Lease != 0:
		w.until = seen.Add(r.Lease)
	default:
		w.until = seen.Add(rules.Lease)
	}
	return w
}

// greater is rule 4.1: (incarnation, time of the source, its number, offline before online at a
// tie); within one named incarnation an offline is final.
func greater(a, b word) bool {
	switch {
	case a.incarnation != b.incarnation:
		return a.incarnation > b.incarnation
	case a.incarnation != 0 && a.ended != b.ended:
		return a.ended
	case a.at != b.at:
		return a.at > b.at
	case a.seq != b.seq:
		return a.seq > b.seq
	case a.ended != b.ended:
		return b.ended
	}
	if a.noded != b.noded {
		return a.noded
	}
	return a.until > b.until
}

// status is rule 4.4: last seen is the latest end, of a run that a newer word has replaced too.
func (m model) status(now presence.Millis, rules *presence.Rules) (s presence.Status, lastSeen presence.Millis) {
	for _, w := range m.words(rules) {
		if !w.ended && now < w.until {
			s = presence.Online
		}
		s = max(s, presence.Offline)
	}
	for i := range m {
		if m[i].Kind == presence.KindOffline {
			lastSeen = max(lastSeen, m[i].At-m[i].Ahead)
		}
	}
	return s, lastSeen
}
