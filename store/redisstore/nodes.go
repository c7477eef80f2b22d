package redisstore

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
)

//go:embed scripts/beat.lua
var beatText string

//go:embed scripts/dropnode.lua
var dropNodeText string

//go:embed scripts/claim.lua
var claimText string

var (
	beatScript     = newScript(beatText)
	dropNodeScript = newScript(dropNodeText)
	claimScript    = newScript(claimText)
)

const (
	// claimFor is how long one survivor keeps the others from the same work.
	claimFor = 10 * time.Second
)

// A nodeBook is what this process knows of nodes.
type nodeBook struct {
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

// nodeValue returns what the hash of nodes holds of one: "<deadline ms> <drained 0 or 1> <last heartbeat ms>".
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

// Beat implements [presence.Store].
func (s *Store) Beat(ctx context.Context, node presence.NodeID, lease time.Duration, drained bool, now presence.Millis) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	value := nodeValue(now, lease, drained)
	results, err := s.exec(ctx, beatScript, []scriptCall{{[]string{s.keys.nodes()}, []string{string(node), value}}})
	if err == nil {
		err = results[0].Error()
		if isStranger(err) {
			err = s.foreign(s.keys.nodes())
		} else {
			s.beatTold(err)
		}
	}
	if err != nil {
		s.failed(s.linkOfKey(s.keys.nodes()), err)
		return fmt.Errorf("beat of node %q: %w", node, away(err))
	}
	was, _ := results[0].ToString()
	s.nodes.mu.Lock()
	_, beaten := s.nodes.book[node]
	s.nodes.book[node] = struct{}{}
	s.nodes.mu.Unlock()
	if beaten && was == "" {
		// Somebody took it for dead and ended what hangs on it, or Redis lost it: whoever holds it says it all again.
		s.log.Warn("node was given up by others", "node", node)
		s.outage.returned(now, now)
	}
	return nil
}

// Beats implements [presence.Store].
func (s *Store) Beats(ctx context.Context, nodes []presence.NodeID) ([]bool, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	key := s.keys.nodes()
	if !s.reaches(key) {
		return nil, errAway
	}
	cmds := make(rueidis.Commands, len(nodes))
	for i, n := range nodes {
		cmds[i] = s.client.B().Hget().Key(key).Field(string(n)).Build()
	}
	begun := time.Now()
	results, err := s.multi(ctx, cmds)
	if err != nil {
		return nil, err
	}
	beats := make([]bool, len(nodes))
	for i := range results {
		switch err := results[i].Error(); {
		case isStranger(err):
			return nil, fmt.Errorf("ask for %d nodes: %w", len(nodes), s.foreign(key))
		case err != nil && !rueidis.IsRedisNil(err):
			s.failedSince(begun, key, err)
			return nil, fmt.Errorf("ask for %d nodes: %w", len(nodes), away(err))
		default:
			beats[i] = err == nil
		}
	}
	return beats, nil
}

// knowNode gives a node that reports before it beats a first lease, so that a node that never beats is found lost.
func (s *Store) knowNode(ctx context.Context, node presence.NodeID, now presence.Millis) error {
	s.nodes.mu.Lock()
	_, known := s.nodes.book[node]
	s.nodes.mu.Unlock()
	if known {
		return nil
	}
	if !s.reaches(s.keys.nodes()) {
		return errAway
	}
	value := nodeValue(now, presence.NodeLease, false)
	begun := time.Now()
	err := s.do(ctx, s.client.B().Hsetnx().Key(s.keys.nodes()).Field(string(node)).Value(value).Build()).Error()
	if isStranger(err) {
		s.stranger(s.keys.nodes()) // no node is found lost until it is gone
		return nil
	}
	if err != nil {
		s.failedSince(begun, s.keys.nodes(), err)
		return away(err)
	}
	s.nodes.mu.Lock()
	if _, known := s.nodes.book[node]; !known {
		s.nodes.book[node] = struct{}{}
	}
	s.nodes.mu.Unlock()
	return nil
}

