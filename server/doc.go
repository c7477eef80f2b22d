// Package server puts the rooms together: it opens the store, mounts the doors on their listeners,
// sweeps, counts, and takes everything down again in reverse. It decides nothing about presence.
// Settings are read and checked in config; port has the HTTP server of an address.
//
// # Life
//
// [New] binds the ports and fails when it cannot. [Server.Start] opens the store; until it returns,
// requests are answered 503 "starting" and only /livez is well. [Server.Stop] ends listeners, then
// loops, then the store.
//
// # Time
//
// The process looks at the wall clock once, at its start; from then on now is that plus what the
// monotonic clock has run, so stepping the wall clock changes no presence.
//
// # Where things are mounted
//
// Doors that apps reach: app.go. What operators reach: operator.go. Which store is opened:
// store.go.
package server
