package presence

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A session that names a node lives in one of two ways. Until the node has sent a heartbeat the
// session has a lease of its own, as without a node: a name alone promises nothing. Then it hangs
// on the node: it lives as long as the node does, and ends with it. A [Report] without a lease is
// of a node that sends heartbeats; one with a lease leaves it to the first heartbeat, see
// [Service.Attend].

// Leased reports whether s names a node and has a lease of its own all the same.
func (s *Session) Leased() bool { return s.Node != "" && s.Until != forever && !s.Ended }

// Hang has the live sessions of node hang on it, from its first heartbeat on.
func (st *State) Hang(node NodeID, now Millis) Effect {
	return st.hang(now, func(s *Session) bool { return s.Node == node && s.Live(now) })
}

func (st *State) hang(now Millis, which func(*Session) bool) Effect {
	hit := false
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Leased() && which(s) {
			s.Until, hit = forever, true
		}
	}
	if !hit {
		return Same
	}
	st.conclude(now, nil)
	return Quiet
}

// leaving returns the nodes of the sessions by whose leases st is online and whose leases have run
// out by now.
func (st *State) leaving(now Millis) (nodes []NodeID) {
	if st.Status != Online || now < st.Until {
		return nil
	}
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Leased() && s.Until == st.Until {
			nodes = append(nodes, s.Node)
		}
	}
	return nodes
}

// joined are the nodes whose sessions this process has had hang on them since their first
// heartbeat.
type joined struct {
	mu  sync.Mutex
	set map[NodeID]struct{}
	// unfinished are nodes of which some sessions still have their own leases, because the store
	// failed.
	unfinished map[NodeID]struct{}
}

// maxJoined bounds what is remembered of nodes. A node that is not remembered costs a question to
// the store.
const maxJoined = 10_000

func (j *joined) add(node NodeID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.unfinished, node)
	if len(j.set) < maxJoined {
		j.set[node] = struct{}{}
	}
}

func (j *joined) begin(node NodeID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.unfinished[node] = struct{}{}
}

func (j *joined) drop(node NodeID) {
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.set, node)
}

func (j *joined) has(node NodeID) (known, unfinished bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, known = j.set[node]
	_, unfinished = j.unfinished[node]
	return known, unfinished
}

// ExternalHeartbeat takes a heartbeat, or with drained the drain, of a node outside of this process
// (a chat server). The first heartbeat attaches the sessions of the node to its lease. An error
// matches [ErrUnavailable]; then the caller retries.
func (s *Service) ExternalHeartbeat(ctx context.Context, node NodeID, lease time.Duration, drained bool, now Millis) error {
	beats, err := s.store.Heartbeats(ctx, []NodeID{node})
	if err != nil {
		return fmt.Errorf("ask for node %q: %w", node, err)
	}
	if !beats[0] {
		// Before the heartbeat: when that succeeds and the rest fails, the next one goes on.
		s.joined.begin(node)
	}
	_, unfinished := s.joined.has(node)
	if err := s.store.Heartbeat(ctx, node, lease, drained, now); err != nil {
		return fmt.Errorf("heartbeat of node %q: %w", node, err)
	}
	if unfinished {
		if err := s.join(ctx, node, now); err != nil {
			return fmt.Errorf("have the sessions of node %q hang on it: %w", node, err)
		}
	}
	s.joined.add(node)
	return nil
}

// allOfNode is more peers than a node can hold.
const allOfNode = 1 << 20

// join has all sessions of a node that has sent its first heartbeat hang on it.
func (s *Service) join(ctx context.Context, node NodeID, now Millis) error {
	keys, err := s.store.OnNode(ctx, node, allOfNode)
	if err != nil {
		return err
	}
	leases := s.Leases(now)
	for some := range slices.Chunk(keys, sweepBatch) {
		if err := s.update(ctx, some, now, func(_ int, st *State) Effect { return st.Hang(node, leases) }); err != nil {
			return err
		}
	}
	return nil
}

// beating returns which of nodes have sent a heartbeat. While the store cannot be asked it is those
// whose heartbeats came through this process.
func (s *Service) beating(ctx context.Context, nodes []NodeID) []bool {
	if len(nodes) == 0 {
		return nil
	}
	beats, err := s.store.Heartbeats(ctx, nodes)
	if err != nil {
		beats = make([]bool, len(nodes))
		for i, n := range nodes {
			beats[i], _ = s.joined.has(n)
		}
	}
	return beats
}

// An Attendance is what the reports of one call say of nodes, see [Service.Attend].
type Attendance struct {
	silent  []NodeID // of these no heartbeat was known before the reports
	leaseOf func(NodeID) time.Duration
}

