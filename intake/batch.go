package intake

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"rollcall/presence"
)

// A Batch is the events of one call, all received at the same time. One goroutine fills and sends
// it.
type Batch struct {
	in      *Intake
	from    Sender
	now     presence.Millis
	seen    int // events, usable or not
	reports []presence.Report
	tally   Tally
}

// Batch opens a batch of about n events of from, received now.
func (in *Intake) Batch(from Sender, n int) *Batch {
	return &Batch{in: in, from: from, now: in.Now(), reports: make([]presence.Report, 0, n)}
}

// AddJSON adds an event in the generic JSON, see [ParseEvent]. One that cannot be used is ignored.
func (b *Batch) AddJSON(raw []byte) {
	if e, err := ParseEvent(raw); err != nil {
		b.Ignore(err)
	} else {
		b.Add(&e)
	}
}

// AddMade is [Batch.AddJSON] for an object that this program wrote.
func (b *Batch) AddMade(raw []byte) {
	if e, err := parseMade(raw); err != nil {
		b.Ignore(err)
	} else {
		b.Add(&e)
	}
}

// Add adds an event. One that cannot be used is ignored.
func (b *Batch) Add(e *Event) {
	r := b.from.report(e, b.now)
	if err := validate(&r); err != nil {
		b.Ignore(err)
		return
	}
	b.in.receipts.stamp(&r, b.now)
	b.seen++
	b.reports = append(b.reports, r)
}

// Reports returns the events that were added, as they will be counted.
func (b *Batch) Reports() []presence.Report { return b.reports }

// Ignore counts an event that err makes unusable, in place of adding it.
func (b *Batch) Ignore(err error) {
	b.tally.ignore(b.seen, err)
	b.seen++
}

// Send counts the events and returns what became of them. When the error is nil, every event that
// was accepted is kept. Otherwise it matches presence.ErrUnavailable or presence.ErrFull, and some
// may be counted: the caller sends all again.
func (b *Batch) Send(ctx context.Context) (Tally, error) {
	err := b.in.send(ctx, b.reports, b.now, &b.tally)
	return b.tally, err
}

const (
	reportsAtOnce = 500 // in one update of the store
	batchesAtOnce = 4
)

// send counts reports in t. Each online or touch that names a node is a heartbeat of it, if it has
// sent one before.
func (in *Intake) send(ctx context.Context, reports []presence.Report, now presence.Millis, t *Tally) error {
	a, err := in.Service.Attend(ctx, reports, now, in.nodes.lease)
	if err != nil {
		return err
	}
	if err := in.countAll(ctx, reports, now, t); err != nil {
		return err
	}
	return in.Service.Attended(ctx, a, reports, now)
}

func (in *Intake) countAll(ctx context.Context, reports []presence.Report, now presence.Millis, t *Tally) error {
	batches := slices.Collect(slices.Chunk(reports, reportsAtOnce))
	if len(batches) <= 1 {
		return in.count(ctx, reports, now, t)
	}
	// Several at a time, since a remote store is waited for more than it works. Reports are merged
	// alike in any order.
	tallies, errs := make([]Tally, batchesAtOnce), make([]error, batchesAtOnce)
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range batchesAtOnce {
		wg.Go(func() {
			for errs[w] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(batches) {
					return
				}
				errs[w] = in.count(ctx, batches[n], now, &tallies[w])
			}
		})
	}
	wg.Wait()
	for i := range tallies {
		t.add(&tallies[i])
	}
	return errors.Join(errs...)
}

// count applies reports in one call and adds what became of them to t.
func (in *Intake) count(ctx context.Context, reports []presence.Report, now presence.Millis, t *Tally) error {
	out := make([]presence.Outcome, len(reports))
	if err := in.Service.Report(ctx, reports, now, out); err != nil {
		return err
	}
	for i := range out {
		t.count(out[i].Verdict)
	}
	return nil
}
