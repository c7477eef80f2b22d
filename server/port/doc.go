// Package port has the HTTP server of one address: the socket, which may be the service manager's,
// the book of its connections, the fast lane, TLS beside it, and the deadlines of both.
//
// # Life
//
// [Bind] takes the address. [Listener.Serve] answers; until [Listener.Mount] names a handler for
// good, requests wait, since a hook that is refused at a start is not sent again. To stop, call
// [Listener.Drain], [Listener.Linger] and [Listener.Stop], in this order.
package port
