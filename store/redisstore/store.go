package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"rollcall/presence"
	"rollcall/store/redisstore/nearcache"
)

// A Store keeps peer states in Redis. It is safe for many goroutines, and for many processes on one Redis.
type Store struct {
	cfg    Config
	rules  presence.Rules
	keys   layout
	client rueidis.Client
	log    *slog.Logger
	name   string // of this process among those on the same Redis
	begun  time.Time
	where  string

	ctx  context.Context // ends with the store; everything that runs in the background hangs on it
	end  context.CancelFunc
	wg   sync.WaitGroup
	shut atomic.Bool

	cache    *nearcache.Cache
	tracking atomic.Bool
	single   *link // of the only primary; nil for a Cluster
	route    atomic.Pointer[route]
	byNumber [nearcache.NoLink]atomic.Pointer[link]
	topology chan struct{}

	hear   sync.Mutex // guards ears
	ears   map[int]func([]presence.Key)
	earSeq int

	locks  [1024]chan struct{} // one report at a time for a peer
	calls  chan struct{}       // how many are under way; fewer than the rings of the client hold
	claims claims
	doubts doubts

	strangers strangers
	newerSaid atomic.Int64  // when the log last told of a newer rollcall, ms of the store's age
	auditNow  chan struct{} // an audit is wanted before its hour

	dead   atomic.Pointer[map[presence.NodeID]presence.Millis]
	nodes  nodeBook
	passed passage
	census census
	ident  identity
	owner  ownership
	outage outage
	pulse  pulse
	// provenUntil is until when the links that are up are proven, in ms of the age of the store.
	provenUntil atomic.Int64
	clock       atomic.Int64           // the time of Redis less the age of the store, in ms
	floor       atomic.Uint64          // the greatest revision of a state that was removed
	policy      atomic.Pointer[string] // what is wrong with the eviction policy, if anything
	stats       stats

	// Only tests set it, to let another writer in between two steps of an update.
	onPause func(stage string)
}

func (s *Store) pause(stage string) {
	if s.onPause != nil {
		s.onPause(stage)
	}
}

type stats struct {
	linksLost, flushes, probes atomic.Int64
	conflicts, cas, reads      atomic.Int64
	adopted, damaged           atomic.Int64
	outages, staleAnswers      atomic.Int64
	unindexed, reloads         atomic.Int64
	triedAgain                 atomic.Int64
	foreign                    atomic.Int64
	newer, overwritten         atomic.Int64
}

// Open connects to Redis, checks what it may do there, and starts to listen. What keeps it from that is a [Refusal].
func Open(ctx context.Context, cfg Config) (*Store, error) {
	p, err := cfg.parse()
	if err != nil {
		return nil, &Refusal{Err: err, Settings: true}
	}
	cfg.defaults()
	var name [6]byte
	_, _ = rand.Read(name[:]) // never fails
	s := &Store{
		cfg: cfg, rules: cfg.Rules, log: cfg.Log, name: hex.EncodeToString(name[:]), begun: time.Now(),
		keys:     layout{own: cfg.Prefix, summary: cfg.SummaryPrefix},
		topology: make(chan struct{}, 1), ears: map[int]func([]presence.Key){}, calls: make(chan struct{}, 512),
	}
	s.where = p.String()
	s.rules.Replay = presence.ReplayWithin
	s.cache = nearcache.New(max(cfg.NearCache, 0))
	s.pulse.begun = s.begun
	s.pulse.due.Store(int64(pulseEvery))
	s.provenUntil.Store(1<<63 - 1)
	s.tracking.Store(true)
	s.outage.wake, s.outage.fns = make(chan struct{}, 1), map[int]func(a, n presence.Millis) <-chan struct{}{}
	s.owner.turn = make(chan struct{}, 1)
	s.claims.of = map[string][]claim{}
	s.strangers.said, s.auditNow = map[string]time.Time{}, make(chan struct{}, 1)
	s.nodes.book, s.nodes.spared = map[presence.NodeID]struct{}{}, map[presence.NodeID]time.Time{}
	for i := range s.locks {
		s.locks[i] = make(chan struct{}, 1)
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.wg.Go(func() { s.pulse.run(s.ctx) })
	if s.client, err = connect(p); err != nil {
		s.end()
		return nil, cfg.refusal(ctx, p, fmt.Errorf("connect to redis: %w", away(err)))
	}
	if err := s.open(ctx, p); err != nil {
		_ = s.Close()
		return nil, cfg.refusal(ctx, p, err)
	}
	return s, nil
}

func connect(p place) (rueidis.Client, error) {
	opt := rueidis.ClientOption{
		InitAddress: p.addrs, Username: p.user, Password: p.password, SelectDB: p.db, ClientName: "rollcall",
		DisableCache: true, ShuffleInit: true,
		ClientSetInfo: rueidis.DisableClientSetInfo, // a right that is not needed for anything
		// Noticing a frozen link takes KeepAlive + ConnWriteTimeout; the defaults take ten seconds.
		Dialer: net.Dialer{Timeout: time.Second, KeepAlive: 500 * time.Millisecond}, ConnWriteTimeout: 2 * time.Second,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
		// One connection gathers the commands of all callers: fewer system calls on both sides.
		PipelineMultiplex: -1,
		RetryDelay: func(attempts int, _ rueidis.Completed, _ error) time.Duration {
			return min(time.Duration(attempts+1)*5*time.Millisecond, 100*time.Millisecond)
		},
	}
	if p.tls != nil {
		opt.TLSConfig = &tls.Config{} // that it is there has a Cluster tell its ports for TLS
		named := p.hosts()
		opt.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return p.tls.dial(ctx, addr, d, named)
		}
	}
	if p.master != "" {
		opt.Sentinel = rueidis.SentinelOption{MasterSet: p.master, TLSConfig: opt.TLSConfig, Dialer: opt.Dialer}
	}
	return rueidis.NewClient(opt)
}

