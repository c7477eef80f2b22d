package conn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"rollcall/internal/wake"
	"rollcall/store/redisstore/nearcache"
)

// Options are the settings of a [Conn].
type Options struct {
	Name     string        // of this process among those on the same Redis
	Deadline time.Duration // of one call
	Force    bool          // also where Redis may evict keys without a time to live
	Log      *slog.Logger

	// Track are the prefixes of the keys whose writes are reported; none stands for all keys.
	Track []string
	// Probe returns the key that a link writes to see that it is reported, in the given slot.
	// Probes is the prefix of all of them, and each ends with the name.
	Probe  func(slot uint16) string
	Probes string
	// ClockKey is the key whose primary gives the time.
	ClockKey string
}

// Events are what a [Conn] reports. The methods must not block.
type Events interface {
	// Written reports keys that were written, deleted or evicted, or have expired.
	Written(names []string)
	// Look reports that writes may have been missed.
	Look()
	// Up reports that a link is up and what its primary is, before what is read from that counts as
	// fresh. An error drops the link, to be brought up again.
	Up(k *Link, identity string) error
	// Lost reports that a link is not up.
	Lost()
	// Flushed reports that all keys of a primary may be gone. An error drops the link.
	Flushed(k *Link) error
	// Down reports that a primary has become unreachable.
	Down()
	// Wake reports that there may be something to recover.
	Wake()
}

// A Conn is the connections to one Redis, to a primary behind Sentinels or to a Cluster: the shared
// client, and a link to each primary. It is safe for many goroutines.
type Conn struct {
	client rueidis.Client
	opts   Options
	events Events
	log    *slog.Logger
	cache  *nearcache.Cache
	stats  counts
	name   string
	begun  time.Time
	where  string

	// ends with the connection; everything that runs in the background hangs on it
	ctx  context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup
	shut atomic.Bool

	tracking atomic.Bool
	single   *Link // of the only primary; nil for a Cluster
	route    atomic.Pointer[route]
	byNumber [nearcache.NoLink]atomic.Pointer[Link]
	topology wake.Signal
	calls    chan struct{} // how many are under way; fewer than the rings of the client hold
	pulse    pulse
	// provenUntil is until when the links that are up are proven, in ms of the age of the
	// connection.
	provenUntil atomic.Int64
	// when the present outage began, in ms of the age of the connection; 0 for none
	downSince atomic.Int64
	clock     atomic.Int64 // the time of Redis less the age of the connection, in ms
}

type counts struct {
	linksLost, flushes, probes, outages, reloads, triedAgain atomic.Int64
}

// openRetries is how often Open retries to connect when no answer came in time.
const openRetries = 3

// Open connects to p. Nothing is checked, and no link is up, until checkServer and start are
// called.
func Open(p Place, opts Options, cache *nearcache.Cache, events Events) (*Conn, error) {
	client, err := connect(p)
	// A busy machine may answer late, and the answer may explain what is wrong.
	for range openRetries {
		if !timedOut(err) {
			break
		}
		client, err = connect(p)
	}
	if err != nil {
		return nil, Unavailable(err)
	}
	c := &Conn{
		client: client, opts: opts, events: events, log: opts.Log, cache: cache, name: opts.Name, begun: time.Now(), where: p.String(),
		topology: wake.NewSignal(), calls: make(chan struct{}, 512),
	}
	c.pulse.begun = c.begun
	c.pulse.due.Store(int64(pulseEvery))
	c.provenUntil.Store(1<<63 - 1)
	c.tracking.Store(true)
	c.ctx, c.end = context.WithCancel(context.Background())
	c.wg.Go(func() { c.pulse.run(c.ctx) })
	return c, nil
}

// Start starts the links.
func (c *Conn) Start(ctx context.Context) error {
	if c.client.Mode() != rueidis.ClientModeCluster {
		c.single = c.newLink("", true)
		c.single.start()
		return nil
	}
	if err := c.followTopology(ctx, true); err != nil {
		return fmt.Errorf("ask for the slots of the cluster: %w", Unavailable(err))
	}
	c.wg.Add(1)
	go c.runTopology(c.ctx)
	return nil
}

// Go has fn run in the background; it ends when the context of the connection does.
func (c *Conn) Go(fn func()) { c.wg.Go(fn) }

// Close ends what runs in the background and closes the connections; it reports false when that was
// done before.
func (c *Conn) Close() bool {
	if c.shut.Swap(true) {
		return false
	}
	c.end()
	c.wg.Wait()
	c.client.Close()
	return true
}

