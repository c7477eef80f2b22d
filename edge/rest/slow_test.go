package rest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"rollcall/edge/gateway"
	"rollcall/edge/sse"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/presence"
	"rollcall/watch"
)

// Watchers that stop reading get bye behind what they have not read and are closed, and they cost
// bounded memory.
func TestStoppedWatchers(t *testing.T) { stopped(t, 60, 200_000) }

// stopped plays watchers that stop reading under at least so many changes, and until the last of
// them is closed.
func stopped(t *testing.T, watchers, changes int) {
	h := open(t, func(cfg *api.Config, _ *watch.Config) {
		cfg.Limits = limit.Limits{} // it is not they who are tried
	})
	ids := longNames(100)
	warm := make(chan struct{})
	close(warm)
	h.change(ids, 100_000, warm) // what this process remembers of reports is full now
	before := measure()

	conns := make([]net.Conn, watchers)
	for i := range conns {
		conns[i] = h.openAndStop(ids)
	}
	h.await(time.Minute, func() bool { return h.hub.Stats().Watchers == watchers })
	start := time.Now()
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { h.change(ids, changes, done) })
	var peak uint64
	looks := 0
	for ; h.hub.Stats().Closed[watch.ReasonSlow] < int64(watchers); looks++ {
		peak = max(peak, measure())
		if time.Since(start) > 5*time.Minute {
			t.Fatalf("after %v: %+v", time.Since(start), h.hub.Stats())
		}
		time.Sleep(100 * time.Millisecond)
	}
	took := time.Since(start).Round(time.Millisecond)
	close(done)
	wg.Wait()
	grown := int64(peak) - int64(before)
	t.Logf("%d stopped watchers closed after %v and %d looks, memory grew by %d KiB", watchers, took, looks, grown>>10)
	// 10 s and the ticks of a thousand. The clock is the looks, a tenth of a second apart: they are
	// late where the machine has other work.
	if looks > 200 {
		t.Errorf("the last of them was closed after %d looks in %v", looks, took)
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

// A socket that takes nothing of what it is sent is closed as a stream is: by what is on its way,
// not by when the kernel is full, and with the reason behind it. (One that reads slowly is not:
// TestASocketThatReadsSlowlyStays of the gateway, in fake time.)
func TestASocketThatTakesNothingIsClosedWithAReason(t *testing.T) {
	h := build(t, presence.DefaultConfig(), func(sockets *gateway.Config, _ *sse.Config) {
		sockets.Stall, sockets.Ping, sockets.Lease = time.Second, 0, time.Hour
	}, func(cfg *api.Config, hub *watch.Config) {
		cfg.Limits = limit.Limits{}
		hub.Tick, hub.Mark = 10*time.Millisecond, time.Hour
	})
	ids := longNames(300)
	other := h.stream(as("app"), "/v1/watch?peer="+string(ids[0]))
	other.expect("snapshot " + string(ids[0]) + "=unknown")
	stopped := h.dialAndStop(ids)
	h.await(time.Minute, func() bool { return h.hub.Stats().Watchers == 2 })
	for round, end := 0, time.Now().Add(time.Minute); h.hub.Stats().Closed[watch.ReasonSlow] == 0; round++ {
		if time.Now().After(end) {
			t.Fatalf("after a minute it is open: %+v", h.hub.Stats())
		}
		status := h.turnAll(ids, round)
		other.expect("change " + string(ids[0]) + "=" + status)
	}
	_ = stopped.SetReadDeadline(time.Now().Add(time.Minute))
	b, err := io.ReadAll(stopped)
	if err != nil || !strings.Contains(string(b), `{"op":"bye","reason":"slow"}`) || !strings.HasSuffix(string(b), "SLOW") {
		t.Errorf("%v, the last of %d bytes: %q", err, len(b), b[max(0, len(b)-200):])
	}
	if len(b) > 200<<10 {
		t.Errorf("%d bytes were sent to a reader that takes none", len(b))
	}
	if n := h.hub.Stats().Watchers; n != 1 {
		t.Errorf("%d watchers are left, want the one that reads", n)
	}
}

// Once a reader that stopped has its buffers full, a change costs it nothing: no frame is made for
// it and none is written, over either door.
func TestReadersThatStoppedAreNotWrittenTo(t *testing.T) {
	h := build(t, presence.DefaultConfig(), func(sockets *gateway.Config, streams *sse.Config) {
		// None is closed while the test looks.
		streams.Stall, sockets.Stall = 5*time.Minute, 5*time.Minute
		sockets.Ping, sockets.Lease = 0, time.Hour
	}, func(cfg *api.Config, hub *watch.Config) {
		cfg.Limits = limit.Limits{}
		hub.Tick, hub.Mark = 10*time.Millisecond, time.Hour
	})
	ids := longNames(300)
	other := h.stream(as("app"), "/v1/watch?peer="+string(ids[0]))
	other.expect("snapshot " + string(ids[0]) + "=unknown")
	const each = 3
	for range each {
		h.openAndStop(ids)
		h.dialAndStop(ids)
	}
	h.await(time.Minute, func() bool { return h.hub.Stats().Watchers == 1+2*each })
	round := 0
	turn := func(n int) (frames int64) {
		before := h.hub.Stats().Batches
		for range n {
			status := h.turnAll(ids, round)
			other.expect("change " + string(ids[0]) + "=" + status)
			round++
		}
		return h.hub.Stats().Batches - before
	}
	const window = 20
	first := turn(window)
	if first < window+2*each {
		t.Errorf("%d frames were made for the first %d changes, though all have room for one", first, window)
	}
	full := false
	// Left alone the kernel would take more than a hundred frames for a socket.
	for i := 0; i < 3 && !full; i++ {
		// The frame of the other may be counted a moment after it came.
		full = turn(window) <= window+1
	}
	if !full {
		t.Fatalf("after %d changes of %d peers they are still told: %+v", round, len(ids), h.hub.Stats())
	}
	behind := h.hub.Stats().Behind
	if n := turn(5 * window); n > 5*window+1 {
		t.Errorf("%d frames were made for %d changes that one reader takes", n, 5*window)
	}
	s := h.hub.Stats()
	if s.Behind != behind || s.Behind < 2*each {
		t.Errorf("%d readers fell behind %d times, and %d times after that", 2*each, behind, s.Behind-behind)
	}
	if s.Watchers != 1+2*each {
		t.Errorf("%d watchers are there, want %d", s.Watchers, 1+2*each)
	}
}

func longNames(n int) []presence.PeerID {
	all := make([]presence.PeerID, n)
	for i := range all {
		all[i] = presence.PeerID(fmt.Sprintf("a-peer-with-quite-a-long-name-so-that-frames-are-long-%04d", i))
	}
	return all
}

// await waits until ok, and for no longer than d.
func (h *house) await(d time.Duration, ok func() bool) {
	h.Helper()
	for start := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(start) > d {
			h.Fatalf("after %v: %+v", d, h.hub.Stats())
		}
	}
}

