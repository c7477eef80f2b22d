package feed

import (
	"sync/atomic"
)

type counters struct {
	readers, judged, returned, pages, listAgain, overflows, gaps, failures atomic.Int64
}

// given counts what a reader was given.
func (c *counters) given(p *Page) {
	c.pages.Add(1)
	c.returned.Add(int64(len(p.Changes)))
	if p.ListAgain {
		c.listAgain.Add(1)
	}
}

// Counts returns the counts of f by their names in the status and in metrics: those since the
// start, and of readers, registers and peers how many there are.
func (f *Feed) Counts() map[string]int64 {
	c := &f.stats
	registers := *f.registers.Load()
	counts := map[string]int64{
		"readers": c.readers.Load(), "registers": int64(len(registers)), "judged": c.judged.Load(),
		"returned": c.returned.Load(), "pages": c.pages.Load(), "list_again": c.listAgain.Load(), "overflows": c.overflows.Load(),
		"gaps": c.gaps.Load(), "failures": c.failures.Load(), "peers": 0, "dirty": 0, "held": 0,
	}
	for _, r := range registers {
		r.mu.Lock()
		counts["peers"] += int64(len(r.index))
		counts["dirty"] += int64(len(r.pending))
		counts["held"] += int64(len(r.held))
		r.mu.Unlock()
	}
	return counts
}
