package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"rollcall/presence"
)

type watchCmd struct {
	operator
	remote
	App string   `placeholder:"ID" help:"App of the peers; needed when the server has several."`
	IDs []string `arg:"" name:"id" help:"The peers; after -- when one begins with a dash."`
}

// Help is the long help of the command.
func (watchCmd) Help() string {
	return "Prints what each peer is, then every change as it comes, one line each, until it is interrupted. It reconnects when the server was unreachable."
}

// errAway: the server is unreachable; it may come back.
var errAway = errors.New("server unreachable")

// away is a reason to retry once something was printed, and the end before.
type away struct{ error }

func (away) Is(target error) bool { return target == errAway }

func (a away) Unwrap() error { return a.error }

// quietest is how long a stream may say nothing: the server marks every 15 s.
const quietest = 45 * time.Second

// Run follows the peers until it is interrupted.
func (c *watchCmd) Run(e *env) error {
	if c.Host != nil {
		return c.forward(e)
	}
	if slices.Contains(c.IDs, "") {
		return noID(e)
	}
	printed := map[string]peerUpdate{}
	for once := false; ; once = true {
		err := c.follow(e, printed)
		switch {
		case e.ctx.Err() != nil:
			return nil
		case !once && len(printed) == 0 || !errors.Is(err, errAway):
			return err
		}
		fmt.Fprintf(e.stderr, "rollcall: %v; retrying\n", errAway)
		wait := time.NewTimer(time.Second)
		select {
		case <-e.ctx.Done():
			wait.Stop()
			return nil
		case <-wait.C:
		}
	}
}

// follow reads one stream and prints what differs from what was printed before.
func (c *watchCmd) follow(e *env, printed map[string]peerUpdate) error {
	base, err := c.base(e)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	stream, err := c.open(ctx, base)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	silent := time.AfterFunc(quietest, cancel)
	defer silent.Stop()
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, largestEvent)
	for lines.Scan() {
		silent.Reset(quietest)
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		var event struct {
			Peers []json.RawMessage
			Stale float64
		}
		if err := json.Unmarshal(data, &event); err != nil {
			return fmt.Errorf("%s does not answer as a rollcall server does", base)
		}
		for _, line := range event.Peers {
			var p peerUpdate
			if err := json.Unmarshal(line, &p); err != nil {
				return fmt.Errorf("%s does not answer as a rollcall server does", base)
			}
			if printed[p.Peer] == p {
				continue
			}
			printed[p.Peer] = p
			if err := c.print(e, &p, event.Stale, line); err != nil {
				return err
			}
		}
	}
	return errAway
}

// open returns the stream of the server at base.
func (c *watchCmd) open(ctx context.Context, base string) (io.ReadCloser, error) {
	q := url.Values{}
	if c.App != "" {
		q.Set("app", c.App)
	}
	body, err := json.Marshal(map[string]any{"peers": c.IDs})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/watch?"+q.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", base, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "text/event-stream")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, ResponseHeaderTimeout: answerWithin, DialContext: (&net.Dialer{Timeout: answerWithin}).DialContext,
	}}
	resp, err := client.Do(r)
	if err != nil {
		return nil, away{unreached(base, err)}
	}
	if resp.StatusCode != http.StatusOK {
		defer func() { _ = resp.Body.Close() }()
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		err := refused(base, resp.StatusCode, b)
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusServiceUnavailable {
			err = away{err} // it starts, or its store is out of reach
		}
		return nil, err
	}
	return resp.Body, nil
}

// largestEvent is more than an event has.
const largestEvent = 4 << 20

// A peerUpdate is what is printed of a peer.
type peerUpdate struct {
	Peer, Status, Cause string
	Since               presence.Millis
	LastSeen            presence.Millis `json:"last_seen"`
}

func (c *watchCmd) print(e *env, p *peerUpdate, age float64, line []byte) error {
	if c.JSON {
		if age > 0 {
			line = fmt.Appendf(bytes.TrimSuffix(line, []byte("}")), `,"stale":%.3f}`, age)
		}
		_, err := fmt.Fprintf(e.stdout, "%s\n", line)
		return err
	}
	text := fmt.Sprintf("%s  %s  %s", time.Now().UTC().Format("15:04:05"), visible(p.Peer), p.Status)
	if p.Since != 0 {
		text += " since " + stamp(p.Since)
	}
	if p.Cause != "" {
		text += " (" + p.Cause + ")"
	}
	if age > 0 {
		text += fmt.Sprintf(", as of %.1f s ago: the store is out of reach", age)
	}
	_, err := fmt.Fprintln(e.stdout, text)
	return err
}
