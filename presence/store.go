package presence

import (
	"context"
	"time"
)

// A Merge changes the state of the i-th peer of an update in place and says what that did. A store
// may call it again for the same peer with a newer state; only the last call counts, so it must not
// add up anything outside.
type Merge func(i int, st *State) Effect

// A Store keeps one packed [State] per peer. It has no clock: now is the time by which leases are
// judged.
//
// Its methods may be called by many goroutines at once. Every error matches [ErrUnavailable] or
// [ErrFull] (or [ErrInvalid], for a cursor that is none); after an error of Update some of its
// peers may be written, and since merging is idempotent the caller may send all of them again. The
// contract is spelled out, and tested, in store/storetest.
type Store interface {
	// Statuses sets out[i] to what peers[i] of app is at now, or was age ago: 0 while every part of
	// the store that was asked is reachable. Ids may be any bytes. This serves queries: one call,
	// whatever the number of ids. It keeps neither slice.
	Statuses(ctx context.Context, app AppID, peers [][]byte, now Millis, out []Status) (age time.Duration, err error)
	// Summaries sets out[i] to the summary of keys[i] as last written, or as known age ago; the
	// caller applies [Summary.At] with the leases of that time.
	Summaries(ctx context.Context, keys []Key, out []Summary) (age time.Duration, err error)
	// Load reads the whole state of one peer; an unknown peer is the zero state.
	Load(ctx context.Context, key Key, st *State) error
	// Loads sets out[i] to what Load reads of keys[i], in batches: a hundred thousand peers cost a
	// few hundred round trips. A peer whose state cannot be read is a [PartError] and its state is
	// zero; any other error leaves out undefined.
	Loads(ctx context.Context, keys []Key, out []State) error

	// Update calls merge for every key with its present state and keeps what merge made of it, in
	// order for keys that repeat. When it returns nil, every state is as durable as the store can
	// make it and visible to every later call on this store. A state that is Forgotten is removed.
	// The store sets Rev, see [NextRev].
	Update(ctx context.Context, keys []Key, now Millis, merge Merge) error

	// Due returns up to limit peers whose [State.Deadline] has come by now, for this caller to
	// settle by Update. It costs in proportion to what is due, not to what is known. What is not
	// settled is returned again.
	Due(ctx context.Context, now Millis, limit int) ([]Key, error)
	// List returns up to limit peers of app that are online at now, after cursor ("" starts), and
	// the cursor that goes on ("" when there are no more). A peer that is online throughout is
	// returned exactly once, whatever else changes. A cursor may end with the process that made it:
	// then the error matches ErrInvalid and says to start again.
	List(ctx context.Context, app AppID, cursor string, limit int, now Millis) (peers []PeerID, next string, err error)
	// Walk calls fn with every peer that is known throughout, and its packed state, until fn or ctx
	// ends it. What is written meanwhile may or may not be seen; all that was acknowledged before
	// is. A peer may come twice. packed is valid until fn returns.
	Walk(ctx context.Context, fn func(key Key, packed []byte) error) error
	// Counts counts the peers of app as they were last written: a lease that has run out counts
	// until it is settled.
	Counts(ctx context.Context, app AppID, now Millis) (Counts, error)

	// Heartbeat renews the lease of node from now. With drained it is the last heartbeat: the node
	// shuts down, and what hangs on it ends with CauseDrained.
	Heartbeat(ctx context.Context, node NodeID, lease time.Duration, drained bool, now Millis) error
	// Heartbeats returns for each of nodes whether it has sent a heartbeat, or was drained, and is
	// not forgotten since.
	Heartbeats(ctx context.Context, nodes []NodeID) (beats []bool, err error)
	// LostNodes returns the nodes whose lease has run out by now and whose sessions this caller is
	// to end.
	LostNodes(ctx context.Context, now Millis) ([]LostNode, error)
	// OnNode returns up to limit peers that have a session on node; none are left when it returns
	// none, and no error.
	OnNode(ctx context.Context, node NodeID, limit int) ([]Key, error)
	// DropNode forgets node if its lease ends at at or before: it stays when it has sent a
	// heartbeat since it was found lost. An unknown node is no error.
	DropNode(ctx context.Context, node NodeID, at Millis) error

	// Listen has the store call fn with the peers whose answers have changed, soon after they have;
	// nil stands for all peers, when the store may have missed some. A signal means "read again"
	// and carries no state. fn must not block and must not change keys. It returns how to stop; a
	// call under way may still end after stop.
	Listen(fn func(keys []Key)) (stop func())

	// Close flushes and releases what the store holds. Calls after it match [ErrUnavailable].
	Close() error
}

// A Settler is a store that can keep conclusions of time more cheaply than news: what Settle writes
// any later sweep would conclude again, so it need not be durable when Settle returns, and it goes
// on while the disk fails.
type Settler interface {
	Settle(ctx context.Context, keys []Key, now Millis, merge Merge) error
}

// A Sharer is a store whose processes end the sessions of a lost node together.
type Sharer interface {
	// Orphans is OnNode for a caller that ends the sessions of a lost node: it returns up to limit
	// peers that no other process works on. others reports that other processes still work on some,
	// so that the node is not to be forgotten yet.
	Orphans(ctx context.Context, node NodeID, limit int) (keys []Key, others bool, err error)
}

// A Claimer is a store that several processes share, and through which one of them takes a piece of
// work.
type Claimer interface {
	// Claim reports whether the work called name is this process's until ttl has passed (at least a
	// second, in whole seconds). A process that holds a claim extends it by asking again. It is
	// true also when the store does not answer: a claim saves work and is no lock, so the work must
	// bear being done twice. Names are any text.
	Claim(ctx context.Context, name string, ttl time.Duration) bool
}

// Claim reports whether this process is to do work that one process is enough for, see [Claimer].
// With a store of this process alone it always is.
func (s *Service) Claim(ctx context.Context, name string, ttl time.Duration) bool {
	c, ok := s.store.(Claimer)
	return !ok || c.Claim(ctx, name, ttl)
}

// NodeLease is how long a node lives by a report alone, without a heartbeat.
const NodeLease = 15 * time.Second

// A LostNode is a node whose lease has run out without a heartbeat.
type LostNode struct {
	Node NodeID
	At   Millis // when its lease ran out
	// Seen is the time of its last heartbeat, or of its drain: until then its sessions were alive.
	// Zero when the store does not know it.
	Seen    Millis
	Drained bool
}

// Cause returns why the sessions of l end.
func (l LostNode) Cause() Cause {
	if l.Drained {
		return CauseDrained
	}
	return CauseNodeLost
}

// Counts are the peers of one app.
type Counts struct {
	Online int64 // now
	Known  int64 // online, or offline and remembered
	Today  int64 // distinct peers that came online on the present local day
}
