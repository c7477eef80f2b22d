// Package framing refuses HTTP/1 requests that two readers could cut apart at different places.
//
// net/http drops a Content-Length that stands beside a Transfer-Encoding, ends lines at a bare LF
// and joins folded ones. A proxy in front that reads them otherwise lets an attacker smuggle a
// request past it. A [Conn] follows the framing of what it reads and lets through only what has one
// reading; anything else is replaced by bytes that net/http answers with 400 and closes, so the
// refusal comes in its turn behind the answers to the requests before it.
//
//	srv := &http.Server{ConnState: framing.ConnState}
//	srv.Serve(framing.Listener{Listener: l})
//
// # Refused
//
// Content-Length beside Transfer-Encoding, twice, or not plain digits; a Transfer-Encoding that is
// not exactly "chunked", comes twice or with HTTP/1.0; lines that end without CR; folded lines;
// lines without colon or with space before it; chunk sizes and chunk ends that are not exact; a
// version other than HTTP/1.0 and HTTP/1.1.
//
// # Let alone
//
// HTTP/2 with prior knowledge, and everything after a hijack. After a request to upgrade to
// WebSocket nothing is judged until the server has hijacked the connection; when it has answered
// without, the connection ends. TLS belongs below: wrap the plain side. Limits of size stay
// net/http's.
package framing
