package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/childtest"
	"rollcall/internal/redistest"
	"rollcall/presence"
	"rollcall/store/outagetest"
)

// window is the reorder window of the nodes of a world, and hooks of one peer come further apart than that: so that the reference
// need not know to the millisecond when a node has received one. Within the window, order is played in fake time.
const window = 300 * time.Millisecond

// A world is three nodes, each a process with a way to Redis of its own that can be cut.
type world struct {
	t     *testing.T
	redis faulty
	nodes [outagetest.Nodes]*member
	hooks int // acknowledged
}

// faulty is a Redis that can be stopped, and can come back without what it had.
type faulty struct {
	stop, start, lose func()
	// url returns what a node is started with; cut and join are for its way alone, and nil where it has none.
	url func(node int) (url string, cut, join func())
}

// A member is a node.
type member struct {
	w         *world
	dir       string
	url       string
	cut, join func()
	ports     [2]int

	mu   sync.RWMutex // held for reading while a request to it is under way, and for writing while it is killed
	cmd  *exec.Cmd
	gone chan struct{}
}

const worldSettings = `
presence: {window: 300ms}
log: {level: debug}
`

func newWorld(t *testing.T, redis faulty) *world {
	t.Helper()
	w := &world{t: t, redis: redis}
	for i := range w.nodes {
		m := &member{w: w, dir: t.TempDir(), ports: [2]int{freePort(t), freePort(t)}}
		m.url, m.cut, m.join = redis.url(i)
		if err := os.WriteFile(filepath.Join(m.dir, "rollcall.yaml"), []byte(worldSettings), 0o600); err != nil {
			t.Fatal(err)
		}
		w.nodes[i] = m
		if err := m.start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.kill() })
	}
	return w
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (m *member) address() string { return fmt.Sprintf("http://127.0.0.1:%d", m.ports[0]) }

// start starts the node and waits until it answers.
func (m *member) start() error {
	path, err := exec.LookPath("rollcall")
	if err != nil {
		return err
	}
	m.cmd = exec.Command(path, "serve", "--config", "rollcall.yaml", "--data", "data", "--store", m.url,
		"--listen", fmt.Sprintf("127.0.0.1:%d", m.ports[0]), "--admin", fmt.Sprintf("127.0.0.1:%d", m.ports[1]))
	m.cmd.Dir = m.dir
	m.cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID=trial", "LEANCLOUD_APP_KEY=an-app-key-to-try-things",
		"LEANCLOUD_APP_HOOK_KEY=a-hook-key-to-try-things", "LEANCLOUD_APP_MASTER_KEY=a-master-key-to-try-things")
	log, err := os.OpenFile(filepath.Join(m.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	m.cmd.Stderr = log
	wait, err := childtest.Start(m.cmd)
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	m.gone = gone
	go func() {
		_ = wait()
		log.Close()
		close(gone)
	}()
	for end := time.Now().Add(2 * patience); ; time.Sleep(20 * time.Millisecond) {
		status, _, text, err := m.call("/1.1/functions/getOnOffStatus", `{"peerIds":[]}`)
		if err == nil && !(status == http.StatusServiceUnavailable && strings.Contains(text, "starting")) {
			return nil
		}
		if err == nil {
			err = errors.New(text)
		}
		if time.Now().After(end) {
			return fmt.Errorf("node does not start: %w\n%s", err, m.log())
		}
		select {
		case <-gone:
			return fmt.Errorf("node ended at its start\n%s", m.log())
		default:
		}
	}
}

func (m *member) kill() {
	_ = m.cmd.Process.Signal(syscall.SIGKILL)
	<-m.gone
}

func (m *member) log() string {
	b, _ := os.ReadFile(filepath.Join(m.dir, "log"))
	return string(b[max(0, len(b)-8<<10):])
}

var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 2 * patience}

// call posts to a node and returns the status and the body.
func (m *member) call(path, body string) (int, http.Header, string, error) {
	r, err := http.NewRequest("POST", m.address()+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	for k, v := range map[string]string{
		"X-LC-Id": "trial", "X-LC-Key": "an-app-key-to-try-things", "X-LC-Hook-Key": "a-hook-key-to-try-things", "Content-Type": "application/json",
	} {
		r.Header.Set(k, v)
	}
	resp, err := client.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

// closeCodes says which close code a cause comes from.
var closeCodes = map[presence.Cause]int{presence.CauseLogout: 1, presence.CauseLost: 2, presence.CauseReplaced: 3, presence.CauseKicked: 4}

// hook delivers a hook and reports whether it was acknowledged. Nothing is said of one to a node that is gone.
func (m *member) hook(r *presence.Report) error {
	body := map[string]any{"peerId": r.Peer}
	if r.Tag != "" {
		body["tag"] = r.Tag
	}
	name := "_clientOnline"
	if r.Kind == presence.KindOffline {
		name = "_clientOffline"
		if code := closeCodes[r.Cause]; code != 0 {
			body["closeCode"] = code
		}
	} else if r.Reconnect {
		body["reconnect"] = 1
	}
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	status, _, text, err := m.call("/1.1/functions/"+name, string(b))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, text)
	}
	return err
}

