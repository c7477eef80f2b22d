//go:build faults

package redisstore_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/redistest"
	"rollcall/presence"
)

// A load reports on many peers through one node and remembers what was acknowledged last of each.
type load struct {
	n       *node
	acked   []atomic.Int64 // the kind of the last report that was acknowledged
	reports atomic.Int64
	failed  atomic.Int64
}

// run reports until ctx ends: each peer is one worker's, so that the order of its words is known.
func (l *load) run(ctx context.Context, workers int) {
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; ctx.Err() == nil; i += workers {
				p := i % len(l.acked)
				if p%workers != w {
					continue
				}
				kind := presence.KindOnline
				if presence.Kind(l.acked[p].Load()) == presence.KindOnline {
					kind = presence.KindOffline
				}
				r := presence.Report{
					App: "app", Peer: presence.PeerID(fmt.Sprint("load", p)), Source: presence.SourceAPI, Session: "s", Kind: kind,
					At: l.n.st.Now(), Lease: time.Hour,
				}
				if err := l.n.report(r); err != nil {
					l.failed.Add(1)
					continue
				}
				l.reports.Add(1)
				l.acked[p].Store(int64(kind))
				time.Sleep(time.Millisecond)
			}
		})
	}
	wg.Wait()
}

// missing returns how many acknowledged words other does not see.
func (l *load) missing(other *node) int {
	peers := make([]string, len(l.acked))
	for i := range peers {
		peers[i] = fmt.Sprint("load", i)
	}
	got, age, err := other.ask(peers...)
	if err != nil || age > 0 {
		return len(peers)
	}
	n := 0
	for i, st := range got {
		switch presence.Kind(l.acked[i].Load()) {
		case presence.KindOnline:
			if st != presence.Online {
				n++
			}
		case presence.KindOffline:
			if st != presence.Offline {
				n++
			}
		}
	}
	return n
}

// settled waits until other sees all that was acknowledged.
func (l *load) settled(t *testing.T, other *node, within time.Duration) {
	t.Helper()
	begun := time.Now()
	for l.missing(other) > 0 {
		if time.Since(begun) > within {
			t.Fatalf("%v after the load %d of %d acknowledged words are missing", within, l.missing(other), len(l.acked))
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Logf("%d reports acknowledged, %d refused; none missing %v after the load", l.reports.Load(), l.failed.Load(),
		time.Since(begun).Round(time.Millisecond))
}

func pair(t *testing.T, url string) (here, there *node) {
	cfg := config(url)
	cfg.Deadline, cfg.Log = 250*time.Millisecond, logger(t)
	cfg.Spool = t.TempDir()
	here = startNode(t, cfg, "here")
	cfg.Spool = t.TempDir()
	return here, startNode(t, cfg, "there")
}

// under runs the load while fault does its work, and sees that nothing that was acknowledged is
// missing afterwards.
func under(t *testing.T, url string, fault func(here, there *node)) {
	pace := redistest.NewPace(t)
	here, there := pair(t, url)
	steady := numbered("steady", 100)
	for _, p := range steady {
		if err := here.report(here.hook(presence.KindOnline, p)); err != nil {
			t.Fatal(err)
		}
	}
	there.see(patience, presence.Online, steady...)
	l := &load{n: here, acked: make([]atomic.Int64, 400)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	var w witness
	wg.Go(func() { l.run(ctx, 8) })
	wg.Go(func() { w.watch(ctx, there, steady) })
	time.Sleep(time.Second)
	fault(here, there)
	time.Sleep(2 * time.Second)
	cancel()
	wg.Wait()
	here.ready(patience)
	there.ready(patience)
	l.settled(t, there, pace.Allow(5*time.Second))
	t.Log(&w)
	if w.offline.Load() > 0 {
		t.Errorf("the witness received %d made-up statuses", w.offline.Load())
	}
	if l.reports.Load() < 100 {
		t.Errorf("only %d reports: there was no load", l.reports.Load())
	}
	t.Logf("here %v", here.st.Stats())
}
