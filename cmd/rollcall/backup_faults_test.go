//go:build faults && unix

package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rollcall/internal/childtest"
	"rollcall/transfer"
)

// A lone is one server on disk, of the real binary.
type lone struct {
	apps, admin string
	end         func()
}

const loneApp, loneKey = "rollcallTestAppId000001", "testHookKey00000000001"

func serveAlone(t *testing.T, dir string) *lone {
	t.Helper()
	l := &lone{apps: fmt.Sprint("127.0.0.1:", freePort(t)), admin: fmt.Sprint("127.0.0.1:", freePort(t))}
	cmd := exec.Command("rollcall", "serve", "--listen", l.apps, "--admin", l.admin, "--data", dir)
	cmd.Env = append(os.Environ(), "LEANCLOUD_APP_ID="+loneApp, "LEANCLOUD_APP_KEY=testAppKey0000000000001", "LEANCLOUD_APP_HOOK_KEY="+loneKey)
	var log bytes.Buffer
	cmd.Stderr = &log
	wait, err := childtest.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	l.end = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = wait()
	})
	t.Cleanup(l.end)
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if resp, err := http.Get("http://" + l.admin + "/readyz"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return l
			}
		}
		if time.Now().After(end) {
			t.Fatalf("not ready\n%s", log.String())
		}
	}
}

// report reports that peer is online, and returns whether that is acknowledged.
func (l *lone) report(peer string) bool {
	body := fmt.Sprintf(`{"events":[{"peer":%q,"session":"1","state":"online"}]}`, peer)
	r, _ := http.NewRequest(http.MethodPost, "http://"+l.apps+"/v1/events", strings.NewReader(body))
	r.Header.Set("X-LC-Id", loneApp)
	r.Header.Set("X-LC-Hook-Key", loneKey)
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// TestFaultABackupUnderLoadHasAllThatWasAcknowledged: 16 writers report peers of their own, one
// after the other. What is acknowledged before the backup begins is in the restored directory.
func TestFaultABackupUnderLoadHasAllThatWasAcknowledged(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	dir := t.TempDir()
	s := serveAlone(t, filepath.Join(dir, "data"))
	const writers = 16
	var acked [writers]atomic.Int64
	var stop atomic.Bool
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for n := int64(0); !stop.Load(); n++ {
				if !s.report(fmt.Sprintf("w%d-%d", w, n)) {
					t.Errorf("report %d of writer %d is refused", n, w)
					return
				}
				acked[w].Store(n + 1)
			}
		})
	}
	defer running.Wait()
	defer stop.Store(true)
	for round := range 5 {
		time.Sleep(time.Second)
		var before [writers]int64
		for w := range before {
			before[w] = acked[w].Load()
		}
		file := filepath.Join(dir, fmt.Sprint("backup-", round))
		out, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		backup := exec.Command("rollcall", "backup", "--admin", s.admin)
		backup.Stdout, backup.Stderr = out, os.Stderr
		if err := backup.Run(); err != nil {
			t.Fatal(err)
		}
		_ = out.Close()
		again := filepath.Join(dir, fmt.Sprint("again-", round))
		if b, err := exec.Command("rollcall", "restore", file, "--data", again).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		r := serveAlone(t, again)
		have := exported(t, r)
		for w := range before {
			for n := range before[w] {
				if peer := fmt.Sprintf("w%d-%d", w, n); have[peer] != "online" {
					t.Fatalf("%s was acknowledged before backup %d began, and is %q in what was restored, which has %d peers", peer, round, have[peer], len(have))
				}
			}
		}
		r.end()
		t.Logf("backup %d: %d peers, %d of them acknowledged before", round, len(have), sum(before[:]))
	}
}

func sum(list []int64) (n int64) {
	for _, v := range list {
		n += v
	}
	return n
}

// exported returns the status of every peer of s.
func exported(t *testing.T, s *lone) map[string]string {
	t.Helper()
	resp, err := http.Get("http://" + s.admin + "/export")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r, err := transfer.NewReader(resp.Body)
	all := map[string]string{}
	for err == nil {
		var l *transfer.Line
		if l, _, err = r.Next(); err == nil {
			all[string(l.Peer)] = l.Status
		}
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	return all
}
