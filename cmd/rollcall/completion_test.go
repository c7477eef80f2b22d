//go:build unix

package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// A shell completes lines. The last word of a line is the one that is completed; it may be empty.
type shell struct {
	name   string
	script string // completes the words that are its arguments, in the directory it runs in
}

var shells = []shell{
	{"bash", `source "$FILE"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _rollcall; printf '%s\n' "${COMPREPLY[@]}"`},
	// What zsh brings for its line editor is replaced by what prints.
	{"zsh", `
compdef() { }
compset() { }
compadd() { shift; print -l -- "$@" }
_files() { [[ $1 == -/ ]] && print -l -- *(/N) || print -l -- *(N) }
_message() { }
_describe() { [[ $1 == -o ]] && shift; print -l -- "${(@)${(@P)2}%%:*}" }
source "$FILE"; words=("$@"); CURRENT=$#; _rollcall`},
	{"fish", `source $FILE; complete -C (string join ' ' -- $argv) | string split -f 1 \t; true`},
}

// complete returns what sh makes of words in dir.
func (sh shell) complete(t *testing.T, dir string, words ...string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "completion")
	var script bytes.Buffer
	if code := run(context.Background(), []string{"completion", sh.name}, nil, &script, io.Discard); code != 0 {
		t.Fatalf("completion %s ended with %d", sh.name, code)
	}
	if err := os.WriteFile(file, script.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	args := map[string][]string{"bash": {"--norc", "-c", sh.script, "bash"}, "zsh": {"-f", "-c", sh.script, "zsh"}, "fish": {"--no-config", "-c", sh.script}}[sh.name]
	cmd := exec.Command(sh.name, append(args, words...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "FILE="+file, "HOME="+filepath.Dir(file))
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", sh.name, err)
	}
	return strings.Fields(string(out))
}

// TestEveryCommandAndFlagIsCompleted: in each shell the table of the help is offered.
func TestEveryCommandAndFlagIsCompleted(t *testing.T) {
	var c commands
	p, err := kong.New(&c, kong.Name("rollcall"))
	if err != nil {
		t.Fatal(err)
	}
	nodes := []*kong.Node{p.Model.Node}
	for i := 0; i < len(nodes); i++ {
		nodes = append(nodes, nodes[i].Children...)
	}
	nodes = slices.DeleteFunc(nodes, func(n *kong.Node) bool { return n.Hidden })
	if len(nodes) < 15 {
		t.Fatalf("%d commands", len(nodes))
	}
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			for _, n := range nodes {
				words := strings.Fields(n.FullPath())
				var children, flags []string
				for _, child := range n.Children {
					if !child.Hidden {
						children = append(children, child.Name)
					}
				}
				for _, f := range n.Flags {
					if !f.Hidden {
						flags = append(flags, "--"+f.Name)
					}
				}
				have(t, sh.complete(t, t.TempDir(), append(words, "")...), words, children)
				have(t, sh.complete(t, t.TempDir(), append(words, "--")...), words, flags)
			}
		})
	}
}

func have(t *testing.T, got, words, want []string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("%v is completed by %v, without %s", words, got, w)
		}
	}
}

func TestValuesAndFilesAreCompleted(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "app.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			t.Parallel()
			for line, want := range map[string][]string{
				"serve --sync ":                {"always", "interval"},
				"serve --profiling --sync ":    {"always", "interval"},
				"serve --log-level ":           {"debug", "error", "info", "warn"},
				"serve --listen ":              {},
				"serve --config ":              {"app.yaml", "state"},
				"serve --config app.yaml --st": {"--store"},
				"serve --data ":                {"state"},
				"completion ":                  {"bash", "fish", "zsh"},
				"peer watch --ap":              {"--app"},
			} {
				var got []string
				for _, w := range sh.complete(t, dir, append([]string{"rollcall"}, strings.Split(line, " ")...)...) {
					w = strings.TrimSuffix(w, "/")
					last := line[strings.LastIndexByte(line, ' ')+1:]
					if strings.HasPrefix(w, last) && (last != "" || w[0] != '-') {
						got = append(got, w)
					}
				}
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("%q is completed by %q, want %q", line, got, want)
				}
			}
			have(t, sh.complete(t, dir, "rollcall", "config", "check", ""), []string{"config check"}, []string{"app.yaml"})
		})
	}
}
