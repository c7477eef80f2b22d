// Command driver lets the Go client take part in the conformance cases.
package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rollcall "rollcall/client/go"
)

type command struct {
	Do       string             `json:"do"`
	Name     string             `json:"name"`
	Peers    []string           `json:"peers"`
	Peer     string             `json:"peer"`
	Device   string             `json:"device"`
	Tag      string             `json:"tag"`
	Activity rollcall.Doing     `json:"activity"`
	Node     string             `json:"node"`
	Lease    int                `json:"lease"`
	Events   []rollcall.Event   `json:"events"`
	Sessions []rollcall.Session `json:"sessions"`
}

type driver struct {
	client   *rollcall.Client
	token    string
	cursor   string // of changes
	reported []rollcall.Event

	mu  sync.Mutex // one line at a time
	end map[string]context.CancelFunc
	// Of replicas, by name; guarded by mu too.
	cursors map[string]string
	doing   map[string]*rollcall.Activity // of presences, by name
}

func main() {
	d := &driver{end: map[string]context.CancelFunc{}, cursors: map[string]string{}, doing: map[string]*rollcall.Activity{}}
	var err error
	if d.client, err = d.open(); err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var c command
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "driver:", err)
			os.Exit(1)
		}
		d.do(&c)
	}
}

func (d *driver) open() (*rollcall.Client, error) {
	cfg := rollcall.Config{
		URL: os.Getenv("ROLLCALL_URL"), App: os.Getenv("ROLLCALL_APP"), Key: os.Getenv("ROLLCALL_KEY"),
		MasterKey: os.Getenv("ROLLCALL_MASTER_KEY"), HookKey: os.Getenv("ROLLCALL_HOOK_KEY"),
	}
	if secret := os.Getenv("ROLLCALL_TOKENS"); secret != "" {
		cfg.Key, cfg.Token = "", d.tokens(secret)
	}
	client, err := rollcall.New(cfg)
	if err != nil || os.Getenv("ROLLCALL_TICKETS") == "" {
		return client, err
	}
	var bought atomic.Int32
	cfg.Key = ""
	cfg.Ticket = func(ctx context.Context, peers []string) (string, error) {
		if bought.Add(1) == 1 {
			return "a ticket that is none", nil
		}
		t, err := client.Ticket(ctx, rollcall.TicketRequest{Peers: peers})
		return t.Ticket, err
	}
	return rollcall.New(cfg)
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
		var age time.Duration
		if len(peers) > 0 {
			age = peers[0].Age
		}
		d.answer(aged(map[string]any{"query": words(peers)}, age), err)
	case "poll":
		a, err := d.client.Ask(ctx, rollcall.Question{Peers: c.Peers, Since: &d.token})
		d.token = a.Token
		d.answer(aged(map[string]any{"poll": words(a.Peers), "complete": a.Complete}, a.Age), err)
	case "get":
		p, err := d.client.Get(ctx, c.Peer)
		d.answer(aged(map[string]any{"get": words([]rollcall.Peer{p})}, p.Age), err)
	case "push":
		pushes, err := d.client.ShouldPush(ctx, c.Peers...)
		words := make([]string, len(pushes))
		for i, p := range pushes {
			words[i] = fmt.Sprintf("%s=%t/%s", p.Peer, p.Push, p.Why)
		}
		d.answer(map[string]any{"push": strings.Join(words, " ")}, err)
	case "why":
		e, err := d.client.Why(ctx, c.Peer)
		d.answer(map[string]any{"why": e.Peer + "=" + string(e.Status)}, err)
	case "list":
		p, err := d.client.List(ctx, "", 0)
		slices.Sort(p.Peers)
		d.answer(aged(map[string]any{"list": strings.Join(p.Peers, " ")}, p.Age), err)
	case "changes":
		page, err := d.client.Changes(ctx, rollcall.ChangesRequest{Cursor: d.cursor, Wait: 5 * time.Second})
		d.cursor = page.Cursor
		d.answer(aged(map[string]any{"changes": words(page.Changes), "list_again": page.ListAgain}, page.Age), err)
	case "erase":
		d.answer(map[string]any{"erase": c.Peer}, d.client.Erase(ctx, c.Peer))
	case "kick":
		d.answer(map[string]any{"kick": c.Peer}, d.client.Kick(ctx, c.Peer, "enough"))
	case "report", "again":
		if c.Do == "report" {
			d.reported = c.Events
		}
		t, err := d.client.Report(ctx, d.reported...)
		d.answer(map[string]any{"report": fmt.Sprintf("accepted=%d double=%d late=%d stale=%d ignored=%d full=%d",
			t.Accepted, t.Double, t.Late, t.Stale, t.Ignored, t.Full)}, err)
	case "beat":
		lease, err := d.client.Beat(ctx, c.Node, time.Duration(c.Lease)*time.Second)
		d.answer(map[string]any{"beat": lease.Seconds()}, err)
	case "drain":
		grace, err := d.client.Drain(ctx, c.Node)
		d.answer(map[string]any{"drain": grace.Seconds()}, err)
	case "resync":
		t, ended, err := d.client.Resync(ctx, c.Node, c.Sessions, time.Time{})
		d.answer(map[string]any{"resync": fmt.Sprintf("accepted=%d ended=%d", t.Accepted, ended)}, err)
	default:
		d.live(c)
	}
}

