package watch_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/presence"
	"rollcall/watch"
)

// A tongue is a pusher whose room the test decides.
type tongue struct {
	full, half bool // it is not ready; it leaves something to do
	received   []string
}

func (t *tongue) Ready() bool { return !t.full }

func (t *tongue) Push(b *watch.Batch) bool {
	t.received = append(t.received, fmt.Sprint(b.Kind, " ", len(b.Updates), " ", b.Updates[0].Status))
	return !t.half
}

// While its goroutine waits updates go to the pusher; one that is full, or is left with something,
// wakes the goroutine, and nothing is sent twice or lost.
func TestTheHubPushesToAPusher(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		w := h.watch("", "tom")
		h.expect(w, time.Second, "snapshot tom=unknown")
		voice := &tongue{}
		w.Attach(voice)
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan watch.Batch, 10)
		go func() {
			defer close(got)
			for {
				b, err := w.Next(ctx)
				if err != nil {
					return
				}
				b.Updates = append([]*watch.Update(nil), b.Updates...)
				got <- b
			}
		}()
		step := func(kind presence.Kind, received, woken string) {
			t.Helper()
			voice.received = nil
			if kind != 0 {
				h.report(kind, "tom", "1", logout)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if s := fmt.Sprint(voice.received); s != received {
				t.Errorf("the pusher received %s, want %s", s, received)
			}
			s := ""
			for len(got) > 0 {
				b := <-got
				s += fmt.Sprint(b.Kind, " ", len(b.Updates), ";")
			}
			if s != woken {
				t.Errorf("the goroutine received %q, want %q", s, woken)
			}
		}
		synctest.Wait() // it waits now
		step(on, "[change 1 online]", "")
		step(off, "[change 1 offline]", "")
		voice.full = true
		step(on, "[]", "stuck 0;change 1;") // this goroutine does not wait for room
		voice.full, voice.half = false, true
		step(off, "[change 1 offline]", "stuck 0;")
		voice.half = false
		step(on, "[change 1 online]", "")
		// Silence is counted from what the hub sent last.
		silence := h.hub.Config().Mark
		// Not at the instant at which the goroutine looks whether the silence is over: it does not
		// wait then, and whichever comes first takes the change.
		time.Sleep(silence - 2100*time.Millisecond)
		step(off, "[change 1 offline]", "")
		time.Sleep(silence - 3*time.Second)
		step(0, "[]", "")
		time.Sleep(2 * time.Second)
		step(0, "[]", "mark 0;")
		cancel()
		for range got {
			t.Error("something was sent after the end")
		}
	})
}

// Several goroutines push to many watchers, to each of them once.
func TestTheHubPushesToManyPushers(t *testing.T) {
	bubble(t, func(t *testing.T, h *house) {
		const n = 2000
		voices := make([]tongue, n)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{}, n)
		for i := range voices {
			w := h.watch("", "tom")
			h.expect(w, time.Second, "snapshot tom=unknown")
			w.Attach(&voices[i])
			go func() {
				if b, err := w.Next(ctx); err == nil {
					t.Errorf("watcher %d was woken with a %v", i, b.Kind)
				}
				done <- struct{}{}
			}()
		}
		synctest.Wait()
		h.report(on, "tom", "1")
		time.Sleep(time.Second)
		cancel()
		for range voices {
			<-done
		}
		for i := range voices {
			if s := fmt.Sprint(voices[i].received); s != "[change 1 online]" {
				t.Fatalf("watcher %d received %s", i, s)
			}
		}
	})
}
