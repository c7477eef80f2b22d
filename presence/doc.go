// Package presence decides who is online.
//
// Sources bring a [Report]: "peer tom, session 7f3a, connected at 10:04:05". It is merged into the
// peer's [State], and only when the peer's [Status] really turns is there a change. A [Store] keeps
// one packed State per peer; the [Service] carries reports to it, answers questions from it and
// ends what has run out.
//
// # Rules
//
// A peer is [Online] while at least one of its sessions is live. Reports may come late, twice or
// swapped: a session is ordered by (incarnation, time, offline before online at a tie), the greater
// wins, and within one named incarnation an offline is final; any order, repetition and split of
// the same reports ends in the same state (decision 1). A session is live while its lease runs, or
// while its node sends heartbeats; an offline peer is forgotten after a week. Hooks that name
// neither a session nor a time are summed up per [Slot] (decision 2).
//
// What follows from time alone is a conclusion, drawn by [State.Expire]; [Summary.At] and
// [PeekStatus] know it before the sweep has come by. A newer report may overturn it. Since, Start
// and Device are for display: they may depend on the order of arrival, the status never does.
//
// # Units and errors
//
// Times are Unix milliseconds in UTC ([Millis]); zero means "not known". A lease is a
// time.Duration. Every error matches [ErrInvalid], [ErrUnavailable] or [ErrFull] under errors.Is. A
// peer without a report is not an error: it is [Unknown].
//
// # Not in this room
//
// No clock (now is an argument), no sockets, no JSON, no Redis: standard library only.
// rooms_test.go at the root fails when that stops being true.
package presence
