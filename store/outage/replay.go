package outage

import (
	"context"
	"time"

	"rollcall/internal/spool"
	"rollcall/presence"
)

const (
	replayBatch = 256
	// lookAgain is how long records that have to wait are left alone when nothing shows that they
	// may go.
	lookAgain = 4 * time.Second
	// heldAgain is the same for those that only a later release can write.
	heldAgain = 30 * time.Second
)

// A cursor is how far the spool is drained. Records that have to wait, for a primary out of reach
// or for a later release, do not hold up those behind them.
type cursor struct {
	at    spool.ID              // behind it no record was looked at
	held  map[spool.ID]struct{} // records that a later release has to write
	whole time.Time             // when all were looked at last
}

// Again has the next Drain look at all records that wait: some may go now.
func (b *Box) Again() { b.again.Store(true) }

// Drain applies what is in the spool, in order, and lets reports take the direct road again when it
// is empty. It reports whether nothing is left but what has to wait. It goes on until ctx ends.
func (b *Box) Drain(ctx context.Context) bool {
	if b.spool == nil {
		b.on.Store(false)
		return true
	}
	c := &b.cursor
	every := lookAgain
	if b.Waiting() == 0 {
		every = heldAgain
	}
	if b.again.Swap(false) || time.Since(c.whole) > every {
		c.at, c.whole = 0, time.Now()
	}
	for {
		if ctx.Err() != nil {
			return false
		}
		records, err := b.spool.Next(c.at, replayBatch)
		if err != nil {
			b.log.Error("spool cannot be read", "err", err)
			return false
		}
		if len(records) == 0 {
			if b.drained() {
				return true
			}
			continue
		}
		if !b.deliver(ctx, records) {
			return false
		}
	}
}

// drained ends a walk through the spool; it reports false when there is more by now.
func (b *Box) drained() bool {
	b.turn.close()
	defer b.turn.open()
	if more, err := b.spool.Next(b.cursor.at, 1); err != nil || len(more) > 0 {
		return err != nil
	}
	if b.spool.Len() > 0 {
		return true
	}
	// No report is between the overlay and the spool now, so what is in the overlay is left over;
	// nothing should be.
	b.mu.Lock()
	clear(b.overlay)
	b.layers.Store(0)
	b.mu.Unlock()
	b.on.Store(false)
	return true
}

// deliver applies a batch of records, and acknowledges those that need not wait.
func (b *Box) deliver(ctx context.Context, records []spool.Record) bool {
	c := &b.cursor
	var list []Record
	var ids, gone []spool.ID // of list; to be acknowledged
	for _, raw := range records {
		r, err := decodeRecord(raw.Data)
		if err == nil {
			list, ids = append(list, r), append(ids, raw.ID)
		} else if b.setAside(raw.Data, err) {
			gone = append(gone, raw.ID)
		}
	}
	errs := b.below.Replay(ctx, list)
	b.pause("after the replay")
	var applied []Record
	for k := range list {
		delete(c.held, ids[k])
		if errs == nil || errs[k] == nil {
			gone = append(gone, ids[k])
			applied = append(applied, list[k])
			continue
		}
		waits, held := b.below.Waits(errs[k])
		if !waits {
			b.log.Debug("spool waits", "err", errs[k])
			return false
		}
		b.keep(&list[k], ids[k], held)
	}
	b.held.Store(int64(len(c.held)))
	if err := b.spool.Ack(gone...); err != nil {
		b.log.Error("spool cannot be emptied", "err", err)
		return false
	}
	c.at = records[len(records)-1].ID
	b.replayed.Add(int64(len(applied)))
	b.lift(applied)
	return true
}

// keep leaves a record in the spool.
func (b *Box) keep(r *Record, id spool.ID, held bool) {
	c := &b.cursor
	if held {
		if c.held == nil {
			c.held = map[spool.ID]struct{}{}
		}
		c.held[id] = struct{}{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.overlay[r.Report.Key()]; l != nil {
		l.held = held
	}
}

// lift takes out of the overlay what the store holds now, and has the listeners look again: what
// they have was from the overlay.
func (b *Box) lift(applied []Record) {
	if len(applied) == 0 {
		return
	}
	keys := make([]presence.Key, len(applied))
	b.mu.Lock()
	b.note(applied)
	for i := range applied {
		keys[i] = applied[i].Report.Key()
		if l := b.overlay[keys[i]]; l != nil {
			l.held = false
			l.drop(&applied[i])
			b.leave(keys[i], l)
		}
	}
	b.mu.Unlock()
	b.below.Signal(keys)
}
