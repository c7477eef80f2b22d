// Package hookout calls the hooks of an app's own server when its users come and go on rollcall's
// sockets, in LeanCloud's form: POST /1.1/functions/_clientOnline and _clientOffline with the hook
// key. So functions that an app has deployed for LeanCloud's IM service go on being called.
//
// # Rules
//
// Of what was sent online is sent offline, at least once, in order per peer, also across nodes and
// their deaths: a [Ledger] in the store has each session from before its online hook until its
// offline hook was answered, and if its node dies a survivor sends that. docs/decisions/0042 has
// the order of the steps and what a kill between two of them leaves.
//
// The events of one peer are delivered one after the other, in the order in which they happened;
// peers do not wait for each other. What fails is retried, with growing pauses, until it is too
// old; what is refused (4xx) is not. An event is written to a journal before it is sent and struck
// out when it is delivered, so a restart goes on where the process ended; a delivery that was under
// way then is made twice. The queue is bounded: when it is full, new sessions are dropped and
// counted; the ends of those that were taken are not.
//
// # Not in this room
//
// It decides nothing about presence, and nothing waits for it. The queue, the journal, the turns
// and the manners of a call are those of internal/outbox, which posts changes too. Only the
// configuration names the addresses to call; redirects are not followed.
package hookout
