//go:build faults

package main

import (
	"strings"
	"testing"
	"time"

	"rollcall/internal/redistest"
)

// TestFaultThreeNodesOnRedis plays two hundred schedules: nodes are cut off, paused Redis, Redis that comes back empty, killed nodes.
func TestFaultThreeNodesOnRedis(t *testing.T) { playOn(t, alone, true, 8, seeds(1000, 200)) }

// TestFaultThreeNodesOnSentinels stops primaries for so long that a replica takes over. What replicas have not got yet is reported
// again.
func TestFaultThreeNodesOnSentinels(t *testing.T) {
	playOn(t, func(t *testing.T) faulty {
		s := redistest.RunSentinels(t, 2)
		var stopped *redistest.Server
		f := faulty{
			stop: func() {
				if p, err := s.Primary(); err == nil && stopped == nil {
					stopped = p
					p.Freeze()
				}
			},
			start: func() {
				if stopped != nil {
					stopped.Thaw()
					stopped = nil
				}
			},
			url: func(int) (string, func(), func()) {
				return "redis+sentinel://" + strings.Join(s.Addrs, ",") + "/" + redistest.Master, nil, nil
			},
		}
		return f
	}, false, 2, seeds(2000, 12))
}

// TestFaultThreeNodesOnACluster kills primaries, whose replicas take over.
func TestFaultThreeNodesOnACluster(t *testing.T) {
	playOn(t, func(t *testing.T) faulty {
		c := redistest.RunCluster(t, 3, true)
		turn := 0
		var killed *redistest.Server
		return faulty{
			stop: func() {
				if p := c.Primaries(); killed == nil && len(p) > 0 {
					killed = p[turn%len(p)]
					turn++
					killed.Kill()
				}
			},
			start: func() {
				if killed == nil {
					return
				}
				time.Sleep(time.Second) // a replica takes over meanwhile, or does not
				if err := killed.Start(); err != nil {
					t.Error(err)
				}
				killed = nil
			},
			url: func(int) (string, func(), func()) { return "redis://" + strings.Join(c.Addrs(), ","), nil, nil },
		}
	}, false, 1, seeds(3000, 8))
}
