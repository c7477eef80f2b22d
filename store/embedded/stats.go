package embedded

import (
	"sync/atomic"
	"time"

	"rollcall/presence"
)

// counters are what a store counts as it goes.
type counters struct {
	commits, states, failures, snapshots atomic.Int64
	syncs, syncTime, syncMax, syncLast   atomic.Int64
	noSpare                              atomic.Bool
	readOnly                             atomic.Pointer[string]

	// Of the start.
	tornTails int
	tornBytes int64
	loaded    time.Duration
}

func (c *counters) sync(took time.Duration) {
	c.syncs.Add(1)
	c.syncTime.Add(int64(took))
	c.syncLast.Store(int64(took))
	if int64(took) > c.syncMax.Load() {
		c.syncMax.Store(int64(took)) // one goroutine at a time
	}
}

func (c *counters) group(states int) {
	c.commits.Add(1)
	c.states.Add(int64(states))
}

// Stats are the counts and sizes of a store.
type Stats struct {
	Peers     int64 // known
	Bytes     int64 // that the index takes
	Used      int64 // of these, what records and tables fill
	Bound     int64 // of Used; zero for none
	Deadlines int   // peers whose deadline is near enough to be watched

	Queued  int   // peers that wait to be written
	Refused int64 // updates refused because too many waited
	Commits int64 // groups written together
	States  int64 // states in them

	Syncs    int64
	SyncTime time.Duration // of all syncs
	SyncLast time.Duration
	SyncMax  time.Duration

	Disk          bool            // the store has a path
	ReadOnly      string          // why nothing can be acknowledged; empty when all is well
	Failures      int64           // of the disk
	NoSpare       bool            // there is no room for the next log segment
	LogBytes      int64           // since the snapshot
	Segment       uint32          // number of the current one
	Snapshots     int64           // taken since the start
	SnapshotBytes int64           // of the last
	SnapshotTook  time.Duration   // the last
	SnapshotAt    presence.Millis // greatest time of an update in the last
	TornTails     int             // cut at the start
	TornBytes     int64           // cut off
	Loaded        time.Duration   // how long the start took
}

// Counts returns them by names, for people and metrics.
func (st Stats) Counts() map[string]int64 {
	noSpare := int64(0)
	if st.NoSpare {
		noSpare = 1
	}
	return map[string]int64{
		"peers": st.Peers, "index_bytes": st.Bytes, "index_used_bytes": st.Used, "index_bound_bytes": st.Bound, "deadlines": int64(st.Deadlines),
		"queued": int64(st.Queued), "refused": st.Refused, "commits": st.Commits, "states": st.States,
		"syncs": st.Syncs, "sync_last_us": st.SyncLast.Microseconds(), "sync_max_us": st.SyncMax.Microseconds(),
		"sync_total_us": st.SyncTime.Microseconds(),
		"disk_failures": st.Failures, "no_spare_segment": noSpare, "log_bytes": st.LogBytes,
		"snapshots": st.Snapshots, "snapshot_bytes": st.SnapshotBytes, "snapshot_ms": st.SnapshotTook.Milliseconds(),
		"torn_tails": int64(st.TornTails), "torn_bytes": st.TornBytes, "load_ms": st.Loaded.Milliseconds(),
	}
}

// Stats returns the counts and sizes now. It waits for no disk, so that one that hangs can be seen.
func (s *Store) Stats() Stats {
	c := &s.stats
	st := Stats{
		Peers: s.index.peers.Load(), Bytes: s.index.bytes.Load(), Used: s.index.used.Load(), Bound: s.bound, Deadlines: s.wheel.len(),
		Queued: s.queue.depth(), Refused: s.queue.full.Load(), Commits: c.commits.Load(), States: c.states.Load(),
		Syncs: c.syncs.Load(), SyncTime: time.Duration(c.syncTime.Load()),
		SyncLast: time.Duration(c.syncLast.Load()), SyncMax: time.Duration(c.syncMax.Load()),
		Failures: c.failures.Load(), NoSpare: c.noSpare.Load(), Snapshots: c.snapshots.Load(),
		TornTails: c.tornTails, TornBytes: c.tornBytes, Loaded: c.loaded,
	}
	if why := c.readOnly.Load(); why != nil {
		st.ReadOnly = *why
	}
	if l := s.log; l != nil {
		st.Disk = true
		snap := l.snap.Load()
		st.LogBytes, st.Segment = l.bytes.Load(), l.current.Load()
		st.SnapshotBytes, st.SnapshotTook, st.SnapshotAt = snap.bytes, snap.took, snap.at
	}
	return st
}
