package hookout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"rollcall/presence"
)

// LedgerSuffix ends the ids of the apps, made by appending it, in which a [Ledger] is kept. No app
// of a user has such an id.
const LedgerSuffix = "#hooks"

// source is that of the sessions in a ledger.
const source presence.Source = "hooks"

// A Ledger keeps in the store which sessions the app was sent the online hook of and not yet the
// offline hook: they are owed one. The record of a session is a session of the same id in an app of
// its own, on the node that owes the hook. It is there before the online hook is sent for the first
// time, and goes after the offline hook was answered; if its node dies, it moves to a survivor, see
// [presence.Service.TakeOver]. So whatever dies when, some node owes the hook.
type Ledger struct {
	Store presence.Store
	// Node is this process.
	Node presence.NodeID
	// Shared says that other nodes use the store. Else every other node is an earlier run of this
	// one.
	Shared bool
	Now    func() presence.Millis
	// Akin reports whether two sessions may be one client that came back.
	Akin func(a, b presence.SessionID) bool
}

// A ref names one session.
type ref struct {
	app     presence.AppID
	peer    presence.PeerID
	session presence.SessionID
	start   presence.Millis
}

func (r ref) key() presence.Key {
	return presence.Key{App: r.app, Peer: r.peer}
}

// record returns the key of what the ledger has of the peer.
func (r ref) record() presence.Key {
	return presence.Key{App: r.app + LedgerSuffix, Peer: r.peer}
}

// is reports whether s is the session that r names, of the gateway or in the ledger.
func (r ref) is(s presence.Session) bool { return s.ID == r.session && s.Incarnation == r.start }

// olderThan orders the sessions of a peer, and so their hooks.
func (r ref) olderThan(o ref) bool { return r.compare(o) < 0 }

func (r ref) compare(o ref) int {
	return cmp.Or(cmp.Compare(r.start, o.start), cmp.Compare(r.session, o.session))
}

func oldestFirst(a, b owed) int { return a.compare(b.ref) }

// An owed is a session that is owed an offline hook, and what the hook says.
type owed struct {
	ref
	tag string
	// Of one that was taken over: when, from which node, and until when that can have been alive.
	taken presence.Millis
	from  presence.NodeID
	alive presence.Millis
}

// enter records sessions as owed by this node.
func (l *Ledger) enter(ctx context.Context, list []owed) error {
	now := l.Now()
	keys := make([]presence.Key, len(list))
	for i := range list {
		keys[i] = list[i].record()
	}
	err := l.Store.Update(ctx, keys, now, func(i int, st *presence.State) presence.Effect {
		o := &list[i]
		at := slices.IndexFunc(st.Sessions, o.is)
		if at >= 0 && !st.Sessions[at].Ended {
			// Here; or another node has taken it over, and has yet to send its end.
			return presence.Same
		}
		st.Sessions = slices.DeleteFunc(st.Sessions, o.is)
		r := presence.Report{
			App: keys[i].App, Peer: keys[i].Peer, Source: source, Session: o.session, Node: l.Node, Device: o.tag,
			Kind: presence.KindOnline, At: o.start, Incarnation: o.start,
		}
		if out, _ := st.Apply(&r, now, rules); out.Verdict == presence.Taken {
			return presence.Shown
		}
		return presence.Same
	})
	if err != nil {
		return fmt.Errorf("record %d sessions: %w", len(list), err)
	}
	return nil
}

// rules are enough for sessions on nodes, which have no leases.
var rules = func() *presence.Rules { r := presence.DefaultRules(); return &r }()

// A settlement is a session whose offline hook was answered.
type settlement struct {
	ref
	taken bool // over from another node
}

// settle removes sessions from the record. With other nodes on the store, one that was taken over
// is marked as ended instead, for as long as offline is remembered: its own node may be alive after
// all, and must find out.
func (l *Ledger) settle(ctx context.Context, list []settlement) error {
	keys := make([]presence.Key, len(list))
	for i := range list {
		keys[i] = list[i].record()
	}
	now := l.Now()
	err := l.Store.Update(ctx, keys, now, func(i int, st *presence.State) presence.Effect {
		o := &list[i]
		at := slices.IndexFunc(st.Sessions, o.is)
		if at < 0 || st.Sessions[at].Ended || st.Sessions[at].Node != l.Node {
			return presence.Same // settled before, or recorded again by its own node since
		}
		if l.Shared && o.taken {
			r := presence.Report{
				App: keys[i].App, Peer: keys[i].Peer, Source: source, Session: o.session, Kind: presence.KindOffline, At: max(now, o.start),
				Incarnation: o.start,
			}
			_, e := st.Apply(&r, now, rules)
			return e
		}
		if st.Sessions = slices.Delete(st.Sessions, at, at+1); len(st.Sessions) == 0 {
			*st = presence.State{Rev: st.Rev}
		}
		return presence.Shown
	})
	if err != nil {
		return fmt.Errorf("settle %d sessions: %w", len(list), err)
	}
	return nil
}

