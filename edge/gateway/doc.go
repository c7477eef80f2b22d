// Package gateway holds sockets: to be connected is to be present.
//
// A wire (a package below, such as rtm) upgrades a request by [Gateway.Upgrade] and is handed
// messages through its [Handler]. It opens sessions on its [Socket]; from then on the socket
// reports by living. The gateway pings what is silent, ends what has been silent for its lease,
// sends heartbeats for its node, and carries kicks and tag conflicts to the socket they mean,
// whichever node holds it.
//
// # Rules
//
// A session is a connection; its id also says its device and tag. When a device logs in again, here
// or on another node, its older connection is probed, and ends as replaced if nothing comes from
// it; if it lives, both stay. Two sessions of a peer with the same real tag on different devices
// cannot coexist: a login by hand pushes the older one out, an automatic one is refused. The order
// is (incarnation, id), decided on the state in the store, so two nodes agree on who stays. A
// client that loses its place is sent so, after the answer to its login and never before.
//
// A clean close is offline at once. A lost socket is reported at once too, with a hold, so that
// queries know and watchers do not flicker. Silence is offline at the lease, never before. A
// drained node reports nothing: its last heartbeat gives its sessions a grace to come back
// elsewhere.
//
// # Units and errors
//
// Liveness runs on the monotonic clock; the wall clock only dates reports. [Socket.Open] fails with
// [ErrConflict], [ErrFull], [ErrKicked], [ErrRate], [ErrGone] or an error of presence.
//
// # Memory
//
// On Linux a plain TCP socket that is silent has neither goroutine nor buffer: the poller reads it
// when something came, see docs/decisions/0040. Anything else (TLS, pipes) has one goroutine. What
// a client does not read is bounded.
//
// # Not in this room
//
// No commands of any wire, no keys and signatures: those belong to the wire. No messages between
// clients.
package gateway
