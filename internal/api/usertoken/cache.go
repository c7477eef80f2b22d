package usertoken

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/presence"
)

const (
	cacheLife   = 5 * time.Minute
	cacheShards = 16
	cacheSize   = 1 << 16 // tokens in all
)

// cache remembers tokens that were right, by their hash.
type cache struct{ shards [cacheShards]cacheShard }

type cacheShard struct {
	mu     sync.Mutex
	tokens map[[sha256.Size]byte]*proven
}

// proven is a token that was right.
type proven struct {
	token Token
	keys  *Keys // by which it was right
	until int64 // it is forgotten then, in ms
	// When the kicks of its peer were looked at last, in ms.
	looked atomic.Int64
}

// hashOf returns the name of a token of app.
func hashOf(app presence.AppID, text string) [sha256.Size]byte {
	var room [1024]byte
	return sha256.Sum256(append(append(append(room[:0], app...), 0), text...))
}

// get returns the token called hash if it was right by keys and is remembered at now; else nil.
func (c *cache) get(hash [sha256.Size]byte, keys *Keys, now int64) *proven {
	s := &c.shards[hash[0]%cacheShards]
	s.mu.Lock()
	p := s.tokens[hash]
	s.mu.Unlock()
	if p == nil || p.keys != keys || now >= p.until {
		return nil
	}
	return p
}

func (c *cache) put(hash [sha256.Size]byte, p *proven, now int64) {
	s := &c.shards[hash[0]%cacheShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens = map[[sha256.Size]byte]*proven{}
	}
	if len(s.tokens) >= cacheSize/cacheShards {
		s.forget(now)
	}
	s.tokens[hash] = p
}

// forget makes room: by what has ended, else by any quarter.
func (s *cacheShard) forget(now int64) {
	for hash, p := range s.tokens {
		if now >= p.until {
			delete(s.tokens, hash)
		}
	}
	for hash := range s.tokens {
		if len(s.tokens) < cacheSize/cacheShards*3/4 {
			return
		}
		delete(s.tokens, hash)
	}
}
