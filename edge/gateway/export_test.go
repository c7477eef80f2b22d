package gateway

import (
	"time"

	"rollcall/presence"
)

// CloseSockets closes every socket with code, as no rule of the gateway would.
func (g *Gateway) CloseSockets(code int, reason string) {
	for _, s := range g.open() {
		s.Close(code, reason)
	}
}

// PingSockets sends a ping to every socket now.
func (g *Gateway) PingSockets() {
	for _, s := range g.open() {
		s.write(pingFrame)
	}
}

// MoveSockets asks every client to move.
func (g *Gateway) MoveSockets() {
	for _, s := range g.open() {
		s.handler.GoAway(s)
	}
}

// NotePause looks at the clock as a tick of the wheel does and reports whether the process was ever
// found to have stood still.
func (g *Gateway) NotePause() bool {
	g.notePause()
	return g.resumed.Load() > 0
}

// AddEnding queues r for the store as the end of a session.
func (g *Gateway) AddEnding(r presence.Report) { g.offlineQueue.Add(r) }

// Idle reports whether the store has every end.
func (g *Gateway) Idle() bool { return g.offlineQueue.Idle() }

// Rivals reports whether a login by hand with the one id cannot coexist with a session of the
// other.
func Rivals(a, b presence.SessionID) bool { return placeOf(a).rivals(placeOf(b), false) }

// CheckSockets checks the deadlines of every socket as if d had passed.
func (g *Gateway) CheckSockets(d time.Duration) {
	for _, s := range g.open() {
		s.check(g.mono() + d)
	}
}
