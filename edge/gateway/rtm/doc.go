// Package rtm speaks LeanCloud's realtime protocol, the presence part of it: IM SDKs log in as they
// are, stay, ask who is online, and log out.
//
// One connection carries commands both ways: proto2 messages as bytes, the same in base64, or flat
// JSON objects for the oldest clients; the subprotocol says which. A [Server] answers GET /v1/route
// with where to connect, and upgrades connections onto a gateway, which holds sockets and sessions.
//
// # Rules
//
// The command is always written, also when it is zero. Absent and zero are different things: a
// request without a number is answered without one. Every answer names its peer and the IM service.
// Whatever asks for messages or conversations is refused by an error command with the same number,
// and the session goes on; what has no number is not answered.
//
// A session token stands for a login that was accepted. It carries all that a bare reopen leaves
// out (peer, tag, device) and is signed with a key derived from the app's master key, so it
// survives restarts and changes of the node. A kick outlives every token and signature from before
// it.
//
// # Units and errors
//
// Times are Unix milliseconds; signatures may carry seconds. Errors are LeanCloud's codes 4100 to
// 4401, see code.go.
//
// # Not in this room
//
// No REST calls (edge/leancloud has them), no sockets and leases (the gateway above has them), no
// messages, conversations or push.
package rtm