// live does what goes on beside the commands, and ends it.
func (d *driver) live(c *command) {
	switch c.Do {
	case "watch":
		d.begin(c.Name, func(ctx context.Context) error {
			return d.client.Follow(ctx, rollcall.Watching{
				Peers: c.Peers,
				Each: func(p rollcall.Peer) {
					d.say(aged(map[string]any{"update": c.Name, "peer": words([]rollcall.Peer{p})}, p.Age))
				},
				Aged: func(age time.Duration) { d.say(map[string]any{"aged": c.Name, "age": age.Seconds()}) },
			})
		})
	case "activity":
		d.doing[c.Name].Set(c.Activity, time.Time{})
	case "present":
		d.doing[c.Name] = &rollcall.Activity{}
		if c.Activity != "" {
			d.doing[c.Name].Set(c.Activity, time.Time{})
		}
		d.begin(c.Name, func(ctx context.Context) error {
			return d.client.Present(ctx, rollcall.Presence{
				Peer: c.Peer, Device: c.Device, Tag: c.Tag, Activity: d.doing[c.Name], Sign: signer(),
				Changed: func(on bool) { d.say(map[string]any{"present": c.Name, "on": on}) },
			})
		})
	case "replicate":
		d.begin(c.Name, func(ctx context.Context) error { return d.client.Replicate(ctx, d.replica(c.Name)) })
	case "end":
		d.end[c.Name]()
	}
}

// tokens returns what makes user tokens of tom as the app's server does. The first is a day old.
func (d *driver) tokens(secret string) func(context.Context) (string, error) {
	life, _ := strconv.ParseInt(os.Getenv("ROLLCALL_TOKEN_LIFE"), 10, 64)
	made := 0
	return func(context.Context) (string, error) {
		now := time.Now().Unix()
		if made++; made == 1 {
			now -= 86_400
		}
		part := func(v any) string {
			b, _ := json.Marshal(v)
			return base64.RawURLEncoding.EncodeToString(b)
		}
		text := part(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + part(map[string]any{"sub": "tom", "iat": now, "exp": now + life})
		mac := hmac.New(sha256.New, []byte(secret))
		_, _ = mac.Write([]byte(text))
		d.say(map[string]any{"token": made})
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)), nil
	}
}

// replica returns one that goes on where that of the same name has stopped.
func (d *driver) replica(name string) rollcall.Replica {
	d.mu.Lock()
	defer d.mu.Unlock()
	return rollcall.Replica{
		Cursor: d.cursors[name],
		Listed: func(online []string) {
			slices.Sort(online)
			d.say(map[string]any{"listed": name, "online": strings.Join(online, " ")})
		},
		Changed: func(p rollcall.Peer) {
			d.say(aged(map[string]any{"replica": name, "peer": words([]rollcall.Peer{p})}, p.Age))
		},
		Kept: func(cursor string) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.cursors[name] = cursor
		},
		Aged: func(age time.Duration) { d.say(map[string]any{"aged": name, "age": age.Seconds()}) },
	}
}

// signer returns what signs for a peer as the app's server does, nil when it does not. The first
// signature is a day old.
func signer() func(context.Context, string) (rollcall.Signature, error) {
	key := os.Getenv("ROLLCALL_SIGN")
	if key == "" {
		return nil
	}
	at := time.Now().Add(-24 * time.Hour)
	return func(_ context.Context, peer string) (rollcall.Signature, error) {
		s := rollcall.Signature{Time: at.UnixMilli(), Nonce: "nonce"}
		mac := hmac.New(sha1.New, []byte(key))
		_, _ = fmt.Fprintf(mac, "%s:%s::%d:%s", os.Getenv("ROLLCALL_APP"), peer, s.Time, s.Nonce)
		s.Sign, at = hex.EncodeToString(mac.Sum(nil)), time.Now()
		return s, nil
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

// aged adds to v how old an answer is, if it is not as fresh as it can be.
func aged(v map[string]any, age time.Duration) map[string]any {
	if age > 0 {
		v["age"] = age.Seconds()
	}
	return v
}

func words(peers []rollcall.Peer) string {
	list := make([]string, len(peers))
	for i, p := range peers {
		list[i] = p.ID + "=" + string(p.Status)
	}
	return strings.Join(list, " ")
}
