package main

import (
	"context"
	"log"
	"maps"
	"slices"
	"sync"
	"time"

	rollcall "rollcall/client/go"
)

// A reporter keeps rollcall up to date about the connections of this process. The chat never waits
// for it.
type reporter struct {
	client *rollcall.Client
	node   string        // this process and its start: after a crash the next one is another node
	lease  time.Duration // how long rollcall believes in this node without a heartbeat

	mu      sync.Mutex
	open    map[string]rollcall.Session // by session id
	pending []rollcall.Event            // in their order
	behind  bool                        // reports were lost: the whole list is due
	wake    chan struct{}
	begun   chan struct{} // closed after the first heartbeat
}

func newReporter(client *rollcall.Client, node string, lease time.Duration) *reporter {
	return &reporter{client: client, node: node, lease: lease, open: map[string]rollcall.Session{}, wake: make(chan struct{}, 1), begun: make(chan struct{})}
}

// connected and gone note what happened to a connection; its times are this machine's, which orders
// the reports of a session.
func (r *reporter) connected(peer, session string) {
	now := time.Now().UnixMilli()
	r.note(func() {
		r.open[session] = rollcall.Session{Peer: peer, Session: session, Time: now}
		r.pending = append(r.pending, rollcall.Event{Peer: peer, State: "online", Session: session, Node: r.node, Time: now})
	})
}

func (r *reporter) gone(peer, session, why string) {
	r.note(func() {
		delete(r.open, session)
		r.pending = append(r.pending, rollcall.Event{Peer: peer, State: "offline", Session: session, Node: r.node, Time: time.Now().UnixMilli(), Why: why})
	})
}

func (r *reporter) note(what func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// relist is how often the whole list is sent without a reason: rollcall may have been started again
// without its data.
const relist = 5 * time.Minute

// beat sends heartbeats until ctx ends. They renew all sessions of the node at once, so no session
// has a timer. After a gap rollcall may have ended them, so the whole list is due.
func (r *reporter) beat(ctx context.Context) {
	var last, listed time.Time
	for first := true; ; first = false {
		_, err := r.client.Beat(ctx, r.node, r.lease)
		now := time.Now()
		if first {
			close(r.begun)
			last, listed = now, now
		}
		gap := now.Sub(last) >= r.lease*2/3 // a heartbeat was missed
		switch {
		case err != nil && ctx.Err() == nil:
			log.Printf("heartbeat failed: %v", err)
		case err == nil:
			if last = now; gap || now.Sub(listed) >= relist {
				listed = now
				r.note(func() { r.behind = true })
			}
		}
		select {
		case <-time.After(r.lease / 3):
		case <-ctx.Done():
			return
		}
	}
}

// report sends reports, in their order, until ctx ends. The client retries a call for a while; when
// that was not enough the list of all connections takes the place of what was lost.
func (r *reporter) report(ctx context.Context) {
	<-r.begun // a node leases its sessions from its first heartbeat on
	for {
		select {
		case <-r.wake:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil && r.send(ctx) {
		}
	}
}

const batch = 1000 // events in one call

// send makes one call, and reports whether there is more to send.
func (r *reporter) send(ctx context.Context) (more bool) {
	r.mu.Lock()
	behind, list, at := r.behind, slices.Collect(maps.Values(r.open)), time.Now()
	events := r.pending[:min(batch, len(r.pending))]
	if behind {
		events = r.pending // the list says it all
	}
	r.pending, r.behind = slices.Clone(r.pending[len(events):]), false
	r.mu.Unlock()
	var err error
	switch {
	case behind:
		_, _, err = r.client.Resync(ctx, r.node, list, at)
	case len(events) == 0:
		return false
	default:
		_, err = r.client.Report(ctx, events...)
	}
	if err != nil && ctx.Err() == nil {
		log.Printf("report failed: %v", err)
		r.note(func() { r.behind = true })
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
	}
	return true
}

// drain says that this process stops: those that connect elsewhere within the grace are online
// throughout.
func (r *reporter) drain(ctx context.Context) error {
	_, err := r.client.Drain(ctx, r.node)
	return err
}
