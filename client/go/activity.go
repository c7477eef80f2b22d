package rollcall

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Doing is what the user of a presence does.
type Doing string

// What a user does.
const (
	Foreground Doing = "foreground" // uses the app
	Idle       Doing = "idle"       // has it on the screen
	Background Doing = "background" // has it behind others
)

// An Activity is what the user of a [Presence] does, as the app says it. It may be set by any
// goroutine, also before the peer is present, and is for one Presence. The zero Activity says
// nothing.
type Activity struct {
	mu   sync.Mutex
	word doing
	more chan struct{} // closed by the next Set
}

type doing struct {
	what Doing
	used int64 // Unix milliseconds; 0: not said
}

// Set says what the user does from now on, and when that was last something: the zero time does
// not say. Of words that follow one another within 5 s only the last is sent.
func (a *Activity) Set(what Doing, used time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.word = doing{what: what}
	if !used.IsZero() {
		a.word.used = used.UnixMilli()
	}
	if a.more != nil {
		close(a.more)
		a.more = nil
	}
}

// get returns the last word, and what is closed when there is another.
func (a *Activity) get() (doing, <-chan struct{}) {
	if a == nil {
		return doing{}, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.more == nil {
		a.more = make(chan struct{})
	}
	return a.word, a.more
}

// put adds w to a message.
func (w doing) put(m map[string]any) {
	if w.what != "" {
		m["activity"] = w.what
	}
	if w.used != 0 {
		m["active_at"] = w.used
	}
}

// damping is the least time between two words.
const damping = 5 * time.Second

// wordID is the id of messages that say what the user does.
const wordID = 5

// A teller says on one socket what the user does.
type teller struct {
	activity *Activity
	say      func(any) error
	shown    doing              // of the login
	present  chan struct{}      // closed once the login is accepted
	refused  chan time.Duration // the last word is to be said again after that long
}

// run says each word that follows the one of the login until ctx ends.
func (t *teller) run(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-t.present:
	}
	wait := damping
	for pause(ctx, wait) {
		word, more := t.activity.get()
		if word != t.shown && word.what != "" {
			m := map[string]any{"op": "activity", "id": wordID}
			word.put(m)
			if t.say(m) != nil {
				return // the socket is broken
			}
			t.shown, wait = word, damping
			continue
		}
		wait = 0
		select {
		case <-ctx.Done():
			return
		case wait = <-t.refused:
			t.shown = doing{}
		case <-more:
		}
	}
}

// answered takes the answer to a word. One that the server does not take is not said again.
func (t *teller) answered(m *reply) {
	if m.Op == "ok" {
		return
	}
	if err := m.refusal(); err.Status != http.StatusBadRequest {
		select {
		case t.refused <- max(err.RetryAfter, damping):
		default:
		}
	}
}

// A Push says whether a message is to be pushed to a peer.
type Push struct {
	Peer  string `json:"peer"`
	Push  bool   `json:"push"`
	Quiet bool   `json:"quiet"` // without a sound
	// Why is foreground, unreachable, idle, background, online, offline, unknown or stale.
	Why string `json:"why"`
}

// ShouldPush asks whether to push a message to each of up to 10,000 peers; in doubt, yes. The
// answers come in the order of peers. It needs the master key.
func (c *Client) ShouldPush(ctx context.Context, peers ...string) ([]Push, error) {
	if peers == nil {
		peers = []string{}
	}
	var answer struct {
		Peers []Push `json:"peers"`
	}
	complete := func() bool {
		return len(answer.Peers) == len(peers) && !slices.ContainsFunc(answer.Peers, func(p Push) bool { return p.Why == "" })
	}
	if _, err := c.call(ctx, http.MethodPost, "/v1/peers/should-push", map[string]any{"peers": peers}, into(&answer, complete)); err != nil {
		return nil, err
	}
	return answer.Peers, nil
}
