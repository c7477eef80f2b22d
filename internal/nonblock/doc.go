// Package nonblock writes to sockets what the kernel takes at once. It never waits: not for buffer
// space, and not for the scheduler either, which does not notice so short a call. It is for writing
// to a thousand sockets in a row.
package nonblock
