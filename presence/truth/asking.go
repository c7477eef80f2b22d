package main

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"rollcall/presence"
)

// An asking is one way of asking the service who is online. The zero value asks nothing.
type asking struct {
	every   time.Duration // a round asks about everybody; 0 is never
	numbers bool          // it answers with the number of sessions, else yes or no
	after   bool          // it is asked once after each turn to offline
	age     time.Duration // how old its answers are
	fixed   bool          // the quiet is not calibrated
}

const (
	answered = 200 * time.Millisecond // how long an answer takes
	batched  = 5 * time.Second        // the most that an ask waits for others
	confirm  = 15 * time.Second       // an offline takes a second answer so much later
)

// Why a question is asked.
type reason uint8

const (
	byRound reason = iota
	afterTurn
	toConfirm
)

// A found is what an answer comes to.
type found struct {
	asked presence.Asked
	find  presence.Finding
}

// A question is answered at a time.
type question struct {
	at  presence.Millis
	why reason
}

// A peer plays the hooks about one peer and asks about it.
type peer struct {
	t           *reporting
	rules       *presence.Rules
	connections []connection
	hooks       []hook
	questions   []question // by time
	rnd         *rand.Rand // of the questions

	st     presence.State
	online []span  // in which it is shown online
	found  []found // answers that calibrate, until they are noted
	asks   int
}

func newPeer(t *reporting, seed uint64, number, days int, rules *presence.Rules) *peer {
	rnd := rand.New(rand.NewPCG(seed, uint64(number)))
	p := &peer{t: t, rules: rules, connections: live(rnd, 1+number%3, days, t.tags)}
	p.hooks = t.hooks(rnd, p.connections)
	p.rnd = rand.New(rand.NewPCG(seed, 1<<32|uint64(number)))
	if t.asked.every > 0 {
		p.ask(epoch.Add(between(p.rnd, 0, t.asked.every)), byRound)
	}
	return p
}

// ask has the service asked at at.
func (p *peer) ask(at presence.Millis, why reason) {
	q := question{at.Add(answered), why}
	i, _ := slices.BinarySearchFunc(p.questions, q, func(a, b question) int { return int(a.at - b.at) })
	p.questions = slices.Insert(p.questions, i, q)
}

// play plays what comes before end.
func (p *peer) play(end presence.Millis, c *presence.Calibration) {
	for {
		hook, answer := end, end
		if len(p.hooks) > 0 {
			hook = p.hooks[0].comes
		}
		if len(p.questions) > 0 {
			answer = p.questions[0].at
		}
		switch {
		case min(hook, answer) >= end:
			return
		case hook <= answer:
			r := p.hooks[0].report
			p.hooks = p.hooks[1:]
			p.merge(hook, []presence.Report{r}, c)
		default:
			q := p.questions[0]
			p.questions = p.questions[1:]
			p.merge(q.at, p.answer(q, c), nil)
		}
	}
}

// merge applies reports at at, and asks about a peer that a hook has turned offline.
func (p *peer) merge(at presence.Millis, reports []presence.Report, c *presence.Calibration) {
	p.st.Expire(at, p.rules)
	was := p.st.Status
	for i := range reports {
		if p.rules.Admit(&reports[i], at) {
			p.st.Apply(&reports[i], at, p.rules)
		}
	}
	if p.t.asked.after && c != nil && was == presence.Online && p.st.Status == presence.Offline {
		p.ask(at.Add(c.Wait()+between(p.rnd, 0, batched)), afterTurn)
	}
	if n := len(p.online); n > 0 && p.online[n-1].end > at {
		p.online[n-1].end = at
	}
	if p.st.Status != presence.Online {
		return
	}
	if n := len(p.online); n > 0 && p.online[n-1].end == at {
		p.online[n-1].end = p.st.Until
	} else {
		p.online = append(p.online, span{at, p.st.Until})
	}
}

// answer returns the reports that the answer to q makes.
func (p *peer) answer(q question, c *presence.Calibration) []presence.Report {
	p.asks++
	a := presence.Asked{
		App: "app", Source: p.t.source(), At: q.at.Add(-answered), Quiet: c.Quiet(), Counted: !p.t.named, Policy: p.t.policy, Lease: p.t.lease(),
	}
	if q.why == byRound {
		p.ask(a.At.Add(p.t.asked.every), byRound)
	}
	p.st.Expire(q.at, p.rules)
	reports, f := a.Reports("peer", p.says(a.At.Add(-p.t.asked.age)), &p.st, q.at, p.rules)
	if q.why == afterTurn && a.Calibrates(&p.st) {
		p.found = append(p.found, found{a, f})
	}
	if f == presence.FindingGhost && q.why != toConfirm {
		p.ask(a.At.Add(confirm), toConfirm)
		return nil
	}
	return reports
}

// says is what the service says of the peer as of at.
func (p *peer) says(at presence.Millis) *presence.Found {
	f := &presence.Found{Listed: p.t.asked.numbers}
	for i, c := range p.connections {
		if c.start > at {
			break
		}
		if at < c.end {
			f.Online = true
			f.Sessions = append(f.Sessions, presence.FoundSession{ID: presence.SessionID(strconv.Itoa(i)), Since: c.start})
		}
	}
	if !f.Listed {
		f.Sessions = nil
	}
	return f
}
