package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"rollcall/presence"
)

// epoch is a Monday midnight at which every run begins.
const epoch = presence.Millis(1_767_571_200_000)

// A connection is one device's stay, from its login to the moment at which the service takes it for
// ended.
type connection struct {
	device     int
	start, end presence.Millis
	cause      presence.Cause
	again      bool // an automatic login
}

// live returns the connections that the devices of one peer have in days, in order of their start.
// With tags, a login by hand ends an older connection of the same device.
func live(rnd *rand.Rand, devices, days int, tags bool) []connection {
	var all []connection
	for d := range devices {
		for day := range days {
			all = append(all, liveDay(rnd, d, day, tags)...)
		}
	}
	slices.SortStableFunc(all, func(a, b connection) int { return int(a.start - b.start) })
	return all
}

// liveDay is one device's day: awake from about eight until about midnight, or not used at all.
func liveDay(rnd *rand.Rand, device, day int, tags bool) []connection {
	if rnd.Float64() < []float64{0.05, 0.25, 0.4}[device] {
		return nil
	}
	var all []connection
	midnight := epoch.Add(time.Duration(day) * 24 * time.Hour)
	at := midnight.Add(8*time.Hour + between(rnd, -time.Hour, 2*time.Hour))
	night := midnight.Add(23*time.Hour + between(rnd, -2*time.Hour, 30*time.Minute))
	again := false
	for at < night {
		c := connection{device: device, start: at, again: again, cause: presence.CauseLost}
		c.end = min(at.Add(around(rnd, 25*time.Minute, 1.2)), night.Add(time.Hour))
		died := c.end
		var away time.Duration
		switch how := rnd.Float64(); {
		case how < 1.0/3: // dies in silence
			c.end = died.Add(between(rnd, time.Minute, 8*time.Minute))
			if again = rnd.Float64() < 0.6; again {
				away = between(rnd, 2*time.Second, time.Minute)
			} else {
				away = around(rnd, time.Hour, 1)
			}
		case how < 2.0/3: // breaks, and the service sees it
			if again = rnd.Float64() < 0.5; again {
				away = between(rnd, time.Second, 20*time.Second)
			} else {
				away = around(rnd, time.Hour, 1)
			}
		default:
			c.cause, again = presence.CauseLogout, false
			if away = around(rnd, time.Hour, 1); rnd.Float64() < 0.1 {
				away = between(rnd, 5*time.Second, time.Minute)
			}
		}
		at = died.Add(away)
		if tags && !again && at < night && at < c.end {
			c.end, c.cause = at, presence.CauseReplaced
		}
		all = append(all, c)
	}
	return all
}

// between is evenly spread.
func between(rnd *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(rnd.Int64N(int64(high-low)))
}

// around is spread like the length of human doings: half are shorter than median, a few much
// longer.
func around(rnd *rand.Rand, median time.Duration, sigma float64) time.Duration {
	return min(max(time.Duration(float64(median)*math.Exp(sigma*rnd.NormFloat64())), 2*time.Second), 12*time.Hour)
}
