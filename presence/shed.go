package presence

import (
	"context"
	"fmt"
	"time"
)

// A Shedder is a store whose memory is bounded. Shed returns up to limit peers that are
// [State.ShortLived] at now when memory is nearly full, and none otherwise; the [Service] forgets
// them, so that there is room for peers that stay.
type Shedder interface {
	Shed(now Millis, limit int) []Key
}

const (
	// shortLife is how long a peer may have been online altogether and still count as short-lived.
	shortLife = 10 * time.Minute
	// shortAbsence is how long a short-lived peer has been offline before it may be forgotten:
	// longer than a reconnect takes.
	shortAbsence = time.Minute
)

// ShortLived reports whether st is the state of a peer that came by on sockets only, for minutes,
// and has been offline for a minute: a client that invents ids leaves such states. A peer that a
// server has reported, by hook or API, is none.
func (st *State) ShortLived(now Millis) bool {
	if st.Status != Offline || now < st.Since.Add(shortAbsence) || len(st.Slots) > 0 || len(st.Days) > 1 {
		return false
	}
	var online time.Duration
	for i := range st.Sessions {
		s := &st.Sessions[i]
		if s.Source != SourceGateway || s.Live(now) {
			return false
		}
		online += s.End().Sub(s.Start)
	}
	return len(st.Sessions) > 0 && online < shortLife
}

// shed forgets short-lived peers of a store that is nearly full.
func (s *Service) shed(ctx context.Context, now, leases Millis) error {
	store, ok := s.store.(Shedder)
	if !ok {
		return nil
	}
	for range maxShed {
		keys := store.Shed(leases, sweepBatch)
		if len(keys) == 0 {
			return nil
		}
		forgotten := make([]bool, len(keys))
		err := s.settle(ctx, keys, now, func(i int, st *State) Effect {
			if forgotten[i] = st.ShortLived(leases); !forgotten[i] {
				return Same
			}
			*st = State{Rev: st.Rev}
			return Shown
		})
		if err != nil {
			return fmt.Errorf("forget %d short-lived peers: %w", len(keys), err)
		}
		for _, f := range forgotten {
			if f {
				s.counters.shed.Add(1)
			}
		}
	}
	return nil
}

// maxShed bounds how many batches one sweep forgets; the next sweep goes on.
const maxShed = 64
