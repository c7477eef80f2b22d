package server

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// unnamedProxies are addresses that send X-Forwarded-For and that the setting proxies does not
// name. All callers behind one are one address to the limits, which ends in refusals without an
// apparent reason.
type unnamedProxies struct {
	log *slog.Logger

	mu   sync.Mutex
	seen map[netip.Addr]time.Time // when the log last said so
}

const (
	maxUnnamed   = 16        // addresses that are remembered: any client may send the header
	unnamedQuiet = time.Hour // between two lines about one address
)

// note notes a request of the proxy at a.
func (u *unnamedProxies) note(a netip.Addr) {
	now := time.Now()
	u.mu.Lock()
	said, known := u.seen[a]
	if known && now.Sub(said) < unnamedQuiet || !known && len(u.seen) >= maxUnnamed {
		u.mu.Unlock()
		return
	}
	if u.seen == nil {
		u.seen = map[netip.Addr]time.Time{}
	}
	u.seen[a] = now
	u.mu.Unlock()
	u.log.Warn("proxy not named", "address", a, "setting", "proxies")
}

// list returns the addresses in order.
func (u *unnamedProxies) list() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]string, 0, len(u.seen))
	for a := range u.seen {
		list = append(list, a.String())
	}
	slices.Sort(list)
	return list
}
