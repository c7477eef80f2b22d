package gateway

import (
	"net/netip"
	"sync"
	"time"

	"rollcall/internal/limit"
	"rollcall/presence"
)

// A rate is a budget in one number: the time at which it is full again (GCRA). The zero rate is
// full.
type rate int64

// take spends one of n a second, with bursts of up to burst, at now; it reports false when the
// budget is spent.
func (r *rate) take(now time.Duration, every time.Duration, burst int) bool {
	if !r.left(now, every, burst) {
		return false
	}
	r.spend(now, every)
	return true
}

// left reports whether one may be spent at now.
func (r *rate) left(now time.Duration, every time.Duration, burst int) bool {
	return max(time.Duration(*r), now)-now <= every*time.Duration(burst-1)
}

// spend spends one, whether it is left or not.
func (r *rate) spend(now time.Duration, every time.Duration) {
	*r = rate(max(time.Duration(*r), now) + every)
}

// limits hold addresses and apps to what they may open. IPv6 addresses count by their /64.
type limits struct {
	cfg *Config

	mu        sync.Mutex
	addresses map[netip.Addr]account
	apps      map[presence.AppID]account
	swept     time.Duration
}

// An account is what one address, or one app, has spent.
type account struct {
	connects rate
	logins   rate
	fresh    rate  // logins of unknown peers
	early    int32 // open sockets that have had no session
}

// Bursts of logins: five minutes' worth. All clients of a server come at once when it restarts.
const loginBurst = 5

// maxAddresses bounds the table; when it is full of spenders, new addresses are let in uncounted
// rather than refused.
const maxAddresses = 1 << 16

func (l *limits) init(cfg *Config) {
	l.cfg, l.addresses, l.apps = cfg, map[netip.Addr]account{}, map[presence.AppID]account{}
}

// of calls fn with the account of addr, unless there is no room for one, and keeps what it made of
// it.
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
		if time.Duration(max(a.connects, a.logins, a.fresh)) <= now && a.early == 0 {
			delete(l.addresses, addr)
		}
	}
}

// connect takes one new socket from addr.
func (l *limits) connect(addr netip.Addr, now time.Duration) (ok bool) {
	n := l.cfg.ConnectRate
	if n == 0 {
		return true
	}
	ok = true
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(addr, now, func(a *account) { ok = a.connects.take(now, time.Minute/time.Duration(n), max(n/2, 1)) })
	return ok
}

// arrive reports whether addr may have one more socket without a session, and whether it was
// counted: leave takes it back then.
func (l *limits) arrive(addr netip.Addr, now time.Duration) (ok, counted bool) {
	n := l.cfg.EarlySockets
	if n == 0 {
		return true, false
	}
	ok = true
	l.mu.Lock()
	defer l.mu.Unlock()
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
	take := func(r *rate, n int) bool {
		return n == 0 || r.take(now, time.Minute/time.Duration(n), loginBurst*n)
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
	left := func(r rate, n int) bool {
		return n == 0 || r.left(now, time.Minute/time.Duration(n), loginBurst*n)
	}
	ok := true
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(addr, now, func(a *account) { ok = left(a.fresh, l.cfg.NewPeerRate) })
	return ok && left(l.apps[app].fresh, l.cfg.AppNewPeerRate)
}

// fresh counts the login of an unknown one.
func (l *limits) fresh(app presence.AppID, addr netip.Addr, now time.Duration) {
	spend := func(r *rate, n int) {
		if n > 0 {
			r.spend(now, time.Minute/time.Duration(n))
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(addr, now, func(a *account) { spend(&a.fresh, l.cfg.NewPeerRate) })
	a := l.apps[app]
	spend(&a.fresh, l.cfg.AppNewPeerRate)
	l.apps[app] = a
}
