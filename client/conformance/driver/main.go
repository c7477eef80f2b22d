// Command driver lets the Go client take part in the conformance cases.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	rollcall "rollcall/client/go"
)

type command struct {
	Do     string           `json:"do"`
	Name   string           `json:"name"`
	Peers  []string         `json:"peers"`
	Peer   string           `json:"peer"`
	Device string           `json:"device"`
	Events []rollcall.Event `json:"events"`
}

type driver struct {
	client *rollcall.Client
	token  string

	mu  sync.Mutex // one line at a time
	end map[string]context.CancelFunc
}

func main() {
	client, err := rollcall.New(rollcall.Config{
		URL: os.Getenv("ROLLCALL_URL"), App: os.Getenv("ROLLCALL_APP"), Key: os.Getenv("ROLLCALL_KEY"),
		MasterKey: os.Getenv("ROLLCALL_MASTER_KEY"), HookKey: os.Getenv("ROLLCALL_HOOK_KEY"),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
	d := &driver{client: client, end: map[string]context.CancelFunc{}}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var c command
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "driver:", err)
			os.Exit(1)
		}
		d.do(&c)
	}
}

func (d *driver) say(v map[string]any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	_ = json.NewEncoder(os.Stdout).Encode(v)
}

func (d *driver) do(c *command) {
	ctx := context.Background()
	switch c.Do {
	case "query":
		peers, err := d.client.Query(ctx, c.Peers...)
		d.answer(map[string]any{"query": words(peers)}, err)
	case "poll":
		a, err := d.client.Ask(ctx, rollcall.Question{Peers: c.Peers, Since: &d.token})
		d.token = a.Token
		d.answer(map[string]any{"poll": words(a.Peers), "complete": a.Complete}, err)
	case "report":
		t, err := d.client.Report(ctx, c.Events...)
		d.answer(map[string]any{"report": fmt.Sprintf("accepted=%d double=%d late=%d stale=%d ignored=%d full=%d",
			t.Accepted, t.Double, t.Late, t.Stale, t.Ignored, t.Full)}, err)
	case "watch":
		d.begin(c.Name, func(ctx context.Context) error {
			return d.client.Watch(ctx, c.Peers, func(p rollcall.Peer) {
				d.say(map[string]any{"told": c.Name, "peer": words([]rollcall.Peer{p})})
			})
		})
	case "present":
		d.begin(c.Name, func(ctx context.Context) error {
			return d.client.Present(ctx, rollcall.Presence{
				Peer: c.Peer, Device: c.Device,
				Changed: func(on bool) { d.say(map[string]any{"present": c.Name, "on": on}) },
			})
		})
	case "end":
		d.end[c.Name]()
	}
}

// begin runs something that lasts until it is ended.
func (d *driver) begin(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	d.end[name] = cancel
	go func() {
		err := run(ctx)
		d.answer(map[string]any{"ended": name}, err)
	}()
}

// answer says v, or that the server refused it.
func (d *driver) answer(v map[string]any, err error) {
	var e *rollcall.Error
	switch {
	case errors.As(err, &e):
		out := map[string]any{"refused": e.Code}
		if name, ok := v["ended"]; ok {
			out["ended"] = name
		}
		v = out
	case err != nil:
		v = map[string]any{"failed": err.Error()}
	}
	d.say(v)
}

func words(peers []rollcall.Peer) string {
	list := make([]string, len(peers))
	for i, p := range peers {
		list[i] = p.ID + "=" + string(p.Status)
	}
	return strings.Join(list, " ")
}
