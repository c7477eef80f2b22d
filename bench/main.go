// Command bench measures rollcall beside its peers: the same load, on the same cores, in one run.
//
// In this folder:
//
//	go run .            the whole measurement, some minutes
//	go run . -quick     every server and work once, some 20 seconds: proves that nothing rots
//
// It starts the servers itself, fills them with the same peers, drives each in turn, round after
// round, checks every answer against what it knows to be true, and prints the medians as Markdown
// tables. README.md beside this file says what the figures mean and what they do not say.
//
// The driver is thin on purpose, for it runs on the cores that it measures: requests are laid out
// once and only the ids in them are overwritten, answers are compared byte by byte, and next to
// nothing is allocated while a window is open.
//
// The folder is a module of its own, so that the client library of one of the peers stays out of
// rollcall's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// errMisuse marks a mistake of the caller, answered with exit code 2.
var errMisuse = errors.New("misuse")

// options are what the flags say.
type options struct {
	seconds float64 // length of one window
	warm    float64 // seconds of load before a window opens
	rounds  int     // windows for each pair of server and work; medians are taken over them
	servers []server
	works   []work
	peers   int // known peers; half of them online
	conns   int // connections of the closed loop, hence requests in flight
	rate    int // requests a second of the open loop
	seed    uint64
	// Revision of the repository to measure beside the working tree; empty means none.
	before string
	dir    string // where the run's own directory is made; empty means the system's
	json   string // file for the figures as JSON; empty means none
	quick  bool
	named  bool // -servers was given, so a server that cannot run is an error rather than a remark
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr) // 0 done, 1 failed, 2 misused
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	// The kernel kills a child when the thread that started it ends. No other goroutine may run on
	// this one and end it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	o, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = measure(ctx, o, stdout, stderr)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "bench:", err)
	var hint *hintError
	if errors.As(err, &hint) {
		fmt.Fprintln(stderr, "bench: hint:", hint.hint)
	}
	if errors.Is(err, errMisuse) {
		return 2
	}
	return 1
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Float64Var(&o.seconds, "seconds", 1, "length of one measured window")
	fs.IntVar(&o.rounds, "rounds", 7, "windows per server and work; the figures are medians over them")
	serverList := fs.String("servers", "", "comma-separated servers (default all): "+strings.Join(names(servers), ", "))
	workList := fs.String("works", "", "comma-separated works (default all): "+strings.Join(names(works), ", "))
	fs.IntVar(&o.peers, "peers", 1_000_000, "known peers, half of them online")
	fs.IntVar(&o.conns, "conns", 32, "connections of the closed loop")
	fs.IntVar(&o.rate, "rate", 2000, "requests a second of the open loop")
	fs.Uint64Var(&o.seed, "seed", 1, "seed of the choice of peers")
	fs.StringVar(&o.before, "before", "", "a revision of this repository: its rollcall is built and measured too, as "+nameBefore)
	fs.StringVar(&o.dir, "dir", "", "where servers keep their data during the run (default the system's temporary directory)")
	fs.StringVar(&o.json, "json", "", "write the figures of every window to this file as well")
	fs.BoolVar(&o.quick, "quick", false, "about 20 seconds in all: short windows, one round, few peers; the figures mean little")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, fmt.Errorf("%w: %w", errMisuse, err)
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("%w: unexpected argument %q", errMisuse, fs.Arg(0))
	}
	if o.quick {
		set := map[string]bool{}
		fs.Visit(func(f *flag.Flag) { set[f.Name] = true })
		quicken(&o, set)
	}
	o.warm = min(0.5, o.seconds/4)
	o.named = *serverList != ""
	var err error
	if o.servers, err = pick(servers, *serverList, "server"); err != nil {
		return o, err
	}
	if o.before != "" {
		o.servers = append(slices.Clip(o.servers), before(o.before))
	}
	if o.works, err = pick(works, *workList, "work"); err != nil {
		return o, err
	}
	// A connection draws its peers from its own share, and a share smaller than the largest query
	// would repeat itself.
	if least := max(1000, 20*o.conns); o.peers < least || o.peers > maxPeers {
		return o, fmt.Errorf("%w: -peers %d: want %d to %d", errMisuse, o.peers, least, maxPeers)
	}
	if o.seconds <= 0 || o.rounds < 1 || o.conns < 1 || o.rate < 1 {
		return o, fmt.Errorf("%w: -seconds, -rounds, -conns and -rate want to be above zero", errMisuse)
	}
	return o, nil
}

