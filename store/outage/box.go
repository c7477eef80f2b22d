package outage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/spool"
	"rollcall/presence"
)

// Below is what a [Box] needs of the store beside it. Its methods are called by several goroutines;
// none may call the box back.
type Below interface {
	// Replay applies records as of their times of receipt, in order, and returns an error for each
	// that it could not apply; nil when there is none.
	Replay(ctx context.Context, list []Record) []error
	// Waits reports whether err, of Replay, means that the peer cannot be written now and nothing
	// else is the matter; held, that only a later release may write it.
	Waits(err error) (waits, held bool)
	// Last returns what is known of a peer without asking the store: a packed state, empty for an
	// unknown peer. known is false when nothing is.
	Last(key presence.Key) (packed []byte, known bool)
	// Signal has the listeners of the store look at keys again.
	Signal(keys []presence.Key)
}

// A Queue keeps records in order until they are delivered, see [spool.Spool].
type Queue interface {
	Append(records [][]byte) ([]spool.ID, error)
	Next(after spool.ID, n int) ([]spool.Record, error)
	Ack(ids ...spool.ID) error
	Len() int
	Size() (size, limit int64)
	Close() error
}

// Config are the settings of a [Box].
type Config struct {
	Dir   string // of the spool; empty keeps none
	Bytes int64  // bound of the spool
	// Queue takes the place of the spool on disk.
	Queue   Queue
	Journal time.Duration // how long acknowledged reports are kept
	Rules   presence.Rules
	// Stale is the greatest age of an answer, and Now the time of the store; a [Store] needs both.
	Stale time.Duration
	Now   func() presence.Millis
	Log   *slog.Logger
}

// A Box holds the spool, the overlay and the journal of one [Store]. It is safe for many
// goroutines; Drain and Reassert are for one.
type Box struct {
	cfg   Config
	below Below
	log   *slog.Logger
	begun time.Time

	spool  Queue
	unread unread // records of the spool that this release does not understand

	// turn is passed by reports on their way to the spool, and closed when the spool is found empty
	// and reports take the direct road again.
	turn   *turnstile
	on     atomic.Bool // reports go to the spool
	again  atomic.Bool // look at all records again
	layers atomic.Int64

	mu      sync.Mutex // guards what follows
	overlay map[presence.Key]*layer
	journal []journaled
	start   int // of the journal; what is before is over

	cursor                      cursor // of Drain
	held                        atomic.Int64
	spooled, replayed, asserted atomic.Int64

	// Only tests set it, to let others in between two steps.
	onPause func(stage string)
}

func (b *Box) pause(stage string) {
	if b.onPause != nil {
		b.onPause(stage)
	}
}

