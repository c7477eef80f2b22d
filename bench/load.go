package main

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// A load is one server driven with one work for one window.
type load struct {
	target *target
	work   work
	conns  int
	rate   int           // requests a second of an open loop
	warm   time.Duration // load before the window opens
	length time.Duration // of the window
	seed   uint64
}

// A caller makes up the requests of one connection.
type caller struct {
	conn  *conn
	wire  wire
	truth *truth
	work  work
	rng   *rand.Rand
	// The caller's own share of the peers: those whose number leaves lane when divided by lanes.
	lane, lanes int

	peers  []int  // of the latest query
	states []byte // the truth about them
	turns  int    // the peer that the latest request turns, -1 for a query
}

func (l load) caller(c *conn, lane int) *caller {
	return &caller{
		conn: c, wire: l.target.wire(), truth: l.target.truth, work: l.work,
		rng:  rand.New(rand.NewPCG(l.seed, uint64(lane))),
		lane: lane, lanes: l.conns,
		peers: make([]int, l.work.ids), states: make([]byte, l.work.ids),
	}
}

func (c *caller) ownPeer() int {
	return c.rng.IntN((len(c.truth.state)-c.lane-1)/c.lanes+1)*c.lanes + c.lane
}

// next lays out a request.
func (c *caller) next() []byte {
	if c.work.hooks > 0 && c.rng.IntN(100) < c.work.hooks {
		c.turns = c.ownPeer()
		// Online for who is offline and the other way round: a hook that says nothing new could be
		// answered without work.
		return c.wire.hook(c.turns, c.truth.state[c.turns] == offline)
	}
	c.turns = -1
	skip := c.rng.IntN(unknownEvery)
	for i := range c.peers {
		p := c.ownPeer()
		if (i+skip)%unknownEvery == 0 {
			p += len(c.truth.state)
		}
		c.peers[i], c.states[i] = p, c.truth.of(p)
	}
	return c.wire.query(c.peers, c.states)
}

// take reads the answer to the latest request and compares it with the truth.
func (c *caller) take() error {
	answer, err := c.wire.read(c.conn)
	if err != nil {
		return err
	}
	return c.judge(answer)
}

func (c *caller) judge(answer []byte) error {
	if err := c.wire.judge(answer); err != nil {
		return err
	}
	if c.turns >= 0 {
		c.truth.turn(c.turns)
	}
	return nil
}

// The phases of a window.
const (
	warming int32 = iota
	counting
	over
)

// latency in nanoseconds; what takes longer than 4 s is kept as 4.3 s.
type latency = uint32

func toLatency(d time.Duration) latency { return latency(min(max(d, 0), math.MaxUint32)) }

// closedLoop keeps one request in flight on every connection: the next one is sent when the answer
// to the last has come. The server is always busy, so its cost can be read off; latencies are those
// of a busy server.
func closedLoop(ctx context.Context, l load) (sample, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	conns, closeAll, err := dialAll(ctx, l.target.addr, l.conns, l.warm+l.length+10*time.Second)
	if err != nil {
		return sample{}, err
	}
	defer closeAll()

	var phase, answering atomic.Int32
	var workers sync.WaitGroup
	latencies := make([][]latency, len(conns))
	for lane, c := range conns {
		workers.Go(func() {
			var err error
			if latencies[lane], err = l.caller(c, lane).loop(&phase, &answering, l.room()); err != nil {
				fail(err)
			}
		})
	}
	s, err := l.watch(ctx, &phase, func() bool { return answering.Load() > 0 })
	phase.Store(over)
	// Each takes the answer that it still waits for, so that the truth stays the truth.
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return sample{}, cause
	}
	if err != nil {
		return sample{}, err
	}
	for _, lat := range latencies {
		s.answered += len(lat)
	}
	return s.finish(latencies...)
}

// room is how many latencies a connection has space for before its list must grow.
func (l load) room() int { return 1024 + int(l.length.Seconds()*4096) }

// loop counts itself into answering with its first answer inside the window.
func (c *caller) loop(phase, answering *atomic.Int32, room int) ([]latency, error) {
	lat := make([]latency, 0, room)
	for {
		now := phase.Load()
		if now == over {
			return lat, nil
		}
		request := c.next()
		sent := time.Now()
		if _, err := c.conn.Write(request); err != nil {
			return nil, err
		}
		if err := c.take(); err != nil {
			return nil, err
		}
		if phase.Load() == counting { // answered inside the window
			lat = append(lat, toLatency(time.Since(sent)))
			if len(lat) == 1 {
				answering.Add(1)
			}
		}
	}
}

// patience is how much longer than asked a window stays open for its first answer. A short window
// on a busy machine may need it; the figures know how long it really was.
const patience = 5 * time.Second

// watch opens the window after the warm-up, closes it when its time is over and something was
// answered, and reads the meters at both moments.
func (l load) watch(ctx context.Context, phase *atomic.Int32, answered func() bool) (sample, error) {
	if err := pause(ctx, l.warm); err != nil {
		return sample{}, err
	}
	m, err := startMeter(l.target.procs)
	if err != nil {
		return sample{}, err
	}
	own, began := ownCPU(), time.Now()
	phase.Store(counting)
	if err := pause(ctx, l.length); err != nil {
		return sample{}, err
	}
	for waited := time.Duration(0); !answered() && waited < patience; waited += time.Millisecond {
		if err := pause(ctx, time.Millisecond); err != nil {
			return sample{}, err
		}
	}
	phase.Store(over)
	length := time.Since(began)
	own = ownCPU() - own
	used, rss, err := m.stop()
	return sample{length: length, used: used, rss: rss, driver: own}, err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
