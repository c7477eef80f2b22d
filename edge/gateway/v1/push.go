package v1

import (
	"math"
	"time"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/frame"
	"rollcall/presence"
	"rollcall/watch"
)

// write sends the client the batches of its watcher, one at a time: what is not taken yet is
// coalesced into the latest.
func (w *wire) write(s *gateway.Socket, watcher *watch.Watcher) {
	if p := w.caller.Pass; p != nil {
		left := time.Duration(p.Ends()-w.door.deps.Gate.Now()) * time.Millisecond
		defer time.AfterFunc(left, func() { watcher.Close(watch.ReasonExpired) }).Stop()
	}
	t := &pusher{socket: s, form: &forms[w.detail()]}
	watcher.Attach(t)
	for {
		if !w.taken(t, watcher) {
			return
		}
		b, err := watcher.Next(w.door.ctx)
		if err != nil {
			if reason := watcher.Reason(); reason == watch.ReasonShutdown || reason == watch.ReasonExpired {
				s.Send([]byte(`{"op":"bye","reason":"` + string(reason) + `"}`))
			}
			return
		}
		if b.Kind != watch.Stuck {
			t.Push(&b)
		}
	}
}

// A pusher is a socket as the hub writes to it; a push never waits.
type pusher struct {
	socket *gateway.Socket
	form   *watch.Form
	// Bytes that may be on their way: what was when the kernel was asked, and what was sent since.
	unasked int
}

// backlog is how many bytes may be on their way to a client before nothing more is sent: what
// changes meanwhile merges, and there is room for a last message.
const backlog = 32 << 10

// Ready implements [watch.Pusher].
func (t *pusher) Ready() bool {
	if t.unasked > backlog {
		t.unasked = t.socket.Queued()
	}
	return t.unasked <= backlog && t.socket.Pending() == 0
}

// Push implements [watch.Pusher].
func (t *pusher) Push(b *watch.Batch) bool {
	out := b.In(t.form)
	t.unasked += len(out)
	t.socket.SendFrames(out)
	return true
}

// forms make whole frames of batches.
var forms = [...]watch.Form{
	presence.DetailBrief: {Append: func(out []byte, b *watch.Batch) []byte {
		return frame.Wrap(appendBatch(out, b, presence.DetailBrief), len(out), frame.Text)
	}},
	presence.DetailFull: {Append: func(out []byte, b *watch.Batch) []byte {
		return frame.Wrap(appendBatch(out, b, presence.DetailFull), len(out), frame.Text)
	}},
}

// taken waits until the client has taken most of what it was sent; it reports false when the socket
// is gone. One that takes nothing for the stall is closed, with the reason behind what is on its
// way.
func (w *wire) taken(t *pusher, watcher *watch.Watcher) bool {
	const soon, rare = 20 * time.Millisecond, 320 * time.Millisecond
	moved, least := time.Now(), math.MaxInt
	for wait := soon; !t.Ready(); wait = min(wait*2, rare) {
		if n := t.socket.Pending() + t.socket.Queued(); n < least {
			moved, least = time.Now(), n
		}
		if time.Since(moved) >= w.door.deps.Gateway.Config().Stall {
			t.socket.Send([]byte(`{"op":"bye","reason":"slow"}`))
			watcher.Close(watch.ReasonSlow)
			t.socket.Slow()
			return false
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-w.door.ctx.Done():
			timer.Stop()
			return false
		}
		w.mu.Lock()
		gone := w.gone
		w.mu.Unlock()
		if gone {
			return false
		}
	}
	return true
}

// appendBatch appends b as a message.
func appendBatch(out []byte, b *watch.Batch, d presence.Detail) []byte {
	out = append(out, `{"op":"`...)
	out = append(out, b.Kind.String()...)
	out = b.AppendMembers(append(out, `",`...), d)
	if !b.Token.IsZero() {
		out = append(out, `,"token":"`...)
		out, _ = b.Token.AppendText(out)
		out = append(out, '"')
	}
	return append(out, '}')
}
