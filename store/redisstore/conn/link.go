package conn

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"rollcall/internal/wake"
	"rollcall/store/redisstore/nearcache"

	"github.com/redis/rueidis"
)

const (
	probeEvery   = time.Second
	probeWithin  = 1500 * time.Millisecond // together: a frozen link is noticed in 2.5 s
	probeExpiry  = 60                      // seconds
	topologyEach = time.Second
)

// A Link is a connection of our own to one primary that reports what is written there. While it is
// up, what the cache holds of that primary is fresh.
type Link struct {
	c      *Conn
	number uint8
	name   string                // its address, for people
	addr   string                // of a Cluster's primary; empty when there is only one
	up     atomic.Bool           // announced; only the loss of an announced link is
	why    atomic.Pointer[error] // it is not up, as far as is known

	slot       atomic.Uint32 // one that the primary owns, for the probe
	pushed     wake.Signal
	flush      wake.Signal // all keys may have gone
	stop       context.CancelFunc
	done       chan struct{}
	receivedAt atomic.Int64 // when it last proved to be well, ms of the store's age
	born       bool         // it stood when the store opened, so that its first identity is no news

	// Unavailable is since when calls to this primary fail, in ms; 0 while they do not.
	down atomic.Int64
	// a call took too long, and the primary is being asked whether it is there
	suspected atomic.Bool
	// open, of a Cluster's primary: from the first failed call, or from its beginning if it took
	// the place of another, until its return is announced. What has run out there meanwhile is not
	// ended, for it could not be renewed.
	open atomic.Bool
}

// Why a link ended.
var (
	errSilent  = errors.New("the link is silent: what was written did not come back")
	errReplica = errors.New("not a primary")
	errNoTrack = errors.New("tracking is refused")
)

// Name returns the address of the primary, for people.
func (k *Link) Name() string { return k.name }

// Addr returns the address of a Cluster's primary; empty for the only primary.
func (k *Link) Addr() string { return k.addr }

// Number returns the number of the link in the near cache.
func (k *Link) Number() uint8 { return k.number }

// Born reports whether the link is one of those with which the store was opened.
func (k *Link) Born() bool { return k.born }

// ReceivedAt returns when the primary last proved to be there, in ms of the age of the connection.
func (k *Link) ReceivedAt() int64 { return k.receivedAt.Load() }

// Listening reports whether writes on the primary are reported, or cannot be.
func (k *Link) Listening() bool { return !k.c.tracking.Load() || k.epoch().Up() }

func (k *Link) epoch() *nearcache.Epoch { return k.c.cache.Epoch(k.number) }

// Client returns a client of the primary alone, nil while it is not in the Cluster.
func (k *Link) Client() rueidis.Client {
	if k.addr == "" {
		return k.c.client
	}
	return k.c.client.Nodes()[k.addr]
}

// Go keeps the link up until ctx ends.
func (k *Link) run(ctx context.Context) {
	defer close(k.done)
	wait := 20 * time.Millisecond
	for ctx.Err() == nil {
		began := time.Now()
		err := k.follow(ctx)
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

func (k *Link) lost(err error) {
	k.epoch().Lost()
	k.c.prove()
	k.c.events.Lost()
	if !k.up.Swap(false) || k.c.Closed() {
		return
	}
	k.suspect(err)
	k.c.RenewOthers(k)
	k.c.stats.linksLost.Add(1)
	k.c.log.Warn("redis link lost", "addr", k.Name(), "err", err)
	k.c.events.Look()
	k.c.topology.Wake()
}

// lookForNodes has the client ask the Cluster for its nodes again. It leaves out those that a newer
// server (8.0, which is asked by CLUSTER SHARDS) calls ill, and does not look again by itself; the
// map by which links are made still has them.
func (k *Link) lookForNodes(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	key := k.c.opts.Probe(uint16(k.slot.Load()))
	// to a slot that the client knows no node of
	_ = k.c.Do(ctx, k.c.client.B().Get().Key(key).Build())
}

// RenewOthers has the cache read anew what hangs on other links than k, whose signals were lost.
// While a slot moves from one primary to another, what is read of it hangs on the link to the old
// one, and is written, and reported, at the new one.
func (c *Conn) RenewOthers(k *Link) {
	for _, o := range c.Links() {
		if o != k {
			o.epoch().Renew()
		}
	}
}

// follow sets one connection up, and returns when it is lost.
func (k *Link) follow(ctx context.Context) (err error) {
	client := rueidis.Client(k.c.client)
	if k.addr != "" {
		if client = k.c.client.Nodes()[k.addr]; client == nil {
			k.lookForNodes(ctx)
			return fmt.Errorf("%s is not in the cluster", k.addr)
		}
	}
	conn, release := client.Dedicate()
	defer release()
	defer conn.Close()             // what it tracked goes with it
	defer func() { k.lost(err) }() // first: closing a frozen connection takes its time
	identity, err := k.c.identify(ctx, conn)
	if err != nil {
		return err
	}
	lost := conn.SetOnInvalidations(func(keys []rueidis.RedisMessage) { k.received(keys) })
	tracked := k.c.track(ctx, conn)
	if tracked != nil && !errors.Is(tracked, errNoTrack) {
		return tracked
	}
	k.c.tracking.Store(tracked == nil)
	if tracked == nil {
		if err := k.probe(ctx, conn, lost); err != nil {
			return err
		}
	}
	// first: what is read from another Redis has an age
	if err := k.c.events.Up(k, identity); err != nil {
		return err
	}
	if tracked == nil {
		k.epoch().Confirmed()
		k.c.prove()
	}
	k.up.Store(true)
	k.c.events.Wake()
	return k.keep(ctx, conn, lost, tracked == nil)
}

// keep proves the connection until it is lost, and returns why it is.
func (k *Link) keep(ctx context.Context, conn rueidis.DedicatedClient, lost <-chan error, tracked bool) error {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-lost:
			return fmt.Errorf("the connection ended: %w", orEOF(err))
		case <-k.flush:
			// Emptied, or lost: a probe that comes back shows which.
			if err := k.probe(ctx, conn, lost); err != nil {
				return err
			}
			// first: what is read from an empty Redis has an age
			if err := k.c.events.Flushed(k); err != nil {
				return err
			}
			k.epoch().Confirmed()
			k.c.prove()
			k.c.stats.flushes.Add(1)
			k.c.events.Look()
			continue
		case <-tick.C:
		}
		if !tracked {
			k.c.events.Look() // nothing reports changes: look again, each second
			if err := k.c.ping(ctx, conn); err != nil {
				return err
			}
			continue
		}
		if err := k.probe(ctx, conn, lost); err != nil {
			return err
		}
		if l := k.epoch(); !l.Up() {
			l.Confirmed() // the connection before this one was late to report its end
		}
		k.c.prove()
	}
}

