package intake

import (
	"time"

	"rollcall/presence"
)

// clockRepeat is how often it is said again that the clock of a sender is off.
const clockRepeat = 10 * time.Minute

// ClockNews picks the senders of which it is to be said that their clocks are off: each once, and
// again while it lasts. The zero value is ready, for one goroutine.
type ClockNews struct{ said map[clockOf]clockSaid }

type clockOf struct {
	app    presence.AppID
	source presence.Source
	node   presence.NodeID
}

type clockSaid struct {
	reports int64
	at      presence.Millis
}

// Pick returns those of clocks that are due at now.
func (n *ClockNews) Pick(clocks []presence.Clock, now presence.Millis) (due []presence.Clock) {
	if n.said == nil {
		n.said = map[clockOf]clockSaid{}
	}
	for _, c := range clocks {
		of := clockOf{c.App, c.Source, c.Node}
		last, known := n.said[of]
		if known && (c.Reports == last.reports || now < last.at.Add(clockRepeat)) {
			continue
		}
		n.said[of] = clockSaid{c.Reports, now}
		due = append(due, c)
	}
	return due
}
