package rtm

import "rollcall/presence"

// The commands and operations of the wire, by number.
const (
	cmdSession   = 0
	cmdConv      = 1
	cmdDirect    = 2
	cmdAck       = 3
	cmdRcp       = 4
	cmdUnread    = 5
	cmdLogs      = 6
	cmdError     = 7
	cmdLogin     = 8
	cmdData      = 9
	cmdRoom      = 10
	cmdRead      = 11
	cmdPresence  = 12
	cmdReport    = 13
	cmdEcho      = 14
	cmdLoggedin  = 15
	cmdLogout    = 16
	cmdLoggedout = 17
	cmdPatch     = 18
	cmdPubsub    = 19
	cmdBlacklist = 20
	cmdGoaway    = 21

	opOpen        = 1
	opAdd         = 2
	opRemove      = 3
	opClose       = 4
	opOpened      = 5
	opClosed      = 6
	opQuery       = 7
	opQueryResult = 8
	opAdded       = 10
	opRemoved     = 11
	opRefresh     = 12
	opRefreshed   = 13
	opUpload      = 100
	opUploaded    = 101
)

// cmdNames are the commands as JSON writes them.
var cmdNames = [...]string{
	"session", "conv", "direct", "ack", "rcp", "unread", "logs", "error", "login", "data", "room", "read", "presence",
	"report", "echo", "loggedin", "logout", "loggedout", "patch", "pubsub", "blacklist", "goaway",
}

var opNames = map[int32]string{
	opOpen: "open", opAdd: "add", opRemove: "remove", opClose: "close", opOpened: "opened", opClosed: "closed",
	opQuery: "query", opQueryResult: "query_result", opAdded: "added", opRemoved: "removed", opRefresh: "refresh",
	opRefreshed: "refreshed", opUpload: "upload", opUploaded: "uploaded",
}

// An optional number: absent and zero are different things on this wire.
type optional struct {
	value int64
	is    bool
}

func some(v int64) optional { return optional{v, true} }

// A request is one command of a client, as far as presence goes. Its texts alias the message it was
// read from.
type request struct {
	cmd          int32
	op           int32 // -1: absent, or one that JSON does not know
	appID        string
	peerID       presence.PeerID
	peer         bool // peerID is present
	i            optional
	installation string
	service      optional

	// of the session message
	t           int64 // signature: time, nonce, and itself
	n, s        string
	ua          string
	r           bool
	tag         string
	deviceID    string
	deviceToken string
	st          string
	asked       [][]byte // sessionPeerIds, up to the limit

	beat bool // the empty JSON object, which is a heartbeat
}

// An answer is one command of the server. Zero fields are left out, but for cmd.
type answer struct {
	cmd          int32
	op           int32
	peerID       presence.PeerID
	i            optional
	service      int32
	serverTs     int64
	installation string

	session *sessionAnswer
	failure *failure
}

type sessionAnswer struct {
	online [][]byte
	query  bool // online is present, also when it is empty
	st     string
	stTTL  int32
	code   int32
	reason string
}

type failure struct {
	code   int32
	reason string
	detail string
}
