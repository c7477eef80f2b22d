package embedded

import (
	"math"
	"runtime"
	"sync/atomic"
)

// epochs show the writer which memory no reader can see any more.
//
// A reader enters before it looks anything up and leaves when it holds no more slices of the arena.
// The writer unlinks a record, notes the epoch, moves the epoch on, and uses the memory again when
// every reader under way entered later. A reader that enters after the writer has looked cannot
// find what was unlinked before. Readers and writer never wait for each other.
type epochs struct {
	now   atomic.Uint64
	slots [readers]struct {
		at atomic.Uint64 // epoch at which the reader entered; 0 when free
		_  [56]byte      // a cache line each
	}
}

// readers is how many may be inside at once; more wait for a moment.
const readers = 64

// enter returns the slot to leave by. hint is where the caller was last time.
func (e *epochs) enter(hint int) int {
	for i := hint; ; i++ {
		s := &e.slots[i%readers].at
		if s.Load() == 0 && s.CompareAndSwap(0, e.now.Load()+1) {
			return i % readers
		}
		if i-hint >= readers {
			runtime.Gosched()
		}
	}
}

func (e *epochs) leave(slot int) { e.slots[slot].at.Store(0) }

// advance starts a new epoch and returns the oldest that a reader may still be in.
func (e *epochs) advance() uint64 {
	e.now.Add(1)
	oldest := uint64(math.MaxUint64)
	for i := range e.slots {
		if at := e.slots[i].at.Load(); at != 0 {
			oldest = min(oldest, at-1)
		}
	}
	return oldest
}
