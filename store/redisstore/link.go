package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"rollcall/store/redisstore/nearcache"
)

const (
	probeEvery   = time.Second
	probeWithin  = 1500 * time.Millisecond // together: a frozen link is noticed in 2.5 s
	probeExpiry  = 60                      // seconds
	topologyEach = time.Second
)

// A link is a connection of our own to one primary that tells what is written there. While it is up the cache may
// believe what it holds of that primary.
type link struct {
	number uint8
	addr   string                // of a Cluster's primary; empty when there is only one
	up     atomic.Bool           // said so; only the loss of what was up is news
	why    atomic.Pointer[error] // it is not up, as far as is known

	slot    atomic.Uint32 // one that the primary owns, for the probe
	heard   chan struct{}
	flush   chan struct{} // all keys may have gone
	stop    context.CancelFunc
	done    chan struct{}
	heardAt atomic.Int64 // when it last proved to be well, ms of the store's age
	born    bool         // it stood when the store opened, so that its first identity is no news

	// away is since when calls to this primary fail, in ms; 0 while they do not.
	away      atomic.Int64
	suspected atomic.Bool // a call took too long, and the primary is being asked whether it is there
	// open, of a Cluster's primary: from the first failed call, or from its beginning if it took the place of another, until
	// everybody is told of the return. What has run out there meanwhile is not believed, for nobody could renew it.
	open atomic.Bool
}

// Why a link ended.
var (
	errSilent  = errors.New("the link is silent: what was written did not come back")
	errReplica = errors.New("not a primary")
	errNoTrack = errors.New("tracking is refused")
)

// called returns how people are told of the primary behind k.
func (s *Store) called(k *link) string {
	if k.addr == "" {
		return s.where
	}
	return k.addr
}

// prefixes are what a link listens to; none stands for everything. Redis refuses prefixes of which one covers another.
func (l *layout) prefixes() []string {
	all := []string{l.summary, l.others(), l.probes()}
	var list []string
	for i, p := range all {
		covered := false
		for j, q := range all {
			covered = covered || i != j && strings.HasPrefix(p, q) && (p != q || j < i)
		}
		if !covered {
			list = append(list, p)
		}
	}
	if len(list) == 1 && list[0] == "" {
		return nil
	}
	return list
}

// runLink keeps the link up until ctx ends.
func (s *Store) runLink(ctx context.Context, k *link) {
	defer close(k.done)
	wait := 20 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		err := s.follow(ctx, k)
		k.why.Store(&err)
		if time.Since(began) > 5*time.Second {
			wait = 20 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Second)
	}
}

func (s *Store) linkLost(k *link, err error) {
	s.cache.Epoch(k.number).Lost()
	s.prove()
	if s.single != nil {
		s.doubtOwner()
	}
	if !k.up.Swap(false) || s.closed() {
		return
	}
	s.suspect(k, err)
	s.renewOthers(k)
	s.stats.linksLost.Add(1)
	s.log.Warn("link to redis lost", "addr", s.called(k), "err", err)
	s.signal(nil)
	s.wakeTopology()
}

// lookForNodes has the client ask the Cluster for its nodes again. It leaves out those that a newer server (8.0, which is asked
// by CLUSTER SHARDS) calls ill, and does not look again by itself; the map by which links are made still has them.
func (s *Store) lookForNodes(ctx context.Context, k *link) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	key := s.keys.probe(uint16(k.slot.Load()), s.name)
	_ = s.do(ctx, s.client.B().Get().Key(key).Build()) // to a slot that the client knows no node of
}

// renewOthers has the cache read anew what hangs on other links than k, whose signals were lost. While a slot moves from one
// primary to another, what is read of it hangs on the link to the old one, and is written, and told of, at the new one.
func (s *Store) renewOthers(k *link) {
	for _, o := range s.links() {
		if o != k {
			s.cache.Epoch(o.number).Renew()
		}
	}
}

