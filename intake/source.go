package intake

import (
	"context"
	"errors"
	"fmt"

	"rollcall/presence"
)

// A SourceEnd ends what a source that has died said of an app: each of its sessions and slots that
// is live, and that the source has not reported again since a moment. docs/decisions/0109 says why
// by ordinary reports, and what they cannot do.
type SourceEnd struct {
	App    presence.AppID
	Source presence.Source
	// Before is the moment; what the source reported at it or later stays.
	Before presence.Millis
	// Dry counts what would end, and ends nothing.
	Dry bool
}

// SourceEnded counts what became of the sessions of a source. A slot counts for as many sessions as
// its sum says.
type SourceEnded struct {
	People   int `json:"people"`   // with a session that ended
	Sessions int `json:"sessions"` // that ended
	// Kept are live sessions that stay: reported since the moment, or held by a node that sends
	// heartbeats.
	Kept int `json:"kept"`
	// Unread are peers whose state could not be read; nothing of them ended.
	Unread int `json:"unread"`
	// Others counts live sessions of other sources, by source.
	Others map[presence.Source]int `json:"others"`
}

// Check returns an error matching presence.ErrInvalid when e cannot be done at now.
func (e *SourceEnd) Check(now presence.Millis) error {
	switch e.Source {
	case "":
		return fmt.Errorf("%w: the source is empty", presence.ErrInvalid)
	case presence.SourceGateway:
		return fmt.Errorf("%w: sessions of %q are sockets of rollcall itself, which reports their ends; kick their peers instead", presence.ErrInvalid, e.Source)
	case presence.SourceRecipe:
		return fmt.Errorf("%w: %q is what a foreign writer put into Redis; delete its keys there", presence.ErrInvalid, e.Source)
	}
	switch {
	case len(e.Source) > presence.MaxName:
		return fmt.Errorf("%w: the source is too long", presence.ErrInvalid)
	case e.Before <= 0 || e.Before > now:
		return fmt.Errorf("%w: the moment before which sessions end is not in the past", presence.ErrInvalid)
	}
	return nil
}

// EndSource ends what e says of peers. Sending the same again does no harm: what has ended is
// passed over. The error matches presence.ErrInvalid, presence.ErrUnavailable or presence.ErrFull;
// in the last two cases some sessions may have ended.
func (in *Intake) EndSource(ctx context.Context, e *SourceEnd, peers []presence.PeerID) (SourceEnded, error) {
	done := SourceEnded{Others: map[presence.Source]int{}}
	now := in.Now()
	if err := e.Check(now); err != nil {
		return done, err
	}
	keys, states := make([]presence.Key, len(peers)), make([]presence.State, len(peers))
	for i, p := range peers {
		keys[i] = presence.Key{App: e.App, Peer: p}
	}
	if err := in.Service.Loads(ctx, keys, states); err != nil {
		part := (*presence.PartError)(nil)
		if !errors.As(err, &part) {
			return done, fmt.Errorf("read the peers of a source: %w", err)
		}
		done.Unread = len(part.Failed)
	}
	end := ending{SourceEnd: e, rules: in.Service.Rules(), now: now, leases: in.Service.Leases(now), done: &done}
	for i := range states {
		end.peer(keys[i], &states[i])
	}
	if e.Dry {
		return done, nil
	}
	var t Tally
	return done, in.send(ctx, end.reports, now, &t)
}

// maxEnds bounds the reports about one slot; more logins than that in one burst are left to the
// next run.
const maxEnds = 1024

// An ending makes the reports of a [SourceEnd].
type ending struct {
	*SourceEnd
	rules       *presence.Rules
	now, leases presence.Millis
	done        *SourceEnded
	reports     []presence.Report
}

func (e *ending) peer(key presence.Key, st *presence.State) {
	before := e.done.Sessions
	for i := range st.Sessions {
		s := &st.Sessions[i]
		switch {
		case !s.Live(e.leases):
		case s.Source != e.Source:
			e.done.Others[s.Source]++
		case s.Seen() >= e.Before || s.Node != "" && !s.Leased():
			e.done.Kept++
		default:
			e.done.Sessions++
			e.reports = append(e.reports, e.session(key, s))
		}
	}
	for i := range st.Slots {
		s := &st.Slots[i]
		switch n := s.Count(e.leases); {
		case n == 0:
		case s.Source != e.Source:
			e.done.Others[s.Source] += n
		case s.At >= e.Before:
			e.done.Kept += n
		default:
			e.done.Sessions += n
			e.reports = append(e.reports, e.slot(key, s)...)
		}
	}
	if e.done.Sessions > before {
		e.done.People++
	}
}

// session returns the end of s at the moment, or right after its last report where a clock that is
// ahead has stamped that later.
func (e *ending) session(key presence.Key, s *presence.Session) presence.Report {
	return presence.Report{
		App: key.App, Peer: key.Peer, Source: s.Source, Session: s.ID, Device: s.Device, Kind: presence.KindOffline,
		At: max(e.Before, s.At+1), Incarnation: s.Incarnation,
	}
}

// slot returns the ends of s. One that has no tag ends by one report that only the last hook before
// the moment can precede: a login that comes meanwhile is later, and stays. Hooks with a tag are
// summed, so as many ends are sent as there are logins; a login that comes meanwhile is one more.
func (e *ending) slot(key presence.Key, s *presence.Slot) []presence.Report {
	r := presence.Report{App: key.App, Peer: key.Peer, Source: s.Source, Tag: s.Tag, Kind: presence.KindOffline}
	// A hook has no order but that of receipt, so one that old would be stale.
	r.At = max(e.Before-1, e.now.Add(-e.rules.Stale/2))
	if s.Tag == "" {
		r.Policy = presence.PolicyLast
		return []presence.Report{r}
	}
	n := 1 // what a burst leaves open
	if r.At <= s.At.Add(e.rules.Window) {
		n = min(max(s.Open, 1), maxEnds)
	}
	ends := make([]presence.Report, n)
	for i := range ends {
		ends[i] = r
		ends[i].ID = fmt.Sprintf("source-end:%d:%d", s.Start, n-i) // the same when it is sent again
	}
	return ends
}
