//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"rollcall/internal/childtest"
	"rollcall/presence"
)

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

// hook delivers a hook and reports whether it was acknowledged. Nothing is said of one to a node
// that is gone.
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
	seen func(p presence.PeerID, status string) // nil, or called with every update
	stop context.CancelFunc
	done sync.WaitGroup
}

// watch follows peers at a node for ever, over connections that end.
func (m *member) watch(peers []presence.PeerID, seen ...func(p presence.PeerID, status string)) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{last: map[presence.PeerID]string{}, stop: cancel}
	for _, fn := range seen {
		s.seen = fn
	}
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
			if s.seen != nil {
				s.seen(p.Peer, p.Status)
			}
		}
		s.mu.Unlock()
	}
	return lines.Err()
}

func (s *stream) latest(p presence.PeerID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[p]
}
