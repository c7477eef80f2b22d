package watch

// Counts returns the counts of h by their names in the status and in metrics.
func (h *Hub) Counts() map[string]int64 {
	st := h.Stats()
	counts := map[string]int64{
		"watchers": int64(st.Watchers), "peers": int64(st.Peers), "signals": st.Signals, "passes": st.Passes, "failures": st.Failures,
		"changes": st.Changes, "told": st.Notified, "batches": st.Batches, "marks": st.Marks, "behind": st.Behind, "holds": st.Holds,
		"hidden": st.Hidden, "resumes": st.Resumes, "resyncs": st.Resyncs, "refused": st.Refused,
	}
	for reason, n := range st.Closed {
		counts["closed_"+string(reason)] = n
	}
	return counts
}
