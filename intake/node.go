package intake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"rollcall/presence"
)

// MaxNodeLease is the longest lease a node may ask for.
const MaxNodeLease = time.Hour

// nodes are the leases that nodes have asked for.
type nodes struct {
	mu       sync.Mutex
	leases   map[presence.NodeID]time.Duration
	fallback time.Duration
}

// maxNodes bounds how many leases are remembered; other nodes get the default.
const maxNodes = 10_000

func (n *nodes) init(fallback time.Duration) {
	n.leases, n.fallback = map[presence.NodeID]time.Duration{}, fallback
}

// lease returns the lease that node asked for last, or the default.
func (n *nodes) lease(node presence.NodeID) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if lease := n.leases[node]; lease > 0 {
		return lease
	}
	return n.fallback
}

// note remembers that node asks for lease.
func (n *nodes) note(node presence.NodeID, lease time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, known := n.leases[node]; known || len(n.leases) < maxNodes {
		n.leases[node] = lease
	}
}

func (n *nodes) drop(node presence.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.leases, node)
}

// Heartbeat renews all sessions of node, see [Sender.Node], and returns the lease that it has now.
// With 0 that is the one it asked for last, or the default. The error matches presence.ErrInvalid
// for a lease beyond [MaxNodeLease], and presence.ErrUnavailable when the store has not taken the
// heartbeat.
func (in *Intake) Heartbeat(ctx context.Context, node presence.NodeID, lease time.Duration) (time.Duration, error) {
	switch {
	case lease < 0 || lease > MaxNodeLease:
		return 0, fmt.Errorf("%w: lease is not between 1 and %d seconds", presence.ErrInvalid, MaxNodeLease/time.Second)
	case lease > 0:
		in.nodes.note(node, lease)
	default:
		lease = in.nodes.lease(node)
	}
	return lease, in.Service.ExternalHeartbeat(ctx, node, lease, false, in.Now())
}

// Drain is the last heartbeat of a node that shuts down. It returns how long its sessions may take
// to come back elsewhere. The error matches presence.ErrUnavailable when the store has not taken
// it.
func (in *Intake) Drain(ctx context.Context, node presence.NodeID) (grace time.Duration, err error) {
	if err := in.Service.ExternalHeartbeat(ctx, node, in.cfg.DrainGrace, true, in.Now()); err != nil {
		return 0, err
	}
	in.nodes.drop(node)
	return in.cfg.DrainGrace, nil
}
