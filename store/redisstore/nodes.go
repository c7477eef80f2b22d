package redisstore

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/conn"
)

//go:embed scripts/beat.lua
var beatText string

//go:embed scripts/dropnode.lua
var dropNodeText string

var (
	beatScript     = conn.NewScript(beatText)
	dropNodeScript = conn.NewScript(dropNodeText)
	claimScript    = conn.NewScript(claimText)
)

const (
	// claimFor is how long one survivor keeps the others from the same work.
	claimFor = 10 * time.Second
)

// A nodeBook is what this process knows of nodes.
type nodeBook struct {
	*shared
	dead atomic.Pointer[map[presence.NodeID]presence.Millis] // whose sessions queries pass over

	mu   sync.Mutex
	book map[presence.NodeID]struct{} // in Redis when last looked
	// drained are those of the book that were drained then. The slice is replaced, never changed.
	drained []presence.NodeID
	// spared are lost nodes with peers that only a newer rollcall can end, and since when.
	spared map[presence.NodeID]time.Time
}

// spareFor is how long a lost node is left to newer rollcalls before this one tries again.
const spareFor = 6 * claimFor

func (b *nodeBook) spare(node presence.NodeID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spared[node] = time.Now()
}

// unspared returns the nodes that are not left to others, so that their claims run out.
func (b *nodeBook) unspared(lost []presence.LostNode) []presence.LostNode {
	b.mu.Lock()
	defer b.mu.Unlock()
	for node, since := range b.spared {
		if time.Since(since) > spareFor {
			delete(b.spared, node)
		}
	}
	left := lost[:0:0]
	for _, l := range lost {
		if _, spared := b.spared[l.Node]; !spared {
			left = append(left, l)
		}
	}
	return left
}

// nodeValue returns what the hash of nodes holds of one: "<deadline ms> <drained 0 or 1> <last
// heartbeat ms>".
func nodeValue(now presence.Millis, lease time.Duration, drained bool) string {
	d := " 0 "
	if drained {
		d = " 1 "
	}
	return strconv.FormatInt(int64(now.Add(lease)), 10) + d + strconv.FormatInt(int64(now), 10)
}

// parseNode reads what nodeValue has written, now or before the last heartbeat was part of it.
func parseNode(node presence.NodeID, value string) (presence.LostNode, bool) {
	at, rest, ok := strings.Cut(value, " ")
	drained, seen, timed := strings.Cut(rest, " ")
	l := presence.LostNode{Node: node, Drained: drained == "1"}
	n, err := strconv.ParseInt(at, 10, 64)
	l.At = presence.Millis(n)
	if timed && err == nil {
		n, err = strconv.ParseInt(seen, 10, 64)
		l.Seen = presence.Millis(n)
	}
	return l, ok && err == nil
}

// Heartbeat implements [presence.Store].
func (s *Store) Heartbeat(ctx context.Context, node presence.NodeID, lease time.Duration, drained bool, now presence.Millis) error {
	ctx, cancel := s.conn.Deadline(ctx)
	defer cancel()
	value := nodeValue(now, lease, drained)
	results, err := s.conn.Exec(ctx, beatScript, []conn.Call{{Keys: []string{s.keys.nodes()}, Args: []string{string(node), value}}})
	if err == nil {
		err = results[0].Error()
		if conn.IsWrongType(err) {
			err = s.wrongType(s.keys.nodes())
		} else {
			s.outage.noteHeartbeat(err)
		}
	}
	if err != nil {
		s.conn.Failed(s.conn.LinkOf(s.keys.nodes()), err)
		return fmt.Errorf("write the heartbeat of node %q: %w", node, conn.Unavailable(err))
	}
	was, _ := results[0].ToString()
	s.nodes.mu.Lock()
	_, beaten := s.nodes.book[node]
	s.nodes.book[node] = struct{}{}
	s.nodes.mu.Unlock()
	if beaten && was == "" {
		// Another node ended its sessions, or Redis lost it: those that hold them report them
		// again.
		s.log.Warn("other nodes considered this node dead; re-reporting its sessions", "node", node)
		s.outage.box.Returned(now, now)
	}
	return nil
}

// Heartbeats implements [presence.Store].
func (s *Store) Heartbeats(ctx context.Context, nodes []presence.NodeID) ([]bool, error) {
	ctx, cancel := s.conn.Deadline(ctx)
	defer cancel()
	key := s.keys.nodes()
	if !s.conn.Reaches(key) {
		return nil, conn.ErrDown
	}
	cmds := make(rueidis.Commands, len(nodes))
	for i, n := range nodes {
		cmds[i] = s.conn.B().Hget().Key(key).Field(string(n)).Build()
	}
	begun := time.Now()
	results, err := s.conn.DoMulti(ctx, cmds)
	if err != nil {
		return nil, err
	}
	beats := make([]bool, len(nodes))
	for i := range results {
		switch err := results[i].Error(); {
		case conn.IsWrongType(err):
			return nil, fmt.Errorf("ask for %d nodes: %w", len(nodes), s.wrongType(key))
		case err != nil && !rueidis.IsRedisNil(err):
			s.conn.FailedSince(begun, key, err)
			return nil, fmt.Errorf("ask for %d nodes: %w", len(nodes), conn.Unavailable(err))
		default:
			beats[i] = err == nil
		}
	}
	return beats, nil
}

