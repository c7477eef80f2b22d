package server

// roomCounts are what the rooms behind the doors have counted since the start, by room, in their own names. Gauges (open
// sockets, sessions, watchers, watched peers) are among them.
func (s *Server) roomCounts() map[string]map[string]int64 {
	asked, sockets, hub := s.dialect.Stats(), s.gateway.Stats(), s.hub.Stats()
	rooms := map[string]map[string]int64{
		"leancloud": {
			"queries": asked.Queries, "ids": asked.IDs, "unusual_bodies": asked.Unusual, "hooks": asked.Hooks,
			"refused": asked.Refused, "unavailable": asked.Unavailable,
		},
		"gateway": {
			"sockets": sockets.Sockets, "sessions": sockets.Sessions, "accepted": sockets.Accepted, "opened": sockets.Opened,
			"messages": sockets.Messages, "pings": sockets.Pings, "kicked": sockets.Kicked, "replaced": sockets.Replaced,
			"asserted": sockets.Asserted, "disowned": sockets.Disowned, "beats_failed": sockets.HeartbeatsFailed, "reports_failed": sockets.ReportsFailed,
			"reports_dropped": sockets.ReportsDropped,
		},
		"watch": {
			"watchers": int64(hub.Watchers), "peers": int64(hub.Peers), "signals": hub.Signals, "passes": hub.Passes,
			"failures": hub.Failures, "changes": hub.Changes, "told": hub.Told, "batches": hub.Batches, "marks": hub.Marks,
			"behind": hub.Behind, "holds": hub.Holds, "hidden": hub.Hidden, "resumes": hub.Resumes, "resyncs": hub.Resyncs, "refused": hub.Refused,
		},
	}
	rooms["callers"] = map[string]int64{"rate_limited": s.callers.Limited()}
	for of, h := range s.held.all() {
		rooms["callers"][of], rooms["callers"]["refused_"+of] = h.Used(), h.Refused()
	}
	conns := s.app.conns.Stats()
	rooms["callers"]["connections"], rooms["callers"]["refused_connections"] = int64(conns.Open), conns.Refused
	rooms["callers"]["idle_connections"], rooms["callers"]["evicted_connections"] = int64(conns.Idle), conns.Evicted
	for kind, n := range sockets.Refused {
		rooms["gateway"]["refused_"+kind] = n
	}
	for reason, n := range hub.Closed {
		rooms["watch"]["closed_"+string(reason)] = n
	}
	return rooms
}
