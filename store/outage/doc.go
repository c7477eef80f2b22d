// Package outage keeps what is reported while a store cannot take it, answers for it meanwhile, and
// replays it.
//
// [Wrap] puts it around a store that can be out of reach, in whole or in part, and that answers
// what a [Lower] is asked:
//
//	s, err := outage.Wrap(low, outage.Config{Dir: dir, Bytes: 64 << 20, Journal: time.Minute, …})
//	err = s.Update(ctx, keys, now, merge) // ErrUnavailable: the store, or a report that waits
//	err = s.Spool(ctx, reports, now, outcomes) // kept on disk, and counted in the answers
//	age, err := s.Statuses(ctx, app, peers, now, out) // with the age of the oldest answer
//
// When a part of the store is back its owner calls [Box.Again], then [Store.Returned] if leases
// could not be renewed, [Box.Reassert] if acknowledged reports may be lost, and [Box.Drain] until
// that returns true.
//
// A [Store] has three parts, its [Box]:
//
//   - The spool: reports on disk, synced before they are acknowledged. They are replayed in order
//     when the store is back; those of a peer that still has to wait let the others pass.
//   - The overlay: for each peer with reports in the spool, those reports over what was last known
//     of it. While the store is out of reach the overlay answers, as old as what it began from.
//     When the store can be read again the reports are applied over what is read ([Over]): that
//     is exact, since a report counts once.
//   - The journal: the reports of the last minute that the store has acknowledged, for when it
//     comes back without them.
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
// Whether the store is out of reach, how old its own answers are, and when it is back: that is for
// the store below to decide.
package outage
