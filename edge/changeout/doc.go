// Package changeout posts what changes in an app to the app's own backend, in signed batches: it is
// the reverse of POST /v1/events, with the same signature. What is sent is what watchers are shown,
// after holds, whatever the source of a change.
//
// # Rules
//
// The last state of every peer arrives at least once, each peer's in order, however often receivers
// fail and whichever nodes die. A receiver keeps the version of each peer and ignores what is not
// newer.
//
// One node sends to a receiver, by a claim in the store. It reads the register of package feed,
// writes what it read to its journal and then sends it, one call at a time. Up to where everything
// is taken is kept in the store as a cursor: a node that takes over, or starts again, goes on
// there, by its own register if that is old enough, or else by a walk through the store. So no
// change is only in the memory, or on the disk, of a node. The journal keeps the turns in between,
// which the store does not have: the node that wrote it sends them after a restart, unless another
// has sent since; decision 0124 has the reasons.
//
// What waits for a receiver is bounded, in bytes and in age. Beyond that, when a batch is refused,
// at the first start, and when the store has lost writes, the receiver is sent that it must list
// again.
//
// # Not in this room
//
// The queue, the turns, the pauses and the manners of a call are those of internal/outbox. Only the
// configuration names addresses; redirects are not followed.
package changeout
