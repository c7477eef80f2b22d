package rollcall

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// silence is how long a stream may say nothing before it is taken for dead: the server marks every
// 15 s.
const silence = 45 * time.Second

// Watch follows peers and calls each, from this goroutine, with every peer whose status is first
// known or another than each got last. It connects again after a break and goes on where it was. It
// returns when ctx ends, with nil, or with an [*Error] that a retry would not change.
func (c *Client) Watch(ctx context.Context, peers []string, each func(Peer)) error {
	return c.Follow(ctx, Watching{Peers: peers, Each: each})
}

// A Watching is a watch with all it may hold.
type Watching struct {
	Peers []string
	Each  func(Peer) // as for [Client.Watch]
	// Aged, when it is not nil, is called while the server cannot read its store, with for how
	// long, and with 0 when it can again: until then the updates so far may be old, and there may
	// be none.
	Aged func(time.Duration)
}

// Follow is [Client.Watch] with all it may hold.
func (c *Client) Follow(ctx context.Context, w Watching) error {
	s := watcher{Watching: w, client: c, known: map[string]Status{}}
	s.Peers = append([]string{}, w.Peers...)
	return c.keep(ctx, func(b *backoff) error { return s.stream(ctx, b) })
}

type watcher struct {
	Watching
	client *Client
	token  string
	known  map[string]Status
	age    time.Duration
}

// stream reads one stream until it breaks.
func (w *watcher) stream(ctx context.Context, b *backoff) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	path := "/v1/watch"
	if buy := w.client.cfg.Ticket; buy != nil {
		ticket, err := buy(ctx, w.Peers)
		if err != nil {
			return unreachable("buy a ticket", err)
		}
		path += "?" + url.Values{"app": {w.client.cfg.App}, "ticket": {ticket}}.Encode()
	}
	in := map[string]any{"peers": w.Peers}
	if w.token != "" {
		in["since"] = w.token
	}
	dead := time.AfterFunc(patience, func() { cancel(errSilent) })
	defer dead.Stop()
	res, e := w.client.send(ctx, http.MethodPost, path, in, map[string]string{"Accept": "text/event-stream"})
	if e != nil {
		return e
	}
	defer func() { _ = res.Body.Close() }()
	if kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";"); !strings.EqualFold(strings.TrimSpace(kind), "text/event-stream") {
		return foreign(res)
	}
	r := bufio.NewReader(res.Body)
	var ev event
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				return errBroken
			}
			return err
		}
		dead.Reset(silence)
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			ev.field(line)
			continue
		}
		if ev.retry > 0 {
			b.least = ev.retry
		}
		if ev.name != "" {
			if err := w.take(&ev); err != nil {
				return err
			}
			b.tries = 0
		}
		ev = event{}
	}
}

var (
	errBroken = errors.New("the stream ended")
	errSilent = errors.New("the stream was silent for too long")
)

// An event is one server-sent event.
type event struct {
	name, id, data string
	retry          time.Duration
}

func (e *event) field(line string) {
	name, value, _ := strings.Cut(line, ":")
	value = strings.TrimPrefix(value, " ")
	switch name {
	case "event":
		e.name = value
	case "id":
		e.id = value
	case "data":
		e.data += value
	case "retry":
		if d, err := time.ParseDuration(value + "ms"); err == nil {
			e.retry = d
		}
	}
}

func (w *watcher) take(e *event) error {
	if e.name == "bye" {
		return errBroken
	}
	var in struct {
		Peers []Peer  `json:"peers"`
		Stale float64 `json:"stale"` // seconds
	}
	if err := json.Unmarshal([]byte(e.data), &in); err != nil {
		return &Error{Code: CodeForeign, Text: fmt.Sprintf("the stream brought an event that is not rollcall's: %v", err)}
	}
	age := time.Duration(in.Stale * float64(time.Second))
	for _, p := range in.Peers {
		if was, ok := w.known[p.ID]; ok && was == p.Status {
			continue
		}
		w.known[p.ID] = p.Status
		p.Age = age
		w.Each(p)
	}
	if age > 0 || w.age > 0 {
		if w.age = age; w.Aged != nil {
			w.Aged(age)
		}
	}
	// Only now is all of it known: a break before this line brings it again. A renewal may stand
	// behind the token.
	if token, _, _ := strings.Cut(e.id, "."); token != "" {
		w.token = token
	}
	return nil
}