// follow sets one connection up, and returns when it is lost.
func (s *Store) follow(ctx context.Context, k *link) (err error) {
	client := rueidis.Client(s.client)
	if k.addr != "" {
		if client = s.client.Nodes()[k.addr]; client == nil {
			s.lookForNodes(ctx, k)
			return fmt.Errorf("%s is not in the cluster", k.addr)
		}
	}
	conn, release := client.Dedicate()
	defer release()
	defer conn.Close()                    // what it tracked goes with it
	defer func() { s.linkLost(k, err) }() // first: closing a frozen connection takes its time
	identity, err := s.identify(ctx, conn)
	if err != nil {
		return err
	}
	lost := conn.SetOnInvalidations(func(keys []rueidis.RedisMessage) { s.heard(k, keys) })
	tracked := s.track(ctx, conn)
	if tracked != nil && !errors.Is(tracked, errNoTrack) {
		return tracked
	}
	s.tracking.Store(tracked == nil)
	if tracked == nil {
		if err := s.probe(ctx, k, conn, lost); err != nil {
			return err
		}
	}
	if err := s.linkUp(k, identity); err != nil { // first: what is read from another Redis has an age
		return err
	}
	if tracked == nil {
		s.cache.Epoch(k.number).Confirmed()
		s.prove()
	}
	k.up.Store(true)
	s.wakeWatchman()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			return fmt.Errorf("the connection ended: %w", orEOF(err))
		case <-k.flush:
			// Emptied, or lost: a probe that comes back tells which.
			if err := s.probe(ctx, k, conn, lost); err != nil {
				return err
			}
			if err := s.checkEpochAt(k); err != nil { // first: what is read from an empty Redis has an age
				return err
			}
			s.cache.Epoch(k.number).Confirmed()
			s.prove()
			s.stats.flushes.Add(1)
			s.signal(nil)
			continue
		case <-tick.C:
		}
		if tracked != nil {
			s.signal(nil) // nobody tells us: look again, each second
			if err := s.ping(ctx, conn); err != nil {
				return err
			}
			continue
		}
		if err := s.probe(ctx, k, conn, lost); err != nil {
			return err
		}
		if l := s.cache.Epoch(k.number); !l.Up() {
			l.Confirmed() // the connection before this one was late to say that it ended
		}
		s.prove()
	}
}

func orEOF(err error) error {
	if err == nil {
		return errors.New("closed")
	}
	return err
}

func (s *Store) ping(ctx context.Context, conn rueidis.DedicatedClient) error {
	ctx, cancel := s.pulse.within(ctx, probeWithin)
	defer cancel()
	return conn.Do(ctx, conn.B().Ping().Build()).Error()
}

// identify returns what a primary is: another process, or one that was promoted, is another.
func (s *Store) identify(ctx context.Context, conn rueidis.DedicatedClient) (string, error) {
	ctx, cancel := s.pulse.within(ctx, 2*time.Second)
	defer cancel()
	role, err := conn.Do(ctx, conn.B().Role().Build()).ToArray()
	if err != nil {
		return "", fmt.Errorf("ask for the role: %w", err)
	}
	if name, _ := role[0].ToString(); name != "master" {
		return "", errReplica
	}
	if err := checkVersion(ctx, conn); err != nil {
		return "", err
	}
	var who [2]string // Redis before 7 takes one section at a time
	for i, ask := range []struct{ section, field string }{{"server", "run_id"}, {"replication", "master_replid"}} {
		text, err := conn.Do(ctx, conn.B().Info().Section(ask.section).Build()).ToString()
		if err != nil {
			return "", fmt.Errorf("ask who it is: %w", err)
		}
		who[i] = infoField(text, ask.field)
	}
	return who[0] + " " + who[1], nil
}

func infoField(text, field string) string {
	for line := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return v
		}
	}
	return ""
}

// track turns broadcast tracking on for conn.
func (s *Store) track(ctx context.Context, conn rueidis.DedicatedClient) error {
	ctx, cancel := s.pulse.within(ctx, 2*time.Second)
	defer cancel()
	args := []string{"TRACKING", "ON", "BCAST"}
	for _, p := range s.keys.prefixes() {
		args = append(args, "PREFIX", p)
	}
	err := conn.Do(ctx, conn.B().Arbitrary("CLIENT").Args(args...).Build()).Error()
	if re, ok := rueidis.IsRedisErr(err); ok && !isAway(err) {
		if s.tracking.Swap(false) {
			s.log.Warn("redis refuses to track; there is no near cache", "err", re.Error())
		}
		return errNoTrack
	}
	return err
}