// ask returns what a node answers about peers; an answer with an age is none.
func (m *member) ask(peers []presence.PeerID) ([]presence.Status, error) {
	b, err := json.Marshal(map[string]any{"peerIds": peers})
	if err != nil {
		return nil, err
	}
	status, head, text, err := m.call("/1.1/functions/getOnOffStatus", string(b))
	switch {
	case err != nil:
		return nil, err
	case status != http.StatusOK:
		return nil, fmt.Errorf("%d %s", status, text)
	case head.Get("Rollcall-Stale") != "":
		return nil, errors.New("the answer is " + head.Get("Rollcall-Stale") + " s old")
	}
	var answer struct{ Result []*string }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Result) != len(peers) {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	list := make([]presence.Status, len(peers))
	for i, s := range answer.Result {
		switch {
		case s == nil:
		case *s == "1":
			list[i] = presence.Online
		default:
			list[i] = presence.Offline
		}
	}
	return list, nil
}

// A stream is what a watcher at a node was last notified of.
type stream struct {
	mu   sync.Mutex
	last map[presence.PeerID]string
	stop context.CancelFunc
	done sync.WaitGroup
}

// watch follows peers at a node for ever, over connections that end.
func (m *member) watch(peers []presence.PeerID) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{last: map[presence.PeerID]string{}, stop: cancel}
	s.done.Go(func() {
		for ctx.Err() == nil {
			_ = s.follow(ctx, m, peers)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return s
}

func (s *stream) follow(ctx context.Context, m *member, peers []presence.PeerID) error {
	b, err := json.Marshal(map[string]any{"peers": peers})
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, "POST", m.address()+"/v1/watch", bytes.NewReader(b))
	if err != nil {
		return err
	}
	r.Header.Set("X-LC-Id", "trial")
	r.Header.Set("X-LC-Key", "an-app-key-to-try-things")
	r.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: client.Transport}).Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var event struct {
			Peers []struct {
				Peer   presence.PeerID
				Status string
			}
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return err
		}
		s.mu.Lock()
		for _, p := range event.Peers {
			s.last[p.Peer] = p.Status
		}
		s.mu.Unlock()
	}
	return lines.Err()
}

func (s *stream) told(p presence.PeerID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[p]
}

// play plays the schedule of a seed and holds every node and watcher to the reference. It returns how long after the heal all agreed.
func (w *world) play(seed uint64, losses bool) time.Duration {
	s := outagetest.Draw(seed, outagetest.Options{Peers: 6, Hooks: 36, Length: 6 * time.Second, Kills: true, Losses: losses})
	peers := make([]presence.PeerID, s.Peers)
	for i := range peers {
		peers[i] = presence.PeerID(fmt.Sprintf("s%d-p%d", seed, i))
	}
	streams := make([]*stream, len(w.nodes))
	for i, m := range w.nodes {
		streams[i] = m.watch(peers)
		defer func() {
			streams[i].stop()
			streams[i].done.Wait()
		}()
	}
	rules := presence.DefaultRules()
	rules.Window, rules.Replay = window, presence.ReplayWithin
	ref := outagetest.NewReference(rules)
	var mu sync.Mutex
	var running sync.WaitGroup
	turns := make([]sync.Mutex, s.Peers) // one hook of a peer at a time
	next := make([]time.Time, s.Peers)
	begun := time.Now()
	for i, step := range s.Steps {
		time.Sleep(time.Until(begun.Add(step.At)))
		m := w.nodes[step.Node]
		switch step.Do {
		case outagetest.Hook:
			r := step.Report
			if r.Session != "" || r.Policy == presence.PolicyLast { // these hooks have neither
				r.Session, r.Source, r.Policy = "", presence.SourceLeanCloud, presence.PolicySum
			}
			p := step.Peer
			if !turns[p].TryLock() {
				continue
			}
			if time.Now().Before(next[p]) {
				turns[p].Unlock()
				continue
			}
			running.Go(func() {
				defer turns[p].Unlock()
				m.mu.RLock()
				defer m.mu.RUnlock()
				r.Peer, r.ID = peers[p], fmt.Sprint(seed, "/", i)
				r.At = presence.Millis(time.Now().UnixMilli())
				if err := m.hook(&r); err != nil {
					w.t.Errorf("seed %d: %v: %v\n%s", seed, step, err, m.log())
					return
				}
				mu.Lock()
				ref.Acknowledged(r, r.At)
				w.hooks++
				mu.Unlock()
				next[p] = time.Now().Add(2*window + 200*time.Millisecond)
			})
		case outagetest.Cut:
			if m.cut != nil {
				m.cut()
			}
		case outagetest.Join:
			if m.join != nil {
				m.join()
			}
		case outagetest.Stop:
			w.redis.stop()
		case outagetest.Start:
			w.redis.start()
		case outagetest.Kill:
			m.mu.Lock()
			m.kill()
			running.Go(func() {
				defer m.mu.Unlock()
				w.redis.start() // a node does not start without
				if m.join != nil {
					m.join()
				}
				if err := m.start(); err != nil {
					w.t.Error(err)
				}
			})
		case outagetest.Keep:
		case outagetest.Lose:
			if w.redis.lose != nil {
				w.redis.lose()
			}
		}
	}
	running.Wait()
	w.redis.start()
	for _, m := range w.nodes {
		if m.join != nil {
			m.join()
		}
	}
	return w.agree(&s, peers, streams, ref)
}

