// Package ask answers questions about peers. It is the one room that reads a store to answer.
//
// # Use
//
// A [Reader] is made once, over the rules and the store, and shared by all doors. Every question
// names a [View]: the app, and who asks. The zero View is refused with [ErrView], so a door that
// leaves the viewer out gets an error and never the answer of another viewer.
//
//	view := ask.View{App: app, Viewer: ask.Public}
//	answer, err := reader.Summaries(ctx, view, peers, 0)
//	if err != nil {
//		return err
//	}
//	known, age := answer.Read()
//
// # Age
//
// While a part of the store is unreachable, a question may be answered from what was known before.
// An [Answer] has such an answer together with its age; what it says cannot be read without it. 0
// is an answer of now. An error has no answer.
//
// # Bytes
//
// [AppendPeer] is the one encoder of a peer: of REST, of streams and sockets, of operators. [Why]
// is the one explanation.
//
// # Errors
//
// Each method names its errors. All match, under errors.Is, [ErrView], or one of the errors of
// package presence: ErrUnavailable when the store does not answer, ErrInvalid for a cursor that is
// none.
//
// # Not in this room
//
// Limits, rates and rights: doors hold callers to them before they ask. Changes: package watch
// sends them as they come.
package ask
