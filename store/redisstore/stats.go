package redisstore

import (
	"maps"

	"rollcall/presence"
)

// Stats returns counts since the store opened, and sizes now, by names of their own.
func (s *Store) Stats() map[string]int64 {
	c, t := s.cache, &s.stats
	m := map[string]int64{
		"reads": t.reads.Load(), "writes": t.cas.Load(), "conflicts": t.conflicts.Load(),
		"adopted": t.adopted.Load(), "damaged": t.damaged.Load(), "foreign": t.foreign.Load(), "unindexed": t.unindexed.Load(),
		"newer_states": t.newer.Load(), "foreign_indexes": 0, "overwritten": t.overwritten.Load(),
	}
	if s.metWrongType() != nil {
		m["foreign_indexes"] = 1
	}
	maps.Copy(m, s.conn.Stats())
	maps.Copy(m, c.Stats())
	maps.Copy(m, s.outage.box.Stats())
	return m
}

var (
	_ presence.Store   = (*Store)(nil)
	_ presence.Shared  = (*Store)(nil)
	_ presence.Remote  = (*Store)(nil)
	_ presence.Claimer = (*Store)(nil)
	_ presence.Settler = (*Store)(nil)
	_ presence.Sharer  = (*Store)(nil)
)
