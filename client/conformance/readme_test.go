//go:build unix

package conformance_test

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/internal/browsertest"
)

// A stranger follows a README to the letter, in an empty folder. Only the ports and the place of
// rollcall are his own.
type stranger struct {
	testing.TB
	text string
	dir  string
	env  []string
}

func newStranger(t *testing.T, readme string) *stranger {
	t.Helper()
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "../../cmd/rollcall").CombinedOutput(); err != nil {
		// Not under a time limit: on a new machine it builds all of rollcall.
		t.Fatalf("go build: %v\n%s", err, out)
	}
	s := &stranger{TB: t, dir: t.TempDir(), text: strings.ReplaceAll(string(b), "/path/to/rollcall", absolute(t, "../.."))}
	s.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "GOPROXY=off", "GOFLAGS=", "GOWORK=off",
		"npm_config_offline=true", "npm_config_audit=false", "npm_config_fund=false", "npm_config_update_notifier=false")
	return s
}

// block returns the next block of code in a language, and passes it.
func (s *stranger) block(language string) string {
	s.Helper()
	_, rest, ok := strings.Cut(s.text, "```"+language+"\n")
	code, rest, ok2 := strings.Cut(rest, "\n```\n")
	if !ok || !ok2 {
		s.Fatalf("there is no %s block in what is left of the README", language)
	}
	s.text = rest
	return code
}

// serve starts the server of the first block.
func (s *stranger) serve() {
	s.Helper()
	cmd := exec.Command("sh", "-c", s.block("sh")+" --listen 127.0.0.1:0 --admin 127.0.0.1:0")
	cmd.Dir, cmd.Env = s.dir, s.env
	// The shell may wait for it, and would die alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 2 && f[0] == "apps" {
			s.text = strings.ReplaceAll(s.text, "http://127.0.0.1:3000", f[1])
			return
		}
	}
	s.Fatalf("the server does not say where it is: %s", errs.String())
}

// run runs lines in the stranger's folder and returns what they print.
func (s *stranger) run(lines string, within time.Duration) string {
	s.Helper()
	ctx, stop := context.WithTimeout(s.Context(), within)
	defer stop()
	cmd := exec.CommandContext(ctx, "sh", "-e", "-c", lines)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.WaitDelay = time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		s.Fatalf("%s: %v: %s%s", lines, err, out.String(), errs.String())
	}
	return out.String()
}

// write puts the next block of code into a file of the folder that the steps made.
func (s *stranger) write(language, name string) {
	s.Helper()
	s.dir = filepath.Join(s.dir, "hello")
	if !strings.Contains(s.text, "`"+name+"`") {
		s.Errorf("the README does not say that the code goes into %s", name)
	}
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(s.block(language)+"\n"), 0o600); err != nil {
		s.Fatal(err)
	}
}

// A machine that has compiled nothing yet takes its time.
const compiling = 5 * time.Minute

func TestReadmeOfJS(t *testing.T) {
	s := newStranger(t, "../js/README.md")
	s.serve()
	s.run(s.block("sh"), compiling)
	s.write("js", "hello.mjs")
	// The watch may be there first.
	want := regexp.MustCompile(`^(tom is unknown\n)?tom is online\nasked once: online, unknown\n$`)
	if got := s.run("node hello.mjs", patience); !want.MatchString(got) {
		t.Errorf("printed %q, want %v", got, want)
	}
}

// The pages of the README have no key. When what a stream was opened with is refused, as after a
// night's sleep, both ways come back with another ticket.
func TestReadmeOfJSInABrowser(t *testing.T) {
	t.Parallel()
	s := open(t)
	b, err := os.ReadFile("../js/README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := &stranger{TB: t, text: strings.NewReplacer("http://127.0.0.1:3000", s.proxy.url(), "my-app", appID).Replace(string(b))}
	readme.block("js") // the first is for Node
	ours, plain := readme.block("js"), readme.block("js")
	type line struct{ Printed, Failed string }
	print := "const print = console.log; console.log = (printed) => print(JSON.stringify({ printed }));\n"
	said := browsertest.Open[line](t, pages(t, "readme.html", s, strings.Replace(ours, "\n\n", "\n"+print, 1), plain))
	await(t, said, line{Printed: "client: tom is unknown"}, line{Printed: "EventSource: tom is unknown"})

	s.proxy.cut()
	refused := page{
		Status: 401, Type: "application/json", Head: []string{"Access-Control-Allow-Origin: *"},
		Body: `{"code":"unauthorized","error":"no key, signature or ticket that is right was presented"}`,
	}
	s.proxy.play(refused.answer)
	s.do(t, step{Server: "report", Peer: "tom", State: "online"})
	s.proxy.heal()
	await(t, said, line{Printed: "client: tom is online"}, line{Printed: "EventSource: tom is online"})
}

func TestReadmeOfGo(t *testing.T) {
	s := newStranger(t, "../go/README.md")
	s.serve()
	s.run(s.block("sh"), patience)
	s.write("go", "main.go")
	s.run("go build -o ../program .", compiling) // what go run does first
	if got, want := s.run("go run .", patience), "tom is unknown\njerry is unknown\ntom is now unknown\njerry is now unknown\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func absolute(t testing.TB, path string) string {
	t.Helper()
	a, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The types say what the code has.
func TestTypesOfJSNameWhatIsThere(t *testing.T) {
	code, err := os.ReadFile("../js/rollcall.js")
	if err != nil {
		t.Fatal(err)
	}
	types, err := os.ReadFile("../js/rollcall.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(code), "export class Rollcall {")
	body, _, _ = strings.Cut(body, "\n}\n")
	methods := regexp.MustCompile(`(?m)^  (?:async )?([a-z]\w+)\(`).FindAllStringSubmatch(body, -1)
	if len(methods) < 5 {
		t.Fatalf("found %v", methods)
	}
	for _, m := range methods {
		if !strings.Contains(string(types), "  "+m[1]+"(") {
			t.Errorf("rollcall.d.ts does not know %s", m[1])
		}
	}
	// What the constructor, watch and present take.
	options := regexp.MustCompile(`(?:constructor\(|onPeer, |peer, )\{ ([^}]+) \}`).FindAllStringSubmatch(string(code), -1)
	if len(options) < 3 {
		t.Fatalf("found %v", options)
	}
	for _, m := range options {
		for _, option := range strings.Split(m[1], ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(option), " ")
			if !regexp.MustCompile(`\b` + name + `\??:`).Match(types) {
				t.Errorf("rollcall.d.ts does not know the option %s", name)
			}
		}
	}
}
