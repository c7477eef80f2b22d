package conformance_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// example returns the first block of code in a README, speaking to s.
func example(t *testing.T, readme, language string, s *stage) string {
	t.Helper()
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "```"+language+"\n")
	code, _, ok2 := strings.Cut(rest, "\n```")
	if !ok || !ok2 {
		t.Fatalf("%s has no %s block", readme, language)
	}
	return strings.NewReplacer("http://127.0.0.1:3000", s.proxy.url(), "my-app-key", appKey, "my-app", appID).Replace(code)
}

// printed runs a program and returns what it prints, cut off after a while.
func printed(t *testing.T, dir string, argv ...string) string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return out.String()
}

func TestReadmeOfJS(t *testing.T) {
	s := open(t)
	dir := t.TempDir()
	code := strings.Replace(example(t, "../js/README.md", "js", s), "'rollcall-client'", "'"+absolute(t, "../js/rollcall.js")+"'", 1)
	file := filepath.Join(dir, "example.mjs")
	if err := os.WriteFile(file, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^(tom is unknown\n)?tom is online\nasked once: online, unknown\n$`) // the watch may be there first
	if got := printed(t, dir, "node", file); !want.MatchString(got) {
		t.Errorf("printed %q, want %v", got, want)
	}
}

func TestReadmeOfGo(t *testing.T) {
	s := open(t)
	s.do(t, step{Server: "report", Peer: "tom", State: "online"})
	if err := os.MkdirAll("testdata", 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("testdata", "readme-") // of this module, and in nobody's ./...
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(example(t, "../go/README.md", "go", s)), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(t.TempDir(), "example")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./"+dir).CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out) // not under a time limit: on a new machine it builds half of the library
	}
	if got, want := printed(t, dir, program), "tom is online\njerry is unknown\ntom is now online\njerry is now unknown\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

func absolute(t *testing.T, path string) string {
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
}
