//go:build faults && linux

package docs_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rollcall/internal/redistest"
)

// procedure returns the blocks of shell of a procedure of the runbook.
func procedure(t *testing.T, title string, blocks int) []string {
	t.Helper()
	text, err := os.ReadFile("runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n### "+title+"\n")
	if !ok {
		t.Fatalf("the runbook lacks %q", title)
	}
	section, _, _ := strings.Cut(rest, "\n### ")
	var found []string
	for _, m := range fence.FindAllStringSubmatch(section, -1) {
		if m[1] == "sh" {
			found = append(found, m[2])
		}
	}
	if len(found) != blocks {
		t.Fatalf("%q has %d blocks, want %d", title, len(found), blocks)
	}
	return found
}

// operate runs a block as an operator does, who goes on after a command that fails, and wants each
// of the words in what it prints.
func (r *rollcall) operate(t *testing.T, block, environ string, words ...string) {
	t.Helper()
	out, err := r.shell(t, "set +e\nexport ROLLCALL_DATA='"+r.data+"' "+environ+"\n"+block)
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("%s\nprints no %q (%v):\n%s", block, w, err, out)
		}
	}
	if strings.Contains(out, "not found") {
		t.Errorf("%s\nprints\n%s", block, out)
	}
}

func (r *rollcall) hook(t *testing.T, peer string) int {
	t.Helper()
	code, _ := post(t, "http://"+r.Listen+"/1.1/functions/_clientOnline", `{"peerId":"`+peer+`"}`, true)
	return code
}

// TestFaultTheRunbookOnAFullDisk: its commands show the fault and wait for its end; what it says of
// reports and questions is so.
func TestFaultTheRunbookOnAFullDisk(t *testing.T) {
	first, disk := procedure(t, "The first hour", 1), procedure(t, "The disk is full", 2)
	r := startServer(t)
	r.operate(t, first[0], "", "ready", "on disk in", "presence:")
	if code := r.hook(t, "tom"); code != http.StatusOK {
		t.Fatalf("a hook is answered %d", code)
	}
	limit := func(bytes uint64) {
		if err := unix.Prlimit(r.PID, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	limit(0)
	if code := r.hook(t, "ann"); code != http.StatusServiceUnavailable {
		t.Errorf("a hook is answered %d on a full disk", code)
	}
	if got := status(t, r.Listen, "tom"); got != isOnline {
		t.Errorf("tom is %s on a full disk", got)
	}
	r.operate(t, disk[0], "", "degraded", "Filesystem", "IUse%", "state")
	limit(unix.RLIM_INFINITY)
	r.operate(t, disk[1], "", "ready")
	if code := r.hook(t, "ann"); code != http.StatusOK {
		t.Errorf("a hook is answered %d afterwards", code)
	}
}

// TestFaultTheRunbookWithoutRedis: the same for a Redis that is gone, and comes back empty.
func TestFaultTheRunbookWithoutRedis(t *testing.T) {
	blocks := procedure(t, "Redis is gone", 2)
	redis := redistest.Run(t)
	store := "ROLLCALL_STORE=redis://" + redis.Addr
	r := startServer(t, store)
	if code := r.hook(t, "tom"); code != http.StatusOK {
		t.Fatalf("a hook is answered %d", code)
	}
	if got := status(t, r.Listen, "tom"); got != isOnline {
		t.Fatalf("tom is %s", got)
	}
	// A server that has just started asks Redis each time until invalidations reach it.
	eventually(t, "the server keeps the answer", func() bool {
		status(t, r.Listen, "tom")
		return regexp.MustCompile(`rollcall_store\{count="near_cache_hits"\} [1-9]`).MatchString(body(t, "http://"+r.Admin+"/metrics"))
	})
	redis.Kill()
	eventually(t, "the server sees it", func() bool {
		resp, err := http.Get("http://" + r.Admin + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusServiceUnavailable
	})
	if code := r.hook(t, "ann"); code != http.StatusOK {
		t.Errorf("a hook is answered %d without Redis", code)
	}
	if got := status(t, r.Listen, "tom"); got != isOnline {
		t.Errorf("tom is %s without Redis", got)
	}
	r.operate(t, blocks[0], store, "degraded", redis.Addr, "Could not connect")
	if err := redis.Start(); err != nil {
		t.Fatal(err)
	}
	r.operate(t, blocks[1], store, "ready", "spool waiting")
	for _, peer := range []string{"tom", "ann"} {
		eventually(t, peer+" is online again", func() bool { return status(t, r.Listen, peer) == isOnline })
	}
}

// body returns what GET url answers.
func body(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