// agree waits until every node answers, and every watcher was last notified of, what the reference says.
func (w *world) agree(s *outagetest.Schedule, peers []presence.PeerID, streams []*stream, ref *outagetest.Reference) time.Duration {
	healed := time.Now()
	for {
		wrong := w.differences(peers, streams, ref)
		if len(wrong) == 0 {
			return time.Since(healed)
		}
		if time.Since(healed) > patience || w.t.Failed() {
			w.t.Errorf("%v after the heal:\n%s\n%v", time.Since(healed), strings.Join(wrong, "\n"), s)
			return time.Since(healed)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (w *world) differences(peers []presence.PeerID, streams []*stream, ref *outagetest.Reference) (wrong []string) {
	now := presence.Millis(time.Now().UnixMilli())
	for i, m := range w.nodes {
		got, err := m.ask(peers)
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("node %d: %v", i, err))
			continue
		}
		for k, p := range peers {
			want := ref.Status(p, now)
			if got[k] != want {
				wrong = append(wrong, fmt.Sprintf("node %d: %s is %v, want %v\n%s", i, p, got[k], want, ref.Told(p)))
			}
			if told := streams[i].told(p); told != want.String() {
				wrong = append(wrong, fmt.Sprintf("node %d: the last update of %s is %q, want %v\n%s", i, p, told, want, ref.Told(p)))
			}
		}
	}
	return wrong
}

// alone is one Redis behind a proxy for each node.
func alone(t *testing.T) faulty {
	server := redistest.Run(t)
	f := faulty{
		stop: func() { server.Freeze() },
		start: func() {
			if !server.Running() {
				if err := server.Start(); err != nil {
					t.Error(err)
				}
			}
			server.Thaw()
		},
		lose: func() { // what it had is in no file
			server.Thaw()
			server.Kill()
		},
	}
	f.url = func(int) (string, func(), func()) {
		p := redistest.RunProxy(t, server.Addr)
		return "redis://" + p.Addr, func() { p.Freeze() }, func() { p.Thaw() }
	}
	return f
}

// seeds returns n seeds from from on.
func seeds(from, n uint64) []uint64 {
	list := make([]uint64, n)
	for i := range list {
		list[i] = from + uint64(i)
	}
	return list
}

// playOn plays seeds in so many worlds at a time, whatever the number of processors: they wait more than they work.
func playOn(t *testing.T, redis func(t *testing.T) faulty, losses bool, worlds int, seeds []uint64) {
	var mu sync.Mutex
	var longest time.Duration
	hooks := 0
	var playing sync.WaitGroup
	for some := range slices.Chunk(seeds, (len(seeds)+worlds-1)/worlds) {
		w := newWorld(t, redis(t))
		playing.Go(func() {
			for _, seed := range some {
				took := w.play(seed, losses)
				mu.Lock()
				longest = max(longest, took)
				mu.Unlock()
				if t.Failed() {
					return
				}
			}
			mu.Lock()
			hooks += w.hooks
			mu.Unlock()
		})
	}
	playing.Wait()
	t.Logf("%d schedules, %d hooks; all agreed at most %v after a heal", len(seeds), hooks, longest.Round(time.Millisecond))
	if hooks < 10*len(seeds) && !t.Failed() {
		t.Errorf("%d hooks were played, too few to show anything", hooks)
	}
}

// TestThreeNodesAgreeAfterAnOutage plays a few schedules with real nodes on a real Redis; make test-faults plays hundreds.
func TestThreeNodesAgreeAfterAnOutage(t *testing.T) { playOn(t, alone, true, 4, seeds(0, 4)) }
