// Package rollcall asks a rollcall server who is online, reports to it, watches peers, and is present itself.
//
// A [Client] holds an address and a key; many goroutines may use it. [Client.Query] asks once. [Client.Watch] follows peers
// until its context ends: it connects again by itself, goes on where it was, and passes on a peer only when its status is
// another than before. [Client.Present] keeps a peer online in the same way. [Client.Report], [Client.Beat], [Client.Drain]
// and [Client.Resync] are for chat servers that report their own connections.
//
// # Errors and retries
//
// Every error is an [*Error]. Only an answer of rollcall itself is final, such as a wrong key: a broken connection, a page
// of a proxy, half an answer, and a server that says it is busy are retried. A call is tried up to five times within 30 s,
// and every call may be made twice: Report names its events, so that each counts once. Watch and Present retry until their
// context ends; [Config.Retrying] gets what they retry.
//
// The package uses nothing but the standard library.
package rollcall
