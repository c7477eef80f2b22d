// Package limit bounds what callers take of a server: rates by key and address, and shares of what
// all of them use.
//
// The limits belong to the caller and not to the door: every door charges the same [Callers], so
// that a caller who is refused at one finds no other way in.
//
// # Rules
//
// A rate is kept by the generic cell rate algorithm: one time per caller, at which all it took will
// be paid for. Callers that have been quiet are forgotten, and so many are remembered at most; a
// crowd beyond that is let through a little more rather than shut out. Of a [Share] one holder has
// at most half of what the others leave, so that no one of them can take all of it.
//
// An IPv6 address counts by its /64, see [Group].
package limit
