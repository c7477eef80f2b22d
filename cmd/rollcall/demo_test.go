//go:build unix

package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/childtest"
	"rollcall/internal/npmtest"
)

var picture = flag.Bool("picture", false, "rewrite docs/img/demo.png")

// startDemo starts the demo on a free port, and returns its process and the address of its page.
func startDemo(t *testing.T) (cmd *exec.Cmd, wait func() error, url string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "rollcall")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	cmd = exec.Command(program, "demo", "--listen", "127.0.0.1:0", "--day", "2m")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "ROLLCALL_DATA=/nonexistent/and/not/read"}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if wait, err = childtest.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasSuffix(line, "/demo/\n") {
		t.Fatalf("the demo printed %q, %v", line, err)
	}
	return cmd, wait, strings.TrimSpace(line)
}

// jerrys returns the process that holds jerry's socket.
func jerrys(t *testing.T, url string) (pid int) {
	t.Helper()
	res, err := http.Get(url + "state")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer res.Body.Close()
	var state struct{ Jerry int }
	if err := json.NewDecoder(res.Body).Decode(&state); err != nil {
		t.Fatal(err)
	}
	return state.Jerry
}

// A browser shows jerry offline within ten seconds after his process was killed: in the list that
// polls and in the one that watches. Ctrl-C ends the demo and its children.
func TestTheDemoInABrowser(t *testing.T) {
	cmd, wait, url := startDemo(t)
	npmtest.Install(t, "../../internal/browsertest")
	shot := filepath.Join(t.TempDir(), "demo.png")
	if *picture {
		shot = "../../docs/img/demo.png"
	}
	look := exec.Command("node", "../../demo/testdata/look.js", url, shot)
	look.Stderr = os.Stderr
	out, err := look.Output()
	if err != nil {
		t.Fatalf("look: %v", err)
	}
	var found struct {
		Foreign, Errors           []string
		Seconds                   []float64
		Why, Chinese, Light, Dark string
		People, Width             int
	}
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Logf("%s", out)
	if len(found.Foreign)+len(found.Errors) > 0 {
		t.Errorf("the page asked elsewhere for %v, and failed with %v", found.Foreign, found.Errors)
	}
	if best := slices.Min(found.Seconds); best > 10 {
		t.Errorf("jerry was offline in both lists %v s after his process was killed", found.Seconds)
	}
	if !strings.HasPrefix(found.Why, "offline since ") || !strings.Contains(found.Why, "the connection was lost") {
		t.Errorf("beside jerry stands %q", found.Why)
	}
	if found.People != 50 || found.Width > 360 || found.Light == found.Dark || found.Chinese != "谁在线？ zh-CN" {
		t.Errorf("%+v", found)
	}
	if st, err := os.Stat(shot); err != nil || st.Size() > 200<<10 {
		t.Errorf("the picture: %v, %v", st, err)
	}
	pid := jerrys(t, url)
	if pid == 0 {
		t.Fatal("no process holds jerry's socket")
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := wait(); err != nil {
		t.Errorf("the demo ended with %v", err)
	}
	if err := syscall.Kill(pid, 0); err != syscall.ESRCH {
		t.Errorf("jerry's process %d is still there: %v", pid, err)
	}
}

// A demo that is killed leaves no child either: its end closes their standard input.
func TestAKilledDemoLeavesNoChild(t *testing.T) {
	cmd, wait, url := startDemo(t)
	pid := jerrys(t, url)
	for deadline := time.Now().Add(patience); pid == 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		pid = jerrys(t, url)
	}
	if pid == 0 {
		t.Fatal("no process holds jerry's socket")
	}
	r, err := http.NewRequest(http.MethodPost, url+"do/jerry-kill", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("a page of another origin presses a button: %s", res.Status)
	}
	_ = cmd.Process.Kill()
	_ = wait()
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(patience); syscall.Kill(pid, 0) == nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("jerry's process %d outlives the demo", pid)
		}
	}
}
