package gateway

import (
	"hash/maphash"
	"sync"

	"rollcall/presence"
)

// registry finds the sessions of a peer on this node.
type registry struct {
	seed   maphash.Seed
	shards [64]shard
}

// A shard's mutex also guards the state of its sessions. It is taken before a socket's mutex, never
// inside it.
type shard struct {
	mu    sync.Mutex
	peers map[presence.Key]*Session // linked by next
}

func (r *registry) init() {
	r.seed = maphash.MakeSeed()
	for i := range r.shards {
		r.shards[i].peers = map[presence.Key]*Session{}
	}
}

func (r *registry) shard(k presence.Key) *shard {
	return &r.shards[maphash.String(r.seed, string(k.Peer))%uint64(len(r.shards))]
}

// holds reports whether a session of k is on this node.
func (r *registry) holds(k presence.Key) bool {
	s := r.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers[k] != nil
}

// sessions returns the sessions of k on this node.
func (r *registry) sessions(k presence.Key) []*Session {
	s := r.shard(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Session
	for ss := s.peers[k]; ss != nil; ss = ss.next {
		all = append(all, ss)
	}
	return all
}

// all calls fn with every session, a shard at a time, outside of its lock.
func (r *registry) all(fn func([]*Session)) {
	for i := range r.shards {
		s := &r.shards[i]
		var list []*Session
		s.mu.Lock()
		for _, ss := range s.peers {
			for ; ss != nil; ss = ss.next {
				list = append(list, ss)
			}
		}
		s.mu.Unlock()
		fn(list)
	}
}

func (s *shard) add(ss *Session) {
	ss.next = s.peers[ss.key]
	s.peers[ss.key] = ss
}

// remove takes ss out and reports whether it was in.
func (s *shard) remove(ss *Session) bool {
	head := s.peers[ss.key]
	if head == ss {
		if ss.next == nil {
			delete(s.peers, ss.key)
		} else {
			s.peers[ss.key] = ss.next
		}
		ss.next = nil
		return true
	}
	for p := head; p != nil; p = p.next {
		if p.next == ss {
			p.next, ss.next = ss.next, nil
			return true
		}
	}
	return false
}
