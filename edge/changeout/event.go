package changeout

import (
	"encoding/json"
	"slices"
	"strconv"

	"rollcall/ask"
	"rollcall/feed"
	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// An Event is one change for one receiver, or the word that it must list again.
type Event struct {
	// Version is that of the journal's events, see eventVersion.
	Version  int    `json:"v"`
	Receiver string `json:"to"`
	// Term is that of the sender: what another wrote since makes it void.
	Term string `json:"term"`
	// Cursor is up to where everything was read, once this event and those before it are taken.
	Cursor string          `json:"cursor"`
	At     presence.Millis `json:"at"` // when it was read
	// Change is the peer, as it is sent. An event without one says to list again.
	Change json.RawMessage `json:"change,omitempty"`
	// Why the receiver must list again, and how many changes are not sent for that.
	Why  reason `json:"why,omitempty"`
	Lost int    `json:"lost,omitempty"`

	r       *receiver
	dropped bool
}

// eventVersion is the version of journal events that this release writes, and the latest that it
// reads.
const eventVersion = 1

func (e *Event) known() bool { return e.Version == eventVersion && e.Receiver != "" }

// size is about what e takes in memory.
func (e *Event) size() int { return len(e.Change) + len(e.Cursor) + eventOverhead }

const eventOverhead = 200

// A reason says why a receiver must list again.
type reason string

const (
	first    reason = "first"    // nothing was ever sent to it
	tooMuch  reason = "too_much" // more waits than may
	tooOld   reason = "too_old"  // it has waited for longer than it may
	refused  reason = "refused"  // a batch was refused
	storeWas reason = "store"    // the store has lost writes, or is another one
)

// eventOf returns c for a receiver.
func eventOf(r *receiver, c *feed.Change, now presence.Millis) *Event {
	fields := ask.Since | ask.Cause | ask.Version
	if c.Status == presence.Offline {
		fields |= ask.LastSeen // of one that is online it moves all the time
	}
	return &Event{r: r, Version: eventVersion, Receiver: r.ID, Term: r.term, At: now, Change: ask.AppendPeer(nil, &ask.Peer{
		ID: c.Peer, Status: c.Status, Cause: c.Cause, Since: c.Since, LastSeen: c.LastSeen, Version: c.Version,
	}, fields)}
}

// wants reports whether c is sent to r.
func (r *Receiver) wants(c *feed.Change) bool {
	return len(r.Only) == 0 || slices.Contains(r.Only, c.Status)
}

// bodyOf returns the body of the call that sends batch.
func bodyOf(app presence.AppID, batch []*Event, now presence.Millis) []byte {
	b := plainjson.AppendString([]byte(`{"app":`), string(app))
	b = strconv.AppendInt(append(b, `,"at":`...), int64(now), 10)
	b = append(b, `,"changes":[`...)
	changes := 0
	var again *Event
	for _, e := range batch {
		if e.Change == nil {
			again = e
			continue
		}
		if changes++; changes > 1 {
			b = append(b, ',')
		}
		b = append(b, e.Change...)
	}
	b = append(b, ']')
	if again == nil {
		return append(b, `,"list_again":false}`...)
	}
	b = plainjson.AppendString(append(b, `,"list_again":true,"why":`...), string(again.Why))
	return append(strconv.AppendInt(append(b, `,"lost":`...), int64(again.Lost), 10), '}')
}
