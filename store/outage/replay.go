package outage

import (
	"time"

	"rollcall/presence"
)

const (
	replayBatch = 256
	// lookAgain is how long records that have to wait are left alone when nothing says that they may go.
	lookAgain = 4 * time.Second
	// heldAgain is the same for those that only a later release can write.
	heldAgain = 30 * time.Second
)

// A cursor is how far the spool is drained. Records that have to wait, for a primary out of reach or for a later release, do not
// hold up those behind them.
type cursor struct {
	at, head int64              // behind at no record was looked at; before head none waits
	done     map[int64]struct{} // where records begin that are applied while an older one waits
	held     map[int64]struct{} // where records begin that a later release has to write
	whole    time.Time          // when all were looked at last
}

// Again has the next Drain look at all records that wait: some may go now.
func (b *Box) Again() { b.again.Store(true) }

// Drain applies what is in the spool, in order, and lets reports take the direct road again when it is empty. It reports
// whether nothing is left but what has to wait. It goes on until stop is closed.
func (b *Box) Drain(stop <-chan struct{}) bool {
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
		select {
		case <-stop:
			return false
		default:
		}
		records, from, ends, err := b.spool.Peek(c.at, replayBatch)
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
		if c.at == 0 {
			c.head = from
		}
		if !b.deliver(records, from, ends) {
			return false
		}
	}
}

// drained ends a walk through the spool; it reports false when there is more by now.
func (b *Box) drained() bool {
	b.turn.close()
	defer b.turn.open()
	if more, _, _, err := b.spool.Peek(b.cursor.at, 1); err != nil || len(more) > 0 {
		return err != nil
	}
	if b.spool.Len() > 0 {
		return true
	}
	// No report is between the overlay and the spool now, so what is in the overlay is left over; nothing should be.
	b.mu.Lock()
	clear(b.overlay)
	b.layers.Store(0)
	b.mu.Unlock()
	b.on.Store(false)
	return true
}

// deliver applies a batch of records, and takes those off the spool before which none waits.
func (b *Box) deliver(records [][]byte, from int64, ends []int64) bool {
	c := &b.cursor
	begins := append([]int64{from}, ends...)
	var list []Record
	var index []int // in the batch
	gone := make([]bool, len(records))
	for i, raw := range records {
		if _, gone[i] = c.done[begins[i]]; gone[i] {
			continue
		}
		r, err := decodeRecord(raw)
		if err != nil {
			gone[i] = b.setAside(raw, err)
			continue
		}
		list = append(list, r)
		index = append(index, i)
	}
	errs := b.below.Replay(list)
	b.pause("after the replay")
	var applied []Record
	for k := range list {
		begin := begins[index[k]]
		delete(c.held, begin)
		if errs == nil || errs[k] == nil {
			gone[index[k]] = true
			applied = append(applied, list[k])
			continue
		}
		waits, held := b.below.Waits(errs[k])
		if !waits {
			b.log.Debug("spool waits", "err", errs[k])
			return false
		}
		b.keep(&list[k], begin, held)
	}
	if err := b.advance(gone, begins); err != nil {
		b.log.Error("spool cannot be emptied", "err", err)
		return false
	}
	b.replayed.Add(int64(len(applied)))
	b.lift(applied)
	return true
}

// keep leaves a record in the spool.
func (b *Box) keep(r *Record, begin int64, held bool) {
	c := &b.cursor
	if held {
		if c.held == nil {
			c.held = map[int64]struct{}{}
		}
		c.held[begin] = struct{}{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if l := b.overlay[r.Report.Key()]; l != nil {
		l.held = held
	}
}

// advance takes what is gone off the head of the spool, as far as none waits before it, and notes the rest.
func (b *Box) advance(gone []bool, begins []int64) error {
	c := &b.cursor
	c.at = begins[len(gone)]
	n := 0
	if c.head == begins[0] {
		for n < len(gone) && gone[n] {
			delete(c.done, begins[n])
			n++
		}
	}
	for i := n; i < len(gone); i++ {
		if gone[i] {
			if c.done == nil {
				c.done = map[int64]struct{}{}
			}
			c.done[begins[i]] = struct{}{}
		}
	}
	defer func() {
		b.applied.Store(int64(len(c.done)))
		b.held.Store(int64(len(c.held)))
	}()
	if n == 0 {
		return nil
	}
	c.head = begins[n]
	moved, err := b.spool.Advance(n, begins[n])
	c.move(moved)
	return err
}

// move follows the spool into a new file, or to the beginning of it.
func (c *cursor) move(by int64) {
	if by == 0 {
		return
	}
	c.at, c.head = c.at-by, c.head-by
	for _, set := range []*map[int64]struct{}{&c.done, &c.held} {
		was := *set
		*set = make(map[int64]struct{}, len(was))
		for begin := range was {
			(*set)[begin-by] = struct{}{}
		}
	}
}

// lift takes out of the overlay what the store holds now, and has the listeners look again: what they have was from the overlay.
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
