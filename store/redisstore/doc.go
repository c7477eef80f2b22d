// Package redisstore keeps peer states in Redis or Valkey, alone, behind Sentinels or as a Cluster,
// shared by many nodes.
//
// The rules stay in package presence: a state is read, merged in Go, and written by one
// compare-and-set script (scripts/cas.lua) that also sets the summary key, which is the recipe's
// own: "onOffStatus:<peer>" holding 1 or 0. That write is the change signal too: every node has
// each primary broadcast what was written under the summary prefix.
//
// # Order
//
// An index entry (which leases and which nodes a peer hangs on) is written before the state that
// needs it and removed after the state that does not, and only if it was not written since; see
// [Store.Update] and DESIGN.md. So an index may name a peer that does not need it, and never misses
// one that does.
//
// # Near cache
//
// Queries are answered from a cache of this process. It holds only what is sure to be invalidated:
// an answer is stored over the marker that was put before its read, in the epoch of the link that
// would have reported a change.
//
// # Errors and outages
//
// Every error matches [presence.ErrUnavailable] or [presence.ErrFull]; no answer of Redis is ever
// read as "nothing is there". While Redis is down, answers come from the cache with their age, and
// reports go to a synced spool.
package redisstore