// Open returns a box beside below. What an earlier process left in the spool is in the overlay when
// it returns. The error says why the spool cannot be opened, as when another process has it.
func Open(cfg Config, below Below) (*Box, error) {
	b := &Box{cfg: cfg, below: below, log: cfg.Log, begun: time.Now(), spool: cfg.Queue, turn: newTurnstile(), overlay: map[presence.Key]*layer{}}
	if cfg.Dir == "" {
		return b, nil
	}
	q, err := spool.Open(cfg.Dir, cfg.Bytes)
	if err != nil {
		return nil, err
	}
	b.spool = q
	err = b.takeUnread()
	if n := q.Lost(); n > 0 {
		b.log.Warn("spool had a torn end", "bytes", n)
	}
	if err == nil {
		err = b.adopt()
	}
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// adopt makes the overlay of what an earlier process left.
func (b *Box) adopt() error {
	for at := spool.ID(0); ; {
		records, err := b.spool.Next(at, replayBatch)
		if err != nil {
			return fmt.Errorf("read the spool: %w", err)
		}
		if len(records) == 0 {
			break
		}
		b.mu.Lock()
		for _, raw := range records {
			if r, err := decodeRecord(raw.Data); err == nil {
				b.enter(r.Report.Key()).add(r, &b.cfg.Rules)
			}
		}
		b.mu.Unlock()
		at = records[len(records)-1].ID
	}
	b.on.Store(b.spool.Len() > 0)
	return nil
}

// Close syncs and closes the spool; the error is that of the file.
func (b *Box) Close() error {
	b.unread.close()
	if b.spool == nil {
		return nil
	}
	return b.spool.Close()
}

// Keeps reports whether there is a spool.
func (b *Box) Keeps() bool { return b.spool != nil }

// Spooling reports whether reports must not overtake those in the spool.
func (b *Box) Spooling() bool { return b.on.Load() }

// Waits returns which of keys have reports in the spool, or may have: the others need not queue
// behind those.
func (b *Box) Waits(keys []presence.Key) (index []int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, k := range keys {
		if b.overlay[k] != nil {
			index = append(index, i)
		}
	}
	return index
}

// Waiting returns how many reports wait for the store; those on peers that a later release keeps
// wait for that one, and this node does all else that it should.
func (b *Box) Waiting() int64 {
	if b.spool == nil || !b.Spooling() {
		return 0
	}
	return max(int64(b.spool.Len())-b.held.Load(), 0)
}

// Stats returns counts since the box opened, and sizes now.
func (b *Box) Stats() map[string]int64 {
	m := map[string]int64{
		"spooled": b.spooled.Load(), "spool_replayed": b.replayed.Load(), "said_again": b.asserted.Load(),
		"spool_waiting": 0, "spool_bytes": 0, "spool_unread": b.unread.len(),
	}
	if b.spool != nil {
		size, _ := b.spool.Size()
		m["spool_waiting"], m["spool_bytes"] = int64(b.spool.Len()), size
	}
	return m
}

// Spool keeps reports that the store could not take, durably, and sets out[i] to what reports[i]
// made of what is known here. It matches [presence.ErrFull] when there is no room and
// [presence.ErrUnavailable] when there is no spool.
func (b *Box) Spool(reports []presence.Report, now presence.Millis, out []presence.Outcome) error {
	if b.spool == nil {
		return fmt.Errorf("%w: there is no spool", presence.ErrUnavailable)
	}
	records := make([][]byte, len(reports))
	for i := range reports {
		raw, err := encodeRecord(&reports[i], now)
		if err != nil {
			return fmt.Errorf("spool a report: %w", err)
		}
		records[i] = raw
	}
	b.turn.enter()
	defer b.turn.leave()
	b.on.Store(true)
	// The peers enter the overlay first: once the records are in the spool they may be replayed,
	// and leave it, at any moment.
	layers := make([]*layer, len(reports))
	keys := make([]presence.Key, len(reports))
	b.mu.Lock()
	for i := range reports {
		keys[i] = reports[i].Key()
		layers[i] = b.enter(keys[i])
	}
	b.mu.Unlock()
	b.pause("before the append")
	_, err := b.spool.Append(records)
	b.pause("after the append")
	b.mu.Lock()
	for i, l := range layers {
		if err != nil {
			b.leave(keys[i], l)
			continue
		}
		out[i] = l.count(Record{Received: now, Report: reports[i]}, &b.cfg.Rules)
	}
	b.mu.Unlock()
	switch {
	case errors.Is(err, spool.ErrFull):
		return fmt.Errorf("spool %d reports: %w: %w", len(reports), presence.ErrFull, err)
	case err != nil:
		return fmt.Errorf("spool %d reports: %w: %w", len(reports), presence.ErrUnavailable, err)
	}
	b.spooled.Add(int64(len(reports)))
	b.below.Signal(keys)
	return nil
}

// millis is the monotonic age of the box.
func (b *Box) millis() int64 { return time.Since(b.begun).Milliseconds() }

func (b *Box) unreadDir() string { return filepath.Join(b.cfg.Dir, unreadName) }
