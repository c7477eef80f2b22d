package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"text/tabwriter"
	"time"

	"rollcall/presence"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// A world is a number of peers and the time they are watched.
type world struct {
	seed        uint64
	peers, days int
}

// of returns the part of w in which r is played: it costs more to ask.
func (w world) of(r *row) world {
	if r.asked != (asking{}) {
		w.peers = (w.peers + 2) / 3
	}
	return w
}

// A row is one way of reporting and the error rates that it must keep.
type row struct {
	reporting
	shownOffline, shownOnline bound
}

// A bound is the lowest and the highest share allowed.
type bound struct{ low, high float64 }

func (b bound) holds(share float64) bool { return b.low <= share && share <= b.high }

func (b bound) String() string {
	if b.low > 0 {
		return fmt.Sprintf("%g-%g %%", 100*b.low, 100*b.high)
	}
	return fmt.Sprintf("<= %g %%", 100*b.high)
}

// Shares of hooks.
const (
	lost    = 0.001  // never come
	doubled = 0.0005 // come twice
)

// rows are those of the table. What `last` shows is bounded from below too: were it as good, the
// sum would be for nothing, or this world too kind.
func rows() []row {
	sum, last := presence.PolicySum, presence.PolicyLast
	both, listed := asking{every: round, after: true}, asking{every: round, after: true, numbers: true}
	old := asking{every: round, after: true, age: time.Minute}
	return []row{
		{reporting{name: "untagged, sum", policy: sum, lost: lost, doubled: doubled}, bound{0, 0.015}, bound{0, 0.02}},
		{reporting{name: "untagged, last", policy: last, lost: lost, doubled: doubled}, bound{0.15, 0.5}, bound{0, 0.005}},
		{reporting{name: "untagged, sum, nothing lost", policy: sum}, bound{0, 0.01}, bound{0, 0.001}},
		{reporting{name: "untagged, last, nothing lost", policy: last}, bound{0.15, 0.5}, bound{0, 0.001}},
		{reporting{name: "tagged, sum", tags: true, policy: sum, lost: lost, doubled: doubled}, bound{0, 0.005}, bound{0, 0.01}},
		// A logout on a tag is believed at once, though the service may still hold a dead
		// connection under it.
		{reporting{name: "tagged, sum, nothing lost", tags: true, policy: sum}, bound{0, 0.0005}, bound{0, 0}},
		{reporting{name: "named sessions", named: true, lost: lost, doubled: doubled}, bound{0, 0.001}, bound{0, 0.001}},
		{reporting{name: "named sessions, nothing lost", named: true}, bound{0, 0}, bound{0, 0}},

		{asked("asked in rounds, yes or no", asking{every: round}), bound{0, 0.005}, bound{0, 0.0015}},
		{asked("and after each turn to offline", asking{every: round, after: true}), bound{0, 0.0005}, bound{0, 0.0015}},
		{asked("both, for numbers", asking{every: round, after: true, numbers: true}), bound{0, 0.0005}, bound{0, 0.001}},
		{asked("both, answers 5 s old", asking{every: round, after: true, age: 5 * time.Second}), bound{0, 0.0005}, bound{0, 0.0015}},
		{asked("both, answers 60 s old", old), bound{0, 0.0015}, bound{0, 0.003}},
		{reporting{name: "untagged, sum, 1 % lost", lost: 0.01, doubled: doubled}, bound{0.01, 0.03}, bound{0.05, 0.2}},
		{reporting{name: "1 % lost, asked both", lost: 0.01, doubled: doubled, asked: both}, bound{0, 0.003}, bound{0, 0.006}},
		{reporting{name: "untagged, last, asked both", policy: last, lost: lost, doubled: doubled, asked: both}, bound{0, 0.02}, bound{0, 0.005}},
		{reporting{name: "tagged, sum, asked both", tags: true, lost: lost, doubled: doubled, asked: both}, bound{0, 0.0005}, bound{0, 0.001}},
		{reporting{name: "named sessions, 1 % lost", named: true, lost: 0.01, doubled: doubled}, bound{0, 0.005}, bound{0, 0.006}},
		{reporting{name: "named, 1 % lost, asked both", named: true, lost: 0.01, doubled: doubled, asked: both}, bound{0, 0.002}, bound{0, 0.003}},
		{reporting{name: "named, 1 % lost, answers 60 s old", named: true, lost: 0.01, doubled: doubled, asked: old}, bound{0, 0.0022}, bound{0, 0.0032}},
		{reporting{name: "named, 1 % lost, asked both, listed", named: true, lost: 0.01, doubled: doubled, asked: listed}, bound{0, 0.002}, bound{0, 0.003}},
	}
}

