package rest_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/native"
	"rollcall/presence"
	"rollcall/watch"
)

// Watchers that stop reading are told bye behind what they have not read and are closed; they cost bounded memory, and
// nobody else notices.
func TestStoppedWatchers(t *testing.T) { stopped(t, 60, 200_000) }

// stopped plays watchers that stop reading under at least so many changes, and until the last of them is closed.
func stopped(t *testing.T, watchers, changes int) {
	const peers = 100
	h := open(t, func(cfg *native.Config, _ *watch.Config) {
		cfg.Limits = native.Limits{} // it is not they who are tried
	})
	ids := make([]presence.PeerID, peers)
	var query strings.Builder
	for i := range ids {
		ids[i] = presence.PeerID(fmt.Sprintf("a-peer-with-quite-a-long-name-so-that-frames-are-long-%04d", i))
		fmt.Fprintf(&query, "&peer=%s", ids[i])
	}
	unloaded := h.latencies(t, ids[0], 10)
	warm := make(chan struct{})
	close(warm)
	h.change(ids[1:], 100_000, warm) // what this process remembers of reports is full now
	before := measure()

	conns := make([]net.Conn, watchers)
	for i := range conns {
		conns[i] = h.openAndStop(query.String())
	}
	for opening := time.Now(); h.hub.Stats().Watchers < watchers; time.Sleep(time.Millisecond) {
		if time.Since(opening) > 30*time.Second {
			t.Fatalf("of %d watchers: %+v", watchers, h.hub.Stats())
		}
	}
	start := time.Now()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { h.change(ids[1:], changes, done) })
	var loaded time.Duration
	wg.Go(func() { loaded = h.latencies(t, ids[0], 40) })
	var peak uint64
	for h.hub.Stats().Closed[watch.ReasonSlow] < int64(watchers) {
		peak = max(peak, measure())
		if time.Since(start) > 40*time.Second {
			t.Fatalf("after %v: %+v", time.Since(start), h.hub.Stats())
		}
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(start)
	close(done)
	wg.Wait()
	grown := int64(peak) - int64(before)
	t.Logf("%d stopped watchers closed after %v, memory grew by %d KiB, p99 of another %v before and %v beside them",
		watchers, took.Round(time.Millisecond), grown>>10, unloaded, loaded)
	if took > 20*time.Second { // 10 s, the ticks of a thousand, and a machine that has other work
		t.Errorf("the last of them was closed after %v", took)
	}
	if limit := int64(watchers) * (80 << 20) / 1000; grown > max(limit, 8<<20) {
		t.Errorf("memory grew by %d KiB, limit %d", grown>>10, limit>>10)
	}
	// What each can still read ends with the reason.
	for i, c := range conns {
		wg.Go(func() {
			_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
			b, err := io.ReadAll(bufio.NewReader(c))
			if err != nil || !strings.Contains(string(b), "event: bye\ndata: {\"reason\":\"slow\"}") {
				t.Errorf("watcher %d: %v, the last of %d bytes: %q", i, err, len(b), b[max(0, len(b)-200):])
			}
			_ = c.Close()
		})
	}
	wg.Wait()
	if s := h.hub.Stats(); s.Watchers != 0 {
		t.Errorf("%d watchers are left", s.Watchers)
	}
}

// openAndStop opens a stream and reads nothing of it.
func (h *house) openAndStop(query string) net.Conn {
	h.Helper()
	u, err := url.Parse(h.URL)
	if err != nil {
		h.Fatal(err)
	}
	c, err := net.Dial("tcp", u.Host)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(16 << 10)
	if _, err := fmt.Fprintf(c, "GET /v1/watch?%s HTTP/1.1\r\nHost: x\r\nX-LC-Id: %s\r\nX-LC-Key: %s\r\n\r\n", query[1:], appID, appKey); err != nil {
		h.Fatal(err)
	}
	return c
}

// change turns peers on and off, at least n times, until done.
func (h *house) change(peers []presence.PeerID, n int, done <-chan struct{}) {
	const batch = 100
	reports := make([]presence.Report, batch)
	out := make([]presence.Outcome, batch)
	for i := 0; ; i += batch {
		select {
		case <-done:
			if i >= n {
				return
			}
		default:
		}
		now := h.now()
		for k := range reports {
			kind := presence.KindOnline
			if (i/len(peers)+k/len(peers))%2 == 1 {
				kind = presence.KindOffline
			}
			at := now + presence.Millis(i/len(peers))%9000
			reports[k] = presence.Report{
				App: appID, Peer: peers[(i+k)%len(peers)], Source: presence.SourceAPI, Session: "1", Kind: kind, At: at, Incarnation: presence.Millis(i + k + 1),
				Cause: presence.CauseLogout,
			}
		}
		if err := h.service.Report(h.Context(), reports, now, out); err != nil {
			h.Error(err)
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// latencies returns the p99 of the time from an acknowledged change of peer to its word on a stream.
func (h *house) latencies(t *testing.T, peer presence.PeerID, n int) time.Duration {
	t.Helper()
	s := h.stream(as("app"), "/v1/watch?peer="+string(peer))
	defer s.close()
	s.next()
	all := make([]time.Duration, 0, n)
	for i := range n {
		kind := []presence.Kind{presence.KindOnline, presence.KindOffline}[i%2]
		now := h.now()
		r := presence.Report{
			App: appID, Peer: peer, Source: presence.SourceAPI, Session: presence.SessionID(fmt.Sprint("l", i/2)), Kind: kind, At: now + presence.Millis(i),
			Cause: presence.CauseLogout,
		}
		if err := h.service.Report(t.Context(), []presence.Report{r}, now, make([]presence.Outcome, 1)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		s.next()
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// measure returns what the process has of the machine's memory for its heap and stacks.
func measure() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
