package logs

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A Sink carries log lines to a writer without ever making the one who logs wait: when the writer
// does not keep up, lines are dropped and counted.
type Sink struct {
	lines   chan []byte
	dropped atomic.Int64
	done    chan struct{}
	once    sync.Once
	mu      sync.RWMutex // guards closed against Write
	closed  bool
}

// sinkLines is how many lines may wait: at a few hundred bytes each, less than half a megabyte.
const sinkLines = 1024

// NewSink returns a sink that writes to w until it is closed.
func NewSink(w io.Writer) *Sink {
	s := &Sink{lines: make(chan []byte, sinkLines), done: make(chan struct{})}
	go s.run(w)
	return s
}

func (s *Sink) run(w io.Writer) {
	defer close(s.done)
	noted := int64(0)
	for line := range s.lines {
		_, _ = w.Write(line) // there is nowhere to complain to
		if n := s.dropped.Load(); n > noted && len(s.lines) == 0 {
			fmt.Fprintf(w, "rollcall: the log could not keep up; %d lines are missing here\n", n-noted)
			noted = n
		}
	}
}

// Write takes one line; it never fails and never waits.
func (s *Sink) Write(line []byte) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return len(line), nil
	}
	select {
	case s.lines <- append([]byte(nil), line...):
	default:
		s.dropped.Add(1)
	}
	return len(line), nil
}

// Dropped returns how many lines were dropped.
func (s *Sink) Dropped() int64 { return s.dropped.Load() }

// Close writes what waits, for at most the time given: a writer that is stuck for ever is left
// behind.
func (s *Sink) Close(patience time.Duration) {
	s.once.Do(func() {
		s.mu.Lock()
		s.closed = true
		close(s.lines)
		s.mu.Unlock()
	})
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C:
	}
}
