// Package transfer moves the states of peers between stores as lines of JSON: exports, which are
// merged into a store, and backups, which become one.
//
// A file is a header, a line for each peer, and a last line with their number and the checksum of
// all before it, so that a file that was cut or altered is not taken for a whole one.
// docs/backup.md documents the lines. [Export] writes what a [Source] has; [Import] merges a file
// into a [Destination], and may be repeated: see [presence.State.Join].
//
// # Errors
//
// What is wrong with a file is a [*FileError], with the line and a stable code. Peers before that
// line are merged by then.
package transfer
