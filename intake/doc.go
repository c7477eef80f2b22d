// Package intake takes reports in: it turns what a source says into reports of package presence,
// and counts them.
//
// # Use
//
// An [Intake] is made once, over the rules, and shared by all doors. A door checks who calls, and
// hands over what it was sent under the name of its [Sender]: the app, the source, and how its
// reports are read. One event goes by [Intake.Take]:
//
//	out, err := in.Take(ctx, &intake.Sender{App: app, Source: "emqx"}, &event)
//
// A call that carries many opens a [Batch]. An event that cannot be used counts against no other;
// the [Tally] says what became of each:
//
//	batch := in.Batch(sender, len(events))
//	for _, raw := range events {
//		batch.AddJSON(raw)
//	}
//	tally, err := batch.Send(ctx)
//
// So a source with a format of its own needs one function, from the body of a call to a list of
// [Event]; it adds them with [Batch.Add]. An [Event] without a time gets the time of receipt, and
// events of one session that arrive in the same millisecond keep their order.
//
// A source that holds many sessions at once sends [Intake.Heartbeat] for its node, [Intake.Drain]
// as its last one, and its complete list of sessions as a [Resync].
//
// A [Queue] delivers reports of this process that must arrive, however long the store is
// unreachable.
//
// # Units and errors
//
// Times are Unix milliseconds, leases and holds are durations. An event that is wrong is a
// [*FieldError] with the field and a code; it matches presence.ErrInvalid. When a call returns an
// error of the store (presence.ErrUnavailable, presence.ErrFull) some of its reports may be
// counted; sending all of them again does no harm.
//
// # Not in this room
//
// No HTTP, no keys, no signatures: a door has checked them before. No status codes: it finds them
// by the error.
package intake
