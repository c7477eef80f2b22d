package api

import (
	"net/netip"
	"net/url"
	"time"

	"rollcall/internal/api/usertoken"
	"rollcall/internal/limit"
	"rollcall/presence"
)

// A Caller is who calls, once the gate has let it through.
type Caller struct {
	App     *App
	Rights  Rights
	Address netip.Addr // by which it is held to a rate
	Pass    *Pass      // what its ticket or renewal gives; nil for one that came with a key
	// User is what its user token says; nil for one that came without.
	User   *usertoken.Token
	Signed bool // must still prove its signature over the body, see [Gate.CheckSignature]

	// Query is what the query of the call says, read strictly: see [Route.Query].
	Query url.Values

	gate    *Gate
	release func()      // makes its ticket good again; nil when it came without one
	body    *limit.Hold // the memory of its body; nil: none is accounted for
	paid    int         // peers that the size of its body was charged as
}

// Release says that what c opened is gone: its ticket is good again for what is left of its life.
func (c *Caller) Release() {
	if c.release != nil {
		c.release()
	}
}

// MayWatch answers whether c may watch peers: a ticket that was bought for a list is for that list.
func (c *Caller) MayWatch(peers []presence.PeerID) error {
	if c.Pass == nil || !c.Pass.Bound || c.Pass.list == listOf(peers) {
		return nil
	}
	return Errorf("forbidden", "this ticket was bought for another list of peers")
}

// Master reports whether c may see everything.
func (c *Caller) Master() bool { return c.Rights.Has(Master) }

// Detailed reports whether c may see more than the status of a peer.
func (c *Caller) Detailed() bool {
	return c.Master() || c.gate.cfg.AppDetail || c.Pass != nil && c.Pass.Detail
}

// Secret reports whether c has shown a key that is in no copy of the app. It is held to no share of
// an address.
func (c *Caller) Secret() bool {
	return !c.Signed && (c.Master() || c.Rights.Has(Hook)) && c.Pass == nil
}

// TakeIDs charges c for naming n peers.
func (c *Caller) TakeIDs(n int) error {
	if c.Master() {
		return nil
	}
	n -= c.paid
	c.paid = 0
	return c.gate.take(limit.AskPeers, c, float64(n))
}

// takeBytes charges c for a body of n bytes, less what was charged for it before: they cost their
// time before it is known how many peers they name.
func (c *Caller) takeBytes(n int) error {
	if c.Secret() || n < httpFree {
		return nil
	}
	more := n/limit.PeerBytes - c.paid
	c.paid += max(more, 0)
	return c.gate.take(limit.AskPeers, c, float64(more))
}

// httpFree is the size of a body that costs no more than the call.
const httpFree = 4 << 10

// FreeBody gives back the memory of c's body. A handler that keeps the call open once the body is
// understood calls it before.
func (c *Caller) FreeBody() { c.body.Release() }

// share returns by what c is held to shares: a secret key is an app's own, and its servers may
// stand at one address.
func (c *Caller) share() (app string, address netip.Addr) {
	if c.App != nil {
		app = string(c.App.ID)
	}
	if !c.Secret() {
		address = c.Address
	}
	return app, address
}

// A Watching is a watcher's share of what a node may hold of watchers and of peers that are
// watched. It is for one goroutine at a time.
type Watching struct{ watchers, peers *limit.Hold }

// Watch takes a share for a watcher of c without peers.
func (c *Caller) Watch() (*Watching, error) {
	app, address := c.share()
	w := &Watching{watchers: c.gate.deps.Watchers.Hold(app, address), peers: c.gate.deps.Watched.Hold(app, address)}
	if !w.watchers.Grow(1) {
		return nil, Errorf("too_many_watchers", "this node holds as many watchers as it may for this address, this app or altogether").WithRetry(5 * time.Second)
	}
	return w, nil
}

// Add takes n peers more. When there is no room for them it takes nothing.
func (w *Watching) Add(n int) error {
	if !w.peers.Grow(n) {
		return Errorf("too_many_watched", "this node watches as many peers as it may for this address, this app or altogether").WithRetry(5 * time.Second)
	}
	return nil
}

// Settle gives back the peers beyond n.
func (w *Watching) Settle(n int) { w.peers.Shrink(w.peers.Held() - n) }

// Release gives everything back. It may be called again, and of nil.
func (w *Watching) Release() {
	if w != nil {
		w.watchers.Release()
		w.peers.Release()
	}
}

func (g *Gate) take(class limit.Class, c *Caller, n float64) error {
	if g.operator != nil {
		return nil
	}
	id := ""
	if c.App != nil {
		id = string(c.App.ID)
	}
	wait, ok := g.deps.Callers.TakeOf(class, id, c.Address, string(c.Peer()), n)
	if ok {
		return nil
	}
	return Errorf("rate_limited", "too many calls from this key and address, or with this user token").WithRetry(wait)
}
