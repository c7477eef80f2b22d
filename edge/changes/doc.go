// Package changes is the door of GET /v1/changes: what changed in an app since a cursor, for a
// server with the master key that keeps a copy of who is online.
//
// One answer or a stream of events, by the Accept header; both say the same, see package feed. A
// reader that takes nothing costs its connection and one page: what changes meanwhile waits in the
// register, each peer once.
package changes