// Clustered reports whether Redis is a Cluster.
func (c *Conn) Clustered() bool { return c.client.Mode() == rueidis.ClientModeCluster }

// Context ends with the connection.
func (c *Conn) Context() context.Context { return c.ctx }

// Name returns the name of this process.
func (c *Conn) Name() string { return c.name }

// Where returns the addresses, for the operator; there is no password in it.
func (c *Conn) Where() string { return c.where }

// B returns a builder of commands.
func (c *Conn) B() rueidis.Builder { return c.client.B() }

// Stats returns counts since the connection was made, and the links that are up, by names of their
// own.
func (c *Conn) Stats() map[string]int64 {
	t := &c.stats
	m := map[string]int64{
		"links_up": 0, "links_lost": t.linksLost.Load(), "flushes_heard": t.flushes.Load(), "probes_heard": t.probes.Load(),
		"scripts_reloaded": t.reloads.Load(), "tried_again": t.triedAgain.Load(), "outages": t.outages.Load(),
	}
	for _, k := range c.Links() {
		if k.epoch().Up() {
			m["links_up"]++
		}
	}
	return m
}

func connect(p Place) (rueidis.Client, error) {
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
		opt.TLSConfig = &tls.Config{} // with it the client asks a Cluster for its TLS ports
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

// Wait waits until every link has come up once, so that the first query already finds its cache.
func (c *Conn) Wait(ctx context.Context) error {
	for begun := time.Now(); ; {
		if c.LinkDown() == nil {
			return nil
		}
		if time.Since(begun) > someLinks {
			for _, k := range c.Links() {
				if k.epoch().Up() {
					return nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("listen to redis: %w", Unavailable(errors.Join(ctx.Err(), c.linksWhy())))
		case <-time.After(2 * time.Millisecond):
		}
		if err := c.linksWhy(); c.client.Mode() == rueidis.ClientModeStandalone && errors.Is(err, errReplica) {
			return fmt.Errorf("listen to redis: %w", Unavailable(err)) // nothing leads to another
		}
	}
}

// linksWhy returns why a link is not up, if that is known.
func (c *Conn) linksWhy() error {
	for _, k := range c.Links() {
		if why := k.why.Load(); why != nil && !k.epoch().Up() {
			return *why
		}
	}
	return nil
}

// LinkDown returns an error that names a link that is not up, nil where there are no links.
func (c *Conn) LinkDown() error {
	if !c.tracking.Load() {
		return nil
	}
	for _, k := range c.Links() {
		if !k.epoch().Up() {
			if why := k.why.Load(); why != nil && *why != nil {
				return fmt.Errorf("no link to redis %s: %w", k.Name(), *why)
			}
			return fmt.Errorf("no link to redis %s", k.Name())
		}
	}
	return nil
}

func (c *Conn) Links() []*Link {
	if c.single != nil {
		return []*Link{c.single}
	}
	var list []*Link
	if r := c.route.Load(); r != nil {
		for _, k := range r.links {
			list = append(list, k)
		}
	}
	return list
}

func (c *Conn) Closed() bool { return c.shut.Load() }

// Millis is the monotonic age of the store, plus one so that it is never zero.
func (c *Conn) Millis() int64 { return time.Since(c.begun).Milliseconds() + 1 }

// DoMulti runs commands in one pipeline per primary, within the deadline of a call.
func (c *Conn) DoMulti(ctx context.Context, cmds []rueidis.Completed) ([]rueidis.RedisResult, error) {
	if c.Closed() {
		return nil, ErrClosed
	}
	select {
	case c.calls <- struct{}{}:
	case <-ctx.Done():
		return nil, Unavailable(ctx.Err())
	}
	defer func() { <-c.calls }()
	return c.client.DoMulti(ctx, cmds...), nil
}

// Do runs one command.
func (c *Conn) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	if c.Closed() {
		return rueidis.NewErrorResult(ErrClosed)
	}
	select {
	case c.calls <- struct{}{}:
	case <-ctx.Done():
		return rueidis.NewErrorResult(ctx.Err())
	}
	defer func() { <-c.calls }()
	return c.client.Do(ctx, cmd)
}

func (c *Conn) Deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.opts.Deadline)
}

// someLinks is how long the start waits for all links of a Cluster; then those that are up will do,
// and Ready reports the others.
const someLinks = 3 * time.Second
