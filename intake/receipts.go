package intake

import (
	"sync"
	"time"

	"rollcall/presence"
)

// receipts give events without a time the time of receipt, so that those of one session count in
// the order of arrival: a tie is won by online, and a logout in the millisecond of its login would
// be late. They remember what came in this millisecond only; a session of which different reports
// come in it runs ahead of the clock by one for each.
type receipts struct {
	mu   sync.Mutex
	last map[receiptKey]receipt
	top  presence.Millis // the greatest in last
	room int             // how many to remember before the old ones are removed
}

type receiptKey struct {
	app     presence.AppID
	peer    presence.PeerID
	session presence.SessionID
}

type receipt struct {
	at      presence.Millis
	content content
}

// content is what a later report of the same time would have to differ in to be news.
type content struct {
	ended bool
	node  presence.NodeID
	lease time.Duration
}

const leastReceipts = 4096

// stamp gives r, which arrived at now, its time when its source names the session and no time.
func (s *receipts) stamp(r *presence.Report, now presence.Millis) {
	if !r.Received || r.Session == "" || r.Kind == presence.KindEndAll {
		return
	}
	key := receiptKey{r.App, r.Peer, r.Session}
	n := receipt{now, content{r.Kind == presence.KindOffline, r.Node, r.Lease}}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.last == nil || now > s.top:
		s.last, s.room = map[receiptKey]receipt{}, leastReceipts
	case len(s.last) >= s.room:
		for k, old := range s.last {
			if old.at < now {
				delete(s.last, k)
			}
		}
		s.room = max(leastReceipts, 2*len(s.last))
	}
	if old, ok := s.last[key]; ok && old.at >= now {
		n.at = old.at
		if old.content != n.content {
			n.at++
		}
	}
	s.last[key] = n
	s.top = max(s.top, n.at)
	r.At = n.at
}
