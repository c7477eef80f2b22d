// Package embedded is the store for one process: the whole index in memory, and, when a path is
// given, every acknowledged state in a log of our own that is synced before the answer.
//
// # Rules
//
// One goroutine, the committer, changes states. It takes what is queued, merges each update against
// the index, writes the resulting states in one frame, syncs once, and only then shows and
// acknowledges them. Readers take no lock: a record is never changed in place, and its memory is
// used again only when no reader can still see it, see [Store].
//
// # Files
//
// A directory holds log segments, the last snapshot, its manifest, a spare segment and a lock.
// Every file starts with its kind and format; every frame carries a CRC-32C. A torn tail of the
// last segment is cut and counted; any other damage is refused with [DamageError], never skipped.
// [Repair] is the way out.
//
// # Errors
//
// An update that cannot be made durable matches presence.ErrUnavailable, or presence.ErrFull when a
// queue, the disk or the memory bound is full. Queries go on from memory in either case.
//
// # Not in this room
//
// No rules of presence: states are packed by package presence and are bytes here, but for their
// status, day and deadline. DESIGN.md holds the layouts, the invariants and the figures.
package embedded