// Attend prepares reports that name nodes of others, in place, for [Service.Report]. A node that
// sends heartbeats lives for another lease with every online or touch that names it; leaseOf says
// how long, and its sessions hang on it. The sessions of other nodes have their own leases: that of
// the report, or the default of [Rules]. After the report call [Service.Attended]. The error is
// that of a heartbeat which the store has not taken, and matches [ErrUnavailable].
func (s *Service) Attend(ctx context.Context, reports []Report, now Millis, leaseOf func(NodeID) time.Duration) (Attendance, error) {
	a := Attendance{leaseOf: leaseOf}
	named := map[NodeID]bool{}
	var nodes []NodeID
	for i := range reports {
		if r := &reports[i]; r.Node != "" && r.Kind != KindOffline && !named[r.Node] {
			named[r.Node] = true
			nodes = append(nodes, r.Node)
		}
	}
	for i, beats := range s.beating(ctx, nodes) {
		if named[nodes[i]] = beats; !beats {
			a.silent = append(a.silent, nodes[i])
			continue
		}
		// While Redis is unreachable the reports go to the spool, and no lease runs out.
		if err := s.store.Heartbeat(ctx, nodes[i], leaseOf(nodes[i]), false, now); err != nil && s.remote == nil {
			return a, fmt.Errorf("heartbeat of node %q: %w", nodes[i], err)
		}
	}
	for i := range reports {
		switch r := &reports[i]; {
		case r.Node == "":
		case named[r.Node]:
			r.Lease = 0
		case r.Lease == 0:
			r.Lease = s.cfg.Rules.Lease
		}
	}
	return a, nil
}

// Attended has the sessions of reports hang on the nodes that have sent their first heartbeat since
// [Service.Attend]: either the heartbeat finds the session in the store, or the report finds the
// heartbeat there. The errors are those of [Service.Report]; sending the reports again is safe.
func (s *Service) Attended(ctx context.Context, a Attendance, reports []Report, now Millis) error {
	if len(a.silent) == 0 {
		return nil
	}
	beats, err := s.store.Heartbeats(ctx, a.silent)
	if err != nil {
		return nil // the reports are kept; the sweep asks again when a lease runs out
	}
	late := map[NodeID]bool{}
	for i, n := range a.silent {
		if !beats[i] {
			continue
		}
		late[n] = true
		if err := s.store.Heartbeat(ctx, n, a.leaseOf(n), false, now); err != nil && s.remote == nil {
			return fmt.Errorf("heartbeat of node %q: %w", n, err)
		}
	}
	var keys []Key
	var on []NodeID
	for i := range reports {
		if r := &reports[i]; late[r.Node] && r.Kind != KindOffline {
			keys, on = append(keys, r.Key()), append(on, r.Node)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	leases := s.Leases(now)
	err = s.update(ctx, keys, now, func(i int, st *State) Effect { return st.Hang(on[i], leases) })
	if errors.Is(err, ErrUnavailable) && s.remote != nil {
		return nil
	}
	return err
}

// A nodeBook is what one sweep knows of the nodes that leases which run out belong to.
type nodeBook struct {
	beats   map[NodeID]bool
	unasked map[NodeID]struct{}
}

// expire is [State.Expire], but for sessions whose node sends heartbeats: these hang on it from now
// on. It reports the zero outcome for a peer whose nodes are not known yet; they are in b.unasked
// then.
func (b *nodeBook) expire(st *State, leases Millis, rules *Rules) (Outcome, Effect) {
	nodes := st.leaving(leases)
	waits := false
	for _, n := range nodes {
		if _, known := b.beats[n]; !known {
			if b.unasked == nil {
				b.unasked = map[NodeID]struct{}{}
			}
			b.unasked[n], waits = struct{}{}, true
		}
	}
	if waits {
		return Outcome{}, Same
	}
	effect := Same
	if len(nodes) > 0 {
		until := st.Until
		effect = st.hang(leases, func(s *Session) bool { return s.Until == until && b.beats[s.Node] })
	}
	o, e := st.Expire(leases, rules)
	return o, max(e, effect)
}

// ask finds out about the nodes that expire did not know, and reports whether there were any.
func (b *nodeBook) ask(ctx context.Context, store Store) (bool, error) {
	if len(b.unasked) == 0 {
		return false, nil
	}
	nodes := make([]NodeID, 0, len(b.unasked))
	for n := range b.unasked {
		nodes = append(nodes, n)
	}
	beats, err := store.Heartbeats(ctx, nodes)
	if err != nil {
		return false, fmt.Errorf("ask for %d nodes: %w", len(nodes), err)
	}
	if b.beats == nil {
		b.beats = map[NodeID]bool{}
	}
	for i, n := range nodes {
		b.beats[n] = beats[i]
	}
	b.unasked = nil
	return true, nil
}
