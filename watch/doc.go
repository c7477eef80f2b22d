// Package watch tells those who follow peers what becomes of them.
//
// A presence watch is a register, not a log. A [Watcher] gets a snapshot of every peer it follows, then changes; several
// changes of a peer may be merged into the latest, its versions only rise, and once it is quiet the last word is right.
// Nobody is told of a peer he did not ask for.
//
// # How
//
// The store signals "look again" ([presence.Store.Listen]). The [Hub] marks the peers that somebody watches, and at most
// once a tick reads all that are marked in one call, compares what a watcher may see and queues what differs. A watcher
// holds one mark per peer, never a message per change, so it is bounded however slow it reads; what it takes is
// always the latest. A change is put into JSON once, however many read it, and watchers that are told the same share the bytes of
// the whole frame ([Batch.In]).
//
// A watcher belongs to a goroutine of its door, which waits in [Watcher.Next]. While it waits, and when the door has offered a
// [Pusher], the hub tells what is queued itself: waking a goroutine costs about as much as the write. A teller never waits; what
// it has no room for is left to the goroutine.
//
// A watcher that has taken nothing of what was queued by the next round is behind. From then on a change costs it one look at a flag: it is
// not asked, its lock is not taken, nothing is put into bytes. When it takes again it looks through its peers for words newer than that
// round. So a thousand that stopped do not make the others wait.
//
// # Hold
//
// A peer whose session was lost, not logged out, is notified offline only when its hold is over. From online to online is no update: what
// turned and turned back within a hold, or between two looks of the hub, did not happen to watchers, and the since of the online stands. A
// watcher that arrives while a peer is held sees it as the others do.
//
// # Tokens
//
// A [Token] names what a watcher surely knows of one list of peers. For one that sees all it is every write up to a horizon in one epoch of the
// store: resuming notifies of all that may be newer, often a little more, and the horizon lags some seconds behind, so that a signal on its
// way is not taken for notified. For one that sees only statuses it is the statuses that it was notified of. Tokens are sealed ([Tokens]); one
// that cannot be used gets a snapshot.
//
// # Units and errors
//
// Errors match [ErrClosed], [ErrLimit] or presence.ErrUnavailable under errors.Is.
//
// # Not in this room
//
// No sockets and no write deadlines: the doors (edge/sse, edge/gateway) own their connections and close a watcher that
// takes nothing.
package watch