func orEOF(err error) error {
	if err == nil {
		return errors.New("closed")
	}
	return err
}

func (c *Conn) ping(ctx context.Context, conn rueidis.DedicatedClient) error {
	ctx, cancel := c.pulse.within(ctx, probeWithin)
	defer cancel()
	return conn.Do(ctx, conn.B().Ping().Build()).Error()
}

// identify returns what a primary is: another process, or one that was promoted, is another.
func (c *Conn) identify(ctx context.Context, conn rueidis.DedicatedClient) (string, error) {
	ctx, cancel := c.pulse.within(ctx, 2*time.Second)
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
			return "", fmt.Errorf("ask for its identity: %w", err)
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
func (c *Conn) track(ctx context.Context, conn rueidis.DedicatedClient) error {
	ctx, cancel := c.pulse.within(ctx, 2*time.Second)
	defer cancel()
	args := []string{"TRACKING", "ON", "BCAST"}
	for _, p := range c.opts.Track {
		args = append(args, "PREFIX", p)
	}
	err := conn.Do(ctx, conn.B().Arbitrary("CLIENT").Args(args...).Build()).Error()
	if re, ok := rueidis.IsRedisErr(err); ok && !IsDown(err) {
		if c.tracking.Swap(false) {
			c.log.Warn("client tracking refused; near cache disabled", "err", re.Error())
		}
		return errNoTrack
	}
	return err
}

// probe writes a key of our own and waits until the link reports it. A link that does not is as
// good as lost. Where there is one primary it is written where all calls go: after a failover by
// hand the old primary takes writes for ten seconds more, and a link that was left there would
// report its own probes and nothing else.
func (k *Link) probe(ctx context.Context, conn rueidis.DedicatedClient, lost <-chan error) error {
	ctx, cancel := k.c.pulse.within(ctx, probeWithin)
	defer cancel()
	select {
	case <-k.pushed:
	default:
	}
	err := k.writeProbe(ctx, conn)
	if re, ok := rueidis.IsRedisErr(err); ok {
		if strings.HasPrefix(re.Error(), "OOM") {
			k.receivedAt.Store(k.c.Millis())
			return nil // nothing is written there, so there is nothing to report but evictions
		}
		if strings.HasPrefix(re.Error(), "READONLY") {
			return errReplica
		}
	}
	if err != nil {
		return fmt.Errorf("write the probe: %w", err)
	}
	select {
	case <-k.pushed:
		k.receivedAt.Store(k.c.Millis())
		k.c.stats.probes.Add(1)
		return nil
	case err := <-lost:
		return fmt.Errorf("the connection ended: %w", orEOF(err))
	case <-ctx.Done():
		return errSilent
	}
}

// probeSlots is how many slots of a primary one probe tries while slots move away from it.
const probeSlots = 32

// writeProbe writes the key that a probe waits for. When its slot moves to another primary, another
// slot of this one is taken.
func (k *Link) writeProbe(ctx context.Context, conn rueidis.DedicatedClient) error {
	c := k.c
	var where rueidis.CoreClient = conn
	if c.single != nil {
		where = c.client
	}
	for tries := 1; ; tries++ {
		key := c.opts.Probe(uint16(k.slot.Load()))
		err := where.Do(ctx, where.B().Set().Key(key).Value("1").ExSeconds(probeExpiry).Build()).Error()
		if c.single != nil || tries == probeSlots || !redirected(err) {
			return err
		}
		c.topology.Wake()
		slot, ok := c.route.Load().slotOf(k.number, rand.IntN(Slots))
		if !ok {
			return err
		}
		k.slot.Store(uint32(slot))
	}
}

// redirected reports whether err means that a key belongs, or will belong, to another primary.
func redirected(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	_, moved := re.IsMoved()
	_, ask := re.IsAsk()
	return moved || ask
}

// received takes what a link reports: keys that were written, deleted, evicted or have expired; nil
// for all of them.
func (k *Link) received(keys []rueidis.RedisMessage) {
	if keys == nil {
		// The client reports the same when the connection ends.
		k.epoch().Lost()
		k.flush.Wake()
		return
	}
	changed := make([]string, 0, len(keys))
	for i := range keys {
		name, err := keys[i].ToString()
		if err != nil {
			continue
		}
		if strings.HasPrefix(name, k.c.opts.Probes) {
			if strings.HasSuffix(name, ":"+k.c.name) {
				k.pushed.Wake()
			}
			continue
		}
		changed = append(changed, name)
	}
	k.c.events.Written(changed)
}
