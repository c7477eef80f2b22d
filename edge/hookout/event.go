package hookout

import (
	"encoding/json"
	"fmt"

	"rollcall/presence"
)

// An Event is one login or its end.
type Event struct {
	// Version is that of the journal's events, see eventVersion. The first release wrote none.
	Version int             `json:"v,omitempty"`
	App     presence.AppID  `json:"app"`
	Peer    presence.PeerID `json:"peer"`
	// Session and Start name the session in the [Ledger]; Node is where it was on record when the
	// event was written. The first release wrote none of them.
	Session presence.SessionID `json:"session,omitempty"`
	Start   presence.Millis    `json:"start,omitempty"`
	Node    presence.NodeID    `json:"node,omitempty"`

	Online    bool            `json:"online,omitempty"`
	Tag       string          `json:"tag,omitempty"`
	Reconnect bool            `json:"reconnect,omitempty"` // an automatic login
	Cause     presence.Cause  `json:"cause,omitempty"`     // of the end
	Reason    string          `json:"reason,omitempty"`
	ErrorCode int             `json:"code,omitempty"` // why the connection was lost
	Address   string          `json:"address,omitempty"`
	At        presence.Millis `json:"at"`
	// Trace is the traceparent of the request that opened the socket.
	Trace string `json:"trace,omitempty"`

	found bool // in the journal of an earlier run
	// The ledger has the session on this node; of what was not found only the beginning is
	// recorded.
	recorded bool
	// Another node has the session on record, or of what was found none has: nothing is to be sent.
	void  bool
	taken bool // an end of a session that was taken over
	// An end of a session that another node has taken over, or had: older ones may come before.
	behind bool
}

func (e *Event) ref() ref {
	return ref{e.App, e.Peer, e.Session, e.Start}
}

// eventVersion is the version of journal events that this release writes, and the latest that it
// reads.
const eventVersion = 1

// known reports whether this release understands e.
func (e *Event) known() bool {
	return e.Version >= 0 && e.Version <= eventVersion && e.Cause.Known()
}

// hook returns the name of the function that receives e.
func (e *Event) hook() string {
	if e.Online {
		return "_clientOnline"
	}
	return "_clientOffline"
}

type onlineBody struct {
	PeerID    presence.PeerID `json:"peerId"`
	SourceIP  string          `json:"sourceIP,omitempty"`
	Tag       string          `json:"tag,omitempty"`
	Reconnect int             `json:"reconnect"`
}

type offlineBody struct {
	PeerID    presence.PeerID `json:"peerId"`
	CloseCode int             `json:"closeCode"`
	CloseMsg  string          `json:"closeMsg"`
	SourceIP  string          `json:"sourceIP,omitempty"`
	Tag       string          `json:"tag,omitempty"`
	ErrorCode int             `json:"errorCode,omitempty"`
	ErrorMsg  string          `json:"errorMsg,omitempty"`
}

// errorNames are the reasons for a lost connection that the hooks know.
var errorNames = map[int]string{
	4107: "READ_TIMEOUT", 4108: "LOGIN_TIMEOUT", 4109: "FRAME_TOO_LONG", 4114: "UNPARSEABLE_RAW_MSG", 4200: "INTERNAL_ERROR",
}

// body returns the parameters as LeanCloud writes them.
func (e *Event) body() ([]byte, error) {
	var v any
	if e.Online {
		b := onlineBody{PeerID: e.Peer, SourceIP: e.Address, Tag: e.Tag}
		if e.Reconnect {
			b.Reconnect = 1
		}
		v = b
	} else {
		b := offlineBody{PeerID: e.Peer, SourceIP: e.Address, Tag: e.Tag}
		b.CloseCode, b.CloseMsg = closeOf(e.Cause)
		if e.Reason != "" {
			b.CloseMsg = e.Reason
		}
		if b.CloseCode == closeLost {
			b.SourceIP = "" // neither side closed it
			if name, ok := errorNames[e.ErrorCode]; ok {
				b.ErrorCode, b.ErrorMsg = e.ErrorCode, name
			}
		}
		v = b
	}
	out, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write the body of %s: %w", e.hook(), err)
	}
	return out, nil
}

const closeLost = 2

// closeOf returns LeanCloud's close code and text for a cause.
func closeOf(c presence.Cause) (code int, text string) {
	switch c {
	case presence.CauseLogout:
		return 1, "LOGOUT"
	case presence.CauseReplaced:
		return 3, "SESSION_CONFLICT"
	case presence.CauseKicked:
		return 4, "KICKED_BY_APP"
	default:
		return closeLost, "CONNECTION_LOST"
	}
}
