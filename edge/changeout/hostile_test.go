package changeout_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/presence"
)

// A receiver may answer for ever, close, redirect or send headers without end: each is a failure or
// an answer like any other, takes no longer than the timeout, and the next call is made all the
// same.
func TestHostileReceivers(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	endless := func(w http.ResponseWriter, r *http.Request) {
		for b := make([]byte, 32<<10); r.Context().Err() == nil; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		taken  bool
	}{
		"closes": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		}, false},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		}, false},
		"says nothing":     {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false},
		"answers for ever": {endless, true},
		"fails for ever":   {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); endless(w, r) }, false},
		"has endless headers": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			defer conn.Close()
			for i := 0; err == nil; i++ {
				_, err = fmt.Fprintf(conn, "X-H%d: %01000d\r\n", i, i)
				if i == 0 {
					_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
				}
			}
		}, false},
		"is no http": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "220 mail.example.com ESMTP\r\n")
				_ = conn.Close()
			}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var hostile atomic.Bool
			hostile.Store(true)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := io.Copy(io.Discard, r.Body); err == nil && hostile.Load() {
					c.answer(w, r)
				}
			}))
			defer server.Close()
			f := newFleet(t, false)
			f.receiver.URL, f.receiver.Timeout = server.URL, 300*time.Millisecond
			f.transport = nil
			n := f.start(0)
			result := map[bool]string{true: "list_again", false: "failed"}[c.taken]
			until(t, result, func() bool { return n.counts()[result] > 0 })
			f.report(online("ann"))
			hostile.Store(false)
			until(t, "the change is taken", func() bool { return n.counts()["delivered"] > 0 })
			n.close()
		})
	}
	if n := elsewhere.Load(); n > 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a minute went by without: %s", what)
		}
	}
}

// A receiver that never answers costs the memory of its bound and no more, however much changes.
func TestASlowReceiverCostsBoundedMemory(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		const bound = 1 << 20
		f.receiver.MaxBytes, f.presence.Trace = bound, 0
		n := f.start(0)
		time.Sleep(2 * time.Second)
		f.backend.answer(0, time.Hour)
		var before int64
		const peers, rounds = 500, 60
		for round := range rounds {
			if round == rounds/3 { // the bound has been reached
				before = heap()
			}
			var reports []presence.Report
			for i := range peers {
				r := online(fmt.Sprint("p", i))
				if round%2 == 1 {
					r = offline(fmt.Sprint("p", i), presence.CauseLogout)
				}
				reports = append(reports, r)
			}
			f.report(reports...)
			time.Sleep(time.Second)
			if c := n.counts(); c["waiting_bytes"] > bound+300_000 {
				t.Fatalf("%d bytes wait", c["waiting_bytes"])
			}
		}
		if grown := heap() - before; grown > 2*bound {
			t.Errorf("the heap has grown by %d KiB", grown>>10)
		}
		f.backend.answer(0, 0)
		time.Sleep(3 * time.Minute)
		if c := n.counts(); c["lost"] < peers*rounds/2 || c["waiting"] != 0 {
			t.Errorf("%v", c)
		}
		if err := f.check(); err != nil {
			t.Error(err)
		}
	})
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What another one has put in the place of a cursor is no cursor: the receiver lists again. So it
// does when the cursor was lost while the node sends.
func TestALostCursorIsAListAgain(t *testing.T) {
	within(t, false, func(t *testing.T, f *fleet) {
		f.start(0)
		f.report(online("ann"))
		time.Sleep(5 * time.Second)
		key := []presence.Key{{App: "app#changes", Peer: "crm"}}
		err := f.store.Update(context.Background(), key, now(), func(_ int, st *presence.State) presence.Effect {
			st.Sessions[0].Device = "no cursor"
			return presence.Shown
		})
		if err != nil {
			t.Fatal(err)
		}
		f.report(offline("ann", presence.CauseLogout))
		time.Sleep(10 * time.Second)
		f.report(online("bob"))
		time.Sleep(10 * time.Second)
		if b := f.backend.seen(); b.lists != 2 || b.whys[1] != "first" {
			t.Errorf("listed because of %q", b.whys)
		}
		if err := f.check(); err != nil {
			t.Error(err)
		}
	})
}