// asked returns untagged hooks that are summed, of a service that is asked.
func asked(name string, a asking) reporting {
	return reporting{name: name, lost: lost, doubled: doubled, asked: a}
}

// A result is what a row comes to.
type result struct {
	verdict
	quiet time.Duration // how old an answer is taken to be at the end
	asks  float64       // of a peer in a day
}

// holds reports whether v keeps the bounds of r, and whether answers that are too old were found
// out, and no others.
func (r *row) holds(v *result) bool {
	tooOld := r.asked.after && r.asked.age > r.quiet()
	return r.shownOffline.holds(share(v.shownOffline, v.online)) && r.shownOnline.holds(share(v.shownOnline, v.offline)) &&
		tooOld == (v.quiet > r.quiet())
}

// round is how often all peers are asked about, and how often what was found is noted, so that the
// order in which they are played decides nothing.
const round = time.Hour

// measure reports the lives of w by t and compares the answers with the truth.
func (w world) measure(t *reporting) result {
	var (
		rules = presence.DefaultRules()
		end   = epoch.Add(time.Duration(w.days) * 24 * time.Hour)
		quiet = presence.NewCalibration(t.quiet())
		peers = make([]*peer, w.peers)
		parts = make([]verdict, w.peers)
	)
	w.each(func(n int) { peers[n] = newPeer(t, w.seed, n, w.days, &rules) })
	step := round
	if !t.asked.after {
		step = end.Sub(epoch) // nothing is learned on the way
	}
	for at := epoch; at < end; {
		at = min(at.Add(step), end)
		w.each(func(n int) { peers[n].play(at, quiet) })
		for _, p := range peers {
			for _, f := range p.found {
				if !t.asked.fixed {
					quiet.Note(&f.asked, f.find)
				}
			}
			p.found = nil
		}
	}
	w.each(func(n int) {
		peers[n].play(end.Add(time.Hour), quiet)
		parts[n] = judge(peers[n].connections, peers[n].online, end)
	})
	var r result
	for n, v := range parts {
		r.add(v)
		r.asks += float64(peers[n].asks) / float64(w.peers*w.days)
	}
	r.quiet = quiet.Quiet()
	return r
}

// each calls f with the number of each peer, on all processors.
func (w world) each(f func(n int)) {
	var wg sync.WaitGroup
	parts := runtime.GOMAXPROCS(0)
	for p := range parts {
		wg.Go(func() {
			for n := p; n < w.peers; n += parts {
				f(n)
			}
		})
	}
	wg.Wait()
}

func run(args []string, stdout, stderr io.Writer) int {
	var w world
	flags := flag.NewFlagSet("truth", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Uint64Var(&w.seed, "seed", 1, "seed of the world")
	flags.IntVar(&w.peers, "peers", 1500, "number of peers, with one, two and three devices in turn")
	flags.IntVar(&w.days, "days", 28, "number of days")
	if err := flags.Parse(args); err != nil || flags.NArg() > 0 || w.peers < 1 || w.days < 1 {
		fmt.Fprintln(stderr, "usage: truth [-seed n] [-peers n] [-days n]")
		return 2
	}
	fmt.Fprintf(stdout, "%d peers, %d days, seed %d; of the time in which a peer is so:\n\n", w.peers, w.days, w.seed)
	broken := 0
	table := tabwriter.NewWriter(stdout, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "told as\tonline, shown offline\toffline, shown online\tasks a day\tquiet\tallowed")
	for _, r := range rows() {
		v := w.of(&r).measure(&r.reporting)
		off, on := share(v.shownOffline, v.online), share(v.shownOnline, v.offline)
		mark := ""
		if !r.holds(&v) {
			mark = "  BROKEN"
			broken++
		}
		asks, quiet := "", ""
		if v.asks > 0 {
			asks, quiet = fmt.Sprintf("%.1f", v.asks), v.quiet.String()
		}
		fmt.Fprintf(table, "%s\t%.3f %%\t%.3f %%\t%s\t%s\t%s, %s%s\n", r.name, 100*off, 100*on, asks, quiet, r.shownOffline, r.shownOnline, mark)
	}
	table.Flush()
	if broken > 0 {
		fmt.Fprintf(stderr, "\n%d rows break their bound\n", broken)
		return 1
	}
	return 0
}
