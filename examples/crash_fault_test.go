//go:build faults

package examples_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	rollcall "rollcall/client/go"
)

// The chat server is killed with kill -9 and started again. The user that returns is online
// throughout, for queries and for watchers; the one that does not return is offline when the node's
// lease has run out; nothing is left open.
func TestFaultAChatServerSurvivesItsOwnCrash(t *testing.T) {
	const lease = 8 * time.Second
	each(t, lease, func(w *world) {
		chat := w.start("127.0.0.1:0")
		w.join(chat.address, "tom")
		w.join(chat.address, "ann")
		w.expect("tom=online ann=online")
		received := w.watch("tom", "ann")
		time.Sleep(lease / 2) // some heartbeats later

		died := time.Now()
		_ = chat.end(syscall.SIGKILL)
		chat = w.start(chat.address)
		tom := w.join(chat.address, "tom")
		for w.sessions("tom") != 2 { // that of the dead process, and the new one
			time.Sleep(10 * time.Millisecond)
		}
		w.expect("tom=online ann=online")
		w.expect("ann=offline")
		w.Logf("offline %v after the crash", time.Since(died).Round(time.Millisecond))
		for w.sessions("tom") != 1 {
			time.Sleep(10 * time.Millisecond)
		}
		w.expect("tom=online")
		ann, err := w.client.Get(w.Context(), "ann")
		if err != nil || ann.LastSeen < died.Add(-lease).UnixMilli() || ann.LastSeen > died.UnixMilli() {
			w.Errorf("ann was last seen %v before the crash (%v), want the last heartbeat", died.Sub(time.UnixMilli(ann.LastSeen)), err)
		}
		for end := time.Now().Add(patience); !strings.Contains(received(), "ann=offline") && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		_, _ = fmt.Fprintln(tom, "/quit")
		w.expect("tom=offline ann=offline")
		for end := time.Now().Add(patience); !strings.Contains(received(), "tom=offline") && time.Now().Before(end); {
			time.Sleep(20 * time.Millisecond)
		}
		if got, want := received(), "tom=online ann=online ann=offline tom=offline"; got != want {
			w.Errorf("watchers received %s, want %s", got, want)
		}
		if page, err := w.client.List(w.Context(), "", 0); err != nil || len(page.Peers) > 0 {
			w.Errorf("still online: %v (%v)", page.Peers, err)
		}
	})
}

// rollcall is killed, and started again without its data while the chat goes on: the chat server
// brings it up to date.
func TestFaultAChatServerBringsAnEmptyRollcallUpToDate(t *testing.T) {
	each(t, 6*time.Second, func(w *world) {
		chat := w.start("127.0.0.1:0")
		w.join(chat.address, "tom")
		ann := w.join(chat.address, "ann")
		w.expect("tom=online ann=online")
		_ = w.server.end(syscall.SIGKILL)
		_, _ = fmt.Fprintln(ann, "/quit")
		w.join(chat.address, "bob")
		time.Sleep(6 * time.Second) // longer than a call is retried
		w.serve(strings.TrimPrefix(w.server.address, "http://"))
		w.expect("tom=online bob=online")
		if n := w.sessions("ann"); n != 0 {
			w.Errorf("ann has %d sessions", n)
		}
	})
}

// watch follows peers until the test ends, and returns the updates so far.
func (w *world) watch(peers ...string) (received func() string) {
	ctx, cancel := context.WithCancel(w.Context())
	updates := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.client.Watch(ctx, peers, func(p rollcall.Peer) { updates <- p.ID + "=" + string(p.Status) })
	}()
	w.Cleanup(func() { cancel(); <-done })
	var all []string
	return func() string {
		for len(updates) > 0 {
			all = append(all, <-updates)
		}
		return strings.Join(all, " ")
	}
}
