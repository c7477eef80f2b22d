package intake

import (
	"context"
	"time"

	"rollcall/presence"
)

// Config are the settings of an [Intake]. Start from [DefaultConfig].
type Config struct {
	// NodeLease is how long a node lives without a heartbeat when it names no lease.
	NodeLease time.Duration `range:"1s..1h"`
	// DrainGrace is how long the sessions of a drained node may take to come back elsewhere.
	DrainGrace time.Duration `range:"0s..1h"`
}

// DefaultConfig returns the defaults of the product.
func DefaultConfig() Config {
	return Config{NodeLease: 30 * time.Second, DrainGrace: 30 * time.Second}
}

// Deps are what an [Intake] stands on.
type Deps struct {
	Service *presence.Service
	Now     func() presence.Millis // the clock by which events are received
}

// An Intake takes reports in. Its methods may be called by many goroutines at once.
type Intake struct {
	cfg Config
	Deps
	nodes    nodes
	receipts receipts
}

// New returns an intake. The settings have been validated.
func New(cfg Config, deps Deps) *Intake {
	in := &Intake{cfg: cfg, Deps: deps}
	in.nodes.init(cfg.NodeLease)
	return in
}

// Take counts one event, which names no node, and returns what became of it. The event is kept when
// the error is nil. Otherwise the error matches presence.ErrInvalid when the event cannot be used,
// and presence.ErrUnavailable or presence.ErrFull when the store has not taken it.
func (in *Intake) Take(ctx context.Context, from *Sender, e *Event) (presence.Outcome, error) {
	now := in.Now()
	reports, out := [1]presence.Report{from.report(e, now)}, [1]presence.Outcome{}
	in.receipts.stamp(&reports[0], now)
	err := in.Service.Report(ctx, reports[:], now, out[:])
	return out[0], err
}
