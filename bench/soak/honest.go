package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What honest callers do.
const (
	hooksPerSecond   = 500
	queriesPerSecond = 1000
	idsPerQuery      = 20
	watchers         = 200
	peersEach        = 20
	peers            = 10_000
	lanes            = 25 // connections of each kind
)

// honest is load that arrives whether or not the server keeps up: a call is timed from when it was
// due.
type honest struct {
	addr string
	quit context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	kinds    []kind
	watching int
	notified atomic.Int64
	late     lateness        // of the callers themselves
	worst    []time.Duration // by second of the phase
	began    time.Time
	why      string // of a watcher that was ended
}

// A kind is one kind of call and what became of it.
type kind struct {
	name    string
	took    []time.Duration
	refused int
	why     string
}

// at returns a quantile.
func (k *kind) at(q float64) time.Duration {
	if len(k.took) == 0 {
		return 0
	}
	slices.Sort(k.took)
	return k.took[min(int(q*float64(len(k.took))), len(k.took)-1)]
}

type figures struct {
	kinds    []kind
	watching int
	notified int64
	watchWhy string
	late     kind            // of the callers themselves
	worst    []time.Duration // by second
	cores    float64         // of the server
	waited   float64         // of the time, by all threads of the server for their core
}

func newHonest(addr string) *honest {
	return &honest{addr: addr, began: time.Now(), kinds: []kind{{name: "hooks"}, {name: "queries"}}}
}

func (h *honest) start(ctx context.Context) error {
	ctx, h.quit = context.WithCancel(ctx)
	for range watchers {
		if err := h.watch(ctx); err != nil {
			return fmt.Errorf("an honest watcher: %w", err)
		}
	}
	h.done.Go(func() { h.late.run(ctx) })
	for i := range lanes {
		h.done.Go(func() { h.lane(ctx, 0, i, hooksPerSecond, hook) })
		h.done.Go(func() { h.lane(ctx, 1, i, queriesPerSecond, query) })
	}
	return nil
}

func (h *honest) stop() {
	h.quit()
	h.done.Wait()
}

// reset returns the figures since the last time.
func (h *honest) reset() figures {
	h.mu.Lock()
	defer h.mu.Unlock()
	f := figures{kinds: h.kinds, watching: h.watching, notified: h.notified.Swap(0), watchWhy: h.why}
	f.late, f.worst = h.late.reset(), h.worst
	h.worst, h.began = nil, time.Now()
	h.kinds = []kind{{name: "hooks"}, {name: "queries"}}
	return f
}

func hook(b *bytes.Buffer) {
	name := "_clientOnline"
	if rand.IntN(2) == 0 {
		name = "_clientOffline"
	}
	post(b, "/1.1/functions/"+name, fmt.Sprintf(`{"peerId":"peer-%d","closeCode":1}`, rand.IntN(peers)), "X-LC-Hook-Key: "+hookKey+"\r\n")
}

func query(b *bytes.Buffer) {
	var ids strings.Builder
	for i := range idsPerQuery {
		if i > 0 {
			ids.WriteByte(',')
		}
		ids.WriteString(`"peer-` + strconv.Itoa(rand.IntN(peers)) + `"`)
	}
	post(b, "/1.1/functions/getOnOffStatus", `{"peerIds":[`+ids.String()+`]}`, "")
}

func post(b *bytes.Buffer, path, body, head string) {
	fmt.Fprintf(b, "POST %s HTTP/1.1\r\nHost: a\r\nX-LC-Id: %s\r\nX-LC-Key: %s\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, appID, appKey, head, len(body), body)
}

// lane makes its share of so many calls a second on one connection.
func (h *honest) lane(ctx context.Context, at, number, perSecond int, make func(*bytes.Buffer)) {
	every := time.Second * lanes / time.Duration(perSecond)
	due := time.Now().Add(every * time.Duration(number) / lanes)
	var c net.Conn
	var r *bufio.Reader
	var b bytes.Buffer
	defer func() {
		if c != nil {
			_ = c.Close()
		}
	}()
	for ; ctx.Err() == nil; due = due.Add(every) {
		if d := time.Until(due); d > 0 {
			wait(ctx, d)
		}
		if ctx.Err() != nil {
			return
		}
		var err error
		if c == nil {
			if c, err = net.DialTimeout("tcp", h.addr, 5*time.Second); err == nil {
				r = bufio.NewReader(c)
			}
		}
		b.Reset()
		make(&b)
		if err == nil {
			err = call(c, r, b.Bytes())
		}
		h.note(at, time.Since(due), err)
		if err != nil && c != nil {
			_ = c.Close()
			c = nil
		}
	}
}

func call(c net.Conn, r *bufio.Reader, request []byte) error {
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(request); err != nil {
		return err
	}
	line, err := r.ReadSlice('\n')
	if err != nil {
		return err
	}
	ok := bytes.HasPrefix(line, []byte("HTTP/1.1 200 "))
	status := string(bytes.TrimSpace(line))
	size := 0
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return err
		}
		if len(line) == 2 {
			break
		}
		if text, is := bytes.CutPrefix(line, []byte("Content-Length: ")); is {
			size, _ = strconv.Atoi(string(bytes.TrimSpace(text)))
		}
	}
	if _, err = r.Discard(size); err == nil && !ok {
		err = fmt.Errorf("%s", status)
	}
	return err
}

func (h *honest) note(at int, took time.Duration, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := &h.kinds[at]
	k.took = append(k.took, took)
	second := int(time.Since(h.began) / time.Second)
	for len(h.worst) <= second {
		h.worst = append(h.worst, 0)
	}
	h.worst[second] = max(h.worst[second], took)
	if err != nil {
		k.refused++
		k.why = err.Error()
	}
}

// watch opens a stream and reads it until it ends.
func (h *honest) watch(ctx context.Context) error {
	var list []string
	for range peersEach {
		list = append(list, `"peer-`+strconv.Itoa(rand.IntN(peers))+`"`)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+h.addr+"/v1/watch", strings.NewReader(`{"peers":[`+strings.Join(list, ",")+`]}`))
	if err != nil {
		return err
	}
	req.Header.Set("X-LC-Id", appID)
	req.Header.Set("X-LC-Key", appKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		return fmt.Errorf("%s %s", res.Status, b)
	}
	h.mu.Lock()
	h.watching++
	h.mu.Unlock()
	h.done.Go(func() {
		defer res.Body.Close()
		last := ""
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			if last = lines.Text(); last == "event: change" {
				h.notified.Add(1)
			}
		}
		h.mu.Lock()
		h.watching--
		if ctx.Err() == nil {
			h.why = fmt.Sprintf("%v after %.80q", lines.Err(), last)
		}
		h.mu.Unlock()
	})
	return nil
}