// probe writes a key of our own and waits until the link tells of it. What cannot be heard is as good as lost. Where there is
// one primary it is written where all calls go: after a failover by hand the old primary takes writes for ten seconds more,
// and a link that was left there would hear itself and nothing else.
func (s *Store) probe(ctx context.Context, k *link, conn rueidis.DedicatedClient, lost <-chan error) error {
	ctx, cancel := s.pulse.within(ctx, probeWithin)
	defer cancel()
	select {
	case <-k.heard:
	default:
	}
	err := s.writeProbe(ctx, k, conn)
	if re, ok := rueidis.IsRedisErr(err); ok {
		if strings.HasPrefix(re.Error(), "OOM") {
			k.heardAt.Store(s.millis())
			return nil // nothing is written there, so there is nothing to hear of but evictions
		}
		if strings.HasPrefix(re.Error(), "READONLY") {
			return errReplica
		}
	}
	if err != nil {
		return fmt.Errorf("write the probe: %w", err)
	}
	select {
	case <-k.heard:
		k.heardAt.Store(s.millis())
		s.stats.probes.Add(1)
		return nil
	case err := <-lost:
		return fmt.Errorf("the connection ended: %w", orEOF(err))
	case <-ctx.Done():
		return errSilent
	}
}

// probeSlots is how many slots of a primary one probe tries while slots move away from it.
const probeSlots = 32

// writeProbe writes the key that a probe waits for. When its slot moves to another primary, another slot of this one is taken.
func (s *Store) writeProbe(ctx context.Context, k *link, conn rueidis.DedicatedClient) error {
	var where rueidis.CoreClient = conn
	if s.single != nil {
		where = s.client
	}
	for tries := 1; ; tries++ {
		key := s.keys.probe(uint16(k.slot.Load()), s.name)
		err := where.Do(ctx, where.B().Set().Key(key).Value("1").ExSeconds(probeExpiry).Build()).Error()
		if s.single != nil || tries == probeSlots || !redirected(err) {
			return err
		}
		s.wakeTopology()
		slot, ok := s.route.Load().slotOf(k.number, rand.IntN(slots))
		if !ok {
			return err
		}
		k.slot.Store(uint32(slot))
	}
}

// redirected reports whether err says that a key belongs, or will belong, to another primary.
func redirected(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, moved := re.IsMoved()
	_, ask := re.IsAsk()
	return moved || ask
}

// heard takes what a link tells: keys that were written, deleted, evicted or have expired; nil for all of them.
func (s *Store) heard(k *link, keys []rueidis.RedisMessage) {
	if keys == nil {
		// The client says the same when the connection ends.
		s.cache.Epoch(k.number).Lost()
		select {
		case k.flush <- struct{}{}:
		default:
		}
		return
	}
	changed := make([]string, 0, len(keys))
	for i := range keys {
		name, err := keys[i].ToString()
		if err != nil {
			continue
		}
		if strings.HasPrefix(name, s.keys.probes()) {
			if strings.HasSuffix(name, ":"+s.name) {
				select {
				case k.heard <- struct{}{}:
				default:
				}
			}
			continue
		}
		if name == s.keys.summary {
			s.doubtOwner()
			s.renewOthers(nil) // what is cached may be another app's: the next question asks Redis
			continue
		}
		changed = append(changed, name)
	}
	s.invalidate(changed)
}

// A route says which link tells of which slot of a Cluster.
type route struct {
	slots [slots]uint8
	links map[string]*link
}

// slotOf returns a slot of the link of that number, the first at or after from, cyclically; ok is false when it has none.
func (r *route) slotOf(number uint8, from int) (slot uint16, ok bool) {
	for i := range slots {
		if at := (from + i) % slots; r.slots[at] == number {
			return uint16(at), true
		}
	}
	return 0, false
}

