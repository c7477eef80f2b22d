// Package frame is the server's half of the WebSocket framing (RFC 6455): a reader that is fed
// bytes as they come and holds nothing while nothing is unfinished, headers for writing, and the
// opening handshake.
//
// It exists so that a socket that is silent costs no buffer and no goroutine: the owner of the
// connection may wait for it in any way and feed what it read. The reader bounds everything before
// it keeps it, and a peer that breaks a rule gets an [Error] with the close code that the rule asks
// for.
//
// # Not in this room
//
// No extensions: compression is never negotiated. No client half. No clock and no connection;
// limits on time and rate belong to the owner.
package frame