// openAndStop opens a stream and reads nothing of it.
func (h *house) openAndStop(peers []presence.PeerID) net.Conn {
	h.Helper()
	c := h.narrow()
	q := url.Values{}
	for _, p := range peers {
		q.Add("peer", string(p))
	}
	if _, err := fmt.Fprintf(c, "GET /v1/watch?%s HTTP/1.1\r\nHost: x\r\nX-LC-Id: %s\r\nX-LC-Key: %s\r\n\r\n", q.Encode(), appID, appKey); err != nil {
		h.Fatal(err)
	}
	return c
}

// dialAndStop opens a socket that watches, and reads nothing of it.
func (h *house) dialAndStop(peers []presence.PeerID) net.Conn {
	h.Helper()
	tcp := h.narrow()
	c, res, err := websocket.Dial(h.Context(), "ws"+strings.TrimPrefix(h.URL, "http")+"/v1/socket", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return tcp, nil }}},
	})
	if err != nil {
		h.Fatal(err)
	}
	if res.Body != nil {
		_ = res.Body.Close()
	}
	s := client{h.TB, c}
	s.say(`{"op":"hello","app":%q,"key":%q}`, appID, appKey)
	list, err := json.Marshal(peers)
	if err != nil {
		h.Fatal(err)
	}
	s.say(`{"op":"watch","peers":%s}`, list)
	return tcp
}

// narrow returns a connection of which the kernel takes in little that is not read.
func (h *house) narrow() net.Conn {
	h.Helper()
	c, err := net.Dial("tcp", h.Listener.Addr().String())
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = c.Close() })
	_ = c.(*net.TCPConn).SetReadBuffer(16 << 10)
	return c
}

// turnAll turns all peers at once, on in even rounds, and returns what they are.
func (h *house) turnAll(peers []presence.PeerID, round int) (status string) {
	h.Helper()
	kind, status := presence.KindOnline, "online"
	if round%2 == 1 {
		kind, status = presence.KindOffline, "offline"
	}
	now := h.now()
	reports := make([]presence.Report, len(peers))
	for i, p := range peers {
		reports[i] = presence.Report{
			App: appID, Peer: p, Source: presence.SourceAPI, Session: "1", Kind: kind, At: now, Incarnation: presence.Millis(round/2 + 1),
			Cause: presence.CauseLogout,
		}
	}
	if err := h.service.Report(h.Context(), reports, now, make([]presence.Outcome, len(peers))); err != nil {
		h.Fatal(err)
	}
	return status
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

// measure returns the bytes of live objects and stacks: what a collection finds, and not what is
// allocated until it is read.
func measure() uint64 {
	runtime.GC()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(live)
	return live[0].Value.Uint64() + live[1].Value.Uint64()
}