// open checks the server and starts the links.
func (s *Store) open(ctx context.Context, p place) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.checkServer(ctx); err != nil {
		return err
	}
	if err := s.openOwner(ctx, p); err != nil {
		return err
	}
	if err := s.openEpoch(ctx); err != nil {
		return err
	}
	if err := s.openSpool(); err != nil {
		return err
	}
	if s.client.Mode() == rueidis.ClientModeCluster {
		if err := s.followTopology(ctx, true); err != nil {
			return fmt.Errorf("ask for the slots of the cluster: %w", away(err))
		}
		s.wg.Add(1)
		go s.runTopology(s.ctx)
	} else {
		s.single = s.newLink("", true)
		s.startLink(s.single)
	}
	s.wg.Add(2)
	go s.runWatchman()
	go s.runAudit()
	return s.waitLinks(ctx)
}

// someLinks is how long the start waits for all links of a Cluster; then those that are up will do, and Ready tells of the
// others.
const someLinks = 3 * time.Second

// waitLinks waits until every link has come up once, so that the first query already finds its cache.
func (s *Store) waitLinks(ctx context.Context) error {
	for begun := time.Now(); ; {
		if err := s.linksDown(); err == nil || !s.tracking.Load() {
			return nil
		}
		if time.Since(begun) > someLinks {
			for _, k := range s.links() {
				if s.cache.Epoch(k.number).Up() {
					return nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("listen to redis: %w", away(errors.Join(ctx.Err(), s.linksWhy())))
		case <-time.After(2 * time.Millisecond):
		}
		if err := s.linksWhy(); s.client.Mode() == rueidis.ClientModeStandalone && errors.Is(err, errReplica) {
			return fmt.Errorf("listen to redis: %w", away(err)) // nobody will lead us to another
		}
	}
}

// linksWhy returns why a link is not up, if that is known.
func (s *Store) linksWhy() error {
	for _, k := range s.links() {
		if why := k.why.Load(); why != nil && !s.cache.Epoch(k.number).Up() {
			return *why
		}
	}
	return nil
}

// linksDown returns an error that names a link that is not up.
func (s *Store) linksDown() error {
	for _, k := range s.links() {
		if !s.cache.Epoch(k.number).Up() {
			if why := k.why.Load(); why != nil && *why != nil {
				return fmt.Errorf("no link to redis %s: %w", s.called(k), *why)
			}
			return fmt.Errorf("no link to redis %s", s.called(k))
		}
	}
	return nil
}

func (s *Store) links() []*link {
	if s.single != nil {
		return []*link{s.single}
	}
	var list []*link
	if r := s.route.Load(); r != nil {
		for _, k := range r.links {
			list = append(list, k)
		}
	}
	return list
}

// Where returns the addresses of the store, for people; there is no password in it.
func (s *Store) Where() string { return s.where }

// Close ends what runs in the background and closes the connections.
func (s *Store) Close() error {
	if s.shut.Swap(true) {
		return nil
	}
	s.end()
	s.wg.Wait()
	if s.client != nil {
		s.client.Close()
	}
	s.closeSpool()
	return nil
}

func (s *Store) closed() bool { return s.shut.Load() }

// millis is the monotonic age of the store, plus one so that it is never zero.
func (s *Store) millis() int64 { return time.Since(s.begun).Milliseconds() + 1 }

// away makes an error of the client match [presence.ErrUnavailable].
func away(err error) error {
	if err == nil || errors.Is(err, presence.ErrUnavailable) || errors.Is(err, presence.ErrFull) {
		return err
	}
	return fmt.Errorf("%w: %w", presence.ErrUnavailable, err)
}

// isAway reports whether err tells that a primary cannot serve, as opposed to that it will not do what it was asked.
func isAway(err error) bool {
	if err == nil {
		return false
	}
	re, ok := rueidis.IsRedisErr(err)
	if !ok {
		return !rueidis.IsRedisNil(err) && !errors.Is(err, context.Canceled)
	}
	for _, code := range [...]string{"LOADING", "CLUSTERDOWN", "MASTERDOWN", "READONLY", "BUSY ", "NOAUTH", "WRONGPASS", "MISCONF", "NOREPLICAS", "UNBLOCKED"} {
		if strings.HasPrefix(re.Error(), code) {
			return true
		}
	}
	return false
}

// multi runs commands in one pipeline per primary, within the deadline of a call.
func (s *Store) multi(ctx context.Context, cmds []rueidis.Completed) ([]rueidis.RedisResult, error) {
	if s.closed() {
		return nil, errClosed
	}
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, away(ctx.Err())
	}
	defer func() { <-s.calls }()
	return s.client.DoMulti(ctx, cmds...), nil
}

// do runs one command.
func (s *Store) do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	if s.closed() {
		return rueidis.NewErrorResult(errClosed)
	}
	select {
	case s.calls <- struct{}{}:
	case <-ctx.Done():
		return rueidis.NewErrorResult(ctx.Err())
	}
	defer func() { <-s.calls }()
	return s.client.Do(ctx, cmd)
}

