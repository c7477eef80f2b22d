package gateway

import (
	"net/netip"
	"sync"
	"time"
)

// A rate is a budget in one number: the time at which it is full again (GCRA). The zero rate is full.
type rate int64

// take spends one of n a second, with bursts of up to burst, at now; it reports false when the budget is spent.
func (r *rate) take(now time.Duration, every time.Duration, burst int) bool {
	full := max(time.Duration(*r), now)
	if full-now > every*time.Duration(burst-1) {
		return false
	}
	*r = rate(full + every)
	return true
}

// addresses hold a budget of connects for each client address. IPv6 addresses count by their /64.
type addresses struct {
	mu    sync.Mutex
	rates map[netip.Addr]rate
	swept time.Duration
}

// maxAddresses bounds the table; when it is full of spenders, new addresses are let in uncounted rather than refused.
const maxAddresses = 1 << 16

func (a *addresses) take(addr netip.Addr, now time.Duration, perMinute int) bool {
	if perMinute == 0 || !addr.IsValid() {
		return true
	}
	if addr.Is6() {
		if p, err := addr.Prefix(64); err == nil {
			addr = p.Addr()
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rates == nil {
		a.rates = map[netip.Addr]rate{}
	}
	if now-a.swept > time.Minute || len(a.rates) >= maxAddresses && now-a.swept > time.Second {
		a.sweep(now)
	}
	r, known := a.rates[addr]
	if !known && len(a.rates) >= maxAddresses {
		return true
	}
	ok := r.take(now, time.Minute/time.Duration(perMinute), max(perMinute/2, 1))
	a.rates[addr] = r
	return ok
}

func (a *addresses) sweep(now time.Duration) {
	a.swept = now
	for addr, r := range a.rates {
		if time.Duration(r) <= now {
			delete(a.rates, addr)
		}
	}
}
