package v1

import (
	"context"
	"errors"
	"time"

	"rollcall/ask"
	"rollcall/edge/gateway"
	"rollcall/internal/api"
	"rollcall/presence"
	"rollcall/watch"
)

// watch follows peers: the first time with the token of an earlier watch, later more of them.
func (w *wire) watch(ctx context.Context, s *gateway.Socket, m *message) error {
	limit := w.door.deps.Hub.Config().Peers
	if len(m.Peers) > limit {
		return api.Errorf("too_many_peers", "one watcher may follow %d peers", limit).WithLimit(limit)
	}
	// Paid for before there is room, for the message was read either way.
	if err := w.caller.TakeIDs(len(m.Peers)); err != nil {
		return err
	}
	w.mu.Lock()
	watcher := w.watcher
	w.mu.Unlock()
	if err := w.hold(len(m.Peers)); err != nil {
		w.settle(watcher)
		return err
	}
	err := w.follow(ctx, s, watcher, m)
	if err != nil {
		w.settle(watcher)
	}
	return err
}

// follow has watcher follow the peers of m, for which there is room; nil has it made.
func (w *wire) follow(ctx context.Context, s *gateway.Socket, watcher *watch.Watcher, m *message) error {
	if err := api.CheckPeers(m.Peers); err != nil {
		return err
	}
	if watcher != nil && w.caller.Pass != nil && w.caller.Pass.Bound {
		return api.Errorf("forbidden", "this ticket was bought for one list of peers, which is followed already")
	}
	if err := w.caller.MayWatch(m.Peers); err != nil {
		return err
	}
	if watcher != nil {
		if err := watcher.Add(ctx, m.Peers); err != nil {
			return refusal(err)
		}
		w.settle(watcher) // peers named twice count once
		return nil
	}
	watcher, err := w.door.deps.Hub.Watch(ctx, ask.ViewOf(w.caller.App.ID, w.caller.Master(), w.caller.Peer()), m.Peers, w.detail(), m.Since)
	if errors.Is(err, watch.ErrLimit) {
		// The peers are few enough.
		return api.Errorf("too_many_watchers", "%v", err).WithRetry(5 * time.Second)
	}
	if err != nil {
		return refusal(err)
	}
	w.mu.Lock()
	if w.gone {
		w.mu.Unlock()
		watcher.Close(watch.ReasonGone)
		return nil
	}
	w.watcher = watcher
	w.mu.Unlock()
	w.settle(watcher) // peers named twice count once
	w.door.writers.Go(func() { w.write(s, watcher) })
	return nil
}

// detail returns how much the client may see of a peer.
func (w *wire) detail() presence.Detail {
	if w.caller.Detailed() {
		return presence.DetailFull
	}
	return presence.DetailBrief
}

func (w *wire) unwatch(m *message) error {
	if err := api.CheckPeers(m.Peers); err != nil {
		return err
	}
	w.mu.Lock()
	watcher := w.watcher
	w.mu.Unlock()
	if watcher != nil {
		watcher.Remove(m.Peers)
		w.settle(watcher)
	}
	return nil
}

// hold takes a share of what the node may watch for n peers more.
func (w *wire) hold(n int) (err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return refusal(watch.ErrClosed)
	}
	if w.share == nil {
		if w.share, err = w.caller.Watch(); err != nil {
			w.share = nil
			return err
		}
	}
	return w.share.Add(n)
}

// settle gives back what of the share watcher does not need; nil needs nothing.
func (w *wire) settle(watcher *watch.Watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if watcher == nil {
		w.share.Release()
		w.share = nil
		return
	}
	if w.share != nil {
		w.share.Settle(watcher.Len())
	}
}

func refusal(err error) error {
	switch {
	case errors.Is(err, watch.ErrLimit):
		return api.Errorf("too_many_peers", "%v", err)
	case errors.Is(err, watch.ErrClosed):
		return api.Errorf("shutting_down", "the server is going; connect again")
	case err != nil:
		return api.Errorf("unavailable", "the store did not answer; trying again is safe")
	}
	return nil
}
