package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// A sample is what one window measured.
type sample struct {
	length time.Duration
	// Answers that came inside the window; costs are divided by them.
	answered int
	used     map[string]time.Duration // CPU time by process
	rss      int64                    // bytes, of all processes
	p50, p99 time.Duration
	driver   time.Duration // CPU time of the driver itself
	late99   time.Duration // open loop: p99 of how much later than due the driver sent
	left99   time.Duration // open loop: p99 of the latency since then
	hits     float64       // ids that a near cache answered, warm-up included
	misses   float64       // ids that it did not
}

func (s sample) finish(latencies ...[]latency) (sample, error) {
	all := sorted(latencies...)
	if len(all) == 0 || s.answered == 0 {
		return s, errors.New("no answer came inside the window")
	}
	s.p50, s.p99 = percentile(all, 0.5), percentile(all, 0.99)
	return s, nil
}

// cpu is the server CPU time of one request in microseconds, all processes together.
func (s sample) cpu() float64 {
	var sum time.Duration
	for _, d := range s.used {
		sum += d
	}
	return s.each(sum)
}

func (s sample) each(d time.Duration) float64 { return micros(d) / float64(s.answered) }

func (s sample) perSecond() float64 { return float64(s.answered) / s.length.Seconds() }

func (s sample) line() string {
	return fmt.Sprintf("%8.1f µs CPU %9.0f/s  p50 %8.3f ms  p99 %8.3f ms  %7.1f MiB",
		s.cpu(), s.perSecond(), millis(s.p50), millis(s.p99), mebi(s.rss))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
func mebi(bytes int64) float64       { return float64(bytes) / (1 << 20) }

func sorted(lists ...[]latency) []latency {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return all
}

// percentile is the smallest value that at least the share q of all values does not exceed; 0 when
// there is none.
func percentile(sorted []latency, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(math.Ceil(q * float64(len(sorted))))
	return time.Duration(sorted[min(max(rank, 1), len(sorted))-1])
}

// median of an even number of values is the mean of the two in the middle; NaN when there is none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
