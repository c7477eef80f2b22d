// Package outbox sends events to servers of others: those of one key one after the other, in order,
// and keys beside each other. It is what all doors that call out have in common: the queue, the
// journal, the turns, the pauses and the manners of a call. What an event says and where it goes is
// the door's.
//
//	box := outbox.Open(outbox.Config{Parallel: 16}, door, journal, nil)
//	box.Add(&event)      // never waits
//	err := box.Close(ctx, nil)
//
// An event is written to the journal before it is sent and struck out when it is over, so a restart
// goes on where the process ended; what was under way then is sent twice.
package outbox