// LostNodes implements [presence.Store]. It also keeps the set of nodes that queries do not believe any more. While the
// primary of the beats is lost nobody can beat, and nobody is found lost.
func (s *Store) LostNodes(ctx context.Context, now presence.Millis) ([]presence.LostNode, error) {
	if s.outage.open.Load() || !s.settles(s.keys.nodes()) {
		return nil, fmt.Errorf("ask for the nodes: %w", errAway)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.owned(ctx); err != nil {
		return nil, fmt.Errorf("ask for the nodes: %w", err)
	}
	all, err := s.do(ctx, s.client.B().Hgetall().Key(s.keys.nodes()).Build()).AsStrMap()
	if isStranger(err) {
		return nil, fmt.Errorf("ask for the nodes: %w", s.foreign(s.keys.nodes()))
	}
	if err != nil {
		s.failed(s.linkOfKey(s.keys.nodes()), err)
		return nil, fmt.Errorf("ask for the nodes: %w", away(err))
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
	s.bury(lost)
	return s.nodes.unspared(lost), nil
}

// Drained returns the nodes that have drained and hold sockets no more, as the last [Store.LostNodes] found them: within a second on
// a server.
func (s *Store) Drained() []presence.NodeID {
	s.nodes.mu.Lock()
	defer s.nodes.mu.Unlock()
	return s.nodes.drained
}

// Claim implements [presence.Claimer].
func (s *Store) Claim(ctx context.Context, name string, ttl time.Duration) bool {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return s.claimKey(ctx, s.keys.claim(name), ttl)
}

// claimKey takes or keeps the claim at key. A claim that cannot be asked for counts as given: it keeps others from the same work and
// does no more.
func (s *Store) claimKey(ctx context.Context, key string, ttl time.Duration) bool {
	if !s.reaches(key) {
		return true
	}
	begun := time.Now()
	results, err := s.exec(ctx, claimScript, []scriptCall{{[]string{key}, []string{s.name, seconds(ttl)}}})
	if err != nil {
		return true
	}
	n, err := results[0].AsInt64()
	if isStranger(err) {
		s.stranger(key)
	} else if err != nil {
		s.failedSince(begun, key, err)
	}
	return n == 1 || err != nil
}

// bury makes queries pass over the sessions of lost nodes at once, while a survivor ends them one by one.
func (s *Store) bury(lost []presence.LostNode) {
	if len(lost) == 0 {
		s.dead.Store(nil)
		return
	}
	dead := make(map[presence.NodeID]presence.Millis, len(lost))
	for _, l := range lost {
		dead[l.Node] = l.At
	}
	s.dead.Store(&dead)
}

func (s *Store) deadNodes() map[presence.NodeID]presence.Millis {
	if s.unproven() {
		return nil // they may be back since this process slept
	}
	if d := s.dead.Load(); d != nil {
		return *d
	}
	return nil
}

// OnNode implements [presence.Store]. Peers that lie on a lost primary, or are kept by a newer rollcall, are not returned; when
// only such are left, that is an error, lest the node be forgotten. A node may have a hundred thousand: the deadline is that of
// each step.
func (s *Store) OnNode(ctx context.Context, node presence.NodeID, limit int) ([]presence.Key, error) {
	if err := s.owned(ctx); err != nil {
		return nil, fmt.Errorf("ask who is on node %q: %w", node, err)
	}
	indexes := make([]string, buckets)
	for b := range indexes {
		indexes[b] = s.keys.nodeIndex(node, b)
	}
	what := fmt.Sprintf("ask who is on node %q", node)
	var keys []presence.Key
	var unread error
	held := 0
	for some := range slices.Chunk(indexes, indexStep) {
		k, h, err := s.onNode(ctx, node, some, limit-len(keys))
		keys, held, unread = append(keys, k...), held+h, errors.Join(unread, err)
		if len(keys) >= limit || err != nil && s.single != nil { // of a Cluster the other primaries may tell
			break
		}
	}
	if len(keys) == 0 && unread == nil && held > 0 {
		unread = errNewer
		s.nodes.spare(node)
	}
	return keys, doing(what, unread)
}

// Orphans implements [presence.Sharer]. The survivors share the indexes of the node by claims: each ends what is in one, then claims another,
// beginning at a place of its own.
func (s *Store) Orphans(ctx context.Context, node presence.NodeID, limit int) (keys []presence.Key, others bool, err error) {
	what := fmt.Sprintf("ask who is on node %q", node)
	if err := s.owned(ctx); err != nil {
		return nil, false, doing(what, err)
	}
	left, unread := s.leftOn(ctx, node)
	held := 0
	for _, bucket := range left {
		if !s.claimKey(ctx, s.keys.reap(node, bucket), claimFor) {
			others = true
			continue
		}
		k, h, err := s.onNode(ctx, node, []string{s.keys.nodeIndex(node, bucket)}, limit-len(keys))
		keys, held, unread = append(keys, k...), held+h, errors.Join(unread, err)
		if len(keys) >= limit || err != nil && s.single != nil {
			break
		}
	}
	if len(keys) == 0 && !others && unread == nil && held > 0 {
		unread = errNewer
		s.nodes.spare(node)
	}
	return keys, others, doing(what, unread)
}

// leftOn returns the indexes of a node that are not empty, in the order in which this process takes them.
func (s *Store) leftOn(ctx context.Context, node presence.NodeID) (left []int, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	first := bucketOf(s.name)
	var asked []int
	var cmds []rueidis.Completed
	for i := range buckets {
		bucket := (first + i) % buckets
		index := s.keys.nodeIndex(node, bucket)
		if !s.settles(index) {
			err = errAway
			continue
		}
		asked = append(asked, bucket)
		cmds = append(cmds, s.client.B().Zrangebyscore().Key(index).Min("-inf").Max("+inf").Limit(0, 1).Build())
	}
	if len(cmds) == 0 {
		return nil, err
	}
	begun := time.Now()
	results, failed := s.multi(ctx, cmds)
	if failed != nil {
		return nil, failed
	}
	for i, bucket := range asked {
		some, failed := results[i].AsStrSlice()
		index := s.keys.nodeIndex(node, bucket)
		switch {
		case isStranger(failed):
			err = s.foreign(index)
		case failed != nil:
			s.failedSince(begun, index, failed)
			err = away(failed)
		case len(some) > 0:
			left = append(left, bucket)
		}
	}
	return left, err
}

// indexStep is how many of the indexes of a node are read in one step.
const indexStep = 4

// onNode is OnNode by some of the indexes; held is how many entries it passed over.
func (s *Store) onNode(ctx context.Context, node presence.NodeID, indexes []string, limit int) (keys []presence.Key, held int, err error) {
	r := s.reading(indexes, "+inf")
	for {
		step, cancel := s.deadline(ctx)
		list, unread := s.next(step, r, limit)
		cancel()
		if len(list) == 0 {
			return nil, r.held, unread
		}
		keys, idle, err := s.siftInSteps(ctx, r, list, func(st *presence.State) bool { return st.On(node) })
		if err != nil || len(keys) > 0 {
			return keys, r.held, errors.Join(err, unread)
		}
		for some := range slices.Chunk(idle, siftStep) {
			step, cancel := s.deadline(ctx)
			err := s.tidy(step, some)
			cancel()
			if err != nil {
				return nil, r.held, err
			}
		}
	}
}

// siftStep is how many states one step reads.
const siftStep = 512

// siftInSteps is sift for any number of entries.
func (s *Store) siftInSteps(ctx context.Context, r *reading, list []found, wanted func(*presence.State) bool) (keys []presence.Key, idle []found, err error) {
	for some := range slices.Chunk(list, siftStep) {
		step, cancel := s.deadline(ctx)
		k, i, err := s.sift(step, r, some, wanted)
		cancel()
		keys, idle = append(keys, k...), append(idle, i...)
		if err != nil {
			return keys, idle, err
		}
	}
	return keys, idle, nil
}

// DropNode implements [presence.Store].
func (s *Store) DropNode(ctx context.Context, node presence.NodeID, at presence.Millis) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	args := []string{string(node), strconv.FormatInt(int64(at), 10)}
	results, err := s.exec(ctx, dropNodeScript, []scriptCall{{[]string{s.keys.nodes()}, args}})
	var stays int64
	if err == nil {
		stays, err = results[0].AsInt64()
	}
	if err != nil {
		s.failed(s.linkOfKey(s.keys.nodes()), err)
		return fmt.Errorf("forget node %q: %w", node, away(err))
	}
	if stays == 0 {
		s.nodes.mu.Lock()
		delete(s.nodes.book, node)
		s.nodes.mu.Unlock()
	}
	if dead := s.deadNodes(); dead != nil {
		var left []presence.LostNode
		for n, at := range dead {
			if n != node {
				left = append(left, presence.LostNode{Node: n, At: at})
			}
		}
		s.bury(left)
	}
	return nil
}

// A found is an index entry as it was read.
type found struct {
	member string
	claim  claim
}

// sift reads the states behind index entries, claims those that are wanted for whoever settles them, and returns the
// rest, less what is a newer rollcall's.
func (s *Store) sift(ctx context.Context, r *reading, list []found, wanted func(*presence.State) bool) (keys []presence.Key, idle []found, err error) {
	if list, err = s.peersOnly(ctx, list); err != nil || len(list) == 0 {
		return nil, nil, err
	}
	states := make([]string, len(list))
	peers := make([]presence.Key, len(list))
	for i, f := range list {
		key, _ := s.keys.memberPeer(f.member)
		peers[i] = key
		states[i] = s.keys.stateKey(string(s.keys.summaryKey(nil, key.App, []byte(key.Peer))))
	}
	values, err := s.getAll(ctx, states)
	if err != nil {
		return nil, nil, away(err)
	}
	var st presence.State
	for i, v := range values {
		st = presence.State{}
		damaged := len(v) > 0 && st.Unpack(v) != nil
		if damaged && s.newer(v) {
			s.sayNewer(peers[i].Peer, v)
			r.pass(list[i])
			continue
		}
		if damaged || !wanted(&st) && !s.doubts.holds(list[i].member, v) { // the update that tidies also takes away what is damaged
			idle = append(idle, list[i])
			continue
		}
		s.claims.add(list[i].member, list[i].claim)
		keys = append(keys, peers[i])
	}
	return keys, idle, nil
}

// peersOnly removes from the indexes what names no peer, so that it does not stand in the way of those who are due.
func (s *Store) peersOnly(ctx context.Context, list []found) ([]found, error) {
	var calls []scriptCall
	peers := list[:0]
	for _, f := range list {
		if _, ok := s.keys.memberPeer(f.member); ok {
			peers = append(peers, f)
			continue
		}
		s.stats.damaged.Add(1)
		s.log.Error("index in redis names no peer", "index", f.claim.index, "member", fmt.Sprintf("%.40q", f.member))
		calls = append(calls, scriptCall{keys: []string{f.claim.index}, args: []string{f.member, formatScore(f.claim.score), ""}})
	}
	if len(calls) == 0 {
		return peers, nil
	}
	begun := time.Now()
	results, err := s.exec(ctx, settleScript, calls)
	if err != nil {
		return nil, err
	}
	for i := range results {
		if err := results[i].Error(); err != nil {
			s.failedSince(begun, calls[i].keys[0], err)
			return nil, away(err)
		}
	}
	return peers, nil
}

// tidy settles entries that no state needs as they stand: an update that changes nothing removes or moves them.
func (s *Store) tidy(ctx context.Context, idle []found) error {
	if len(idle) == 0 {
		return nil
	}
	keys := make([]presence.Key, len(idle))
	for i, f := range idle {
		s.claims.add(f.member, f.claim)
		keys[i], _ = s.keys.memberPeer(f.member)
	}
	return s.update(ctx, keys, 0, func(int, *presence.State) presence.Effect { return presence.Same })
}
