package intake

import (
	"time"

	"rollcall/internal/lograte"
	"rollcall/presence"
)

// clockRepeat is the least time between two lines that the clock of one sender is off.
const clockRepeat = 10 * time.Minute

// ClockNews picks the senders to be logged because their clocks are off: each once, and again while
// it lasts. The zero value is ready, for one goroutine.
type ClockNews struct{ lines map[clockOf]*clockLine }

type clockOf struct {
	app    presence.AppID
	source presence.Source
	node   presence.NodeID
}

type clockLine struct {
	lograte.Line
	reports int64 // when it was last written
}

// Pick returns those of clocks that are due at now.
func (n *ClockNews) Pick(clocks []presence.Clock, now presence.Millis) (due []presence.Clock) {
	if n.lines == nil {
		n.lines = map[clockOf]*clockLine{}
	}
	for _, c := range clocks {
		of := clockOf{c.App, c.Source, c.Node}
		line := n.lines[of]
		if line == nil {
			line = &clockLine{Line: lograte.Line{Every: clockRepeat.Milliseconds()}}
			n.lines[of] = line
		}
		if c.Reports == line.reports {
			continue
		}
		if _, isDue := line.Due(int64(now)); isDue {
			line.reports = c.Reports
			due = append(due, c)
		}
	}
	return due
}
