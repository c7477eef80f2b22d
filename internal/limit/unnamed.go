package limit

import (
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rollcall/internal/lograte"
)

// Unnamed are the addresses that send X-Forwarded-For and that the setting proxies does not name.
// All callers behind one are one address to the limits, which ends in refusals without an apparent
// reason. Set Log before the first use.
type Unnamed struct {
	Log *slog.Logger

	mu   sync.Mutex
	seen map[netip.Addr]*lograte.Line
}

const (
	maxUnnamed   = 16        // addresses that are remembered: any client may send the header
	unnamedQuiet = time.Hour // between two lines about one address
)

// Note records a request of the proxy at a, and logs its address once an hour.
func (u *Unnamed) Note(a netip.Addr) {
	line := u.line(a)
	if line == nil {
		return
	}
	if more, due := line.Due(time.Now().UnixMilli()); due {
		u.Log.Warn("proxy not named", "address", a, "setting", "proxies", "more", more)
	}
}

// line returns the line of a, and nil when others take the room.
func (u *Unnamed) line(a netip.Addr) *lograte.Line {
	u.mu.Lock()
	defer u.mu.Unlock()
	line := u.seen[a]
	if line == nil && len(u.seen) < maxUnnamed {
		if u.seen == nil {
			u.seen = map[netip.Addr]*lograte.Line{}
		}
		line = &lograte.Line{Every: unnamedQuiet.Milliseconds()}
		u.seen[a] = line
	}
	return line
}

// List returns the addresses in order.
func (u *Unnamed) List() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]string, 0, len(u.seen))
	for a := range u.seen {
		list = append(list, a.String())
	}
	slices.Sort(list)
	return list
}
