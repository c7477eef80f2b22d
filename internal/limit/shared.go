package limit

import (
	"net/netip"
	"sync/atomic"
)

// A Shared is something that apps and addresses share: of the total one address has at most half of
// what the others leave, and so has one app, when there are several.
type Shared struct {
	addresses *Share[netip.Addr]
	apps      *Share[string]
	several   atomic.Bool // there has been more than one app; until then apps counts nothing
}

// NewShared returns a total that so many apps share, of which one address has most at most; 0 is no
// further bound.
func NewShared(total, most int64, apps int) *Shared {
	s := &Shared{addresses: NewShare[netip.Addr](total, most), apps: NewShare[string](total, 0)}
	s.SetApps(apps)
	return s
}

// SetApps has so many apps share s from now on. What an only app has taken counts for it no more
// once there are several.
func (s *Shared) SetApps(apps int) {
	if apps > 1 {
		s.several.Store(true)
	}
}

// Take takes n for app at address and reports whether there was room. An empty app and an invalid
// address are held to the total alone. What is taken must be given back. Nil has room for all.
func (s *Shared) Take(app string, address netip.Addr, n int64) bool {
	if s == nil {
		return true
	}
	address = Group(address)
	if !s.addresses.Take(address, n) {
		return false
	}
	if s.several.Load() && !s.apps.Take(app, n) {
		s.addresses.Give(address, n)
		return false
	}
	return true
}

// Give gives back what was taken.
func (s *Shared) Give(app string, address netip.Addr, n int64) {
	if s != nil {
		s.addresses.Give(Group(address), n)
		if s.several.Load() {
			s.apps.Give(app, n)
		}
	}
}

// Total returns how much there is for all.
func (s *Shared) Total() int64 { return s.addresses.Total() }

// Used returns how much is taken.
func (s *Shared) Used() int64 { return s.addresses.Used() }

// Refused returns how often there was no room.
func (s *Shared) Refused() int64 {
	return s.addresses.Refused() + s.apps.Refused()
}

// Hold returns a hold of nothing for app at address.
func (s *Shared) Hold(app string, address netip.Addr) *Hold {
	return &Hold{shared: s, app: app, address: address}
}

// A Hold is what one caller has taken of a [Shared]. It is for one goroutine at a time.
type Hold struct {
	shared  *Shared
	app     string
	address netip.Addr
	n       int64
}

// Grow takes n more and reports whether there was room.
func (h *Hold) Grow(n int) bool {
	if !h.shared.Take(h.app, h.address, int64(n)) {
		return false
	}
	h.n += int64(n)
	return true
}

// Held returns how much h has taken.
func (h *Hold) Held() int { return int(h.n) }

// Shrink gives n back.
func (h *Hold) Shrink(n int) {
	back := max(min(int64(n), h.n), 0)
	h.shared.Give(h.app, h.address, back)
	h.n -= back
}

// Release gives everything back. It may be called again, and of nil.
func (h *Hold) Release() {
	if h != nil {
		h.Shrink(int(h.n))
	}
}
