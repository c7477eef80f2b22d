// Package reconcile asks the products of the sources who is online, and corrects what their events
// left wrong.
//
// # Use
//
// A [Runner] has one goroutine for each source whose product is asked. [Runner.Replace] gives it
// the sources, at the start and after a reload; [Runner.Stop] ends all of it.
//
// Of several nodes the one that holds the claim "reconcile:APP:SOURCE" asks, for as long as it
// renews it. It asks in rounds: first about the peers whose last report is oldest or whose hooks do
// not add up, then about all others that are online, then about those that went offline within a
// day. Between, it asks once about each peer that has turned offline, as soon as no event of the
// time before can be under way any more. A round belongs to its node: one that takes the claim over
// begins a round of its own.
//
// # What an answer may do
//
// It becomes reports, which are merged as all others are. A peer is taken offline only by two
// answers that are [webhook.Reconcile].Confirm apart, without a report of its source between them.
// What would turn waits until it is less than the brake allows of those asked so far; what is still
// too much at the end of a round is dropped, and the alarm is raised. An error, and a peer that is
// missing from an answer, is no answer. While the store is unreachable, or leases stand still,
// nothing is asked.
//
// docs/reconciliation.md is the guide, docs/decisions/0119 has the reasons of the brake.
package reconcile
