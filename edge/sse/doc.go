// Package sse is the door for watching over server-sent events: GET and POST /v1/watch.
//
// A stream begins with events called snapshot (or, after Last-Event-ID, resume), then carries change, and mark when nothing
// happens. Every event that leaves nothing queued has an id, the token with which a reader goes on after a break. Before the
// server closes a stream that still takes bytes it says why in an event called bye.
//
// # Units and limits
//
// A reader that has not taken a frame 10 s after it was written is closed; it goes on with its last id. Frames are at most
// the hub's buffer. Headers tell proxies to buffer and transform nothing.
package sse
