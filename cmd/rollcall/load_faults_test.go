//go:build faults && linux

package main

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/presence"
)

const (
	hookRate  = 500  // a second
	queryRate = 1000 // a second
	askedIDs  = 20   // of each query
	answering = time.Minute
)

// notForLong is how long an idle connection is used again. A server that stops keeps those that
// idle for half a second. A request that is sent on one as it is closed gets no answer from any
// server, and whether it may be sent again only its client knows.
const notForLong = 100 * time.Millisecond

// A load is what an app and its IM service do to a server all the time. Nothing is sent a second
// time: what is refused once is a failure.
type load struct {
	t      *testing.T
	url    string
	http   *http.Client
	steady []presence.PeerID // online from the start, and asked about
	window time.Duration     // at least so long after a peer came online it goes
	first  int               // the number of the first of those who come

	mu             sync.Mutex
	want           map[presence.PeerID]bool // what was acknowledged: online or not
	left           []arrival                // those who have not gone yet
	failed         map[string]int
	hooks, queries int
	longest        time.Duration
}

type arrival struct {
	peer presence.PeerID
	at   time.Time
}

func newLoad(t *testing.T, url string, steady []presence.PeerID) *load {
	transport := &http.Transport{MaxIdleConns: 1000, MaxIdleConnsPerHost: 1000, MaxConnsPerHost: 1000, IdleConnTimeout: notForLong}
	t.Cleanup(transport.CloseIdleConnections)
	return &load{
		t: t, url: url, http: &http.Client{Transport: transport, Timeout: answering}, steady: steady, window: 2 * time.Second,
		want: map[presence.PeerID]bool{}, failed: map[string]int{},
	}
}

// call makes a call of LeanCloud's, signed where it is a question, and returns the answer's result.
func (l *load) call(function string, body any) (json.RawMessage, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodPost, l.url+"/1.1/functions/"+function, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	r.GetBody = nil // or the transport sends it again by itself
	r.Header.Set("X-LC-Id", "trial")
	r.Header.Set("Content-Type", "application/json")
	if function == "getOnOffStatus" {
		now := fmt.Sprint(time.Now().UnixMilli())
		sum := md5.Sum([]byte(now + "an-app-key-to-try-things"))
		r.Header.Set("X-LC-Sign", hex.EncodeToString(sum[:])+","+now)
	} else {
		r.Header.Set("X-LC-Hook-Key", "a-hook-key-to-try-things")
		r.Header.Set("X-LC-Key", "an-app-key-to-try-things")
	}
	begun := time.Now()
	res, err := l.http.Do(r)
	if err != nil {
		return nil, errors.Unwrap(err) // without the address
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.longest = max(l.longest, time.Since(begun))
	l.mu.Unlock()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%d %s", res.StatusCode, text)
	}
	if age := res.Header.Get("Rollcall-Stale"); age != "" {
		return nil, errors.New("an answer has an age")
	}
	var answer struct{ Result json.RawMessage }
	return answer.Result, json.Unmarshal(text, &answer)
}

// fail notes what happened to a call.
func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed[fmt.Sprintf(format, args...)]++
}

