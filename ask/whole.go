package ask

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"rollcall/internal/plainjson"
	"rollcall/presence"
)

// A Session is one session of a peer: an open one, or the last that ended of those on its platform
// and from its source when none of them is open. Hooks that name no sessions are one for each
// platform.
type Session struct {
	ID       presence.SessionID // empty when the source names none
	Source   presence.Source
	Platform string
	Open     bool
	Since    presence.Millis
	LastSeen presence.Millis
	Cause    presence.Cause // of its end
	Activity presence.Activity
	ActiveAt presence.Millis
}

// whole adds to a what is read of whole peers, when fields ask for it. Whole states come from the
// store itself and never with an age: an answer that has one goes without.
func (r *Reader) whole(ctx context.Context, v View, a *Answer[Peer], fields Fields, now presence.Millis) error {
	if fields&Whole == 0 || a.age > 0 {
		return nil
	}
	at := map[presence.PeerID]int{}
	var read []presence.Key
	for i := range a.values {
		p := &a.values[i]
		if _, twice := at[p.ID]; !twice && (p.Status == presence.Online || fields&(Reachable|Sessions) != 0) {
			at[p.ID] = len(read)
			read = append(read, v.key(p.ID))
		}
	}
	states := make([]presence.State, len(read))
	part := (*presence.PartError)(nil)
	if err := r.Store.Loads(ctx, read, states); err != nil && !errors.As(err, &part) {
		if a.age = r.Rules.Age(); a.age > 0 { // the outage began after the summaries were read
			return nil
		}
		a.drop()
		return fmt.Errorf("read %d peers: %w", len(read), err)
	}
	leases := r.Rules.Leases(now)
	for i := range a.values {
		p := &a.values[i]
		k, ok := at[p.ID]
		if ok && part != nil && slices.Contains(part.Failed, k) {
			continue // its state cannot be read: it goes without those fields
		}
		p.Devices, p.Sessions = []string{}, []Session{}
		if !ok {
			continue
		}
		st := &states[k]
		if p.Status == presence.Online {
			p.Devices = devicesOf(st, leases)
			p.Activity, p.ActiveAt = st.Activity(leases, r.Rules.Rules())
		}
		p.Reach = st.Reach(leases, r.Rules.Rules())
		if fields&Sessions != 0 {
			p.Sessions = sessionsOf(st, leases, r.Rules.Rules())
		}
	}
	return nil
}

// devicesOf returns what the open sessions of st run on, each once, in order.
func devicesOf(st *presence.State, leases presence.Millis) []string {
	names := []string{}
	for i := range st.Sessions {
		if s := &st.Sessions[i]; s.Live(leases) {
			names = append(names, s.Device)
		}
	}
	for i := range st.Slots {
		if s := &st.Slots[i]; s.Live(leases) {
			names = append(names, s.Tag)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > 0 && names[0] == "" {
		names = names[1:] // no source named it
	}
	return names
}

// sessionsOf returns the sessions of st, open ones first, and next the latest.
func sessionsOf(st *presence.State, leases presence.Millis, rules *presence.Rules) []Session {
	all := []Session{}
	for i := range st.Sessions {
		s := &st.Sessions[i]
		one := Session{ID: s.ID, Source: s.Source, Platform: s.Device, Open: s.Live(leases), Since: s.Start, LastSeen: s.Seen()}
		if one.Open {
			one.Activity, one.ActiveAt = s.ActivityAt(leases, rules), s.Active.Used
		} else {
			one.Cause, one.LastSeen = s.EndCause(), max(s.Seen(), s.End())
		}
		all = append(all, one)
	}
	for i := range st.Slots {
		if s := &st.Slots[i]; s.Live(leases) {
			all = append(all, Session{Source: s.Source, Platform: s.Tag, Open: true, Since: s.Start, LastSeen: s.At})
		}
	}
	slices.SortStableFunc(all, func(a, b Session) int {
		if a.Open != b.Open {
			return map[bool]int{true: -1, false: 1}[a.Open]
		}
		return cmp.Compare(b.LastSeen, a.LastSeen)
	})
	type place struct {
		source   presence.Source
		platform string
	}
	seen := map[place]bool{}
	return slices.DeleteFunc(all, func(s Session) bool {
		at := place{s.Source, s.Platform}
		drop := !s.Open && seen[at]
		seen[at] = true
		return drop
	})
}

func appendSessions(b []byte, all []Session) []byte {
	b = append(b, `,"sessions":[`...)
	for i := range all {
		s := &all[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"source":`...)
		b = plainjson.AppendString(b, string(s.Source))
		if s.ID != "" {
			b = append(b, `,"session":`...)
			b = plainjson.AppendString(b, string(s.ID))
		}
		if s.Platform != "" {
			b = append(b, `,"platform":`...)
			b = plainjson.AppendString(b, s.Platform)
		}
		b = append(b, `,"open":`...)
		b = strconv.AppendBool(b, s.Open)
		b = appendTime(b, `,"since":`, s.Since, true)
		b = appendTime(b, `,"last_seen":`, s.LastSeen, true)
		if !s.Open {
			b = append(b, `,"cause":"`...)
			b = append(b, s.Cause.String()...)
			b = append(b, '"')
		}
		if s.Activity != presence.ActivityUnknown {
			b = append(b, `,"activity":"`...)
			b = append(b, s.Activity.String()...)
			b = append(b, '"')
		}
		b = append(appendTime(b, `,"active_at":`, s.ActiveAt, true), '}')
	}
	return append(b, ']')
}
