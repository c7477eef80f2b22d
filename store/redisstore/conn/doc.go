// Package conn holds the connections to a Redis: alone, behind Sentinels, or a Cluster.
//
// # Use
//
// [ParsePlace] reads a URL, [Open] connects to the [Place], [Conn.CheckServer] refuses a server
// that does not fit, and [Conn.Start] brings the links up. Commands go through [Conn.Do],
// [Conn.DoMulti] and, for scripts, [Conn.Exec]. A caller passes the errors of its commands to
// [Conn.Failed] or [Conn.FailedSince]: that is how an unreachable primary is found.
//
// # Links
//
// A [Link] is a dedicated connection to one primary that reports what is written there ([Events]).
// While it is up, what is cached of that primary is fresh. A link proves itself every second by a
// key of its own that has to come back.
//
// # Down and back
//
// A primary is marked down by the first call that it does not answer. The owner of the connection
// polls it ([Link.Ask]), marks it up and, when everything has been reported again, resumes expiry
// ([Link.ResumeExpiry]).
//
// # Time
//
// [Conn.Now] is the time of Redis. Durations and ages are in milliseconds of the age of the
// connection, which is monotonic.
//
// # Errors
//
// Errors match [presence.ErrUnavailable], except answers of Redis that a caller looks at. What
// keeps a connection from being opened is an [OpenError].
package conn