// hook reports that a peer came online or logged out.
func (l *load) hook(p presence.PeerID, online bool) error {
	var err error
	if online {
		_, err = l.call("_clientOnline", map[string]any{"peerId": p})
	} else {
		_, err = l.call("_clientOffline", map[string]any{"peerId": p, "closeCode": 1})
	}
	if err != nil {
		l.fail("hook: %v", err)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hooks++
	l.want[p] = online
	if online {
		l.left = append(l.left, arrival{p, time.Now()})
	}
	return nil
}

// nextHook reports the n-th thing that happens: someone new comes, or someone who came goes.
func (l *load) nextHook(n int) {
	l.mu.Lock()
	var goes presence.PeerID
	if n%2 == 1 && len(l.left) > 0 && time.Since(l.left[0].at) > l.window {
		goes, l.left = l.left[0].peer, l.left[1:]
	}
	l.mu.Unlock()
	if goes != "" {
		_ = l.hook(goes, false)
		return
	}
	_ = l.hook(presence.PeerID(fmt.Sprint("h", l.first+n)), true)
}

// ask asks about peers and returns their statuses: "1", "0" or "null".
func (l *load) ask(peers []presence.PeerID) ([]string, error) {
	result, err := l.call("getOnOffStatus", map[string]any{"peerIds": peers})
	if err != nil {
		return nil, err
	}
	var list []*string
	if err := json.Unmarshal(result, &list); err != nil || len(list) != len(peers) {
		return nil, fmt.Errorf("%w: %s", err, result)
	}
	statuses := make([]string, len(list))
	for i, s := range list {
		statuses[i] = "null"
		if s != nil {
			statuses[i] = *s
		}
	}
	return statuses, nil
}

// nextQuery asks about some of those who are online all the time.
func (l *load) nextQuery(n int) {
	from := n * askedIDs % len(l.steady)
	got, err := l.ask(l.steady[from:min(from+askedIDs, len(l.steady))])
	if err != nil {
		l.fail("query: %v", err)
	}
	for _, s := range got {
		if s != "1" {
			l.fail("query: a peer that is online all the time is %s", s)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queries++
}

// run makes calls at their rates until the function that it returns is called, which waits for
// those under way. The calls wait for no answer of one another.
func (l *load) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	every := func(rate int, next func(n int)) {
		all.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			begun, made := time.Now(), 0
			for ; ctx.Err() == nil; <-tick.C {
				due := int(time.Since(begun).Seconds() * float64(rate))
				for n := made; n < due; n++ {
					all.Go(func() { next(n) })
				}
				made = due
			}
		})
	}
	every(hookRate, l.nextHook)
	every(queryRate, l.nextQuery)
	return func() {
		cancel()
		all.Wait()
	}
}

// check compares what was acknowledged with what is answered now, and reports what failed.
func (l *load) check() {
	l.t.Helper()
	for failure, times := range l.failed {
		l.t.Errorf("%d times: %s", times, failure)
	}
	var wrong []string
	for some := range slices.Chunk(slices.Sorted(maps.Keys(l.want)), 1000) {
		got, err := l.ask(some)
		if err != nil {
			l.t.Fatal(err)
		}
		for i, p := range some {
			if (got[i] == "1") != l.want[p] || got[i] == "null" {
				wrong = append(wrong, fmt.Sprintf("%s is %s, acknowledged as online: %t\n%s", p, got[i], l.want[p], l.why(p)))
			}
		}
	}
	if n := len(wrong); n > 0 {
		l.t.Errorf("%d of %d acknowledged hooks are lost:\n%s", n, l.hooks, strings.Join(wrong[:min(n, 5)], "\n"))
	}
	l.t.Logf("%d hooks, %d queries, longest wait %v", l.hooks, l.queries, l.longest.Round(time.Millisecond))
}

// why returns how the server explains the status of a peer.
func (l *load) why(p presence.PeerID) string {
	r, err := http.NewRequest(http.MethodGet, l.url+"/v1/peers/"+string(p)+"/why", nil)
	if err != nil {
		return err.Error()
	}
	r.Header.Set("X-LC-Id", "trial")
	r.Header.Set("X-LC-Key", "a-master-key-to-try-things,master")
	res, err := l.http.Do(r)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return fmt.Sprint(string(text), err)
}

// peersNamed returns n peers that begin with a letter.
func peersNamed(prefix string, n int) []presence.PeerID {
	list := make([]presence.PeerID, n)
	for i := range list {
		list[i] = presence.PeerID(fmt.Sprint(prefix, i))
	}
	return list
}

func names(peers []presence.PeerID) []string {
	return strings.Fields(strings.Trim(fmt.Sprint(peers), "[]"))
}
