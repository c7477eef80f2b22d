// Package feed is the register of what changed in an app, for servers that keep a copy of who is
// online.
//
// # Contract
//
// [Feed.Read] returns what changed after a [Cursor], and the cursor that goes on. It is a register,
// not a log: each peer comes once, with the latest state that watchers may see, in the order in
// which the peers last changed; within a tick that is any. What turned and turned back between two
// reads may not be seen.
//
// A page with ListAgain says that changes after the cursor are not all known. Its cursor is of the
// time of the call: a caller that lists the peers of the app after the call, and then reads from
// that cursor, misses nothing and has no gap. The zero Cursor always gets such a page. So a copy is
// kept like this:
//
//	var cursor feed.Cursor
//	for {
//		page, err := f.Read(ctx, app, cursor, 1000, time.Minute)
//		if err != nil {
//			return err
//		}
//		cursor = page.Cursor
//		if page.ListAgain {
//			// List all peers that are online; every other is not.
//		}
//		for _, c := range page.Changes {
//			// Put c into the copy.
//		}
//		// Now the cursor may be kept, as cursor.String().
//	}
//
// The cursor may be kept anywhere. Every node that shares the store reads it ([ParseCursor]); a
// node goes on by its own register if that is old enough, and else says to list again. A register
// begins with the first read of the app on the node, or with [Feed.Keep], and is dropped when it
// has not been read for Config.Keep. It lives in memory: after a restart of the store in the
// process, after an outage of a store that others write to, and when that has lost writes, a reader
// lists again.
//
// A change may come again with the same state: after a read on another node, after a list, and when
// something that no watcher sees was written of a peer of which the register knew nothing. A
// repeated one has the same since. Versions of a peer rise on one node.
//
// # How
//
// The store signals which peers to read again. Those of an app that has a register are noted, at
// most once a tick read in one call for all, and judged as the hub judges them for watchers: a peer
// that was lost is offline when its hold is over. While the store is out of reach nothing is read,
// and pages carry its age.
//
// When more peers changed than Config.Peers, the oldest changes are forgotten, and readers behind
// them list again. An app without a register costs one look at a map for each signal.
//
// # Units and errors
//
// Times are Unix milliseconds. Errors match [ErrClosed], [ErrGone] or [ErrCursor], or are those of
// the context.
package feed
