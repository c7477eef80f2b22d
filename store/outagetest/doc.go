// Package outagetest draws outages of several nodes and says what must be so when they are over.
//
// A [Schedule] is hooks to any of three nodes and faults: a node is cut off from the store, all
// are, a node is killed and started again, the store comes back with what it had a while ago. A
// [Reference] applies the reports that were acknowledged, in order of receipt, to states of its
// own; after the heal every node answers, and every watcher was last notified of, what it says.
//
// A [Switch] is a store that a test puts out of reach, and [Wrapped] that store in package outage.
//
// The same schedules are played in fake time over the embedded store with a switch (here) and by
// real nodes on a real Redis (cmd/rollcall). A seed names a schedule for ever: one that found a
// fault stays in testdata/seeds.
package outagetest
