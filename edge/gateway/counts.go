package gateway

// Counts returns the counts of g by their names in the status and in metrics.
func (g *Gateway) Counts() map[string]int64 {
	st := g.Stats()
	counts := map[string]int64{
		"sockets": st.Sockets, "sessions": st.Sessions, "accepted": st.Accepted, "opened": st.Opened, "messages": st.Messages,
		"pings": st.Pings, "kicked": st.Kicked, "replaced": st.Replaced, "probes": st.Probes, "asserted": st.Asserted,
		"disowned": st.Disowned, "beats_failed": st.HeartbeatsFailed, "reports_failed": st.ReportsFailed, "reports_dropped": st.ReportsDropped,
	}
	for kind, n := range st.Refused {
		counts["refused_"+kind] = n
	}
	return counts
}
