// Package sse is the door for watching over server-sent events: GET and POST /v1/watch.
//
// A stream begins with events called snapshot (or, after Last-Event-ID, resume), then carries
// change, and mark when nothing happens. Every event that leaves nothing queued has an id, the
// token with which a reader goes on after a break. Before the server closes a stream that still
// takes bytes it says why in an event called bye.
//
// Over plain HTTP/1 the hub writes to the socket itself while a stream waits, the same bytes to all
// streams that receive the same (but for the renewals of tickets, which are each stream's own);
// HTTP/2 and TLS streams are written by their own goroutines.
//
// # Units and limits
//
// While more than 32 KiB are on their way to a reader nothing more is written: what changes
// meanwhile is merged. A reader that takes nothing for 10 s receives bye and is closed; it goes on
// with its last id. Frames are at most the hub's buffer. Headers forbid proxies to buffer
// and to transform it.
package sse
