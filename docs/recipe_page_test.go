package docs_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// statusPage is written for Chinese readers who look for a way to know who is online.
const statusPage = "zh/在线状态查询.md"

var shown = regexp.MustCompile("(?ms)^```(sh|js|text)\n(.*?)^```$")

// Every command of the page is run as it is written, in one shell, by a reader who has started a
// server in another terminal; what a command prints is what the page shows, … standing for any
// text.
func TestEveryCommandOfTheStatusPageRuns(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash(statusPage))
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "bin", "rollcall")
	if out, err := exec.Command("go", "build", "-o", program, "rollcall/cmd/rollcall").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	blocks := shown.FindAllStringSubmatch(string(text), -1)
	if got := blocks[0][2]; got != "rollcall serve\n" {
		t.Fatalf("the first command is %q", got)
	}
	serve := exec.Command(program, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	serve.Dir = dir
	start(t, serve)
	var running struct{ Listen string }
	eventually(t, "rollcall listens", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "rollcall-data", "running.json"))
		return err == nil && json.Unmarshal(b, &running) == nil
	})

	script := "set -e -o pipefail\n"
	var want []string // what is shown behind each block of commands
	for _, b := range blocks[1:] {
		switch kind, body := b[1], b[2]; kind {
		case "js":
			if err := os.WriteFile(filepath.Join(dir, "friends.mjs"), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		case "text":
			want[len(want)-1] = body
		default:
			body = strings.ReplaceAll(body, "http://localhost:3000", "http://"+running.Listen)
			body = strings.ReplaceAll(body, "/path/to/rollcall", root)
			script += fmt.Sprintf("echo '<<<%d'\n%s", len(want), body)
			want = append(want, "")
		}
	}
	shell := exec.Command("bash", "-c", script)
	shell.Dir = dir
	shell.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"))
	var stderr strings.Builder
	shell.Stderr = &stderr
	out, err := shell.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	got := strings.Split(string(out), "<<<")[1:]
	if len(got) != len(want) {
		t.Fatalf("%d blocks printed something, want %d\n%s", len(got), len(want), out)
	}
	for i, w := range want {
		_, printed, _ := strings.Cut(got[i], "\n")
		pattern := strings.ReplaceAll(regexp.QuoteMeta(w), "…", "(?s:.*)")
		if !regexp.MustCompile(`^` + pattern + `$`).MatchString(printed) {
			t.Errorf("block %d printed\n%s\nwhere the page shows\n%s", i+1, printed, w)
		}
	}
}
