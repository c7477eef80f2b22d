//go:build unix

package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rollcall "rollcall/client/go"

	"rollcall/presence"
)

// A replica is a copy of who is online, as a server of the app keeps it.
type replica struct {
	mu      sync.Mutex
	online  map[string]bool
	lists   int
	changes int
	stop    context.CancelFunc
	done    sync.WaitGroup
}

// rover sends each request to the next node, as a balancer does.
type rover struct {
	nodes []*member
	next  atomic.Int64
}

func (r *rover) RoundTrip(req *http.Request) (*http.Response, error) {
	m := r.nodes[int(r.next.Add(1))%len(r.nodes)]
	req = req.Clone(req.Context())
	req.URL.Host = strings.TrimPrefix(m.address(), "http://")
	return client.Transport.RoundTrip(req)
}

// server returns a client of m with the rights of a server of the app.
func (m *member) server(h *http.Client) (*rollcall.Client, error) {
	return rollcall.New(rollcall.Config{URL: m.address(), App: "trial", MasterKey: "a-master-key-to-try-things", HTTP: h})
}

// list returns who is online, as m lists them.
func (m *member) list() (online []string, err error) {
	c, err := m.server(client)
	if err != nil {
		return nil, err
	}
	for cursor, more := "", true; more; more = cursor != "" {
		page, err := c.List(context.Background(), cursor, 0)
		if err != nil {
			return nil, err
		}
		online, cursor = append(online, page.Peers...), page.Cursor
	}
	return online, nil
}

// replicate keeps a copy by nodes for ever, whatever becomes of them.
func (w *world) replicate(nodes ...*member) *replica {
	w.t.Helper()
	c, err := nodes[0].server(&http.Client{Transport: &rover{nodes: nodes}})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &replica{online: map[string]bool{}, stop: cancel}
	r.done.Go(func() {
		defer c.Close()
		cursor := ""
		for ctx.Err() == nil { // a retry of Replicate comes late after many failures
			some, end := context.WithTimeout(ctx, 20*time.Second)
			err := c.Replicate(some, rollcall.Replica{
				Cursor: cursor,
				Listed: func(online []string) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.lists++
					clear(r.online)
					for _, p := range online {
						r.online[p] = true
					}
				},
				Changed: func(p rollcall.Peer) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.changes++
					r.online[p.ID] = p.Status == rollcall.Online
				},
				Kept: func(c string) { cursor = c },
			})
			end()
			if err != nil {
				w.t.Error(err)
				return
			}
		}
	})
	return r
}

// close ends r.
func (r *replica) close() {
	r.stop()
	r.done.Wait()
}

// has reports whether p is online in r.
func (r *replica) has(p presence.PeerID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.online[string(p)]
}
