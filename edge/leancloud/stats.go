package leancloud

import "sync/atomic"

// Stats are counts since the start.
type Stats struct {
	Queries     int64 // questions for statuses
	IDs         int64 // ids in them
	Unusual     int64 // bodies that were left to encoding/json
	Hooks       int64 // hooks with the right keys
	Refused     int64 // answers from 400 to 499
	Unavailable int64 // answers that the store could not give
}

type counters struct{ queries, ids, unusual, hooks, refused, unavailable atomic.Int64 }

func (c *counters) answered(status int) {
	if status >= 400 && status < 500 {
		c.refused.Add(1)
	}
}

// Stats returns what h has counted.
func (h *Handler) Stats() Stats {
	c := &h.counters
	return Stats{
		Queries: c.queries.Load(), IDs: c.ids.Load(), Unusual: c.unusual.Load(), Hooks: c.hooks.Load(),
		Refused: c.refused.Load(), Unavailable: c.unavailable.Load(),
	}
}

// Counts returns the counts of h by their names in the status and in metrics.
func (h *Handler) Counts() map[string]int64 {
	st := h.Stats()
	return map[string]int64{
		"queries": st.Queries, "ids": st.IDs, "unusual_bodies": st.Unusual, "hooks": st.Hooks,
		"refused": st.Refused, "unavailable": st.Unavailable,
	}
}