var errClosed = fmt.Errorf("%w: the store is closed", presence.ErrUnavailable)

func (s *Store) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.cfg.Deadline)
}

// lock takes the locks of the given members, in the order of their numbers, and returns how to give them back.
func (s *Store) lock(ctx context.Context, members []string) (unlock func(), err error) {
	var want [len(s.locks) / 64]uint64
	for _, m := range members {
		n := maphash.String(lockSeed, m) % uint64(len(s.locks))
		want[n/64] |= 1 << (n % 64)
	}
	held := make([]int, 0, min(len(members), len(s.locks)))
	unlock = func() {
		for _, n := range held {
			<-s.locks[n]
		}
	}
	for n := range s.locks {
		if want[n/64]&(1<<(n%64)) == 0 {
			continue
		}
		select {
		case s.locks[n] <- struct{}{}:
			held = append(held, n)
		case <-ctx.Done():
			unlock()
			return nil, away(ctx.Err())
		}
	}
	return unlock, nil
}

var lockSeed = maphash.MakeSeed()

// Listen implements [presence.Store].
func (s *Store) Listen(fn func(keys []presence.Key)) (stop func()) {
	s.hear.Lock()
	defer s.hear.Unlock()
	n := s.earSeq
	s.earSeq++
	s.ears[n] = fn
	return func() {
		s.hear.Lock()
		defer s.hear.Unlock()
		delete(s.ears, n)
	}
}

func (s *Store) signal(keys []presence.Key) {
	s.hear.Lock()
	defer s.hear.Unlock()
	for _, fn := range s.ears {
		fn(keys)
	}
}

// invalidate forgets what is cached under the summary keys and tells the listeners.
func (s *Store) invalidate(summaries []string) {
	keys := make([]presence.Key, 0, len(summaries))
	for _, name := range summaries {
		key, ok := s.keys.peerOf(name)
		if !ok {
			continue
		}
		s.cache.Drop(s.cache.KnownSpace(key.App), []byte(key.Peer))
		keys = append(keys, key)
	}
	if len(keys) > 0 {
		s.signal(keys)
	}
}
