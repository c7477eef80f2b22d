package gateway_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/edge/gateway"
	"rollcall/edge/gateway/v1"
	"rollcall/internal/api"
	"rollcall/internal/limit"
	"rollcall/presence"
	"rollcall/store/embedded"
	"rollcall/watch"
)

// A socket that takes 2 KiB a second, of frames that take it longer than the stall, stays; once it
// takes nothing it is closed. The time is fake: a busy machine makes no reader slower than it is.
func TestASocketThatReadsSlowlyStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, err := embedded.Open(embedded.Config{}, embedded.Deps{}, bubbleNow())
		if err != nil {
			t.Fatal(err)
		}
		b := newBubble(t, "node-1", store, func(c *gateway.Config) { c.Ping, c.Lease = 0, time.Hour })
		stall := b.gw.Config().Stall
		hub, door, handler := b.watching()
		ids := make([]string, 1000)
		for i := range ids {
			ids[i] = longName(i)
		}
		client := openWatch(t, handler, ids)
		defer func() {
			_ = client.Close()
			hub.Close(watch.ReasonShutdown)
			door.Close()
			if err := errors.Join(b.gw.Close(), store.Close()); err != nil {
				t.Error(err)
			}
		}()
		var taken atomic.Int64
		var stopped atomic.Bool
		go func() {
			for buf := make([]byte, 1<<10); !stopped.Load(); time.Sleep(500 * time.Millisecond) {
				n, err := client.Read(buf)
				taken.Add(int64(n))
				if err != nil {
					return
				}
			}
		}()
		first := int64(len(ids) * len(ids[0])) // less than the snapshot
		for round := 0; taken.Load() < 3*first; round++ {
			b.turnAll(ids, round)
			was := taken.Load()
			time.Sleep(stall)
			synctest.Wait()
			if s := hub.Stats(); taken.Load() == was || s.Watchers != 1 {
				t.Fatalf("after %d bytes, %d rounds: %+v, %+v", taken.Load(), round, s, b.gw.Stats())
			}
		}
		stopped.Store(true)
		b.turnAll(ids, 0)
		time.Sleep(3 * stall)
		synctest.Wait()
		if s := hub.Stats(); s.Watchers != 0 {
			t.Errorf("a socket that takes nothing is open: %+v", s)
		}
	})
}

// longName returns the i-th of many long names.
func longName(i int) string {
	return "a-peer-with-quite-a-long-name-" + string(rune('a'+i/676)) + string(rune('a'+i/26%26)) + string(rune('a'+i%26))
}

// watching puts /v1/socket before the gateway of b.
func (b *bubble) watching() (*watch.Hub, *v1.Door, http.Handler) {
	b.t.Helper()
	ring, err := api.NewKeyring([]api.App{{ID: appID, Key: appKey, MasterKey: masterKey}})
	if err != nil {
		b.t.Fatal(err)
	}
	hub := watch.New(watch.DefaultConfig(), watch.Deps{Service: b.svc, Source: b.store, Now: bubbleNow})
	gate := api.DefaultConfig()
	gate.Limits = limit.Limits{}
	doors := api.NewGate(gate, api.Deps{Keys: ring, Log: slog.New(slog.DiscardHandler), Now: func() int64 { return int64(bubbleNow()) }})
	door := v1.New(v1.Config{}, v1.Deps{Gateway: b.gw, Hub: hub, Gate: doors})
	mux := http.NewServeMux()
	doors.Mux(mux, door.Routes())
	return hub, door, mux
}

// A pipeWriter hands out a pipe as the connection of a request.
type pipeWriter struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (w pipeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// openWatch returns the client's end of a socket that watches ids, with nothing read of it.
func openWatch(t *testing.T, handler http.Handler, ids []string) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/socket", nil)
	for k, v := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		r.Header.Set(k, v)
	}
	go handler.ServeHTTP(pipeWriter{httptest.NewRecorder(), server}, r)
	list, err := json.Marshal(ids)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for _, m := range []string{
			`{"op":"hello","app":"` + appID + `","key":"` + appKey + `"}`,
			`{"op":"watch","peers":` + string(list) + `}`,
		} {
			m = fmt.Sprintf("%-126s", m) // a shorter one has another head
			head := []byte{0x81, 0x80 | 126, byte(len(m) >> 8), byte(len(m)), 0, 0, 0, 0}
			if _, err := client.Write(append(head, m...)); err != nil {
				return
			}
		}
	}()
	return client
}

// turnAll turns all peers at once, on in even rounds.
func (b *bubble) turnAll(ids []string, round int) {
	b.t.Helper()
	now := bubbleNow()
	reports := make([]presence.Report, len(ids))
	for i, id := range ids {
		reports[i] = presence.Report{
			App: appID, Peer: presence.PeerID(id), Source: presence.SourceAPI, Session: "1", Kind: presence.KindOnline, At: now,
			Incarnation: now, Cause: presence.CauseLogout,
		}
		if round%2 == 1 {
			reports[i].Kind = presence.KindOffline
		}
	}
	if err := b.svc.Report(b.t.Context(), reports, now, make([]presence.Outcome, len(reports))); err != nil {
		b.t.Fatal(err)
	}
}