// linkOf returns the link that tells of the slot, or nil when there is none now.
func (s *Store) linkOf(slot uint16) *link {
	if s.single != nil {
		return s.single
	}
	r := s.route.Load()
	n := r.slots[slot]
	if n == nearcache.NoLink {
		return nil
	}
	return s.byNumber[n].Load()
}

func (s *Store) wakeTopology() {
	select {
	case s.topology <- struct{}{}:
	default:
	}
}

// runTopology follows which primaries a Cluster has.
func (s *Store) runTopology(ctx context.Context) {
	defer s.wg.Done()
	tick := time.NewTicker(topologyEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.topology:
		case <-tick.C:
		}
		if err := s.followTopology(ctx, false); err != nil && ctx.Err() == nil {
			s.log.Debug("ask for the slots of the cluster", "err", err)
		}
	}
}

// followTopology reads who owns which slots, starts links to new primaries and ends those to old ones.
func (s *Store) followTopology(ctx context.Context, opening bool) error {
	var ranges []rueidis.RedisMessage
	err := s.anyNode(ctx, func(ctx context.Context, n rueidis.Client) (err error) {
		ranges, err = n.Do(ctx, n.B().ClusterSlots().Build()).ToArray()
		return err
	})
	if err != nil {
		return err
	}
	was := s.route.Load()
	now := &route{links: map[string]*link{}}
	for i := range now.slots {
		now.slots[i] = nearcache.NoLink
	}
	fresh := false
	for _, r := range ranges {
		from, to, addr, ok := slotRange(r)
		if !ok {
			continue
		}
		k := now.links[addr]
		if k == nil {
			if was != nil {
				k = was.links[addr]
			}
			if k == nil {
				if k = s.newLink(addr, opening); k == nil {
					continue
				}
				fresh = true
			}
			now.links[addr] = k
		}
		for slot := from; slot <= to; slot++ {
			now.slots[slot] = k.number
		}
	}
	for _, k := range now.links {
		if now.slots[k.slot.Load()] != k.number {
			slot, _ := now.slotOf(k.number, 0)
			k.slot.Store(uint32(slot))
		}
	}
	s.route.Store(now)
	for addr, k := range now.links {
		if was == nil || was.links[addr] == nil {
			s.startLink(k)
		}
	}
	if was == nil {
		return nil
	}
	for addr, k := range was.links {
		if now.links[addr] == nil {
			k.stop()
			s.byNumber[k.number].CompareAndSwap(k, nil)
		}
	}
	if fresh {
		// A slot may have moved to a primary that nobody listened to yet.
		for _, k := range now.links {
			s.cache.Epoch(k.number).Renew()
		}
		s.signal(nil)
	}
	return nil
}

func slotRange(r rueidis.RedisMessage) (from, to int, addr string, ok bool) {
	list, err := r.ToArray()
	if err != nil || len(list) < 3 {
		return 0, 0, "", false
	}
	node, err := list[2].ToArray()
	if err != nil || len(node) < 2 {
		return 0, 0, "", false
	}
	host, err1 := node[0].ToString()
	port, err2 := node[1].AsInt64()
	a, err3 := list[0].AsInt64()
	b, err4 := list[1].AsInt64()
	if errors.Join(err1, err2, err3, err4) != nil || host == "" || a < 0 || b >= slots {
		return 0, 0, "", false
	}
	return int(a), int(b), net.JoinHostPort(host, strconv.FormatInt(port, 10)), true
}

// newLink makes a link with a number of its own, or returns nil when there are none left.
func (s *Store) newLink(addr string, born bool) *link {
	for n := range uint8(nearcache.NoLink) {
		k := &link{number: n, addr: addr, heard: make(chan struct{}, 1), flush: make(chan struct{}, 1), done: make(chan struct{}), born: born}
		if s.byNumber[n].CompareAndSwap(nil, k) {
			k.heardAt.Store(s.millis())
			k.open.Store(!born)
			return k
		}
	}
	s.log.Warn("more primaries than links; answers of some are not cached", "addr", addr)
	return nil
}

func (s *Store) startLink(k *link) {
	ctx, stop := context.WithCancel(s.ctx)
	k.stop = stop
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		s.runLink(ctx, k)
	}()
}
