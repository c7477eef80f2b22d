package outagetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"rollcall/presence"
)

// Nodes is how many nodes a schedule drives.
const Nodes = 3

// An Act is what a step does.
type Act uint8

const (
	Hook    Act = iota // a report comes to Node
	Cut                // Node cannot reach the store
	Join               // and can again
	Stop               // no node can reach the store
	Start              // and all that are not cut can again
	Kill               // Node is killed and started again, with its spool
	Keep               // what the store has now is what it comes back with
	Lose               // the store comes back with what it had at the last Keep, or with nothing
	actions = iota
)

// A Step happens at a time of the schedule.
type Step struct {
	At   time.Duration
	Do   Act
	Node int
	Peer int
	// Of a hook. Session names the session of one that has a time; hooks without are counted by
	// slot.
	Report presence.Report
}

func (s Step) String() string {
	names := [actions]string{"hook", "cut", "join", "stop", "start", "kill", "keep", "lose"}
	text := fmt.Sprintf("%8.3f node %d %s", s.At.Seconds(), s.Node, names[s.Do])
	if r := &s.Report; s.Do == Hook {
		text += fmt.Sprintf(" peer %d %v tag %q session %q %v", s.Peer, r.Kind, r.Tag, r.Session, r.Cause)
		if r.Reconnect {
			text += " again"
		}
	}
	return text
}

// A Schedule is steps in order of time. It ends healed, and Quiet after the last step nothing is
// under way.
type Schedule struct {
	Seed  uint64
	Peers int
	Steps []Step
	Quiet time.Duration
}

func (s *Schedule) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, %d peers\n", s.Seed, s.Peers)
	for _, step := range s.Steps {
		fmt.Fprintln(&b, step)
	}
	return b.String()
}

// Options bound what is drawn.
type Options struct {
	Peers  int
	Hooks  int
	Length time.Duration
	// Kills allows nodes to be killed, Losses a store that comes back with less. A schedule has one
	// of them at most: the reports of the last minute live in the nodes.
	Kills, Losses bool
}

// Draw draws the schedule of a seed.
func Draw(seed uint64, opt Options) Schedule {
	r := rand.New(rand.NewPCG(seed, 14))
	s := Schedule{Seed: seed, Peers: opt.Peers, Quiet: 5 * time.Second}
	kills := opt.Kills && r.IntN(3) == 0
	losses := opt.Losses && !kills && r.IntN(2) == 0
	tags := make([]string, opt.Peers)
	policies := make([]presence.Policy, opt.Peers)
	sessions := make([]bool, opt.Peers)
	for p := range opt.Peers {
		tags[p] = []string{"", "", "phone"}[r.IntN(3)]
		sessions[p] = r.IntN(5) == 0
		if r.IntN(4) == 0 {
			policies[p] = presence.PolicyLast
		}
	}
	at := func() time.Duration { return time.Duration(1+r.Int64N(opt.Length.Milliseconds()-1)) * time.Millisecond }
	for range opt.Hooks {
		p := r.IntN(opt.Peers)
		step := Step{At: at(), Do: Hook, Node: r.IntN(Nodes), Peer: p, Report: presence.Report{
			App: "app", Source: presence.SourceLeanCloud, Tag: tags[p], Policy: policies[p], Kind: presence.KindOnline, Lease: 7 * 24 * time.Hour,
		}}
		if r.IntN(2) == 0 {
			step.Report.Kind, step.Report.Lease = presence.KindOffline, 0
			step.Report.Cause = []presence.Cause{presence.CauseUnknown, presence.CauseLogout, presence.CauseLost, presence.CauseReplaced, presence.CauseKicked}[r.IntN(5)]
		} else {
			step.Report.Reconnect = r.IntN(3) == 0
		}
		if sessions[p] {
			step.Report.Source, step.Report.Tag, step.Report.Policy = presence.SourceAPI, "", presence.PolicySum
			step.Report.Session = presence.SessionID(fmt.Sprint("s", r.IntN(3)))
			step.Report.Reconnect = false
		}
		s.Steps = append(s.Steps, step)
	}
	s.faults(r, opt.Length, kills, losses)
	s.sort()
	return s
}

// faults draws one to four faults, which are over at the end.
func (s *Schedule) faults(r *rand.Rand, length time.Duration, kills, losses bool) {
	add := func(at time.Duration, do Act, node int) { s.Steps = append(s.Steps, Step{At: at, Do: do, Node: node}) }
	for range 1 + r.IntN(4) {
		from := time.Duration(r.Int64N(int64(length)))
		until := min(from+time.Duration(r.Int64N(int64(length/2))), length)
		node := r.IntN(Nodes)
		switch r.IntN(4) {
		case 0, 1:
			add(from, Cut, node)
			add(until, Join, node)
		case 2:
			add(from, Stop, 0)
			add(until, Start, 0)
		default:
			switch {
			case kills:
				add(from, Kill, node)
			case losses:
				add(from, Stop, 0)
				add(max(0, from-time.Duration(r.Int64N(int64(min(30*time.Second, length/4))))), Keep, 0)
				add(until, Lose, 0)
				add(until, Start, 0)
			}
		}
	}
}

func (s *Schedule) sort() {
	for i := 1; i < len(s.Steps); i++ { // stable, so that a start comes after its loss
		for k := i; k > 0 && s.Steps[k].At < s.Steps[k-1].At; k-- {
			s.Steps[k], s.Steps[k-1] = s.Steps[k-1], s.Steps[k]
		}
	}
}

// A Reference is the states of the peers as the acknowledged reports make them in order of receipt.
type Reference struct {
	rules  presence.Rules
	states map[presence.PeerID]*presence.State
	log    map[presence.PeerID][]string
}

// NewReference returns a reference that knows no peers.
func NewReference(rules presence.Rules) *Reference {
	return &Reference{rules: rules, states: map[presence.PeerID]*presence.State{}, log: map[presence.PeerID][]string{}}
}

// Acknowledged applies a report that was received at now.
func (f *Reference) Acknowledged(r presence.Report, now presence.Millis) {
	st := f.states[r.Peer]
	if st == nil {
		st = &presence.State{}
		f.states[r.Peer] = st
	}
	next := presence.State{}
	if st.Rev != 0 {
		if err := next.Unpack(st.Pack(nil)); err != nil {
			panic(err) // it was packed just now
		}
	}
	o, e := next.Apply(&r, now, &f.rules)
	if e != presence.Same {
		next.Rev = presence.NextRev(st.Rev, now)
		*st = next
	}
	f.log[r.Peer] = append(f.log[r.Peer], fmt.Sprintf("%d %v %v %s%s: %v, %v", now, r.Kind, r.Cause, r.Tag, r.Session, o.Verdict, next.Status))
}

// Status returns what a peer is at now.
func (f *Reference) Status(p presence.PeerID, now presence.Millis) presence.Status {
	if st := f.states[p]; st != nil {
		return st.Summary().At(now, &f.rules).Status
	}
	return presence.Unknown
}

// Story returns the reports on a peer and what each made of it, for a test that has failed.
func (f *Reference) Story(p presence.PeerID) string { return strings.Join(f.log[p], "\n") }
