// Package outage keeps what is reported while a store cannot take it, answers for it meanwhile, and
// replays it.
//
// A [Box] stands beside a store that can be out of reach, which it sees as a [Below]. It has three
// parts:
//
//   - The spool: reports on disk, synced before they are acknowledged. They are replayed in order when the store is back; those of
//     a peer that still has to wait let the others pass.
//   - The overlay: for each peer with reports in the spool, those reports over what was last known of it. While the store is out of
//     reach the overlay answers, as old as what it began from. When the store can be read again the reports are applied over what is
//     read ([Over]): that is exact, since a report counts once.
//   - The journal: the reports of the last minute that the store has acknowledged, for when it comes back without them.
//
// # Rules
//
// No order of spooling, replay and reading leaves a peer in the overlay of which nothing is in the
// spool: a peer enters before its record can be read from the spool, and leaves with its last
// record. Reports do not overtake those in the spool ([Box.Waits]). What order the nodes replay in
// does not matter: package presence counts a late report at its time of receipt.
//
// # Not in this package
//
// Whether the store is out of reach, and how old its answers are: that is for the store to decide.
package outage
