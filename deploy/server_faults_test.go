//go:build faults && linux

package deploy_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/internal/childtest"
	"rollcall/internal/running"
)

// patience bounds every wait; reaching it is a failure.
const patience = 2 * time.Minute

// TestMain removes the binary that the tests share.
func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(code)
}

var built string // the directory of the binary

// build makes the binary once.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "rollcall-alerts")
	if err != nil {
		return "", err
	}
	built = dir
	file := filepath.Join(dir, "rollcall")
	cmd := exec.Command("go", "build", "-o", file, "rollcall/cmd/rollcall")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return file, nil
})

// A server is a process of rollcall.
type server struct {
	*scene
	cmd   *exec.Cmd
	gone  chan struct{}
	apps  string // "http://127.0.0.1:…"
	admin string
	data  string
}

// serve starts a server whose leases need no grace, and waits until it answers.
func (s *scene) serve(settings ...string) *server {
	s.Helper()
	binary, err := build()
	if err != nil {
		s.Fatal(err)
	}
	v := &server{scene: s, data: s.TempDir(), gone: make(chan struct{})}
	args := []string{"serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", v.data, "--set", "presence.grace=0s"}
	if s.config != "" {
		args = append(args, "--config", s.config)
	}
	for _, set := range settings {
		args = append(args, "--set", set)
	}
	v.cmd = exec.Command(binary, args...)
	v.cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID=app", "LEANCLOUD_APP_KEY=app-key-of-the-test", "LEANCLOUD_APP_HOOK_KEY=hook-key-of-the-test")
	v.cmd.Stderr = s.Output()
	wait, err := childtest.Start(v.cmd)
	if err != nil {
		s.Fatal(err)
	}
	go func() {
		_ = wait()
		close(v.gone)
	}()
	s.Cleanup(v.kill)
	s.until("the server answers", func() bool {
		at, err := running.Read(v.data)
		v.apps, v.admin = "http://"+at.Listen, "http://"+at.Admin
		return err == nil && at.PID == v.cmd.Process.Pid
	})
	return v
}

func (v *server) kill() {
	_ = v.cmd.Process.Kill()
	<-v.gone
}

func (s *scene) until(what string, ok func() bool) {
	s.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("not within %v: %s", patience, what)
		}
	}
}

var client = &http.Client{Timeout: patience}

// call posts a body with the keys of the app and returns the status and the answer.
func (v *server) call(path string, body any) (status int, answer string) {
	v.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		v.Fatal(err)
	}
	r, err := http.NewRequest("POST", v.apps+path, bytes.NewReader(b))
	if err != nil {
		v.Fatal(err)
	}
	v.sign(r)
	resp, err := client.Do(r)
	if err != nil {
		v.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (v *server) sign(r *http.Request) {
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-LC-Id", "app")
	r.Header.Set("X-LC-Key", "app-key-of-the-test")
	r.Header.Set("X-LC-Hook-Key", "hook-key-of-the-test")
}

// An event is a report as /v1/events takes it.
type event map[string]any

// report sends events and has them taken.
func (v *server) report(events ...event) {
	v.Helper()
	if status, answer := v.call("/v1/events", map[string]any{"events": events}); status != http.StatusOK {
		v.Fatalf("a report was answered %d %s", status, answer)
	}
}

// scrape takes what Prometheus would get now; of a server that does not answer, that it is down.
func (v *server) scrape() map[string]string {
	const target = `job="rollcall",instance="a:3001"`
	got := map[string]string{"up{" + target + "}": "0"}
	resp, err := client.Get(v.admin + "/metrics")
	if err != nil {
		return got
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return got
	}
	for line := range strings.Lines(string(b)) {
		i := strings.LastIndexByte(line, ' ')
		if line[0] == '#' || i < 0 {
			continue
		}
		series, value := line[:i], strings.TrimSpace(line[i:])
		if name, labels, ok := strings.Cut(series, "{"); ok {
			series = name + "{" + strings.TrimSuffix(labels, "}") + "," + target + "}"
		} else {
			series += "{" + target + "}"
		}
		got[series] = value
	}
	got["up{"+target+"}"] = "1"
	return got
}

// value returns one number of a server by the begin of its series.
func (v *server) value(prefix string) float64 {
	for series, text := range v.scrape() {
		if strings.HasPrefix(series, prefix) {
			n, err := strconv.ParseFloat(text, 64)
			if err != nil {
				v.Fatal(err)
			}
			return n
		}
	}
	return 0
}

// record does something and scrapes, so many times.
func (v *server) record(times int, do func(i int)) {
	for i := range times {
		do(i)
		v.scrapes = append(v.scrapes, v.scrape())
	}
}

// begin records a server that is well: two peers log in and out.
func (v *server) begin(times int) {
	v.Helper()
	v.record(times, func(i int) { v.traffic(i) })
	v.calm = len(v.scrapes)
}

// traffic is what a source that works well reports.
func (v *server) traffic(i int) {
	v.Helper()
	v.report(event{"peer": "ann", "session": fmt.Sprint(i), "state": "online"}, event{"peer": "tom", "session": fmt.Sprint(i), "state": "online"})
	v.report(event{"peer": "ann", "session": fmt.Sprint(i), "state": "offline"}, event{"peer": "tom", "session": fmt.Sprint(i), "state": "offline"})
}
