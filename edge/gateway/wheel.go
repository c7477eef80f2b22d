package gateway

import (
	"sync"
	"time"
)

// wheel looks at every socket when it may be due: a slot a second. Hearing from a socket only notes
// the time; the socket's next turn finds it.
type wheel struct {
	mu    sync.Mutex
	slots [64][]*Socket
	at    int64 // seconds that have been turned
}

const wheelTick = time.Second

// add has s looked at when due has come, at the latest one turn of the wheel from now.
func (w *wheel) add(s *Socket, due time.Duration) {
	tick := int64((due + wheelTick - 1) / wheelTick)
	w.mu.Lock()
	tick = min(max(tick, w.at+1), w.at+int64(len(w.slots))-1)
	slot := &w.slots[tick%int64(len(w.slots))]
	*slot = append(*slot, s)
	w.mu.Unlock()
}

// turn returns the sockets of the next tick that has come by now, and false when none has.
func (w *wheel) turn(now time.Duration) ([]*Socket, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.at >= int64(now/wheelTick) {
		return nil, false
	}
	w.at++
	slot := &w.slots[w.at%int64(len(w.slots))]
	due := *slot
	*slot = nil
	return due, true
}

func (g *Gateway) turnWheel() {
	t := time.NewTicker(wheelTick)
	defer t.Stop()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-t.C:
		}
		g.notePause()
		for {
			due, ok := g.wheel.turn(g.mono())
			if !ok {
				break
			}
			for _, s := range due {
				if next := s.check(g.mono()); next > 0 {
					g.wheel.add(s, next)
				}
			}
		}
	}
}
