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

	"rollcall/internal/npmtest"
)

var shown = regexp.MustCompile("(?ms)^```(sh|js|text)\n(.*?)^```$")

// A reader has started a server with nothing set in one terminal, and types what a page shows into
// another, in the same folder.
type reader struct{ root, dir, program, listen string }

func newReader(t *testing.T) *reader {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{root: root, dir: t.TempDir()}
	if r.program, err = build(); err != nil {
		t.Fatal(err)
	}
	serve := exec.Command(r.program, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	serve.Dir = r.dir
	start(t, serve)
	var running struct{ Listen string }
	eventually(t, "rollcall listens", func() bool {
		b, err := os.ReadFile(filepath.Join(r.dir, "rollcall-data", "running.json"))
		return err == nil && json.Unmarshal(b, &running) == nil
	})
	r.listen = running.Listen
	return r
}

// types runs the blocks of commands of a page, in one shell, and compares what each prints with the
// text behind it, if there is one; … stands for any text. A block of JavaScript is the file that
// the next commands run.
func (r *reader) types(t *testing.T, blocks [][]string) {
	t.Helper()
	script := "set -e -o pipefail\n"
	var want []string // what is shown behind each block of commands
	for _, b := range blocks {
		switch kind, body := b[1], b[2]; kind {
		case "js":
			if err := os.WriteFile(filepath.Join(r.dir, "friends.mjs"), []byte(body), 0o600); err != nil {
				t.Fatal(err)
			}
		case "text":
			want[len(want)-1] = body
		default:
			body = strings.NewReplacer("localhost:3000", r.listen, "/path/to/rollcall", r.root, "go run ./cmd/rollcall", "rollcall").Replace(body)
			script += fmt.Sprintf("echo '<<<%d'\n%s", len(want), body)
			want = append(want, "")
		}
	}
	out := r.run(t, "bash", "-c", script)
	got := strings.Split(out, "<<<")[1:]
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

// run runs a command in the folder of r, and returns what it prints.
func (r *reader) run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(r.program)+":"+os.Getenv("PATH"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	return string(out)
}

// Every command of the page for Chinese readers who look for a way to know who is online runs as it
// is written.
func TestEveryCommandOfTheStatusPageRuns(t *testing.T) {
	text, err := os.ReadFile(filepath.FromSlash("zh/在线状态查询.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := shown.FindAllStringSubmatch(string(text), -1)
	if got := blocks[0][2]; got != "rollcall serve\n" {
		t.Fatalf("the first command is %q", got)
	}
	newReader(t).types(t, blocks[1:])
}

// The commands on the first screen of both READMEs run as they are written, and the calls beside
// them answer: those of LeanCloud's JavaScript SDK and of both clients.
func TestTheFirstScreenOfTheReadmesRuns(t *testing.T) {
	sdks, err := filepath.Abs("leancloud-check")
	if err != nil {
		t.Fatal(err)
	}
	npmtest.Install(t, sdks)
	var same string
	for _, page := range []string{"../README.md", "../README.zh-CN.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		r := newReader(t)
		r.types(t, shown.FindAllStringSubmatch(string(text), -1))
		calls := regexp.MustCompile(`(?m)^\| (?:JS|Go) \|.*$`).FindAllString(string(text), -1)
		if got := strings.Join(calls, "\n"); len(calls) != 2 || same != "" && got != same {
			t.Fatalf("%s: the calls are\n%s\nand elsewhere\n%s", page, got, same)
		} else if same != "" {
			continue
		}
		same = strings.Join(calls, "\n")
		js, golang := strings.Split(calls[0], "`"), strings.Split(calls[1], "`")
		r.file(t, "calls.mjs", `import { createRequire } from 'node:module';
			import { Rollcall } from '`+r.root+`/client/js/rollcall.js';
			const AV = createRequire('`+sdks+`/')('leancloud-storage');
			const url = 'http://`+r.listen+`', { LEANCLOUD_APP_ID: app, LEANCLOUD_APP_KEY: key } = process.env;
			AV.init({ appId: app, appKey: key, serverURL: url });
			const rollcall = new Rollcall({ url, app, key });
			console.log(JSON.stringify(await `+js[1]+`));
			for (const p of await `+js[3]+`) console.log(p.peer, p.status);
			process.exit(0);`)
		r.file(t, "calls.go", `package main
			import ("context"; "fmt"; "os"; rollcall "rollcall/client/go")
			func main() {
				ctx := context.Background()
				client, err := rollcall.New(rollcall.Config{URL: "http://`+r.listen+`", App: os.Getenv("LEANCLOUD_APP_ID"), Key: os.Getenv("LEANCLOUD_APP_KEY")})
				if err != nil { panic(err) }
				defer client.Close()
				peers, err := `+golang[3]+`
				fmt.Println(peers[0].Status, peers[1].Status, err)
			}`)
		got := r.run(t, "bash", "-c", "set -e; set -a; . rollcall-data/keys.env; node calls.mjs; dir=$PWD; cd "+r.root+"; go run $dir/calls.go")
		if want := "[\"1\",null]\ntom online\njerry unknown\nonline unknown <nil>\n"; got != want {
			t.Errorf("the calls print\n%s\nwant\n%s", got, want)
		}
	}
}

func (r *reader) file(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
