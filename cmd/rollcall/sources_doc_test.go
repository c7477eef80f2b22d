package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rollcall/server/config"
)

// TestMapsOfTheDocs: each map that docs/sources.md shows is loaded as it stands there, and the
// command beside it prints what is shown.
func TestMapsOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/sources.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(page), "\n## Any JSON: jq\n")
	if !ok {
		t.Fatal("the section is gone")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?ms)^```(yaml|http|console)\n(.*?)^```$").FindAllStringSubmatch(section, -1)
	if len(blocks) < 9 || len(blocks)%3 != 0 {
		t.Fatalf("there are %d blocks", len(blocks))
	}
	for ; len(blocks) > 0; blocks = blocks[3:] {
		if blocks[0][1] != "yaml" || blocks[1][1] != "http" || blocks[2][1] != "console" {
			t.Fatal("a map has a configuration, a call and what is said of it")
		}
		source := loaded(t, blocks[0][2])
		t.Run(source.ID, func(t *testing.T) { checked(t, source, blocks[1][2], blocks[2][2]) })
	}
}

// loaded returns the source in text.
func loaded(t *testing.T, text string) config.Source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	text = "apps:\n- {id: one, hook_key: theHookKey00000000001}\n" + text
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(t.Context(), config.Sources{File: file})
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Sources[0]
}

// checked runs the command of console, its first line, on call, and compares what it prints.
func checked(t *testing.T, source config.Source, call, console string) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"map.jq": source.Map, "call.http": call} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	command, want, _ := strings.Cut(console, "\n")
	command, ok := strings.CutPrefix(command, "$ rollcall ")
	if !ok || !strings.Contains(command, source.Secret.Reveal()) {
		t.Fatalf("%s is no command with the secret of the source", command)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), strings.Fields(command), nil, &stdout, &stderr); code != exitDone || stdout.String() != want {
		t.Errorf("it prints\n%s%s\nwant\n%s", &stdout, &stderr, want)
	}
}
