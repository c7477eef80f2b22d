package changeout

import (
	"context"
	"errors"
	"time"

	"rollcall/feed"
)

const (
	claimLife  = 10 * time.Second // how long a claim lasts that is not renewed
	claimEvery = 3 * time.Second
	keepEvery  = time.Second     // how often the cursor is kept while it moves
	readWait   = 5 * time.Second // for a change
	retryEvery = time.Second     // after a failure of the store
	roomEvery  = 20 * time.Millisecond
)

// run sends to r whenever this node has the claim to, until r is removed or the sender closes.
func (s *Sender) run(r *receiver) {
	for r.ctx.Err() == nil {
		if s.deps.Service.Claim(r.ctx, claimOf(r), claimLife) {
			if err := s.serve(r); err != nil && r.ctx.Err() == nil && !errors.Is(err, errTaken) {
				s.logReading(r, err)
			}
		}
		pause(r.ctx, retryEvery)
	}
}

// serve sends to r until another node does, or that is over.
func (s *Sender) serve(r *receiver) error {
	journaled := ""
	if r.found != nil {
		journaled = r.found.Term
	}
	c, err := s.take(r.ctx, r, journaled, newTerm())
	if err != nil {
		return err
	}
	from := s.begin(r, c)
	s.deps.Log.Info("sending changes", "receiver", r.ID)
	ctx, cancel := context.WithCancel(r.ctx)
	read := make(chan struct{})
	go func() {
		defer close(read)
		s.read(ctx, r, from)
	}()
	err = s.hold(r)
	cancel()
	<-read
	switch {
	case s.ctx.Err() != nil: // what waits is still sent, or kept
	case r.ctx.Err() != nil:
		s.leave(r)
		s.end(r)
	default:
		s.end(r)
		s.deps.Log.Info("changes sent by another node", "receiver", r.ID)
	}
	return err
}

// hold keeps the claim and the cursor of r until another node has them, or that is over.
func (s *Sender) hold(r *receiver) error {
	claimed := time.Now()
	t := time.NewTicker(claimEvery)
	defer t.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return nil
		case <-r.taken:
		case <-t.C:
		}
		if time.Since(claimed) >= claimEvery {
			if !s.deps.Service.Claim(r.ctx, claimOf(r), claimLife) {
				return errTaken
			}
			claimed = time.Now()
		}
		switch err := s.keepCursor(r.ctx, r); {
		case errors.Is(err, errTaken):
			return err
		case err != nil && r.ctx.Err() == nil:
			s.logReading(r, err)
		}
		pause(r.ctx, keepEvery) // what is taken meanwhile is kept together
	}
}

// read queues what changes after from until ctx ends.
func (s *Sender) read(ctx context.Context, r *receiver, from feed.Cursor) {
	w := &walk{s: s, r: r}
	for ctx.Err() == nil {
		s.room(ctx, r)
		wait := w.wait(readWait)
		page, err := s.deps.Feed.Read(ctx, r.App, from, maxBatch, wait)
		if err == nil {
			err = s.queue(ctx, w, from, &page)
		}
		if err == nil {
			err = w.look(ctx)
		}
		if err != nil {
			if ctx.Err() == nil {
				s.logReading(r, err)
			}
			pause(ctx, retryEvery)
			continue
		}
		from = page.Cursor
	}
}

// room waits until half of what may wait for r is free, as long as r takes what it is sent: the
// register and the store keep the last states meanwhile. A receiver that fails fills its queue.
func (s *Sender) room(ctx context.Context, r *receiver) {
	for ctx.Err() == nil {
		r.mu.Lock()
		full := r.bytes > r.settings.Load().MaxBytes/2 && r.failing == 0
		r.mu.Unlock()
		if !full {
			return
		}
		pause(ctx, roomEvery)
	}
}

// queue queues what a read after from has returned.
func (s *Sender) queue(ctx context.Context, w *walk, from feed.Cursor, page *feed.Page) error {
	r := w.r
	if !page.ListAgain {
		s.add(r, w.newer(page), page.Cursor)
		return nil
	}
	why := storeWas
	switch {
	case from.IsZero():
		why = first
	case !s.deps.Shared || from.Epoch() == page.Cursor.Epoch():
		return w.walk(ctx, from, page.Cursor)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read = page.Cursor
	s.listAgain(r, why)
	return nil
}

func (s *Sender) logReading(r *receiver, err error) {
	if more, due := r.lines.reading.Due(time.Now().UnixMilli()); due {
		s.deps.Log.Warn("reading changes failed; will retry", "receiver", r.ID, "err", err, "more", more)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
