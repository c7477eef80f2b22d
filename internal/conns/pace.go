package conns

import (
	"math"
	"sync"
	"time"

	"rollcall/internal/wake"
)

// A connection is fresh from Accept until it has to wait for its client, its first request is
// answered, or it ends. What is fresh competes for the processor with all that is under way, and
// goroutines have no priorities: ten thousand connections at once would put ten thousand of them in
// front of a request of a connection that is open already.
const (
	maxFresh = 32
	// patience is for connections that stay fresh for another reason than the processor, such as a
	// store that is slow.
	patience = 50 * time.Millisecond
)

// What Conn.state is when no round counts the connection.
const (
	settled uint32 = 0
	closed  uint32 = math.MaxUint32
)

// A pace counts fresh connections, in rounds: those of an earlier round count no more.
type pace struct {
	mu      sync.Mutex
	round   uint32 // neither settled nor closed
	fresh   int    // of this round
	settled wake.Signal
}

// wait returns when there is room for a fresh connection, or begins a new round when there was none
// for patience.
func (p *pace) wait() {
	var late *time.Timer
	for !p.room() {
		if late == nil {
			late = time.NewTimer(patience)
			defer late.Stop()
		}
		select {
		case <-p.settled:
		case <-late.C:
			p.renew()
			return
		}
	}
}

func (p *pace) room() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fresh < maxFresh
}

func (p *pace) renew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.round, p.fresh = (p.round+1)%closed, 0
	if p.round == settled {
		p.round++
	}
}

// begin counts one more and returns its round.
func (p *pace) begin() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fresh++
	return p.round
}

// end counts one of round less.
func (p *pace) end(round uint32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if round == p.round {
		p.fresh--
		p.settled.Wake()
	}
}
