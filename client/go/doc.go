// Package rollcall asks a rollcall server who is online, reports to it, watches peers, and is present itself.
//
// A [Client] holds an address and a key; it may be used by many goroutines. [Client.Query] asks once. [Client.Watch] follows
// peers until its context ends: it connects again by itself, goes on where it was, and tells each peer only when its status is
// another than it told last. [Client.Present] keeps a peer online in the same way.
//
// # Errors
//
// A refusal is an [*Error] with the server's code, which never changes its meaning. Watch and Present return only when
// their context ends, or with a refusal that trying again would not change.
//
// The package uses nothing but the standard library.
package rollcall
