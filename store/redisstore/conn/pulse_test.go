package conn

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestAStarvedProcessBlamesNoLink: a deadline moves by what this process was late, as far as its
// patience goes.
func TestAStarvedProcessBlamesNoLink(t *testing.T) {
	for _, c := range []struct{ late, ends time.Duration }{
		{0, time.Second},
		{300 * time.Millisecond, 1300 * time.Millisecond},
		{time.Hour, time.Second + patience},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &pulse{begun: time.Now()}
			p.due.Store(int64(time.Hour))
			begun := time.Now()
			ctx, cancel := p.within(t.Context(), time.Second)
			defer cancel()
			time.Sleep(500 * time.Millisecond)
			p.late.Add(int64(c.late))
			<-ctx.Done()
			if took := time.Since(begun); took != c.ends {
				t.Errorf("%v late: it ended after %v, want %v", c.late, took, c.ends)
			}
			if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				t.Errorf("it ended by %v", context.Cause(ctx))
			}
		})
	}
}

// TestThePulseMeasuresLateness, also of the beat that is overdue, and none on an idle machine.
func TestThePulseMeasuresLateness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pulse{begun: time.Now()}
		p.due.Store(int64(pulseEvery))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.run(ctx); close(done) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		if late := p.lateness(); late != 0 {
			t.Errorf("idle, and %v late", late)
		}
		cancel()
		<-done
		time.Sleep(time.Second) // no beat comes
		if late := p.lateness(); late < time.Second-pulseEvery || late > time.Second {
			t.Errorf("a second without a beat is %v late", late)
		}
	})
}
