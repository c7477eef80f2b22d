package embedded

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"rollcall/presence"
)

// nodes are the processes whose heartbeats keep sessions alive.
type nodes struct {
	mu   sync.Mutex
	byID map[presence.NodeID]*node

	unkept bool // the list of drained nodes on disk is not the one in memory

	heartbeats heartbeats
}

type node struct {
	until   presence.Millis
	seen    presence.Millis // its last heartbeat; zero when it is not known
	drained bool

	// Where OnNode goes on, so that a dead node costs two walks however many calls it takes.
	at    position
	found bool // in this walk
}

// A position is a place in the walk over all records.
type position struct {
	shard int
	tag   uint32
}

// Heartbeat renews the lease of a node from now.
func (s *Store) Heartbeat(_ context.Context, id presence.NodeID, lease time.Duration, drained bool, now presence.Millis) error {
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	if s.closed.Load() {
		return errClosed
	}
	n := s.nodes.byID[id]
	if n == nil {
		n = &node{}
		s.nodes.byID[id] = n
	}
	n.until = max(n.until, now.Add(lease))
	if drained {
		n.until = now.Add(lease)
	}
	first := n.seen == 0
	n.seen = max(n.seen, now)
	s.note(id, n.seen, 0, first || drained && !n.drained)
	if n.drained == drained && (!drained || !s.nodes.unkept) {
		return nil
	}
	n.drained = drained
	return s.keepDrained()
}

// Heartbeats returns for each of nodes whether it has sent a heartbeat and is not forgotten since.
func (s *Store) Heartbeats(_ context.Context, nodes []presence.NodeID) ([]bool, error) {
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	if s.closed.Load() {
		return nil, errClosed
	}
	beats := make([]bool, len(nodes))
	for i, id := range nodes {
		_, beats[i] = s.nodes.byID[id]
	}
	return beats, nil
}

// keepDrained writes down which nodes are drained, so that after a restart what hangs on them ends
// with the right cause. nodes.mu is held.
func (s *Store) keepDrained() error {
	if s.log == nil {
		return nil
	}
	list := []presence.NodeID{}
	for id, n := range s.nodes.byID {
		if n.drained {
			list = append(list, id)
		}
	}
	slices.Sort(list)
	s.nodes.unkept = true
	if err := s.log.replace(drainedName, kindDrained, list); err != nil {
		return unavailable(fmt.Errorf("keep which nodes are drained: %w", err))
	}
	s.nodes.unkept = false
	return nil
}

// Drained returns the nodes that have drained and hold sockets no more.
func (s *Store) Drained() (drained []presence.NodeID) {
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	for id, n := range s.nodes.byID {
		if n.drained {
			drained = append(drained, id)
		}
	}
	return drained
}

// LostNodes returns the nodes whose lease has run out by now.
func (s *Store) LostNodes(_ context.Context, now presence.Millis) ([]presence.LostNode, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	var lost []presence.LostNode
	for id, n := range s.nodes.byID {
		if n.until <= now {
			lost = append(lost, presence.LostNode{Node: id, At: n.until, Seen: n.seen, Drained: n.drained})
		}
	}
	return lost, nil
}

// OnNode returns up to limit peers that have a session on a node.
func (s *Store) OnNode(ctx context.Context, id presence.NodeID, limit int) ([]presence.Key, error) {
	if s.closed.Load() {
		return nil, errClosed
	}
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	n := s.nodes.byID[id]
	if n == nil {
		n = &node{} // it sends no heartbeats: look all the same
	}
	var (
		keys []presence.Key
		st   presence.State
		last uint32
	)
	for len(keys) < limit {
		if err := ctx.Err(); err != nil {
			return nil, unavailable(err)
		}
		at := n.at
		// A run of the table may hold more than limit; what is beyond is left for the next call.
		next, more := s.index.scan(at.shard, at.tag, scanStep, func(tag, app uint32, peer, packed []byte) {
			if len(keys) >= limit && tag != last {
				return
			}
			if _, noded := presence.PeekStatus(packed, 0, &s.deps.Rules); noded && st.Unpack(packed) == nil && st.On(id) {
				keys = append(keys, s.key(app, peer))
				last = tag
			}
		})
		n.found = n.found || len(keys) > 0
		switch {
		case len(keys) >= limit:
			n.at.tag = last // seen again, and by then settled
			return keys[:min(limit, len(keys))], nil
		case more:
			n.at.tag = next
		case at.shard+1 < shards:
			n.at = position{shard: at.shard + 1}
		case n.found:
			n.at, n.found = position{}, false
			if len(keys) > 0 {
				return keys, nil
			}
		default:
			n.at = position{}
			return keys, nil
		}
	}
	return keys, nil
}

// DropNode forgets a node, unless it has beaten for a lease beyond at.
func (s *Store) DropNode(_ context.Context, id presence.NodeID, at presence.Millis) error {
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	if s.closed.Load() {
		return errClosed
	}
	n := s.nodes.byID[id]
	if n == nil || n.until > at {
		return nil
	}
	delete(s.nodes.byID, id)
	s.note(id, n.seen, heartbeatGone, false)
	if n.drained {
		// A node too many on the list says nothing of sessions that are not there.
		_ = s.keepDrained()
	}
	return nil
}
