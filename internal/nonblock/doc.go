// Package nonblock writes to sockets what the kernel takes at once. It never waits: not for room, and not for the scheduler
// either, which is told nothing of so short a call. For those who write to a thousand sockets in a row.
package nonblock
