package watch

import (
	"context"
	"time"

	"rollcall/ask/token"
	"rollcall/presence"
)

// Kind says what a batch is.
type Kind uint8

// The kinds of batch.
const (
	Stuck    Kind = iota // nothing is sent: the watcher's pusher has no room or is not done
	Snapshot             // of peers that are newly watched
	Resume               // updates that may be newer than the token
	Change               // updates that differ from the last
	Mark                 // nothing happened
)

func (k Kind) String() string {
	return [...]string{"stuck", "snapshot", "resume", "change", "mark"}[min(k, Mark)]
}

// A Batch is what a watcher is sent in one frame.
type Batch struct {
	Kind    Kind
	Updates []*Update // valid until the next call of Next
	More    bool      // of a snapshot or a resume: it goes on in the next batch
	// Token is what the watcher knows once it has taken this batch; zero while more is queued.
	Token token.Token
	// Age is how long a part of the store had been out of reach when the watcher, or the peers of
	// this snapshot, were added; of a mark, how long it has been. 0: all of it answers.
	Age time.Duration

	encoder *encoder // encodes it; nil when it has one reader
}

// Next waits for something to send and returns it: as many updates as fit the buffer once encoded,
// the latest of each peer. After a silence of the mark it returns a mark. It does not return what
// was pushed meanwhile. The error is [ErrClosed] once the watcher is closed, or that of ctx.
func (w *Watcher) Next(ctx context.Context) (Batch, error) {
	if w.timer == nil {
		w.timer = time.NewTimer(w.hub.cfg.Mark)
	} else {
		w.timer.Reset(w.hub.cfg.Mark)
	}
	defer w.timer.Stop()
	for {
		if w.stuck {
			w.stuck = false
			return Batch{}, nil
		}
		b := Batch{Updates: w.updates}
		ok, err := w.take(&b)
		if ok {
			w.updates = b.Updates
			w.hub.stats.sent.Add(int64(len(b.Updates)))
			w.hub.stats.batches.Add(1)
		}
		if ok || err != nil {
			return b, err
		}
		w.turn.Unlock()
		silent := false
		select {
		case <-w.wakeup:
		case <-ctx.Done():
			err = ctx.Err()
		case <-w.timer.C:
			silent = true
		}
		w.turn.Lock()
		switch {
		case err != nil:
			return Batch{}, err
		case !silent || w.stuck:
		case time.Since(w.sent) < w.hub.cfg.Mark:
			w.timer.Reset(w.hub.cfg.Mark - time.Since(w.sent))
		default:
			return w.mark()
		}
	}
}

// take puts what is queued into b, if anything is, with its updates in place of those of b; else b
// has no updates.
func (w *Watcher) take(b *Batch) (ok bool, err error) {
	// The watermark comes before the queue: what it promises is queued by now.
	mark := w.hub.watermark.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	*b = Batch{Updates: b.Updates[:0]}
	if !w.closed && w.behind.Load() {
		w.catchUp()
	}
	switch {
	case w.closed:
		return false, ErrClosed
	case len(w.fresh) > 0 || w.greet:
		b.Kind = Snapshot
		if w.resumed {
			b.Kind = Resume
		}
		w.fresh = w.fill(b, w.fresh, isFresh)
		b.More = len(w.fresh) > 0
		b.Age, w.greet = w.age, b.More
		if !b.More {
			w.resumed = false
		}
	case len(w.queue) > 0:
		b.Kind = Change
		if w.queue = w.fill(b, w.queue, isQueued); len(b.Updates) == 0 {
			return false, nil // all that turned has turned back
		}
	default:
		return false, nil
	}
	if len(w.fresh) == 0 && len(w.queue) == 0 {
		w.names(&b.Token, mark)
	}
	return true, nil
}

// fill moves updates of list into b until the buffer is full and returns what is left of it.
func (w *Watcher) fill(b *Batch, list []int32, flag uint8) []int32 {
	room := w.hub.cfg.Buffer
	for i, s := range list {
		sl := &w.slots[s]
		u := sl.e.update.Load()
		code := token.CodeOf(u.Status)
		if flag == isQueued && w.detail == presence.DetailBrief && sl.sent == code {
			sl.state &^= flag
			continue
		}
		room -= u.size
		if room < 0 && len(b.Updates) > 0 {
			return list[:copy(list, list[i:])]
		}
		sl.state &^= flag
		w.notified(sl, code)
		b.Updates = append(b.Updates, u)
	}
	if cap(list) > 256 {
		return nil // a long list is rare; do not keep its memory
	}
	return list[:0]
}

func (w *Watcher) mark() (Batch, error) {
	mark, age := w.hub.watermark.Load(), w.hub.deps.Service.Age()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return Batch{}, ErrClosed
	}
	b := Batch{Kind: Mark, Age: age}
	if len(w.fresh) == 0 && len(w.queue) == 0 && !w.behind.Load() {
		w.names(&b.Token, mark)
	}
	w.hub.stats.marks.Add(1)
	return b, nil
}

// names makes t, which is zero, what the watcher knows. The caller holds mu.
func (w *Watcher) names(t *token.Token, mark *watermark) {
	t.Seal, t.Detail = w.seal, w.detail
	if w.detail == presence.DetailBrief {
		if w.knownAs == "" {
			if w.knownAs = string(w.known); w.known == nil {
				w.knownAs = token.DigestText(w.digest)
			}
		}
		t.List, t.Known = w.ranked, w.knownAs
		return
	}
	t.List, t.Epoch, t.Horizon, t.Unknown = w.list, mark.epoch, mark.horizon, w.unknown
}
