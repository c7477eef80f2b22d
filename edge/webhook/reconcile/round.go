package reconcile

import (
	"context"
	"fmt"
	"slices"
	"time"

	"rollcall/ask"
	"rollcall/presence"
)

const (
	// window is how many peers are looked at together.
	window = 1000
	// brakeLeast is how many peers may turn in a round at least.
	brakeLeast = 100
	// confirmWithin is how long a candidate waits until others fill a call.
	confirmWithin = time.Minute
	// mostLeast is how many must be gone by the answers before the share of all that are online
	// counts. Of fewer, one answer that a peer is online is enough: that all are gone is what
	// a product with the wrong key or an empty list answers, too.
	mostLeast = 5
	// unansweredLeast is how many peers may be without an answer in a round that counts as full.
	unansweredLeast = 10
)

// options are what makes a round differ from those of every hour.
type options struct {
	// listed says that the peers were named by an operator: then any number may turn online.
	listed bool
	dry    bool // nothing is applied
	force  bool // the brake is off
	// last says that what turns waits for the end of the round: the one before was braked.
	last bool
}

// A Result is what a round found.
type Result struct {
	Asked      int64 `json:"asked"`      // peers
	Agree      int64 `json:"agree"`      // are what they are shown as
	Ghost      int64 `json:"ghost"`      // sessions have ended, by two answers
	Missed     int64 `json:"missed"`     // are online, and were not shown so
	Unsure     int64 `json:"unsure"`     // by a report that came lately, or by the second answer
	Unanswered int64 `json:"unanswered"` // the product gave no clear answer
	Applied    int64 `json:"applied"`    // of Ghost and Missed
}

// A candidate is a peer that is gone by one answer.
type candidate struct {
	peer presence.PeerID
	at   time.Time       // of the answer
	word presence.Millis // the last report of the source, then
}

// A turn is what the answers change of one peer, waiting for the brake.
type turn struct {
	peer    presence.PeerID
	ghost   bool
	reports []presence.Report
}

// A round asks about many peers once.
type round struct {
	w *worker
	options
	Result
	expected int64 // peers to be asked, about; 0: not known
	online   int64 // answered about, and shown online by the source
	held     int64 // online by the product
	against  int64 // shown online by the source, and gone by the product, surely or not

	candidates []candidate
	turns      []turn
	ghosts     int64      // of turns, and of those applied
	seen       func(turn) // is called with each turn
	step       func()     // is called when the result has changed
}

func newRound(w *worker, o options) *round {
	return &round{w: w, options: o, seen: func(turn) {}, step: func() {}}
}

// all asks about every peer of the source: suspects, all that are online, and those that went
// offline lately.
func (r *round) all(ctx context.Context) error {
	w := r.w
	c, err := w.deps.Ask.Counts(ctx, ask.View{App: w.src.App, Viewer: ask.Server})
	if err != nil {
		return fmt.Errorf("count the peers: %w", err)
	}
	r.expected = c.Online
	first, err := w.suspects(ctx)
	if err != nil {
		return err
	}
	asked := make(map[presence.PeerID]struct{}, len(first))
	for _, p := range first {
		asked[p] = struct{}{}
	}
	for some := range slices.Chunk(first, window) {
		if err := r.look(ctx, some); err != nil {
			return err
		}
	}
	err = w.online(ctx, func(peers []presence.PeerID, states []presence.State) error {
		return r.look(ctx, slices.DeleteFunc(w.mine(peers, states), func(p presence.PeerID) bool {
			_, done := asked[p]
			return done
		}))
	})
	if err != nil {
		return err
	}
	if err := w.offline(ctx, func(peers []presence.PeerID) error { return r.look(ctx, peers) }); err != nil {
		return err
	}
	return r.finish(ctx)
}

// look asks about peers, once.
func (r *round) look(ctx context.Context, peers []presence.PeerID) error {
	if len(peers) == 0 {
		return nil
	}
	answers, err := r.w.ask(ctx, peers)
	if err != nil {
		return err
	}
	r.count(&r.Asked, &r.w.counts.asked, int64(len(peers)))
	r.Unanswered += int64(len(peers) - len(answers))
	judged, err := r.w.judge(ctx, peers, answers)
	if err != nil {
		return err
	}
	now := time.Now()
	var agreed []presence.Report
	for i := range judged {
		j := &judged[i]
		if j.shown {
			r.online++
		}
		if j.found.Online {
			r.held++
		}
		if j.finding == ghost || j.finding == unsure && j.shown && !j.found.Online {
			r.against++
		}
		switch j.finding {
		case agree:
			r.count(&r.Agree, &r.w.counts.agree, 1)
			agreed = append(agreed, j.reports...)
		case unsure:
			r.count(&r.Unsure, &r.w.counts.unsure, 1)
			r.note(j)
		case missed:
			r.turn(turn{peer: j.peer, reports: j.reports})
		case ghost:
			r.candidates = append(r.candidates, candidate{peer: j.peer, at: now, word: j.word})
			r.note(j)
		}
	}
	if err := r.apply(ctx, agreed); err != nil {
		return err
	}
	r.step()
	if err := r.confirm(ctx, false); err != nil {
		return err
	}
	return r.settle(ctx, false)
}

