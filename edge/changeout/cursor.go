package changeout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"rollcall/feed"
	"rollcall/presence"
)

// CursorSuffix ends the ids of the apps, made by appending it, in which cursors are kept, each as a
// leased session of a peer that has the receiver's id. No app of a user has such an id.
const CursorSuffix = "#changes"

const (
	cursorSource  = presence.Source("changes")
	cursorSession = presence.SessionID("cursor")
)

// rules are enough for a session that has one reporter.
var rules = func() *presence.Rules { r := presence.DefaultRules(); return &r }()

// errTaken: another node has taken the receiver over.
var errTaken = errors.New("another node has taken over")

// A cursor is up to where a receiver has taken everything, by the word of the sender that has term.
type cursor struct {
	term string
	at   feed.Cursor
}

func (c cursor) String() string { return c.term + " " + c.at.String() }

func parseCursor(text string) (c cursor, ok bool) {
	term, at, _ := strings.Cut(text, " ")
	read, err := feed.ParseCursor(at)
	return cursor{term, read}, err == nil && term != ""
}

func (s *Sender) cursorKey(r *receiver) []presence.Key {
	return []presence.Key{{App: r.App + CursorSuffix, Peer: presence.PeerID(r.ID)}}
}

// take makes this process the sender to r and returns from where it goes on: the zero cursor at the
// first start. What the journal has of an earlier run counts if its term is still that of the
// cursor; then the term stays, and else it is term.
func (s *Sender) take(ctx context.Context, r *receiver, journaled, term string) (c cursor, err error) {
	err = s.deps.Store.Update(ctx, s.cursorKey(r), s.deps.Now(), func(_ int, st *presence.State) presence.Effect {
		c = cursor{term: term}
		if old, ok := cursorIn(st); ok {
			if c.at = old.at; journaled == old.term {
				c.term = old.term
			}
		}
		return s.put(st, r, c)
	})
	if err != nil {
		return c, fmt.Errorf("take the cursor of receiver %q: %w", r.ID, err)
	}
	return c, nil
}

// save keeps c. It returns [errTaken] when another sender has the receiver.
func (s *Sender) save(ctx context.Context, r *receiver, c cursor) error {
	taken := false
	err := s.deps.Store.Update(ctx, s.cursorKey(r), s.deps.Now(), func(_ int, st *presence.State) presence.Effect {
		old, ok := cursorIn(st)
		if taken = !ok || old.term != c.term; taken {
			return presence.Same
		}
		return s.put(st, r, c)
	})
	if err != nil {
		return fmt.Errorf("keep the cursor of receiver %q: %w", r.ID, err)
	}
	if taken {
		return errTaken
	}
	return nil
}

// cursorIn returns the cursor in the state of its peer.
func cursorIn(st *presence.State) (c cursor, ok bool) {
	if i := slices.IndexFunc(st.Sessions, isCursor); i >= 0 {
		return parseCursor(st.Sessions[i].Device)
	}
	return c, false
}

func isCursor(s presence.Session) bool { return s.Source == cursorSource && s.ID == cursorSession }

// put writes c into the state of its peer.
func (s *Sender) put(st *presence.State, r *receiver, c cursor) presence.Effect {
	now := s.deps.Now()
	at := now
	if i := slices.IndexFunc(st.Sessions, isCursor); i >= 0 {
		at = max(at, st.Sessions[i].At+1)
	}
	key := s.cursorKey(r)[0]
	report := presence.Report{
		App: key.App, Peer: key.Peer, Source: cursorSource, Session: cursorSession, Kind: presence.KindOnline,
		At: at, Lease: presence.MaxLease, Device: c.String(),
	}
	_, effect := st.Apply(&report, now, rules)
	return effect
}
