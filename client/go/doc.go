// Package rollcall asks a rollcall server which peers are online, reports to it, follows peers, and
// keeps a peer online itself.
//
// [New] makes a [Client] of an address, an app and one of its keys; goroutines may share it. Close
// it when it is not needed any more.
//
//	c, err := rollcall.New(rollcall.Config{URL: "http://127.0.0.1:3000", App: "my-app", Key: key})
//	peers, err := c.Query(ctx, "tom", "ann")
//
// [Client.Query] and [Client.Ask] ask once. [Client.Watch] follows peers until its context ends: it
// reconnects, resumes, and calls back only when the status of a peer differs from the last.
// [Client.Replicate] keeps a copy of who is online in the whole app, for a server with the master
// key. [Client.Present] keeps a peer online in the same way. [Client.Report], [Client.Beat],
// [Client.Drain] and [Client.Resync] are for chat servers that report their own connections; they
// take the hook key.
//
// # Errors and retries
//
// Every error is an [*Error]. Only an answer of rollcall itself is final, such as a wrong key: a
// broken connection, a page of a proxy, half an answer, and a server that says it is busy are
// retried. A call is tried up to five times within 30 s, and every call may be made twice: Report
// names its events, so that each counts once. Watch and Present retry until their context ends;
// [Config.Retrying] gets what they retry.
//
// The package uses nothing but the standard library.
package rollcall
