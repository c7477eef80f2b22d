// Package fastlane answers a few plain, hot requests before net/http sees them, and hands every
// other connection over to it.
//
// A [Listener] stands between the port and an http.Server. It reads the head of a request; if the
// request line is one of the [Routes], the fields are plain and the length is named, the answer is
// made right there from the connection's own buffer and sent with one write. At the first request
// that looks different in any way the connection is handed over, with what was read of it, and the
// server has it from there on behind the framing guard. So the lane need not know HTTP: it has to
// know what it knows, exactly.
//
//	lane := fastlane.Listen(l, fastlane.Config{…})
//	srv := &http.Server{ConnState: framing.ConnState, …}
//	go srv.Serve(lane)
//	lane.Open(routes)
//
// # Rules
//
// The handler of a route answers byte for byte as its http.Handler does (but for the date), so
// clients see no difference between the lanes. Requests come one after the other on a connection,
// pipelined or not. A connection that idles, or is slow with a head, is closed; one that is slow
// with a body is net/http's to refuse. While the listener drains, connections stay and their
// requests are net/http's. Shutdown closes idle connections and lets a request under way have its
// answer.
package fastlane
