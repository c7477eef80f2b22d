// Command truth measures how far the answers of package presence are from what is so, when all it
// receives are hooks that carry no time and no session, come late and swapped, twice or never.
//
// # The world
//
// A peer has one to three devices. A device is used by day, in connections of minutes to hours. A
// connection ends in one of three ways: the user logs out; it breaks and the service notices at
// once; or it dies in silence and the service notices minutes later, by when the device has often
// come back on a new connection, so that its login is reported before the old one's logout. Truth
// is what the messaging service itself would answer: a peer is online while the service holds a
// connection of it, the dead and not yet noticed ones too.
//
// Every hook is up to three seconds late on its own, so neighbours swap; some are lost, some come
// twice. The first seconds after each beginning and each end, in which no hook need have come, are
// not judged.
//
// # The rows
//
// Each row is one way of reporting the same lives: untagged hooks read by their sum and by the last
// that came, hooks with a tag for each device, and sessions with names that are reported again
// every few minutes. A row that breaks its bound fails the run.
//
// Where the service is asked, it answers what it holds, or held a while ago, with yes or no or with
// the sessions: in rounds every hour, and once after each turn to offline. An answer that turns a
// peer offline is asked for again. The rules are those of package presence, the calibration, too: a
// row with answers that are too old fails unless that is found out.
package main
