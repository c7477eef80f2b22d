package redisstore

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/lograte"
	"rollcall/presence"
	"rollcall/store/redisstore/conn"
	"rollcall/store/redisstore/nearcache"
)

// shared is what every part of a store uses.
type shared struct {
	cfg   Config
	deps  Deps
	rules presence.Rules
	keys  layout
	log   *slog.Logger
	conn  *conn.Conn
	cache *nearcache.Cache
	stats stats
	floor atomic.Uint64 // the greatest revision of a state that was removed

	listening sync.Mutex // guards ears
	ears      map[int]func([]presence.Key)
	earSeq    int

	wrongTypes wrongTypes
	newerLine  lograte.Line // peer state has a newer format

	// Only tests set it, to let another writer in between two steps of an update.
	onPause func(stage string)
}

func newShared(cfg Config, deps Deps) *shared {
	b := &shared{
		cfg: cfg, deps: deps, rules: deps.Rules, log: deps.Log, keys: layout{own: cfg.Prefix, summary: cfg.SummaryPrefix},
		cache: nearcache.New(cfg.NearCache), ears: map[int]func([]presence.Key){},
	}
	b.newerLine.Every, b.wrongTypes.line.Every = repeatEvery.Milliseconds(), repeatEvery.Milliseconds()
	b.rules.Replay = presence.ReplayWithin
	return b
}

func (s *shared) pause(stage string) {
	if s.onPause != nil {
		s.onPause(stage)
	}
}

type stats struct {
	conflicts, cas, reads atomic.Int64
	adopted, damaged      atomic.Int64
	unindexed             atomic.Int64
	foreign               atomic.Int64
	newer, overwritten    atomic.Int64
}

// Listen has fn called with what other processes and this one have written.
func (s *shared) Listen(fn func(keys []presence.Key)) (stop func()) {
	s.listening.Lock()
	defer s.listening.Unlock()
	n := s.earSeq
	s.earSeq++
	s.ears[n] = fn
	return func() {
		s.listening.Lock()
		defer s.listening.Unlock()
		delete(s.ears, n)
	}
}

func (s *shared) signal(keys []presence.Key) {
	s.listening.Lock()
	defer s.listening.Unlock()
	for _, fn := range s.ears {
		fn(keys)
	}
}

// linkOfPeer returns the link to the primary of a peer, nil when there is none now.
func (s *shared) linkOfPeer(key presence.Key) *conn.Link {
	if !s.conn.Clustered() {
		return s.conn.LinkOf("")
	}
	return s.conn.LinkOf(string(s.keys.summaryKey(nil, key.App, []byte(key.Peer))))
}

// silent returns for how long the primary of key has sent nothing; 0 while the link is up.
func (s *shared) silent(key presence.Key) time.Duration {
	k := s.linkOfPeer(key)
	if k != nil && k.Reachable() && k.Proven() {
		return 0
	}
	return s.conn.Silence(k)
}
