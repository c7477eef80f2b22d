package ask

import (
	"strconv"

	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// A Peer is what is known of a peer.
type Peer struct {
	ID       presence.PeerID
	Status   presence.Status
	Cause    presence.Cause  // why it is offline
	Since    presence.Millis // when it turned; 0 when it is unknown
	LastSeen presence.Millis // the latest sign of life
	Version  uint64          // rises with every change
	Devices  []string        // what its open sessions run on; nil when it has not been read whole

	Activity presence.Activity
	ActiveAt presence.Millis // when the user last did something; 0 when no source says
	Reach    presence.Reach
	Sessions []Session // nil when they are not known
}

func peerOf(id presence.PeerID, s *presence.Summary) Peer {
	return Peer{ID: id, Status: s.Status, Cause: s.Cause, Since: s.Since, LastSeen: s.LastSeen, Version: s.Rev}
}

// Fields are what is written of a peer beside its id and its status.
type Fields uint16

// The fields. A peer that is unknown has neither times nor a cause, one that is online has no
// cause.
const (
	Since Fields = 1 << iota
	LastSeen
	Cause
	Version
	Devices
	Activity // when some session says so
	ActiveAt // the same
	Reachable
	Sessions
)

// Whole are the fields for which a peer is read whole.
const Whole = Devices | Activity | ActiveAt | Reachable | Sessions

// AppendPeer appends p as a JSON object with fields to b.
func AppendPeer(b []byte, p *Peer, fields Fields) []byte {
	b = append(b, `{"peer":`...)
	b = plainjson.AppendString(b, string(p.ID))
	b = append(b, `,"status":"`...)
	b = append(b, p.Status.String()...)
	b = append(b, '"')
	if fields == 0 {
		return append(b, '}')
	}
	if p.Status != presence.Unknown {
		if fields&Since != 0 {
			b = append(b, `,"since":`...)
			b = strconv.AppendInt(b, int64(p.Since), 10)
		}
		if fields&LastSeen != 0 {
			b = append(b, `,"last_seen":`...)
			b = strconv.AppendInt(b, int64(p.LastSeen), 10)
		}
	}
	if fields&Cause != 0 && p.Status == presence.Offline {
		b = append(b, `,"cause":"`...)
		b = append(b, p.Cause.String()...)
		b = append(b, '"')
	}
	if fields&Version != 0 {
		b = append(b, `,"version":`...)
		b = strconv.AppendUint(b, p.Version, 10)
	}
	if fields&Devices != 0 && p.Devices != nil {
		b = append(b, `,"devices":[`...)
		for i, name := range p.Devices {
			if i > 0 {
				b = append(b, ',')
			}
			b = plainjson.AppendString(b, name)
		}
		b = append(b, ']')
	}
	if fields&Activity != 0 && p.Activity != presence.ActivityUnknown {
		b = append(b, `,"activity":"`...)
		b = append(b, p.Activity.String()...)
		b = append(b, '"')
	}
	b = appendTime(b, `,"active_at":`, p.ActiveAt, fields&ActiveAt != 0)
	if fields&Reachable != 0 && p.Devices != nil {
		b = append(b, `,"reachable":"`...)
		b = append(b, p.Reach.String()...)
		b = append(b, '"')
	}
	if fields&Sessions != 0 && p.Sessions != nil {
		b = appendSessions(b, p.Sessions)
	}
	return append(b, '}')
}

// appendTime appends a member with t when it is wanted and known.
func appendTime(b []byte, member string, t presence.Millis, wanted bool) []byte {
	if !wanted || t == 0 {
		return b
	}
	return strconv.AppendInt(append(b, member...), int64(t), 10)
}
