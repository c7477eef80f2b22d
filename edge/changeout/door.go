package changeout

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"rollcall/feed"
	"rollcall/internal/api"
	"rollcall/internal/outbox"
)

// A door makes calls of the events in the box.
type door struct{ s *Sender }

// Key has the events of a receiver follow one another.
func (door) Key(e *Event) string { return e.Receiver }

// Encode writes e as JSON.
func (door) Encode(e *Event) ([]byte, error) { return json.Marshal(e) }

// Ready has what waits stay until this node sends to its receiver.
func (d door) Ready(e *Event) bool {
	r := e.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sends.Load() {
		r.waits = e
		return false
	}
	return true
}

// Unkept logs that a restart will find what waits in the store only.
func (d door) Unkept(err error) {
	if more, due := d.s.unkept.Due(time.Now().UnixMilli()); due {
		d.s.deps.Log.Error("changes journal write failed; a restart sends the last state of peers only", "err", err, "more", more)
	}
}

// Send posts a batch until it is taken, refused, too old, or dropped.
func (d door) Send(t *outbox.Turn, batch []*Event) bool {
	r := batch[0].r
	return t.Retry(func() outbox.Progress { return d.s.attempt(t, r, batch) })
}

// attempt makes one call.
func (s *Sender) attempt(t *outbox.Turn, r *receiver, batch []*Event) outbox.Progress {
	again := batch[0].Change == nil
	if s.tooOld(r, batch[0]) {
		return s.giveUp(t, r, tooOld)
	}
	result, status, err := s.post(r, batch)
	if s.ctx.Err() != nil && result == outbox.Failed {
		return outbox.Again // and the pause finds it closed
	}
	r.count.calls.Add(1)
	if result == outbox.Taken {
		s.taken(r, batch)
		return outbox.Over
	}
	r.mu.Lock()
	if r.failing == 0 {
		r.failing = s.deps.Now()
	}
	r.mu.Unlock()
	if result == outbox.Refused {
		r.count.refused.Add(1)
		if more, due := r.lines.refused.Due(time.Now().UnixMilli()); due {
			s.deps.Log.Warn("changes refused by the receiver", "receiver", r.ID, "status", status, "more", more)
		}
		if !again {
			return s.giveUp(t, r, refused)
		}
		return outbox.Again // that it must list again is sent until it is taken
	}
	r.count.failed.Add(1)
	if more, due := r.lines.failed.Due(time.Now().UnixMilli()); due {
		s.deps.Log.Warn("changes failed; will retry", "receiver", r.ID, "status", status, "err", err, "more", more)
	}
	return outbox.Again
}

// tooOld reports whether a change has waited for r longer than it may; head is the first that
// waits.
func (s *Sender) tooOld(r *receiver, head *Event) bool {
	if head.Change == nil {
		if queue := s.box.Queue(r.ID); len(queue) > 1 {
			head = queue[1]
		}
	}
	return head.Change != nil && s.deps.Now().Sub(head.At) > r.settings.Load().GiveUp
}

// giveUp has r list again in the place of what waits.
func (s *Sender) giveUp(t *outbox.Turn, r *receiver, why reason) outbox.Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !t.Dropped() {
		s.listAgain(r, why)
	}
	return outbox.Over
}

// taken counts what r has taken.
func (s *Sender) taken(r *receiver, batch []*Event) {
	for _, e := range batch {
		if e.Change == nil {
			r.count.again.Add(1)
		} else {
			r.count.delivered.Add(1)
		}
	}
	r.mu.Lock()
	r.failing = 0
	r.mu.Unlock()
}

// Done moves the cursor behind what is over.
func (d door) Done(batch []*Event, remove func()) {
	r := batch[0].r
	r.mu.Lock()
	defer r.mu.Unlock()
	remove()
	defer r.taken.Wake()
	for _, e := range batch {
		if e.dropped {
			continue
		}
		r.bytes -= e.size()
		r.moved = true
		if at, err := feed.ParseCursor(e.Cursor); err == nil && !r.walking {
			r.sent = at
		}
	}
}

// post makes one call with batch. Each has a time of its own, so that no two signatures are the
// same.
func (s *Sender) post(r *receiver, batch []*Event) (outbox.Result, int, error) {
	now := s.deps.Now()
	body := bodyOf(r.App, batch, now)
	settings := r.settings.Load()
	u, err := url.Parse(settings.URL)
	if err != nil {
		return outbox.Failed, 0, fmt.Errorf("read the url: %w", err)
	}
	// By the wall clock, as the receiver compares it with its own.
	stamp := fmt.Sprintf("%d.%09d", time.Now().Unix(), rand.IntN(1_000_000_000))
	header := http.Header{}
	header.Set(api.TimeHeader, stamp)
	header.Set(api.SignatureHeader, signatures(settings, stamp, u.RequestURI(), body))
	header.Set("User-Agent", s.deps.UserAgent)
	ctx, cancel := context.WithTimeout(s.box.Context(), settings.Timeout)
	defer cancel()
	return outbox.Post(ctx, r.client, settings.URL, header, body)
}

// signatures returns the signature of a call by the secret of r, and by the old one beside it.
func signatures(r *Receiver, stamp, target string, body []byte) string {
	text := "v2=" + hex.EncodeToString(api.Sign(r.Secret, stamp, http.MethodPost, target, body))
	if r.SecretOld != "" {
		text += ",v2=" + hex.EncodeToString(api.Sign(r.SecretOld, stamp, http.MethodPost, target, body))
	}
	return text
}
