package storetest

import (
	"fmt"
	"slices"
	"time"

	"rollcall/presence"
)

// A model is the store as one would write it on a napkin.
type model map[presence.Key]presence.State

func (m model) update(keys []presence.Key, merge presence.Merge) {
	for i, k := range keys {
		st := m[k]
		st.Sessions, st.EndAlls = slices.Clone(st.Sessions), slices.Clone(st.EndAlls)
		st.Slots, st.Deliveries = slices.Clone(st.Slots), slices.Clone(st.Deliveries)
		st.Reached = slices.Clone(st.Reached)
		if merge(i, &st) == presence.Same {
			continue
		}
		if st.Forgotten() {
			delete(m, k)
			continue
		}
		m[k] = st
	}
}

// A step is one thing that happens in a history.
type step struct {
	kind    string
	pass    time.Duration
	reports []presence.Report // At and Incarnation are relative to the time of the step
	peers   []string
	node    presence.NodeID
}

// A draw makes choices; rapid and a seed both can.
type draw func(n int, what string) int

var leasesDrawn = []time.Duration{0, 2 * time.Second, 45 * time.Second, 2 * time.Minute, 3 * time.Hour}

func drawStep(d draw, restarts bool) step {
	peer := func() string { return fmt.Sprint("p", d(6, "peer")) }
	node := func() presence.NodeID { return presence.NodeID(fmt.Sprint("n", d(3, "node"))) }
	kinds := 12
	if restarts {
		kinds++
	}
	switch k := d(kinds, "step"); {
	case k < 5:
		s := step{kind: "report"}
		for range 1 + d(5, "reports") {
			r := presence.Report{
				App: presence.AppID(fmt.Sprint("app", d(2, "app"))), Peer: presence.PeerID(peer()),
				Kind: presence.Kind(1 + d(3, "kind")), At: presence.Millis(-d(3, "late") * 700), Lease: leasesDrawn[d(len(leasesDrawn), "lease")],
				Cause: presence.Cause(d(5, "cause")), Hold: time.Duration(d(2, "hold")) * time.Second,
			}
			switch d(3, "source") {
			case 0:
				r.Source, r.Tag = presence.SourceLeanCloud, []string{"", "web"}[d(2, "tag")]
				if d(4, "count") == 0 {
					r.Kind, r.Cause, r.Tag, r.Hold = presence.KindCount, presence.CauseReconciled, "", 0
					r.Count, r.Quiet = d(4, "n")-1, []time.Duration{0, time.Second, 30 * time.Second}[d(3, "quiet")]
				}
			case 1:
				r.Source, r.Session, r.Node = presence.SourceGateway, presence.SessionID(fmt.Sprint("s", d(3, "session"))), node()
			case 2:
				r.Source, r.Session = "emqx", presence.SessionID(fmt.Sprint("s", d(3, "session")))
				r.Incarnation = presence.Millis(-d(4, "incarnation") * 500)
				if d(5, "end-all") == 0 {
					r.Kind, r.Session, r.Incarnation = presence.KindEndAll, []presence.SessionID{"", "s", "s1"}[d(3, "prefix")], 0
				}
			}
			switch {
			case r.Session == "" || r.Kind == presence.KindEndAll:
			case d(8, "reach") == 0:
				r.Kind, r.Session, r.Node, r.Incarnation = presence.KindReach, "", "", 0
				r.Device, r.Reach = []string{"", "ios"}[d(2, "device")], presence.Reach(1+d(3, "reach of the device"))
			case r.Kind != presence.KindOffline && d(4, "activity") == 0:
				r.Activity = presence.Activity(1 + d(3, "what the user does"))
			}
			s.reports = append(s.reports, r)
		}
		return s
	case k < 7:
		return step{kind: "pass", pass: []time.Duration{1e6, 900e6, 10e9, 50e9, 11 * time.Minute, 4 * time.Hour, 26 * time.Hour}[d(7, "time")]}
	case k < 9:
		return step{kind: "sweep"}
	case k == 9:
		return step{kind: "erase", peers: []string{peer()}}
	case k == 10:
		return step{kind: []string{"end node", "hang"}[d(2, "node step")], node: node()}
	case k == 11:
		return step{kind: "jump", pass: []time.Duration{8 * 24 * time.Hour, -2 * time.Second}[d(2, "jump")]}
	}
	if d(4, "restart") > 0 {
		return step{kind: "sweep"}
	}
	return step{kind: "restart"}
}
