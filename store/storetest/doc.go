// Package storetest is the law for every store: what a presence.Store must do, as tests that know
// nothing of how it does it. A rule that is not tested here does not exist.
//
// A store's own test calls [Run] with a function that opens a fresh store, or [RunVolatile] when it
// keeps nothing. Stores have no clock, so nothing here waits: now is an argument and stands
// wherever a test puts it. [History] runs one seeded history and returns what is left at the end,
// so that two stores can be compared.
//
// # Not in this room
//
// Nothing of files, Redis or caches: what a store promises beyond presence.Store, it tests at home.
package storetest
