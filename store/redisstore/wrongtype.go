package redisstore

import (
	"fmt"
	"sync/atomic"
	"time"

	"rollcall/internal/lograte"
	"rollcall/presence"
)

const (
	// repeatEvery is how often the log repeats a warning that lasts until an operator acts.
	repeatEvery = 10 * time.Minute
	// wrongTypeFor is how long the store is not ready after a command met an index of another type.
	// A sweep meets one every second.
	wrongTypeFor = 10 * time.Second
)

// wrongTypes are keys of another type where an index belongs: another program uses the prefix. They
// are never touched. What needs the index fails, and reports wait in the spool.
type wrongTypes struct {
	last atomic.Pointer[string]
	seen atomic.Int64 // when, in ms of the age of the connection; 0 for never
	line lograte.Line
}

// wrongType returns the error of a command that met an index of another type. It matches
// [presence.ErrUnavailable].
func (s *shared) wrongType(key string) error {
	s.wrongTypes.last.Store(&key)
	s.wrongTypes.seen.Store(s.conn.Millis())
	if _, due := s.wrongTypes.line.Due(s.conn.Millis()); due {
		s.log.Error("index key has the wrong type", "key", key, "hint", wrongTypeHint)
	}
	return wrongTypeError(key)
}

const wrongTypeHint = "rename or delete it, or give rollcall another prefix"

func wrongTypeError(key string) error {
	return fmt.Errorf("%w: the index key %q has the wrong type: %s", presence.ErrUnavailable, key, wrongTypeHint)
}

// metWrongType returns the error of an index of another type that was met a short while ago, or
// nil.
func (s *shared) metWrongType() error {
	seen := s.wrongTypes.seen.Load()
	if seen == 0 || s.conn.Millis()-seen > wrongTypeFor.Milliseconds() {
		return nil
	}
	return wrongTypeError(*s.wrongTypes.last.Load())
}
