package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// openConns is how many requests of an open loop may be in flight before the next has to wait for a
// connection. Its waiting counts as latency all the same.
const openConns = 64

// A flight is a connection of the open loop. The holder of the flight may send; the reader gives it
// back.
type flight struct {
	*caller
	// When the request in flight was due and when it left, in nanoseconds after the start. Stored
	// before it is sent.
	due, left atomic.Int64
}

// openLoop sends at a fixed rate whatever the server does, as many independent clients would, and
// measures from the moment each request was due. A server that stalls for 50 ms thereby makes 100
// requests late at 2,000 a second, where a closed loop would see one slow answer and call it one in
// thousands.
//
// The driver too can be late: a busy or a borrowed core wakes it after the due time. That is part
// of the latency, and is shown by two more figures: how late requests left, and the latency from
// then on.
func openLoop(ctx context.Context, l load) (sample, error) {
	l.conns = openConns
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	conns, closeAll, err := dialAll(ctx, l.target.addr, l.conns, l.warm+l.length+20*time.Second)
	if err != nil {
		return sample{}, err
	}
	defer closeAll()

	o := &open{
		fail: fail, start: time.Now().Add(time.Millisecond),
		first: int64(l.warm), last: int64(l.warm + l.length), free: make(chan *flight, l.conns),
		latencies: make([][]latency, len(conns)), sinceLeft: make([][]latency, len(conns)),
	}
	for lane, c := range conns {
		f := &flight{caller: l.caller(c, lane)}
		o.latencies[lane], o.sinceLeft[lane] = make([]latency, 0, l.room()), make([]latency, 0, l.room())
		o.free <- f
		o.readers.Go(func() { o.read(f, lane) })
	}
	pacer := make(chan []latency, 1)
	go func() {
		late, err := l.pace(ctx, o.start, o.first, o.last, o.free)
		if err != nil {
			fail(err)
		}
		pacer <- late
	}()
	s, err := l.watch(ctx, &o.phase, func() bool { return o.answered.Load() > 0 })
	late := <-pacer
	for range l.conns { // all home: every request has its answer
		select {
		case <-o.free:
		case <-ctx.Done():
		}
	}
	o.finished.Store(true)
	closeAll()
	o.readers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return sample{}, cause
	}
	if err != nil {
		return sample{}, err
	}
	s.answered = int(o.answered.Load())
	s.late99 = percentile(sorted(late), 0.99)
	s.left99 = percentile(sorted(o.sinceLeft...), 0.99)
	return s.finish(o.latencies...)
}

// An open is what the readers of an open loop share. Latencies belong to requests that were due
// inside the window, costs to answers that came inside it: after a long stall these are not the
// same.
type open struct {
	fail        context.CancelCauseFunc
	start       time.Time
	first, last int64 // due times between them count
	// First in, first out, so that every connection stays in use.
	free                 chan *flight
	phase                atomic.Int32
	answered             atomic.Int64
	finished             atomic.Bool
	latencies, sinceLeft [][]latency // by lane
	readers              sync.WaitGroup
}

// read takes the answers that come on f, until it is closed.
func (o *open) read(f *flight, lane int) {
	for {
		answer, err := f.wire.read(f.conn)
		if o.finished.Load() {
			return // closing the connection is how a reader is sent home
		}
		now := int64(time.Since(o.start))
		if o.phase.Load() == counting {
			o.answered.Add(1)
		}
		due, left := f.due.Load(), f.left.Load()
		if err == nil {
			err = f.judge(answer)
		}
		if err != nil {
			o.fail(err)
			return
		}
		if due >= o.first {
			o.latencies[lane] = append(o.latencies[lane], toLatency(time.Duration(now-due)))
			o.sinceLeft[lane] = append(o.sinceLeft[lane], toLatency(time.Duration(now-left)))
		}
		o.free <- f
	}
}

// pace sends each request when it is due and returns how much later it left by the driver's own
// fault.
func (l load) pace(ctx context.Context, start time.Time, first, last int64, free chan *flight) ([]latency, error) {
	// Unlocked in the end, or the thread would end with this goroutine and take along a child that
	// it started.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	sharpenSleep()
	step := float64(time.Second) / float64(l.rate)
	late := make([]latency, 0, int(float64(last)/step)+1)
	for k := 0; ; k++ {
		due := int64(float64(k) * step)
		if due >= last {
			return late, nil
		}
		f, waited, err := take(ctx, free)
		if err != nil {
			return nil, err
		}
		request := f.next()
		sleepUntil(start.Add(time.Duration(due)))
		left := int64(time.Since(start))
		if waited {
			left = due // the server has all connections busy: this wait is its own
		} else if due >= first {
			late = append(late, toLatency(time.Duration(left-due)))
		}
		f.due.Store(due)
		f.left.Store(left)
		if _, err := f.conn.Write(request); err != nil {
			return nil, err
		}
	}
}

// take waits for a connection that is not in use and reports whether it had to wait.
func take(ctx context.Context, free chan *flight) (f *flight, waited bool, err error) {
	select {
	case f = <-free:
		return f, false, nil
	default:
	}
	select {
	case f = <-free:
		return f, true, nil
	case <-ctx.Done():
		return nil, true, context.Cause(ctx)
	}
}
