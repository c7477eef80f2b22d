package v1

import (
	"context"
	"time"

	"rollcall/edge/gateway"
	"rollcall/internal/api"
	"rollcall/presence"
)

// Words about the activity of one session: 12 a minute, and as many at once. Phones flip often, and
// each word is a write.
const (
	activityEach = 5 * time.Second
	activityRoom = time.Minute
)

// activity says what the user does in the session of this socket.
func (w *wire) activity(ctx context.Context, s *gateway.Socket, m *message) error {
	if m.Activity == "" {
		return api.Errorf("invalid", "activity is missing: foreground, idle or background")
	}
	a, err := m.activity(s)
	if err != nil {
		return err
	}
	w.mu.Lock()
	ss := w.session
	wait, ok := w.said.Take(activityEach, activityRoom, time.Duration(s.Gateway().Now())*time.Millisecond)
	w.mu.Unlock()
	switch {
	case ss == nil:
		return api.Errorf("invalid", "no peer is present on this socket; say present first")
	case !ok:
		return api.Errorf("rate_limited", "a session may say its activity 12 times a minute").WithRetry(wait)
	}
	if err := ss.Do(ctx, a); err != nil {
		return unavailable()
	}
	return nil
}

// activity returns what m says of the activity; nothing when it has none.
func (m *message) activity(s *gateway.Socket) (gateway.Activity, error) {
	a, ok := presence.ParseActivity(m.Activity)
	switch {
	case m.Activity == "" && m.ActiveAt == 0:
		return gateway.Activity{}, nil
	case !ok || a == presence.ActivityUnknown:
		return gateway.Activity{}, api.Errorf("invalid", "the activity %.32q is none of foreground, idle and background", m.Activity)
	case m.ActiveAt < 0:
		return gateway.Activity{}, api.Errorf("invalid", "active_at is less than 0")
	}
	used := min(m.ActiveAt, s.Gateway().Now()) // its clock may be ahead
	return gateway.Activity{Now: a, Used: used}, nil
}
