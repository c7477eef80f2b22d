// Package leancloud is the dialect of LeanCloud: the hooks that report clients online and offline,
// the cloud function getOnOffStatus that answers which ids are online, and the REST calls about
// clients. An app that used the recipe works after changing its domain.
//
// [New] returns an http.Handler for every path that [Owns] claims. It stands on a presence.Service
// and has no state but counters.
//
// # Rules
//
// Credentials come first: a call with a wrong key is refused before its body is read, unless the
// credentials are in the body. Every answer is JSON with the allow-origin header; errors are
// {"code":<integer>,"error":"<text>"}, and no success has a key "error". An id may be any text in a
// query; in a hook it has 1 to [presence.MaxHookPeer] bytes. A hook is answered with 200 only when
// the report is kept; while the store cannot keep it, or cannot answer, the answer is 503 and never
// a made-up "0".
//
// # The hot path
//
// The plain shape of a question, {"peerIds":["a","b"]} with neither escapes nor other keys, is read
// by hand without copying an id; whatever looks different goes through encoding/json. A fuzz test
// holds the two together. Both HTTP lanes (see [Handler.Lane]) end in the same code.
//
// # Not in this room
//
// No sockets, no watchers, no limits per caller. docs/decisions/0006-leancloud-dialect.md says
// where the recorded behaviour of the original was not followed, and why.
package leancloud
