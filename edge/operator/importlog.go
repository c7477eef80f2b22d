package operator

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/transfer"
)

// importQuiet is how long no part comes after the last one of an import.
const importQuiet = 3 * time.Second

// An importLog counts what imports do, and writes one line for each, which comes in parts: when
// none has come for importQuiet. The zero value with a log is ready; many goroutines may use it.
type importLog struct {
	log *slog.Logger

	// Since the start, by what became of them.
	allParts, refused, peers, changed, leftOut atomic.Int64

	mu    sync.Mutex
	parts int
	sum   transfer.Result
	err   string // of the last part that was refused
	timer *time.Timer
}

// note takes what one part did.
func (l *importLog) note(a *ImportAnswer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts++
	l.sum.Peers, l.sum.Changed, l.sum.Ended = l.sum.Peers+a.Peers, l.sum.Changed+a.Changed, l.sum.Ended+a.Ended
	l.allParts.Add(1)
	l.peers.Add(int64(a.Peers))
	l.changed.Add(int64(a.Changed))
	l.leftOut.Add(int64(a.Ended))
	if a.Err != "" {
		l.refused.Add(1)
		l.err = a.Code + ": " + a.Err
	}
	if l.timer == nil {
		l.timer = time.AfterFunc(importQuiet, l.write)
	} else {
		l.timer.Reset(importQuiet)
	}
}

// counts returns the counts since the start.
func (l *importLog) counts() map[string]int64 {
	return map[string]int64{
		"parts": l.allParts.Load(), "refused": l.refused.Load(), "peers": l.peers.Load(), "changed": l.changed.Load(), "left_out": l.leftOut.Load(),
	}
}

// write writes the line.
func (l *importLog) write() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.parts == 0 {
		return // the timer was reset while it fired, and this line is written already
	}
	args := []any{"peers", l.sum.Peers, "changed", l.sum.Changed, "left_out", l.sum.Ended, "parts", l.parts}
	if l.err != "" {
		args = append(args, "err", l.err)
	}
	l.log.Info("import finished", args...)
	l.parts, l.sum, l.err = 0, transfer.Result{}, ""
}