// count adds n to the result of the round and, unless it is dry, to the counts of the source.
func (r *round) count(mine *int64, of interface{ Add(int64) int64 }, n int64) {
	*mine += n
	if !r.dry {
		of.Add(n)
	}
}

// turn takes what is to be applied as soon as the brake allows it.
func (r *round) turn(t turn) {
	if t.ghost {
		r.ghosts++
		r.count(&r.Ghost, &r.w.counts.ghost, 1)
	} else {
		r.count(&r.Missed, &r.w.counts.missed, 1)
	}
	r.seen(t)
	r.turns = append(r.turns, t)
}

// confirm asks again about candidates whose answer is old enough, once they fill a call or one has
// waited for long. With all it waits for the last of them, and none is left.
func (r *round) confirm(ctx context.Context, all bool) error {
	gap := r.w.src.Reconcile.Confirm
	if n := len(r.candidates); all && n > 0 {
		if !sleep(ctx, time.Until(r.candidates[n-1].at.Add(gap))) {
			return ctx.Err()
		}
	}
	ripe, now := 0, time.Now()
	for ripe < len(r.candidates) && now.Sub(r.candidates[ripe].at) >= gap {
		ripe++
	}
	if ripe == 0 || !all && ripe < r.w.batch && now.Sub(r.candidates[0].at) < gap+confirmWithin {
		return nil
	}
	first := slices.Clone(r.candidates[:ripe])
	r.candidates = slices.Delete(r.candidates, 0, ripe)
	for some := range slices.Chunk(first, window) {
		if err := r.again(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// again takes the second answer about candidates.
func (r *round) again(ctx context.Context, some []candidate) error {
	peers := make([]presence.PeerID, len(some))
	word := make(map[presence.PeerID]presence.Millis, len(some))
	for i, c := range some {
		peers[i], word[c.peer] = c.peer, c.word
	}
	answers, err := r.w.ask(ctx, peers)
	if err != nil {
		return err
	}
	r.Unanswered += int64(len(peers) - len(answers))
	judged, err := r.w.judge(ctx, peers, answers)
	if err != nil {
		return err
	}
	for i := range judged {
		switch j := &judged[i]; {
		case j.finding == ghost && j.word == word[j.peer]:
			r.turn(turn{peer: j.peer, ghost: true, reports: j.reports})
		case j.finding == missed:
			r.turn(turn{peer: j.peer, reports: j.reports})
		default:
			r.count(&r.Unsure, &r.w.counts.unsure, 1)
			r.note(j)
		}
	}
	return nil
}

// note has why show an answer that is not, or not yet, enough. Those that agree are too many.
func (r *round) note(j *judgement) {
	if !r.dry {
		r.w.note(j, presence.Unsure)
	}
}

// most returns how many may turn of n that were asked about.
func (r *round) most(n int64) int64 {
	return max(brakeLeast, int64(float64(n)*r.w.src.Reconcile.Brake))
}

// turned returns how many turn in the round, as the brake counts them.
func (r *round) turned() int64 {
	if r.listed {
		return r.ghosts
	}
	return r.Applied + int64(len(r.turns))
}

// allowed reports whether what waits may be applied, by those that were asked so far: it is not
// more than the brake allows, and the product does not have all or most of those who are online
// gone.
func (r *round) allowed() bool {
	return r.force || r.turned() <= r.most(r.Asked) && (r.ghosts == 0 || r.held > 0 && (r.against < mostLeast || 2*r.against <= r.online))
}

// settle applies what waits when the brake allows it. It returns errBraked when it will not, by all
// that can still be asked; at the end that is certain.
func (r *round) settle(ctx context.Context, end bool) error {
	if r.allowed() {
		if r.last && !end {
			return nil
		}
		return r.turnAll(ctx)
	}
	if r.dry && !end { // the whole is of interest
		return nil
	}
	limit := r.most(max(r.Asked, r.expected))
	if !end && r.turned()+int64(len(r.candidates)) > limit {
		// It would have to wait for a long time: the second answers may clear it up.
		if err := r.confirm(ctx, true); err != nil {
			return err
		}
		end = r.turned() > limit && !r.allowed()
	}
	if end {
		return errBraked
	}
	return nil
}

// turnAll applies what waits.
func (r *round) turnAll(ctx context.Context) error {
	var reports []presence.Report
	for _, t := range r.turns {
		reports = append(reports, t.reports...)
	}
	if err := r.apply(ctx, reports); err != nil {
		return err
	}
	r.Applied += int64(len(r.turns))
	r.turns = nil
	return nil
}

// apply has reports merged, unless the round is dry.
func (r *round) apply(ctx context.Context, reports []presence.Report) error {
	if r.dry {
		return nil
	}
	return r.w.report(ctx, reports)
}

// finish confirms and applies what is left. The error is errPartial when too many peers were left
// without an answer for the round to count as full.
func (r *round) finish(ctx context.Context) error {
	if err := r.confirm(ctx, true); err != nil {
		return err
	}
	if err := r.settle(ctx, true); err != nil {
		return err
	}
	if !r.listed && (r.Unanswered > max(unansweredLeast, r.Asked/100) || 2*r.Unanswered > r.Asked) {
		return errPartial
	}
	return nil
}
