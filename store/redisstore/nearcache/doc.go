// Package nearcache keeps packed states of peers in a bounded number of bytes, without pointers.
//
// # Use
//
// A caller marks an id before it reads the id's state from Redis, and puts the answer over its
// mark:
//
//	m := cache.Mark(space, id, link)
//	state := read(id)
//	cache.Put(id, state, m)
//
// [Cache.Drop] is called for every write that Redis reports. It removes the entry and the mark of a
// read under way, so an answer that is older than the write is not kept. [Cache.Get] and
// [Cache.Batch] return entries with their [Freshness].
//
// # Epochs
//
// Every entry belongs to the link that reports its changes, and to the epoch of that link in which
// it was read. An [Epoch] moves when its link is lost, and again when the link is confirmed;
// entries of another epoch are not fresh. While a link is lost, entries of its last epochs are
// stale: they may be served with their age.
//
// # Spaces
//
// Ids of several apps share the cache. [Cache.Space] gives each app a number; space 0 is not
// cached.
package nearcache
