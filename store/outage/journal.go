package outage

import (
	"context"
	"time"

	"rollcall/presence"
)

// journalLimit is how many reports the journal holds; older ones go first.
const journalLimit = 1 << 18

type journaled struct {
	at int64 // ms of the age of the box
	Record
}

// Acknowledged notes reports that the store has taken.
func (b *Box) Acknowledged(reports []presence.Report, now presence.Millis) {
	records := make([]Record, len(reports))
	for i := range reports {
		records[i] = Record{now, reports[i]}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.note(records)
}

// note is Acknowledged for records. The caller holds the lock.
func (b *Box) note(records []Record) {
	at := b.millis()
	for i := range records {
		b.journal = append(b.journal, journaled{at, records[i]})
	}
	over := at - b.cfg.Journal.Milliseconds()
	for b.start < len(b.journal) && (b.journal[b.start].at < over || len(b.journal)-b.start > journalLimit) {
		b.journal[b.start] = journaled{}
		b.start++
	}
	if b.start > 1024 && b.start > len(b.journal)/2 {
		b.journal = append(b.journal[:0], b.journal[b.start:]...)
		b.start = 0
	}
}

// Reassert applies the journal once more: the store may have lost what it acknowledged. Reports are
// idempotent: a session is named, and a delivery of a hook has an id. away is for how long the
// store could take nothing: the journal stood still meanwhile. It returns the first error that is
// more than a peer that cannot be written now; then call it again.
func (b *Box) Reassert(ctx context.Context, away time.Duration) error {
	b.mu.Lock()
	over := b.millis() - (b.cfg.Journal + away).Milliseconds()
	var list []Record
	for _, j := range b.journal[b.start:] {
		if j.at >= over {
			list = append(list, j.Record)
		}
	}
	b.mu.Unlock()
	for len(list) > 0 {
		n := min(len(list), replayBatch)
		for _, err := range b.below.Replay(ctx, list[:n]) {
			if err == nil {
				continue
			}
			if waits, _ := b.below.Waits(err); !waits {
				return err
			}
		}
		b.asserted.Add(int64(n))
		list = list[n:]
	}
	return nil
}
