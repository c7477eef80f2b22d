package rollcall

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// silence is how long a stream may say nothing before it is taken for dead: the server marks every 15 s.
const silence = 45 * time.Second

// Watch follows peers and calls each, from this goroutine, with every peer whose status is first known or another than it
// was told last. It connects again after a break and goes on where it was. It returns when ctx ends, with nil, or with a
// refusal that trying again would not change.
func (c *Client) Watch(ctx context.Context, peers []string, each func(Peer)) error {
	w := watcher{client: c, peers: slices.Clone(peers), told: map[string]Status{}, each: each}
	var b backoff
	return b.repeat(ctx, func() error { return w.stream(ctx, &b) })
}

type watcher struct {
	client *Client
	peers  []string
	token  string
	told   map[string]Status
	each   func(Peer)
}

// stream reads one stream until it breaks.
func (w *watcher) stream(ctx context.Context, b *backoff) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	head := map[string]string{"Accept": "text/event-stream"}
	if w.token != "" {
		head["Last-Event-ID"] = w.token
	}
	res, err := w.client.send(ctx, http.MethodPost, "/v1/watch", map[string]any{"peers": w.peers}, head)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	dead := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer dead.Stop()
	r := bufio.NewReader(res.Body)
	var e event
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
			e.field(line)
			continue
		}
		if e.retry > 0 {
			b.least = e.retry
		}
		if e.name != "" {
			if err := w.take(&e); err != nil {
				return err
			}
			b.tries = 0
		}
		e = event{}
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
		Peers []Peer `json:"peers"`
	}
	if err := json.Unmarshal([]byte(e.data), &in); err != nil {
		return err
	}
	for _, p := range in.Peers {
		if was, ok := w.told[p.ID]; ok && was == p.Status {
			continue
		}
		w.told[p.ID] = p.Status
		w.each(p)
	}
	// Only now is all of it known: a break before this line tells it again.
	if e.id != "" {
		w.token = e.id
	}
	return nil
}
