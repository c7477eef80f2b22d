// Package watch notifies watchers of changes of the peers that they follow.
//
// Presence is a register, not a log. A [Watcher] receives a snapshot of every peer it follows, then
// updates. Several changes of a peer may be coalesced into the latest; the versions of a peer only
// rise, and once the peer is quiet the last update is its state. A watcher receives nothing of
// peers that it does not follow.
//
// # How
//
// [Hub.Watch] returns a watcher; its goroutine calls [Watcher.Next] in a loop and writes each
// [Batch] to its client, until Next returns an error, and closes it.
//
// The store signals which peers to read again ([presence.Store.Listen]). The [Hub] marks those that
// are watched as dirty. At most once a tick it runs a round: it reads all dirty peers in one call,
// compares what a watcher may see and queues what differs. A watcher has one mark per peer, never a
// message per change, so a slow consumer is bounded and receives the latest. An update is encoded
// once, and watchers that receive the same batch share its bytes ([Batch.In]).
//
// With a [Pusher] attached, the hub pushes what is queued while the watcher's goroutine waits in
// Next: waking a goroutine costs about as much as the write. A pusher never waits; what it has no
// room for is left to the goroutine.
//
// A watcher that has taken nothing of what was queued by the next round is behind. From then on a
// change costs it one read of a flag: no lock, no encoding. When it takes again, it looks through
// its peers for updates newer than that round. A thousand slow consumers do not delay the others.
//
// # Hold
//
// A peer whose session was lost, not logged out, is notified as offline when its hold is over. From
// online to online is no update: a peer that turned offline and back within a hold, or between two
// rounds, did not change for watchers, and its since stays. A watcher that arrives while a peer is
// held sees it as the others do.
//
// # Tokens
//
// A token names what a watcher knows of one list of peers. With full detail that is every write
// up to a horizon in one epoch of the store: a resumed watcher receives every peer that may be
// newer. The horizon lags a few seconds behind, so that a signal under way is not skipped. With
// brief detail it is the statuses that the watcher was notified of. Tokens are sealed (ask/token).
// A token that cannot be used gets a snapshot.
//
// # Units and errors
//
// Times are Unix milliseconds, sizes are bytes. Errors match [ErrClosed], [ErrLimit] or
// presence.ErrUnavailable under errors.Is.
//
// # Not in this room
//
// No sockets and no write deadlines: the doors (edge/sse, edge/gateway) own their connections and
// close a watcher whose client takes nothing.
package watch
