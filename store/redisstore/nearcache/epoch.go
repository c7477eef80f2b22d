package nearcache

import (
	"sync"
	"sync/atomic"
)

// NoLink is the number of no link: what is read without one is not kept.
const NoLink = 255

// An Epoch is the freshness of what one link reports.
type Epoch struct {
	mu    sync.Mutex    // of the goroutines that move it
	epoch uint32        // moves with every loss and every confirmation
	good  atomic.Uint32 // the epoch while the link is up; 0 while it is not
	// From since to last are the epochs of the latest time in which it was up.
	since, last atomic.Uint32
}

// Lost notes that changes may be missed from now on.
func (l *Epoch) Lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.good.Store(0)
	l.epoch++
}

// Confirmed notes that changes are received from now on.
func (l *Epoch) Confirmed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
	l.since.Store(l.epoch)
	l.last.Store(l.epoch)
	l.good.Store(l.epoch)
}

// Renew makes the entries of a link that is up stale, so that they are read again.
func (l *Epoch) Renew() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.good.Load() == 0 {
		return
	}
	l.epoch++
	l.last.Store(l.epoch)
	l.good.Store(l.epoch)
}

// Up reports whether changes are received.
func (l *Epoch) Up() bool { return l.good.Load() != 0 }

// Freshness is how far an entry can be trusted.
type Freshness uint8

const (
	Missing Freshness = iota // there is no entry that can be used
	Fresh                    // every change since it was read would have removed it
	Stale                    // the link was up when it was read, and is lost since
)

func (l *Epoch) of(epoch uint32) Freshness {
	switch {
	case epoch == l.good.Load():
		return Fresh
	case epoch >= l.since.Load() && epoch <= l.last.Load():
		return Stale
	}
	return Missing
}
