package watch

import (
	"rollcall/ask/token"
	"rollcall/presence"
)

// since prepares a watcher that knows the token text to be sent only what may be newer; it reports
// false when it cannot. The caller holds mu.
func (w *Watcher) since(text string, slots []int32) bool {
	t, ok := w.hub.deps.Tokens.Open(w.app, text)
	if ok && w.detail == presence.DetailBrief {
		return w.sinceKnown(t, slots)
	}
	now := w.hub.deps.Now()
	if !ok || t.Detail != presence.DetailFull || t.Epoch != w.hub.deps.Service.Epoch() || t.List != w.list || t.Horizon > w.hub.deps.Service.Horizon(now) {
		return false
	}
	var unknown uint64
	for _, s := range slots {
		if u := w.slots[s].e.update.Load(); u.Status == presence.Unknown {
			unknown ^= token.Fingerprint(string(u.Peer))
		}
	}
	for _, s := range slots {
		sl := &w.slots[s]
		u := sl.e.update.Load()
		if u.Status == presence.Unknown && unknown == t.Unknown {
			w.notified(sl, token.SentUnknown)
			continue
		}
		if u.Status == presence.Unknown || sl.e.need.Load() > t.Horizon {
			sl.state |= isFresh
			w.fresh = append(w.fresh, s)
		}
	}
	w.resumed = true
	return true
}

// sinceKnown is since for a client that sees only statuses: it is notified of those that differ,
// however often they turned meanwhile.
func (w *Watcher) sinceKnown(t token.Token, slots []int32) bool {
	if t.Detail != presence.DetailBrief || t.List != w.list {
		return false
	}
	if w.known == nil {
		var digest uint64
		for _, s := range slots {
			u := w.slots[s].e.update.Load()
			digest ^= token.Digest(u.Peer, token.CodeOf(u.Status))
		}
		if t.Known != token.DigestText(digest) {
			return false
		}
		for _, s := range slots {
			sl := &w.slots[s]
			w.notified(sl, token.CodeOf(sl.e.update.Load().Status))
		}
		w.resumed = true
		return true
	}
	was := token.Known(t.Known)
	if len(was) != len(w.known) {
		return false
	}
	for _, s := range slots {
		sl := &w.slots[s]
		if w.notified(sl, was.At(int(sl.rank)-1)); sl.sent != token.CodeOf(sl.e.update.Load().Status) {
			sl.state |= isFresh
			w.fresh = append(w.fresh, s)
		}
	}
	w.resumed = true
	return true
}

// arrange makes known, or digest, of what the slots say; it is due when the list has changed. The
// caller holds mu.
func (w *Watcher) arrange() {
	if w.detail != presence.DetailBrief {
		return
	}
	w.known, w.digest, w.ranked, w.knownAs = nil, 0, w.list, ""
	if w.count > token.ExactPeers {
		for i := range w.slots {
			if sl := &w.slots[i]; sl.e != nil {
				sl.rank = 0
				w.digest ^= token.Digest(sl.e.key.Peer, sl.sent)
			}
		}
		return
	}
	places := make([]int, 0, w.count)
	for i := range w.slots {
		if w.slots[i].e != nil {
			places = append(places, i)
		}
	}
	token.Rank(places, func(i int) string { return string(w.slots[i].e.key.Peer) })
	w.known = token.NewKnown(len(places))
	for rank, i := range places {
		w.slots[i].rank = uint16(rank + 1)
		w.known.Set(rank, w.slots[i].sent)
	}
}

// notified takes note that the client is notified that the peer of sl is what code says. The caller
// holds mu.
func (w *Watcher) notified(sl *slot, code token.Code) {
	if sl.sent == code {
		return
	}
	if sl.sent == token.SentUnknown || code == token.SentUnknown {
		w.unknown ^= token.Fingerprint(string(sl.e.key.Peer))
	}
	if w.detail == presence.DetailBrief {
		w.knownAs = ""
		switch {
		case w.known == nil:
			w.digest ^= token.Digest(sl.e.key.Peer, sl.sent) ^ token.Digest(sl.e.key.Peer, code)
		case sl.rank > 0: // else it has just been added, and will be arranged
			w.known.Set(int(sl.rank)-1, code)
		}
	}
	sl.sent = code
}
