package gateway

import "sync/atomic"

// A Refusal is a kind of thing that the gateway did not do, and counts.
type Refusal uint8

// The refusals, by what was wrong. Their names are those of the metrics.
const (
	RefusedHandshake   Refusal = iota // no WebSocket handshake, or no subprotocol that is known
	RefusedOrigin                     // a browser from elsewhere
	RefusedRate                       // too many connects from one address
	RefusedFull                       // as many sockets as there may be
	RefusedDraining                   // the node is going
	RefusedFrame                      // a frame that breaks the protocol
	RefusedType                       // text where bytes belong, or the other way round
	RefusedSize                       // a message over the limit
	RefusedMessage                    // a message that cannot be decoded
	RefusedControls                   // too many control frames
	RefusedMessages                   // too many messages
	RefusedSilence                    // silent for the lease
	RefusedFirstWord                  // connected and sent nothing
	RefusedLogin                      // a login that was not accepted
	RefusedNoLogin                    // no session for too long
	RefusedSlow                       // does not read what it is sent
	RefusedSessions                   // too many sessions on one socket
	RefusedConflict                   // a login that lost against another device
	RefusedUnavailable                // a login or a question that the store did not take
	RefusedCommand                    // a command that this server does not serve
	RefusedNoSession                  // a command before the login
	RefusedEarly                      // too many sockets of one address that have had no session
	RefusedLogins                     // too many logins of one address or app
	RefusedNewPeers                   // too many logins of unknown peers
	RefusedExpired                    // the user token of the client ended
	refusals
)

var refusalNames = [refusals]string{
	"handshake", "origin", "rate", "full", "draining", "frame", "type", "size", "message", "controls", "messages", "silence",
	"first_word", "login", "no_login", "slow", "sessions", "conflict", "unavailable", "command",
	"no_session", "early", "logins", "new_peers", "expired",
}

func (r Refusal) String() string {
	if r < refusals {
		return refusalNames[r]
	}
	return "unknown"
}

type counters struct {
	sockets, sessions atomic.Int64
	accepted, opened  atomic.Int64
	messages          atomic.Int64
	pings             atomic.Int64
	kicked, replaced  atomic.Int64
	probes            atomic.Int64
	asserted          atomic.Int64
	disowned          atomic.Int64
	heartbeatsFailed  atomic.Int64
	refused           [refusals]atomic.Int64
}

// Stats are the counts of one gateway.
type Stats struct {
	Sockets  int64 `json:"sockets"`  // open now
	Sessions int64 `json:"sessions"` // open now
	Accepted int64 `json:"accepted"` // sockets, since the start
	Opened   int64 `json:"opened"`   // sessions, since the start
	Messages int64 `json:"messages"` // from clients
	Pings    int64 `json:"pings"`    // to clients
	Kicked   int64 `json:"kicked"`   // sessions ended by a kick
	// Sessions that lost their place to another device.
	Replaced int64 `json:"replaced"`
	// Sockets asked whether they live, because their device logged in again.
	Probes   int64 `json:"probes"`
	Asserted int64 `json:"asserted"` // sessions that were reported again
	// Sessions of this node that only the store had, and were ended.
	Disowned         int64 `json:"disowned"`
	HeartbeatsFailed int64 `json:"beats_failed"` // heartbeats that failed
	// Failed reports of ends; each is retried.
	ReportsFailed  int64            `json:"reports_failed"`
	ReportsDropped int64            `json:"reports_dropped"` // invalid ends, dropped
	Refused        map[string]int64 `json:"refused"`
}

// Stats returns the counts since the start.
func (g *Gateway) Stats() Stats {
	c := &g.count
	failed, dropped := g.offlineQueue.Counts()
	s := Stats{
		Sockets: c.sockets.Load(), Sessions: c.sessions.Load(), Accepted: c.accepted.Load(), Opened: c.opened.Load(),
		Messages: c.messages.Load(), Pings: c.pings.Load(), Kicked: c.kicked.Load(), Replaced: c.replaced.Load(), Probes: c.probes.Load(),
		Asserted: c.asserted.Load(), Disowned: c.disowned.Load(), HeartbeatsFailed: c.heartbeatsFailed.Load(), ReportsFailed: failed,
		ReportsDropped: dropped,
		Refused:        make(map[string]int64, refusals),
	}
	for r := range refusals {
		s.Refused[r.String()] = c.refused[r].Load()
	}
	return s
}

// Refuse counts one refusal; wires count what only they can see.
func (g *Gateway) Refuse(r Refusal) { g.count.refused[r].Add(1) }
