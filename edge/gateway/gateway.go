package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/intake"
	"rollcall/internal/configload"
	"rollcall/internal/trace"
	"rollcall/internal/wake"
	"rollcall/presence"
)

// What [Socket.Open] and [Gateway.Kick] may fail with, beside the errors of presence.
var (
	// ErrConflict: another device holds the tag, and it stays.
	ErrConflict = errors.New("another device is logged in with this tag")
	// ErrFull: the socket or the peer has as many sessions as one may have.
	ErrFull = errors.New("too many sessions")
	// ErrKicked: the peer was kicked after what it logs in with was made, or while it logged in.
	ErrKicked = errors.New("the peer was kicked meanwhile")
	// ErrRate: too many logins, or too many of unknown peers, from this address or in this app.
	ErrRate = errors.New("too many logins")
	// ErrGone: the socket or the gateway is closed.
	ErrGone = errors.New("the socket is gone")
)

// Service is what a gateway asks of the rules; *presence.Service is one.
type Service interface {
	Report(ctx context.Context, reports []presence.Report, now presence.Millis, out []presence.Outcome) error
	Heartbeat(ctx context.Context, node presence.NodeID, lease time.Duration, drained bool, now presence.Millis) error
	Load(ctx context.Context, key presence.Key, st *presence.State) error
	PeersOn(ctx context.Context, node presence.NodeID) ([]presence.Key, error)
	Inspect(ctx context.Context, keys []presence.Key, now presence.Millis, fn func(i int, st *presence.State)) error
	Drained() []presence.NodeID
	Listen(fn func(keys []presence.Key)) (stop func())
	OnReturn(fn func(now presence.Millis) (done <-chan struct{})) (stop func())
}

// A Gateway holds the sockets of one node. Its dependencies are there for the wires to use.
type Gateway struct {
	cfg Config
	Deps
	born time.Time

	registry     registry
	wheel        wheel
	limits       limits
	poll         *poller // nil: every socket has a goroutine
	offlineQueue *intake.Queue
	reconciler   reconciler
	probes       probes
	live         live
	count        counters

	draining    atomic.Bool
	heartbeatMu sync.Mutex // no heartbeat comes after the last
	closing     atomic.Bool
	ctx         context.Context // ends when the gateway closes
	cancel      context.CancelFunc
	loops       sync.WaitGroup // the loops of the node
	sockets     sync.WaitGroup // the goroutines of sockets
	stop        func()         // of the store's signals
	again       wake.Signal    // the store may have lost what this node has reported
	asked       asked

	lastHeartbeat atomic.Int64 // since born, of the last heartbeat that the store took
	ticked        atomic.Int64 // since born, of the wheel's last tick, or of the start
	resumed       atomic.Int64 // since born, when the process went on after a pause
}

// New returns a gateway. It holds nothing until [Gateway.Start].
func New(cfg Config, deps Deps) (*Gateway, error) {
	if err := configload.Validate(&cfg); err != nil {
		return nil, fmt.Errorf("gateway settings: %w", err)
	}
	if cfg.MaxSockets == 0 {
		cfg.MaxSockets = maxSockets()
	}
	deps.fill()
	g := &Gateway{cfg: cfg, Deps: deps, born: time.Now(), again: wake.NewSignal()}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.registry.init()
	g.limits.init(&g.cfg)
	g.offlineQueue = intake.NewQueue(intake.QueueDeps{Report: g.Service.Report, Now: g.Now, Log: g.Log})
	g.reconciler.init()
	g.live.set = map[*Socket]struct{}{}
	return g, nil
}

// Start takes the node's first heartbeat and begins to watch over sockets. End it with
// [Gateway.Drain] or [Gateway.Close].
func (g *Gateway) Start() error {
	if !g.cfg.OneGoroutine {
		p, err := newPoller(g)
		if err != nil {
			return fmt.Errorf("start the poller: %w", err)
		}
		g.poll = p
	}
	g.heartbeat(g.Now())
	g.ticked.Store(int64(g.mono())) // a pause before the first tick is one too
	g.loops.Go(g.heartbeats)
	g.loops.Go(g.turnWheel)
	g.loops.Go(func() { g.offlineQueue.Run(g.ctx) })
	if g.poll != nil {
		g.loops.Go(g.poll.run)
	}
	g.loops.Go(g.assertWhenAsked)
	g.Service.OnReturn(func(presence.Millis) <-chan struct{} { return g.askAgain() })
	if g.Shared {
		g.loops.Go(g.reconcileLoop)
		g.stop = g.Service.Listen(g.signal)
	}
	return nil
}

// Config returns the settings in force.
func (g *Gateway) Config() *Config { return &g.cfg }

// mono returns the time on the monotonic clock.
func (g *Gateway) mono() time.Duration { return time.Since(g.born) }

// An Event is the beginning or the end of one session, for callers that follow logins.
type Event struct {
	Online  bool
	Key     presence.Key
	Session presence.SessionID
	Start   presence.Millis // of the session; with Session it names it
	Tag     string
	Auto    bool           // an automatic login
	Cause   presence.Cause // of the end
	Reason  string         // in words, when there are any
	// Why the connection was lost, as a close code; zero when nothing is known.
	Code    int
	Address netip.Addr // of the client; zero when the connection was lost
	At      presence.Millis
	Trace   trace.Context // of the request that opened the socket
}

func (g *Gateway) emit(e Event) {
	if g.Events != nil {
		g.Events(e)
	}
}
