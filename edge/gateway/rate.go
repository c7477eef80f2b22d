package gateway

import (
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"rollcall/internal/limit"
	"rollcall/presence"
)

// limits hold addresses and apps to what they may open. IPv6 addresses count by their /64.
type limits struct {
	mu        sync.Mutex
	cfg       Config // its rates only
	addresses map[netip.Addr]account
	apps      map[presence.AppID]account
	swept     time.Duration
}

// holder returns what the login of ss is held to the rates of: the address of its client; of a peer
// that is proven an address that stands for it, which no network has.
func (ss *Session) holder() netip.Addr {
	if !ss.proven {
		return ss.socket.remote
	}
	sum := sha256.Sum256([]byte(string(ss.key.App) + "\x00" + string(ss.key.Peer)))
	sum[0] = 0xfd // of the local addresses, whose first 64 bits count
	return netip.AddrFrom16([16]byte(sum[:16]))
}

// An account is what one address, or one app, has used of its limits.
type account struct {
	connects limit.Meter
	logins   limit.Meter
	fresh    limit.Meter // logins of unknown peers
	early    int32       // open sockets that have had no session
}

// Bursts of logins: five minutes' worth. All clients of a server come at once when it restarts.
const loginBurst = 5

// loginCost returns what one of n logins a minute costs, and how much may be owed.
func loginCost(n int) (each, room time.Duration) {
	each = time.Minute / time.Duration(n)
	return each, each * time.Duration(loginBurst*n)
}

// maxAddresses bounds the table. While it is full of addresses in use, new ones are not counted,
// and not refused.
const maxAddresses = 1 << 16

func (l *limits) init(cfg *Config) {
	l.addresses, l.apps = map[netip.Addr]account{}, map[presence.AppID]account{}
	l.set(*cfg)
}

// set takes the rates of cfg from now on. What addresses and apps have used stays.
func (l *limits) set(cfg Config) {
	if cfg.ConnectRate == 0 {
		cfg.LoginRate, cfg.NewPeerRate, cfg.EarlySockets = 0, 0, 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg = cfg
}

// SetRates holds addresses and apps to the rates of cfg from now on; its other settings do not
// count.
func (g *Gateway) SetRates(cfg Config) { g.limits.set(cfg) }

// of calls fn with the account of addr and stores the result; without room for the account it calls
// nothing.
func (l *limits) of(addr netip.Addr, now time.Duration, fn func(*account)) {
	if !addr.IsValid() {
		return
	}
	addr = limit.Group(addr)
	if now-l.swept > time.Minute || len(l.addresses) >= maxAddresses && now-l.swept > time.Second {
		l.sweep(now)
	}
	a, known := l.addresses[addr]
	if !known && len(l.addresses) >= maxAddresses {
		return
	}
	fn(&a)
	l.addresses[addr] = a
}

func (l *limits) sweep(now time.Duration) {
	l.swept = now
	for addr, a := range l.addresses {
		if max(a.connects, a.logins, a.fresh).Full(now) && a.early == 0 {
			delete(l.addresses, addr)
		}
	}
}

// connect takes one new socket from addr.
func (l *limits) connect(addr netip.Addr, now time.Duration) (ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.cfg.ConnectRate
	if n == 0 {
		return true
	}
	ok = true
	each := time.Minute / time.Duration(n)
	l.of(addr, now, func(a *account) { _, ok = a.connects.Take(each, each*time.Duration(max(n/2, 1)), now) })
	return ok
}

// arrive reports whether addr may have one more socket without a session, and whether it was
// counted; a counted socket calls leave at its end.
func (l *limits) arrive(addr netip.Addr, now time.Duration) (ok, counted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.cfg.EarlySockets
	if n == 0 {
		return true, false
	}
	ok = true
	l.of(addr, now, func(a *account) {
		if ok = int(a.early) < n; ok {
			a.early++
			counted = true
		}
	})
	return ok, counted
}

func (l *limits) leave(addr netip.Addr, now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(addr, now, func(a *account) { a.early = max(a.early-1, 0) })
}

// login takes one login of app from addr.
func (l *limits) login(app presence.AppID, addr netip.Addr, now time.Duration) bool {
	take := func(m *limit.Meter, n int) bool {
		if n == 0 {
			return true
		}
		each, room := loginCost(n)
		_, ok := m.Take(each, room, now)
		return ok
	}
	ok := true
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(addr, now, func(a *account) { ok = take(&a.logins, l.cfg.LoginRate) })
	if ok {
		a := l.apps[app]
		ok = take(&a.logins, l.cfg.AppLoginRate)
		l.apps[app] = a
	}
	return ok
}

// freshLeft reports whether one more unknown peer may log in to app from addr.
func (l *limits) freshLeft(app presence.AppID, addr netip.Addr, now time.Duration) bool {
	left := func(m limit.Meter, n int) bool {
		if n == 0 {
			return true
		}
		each, room := loginCost(n)
		return m.Wait(each, room, now) == 0
	}
	ok := true
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(addr, now, func(a *account) { ok = left(a.fresh, l.cfg.NewPeerRate) })
	return ok && left(l.apps[app].fresh, l.cfg.AppNewPeerRate)
}

// fresh counts the login of an unknown peer.
func (l *limits) fresh(app presence.AppID, addr netip.Addr, now time.Duration) {
	spend := func(m *limit.Meter, n int) {
		if n > 0 {
			each, _ := loginCost(n)
			m.Spend(each, now)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(addr, now, func(a *account) { spend(&a.fresh, l.cfg.NewPeerRate) })
	a := l.apps[app]
	spend(&a.fresh, l.cfg.AppNewPeerRate)
	l.apps[app] = a
}