// quicken replaces the defaults by small ones, where the caller did not set a value by name.
func quicken(o *options, set map[string]bool) {
	if !set["seconds"] {
		o.seconds = 0.15
	}
	if !set["rounds"] {
		o.rounds = 1
	}
	if !set["peers"] {
		o.peers = 20_000
	}
	if !set["rate"] {
		o.rate = 500
	}
}

type named interface{ label() string }

func names[T named](all []T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = v.label()
	}
	return out
}

// pick selects by name and keeps the order of the table, which is the order of the measurement.
func pick[T named](all []T, list, what string) ([]T, error) {
	if list == "" {
		return all, nil
	}
	wanted := strings.Split(list, ",")
	for i, name := range wanted {
		wanted[i] = strings.TrimSpace(name)
		if !slices.Contains(names(all), wanted[i]) {
			return nil, fmt.Errorf("%w: no %s %q; there are %s", errMisuse, what, wanted[i], strings.Join(names(all), ", "))
		}
	}
	var out []T
	for _, v := range all {
		if slices.Contains(wanted, v.label()) {
			out = append(out, v)
		}
	}
	return out, nil
}

// measure does the whole run: start, fill, check, rounds of windows, check again, report.
func measure(ctx context.Context, o options, stdout, stderr io.Writer) (err error) {
	r, err := newRig(o, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()

	targets, err := r.start(ctx)
	if err != nil {
		return err
	}
	if len(targets) == 0 {
		return errors.New("none of the servers can run here")
	}
	rep := newReport(ctx, o, r)
	for round := range o.rounds {
		for _, w := range o.works {
			for _, t := range targets {
				s, err := window(ctx, t, w, o, round)
				if err != nil {
					return fmt.Errorf("%s under %s, round %d: %w", t.name, w.name, round+1, r.explain(ctx, t, err))
				}
				rep.add(w, t, s)
				r.say("round %d/%d  %-10s %-13s %s", round+1, o.rounds, w.name, t.name, s.line())
			}
		}
	}
	// The hooks of the run changed hundreds of thousands of peers, and their answers said nothing
	// but {}: look once more.
	if err := r.verify(ctx, targets); err != nil {
		return err
	}
	rep.markdown(stdout)
	if o.json != "" {
		return rep.writeJSON(o.json)
	}
	return nil
}

// window drives one server with one work and measures it. The seed differs from window to window
// but not from server to server, so in a round all are asked about the same peers.
func window(ctx context.Context, t *target, w work, o options, round int) (sample, error) {
	if err := ctx.Err(); err != nil {
		return sample{}, errors.New("stopped")
	}
	warm := seconds(o.warm)
	if round == 0 && !o.quick {
		// Compilers that work while the program runs, and caches of all kinds.
		warm = max(warm, time.Second)
	}
	if t.prepare != nil {
		if err := t.prepare(ctx); err != nil {
			return sample{}, fmt.Errorf("prepare: %w", err)
		}
	}
	l := load{target: t, work: w, conns: o.conns, warm: warm, length: seconds(o.seconds), seed: o.seed<<16 + uint64(round), rate: o.rate}
	if t.cached == nil {
		return l.run(ctx)
	}
	hits, misses, err := t.cached(ctx)
	if err != nil {
		return sample{}, err
	}
	s, err := l.run(ctx)
	if err != nil {
		return s, err
	}
	s.hits, s.misses, err = t.cached(ctx)
	s.hits, s.misses = s.hits-hits, s.misses-misses
	return s, err
}

func (l load) run(ctx context.Context) (sample, error) {
	if l.work.hooks > 0 && l.target.truth != nil {
		l.target.truth.hooks++
	}
	if l.work.open {
		return openLoop(ctx, l)
	}
	return closedLoop(ctx, l)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
