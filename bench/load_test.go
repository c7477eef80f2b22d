package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A recipe is a server of the dialect that remembers what hooks said, for the driver to be tried
// on.
type recipe struct {
	mu     sync.Mutex
	state  map[string]string
	before func(path string) // called before each answer
}

func (s *recipe) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if s.before != nil {
		s.before(r.URL.Path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var params struct {
		PeerIDs []string
		PeerID  string
	}
	if err := json.Unmarshal(body, &params); err != nil || r.Header.Get("X-LC-Key") != appKey {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	switch r.URL.Path {
	case onlinePath:
		s.state[params.PeerID] = "1"
	case offlinePath:
		s.state[params.PeerID] = "0"
	case queryPath:
		result := []*string{}
		for _, id := range params.PeerIDs {
			if v, ok := s.state[id]; ok {
				result = append(result, &v)
			} else {
				result = append(result, nil)
			}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"result": result})
		return
	default:
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, "{}")
}

// serve starts a recipe and fills it by hooks.
func serve(t *testing.T, peers int) (*recipe, *target) {
	t.Helper()
	s := &recipe{state: map[string]string{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	addr := srv.Listener.Addr().String()
	tg := &target{name: "recipe", addr: addr, truth: newTruth(peers, 1), wire: func() wire { return newLeancloudWire(addr) }}
	if err := fillByHooks(t.Context(), tg); err != nil {
		t.Fatal(err)
	}
	if got := len(s.state); got != peers {
		t.Fatalf("filled %d peers, want %d", got, peers)
	}
	return s, tg
}

func closed(tg *target, w work) load {
	return load{target: tg, work: w, conns: 8, warm: 10 * time.Millisecond, length: 100 * time.Millisecond, seed: 1}
}

func TestEveryWorkAgainstAnHonestServer(t *testing.T) {
	_, tg := serve(t, 5000)
	before := string(tg.truth.state)
	for _, w := range works {
		t.Run(w.name, func(t *testing.T) {
			l, run := closed(tg, w), closedLoop
			if w.open {
				l.rate, run = 500, openLoop
			}
			s, err := run(t.Context(), l)
			if err != nil {
				t.Fatal(err)
			}
			if s.answered == 0 || s.p50 <= 0 || s.p99 < s.p50 {
				t.Errorf("measured %+v", s)
			}
		})
	}
	if string(tg.truth.state) == before {
		t.Error("the hooks turned nobody")
	}
	// After all those hooks the server and the driver must still agree about everybody.
	if err := verify(t.Context(), tg, 4); err != nil {
		t.Error(err)
	}
}

func TestALieFailsTheRun(t *testing.T) {
	for _, w := range works {
		if w.ids == 0 {
			continue // the answer to a hook says nothing
		}
		t.Run(w.name, func(t *testing.T) {
			_, tg := serve(t, 1000)
			// Half of all peers turn behind the driver's back.
			for p := 0; p < 1000; p += 2 {
				tg.truth.turn(p)
			}
			l, run := closed(tg, w), closedLoop
			if w.open {
				l.rate, run = 500, openLoop
			}
			_, err := run(t.Context(), l)
			var wrong *wrongError
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "said of user-") {
				t.Errorf("got %v, want a complaint about a peer", err)
			}
		})
	}
}

func TestALostHookIsFoundInTheEnd(t *testing.T) {
	s, tg := serve(t, 1000)
	s.mu.Lock()
	s.state["user-0000000640"] = map[string]string{"0": "1", "1": "0"}[s.state["user-0000000640"]]
	s.mu.Unlock()
	err := verify(t.Context(), tg, 4)
	if err == nil || !strings.Contains(err.Error(), "user-0000000640") {
		t.Errorf("got %v, want a complaint about peer 640", err)
	}
}

func TestAnErrorAnswerFailsTheRun(t *testing.T) {
	_, tg := serve(t, 1000)
	honest := tg.wire
	tg.wire = func() wire {
		w := honest().(*leancloudWire)
		w.on = []byte(strings.Replace(string(w.on), appKey, strings.Repeat("x", len(appKey)), 1))
		w.off = []byte(strings.Replace(string(w.off), appKey, strings.Repeat("x", len(appKey)), 1))
		return w
	}
	_, err := closedLoop(t.Context(), closed(tg, work{hooks: 100}))
	if err == nil || !strings.Contains(err.Error(), "answered 400") {
		t.Errorf("got %v, want the status", err)
	}
}

func TestStoppingEndsAWindow(t *testing.T) {
	_, tg := serve(t, 1000)
	for name, run := range map[string]func(context.Context, load) (sample, error){"closed": closedLoop, "open": openLoop} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			l := closed(tg, work{ids: 20})
			l.length, l.rate = time.Minute, 500
			began := time.Now()
			if _, err := run(ctx, l); err == nil {
				t.Error("a stopped window made a figure")
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v to stop", took)
			}
		})
	}
}

// The point of the open loop: a server that stalls once makes all requests late that were due
// meanwhile. A closed loop on the same server has few of them to show.
func TestAStallIsNotOmitted(t *testing.T) {
	const stall = 200 * time.Millisecond
	s, tg := serve(t, 2000)
	var once sync.Once
	began := time.Now()
	s.before = func(string) {
		if time.Since(began) > 100*time.Millisecond {
			once.Do(func() {
				s.mu.Lock() // all others wait as well
				time.Sleep(stall)
				s.mu.Unlock()
			})
		}
	}
	l := closed(tg, work{ids: 20, open: true})
	l.length, l.rate = time.Second, 500
	got, err := openLoop(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	// 100 of 500 requests fall due during the stall, so one in a hundred waits for nearly all of
	// it.
	if got.p99 < stall*3/4 {
		t.Errorf("p99 %v, want nearly %v", got.p99, stall)
	}
}

func TestCallersShareNoPeer(t *testing.T) {
	tg := &target{truth: newTruth(1003, 1), wire: func() wire { return newRespWire() }}
	owner := map[int]int{}
	for lane := range 8 {
		c := load{target: tg, work: work{hooks: 100}, conns: 8}.caller(nil, lane)
		for range 2000 {
			c.next()
			if c.turns < 0 || c.turns >= 1003 {
				t.Fatalf("a hook for peer %d of 1003", c.turns)
			}
			if other, ok := owner[c.turns]; ok && other != lane {
				t.Fatalf("callers %d and %d both turn peer %d", other, lane, c.turns)
			}
			owner[c.turns] = lane
		}
	}
	if len(owner) != 1003 {
		t.Errorf("%d of 1003 peers were ever chosen", len(owner))
	}
}
