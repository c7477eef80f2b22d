package watch

import "rollcall/presence"

// since prepares a watcher that knows token to be sent only what may be newer; it reports false when it cannot. The
// caller holds mu.
func (w *Watcher) since(token string, slots []int32) bool {
	t, ok := w.hub.cfg.Tokens.Open(w.app, token)
	if ok && w.detail == Brief {
		return w.sinceKnown(t, slots)
	}
	now := w.hub.cfg.Now()
	if !ok || t.Detail != Full || t.Epoch != w.hub.service.Epoch() || t.List != w.list || t.Horizon > w.hub.service.Horizon(now) {
		return false
	}
	var unknown uint64
	for _, s := range slots {
		if u := w.slots[s].e.update.Load(); u.Status == presence.Unknown {
			unknown ^= Fingerprint(string(u.Peer))
		}
	}
	for _, s := range slots {
		sl := &w.slots[s]
		u := sl.e.update.Load()
		if u.Status == presence.Unknown && unknown == t.Unknown {
			w.notified(sl, sentUnknown)
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

// sinceKnown is since for a client that sees only statuses: it is notified of those that differ, however often they turned meanwhile.
func (w *Watcher) sinceKnown(t Token, slots []int32) bool {
	if t.Detail != Brief || t.List != w.list {
		return false
	}
	if w.known == nil {
		var digest uint64
		for _, s := range slots {
			u := w.slots[s].e.update.Load()
			digest ^= digestOf(u.Peer, codeOf(u.Status))
		}
		if t.Known != digestText(digest) {
			return false
		}
		for _, s := range slots {
			sl := &w.slots[s]
			w.notified(sl, codeOf(sl.e.update.Load().Status))
		}
		w.resumed = true
		return true
	}
	was := known(t.Known)
	if len(was) != len(w.known) {
		return false
	}
	for _, s := range slots {
		sl := &w.slots[s]
		if w.notified(sl, was.at(int(sl.rank)-1)); sl.sent != codeOf(sl.e.update.Load().Status) {
			sl.state |= isFresh
			w.fresh = append(w.fresh, s)
		}
	}
	w.resumed = true
	return true
}

// arrange makes known, or digest, of what the slots say; it is due when the list has changed. The caller holds mu.
func (w *Watcher) arrange() {
	if w.detail != Brief {
		return
	}
	w.known, w.digest, w.ranked, w.knownAs = nil, 0, w.list, ""
	if w.count > exactPeers {
		for i := range w.slots {
			if sl := &w.slots[i]; sl.e != nil {
				sl.rank = 0
				w.digest ^= digestOf(sl.e.key.Peer, sl.sent)
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
	ranks(places, func(i int) string { return string(w.slots[i].e.key.Peer) })
	w.known = newKnown(len(places))
	for rank, i := range places {
		w.slots[i].rank = uint16(rank + 1)
		w.known.set(rank, w.slots[i].sent)
	}
}

// notified takes note that the client is notified that the peer of sl is what code says. The caller holds mu.
func (w *Watcher) notified(sl *slot, code uint8) {
	if sl.sent == code {
		return
	}
	if sl.sent == sentUnknown || code == sentUnknown {
		w.unknown ^= Fingerprint(string(sl.e.key.Peer))
	}
	if w.detail == Brief {
		w.knownAs = ""
		switch {
		case w.known == nil:
			w.digest ^= digestOf(sl.e.key.Peer, sl.sent) ^ digestOf(sl.e.key.Peer, code)
		case sl.rank > 0: // else it has just been added, and will be arranged
			w.known.set(int(sl.rank)-1, code)
		}
	}
	sl.sent = code
}
