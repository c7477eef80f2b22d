package main

import (
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
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

// rows are those of the table. What `last` shows is bounded from below too: were it as good, the
// sum would be for nothing, or this world too kind.
func rows() []row {
	const lost, doubled = 0.001, 0.0005
	sum, last := presence.PolicySum, presence.PolicyLast
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
	}
}

// measure reports the lives of w by t and compares the answers with the truth.
func (w world) measure(t *reporting) verdict {
	var (
		rules = presence.DefaultRules()
		end   = epoch.Add(time.Duration(w.days) * 24 * time.Hour)
		parts = make([]verdict, runtime.GOMAXPROCS(0))
		wg    sync.WaitGroup
	)
	for p := range parts {
		wg.Go(func() {
			for peer := p; peer < w.peers; peer += len(parts) {
				rnd := rand.New(rand.NewPCG(w.seed, uint64(peer)))
				connections := live(rnd, 1+peer%3, w.days, t.tags)
				parts[p].add(judge(connections, t.hooks(rnd, connections), end, &rules))
			}
		})
	}
	wg.Wait()
	var all verdict
	for _, v := range parts {
		all.add(v)
	}
	return all
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
	fmt.Fprintln(table, "told as\tonline, shown offline\toffline, shown online\tallowed")
	for _, r := range rows() {
		v := w.measure(&r.reporting)
		off, on := share(v.shownOffline, v.online), share(v.shownOnline, v.offline)
		mark := ""
		if !r.shownOffline.holds(off) || !r.shownOnline.holds(on) {
			mark = "  BROKEN"
			broken++
		}
		fmt.Fprintf(table, "%s\t%.3f %%\t%.3f %%\t%s, %s%s\n", r.name, 100*off, 100*on, r.shownOffline, r.shownOnline, mark)
	}
	table.Flush()
	if broken > 0 {
		fmt.Fprintf(stderr, "\n%d rows break their bound\n", broken)
		return 1
	}
	return 0
}
