// Package record keeps the last calls of each source as files that can be read again: "rollcall
// ingest check" and package sourcetest take them as they are.
//
// What proves a call and where it came from is struck out before it is written: secrets, tokens,
// passwords and signatures, and the addresses of networks and machines, by the rules of strike.go.
// Ids of peers and of their sessions stay, since a call without them says nothing.
//
// Only calls whose origin is proven come here, so that a stranger fills no disk. A call never waits
// for a file: one that comes while others are being written may be left out.
package record
