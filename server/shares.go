package server

import (
	"net/netip"
	"time"

	"rollcall/internal/limit"
	"rollcall/internal/sysmem"
)

// shares are what all callers of this node use together.
type shares struct{ bodies, watchers, watched, readers *limit.Shared }

// watchedBytes is what one watched peer takes, as measured: its entry, its link and its slot.
const watchedBytes = 600

func (s *Server) shares() shares {
	apps, c := len(s.tenants.Load().ids), &s.cfg
	watched := int64(c.Watch.Watched)
	if watched == 0 {
		memory := sysmem.Limit()
		if memory == 0 {
			memory = 4 << 30 // the system does not say
		}
		watched = max(memory/8/watchedBytes, int64(c.Watch.Peers))
		watched = min(watched, int64(c.Watch.Watchers)*int64(c.Watch.Peers))
	}
	// Streams end when they like: they leave a quarter of the connections to calls.
	watchers := min(int64(c.Watch.Watchers), max(int64(s.app.Conns.Max())*3/4, 1))
	return shares{
		// The app is not known yet when a body comes.
		bodies:   limit.NewShared(int64(c.HTTP.BodyMemory), 0, 1),
		watchers: limit.NewShared(watchers, int64(c.Watch.AddressWatchers), apps),
		watched:  limit.NewShared(watched, int64(c.Watch.AddressPeers), apps),
		readers:  limit.NewShared(int64(c.Feed.Readers), 0, apps),
	}
}

// setApps has so many apps share what one app has at most a half of.
func (h *shares) setApps(apps int) {
	h.watchers.SetApps(apps)
	h.watched.SetApps(apps)
	h.readers.SetApps(apps)
}

// operatorWrite is http.answer_timeout for operators, who read profiles that take their time.
const operatorWrite = 5 * time.Minute

// operatorConnections is how many connections the operator listener has open: some of the tenth of
// the descriptors that callers leave.
func operatorConnections() int { return min(max(maxConnections()/36, 16), 256) }

// anybody are all addresses: operators are held to no share of one.
var anybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// all returns the shares by the names that metrics and the status give them.
func (h *shares) all() map[string]*limit.Shared {
	return map[string]*limit.Shared{"body_bytes": h.bodies, "watchers": h.watchers, "watched_peers": h.watched, "readers": h.readers}
}
