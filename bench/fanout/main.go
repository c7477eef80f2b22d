// Command fanout measures what it costs to notify many watchers of one change: CPU of the server
// per delivery, and the time from the acknowledgement of a report to the last delivery. Watchers
// come over server-sent events and over WebSockets; changes come singly and in bursts of fifty
// peers. Beside them, in the same run and taking turns with them, a bare loop writes the same bytes
// to as many sockets.
//
//	go run ./fanout            1,000 watchers, two to three minutes
//	go run ./fanout -apart     the same, with watchers of which no two follow the same peers
//	go run ./fanout -quick     some, for CI: no figures
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tick is short, so that single changes need not wait long for each other.
const tick = 20 * time.Millisecond

var (
	watchers = flag.Int("n", 1000, "watchers")
	rounds   = flag.Int("rounds", 9, "windows of each server, which take turns")
	changes  = flag.Int("changes", 50, "changes, or bursts of changes, in one window")
	bursts   = flag.Bool("bursts", true, "also changes of fifty peers at once")
	apart    = flag.Bool("apart", false, "no two watchers follow the same peers: each also follows one of its own")
	quick    = flag.Bool("quick", false, "10 watchers and 2 rounds of 2 changes: proves that nothing rots")
	profiled = flag.Bool("profiling", false, "open /debug/pprof/ of the servers and say where")
	programs = flag.String("programs", "", "rollcalls that are built already, separated by commas, to be compared; empty builds the one here")
	ways     = flag.String("ways", "sse,socket", "how watchers come")
	bare     = flag.String("bare", "", "internal: be a loop that writes by net or by raw system calls")
)

func main() {
	flag.Parse()
	if *quick {
		*watchers, *rounds, *changes = 10, 2, 2
	}
	err := error(nil)
	if *bare != "" {
		err = beBare(os.Stdin, os.Stdout, *bare == "raw")
	} else {
		err = measure()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
}

func measure() error {
	dir, err := os.MkdirTemp("", "rollcall-fanout")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if *programs == "" {
		*programs = filepath.Join(dir, "rollcall")
		build := exec.Command("go", "build", "-o", *programs, "./cmd/rollcall")
		build.Dir = ".."
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build rollcall: %w: %s", err, out)
		}
	}
	sizes := []int{1}
	if *bursts {
		sizes = append(sizes, 50)
	}
	lone := 0.0
	for i, burst := range sizes {
		if i > 0 {
			fmt.Println()
		}
		if lone, err = compare(dir, burst, lone); err != nil {
			return err
		}
	}
	return nil
}

// compare plays rounds of changes to every way of watching in turn, and prints what each cost. lone
// is what the bare loop took to write a single change; when it is zero it is found here, and
// returned.
func compare(dir string, burst int, lone float64) (float64, error) {
	var all []*subject
	defer func() {
		for _, s := range all {
			s.stop()
		}
	}()
	size := 0
	add := func(s *subject, err error) error {
		if err != nil {
			return err
		}
		all = append(all, s)
		// What comes first warms up, and shows how long a frame is: when a peer goes and when it
		// comes differ by a few bytes.
		if err := s.play(&window{}, 2); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		size = max(size, int(s.bytes.Load())/(2**watchers))
		return nil
	}
	for program := range strings.SplitSeq(*programs, ",") {
		for way := range strings.SplitSeq(*ways, ",") {
			if err := add(rollcall(dir, program, way, burst)); err != nil {
				return 0, err
			}
		}
	}
	for _, name := range []string{"raw", "bare"} { // the last is what the others are compared with
		if err := add(loop(name, size)); err != nil {
			return 0, err
		}
	}
	windows := make([][]window, len(all))
	for round := range *rounds {
		for i := range all {
			k := (i + round) % len(all) // so that no server always comes behind the same one
			var w window
			if err := all[k].play(&w, *changes); err != nil {
				return 0, fmt.Errorf("%s: %w", all[k].name, err)
			}
			windows[k] = append(windows[k], w)
		}
	}
	bares := windows[len(all)-1]
	if lone == 0 {
		lone = median(bares)
	}
	fmt.Printf("%d watchers, %d at once, %d windows of %d: lowest median highest\n", *watchers, burst, *rounds, *changes)
	fmt.Printf("%-14s %6s  %-20s  %-20s  %-20s  %-14s %-14s\n", "way", "bytes", "µs a frame", "× bare loop", "a delivery × lone", "p50 ms", "p99 ms")
	for i, s := range all {
		show(s, burst, windows[i], bares, lone)
	}
	return lone, nil
}

func median(all []window) float64 {
	var us []float64
	for i := range all {
		us = append(us, all[i].frame())
	}
	slices.Sort(us)
	return us[len(us)/2]
}

// show prints one line: the cost of s beside the bare loop's in the same rounds, and of each change
// in a frame beside lone.
func show(s *subject, burst int, mine, bares []window, lone float64) {
	var frame, ratio, delivery []float64
	var took []time.Duration
	for i, w := range mine {
		us := w.frame()
		frame, delivery = append(frame, us), append(delivery, us/float64(burst)/lone)
		ratio = append(ratio, us/bares[i].frame())
		took = append(took, w.took...)
	}
	slices.Sort(took)
	fmt.Printf("%-14s %6d  %-20s  %-20s  %-20s  %-14.1f %-14.1f\n", s.name, mine[0].bytes, spread(frame, 1), spread(ratio, 2), spread(delivery, 2),
		float64(took[len(took)/2])/1e6, float64(took[len(took)*99/100])/1e6)
}

// spread puts the lowest, the median and the highest of all into words.
func spread(all []float64, digits int) string {
	slices.Sort(all)
	return fmt.Sprintf("%.*f %.*f %.*f", digits, all[0], digits, all[len(all)/2], digits, all[len(all)-1])
}