// claim moves sessions from a node that is gone, whose journal this process has found, to this one,
// and returns which are on record on one of the two. Another node has taken over the rest, or their
// hooks were answered.
func (l *Ledger) claim(ctx context.Context, from []presence.NodeID, list []ref) (mine []bool, err error) {
	mine = make([]bool, len(list))
	keys := make([]presence.Key, len(list))
	for i := range list {
		keys[i] = list[i].record()
	}
	err = l.Store.Update(ctx, keys, l.Now(), func(i int, st *presence.State) presence.Effect {
		mine[i] = false
		at := slices.IndexFunc(st.Sessions, list[i].is)
		if at < 0 || st.Sessions[at].Ended {
			return presence.Same
		}
		switch s := &st.Sessions[at]; s.Node {
		case l.Node:
			mine[i] = true
		case from[i]:
			mine[i] = true
			s.Node = l.Node
			return presence.Shown
		}
		return presence.Same
	})
	if err != nil {
		return nil, fmt.Errorf("claim %d sessions: %w", len(list), err)
	}
	return mine, nil
}

// giveBack moves a session that was taken over to the node that has reported it again since.
func (l *Ledger) giveBack(ctx context.Context, w owed, node presence.NodeID) error {
	err := l.Store.Update(ctx, []presence.Key{w.record()}, l.Now(), func(_ int, st *presence.State) presence.Effect {
		at := slices.IndexFunc(st.Sessions, w.is)
		if at < 0 || st.Sessions[at].Ended || st.Sessions[at].Node != l.Node {
			return presence.Same
		}
		st.Sessions[at].Node = node
		return presence.Shown
	})
	if err != nil {
		return fmt.Errorf("give a session back: %w", err)
	}
	return nil
}

// A standing is where a session is on record.
type standing uint8

const (
	absent    standing = iota
	here               // this node owes its offline hook
	elsewhere          // another node does
	ended              // another node has sent it
)

func (l *Ledger) standingIn(record *presence.State, r ref) standing {
	at := slices.IndexFunc(record.Sessions, r.is)
	switch {
	case at < 0:
		return absent
	case record.Sessions[at].Ended:
		return ended
	case record.Sessions[at].Node == l.Node:
		return here
	}
	return elsewhere
}

// standings returns where sessions are on record.
func (l *Ledger) standings(ctx context.Context, list []ref) ([]standing, error) {
	keys, states := make([]presence.Key, len(list)), make([]presence.State, len(list))
	for i := range list {
		keys[i] = list[i].record()
	}
	if err := l.Store.Loads(ctx, keys, states); err != nil {
		return nil, fmt.Errorf("read %d records: %w", len(keys), err)
	}
	out := make([]standing, len(list))
	for i := range list {
		out[i] = l.standingIn(&states[i], list[i])
	}
	return out, nil
}

// load reads the records and the states of the peers of sessions.
func (l *Ledger) load(ctx context.Context, list []owed) (records, peers []presence.State, err error) {
	n := len(list)
	keys, states := make([]presence.Key, 2*n), make([]presence.State, 2*n)
	for i := range list {
		keys[i], keys[n+i] = list[i].record(), list[i].key()
	}
	if err := l.Store.Loads(ctx, keys, states); err != nil {
		return nil, nil, fmt.Errorf("read %d peers and their records: %w", n, err)
	}
	return states[:n], states[n:], nil
}

// onRecord returns the sessions that this node owes an offline hook by the record.
func (l *Ledger) onRecord(ctx context.Context) ([]owed, error) {
	keys, err := l.Store.OnNode(ctx, l.Node, allOfNode)
	if err != nil {
		return nil, fmt.Errorf("ask for the records of this node: %w", err)
	}
	keys = slices.DeleteFunc(keys, func(k presence.Key) bool { return !isRecord(k) })
	var list []owed
	states := make([]presence.State, 512)
	for some := range slices.Chunk(keys, len(states)) {
		err := l.Store.Loads(ctx, some, states[:len(some)])
		if part := (*presence.PartError)(nil); err != nil && !errors.As(err, &part) {
			return nil, fmt.Errorf("read the records of this node: %w", err)
		}
		for i, k := range some {
			for j := range states[i].Sessions {
				if s := &states[i].Sessions[j]; s.Node == l.Node && !s.Ended {
					list = append(list, owedOf(k, s))
				}
			}
		}
	}
	return list, nil
}

// allOfNode is more peers than a node can hold.
const allOfNode = 1 << 20

func isRecord(k presence.Key) bool {
	return len(k.App) > len(LedgerSuffix) && k.App[len(k.App)-len(LedgerSuffix):] == LedgerSuffix
}

// owedOf returns the session that s, in the record of key, stands for.
func owedOf(key presence.Key, s *presence.Session) owed {
	r := ref{key.App[:len(key.App)-len(LedgerSuffix)], key.Peer, s.ID, s.Incarnation}
	return owed{ref: r, tag: s.Device}
}
