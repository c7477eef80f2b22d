// Package v1 is rollcall's own wire on a WebSocket, GET /v1/socket: be present and watch over one
// connection.
//
// Messages are JSON objects in text frames, each with its kind in op. The first from a client is
// hello with what it holds: an app with a key or a ticket. Then present makes a peer online for as
// long as the socket lives, absent logs it out, watch and unwatch change the list of peers that it
// follows. A message with an id is answered by ok or error with the same id; what watchers receive
// has the shapes of the event stream, with the event's name in op.
//
// # Rules
//
// One socket has at most one peer present. A socket that is closed without absent is a lost
// connection, and its peer lingers for the hold. A reader that takes nothing is bounded by the
// gateway, and the words it missed are merged into the latest of each peer while it does not read.
package v1