// knowNode gives a node that reports before its first heartbeat a lease, so that a node without
// heartbeats is found lost.
func (b *nodeBook) knowNode(ctx context.Context, node presence.NodeID, now presence.Millis) error {
	b.mu.Lock()
	_, known := b.book[node]
	b.mu.Unlock()
	if known {
		return nil
	}
	if !b.conn.Reaches(b.keys.nodes()) {
		return conn.ErrDown
	}
	value := nodeValue(now, presence.NodeLease, false)
	begun := time.Now()
	err := b.conn.Do(ctx, b.conn.B().Hsetnx().Key(b.keys.nodes()).Field(string(node)).Value(value).Build()).Error()
	if conn.IsWrongType(err) {
		return b.wrongType(b.keys.nodes())
	}
	if err != nil {
		b.conn.FailedSince(begun, b.keys.nodes(), err)
		return conn.Unavailable(err)
	}
	b.mu.Lock()
	if _, known := b.book[node]; !known {
		b.book[node] = struct{}{}
	}
	b.mu.Unlock()
	return nil
}

// LostNodes implements [presence.Store]. It also keeps the set of nodes whose sessions queries pass
// over. While the primary of the heartbeats is down no heartbeat can arrive, and no node is found
// lost.
func (s *Store) LostNodes(ctx context.Context, now presence.Millis) ([]presence.LostNode, error) {
	if s.outage.open.Load() || !s.conn.Settles(s.keys.nodes()) {
		return nil, fmt.Errorf("ask for the nodes: %w", conn.ErrDown)
	}
	ctx, cancel := s.conn.Deadline(ctx)
	defer cancel()
	if err := s.owner.owned(ctx); err != nil {
		return nil, fmt.Errorf("ask for the nodes: %w", err)
	}
	all, err := s.conn.Do(ctx, s.conn.B().Hgetall().Key(s.keys.nodes()).Build()).AsStrMap()
	if conn.IsWrongType(err) {
		return nil, fmt.Errorf("ask for the nodes: %w", s.wrongType(s.keys.nodes()))
	}
	if err != nil {
		s.conn.Failed(s.conn.LinkOf(s.keys.nodes()), err)
		return nil, fmt.Errorf("ask for the nodes: %w", conn.Unavailable(err))
	}
	var lost []presence.LostNode
	s.nodes.mu.Lock()
	clear(s.nodes.book)
	s.nodes.drained = nil
	for name, value := range all {
		node := presence.NodeID(name)
		s.nodes.book[node] = struct{}{}
		l, ok := parseNode(node, value)
		if ok && l.Drained {
			s.nodes.drained = append(s.nodes.drained, node)
		}
		if ok && now >= l.At {
			lost = append(lost, l)
		}
	}
	s.nodes.mu.Unlock()
	s.nodes.markDead(lost)
	return s.nodes.unspared(lost), nil
}

// Drained returns the nodes that have drained and hold sockets no more, as the last
// [Store.LostNodes] found them: within a second on a server.
func (s *Store) Drained() []presence.NodeID {
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	return s.nodes.drained
}

// markDead makes queries pass over the sessions of lost nodes at once, while a survivor ends them
// one by one.
func (b *nodeBook) markDead(lost []presence.LostNode) {
	if len(lost) == 0 {
		b.dead.Store(nil)
		return
	}
	dead := make(map[presence.NodeID]presence.Millis, len(lost))
	for _, l := range lost {
		dead[l.Node] = l.At
	}
	b.dead.Store(&dead)
}

func (b *nodeBook) deadNodes() map[presence.NodeID]presence.Millis {
	if b.conn.Unproven() {
		return nil // they may be back since this process slept
	}
	if d := b.dead.Load(); d != nil {
		return *d
	}
	return nil
}

// DropNode implements [presence.Store].
func (s *Store) DropNode(ctx context.Context, node presence.NodeID, at presence.Millis) error {
	ctx, cancel := s.conn.Deadline(ctx)
	defer cancel()
	args := []string{string(node), strconv.FormatInt(int64(at), 10)}
	results, err := s.conn.Exec(ctx, dropNodeScript, []conn.Call{{Keys: []string{s.keys.nodes()}, Args: args}})
	var stays int64
	if err == nil {
		stays, err = results[0].AsInt64()
	}
	if err != nil {
		s.conn.Failed(s.conn.LinkOf(s.keys.nodes()), err)
		return fmt.Errorf("forget node %q: %w", node, conn.Unavailable(err))
	}
	if stays == 0 {
		s.nodes.mu.Lock()
		delete(s.nodes.book, node)
		s.nodes.mu.Unlock()
	}
	if dead := s.nodes.deadNodes(); dead != nil {
		var left []presence.LostNode
		for n, at := range dead {
			if n != node {
				left = append(left, presence.LostNode{Node: n, At: at})
			}
		}
		s.nodes.markDead(left)
	}
	return nil
}
